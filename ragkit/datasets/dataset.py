"""Datasets: documents, queries and judgments, in ir-measures' own column names."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ragkit.boundary import public, whole_number
from ragkit.datasets import beir, fitting, irds, passages, readers
from ragkit.datasets.fitting import Unanswerable, fit
from ragkit.datasets.qrels import judgments_of, read_judgments
from ragkit.datasets.records import Records, of_frame, read_jsonl
from ragkit.errors import RagkitError, shorten
from ragkit.html_table import html_table
from ragkit.paths import shipped

_MOST_BITS = 10_000  # of a whole number that Python writes out: 4,300 digits have some 14,000


@dataclass(frozen=True)
class Dataset:
    """What is searched, what is asked, and what is relevant.

    documents: doc_id, title, text (all str); queries: query_id, text, kind (all str; kind may be "");
    qrels: query_id, doc_id, relevance (int). with_titles: whether a document is embedded as
    "title text", as BEIR does, or as its text alone. notes: what was left out or is unusual.
    Where documents are cut into passages, a row is a passage, and a column `document` has the id of its document, which
    is what qrels judge.
    Two are equal if all that is the same; the tables' indexes and dtypes do not count.
    """

    name: str
    documents: pd.DataFrame
    queries: pd.DataFrame
    qrels: pd.DataFrame
    with_titles: bool = True
    notes: tuple[str, ...] = ()

    @classmethod
    @public("The dataset cannot be made", kinds=False)
    def from_frames(
        cls,
        documents: pd.DataFrame,
        queries: pd.DataFrame,
        qrels: pd.DataFrame,
        name: str = "mine",
        with_titles: bool = True,
    ) -> "Dataset":
        """Return a dataset made of three DataFrames, held to the rules that files are held to.

        documents: doc_id, text and perhaps title; queries: query_id, text and perhaps kind; qrels: query_id, doc_id,
        relevance. Further columns and the indexes are ignored; whole numbers as ids become text. Queries without a
        judgment are left out, and counted in `notes`. name: names its index on a server, so it has no slash. Raises
        RagkitError, naming the row, for a missing column or value (NaN), a text that is none, an id that is there
        twice, and a judgment that files could not hold; and for a judged query that is empty, and judgments none of
        which is of these queries and documents.

        >>> documents = pd.DataFrame({"doc_id": [1, 2], "text": ["a red fish", "a blue bird"]})
        >>> queries = pd.DataFrame({"query_id": ["q"], "text": ["fish"]})
        >>> qrels = pd.DataFrame({"query_id": ["q"], "doc_id": [1], "relevance": [1]})
        >>> Dataset.from_frames(documents, queries, qrels, name="pets")
        Dataset 'pets': 2 documents, 1 queries, 1 judgments
        """
        if not isinstance(name, str) or not name.strip() or any(c in "/\\" or not c.isprintable() for c in name):
            raise RagkitError(f"name: expected a text without slashes and line breaks, such as 'pets'; got {name!r}.")
        texts, evaluated, judged, notes = _of_frames(documents, queries, qrels)
        return cls(name, texts, evaluated, judged, with_titles, (*notes, *_empty(texts)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Dataset):
            return NotImplemented
        mine, theirs = ((d.name, d.with_titles, tuple(d.notes)) for d in (self, other))
        tables = ((self.documents, other.documents), (self.queries, other.queries), (self.qrels, other.qrels))
        return mine == theirs and all(_values(own).equals(_values(others)) for own, others in tables)

    def __hash__(self) -> int:
        return hash((self.name, self.with_titles, tuple(self.notes)))

    def __repr__(self) -> str:
        return f"Dataset {shorten(self.name, 60)!r}: {self._counts()}"

    def _counts(self) -> str:
        documents = f"{len(set(self.document_ids)):,} documents"
        if self.has_passages:
            documents = f"{len(self.documents):,} passages of {documents}"
        return f"{documents}, {len(self.queries):,} queries, {len(self.qrels):,} judgments"

    def _repr_html_(self) -> str:
        grades = self.qrels["relevance"].value_counts().sort_index()
        rows = [
            {
                "": "documents",
                "rows": len(self.documents),
                "content": _first(self.documents, "doc_id", "title", "text"),
            },
            {"": "queries", "rows": len(self.queries), "content": _first(self.queries, "query_id", "text")},
            {"": "judgments", "rows": len(self.qrels)}
            | {"content": ", ".join(f"{count:,} of relevance {grade}" for grade, count in grades.items())},
        ]
        embedded = "title and text are embedded" if self.with_titles else "the text is embedded, the title is not"
        return html_table(f"Dataset {self.name}", embedded, rows, [f"Note: {note}." for note in self.notes])

    @property
    def passages(self) -> list[str]:
        """The text that is embedded for each document, in the documents' order."""
        if not self.with_titles:
            return self.documents["text"].tolist()
        return [f"{d.title} {d.text}".strip() for d in self.documents.itertuples()]

    @property
    def has_passages(self) -> bool:
        """Whether rows are passages, the best of which counts for its document."""
        return "document" in self.documents

    @property
    def whole(self) -> "Dataset":
        """The dataset with whole documents, as qrels judge them: in the place of passages, what these were cut from."""
        return replace(self, documents=passages.whole(self.documents)) if self.has_passages else self

    @property
    def document_ids(self) -> list[str]:
        """The id of each row's document, in the rows' order: its own, or that of the one it is a passage of."""
        return self.documents["document" if self.has_passages else "doc_id"].tolist()

    @property
    def passage_of(self) -> dict[str, str] | None:
        """The id of each passage's document, by its own; None where rows are whole documents."""
        return dict(zip(self.documents["doc_id"], self.document_ids, strict=True)) if self.has_passages else None


@public("The dataset cannot be loaded")
def load_movies() -> Dataset:
    """Return the tutorial's 20 films with the kit's 40 judged queries (every pair is judged).

    Only the description is embedded, as in the tutorial.

    >>> movies = load_movies()
    >>> len(movies.documents), len(movies.queries), len(movies.qrels)
    (20, 40, 800)
    """
    rows = read_jsonl(shipped("movies.jsonl"))
    documents = pd.DataFrame(
        {
            "doc_id": [str(film["id"]) for _, film in rows],
            "title": [film["movie_name"] for _, film in rows],
            "text": [film["movie_description"] for _, film in rows],
        }
    )
    queries = readers.read_queries(shipped("movies_queries.jsonl"))
    qrels, _ = read_judgments(shipped("movies_qrels.tsv"))
    return Dataset("movies", documents, queries, qrels, with_titles=False)


@public("The dataset cannot be loaded")
def load_beir(
    source: str | Path,
    docs: int | Literal["all"] | None = None,
    split: str = "test",
    unanswerable: Unanswerable = "zero",
) -> Dataset:
    """Return a BEIR dataset by name ("scifact"), or any folder with BEIR's layout.

    docs: how many documents. None: 1,000 for scifact and all elsewhere; "all": the whole corpus; a
    number: every document judged for this split and, as distractors, those whose id has the smallest
    SHA-256, so that a subset needs no random draw and is the same everywhere. Scores on a subset are
    higher than on the whole corpus.
    split: which qrels to read. Queries that it does not judge are left out; `notes` counts them, but for queries that
    another split judges. unanswerable: queries whose relevant documents are all missing count as "zero", or are
    "leave out" of the dataset. Raises RagkitError for a dataset that cannot be found or read (with file and line),
    for judgments of another dataset, and for fewer documents than are judged.

    Source: Thakur et al., BEIR (NeurIPS Datasets and Benchmarks 2021).
    """
    folder, name, manifest = beir.locate(source)
    found = readers.read_folder(folder, split)
    documents, all_queries, qrels, notes = found.documents, found.queries, found.qrels, list(found.notes)
    if manifest:
        beir.check(manifest, folder, documents, all_queries, qrels, split)

    documents, cut = passages.settle(documents, qrels)
    whole = passages.whole(documents)
    queries, qrels, unfit = fitting.fit(whole, all_queries, qrels, str(found.qrels_file), unanswerable)
    notes += cut + unfit
    unjudged = (~all_queries["query_id"].isin(found.judged_anywhere)).sum()
    if unjudged:
        notes.append(f"{unjudged} queries have no judgment in any split and were left out")
    if queries.empty:
        raise RagkitError(f"{found.qrels_file}: no query has a judgment, so there is nothing to evaluate.")
    if docs is None:
        docs = 1000 if name == "scifact" else "all"
    if docs != "all" and whole_number("docs", docs) < len(whole):
        documents = subset(documents, set(qrels["doc_id"]) & set(whole["doc_id"]), docs)
        fixed = manifest.get("subset", {}) if manifest else {}
        if (fixed.get("documents"), fixed.get("split")) == (docs, split):
            assert set(fixed["doc_ids"]) == set(documents["doc_id"]), "the manifest's ids are not the rule's"
        notes.append(f"a subset of {docs:,} documents: scores are higher than on the whole dataset")
    return Dataset(name, documents, queries, qrels, notes=(*notes, *_empty(documents)))


@public("The dataset cannot be loaded")
def load_irds(name: str, docs: int | Literal["all"] | None = None, unanswerable: Unanswerable = "zero") -> Dataset:
    """Return a dataset of ir_datasets by its name there, such as "cranfield" or "beir/nfcorpus/test".

    docs: as load_beir takes it; the documents stream by, so that a subset of a large dataset needs little memory.
    unanswerable: as load_beir takes it. The name says which judgments they are. Raises RagkitError as irds.read does,
    if no query has a judgment, and for rows that Dataset.from_frames refuses.

    Source: MacAvaney et al., Simplified data wrangling with ir_datasets (SIGIR 2021).
    """
    documents, queries, qrels, count = irds.read(name, docs)
    source = f"{irds.PREFIX}{name}"
    notes: list[str] = []
    if not queries.empty:
        documents, queries, qrels, notes = _of_frames(documents, queries, qrels, f"{source}, ", unanswerable)
    if queries.empty:
        raise RagkitError(f"{source}: no query has a judgment, so there is nothing to evaluate.")
    if len(documents) < count:
        notes.append(f"a subset of {len(documents):,} documents: scores are higher than on the whole dataset")
    return Dataset(f"irds-{name.replace('/', '-')}", documents, queries, qrels, notes=(*notes, *_empty(documents)))


@public("The dataset cannot be loaded")
def load_dataset(
    source: str | Path,
    docs: int | Literal["all"] | None = None,
    split: str = "test",
    unanswerable: Unanswerable = "zero",
) -> Dataset:
    """Return `movies`, a BEIR dataset by name, one of ir_datasets, or a BEIR-layout folder: what the CLI accepts.

    Raises RagkitError as load_beir and load_irds do, for a number of movies other than all, and for a split beside a
    name of ir_datasets, which says it already.
    """
    if str(source).startswith(irds.PREFIX):
        if split != "test":
            raise RagkitError(f"The name says the split: {source}/{split}, perhaps; leave out the split.")
        return load_irds(str(source).removeprefix(irds.PREFIX), docs, unanswerable)
    if str(source) != "movies":
        return load_beir(source, docs, split, unanswerable)
    if docs not in (None, "all", 20) or split != "test":
        raise RagkitError("The movies come whole, with one split: leave out the number of documents and the split.")
    return load_movies()


def smallest_hashes(ids: Iterable[str], count: int | None = None) -> list[str]:
    """Return the `count` ids with the smallest SHA-256 (hex, of the id as UTF-8), all if None, the smallest first.

    >>> smallest_hashes(["1", "2", "3"], 2)
    ['3', '1']
    """
    return sorted(ids, key=lambda i: hashlib.sha256(i.encode()).hexdigest())[:count]


def subset(documents: pd.DataFrame, judged: set[str], docs: int) -> pd.DataFrame:
    """Return `docs` documents, the judged ones and, beside them, those whose id has the smallest SHA-256.

    Raises RagkitError where more are judged.
    """
    if docs < len(judged):
        raise RagkitError(f"{len(judged)} documents are judged, so a subset has at least as many; got {docs}.")
    ids = documents["document" if "document" in documents else "doc_id"]
    others = (i for i in dict.fromkeys(ids) if i not in judged)
    keep = judged.union(smallest_hashes(others, docs - len(judged)))
    return documents[ids.isin(keep)].reset_index(drop=True)


def _empty(documents: pd.DataFrame) -> list[str]:
    """Return a note that counts the documents without a text, if there are any."""
    empty = (documents["title"].str.strip() + documents["text"].str.strip() == "").sum()
    return [f"{empty} documents are empty; they are kept, and their vectors mean nothing"] if empty else []


def _values(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.reset_index(drop=True).astype(object)


def _first(frame: pd.DataFrame, id_name: str, *texts: str) -> str:
    """Return the id of the first row and how its text begins, as an example."""
    if frame.empty:
        return "none"
    row = frame.iloc[0]
    words = " – ".join(text for text in (" ".join(str(row[name]).split()) for name in texts) if text)
    return f"such as {row[id_name]}: {shorten(words, 90)}"


def _of_frames(
    documents: pd.DataFrame,
    queries: pd.DataFrame,
    qrels: pd.DataFrame,
    source: str = "",
    unanswerable: Unanswerable = "zero",
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, list[str]]:
    """Return documents, queries and qrels as Dataset has them, and notes on what was left out.

    documents: doc_id, text and perhaps title and document (what it is a passage of); queries: query_id, text and
    perhaps kind; qrels: query_id, doc_id, relevance. source: what the names of the frames begin with in an error;
    unanswerable: see fit. Raises RagkitError, naming the row, for what is refused in a file, and for a value that is
    missing; for a judged query that is empty, and for judgments none of which is of these queries and documents (see
    fit).
    """
    given = _as_in_a_file(_complete(documents, f"{source}documents", ["doc_id", "text"], ["title", "document"]))
    asked = _as_in_a_file(_complete(queries, f"{source}queries", ["query_id", "text"], ["kind"]))
    questions = readers.texts_of(asked, "query_id")[["query_id", "text", "kind"]]
    judged = judgments_of(_complete(qrels, f"{source}qrels", ["query_id", "doc_id", "relevance"]))
    texts, cut = passages.settle(readers.documents_of(readers.texts_of(given, "doc_id")), judged)
    left = (~questions["query_id"].isin(set(judged["query_id"]))).sum()
    evaluated, judged, notes = fit(passages.whole(texts), questions, judged, f"{source}qrels", unanswerable)
    notes = cut + notes
    blank = evaluated.loc[evaluated["text"].str.strip() == "", "query_id"]
    if not blank.empty:
        raise RagkitError(f"{source}queries: the query {blank.iloc[0]!r} is empty, but judged; give it its text.")
    notes += [f"{left:,} queries have no judgment and were left out"] * bool(left)
    return texts, evaluated, judged, notes


def _as_in_a_file(found: Records) -> Records:
    """Return rows that have their further fields where a file has them."""
    return replace(found, rows=[(number, {**row, "metadata": row}) for number, row in found.rows])


def _complete(frame: pd.DataFrame, name: str, columns: Sequence[str], optional: Sequence[str] = ()) -> Records:
    """Return the rows of a frame with these columns alone, in which no value is missing."""
    expected = ", ".join(columns) + (f" and perhaps {', '.join(optional)}" if optional else "")
    if not isinstance(frame, pd.DataFrame):
        raise RagkitError(f"{name}: expected a DataFrame with the columns {expected}; got {type(frame).__name__}.")
    there = ", ".join(map(str, frame.columns)) or "none"
    if not set(columns) <= set(frame.columns):
        lacking = ", ".join(column for column in columns if column not in frame.columns)
        raise RagkitError(f"{name}: no column {lacking}; expected {expected}, and there are: {there}.")
    if not frame.columns.is_unique:
        raise RagkitError(f"{name}: two columns have the same name; there are: {there}.")
    if frame.empty:
        raise RagkitError(f"{name}: the DataFrame is empty.")
    wanted = [column for column in (*columns, *optional) if column in frame.columns]
    found = of_frame(frame[wanted].reset_index(drop=True), name)
    rows: list[tuple[int, Mapping[str, Any]]] = [
        (number, {column: _own(value) for column, value in row.items()}) for number, row in found.rows
    ]
    for number, row in rows:
        for column, value in row.items():
            if value is None:
                raise RagkitError(f"{found.where(number)}: {column} is missing; fill it in, or drop the row.")
    return replace(found, rows=rows)


def _own(value: Any) -> Any:
    """Return a value of NumPy's as Python's own, and a number of more digits than Python writes as none."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return math.inf
    return value.item() if isinstance(value, np.generic) else value
