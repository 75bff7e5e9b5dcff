"""BEIR datasets: where they come from, fetched and unpacked whole or not at all, and whether they are intact."""

import functools
import hashlib
import lzma
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pandas as pd
import pooch

from ragkit import network
from ragkit.datasets import readers
from ragkit.datasets.catalogue import Known, catalogue, lookup
from ragkit.datasets.qrels import read_judgments
from ragkit.datasets.readers import read_corpus, read_queries
from ragkit.errors import RagkitError, amount, shown
from ragkit.files import (
    SUMS,
    beside,
    damaged,
    expanded,
    inside,
    largest_unpacked,
    new_mode,
    read_sums,
    saying,
    sha256,
    whole_folder,
    write_sums,
)
from ragkit.paths import cache_dir, in_mirror, mirror_address, mirror_folder

# What zipfile raises for bytes that are no archive, or one that was damaged, is encrypted or packed in another way.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    LookupError,
    RuntimeError,
    ValueError,
)
_ELSEWHERE = "make room, or set RAGKIT_CACHE to a folder that can be written to"


def locate(source: str | Path) -> tuple[Path, str, dict | None]:
    """Return the folder of a dataset, its name, and its manifest if the kit has one.

    A path to a folder is used as it is. A name is looked for in the cache, then in `RAGKIT_MIRROR`
    (a folder or URL laid out as `beir/<name>/…` or `beir/<name>.zip`), then at BEIR's own address.
    """
    folder = expanded(source)
    if readers.find(folder, "corpus"):
        return folder, folder.resolve().name, None
    known = lookup(str(source))
    if known is None:
        names = [name for name in catalogue() if "/" not in name]
        raise RagkitError(
            f"No dataset {str(source)!r}: it is neither a folder with corpus.jsonl, queries.jsonl and qrels/ in it, "
            f"nor one of the datasets known by name: movies, {', '.join(names)}, the forums of CQADupStack such as "
            "cqadupstack/gis, and irds: before a name of ir_datasets."
        )
    return _fetch(known), known.title, known.manifest


def in_reach(name: str) -> str | None:
    """Return where a named dataset would be read from without the network, or None."""
    mirror = mirror_folder()
    folders = [cache_dir() / "beir" / name, *([mirror / "beir" / name] if mirror else [])]
    archives = [mirror / "beir" / f"{name}.zip"] if mirror else []
    there = [folder for folder in folders if (folder / "corpus.jsonl").is_file()]
    return next((str(path) for path in [*there, *filter(Path.is_file, archives)]), None)


def _fetch(known: Known) -> Path:
    cached = cache_dir() / "beir" / known.name
    if (cached / "corpus.jsonl").is_file():
        _check_cached(cached)
        return cached
    with saying(f"{cached} cannot be read", "permit that, or set RAGKIT_CACHE to another folder"):
        empty = cached.is_dir() and not any(cached.iterdir())
    if os.path.lexists(cached) and not empty:
        raise RagkitError(f"{cached} has no corpus.jsonl in it, so it is no dataset; move it away, and try again.")
    mirror, address = mirror_folder(), mirror_address()
    if mirror:
        folder, archive = mirror / "beir" / known.name, mirror / "beir" / f"{known.archive}.zip"
        if (folder / "corpus.jsonl").is_file():
            for path in readers.files(folder):
                in_mirror(path.relative_to(mirror).as_posix(), f"beir/{known.name}/")
            return folder
        if archive.is_file():
            in_mirror(archive.relative_to(mirror).as_posix(), f"beir/{known.archive}.zip")
            return _unpacked(archive, known)
    told = shown(os.environ.get("RAGKIT_MIRROR") or "unset")
    if address:
        try:
            return _from_address(address, known)
        except network.Unreachable as error:
            told = f"{shown(address)}: {error}"
    where = f"in the cache ({cached}), not in a mirror (RAGKIT_MIRROR={told})"
    advice = f"set RAGKIT_MIRROR to a folder that holds beir/{known.name}/corpus.jsonl"
    if known.url is None:
        raise RagkitError(f"{known.name} is not {where}, and BEIR has no archive of it: {advice}.")
    try:
        archive = _download(known.url, f"md5:{known.md5}", cache_dir() / "downloads")
    except network.Unreachable as error:
        raise RagkitError(
            f"{known.name} is not {where}, and {known.url} did not give it ({error}). Connect once, or "
            f"{advice} or beir/{known.archive}.zip."
        ) from None
    return _unpacked(archive, known)


def _from_address(mirror: str, known: Known) -> Path:
    """Return the dataset from a mirror that is an address; raise Unreachable if it has neither archive nor files."""
    url = f"{mirror}/beir/{known.archive}.zip"
    try:
        # Not kept, since nothing says what its bytes should be.
        with (
            saying(
                f"{shown(url)} cannot be kept in {cache_dir()}", "set RAGKIT_CACHE to a folder that can be written to"
            ),
            beside(cache_dir() / "download") as folder,
        ):
            return _unpacked(_download(url, None, folder), known, url)
    except network.Unreachable:
        pass  # the mirror may hold the files instead of the archive
    cached = cache_dir() / "beir" / known.name
    names = ["corpus.jsonl", "queries.jsonl", *(f"qrels/{split}.tsv" for split in known.splits)]
    url = f"{mirror}/beir/{known.name}"
    with whole_folder(cached, True, _ELSEWHERE) as stage, _given_by(url, stage):
        for name in names:
            _download(f"{url}/{name}", None, (stage / name).parent)
        _verify(stage, known)
        _vouch(stage)
    return cached


def _unpacked(archive: Path, known: Known, source: str | None = None) -> Path:
    """Unpack an archive to the cache and return the dataset's folder there; source: where the archive is from."""
    target = cache_dir() / "beir" / known.archive  # of CQADupStack, all forums
    with whole_folder(target, True, _ELSEWHERE) as stage, _given_by(source or str(archive), stage, archive):
        _unzip(archive, stage)
        _verify(stage / known.name.removeprefix(known.archive).lstrip("/"), known)
        _vouch(stage)
    return cache_dir() / "beir" / known.name


@contextmanager
def _given_by(source: str, stage: Path, archive: Path | None = None) -> Iterator[None]:
    """Say of what is wrong with files in a temporary place where they are from, and that they are not kept."""
    try:
        yield
    except RagkitError as error:
        told = str(error).replace(f"{stage}{os.sep}", "")
        if archive:
            told = told.replace(str(archive), shown(source))
        raise RagkitError(f"{told} Nothing that {shown(source)} gave is kept.") from error


def _vouch(stage: Path) -> None:
    """Write the checksums of each dataset in a temporary place, by which it is checked when it is read."""
    for corpus in stage.rglob("corpus.jsonl"):
        names = [path.relative_to(corpus.parent).as_posix() for path in readers.files(corpus.parent)]
        write_sums(corpus.parent, {name: sha256(corpus.parent / name) for name in names})


def _check_cached(folder: Path) -> None:
    """Raise RagkitError unless a dataset's files in the cache are those that were put there, where a list tells."""
    if not (folder / SUMS).is_file():  # from before there were lists, or somebody's own
        return
    files = [folder / SUMS, *readers.files(folder)]
    with saying(f"{folder} cannot be read", "delete that folder, and it is fetched again"):
        _check_listed(folder, tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files))


@functools.cache
def _check_listed(folder: Path, files: tuple[tuple[Path, int, int], ...]) -> None:
    try:
        found = damaged(folder)
        sums = read_sums(folder)
    except RagkitError as error:
        found, sums = [f"{SUMS}: damaged ({error})"], {}
    names = [path.relative_to(folder).as_posix() for path, *_ in files if path.name != SUMS]
    found += [f"{name}: not in {SUMS}" for name in names if name not in sums and sums]
    if found:
        raise RagkitError(f"{folder}: {'; '.join(found[:3])}. Delete that folder, and it is fetched again.")


def _verify(folder: Path, known: Known) -> None:
    """Raise RagkitError unless a folder's files can be read, and are the manifest's where there is one."""
    documents = read_corpus(folder / "corpus.jsonl")
    queries = read_queries(folder / "queries.jsonl")
    judged = {split: folder / "qrels" / f"{split}.tsv" for split in known.splits}
    for split, path in judged.items():
        if path.is_file():
            qrels, _ = read_judgments(path)
            if qrels.empty:
                raise RagkitError(f"{path}: no judgments in it.")
            if known.manifest and (difference := _difference(known.manifest, documents, queries, qrels, split)):
                raise RagkitError(f"{difference}.")
    if not any(map(Path.is_file, judged.values())):
        raise RagkitError(f"There are no judgments: expected qrels/{known.splits[0]}.tsv.")


def content_sha256(documents: pd.DataFrame, queries: pd.DataFrame, qrels: pd.DataFrame) -> dict[str, str]:
    """Return a SHA-256 (hex) over the ids and texts of each table, whatever order they are in."""

    def digest(table: pd.DataFrame) -> str:
        lines = sorted("\x1f".join(map(str, row)) for row in table.itertuples(index=False, name=None))
        return hashlib.sha256("\x1e".join(lines).encode("utf8", "surrogatepass")).hexdigest()

    return {
        "documents": digest(documents[["doc_id", "title", "text"]]),
        "queries": digest(queries[["query_id", "text"]]),
        "qrels": digest(qrels[["query_id", "doc_id", "relevance"]]),
    }


def check(
    manifest: dict, folder: Path, documents: pd.DataFrame, queries: pd.DataFrame, qrels: pd.DataFrame, split: str
) -> None:
    """Raise RagkitError unless the tables are the ones that the manifest was made from."""
    if difference := _difference(manifest, documents, queries, qrels, split):
        raise RagkitError(f"{folder}: {difference}. Delete that folder if it is in the cache, or check the mirror.")


def _difference(
    manifest: dict, documents: pd.DataFrame, queries: pd.DataFrame, qrels: pd.DataFrame, split: str
) -> str | None:
    """Say which of the tables is not the one that the manifest was made from, None if all are."""
    found = content_sha256(documents, queries, qrels)
    expected = dict(manifest["sha256"])
    if split in manifest["splits"]:
        expected["qrels"] = manifest["splits"][split]["sha256"]
    for part, digest in expected.items():
        if digest != found[part]:
            return (
                f"the {part} are not those of {manifest['name']} (SHA-256 of content {found[part][:12]}…, expected "
                f"{digest[:12]}…)"
            )
    return None


def _download(url: str, known_hash: str | None, folder: Path) -> Path:
    """Return the file of an address, fetched to a folder; known_hash: as pooch takes it, such as "md5:…".

    A file that is in the folder is taken if it has that hash. Raises network.Unreachable if there is no such file, or
    another.
    """
    pooch.get_logger().setLevel("WARNING")
    name = url.rsplit("/", 1)[1]

    def fetch(url: str, path: str, _: object) -> None:
        network.fetch(url, Path(path))

    with saying(f"{shown(url)} cannot be kept in {folder}", _ELSEWHERE):
        try:
            # pooch has a temporary file written, checks the hash, then renames.
            path = Path(pooch.retrieve(url, known_hash, fname=name, path=folder, downloader=fetch))
        except ValueError:  # of pooch, for another hash
            raise network.Unreachable("it gave another file than the one that is known by that name") from None
        path.chmod(new_mode())
    return path


def _unzip(archive: Path, stage: Path) -> None:
    """Unpack a BEIR archive, its files in one folder, at the top, or in a folder a part, to an empty folder.

    Raises RagkitError if the archive cannot be read, holds no corpus.jsonl, or has a member that would
    be written outside its folder.
    """
    try:
        with saying(f"{archive} cannot be unpacked", _ELSEWHERE), zipfile.ZipFile(archive) as zipped:
            members = zipped.infolist()
            for member in members:
                if not PurePosixPath(member.filename).parts:  # "./", which some programs put first, or no name at all
                    continue
                try:
                    inside(stage, member.filename)
                except RagkitError:
                    raise RagkitError(
                        f"{archive}: member {member.filename!r} would be written outside its folder; refused."
                    ) from None
            need, free = sum(member.file_size for member in members), shutil.disk_usage(stage).free
            if need > largest_unpacked(archive):
                raise RagkitError(
                    f"{archive} would unpack to {amount(need)}, which no archive of its size does; if it is "
                    "meant, unpack it yourself, and name the folder instead."
                )
            if need > free:
                raise RagkitError(f"{archive} unpacks to {amount(need)}, and {amount(free)} are free.")
            if any(member.flag_bits & 1 for member in members):
                raise RagkitError(f"{archive} is encrypted. Unpack it yourself, and name the folder instead.")
            zipped.extractall(stage)
    except RagkitError:
        raise
    except _UNREADABLE as error:
        raise RagkitError(
            f"{archive}: not a readable zip archive ({error or type(error).__name__}){_beginning(archive)}. "
            "Delete it, or put a good one in its place, and try again."
        ) from error
    parts = [path.parent for path in sorted(stage.rglob("corpus.jsonl"))]
    if not parts:
        raise RagkitError(f"{archive}: no corpus.jsonl in it, so it is not a BEIR dataset.")
    # Of several parts, each keeps its folder. What is in the archive's own folder goes to the top.
    top = parts[0] if len(parts) == 1 else parts[0].parent
    if top != stage:
        for item in list(top.iterdir()):
            item.rename(stage / item.name)


def _beginning(path: Path) -> str:
    """Say what a file looks like that is not what was expected, if that can be told from its first bytes."""
    with open(path, "rb") as file:
        start = file.read(200).lstrip().lower()
    return "; it is an HTML page" if start.startswith((b"<!doctype html", b"<html")) else ""
