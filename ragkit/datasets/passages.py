"""Long documents cut, by a tokenizer, into passages that know their document, and which of the two is judged."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import pandas as pd

from ragkit.errors import RagkitError

_LEAST = 16  # tokens of a passage


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
    are. Raises RagkitError for fewer than 16 tokens, and for an id that is there already.

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
        room = size - special - markers - len(of_title)
        if len(pieces) <= room:
            rows.append((doc_id, title, text, doc_id))
            continue
        room = max(room, size // 2)  # a title that takes more than half is cut off by the model, and not the text
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
    """Return the ids that judgments may name, once each, as doc_id: those of whole documents.

    >>> whole(pd.DataFrame({"doc_id": ["a", "b#1", "b#2"], "document": ["a", "b", "b"]}))["doc_id"].tolist()
    ['a', 'b']
    """
    ids = documents["document" if "document" in documents else "doc_id"]
    return pd.DataFrame({"doc_id": ids.drop_duplicates()})
