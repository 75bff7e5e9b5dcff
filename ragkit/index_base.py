"""What every engine's index does alike: checks, batches, the order of results."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ragkit.errors import RagkitError
from ragkit.progress import progress

Hits = list[tuple[str, float]]

# A multivector may hold this many floats a point (Qdrant refuses more).
MAX_FLOATS_PER_POINT = 1_048_576


# What the engine keeps of a number, in bits; "turbo8" is rotated and rounded, and what was uploaded is gone.
DATATYPES = {"float32": 32, "float16": 16, "turbo8": 8}
# Smaller copies beside what is kept, which a search reads first, in bits a number.
QUANTIZATIONS = {"int8": 8, "binary": 1, "turbo4": 4, "turbo2": 2, "turbo1.5": 1.5, "turbo1": 1}


@dataclass(frozen=True)
class Storage:
    """How an engine keeps one named vector, and how it finds the nearest.

    datatype: one of DATATYPES. quantization: one of QUANTIZATIONS, or None; a search finds `oversampling`
    times its limit among the small copies and scores those by what is kept (not, if `rescore` is False).
    hnsw_m: edges of a document in the graph, 0 for none: then a search compares every document.
    hnsw_ef: candidates of a search in the graph. on_disk: what is kept need not stay in memory.

    >>> Storage().exact, Storage(quantization="turbo4").exact
    (True, False)
    """

    datatype: str = "float32"
    quantization: str | None = None
    rescore: bool = True
    oversampling: float = 2.0
    hnsw_m: int = 0
    hnsw_ef: int = 128
    on_disk: bool = False

    def __post_init__(self):
        if self.datatype not in DATATYPES:
            raise RagkitError(f"Unknown datatype {self.datatype!r}; expected one of {', '.join(DATATYPES)}.")
        if self.quantization is not None and self.quantization not in QUANTIZATIONS:
            raise RagkitError(
                f"Unknown quantization {self.quantization!r}; expected one of {', '.join(QUANTIZATIONS)}."
            )

    @property
    def exact(self) -> bool:
        """Whether a search compares the query with every document by what is kept."""
        return self.quantization is None and self.hnsw_m == 0

    def bytes_per_row(self, dim: int) -> int:
        """Return the bytes that a search reads of one row of `dim` numbers: of its small copy if there is one.

        Turbo keeps the length of a row beside it (4 bytes, 8 below 8 bits), int8 an offset (4 bytes) and fills
        a row up to a multiple of 16 numbers, binary to one of 128.

        >>> [Storage(quantization=name).bytes_per_row(128) for name in (None, "int8", "turbo4", "binary")]
        [512, 132, 72, 16]
        """
        name = self.quantization or self.datatype
        bits = (QUANTIZATIONS | DATATYPES)[name]
        multiple = {"int8": 16, "binary": 128}.get(name, 1)
        filled = -(-dim // multiple) * multiple
        beside = 4 if name in ("int8", "turbo8") else 8 if name.startswith("turbo") else 0
        return math.ceil(filled * bits / 8) + beside


@dataclass(frozen=True)
class VectorSpec:
    """What one named vector of an index is: its width, whether it is a multivector or sparse (width 0), its storage."""

    dim: int
    multivector: bool = False
    sparse: bool = False
    storage: Storage = field(default=Storage())


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
    """Documents with named vectors in a Qdrant engine, searched as their Storage says (exactly unless told).

    `engine` says in words which engine answers; `measurable` whether its speed and size are those
    of Qdrant (local mode's are not); `batch_bytes` how many bytes are stored at a time.
    """

    engine: str
    measurable = True
    batch_bytes: int

    def __init__(self, vectors: dict[str, VectorSpec]):
        self.vectors = dict(vectors)
        self.doc_ids: list[str] = []

    def add(self, doc_ids: Sequence[str], vectors: dict[str, Sequence[Vector]]) -> None:
        """Store one vector of every name for each document; point ids are positions, from 0.

        Raises RagkitError, before anything is written, if a name, a count or a shape is not the
        one that the index was made for, or a document has too many rows for Qdrant.
        """
        doc_ids = list(doc_ids)
        self._check_names(vectors)
        for name, arrays in vectors.items():
            if len(arrays) != len(doc_ids):
                raise RagkitError(f"Got {len(arrays)} {name} vectors for {len(doc_ids)} documents.")
        documents = [dict(zip(vectors, row, strict=True)) for row in zip(*vectors.values(), strict=True)]
        for doc_id, document in zip(doc_ids, documents, strict=True):
            self._check(doc_id, document)
        self.stream(doc_ids, documents)

    def stream(self, doc_ids: Sequence[str], documents: Iterable[dict[str, Vector]]) -> None:
        """Store documents as they come, each a vector of every name; only a batch is in memory at a time.

        What was stored before an interruption stays: `self.doc_ids` says how far it came, also when the
        index is opened again. Raises RagkitError as `add` does, but for a bad vector only when it comes.
        """
        doc_ids = list(doc_ids)
        if len(set(doc_ids) | set(self.doc_ids)) != len(doc_ids) + len(self.doc_ids):
            raise RagkitError("A document id is given twice, or is in the index already; ids must be unique.")
        self._begin(len(self.doc_ids) + len(doc_ids))
        ids: list[str] = []
        batch: list[dict[str, Vector]] = []
        size = 0

        def send() -> None:
            nonlocal ids, batch, size
            start = len(self.doc_ids)
            self._upsert(list(range(start, start + len(ids))), batch, ids)
            self.doc_ids += ids
            bar.update(len(ids))
            ids, batch, size = [], [], 0

        with progress(len(doc_ids), "indexing", "doc") as bar:
            for doc_id, document in zip(doc_ids, documents, strict=True):
                self._check(doc_id, document)
                own = self._request_bytes(doc_id, document)
                if batch and size + own > self.batch_bytes:
                    send()
                ids.append(doc_id)
                batch.append(document)
                size += own
            if batch:
                send()
        self._finish()

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

    def _check_names(self, vectors: dict) -> None:
        if set(vectors) != set(self.vectors):
            raise RagkitError(f"Got vectors {sorted(vectors)}; this index was made for {sorted(self.vectors)}.")

    def _check(self, doc_id: str, document: dict[str, Vector]) -> None:
        self._check_names(document)
        for name, array in document.items():
            spec = self.vectors[name]
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

    def _request_bytes(self, doc_id: str, document: dict[str, Vector]) -> int:
        """Return what the document adds to a batch, in bytes."""
        return sum(vector.nbytes for vector in document.values())

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _begin(self, documents: int) -> None:
        """Prepare for an index of so many documents in all."""

    @abstractmethod
    def _finish(self) -> None:
        """Make what was stored durable, and its search as quick as it will be."""

    @abstractmethod
    def _upsert(self, points: list[int], batch: list[dict[str, Vector]], doc_ids: list[str]) -> None: ...

    @abstractmethod
    def _query(
        self, vector: Vector, using: str, limit: int, prefetch: Sequence[Prefetch]
    ) -> list[tuple[int, float]]: ...

    @abstractmethod
    def _query_fused(self, fusion: Fusion, limit: int) -> list[tuple[int, float]]: ...

    @abstractmethod
    def bytes_on_disk(self) -> int | None:
        """Return what the index takes on disk in bytes, or None where the engine does not tell."""

    @abstractmethod
    def close(self) -> None:
        """Release the engine; what is in a folder or on a server stays."""
