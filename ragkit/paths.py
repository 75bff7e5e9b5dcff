"""Where the kit finds its own data and a mirror, and keeps what it downloads or computes."""

import functools
import os
from pathlib import Path

import platformdirs

from ragkit.errors import RagkitError
from ragkit.files import SUMS, expanded, read_sums, saying, sha256


def data_dir() -> Path:
    """Return the folder with the movies, the manifests and the embedded models.

    It is `data/` of the checkout that ragkit was installed from, or `RAGKIT_DATA`.
    """
    return expanded(os.environ.get("RAGKIT_DATA") or Path(__file__).resolve().parent.parent / "data")


def cache_dir() -> Path:
    """Return the folder for downloads, embeddings and Edge folders, created if absent.

    It is `RAGKIT_CACHE`, or the platform's user cache folder. Raises RagkitError if it cannot be made.
    """
    path = expanded(os.environ.get("RAGKIT_CACHE") or platformdirs.user_cache_dir("ragkit"))
    with saying(f"The cache folder {path} cannot be made", "set RAGKIT_CACHE to a folder that can be written to"):
        path.mkdir(parents=True, exist_ok=True)
    return path


def mirror_place() -> str:
    """Return the folder or URL that `RAGKIT_MIRROR` names, "" if it names none."""
    return os.path.expanduser(os.environ.get("RAGKIT_MIRROR", ""))


def mirror_folder() -> Path | None:
    """Return the folder that `RAGKIT_MIRROR` names, or None if it names none or a URL."""
    name = mirror_place()
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
