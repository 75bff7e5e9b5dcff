"""What the kit uses of FastEmbed beyond what FastEmbed documents: the one place for its private names.

They may change with any version, so a test fails until WRITTEN_FOR is the version at hand: look at the names below,
run the tests of the encoders, then change it.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

import httpx
import numpy as np
import onnxruntime
from fastembed import LateInteractionTextEmbedding, TextEmbedding
from fastembed.common.model_description import DenseModelDescription, ModelSource
from fastembed.common.model_management import ModelManagement
from fastembed.late_interaction.colbert import Colbert, ColbertEmbeddingWorker
from fastembed.text.pooled_normalized_embedding import (
    PooledNormalizedEmbedding,
    PooledNormalizedEmbeddingWorker,
)
from huggingface_hub import get_session
from tokenizers import Tokenizer

from ragkit.encoders.embedded import COLBERT, FOLDERS, TOKENS, model_folder
from ragkit.network import bound

WRITTEN_FOR = "0.9.1"

Embedding = TextEmbedding | LateInteractionTextEmbedding

_bound: WeakSet[httpx.Client] = WeakSet()

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


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


class _Embedded(ModelManagement):
    """Loads an embedded model from the kit's own files, and any other model as FastEmbed does."""

    @classmethod
    def download_model(cls, model: Any, cache_dir: str, retries: int = 3, **kwargs: Any) -> Path:
        if model.model in FOLDERS and not kwargs.get("specific_model_path"):
            return model_folder(model.model)
        return super().download_model(model, cache_dir, retries, **kwargs)


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


def bound_hub() -> None:
    """Have what is downloaded from the hub meet a deadline and a size, as far as it comes through its HTTP client."""
    client = get_session()  # one for all, until somebody closes it
    if isinstance(client, httpx.Client) and client not in _bound:
        bound(client)
        _bound.add(client)


def register() -> None:
    """Add the embedded models to FastEmbed's registries, once."""
    late = LateInteractionTextEmbedding.EMBEDDINGS_REGISTRY
    late.extend(new for new in (EmbeddedColbert, EmbeddedTokens) if new not in late)
    dense = TextEmbedding.EMBEDDINGS_REGISTRY
    if EmbeddedMiniLM not in dense:
        # In place of its parent, so that list_supported_models() names each model once.
        dense[dense.index(PooledNormalizedEmbedding)] = EmbeddedMiniLM


def model_files(embedding: Embedding) -> dict[str, Path]:
    """Return the files that decide a model's vectors, by name: the network and its tokenizer."""
    model: Any = embedding.model
    description = model.model_description
    names = [description.model_file, *description.additional_files, "tokenizer.json", "tokenizer_config.json"]
    return {name: Path(model._model_dir) / name for name in names if (Path(model._model_dir) / name).is_file()}


def markers(embedding: Embedding) -> int:
    """Return how many tokens the model puts into a document beside those of its tokenizer."""
    model: Any = embedding.model
    two = {"input_ids": np.zeros((1, 2), np.int64), "attention_mask": np.ones((1, 2), np.int64)}
    return model._preprocess_onnx_input(two, is_doc=True)["attention_mask"].shape[1] - 2


def tokenizer(embedding: Embedding) -> Tokenizer | None:
    """Return the tokenizer of documents, which truncates; None for a model that has none. Loads no network."""
    model: Any = embedding.model
    if not hasattr(model, "_ensure_tokenizer"):
        return None
    model._ensure_tokenizer()
    return model.tokenizer


def token_counts(embedding: Embedding, texts: Sequence[str]) -> list[int]:
    """Return how many tokens the model reads of each text as a document; characters if it has no tokenizer."""
    model: Any = embedding.model
    if not hasattr(model, "_ensure_tokenizer"):
        return [len(text) for text in texts]
    model._ensure_tokenizer()
    added = markers(embedding)
    batches = (model.tokenize(texts[i : i + 256]) for i in range(0, len(texts), 256))
    return [added + sum(encoding.attention_mask) for batch in batches for encoding in batch]


def token_kinds(embedding: LateInteractionTextEmbedding, text: str, query: bool) -> list[tuple[str, str]]:
    """Return (label, kind) of each token that a late-interaction model reads of a text: see encoder.Token."""
    model: Any = embedding.model
    model._ensure_tokenizer()
    encoding = model.tokenize([text], is_doc=not query)[0]
    arrays = {"input_ids": np.array([encoding.ids]), "attention_mask": np.array([encoding.attention_mask])}
    arrays = model._preprocess_onnx_input(arrays, is_doc=not query)
    special = set(model.special_token_to_id.values())
    marked = {model.QUERY_MARKER_TOKEN_ID: "[Q]", model.DOCUMENT_MARKER_TOKEN_ID: "[D]"}
    skipped = set() if query else model.skip_list | {model.pad_token_id}
    found = []
    for token_id in arrays["input_ids"][0].tolist():
        label = model.tokenizer.id_to_token(token_id)
        if token_id in skipped:
            found.append((label, "skipped"))
        elif token_id in marked:  # the vocabulary may call them [unused0] and [unused1]
            found.append((marked[token_id], "marker"))
        elif label == model.MASK_TOKEN:
            found.append((label, "mask"))
        else:
            found.append((label, "special" if token_id in special else "word"))
    return found


def providers_asked(providers: Sequence[str | tuple[str, dict]] | None, cuda: bool | str) -> list[str]:
    """Return the names of the execution providers that FastEmbed will ask ONNX Runtime for."""
    if providers is not None:
        return [provider if isinstance(provider, str) else provider[0] for provider in providers]
    automatic = cuda == "auto" and CUDA in providers_there()
    return [CUDA if automatic or cuda is True or cuda == "cuda" else CPU]


def providers_there() -> list[str]:
    """Return the names of the execution providers that this ONNX Runtime has."""
    return onnxruntime.get_available_providers()


def providers_got(embedding: Embedding) -> list[str]:
    """Return the names of the execution providers that the model runs on, best first; loads the model."""
    model: Any = embedding.model
    if getattr(model, "model", None) is None:
        model.load_onnx_model()
    return model.model.get_providers()
