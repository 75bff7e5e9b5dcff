"""Where the kit finds its own data and lessons and a mirror, and keeps what it downloads or computes."""

import functools
import os
import tomllib
from importlib.metadata import metadata
from pathlib import Path

import platformdirs

from ragkit.addresses import checked, is_address
from ragkit.errors import RagkitError
from ragkit.files import SUMS, expanded, fault, read_sums, saying

_PACKAGE = Path(__file__).resolve().parent


def home() -> Path:
    """Return the folder that data/ and notebooks/ lie in.

    It is the checkout that ragkit is used from, or the installed package itself, into which a wheel puts both.
    """
    return _PACKAGE if packaged() else _PACKAGE.parent


def packaged() -> bool:
    """Return whether ragkit was installed from a wheel, with its data inside, and is not used from a checkout."""
    return (_PACKAGE / "data").exists() or not (_PACKAGE.parent / "pyproject.toml").is_file()


def repository() -> str:
    """Return the public address of the kit's repository, as pyproject.toml has it."""
    if packaged():
        urls = metadata("ragkit").get_all("Project-URL") or []
        return dict(text.split(", ", 1) for text in urls)["Repository"]
    return tomllib.loads((home() / "pyproject.toml").read_text("utf8"))["project"]["urls"]["Repository"]


def data_dir() -> Path:
    """Return the folder with the movies, the manifests and the embedded models.

    It is `data/` of the checkout or of the package, see `home`, or `RAGKIT_DATA`.
    """
    return expanded(os.environ.get("RAGKIT_DATA") or home() / "data")


def restoring(what: str = "data") -> str:
    """Return how files that come with the kit are had back: what, a folder of the checkout."""
    if packaged():
        return "python -m pip install --force-reinstall --no-deps ragkit"
    return f"git checkout -- {what}"


def _restore() -> str:
    kit = "package" if packaged() else "checkout"
    return f"restore it with: {restoring()}, or set RAGKIT_DATA to the data/ folder of a full {kit}"


def shipped(name: str) -> Path:
    """Return a file that comes with the kit by its path in `data/`, its bytes checked once a process.

    Raises RagkitError if it is missing or not as data/SHA256SUMS says, or if that list is damaged itself.

    >>> shipped("movies.jsonl").name
    'movies.jsonl'
    """
    folder = data_dir()
    with saying(f"{folder / name} cannot be read", _restore()):
        status = (folder / name).stat()
        _check_shipped(folder, name, status.st_size, status.st_mtime_ns)
    return folder / name


@functools.cache
def _check_shipped(folder: Path, name: str, *_: int) -> None:
    try:
        sums = read_sums(folder)
    except RagkitError as error:
        raise RagkitError(f"{folder / SUMS} is damaged; {_restore()}.") from error
    if name not in sums:
        raise RagkitError(f"{folder / SUMS} does not list {name}, so it is cut or out of date; {_restore()}.")
    if fault(folder, name, sums[name]):
        raise RagkitError(
            f"{folder / name} is damaged or was edited: its SHA-256 is not the one in {SUMS}; {_restore()}."
        )


def cache_dir() -> Path:
    """Return the folder for downloads, embeddings and Edge folders, created if absent.

    It is `RAGKIT_CACHE`, or the platform's user cache folder. Raises RagkitError if it cannot be made.
    """
    path = expanded(os.environ.get("RAGKIT_CACHE") or platformdirs.user_cache_dir("ragkit"))
    with saying(f"The cache folder {path} cannot be made", "set RAGKIT_CACHE to a folder that can be written to"):
        path.mkdir(parents=True, exist_ok=True)
    return path


def mirror_folder() -> Path | None:
    """Return the folder that `RAGKIT_MIRROR` names, or None if it names none or an address.

    Raises RagkitError for an address that cannot be read from.
    """
    name = os.environ.get("RAGKIT_MIRROR", "")
    if not name.strip() or mirror_address():
        return None
    path = expanded(name)
    return path if os.path.isdir(path) else None


def mirror_address() -> str | None:
    """Return the address that `RAGKIT_MIRROR` names, without a slash at its end; None if it names none.

    Raises RagkitError as addresses.checked does.
    """
    name = os.environ.get("RAGKIT_MIRROR", "")
    return checked(name, "RAGKIT_MIRROR") if is_address(name) else None


def in_mirror(name: str, of: str = "") -> Path | None:
    """Return a file of the mirror by its path in it, such as "embeddings/x.sqlite"; None if there is none.

    of: how the paths begin of the dataset or the model that it belongs to, such as "beir/scifact/". One of which the
    mirror's checksums list nothing was put there by hand and is read as it is. Raises RagkitError if the checksums
    say that the file is damaged, for which it is read once a process, or do not list it.
    """
    folder = mirror_folder()
    if folder is None or not (folder / name).is_file():
        return None
    status = (folder / name).stat()
    if (folder / SUMS).is_file():
        sums = (folder / SUMS).stat()
        _verify(folder, name, of, status.st_size, status.st_mtime_ns, sums.st_size, sums.st_mtime_ns)
    return folder / name


@functools.cache
def _verify(folder: Path, name: str, of: str, *_: int) -> None:
    sums = read_sums(folder)
    if of and not any(listed.startswith(of) for listed in sums):
        return
    why = fault(folder, name, sums.get(name))
    if why:
        what = "damaged: its SHA-256 is not the one in" if name in sums else "not in"
        raise RagkitError(
            f"{folder / name} is {what} {SUMS}. Copy {'that file' if name in sums else folder} again, or unset "
            "RAGKIT_MIRROR to do without the folder."
        )
