"""Whether judgments belong to what they name: how well two systems agree with them, and with each other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from scipy.special import bdtr

from ragkit.evaluation.shifts import Relevant, Tops, explain, success

DEPTH = 10  # first documents of a ranking that are looked at; less in a small dataset
_AT_CHANCE = 0.1  # of the way from chance to the systems' agreement, at most
_LUCK = 0.05  # the chance that judgments which fit half as often as the systems agree look so bad


@dataclass(frozen=True)
class Agreement:
    """How well judgments and rankings agree, and what would make them.

    depth: the first documents that count; queries: how many were looked at; judged: the share of them that have a
    relevant document there, in the better of two systems; mutual: the share where one system's first document is
    among the other's first; chance: what `judged` is where queries get each other's judgments. explanation: what was
    done to the judgments, "" if nothing that was tried explains them; explained: `judged` once that is undone, or NaN.
    misfits: (query_id, judged doc_id, found doc_id) where both systems begin with one document, which is not relevant.
    """

    depth: int
    queries: int
    judged: float
    mutual: float
    chance: float
    explanation: str = ""
    explained: float = float("nan")
    misfits: tuple[tuple[str, str, str], ...] = ()

    @property
    def suspicious(self) -> bool:
        """Whether the systems agree with each other more often than with the judgments, as on hard queries, too."""
        return self.judged < self.mutual

    @property
    def at_chance(self) -> bool:
        """Whether the judgments say no more about these queries than those of other queries do, and not by luck."""
        near = self.judged - self.chance < _AT_CHANCE * (self.mutual - self.chance)
        return near and bdtr(round(self.judged * self.queries), self.queries, self.mutual / 2) < _LUCK

    @property
    def broken(self) -> bool:
        """Whether the judgments belong to other documents or queries: a shift explains them, or they are at chance."""
        return self.suspicious and (bool(self.explanation) or self.at_chance)


def agreement(
    runs: Mapping[str, pd.DataFrame], qrels: pd.DataFrame, doc_ids: Sequence[str], query_ids: Sequence[str]
) -> Agreement:
    """Return how well two systems' rankings and the judgments agree and, if badly, what explains it.

    runs: query_id, doc_id, rank (from 1) of two systems that read texts in different ways, over the same queries;
    qrels: query_id, doc_id, relevance; doc_ids, query_ids: of all documents and queries, in the order of their files.
    Queries that a system finds nothing for, or that have no relevant document, do not count.

    >>> run = pd.DataFrame({"query_id": ["q"], "doc_id": ["a"], "rank": [1]})
    >>> qrels = pd.DataFrame({"query_id": ["q"], "doc_id": ["a"], "relevance": [1]})
    >>> agreement({"bm25": run, "dense": run}, qrels, ["a", "b"], ["q"]).judged
    1.0
    """
    depth = first(len(doc_ids))
    relevant = qrels[qrels["relevance"] > 0].groupby("query_id")["doc_id"].agg(set).to_dict()
    tops = {name: _tops(run, depth) for name, run in runs.items()}
    queries = [q for q in query_ids if q in relevant and all(q in top for top in tops.values())]
    if not queries:
        return Agreement(depth, 0, float("nan"), float("nan"), float("nan"))
    found = Agreement(
        depth,
        len(queries),
        success(queries, tops, relevant),
        _mutual(queries, tops),
        _chance(queries, tops, relevant),
    )
    if not found.suspicious:
        return found
    reach = max(found.judged, found.mutual)
    explanation, explained = explain(
        queries, tops, relevant, doc_ids, query_ids, found.chance, reach, permuted=found.at_chance
    )
    return replace(
        found, explanation=explanation, explained=explained, misfits=tuple(_misfits(queries, tops, relevant))
    )


def first(documents: int) -> int:
    """Return how many first documents of a ranking count: ten, or a tenth of a small dataset.

    >>> first(5000), first(20), first(3)
    (10, 2, 1)
    """
    return max(1, min(DEPTH, documents // 10))


def _tops(run: pd.DataFrame, depth: int) -> dict[str, list[str]]:
    return run[run["rank"] <= depth].sort_values("rank").groupby("query_id")["doc_id"].agg(list).to_dict()


def _mutual(queries: Sequence[str], tops: Tops) -> float:
    one, two = tops.values()
    return sum((one[q][0] in two[q]) + (two[q][0] in one[q]) for q in queries) / (2 * len(queries))


def _chance(queries: Sequence[str], tops: Tops, relevant: Relevant) -> float:
    pairs = [(q, relevant[other]) for q in queries for other in queries if other != q]
    return max(sum(not of.isdisjoint(top[q]) for q, of in pairs) / max(1, len(pairs)) for top in tops.values())


def _misfits(queries: Sequence[str], tops: Tops, relevant: Relevant) -> Iterator[tuple[str, str, str]]:
    one, two = tops.values()
    for q in queries:
        if one[q][0] == two[q][0] and one[q][0] not in relevant[q]:
            yield q, min(relevant[q]), one[q][0]
