"""Files and folders: written whole or not at all, hashed, checked against checksums, kept inside their folder."""

import hashlib
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath

from ragkit.errors import RagkitError

SUMS = "SHA256SUMS"


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what the block writes there becomes `path`, or nothing does.

    The file gets the mode of the one that it replaces, else the one that the umask gives. Missing folders are made.
    If the block fails, `path` is as it was and no temporary file is left. Raises RagkitError if `path` is a folder
    or its folder cannot be written to.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole(f"{folder}/new/note.txt") as stage:
    ...         _ = stage.write_text("done")
    ...     Path(f"{folder}/new/note.txt").read_text()
    'done'
    """
    path = expanded(path)
    if path.is_dir():
        raise RagkitError(f"{path} is a folder; expected the name of a file to write.")
    with saying(f"{path} cannot be written", "choose another place"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-"[:60], dir=path.parent)
        os.close(handle)
        stage = Path(name)
        try:
            yield stage
            stage.chmod(stat.S_IMODE(path.stat().st_mode) if path.exists() else new_mode())
            os.replace(stage, path)
        finally:
            stage.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | Path, add: bool = False, advice: str = "choose another place") -> Iterator[Path]:
    """Yield a temporary folder beside `path`; what the block leaves in it is in `path` afterwards, or nothing is.

    A folder that is there already must be empty, unless `add`: then it gets what it lacks. advice: what to do where it
    cannot be written. The folder gets the mode that the umask gives, and missing ones above it are made. Raises
    RagkitError if it cannot be written, or holds something that it should not.

    >>> with tempfile.TemporaryDirectory() as place:
    ...     with whole_folder(f"{place}/new/folder") as stage:
    ...         _ = (stage / "note.txt").write_text("done")
    ...     Path(f"{place}/new/folder/note.txt").read_text()
    'done'
    """
    path = expanded(path)
    with saying(f"{path} cannot be written", advice):
        path.parent.mkdir(parents=True, exist_ok=True)
        stage = path.parent / f"{f'.{path.name}'[:50]}-{uuid.uuid4().hex[:8]}"
        stage.mkdir()  # with the mode that the umask gives, which tempfile's have not
        try:
            yield stage
            _put(stage, path, add)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _put(stage: Path, path: Path, add: bool) -> None:
    with suppress(OSError):
        path.rmdir()  # if it is empty: Windows renames onto no folder at all
    try:
        stage.rename(path)
    except OSError:
        if not (add and path.is_dir()):
            raise
        for item in stage.iterdir():
            if not (path / item.name).exists():
                item.rename(path / item.name)


def expanded(path: str | Path) -> Path:
    """Return a path with the home folder in place of a `~` that it begins with.

    >>> expanded("~/notes") == Path.home() / "notes", expanded("a~b").as_posix()
    (True, 'a~b')
    """
    return Path(os.path.expanduser(path))


def write_text(path: str | Path, text: str) -> Path:
    """Write a text as UTF-8 with its line ends as they are, whole or not at all; return the path.

    Raises RagkitError as `whole` does.
    """
    with whole(path) as stage:
        stage.write_bytes(text.encode("utf8"))
    return expanded(path)


@contextmanager
def saying(what: str, advice: str) -> Iterator[None]:
    """Turn the system's own errors into a RagkitError that says what failed, why, and what to do."""
    try:
        yield
    except (OSError, UnicodeEncodeError) as error:
        raise RagkitError(f"{what} ({error}); {advice}.") from error


def new_mode() -> int:
    """Return the mode that a new file gets here, by the umask."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def sha256(path: str | Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inside(folder: str | Path, name: str) -> Path:
    """Return the path of a name, with slashes, in a folder. Raises RagkitError if it would be elsewhere.

    >>> inside("stick", "wheels/a.whl").as_posix()
    'stick/wheels/a.whl'
    >>> inside("stick", "../a.whl")
    Traceback (most recent call last):
        ...
    ragkit.errors.RagkitError: '../a.whl' would be outside of stick; expected a path inside, such as wheels/a.whl.
    """
    plain = PurePosixPath(name)
    odd = PureWindowsPath(name).drive or "\\" in name or "\0" in name
    if odd or plain.is_absolute() or not plain.parts or ".." in plain.parts:
        raise RagkitError(f"{name!r} would be outside of {folder}; expected a path inside, such as wheels/a.whl.")
    return Path(folder) / plain


def read_sums(folder: str | Path) -> dict[str, str]:
    """Return the SHA-256 (hex) of each file that the folder's checksum file lists, by path with slashes.

    {} if there is no such file. Raises RagkitError, naming the line, for one that cannot be read, and for a path that
    is not in the folder.
    """
    path = Path(folder) / SUMS
    sums: dict[str, str] = {}
    if not path.is_file():
        return sums
    for number, line in enumerate(path.read_text("utf8", errors="replace").splitlines(), 1):
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            raise RagkitError(f"{path}, line {number}: expected a SHA-256, two spaces and a path. Delete that file.")
        try:
            inside(folder, name)
        except RagkitError as error:
            raise RagkitError(f"{path}, line {number}: {error}") from None
        sums[name] = digest
    return sums


def write_sums(folder: str | Path, sums: Mapping[str, str]) -> None:
    """Write the checksum file, whole or not at all, in the form that `sha256sum --check` reads."""
    write_text(Path(folder) / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))


def damaged(folder: str | Path, part: str = "") -> list[str]:
    """Return a line for each file that the folder's checksums list and that is missing or differs; [] if intact.

    part: how the paths begin that are looked at, such as "wheels/". Raises RagkitError if there is no such folder, or
    no checksum file in it.
    """
    sums = read_sums(folder)
    if not sums:
        raise RagkitError(f"{folder}: no {SUMS} in it. Fill it with: python -m ragkit prefetch --to {folder}")
    found = []
    for name, expected in sums.items():
        path = inside(folder, name)
        if not name.startswith(part):
            continue
        if not path.is_file():
            found.append(f"{name}: missing")
        elif sha256(path) != expected:
            found.append(f"{name}: damaged")
    return found
