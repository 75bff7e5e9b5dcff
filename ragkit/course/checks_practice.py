"""Checks of the exercises of lessons 06 to 08: what rows cost, first stages, pools and queries that somebody chose."""

import functools
from typing import Any

import numpy as np
import pandas as pd

from ragkit.course import answers
from ragkit.course.answers import NotYet
from ragkit.course.checks_basics import KUBO, ask, encoder, films, queries, ranking
from ragkit.encoders.token_pooling import pool_tokens
from ragkit.encoders.variants import load_encoders
from ragkit.evaluation import statistics
from ragkit.evaluation.measures import per_query
from ragkit.maxsim import maxsim

_FACTOR = 2  # of pooling, exercise 06-a
_TURBO8_BYTES = 132  # of a row of 128 numbers: one byte each, and four for its length
_QUERY = "q01"

_POOLED = 3  # of dense's first, judged in 08-a


def bytes_of_a_film(answer) -> str:
    """06-a: bytes that a search reads of a mean film, as colbert-pool2-turbo8."""
    value = answers.number(answer, "bytes a film")
    rows = np.array(encoder("colbert").rows(films().passages)[0])
    pooled = np.mean(1 + -(-(rows - 1) // _FACTOR))  # [CLS] stays alone; of an odd number one row is left over
    true = _TURBO8_BYTES * pooled
    if abs(value - true) < 1:
        return f"{true / (512 * rows.mean()):.3f} of what colbert reads."
    for other, why in (
        (512 * pooled, "That is with four bytes a number."),
        (_TURBO8_BYTES * rows.mean(), "That is with every row; pool2 keeps about a half."),
        (128 * pooled, "turbo8 keeps a little beside each row: see the lesson's table of bytes a row."),
        (true * len(rows), "That is of all films together."),
        (
            _TURBO8_BYTES * rows.mean() / _FACTOR,
            "Half of the rows, nearly: [CLS] is not pooled, and of an odd number one is left over.",
        ),
    ):
        if abs(value - other) < 1:
            raise NotYet(why)
    raise NotYet(f"{value:,.0f} is not it. Mean rows of pool_tokens(multivector, 2), times a row's bytes as turbo8.")


def score_by_signs(answer) -> str:
    """06-b: Kubo's MaxSim for q01 by the signs of all numbers."""
    value = answers.number(answer, "a score")
    query = encoder("colbert").encode_queries([queries()[_QUERY]])[0]
    place = films().documents["doc_id"].tolist().index(KUBO)
    document = encoder("colbert").encode_documents(films().passages)[place]
    products = np.sign(query) @ np.sign(document).T
    true = products.max(axis=1).sum()
    if abs(value - true) < 0.5:
        agree = (true / len(query) + 128) / 2
        return f"A query row and its best row agree in {agree:.0f} of 128 signs, on average. Two rows by chance: 64."
    for other, why in (
        (maxsim(query, document).score, "That is MaxSim of the numbers themselves; take their signs first."),
        (true / 128, "That is the score divided by 128. Signs are not of length 1; leave them as they are."),
        (products.max(axis=0).sum(), "You took the best query row of each film row. MaxSim goes the other way."),
        (products.sum(), "That adds every pair; each query row counts its best film row alone."),
        (true / len(query), "That is the mean over the query's rows. MaxSim is their sum."),
    ):
        if abs(value - other) < 0.005 * max(1, abs(other)):
            raise NotYet(why)
    raise NotYet(f"{value:g} is not it. np.sign of both, all products, the best of each query row, the sum.")


def changed_firsts(answer) -> str:
    """06-c: for how many queries colbert-pool4 has another first film than colbert."""
    count = answers.whole(answer, "a number of queries")
    if not 0 <= count <= len(queries()):
        raise NotYet(f"{count} is no number of queries here: there are {len(queries())}.")
    changed = {factor: len(_changed(factor)) for factor in (2, 3, 4)}
    if count == changed[4]:
        return f"With a half of the rows it is {changed[2]}, with a third {changed[3]}."
    if count == len(queries()) - changed[4]:
        raise NotYet("Those are the queries whose first film stays the same.")
    for factor in (2, 3):
        if count == changed[factor]:
            raise NotYet(f"That is with factor {factor}.")
    raise NotYet(f"Not {count}. Rank all films for each query, once by all rows and once by pool_tokens(rows, 4).")


@functools.cache
def _changed(factor: int) -> list[str]:
    """Return the queries for which pooled films have another first one."""
    whole = encoder("colbert").encode_documents(films().passages)
    pooled = [pool_tokens(rows, factor) for rows in whole]
    asked = encoder("colbert").encode_queries(queries().tolist())

    def first(query: np.ndarray, documents: list[np.ndarray]) -> int:
        return int(np.argmax([maxsim(query, rows).score for rows in documents]))

    return [i for i, query in zip(queries().index, asked, strict=True) if first(query, whole) != first(query, pooled)]


def depth_for_the_first(answer) -> str:
    """07-a: the smallest depth at which muvera's candidates hold colbert's first film of every query."""
    depth = answers.whole(answer, "a depth")
    if not 1 <= depth <= 20:
        raise NotYet(f"{depth} is no depth here: there are 20 films.")
    places = np.array(_places())
    if lost := int((places > depth).sum()):
        raise NotYet(f"At depth {depth}, {lost} of {len(places)} queries lose colbert's first film.")
    if depth > places.max():
        raise NotYet(f"At depth {depth} nothing is lost, but a smaller depth loses nothing either.")
    return f"Depth 1 would do for {(places == 1).sum()} of {len(places)} queries."


@functools.cache
def _places() -> list[int]:
    """Return for each query the rank that muvera gives to colbert's first film."""
    muvera: Any = load_encoders(["muvera"])["muvera"]
    texts, doc_ids = queries().tolist(), films().documents["doc_id"].tolist()
    documents = np.stack(muvera.encode_documents(films().passages))
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)  # as the engine does, which compares by the cosine
    products = np.stack(muvera.encode_queries(texts)) @ documents.T
    firsts = [ranking("colbert", query)[0][0] for query in encoder("colbert").encode_queries(texts)]
    own = products[np.arange(len(texts)), [doc_ids.index(doc_id) for doc_id in firsts]]
    return (1 + (products > own[:, None]).sum(axis=1)).tolist()


def mean_of_the_region(answer) -> str:
    """07-b: what MUVERA adds for a query row at 30 degrees: its product with the mean of the rows in its region."""
    value = answers.number(answer, "a number")
    query, rows, planes = _unit(30)[0], _unit(10, 60, 100, 190, 260), _unit(80, 170)
    near = ((rows @ planes.T > 0) == (query @ planes.T > 0)).all(axis=1)
    products = rows @ query
    if abs(value - products[near].mean()) < 0.001:
        return f"The best row has {products.max():.3f}, and the mean of all five {products.mean():.3f}."
    one = (rows @ planes[0] > 0) == (query @ planes[0] > 0)
    for other, why in (
        (products.max(), "That is MaxSim: the best row. MUVERA does not know which one it is."),
        (products.mean(), "That is the mean of all rows. Only those in the query's region count."),
        (products[near].sum(), "That is the sum. A document keeps the mean of a region's rows."),
        (products[one].mean(), "That is with the first plane alone."),
    ):
        if abs(value - other) < 0.001:
            raise NotYet(why)
    raise NotYet(
        f"{value:.3f} is not it. The rows on the query's side of both planes, their mean, times the query row."
    )


def _unit(*degrees: float) -> np.ndarray:
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


@functools.cache
def _run(name: str) -> pd.DataFrame:
    rows = [(q, doc_id, -float(i), i) for q, text in queries().items() for i, doc_id in enumerate(ask(name, text), 1)]
    return pd.DataFrame(rows, columns=["query_id", "doc_id", "score", "rank"])


def _ndcg(name: str, pooled: tuple[str, ...] = ()) -> pd.Series:
    """Return nDCG@10 a query, by all judgments or by those of the pooled systems' first documents."""
    qrels = films().qrels
    if pooled:
        tops = pd.concat([_run(system)[_run(system)["rank"] <= _POOLED] for system in pooled])
        qrels = qrels.merge(tops[["query_id", "doc_id"]].drop_duplicates())
    return per_query(_run(name), qrels)["nDCG@10"]


def left_out_of_the_pool(answer) -> str:
    """08-a: colbert's mean nDCG@10 on the films if only dense's first three of each query were judged."""
    value = answers.number(answer, "colbert's mean nDCG@10")
    true, dense = _ndcg("colbert", ("dense",)).mean(), _ndcg("dense", ("dense",)).mean()
    if abs(value - true) < 0.001:
        return f"dense has {dense:.3f} on the same judgments. It chose what was looked at."
    for other, why in (
        (_ndcg("colbert").mean(), "That is with every film judged."),
        (dense, "That is dense's, on its own pool."),
        (_ndcg("colbert", ("colbert",)).mean(), "That is with colbert's own first three judged."),
        (_ndcg("colbert", ("dense", "colbert")).mean(), "That is with the first three of both judged."),
    ):
        if abs(value - other) < 0.001:
            raise NotYet(why)
    raise NotYet(f"{value:.3f} is not it. Keep the judgments of dense's first three, and measure colbert's whole run.")


def chosen_queries(answer) -> str:
    """08-b: ten of the 40 queries by which colbert beats dense with p < 0.05."""
    what = "the ids of ten queries"
    chosen = sorted({answers.text(item, what).lower() for item in answers.items(answer, what, 10)})
    unknown = [query_id for query_id in chosen if query_id not in queries().index]
    if unknown:
        raise NotYet(f"There is no query {unknown[0]!r}; they are q01 to q40.")
    if len(chosen) < 10:
        raise NotYet(f"Ten different queries are asked for; got {len(chosen)}.")
    found = statistics.paired(_ndcg("colbert")[chosen], _ndcg("dense")[chosen])
    told = f"{found.difference.value:+.3f}, p = {found.p:.3f}, {found.wins} wins and {found.losses} losses"
    if found.difference.value <= 0:
        raise NotYet(f"{told}: by these queries colbert is not ahead.")
    if found.p >= statistics.ALPHA:
        raise NotYet(f"{told}: ahead, but p is not below 0.05.")
    return f"{told}. The test is sound; the choice is not."


CHECKS = {
    "06-a": bytes_of_a_film,
    "06-b": score_by_signs,
    "06-c": changed_firsts,
    "07-a": depth_for_the_first,
    "07-b": mean_of_the_region,
    "08-a": left_out_of_the_pool,
    "08-b": chosen_queries,
}
