"""What a lesson needs, and whether it is here."""

import os
import platform
import shutil
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import psutil
from loguru import logger

from ragkit.addresses import is_address
from ragkit.boundary import public
from ragkit.datasets import beir
from ragkit.datasets.catalogue import catalogue
from ragkit.datasets.dataset import load_beir, load_movies
from ragkit.encoders.embedded import COLBERT, DENSE, FOLDERS, model_folder
from ragkit.encoders.encoder import Encoder
from ragkit.encoders.models import find_model
from ragkit.errors import RagkitError, amount, shown
from ragkit.files import beside, expanded, saying
from ragkit.paths import cache_dir, data_dir, mirror_address, mirror_folder, packaged
from ragkit.vectors import VectorSpec

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
LAB = ("jupyterlab", "nbval")  # what the extra of that name brings
# Measured with `make demo` on SciFact's subset: room for the embeddings, the index and the models.
NEED_DISK_GB, NEED_MEMORY_GB = 1.0, 2.0


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    status: "ok", "note" (a lesson is skipped, slower, or downloads something first) or "missing";
    local: whether the line depends on this machine and not on the kit alone.
    """

    status: str
    what: str
    detail: str
    local: bool = False


@public("The installation cannot be examined")
def examine() -> list[Finding]:
    """Return what is installed, which models and data are in reach, and what room there is."""
    return [*_software(), *_models(), *_data(), *_room(), *_engine()]


@public("The installation cannot be examined")
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
            yield _not_installed(name)


def _not_installed(name: str) -> Finding:
    if not packaged():
        return Finding("missing", name, "not installed; run: make setup")
    if name in LAB:  # a notebook elsewhere, such as Colab's, does without
        return Finding("note", name, 'not installed; for the lessons: python -m pip install "ragkit[lab]"')
    return Finding("missing", name, "not installed; run: python -m pip install --force-reinstall ragkit")


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
    try:
        movies = load_movies()
        counts = f"{len(movies.documents)} documents, {len(movies.queries)} queries, {len(movies.qrels)} judgments"
        whose = "RAGKIT_DATA" if os.environ.get("RAGKIT_DATA") else f"of the {'package' if packaged() else 'checkout'}"
        yield Finding("ok", "movies", f"{counts}, checksums match: {data_dir()} ({whose})")
    except RagkitError as error:
        yield Finding("missing", "movies", str(error))
    try:
        named = catalogue()
    except RagkitError as error:
        yield Finding("missing", "datasets by name", str(error))
        return
    for name, known in named.items():
        if known.manifest is not None:  # any other is looked for when it is asked for
            yield _known(name, known.url)


def _known(name: str, url: str | None) -> Finding:
    try:
        place = beir.in_reach(name)
        if place and place.endswith(".zip"):
            with zipfile.ZipFile(place) as archive:
                if any(member.endswith("corpus.jsonl") for member in archive.namelist()):
                    return Finding("ok", name, f"an archive, unpacked and checked on first use: {place}", local=True)
            return Finding("missing", name, f"no corpus.jsonl in {place}; fetch that archive again", local=True)
        if place:
            count = len(load_beir(name, "all").documents)
            return Finding("ok", name, f"{count:,} documents, checksums match: {place}", local=True)
        folder, address = mirror_folder(), mirror_address()
    except (RagkitError, OSError, zipfile.BadZipFile) as error:
        return Finding("missing", name, str(error), local=True)
    there = "not in the cache" + (f", nor in {folder} (RAGKIT_MIRROR)" if folder else "")
    if os.environ.get("RAGKIT_MIRROR") and not folder and not address:
        there += "; RAGKIT_MIRROR names no folder"
    asked = [shown(one) for one in (address, url) if one]
    later = f"will be asked for on first use at {', then at '.join(asked)}" if asked else "no address has it"
    return Finding("note", name, f"{there}; {later}", local=True)


def _room():
    try:
        place = cache_dir()
        free = shutil.disk_usage(place).free
        detail = f"{amount(free)} free at {place}, {amount(NEED_DISK_GB * 1e9)} needed"
        yield Finding("ok" if free >= NEED_DISK_GB * 1e9 else "missing", "disk", detail, local=True)
    except (RagkitError, OSError) as error:
        yield Finding("missing", "disk", str(error), local=True)
    memory = psutil.virtual_memory().available / 1e9
    detail = f"{memory:.1f} GB available, {NEED_MEMORY_GB:.0f} GB wanted"
    yield Finding("ok" if memory >= NEED_MEMORY_GB else "note", "memory", detail, local=True)


def _engine() -> Iterator[Finding]:
    try:
        # Imported here, so that where an engine cannot be loaded the rest is told.
        from ragkit.engines.opening import chosen_place

        place = chosen_place(None)
        yield _server(place) if place and is_address(place) else _in_process(place)
    except (RagkitError, OSError, ImportError) as error:
        yield Finding("missing", "engine", str(error), local=True)


def _in_process(place: str | None) -> Finding:
    from ragkit.engines.opening import open_index, temporary_place

    vector, where = np.array([1.0, 0.0], np.float32), place
    with ExitStack() as stack:
        if place != ":memory:":
            folder = expanded(place) if place else temporary_place()
            there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
            if shutil.disk_usage(there).free < NEED_DISK_GB * 1e9:  # on a full disk Edge ends the process
                return Finding("missing", "engine", f"not tried, for want of disk at {there}", local=True)
            stack.enter_context(saying(f"Nothing can be written to {there}", "choose another place"))
            where = str(stack.enter_context(beside(there / "doctor")) / "index")
        index = stack.enter_context(open_index(where, {"dense": VectorSpec(2)}))
        index.add(["a"], {"dense": [vector]})
        found = [doc_id for doc_id, _ in index.search(vector, "dense", 1)] == ["a"]
    told = f"{index.engine}, in this process: a vector was stored and {'' if found else 'not '}found"
    note = False
    if place:
        told, note = f"{told}; QDRANT_URL is {place}, where a server's address begins with http://", True
    elif not there.is_relative_to(cache_dir()):
        told = f"{told}; temporary indexes are made in {there}, as {cache_dir()} cannot be written to (RAGKIT_CACHE)"
        note = True
    return Finding("missing" if not found else "note" if note else "ok", "engine", told, local=True)


_RIGHTS = {
    "write": "read and write",
    "store": "store in collections that are there, and make none",
    "read": "only read",
    "unknown": "read",
}


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + ", …" * (len(names) > 3)


def _server(address: str) -> Finding:
    from ragkit.engines import versions
    from ragkit.engines.inventory import survey  # half a second to import, and Edge does without

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        found = survey(address)
    versions.require(found.version, {})
    nodes = "" if found.nodes is None else f", {found.nodes} node{'s' * (found.nodes > 1)}"
    whose = "the key" if os.environ.get("QDRANT_API_KEY", "").strip() else "who has no key"
    detail = (
        f"Qdrant server {found.version} at {shown(found.url)} (QDRANT_URL){nodes}; {whose} may "
        f"{_RIGHTS[found.rights]}; {len(found.kept)} collection{'s' * (len(found.kept) != 1)} of ragkit's"
    )
    notes = [str(warning.message) for warning in told if issubclass(warning.category, UserWarning)]
    if found.rights == "read":
        notes.append("what is there is searched, and nothing can be stored")
    if found.rights == "unknown":
        notes.append("whether it may write is not answered")
    if found.silent:
        notes.append(f"{_some(found.silent)} {'do' if len(found.silent) > 1 else 'does'} not answer: is a node gone?")
    if found.strict:
        notes.append(f"strict mode limits {_some(found.strict)}")
    return Finding("note" if notes else "ok", "engine", "; ".join([detail, *notes]), local=True)
