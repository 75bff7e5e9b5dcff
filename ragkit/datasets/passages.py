"""Long documents cut, by a tokenizer, into passages that know their document, and which of the two is judged."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import pandas as pd

from ragkit.errors import RagkitError

_LEAST = 16  # tokens of a passage
_SHARED = 4  # characters that one passage ends and the next begins with: fewer may be chance


class Piece(NamedTuple):
    """One piece of a text: text[start:end], in the word of that number; known: whether it is not [UNK]."""

    start: int
    end: int
    word: int
    known: bool


class TextReader(Protocol):
    """The tokenizer of a model; ragkit.encoders.encoder.ModelReader says what each attribute is."""

    model: str
    limit: int
    markers: int
    english: bool

    @property
    def vocabulary(self) -> str: ...

    def lengths(self, texts: Sequence[str]) -> list[int]: ...

    def pieces(self, texts: Sequence[str]) -> list[list[Piece]]: ...


def cut(documents: pd.DataFrame, size: int, reader: TextReader, markers: int = 0) -> pd.DataFrame:
    """Return doc_id, title, text, document: documents of more than `size` tokens as passages, half of which overlaps.

    A passage has at most `size` tokens as the reader counts them, its document's title (which each repeats), special
    ones and `markers` included, unless the title takes more than half of them; it begins and ends between words, unless
    a word is longer than that. Its id is the document's with #1, #2, … Documents that are short enough stay as they
    are, and so do those with at most `size` // 2 tokens of text, however long their titles. Raises RagkitError for
    fewer than 16 tokens, and for an id that is there already.

    Source: Dai and Callan, Deeper text understanding for IR with contextual neural language modeling (SIGIR 2019):
    windows with a stride of half their length, a document's score that of its best passage (MaxP).
    """
    if size < _LEAST:
        raise RagkitError(f"A passage has at least {_LEAST} tokens; got {size}. The embedded models read 256.")
    rows = []
    [special] = reader.lengths([""])
    titles, texts = documents["title"].tolist(), documents["text"].tolist()
    for doc_id, title, text, of_title, pieces in zip(
        documents["doc_id"], titles, texts, reader.pieces(titles), reader.pieces(texts), strict=True
    ):
        room = max(size - special - markers - len(of_title), size // 2)  # a long title leaves the text half of it
        if len(pieces) <= room:
            rows.append((doc_id, title, text, doc_id))
            continue
        spans = windows(pieces, room)
        rows += [(f"{doc_id}#{i}", title, text[a:b].strip(), doc_id) for i, (a, b) in enumerate(spans, 1)]
    frame = pd.DataFrame(rows, columns=["doc_id", "title", "text", "document"])
    twice = frame["doc_id"].duplicated()
    if twice.any():
        raise RagkitError(f"A passage would get the id {frame['doc_id'][twice].iloc[0]!r}, which is there already.")
    return frame


def windows(pieces: Sequence[Piece], size: int) -> list[tuple[int, int]]:
    """Return (start, end) in the text of overlapping windows of at most `size` pieces that cover all of them.

    >>> words = [Piece(2 * i, 2 * i + 1, i, True) for i in range(5)]  # a b c d e
    >>> windows(words, 3)
    [(0, 5), (2, 7), (4, 9)]
    """
    begins = [i for i, piece in enumerate(pieces) if i == 0 or piece.word != pieces[i - 1].word]
    spans, start, count = [], 0, len(pieces)
    while start + size < count:
        stop = _last(begins, start, start + size)
        spans.append((pieces[start].start, pieces[stop - 1].end))
        start = _last(begins, start, start + max(1, size // 2))
    late = [begin for begin in begins if begin >= count - size]  # the last window is a whole one, too
    start = min([start, *late[:1]])
    return [*spans, (pieces[start].start, pieces[-1].end)]


def _last(begins: Sequence[int], after: int, until: int) -> int:
    """Return the last beginning of a word after one place and until another, or that other if there is none."""
    found = begins[bisect_right(begins, until) - 1]
    return found if found > after else until


def settle(documents: pd.DataFrame, qrels: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the documents as they are judged: passages of documents, with a note, or rows if qrels name passages.

    What others keep under `metadata.document` need not be a document that anything judges: then it means nothing here.
    """
    if "document" not in documents:
        return documents, []
    judged, whole = set(qrels["doc_id"]), set(documents["document"])
    passages = set(documents.loc[documents["doc_id"] != documents["document"], "doc_id"])
    if judged & passages and not judged & (whole - set(documents["doc_id"])):
        return documents.drop(columns="document"), []
    note = f"{len(documents):,} passages of {len(whole):,} documents, each of which counts by its best passage"
    return documents, [note]


def whole(documents: pd.DataFrame) -> pd.DataFrame:
    """Return doc_id, title, text of the documents that judgments may name: the rows, or what they are passages of.

    What passages were cut from has the title of the first of them, and their texts joined.

    >>> rows = [("a", "", "a bird", "a"), ("b#1", "", "a red fish", "b"), ("b#2", "", "fish swims", "b")]
    >>> whole(pd.DataFrame(rows, columns=["doc_id", "title", "text", "document"])).values.tolist()
    [['a', '', 'a bird'], ['b', '', 'a red fish swims']]
    """
    if "document" not in documents:
        return documents
    titles: dict[str, str] = {}
    texts: dict[str, list[str]] = {}
    for row in documents.itertuples():
        titles.setdefault(row.document, row.title)
        texts.setdefault(row.document, []).append(row.text)
    rows = [(doc_id, titles[doc_id], joined(parts)) for doc_id, parts in texts.items()]
    return pd.DataFrame(rows, columns=["doc_id", "title", "text"])


def joined(texts: Sequence[str]) -> str:
    """Return one text of a document's passages in order: what one ends with and the next begins with, once.

    Where two share fewer than 4 characters, a line break is between them. What a text repeats there may be left out,
    and nothing else is.

    >>> joined(["a red fish and", "fish and a bird", "The end"])
    'a red fish and a bird\\nThe end'
    """
    parts = [*texts[:1]]
    for before, text in zip(texts, texts[1:], strict=False):
        shared = _shared(before, text)
        parts.append(text[shared:] if shared else f"\n{text}")
    return "".join(parts)


def _shared(before: str, text: str) -> int:
    """Return how many characters one text ends with and another begins with, as many as can be."""
    start = before.find(text[:_SHARED], max(0, len(before) - len(text)))
    while start >= 0 and not text.startswith(before[start:]):
        start = before.find(text[:_SHARED], start + 1)
    return len(before) - start if start >= 0 else 0
