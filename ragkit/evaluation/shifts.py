"""What may have been done to judgments that do not fit: rows shifted, columns swapped, queries permuted."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from scipy.special import bdtrc

from ragkit.datasets.inspecting import percent

FEW_ROWS = (1, 2, 3, 5, 10)  # what judgments may be off by where no one shift explains them all
_TRIED = 3  # shifts of each order that are looked at closely
_EXPLAINS = 0.75  # of what the systems' agreement lets expect, at least
_LUCK = 0.001  # the chance of an explanation that is none, all that were tried counted
_COMMON = 0.5  # share of all documents that are relevant for some query, above which that says nothing

Relevant = Mapping[str, set[str]]  # the relevant documents of each query
Tops = Mapping[str, Mapping[str, Sequence[str]]]  # of each system, the first documents of each query


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
        if fits > reached and luck < _LUCK:
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
    if common > _COMMON or bdtrc(hits - 1, len(queries), common) > _LUCK:
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
