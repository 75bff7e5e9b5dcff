"""Whether models can read a dataset's texts: what their tokenizers do not know, take letter by letter, or cut off."""

import unicodedata
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import compress
from typing import NamedTuple

from ragkit.datasets.dataset import Dataset, smallest_hashes
from ragkit.datasets.inspecting import EXAMPLES, Check, percent
from ragkit.datasets.pieces import Piece, TextReader
from ragkit.errors import shorten

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
    chosen = smallest_hashes(doc_ids, count)
    return [i for i, doc_id in enumerate(doc_ids) if doc_id in chosen]


def _is_letter(text: str) -> bool:
    """Return whether a piece is one letter of an alphabet; vowel signs are letters, Chinese characters are words.

    >>> _is_letter("a"), _is_letter("ab"), _is_letter("7"), _is_letter("中")
    (True, False, False, False)
    """
    return len(text) == 1 and unicodedata.category(text)[0] in "LM" and not _is_han(text)


def _is_han(character: str) -> bool:
    return "\u3400" <= character <= "\u9fff" or character >= "\U00020000"
