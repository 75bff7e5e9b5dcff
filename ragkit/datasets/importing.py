"""Rows of any kind, or a folder of texts, into a dataset with BEIR's layout, or a refusal that names the row."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ragkit.boundary import public, whole_number
from ragkit.datasets import passages, readers
from ragkit.datasets.contents import checked_id, checked_text, is_parquet, read_text
from ragkit.datasets.dataset import Dataset, subset
from ragkit.datasets.qrels import read_judgments
from ragkit.datasets.records import Records, is_jsonl, of_frame, read_delimited, read_records
from ragkit.errors import RagkitError, shorten
from ragkit.files import expanded, sweep_beside, whole_folder

SUFFIXES = (".txt", ".md")


@public("The documents cannot be imported")
def import_dataset(
    path: str | Path | pd.DataFrame,
    to: str | Path,
    text: str | Sequence[str] = (),
    title: str | None = None,
    id: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    quoting: str | None = None,
) -> Path:
    """Write rows (a file or a DataFrame), or a folder of .txt and .md files, as a dataset with BEIR's layout.

    path, text, title, id, delimiter, encoding, quoting: see read_documents. to: the folder to make, whole or not at
    all; it must not be there yet. It holds corpus.jsonl and a queries.jsonl without queries: load_unjudged reads it,
    and once there are queries and judgments load_beir does. Returns the folder.
    Raises RagkitError as read_documents does, and if `to` is there already or cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "faq.csv").write_text("id,answer\\na,Yes\\nb,No\\n", "utf8")
    ...     made = import_dataset(f"{folder}/faq.csv", f"{folder}/faq", text="answer", id="id")
    ...     load_unjudged(made).documents["doc_id"].tolist()
    ['a', 'b']
    """
    documents, _ = read_documents(path, text, title, id, delimiter, encoding, quoting)
    return write_dataset(documents, to)


@public("The documents cannot be imported")
def read_documents(
    path: str | Path | pd.DataFrame,
    text: str | Sequence[str] = (),
    title: str | None = None,
    id: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    quoting: str | None = None,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the documents of a file of rows, a DataFrame or a folder: doc_id, title, text (all str); and notes.

    path: a delimited file (CSV, TSV; perhaps packed as .gz), JSON Lines (.jsonl, .jsonl.gz), Parquet, a DataFrame, or a
    folder. text: the columns that hold a document's text, joined by a line break. title, id: their columns; without
    them titles are "" and ids are the rows' numbers from 1. A row with nothing in it is left out and counted in the
    notes; an empty text is kept and counted.
    Of delimited files, delimiter: None for the one character of comma, semicolon, tab and bar that divides the header
    into the columns named. encoding: None for the file's byte order mark, else UTF-8. quoting: "csv", where a field in
    quotes may hold delimiters and line breaks; "none", where quotes are characters like others, as in MS MARCO's files;
    None for "csv", with a refusal where a stray quote seems to have swallowed rows.
    A folder has no columns: each .txt and .md file, however deep, is a document, its relative path the id; hidden files
    and folders are passed over.
    Raises RagkitError, naming file and line, for what cannot be read: an unknown column, a row with too many or too
    few fields, a quote that is never closed, an id that is empty, there twice or has a tab or line break in it,
    half a character in a text, bytes that the encoding does not know, no row at all.
    """
    if not isinstance(path, str | os.PathLike | pd.DataFrame):
        raise RagkitError(f"Expected a file, a folder or a DataFrame, got {type(path).__name__}.")
    if not isinstance(path, pd.DataFrame):
        path = expanded(checked_text(os.fspath(path), "the name of a file"))
    options = {"delimiter": delimiter, "encoding": encoding, "quoting": quoting}
    if isinstance(path, Path) and path.is_dir():
        if text or title or id or delimiter or quoting:
            raise RagkitError(
                f"{path} is a folder, which has no columns; leave out text, title, id, delimiter and quoting."
            )
        rows, notes = _folder(path, encoding)
    else:
        names = [text] if isinstance(text, str) else list(text)
        found = _records(path, tuple(name for name in (*names, title, id) if name is not None), options)
        rows, notes = _table(found, names, title, id)
    documents = pd.DataFrame(rows, columns=["doc_id", "title", "text"])
    empty = documents["doc_id"][documents["text"].str.strip() == ""].tolist()
    if empty:
        few = ", ".join(map(repr, empty[:3])) + (", …" if len(empty) > 3 else "")
        notes.append(f"{len(empty):,} of {len(documents):,} documents have no text: {few}")
    return documents, tuple(notes)


@public("The dataset cannot be written")
def write_dataset(documents: pd.DataFrame, to: str | Path) -> Path:
    """Write doc_id, title, text as a dataset without queries and judgments, whole or not at all; return its folder.

    A column `document`, as passages.cut makes it, goes to each passage's metadata.
    Raises RagkitError if something is at `to` (an empty folder aside), or it cannot be written.
    """
    to = expanded(to)
    checked_text(os.fspath(to), "the name of the folder to make")
    sweep_beside(to)
    if to.exists() and not (to.is_dir() and not any(to.iterdir())):
        raise RagkitError(f"{to} is there already and is left as it is; name another folder, or delete that one.")
    with whole_folder(to) as folder:
        with open(folder / "corpus.jsonl", "w", encoding="utf8", newline="\n") as file:
            for row in documents.itertuples():
                document = {"_id": row.doc_id, "title": row.title, "text": row.text}
                if getattr(row, "document", row.doc_id) != row.doc_id:
                    document["metadata"] = {"document": row.document}
                file.write(json.dumps(document, ensure_ascii=False) + "\n")
        (folder / "queries.jsonl").touch()
    return to


@public("The dataset cannot be loaded")
def load_unjudged(folder: str | Path, docs: int | Literal["all"] | None = None) -> Dataset:
    """Return the documents and queries of a BEIR-layout folder, whether anything is judged or not; no judgments.

    For searching, pooling and judging; load_beir reads what is to be evaluated. docs: how many documents; a number
    keeps those whose id has the smallest SHA-256. There may be no queries yet; an empty one is left out, with a note.
    Raises RagkitError for a corpus that is missing, and for a file that cannot be read.
    """
    folder = expanded(folder)
    corpora, asked = readers.find(folder, "corpus"), readers.find(folder, "queries")
    if not corpora:
        raise RagkitError(f"No file {folder / 'corpus.jsonl'}; expected a folder with BEIR's layout.")
    name = checked_text(folder.resolve().name, f"the name of the folder {str(folder)!r}")
    qrels = pd.DataFrame({"query_id": [], "doc_id": []}, dtype=str).assign(relevance=pd.Series([], dtype=int))
    documents = readers.read_corpus(corpora[0])
    documents, notes = passages.settle(documents, pd.concat([*_judgments(folder, documents)] or [qrels]))
    queries = pd.DataFrame({"query_id": [], "text": [], "kind": []}, dtype=str)
    if asked:
        queries = readers.read_queries(asked[0], none=True)
        blank = queries["text"].str.strip() == ""
        if blank.any():
            notes.append(f"{blank.sum()} queries are empty and were left out")
            queries = queries[~blank].reset_index(drop=True)
    if docs not in (None, "all"):
        docs = whole_number("docs", docs)
        if docs < documents["document" if "document" in documents else "doc_id"].nunique():
            documents = subset(documents, set(), docs)
            notes.append(f"a subset of {docs:,} documents, by the smallest hashes of their ids: others are not found")
    return Dataset(name, documents, queries, qrels, notes=tuple(notes))


def _judgments(folder: Path, documents: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield what the splits judge that can be read, where there are passages: so what is judged is known."""
    if "document" in documents:
        for paths in readers.splits(folder).values():
            with suppress(RagkitError):
                yield read_judgments(paths[0])[0]


def _folder(path: Path, encoding: str | None) -> tuple[list[tuple[str, str, str]], list[str]]:
    rows, others = [], 0
    for file in sorted(path.rglob("*"), key=lambda file: file.relative_to(path).as_posix()):
        name = file.relative_to(path)
        if any(part.startswith(".") for part in name.parts) or file.is_dir():
            continue
        if file.suffix.lower() in SUFFIXES:
            rows.append((_file_id(path, name), "", read_text(file, encoding).strip()))
        else:
            others += 1
    if not rows:
        raise RagkitError(f"{path}: no {' or '.join(SUFFIXES)} file in it ({others} others); one document a file.")
    return rows, [f"{others:,} files were left out: neither {' nor '.join(SUFFIXES)}"] if others else []


def _file_id(folder: Path, name: Path) -> str:
    """Return the id of a file's document: its path with slashes. Raises RagkitError if the name is not UTF-8."""
    doc_id = name.as_posix()
    try:
        doc_id.encode("utf8")
    except UnicodeEncodeError:
        raise RagkitError(
            f"{folder}: the name of the file {os.fsencode(name)!r} is not UTF-8, and an id must be; rename it."
        ) from None
    return _checked_id(doc_id, str(folder / name))


def _records(path: Path | pd.DataFrame, wanted: tuple[str, ...], options: dict[str, str | None]) -> Records:
    """Return the rows of a file or a DataFrame; options: of delimited files, refused beside the others."""
    if isinstance(path, pd.DataFrame):
        what, found = "a DataFrame", of_frame(path, "the DataFrame")
    elif is_parquet(path):
        what, found = "Parquet", read_records(path)
    elif is_jsonl(path):
        what, found = "JSON Lines", read_records(path)
    else:
        return read_delimited(path, wanted, **options)
    if given := [name for name, value in options.items() if value is not None]:
        raise RagkitError(f"{found.source} is {what}, which knows no {' and no '.join(given)}; leave that out.")
    return found


def _table(
    found: Records, text: Sequence[str], title: str | None, id: str | None
) -> tuple[list[tuple[str, str, str]], list[str]]:
    if not found.rows:
        raise RagkitError(f"{found.source}: there are no rows in it; expected a row a document.")
    if not text:
        raise RagkitError(f"{found.source}: which columns hold the text (--text)? There are: {_quoted(found.columns)}.")
    for name in (*text, title, id):
        if name is not None and found.columns.count(name) != 1:
            how = "There are two columns" if name in found.columns else "There is no column"
            raise RagkitError(f"{found.source}: {how} {name!r} in the header, which has {_quoted(found.columns)}.")
    rows: list[tuple[str, str, str]] = []
    seen: dict[str, int] = {}
    for number, row in found.rows:
        if not any(str(value).strip() for value in row.values() if value is not None):
            continue
        where = found.where(number)
        doc_id = _id(row.get(id), where) if id is not None else str(len(rows) + 1)
        if doc_id in seen:
            raise RagkitError(f"{where}: the id {doc_id!r} is there twice, first in {found.unit} {seen[doc_id]}.")
        seen[doc_id] = number
        texts = [_cell(row.get(name), name, where) for name in text]
        titled = _cell(row.get(title), title, where) if title is not None else ""
        rows.append((doc_id, titled, "\n".join(filter(None, texts))))
    if not rows:
        raise RagkitError(f"{found.source}: every row is empty; expected a row a document.")
    nothing = len(found.rows) - len(rows)
    return rows, found.notes + ([f"{nothing:,} rows have nothing in them and were left out"] if nothing else [])


def _cell(value: Any, name: str, where: str) -> str:
    """Return a cell as the text that it shows; a missing one is ""."""
    if value is None:
        return ""
    if isinstance(value, bytes | list | tuple | dict | set) or getattr(value, "ndim", None):  # an array has dimensions
        raise RagkitError(f"{where}: the column {name!r} holds a {type(value).__name__}, expected text.")
    return checked_text(str(value).strip(), f"{where}, column {name!r}")


def _id(value: Any, where: str) -> str:
    if isinstance(value, bool | float):
        raise RagkitError(
            f"{where}: the id is {value!r}, expected a text or a whole number. In a DataFrame, convert the column "
            'first: astype("Int64").astype(str).'
        )
    return _checked_id(_cell(value, "id", where), where)


def _quoted(columns: list[str]) -> str:
    return ", ".join(map(repr, columns))


def _checked_id(doc_id: str, where: str) -> str:
    if not doc_id:
        raise RagkitError(f"{where}: the id is empty; every document needs one of its own.")
    if re.search(r"[\t\r\n]", doc_id):
        raise RagkitError(
            f"{where}: the id {shorten(doc_id, 80)!r} has a tab or line break in it, which judgments cannot hold."
        )
    return checked_id(doc_id, where)
