"""Checks of the exercises of lessons 03 to 05: measures, depths and what a difference is worth."""

import functools

import numpy as np

from ragkit.course import answers
from ragkit.course.answers import NotYet
from ragkit.course.checks_basics import ask, encoder, films, grades, queries, titles
from ragkit.datasets.dataset import Dataset, load_beir
from ragkit.evaluation import statistics
from ragkit.evaluation.comparing import compare
from ragkit.evaluation.comparison import Comparison

_MEMORY = 8e9  # bytes, exercise 04-a
_TRUE_DIFFERENCE = 0.02  # exercise 05-b
_FUSED = ("19", "7", "13")  # films, exercise 05-c


@functools.cache
def _scifact() -> Dataset:
    return load_beir("scifact")


@functools.cache
def _compared(systems: tuple[str, ...], depth: int) -> Comparison:
    return compare(_scifact(), list(systems), depth=depth)


def graded_ndcg(answer) -> str:
    """03-a: nDCG@10 of dense for q33, whose relevant films have grades 1 and 2."""
    value = answers.number(answer, "nDCG@10, between 0 and 1")
    relevance = grades("q33")
    gains = np.array([relevance[doc_id] for doc_id in ask("dense", queries()["q33"])])

    def dcg(gains):
        return (gains[:10] / np.log2(np.arange(2, 12))).sum()

    ideal = np.sort(gains)[::-1]
    if abs(value - dcg(gains) / dcg(ideal)) < 0.001:
        return "That is ir-measures' value, too."
    if abs(value - dcg(gains)) < 0.01:
        raise NotYet("That is the DCG. Divide it by the DCG of the best possible order.")
    if abs(value - dcg(2**gains - 1) / dcg(2**ideal - 1)) < 0.001:
        raise NotYet("That is the other form, with 2^grade − 1 as the gain. Here the gain is the grade itself.")
    if abs(value - dcg(gains) / dcg(np.sort(gains[:10])[::-1].copy())) < 0.001:
        raise NotYet("The best possible order is of all 20 films, not only of the ten that dense put first.")
    if abs(value - dcg(np.minimum(gains, 1)) / dcg(np.minimum(ideal, 1))) < 0.001:
        raise NotYet("You counted every relevant film alike; here a 2 is worth twice a 1.")
    raise NotYet(f"{value:.3f} is not it. The gains in dense's order, each divided by log2(rank + 1) …")


def own_query(answer) -> str:
    """03-b: a query of the student's for which one system has a film first and the other not in its first three."""
    what = "your query and the id of a film, such as ('a sad film', '0')"
    query, doc_id = answers.items(answer, what, 2)
    query, doc_id = answers.text(query, what), str(doc_id)
    if doc_id not in titles().index:
        raise NotYet(f"There is no film {doc_id!r}; the ids are 0 to 19.")
    if len(query.split()) > 8:
        raise NotYet(f"Your query has {len(query.split())} words; at most 8 are asked for.")
    ranks = {name: ask(name, query).index(doc_id) + 1 for name in ("dense", "colbert")}
    told = f"{titles()[doc_id]} is number {ranks['dense']} for dense and number {ranks['colbert']} for colbert"
    if min(ranks.values()) > 1:
        raise NotYet(f"{told}: neither has it first.")
    if max(ranks.values()) <= 3:
        raise NotYet(f"{told}: the two are too close.")
    return f"{told}. One query shows that they can differ, and no more."


def safe_depth(answer) -> str:
    """03-c: the smallest depth at which dense's candidates hold every relevant film of every query."""
    depth = answers.whole(answer, "a depth")
    if not 1 <= depth <= 20:
        raise NotYet(f"{depth} is no depth here: there are 20 films.")
    lost = {d: sum(_lost(query_id, d) for query_id in queries().index) for d in (depth, depth - 1)}
    if lost[depth]:
        raise NotYet(f"At depth {depth}, {lost[depth]} of 40 queries lose a relevant film.")
    if not lost[depth - 1]:
        raise NotYet(f"At depth {depth} nothing is lost, but a smaller depth loses nothing either.")
    return f"{depth} of 20 films, for the sake of {lost[depth - 1]} query: a ceiling of 1 has its price."


def _lost(query_id: str, depth: int) -> bool:
    relevance = grades(query_id)
    return any(relevance[doc_id] > 0 for doc_id in _dense_order(query_id)[depth:])


@functools.cache
def _dense_order(query_id: str) -> tuple[str, ...]:
    return tuple(ask("dense", queries()[query_id]))


def fit_into_memory(answer) -> str:
    """04-a: how many abstracts' multivectors fit into 8 GB."""
    count = answers.number(answer, "a number of documents")
    rows, _ = encoder("colbert").rows(_scifact().passages)
    dim = encoder("colbert").dim
    true = _MEMORY / (np.mean(rows) * dim * 4)
    if abs(count / true - 1) < 0.01:
        dense = true * encoder("dense").dim * 4
        return f"The dense vectors of as many abstracts take {dense / _MEMORY:.1%} of that."
    for value, why in (
        (_MEMORY / (encoder("dense").dim * 4), "That is for dense, with one vector a document."),
        (_MEMORY / (dim * 4), "That is for one row a document. How many has an abstract, on average?"),
        (4 * true, "That takes one byte a number. A float32 has more."),
        (_MEMORY / (np.max(rows) * dim * 4), "That is if every abstract were as long as the longest one."),
    ):
        if abs(count / value - 1) < 0.01:
            raise NotYet(why)
    raise NotYet(f"{count:,.0f} is not it. Bytes a document: rows, times numbers a row, times bytes a number.")


def opposite_claims(answer) -> str:
    """04-b: how many of their first ten abstracts two opposite claims share, for dense→colbert at depth 20."""
    shared = answers.whole(answer, "a number of abstracts")
    if not 0 <= shared <= 10:
        raise NotYet(f"Two lists of ten cannot share {shared}.")
    results = _compared(("dense", "dense+colbert"), 20)["dense→colbert"].results
    ten = results[results["rank"] <= 10].groupby("query_id")["doc_id"].agg(set)
    if shared == len(ten["129"] & ten["130"]):
        return f"{shared} of ten, for opposite claims: a system finds what a claim is about, not what it says of it."
    raise NotYet(f"Not {shared}. Take the first ten of each claim, and count the ids that are in both, at any rank.")


def best_of_both(answer) -> str:
    """04-c: mean nDCG@10 if the better of dense and dense→colbert were known for each claim."""
    value = answers.number(answer, "a mean nDCG@10")
    values = _compared(("dense", "dense+colbert"), 20).values()
    means = values.mean()
    if abs(value - values.max(axis=1).mean()) < 0.001:
        gain = value - means.max()
        return f"{gain:+.3f} over the better of the two: they fail on different claims. Nobody knows which beforehand."
    if abs(value - means.max()) < 0.001:
        raise NotYet("That is the better of the two means. Choose for each claim first, then take the mean.")
    if abs(value - values.min(axis=1).mean()) < 0.001:
        raise NotYet("That is the worse system for each claim.")
    if abs(value - means.mean()) < 0.001:
        raise NotYet("That is the mean of both systems; nobody chose anything.")
    raise NotYet(f"{value:.3f} is not it. For each claim take the larger of the two, then the mean over claims.")


_SEARCHERS = ("dense", "bm25", "hybrid", "hybrid-dbsf")


def told_apart(answer) -> str:
    """05-a: which systems can be told apart from bm25."""
    what = "names of systems"
    given = {answers.text(item, what) for item in answers.items(answer, what)}
    others = set(_SEARCHERS) - {"bm25"}
    if not given <= others:
        raise NotYet(f"Expected some of {', '.join(sorted(others))}; got {', '.join(sorted(given - others))} as well.")
    frame = _compared(_SEARCHERS, 100).evidence(baseline="bm25").set_index("system")
    true = {name for name in others if frame.loc[name, "p_holm"] < statistics.ALPHA}
    if given == true:
        alike = ", ".join(sorted(others - true)) or "none"
        return f"Not told apart from bm25 by {len(_scifact().queries)} claims: {alike}. That is no proof of equality."
    wrong, missing = len(given - true), len(true - given)
    said = [f"{wrong} of yours cannot be told apart from bm25"] * bool(wrong)
    said += [f"{missing} that can {'is' if missing == 1 else 'are'} missing"] * bool(missing)
    raise NotYet(f"Of the names, {' and '.join(said)}. Is 0 inside the interval, and is p (Holm) below 0.05?")


def claims_needed(answer) -> str:
    """05-b: how many claims show a true difference of 0.02 between hybrid and bm25 in 80 % of samples."""
    count = answers.number(answer, "a number of claims")
    values = _compared(_SEARCHERS, 100).values()
    difference = (values["hybrid"] - values["bm25"]).to_numpy()
    # statistics.detectable is z · s / √n, so the number that detects d is n · (detectable / d)²
    true = len(difference) * (statistics.detectable(difference) / _TRUE_DIFFERENCE) ** 2
    if abs(count / true - 1) < 0.01:
        return "Half as many give a coin flip: p < 0.05 in only about every second sample."
    unpaired = true * (values["hybrid"].var() + values["bm25"].var()) / difference.var(ddof=1)
    for value, why in (
        (true * (1.96 / 2.80) ** 2, "That is with 1.96: enough for one sample in two, not for four in five."),
        (true**0.5, "That is the root of it."),
        (unpaired, "That is with different claims for each system. Take the spread of the paired differences."),
        (true * 4, "That is for a difference of 0.01."),
    ):
        if abs(count / value - 1) < 0.02:
            raise NotYet(why)
    raise NotYet(f"{count:,.0f} is not it. Solve 2.80 · s / √n = 0.02 for n; s belongs to this pair of systems.")


def reciprocal_ranks(answer) -> str:
    """05-c: the fused scores of three films for q05, by reciprocal ranks."""
    given = answers.table(answer, "the fused scores", _FUSED)
    places = {name: order.index for name, order in _orders().items()}
    true = {d: sum(1 / (2 + place(d)) for name, place in places.items() if d in _orders()[name]) for d in _FUSED}
    if all(abs(given[d] - true[d]) < 0.001 for d in _FUSED):
        order = ", ".join(titles()[doc_id] for doc_id in sorted(true, key=true.__getitem__, reverse=True))
        return f"In the fused order: {order}. Which of them is meant?"
    late = {d: sum(1 / (3 + p(d)) for n, p in places.items() if d in _orders()[n]) for d in _FUSED}
    if all(abs(given[d] - late[d]) < 0.001 for d in _FUSED):
        raise NotYet("You added the rank from 1. Qdrant counts from 0: the first of a list gets 1 / (2 + 0).")
    off = [d for d in _FUSED if abs(given[d] - true[d]) >= 0.001]
    raise NotYet(f"The score of film {' and of film '.join(off)} is off. Add 1 / (2 + place) over the lists it is in.")


@functools.cache
def _orders() -> dict[str, list[str]]:
    """Return the films that dense and bm25 return for q05, best first."""
    results = compare(films(), ["dense", "bm25"]).systems
    return {s.system: s.results[s.results["query_id"] == "q05"]["doc_id"].tolist() for s in results}


CHECKS = {
    "03-a": graded_ndcg,
    "03-b": own_query,
    "03-c": safe_depth,
    "04-a": fit_into_memory,
    "04-b": opposite_claims,
    "04-c": best_of_both,
    "05-a": told_apart,
    "05-b": claims_needed,
    "05-c": reciprocal_ranks,
}
