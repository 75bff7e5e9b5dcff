"""From runs to judgments: what to look at, in which order, and where each decision is kept."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from ragkit.datasets.contents import checked_id, checked_text
from ragkit.datasets.qrels import grade
from ragkit.errors import RagkitError, shorten
from ragkit.files import expanded, write_text

GRADES = {0: "no answer", 1: "a partial answer", 2: "what was asked for"}
QRELS_HEADER = "query-id\tcorpus-id\tscore\n"
COLUMNS = ["query_id", "doc_id", "relevance"]


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
    if not frames or depth < 1:
        raise RagkitError(f"A pool needs at least one run and a depth from 1; got {len(frames)} and {depth}.")
    for frame in frames:
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

    Nothing is kept in memory, so another kernel, or the same one after a crash, goes on where this one stopped. A
    later judgment of a pair replaces an earlier one, which stays in the file.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     judgments = Judgments(f"{folder}/mine.jsonl")
    ...     judgments.record("q", "a", 0)
    ...     judgments.record("q", "a", 2)
    ...     Judgments(f"{folder}/mine.jsonl").table().values.tolist()
    [['q', 'a', 2]]
    """

    def __init__(self, path: str | Path):
        self.path = expanded(path)

    def __repr__(self) -> str:
        return f"<Judgments in {self.path}>"

    def record(self, query_id: str, doc_id: str, relevance: int) -> None:
        """Append one judgment. Raises RagkitError for a relevance other than 0, 1 or 2, or an id that is no text."""
        if relevance not in GRADES or isinstance(relevance, bool):
            grades = ", ".join(f"{grade} ({meaning})" for grade, meaning in GRADES.items())
            raise RagkitError(f"The relevance of {doc_id!r} for {query_id!r} is {relevance!r}; expected {grades}.")
        for name in (query_id, doc_id):
            if not isinstance(name, str) or not name or any(c in name for c in "\t\r\n"):
                raise RagkitError(f"An id is a text without tabs and line breaks, such as 'q01'; got {name!r}.")
            checked_id(name, f"A judgment of {doc_id!r} for {query_id!r}")
        line = json.dumps(dict(zip(COLUMNS, (query_id, doc_id, int(relevance)), strict=True)), ensure_ascii=False)
        self._mend()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab", buffering=0) as file:  # one write of one line: it is there whole, or torn and last
            file.write(line.encode() + b"\n")
            os.fsync(file.fileno())

    def table(self) -> pd.DataFrame:
        """Return query_id, doc_id, relevance: the last judgment of each pair, in the order of the first ones.

        A last line that was torn off while it was written is no judgment. Raises RagkitError, naming file and line,
        for any other line that is none.
        """
        latest: dict[tuple[str, str], int] = {}
        for number, line, torn in self._lines():
            where = f"{self.path}, line {number}"
            try:
                row = json.loads(line)
                pair = checked_id(str(row["query_id"]), where), checked_id(str(row["doc_id"]), where)
                latest[pair] = grade(row["relevance"], where)
            except RagkitError:
                raise
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                if not torn:
                    raise RagkitError(f"{where}: no judgment ({shorten(line, 60)!r}); remove it.") from error
        frame = pd.DataFrame([(*pair, relevance) for pair, relevance in latest.items()], columns=COLUMNS)
        return frame.astype({"query_id": str, "doc_id": str, "relevance": int})

    def left(self, pairs: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a pool that are not judged yet, in its order."""
        done = set(self.table()[["query_id", "doc_id"]].itertuples(index=False, name=None))
        keep = [pair not in done for pair in pairs[["query_id", "doc_id"]].itertuples(index=False, name=None)]
        return pairs[keep].reset_index(drop=True)

    def write_qrels(self, folder: str | Path, split: str = "test") -> Path:
        """Write the judgments as qrels/<split>.tsv of a BEIR-layout folder, whole or not at all; return the file.

        Zeros are written too: they say that somebody looked. Raises RagkitError if there is no judgment.
        """
        table = self.table()
        if table.empty:
            raise RagkitError(f"{self.path}: nothing has been judged yet; record a judgment first.")
        lines = (f"{row.query_id}\t{row.doc_id}\t{row.relevance}\n" for row in table.itertuples())
        return write_text(Path(folder) / "qrels" / f"{split}.tsv", QRELS_HEADER + "".join(lines))

    def _lines(self) -> list[tuple[int, str, bool]]:
        """Return each line's number, the line, and whether it is the last one and has no end."""
        if not self.path.exists():
            return []
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

    def _mend(self) -> None:
        """End a last line that has no end: with a line break if it is a judgment, else by taking it away."""
        lines = self._lines()
        if lines and lines[-1][2]:
            data = self.path.read_bytes()
            keep = data.rfind(b"\n") + 1
            try:
                json.loads(data[keep:])
            except ValueError:
                os.truncate(self.path, keep)
            else:
                with open(self.path, "ab") as file:
                    file.write(b"\n")


def write_queries(folder: str | Path, queries: Mapping[str, str]) -> Path:
    """Write query ids and texts as queries.jsonl of a BEIR-layout folder, whole or not at all; return the file.

    Raises RagkitError for no query, an empty text, half a character, or an id that judgments cannot hold.
    """
    for query_id, text in queries.items():
        if not query_id or any(c in query_id for c in "\t\r\n") or not text.strip():
            raise RagkitError(f"Query {query_id!r}: {text!r}; expected an id without tabs, and a text.")
        checked_text(text, f"Query {checked_id(query_id, 'A query')!r}")
    if not queries:
        raise RagkitError("There are no queries; expected ids and texts, such as {'q01': 'lost card'}.")
    lines = (json.dumps({"_id": i, "text": text}, ensure_ascii=False) + "\n" for i, text in queries.items())
    return write_text(Path(folder) / "queries.jsonl", "".join(lines))
