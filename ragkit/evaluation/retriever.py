"""A query to a ranking: encoded, searched, reranked, each query's time taken."""

import time
from collections.abc import Callable, Mapping

import pandas as pd

from ragkit.encoders.variants import AnyEncoder
from ragkit.engines.index import Fusion, Index, Prefetch
from ragkit.errors import RagkitError
from ragkit.evaluation.systems import HYBRIDS, RESCORERS, Run, System
from ragkit.progress import progress
from ragkit.vectors import Hits, Vector

# Queries answered before the clock counts, so that caches and lazily loaded parts are warm.
WARM_UP = 5


Rescore = Callable[[str, str, Hits], Hits]


class Retriever:
    """Answers queries with one system over one index.

    depth: how many candidates are reranked; a hybrid takes half of them from each side. limit: how many
    documents a query gets at most; a rerank cannot return more than its depth. rescore: for an
    oracle or a cross-encoder, called with a query's id, its text and the candidates.
    """

    def __init__(
        self,
        index: Index,
        encoders: Mapping[str, AnyEncoder],
        system: System,
        depth: int = 100,
        limit: int = 100,
        rescore: Rescore | None = None,
    ):
        if depth < 1 or limit < 1:
            raise RagkitError(f"depth and limit are whole numbers from 1; got {depth} and {limit}.")
        missing = [name for name in system.vectors if name not in encoders]
        if missing:
            raise RagkitError(f"{system.name} needs an encoder for {', '.join(missing)}.")
        if (system.rerank in RESCORERS) != (rescore is not None):
            raise RagkitError(
                f"{system.name}: `rescore` goes with a rerank by {' or '.join(RESCORERS)}, and only there."
            )
        self.index, self.encoders, self.system = index, encoders, system
        self.depth, self.limit, self.rescore = depth, limit, rescore

    def search(self, text: str) -> Hits:
        """Return (doc_id, score) for one query text, best first."""
        return self._search("", text, *self._encode([text]))

    def run(self, queries: pd.DataFrame) -> Run:
        """Return the run over `queries` (query_id, text): encoded first, then searched one by one.

        The first WARM_UP queries are searched once before the clock counts.
        """
        work = list(zip(queries["query_id"], queries["text"], self._encode(queries["text"].tolist()), strict=True))
        rows, ms = [], {}
        with progress(len(work), f"{self.system.name}: searching", "query") as bar:
            for item in work[:WARM_UP]:
                self._search(*item)
            for query_id, text, vectors in work:
                start = time.perf_counter()
                hits = self._search(query_id, text, vectors)
                ms[query_id] = 1000 * (time.perf_counter() - start)
                rows += [(query_id, doc_id, score, rank) for rank, (doc_id, score) in enumerate(hits, 1)]
                bar.update()
        results = pd.DataFrame(rows, columns=["query_id", "doc_id", "score", "rank"])
        return Run(self.system.name, results, pd.Series(ms, name="ms", dtype=float))

    def _encode(self, texts: list[str]) -> list[dict[str, Vector]]:
        columns = {name: self.encoders[name].encode_queries(texts) for name in self.system.vectors}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _search(self, query_id: str, text: str, vectors: dict[str, Vector]) -> Hits:
        first, rerank = self.system.first, self.system.rerank
        if rerank is None:
            if first in HYBRIDS:
                stages = (Prefetch(vectors[name], name, self.limit) for name in ("dense", "bm25"))
                return self.index.fuse(Fusion(tuple(stages), HYBRIDS[first]), self.limit)
            return self.index.search(vectors[first], first, self.limit)
        limit = min(self.limit, self.depth)
        if self.rescore is None:
            return self.index.search(vectors[rerank], rerank, limit, self._first_stages(vectors))
        found = [self.index.search(stage.vector, stage.using, stage.depth) for stage in self._first_stages(vectors)]
        candidates = list(dict(hit for hits in found for hit in hits).items())
        return sorted(self.rescore(query_id, text, candidates), key=lambda hit: (-hit[1], hit[0]))[:limit]

    def _first_stages(self, vectors: dict[str, Vector]) -> list[Prefetch]:
        """A hybrid shares the depth: half of the candidates are dense's, half bm25's, less those of both."""
        first = self.system.first
        names = ("dense", "bm25") if first in HYBRIDS else (first,)
        return [Prefetch(vectors[name], name, -(-self.depth // len(names))) for name in names]
