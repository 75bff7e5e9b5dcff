"""What every engine's index does alike: checks, batches, the order of results."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ragkit.errors import RagkitError
from ragkit.progress import progress

Hits = list[tuple[str, float]]

# A multivector may hold this many floats a point (Qdrant refuses more).
MAX_FLOATS_PER_POINT = 1_048_576
# A request of a server may have 32 MiB, and a float32 takes up to 20 bytes as JSON, so batches are
# cut by floats and not by points.
FLOATS_PER_BATCH = 1_000_000


@dataclass(frozen=True)
class VectorSpec:
    """What one named vector of an index is: its width, and whether it is a multivector or sparse (width 0)."""

    dim: int
    multivector: bool = False
    sparse: bool = False


@dataclass(frozen=True)
class Sparse:
    """A sparse vector: uint32 indices, each once, and their float32 values."""

    indices: np.ndarray
    values: np.ndarray

    @property
    def size(self) -> int:
        return self.values.size

    @property
    def nbytes(self) -> int:
        return self.indices.nbytes + self.values.nbytes


Vector = np.ndarray | Sparse


@dataclass(frozen=True)
class Prefetch:
    """A first stage: `depth` candidates by `vector` under the name `using`."""

    vector: Vector
    using: str
    depth: int


@dataclass(frozen=True)
class Fusion:
    """Several first stages made one: "rrf" (reciprocal ranks, with k) or "dbsf" (scores by their spread).

    Qdrant's own k is 2; the paper's is 60 (Cormack, Clarke and Büttcher, SIGIR 2009).
    """

    prefetches: tuple[Prefetch, ...]
    method: str = "rrf"
    k: int = 2


class Index(ABC):
    """Documents with named vectors in a Qdrant engine, searched exactly (no HNSW graph).

    `engine` says in words which engine answers; `measurable` whether its speed and size are those
    of Qdrant (local mode's are not).
    """

    engine: str
    measurable = True

    def __init__(self, vectors: dict[str, VectorSpec]):
        self.vectors = dict(vectors)
        self.doc_ids: list[str] = []

    def add(self, doc_ids: Sequence[str], vectors: dict[str, Sequence[Vector]]) -> None:
        """Store one vector of every name for each document; point ids are positions, from 0.

        Raises RagkitError, before anything is written, if a name, a count or a shape is not the
        one that the index was made for, or a document has too many rows for Qdrant.
        """
        doc_ids = list(doc_ids)
        self._check(doc_ids, vectors)
        start, offset = 0, len(self.doc_ids)
        with progress(len(doc_ids), "indexing", "doc") as bar:
            while start < len(doc_ids):
                stop, floats = start, 0
                while stop < len(doc_ids) and (stop == start or floats < FLOATS_PER_BATCH):
                    floats += sum(arrays[stop].size for arrays in vectors.values())
                    stop += 1
                if floats > FLOATS_PER_BATCH and stop > start + 1:
                    stop -= 1  # the last one would have gone over
                batch = [{name: arrays[i] for name, arrays in vectors.items()} for i in range(start, stop)]
                self._upsert(list(range(offset + start, offset + stop)), batch, doc_ids[start:stop])
                bar.update(stop - start)
                start = stop
        self.doc_ids += doc_ids
        self._flush()

    def search(self, vector: Vector, using: str, limit: int, prefetch: Sequence[Prefetch] = ()) -> Hits:
        """Return the `limit` best (doc_id, score), best first, ties by doc_id.

        vector: (dim,), (rows, dim) or Sparse, compared with the documents' vectors named `using`: the
        cosine, the MaxSim of cosines, or the product with IDF weights. With `prefetch`, only the
        candidates of those first stages are scored.
        """
        self._know(using, *(stage.using for stage in prefetch))
        return self._hits(self._query(vector, using, limit, prefetch))

    def fuse(self, fusion: Fusion, limit: int) -> Hits:
        """Return the `limit` best (doc_id, fused score), best first, ties by doc_id.

        Reciprocal ranks are often equal, and Qdrant cuts a tie as it comes: so all are asked for, and cut here.
        """
        self._know(*(stage.using for stage in fusion.prefetches))
        return self._hits(self._query_fused(fusion, sum(stage.depth for stage in fusion.prefetches)))[:limit]

    def _know(self, *names: str) -> None:
        for name in names:
            if name not in self.vectors:
                raise RagkitError(f"The index has no vectors {name!r}; it has {', '.join(self.vectors)}.")

    def _hits(self, points: list[tuple[int, float]]) -> Hits:
        return sorted(((self.doc_ids[p], score) for p, score in points), key=lambda hit: (-hit[1], hit[0]))

    def _check(self, doc_ids: list[str], vectors: dict[str, Sequence[Vector]]) -> None:
        if set(vectors) != set(self.vectors):
            raise RagkitError(f"Got vectors {sorted(vectors)}; this index was made for {sorted(self.vectors)}.")
        if len(set(doc_ids) | set(self.doc_ids)) != len(doc_ids) + len(self.doc_ids):
            raise RagkitError("A document id is given twice, or is in the index already; ids must be unique.")
        for name, arrays in vectors.items():
            if len(arrays) != len(doc_ids):
                raise RagkitError(f"Got {len(arrays)} {name} vectors for {len(doc_ids)} documents.")
            spec = self.vectors[name]
            for doc_id, array in zip(doc_ids, arrays, strict=True):
                if spec.sparse:
                    continue  # any set of indices, none for an empty document
                if array.ndim != 1 + spec.multivector or array.shape[-1] != spec.dim or not array.size:
                    expected = f"(rows, {spec.dim})" if spec.multivector else f"({spec.dim},)"
                    raise RagkitError(f"Document {doc_id!r}: {name} has shape {array.shape}, expected {expected}.")
                if array.size > MAX_FLOATS_PER_POINT:
                    raise RagkitError(
                        f"Document {doc_id!r}: {name} has {array.size:,} floats; Qdrant stores at most "
                        f"{MAX_FLOATS_PER_POINT:,} a point. Split the document."
                    )

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _upsert(self, points: list[int], batch: list[dict[str, Vector]], doc_ids: list[str]) -> None: ...

    @abstractmethod
    def _query(
        self, vector: Vector, using: str, limit: int, prefetch: Sequence[Prefetch]
    ) -> list[tuple[int, float]]: ...

    @abstractmethod
    def _query_fused(self, fusion: Fusion, limit: int) -> list[tuple[int, float]]: ...

    @abstractmethod
    def _flush(self) -> None: ...

    @abstractmethod
    def bytes_on_disk(self) -> int | None:
        """Return what the index takes on disk in bytes, or None where the engine does not tell."""

    @abstractmethod
    def close(self) -> None:
        """Release the engine; what is in a folder or on a server stays."""
