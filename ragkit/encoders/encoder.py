"""Texts to vectors with FastEmbed: length-sorted, batched by tokens, cached; and what the tokenizer makes of them."""

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from fastembed import LateInteractionTextEmbedding, TextEmbedding
from tokenizers import Tokenizer

from ragkit.boundary import public, whole_number
from ragkit.datasets.passages import Piece
from ragkit.encoders import _fastembed, embedded
from ragkit.encoders.cached_encoder import CachedEncoder, Role, checked
from ragkit.encoders.exported import read_export
from ragkit.errors import RagkitError, given, plain
from ragkit.files import expanded, sha256
from ragkit.machine import cores
from ragkit.paths import in_mirror, mirror_folder, restoring

# Padded tokens a batch. Measured on SciFact (2 cores): 1,024 to 16,384 are equally fast within
# noise, and memory grows with it, so a small one.
TOKENS_PER_BATCH = 2048

KINDS = (TextEmbedding, LateInteractionTextEmbedding)
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


@public("The models cannot be registered")
def register_models() -> None:
    """Make the embedded models known to FastEmbed, and so to qdrant-client's implicit embedding.

    Adds `ragkit/colbert-minilm-l6` and `ragkit/all-minilm-l6-v2-tokens` to
    `LateInteractionTextEmbedding`, and lets `TextEmbedding` load
    `sentence-transformers/all-MiniLM-L6-v2` from the kit's own files instead of a hub. Calling it twice
    changes nothing. Importing ragkit registers nothing.

    >>> register_models()
    >>> next(LateInteractionTextEmbedding("ragkit/colbert-minilm-l6").embed(["A film."])).shape
    (5, 128)
    """
    _fastembed.register()


@public("The model cannot be registered")
def register(folder: str | Path, name: str | None = None, file: str | None = None) -> str:
    """Make a late-interaction model in a folder known to FastEmbed, and so to every `model=`; return its name.

    folder: with an ONNX network that gives a row per token, tokenizer.json, and what PyLate, sentence-transformers or
    Stanford's ColBERT save beside them: markers, lengths, whether queries are padded, which tokens become no row. One
    that says nothing of these has no markers, no padding, and drops punctuation of documents. name: default, local/
    and the folder's name. file: the network, by its path in the folder, if it is neither model.onnx nor
    onnx/model.onnx. Rows have unit length. It lasts as long as the process; calling it twice changes
    nothing. Raises RagkitError for a name that is taken, and for a folder whose parts do not fit together.

    >>> from ragkit.encoders.embedded import model_folder
    >>> register(model_folder("ragkit/colbert-minilm-l6"), name="mine/colbert")
    'mine/colbert'
    >>> next(LateInteractionTextEmbedding("mine/colbert").embed(["A film."])).shape
    (5, 128)
    """
    folder = expanded(folder).resolve()
    if not folder.is_dir():
        raise RagkitError(f"{folder} is no folder; expected one with model.onnx, tokenizer.json and its configuration.")
    name = f"local/{folder.name}" if name is None else name
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        raise RagkitError(
            f"The name is {given(name)}; expected letters, digits, . _ - and at most one /, as in mine/colbert."
        )
    register_models()
    export = read_export(folder, file)
    if _fastembed.registered(name) != export:
        if any(name.lower() == known["model"].lower() for kind in KINDS for known in kind.list_supported_models()):
            raise RagkitError(f"FastEmbed has a model {name} already; give {folder} another name.")
        _fastembed.add(name, export)
    return name


def find_model(model: str) -> tuple[type, dict]:
    """Return FastEmbed's class for a model name (in any case), and its description of the model.

    Raises RagkitError for a name that is neither a dense nor a late-interaction model.

    >>> find_model("ragkit/ColBERT-MiniLM-L6")[1]["dim"]
    128
    """
    register_models()
    for cls in KINDS:
        for description in cls.list_supported_models():
            if description["model"].lower() == model.lower():
                return cls, description
    raise RagkitError(
        f"FastEmbed knows no model {model!r}. Expected a name from TextEmbedding.list_supported_models() or "
        "LateInteractionTextEmbedding.list_supported_models(), "
        f"for example {embedded.DENSE!r} or {embedded.COLBERT!r}."
    )


def load_model(cls: type, model: str, advice: str, **options: Any) -> Any:
    """Return a model of FastEmbed's; what is downloaded for it meets a deadline and a size.

    cls: FastEmbed's class, options: as it takes them, but that no `threads` are as many as there are cores that may be
    used. Raises RagkitError, which ends with the advice, if that fails.
    """
    if options.get("threads") is None and cores() < (os.cpu_count() or 1):
        options["threads"] = cores()
    if not options.get("local_files_only") and model not in embedded.FOLDERS:
        _fastembed.bound_hub()
    try:
        loaded = cls(model, **options)
        _check_mirrored(loaded)
        return loaded
    except RagkitError:
        raise
    except Exception as error:  # whatever FastEmbed, the hub's client and ONNX Runtime raise
        raise RagkitError(f"The model {model} could not be loaded ({plain(str(error), 300)}). {advice}") from error


def downloaded_files(cls: type, model: str, folder: Path) -> list[Path]:
    """Return the files, links followed, that decide the vectors of a model in a folder of downloads; [] if it lacks.

    cls, model: as load_model takes them. One that comes along has its own files, wherever it is looked for.
    """
    try:
        loaded = load_model(cls, model, "", cache_dir=str(folder), lazy_load=True, local_files_only=True)
    except RagkitError:
        return []
    return [path.resolve() for path in _fastembed.model_files(loaded).values()]


def _check_mirrored(model: Any) -> None:
    """Raise RagkitError unless those of a model's files that are in a mirror are as its checksums say."""
    mirror = mirror_folder()
    if mirror and (mirror / "models").is_dir():
        top = mirror.resolve()
        for path in map(Path.resolve, _fastembed.model_files(model).values()):  # the hub's client makes links
            if path.is_relative_to(top / "models"):
                name = path.relative_to(top)
                in_mirror(name.as_posix(), f"{Path(*name.parts[:2]).as_posix()}/")


def _advice(model: str) -> str:
    """Return what to do where a model of documents cannot be loaded."""
    if there := _fastembed.registered(model):
        return f"It was registered from {there.folder}: are its files still there?"
    if model in embedded.FOLDERS:
        return f"It is part of the kit: restore its files with: {restoring('data/models')}"
    return (
        "It is not one of the embedded models, so it is downloaded from its hub on first use: connect once, or unset "
        "RAGKIT_DENSE_MODEL and RAGKIT_COLBERT_MODEL to use the embedded ones."
    )


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
            cls, self.name, _advice(self.name), lazy_load=True, local_files_only=not download, **options
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
