"""Judgments against the dataset that they belong to: what fits, what is missing, and what nobody can answer."""

import unicodedata
from collections.abc import Callable, Iterable
from typing import Literal

import pandas as pd

from ragkit.errors import RagkitError

Unanswerable = Literal["zero", "leave out"]
# Ways in which ids that mean the same may be written, each with how it is told.
_FORMS: dict[str, Callable[[str], str]] = {
    "Unicode form": lambda text: unicodedata.normalize("NFC", text),
    "case": str.casefold,
    "spaces around them": str.strip,
    "leading zeros": lambda text: text.lstrip("0") or "0",
}


def fit(
    documents: pd.DataFrame,
    queries: pd.DataFrame,
    qrels: pd.DataFrame,
    source: str,
    unanswerable: Unanswerable = "zero",
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return the judged queries, their judgments, and notes on what does not fit.

    documents: doc_id; queries: query_id; qrels: query_id, doc_id, relevance. source: what to call the judgments in an
    error. Judgments of queries that are not there are left out. Those of documents that are not there are kept, since
    they say that an answer exists: such a query counts as 0, or is left out where `unanswerable` says so. Raises
    RagkitError if no id of a judgment is one of the dataset, with an id of each side and how they differ.
    """
    notes = []
    asked, there = set(queries["query_id"]), set(documents["doc_id"])
    _some("query", set(qrels["query_id"]), asked, source)
    _some("document", set(qrels["doc_id"]), there, source)
    known = qrels["query_id"].isin(asked)
    if not known.all():
        gone = qrels.loc[~known, "query_id"].unique()
        notes.append(
            f"{(~known).sum():,} judgments are of queries that are not there, such as {gone[0]!r}, and are left out"
        )
        qrels = qrels[known].reset_index(drop=True)
    missing = ~qrels["doc_id"].isin(there)
    if missing.any():
        ids = qrels.loc[missing, "doc_id"].unique()
        how = _difference(set(ids), there)
        notes.append(
            f"{missing.sum():,} judgments name a document that is not in the dataset, such as {ids[0]!r}{how}; they "
            "count, as answers that no system can find"
        )
        if unanswerable == "leave out":
            hopeless = set(without_answer(qrels, there)) & set(
                qrels.loc[missing & (qrels["relevance"] > 0), "query_id"]
            )
            qrels = qrels[~qrels["query_id"].isin(hopeless)].reset_index(drop=True)
            notes += [
                f"{len(hopeless):,} queries, of which no relevant document is there, are left out, as asked"
            ] * bool(hopeless)
    queries = queries[queries["query_id"].isin(set(qrels["query_id"]))].reset_index(drop=True)
    return queries, qrels, notes


def without_answer(qrels: pd.DataFrame, there: Iterable[str]) -> list[str]:
    """Return the judged queries without a relevant document in the dataset, in the judgments' order.

    >>> qrels = pd.DataFrame({"query_id": ["a", "b", "c"], "doc_id": ["x", "y", "x"], "relevance": [1, 1, 0]})
    >>> without_answer(qrels, ["x"])
    ['b', 'c']
    """
    found = set(qrels.loc[(qrels["relevance"] > 0) & qrels["doc_id"].isin(set(there)), "query_id"])
    return [query_id for query_id in qrels["query_id"].unique() if query_id not in found]


def _some(what: str, judged: set[str], there: set[str], source: str) -> None:
    if judged and there and not judged & there:
        theirs, ours = min(judged), min(there)
        raise RagkitError(
            f"{source}: no judgment names a {what} of this dataset: the judgments have ids such as {theirs!r}, the "
            f"dataset such as {ours!r}{_difference(judged, there)}. Are they of the same dataset?"
        )


def _difference(judged: set[str], there: set[str]) -> str:
    """Return in words how the ids of judgments and dataset differ; "" if nothing simple explains half of them."""
    for form, normal in _FORMS.items():
        if _explains({normal(i) for i in judged}, {normal(i) for i in there}):
            return f" (they differ by {form})"
    for shorter, longer, whose in ((judged, there, "the dataset's"), (there, judged, "the judgments'")):
        if prefix := _prefix(shorter, longer):
            return f" ({whose} begin with {prefix!r})"
    return ""


def _prefix(shorter: set[str], longer: set[str]) -> str:
    """Return what the longer ids begin with, and the shorter ones do not; "" if that does not explain half of them."""
    for example in sorted(shorter)[:20]:
        for prefix in {i.removesuffix(example) for i in longer if i.endswith(example) and i != example}:
            if _explains({prefix + i for i in shorter}, longer):
                return prefix
    return ""


def _explains(some: set[str], others: set[str]) -> bool:
    return 2 * len(some & others) >= min(len(some), len(others))


def own_documents(documents: pd.DataFrame, queries: pd.DataFrame) -> tuple[set[str], list[str]]:
    """Return the queries that are documents of the dataset themselves, and a note if there are some.

    Those are the queries that have the id and the text of a document, as in ArguAna and Quora, and, where these are
    most of those that have a document's id, the others, too. Where ids alone are shared, both are merely numbered.

    Source: BEIR leaves such a document out of its query's results (ignore_identical_ids of its evaluation).
    """
    both = queries.merge(documents, left_on="query_id", right_on="doc_id", suffixes=("_query", ""))
    asked, text = both["text_query"].map(_plain), both["text"].map(_plain)
    same = (asked == text) | (asked == (both["title"] + " " + both["text"]).map(_plain))
    own = set(both["query_id"] if 2 * same.sum() > len(both) else both.loc[same, "query_id"])
    if not own:
        return own, []
    note = f"{len(own):,} of {len(queries):,} queries are documents of the dataset, too (the same id and text)"
    return own, [f"{note}; each is left out of its own results, as BEIR does"]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
