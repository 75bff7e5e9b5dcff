"""What a system is, by its name, and what it returned: a run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from ragkit.boundary import public
from ragkit.errors import RagkitError, shorten
from ragkit.html_table import html_table

# First stages made of two: the method that fuses `dense` and `bm25`.
HYBRIDS = {"hybrid": "rrf", "hybrid-dbsf": "dbsf"}
# Reranks by something else than vectors: they need a `rescore` function.
RESCORERS = ("oracle", "cross-encoder")
_SHOWN = 5  # queries that a notebook shows of a run


def is_oracle(name: str) -> bool:
    """Return whether the system of that name is reranked by the judgments: a ceiling and no system.

    >>> is_oracle("dense→oracle"), is_oracle("dense→colbert")
    (True, False)
    """
    return name.endswith("→oracle")


@dataclass(frozen=True)
class System:
    """A first stage by the vectors `first` (or a hybrid), reranked by `rerank` if there is one.

    per_side: see of_each_side. shard_depth: the depth of each shard, for a system as one request to a server of
    several shards has it: see as_deployed.

    >>> System.parse("dense+colbert").name
    'dense→colbert'
    >>> System.parse("hybrid+colbert").vectors
    ('dense', 'bm25', 'colbert')
    """

    first: str
    rerank: str | None = None
    per_side: int = 100
    shard_depth: int | None = None

    @classmethod
    @public("The system cannot be told")
    def parse(cls, text: str) -> "System":
        """Return the system written "colbert", "dense+colbert" or "dense→colbert".

        Raises RagkitError for anything else than one of those three forms.
        """
        parts = text.strip().replace("→", "+").split("+")
        well = all(re.fullmatch(r"[a-z][a-z0-9.-]*", part) for part in parts) and len(set(parts)) == len(parts)
        if (
            len(parts) > 2
            or not well
            or parts[0] in RESCORERS
            or len(parts) == 2
            and ("hybrid-dbsf" in parts or parts[1] == "hybrid")
        ):
            raise RagkitError(
                f"{text!r} is no system; expected a first stage (dense, colbert, tokens, muvera, bm25, hybrid, "
                "hybrid-dbsf), or a first stage and a rerank such as dense+colbert, hybrid+colbert or dense+oracle."
            )
        return cls(parts[0], parts[1] if len(parts) == 2 else None)

    @property
    def name(self) -> str:
        name = self.first if self.rerank is None else f"{self.first}→{self.rerank}"
        if self.shard_depth is None:
            return name
        return f"{name}{f' @{self.shard_depth}' if self.rerank else ''} per shard"

    @property
    def vectors(self) -> tuple[str, ...]:
        """The names of the vectors that the system needs."""
        rerank = () if self.rerank is None or self.rerank in RESCORERS else (self._kept(self.rerank),)
        return (*self.first_vectors, *rerank)

    @property
    def first_vectors(self) -> tuple[str, ...]:
        """The names of the vectors of its first stages."""
        return tuple(map(self._kept, ("dense", "bm25") if self.first in HYBRIDS else (self.first,)))

    def _kept(self, name: str) -> str:
        return "bm25-modifier" if name == "bm25" and self.shard_depth is not None else name

    def as_deployed(self, depth: int) -> "System | None":
        """Return the system as one request to a server has it: depth and IDF are each shard's. None if it is the same.

        >>> System("dense", "colbert").as_deployed(10).name, System("bm25").as_deployed(10).vectors
        ('dense→colbert @10 per shard', ('bm25-modifier',))
        >>> System("colbert").as_deployed(10)
        """
        if self.rerank in RESCORERS:  # these are two requests anyway
            return None
        changes = self.rerank is not None or "bm25" in self.first_vectors
        return replace(self, shard_depth=depth) if changes else None

    def of_each_side(self, depth: int) -> int:
        """Return how many candidates a hybrid takes of `dense`, and as many of `bm25`, whatever the limit.

        `per_side` of them where it is not reranked, else half of the rerank's depth, rounded up.

        >>> System("hybrid").of_each_side(depth=7), System("hybrid", "colbert").of_each_side(depth=7)
        (100, 4)
        """
        return self.per_side if self.rerank is None else -(-depth // 2)


@dataclass(frozen=True, eq=False)
class Run:
    """What one system returned.

    results: query_id, doc_id (str), score (float), rank (int, from 1), best first;
    ms: milliseconds that the engine took for each query, its encoding not included, by query_id; encoding_ms: those
    that the models took for some of them, one at a time, NaN or empty where that was not measured; sent_again: for how
    many queries a server had to be asked again, by the reason ("429"); their ms are those of the last sending.

    >>> results = pd.DataFrame({"query_id": ["q"] * 2, "doc_id": ["a", "b"], "score": [0.5, 0.1], "rank": [1, 2]})
    >>> Run("dense", results, pd.Series({"q": 1.0}))
    Run of 'dense': 1 queries, 2 results
    """

    system: str
    results: pd.DataFrame
    ms: pd.Series
    encoding_ms: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    sent_again: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Run of {shorten(self.system, 60)!r}: {self._counts()}"

    def _counts(self) -> str:
        return f"{len(self.ms):,} queries, {len(self.results):,} results"

    def _repr_html_(self) -> str:
        best = self.results[self.results["rank"] == 1]
        rows = best[["query_id", "doc_id", "score"]].rename(columns={"doc_id": "first document"})
        time = "" if self.ms.isna().all() else f", {self.ms.median():.2f} ms a query (p50)"
        more = [f"and {len(rows) - _SHOWN:,} more queries"] if len(rows) > _SHOWN else []
        return html_table(f"Run of {self.system}", self._counts() + time, rows.head(_SHOWN).to_dict("records"), more)
