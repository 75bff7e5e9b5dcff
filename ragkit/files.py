"""Files and folders: written whole or not at all, hashed, checked against checksums, kept inside their folder."""

import glob
import hashlib
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, BinaryIO

from ragkit.boundary import reason
from ragkit.errors import RagkitError, given, shown

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

SUMS = "SHA256SUMS"
# How the name of a temporary folder ends, and the file in it that is locked while its maker lives.
_ROOM, _LOCK = ".ragkit", "lock"
_FAR = 2**40


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path near `path`; the file that the block makes there becomes `path`, or nothing does.

    The file gets the mode of the one that it replaces, else the one that the umask gives. Missing folders are made, and
    a link stays one, to the new file. If the block fails, `path` is as it was and no temporary file is left. Raises
    RagkitError if `path` is there and no file, or its folder cannot be written to.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with whole(f"{folder}/new/note.txt") as stage:
    ...         _ = stage.write_text("done")
    ...     Path(f"{folder}/new/note.txt").read_text()
    'done'
    """
    path = expanded(path)
    with saying(f"{path} cannot be written", "choose another place"):
        if path.is_dir():
            raise RagkitError(f"{path} is a folder; expected the name of a file to write.")
        if path.exists() and not path.is_file():
            raise RagkitError(f"{path} is a device or a pipe and is not replaced; expected the name of a file.")
        path = Path(os.path.realpath(path))
        with beside(path) as room:
            stage = room / path.name
            yield stage
            if path.exists():
                stage.chmod(stat.S_IMODE(path.stat().st_mode))
            os.replace(stage, path)


@contextmanager
def whole_folder(path: str | Path, add: bool = False, advice: str = "choose another place") -> Iterator[Path]:
    """Yield a temporary folder near `path`; what the block leaves in it is in `path` afterwards, or nothing is.

    A folder that is there already must be empty, unless `add`: then it gets what it lacks. advice: what to do where it
    cannot be written. The folder gets the mode that the umask gives, and missing ones above it are made. Raises
    RagkitError if it cannot be written, or holds something that it should not.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as place:
    ...     with whole_folder(f"{place}/new/folder") as stage:
    ...         _ = (stage / "note.txt").write_text("done")
    ...     Path(f"{place}/new/folder/note.txt").read_text()
    'done'
    """
    path = expanded(path)
    with saying(f"{path} cannot be written", advice), beside(path) as room:
        stage = room / path.name
        stage.mkdir()  # with the mode that the umask gives, which the room's is not
        yield stage
        _put(stage, path, add)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yield a temporary folder on the disk of `path`, beside it, which is gone after the block.

    It is called .NAME-xxxxxxxx.ragkit, and its maker holds a lock in it until death: what a killed process left is
    deleted by the next call for the same path. Missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_beside(path)
    room, file = _made(path)
    try:
        yield room
    finally:
        _delete(room, file)


def sweep_beside(path: Path) -> None:
    """Delete the temporary folders that killed processes left beside a path, as the next call of `beside` would."""
    for room in path.parent.glob(f"{glob.escape(_beginning(path))}{'?' * 8}{_ROOM}"):
        with suppress(OSError):
            if not (room / _LOCK).exists():
                room.rmdir()  # made and not used yet
                continue
            with open(room / _LOCK, "r+b") as file:
                if lock(file, wait=False):
                    _delete(room, file)


def _beginning(path: Path) -> str:
    return f".{path.name}"[:50] + "-"


def _made(path: Path) -> tuple[Path, BinaryIO]:
    """Return a new folder and the open file that locks it."""
    while True:
        room, made = path.parent / f"{_beginning(path)}{secrets.token_hex(4)}{_ROOM}", False
        try:
            room.mkdir(0o700)
            made = True
            file = open(room / _LOCK, "xb")  # noqa: SIM115
            lock(file)
        except FileNotFoundError:
            if not made:  # the folder is gone, or takes none, as /proc
                raise
            continue  # swept by another, as left, before there was a lock
        except BaseException:
            shutil.rmtree(room, ignore_errors=True)
            raise
        if (room / _LOCK).exists():
            return room, file
        file.close()


def _delete(room: Path, file: BinaryIO) -> None:
    """Delete such a folder, its lock last, so that whenever this is interrupted a sweep finds what is left of it."""
    try:
        with suppress(OSError):
            for path in room.iterdir():
                if path.name != _LOCK:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            file.close()  # Windows deletes no open file
            (room / _LOCK).unlink()
            room.rmdir()
    except BaseException:  # a signal; the next one waits until this is over
        shutil.rmtree(room, ignore_errors=True)
        raise


def lock(file: IO[bytes], wait: bool = True) -> bool:
    """Lock an open file until it is closed or the process dies; return False if another has it, or it has no locks."""
    try:
        if sys.platform == "win32":
            file.seek(_FAR)  # there it hinders nobody who reads or writes
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


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

    Raises RagkitError for what is no path: a text that is empty or blank, an address such as ftp://…, a name with NUL,
    and the home of nobody.

    >>> expanded("~/notes") == Path.home() / "notes", expanded("a~b").as_posix()
    (True, 'a~b')
    """
    text = os.fspath(path)
    if not text.strip():
        raise RagkitError(f"The path is {text!r}; expected that of a file or a folder (. is the current one).")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):
        raise RagkitError(f"{shown(text)!r} is an address; expected a file or a folder on this machine.")
    if "\0" in text:
        raise RagkitError(f"{given(text)} is no path: a name cannot hold NUL.")
    found = os.path.expanduser(text)
    if found.startswith("~"):
        user = re.split(r"[/\\\\]", found)[0]
        raise RagkitError(
            f"{given(text)}: there is no home of {user[1:]!r} here; write ./{user} for a file of that name."
        )
    return Path(found)


def write_text(path: str | Path, text: str) -> Path:
    """Write a text as UTF-8 with its line ends as they are, whole or not at all; return the path.

    What is no file but takes characters as they come, such as /dev/stdout or a pipe, is written to. Raises RagkitError
    as `whole` does.
    """
    path = expanded(path)
    if _takes_characters(path):
        with (
            saying(f"{path} cannot be written to", "choose another place"),
            open(path, "wb", opener=_unwaiting) as file,
        ):
            file.write(text.encode("utf8"))
    else:
        with whole(path) as stage:
            stage.write_bytes(text.encode("utf8"))
    return path


def _takes_characters(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def _unwaiting(path: str, flags: int) -> int:
    """Open a file, but do not wait for somebody who reads from a pipe."""
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if sys.platform != "win32":  # where there is no O_NONBLOCK, either
        os.set_blocking(handle, True)
    return handle


@contextmanager
def saying(what: str, advice: str) -> Iterator[None]:
    """Turn the system's own errors into a RagkitError that says what failed, why, and what to do."""
    try:
        yield
    except (OSError, UnicodeEncodeError) as error:
        raise RagkitError(f"{what} ({reason(error, advise=False)}); {advice}.") from error


def new_mode() -> int:
    """Return the mode that a new file gets here, by the umask."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def sha256(path: str | Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def largest_unpacked(path: str | Path) -> int:
    """Return how many bytes a packed file may become here: 100 times its own, or 500 MB if that is more.

    Texts pack to a quarter, lists of numbers to a tenth; what becomes more was made to fill a disk or a memory.
    """
    return max(500_000_000, 100 * os.stat(path).st_size)


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
        if len(digest) != 64 or not name or not name.isprintable():
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


def fault(folder: str | Path, name: str, expected: str | None) -> str:
    """Return what is the matter with a file by the SHA-256 (hex) that checksums have for it; "" if nothing.

    That is "not in SHA256SUMS" where they have none (None), "missing", or "damaged". Raises RagkitError as `inside`.
    """
    path = inside(folder, name)
    if expected is None:
        return f"not in {SUMS}"
    if not os.path.isfile(path):  # no error for a name that no disk could hold
        return "missing"
    return "" if sha256(path) == expected else "damaged"


def damaged(folder: str | Path, part: str = "") -> list[str]:
    """Return a line for each file that the folder's checksums list and that is missing or differs; [] if intact.

    part: how the paths begin that are looked at, such as "wheels/". Raises RagkitError if there is no such folder, or
    no checksum file in it.
    """
    sums = read_sums(folder)
    if not sums:
        raise RagkitError(f"{folder}: no {SUMS} in it. Fill it with: python -m ragkit prefetch --to {folder}")
    faults = {name: fault(folder, name, expected) for name, expected in sums.items() if name.startswith(part)}
    return [f"{name}: {why}" for name, why in faults.items() if why]
