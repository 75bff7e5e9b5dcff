"""Texts to vectors with FastEmbed: length-sorted, batched by tokens, cached; and what the tokenizer makes of them."""

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from fastembed import LateInteractionTextEmbedding
from tokenizers import Tokenizer

from ragkit.boundary import public, whole_number
from ragkit.datasets.passages import Piece
from ragkit.encoders import _fastembed, embedded
from ragkit.encoders.cached_encoder import CachedEncoder, Role, checked
from ragkit.encoders.models import advice_on, find_model, load_model, register
from ragkit.errors import RagkitError
from ragkit.files import sha256

# Padded tokens a batch. Measured on SciFact (2 cores): 1,024 to 16,384 are equally fast within
# noise, and memory grows with it, so a small one.
TOKENS_PER_BATCH = 2048

_TEXTS_AT_ONCE = 256  # that a tokenizer gets


@dataclass(frozen=True)
class Token:
    """One token that the model saw, and the row of the multivector that it became.

    kind: "word" (a piece of the text), "special" ([CLS], [SEP]), "marker" ([Q], [D]), "mask"
    (query padding) or "skipped" (punctuation of a document); row: None if skipped.
    """

    label: str
    kind: str
    row: int | None


class Encoder(CachedEncoder):
    """A FastEmbed model, dense or late interaction, with a cache on disk.

    Documents are encoded longest first, in batches of equal numbers of padded tokens; the arrays are
    FastEmbed's own `embed()` and `query_embed()` up to float32 rounding.

    model: any name in TextEmbedding.list_supported_models() or
    LateInteractionTextEmbedding.list_supported_models(); the embedded ones are registered.
    threads, providers, cuda: as FastEmbed takes them: of the processor (None: all that may be used), ONNX Runtime's
    execution providers, and whether to use CUDA ("auto": where ONNX Runtime has it).
    download: whether a model that is not on this machine may be fetched from its hub. Raises RagkitError
    for another name, for a model that cannot be loaded, and for a provider that is not there.

    >>> encoder = Encoder("ragkit/colbert-minilm-l6", cache=False)
    >>> encoder.encode_documents(["A film."])[0].shape
    (5, 128)
    >>> [token.label for token in encoder.tokens("A film.")]
    ['[CLS]', '[D]', 'a', 'film', '.', '[SEP]']
    """

    @public("The model cannot be loaded")
    def __init__(
        self,
        model: str,
        cache: bool = True,
        threads: int | None = None,
        download: bool = True,
        providers: Sequence[str | tuple[str, dict]] | None = None,
        cuda: bool | Literal["auto", "cpu", "cuda"] = "auto",
    ):
        cls, description = find_model(model)
        self.name: str = description["model"]
        self.dim: int = description["dim"]
        self.multivector: bool = cls is LateInteractionTextEmbedding
        self.cache = cache
        self._asked = _asked(threads, providers, cuda)
        self._chosen = cuda != "auto" or providers is not None  # else FastEmbed goes on with the processor
        options = {"threads": threads, "providers": providers, "cuda": cuda}
        self._model = load_model(
            cls, self.name, advice_on(self.name), lazy_load=True, local_files_only=not download, **options
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over what decides the vectors: name, model files, FastEmbed's version.

        The provider is no part of it: what a GPU and a processor make of a text differs in the last digits, as
        between two processors, and may be compared; so an index may be filled on one and searched on the other.
        """
        digest = hashlib.sha256(f"{self.name}\0{version('fastembed')}".encode())
        for name, checksum in sorted(self.checksums.items()):
            digest.update(f"\0{name}\0{checksum}".encode())
        return digest.hexdigest()

    @functools.cached_property
    def checksums(self) -> dict[str, str]:
        """SHA-256 (hex) of the model file and its tokenizer, by file name."""
        return {name: sha256(path) for name, path in _fastembed.model_files(self._model).items()}

    @functools.cached_property
    def provider(self) -> str:
        """What the model runs on, as a word of the cache's file names: "" for the processor, else such as "cuda".

        Each has its own files, or what is measured would depend on which of them had read a text first.
        """
        if self._asked == [_fastembed.CPU]:
            return ""
        got = _fastembed.providers_got(self._model)
        lost = [name for name in self._asked if name not in got]
        if lost and self._chosen:
            raise RagkitError(
                f"{self.name} was to run on {', '.join(lost)}, and ONNX Runtime gave {', '.join(got)}: is its driver "
                "there? Pass cuda=False to use the processor."
            )
        return "-".join(name.removesuffix("ExecutionProvider").lower() for name in got if name != _fastembed.CPU)

    def _compute(self, texts: list[str], role: Role) -> Iterator[tuple[list[str], list[np.ndarray]]]:
        for batch in self._batches(texts, role):
            yield batch, list(self._embed(batch, role))

    def _embed(self, batch: list[str], role: Role):
        if role == "document":
            return self._model.embed(batch, batch_size=len(batch))
        return self._model.query_embed(batch)

    def _batches(self, texts: list[str], role: Role) -> Iterator[list[str]]:
        """Yield the texts longest first, as many at a time as TOKENS_PER_BATCH padded tokens hold."""
        if role == "query":  # FastEmbed encodes queries one by one
            yield from (texts[i : i + 64] for i in range(0, len(texts), 64))
            return
        lengths = self.token_counts(texts)
        order = sorted(range(len(texts)), key=lambda i: -lengths[i])
        start = 0
        while start < len(order):
            size = max(1, TOKENS_PER_BATCH // max(1, lengths[order[start]]))
            yield [texts[i] for i in order[start : start + size]]
            start += size

    @property
    def tokenizer(self) -> Tokenizer | None:
        """FastEmbed's tokenizer of documents, which truncates; None if the model has none, and nothing is loaded."""
        return _fastembed.tokenizer(self._model)

    @property
    def markers(self) -> int:
        """How many tokens are put into a document beside those of the tokenizer."""
        return _fastembed.markers(self._model)

    @public("The texts cannot be read")
    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens the model reads of each text, special ones included, after its truncation."""
        return _fastembed.token_counts(self._model, texts)

    @public("The text cannot be read")
    def tokens(self, text: str, query: bool = False) -> list[Token]:
        """Return the tokens behind `encode_documents([text])`, or `encode_queries([text])` if `query`.

        The ids are those that FastEmbed gives the model, its markers and [MASK] padding included,
        so that row `token.row` of the multivector belongs to `token.label`. Raises RagkitError for
        a dense model: one vector has no rows.
        """
        if not self.multivector:
            raise RagkitError(f"{self.name} is a dense model: it has one vector a text, and no token rows.")
        checked([text])
        tokens, row = [], 0
        for label, kind in _fastembed.token_kinds(self._model, text, query):
            tokens.append(Token(label, kind, None if kind == "skipped" else row))
            row += kind != "skipped"
        return tokens


def _asked(
    threads: int | None, providers: Sequence[str | tuple[str, dict]] | None, cuda: bool | Literal["auto", "cpu", "cuda"]
) -> list[str]:
    """Return the names of the providers that a model is to run on, which are there."""
    if threads is not None:  # None: all of the processor's
        whole_number("threads", threads, 1, 100_000)
    if cuda not in (True, False, "auto", "cpu", "cuda"):
        raise RagkitError(f'cuda is {cuda!r}; expected True, False, "auto", "cpu" or "cuda".')
    if providers is not None and cuda in (True, "cuda"):
        raise RagkitError("providers and cuda exclude each other: name CUDAExecutionProvider among the providers.")
    asked, there = _fastembed.providers_asked(providers, cuda), _fastembed.providers_there()
    if not asked or set(asked) - set(there):
        raise RagkitError(
            f"ONNX Runtime has no {', '.join(sorted(set(asked) - set(there))) or 'provider of that name'} here; it has "
            f"{', '.join(there)}. For CUDA, install onnxruntime-gpu in place of onnxruntime."
        )
    return asked


@public("The model cannot be loaded")
def load_encoder(vectors: str) -> Encoder:
    """Return the encoder behind the vectors named "dense", "colbert" or "tokens".

    `RAGKIT_DENSE_MODEL` and `RAGKIT_COLBERT_MODEL` name any FastEmbed model of that kind in place
    of the embedded one; the latter may be a folder, which is registered. Raises RagkitError for another
    name, or a model of the other kind.

    >>> load_encoder("colbert").name
    'ragkit/colbert-minilm-l6'
    """
    names = {
        "dense": os.environ.get("RAGKIT_DENSE_MODEL") or embedded.DENSE,
        "colbert": os.environ.get("RAGKIT_COLBERT_MODEL") or embedded.COLBERT,
        "tokens": embedded.TOKENS,
    }
    if vectors not in names:
        raise RagkitError(f"There are no vectors named {vectors!r}; expected one of {', '.join(names)}.")
    if vectors == "colbert" and os.path.isdir(names[vectors]):
        names[vectors] = register(names[vectors])
    encoder = Encoder(names[vectors])
    if encoder.multivector != (vectors != "dense"):
        kind = "late-interaction" if encoder.multivector else "dense"
        raise RagkitError(
            f"{encoder.name} is a {kind} model and cannot serve as {vectors!r}; check RAGKIT_{vectors.upper()}_MODEL."
        )
    return encoder


class ModelReader:
    """A datasets.passages.TextReader of a model's tokenizer, which truncates nothing.

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
        return [len(encoding.ids) for batch in _in_batches(texts) for encoding in self._tokenizer.encode_batch(batch)]

    def pieces(self, texts: Sequence[str]) -> list[list[Piece]]:
        """Return the pieces of each text, special ones not included."""
        return [
            self._pieces(encoding) for batch in _in_batches(texts) for encoding in self._tokenizer.encode_batch(batch)
        ]

    def _pieces(self, encoding) -> list[Piece]:
        rows = zip(encoding.ids, encoding.offsets, encoding.word_ids, strict=True)
        # A special token belongs to no word; [UNK], which is one too, does.
        return [Piece(start, end, word, i != self._unknown) for i, (start, end), word in rows if word is not None]


def _in_batches(texts: Sequence[str]) -> list[list[str]]:
    texts = checked(texts)
    return [texts[i : i + _TEXTS_AT_ONCE] for i in range(0, len(texts), _TEXTS_AT_ONCE)]
