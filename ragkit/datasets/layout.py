"""A folder in BEIR's layout: corpus, queries and qrels by split, each in any format that is read."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ragkit.datasets import readers
from ragkit.datasets.characters import checked_text
from ragkit.errors import RagkitError

# Where several files are there, the first of these is read.
_ENDS = (".jsonl", ".jsonl.gz", ".tsv", ".tsv.gz", ".parquet")
_QRELS_ENDS = (".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet")


@dataclass(frozen=True)
class Folder:
    """What is in a folder, for one split: nothing is left out yet.

    documents, queries, qrels: as Dataset has them; qrels_file: the split's; judged_anywhere: the ids of all queries
    that some split judges; notes: what is unusual about the files.
    """

    documents: pd.DataFrame
    queries: pd.DataFrame
    qrels: pd.DataFrame
    qrels_file: Path
    judged_anywhere: set[str]
    notes: list[str]


def find(folder: str | Path, name: str) -> list[Path]:
    """Return a folder's files of that name ("corpus" or "queries"), the one to be read first.

    They end with .jsonl or .tsv, these two perhaps with .gz after it, or .parquet.
    """
    return [path for end in _ENDS if (path := Path(folder) / f"{name}{end}").exists()]


def splits(folder: str | Path) -> dict[str, list[Path]]:
    """Return a folder's qrels by split, in the order of the splits' names, of each the one to be read first."""
    found: dict[str, list[Path]] = {}
    for end in _QRELS_ENDS:
        for path in (Path(folder) / "qrels").glob(f"*{end}"):
            found.setdefault(path.name.removesuffix(end), []).append(path)
    return dict(sorted(found.items()))


def files(folder: str | Path) -> list[Path]:
    """Return every file of a folder that is read: its corpus, its queries, and the qrels of each split."""
    found = [find(folder, "corpus"), find(folder, "queries"), *splits(folder).values()]
    return [paths[0] for paths in found if paths]


def read(folder: Path, split: str) -> Folder:
    """Return what is in a folder that has a corpus.

    An empty query that this split does not judge stops nothing, nor does another split that is empty or cannot be
    read. Raises RagkitError, naming file and line, for a file or split that is missing, has no judgments or cannot be
    read, and for an empty query that the split judges.
    """
    checked_text(folder.resolve().name, f"the name of the folder {str(folder)!r}")
    corpora, asked, judged = find(folder, "corpus"), find(folder, "queries"), splits(folder)
    if not asked:
        raise RagkitError(f"No {folder / 'queries'}{', '.join(_ENDS)}: one of these is expected.")
    if split not in judged:
        there = ", ".join(judged) or "none"
        raise RagkitError(f"No {folder / 'qrels' / split}.tsv. The splits in this folder: {there}.")
    documents, queries = readers.read_corpus(corpora[0]), readers.read_queries(asked[0])
    qrels, notes = readers.read_judgments(judged[split][0])
    others = {name: _judged(paths[0], notes) for name, paths in judged.items() if name != split}
    if qrels.empty:
        told = ", ".join(name for name, ids in others.items() if ids)
        raise RagkitError(f"{judged[split][0]}: no judgments in it." + (f" Splits with some: {told}." if told else ""))
    blank = queries[(queries["text"].str.strip() == "") & queries["query_id"].isin(set(qrels["query_id"]))]
    if not blank.empty:
        query_id = blank["query_id"].iloc[0]
        raise RagkitError(f"{asked[0]}: the query {query_id!r} is empty, but judged; give it its text.")
    for paths in (corpora, asked, judged[split]):
        if others_there := ", ".join(path.name for path in paths[1:]):
            notes.append(f"{paths[0].name} was read, and not {others_there}, which is there too")
    anywhere = set(qrels["query_id"]).union(*others.values())
    return Folder(documents, queries, qrels, judged[split][0], anywhere, notes)


def _judged(path: Path, notes: list[str]) -> set[str]:
    """Return the ids of the queries that another split judges."""
    try:
        return set(readers.read_judgments(path)[0]["query_id"])
    except RagkitError as error:
        notes.append(f"another split cannot be read, and its queries count as not judged: {error}")
        return set()
