"""What a model's own tokenizer makes of a whole text: its pieces, how many, and those that it does not know."""

import functools
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

from ragkit.datasets.pieces import Piece
from ragkit.encoders.cached_encoder import checked
from ragkit.encoders.encoder import Encoder, find_model, load_encoder
from ragkit.encoders.variants import Variant
from ragkit.errors import RagkitError

_BATCH = 256
_MODELS = {"muvera": "colbert"}  # vectors made from another model's rows


class ModelReader:
    """A datasets.pieces.TextReader of a model's tokenizer, which truncates nothing.

    model: its name; limit: the tokens of a document that the model reads, special ones and markers included; markers:
    how many the model puts in beside those of its tokenizer; english: whether FastEmbed describes the model as English,
    and nothing else; vocabulary: the same for models whose tokenizers are the same.

    >>> reader = ModelReader(load_encoder("colbert"))
    >>> reader.limit, reader.markers, reader.lengths(["A film."])
    (256, 1, [5])
    >>> [(piece.start, piece.end) for piece in reader.pieces(["A film."])[0]]
    [(0, 1), (2, 6), (6, 7)]
    """

    def __init__(self, encoder: Encoder):
        self.model = encoder.name
        self.english = ", English," in find_model(encoder.name)[1]["description"]
        truncated, self.markers = encoder.tokenizer, encoder.markers
        if truncated is None:
            raise RagkitError(f"{encoder.name} has no tokenizer of its own, so its pieces cannot be told.")
        truncation: Any = truncated.truncation  # FastEmbed always sets it
        self.limit: int = truncation["max_length"] + self.markers
        self._tokenizer = Tokenizer.from_str(truncated.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        model = json.loads(self._tokenizer.to_str())["model"]
        self._unknown: int | None = model.get("unk_id")  # Unigram's; the others name the piece
        if model.get("unk_token") is not None:
            self._unknown = self._tokenizer.token_to_id(model["unk_token"])

    @functools.cached_property
    def vocabulary(self) -> str:
        return hashlib.sha256(self._tokenizer.to_str().encode()).hexdigest()

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has, special ones included and markers not."""
        return [len(encoding.ids) for batch in _batches(texts) for encoding in self._tokenizer.encode_batch(batch)]

    def pieces(self, texts: Sequence[str]) -> list[list[Piece]]:
        """Return the pieces of each text, special ones not included."""
        return [self._pieces(encoding) for batch in _batches(texts) for encoding in self._tokenizer.encode_batch(batch)]

    def _pieces(self, encoding) -> list[Piece]:
        rows = zip(encoding.ids, encoding.offsets, encoding.word_ids, strict=True)
        # A special token belongs to no word; [UNK], which is one too, does.
        return [Piece(start, end, word, i != self._unknown) for i, (start, end), word in rows if word is not None]


def load_readers(vectors: Sequence[str]) -> dict[str, ModelReader]:
    """Return the reader of the model behind each name of vectors, by "dense", "colbert" or "tokens".

    What has no model (bm25), or a model without a tokenizer, has no reader.

    Raises RagkitError as Variant.parse and load_encoder do.

    >>> list(load_readers(["dense", "bm25", "colbert-pool2", "muvera"]))
    ['dense', 'colbert']
    """
    bases = (Variant.parse(name).base for name in vectors)
    models = dict.fromkeys(_MODELS.get(base, base) for base in bases if base != "bm25")
    encoders = {name: load_encoder(name) for name in models}
    return {name: ModelReader(encoder) for name, encoder in encoders.items() if encoder.tokenizer is not None}


def _batches(texts: Sequence[str]) -> list[list[str]]:
    texts = checked(texts)
    return [texts[i : i + _BATCH] for i in range(0, len(texts), _BATCH)]
