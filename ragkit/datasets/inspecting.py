"""What is found in a dataset before anything is compared, and the faults that its texts and ids alone show."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ragkit.datasets import fitting
from ragkit.datasets.dataset import Dataset
from ragkit.errors import RagkitError, shorten

EXAMPLES = 3


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, and what it showed.

    kind: such as "duplicates"; what: a sentence without its full stop; advice: what to do, "" where nothing is wrong;
    examples: of what is wrong, a line each.
    """

    kind: str
    what: str
    advice: str = ""
    examples: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Whether it is a fault."""
        return bool(self.advice)


@dataclass(frozen=True)
class Inspection:
    """All that was looked at in a dataset, faults or not."""

    dataset: str
    documents: int
    queries: int
    judgments: int
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Check, ...]:
        """The faults alone."""
        return tuple(check for check in self.checks if check.found)

    def __getitem__(self, kind: str) -> Check:
        """Return the check of that kind; RagkitError if there is none."""
        for check in self.checks:
            if check.kind == kind:
                return check
        raise RagkitError(f"There is no check {kind!r}; there are {', '.join(check.kind for check in self.checks)}.")

    def to_dict(self) -> dict[str, Any]:
        """Return the inspection as the JSON that the command line writes."""
        checks = [
            {"kind": c.kind, "found": c.found, "what": c.what, "advice": c.advice, "examples": list(c.examples)}
            for c in self.checks
        ]
        counts = {"documents": self.documents, "queries": self.queries, "judgments": self.judgments}
        return {"dataset": self.dataset, **counts, "notes": list(self.notes), "checks": checks}


def check_texts(dataset: Dataset) -> list[Check]:
    """Return the checks that need documents, queries and judgments only: duplicates, queries, empty and ids."""
    return [duplicates(dataset), documents_as_queries(dataset), empty(dataset), similar_ids(dataset)]


def duplicates(dataset: Dataset) -> Check:
    """Return which texts stand under several ids; a fault where not all of these are judged alike for a query.

    Case and white space do not count. Passages of one document are one document.
    """
    groups = _groups(zip(dataset.document_ids, map(plain, dataset.passages), strict=True))
    member = {doc_id: text for text, ids in groups.items() for doc_id in ids}
    judged: dict[tuple[str, str], dict[str, int]] = {}
    for row in dataset.qrels.itertuples():
        if row.doc_id in member:
            judged.setdefault((row.query_id, member[row.doc_id]), {})[row.doc_id] = row.relevance
    uneven = []
    for (query_id, text), grades in judged.items():
        values = {max(grades.get(doc_id, 0), 0) for doc_id in groups[text]}
        if len(values) > 1:
            line = ", ".join(f"{i!r} is {_grade(grades.get(i))}" for i in groups[text][:4])
            uneven.append(f"query {query_id!r}: {line}: {shorten(text, 60)!r}")
    many = sum(map(len, groups.values()))
    what = f"{many:,} documents share {count(len(groups), 'text')}" if groups else "no text stands under two ids"
    if not uneven:
        return Check("duplicates", what + (", and no judgment tells them apart" if groups else ""))
    what += f"; {count(len({line.split(':')[0] for line in uneven}), 'query', 'queries')} judge them unevenly"
    advice = "Keep one id of each text, or judge all alike: a system that finds the other id loses by it"
    return Check("duplicates", what, advice, tuple(uneven[:EXAMPLES]))


def documents_as_queries(dataset: Dataset) -> Check:
    """Return which queries are the whole text of a document: it is found first whether it is the answer or not."""
    queries: dict[str, list[str]] = {}
    for row in dataset.queries.itertuples():
        queries.setdefault(plain(row.text), []).append(row.query_id)
    relevant = set(dataset.qrels.loc[dataset.qrels["relevance"] > 0, ["query_id", "doc_id"]].itertuples(False, None))
    lines, asked, answers = [], set(), 0
    for doc_id, text, passage in zip(
        dataset.documents["doc_id"], dataset.documents["text"], dataset.passages, strict=True
    ):
        for query_id in queries.get(plain(text), []) or queries.get(plain(passage), []):
            asked.add(query_id)
            answers += (query_id, doc_id) in relevant
            lines.append(f"query {query_id!r} is document {doc_id!r}: {shorten(passage, 60)!r}")
    if not lines:
        return Check("queries", "no query is the text of a document")
    is_ = "is" if len(asked) == 1 else "are"
    own, _ = fitting.own_documents(dataset.documents, dataset.queries)
    judged = f"{answers or 'none'} of these is judged relevant"
    what = f"{len(asked):,} of {len(dataset.queries):,} queries {is_} word for word a document, and {judged}"
    if own == asked:
        advice = "A comparison leaves each out of its own query's results, as BEIR does; see that others do, too"
    else:
        advice = "Take them out, unless they are meant: every system finds such a document first, answer or not"
    return Check("queries", what, advice, tuple(lines[:EXAMPLES]))


def empty(dataset: Dataset) -> Check:
    """Return which documents have no text at all: their vectors mean nothing, and are found all the same."""
    ids = [
        doc_id for doc_id, text in zip(dataset.documents["doc_id"], dataset.passages, strict=True) if not plain(text)
    ]
    if not ids:
        return Check("empty", "no document is empty")
    judged = dataset.qrels[dataset.qrels["doc_id"].isin(ids) & (dataset.qrels["relevance"] > 0)]
    what = f"{len(ids):,} of {len(dataset.documents):,} documents have no text"
    what += f", and {count(len(judged), 'judgment')} call one relevant" if len(judged) else ""
    advice = "Look where their texts were lost, or take them out: their vectors mean nothing, and can be found"
    return Check("empty", what, advice, tuple(map(repr, ids[:EXAMPLES])))


def similar_ids(dataset: Dataset) -> Check:
    """Return which ids differ only in form: Unicode normalisation, case, white space, leading zeros.

    Looked for among documents, among queries, and between judgments and the documents or queries that they miss.
    """
    lines = []
    for name, ids, column in (
        ("document", dataset.document_ids, "doc_id"),
        ("query", dataset.queries["query_id"].tolist(), "query_id"),
    ):
        known = dict.fromkeys(ids)
        groups = _groups((i, form(i)) for i in known)
        lines += [f"{name} ids {' and '.join(map(repr, of[:3]))}" for of in groups.values()]
        forms = {form(i): i for i in known}
        missed = (i for i in dict.fromkeys(dataset.qrels[column]) if i not in known and form(i) in forms)
        lines += [f"judgments name {name} {i!r}, which is here as {forms[form(i)]!r}" for i in missed]
    if not lines:
        return Check("ids", "no two ids differ only in form")
    what = f"{count(len(lines), 'group')} of ids differ only in case, white space, leading zeros or Unicode form"
    advice = "Make sure that each is meant, and that judgments name the right one; write each id in one form"
    return Check("ids", what, advice, tuple(lines[:EXAMPLES]))


def plain(text: str) -> str:
    """Return the text as it is compared with others: in one case, with single spaces.

    >>> plain(" A\\n Film ")
    'a film'
    """
    return " ".join(text.casefold().split())


def form(name: str) -> str:
    """Return what ids that differ only in form have in common.

    >>> form("Doc 007") == form("doc7"), form("10") == form("100")
    (True, False)
    """
    name = re.sub(r"\s+", "", unicodedata.normalize("NFKC", name).casefold())
    return re.sub(r"(?<!\d)0+(?=\d)", "", name)


def _groups(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the ids of each key that two or more different ones have; "" is no key."""
    groups: dict[str, dict[str, None]] = {}
    for name, key in pairs:
        if key:
            groups.setdefault(key, {})[name] = None
    return {key: list(names) for key, names in groups.items() if len(names) > 1}


def _grade(relevance: int | None) -> str:
    return "not judged" if relevance is None else f"judged {relevance}"


def count(number: int, one: str, several: str = "") -> str:
    """Return a number with its noun.

    >>> count(1, "query", "queries"), count(2000, "text")
    ('1 query', '2,000 texts')
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def percent(part: float, whole: float = 1, places: int = 0) -> str:
    """Return a share, 0 of nothing.

    >>> percent(1, 3), percent(1, 3, 1), percent(0, 0)
    ('33 %', '33.3 %', '0 %')
    """
    return f"{100 * part / whole if whole else 0:.{places}f} %"
