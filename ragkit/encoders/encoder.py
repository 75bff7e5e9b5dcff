"""Texts to vectors with FastEmbed: length-sorted, batched by tokens, cached, with token labels."""

import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from fastembed import LateInteractionTextEmbedding, TextEmbedding

from ragkit.encoders import embedded
from ragkit.encoders.cached_encoder import CachedEncoder, Role, checked
from ragkit.errors import RagkitError
from ragkit.files import sha256

# Padded tokens a batch. Measured on SciFact (2 cores): 1,024 to 16,384 are equally fast within
# noise, and memory grows with it, so a small one.
TOKENS_PER_BATCH = 2048
# FastEmbed gives the markers two ids that BERT's vocabulary calls [unused0] and [unused1].
_MARKERS = {"[unused0]": "[Q]", "[unused1]": "[D]"}


@dataclass(frozen=True)
class Token:
    """One token that the model saw, and the row of the multivector that it became.

    kind: "word" (a piece of the text), "special" ([CLS], [SEP]), "marker" ([Q], [D]), "mask"
    (query padding) or "skipped" (punctuation of a document); row: None if skipped.
    """

    label: str
    kind: str
    row: int | None


def find_model(model: str) -> tuple[type, dict]:
    """Return FastEmbed's class for a model name (in any case), and its description of the model.

    Raises RagkitError for a name that is neither a dense nor a late-interaction model.

    >>> find_model("ragkit/ColBERT-MiniLM-L6")[1]["dim"]
    128
    """
    embedded.register_models()
    for cls in (TextEmbedding, LateInteractionTextEmbedding):
        for description in cls.list_supported_models():
            if description["model"].lower() == model.lower():
                return cls, description
    raise RagkitError(
        f"FastEmbed knows no model {model!r}. Expected a name from TextEmbedding.list_supported_models() or "
        "LateInteractionTextEmbedding.list_supported_models(), "
        f"for example {embedded.DENSE!r} or {embedded.COLBERT!r}."
    )


class Encoder(CachedEncoder):
    """A FastEmbed model, dense or late interaction, with a cache on disk.

    Documents are encoded longest first, in batches of equal numbers of padded tokens; the arrays are
    FastEmbed's own `embed()` and `query_embed()` up to float32 rounding.

    model: any name in TextEmbedding.list_supported_models() or
    LateInteractionTextEmbedding.list_supported_models(); the embedded ones are registered.
    download: whether a model that is not on this machine may be fetched from its hub. Raises RagkitError
    for another name, and for a model that cannot be loaded.

    >>> encoder = Encoder("ragkit/colbert-minilm-l6", cache=False)
    >>> encoder.encode_documents(["A film."])[0].shape
    (5, 128)
    >>> [token.label for token in encoder.tokens("A film.")]
    ['[CLS]', '[D]', 'a', 'film', '.', '[SEP]']
    """

    def __init__(self, model: str, cache: bool = True, threads: int | None = None, download: bool = True):
        cls, description = find_model(model)
        self.name: str = description["model"]
        self.dim: int = description["dim"]
        self.multivector: bool = cls is LateInteractionTextEmbedding
        try:
            self._model = cls(self.name, threads=threads, lazy_load=True, local_files_only=not download)
        except RagkitError:
            raise
        except Exception as error:
            raise RagkitError(
                f"The model {self.name} could not be loaded ({error}). It is not one of the embedded models, so it "
                "is downloaded from its hub on first use: connect once, or unset RAGKIT_DENSE_MODEL and "
                "RAGKIT_COLBERT_MODEL to use the embedded ones."
            ) from error
        self.cache = cache

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over what decides the vectors: name, model files, FastEmbed's version."""
        digest = hashlib.sha256(f"{self.name}\0{version('fastembed')}".encode())
        for name, checksum in sorted(self.checksums.items()):
            digest.update(f"\0{name}\0{checksum}".encode())
        return digest.hexdigest()

    @functools.cached_property
    def checksums(self) -> dict[str, str]:
        """SHA-256 (hex) of the model file and its tokenizer, by file name."""
        folder = Path(self._model.model._model_dir)
        description = self._model.model.model_description
        names = [description.model_file, *description.additional_files, "tokenizer.json", "tokenizer_config.json"]
        found = {}
        for name in names:
            if (folder / name).is_file():
                found[name] = sha256(folder / name)
        return found

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

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens the model reads of each text, special ones included, after its truncation."""
        model = self._model.model
        if not hasattr(model, "_ensure_tokenizer"):
            return [len(text) for text in texts]
        model._ensure_tokenizer()
        return [sum(e.attention_mask) for i in range(0, len(texts), 256) for e in model.tokenize(texts[i : i + 256])]

    def tokens(self, text: str, query: bool = False) -> list[Token]:
        """Return the tokens behind `encode_documents([text])`, or `encode_queries([text])` if `query`.

        The ids are those that FastEmbed gives the model, its markers and [MASK] padding included,
        so that row `token.row` of the multivector belongs to `token.label`. Raises RagkitError for
        a dense model: one vector has no rows.
        """
        if not self.multivector:
            raise RagkitError(f"{self.name} is a dense model: it has one vector a text, and no token rows.")
        checked([text])
        model = self._model.model
        model._ensure_tokenizer()
        encoding = model.tokenize([text], is_doc=not query)[0]
        arrays = {"input_ids": np.array([encoding.ids]), "attention_mask": np.array([encoding.attention_mask])}
        arrays = model._preprocess_onnx_input(arrays, is_doc=not query)
        special = set(model.special_token_to_id.values())
        tokens, row = [], 0
        for token_id in arrays["input_ids"][0].tolist():
            label = model.tokenizer.id_to_token(token_id)
            if not query and (token_id in model.skip_list or token_id == model.pad_token_id):
                tokens.append(Token(label, "skipped", None))
                continue
            if label in _MARKERS:
                label, kind = _MARKERS[label], "marker"
            elif label == model.MASK_TOKEN:
                kind = "mask"
            else:
                kind = "special" if token_id in special else "word"
            tokens.append(Token(label, kind, row))
            row += 1
        return tokens


def load_encoder(vectors: str) -> Encoder:
    """Return the encoder behind the vectors named "dense", "colbert" or "tokens".

    `RAGKIT_DENSE_MODEL` and `RAGKIT_COLBERT_MODEL` name any FastEmbed model of that kind in place
    of the embedded one. Raises RagkitError for another name, or a model of the other kind.

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
    encoder = Encoder(names[vectors])
    if encoder.multivector != (vectors != "dense"):
        kind = "late-interaction" if encoder.multivector else "dense"
        raise RagkitError(
            f"{encoder.name} is a {kind} model and cannot serve as {vectors!r}; check RAGKIT_{vectors.upper()}_MODEL."
        )
    return encoder
