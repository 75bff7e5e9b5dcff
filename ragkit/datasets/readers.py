"""The files of a collection, one by one: its corpus, queries and qrels, read as their owners meant them or refused."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ragkit.datasets.characters import checked_id, checked_text
from ragkit.datasets.contents import is_parquet, read_lines
from ragkit.datasets.jsonl import read_jsonl as read_jsonl
from ragkit.datasets.judgment_columns import NAMES, Columns, grade, is_whole, understood
from ragkit.datasets.records import Records, is_jsonl, read_records
from ragkit.errors import RagkitError, shorten

_ID = {
    "doc_id": ("_id", "id", "doc_id", "docid", "docno", "corpus-id", "pid"),
    "query_id": ("_id", "id", "query_id", "qid", "query-id"),
}


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


def read_qrels(path: Path) -> pd.DataFrame:
    """Return query_id, doc_id, relevance of a judgment file; see read_judgments.

    Raises RagkitError as that does, and if there is no judgment.
    """
    qrels, _ = read_judgments(path)
    if qrels.empty:
        raise RagkitError(f"{path}: no judgments in it.")
    return qrels


def read_judgments(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return query_id, doc_id, relevance of a .tsv, .jsonl (or these as .gz) or .parquet file; and notes.

    Columns are found by their names, in any order: those of BEIR, TREC, ir_datasets and their kin; a TREC iteration
    and an unnamed index of pandas are passed over, and any other column is named in a note. A tab-separated file may
    have no header: then it has query-id, corpus-id, score, or TREC's four. A header and nothing else is no judgment.
    Raises RagkitError, naming file and line, for a header that is not understood (a first line is never dropped), a
    line that has not as many fields as the first, a score that is no whole number or beyond LARGEST_GRADE, an empty
    id, and a pair judged twice, differently.
    """
    path = Path(path)
    notes: list[str] = []
    found = _of_records(read_records(path), notes) if is_parquet(path) or is_jsonl(path) else _of_lines(path, notes)
    return _table(found), notes


def judgments_of(found: Records) -> pd.DataFrame:
    """Return query_id, doc_id, relevance of rows. Raises RagkitError, naming the row, as read_judgments does."""
    return _table(_of_records(found, []))


Judgment = tuple[str, str, str, int]  # where it stands, query_id, doc_id, relevance


def _table(found: Iterable[Judgment]) -> pd.DataFrame:
    rows: dict[tuple[str, str], int] = {}
    for where, query_id, doc_id, relevance in found:
        if rows.setdefault((query_id, doc_id), relevance) != relevance:
            raise RagkitError(f"{where}: {query_id!r} and {doc_id!r} are judged twice, differently.")
    query_ids, doc_ids = ([key[i] for key in rows] for i in (0, 1))
    relevance = pd.Series(list(rows.values()), dtype=int)
    ids = pd.DataFrame({"query_id": query_ids, "doc_id": doc_ids}, dtype=None if rows else str)
    return ids.assign(relevance=relevance)


def _of_records(found: Records, notes: list[str]) -> Iterator[Judgment]:
    if not found.columns:  # an empty file
        return
    columns = understood(found.columns, found.source)
    if columns is None:
        raise RagkitError(f"{found.source}: its columns are {', '.join(map(repr, found.columns)) or 'none'}; {NAMES}.")
    notes += _extra(Path(found.source), columns)
    query, document, relevance = (found.columns[i] for i in (columns.query, columns.document, columns.relevance))
    for number, row in found.rows:
        where = found.where(number)
        ids = []
        for name in (query, document):
            value = row.get(name)
            if not isinstance(value, (str, int)) or isinstance(value, bool):
                raise RagkitError(f"{where}: expected a text {name!r}, got {shorten(repr(value), 60)}.")
            ids.append(checked_id(str(value), where))
        yield where, ids[0], ids[1], grade(row.get(relevance), where)


def _of_lines(path: Path, notes: list[str]) -> Iterator[Judgment]:
    columns, width, quoted = None, 0, False
    counted = []  # of a file of four columns without a header: the first two of each line
    for number, line in read_lines(path):
        if not line:
            continue
        where = f"{path}, line {number}"
        fields = _fields(line, quoted, where)
        if columns is None:
            columns = understood(fields, where)
            width = len(fields)
            if columns is not None:  # a header
                quoted = any(field.startswith('"') for field in fields)
                notes += _extra(path, columns)
                continue
            columns = _without_header(fields, where)
            counted = [tuple(fields[:2])] if width == 4 else []
        elif counted:
            counted.append(tuple(fields[:2]))
        if len(fields) != width:
            raise RagkitError(
                f"{where}: {len(fields)} tab-separated fields, expected query-id, corpus-id, score, or the {width} of "
                "the first line."
            )
        query_id, doc_id = fields[columns.query], fields[columns.document]
        if not query_id or not doc_id:
            raise RagkitError(f"{where}: an empty id; {NAMES}.")
        yield where, query_id, doc_id, grade(fields[columns.relevance].strip(), where)
    _refuse_counted(path, counted)


def _without_header(fields: list[str], where: str) -> Columns:
    if len(fields) not in (3, 4):
        raise RagkitError(
            f"{where}: {len(fields)} tab-separated fields, and no header that is understood; {NAMES}. Without a "
            "header: query-id, corpus-id, score, divided by tabs."
        )
    if not is_whole(fields[-1].strip()):
        raise RagkitError(
            f"{where}: the score is {shorten(repr(fields[-1]), 60)}, expected a whole number. If the line is a header, "
            f"its names are not understood; {NAMES}."
        )
    return Columns(0, len(fields) - 2, len(fields) - 1, ())


def _refuse_counted(path: Path, pairs: list[tuple[str, ...]]) -> None:
    """Refuse four columns without a header whose first one only counts the lines: TREC's, or an index and three?"""
    if len(pairs) < 2 or len({second for _, second in pairs}) == 1:  # TREC's iteration is the same everywhere
        return
    if any([first for first, _ in pairs] == [str(i) for i in range(at, at + len(pairs))] for at in (0, 1)):
        raise RagkitError(
            f"{path}: four columns without a header, and the first counts the lines, as an index of pandas does. Write "
            f"the header, or leave the index out (index=False); {NAMES}."
        )


def _fields(line: str, quoted: bool, where: str) -> list[str]:
    if not quoted:  # BEIR's own way: a quote is a character of the id
        return line.split("\t")
    try:
        return next(csv.reader([line], delimiter="\t", strict=True))
    except (csv.Error, StopIteration) as error:
        raise RagkitError(f"{where}: cannot be read ({error}); its header is in quotes, so a field may be.") from error


def _extra(path: Path, columns: Columns) -> list[str]:
    if not columns.extra:
        return []
    many = len(columns.extra) > 1
    names = ", ".join(map(repr, columns.extra))
    return [f"qrels {path.name}: the column{'s' * many} {names} {'were' if many else 'was'} not read"]
