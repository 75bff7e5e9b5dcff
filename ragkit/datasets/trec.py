"""TREC's run and judgment files: https://github.com/usnistgov/trec_eval, https://trec.nist.gov/data/qrels_eng/."""

import math
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from ragkit.errors import RagkitError
from ragkit.files import write_text


def write_run(results: pd.DataFrame, path: str | Path, tag: str = "ragkit") -> None:
    """Write query_id, doc_id, score as a TREC run file, whole or not at all, ranked as read_run ranks.

    Scores are read back exactly. Raises RagkitError for an empty run, an id or tag with whitespace, a score that is
    not finite, or a document twice for a query. ragkit ranks equal scores by rising doc_id, trec_eval by falling
    doc_id (its scores may be float32), and ranx in no set order: a run with ties may measure differently there.

    >>> from tempfile import TemporaryDirectory
    >>> results = pd.DataFrame({"query_id": ["q", "q"], "doc_id": ["a", "b"], "score": [0.5, 2.0]})
    >>> with TemporaryDirectory() as folder:
    ...     write_run(results, f"{folder}/run.txt", "dense")
    ...     print(Path(f"{folder}/run.txt").read_text("utf8"), end="")
    q Q0 b 1 2.0 dense
    q Q0 a 2 0.5 dense
    """
    rows, tag = _rows(path, results, "score", float), _token(path, "tag", tag)
    # repr of a Python float is the shortest text that reads back as the same float.
    write_text(path, _lines(f"{query} Q0 {doc} {rank} {score!r} {tag}" for query, doc, score, rank in _ranked(rows)))


def read_run(path: str | Path) -> pd.DataFrame:
    """Return a TREC run file as query_id, doc_id (str), score (float64), rank (int64, from 1).

    Queries are in the file's order, their documents best first, equal scores by doc_id; as trec_eval does, the ranks
    in the file are ignored. Raises RagkitError, naming file and line, for other than six columns (by spaces or tabs),
    a score that is not a finite number, or a document twice for a query; and for a file that is missing or empty.
    """
    rows = _read(path, "query_id Q0 doc_id rank score tag", "score", float)
    return pd.DataFrame(_ranked(rows), columns=["query_id", "doc_id", "score", "rank"])


def write_qrels(qrels: pd.DataFrame, path: str | Path) -> None:
    """Write query_id, doc_id, relevance as a TREC judgment file, whole or not at all, in the order given.

    Raises RagkitError as write_run does, and for a relevance that is no whole number.
    """
    rows = _rows(path, qrels, "relevance", int)
    write_text(path, _lines(f"{query} 0 {doc} {relevance}" for (query, doc), relevance in rows.items()))


def read_qrels(path: str | Path) -> pd.DataFrame:
    """Return a TREC judgment file as query_id, doc_id (str), relevance (int64), in the file's order.

    Raises RagkitError as read_run does, for other than four columns, and for a relevance that is no whole number.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_qrels(pd.DataFrame({"query_id": ["q"], "doc_id": ["a"], "relevance": [2]}), f"{folder}/qrels")
    ...     read_qrels(f"{folder}/qrels").values.tolist()
    [['q', 'a', 2]]
    """
    rows = _read(path, "query_id 0 doc_id relevance", "relevance", int)
    return pd.DataFrame([(*key, value) for key, value in rows.items()], columns=["query_id", "doc_id", "relevance"])


def _add(rows: dict, key: tuple[str, str], given: Any, kind: type, where: str) -> None:
    pair = f"document {key[1]!r} for query {key[0]!r}"
    if key in rows:
        raise RagkitError(f"{where}: {pair} is there twice; keep one of the two.")
    with suppress(ValueError, TypeError):
        if math.isfinite(float(given)) and kind(given) == float(given):
            rows[key] = kind(given)
            return
    raise RagkitError(f"{where}: {pair} has {given!r}, which is no {'finite' if kind is float else 'whole'} number.")


def _ranked(rows: dict) -> list[tuple[str, str, float, int]]:
    found: dict[str, list] = {}
    for (query, doc), score in rows.items():
        found.setdefault(query, []).append((-score, doc))
    return [(query, doc, -down, i) for query in found for i, (down, doc) in enumerate(sorted(found[query]), 1)]


def _read(path: str | Path, columns: str, column: str, kind: type) -> dict:
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RagkitError(f"{path}: cannot be read as UTF-8 text ({error}).") from error
    if not text.strip():
        raise RagkitError(f"{path}: the file is empty; expected lines of {columns}.")
    rows: dict[tuple[str, str], Any] = {}
    names = columns.split()
    # Not splitlines() and split(): they break at characters that an id may hold.
    for number, line in enumerate(text.split("\n"), 1):
        if fields := re.findall("[^ \t]+", line):
            if len(fields) != len(names):
                raise RagkitError(f"{path}, line {number}: {len(fields)} columns, expected {columns}.")
            row = dict(zip(names, fields, strict=True))
            _add(rows, (row["query_id"], row["doc_id"]), row[column], kind, f"{path}, line {number}")
    return rows


def _token(path: str | Path, name: str, value: object) -> str:
    if not str(value) or re.search(r"\s", str(value)):
        raise RagkitError(f"{path}: the {name} {value!r} is empty or has whitespace, which a TREC file cannot hold.")
    return str(value)


def _rows(path: str | Path, table: pd.DataFrame, column: str, kind: type) -> dict:
    if table.empty:
        raise RagkitError(f"{path}: nothing to write; the table is empty.")
    rows: dict = {}
    for query_id, doc_id, value in zip(table["query_id"], table["doc_id"], table[column], strict=True):
        _add(rows, (_token(path, "query_id", query_id), _token(path, "doc_id", doc_id)), value, kind, str(path))
    return rows


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
