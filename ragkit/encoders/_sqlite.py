"""One SQLite file, read without being made and written a transaction at a time; its errors, told by their cause."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ragkit.errors import RagkitError
from ragkit.files import saying

Result = TypeVar("Result")

# Python cannot decode what SQLite says of a file whose own statements are damaged.
Errors = (sqlite3.Error, UnicodeDecodeError)

_WAIT_FOR_WRITER_S = 120
_KEPT = "what is stored there is kept"
_BUSY = f"Another process is writing to it: wait for that one or stop it, then run this again; {_KEPT}."
# What is the matter, by SQLite's code, and what to do. To delete the file is right in the first case alone.
_ADVICE = {
    sqlite3.SQLITE_NOTADB: "Delete that file: it is no database, and what it should hold will be computed again.",
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_FULL: f"Make room on its disk, or set RAGKIT_CACHE to a folder on another; {_KEPT}.",
    sqlite3.SQLITE_READONLY: "It lacks something that is needed, and may not be written to: permit that, or set "
    f"RAGKIT_CACHE to a folder that can be written to; {_KEPT}.",
}
_OTHERWISE = (
    "Is its disk full, failing or unplugged, or may it and its folder not be written to? If that cannot be changed, "
    f"set RAGKIT_CACHE to another folder; {_KEPT}."
)


def connect(path: Path, mode: str = "rwc") -> sqlite3.Connection:
    """Return a connection that begins no transaction by itself and gives text as bytes, which may be damaged.

    mode: "ro", "rw" (read only where writing is not permitted) or "rwc" (made if it is not there).
    """
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, timeout=_WAIT_FOR_WRITER_S, isolation_level=None)
    db.text_factory = bytes
    return db


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a file that is there; what is read is of one moment."""
    db = connect(path, "rw")
    try:
        db.execute("BEGIN")
        yield db
    finally:
        db.close()


def write(path: Path, work: Callable[[sqlite3.Connection], Result]) -> Result:
    """Return `work(connection)`, done in one transaction: all of it is stored, or nothing."""
    with saying(f"The folder of {path} cannot be made", "set RAGKIT_CACHE to a folder that can be written to"):
        path.parent.mkdir(parents=True, exist_ok=True)
    db = connect(path)
    try:
        db.execute("BEGIN IMMEDIATE")  # at once, so that two writers wait for each other
        result = work(db)
        db.execute("COMMIT")
        return result
    finally:
        db.close()  # rolls back what is not committed


def cause(error: Exception) -> int:
    """Return SQLite's code for one of Errors, such as sqlite3.SQLITE_FULL; 0 if it has none."""
    if isinstance(error, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def told(what: str, error: Exception) -> RagkitError:
    """Return the error to raise: what cannot be used, why, and what to do about that."""
    return RagkitError(f"{what} cannot be used ({error}). {_ADVICE.get(cause(error), _OTHERWISE)}")
