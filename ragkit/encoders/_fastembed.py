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
from tokenizers import Encoding, Tokenizer

from ragkit.encoders.embedded import COLBERT, FOLDERS, TOKENS, model_folder
from ragkit.encoders.exported import Export, read_export, tokenizer_of
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


class _UnitQueries(Colbert):
    """A ColBERT whose query rows get unit length, which FastEmbed gives to rows of documents alone."""

    def _post_process_onnx_output(self, output: Any, is_doc: bool = True, **kwargs: Any) -> Iterable:
        if is_doc:
            yield from super()._post_process_onnx_output(output, is_doc=True, **kwargs)
        else:
            norms = np.linalg.norm(output.model_output, axis=2, keepdims=True)
            yield from output.model_output / np.maximum(norms, 1e-12)


class EmbeddedTokens(_Embedded, _UnitQueries):
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

    def token_count(self, texts: Any, *args: Any, include_extension: bool = False, **kwargs: Any) -> int:
        return super().token_count(texts, *args, **kwargs)  # there is no extension to include


class ExportedColbert(_UnitQueries):
    """Late-interaction models in folders, each read as its Export says; rows have unit length.

    FastEmbed's own reading differs by class and not by model: what a class has as constants, an object has here.
    """

    EXPORTS: dict[str, Export] = {}  # by the names they are registered under

    def __init__(self, model_name: str, *args: Any, **kwargs: Any):
        self.export = self.EXPORTS[_as_registered(model_name)]
        self.QUERY_MARKER_TOKEN_ID = _marker(self.export.query_marker)
        self.DOCUMENT_MARKER_TOKEN_ID = _marker(self.export.document_marker)
        self.RESERVED_MARKER_TOKENS = int(self.export.document_marker is not None)
        self.MASK_TOKEN = self.export.mask or ""
        kwargs["specific_model_path"] = str(self.export.folder)  # so that worker processes know it
        super().__init__(model_name, *args, **kwargs)

    @classmethod
    def _list_supported_models(cls) -> list[DenseModelDescription]:
        return [
            DenseModelDescription(
                model=name,
                dim=export.dim,
                description=f"Text embeddings, Unimodal (text), {export.document_limit} input tokens truncation, "
                f"registered from {export.folder}",
                license="not known",
                size_in_GB=round((export.folder / export.file).stat().st_size / 1e9, 3),
                sources=ModelSource(url=export.folder.as_uri()),  # never fetched
                model_file=export.file,
            )
            for name, export in cls.EXPORTS.items()
        ]

    def _load_tokenizer(self, model_dir: Path) -> None:
        export = self.export
        self.tokenizer, self.query_tokenizer = tokenizer_of(model_dir), tokenizer_of(model_dir)
        tokens = self.tokenizer.get_added_tokens_decoder()
        self.special_token_to_id = {token.content: token_id for token_id, token in tokens.items() if token.special}
        self.pad_token_id = -1  # no token's number: what is padding, and not a text's own [PAD], the attention says
        _truncate(self.tokenizer, export.document_limit - (export.document_marker is not None))
        marked = export.query_marker is not None
        _truncate(self.query_tokenizer, export.query_limit - marked)
        if export.query_length is not None:
            self.mask_token_id = self.query_tokenizer.token_to_id(self.MASK_TOKEN)
            length = export.query_length - marked
            self.query_tokenizer.enable_padding(pad_token=self.MASK_TOKEN, pad_id=self.mask_token_id, length=length)
        self.skip_list = set(export.skipped)

    def embed(self, documents: Any, batch_size: int = 256, *args: Any, **kwargs: Any) -> Iterable:
        batch_size = 1 if self.export.single else batch_size
        kwargs["file"] = self.export.file  # which worker processes are told
        yield from super().embed(documents, batch_size, *args, **kwargs)

    def tokenize(self, documents: list[str], is_doc: bool = True, **kwargs: Any) -> list[Encoding]:
        prompt = self.export.document_prompt if is_doc else self.export.query_prompt
        texts = [prompt + text for text in documents]
        return super().tokenize([t.strip() for t in texts] if self.export.strip else texts, is_doc=is_doc, **kwargs)

    def _preprocess_onnx_input(self, onnx_input: dict, is_doc: bool = True, **kwargs: Any) -> dict:
        if (self.export.document_marker if is_doc else self.export.query_marker) is not None:
            with_types = "token_type_ids" in onnx_input
            onnx_input = super()._preprocess_onnx_input(onnx_input, is_doc=is_doc, **kwargs)
            if with_types:
                onnx_input["token_type_ids"] = np.zeros_like(onnx_input["input_ids"])
        if not is_doc and self.export.attend:
            onnx_input["attention_mask"] = np.ones_like(onnx_input["attention_mask"])
        return onnx_input

    @classmethod
    def _get_worker_class(cls) -> type:
        return _ExportedWorker


def _truncate(tokenizer: Tokenizer, length: int) -> None:
    truncation: Any = tokenizer.truncation  # tokenizer_of always sets it
    tokenizer.enable_truncation(max_length=length, direction=truncation["direction"])


def _marker(token: int | None) -> int:
    return -1 if token is None else token  # no token's number


def _as_registered(name: str) -> str:
    return next((known for known in ExportedColbert.EXPORTS if known.lower() == name.lower()), name)


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


class _ExportedWorker(ColbertEmbeddingWorker):
    def init_embedding(self, model_name: str, cache_dir: str, **kwargs: Any) -> ExportedColbert:
        file = kwargs.pop("file")
        if _as_registered(model_name) not in ExportedColbert.EXPORTS:  # in a process of its own
            ExportedColbert.EXPORTS[model_name] = read_export(Path(kwargs["specific_model_path"]), file)
        return ExportedColbert(model_name, cache_dir=cache_dir, threads=1, **kwargs)


def bound_hub() -> None:
    """Have what is downloaded from the hub meet a deadline and a size, as far as it comes through its HTTP client."""
    client = get_session()  # one for all, until somebody closes it
    if isinstance(client, httpx.Client) and client not in _bound:
        bound(client)
        _bound.add(client)


def register() -> None:
    """Add the embedded models to FastEmbed's registries, once."""
    late = LateInteractionTextEmbedding.EMBEDDINGS_REGISTRY
    late.extend(new for new in (EmbeddedColbert, EmbeddedTokens, ExportedColbert) if new not in late)
    dense = TextEmbedding.EMBEDDINGS_REGISTRY
    if EmbeddedMiniLM not in dense:
        # In place of its parent, so that list_supported_models() names each model once.
        dense[dense.index(PooledNormalizedEmbedding)] = EmbeddedMiniLM


def registered(name: str) -> Export | None:
    """Return what is registered under a name, in any case; None if nothing is."""
    return ExportedColbert.EXPORTS.get(_as_registered(name))


def add(name: str, export: Export) -> None:
    """Register a model of a folder under a name."""
    ExportedColbert.EXPORTS[name] = export


def model_files(embedding: Embedding) -> dict[str, Path]:
    """Return the files that decide a model's vectors, by name: the network and its tokenizer."""
    model: Any = embedding.model
    description = model.model_description
    names = [description.model_file, *description.additional_files, "tokenizer.json", "tokenizer_config.json"]
    if isinstance(model, ExportedColbert):
        names += [
            "config.json",
            *model.export.configs,
            f"{description.model_file}_data",
            f"{description.model_file}.data",
        ]
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
