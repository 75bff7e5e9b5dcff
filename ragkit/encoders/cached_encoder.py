"""What every encoder with a cache does alike: compute what is missing, then read it back in order."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ragkit.boundary import public
from ragkit.datasets.contents import checked_text
from ragkit.encoders.embedding_cache import EmbeddingCache
from ragkit.errors import RagkitError, shorten
from ragkit.paths import cache_dir, in_mirror
from ragkit.progress import progress

Role = Literal["document", "query"]
# Texts whose vectors are read from the cache at a time.
_CHUNK = 64


class TextEncoder(ABC):
    """What makes vectors of texts, and what stands for it where vectors are kept."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 (hex) over all that decides the vectors."""

    @property
    @abstractmethod
    def checksums(self) -> dict[str, str]:
        """SHA-256 (hex) of the model's files, by name."""


class CachedEncoder(TextEncoder):
    """Texts to float32 arrays, kept on disk by content, model and role.

    name: the model's; dim: numbers of a row; multivector: whether a text has several rows; source: the encoder
    whose arrays these are made from, if it is no model itself. None is sparse, and a document's array depends on no
    other document.
    """

    name: str
    dim: int
    multivector: bool
    sparse: Literal[False] = False
    depends_on_others = False
    cache: bool
    source: "CachedEncoder | None" = None

    def __repr__(self) -> str:
        """Say which kind of encoder of which model this is, what it makes of a text, and how long its rows are."""
        kind = "late interaction" if self.multivector else "dense"
        return f"<{type(self).__name__} {self.name}: {kind}, dim {self.dim}>"

    @property
    def provider(self) -> str:
        """What the model runs on, as a word of the cache's file names; "" for the processor."""
        return self.source.provider if self.source else ""

    @public("The documents cannot be encoded")
    def encode_documents(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return a float32 array for each text: (dim,), or (rows, dim) if a multivector.

        Texts already encoded come from the cache; the rest are stored batch by batch, so an
        interrupted call resumes where it stopped.
        """
        return self._encode(texts, "document")

    @public("The queries cannot be encoded")
    def encode_queries(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return a float32 array for each query: (dim,), or (rows, dim) if a multivector."""
        return self._encode(texts, "query")

    @public("The query cannot be encoded")
    def encode_query(self, text: str) -> np.ndarray:
        """Return one query's array, made anew whatever the cache holds: what somebody who asks waits for."""
        ((_, (array,)),) = self._compute(checked([text]), "query")
        return np.asarray(array, np.float32)

    def query_from(self, array: np.ndarray) -> np.ndarray:
        """Return a query's array, made of that of the encoder's source (or of its own, if it has none)."""
        return array

    def document_from(self, array: np.ndarray) -> np.ndarray:
        """Return a document's array, made of that of the encoder's source (or of its own, if it has none)."""
        return array

    @public("The documents cannot be encoded")
    def prepare(self, texts: Sequence[str]) -> None:
        """Encode the documents that are not in the cache yet, holding no more than a batch in memory."""
        if self.cache:
            self._fill(checked(texts), "document")

    def stream(self, texts: Sequence[str]) -> Iterator[np.ndarray]:
        """Yield what `encode_documents` returns, in order, holding a few documents in memory at a time."""
        texts = checked(texts)
        self.prepare(texts)
        for start in range(0, len(texts), _CHUNK):
            yield from self._read(texts[start : start + _CHUNK], "document")

    @public("The documents cannot be read")
    def rows(self, texts: Sequence[str]) -> tuple[list[int], list[str]]:
        """Return at most how many rows each document has, and which documents are not in the cache.

        Rows of cached documents are exact; those of others are their tokens, so that nothing is encoded.
        """
        texts = checked(texts)
        shapes = self._store("document").shapes(texts) if self.cache else [None] * len(texts)
        if self.cache and None in shapes:
            self._absent(texts, "document")  # what a mirror has is cached now
            shapes = self._store("document").shapes(texts)
        absent = list(dict.fromkeys(text for text, shape in zip(texts, shapes, strict=True) if shape is None))
        if not self.multivector:
            return [1] * len(texts), absent
        counted = dict(zip(absent, self.token_counts(absent), strict=True)) if absent else {}
        return [counted[t] if shape is None else shape[0] for t, shape in zip(texts, shapes, strict=True)], absent

    def file_name(self, role: Role) -> str:
        """Return the name of the file that the arrays of documents or of queries are stored in, in any folder."""
        parts = (self.name.replace("/", "--").replace(" ", "-"), self.fingerprint[:16], self.provider, role)
        return "-".join(part for part in parts if part) + ".sqlite"

    @public("The vectors cannot be shared")
    def share(self, folder: Path, texts: Sequence[str], role: Role) -> Path:
        """Store the arrays of these texts in a file of that folder too, and return the file."""
        texts = checked(texts)
        self._fill(texts, role)
        store = self._store(role)
        shared = EmbeddingCache(folder / store.path.name)
        shared.copy_from(store.path, shared.missing(texts))
        if damaged := shared.missing(texts):
            self._read(damaged, role)
            shared.copy_from(store.path, damaged)
        return shared.path

    def _encode(self, texts: Sequence[str], role: Role) -> list[np.ndarray]:
        texts = checked(texts)
        if not self.cache:
            made = dict(self._made(texts, role))
            return [made[text] for text in texts]
        self._fill(texts, role)
        return self._read(texts, role)

    def _read(self, texts: list[str], role: Role) -> list[np.ndarray]:
        if not self.cache:
            return self._encode(texts, role)
        store = self._store(role)
        found = dict(zip(texts, store.get(texts), strict=True))
        arrays = {text: array for text, array in found.items() if array is not None}
        if damaged := [text for text in found if text not in arrays]:
            arrays |= self._made(damaged, role, store)
        return [arrays[text] for text in texts]

    def _fill(self, texts: list[str], role: Role) -> None:
        for _ in self._made(self._absent(texts, role), role, self._store(role)):
            pass

    def _absent(self, texts: list[str], role: Role) -> list[str]:
        """Return the texts that are to be encoded: those that a mirror folder holds are copied to the cache."""
        store = self._store(role)
        absent = store.missing(texts)
        shared = in_mirror(f"embeddings/{store.path.name}") if absent else None
        if shared is not None:
            store.copy_from(shared, absent)
            absent = store.missing(absent)
        return absent

    def _made(
        self, texts: list[str], role: Role, store: EmbeddingCache | None = None
    ) -> Iterator[tuple[str, np.ndarray]]:
        texts = list(dict.fromkeys(texts))
        title = f"{self.name.split('/')[-1]}: encoding {'documents' if role == 'document' else 'queries'}"
        with progress(len(texts), title, "text") as bar:
            for batch, arrays in self._compute(texts, role):
                arrays = [np.asarray(array, np.float32) for array in arrays]
                for text, array in zip(batch, arrays, strict=True):
                    if not np.isfinite(array).all():
                        raise RagkitError(
                            f"{self.name} gave numbers that are not finite for {shorten(text, 60)!r}; nothing can be "
                            "compared with them. Leave that text out, or choose another model."
                        )
                if store:
                    store.put(batch, arrays)
                yield from zip(batch, arrays, strict=True)
                bar.update(len(batch))

    def _store(self, role: Role) -> EmbeddingCache:
        return EmbeddingCache(cache_dir() / "embeddings" / self.file_name(role))

    @abstractmethod
    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Return at most how many rows a multivector of each text has; quickly, without encoding it."""

    @abstractmethod
    def _compute(self, texts: list[str], role: Role) -> Iterator[tuple[list[str], list[np.ndarray]]]:
        """Yield batches of the texts, in any order, with their arrays."""


def checked(texts: Sequence[str]) -> list[str]:
    """Return the texts as a list; RagkitError for one string, something that is no string, or half a character."""
    if isinstance(texts, str):
        raise RagkitError("Expected a list of texts, got one string; pass [text].")
    texts = list(texts)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise RagkitError(f"Text {i} is {type(text).__name__}, expected str; convert or drop it first.")
        checked_text(text, f"Text {i}")
    return texts
