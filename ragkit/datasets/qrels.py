"""Judgments: which column of a file is which, what a grade may be, and a file or rows read or refused."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ragkit.datasets.contents import checked_id, is_parquet, read_lines
from ragkit.datasets.records import Records, is_jsonl, read_records
from ragkit.errors import RagkitError, given, shorten

# trec_eval, which measures, keeps a counter for every grade up to the largest, for every query: at a million that is
# 8 MB and a millisecond, at 500 million 4 GB, and from 2^31 - 1 on the counter wraps and nDCG is 0. Nobody judges in
# more than a million grades: a larger number is a time stamp, a hash or an id in the wrong column.
LARGEST_GRADE = 1_000_000

# Names are compared in lower case, without hyphens, underscores, dots and spaces.
QUERY = ("query-id", "qid", "q_id", "topic_id", "topic", "query")
DOCUMENT = ("corpus-id", "doc_id", "docno", "pid", "passage_id", "document_id", "did", "doc", "document")
RELEVANCE = ("score", "relevance", "rel", "label", "grade", "judgment", "judgement")
ITERATION = ("iteration", "iter", "q0")
_MAY_BE_TEXT = ("query", "topic", "doc", "document")  # a column of that name beside one of ids is no id
_INDEX = re.compile(r"(Unnamed: ?\d+(_level_\d+)?)?")  # pandas' names for an index that was saved

NAMES = (
    "expected the columns query-id (or query_id, qid, topic), corpus-id (or doc_id, docid, docno, pid) and score (or "
    "relevance, rel, label), in any order; beside them iteration (iter, Q0)"
)


@dataclass(frozen=True)
class Columns:
    """The positions of a judgment's three columns in a header, and the names of columns that are not understood."""

    query: int
    document: int
    relevance: int
    extra: tuple[str, ...]


def understood(header: Sequence[str], where: str) -> Columns | None:
    """Return which column is which, by the names; None if one of the three is not there.

    Raises RagkitError, which begins with `where`, if two columns could be the same.

    >>> understood(["docno", "topic", "rel"], "line 1")
    Columns(query=1, document=0, relevance=2, extra=())
    >>> understood(["q0", "d0", "1"], "line 1") is None
    True
    """
    names = [_plain(name) for name in header]
    query, document, relevance = (_only(header, names, known, where) for known in (QUERY, DOCUMENT, RELEVANCE))
    if query is None or document is None or relevance is None:
        return None
    ignored = {_plain(name) for name in ITERATION}
    extra = [
        given.strip()
        for i, (given, name) in enumerate(zip(header, names, strict=True))
        if i not in (query, document, relevance)
        and name not in ignored
        and not _INDEX.fullmatch(given.strip().strip('"'))
    ]
    return Columns(query, document, relevance, tuple(extra))


def _only(header: Sequence[str], names: list[str], known: Sequence[str], where: str) -> int | None:
    wanted = {_plain(name) for name in known}
    fitting = [i for i, name in enumerate(names) if name in wanted]
    if len(fitting) > 1:
        fitting = [i for i in fitting if names[i] not in _MAY_BE_TEXT]
    if len(fitting) > 1:
        told = " and ".join(repr(header[i]) for i in fitting)
        raise RagkitError(f"{where}: the columns {told} could both be the {known[0]}; keep one.")
    return fitting[0] if fitting else None


def _plain(name: str) -> str:
    return re.sub(r'[-_. "]', "", name.strip().lower())


def is_whole(text: str) -> bool:
    """Return whether a text is a whole number, as people and pandas write it.

    >>> [is_whole(text) for text in ("1", "+2", "-1", "1.0", "0.5", "--1", "")]
    [True, True, True, True, False, False, False]
    """
    return re.fullmatch(r"[+-]?[0-9]+(\.0*)?", text) is not None


def grade(value: object, where: str) -> int:
    """Return a relevance as an int.

    Raises RagkitError, which begins with `where`, for what is no whole number, and beyond LARGEST_GRADE.

    >>> grade("2", "line 1"), grade(1.0, "line 1")
    (2, 1)
    """
    try:
        text = repr(value) if isinstance(value, float) else str(value).strip()
    except ValueError:  # of more digits than Python writes
        text = ""
    if isinstance(value, bool) or not is_whole(text):
        raise RagkitError(f"{where}: the score is {given(value)}, expected a whole number.")
    digits = text.partition(".")[0].lstrip("+-").lstrip("0")
    if len(digits) > len(str(LARGEST_GRADE)) or abs(int(text.partition(".")[0])) > LARGEST_GRADE:
        raise RagkitError(
            f"{where}: the score is {shorten(text, 60)}; the largest grade is {LARGEST_GRADE:,}, since measures count "
            "documents grade by grade. Is it the right column? Otherwise write smaller grades, such as 0 to 3."
        )
    return int(text.partition(".")[0])


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
