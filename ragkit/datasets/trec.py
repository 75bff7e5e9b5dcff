"""TREC's run and judgment files: https://github.com/usnistgov/trec_eval, https://trec.nist.gov/data/qrels_eng/."""

import math
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from ragkit.datasets.characters import checked_id
from ragkit.datasets.contents import read_lines
from ragkit.datasets.judgment_columns import grade
from ragkit.errors import RagkitError, shorten
from ragkit.files import write_text

ORDERS = ("score", "rank")


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


def read_run(path: str | Path, order: str = "score") -> pd.DataFrame:
    """Return a TREC run file, perhaps packed as .gz, as query_id, doc_id (str), score (float64), rank (int64, from 1).

    Queries are in the file's order, their documents best first. order: "score", where scores decide and equal ones are
    ordered by doc_id, and the ranks in the file are ignored, as trec_eval ignores them; or "rank", where they decide,
    and the score is minus the rank. What is unusual is in the frame's attrs["notes"], as order_notes tells it.
    Raises RagkitError, naming file and line, for other than six columns (by spaces or tabs), a score that is not a
    finite number, or a document twice for a query; with "rank" for a rank that is no whole number or is there twice for
    a query; and for a file that is missing, empty or no regular file.
    """
    if order not in ORDERS:
        raise RagkitError(f"There is no order {order!r} of a run; expected {' or '.join(ORDERS)}.")
    lines = _lines_of(path, "query_id Q0 doc_id rank score tag")
    scores: dict[tuple[str, str], float] = {}
    given: dict[tuple[str, str], int | None] = {}
    for where, row in lines:
        key = row["query_id"], row["doc_id"]
        _add(scores, key, row["score"], float, where)
        given[key] = int(row["rank"]) if re.fullmatch("[+-]?[0-9]{1,18}", row["rank"]) else None
    notes = _notes(scores, given, order)
    rows = _ranked(scores) if order == "score" else _by_rank(given, lines)
    run = pd.DataFrame(rows, columns=["query_id", "doc_id", "score", "rank"])
    run.attrs["notes"] = notes
    return run


def order_notes(run: pd.DataFrame) -> tuple[str, ...]:
    """Return notes on what decides the order of a run (query_id, doc_id, score; rank, where there are any).

    They count the queries all of whose scores tie, those that the ranks order otherwise, and those with scores that
    differ by less than a float32 holds; a run of read_run brings its own, by the ranks in the file.

    >>> order_notes(pd.DataFrame({"query_id": ["q"] * 2, "doc_id": ["a", "b"], "score": [0.5, 0.2], "rank": [1, 2]}))
    ()
    """
    if "notes" in run.attrs:
        return tuple(run.attrs["notes"])
    keys = list(zip(run["query_id"], run["doc_id"], strict=True))
    ranks = [rank if rank == rank else None for rank in run["rank"]] if "rank" in run else [None] * len(run)
    return _notes(dict(zip(keys, run["score"], strict=True)), dict(zip(keys, ranks, strict=True)), "score")


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
    rows: dict[tuple[str, str], int] = {}
    for where, row in _lines_of(path, "query_id 0 doc_id relevance"):
        _add(rows, (row["query_id"], row["doc_id"]), row["relevance"], int, where)
    return pd.DataFrame([(*key, value) for key, value in rows.items()], columns=["query_id", "doc_id", "relevance"])


def _add(rows: dict, key: tuple[str, str], given: object, kind: type, where: str) -> None:
    pair = f"document {key[1]!r} for query {key[0]!r}"
    if key in rows:
        raise RagkitError(f"{where}: {pair} is there twice; keep one of the two.")
    value = None
    with suppress(ValueError, TypeError, OverflowError):
        if math.isfinite(float(given)) and kind(given) == float(given) and "_" not in str(given):
            value = kind(given)
    if value is None:
        told, wanted = shorten(repr(given), 60), "finite" if kind is float else "whole"
        raise RagkitError(f"{where}: {pair} has {told}, which is no {wanted} number.")
    rows[key] = grade(value, f"{where}: {pair}") if kind is int else value


def _ranked(rows: dict) -> list[tuple[str, str, float, int]]:
    found: dict[str, list] = {}
    for (query, doc), score in rows.items():
        found.setdefault(query, []).append((-score, doc))
    return [(query, doc, -down, i) for query in found for i, (down, doc) in enumerate(sorted(found[query]), 1)]


def _by_rank(given: dict[tuple[str, str], int | None], lines: list) -> list[tuple[str, str, float, int]]:
    """Return the rows in the order of the file's ranks, which may begin anywhere but must tell documents apart."""
    seen = set()
    for where, row in lines:
        rank = given[row["query_id"], row["doc_id"]]
        if rank is None:
            raise RagkitError(f"{where}: the rank is {shorten(row['rank'], 60)!r}, expected a whole number.")
        if (row["query_id"], rank) in seen:
            raise RagkitError(f"{where}: rank {rank} is there twice for query {row['query_id']!r}; take the scores.")
        seen.add((row["query_id"], rank))
    return [(query, doc, -float(i), i) for query, doc, _, i in _ranked({key: -rank for key, rank in given.items()})]


def _notes(scores: dict, given: dict, order: str) -> tuple[str, ...]:
    found: dict[str, list[str]] = {}
    for query, doc, _, _ in _ranked(scores):
        found.setdefault(query, []).append(doc)
    tied = other = close = ranked = 0
    for query, docs in found.items():
        values = np.array([scores[query, doc] for doc in docs], float)
        tied += len(values) > 1 and values[0] == values[-1]
        with np.errstate(over="ignore"):
            close += bool(((np.diff(values) != 0) & (np.diff(values.astype(np.float32)) == 0)).any())
        ranks = [given[query, doc] for doc in docs]
        ranked += None not in ranks
        other += None not in ranks and sorted(ranks) != ranks
    of = f"of {len(found):,} queries"
    notes = []
    if order == "rank":
        notes.append(f"the ranks in the file were used, not the scores, which order {other:,} {of} otherwise")
    elif tied or other:
        ties = f"; for {tied:,} {of} all scores tie" if tied else ""
        beside = f", not the ranks, which order {other:,} {of} otherwise (--order rank takes them)" if ranked else ""
        notes.append(f"the scores were used, and document ids where they tie{beside}{ties}")
    if close and order == "score":
        notes.append(
            f"for {close:,} {of} some scores differ by less than a float32 holds; they were compared as they are, "
            "where trec_eval would tie them"
        )
    return tuple(notes)


def _lines_of(path: str | Path, columns: str) -> list[tuple[str, dict[str, str]]]:
    """Return the place of each line, and its fields by name."""
    try:
        lines = list(read_lines(path))
    except RagkitError as error:
        raise RagkitError(f"{path}: cannot be read; {str(error).removeprefix(str(path)).lstrip(',: ')}") from error
    rows, names = [], columns.split()
    # Not split(): it breaks at characters that an id may hold.
    for number, line in lines:
        if fields := re.findall("[^ \t]+", line):
            where = f"{path}, line {number}"
            if len(fields) != len(names):
                raise RagkitError(f"{where}: {len(fields)} columns, expected {columns}.")
            rows.append((where, dict(zip(names, fields, strict=True))))
    if not rows:
        raise RagkitError(f"{path}: the file is empty; expected lines of {columns}.")
    return rows


def _token(path: str | Path, name: str, value: object) -> str:
    if not str(value) or re.search(r"\s", str(value)):
        raise RagkitError(f"{path}: the {name} {value!r} is empty or has whitespace, which a TREC file cannot hold.")
    return checked_id(str(value), str(path))


def _rows(path: str | Path, table: pd.DataFrame, column: str, kind: type) -> dict:
    if table.empty:
        raise RagkitError(f"{path}: nothing to write; the table is empty.")
    rows: dict = {}
    for query_id, doc_id, value in zip(table["query_id"], table["doc_id"], table[column], strict=True):
        _add(rows, (_token(path, "query_id", query_id), _token(path, "doc_id", doc_id)), value, kind, str(path))
    return rows


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
