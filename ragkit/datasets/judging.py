"""From runs to judgments: what to look at, in which order, and where each decision is kept."""

import hashlib
import json
import numbers
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import pandas as pd

from ragkit.boundary import public, whole_number
from ragkit.datasets.contents import checked_id, checked_text
from ragkit.errors import RagkitError, given, shorten
from ragkit.files import expanded, lock, saying, write_text

GRADES = {0: "no answer", 1: "a partial answer", 2: "what was asked for"}
QRELS_HEADER = "query-id\tcorpus-id\tscore\n"
_GRADES = ", ".join(f"{grade} ({meaning})" for grade, meaning in GRADES.items())
COLUMNS = ["query_id", "doc_id", "relevance"]


@public("The pool cannot be made")
def judging_pool(runs: Mapping[str, pd.DataFrame] | Iterable[pd.DataFrame], depth: int = 10) -> pd.DataFrame:
    """Return the documents that any of the runs has among its first `depth`, as query_id, doc_id, each pair once.

    runs: frames of query_id, doc_id, rank (from 1). Queries are in the runs' order; their documents are in the order of
    the SHA-256 of query_id, a tab and doc_id, so that the order shows neither which system found a document nor at
    which rank, and is the same for every assessor. Raises RagkitError for no runs, or ones without these columns.

    Source: Sparck Jones and van Rijsbergen, Report on the need for and provision of an "ideal" information retrieval
    test collection (1975); https://trec.nist.gov/data/reljudge_eng.html.

    >>> run = pd.DataFrame({"query_id": ["q"] * 3, "doc_id": ["a", "b", "c"], "rank": [1, 2, 3]})
    >>> sorted(judging_pool([run, run], depth=2)["doc_id"])
    ['a', 'b']
    """
    frames = list(runs.values() if isinstance(runs, Mapping) else runs)
    whole_number("depth", depth)
    if not frames:
        raise RagkitError("A pool needs at least one run, such as Retriever.run(…).results; got none.")
    for frame in frames:
        if not isinstance(frame, pd.DataFrame):
            raise RagkitError(f"A run to pool is {given(frame)}; expected a DataFrame, see Retriever.run.")
        missing = [name for name in ("query_id", "doc_id", "rank") if name not in frame]
        if missing:
            raise RagkitError(f"A run to pool has no column {', '.join(missing)}; see Retriever.run.")
    found = pd.concat([frame.loc[frame["rank"] <= depth, ["query_id", "doc_id"]] for frame in frames])
    found = found.drop_duplicates()
    place = {query_id: i for i, query_id in enumerate(found["query_id"].unique())}
    pairs = found.itertuples(index=False, name=None)
    ordered = sorted(pairs, key=lambda pair: (place[pair[0]], hashlib.sha256("\t".join(pair).encode()).digest()))
    return pd.DataFrame(ordered, columns=["query_id", "doc_id"])


class Judgments:
    """Judgments in an append-only file: one JSON object a line, on the disk before the next is asked for.

    Another kernel, or the same one after a crash, goes on where this one stopped. A later judgment of a pair replaces
    an earlier one, which stays in the file. `unwritten`: lines that a disk did not take; they are written before the
    next one.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     judgments = Judgments(f"{folder}/mine.jsonl")
    ...     judgments.record("q", "a", 0)
    ...     judgments.record("q", "a", 2)
    ...     Judgments(f"{folder}/mine.jsonl").table().values.tolist()
    [['q', 'a', 2]]
    """

    @public("The judgments cannot be kept")
    def __init__(self, path: str | Path):
        self.path = expanded(path)
        self.unwritten: list[bytes] = []

    def __repr__(self) -> str:
        return f"<Judgments in {self.path}>"

    @public("The judgment cannot be kept", kinds=False)
    def record(self, query_id: str, doc_id: str, relevance: int) -> None:
        """Append one judgment; when this returns, its whole line is on the disk.

        Raises RagkitError for a relevance other than 0, 1 or 2, for an id that is no text, and for a disk that does not
        take the line: then it is in `unwritten`.
        """
        if not _is_grade(relevance):
            raise RagkitError(
                f"The relevance of {doc_id!r} for {query_id!r} is {given(relevance)}; expected {_GRADES}."
            )
        for name in (query_id, doc_id):
            if not isinstance(name, str) or not _is_id(name):
                raise RagkitError(f"An id is a text without tabs and line breaks, such as 'q01'; got {name!r}.")
            checked_id(name, f"A judgment of {doc_id!r} for {query_id!r}")
        row = dict(zip(COLUMNS, (query_id, doc_id, int(relevance)), strict=True))
        line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
        if self.unwritten[-1:] != [line]:
            self.unwritten.append(line)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a+b", buffering=0) as file:
                _refuse_other_kinds(self.path)
                lock(file)  # two may judge at once
                self._append(file, b"".join(self.unwritten))
        except OSError as error:
            raise RagkitError(
                f"{self.path} cannot be written ({error}). {len(self.unwritten)} judgments are kept in memory alone, "
                "to be written before the next one: make room, or permit writing, and judge on."
            ) from error
        self.unwritten.clear()

    def _append(self, file: IO[bytes], lines: bytes) -> None:
        """Write lines after the last whole one and wait until the disk has them; or leave the file without them."""
        end = _mended(file)
        try:
            while lines:  # a disk that fills takes a part, and then refuses the rest
                lines = lines[file.write(lines) :]
            os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):
                file.truncate(end)
            raise

    @public("The judgments cannot be read")
    def table(self) -> pd.DataFrame:
        """Return query_id, doc_id, relevance: the last judgment of each pair on the disk, in the order of the first.

        A last line that was torn off while it was written is no judgment. Raises RagkitError, naming file and line,
        for any other line that is none.
        """
        latest: dict[tuple[str, str], int] = {}
        for number, line, torn in self._lines():
            where = f"{self.path}, line {number}"
            try:
                query_id, doc_id, relevance = (json.loads(line)[name] for name in COLUMNS)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                if torn and _is_beginning(line):
                    continue
                raise RagkitError(f"{where}: no judgment ({shorten(line, 60)!r}); remove it.") from error
            for name in (query_id, doc_id):
                if not isinstance(name, str) or not _is_id(name):
                    raise RagkitError(
                        f"{where}: the id {given(name)} is no text without tabs and line breaks; correct it."
                    )
            if not _is_grade(relevance):
                raise RagkitError(f"{where}: the relevance is {given(relevance)}; expected {_GRADES}.")
            latest[checked_id(query_id, where), checked_id(doc_id, where)] = int(relevance)
        frame = pd.DataFrame([(*pair, relevance) for pair, relevance in latest.items()], columns=COLUMNS)
        return frame.astype({"query_id": str, "doc_id": str, "relevance": int})

    @public("The judgments cannot be read")
    def left(self, pairs: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a pool that are not judged yet, in its order."""
        done = set(self.table()[["query_id", "doc_id"]].itertuples(index=False, name=None))
        keep = [pair not in done for pair in pairs[["query_id", "doc_id"]].itertuples(index=False, name=None)]
        return pairs[keep].reset_index(drop=True)

    @public("The judgments cannot be written")
    def write_qrels(self, folder: str | Path, split: str = "test") -> Path:
        """Write the judgments as qrels/<split>.tsv of a BEIR-layout folder, whole or not at all; return the file.

        Zeros are written too: they say that somebody looked. Raises RagkitError if there is no judgment.
        """
        table = self.table()
        if table.empty:
            raise RagkitError(f"{self.path}: nothing has been judged yet; record a judgment first.")
        lines = (f"{row.query_id}\t{row.doc_id}\t{row.relevance}\n" for row in table.itertuples())
        return write_text(expanded(folder) / "qrels" / f"{split}.tsv", QRELS_HEADER + "".join(lines))

    def _lines(self) -> list[tuple[int, str, bool]]:
        """Return each line's number, the line, and whether it is the last one and has no end."""
        with saying(f"{self.path} cannot be read", "name the file that judgments are kept in"):
            if not self.path.exists():
                return []
            _refuse_other_kinds(self.path)
            *whole, last = self.path.read_bytes().split(b"\n")
        lines = []
        for number, data in enumerate(whole, 1):
            try:
                line = data.decode("utf8")
            except UnicodeDecodeError as error:
                raise RagkitError(f"{self.path}, line {number}: not UTF-8 ({error.reason}); convert it.") from error
            lines += [(number, line, False)] if line.strip() else []
        # A line may be torn within a character.
        return lines + ([(len(whole) + 1, last.decode("utf8", "replace"), True)] if last else [])


def _refuse_other_kinds(path: Path) -> None:
    if not path.is_file():  # /dev/full, say, can be read for ever
        raise RagkitError(f"{path} is a folder, a device or a pipe; judgments are kept in a file: name one.")


def _mended(file: IO[bytes]) -> int:
    """End a last line that has no end, with a line break if it is whole, else by taking it away; return the length."""
    file.seek(0)
    data = file.read()
    end = data.rfind(b"\n") + 1
    if data[:end].strip() and b'"query_id"' not in data.split(b"\n", 1)[0]:
        raise RagkitError(f"{file.name} holds something else than judgments, and is left as it is; name another file.")
    if end == len(data):
        return end
    try:
        json.loads(data[end:])
    except (ValueError, RecursionError):
        if not _is_beginning(data[end:].decode("utf8", "replace")):
            raise RagkitError(
                f"{file.name}: its last line is no judgment ({shorten(repr(data[end:]), 60)}); remove it."
            ) from None
        file.truncate(end)
        return end
    file.write(b"\n")
    return len(data) + 1


def _is_beginning(line: str) -> bool:
    """Return whether a line that was torn off can be the beginning of a judgment, as `record` writes it.

    >>> _is_beginning('{"query_id": "q0'), _is_beginning('{"qu'), _is_beginning("a letter")
    (True, True, False)
    """
    start = '{"query_id": "'
    return (line.startswith(start) or start.startswith(line)) and not re.search("[\\x00-\\x1f]", line)


def _is_grade(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and value in GRADES


def _is_id(name: str) -> bool:
    return bool(name) and not any(c in name for c in "\t\r\n")


@public("The queries cannot be written")
def write_queries(folder: str | Path, queries: Mapping[str, str]) -> Path:
    """Write query ids and texts as queries.jsonl of a BEIR-layout folder, whole or not at all; return the file.

    Raises RagkitError for no query, an empty text, half a character, or an id that judgments cannot hold.
    """
    for query_id, text in queries.items():
        if not _is_id(query_id) or not text.strip():
            raise RagkitError(f"Query {query_id!r}: {text!r}; expected an id without tabs, and a text.")
        checked_text(text, f"Query {checked_id(query_id, 'A query')!r}")
    if not queries:
        raise RagkitError("There are no queries; expected ids and texts, such as {'q01': 'lost card'}.")
    lines = (json.dumps({"_id": i, "text": text}, ensure_ascii=False) + "\n" for i, text in queries.items())
    return write_text(expanded(folder) / "queries.jsonl", "".join(lines))
