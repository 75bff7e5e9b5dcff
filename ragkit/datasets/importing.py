"""A CSV file or a folder of texts into a collection with BEIR's layout, or a refusal that names the row."""

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ragkit.datasets import readers
from ragkit.datasets.dataset import Dataset
from ragkit.datasets.delimited import read_rows, read_text
from ragkit.errors import RagkitError

SUFFIXES = (".txt", ".md")
QRELS_HEADER = "query-id\tcorpus-id\tscore\n"


def import_dataset(
    path: str | Path,
    to: str | Path,
    text: str | Sequence[str] = (),
    title: str | None = None,
    id: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> Path:
    """Write a CSV file, or a folder of .txt and .md files, as a collection with BEIR's layout; return its folder.

    path, text, title, id, delimiter, encoding: see read_documents. to: the folder to make, whole or not at all; it
    must not be there yet. It holds corpus.jsonl, a queries.jsonl without queries and a qrels/test.tsv without
    judgments: load_unjudged reads it, and once there are queries and judgments load_beir does.
    Raises RagkitError as read_documents does, and if `to` is there already or cannot be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "faq.csv").write_text("id,answer\\na,Yes\\nb,No\\n", "utf8")
    ...     made = import_dataset(f"{folder}/faq.csv", f"{folder}/faq", text="answer", id="id")
    ...     load_unjudged(made).documents["doc_id"].tolist()
    ['a', 'b']
    """
    documents, _ = read_documents(path, text, title, id, delimiter, encoding)
    return write_dataset(documents, to)


def read_documents(
    path: str | Path,
    text: str | Sequence[str] = (),
    title: str | None = None,
    id: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the documents of a CSV file, or of a folder: doc_id, title, text (all str); and notes on what is unusual.

    text: the columns that hold a document's text, joined by a line break. title, id: their columns; without
    them titles are "" and ids are the rows' numbers from 1. delimiter: None for the one character of comma, semicolon,
    tab and bar that divides the header into the columns named. encoding: None for the file's byte order mark,
    else UTF-8. A folder has no columns: each .txt and .md file, however deep, is a document, its relative path the id;
    hidden files and folders are passed over.
    Raises RagkitError, naming file and line, for what cannot be read: an unknown column, a row with too many or too
    few fields, a quote that is never closed, an id that is empty, there twice or has a tab or line break in it,
    bytes that the encoding does not know, no row at all. Empty texts are kept and counted in the notes.
    """
    path = Path(path)
    if path.is_dir():
        if text or title or id or delimiter:
            raise RagkitError(f"{path} is a folder, which has no columns; leave out text, title, id and delimiter.")
        rows, notes = _folder(path, encoding)
    else:
        rows, notes = _table(path, [text] if isinstance(text, str) else list(text), title, id, delimiter, encoding)
    documents = pd.DataFrame(rows, columns=["doc_id", "title", "text"])
    empty = documents["doc_id"][documents["text"].str.strip() == ""].tolist()
    if empty:
        few = ", ".join(map(repr, empty[:3])) + (", …" if len(empty) > 3 else "")
        notes.append(f"{len(empty):,} of {len(documents):,} documents have no text: {few}")
    return documents, tuple(notes)


def write_dataset(documents: pd.DataFrame, to: str | Path) -> Path:
    """Write doc_id, title, text as a collection without queries and judgments, whole or not at all; return its folder.

    Raises RagkitError if something is at `to` (an empty folder aside), or it cannot be written.
    """
    to = Path(to)
    if to.exists() and not (to.is_dir() and not any(to.iterdir())):
        raise RagkitError(f"{to} is there already and is left as it is; name another folder, or delete that one.")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{to.name}-", dir=to.parent) as stage:
            folder = Path(stage) / "collection"  # mkdtemp's own folder is closed to others, and would stay so
            (folder / "qrels").mkdir(parents=True)
            with open(folder / "corpus.jsonl", "w", encoding="utf8", newline="\n") as file:
                for row in documents.itertuples():
                    document = {"_id": row.doc_id, "title": row.title, "text": row.text}
                    file.write(json.dumps(document, ensure_ascii=False) + "\n")
            (folder / "queries.jsonl").touch()
            (folder / "qrels" / "test.tsv").write_text(QRELS_HEADER, "utf8", newline="\n")
            if to.exists():
                to.rmdir()  # empty; Windows renames onto no folder at all
            folder.rename(to)
    except (OSError, UnicodeEncodeError) as error:  # utf-7 can hold what UTF-8 cannot
        raise RagkitError(f"{to} cannot be written ({error}); choose another place.") from error
    return to


def load_unjudged(folder: str | Path) -> Dataset:
    """Return the documents and queries of a BEIR-layout folder, whether anything is judged or not; no judgments.

    For searching, pooling and judging; load_beir reads what is to be evaluated. Raises RagkitError for a file that is
    missing or cannot be read.
    """
    folder = Path(folder)
    documents = readers.read_corpus(folder / "corpus.jsonl")
    queries = pd.DataFrame({"query_id": [], "text": [], "kind": []}, dtype=str)
    if readers.read_jsonl(folder / "queries.jsonl"):
        queries = readers.read_queries(folder / "queries.jsonl")
    qrels = pd.DataFrame({"query_id": [], "doc_id": []}, dtype=str).assign(relevance=pd.Series([], dtype=int))
    return Dataset(folder.resolve().name, documents, queries, qrels)


def _folder(path: Path, encoding: str | None) -> tuple[list[tuple[str, str, str]], list[str]]:
    rows, others = [], 0
    for file in sorted(path.rglob("*"), key=lambda file: file.relative_to(path).as_posix()):
        name = file.relative_to(path)
        if any(part.startswith(".") for part in name.parts) or not file.is_file():
            continue
        if file.suffix.lower() in SUFFIXES:
            rows.append((_checked_id(name.as_posix(), str(file)), "", read_text(file, encoding).strip()))
        else:
            others += 1
    if not rows:
        raise RagkitError(f"{path}: no {' or '.join(SUFFIXES)} file in it ({others} others); one document a file.")
    return rows, [f"{others:,} files were left out: neither {' nor '.join(SUFFIXES)}"] if others else []


def _table(path, text, title, id, delimiter, encoding) -> tuple[list[tuple[str, str, str]], list[str]]:
    wanted = [name for name in (*text, title, id) if name is not None]
    columns, records = read_rows(path, wanted, delimiter, encoding)
    if not text:
        raise RagkitError(f"{path}: which columns hold the text (--text)? There are: {_quoted(columns)}.")
    at = {name: _column(path, columns, name) for name in wanted}
    rows: list[tuple[str, str, str]] = []
    seen: dict[str, int] = {}
    for number, (line, fields) in enumerate(records, 1):
        where = f"{path}, line {line}"
        doc_id = _checked_id(fields[at[id]].strip() if id is not None else str(number), where)
        if doc_id in seen:
            raise RagkitError(f"{where}: the id {doc_id!r} is there twice, first in line {seen[doc_id]}.")
        seen[doc_id] = line
        texts = (fields[at[name]].strip() for name in text)
        rows.append((doc_id, fields[at[title]].strip() if title is not None else "", "\n".join(filter(None, texts))))
    return rows, []


def _column(path: Path, columns: list[str], name: str) -> int:
    if columns.count(name) == 1:
        return columns.index(name)
    how = "There are two columns" if name in columns else "There is no column"
    raise RagkitError(f"{path}: {how} {name!r} in the header, which has {_quoted(columns)}.")


def _quoted(columns: list[str]) -> str:
    return ", ".join(map(repr, columns))


def _checked_id(doc_id: str, where: str) -> str:
    if not doc_id:
        raise RagkitError(f"{where}: the id is empty; every document needs one of its own.")
    if re.search(r"[\t\r\n]", doc_id):
        raise RagkitError(f"{where}: the id {doc_id!r} has a tab or line break in it, which judgments cannot hold.")
    return doc_id
