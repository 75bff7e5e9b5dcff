"""Vectors in Qdrant's engines, behind one `Index`: Qdrant Edge, local mode, servers."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ragkit.engines.index import Fusion as Fusion
    from ragkit.engines.index import Index as Index
    from ragkit.engines.index import Prefetch as Prefetch
    from ragkit.engines.ingest import build_index as build_index
    from ragkit.engines.ingest import plan as plan
    from ragkit.engines.opening import open_client as open_client
    from ragkit.engines.opening import open_index as open_index
    from ragkit.engines.server_options import ServerOptions as ServerOptions

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "index": ["Fusion", "Index", "Prefetch"],
        "ingest": ["build_index", "plan"],
        "opening": ["open_client", "open_index"],
        "server_options": ["ServerOptions"],
    },
)
