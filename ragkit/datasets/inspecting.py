"""What is found in a dataset before anything is compared: faults of its texts and ids, and for models' tokenizers."""

import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, NamedTuple

from ragkit.datasets import fitting
from ragkit.datasets.dataset import Dataset, smallest_hashes
from ragkit.datasets.passages import Piece, TextReader
from ragkit.errors import RagkitError, shorten

EXAMPLES = 3

# Of a dataset's documents, so many are read at most: those with the smallest SHA-256 of their ids.
SAMPLE, COUNTED = 500, 10_000
# SciFact has 0.0 % [UNK], and 2 % in its worst document; pieces a word are 1.24 there, 1.09 in Cranfield.
_UNKNOWN = 0.1  # share of a text's pieces
_LOST = 0.5  # share of a text's pieces that are unknown or single letters
_FEW = 5  # pieces, below which single letters say nothing
_TEXTS = 0.05  # share of the documents, or of the queries, that may be so
_PIECES, _ENGLISH = 1.6, "1.0 to 1.3"  # a word, of an English model
# SciFact's documents lose 29 % of their tokens, and its figures are like the published ones.
_CUT = 1 / 3
_SHOWN = 12  # pieces of an example
_MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2 and jinaai/jina-colbert-v2"


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
    whole = dataset.whole
    for doc_id, text, passage in zip(whole.documents["doc_id"], whole.documents["text"], whole.passages, strict=True):
        for query_id in queries.get(plain(text), []) or queries.get(plain(passage), []):
            asked.add(query_id)
            answers += (query_id, doc_id) in relevant
            lines.append(f"query {query_id!r} is document {doc_id!r}: {shorten(passage, 60)!r}")
    if not lines:
        return Check("queries", "no query is the text of a document")
    is_ = "is" if len(asked) == 1 else "are"
    own, _ = fitting.own_documents(whole.documents, dataset.queries)
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


class Reading(NamedTuple):
    """What became of a text, or of several: counts of pieces, [UNK]s, single letters and words."""

    pieces: int
    unknown: int
    letters: int
    words: int

    @property
    def lost(self) -> bool:
        """Whether the model can hardly tell what the text says."""
        return self.unknown > _UNKNOWN * self.pieces or (
            self.pieces >= _FEW and self.unknown + self.letters > _LOST * self.pieces
        )


def reading(text: str, pieces: Sequence[Piece]) -> Reading:
    """Return the counts for one text. A Chinese character is no letter: it is a word of its own for any model.

    >>> reading("ab c", [Piece(0, 1, 0, True), Piece(1, 2, 0, True), Piece(3, 4, 1, False)])
    Reading(pieces=3, unknown=1, letters=2, words=2)
    """
    letters = sum(piece.known and _is_letter(text[piece.start : piece.end].strip()) for piece in pieces)
    words = len({piece.word for piece in pieces})
    return Reading(len(pieces), sum(not piece.known for piece in pieces), letters, words)


def language(dataset: Dataset, readers: Mapping[str, TextReader]) -> Check:
    """Return the share of [UNK] pieces and single letters for each model; a fault where texts are hardly read.

    readers: by the names of vectors. Of many documents 500 are looked at, and of many queries.
    """
    if not readers:
        return Check("language", "no model reads the texts: bm25 takes their words, and stems them as English")
    passages = dataset.passages
    documents = [passages[i] for i in _sample(dataset.documents["doc_id"].tolist(), SAMPLE)]
    queries = dataset.queries["text"].tolist()[:SAMPLE]
    sentences: list[str] = []
    advice, examples = "", list[str]()
    for names, reader in _alike(readers, key=lambda reader: reader.vocabulary):
        read = [reading(*pair) for pair in zip(documents, reader.pieces(documents), strict=True)]
        asked = [reading(*pair) for pair in zip(queries, reader.pieces(queries), strict=True)]
        pieces, unknown, letters, words = (sum(column) for column in zip(*read, strict=True))
        a_word = pieces / max(1, words)
        sentence = (
            f"{names}: {percent(unknown, pieces, 1)} of the pieces are [UNK], {percent(letters, pieces, 1)} single "
            f"letters; {a_word:.1f} pieces a word"
        )
        lost, lost_queries = ([r.lost for r in of] for of in (read, asked))
        if sum(lost) > _TEXTS * len(lost) or sum(lost_queries) > _TEXTS * len(lost_queries):
            sentence += (
                f"; {sum(lost):,} of {len(lost):,} documents and {sum(lost_queries):,} of {len(lost_queries):,} "
                "queries can hardly be read"
            )
            advice = _another_model(reader)
            bad = [*compress(documents, lost), *compress(queries, lost_queries)]
        elif reader.english and a_word > _PIECES:
            sentence += f", where English prose has {_ENGLISH}"
            advice = _another_model(reader)
            bad = documents
        else:
            bad = []
        sentences.append(sentence)
        examples = examples or [f"{shorten(text, 50)!r} is read as {_as_read(text, reader)}" for text in bad[:EXAMPLES]]
    return Check("language", "; ".join(sentences), advice, tuple(examples))


def truncation(dataset: Dataset, readers: Mapping[str, TextReader]) -> Check:
    """Return how many documents are longer than each model reads, and the share of all tokens that is cut off.

    readers: by the names of vectors. Of many documents 10,000 are counted. A fault where more than a third is lost.
    """
    if not readers:
        return Check("truncation", "no model cuts anything off: bm25 reads whole texts")
    passages, doc_ids = dataset.passages, dataset.documents["doc_id"].tolist()
    chosen = _sample(doc_ids, COUNTED)
    counted: dict[str, list[int]] = {}
    sentences: dict[str, list[str]] = {}
    advice, examples = "", list[str]()
    for name, reader in readers.items():
        if reader.vocabulary not in counted:
            counted[reader.vocabulary] = reader.lengths([passages[i] for i in chosen])
        lengths = [length + reader.markers for length in counted[reader.vocabulary]]
        longer = [(length, doc_ids[i]) for length, i in zip(lengths, chosen, strict=True) if length > reader.limit]
        lost, total = sum(length - reader.limit for length, _ in longer), sum(lengths)
        sentence = f"{len(longer):,} of {len(lengths):,} documents have more than {reader.limit:,} tokens"
        sentences.setdefault(f"{sentence}, {percent(lost, total)} of all tokens are not read", []).append(name)
        if lost > _CUT * total:
            advice = (
                "Cut the documents into passages, which count for their document by the best one (python -m ragkit "
                f"import FILE --passages {reader.limit} …), or take a model that reads more"
            )
            longest = sorted(longer, reverse=True)[:EXAMPLES]
            examples = examples or [f"{doc_id!r} has {length:,} tokens" for length, doc_id in longest]
    what = "; ".join(f"{', '.join(names)}: {sentence}" for sentence, names in sentences.items())
    return Check("truncation", what, advice, tuple(examples))


def _another_model(reader: TextReader) -> str:
    described = "is an English model; these texts" if reader.english else "has another vocabulary: these texts"
    return (
        f"{reader.model} {described} are in another language or full of terms that it does not know. What its vectors "
        "score here says little of dense or late-interaction retrieval: take models of the texts' language "
        f"(RAGKIT_DENSE_MODEL, RAGKIT_COLBERT_MODEL), such as {_MULTILINGUAL}"
    )


def _as_read(text: str, reader: TextReader) -> str:
    """Return the first pieces of a text as the model gets them."""
    [pieces] = reader.pieces([text])
    return " ".join(text[p.start : p.end].strip() if p.known else "[UNK]" for p in pieces[:_SHOWN])


def _alike(
    readers: Mapping[str, TextReader], key: Callable[[TextReader], Hashable]
) -> Iterator[tuple[str, TextReader]]:
    """Yield the names of the readers that are the same by `key`, in words, and one of them."""
    groups: dict[Hashable, list[str]] = {}
    for name, reader in readers.items():
        groups.setdefault(key(reader), []).append(name)
    for names in groups.values():
        yield ", ".join(names), readers[names[0]]


def _sample(doc_ids: Sequence[str], count: int) -> list[int]:
    """Return the places of `count` documents, those with the smallest SHA-256 of their ids, or of all."""
    if len(doc_ids) <= count:
        return list(range(len(doc_ids)))
    chosen = set(smallest_hashes(doc_ids, count))
    return [i for i, doc_id in enumerate(doc_ids) if doc_id in chosen]


def _is_letter(text: str) -> bool:
    """Return whether a piece is one letter of an alphabet; vowel signs are letters, Chinese characters are words.

    >>> _is_letter("a"), _is_letter("ab"), _is_letter("7"), _is_letter("中")
    (True, False, False, False)
    """
    return len(text) == 1 and unicodedata.category(text)[0] in "LM" and not _is_han(text)


def _is_han(character: str) -> bool:
    return "\u3400" <= character <= "\u9fff" or character >= "\U00020000"
