"""What an Edge folder takes of a disk, in how many segments, and a clear error where that is not free."""

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ragkit.errors import RagkitError, amount
from ragkit.files import saying
from ragkit.machine import cores
from ragkit.vectors import VectorSpec

# Files and folders of a segment, and for each name of vectors in it, at most; each takes a block of the disk.
_ENTRIES, _ENTRIES_A_NAME = 19, 22
_BLOCK = 4096
# Edge makes files of 32 MiB ahead of what they will hold, each with up to 1 MiB beside it that says what is deleted:
# 34.6 million bytes, and a reserve.
_RESERVED = 36_000_000
# What others may write to a disk meanwhile.
RESERVE = 1_000_000
# What a document takes on disk beside its vectors, measured, at most.
DOCUMENT_BYTES = 500
_MOST_SEGMENTS = 8
_LEAST_DOCUMENTS_A_SEGMENT = 100
# A segment of more kilobytes than this is closed by optimize(), and a new one takes what follows.
CLOSE_SEGMENT_KB = 100


def at_once() -> int:
    """Return how many segments are worth having here: one for each core that Edge may use, as it counts its threads.

    It puts all documents in one segment unless told otherwise: one a core halves the time of a query on two cores.
    """
    return min(_MOST_SEGMENTS, cores())


def segments(documents: int) -> int:
    """Return into how many segments so many documents are put here."""
    return max(1, min(at_once(), documents // _LEAST_DOCUMENTS_A_SEGMENT))


def most_segments(documents: int, size: int) -> int:
    """Return in how many segments documents are at most, whose vectors take so many bytes: a small one stays open."""
    return min(segments(documents), 1 + size // (1024 * CLOSE_SEGMENT_KB))


def least(specs: Iterable[VectorSpec], segments: int, folder: Path | None = None) -> int:
    """Return the bytes that so many segments take on the folder's disk before a vector is in them, at most.

    Most file systems keep only what was written of a file. Where they keep all of it (tmpfs, NTFS), an index of a
    single document takes a hundred megabytes once it is opened again, since Edge reads whole files then. Without a
    folder: on a disk of the first kind. The last segment is open for more documents, the others are closed.
    """
    specs = list(specs)
    block = _BLOCK
    if folder is not None and hasattr(os, "statvfs"):
        block = max(block, os.statvfs(nearest(folder)).f_frsize)
    files = sum(_files(spec) for spec in specs) + (segments - 1) * sum(_files(spec, closed=True) for spec in specs)
    return segments * (_ENTRIES + _ENTRIES_A_NAME * len(specs)) * block + _reserved(files, folder)


def closing(specs: Iterable[VectorSpec], segments: int, folder: Path) -> int:
    """Return the bytes that so many segments take beside their vectors while Edge writes them anew, all at once."""
    return _reserved(segments * sum(_files(spec, closed=True) for spec in specs), folder)


def _reserved(files: int, folder: Path | None) -> int:
    return files * _RESERVED if folder is not None and keeps_holes(nearest(folder)) is False else 0


def taken(folder: Path) -> int:
    """Return the bytes that a folder's files take on disk; Edge makes them larger than that, where it may."""
    stats = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(512 * getattr(stat, "st_blocks", -(-stat.st_size // 512)) for stat in stats)


def unwritten(folder: Path) -> int:
    """Return the bytes of a folder's files that are not on disk yet, and may be once an engine reads them.

    Of the documents' ids (payload_storage) Edge reads what was written alone.
    """
    if keeps_holes(folder):  # if that is not known, it may be too much already
        return 0
    paths = [path for path in folder.rglob("*") if path.is_file() and "payload_storage" not in path.parts]
    stats = [path.stat() for path in paths]
    return sum(max(0, stat.st_size - 512 * getattr(stat, "st_blocks", stat.st_size)) for stat in stats)


def keeps_holes(folder: Path) -> bool | None:
    """Return whether the folder's file system keeps only what was written of a file, as an empty page there tells.

    None if there is no room for that page.
    """
    if shutil.disk_usage(folder).free < 16 * mmap.PAGESIZE:
        return None
    with saying(f"Nothing can be written to {folder}", "choose another place"), tempfile.TemporaryFile(dir=folder) as f:
        f.truncate(mmap.PAGESIZE)
        with mmap.mmap(f.fileno(), mmap.PAGESIZE, access=mmap.ACCESS_READ) as page:
            page.read()
        return getattr(os.fstat(f.fileno()), "st_blocks", 1) == 0


def nearest(path: Path) -> Path:
    """Return the path, or the closest folder above it that is there already."""
    with saying(f"{path} cannot be made", "choose another place"):
        return next(p for p in (path.absolute(), *path.absolute().parents) if p.is_dir())


def require(size: int, folder: Path, advice: str) -> None:
    """Raise RagkitError if so many bytes are not free on the folder's disk: there, Edge would die of a bus error."""
    free = shutil.disk_usage(nearest(folder)).free
    if size > free:
        raise RagkitError(f"The disk of {folder} has {amount(free)} free, and {amount(size)} are needed. {advice}")


def _files(spec: VectorSpec, closed: bool = False) -> int:
    """Return how many files of 32 MiB for vectors of one name Edge reads whole, in an open or a closed segment."""
    if closed:
        return 1 if spec.sparse else 2 * spec.multivector
    copies = spec.storage.quantization not in (None, "int8")  # those can be made as vectors come
    return 0 if spec.sparse else (1 + spec.multivector) * (1 + copies)
