"""The folder of an Edge index: whose it is, who uses it, and what may be deleted in it: only what was made here."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ragkit.errors import RagkitError
from ragkit.files import saying, sweep_beside, write_text

# ragkit's own names. The note says what an index was made for; the mark, that the folder need not outlive its user.
NOTE, LOCK, MARK = "ragkit.json", "ragkit.lock", "ragkit.temporary"

_ASIDE = "ragkit.aside"  # segments that are taken away for a moment
# What Edge 0.9 and ragkit make in a folder, by its path in there; folders end with a slash.
_MADE = re.compile(
    r"""
    ragkit\.(json|lock|temporary) | \.ragkit\.json-\w{8}\.ragkit/(ragkit\.json|lock)? | edge_config\.json
    | \.atomicwrite\w{6}/(tmpfile\.tmp)?
    | segments/ | temp_segments/ | ragkit\.aside/
    | ( (segments|ragkit\.aside)/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\w{6}\.deleted)?/
      | temp_segments/segment_builder_\w{6}/ )
      ( [^/]+/ )* ( [^/]+\.(bin|dat|data|deleted|e2i|i2e|info|json|mappings|mmap|tmp|versions) )?
    """,
    re.VERBOSE,
)


def usable(folder: Path) -> None:
    """Raise RagkitError, with nothing touched, if a folder is a file or holds no index and yet something."""
    with saying(f"The folder {folder} cannot be used", "choose another"):
        if folder.exists() and not folder.is_dir():
            raise RagkitError(f"{folder} is a file; expected a folder for the index. Choose another name.")
        if not folder.is_dir() or not any(folder.iterdir()):
            return
        if read_note(folder) is None and not (folder / LOCK).is_file():
            raise RagkitError(f"The folder {folder} is not empty and holds no index of ragkit; choose another.")


def locked(folder: Path) -> FileLock:
    """Make the folder if it is not there, and return a lock on it, which the system takes from a process that dies.

    Raises RagkitError if another has it, here or in another process, and if it cannot be made or written to.
    """
    with saying(f"The folder {folder} cannot be written to", "choose another"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise RagkitError(
                f"The index in {folder} is open elsewhere, in another process or notebook kernel or in this one. "
                "An Edge folder has one user at a time: close the other (index.close(), or shut its kernel down), "
                "or choose another folder."
            ) from error
        sweep_beside(folder / NOTE)
    return lock


def read_note(folder: Path) -> dict | None:
    """Return what the index in a folder was made for, as `write_note` was given it, or None without a note.

    Raises RagkitError for one that is empty or torn.
    """
    path = folder / NOTE
    if not path.exists():
        return None
    with saying(f"{path} cannot be read", "delete the folder to build its index anew, or choose another"):
        text = path.read_bytes()
    try:
        note = json.loads(text)
    except (ValueError, RecursionError):
        note = None
    vectors = note.get("vectors") if isinstance(note, dict) else None
    if not isinstance(vectors, dict) or not all(isinstance(v, dict) for v in vectors.values()) or "content" not in note:
        raise RagkitError(
            f"{path} is empty or torn: it does not tell what the index in {folder} was made for. Put it back from a "
            "copy, delete the folder to build its index anew, or choose another."
        )
    return note


def write_note(folder: Path, note: dict) -> None:
    """Write the note, whole or not at all."""
    write_text(folder / NOTE, json.dumps(note))


def tidy(folder: Path) -> None:
    """Delete the segments that Edge was making when it was killed, which it makes anew; put back what is set aside.

    Only whoever holds the folder's lock may.
    """
    if (folder / _ASIDE).is_dir():
        for path in (folder / _ASIDE).iterdir():
            path.rename(folder / "segments" / path.name)
        (folder / _ASIDE).rmdir()
    for path in (folder / "temp_segments").glob("*"):
        shutil.rmtree(path, ignore_errors=True)


def open_segments(folder: Path) -> list[Path]:
    """Return the segments that take new points."""
    return sorted(path.parent for path in folder.glob("segments/*/mutable_id_tracker.mappings"))


@contextmanager
def aside(segment: Path) -> Iterator[Callable[[], None]]:
    """Take a closed index's segment away for the block; yield what deletes it for good, else it comes back.

    Killed at any time, it is there or gone, but for `tidy`.
    """
    folder = segment.parent.parent
    (folder / _ASIDE).mkdir(exist_ok=True)
    place = folder / _ASIDE / segment.name
    segment.rename(place)

    def delete() -> None:
        (folder / "temp_segments").mkdir(exist_ok=True)
        place.rename(folder / "temp_segments" / "segment_builder_ragkit")

    try:
        yield delete
    finally:
        tidy(folder)


def clear(folder: Path) -> None:
    """Delete what is left of an index whose making was interrupted before it had a note.

    Raises RagkitError, with nothing deleted, if there is anything else, or if the index has documents.
    """
    with saying(f"The folder {folder} cannot be cleared", "choose another"):
        others = foreign(folder)
        if others:
            raise RagkitError(
                f"The folder {folder} holds {', '.join(others[:3])}{', …' * (len(others) > 3)}, which ragkit did not "
                f"make, beside an unfinished index. Nothing was deleted: choose another folder, or move that away."
            )
        if any(folder.glob("segments/*/*id_tracker.*")):
            raise RagkitError(
                f"The folder {folder} holds documents, and no {NOTE} tells what they are. Nothing was deleted: put the "
                "note back from a copy, delete the folder to build its index anew, or choose another."
            )
        _empty(folder)


def sweep(parent: Path) -> None:
    """Delete the temporary indexes in a folder that killed processes left; one in use, and all else, stays.

    Its caller holds the lock of that folder, as whoever makes one there does.
    """
    for folder in parent.iterdir():
        with suppress(RagkitError, OSError):  # in use, another's, or a file
            if folder.is_symlink() or not _left(folder):
                continue
            lock = locked(folder)
            try:
                if not _left(folder) or foreign(folder):
                    continue
                _empty(folder)
            finally:
                lock.release()
            shutil.rmtree(folder)


def remove(folder: Path) -> None:
    """Delete a temporary index, so that whenever this is interrupted a sweep finds what is left of it."""
    try:
        with suppress(OSError):
            _empty(folder)
        shutil.rmtree(folder, ignore_errors=True)
    except BaseException:  # a signal; the next one waits until this is over
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _left(folder: Path) -> bool:
    """Return whether a folder is marked as a temporary index, or holds no more than the beginning of one."""
    names = set(os.listdir(folder))
    return MARK in names or (names <= {LOCK} and re.search(r"-[a-z0-9_]{8}$", folder.name) is not None)


def foreign(folder: Path) -> list[str]:
    """Return the paths in a folder, with slashes, that neither Edge nor ragkit makes there; they make no links."""

    def fail(error: OSError) -> None:
        raise error

    found = []
    for root, folders, files in os.walk(folder, onerror=fail):
        for name in [*(f"{name}/" for name in folders), *files]:
            path = Path(root, name)
            inside = path.relative_to(folder).as_posix() + "/" * name.endswith("/")
            if path.is_symlink() or not _MADE.fullmatch(inside):
                found.append(inside)
    return sorted(found)


def _empty(folder: Path) -> None:
    """Delete all in a folder but its lock and its mark, which a sweep needs until the end."""
    for path in folder.iterdir():
        if path.name not in (LOCK, MARK):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
