"""The models that FastEmbed knows, and those of the kit and of folders beside them: registered, found, loaded."""

import os
import re
from pathlib import Path
from typing import Any

from fastembed import LateInteractionTextEmbedding, TextEmbedding

from ragkit.boundary import public
from ragkit.encoders import _fastembed, embedded
from ragkit.encoders.exported import read_export
from ragkit.errors import RagkitError, given, plain
from ragkit.files import expanded
from ragkit.machine import cores
from ragkit.paths import in_mirror, mirror_folder, restoring

KINDS = (TextEmbedding, LateInteractionTextEmbedding)


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


def advice_on(model: str) -> str:
    """Return what to do where a model of documents cannot be loaded."""
    if there := _fastembed.registered(model):
        return f"It was registered from {there.folder}: are its files still there?"
    if model in embedded.FOLDERS:
        return f"It is part of the kit: restore its files with: {restoring('data/models')}"
    return (
        "It is not one of the embedded models, so it is downloaded from its hub on first use: connect once, or unset "
        "RAGKIT_DENSE_MODEL and RAGKIT_COLBERT_MODEL to use the embedded ones."
    )
