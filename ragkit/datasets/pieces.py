"""A model's tokenizer as datasets need it, who know no model: a protocol that encoders fulfil."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Piece(NamedTuple):
    """One piece of a text: text[start:end], in the word of that number; known: whether it is not [UNK]."""

    start: int
    end: int
    word: int
    known: bool


class TextReader(Protocol):
    """The tokenizer of a model; ragkit.encoders.pieces.ModelReader says what each attribute is."""

    model: str
    limit: int
    markers: int
    english: bool

    @property
    def vocabulary(self) -> str: ...

    def lengths(self, texts: Sequence[str]) -> list[int]: ...

    def pieces(self, texts: Sequence[str]) -> list[list[Piece]]: ...
