"""A folder in BEIR's layout: which files it has, and its corpus and queries, read as their owners meant them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ragkit.datasets.contents import checked_id, checked_text
from ragkit.datasets.qrels import read_judgments
from ragkit.datasets.records import Records, read_records
from ragkit.errors import RagkitError, shorten

_ID = {
    "doc_id": ("_id", "id", "doc_id", "docid", "docno", "corpus-id", "pid"),
    "query_id": ("_id", "id", "query_id", "qid", "query-id"),
}

# Where several files are there, the first of these is read.
_ENDS = (".jsonl", ".jsonl.gz", ".tsv", ".tsv.gz", ".parquet")
_QRELS_ENDS = (".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet")


def _read_texts(path: Path, id_name: str, none: bool = False) -> pd.DataFrame:
    found = read_records(path)
    if not found.rows and not none:
        raise RagkitError(f"{path}: the file is empty.")
    return texts_of(found, id_name)


def texts_of(found: Records, id_name: str) -> pd.DataFrame:
    """Return the id of each row, `text` and, where there are, `title`, `metadata.kind` and `metadata.document`.

    document: the id of what a row is a passage of, else the row's own. Other fields are ignored. Raises RagkitError,
    naming the row, as read_corpus does.
    """
    key_name = next((name for name in _ID[id_name] if name in found.columns), "_id")
    table: dict[str, dict] = {}
    for number, row in found.rows:
        where = found.where(number)
        key = row.get(key_name)
        if not isinstance(key, (str, int)) or isinstance(key, bool) or str(key) == "":
            raise RagkitError(f'{where}: expected a text "{key_name}", got {shorten(repr(key), 60)}.')
        key = checked_id(str(key), where)
        if key in table:
            raise RagkitError(f"{where}: the {key_name} {key!r} is there twice; ids must be unique.")
        title, text = _text(row, "title", where), _text(row, "text", where)
        if text is None and title is None:
            raise RagkitError(f'{where}: no "text"; an empty document has "text": "".')
        metadata = row.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        table[key] = {
            id_name: key,
            "title": title or "",
            "text": text or "",
            "kind": checked_text(str(metadata.get("kind", "")), where),
            "document": _document(metadata.get("document"), key),
        }
    columns = [id_name, "title", "text", "kind", "document"]
    return pd.DataFrame(list(table.values()), columns=columns, dtype=None if table else str)


def _document(value: Any, key: str) -> str:
    """Return the document that a row is a passage of: itself, unless another text says so."""
    return value if isinstance(value, str) and value else key


def documents_of(texts: pd.DataFrame) -> pd.DataFrame:
    """Return doc_id, title, text of what texts_of returned and, where a row is a passage of a document, document."""
    passages = (texts["document"] != texts["doc_id"]).any()
    return texts[["doc_id", "title", "text", *(["document"] if passages else [])]]


def _text(row: Any, field: str, where: str) -> str | None:
    value = row.get(field)
    if value is not None and not isinstance(value, str):
        raise RagkitError(f'{where}: "{field}" is {type(value).__name__}, expected text.')
    return None if value is None else checked_text(value, where)


def read_corpus(path: Path) -> pd.DataFrame:
    """Return doc_id, title, text of a .jsonl, .jsonl.gz, .tsv, .tsv.gz or .parquet file.

    A missing title is "", and other fields are ignored. The id is `_id`, or where there is none, `id`, `doc_id` or
    another name in use. Raises RagkitError, naming file and line, for what cannot be read, an id that is there twice,
    and half a character in an id or a text. Where `metadata.document` says of what a row is a passage, there is a
    column `document`, in which whole documents have their own id.
    """
    return documents_of(_read_texts(path, "doc_id"))


def read_queries(path: Path, none: bool = False) -> pd.DataFrame:
    """Return query_id, text, kind (from `metadata.kind` where there is one, else ""); read and refused as a corpus is.

    A query may be empty here: whoever asks it refuses that. none: whether there may be no query at all.
    """
    return _read_texts(path, "query_id", none)[["query_id", "text", "kind"]]


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


def read_folder(folder: Path, split: str) -> Folder:
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
    documents, queries = read_corpus(corpora[0]), read_queries(asked[0])
    qrels, notes = read_judgments(judged[split][0])
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
        return set(read_judgments(path)[0]["query_id"])
    except RagkitError as error:
        notes.append(f"another split cannot be read, and its queries count as not judged: {error}")
        return set()
