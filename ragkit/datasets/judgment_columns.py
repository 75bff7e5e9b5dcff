"""Which column of a judgment file is which, by the names in use; and what a grade may be."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ragkit.errors import RagkitError, shorten

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
    text = repr(value) if isinstance(value, float) else str(value).strip()
    if isinstance(value, bool) or not is_whole(text):
        raise RagkitError(f"{where}: the score is {shorten(repr(value), 60)}, expected a whole number.")
    digits = text.partition(".")[0].lstrip("+-").lstrip("0")
    if len(digits) > len(str(LARGEST_GRADE)) or abs(int(text.partition(".")[0])) > LARGEST_GRADE:
        raise RagkitError(
            f"{where}: the score is {shorten(text, 60)}; the largest grade is {LARGEST_GRADE:,}, since measures count "
            "documents grade by grade. Is it the right column? Otherwise write smaller grades, such as 0 to 3."
        )
    return int(text.partition(".")[0])
