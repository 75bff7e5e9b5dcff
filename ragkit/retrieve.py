"""Systems that answer queries: which vectors, how deep, reranked by what."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ragkit.encoders import Encoder
from ragkit.errors import RagkitError
from ragkit.index import Hits, Index, Prefetch

# Queries answered before the clock counts, so that caches and lazily loaded parts are warm.
WARM_UP = 5


@dataclass(frozen=True)
class System:
    """A first stage by the vectors `first`, reranked by the vectors `rerank` if there are any.

    >>> System.parse("dense+colbert").name
    'dense→colbert'
    >>> System.parse("colbert").vectors
    ('colbert',)
    """

    first: str
    rerank: str | None = None

    @classmethod
    def parse(cls, text: str) -> "System":
        """Return the system written "colbert", "dense+colbert" or "dense→colbert".

        Raises RagkitError for anything else than one of those three forms.
        """
        parts = text.replace("→", "+").split("+")
        if len(parts) > 2 or not all(part.isidentifier() for part in parts) or len(set(parts)) < len(parts):
            raise RagkitError(
                f"{text!r} is no system; expected vectors such as dense, colbert or tokens, "
                "or a first stage and a rerank such as dense+colbert."
            )
        return cls(*parts)

    @property
    def name(self) -> str:
        return self.first if self.rerank is None else f"{self.first}→{self.rerank}"

    @property
    def vectors(self) -> tuple[str, ...]:
        """The names of the vectors that the system needs."""
        return (self.first,) if self.rerank is None else (self.first, self.rerank)


@dataclass(frozen=True)
class Run:
    """What one system returned.

    results: query_id, doc_id (str), score (float), rank (int, from 1), best first;
    ms: milliseconds that the engine took for each query, its encoding not included, by query_id.
    """

    system: str
    results: pd.DataFrame
    ms: pd.Series


class Retriever:
    """Answers queries with one system over one index.

    depth: how many candidates a first stage hands to the rerank. limit: how many documents a query
    gets at most; a rerank cannot return more than its depth.
    """

    def __init__(
        self, index: Index, encoders: Mapping[str, Encoder], system: System, depth: int = 100, limit: int = 100
    ):
        if depth < 1 or limit < 1:
            raise RagkitError(f"depth and limit are whole numbers from 1; got {depth} and {limit}.")
        missing = [name for name in system.vectors if name not in encoders]
        if missing:
            raise RagkitError(f"{system.name} needs an encoder for {', '.join(missing)}.")
        self.index, self.encoders, self.system = index, encoders, system
        self.depth, self.limit = depth, limit

    def search(self, text: str) -> Hits:
        """Return (doc_id, score) for one query text, best first."""
        return self._search([self.encoders[name].encode_queries([text])[0] for name in self.system.vectors])

    def run(self, queries: pd.DataFrame) -> Run:
        """Return the run over `queries` (query_id, text): encoded first, then searched one by one.

        The first WARM_UP queries are searched once before the clock counts.
        """
        texts = queries["text"].tolist()
        encoded = list(zip(*(self.encoders[name].encode_queries(texts) for name in self.system.vectors), strict=True))
        for vectors in encoded[:WARM_UP]:
            self._search(vectors)
        rows, ms = [], {}
        for query_id, vectors in zip(queries["query_id"], encoded, strict=True):
            start = time.perf_counter()
            hits = self._search(vectors)
            ms[query_id] = 1000 * (time.perf_counter() - start)
            rows += [(query_id, doc_id, score, rank) for rank, (doc_id, score) in enumerate(hits, 1)]
        results = pd.DataFrame(rows, columns=["query_id", "doc_id", "score", "rank"])
        return Run(self.system.name, results, pd.Series(ms, name="ms", dtype=float))

    def _search(self, vectors: Sequence[np.ndarray]) -> Hits:
        if self.system.rerank is None:
            return self.index.search(vectors[0], self.system.first, self.limit)
        first = Prefetch(vectors[0], self.system.first, self.depth)
        return self.index.search(vectors[1], self.system.rerank, min(self.limit, self.depth), first)
