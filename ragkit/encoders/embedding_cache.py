"""A content-addressed store of embeddings: one SQLite file a namespace, one row a text.

SQLite gives what such a store needs and is easy to get wrong: a batch is there wholly or not at
all, two kernels may write at once, and an interrupted run resumes at the last batch.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ragkit.errors import RagkitError

_SCHEMA = "CREATE TABLE IF NOT EXISTS arrays (key BLOB PRIMARY KEY, shape TEXT NOT NULL, data BLOB NOT NULL)"
_WAIT_FOR_WRITER_S = 120


def key_of(text: str) -> bytes:
    """Return the key of a text: its SHA-256 digest (32 bytes).

    >>> len(key_of("a film"))
    32
    """
    return hashlib.sha256(text.encode("utf8", "surrogatepass")).digest()


class EmbeddingCache:
    """Float32 arrays by text, in one SQLite file.

    >>> import tempfile
    >>> store = EmbeddingCache(Path(tempfile.mkdtemp()) / "x.sqlite")
    >>> store.put(["a"], [np.ones((2, 3), np.float32)])
    >>> [None if array is None else array.shape for array in store.get(["a", "b"])]
    [(2, 3), None]
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._run(lambda db: db.execute(_SCHEMA))

    def _run(self, work):
        """Call `work(connection)` in one transaction; a file that is no database is named."""
        try:
            db = sqlite3.connect(self.path, timeout=_WAIT_FOR_WRITER_S, uri=True)  # copy_from attaches by URI
            try:
                with db:
                    return work(db)
            finally:
                db.close()
        except sqlite3.DatabaseError as error:
            raise RagkitError(
                f"The embedding cache {self.path} cannot be used ({error}). Delete that file: "
                "what it held will be computed again."
            ) from error

    def get(self, texts: Sequence[str]) -> list[np.ndarray | None]:
        """Return the array of each text, in order; None where there is none (or a damaged one)."""

        def read(db):
            for text in texts:
                row = db.execute("SELECT shape, data FROM arrays WHERE key = ?", (key_of(text),)).fetchone()
                yield row and _from_bytes(*row)

        return self._run(lambda db: list(read(db)))

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Return the texts that have no array here, each once."""

        def read(db):
            known = "SELECT 1 FROM arrays WHERE key = ?"
            return [text for text in dict.fromkeys(texts) if not db.execute(known, (key_of(text),)).fetchone()]

        return self._run(read)

    def shapes(self, texts: Sequence[str]) -> list[tuple[int, ...] | None]:
        """Return the shape of each text's array, in order, without reading it; None where there is none."""

        def read(db):
            for text in texts:
                row = db.execute("SELECT shape FROM arrays WHERE key = ?", (key_of(text),)).fetchone()
                yield row and _dims(row[0])

        return self._run(lambda db: list(read(db)))

    def put(self, texts: Sequence[str], arrays: Iterable[np.ndarray]) -> None:
        """Store one array (any shape, kept as float32) for each text, all of them or none."""
        rows = [
            (key_of(text), ",".join(map(str, array.shape)), np.ascontiguousarray(array, np.float32).tobytes())
            for text, array in zip(texts, arrays, strict=True)
        ]
        self._run(lambda db: db.executemany("INSERT OR REPLACE INTO arrays VALUES (?, ?, ?)", rows))

    def copy_from(self, path: Path, texts: Sequence[str]) -> None:
        """Store the arrays that another such file holds of these texts; that file is only read."""
        keys = [(key_of(text),) for text in texts]

        def copy(db):
            try:
                db.execute("ATTACH ? AS source", (f"{path.resolve().as_uri()}?mode=ro",))
                db.executemany("INSERT OR IGNORE INTO arrays SELECT * FROM source.arrays WHERE key = ?", keys)
            except sqlite3.DatabaseError as error:
                raise RagkitError(f"The embeddings in {path} cannot be copied to {self.path} ({error}).") from error

        self._run(copy)


def _dims(shape: str) -> tuple[int, ...]:
    return tuple(int(n) for n in shape.split(","))


def _from_bytes(shape: str, data: bytes) -> np.ndarray | None:
    dims = _dims(shape)
    if len(data) != 4 * int(np.prod(dims)):
        return None
    return np.frombuffer(data, np.float32).reshape(dims)
