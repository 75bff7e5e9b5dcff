"""Files of a collection from an address or an archive into a folder of its own, whole or not at all."""

import lzma
import os
import shutil
import struct
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pooch
import requests

from ragkit.addresses import shown
from ragkit.errors import RagkitError
from ragkit.files import new_mode, saying

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


class Unreachable(Exception):
    """An address did not give a file."""


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; what the block leaves in it is there afterwards, or nothing is.

    Where `target` is there already, as several collections of one archive may be, what it lacks is added.
    """
    with saying(f"{target} cannot be filled", _ELSEWHERE):
        target.parent.mkdir(parents=True, exist_ok=True)
        stage = target.parent / f".{target.name}-{uuid.uuid4().hex[:8]}"
        stage.mkdir()  # with the mode that the umask gives, which tempfile's have not
        try:
            yield stage
            _move(stage, target)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _move(stage: Path, target: Path) -> None:
    try:
        stage.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        for item in stage.iterdir():
            if not (target / item.name).exists():
                item.rename(target / item.name)


def download(url: str, known_hash: str | None, folder: Path) -> Path:
    """Return the file of an address, fetched to a folder; known_hash: as pooch takes it, such as "md5:…".

    A file that is in the folder is taken if it has that hash. Raises Unreachable if there is no such file, or another.
    """
    pooch.get_logger().setLevel("WARNING")
    name, bar = url.rsplit("/", 1)[1], not os.environ.get("TQDM_DISABLE")
    with saying(f"{shown(url)} cannot be kept in {folder}", _ELSEWHERE):
        try:
            # pooch writes to a temporary file, checks the hash, then renames.
            path = Path(pooch.retrieve(url, known_hash, fname=name, path=folder, progressbar=bar))
        except (requests.RequestException, ValueError) as error:
            raise Unreachable(type(error).__name__) from error
        path.chmod(new_mode())
    return path


def unzip(archive: Path, stage: Path) -> None:
    """Unpack a BEIR archive, its files in one folder, at the top, or in a folder a part, to an empty folder.

    Raises RagkitError if the archive cannot be read, holds no corpus.jsonl, or has a member that would
    be written outside its folder.
    """
    try:
        with saying(f"{archive} cannot be unpacked", _ELSEWHERE), zipfile.ZipFile(archive) as zipped:
            members = zipped.infolist()
            for member in members:
                name = member.filename
                if not (stage / name).resolve().is_relative_to(stage.resolve()) or "\\" in name:
                    raise RagkitError(f"{archive}: member {name!r} would be written outside its folder; refused.")
            need, free = sum(member.file_size for member in members), shutil.disk_usage(stage).free
            if need > free:
                raise RagkitError(f"{archive} unpacks to {need / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free.")
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
        raise RagkitError(f"{archive}: no corpus.jsonl in it, so it is not a BEIR collection.")
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
