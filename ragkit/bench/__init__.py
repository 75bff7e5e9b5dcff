"""Rivals timed in turn in one run: embedding, search, index, growth, a server under load, other engines."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ragkit.bench.embed import bench_embed as bench_embed
    from ragkit.bench.index import bench_index as bench_index
    from ragkit.bench.peers import bench_peers as bench_peers
    from ragkit.bench.proof import bench_proof as bench_proof
    from ragkit.bench.race import race as race
    from ragkit.bench.scale import bench_scale as bench_scale
    from ragkit.bench.search import bench_search as bench_search
    from ragkit.bench.server import bench_server as bench_server

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "embed": ["bench_embed"],
        "index": ["bench_index"],
        "peers": ["bench_peers"],
        "proof": ["bench_proof"],
        "race": ["race"],
        "scale": ["bench_scale"],
        "search": ["bench_search"],
        "server": ["bench_server"],
    },
)
