"""Collections with queries and judgments, in ir-measures' own column names."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from ragkit.datasets import beir, fitting, irds, layout, readers
from ragkit.datasets.fitting import Unanswerable
from ragkit.errors import RagkitError
from ragkit.paths import shipped


@dataclass(frozen=True)
class Dataset:
    """A test collection: what is searched, what is asked, and what is relevant.

    documents: doc_id, title, text (all str); queries: query_id, text, kind (all str; kind may be "");
    qrels: query_id, doc_id, relevance (int). with_titles: whether a document is embedded as
    "title text", as BEIR does, or as its text alone. notes: what was left out or is unusual.
    """

    name: str
    documents: pd.DataFrame
    queries: pd.DataFrame
    qrels: pd.DataFrame
    with_titles: bool = True
    notes: tuple[str, ...] = ()

    @property
    def passages(self) -> list[str]:
        """The text that is embedded for each document, in the documents' order."""
        if not self.with_titles:
            return self.documents["text"].tolist()
        return [f"{d.title} {d.text}".strip() for d in self.documents.itertuples()]


def load_movies() -> Dataset:
    """Return the tutorial's 20 films with the kit's 40 judged queries (every pair is judged).

    Only the description is embedded, as in the tutorial.

    >>> movies = load_movies()
    >>> len(movies.documents), len(movies.queries), len(movies.qrels)
    (20, 40, 800)
    """
    rows = readers.read_jsonl(shipped("movies.jsonl"))
    documents = pd.DataFrame(
        {
            "doc_id": [str(film["id"]) for _, film in rows],
            "title": [film["movie_name"] for _, film in rows],
            "text": [film["movie_description"] for _, film in rows],
        }
    )
    queries = readers.read_queries(shipped("movies_queries.jsonl"))
    qrels = readers.read_qrels(shipped("movies_qrels.tsv"))
    return Dataset("movies", documents, queries, qrels, with_titles=False)


def load_beir(
    source: str | Path,
    docs: int | Literal["all"] | None = None,
    split: str = "test",
    unanswerable: Unanswerable = "zero",
) -> Dataset:
    """Return a BEIR collection by name ("scifact"), or any folder with BEIR's layout.

    docs: how many documents. None: 1,000 for scifact and all elsewhere; "all": the whole corpus; a
    number: every document judged for this split and, as distractors, those whose id has the smallest
    SHA-256, so that a subset needs no random draw and is the same everywhere. Scores on a subset are
    higher than on the whole corpus.
    split: which qrels to read. Queries that it does not judge are left out; `notes` counts them, but for queries that
    another split judges. unanswerable: queries whose relevant documents are all missing count as "zero", or are
    "leave out" of the dataset. Raises RagkitError for a collection that cannot be found or read (with file and line),
    for judgments of another collection, and for fewer documents than are judged.

    Source: Thakur et al., BEIR (NeurIPS Datasets and Benchmarks 2021).
    """
    folder, name, manifest = beir.locate(source)
    found = layout.read(folder, split)
    documents, all_queries, qrels, notes = found.documents, found.queries, found.qrels, list(found.notes)
    if manifest:
        beir.check(manifest, folder, documents, all_queries, qrels, split)

    queries, qrels, unfit = fitting.fit(documents, all_queries, qrels, str(found.qrels_file), unanswerable)
    notes += unfit
    unjudged = (~all_queries["query_id"].isin(found.judged_anywhere)).sum()
    if unjudged:
        notes.append(f"{unjudged} queries have no judgment in any split and were left out")
    if queries.empty:
        raise RagkitError(f"{found.qrels_file}: no query has a judgment, so there is nothing to evaluate.")
    if docs is None:
        docs = 1000 if name == "scifact" else "all"
    if docs != "all" and docs < len(documents):
        documents = _subset(documents, set(qrels["doc_id"]) & set(documents["doc_id"]), docs)
        fixed = manifest.get("subset", {}) if manifest else {}
        if (fixed.get("documents"), fixed.get("split")) == (docs, split):
            assert set(fixed["doc_ids"]) == set(documents["doc_id"]), "the manifest's ids are not the rule's"
        notes.append(f"a subset of {docs:,} documents: scores are higher than on the whole collection")
    empty = (documents["title"].str.strip() + documents["text"].str.strip() == "").sum()
    if empty:
        notes.append(f"{empty} documents are empty; they are kept, and their vectors mean nothing")
    return Dataset(name, documents, queries, qrels, notes=tuple(notes))


def load_irds(name: str, docs: int | Literal["all"] | None = None, unanswerable: Unanswerable = "zero") -> Dataset:
    """Return a collection of ir_datasets by its name there, such as "cranfield" or "beir/nfcorpus/test".

    docs: as load_beir takes it; the documents stream by, so that a subset of a large collection needs little memory.
    unanswerable: as load_beir takes it. The name says which judgments they are. Raises RagkitError as irds.read does,
    and if no query has a judgment.

    Source: MacAvaney et al., Simplified data wrangling with ir_datasets (SIGIR 2021).
    """
    documents, queries, qrels, count = irds.read(name, docs)
    queries, qrels, notes = fitting.fit(documents, queries, qrels, f"{irds.PREFIX}{name}", unanswerable)
    if queries.empty:
        raise RagkitError(f"{irds.PREFIX}{name}: no query has a judgment, so there is nothing to evaluate.")
    if len(documents) < count:
        notes.append(f"a subset of {len(documents):,} documents: scores are higher than on the whole collection")
    return Dataset(f"irds-{name.replace('/', '-')}", documents, queries, qrels, notes=tuple(notes))


def load_dataset(
    source: str | Path,
    docs: int | Literal["all"] | None = None,
    split: str = "test",
    unanswerable: Unanswerable = "zero",
) -> Dataset:
    """Return `movies`, a BEIR collection by name, one of ir_datasets, or a BEIR-layout folder: what the CLI accepts.

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


def smallest_hashes(ids: Iterable[str], count: int) -> set[str]:
    """Return the `count` ids with the smallest SHA-256 (hex, of the id as UTF-8).

    >>> sorted(smallest_hashes(["1", "2", "3"], 2))
    ['1', '3']
    """
    return set(sorted(ids, key=lambda i: hashlib.sha256(i.encode()).hexdigest())[:count])


def _subset(documents: pd.DataFrame, judged: set[str], docs: int) -> pd.DataFrame:
    if docs < len(judged):
        raise RagkitError(f"{len(judged)} documents are judged, so a subset has at least as many; got {docs}.")
    others = (i for i in documents["doc_id"] if i not in judged)
    keep = judged | smallest_hashes(others, docs - len(judged))
    return documents[documents["doc_id"].isin(keep)].reset_index(drop=True)
