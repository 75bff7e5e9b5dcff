"""A content-addressed store of embeddings: one SQLite file a namespace, one row a text.

SQLite gives what such a store needs and is easy to get wrong: a batch is there wholly or not at
all, two kernels may write at once, and an interrupted run resumes at the last batch. It does not
notice bytes that a disk gives back other than they were; a checksum in each row does.
"""

import hashlib
import math
import os
import re
import sqlite3
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ragkit.errors import RagkitError
from ragkit.files import saying, whole

_SCHEMA = """CREATE TABLE IF NOT EXISTS arrays
             (key BLOB PRIMARY KEY, shape TEXT NOT NULL, data BLOB NOT NULL, checksum INTEGER)"""
# The kit's statements are right, so SQLite's complaint about one is about the file.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT)

Result = TypeVar("Result")

_told: set[Path] = set()  # files whose damage was told

# Python cannot decode what SQLite says of a file whose own statements are damaged.
_ERRORS = (sqlite3.Error, UnicodeDecodeError)

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


def key_of(text: str) -> bytes:
    """Return the key of a text: its SHA-256 digest (32 bytes).

    >>> len(key_of("a film"))
    32
    """
    return hashlib.sha256(text.encode("utf8", "surrogatepass")).digest()


def _mark(path: Path) -> int:
    """Return what a file's header has of its name, from 1 to 2³¹ − 1: another's file in its place would have the texts.

    SQLite calls it user_version; 0 is a file from before there were marks.
    """
    return zlib.crc32(path.name.encode()) % (2**31 - 1) + 1


class _Row(NamedTuple):
    """One row as it was found, of any types; checked: whether the rows of its file have checksums."""

    checked: bool
    key: Any
    shape: Any
    data: Any
    checksum: Any = None

    def array(self) -> np.ndarray | None:
        """Return the array, or None if the row is damaged; without checksums, that is if it cannot be an embedding."""
        if (
            not isinstance(self.key, bytes)
            or not isinstance(self.data, bytes)
            or (dims := _dims(self.shape, len(self.data))) is None
        ):
            return None
        array = np.frombuffer(self.data, np.float32).reshape(dims)
        sound = (
            self.checksum == _checksum(self.key, self.shape, self.data) if self.checked else np.isfinite(array).all()
        )
        return array if sound else None

    def values(self) -> tuple[bytes, str, bytes, int]:
        """Return the values to store, with the checksum of what was found."""
        return self.key, self.shape.decode("ascii"), self.data, _checksum(self.key, self.shape, self.data)


class EmbeddingCache:
    """Float32 arrays by text, in one SQLite file, which is made when something is first stored.

    A damaged row is as good as absent, and a file with damaged pages is written anew with the rows that are sound;
    either is told by a warning, once a file. A file from before there were checksums gets them when it is opened, or
    is read as it is if it cannot be written to. Raises RagkitError for a file that cannot be used: why, what to do.

    >>> import tempfile
    >>> store = EmbeddingCache(Path(tempfile.mkdtemp()) / "x.sqlite")
    >>> store.put(["a"], [np.ones((2, 3), np.float32)])
    >>> [None if array is None else array.shape for array in store.get(["a", "b"])]
    [(2, 3), None]
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        if self._read(lambda db: _columns(db) == 3):
            with suppress(RagkitError):  # it is read as it is
                self._write(_add_checksums)

    def get(self, texts: Sequence[str]) -> list[np.ndarray | None]:
        """Return the array of each text, in order; None where there is none, or a damaged one."""
        rows = self._read(lambda db: list(_rows(db, texts))) or [None] * len(texts)
        arrays = [row and row.array() for row in rows]
        self._tell_damaged(rows, arrays)
        return arrays

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Return the texts that have no array here, each once; see `shapes` for what is noticed."""
        texts = list(dict.fromkeys(texts))
        return [text for text, shape in zip(texts, self.shapes(texts), strict=True) if shape is None]

    def shapes(self, texts: Sequence[str]) -> list[tuple[int, ...] | None]:
        """Return the shape of each text's array, in order; None where there is none, or one of another length.

        Arrays are not read, so other damage to them is not noticed.
        """

        def read(db: sqlite3.Connection) -> list[tuple[object, object] | None]:
            query = "SELECT shape, length(data) FROM arrays WHERE key = ?"  # a blob's length is known unread
            columns = _columns(db)
            return [db.execute(query, (key_of(text),)).fetchone() if columns else None for text in texts]

        rows = self._read(read) or [None] * len(texts)
        shapes = [row and _dims(*row) for row in rows]
        self._tell_damaged(rows, shapes)
        return shapes

    def put(self, texts: Sequence[str], arrays: Iterable[np.ndarray]) -> None:
        """Store one array (any shape, kept as float32) for each text, all of them or none."""
        rows = []
        for text, array in zip(texts, arrays, strict=True):
            shape = ",".join(map(str, array.shape)).encode("ascii")
            rows.append(_Row(True, key_of(text), shape, np.ascontiguousarray(array, np.float32).tobytes()))
        self._write(lambda db: _insert(db, rows))

    def copy_from(self, path: Path, texts: Sequence[str]) -> None:
        """Store the arrays that another such file holds of these texts; that file is only read.

        Damaged rows of it are left out, and told as one's own are. Raises RagkitError if it cannot be read.
        """

        def sound() -> Iterator[_Row]:
            damaged = 0
            try:
                with closing(_connect(path, "ro")) as source:
                    _check_mark(source, path)
                    for row in _rows(source, texts):
                        if row is not None and row.array() is not None:
                            yield row
                        damaged += row is not None and row.array() is None
            except _ERRORS as error:
                raise RagkitError(
                    f"The embeddings in {path} cannot be read ({error}). Make that file or copy it again, or remove it."
                ) from error
            _tell_damaged(path, damaged)

        self._write(lambda db: _insert(db, sound()))

    def _read(self, work: Callable[[sqlite3.Connection], Result]) -> Result | None:
        """Return `work(connection)`, or None if there is no file yet."""

        def read() -> Result:
            with _reading(self.path) as db:
                return work(db)

        return self._repairing(read) if os.path.exists(self.path) else None

    def _write(self, work: Callable[[sqlite3.Connection], None]) -> None:
        self._repairing(lambda: _transaction(self.path, work))

    def _repairing(self, work: Callable[[], Result]) -> Result:
        """Return `work()`, called again on a new file if the old one is damaged."""
        try:
            try:
                return work()
            except _ERRORS as error:
                if _cause(error) not in _DAMAGED:
                    raise
                self._rebuild(error)
                return work()
        except _ERRORS as error:
            raise _unusable(f"The embedding cache {self.path}", error) from error

    def _tell_damaged(self, rows: Sequence[object | None], read: Sequence[object | None]) -> None:
        _tell_damaged(self.path, sum(a is not None and b is None for a, b in zip(rows, read, strict=True)))

    def _rebuild(self, error: Exception) -> None:
        """Write the file anew, with the rows that can be read and are sound."""
        try:
            with whole(self.path) as stage:
                _transaction(stage, lambda db: _insert(db, _readable(self.path)), self.path)
                query = "SELECT count(*) FROM arrays"
                kept = _transaction(stage, lambda db: db.execute(query).fetchone()[0], self.path)
        except (RagkitError, *_ERRORS) as reason:
            raise RagkitError(
                f"The embedding cache {self.path} is damaged ({error}), and cannot be written anew ({reason}). "
                "Set RAGKIT_CACHE to a folder that can be written to."
            ) from error
        _tell(self.path, f"is damaged ({error}): {kept} rows are kept, the others are computed again when needed")


def _columns(db: sqlite3.Connection) -> int:
    """Return how many columns the table has: 4, 3 if it is from before there were checksums, 0 if there is none."""
    return len(db.execute("PRAGMA table_info(arrays)").fetchall())


def _rows(db: sqlite3.Connection, texts: Sequence[str]) -> Iterator[_Row | None]:
    checked = (columns := _columns(db)) > 3
    query = f"SELECT shape, data, {'checksum' if checked else 'NULL'} FROM arrays WHERE key = ?"
    for key in map(key_of, texts):
        row = db.execute(query, (key,)).fetchone() if columns else None
        yield row and _Row(checked, key, *row)


def _readable(path: Path) -> Iterator[_Row]:
    """Yield the sound rows of a damaged file, from both ends up to the damage; some of them twice."""
    with closing(_connect(path, "rw")) as db:
        with suppress(*_ERRORS):
            if _foreign(db, path):
                return
        db.execute("PRAGMA writable_schema = ON")  # else nothing is read of a file that was cut
        for order in ("", "DESC"):
            try:
                for row in db.execute(f"SELECT * FROM arrays ORDER BY rowid {order}"):
                    found = _Row(len(row) > 3, *row[:4])
                    if found.array() is not None:
                        yield found
                return
            except _ERRORS:
                pass


def _insert(db: sqlite3.Connection, rows: Iterable[_Row]) -> None:
    db.execute(_SCHEMA)
    db.executemany("INSERT OR REPLACE INTO arrays VALUES (?, ?, ?, ?)", (row.values() for row in rows))


def _add_checksums(db: sqlite3.Connection) -> None:
    """Give each row of a file from before there were checksums one; NULL, which is wrong, if it is damaged."""

    def checksum(*values: Any) -> int | None:
        row = _Row(False, *values)
        return None if row.array() is None else row.values()[3]

    if _columns(db) == 3:  # another process may have been here
        db.create_function("checksum_of", 3, checksum)
        db.execute("ALTER TABLE arrays ADD COLUMN checksum INTEGER")
        db.execute("UPDATE arrays SET checksum = checksum_of(key, CAST(shape AS BLOB), data)")


def _checksum(key: bytes, shape: bytes, data: bytes) -> int:
    """Return a CRC-32: it finds what a disk or a cable does to bytes, and costs a tenth of reading them."""
    return zlib.crc32(data, zlib.crc32(key + b" " + shape))


def _dims(shape: object, size: object) -> tuple[int, ...] | None:
    """Return the shape that a row states, or None if it is no shape of so many bytes of float32."""
    if not isinstance(shape, bytes) or not re.fullmatch(rb"[0-9]{1,9}(,[0-9]{1,9}){0,7}", shape):
        return None
    dims = tuple(int(number) for number in shape.split(b","))
    return dims if 4 * math.prod(dims) == size else None


def _tell_damaged(path: Path, rows: int) -> None:
    if rows:
        _tell(path, f"has damaged rows ({rows} of those just read): they are not used, but computed again")


def _tell(path: Path, what: str) -> None:
    if path not in _told:
        _told.add(path)
        warnings.warn(f"The embedding cache {path} {what}.", stacklevel=2)


def _connect(path: Path, mode: str = "rwc") -> sqlite3.Connection:
    """Return a connection that begins no transaction by itself and gives text as bytes, which may be damaged.

    mode: "ro", "rw" (read only where writing is not permitted) or "rwc" (made if it is not there).
    """
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, timeout=_WAIT_FOR_WRITER_S, isolation_level=None)
    db.text_factory = bytes
    return db


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a file that is there; what is read is of one moment."""
    db = _connect(path, "rw")
    try:
        db.execute("BEGIN")
        _check_mark(db, path)
        yield db
    finally:
        db.close()


def _transaction(path: Path, work: Callable[[sqlite3.Connection], Result], name: Path | None = None) -> Result:
    """Return `work(connection)`, done in one transaction: all of it is stored, or nothing; name: what path will be."""
    with saying(f"The folder of {path} cannot be made", "set RAGKIT_CACHE to a folder that can be written to"):
        path.parent.mkdir(parents=True, exist_ok=True)
    db = _connect(path)
    try:
        db.execute("BEGIN IMMEDIATE")  # at once, so that two writers wait for each other
        _check_mark(db, name or path)
        result = work(db)
        db.execute(f"PRAGMA user_version = {_mark(name or path)}")
        db.execute("COMMIT")
        return result
    finally:
        db.close()  # rolls back what is not committed


def _foreign(db: sqlite3.Connection, path: Path) -> bool:
    return db.execute("PRAGMA user_version").fetchone()[0] not in (0, _mark(path))


def _check_mark(db: sqlite3.Connection, path: Path) -> None:
    """Raise one of _ERRORS if a file was written under another name: it holds what another model or role made."""
    if _foreign(db, path):
        error = sqlite3.DatabaseError("it holds the arrays of another file")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _cause(error: Exception) -> int:
    """Return SQLite's code for one of _ERRORS, such as sqlite3.SQLITE_FULL; 0 if it has none."""
    if isinstance(error, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _unusable(what: str, error: Exception) -> RagkitError:
    """Return the error to raise: what cannot be used, why, and what to do about that."""
    return RagkitError(f"{what} cannot be used ({error}). {_ADVICE.get(_cause(error), _OTHERWISE)}")
