"""Checksums of a finished index's files, kept in its note: what a disk changed is told before it is searched.

Qdrant reads its files as it finds them: a page of zeros among the vectors is a ranking like any other.
"""

import os
import random
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ragkit.engines.folder import foreign
from ragkit.files import saying
from ragkit.machine import cores

# A block's checksum is a CRC-32 (see embedding_cache); a block that is not listed is zeros.
BLOCK = 2**20
# Of a larger index, as many blocks as this are looked at when it is opened, drawn anew each time, and all small files.
MOST_BLOCKS = 2048
_ZEROS = bytes(BLOCK)

# By path in the folder, with slashes: the size in bytes, and a checksum for the number of each block.
Seal = dict[str, tuple[int, dict[int, int]]]


def seal(folder: Path, known: Seal | None = None) -> Seal:
    """Return the checksums of a folder's files. known: those of before, taken again for files of several blocks."""
    known, names = known or {}, _names(folder)

    def one(name: str) -> tuple[int, dict[int, int]]:
        size, blocks = known.get(name, (-1, {}))
        if len(blocks) > 1 and size == (folder / name).stat().st_size:
            return size, blocks
        return (folder / name).stat().st_size, dict(_checksums(folder / name))

    return dict(zip(names, _each(folder, one, names), strict=True))


def damage(folder: Path, sealed: Seal, most: int = MOST_BLOCKS) -> str | None:
    """Return what is the first file that differs from its seal, and how; None if none does, of what is looked at."""
    names = _names(folder)
    for name in sorted(names ^ sealed.keys()):
        return f"{name} is missing" if name in sealed else f"{name} is there, and was not"
    large = [(name, block) for name, (_, blocks) in sealed.items() if len(blocks) > 1 for block in blocks]
    drawn = set(random.sample(large, most)) if len(large) > most else None

    def one(name: str) -> str | None:
        size, blocks = sealed[name]
        if (found := (folder / name).stat().st_size) != size:
            return f"{name} has {found:,} bytes, and had {size:,}"
        if drawn is None or len(blocks) < 2:
            same = dict(_checksums(folder / name)) == blocks
        else:
            chosen = [block for block in blocks if (name, block) in drawn]
            same = dict(_checksums(folder / name, chosen)) == {block: blocks[block] for block in chosen}
        return None if same else f"{name} holds other bytes than it did"

    return next(filter(None, _each(folder, one, names)), None)


def written(sealed: Seal) -> dict[str, list]:
    """Return a seal as JSON can hold it.

    >>> written({"a.dat": (5, {0: 17})}), read(written({"a.dat": (5, {0: 17})}))
    ({'a.dat': [5, [[0, 17]]]}, {'a.dat': (5, {0: 17})})
    """
    return {name: [size, [list(pair) for pair in blocks.items()]] for name, (size, blocks) in sealed.items()}


def read(found: dict) -> Seal:
    """Return a seal from what JSON held of it. Raises ValueError, TypeError or AttributeError if it is none."""
    return {name: (int(size), {int(n): int(crc) for n, crc in blocks}) for name, (size, blocks) in found.items()}


def _names(folder: Path) -> set[str]:
    """Return the files that Edge makes; what a file manager leaves beside them is no part of the index."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return {name for name in names.difference(foreign(folder)) if "ragkit." not in name}


def _each(folder: Path, work, names):
    with (
        saying(f"The index in {folder} cannot be read", "delete the folder to build it anew, or choose another"),
        ThreadPoolExecutor(cores()) as pool,
    ):
        return list(pool.map(work, names))


def _checksums(path: Path, chosen: list[int] | None = None) -> Iterator[tuple[int, int]]:
    """Yield the number and the checksum of each block that is not all zeros: of those chosen, or of a whole file."""
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        for block in _with_data(file.fileno(), size) if chosen is None else chosen:
            file.seek(block * BLOCK)
            data = file.read(BLOCK)
            if data != _ZEROS[: len(data)]:
                yield block, zlib.crc32(data)


def _with_data(handle: int, size: int) -> Iterator[int]:
    """Yield the numbers of the blocks that are not holes, where the system tells; else of all."""
    if not hasattr(os, "SEEK_DATA"):
        yield from range(-(-size // BLOCK))
        return
    block = 0
    while block * BLOCK < size:
        try:
            at = os.lseek(handle, block * BLOCK, os.SEEK_DATA)
        except OSError:  # a hole to the end
            return
        block = at // BLOCK
        yield block
        block += 1
