"""The embedded models, and how FastEmbed comes to know them."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from fastembed import LateInteractionTextEmbedding, TextEmbedding
from fastembed.common.model_description import DenseModelDescription, ModelSource
from fastembed.late_interaction.colbert import Colbert, ColbertEmbeddingWorker
from fastembed.text.pooled_normalized_embedding import (
    PooledNormalizedEmbedding,
    PooledNormalizedEmbeddingWorker,
)

from ragkit.errors import RagkitError
from ragkit.files import SUMS, read_sums, sha256
from ragkit.paths import data_dir

DENSE = "sentence-transformers/all-MiniLM-L6-v2"
COLBERT = "ragkit/colbert-minilm-l6"
TOKENS = "ragkit/all-minilm-l6-v2-tokens"

# Folder under data/models/ of each embedded model; TOKENS reads the dense model's file.
FOLDERS = {DENSE: "all-minilm-l6-v2", COLBERT: "colbert-minilm-l6", TOKENS: "all-minilm-l6-v2"}


def _describe(model: str, dim: int, description: str) -> DenseModelDescription:
    folder = FOLDERS[model]
    return DenseModelDescription(
        model=model,
        dim=dim,
        description=f"Text embeddings, Unimodal (text), English, 256 input tokens truncation, {description}",
        license="apache-2.0",
        size_in_GB=0.023,
        sources=ModelSource(url=f"data/models/{folder}"),  # never fetched: see _Embedded
        model_file="model.onnx",
    )


@functools.cache
def checksums() -> dict[str, str]:
    """Return the SHA-256 (hex) of every file of the embedded models, by path under data/models/.

    Raises RagkitError if data/models/SHA256SUMS is not there.
    """
    folder = data_dir() / "models"
    sums = read_sums(folder)
    if not sums:
        raise RagkitError(
            f"No {folder / SUMS}: the embedded models are part of the repository. "
            "Run from a full checkout, or set RAGKIT_DATA to its data/ folder."
        )
    return sums


@functools.cache
def model_folder(model: str) -> Path:
    """Return the folder of an embedded model, its files checked against SHA256SUMS once a process.

    Raises RagkitError if a file is missing or differs from its checksum.

    >>> model_folder("ragkit/colbert-minilm-l6").name
    'colbert-minilm-l6'
    """
    root = data_dir() / "models"
    for name, expected in checksums().items():
        if not name.startswith(FOLDERS[model] + "/"):
            continue
        found = sha256(root / name) if (root / name).is_file() else "no file"
        if found != expected:
            raise RagkitError(
                f"{root / name}: SHA-256 is {found}, SHA256SUMS says {expected}. "
                "Restore it with: git checkout -- data/models"
            )
    return root / FOLDERS[model]


class _Embedded:
    """Loads an embedded model from the checkout, and any other model as FastEmbed does."""

    @classmethod
    def download_model(cls, model: Any, cache_dir: str, retries: int = 3, **kwargs: Any) -> Path:
        if model.model in FOLDERS and not kwargs.get("specific_model_path"):
            return model_folder(model.model)
        return super().download_model(model, cache_dir, retries, **kwargs)  # type: ignore[misc]  # of FastEmbed's class


class EmbeddedMiniLM(_Embedded, PooledNormalizedEmbedding):
    """FastEmbed's own class for all-MiniLM-L6-v2, which needs no download for that model."""

    @classmethod
    def _get_worker_class(cls) -> type:
        return _MiniLMWorker


class EmbeddedColbert(_Embedded, Colbert):
    """FastEmbed's ColBERT class with the kit's own ColBERT model."""

    @classmethod
    def _list_supported_models(cls) -> list[DenseModelDescription]:
        return [_describe(COLBERT, 128, "a small ColBERT trained for ragkit, 2026 year.")]

    @classmethod
    def _get_worker_class(cls) -> type:
        return _ColbertWorker


class EmbeddedTokens(_Embedded, Colbert):
    """The dense model's token rows as a late-interaction model.

    As ColBERT, less the marker and the [MASK] rows: those mean nothing to a model that was not
    trained with them. Punctuation rows of documents are dropped; rows have unit length.
    """

    RESERVED_MARKER_TOKENS = 0
    MIN_QUERY_LENGTH = None

    @classmethod
    def _list_supported_models(cls) -> list[DenseModelDescription]:
        return [_describe(TOKENS, 384, "the token rows of all-MiniLM-L6-v2, 2021 year.")]

    @classmethod
    def _get_worker_class(cls) -> type:
        return _TokensWorker

    def _preprocess_onnx_input(self, onnx_input: dict, is_doc: bool = True, **kwargs: Any) -> dict:
        return onnx_input

    def _post_process_onnx_output(self, output: Any, is_doc: bool = True, **kwargs: Any) -> Iterable:
        if is_doc:
            yield from super()._post_process_onnx_output(output, is_doc=True, **kwargs)
        else:
            norms = np.linalg.norm(output.model_output, axis=2, keepdims=True)
            yield from output.model_output / np.maximum(norms, 1e-12)

    def token_count(self, texts: Any, *args: Any, include_extension: bool = False, **kwargs: Any) -> int:
        return super().token_count(texts, *args, **kwargs)  # there is no extension to include


# FastEmbed's worker processes build the model class anew by name: these name ours.
class _MiniLMWorker(PooledNormalizedEmbeddingWorker):
    def init_embedding(self, model_name: str, cache_dir: str, **kwargs: Any) -> EmbeddedMiniLM:
        return EmbeddedMiniLM(model_name, cache_dir=cache_dir, threads=1, **kwargs)


class _ColbertWorker(ColbertEmbeddingWorker):
    def init_embedding(self, model_name: str, cache_dir: str, **kwargs: Any) -> EmbeddedColbert:
        return EmbeddedColbert(model_name, cache_dir=cache_dir, threads=1, **kwargs)


class _TokensWorker(ColbertEmbeddingWorker):
    def init_embedding(self, model_name: str, cache_dir: str, **kwargs: Any) -> EmbeddedTokens:
        return EmbeddedTokens(model_name, cache_dir=cache_dir, threads=1, **kwargs)


def register_models() -> None:
    """Make the embedded models known to FastEmbed, and so to qdrant-client's implicit embedding.

    Adds `ragkit/colbert-minilm-l6` and `ragkit/all-minilm-l6-v2-tokens` to
    `LateInteractionTextEmbedding`, and lets `TextEmbedding` load
    `sentence-transformers/all-MiniLM-L6-v2` from the checkout instead of a hub. Calling it twice
    changes nothing. Importing ragkit registers nothing.

    >>> register_models()
    >>> next(LateInteractionTextEmbedding("ragkit/colbert-minilm-l6").embed(["A film."])).shape
    (5, 128)
    """
    late = LateInteractionTextEmbedding.EMBEDDINGS_REGISTRY
    late.extend(new for new in (EmbeddedColbert, EmbeddedTokens) if new not in late)
    dense = TextEmbedding.EMBEDDINGS_REGISTRY
    if EmbeddedMiniLM not in dense:
        # In place of its parent, so that list_supported_models() names each model once.
        dense[dense.index(PooledNormalizedEmbedding)] = EmbeddedMiniLM
