"""Bytes of a file damaged as disks, cables and cut copies damage them: by a kind and a seed, and never not at all."""

import random
from pathlib import Path

import numpy as np

PAGE = 4096
KINDS = (
    "a flipped bit",
    "sixteen flipped bits",
    "a page of zeros",
    "a page of noise",
    "a page twice",
    "two pages swapped",
    "another file's page",
    "a byte lost",
    "cut",
    "emptied",
    "cut by a byte",
    "junk behind it",
    "another file's bytes",
    "gone",
)


def harm(path: Path, kind: str, seed: int, other: bytes) -> None:
    """Damage a file in place. other: another file's bytes. A kind that would change nothing flips a bit instead."""
    rng = random.Random(seed)
    before = path.read_bytes()
    if kind == "gone":
        path.unlink()
        return
    after = _harmed(before, kind, rng, other)
    if after == before:
        after = _harmed(before, "a flipped bit", rng, other)
    assert after != before
    with open(path, "r+b") as file:  # only what differs, so that a file with holes keeps them
        file.truncate(len(after))
        for start in range(0, len(after), PAGE):
            if after[start : start + PAGE] != before[start : start + PAGE]:
                file.seek(start)
                file.write(after[start : start + PAGE])


def _harmed(data: bytes, kind: str, rng: random.Random, other: bytes) -> bytes:
    size = max(1, min(PAGE, len(data) // 4))  # of a small file, a quarter is a page
    starts = _written(data, size)
    start = rng.choice(starts)
    if kind == "cut":
        return data[: rng.randrange(len(data))] if data else data
    if kind == "emptied":
        return b""
    if kind == "cut by a byte":
        return data[:-1]
    if kind == "junk behind it":
        return data + rng.randbytes(rng.choice([1, 100, 5000]))
    if kind == "another file's bytes":
        return other
    if kind == "a byte lost":
        at = rng.randrange(start, min(start + size, len(data))) if data else 0
        return data[:at] + data[at + 1 :]
    page = data[start : start + size]
    if kind == "a page of zeros":
        return _put(data, start, bytes(len(page)))
    if kind == "a page of noise":
        return _put(data, start, rng.randbytes(len(page)))
    if kind == "another file's page":
        return _put(data, start, other[: len(page)])
    second = rng.choice(starts)
    if kind == "a page twice":
        return _put(data, second, page)[: len(data)]
    if kind == "two pages swapped":
        return _put(_put(data, start, data[second : second + size]), second, page)[: len(data)]
    changed = bytearray(data)
    for _ in range(16 if kind.startswith("sixteen") else 1):
        if changed:
            changed[rng.randrange(start, min(start + size, len(data)))] ^= 1 << rng.randrange(8)
    return bytes(changed) if data else b"\0"


def _put(data: bytes, start: int, page: bytes) -> bytes:
    return data[:start] + page + data[start + len(page) :]


def _written(data: bytes, size: int) -> list[int]:
    """Return where the pages begin that are not all zeros; engines make files ahead of what they hold."""
    rows = np.frombuffer(data[: len(data) // size * size], np.uint8).reshape(-1, size)
    return (np.flatnonzero(rows.any(axis=1)) * size).tolist() or [0]


def copy_with_holes(source: Path, target: Path) -> None:
    """Copy a folder whose files are mostly holes, without writing those."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "rb") as read, open(place, "wb") as written:
            while block := read.read(1 << 20):
                if any(block[:64]) or block.count(0) < len(block):
                    written.write(block)
                else:
                    written.seek(len(block), 1)
            written.truncate(path.stat().st_size)
