"""What a lesson needs, and whether it is here."""

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import psutil
from loguru import logger

from ragkit.datasets import beir
from ragkit.datasets.catalogue import catalogue
from ragkit.encoders.embedded import COLBERT, DENSE, FOLDERS, model_folder
from ragkit.encoders.encoder import Encoder, find_model
from ragkit.errors import RagkitError
from ragkit.paths import cache_dir

PACKAGES = (
    "jupyterlab",
    "fastembed",
    "qdrant-client",
    "qdrant-edge-py",
    "pandas",
    "matplotlib",
    "ir-measures",
    "nbval",
)
# Measured with `make demo` on SciFact's subset: room for the embeddings, the index and the models.
NEED_DISK_GB, NEED_MEMORY_GB = 1.0, 2.0


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    status: "ok", "note" (a lesson is skipped, slower, or downloads something first) or "missing";
    local: whether the line depends on this machine and not on the checkout alone.
    """

    status: str
    what: str
    detail: str
    local: bool = False


def examine() -> list[Finding]:
    """Return what is installed, which models and data are in reach, and what room there is."""
    return [*_software(), *_models(), *_data(), *_room()]


def can_run(findings: list[Finding]) -> bool:
    """Return whether the lessons can run: nothing is missing."""
    return not any(finding.status == "missing" for finding in findings)


def _software():
    ok = sys.version_info >= (3, 11)
    yield Finding(
        "ok" if ok else "missing", "python", platform.python_version() + ("" if ok else ", 3.11 or later needed")
    )
    for name in PACKAGES:
        try:
            yield Finding("ok", name, version(name))
        except PackageNotFoundError:
            yield Finding("missing", name, "not installed; run: make setup")


def _models():
    for name in FOLDERS:
        try:
            yield Finding("ok", name, f"embedded, checksums match ({model_folder(name).name})")
        except RagkitError as error:
            yield Finding("missing", name, str(error))
    for vectors, default in (("dense", DENSE), ("colbert", COLBERT)):
        chosen = os.environ.get(f"RAGKIT_{vectors.upper()}_MODEL")
        if chosen and chosen != default:
            yield _chosen(vectors, chosen)


def _chosen(vectors: str, model: str) -> Finding:
    """Look for a model that a variable names, without going to its hub."""
    try:
        size = find_model(model)[1]["size_in_GB"]
    except RagkitError as error:
        return Finding("missing", model, str(error), local=True)
    logger.disable("fastembed")  # it reports an empty cache as an error
    try:
        Encoder(model, download=False)
        return Finding("ok", model, f"chosen for {vectors}, on this machine", local=True)
    except RagkitError:
        return Finding("note", model, f"chosen for {vectors}; {size} GB will be downloaded on first use", local=True)
    finally:
        logger.enable("fastembed")


def _data():
    yield Finding("ok", "movies", "part of the checkout")
    for name, known in catalogue().items():
        if known.manifest is None:
            continue  # any other is looked for when it is asked for
        place = beir.in_reach(name)
        if place:
            yield Finding("ok", name, f"read from {place}", local=True)
        elif known.url is None:
            yield Finding("note", name, "not in RAGKIT_MIRROR, and to be had from a mirror alone", local=True)
        elif os.environ.get("RAGKIT_MIRROR"):
            detail = f"not a folder of RAGKIT_MIRROR; on first use it is asked for there, then at {known.url}"
            yield Finding("note", name, detail, local=True)
        else:
            yield Finding("note", name, f"will be downloaded on first use from {known.url}", local=True)


def _room():
    disk, memory = shutil.disk_usage(cache_dir()).free / 1e9, psutil.virtual_memory().available / 1e9
    enough = disk >= NEED_DISK_GB
    yield Finding(
        "ok" if enough else "missing",
        "disk",
        f"{disk:.1f} GB free at {cache_dir()}, {NEED_DISK_GB:.0f} GB needed",
        local=True,
    )
    yield Finding(
        "ok" if memory >= NEED_MEMORY_GB else "note",
        "memory",
        f"{memory:.1f} GB available, {NEED_MEMORY_GB:.0f} GB wanted",
        local=True,
    )
    address = os.environ.get("QDRANT_URL")
    engine = f"Qdrant server at {address} (QDRANT_URL)" if address else "Qdrant Edge, in this process"
    yield Finding("ok", "engine", engine, local=True)
