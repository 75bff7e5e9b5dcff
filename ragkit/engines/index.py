"""What every engine's index does alike: checks, batches, the order of results."""

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ragkit.boundary import public, whole_number
from ragkit.engines.idf import DocumentFrequencies
from ragkit.errors import RagkitError, given
from ragkit.progress import progress
from ragkit.vectors import MAX_FLOATS_PER_POINT, Hits, Sparse, Vector, VectorSpec

# Documents whose sparse vectors are read at a time.
_READ = 1000
Wait = Callable[[], None]
_MOST_SCORE = float(np.finfo(np.float32).max)


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

    def __post_init__(self):
        if self.method not in ("rrf", "dbsf"):
            raise RagkitError(f"Unknown method {given(self.method)} of a fusion; expected rrf or dbsf.")
        whole_number("k of a fusion", self.k, 1, 1_000_000)


# How a server with several shards is asked, unless each shard's own are wanted.
WHOLE = "depth and IDF of the whole collection"


class Index(ABC):
    """Documents with named vectors in a Qdrant engine, searched as their Storage says (exactly unless told).

    `engine` says in words which engine answers; `measurable` whether its speed and size are those
    of Qdrant (local mode's are not); `batch_bytes` how many bytes, and `batch_documents` how many documents, are
    stored at a time at most; `place` where the documents are, as a sentence begins; `reopened` whether there were some
    already when it was opened; `shards` in how many parts it is searched, each for itself; `layout` how a
    server spreads them: its nodes, shards and replicas; `lost_s` how many seconds of requests went before their last
    sending, and `again` why how many were sent again.
    """

    engine: str
    measurable = True
    batch_bytes: int
    batch_documents: int | None = None
    place: str
    reopened = False
    shards = 1
    layout: dict[str, int] = {}
    lost_s = 0.0
    again: Counter[str] = Counter()

    def __init__(self, vectors: dict[str, VectorSpec]):
        self.vectors = dict(vectors)
        self.doc_ids: list[str] = []
        weighed = [name for name, spec in vectors.items() if spec.sparse and not spec.modifier]
        self._frequencies = {name: DocumentFrequencies() for name in weighed}
        self._counted = 0  # documents, the first of doc_ids, that are in those

    def __repr__(self) -> str:
        names = ", ".join(self.vectors)
        return f"<{type(self).__name__} of {names}: {len(self.doc_ids):,} documents in {self.engine}>"

    @public("The documents cannot be stored", kinds=False)
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

    @public("The documents cannot be stored", kinds=False)
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
        sent: deque[tuple[Wait | None, list[dict[str, Vector]], list[str]]] = deque()  # and not known to be stored

        def send() -> None:
            nonlocal ids, batch, size
            start = len(self.doc_ids) + sum(len(others) for _, _, others in sent)
            sent.append((self._upsert(list(range(start, start + len(ids))), batch, ids), batch, ids))
            ids, batch, size = [], [], 0
            while sent and (len(sent) > 1 or sent[0][0] is None):
                settle()

        def settle() -> None:
            wait, documents, stored = sent[0]
            if wait is not None:
                wait()
            sent.popleft()
            if self._counted == len(self.doc_ids):
                self._count_words(documents)
            self.doc_ids += stored
            bar.update(len(stored))

        with progress(len(doc_ids), "indexing", "doc") as bar:
            for doc_id, document in zip(doc_ids, documents, strict=True):
                self._check(doc_id, document)
                own = self._request_bytes(doc_id, document)
                if batch and (size + own > self.batch_bytes or len(batch) == self.batch_documents):
                    send()
                ids.append(doc_id)
                batch.append(document)
                size += own
            if batch:
                send()
            while sent:
                settle()
        self._finish()

    def search(
        self, vector: Vector, using: str, limit: int, prefetch: Sequence[Prefetch] = (), per_shard: bool = False
    ) -> Hits:
        """Return the `limit` best (doc_id, score), best first, ties by doc_id.

        vector: (dim,), (rows, dim) or Sparse, compared with the documents' vectors named `using`: the
        cosine, the MaxSim of cosines, or the product with IDF weights. With `prefetch`, only the
        candidates of those first stages are scored, which are chosen among all documents; with `per_shard`, each
        shard chooses its own, as it does in one request with prefetch. Raises RagkitError for names that the index
        does not have, and if it finds fewer documents than it must, or one that is not known to be stored.
        """
        self._know(using, *(stage.using for stage in prefetch))
        vector, limit = self._asked(vector, using), self._at_most("limit", limit)
        prefetch = [self._stage_of(stage) for stage in prefetch]
        if prefetch and self.shards > 1 and not per_shard:
            found = self._query_in_two(vector, using, limit, prefetch)
        else:
            found = self._query(vector, using, limit, prefetch)
        return self._hits(found, self._least(using, limit, prefetch), limit)

    def fuse(self, fusion: Fusion, limit: int) -> Hits:
        """Return the `limit` best (doc_id, fused score), best first, ties by doc_id.

        Reciprocal ranks are often equal, and Qdrant cuts a tie as it comes: so all are asked for, and cut here.
        """
        self._know(*(stage.using for stage in fusion.prefetches))
        fusion = replace(fusion, prefetches=tuple(map(self._stage_of, fusion.prefetches)))
        limit = self._at_most("limit", limit)
        total = sum(stage.depth for stage in fusion.prefetches)
        least = max((self._least(stage.using, stage.depth) for stage in fusion.prefetches), default=0)
        return self._hits(self._query_fused(fusion, total), least, total)[:limit]

    def _stage_of(self, stage: Prefetch) -> Prefetch:
        depth = self._at_most("depth", stage.depth)
        return replace(stage, vector=self._asked(stage.vector, stage.using), depth=depth)

    def _at_most(self, name: str, count: int) -> int:
        """Return a number of documents to be found: no more than there are, however large it is."""
        return min(whole_number(name, count), max(1, len(self.doc_ids)))

    def _asked(self, vector: Vector, using: str) -> Vector:
        """Return a query's vector as it is compared."""
        if not isinstance(vector, Sparse):
            return _floats(f"The query's {using}", vector, self.vectors[using])
        if using not in self._frequencies:
            return vector
        self._count_stored_words()
        return self._frequencies[using].weighted(vector)

    def _count_words(self, documents: Iterable[Mapping[str, Vector]]) -> None:
        for document in documents:
            for name, frequencies in self._frequencies.items():
                vector = document[name]
                assert isinstance(vector, Sparse)
                frequencies.count(vector)
            self._counted += 1

    def _count_stored_words(self) -> None:
        """Count the words of documents that were not stored by this process, as they are stored."""
        while self._counted < len(self.doc_ids):
            points = range(self._counted, min(self._counted + _READ, len(self.doc_ids)))
            documents = list(self._stored(points, [*self._frequencies]))
            if len(documents) < len(points):
                raise RagkitError(
                    f"{self.place} is damaged: of documents {points[0]:,} to {points[-1]:,} {len(documents):,} are "
                    "there. Build it anew."
                )
            self._count_words(documents)

    def _know(self, *names: str) -> None:
        for name in names:
            if name not in self.vectors:
                raise RagkitError(f"The index has no vectors {name!r}; it has {', '.join(self.vectors)}.")

    def _least(self, using: str, limit: int, prefetch: Sequence[Prefetch] = ()) -> int:
        """Return how many documents a search must find: by sparse vectors, or by a graph, it may be any number."""
        spec = self.vectors[using]
        if spec.sparse or (spec.storage.hnsw_m and not prefetch):
            return 0
        candidates = [self._least(stage.using, stage.depth) for stage in prefetch]
        return min(limit, max(candidates) if candidates else len(self.doc_ids))

    def _hits(self, points: list[tuple[int, float]], least: int, most: int) -> Hits:
        if any(not 0 <= point < len(self.doc_ids) for point, _ in points):
            raise RagkitError(
                f"{self.place} is not whole: storing it was interrupted after {len(self.doc_ids):,} documents, or "
                "another process stores it now. Store the rest first."
            )
        if len(points) < least:
            raise RagkitError(
                f"{self.place} found {len(points):,} documents where it must find {least:,}. Either the query holds "
                "numbers that are not finite, or the index is damaged: delete it, and build it anew."
            )
        if len(points) > most or len({point for point, _ in points}) < len(points):
            raise RagkitError(
                f"{self.place} found {len(points):,} documents where {most:,} were asked for, or one of them twice: "
                "no search of Qdrant's does. Is something else at that place?"
            )
        if not all(abs(score) <= _MOST_SCORE for _, score in points):  # nor is NaN
            raise RagkitError(f"{self.place} gave a document a score that is no finite float32. Build it anew.")
        return sorted(((self.doc_ids[p], score) for p, score in points), key=lambda hit: (-hit[1], hit[0]))

    def _check_names(self, vectors: dict) -> None:
        if set(vectors) != set(self.vectors):
            raise RagkitError(f"Got vectors {sorted(vectors)}; this index was made for {sorted(self.vectors)}.")

    def _check(self, doc_id: str, document: dict[str, Vector]) -> None:
        self._check_names(document)
        for name, array in document.items():
            spec = self.vectors[name]
            if isinstance(array, Sparse):
                continue  # any set of indices, none for an empty document
            array = _floats(f"Document {doc_id!r}: {name}", array, spec)
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
    def _upsert(self, points: list[int], batch: list[dict[str, Vector]], doc_ids: list[str]) -> Wait | None:
        """Store a batch, or begin to: then what is returned waits until it is stored. One may be begun meanwhile."""

    @abstractmethod
    def _query(
        self, vector: Vector, using: str, limit: int, prefetch: Sequence[Prefetch]
    ) -> list[tuple[int, float]]: ...

    def _query_in_two(
        self, vector: Vector, using: str, limit: int, prefetch: Sequence[Prefetch]
    ) -> list[tuple[int, float]]:
        """Answer a query with first stages where the index has more than one shard."""
        raise NotImplementedError

    @abstractmethod
    def _stored(self, points: range, names: list[str]) -> Iterator[dict[str, Sparse]]:
        """Yield the sparse vectors of these names of each stored point."""

    @abstractmethod
    def _query_fused(self, fusion: Fusion, limit: int) -> list[tuple[int, float]]: ...

    @abstractmethod
    def bytes_on_disk(self) -> int | None:
        """Return what the index takes on disk in bytes, or None where the engine does not tell."""

    def allow(self, limit: int) -> None:  # noqa: B027  nothing but a server has limits
        """Raise RagkitError if no query may ask for so many documents; a new collection is deleted then."""

    def memory_growth(self) -> float | None:
        """Return by how many bytes the engine's own processes grew since the index was opened, NaN if they do not tell.

        None where it runs in this process.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Release the engine; what is in a folder or on a server stays."""


def _floats(what: str, vector: Any, spec: VectorSpec) -> np.ndarray:
    """Return a vector as an array of finite numbers. Raises RagkitError, which begins with `what`, if it is none."""
    try:
        array = np.asarray(vector)
        finite = array.dtype.kind in "fiu" and bool(np.isfinite(array).all())
    except ValueError:  # rows of different lengths
        raise RagkitError(f"{what} is {given(vector)}; expected an array of numbers, of shape {spec.shape}.") from None
    if array.dtype.kind not in "fiu":
        raise RagkitError(f"{what} is {given(vector)}; expected an array of numbers, of shape {spec.shape}.")
    if array.ndim != 1 + spec.multivector or array.shape[-1] != spec.dim or not array.size:
        raise RagkitError(f"{what} has shape {array.shape}, expected {spec.shape}.")
    if not finite:
        raise RagkitError(f"{what} holds numbers that are not finite, with which nothing can be compared.")
    return array
