"""TREC's run and judgment files: https://github.com/usnistgov/trec_eval, https://trec.nist.gov/data/qrels_eng/."""

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ragkit.boundary import public
from ragkit.datasets.contents import checked_id, read_lines
from ragkit.datasets.dataset import Dataset
from ragkit.datasets.qrels import grade
from ragkit.errors import RagkitError, shorten
from ragkit.files import expanded, write_text

ORDERS = ("score", "rank")
_FIELD = re.compile("[^ \t]+")  # not split(): it breaks at characters that an id may hold
_RANK = re.compile("[+-]?[0-9]{1,18}")

# What a file's name may not hold on Linux, macOS or Windows, and white space, which would end the run's tag.
_ODD = re.compile(r'[\s/\\<>:"|?*\x00-\x1f]')
_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_LONGEST = 200  # bytes of a name that every file system takes, with room for a temporary file's


@public("The run cannot be written")
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


@public("The run cannot be read")
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
    scores: dict[tuple[str, str], float] = {}
    given: dict[tuple[str, str], int | None] = {}
    seen: set[tuple[str, int]] = set()
    for number, (query, _, doc, rank, score, _) in _lines_of(path, "query_id Q0 doc_id rank score tag"):
        _add(scores, (query, doc), score, float, path, number)
        given[query, doc] = int(rank) if _RANK.fullmatch(rank) else None
        if order == "rank":
            if not _RANK.fullmatch(rank):
                told = shorten(repr(rank), 60)
                raise RagkitError(f"{path}, line {number}: the rank is {told}, expected a whole number.")
            if (query, int(rank)) in seen:
                raise RagkitError(
                    f"{path}, line {number}: rank {rank} is there twice for query {query!r}; take the scores."
                )
            seen.add((query, int(rank)))
    rows = ranked = _ranked(scores)
    if order == "rank":
        by_rank = _ranked({key: -rank for key, rank in given.items() if rank is not None})
        rows = [(query, doc, -float(i), i) for query, doc, _, i in by_rank]
    run = pd.DataFrame(rows, columns=["query_id", "doc_id", "score", "rank"])
    run.attrs["notes"] = _notes(ranked, given, order)
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
    ranked = _ranked(dict(zip(keys, run["score"], strict=True)))
    return _notes(ranked, dict(zip(keys, ranks, strict=True)), "score")


def check_ids(path: str | Path, name: str, ids: Iterable[str]) -> None:
    """Raise RagkitError for an id that a TREC file at `path` cannot hold, before there is anything to write."""
    for value in ids:
        _token(path, name, value)


@public("The judgments cannot be written")
def write_qrels(qrels: pd.DataFrame, path: str | Path) -> None:
    """Write query_id, doc_id, relevance as a TREC judgment file, whole or not at all, in the order given.

    Raises RagkitError as write_run does, and for a relevance that is no whole number.
    """
    rows = _rows(path, qrels, "relevance", int)
    write_text(path, _lines(f"{query} 0 {doc} {relevance}" for (query, doc), relevance in rows.items()))


@public("The judgments cannot be read")
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
    for number, (query, _, doc, relevance) in _lines_of(path, "query_id 0 doc_id relevance"):
        _add(rows, (query, doc), relevance, int, path, number)
    return pd.DataFrame([(*key, value) for key, value in rows.items()], columns=["query_id", "doc_id", "relevance"])


def _add(rows: dict, key: tuple[str, str], given: Any, kind: type, path: str | Path, line: int | None = None) -> None:
    value = None
    with suppress(ValueError, TypeError, OverflowError):
        plain = not isinstance(given, str) or (given.isascii() and "_" not in given)  # float() takes more than that
        if plain and math.isfinite(float(given)) and kind(given) == float(given):
            value = kind(given)
    if value is None or key in rows or kind is int:
        where = f"{path}: " if line is None else f"{path}, line {line}: "
        where += f"document {key[1]!r} for query {key[0]!r}"
        if key in rows:
            raise RagkitError(f"{where} is there twice; keep one of the two.")
        if value is None:
            told, wanted = shorten(repr(given), 60), "finite" if kind is float else "whole"
            raise RagkitError(f"{where} has {told}, which is no {wanted} number.")
        value = grade(value, where)
    rows[key] = value


def _ranked(rows: dict) -> list[tuple[str, str, float, int]]:
    found: dict[str, list] = {}
    for (query, doc), score in rows.items():
        found.setdefault(query, []).append((-score, doc))
    return [(query, doc, -down, i) for query in found for i, (down, doc) in enumerate(sorted(found[query]), 1)]


def _notes(ranked: list[tuple[str, str, float, int]], given: dict, order: str) -> tuple[str, ...]:
    """Return order_notes of rows as _ranked orders them; given: the ranks by query and document, None where unknown."""
    found: dict[str, list[tuple[str, float]]] = {}
    for query, doc, score, _ in ranked:
        found.setdefault(query, []).append((doc, score))
    tied = other = close = known = 0
    for query, hits in found.items():
        values = np.array([score for _, score in hits], float)
        tied += len(values) > 1 and values[0] == values[-1]
        with np.errstate(over="ignore"):
            close += bool(((np.diff(values) != 0) & (np.diff(values.astype(np.float32)) == 0)).any())
        ranks = [given[query, doc] for doc, _ in hits]
        if None not in ranks:
            known += 1
            other += sorted(ranks) != ranks
    of = f"of {len(found):,} queries"
    notes = []
    if order == "rank":
        notes.append(f"the ranks in the file were used, not the scores, which order {other:,} {of} otherwise")
    elif tied or other:
        ties = f"; for {tied:,} {of} all scores tie" if tied else ""
        beside = f", not the ranks, which order {other:,} {of} otherwise (--order rank takes them)" if known else ""
        notes.append(f"the scores were used, and document ids where they tie{beside}{ties}")
    if close and order == "score":
        notes.append(
            f"for {close:,} {of} some scores differ by less than a float32 holds; they were compared as they are, "
            "where trec_eval would tie them"
        )
    return tuple(notes)


def _lines_of(path: str | Path, columns: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the fields of each line that has any."""
    empty, expected = True, len(columns.split())
    for number, line in _readable(path):
        if fields := _FIELD.findall(line):
            if len(fields) != expected:
                raise RagkitError(f"{path}, line {number}: {len(fields)} columns, expected {columns}.")
            empty = False
            yield number, fields
    if empty:
        raise RagkitError(f"{path}: the file is empty; expected lines of {columns}.")


def _readable(path: str | Path) -> Iterator[tuple[int, str]]:
    try:
        yield from read_lines(path)
    except RagkitError as error:
        raise RagkitError(f"{path}: cannot be read; {str(error).removeprefix(str(path)).lstrip(',: ')}") from error


def _token(path: str | Path, name: str, value: object) -> str:
    if not str(value) or re.search(r"\s", str(value)):
        raise RagkitError(f"{path}: the {name} {value!r} is empty or has whitespace, which a TREC file cannot hold.")
    return checked_id(str(value), str(path))


def _rows(path: str | Path, table: pd.DataFrame, column: str, kind: type) -> dict:
    if table.empty:
        raise RagkitError(f"{path}: nothing to write; the table is empty.")
    rows: dict = {}
    for query_id, doc_id, value in zip(table["query_id"], table["doc_id"], table[column], strict=True):
        _add(rows, (_token(path, "query_id", query_id), _token(path, "doc_id", doc_id)), value, kind, path)
    return rows


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def export(dataset: Dataset, runs: Mapping[str, pd.DataFrame], folder: str | Path) -> None:
    """Write each system's run and the qrels to a folder, each file whole or not at all.

    runs: query_id, doc_id, score, rank by the system's name.
    Raises RagkitError as check_names and check_all_ids do, before anything is written, and for a place that cannot be
    written to.
    """
    folder = expanded(folder)
    names = check_names(runs)
    check_all_ids(dataset, runs, folder)
    for system, name in names.items():
        write_run(runs[system], folder / f"{name}.run", name)
    write_qrels(dataset.qrels, folder / "qrels.txt")


def check_names(systems: Iterable[str]) -> dict[str, str]:
    """Return the name of each system's file, without its end, which is its tag too.

    Raises RagkitError for a name that is none of a file in the folder, or the name of another one's file.

    >>> check_names(["dense→colbert", "theirs"])
    {'dense→colbert': 'dense+colbert', 'theirs': 'theirs'}
    """
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for system in systems:
        name = system.replace("→", "+").replace(" @", "@").replace(" per shard", "-per-shard")
        if not name or _ODD.search(name) or _WINDOWS.match(name) or len(name.encode("utf8", "replace")) > _LONGEST:
            raise RagkitError(
                f"The run {system!r} cannot be exported: its name becomes a file's, so it has at most {_LONGEST} bytes "
                "and no white space, nor any of / \\ < > : \" | ? *, and is none of Windows's own, such as con or nul. "
                "Give it another, such as bm25-anserini."
            )
        other = taken.setdefault(unicodedata.normalize("NFC", name).casefold(), system)
        if other != system:
            raise RagkitError(
                f"The runs {other!r} and {system!r} would both be exported to {name}.run; give one another name."
            )
        found[system] = name
    return found


def check_all_ids(dataset: Dataset, runs: Mapping[str, pd.DataFrame], folder: str | Path) -> None:
    """Raise RagkitError for an id of the dataset or of a run that a TREC file cannot hold, since it has white space."""
    for table in (dataset.queries, dataset.documents, dataset.qrels, *runs.values()):
        for name in ("query_id", "doc_id"):
            if name in table:
                check_ids(folder, name, table[name].unique())
