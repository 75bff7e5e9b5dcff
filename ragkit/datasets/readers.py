"""The files of a collection: its corpus, queries and qrels, read as their owners meant them or refused."""

import csv
import json
from pathlib import Path

import pandas as pd

from ragkit.errors import RagkitError


def read_jsonl(path: Path) -> list[tuple[int, dict]]:
    """Return (line number, object) for each non-blank line of a JSON Lines file."""
    rows = []
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    rows.append((number, json.loads(line)))
                    if not isinstance(rows[-1][1], dict):
                        raise RagkitError(f"{path}, line {number}: expected a JSON object, one a line.")
    except FileNotFoundError as error:
        raise RagkitError(f"No file {path}.") from error
    except json.JSONDecodeError as error:
        raise RagkitError(f"{path}, line {number}: not JSON ({error.msg}, column {error.colno}).") from error
    except UnicodeDecodeError as error:
        raise RagkitError(f"{path}: not UTF-8 ({error}); convert the file to UTF-8 first.") from error
    return rows


def _read_texts(path: Path, id_name: str) -> pd.DataFrame:
    """Read `_id`, `text` and, where there are, `title` and `metadata.kind`; ignore other fields."""
    table: dict[str, dict] = {}
    for number, row in read_jsonl(path):
        key = row.get("_id")
        if not isinstance(key, (str, int)) or isinstance(key, bool) or str(key) == "":
            raise RagkitError(f'{path}, line {number}: expected a text "_id", got {key!r}.')
        if str(key) in table:
            raise RagkitError(f"{path}, line {number}: the _id {key!r} is there twice; ids must be unique.")
        title, text = row.get("title"), row.get("text")
        for field, value in (("title", title), ("text", text)):
            if value is not None and not isinstance(value, str):
                raise RagkitError(f'{path}, line {number}: "{field}" is {type(value).__name__}, expected text.')
        if text is None and title is None:
            raise RagkitError(f'{path}, line {number}: no "text"; an empty document has "text": "".')
        metadata = row.get("metadata")
        kind = metadata.get("kind", "") if isinstance(metadata, dict) else ""
        table[str(key)] = {id_name: str(key), "title": title or "", "text": text or "", "kind": str(kind)}
    if not table:
        raise RagkitError(f"{path}: the file is empty.")
    return pd.DataFrame(list(table.values()))


def read_corpus(path: Path) -> pd.DataFrame:
    """Return doc_id, title, text; a missing title is "", and other fields are ignored."""
    return _read_texts(path, "doc_id")[["doc_id", "title", "text"]]


def read_queries(path: Path) -> pd.DataFrame:
    """Return query_id, text, kind (from `metadata.kind` where there is one, else "")."""
    queries = _read_texts(path, "query_id")
    blank = queries["text"].str.strip() == ""
    if blank.any():
        raise RagkitError(f"{path}: the query {queries.loc[blank, 'query_id'].iloc[0]!r} is empty; remove it.")
    return queries[["query_id", "text", "kind"]]


def read_qrels(path: Path) -> pd.DataFrame:
    """Return query_id, doc_id, relevance from a tab-separated file, with or without a header line.

    Raises RagkitError, naming file and line, for a line that has not three fields (or TREC's four,
    whose second is ignored), a relevance that is no whole number, or a pair judged twice.
    """
    rows: dict[tuple[str, str], int] = {}
    with open(path, encoding="utf-8-sig", newline="") as file:
        for number, fields in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if not fields or fields == [""]:
                continue
            if len(fields) not in (3, 4):
                raise RagkitError(
                    f"{path}, line {number}: {len(fields)} tab-separated fields, expected query-id, corpus-id, score."
                )
            query_id, doc_id, relevance = fields[0], fields[-2], fields[-1].strip()
            if not relevance.lstrip("+-").isdecimal():
                if number == 1:
                    continue  # a header line
                raise RagkitError(f"{path}, line {number}: the score is {relevance!r}, expected a whole number.")
            if rows.setdefault((query_id, doc_id), int(relevance)) != int(relevance):
                raise RagkitError(f"{path}, line {number}: {query_id!r} and {doc_id!r} are judged twice, differently.")
    if not rows:
        raise RagkitError(f"{path}: no judgments in it.")
    return pd.DataFrame([(*key, value) for key, value in rows.items()], columns=["query_id", "doc_id", "relevance"])
