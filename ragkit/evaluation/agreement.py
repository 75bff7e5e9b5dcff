"""Whether judgments belong to what they name, told by two systems that agree, and what was done to them if not."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pandas as pd
from scipy.special import bdtr, bdtrc

from ragkit.datasets.inspecting import percent

DEPTH = 10  # first documents of a ranking that are looked at; less in a small dataset
_AT_CHANCE = 0.1  # of the way from chance to the systems' agreement, at most
_LUCK = 0.05  # the chance that judgments which fit half as often as the systems agree look so bad

Relevant = Mapping[str, set[str]]  # the relevant documents of each query
Tops = Mapping[str, Mapping[str, Sequence[str]]]  # of each system, the first documents of each query

FEW_ROWS = (1, 2, 3, 5, 10)  # what judgments may be off by where no one shift explains them all
_TRIED = 3  # shifts of each order that are looked at closely
_EXPLAINS = 0.75  # of what the systems' agreement lets expect, at least
_BY_CHANCE = 0.001  # the chance of an explanation that is none, all that were tried counted
_COMMON = 0.5  # share of all documents that are relevant for some query, above which that says nothing


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


@dataclass(frozen=True)
class _Candidate:
    """What may have been done to the judgments: in words, and the relevant documents once it is undone.

    tried: how many of its kind were looked at; chance: how often it fits by chance; several: whether it offers several
    documents in place of each judged one, and so fits the more easily.
    """

    words: str
    relevant: Relevant
    tried: int
    chance: float
    several: bool = False


def success(queries: Sequence[str], tops: Tops, relevant: Relevant) -> float:
    """Return the share of queries with a relevant document among the first, in the better system.

    >>> success(["q", "r"], {"bm25": {"q": ["a"], "r": ["b"]}}, {"q": {"a"}, "r": {"c"}})
    0.5
    """
    hits = (sum(not relevant.get(q, set()).isdisjoint(top[q]) for q in queries) for top in tops.values())
    return max(hits) / len(queries)


def explain(
    queries: Sequence[str],
    tops: Tops,
    relevant: Relevant,
    doc_ids: Sequence[str],
    query_ids: Sequence[str],
    chance: float,
    expected: float,
    permuted: bool = False,
) -> tuple[str, float]:
    """Return what explains the judgments best, in words, and `success` once that is undone; "" if nothing does.

    doc_ids, query_ids: all, in the order of their files; chance: `success` with the judgments of other queries;
    expected: what it would be if judgments fitted; permuted: whether to look for judgments in no order, too.
    """
    chance = min(max(chance, 1 / len(doc_ids)), 0.99)
    best, reached = "", max(success(queries, tops, relevant), _EXPLAINS * expected)
    for candidate in chain(
        _moved_documents(queries, tops, relevant, doc_ids, chance),
        _moved_queries(queries, tops, relevant, query_ids, chance),
        _swapped(queries, relevant, chance),
        _nearby_documents(queries, tops, relevant, doc_ids, chance),
    ):
        if candidate.several and best and reached >= expected:
            continue  # one shift of all rows is the plainer explanation
        fits = success(queries, tops, candidate.relevant)
        luck = candidate.tried * bdtrc(round(fits * len(queries)) - 1, len(queries), candidate.chance)
        fits = (fits - candidate.chance) / (1 - candidate.chance) if candidate.several else fits
        if fits > reached and luck < _BY_CHANCE:
            best, reached = candidate.words, fits
    if not best and permuted:
        return _permuted(queries, tops, relevant, doc_ids)
    return (best, reached) if best else ("", float("nan"))


def _moved_documents(
    queries: Sequence[str], tops: Tops, relevant: Relevant, doc_ids: Sequence[str], chance: float
) -> Iterator[_Candidate]:
    for order, ids in _orders(doc_ids):
        rows = _rows(queries, relevant, ids)
        for step in _likely(_document_steps(queries, tops, rows, ids), len(ids)):
            words = f"each judgment names the document {_off(-step)} the one that is meant, {order}"
            yield _Candidate(words, _shifted(rows, ids, [step]), len(ids), chance)


def _nearby_documents(
    queries: Sequence[str], tops: Tops, relevant: Relevant, doc_ids: Sequence[str], chance: float
) -> Iterator[_Candidate]:
    """Yield shifts by a few rows that need not be the same for all, as where rows were lost here and there."""
    for order, ids in _orders(doc_ids):
        rows = _rows(queries, relevant, ids)
        steps = _document_steps(queries, tops, rows, ids)
        if not steps or steps.most_common(1)[0][0] == 0:
            continue  # most judgments that fit do so in place: neighbours only resemble what is meant
        for few in FEW_ROWS:
            if len(ids) <= 20 * few:
                continue
            centres = np.linspace(0, len(ids), 12, dtype=int)[1:-1]
            away = (_shifted(rows, ids, range(at - few, at + few + 1)) for at in centres)
            often = float(np.clip(np.mean([success(queries, tops, moved) for moved in away]), chance, 0.99))
            words = f"judgments name documents up to {few} rows from those that are meant, {order}"
            yield _Candidate(words, _shifted(rows, ids, range(-few, few + 1)), len(FEW_ROWS), often, several=True)


def _moved_queries(
    queries: Sequence[str], tops: Tops, relevant: Relevant, query_ids: Sequence[str], chance: float
) -> Iterator[_Candidate]:
    holders = _holders(relevant)
    for order, ids in _orders([q for q in query_ids if q in relevant]):
        place = {query_id: i for i, query_id in enumerate(ids)}
        steps = Counter[int]()
        for q in queries:
            found = {doc_id for top in tops.values() for doc_id in top[q]}
            steps.update((place[other] - place[q]) % len(ids) for d in found for other in holders.get(d, ()))
        for step in _likely(steps, len(ids)):
            moved = {q: relevant[ids[(place[q] + step) % len(ids)]] for q in queries}
            words = f"each judgment names the query {_off(step)} the one that is meant, {order}"
            yield _Candidate(words, moved, len(ids), chance)


def _swapped(queries: Sequence[str], relevant: Relevant, chance: float) -> Iterator[_Candidate]:
    """Yield judgments whose queries and documents changed places, which can be where their ids are the same numbers."""
    holders = _holders(relevant)
    yield _Candidate(
        "queries and documents stand in each other's column", {q: set(holders.get(q, ())) for q in queries}, 1, chance
    )


def _permuted(queries: Sequence[str], tops: Tops, relevant: Relevant, doc_ids: Sequence[str]) -> tuple[str, float]:
    """Return whether judgments name other queries in no order: what these find is relevant, but for others."""
    holders = _holders(relevant)
    common = len(holders) / len(doc_ids)
    hits = max(sum(top[q][0] in holders for q in queries) for top in tops.values())
    if common > _COMMON or bdtrc(hits - 1, len(queries), common) > _BY_CHANCE:
        return "", float("nan")
    share = percent(hits, len(queries))
    words = (
        f"judgments name other queries than those that are meant, in no order: the first document is relevant for some "
        f"query in {share} of the queries, and of all documents {percent(common)} are"
    )
    return words, float("nan")  # which query is meant is not known


def _orders(ids: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the orders that rows may have had: the file's and, where it is another, that of ids that are numbers."""
    orders = [("in the order of the file", list(ids))]
    if all(i.isdecimal() for i in ids) and (ordered := sorted(ids, key=int)) != orders[0][1]:
        orders.append(("in the order of the ids", ordered))
    return orders


def _rows(queries: Sequence[str], relevant: Relevant, ids: Sequence[str]) -> dict[str, list[int]]:
    place = {doc_id: i for i, doc_id in enumerate(ids)}
    return {q: [place[doc_id] for doc_id in relevant[q] if doc_id in place] for q in queries}


def _document_steps(
    queries: Sequence[str], tops: Tops, rows: Mapping[str, list[int]], ids: Sequence[str]
) -> Counter[int]:
    """Return how many judgments each shift would make fit."""
    place = {doc_id: i for i, doc_id in enumerate(ids)}
    steps = Counter[int]()
    for q in queries:
        found = {place[doc_id] for top in tops.values() for doc_id in top[q] if doc_id in place}
        steps.update((f - row) % len(ids) for row in rows[q] for f in found)
    return steps


def _shifted(rows: Mapping[str, list[int]], ids: Sequence[str], by: Iterable[int]) -> dict[str, set[str]]:
    steps = list(by)
    return {q: {ids[(row + step) % len(ids)] for row in of for step in steps} for q, of in rows.items()}


def _likely(steps: Counter[int], count: int) -> list[int]:
    """Return the shifts that would make most judgments fit, from -count/2 to count/2; 0 is none."""
    likely = [step for step, _ in steps.most_common(_TRIED + 1) if step][:_TRIED]
    return [step - count if step > count // 2 else step for step in likely]


def _off(step: int) -> str:
    """Return how far off, and in which direction.

    >>> _off(-1), _off(3)
    ('1 row before', '3 rows after')
    """
    return f"{abs(step)} row{'s' * (abs(step) > 1)} {'after' if step > 0 else 'before'}"


def _holders(relevant: Relevant) -> dict[str, list[str]]:
    """Return the queries that each document is relevant for."""
    holders: dict[str, list[str]] = {}
    for query_id, of in relevant.items():
        for doc_id in of:
            holders.setdefault(doc_id, []).append(query_id)
    return holders
