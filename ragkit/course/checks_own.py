"""Checks of the exercises of lesson 07: pools, and queries that somebody chose."""

import functools

import pandas as pd

from ragkit.course import answers
from ragkit.course.answers import NotYet
from ragkit.course.checks_basics import ask, films, queries
from ragkit.evaluation import statistics
from ragkit.evaluation.measures import per_query

_POOLED = 3  # of dense's first, judged in 07-a


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
    """07-a: colbert's mean nDCG@10 on the films if only dense's first three of each query were judged."""
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
    """07-b: ten of the 40 queries by which colbert beats dense with p < 0.05."""
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


CHECKS = {"07-a": left_out_of_the_pool, "07-b": chosen_queries}
