"""A mirror folder that a room shares, such as a USB stick: what is in it, and whether it is intact."""

import functools
import hashlib
import os
from pathlib import Path

from ragkit.errors import RagkitError

SUMS = "SHA256SUMS"


def mirror_folder() -> Path | None:
    """Return the folder that `RAGKIT_MIRROR` names, or None if it names none or a URL."""
    name = os.environ.get("RAGKIT_MIRROR", "")
    return Path(name) if name and "://" not in name and Path(name).is_dir() else None


def in_mirror(name: str) -> Path | None:
    """Return a file of the mirror by its path in it, such as "embeddings/x.sqlite"; None if there is none.

    Raises RagkitError if the mirror's checksums say that the file is damaged; it is read for that once a process.
    """
    folder = mirror_folder()
    if folder is None or not (folder / name).is_file():
        return None
    status = (folder / name).stat()
    _verify(folder, name, status.st_size, status.st_mtime_ns)
    return folder / name


@functools.cache
def _verify(folder: Path, name: str, *_: int) -> None:
    expected = read_sums(folder).get(name)
    if expected and sha256(folder / name) != expected:
        raise RagkitError(
            f"{folder / name} is damaged: its SHA-256 is not the one in {SUMS}. Copy that file again, or unset "
            "RAGKIT_MIRROR to do without the folder."
        )


def read_sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 (hex) of each file that the folder's checksum file lists, by path with slashes.

    Raises RagkitError, naming the line, if the checksum file itself cannot be read.
    """
    path, sums = folder / SUMS, {}
    if not path.is_file():
        return sums
    for number, line in enumerate(path.read_text("utf8", errors="replace").splitlines(), 1):
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            raise RagkitError(f"{path}, line {number}: expected a SHA-256, two spaces and a path. Delete that file.")
        sums[name] = digest
    return sums


def write_sums(folder: Path, sums: dict[str, str]) -> None:
    """Write the checksum file, whole or not at all, in the form that `sha256sum --check` reads."""
    temporary = folder / f".{SUMS}"
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    temporary.write_bytes("".join(lines).encode("utf8"))
    os.replace(temporary, folder / SUMS)


def sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damage(folder: Path) -> list[str]:
    """Return a line for each file that the folder's checksums list and that is missing or differs; [] if intact.

    Raises RagkitError if there is no such folder, or no checksum file in it.
    """
    sums = read_sums(folder)
    if not sums:
        raise RagkitError(f"{folder}: no {SUMS} in it. Fill it with: python -m ragkit prefetch --to {folder}")
    found = []
    for name, expected in sums.items():
        if not (folder / name).is_file():
            found.append(f"{name}: missing")
        elif sha256(folder / name) != expected:
            found.append(f"{name}: damaged")
    return found
