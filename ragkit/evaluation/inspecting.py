"""Is a dataset what one thinks it is, and what could it show? What is looked at before anything is compared."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, zip_longest

import pandas as pd

from ragkit.boundary import public
from ragkit.datasets.dataset import Dataset, smallest_hashes
from ragkit.datasets.inspecting import (
    EXAMPLES,
    Check,
    Inspection,
    check_texts,
    count,
    language,
    percent,
    plain,
    truncation,
)
from ragkit.encoders.variants import load_encoders, load_readers, vector_spec
from ragkit.engines.opening import passing_index
from ragkit.errors import shorten
from ragkit.evaluation.agreement import DEPTH, Agreement, agreement, first, success
from ragkit.evaluation.comparison import Comparison
from ragkit.evaluation.measures import find_measure
from ragkit.evaluation.retriever import Retriever
from ragkit.evaluation.statistics import ALPHA, detectable_by
from ragkit.evaluation.systems import System, is_oracle

VECTORS = ("dense", "colbert")
_QUERIES = 100  # that are searched, evenly spread
_SEARCHED, _ENCODED = 20_000, 1000  # documents at most, for bm25 and for dense
_SOUND = 0.7  # share of queries with a relevant document among bm25's first: then judgments need no second look

# Standard deviations of the queries' differences in nDCG@10, from docs/results/scifact-full.json and movies.json.
SPREADS = {
    ("dense", "colbert"): {"scifact": 0.234, "movies": 0.150},
    ("dense", "bm25"): {"scifact": 0.320, "movies": 0.383},
}
# A difference that is large: the largest between two systems on the whole of SciFact is 0.084.
LARGE = 0.1
_SMALL = 0.05


@public("The dataset cannot be inspected")
def inspect(dataset: Dataset, vectors: Sequence[str] = VECTORS, comparisons: int = 1) -> Inspection:
    """Return what is found in a dataset that makes a comparison worthless, before anything is compared.

    Looked at are: whether the models behind `vectors` know the texts' language and writing, and what they cut off;
    texts under several ids, queries that are documents, empty documents, ids that differ only in form; whether the
    judgments belong to the documents and queries they name; and how large a difference the queries could show.
    Texts are read by the models' tokenizers. At most 100 queries are searched by bm25 in at most 20,000 documents and,
    only where that finds few relevant documents, by dense in 1,000; those that are judged relevant come first, as many
    of each query as there is room for. comparisons: how many systems will be compared with a baseline. Raises
    RagkitError for a name of vectors that is none.

    >>> from ragkit.datasets import load_movies
    >>> inspect(load_movies()).findings
    ()
    """
    readers = load_readers(vectors)
    checks = [
        language(dataset, readers),
        truncation(dataset, readers),
        *check_texts(dataset),
        judgments(dataset),
        estimated(dataset.qrels["query_id"].nunique(), comparisons),
    ]
    counts = len(set(dataset.document_ids)), len(dataset.queries), len(dataset.qrels)
    return Inspection(dataset.name, *counts, tuple(checks), dataset.notes)


def corrected(inspection: Inspection, comparison: Comparison) -> Inspection:
    """Return the inspection with the difference that the compared systems' queries can show, now that it is known."""
    checks = (measured(check, comparison) if check.kind == "power" else check for check in inspection.checks)
    return replace(inspection, checks=tuple(checks))


def judgments(dataset: Dataset) -> Check:
    """Return whether the judgments belong to the documents and queries that they name.

    They do not where systems agree with each other, but not with the judgments, and a shift of these explains it or
    they fit no better than those of other queries.
    """
    there = dataset.qrels["doc_id"].isin(set(dataset.document_ids))
    relevant = dataset.qrels[there & (dataset.qrels["relevance"] > 0)]
    asked = dataset.queries[dataset.queries["query_id"].isin(set(relevant["query_id"]))]
    if asked.empty:
        return Check(
            "judgments",
            "no document that is here is judged relevant" if len(dataset.qrels) else "nothing is judged yet",
        )
    asked = asked.iloc[:: -(-len(asked) // _QUERIES)].reset_index(drop=True)
    sets = relevant.groupby("query_id")["doc_id"].agg(set).to_dict()
    near = [smallest_hashes(sets[query_id]) for query_id in asked["query_id"]]
    searched = _part(replace(dataset, queries=asked), near, _SEARCHED)
    sparse = _run(searched, "bm25")
    depth = first(len(set(searched.document_ids)))
    found = {q: of["doc_id"].tolist()[:depth] for q, of in sparse.groupby("query_id")}
    share = success([q for q in asked["query_id"]], {"bm25": {q: found.get(q, []) for q in asked["query_id"]}}, sets)
    if share >= _SOUND:
        what = f"bm25 has a relevant document {_among(depth)} for {percent(share)} of {len(asked)} queries"
        return Check("judgments", what)
    seen = sparse[sparse["rank"] <= DEPTH].groupby("query_id")["doc_id"].agg(list)
    encoded = _part(searched, [*near, *seen], _ENCODED)
    runs = {"bm25": sparse, "dense": _run(encoded, "dense")}
    order = list(dict.fromkeys(dataset.document_ids))
    return _check(agreement(runs, relevant, order, dataset.queries["query_id"].tolist()), dataset)


def _part(dataset: Dataset, needed: Sequence[Sequence[str]], count: int) -> Dataset:
    """Return the dataset with `count` documents, or as it is if it has no more.

    needed: lists of documents, of which as many are kept as there is room for: of each list the first, then the second,
    and so on. What is not kept is not found, whatever judgments say of it.
    """
    ids = dict.fromkeys(dataset.document_ids)
    if len(ids) <= count:
        return dataset
    turns = (doc_id for turn in zip_longest(*needed) for doc_id in turn if doc_id in ids)
    kept = set(islice(dict.fromkeys(turns), count))
    kept.update(smallest_hashes((i for i in ids if i not in kept), count - len(kept)))
    rows = [doc_id in kept for doc_id in dataset.document_ids]
    return replace(dataset, documents=dataset.documents[rows].reset_index(drop=True))


def _run(dataset: Dataset, vectors: str) -> pd.DataFrame:
    """Return the first documents of each query, from an index that is not kept, whatever engine is set.

    A document that is the query itself is left out: it is found by all, and tells nothing.
    """
    encoder = load_encoders([vectors])[vectors]
    with passing_index({vectors: vector_spec(vectors, encoder)}, "inspect") as index:
        index.stream(dataset.documents["doc_id"].tolist(), ({vectors: v} for v in encoder.stream(dataset.passages)))
        retriever = Retriever(
            index, {vectors: encoder}, System(vectors), limit=2 * DEPTH, passage_of=dataset.passage_of
        )
        found = retriever.run(dataset.queries).results
    texts = {doc_id: plain(text) for doc_id, text in _texts(dataset).items()}
    asked = dict(zip(dataset.queries["query_id"], map(plain, dataset.queries["text"]), strict=True))
    pairs = zip(found["query_id"], found["doc_id"], strict=True)
    others = pd.Series([texts[doc_id] != asked[query_id] for query_id, doc_id in pairs], found.index, dtype=bool)
    found = found[others]
    return found.assign(rank=found.groupby("query_id").cumcount() + 1)


def _texts(dataset: Dataset) -> dict[str, str]:
    """Return the text of each whole document."""
    whole = dataset.whole
    return dict(zip(whole.document_ids, whole.passages, strict=True))


def _check(found: Agreement, dataset: Dataset) -> Check:
    if not found.queries:
        return Check("judgments", "bm25 finds nothing for any query")
    what = (
        f"bm25 or dense has a relevant document {_among(found.depth)} for {percent(found.judged)} of {found.queries} "
        f"queries; each has the other's first document there for {percent(found.mutual)}"
    )
    if not found.broken:
        return Check("judgments", what)
    what += f"; with other queries' judgments it is {percent(found.chance)}"
    if found.explanation:
        what += f". {found.explanation[0].upper()}{found.explanation[1:]}"
        what += "" if math.isnan(found.explained) else f"; undone, it is {percent(found.explained)}"
    else:
        what += ". No shift of rows explains it"
    advice = (
        "Read these queries with the document that is judged and the one that both systems find first. If the "
        "judgments are wrong, make them anew from their source: on these every system is as good as chance"
    )
    return Check("judgments", what, advice, tuple(_to_read(found, dataset)))


def _to_read(found: Agreement, dataset: Dataset) -> Iterator[str]:
    """Yield the queries that show it soonest: most of their words stand in what is found, fewest in what is judged."""
    texts = _texts(dataset)
    asked = dict(zip(dataset.queries["query_id"], dataset.queries["text"], strict=True))

    def plainness(misfit: tuple[str, str, str]) -> float:
        query_id, judged, seen = misfit
        words = _words(asked[query_id])
        shared = len(words & _words(texts[seen])) - len(words & _words(texts.get(judged, "")))
        return shared / max(1, len(words))

    for query_id, judged, seen in sorted(found.misfits, key=plainness, reverse=True)[:EXAMPLES]:
        yield (
            f"query {query_id!r}: {shorten(asked[query_id], 90)!r}; judged {judged!r}: "
            f"{shorten(texts.get(judged, ''), 70)!r}; found {seen!r}: {shorten(texts[seen], 70)!r}"
        )


def _among(depth: int) -> str:
    return f"among the first {depth}" if depth > 1 else "first"


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.casefold()) if len(word) > 3}


def estimated(queries: int, comparisons: int = 1) -> Check:
    """Return what so many queries could show, if systems differ on them as on SciFact or the movies.

    comparisons: how many systems are compared with the baseline (see statistics.detectable).

    A fault where even systems as alike as dense and colbert on the movies would have to differ by more than 0.1.

    >>> estimated(300).what[:47]
    '300 queries could show a difference of 0.038 nD'
    >>> estimated(300).found, estimated(10).found
    (False, True)
    """
    if not queries:
        return Check("power", "no query is judged, so nothing can be compared yet")
    alike, unlike = _by(queries, comparisons)
    movies = _by(queries, comparisons, "movies")
    among = f", among {comparisons} comparisons," if comparisons > 1 else ""
    what = (
        f"{count(queries, 'query', 'queries')} could show{among} a difference of {alike:.3f} nDCG@10 between dense "
        f"and colbert, {unlike:.3f} between dense and bm25, if they differ as on SciFact "
        f"({movies[0]:.3f} and {movies[1]:.3f} if as on the movies)"
    )
    return Check("power", what, _advice() if min(alike, movies[0]) > LARGE else "")


def _by(queries: int, comparisons: int, dataset: str = "scifact") -> list[float]:
    return [detectable_by(spreads[dataset], queries, comparisons) for spreads in SPREADS.values()]


def measured(estimate: Check, comparison: Comparison) -> Check:
    """Return the check with what these systems' queries show in place of the estimate, which it still tells.

    As it was where nothing is compared with anything, or nDCG@10 was not computed. A fault where no difference is
    shown, and even the system that is most like the baseline would have to differ by more than 0.1.
    """
    measure = find_measure("nDCG@10", comparison.measures)
    if len(comparison.systems) < 2 or measure is None or comparison.queries < 2:
        return estimate
    rows = comparison.evidence(measure).to_dict("records")[1:]
    rows = [row for row in rows if not is_oracle(row["system"]) and row["p"] == row["p"]]  # else of one build
    if not rows:
        return estimate
    before = _by(comparison.queries, len(rows))
    each = ", ".join(f"{row['detectable']:.3f} for {row['system']}" for row in rows)
    nothing = all(row["p_holm"] >= ALPHA and row["detectable"] > LARGE for row in rows)
    what = (
        f"{comparison.queries:,} queries show a difference to {comparison.systems[0].system} of {each} (nDCG@10, "
        f"measured; estimated before by SciFact's: {' and '.join(f'{value:.3f}' for value in before)})"
    )
    return Check("power", what, _advice() if nothing else "")


def _advice() -> str:
    factor = detectable_by(max(SPREADS["dense", "colbert"].values()), 1) / _SMALL
    return (
        f"Judge more queries: a difference of {_SMALL} between dense and colbert takes about {math.ceil(factor**2)}; "
        "until then a comparison that shows nothing says nothing"
    )
