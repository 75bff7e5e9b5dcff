"""Qdrant Edge: the server's own engine in this process, in a folder."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as qe
from filelock import FileLock

from ragkit.engines import disk, seal
from ragkit.engines.folder import (
    MARK,
    NOTE,
    aside,
    clear,
    locked,
    open_segments,
    read_note,
    remove,
    tidy,
    usable,
    write_note,
)
from ragkit.engines.index import Index, Prefetch
from ragkit.errors import RagkitError, shorten
from ragkit.vectors import Hits, Sparse, Storage, Vector, VectorSpec

_DATATYPES = {
    "float32": qe.VectorStorageDatatype.Float32,
    "float16": qe.VectorStorageDatatype.Float16,
    "turbo16": qe.VectorStorageDatatype.Turbo16,
    "turbo8": qe.VectorStorageDatatype.Turbo8,
    "turbo4": qe.VectorStorageDatatype.Turbo4,  # type: ignore[attr-defined]  # not in the stubs of 0.9
}
_TURBO = {
    "turbo4copy": qe.TurboQuantBitSize.Bits4,
    "turbo2copy": qe.TurboQuantBitSize.Bits2,
    "turbo1.5copy": qe.TurboQuantBitSize.Bits1_5,
    "turbo1copy": qe.TurboQuantBitSize.Bits1,
}
# Below so many kilobytes of vectors a graph is not searched.
_FULL_SCAN_KB = 10_000
_REPLACE = "Put it back from a copy, delete the folder to build it anew, or choose another."


class EdgeIndex(Index):
    """An index in a folder; `temporary` folders are removed on close.

    Opening a folder that holds an index of the same vectors and content continues it. `content` is any text that
    stands for what is indexed. Raises RagkitError if the folder holds something else, is in use or cannot be written
    to, if its disk is full, and for whatever goes wrong in Edge.
    """

    batch_bytes = 64 * 2**20  # after so much, what was stored is made durable

    def __init__(self, folder: Path, vectors: dict[str, VectorSpec], content: str = "", temporary: bool = False):
        super().__init__(vectors)
        self.folder, self.place = folder, f"The index in {folder}"
        self.engine = f"Qdrant Edge {version('qdrant-edge-py')}"
        self._shard: Any = None  # Edge's; None once it is closed
        self._lock: FileLock | None = None
        self._bounds: set[int] = set()
        shapes = ", ".join(f"{name} {spec.shape}" for name, spec in vectors.items())
        self._fits = f"A query is compared with {shapes}. If it fits, delete the folder to build the index anew."
        # Also removes the folder of an index that nobody closed.
        self._remove = weakref.finalize(self, remove, folder) if temporary else None
        self._described = {"vectors": {n: _built(spec) for n, spec in sorted(vectors.items())}, "content": content}
        self._sealed: seal.Seal | None = None  # what the note tells of the files, while it tells anything
        self._whole = False  # whether all that was stored is there, in order
        try:
            usable(folder)
            self._spare = disk.least(vectors.values(), 1, folder)
            if read_note(folder) is None:
                disk.require(self._spare, folder, "Make room, or choose another folder.")
            self._lock = locked(folder)
            if temporary:
                (folder / MARK).touch()  # only now, so that whoever sweeps sees no mark without a lock
            note = read_note(folder)
            if note is None:
                self._create()
            elif any(kept.get("sparse") and "modifier" not in kept for kept in note["vectors"].values()):
                raise RagkitError(
                    f"{self.place} is of an earlier ragkit, whose words Qdrant weighed: it counted deleted documents "
                    "too. Delete the folder to build it anew, or choose another."
                )
            elif (found := {key: note[key] for key in self._described}) != self._described:
                raise RagkitError(
                    f"The folder {folder} holds another index: {shorten(str(found), 300)}, where {self._described} was "
                    "expected. Choose another folder, or delete it."
                )
            else:
                self._load(note)
            self._whole = True
        except BaseException:
            self.close()
            raise

    def _create(self) -> None:
        clear(self.folder)
        sparse = {name: spec for name, spec in self.vectors.items() if spec.sparse}
        # The write-ahead log would store every vector twice; flush() makes a batch durable instead.
        config = qe.EdgeConfig(
            vectors={n: _params(spec) for n, spec in self.vectors.items() if not spec.sparse},
            sparse_vectors={
                n: qe.EdgeSparseVectorParams(modifier=qe.Modifier.Idf if spec.modifier else None)
                for n, spec in sparse.items()
            },
            optimizers=qe.EdgeOptimizersConfig(
                default_segment_number=disk.at_once(), indexing_threshold=disk.CLOSE_SEGMENT_KB
            ),
            wal_enabled=False,
        )
        with _told(f"{self.place} cannot be made", "Choose another folder."):
            self._shard = qe.EdgeShard.create(str(self.folder), config)
            self._shard.flush()
        write_note(self.folder, self._described)  # last: it says that the rest is whole

    def _load(self, note: dict) -> None:
        sealed = self._checked(note) if "files" in note else None
        tidy(self.folder)
        disk.require(disk.unwritten(self.folder), self.folder, "Opening the index fills that, so make room.")
        self._unseal()  # Edge writes some small files anew as it loads them
        with _told(f"{self.place} cannot be opened", _REPLACE):
            self._shard = shard = qe.EdgeShard.load(str(self.folder))
            if sealed is None:  # whoever had it was killed
                self._drop_copies()
                shard = self._reopened()
            beyond = self._read(shard)
            if beyond:
                # Points come in order, so these are what an interruption left behind a gap, in the segment that takes
                # new ones: one that is closed is written whole.
                shard.update(qe.UpdateOperation.delete_points([*beyond]))
                shard = self._reopened()
                beyond = self._read(shard)
            shard.flush()  # now, because the first one after loading writes small files anew, too
        if beyond or (sealed is not None and len(self.doc_ids) != note.get("documents")):
            raise RagkitError(f"{self.place} is damaged: documents are missing. {_REPLACE}")
        self.reopened = bool(self.doc_ids)
        if sealed is not None:
            self._seal(sealed)

    def _reopened(self) -> qe.EdgeShard:
        """Return the shard, closed and loaded again.

        Until then what was deleted counts in the weights of sparse vectors, and so do vectors that an interruption left
        without a point.
        """
        self._shard.flush()
        self._shard.close()
        self._shard = qe.EdgeShard.load(str(self.folder))
        return self._shard

    def _drop_copies(self) -> None:
        """Delete a segment that Edge was killed beside another that it had made of it: its points count twice."""
        points = self._shard.count(qe.CountRequest())
        for segment in open_segments(self.folder):
            if self._shard.info().points_count == points:
                return
            self._shard.close()
            with aside(segment) as delete:
                without = qe.EdgeShard.load(str(self.folder))
                if without.count(qe.CountRequest()) == points:
                    delete()
                without.close()
            self._shard = qe.EdgeShard.load(str(self.folder))
        if self._shard.info().points_count != points:
            raise RagkitError(f"{self.place} is damaged: documents are there twice. {_REPLACE}")

    def _checked(self, note: dict) -> seal.Seal:
        """Return what the note says that the files hold. Raises RagkitError if they do not."""
        try:
            sealed = seal.read(note["files"])
        except (ValueError, TypeError, AttributeError) as error:
            raise RagkitError(f"{self.folder / NOTE} is damaged. {_REPLACE}") from error
        if found := seal.damage(self.folder, sealed):
            raise RagkitError(f"{self.place} is damaged: {found}. {_REPLACE}")
        return sealed

    def _seal(self, known: seal.Seal | None = None) -> None:
        """Note what the files hold. known: what they held before, if nothing was stored since."""
        if self._remove is not None:  # nobody opens a temporary folder again
            return
        sealed = seal.seal(self.folder, known)
        told = {"documents": len(self.doc_ids), "files": seal.written(sealed)}
        with suppress(RagkitError):  # on a full disk: the index is whole all the same
            write_note(self.folder, self._described | told)
            self._sealed = sealed

    def _unseal(self) -> None:
        """Let the note tell nothing of files that are about to change, or whoever is killed meanwhile leaves a lie."""
        write_note(self.folder, self._described)
        self._sealed = None

    def _read(self, shard: qe.EdgeShard) -> list[int]:
        """Read which documents are stored without a gap, and return the points beyond one."""
        records, _ = shard.scroll(qe.ScrollRequest(limit=shard.count(qe.CountRequest()) or 1, with_payload=True))
        by_point: dict[int, str] = {}
        for record in records:
            payload = record.payload or {}
            if not isinstance(record.id, int) or "doc_id" not in payload:
                raise RagkitError(f"{self.place} holds points that ragkit did not store; choose another folder.")
            by_point[record.id] = payload["doc_id"]
        self.doc_ids = []
        while len(self.doc_ids) in by_point:
            self.doc_ids.append(by_point[len(self.doc_ids)])
        return [point for point in by_point if point >= len(self.doc_ids)]

    def _begin(self, documents):
        parts = disk.segments(documents)
        self._bounds = {documents * part // parts for part in range(1, parts)}

    def _upsert(self, points, batch, doc_ids):
        if self._sealed is not None:
            self._unseal()
        size = sum(self._request_bytes(*pair) + disk.DOCUMENT_BYTES for pair in zip(doc_ids, batch, strict=True))
        # Sparse vectors, and small copies that are made as vectors come, take up to half as much again.
        disk.require(size * 3 // 2 + self._spare_for(points), self.folder, self._continue())
        try:
            with self._edge("cannot store documents", self._continue()) as shard:
                for point, vectors, doc_id in zip(points, batch, doc_ids, strict=True):
                    if point in self._bounds:
                        self._optimize(shard)
                    # One point an update: within one update Edge stores points in random order, and that order
                    # breaks ties between equal scores. It takes no longer.
                    struct = qe.Point(point, {n: _plain(v) for n, v in vectors.items()}, {"doc_id": doc_id})
                    shard.update(qe.UpdateOperation.upsert_points([struct]))
                shard.flush()
        except BaseException:
            self._whole = False
            with suppress(RagkitError):
                self._keep_stored(points, doc_ids)
            raise

    def _spare_for(self, points: list[int]) -> int:
        """Return the bytes to be free beside a batch: what a new segment takes, or else what this one still may."""
        fixed = disk.least(self.vectors.values(), 1)
        if self._spare == fixed or not self._bounds.isdisjoint(points):
            return self._spare
        return min(self._spare, fixed + disk.unwritten(self.folder))

    def _keep_stored(self, points: list[int], doc_ids: list[str]) -> None:
        """Count the documents of an interrupted batch that are stored: so would whoever opens the folder again."""
        with self._edge("is not whole", self._continue()) as shard:
            stored = {record.id for record in shard.retrieve([*points], False, False)}
        for point, doc_id in zip(points, doc_ids, strict=True):
            if point not in stored:
                break
            self.doc_ids.append(doc_id)

    def _finish(self):
        with self._edge("cannot be finished", self._continue()) as shard:
            known = self._sealed
            if not all(spec.sparse or spec.storage.exact for spec in self.vectors.values()):
                if known is not None:
                    self._unseal()
                # Makes the small copies and the graph, if they are not there.
                known = None if self._optimize(shard) else known
            shard.flush()
        if self._sealed is None:
            self._seal(known)

    def _optimize(self, shard: qe.EdgeShard) -> bool:
        """Close segments and make what is to be made; return whether there was something to do."""
        specs, anew = self.vectors.values(), len(list((self.folder / "segments").iterdir()))
        spare = disk.least(specs, 1) + disk.closing(specs, anew, self.folder)
        disk.require(spare, self.folder, self._continue())  # Edge looks for the rest itself
        return shard.optimize()

    def _continue(self) -> str:
        return (
            f"{len(self.doc_ids):,} documents are stored. Make room if the disk is full, and run it again: it "
            "continues there."
        )

    def search_batch(self, vectors: Sequence[Vector], using: str, limit: int) -> list[Hits]:
        """Return what `search` returns for each vector, planned by the engine as one batch."""
        self._know(using)
        requests = [
            qe.QueryRequest(
                query=qe.Query.Nearest(_plain(self._asked(vector, using)), using=using),
                limit=limit,
                params=self._search_params(using),
            )
            for vector in vectors
        ]
        with self._edge("cannot be searched", self._fits) as shard:
            found = shard.query_batch(qe.QueryBatchRequest(requests))
        least = self._least(using, limit)
        return [self._hits([(int(point.id), point.score) for point in points], least, limit) for points in found]

    def _query(self, vector, using, limit, prefetch):
        return self._points(
            query=qe.Query.Nearest(_plain(vector), using=using),
            limit=limit,
            params=self._search_params(using),
            prefetches=[self._stage(stage) for stage in prefetch] or None,
        )

    def _query_fused(self, fusion, limit):
        query = qe.Fusion.Rrf(k=fusion.k) if fusion.method == "rrf" else qe.Fusion.Dbsf()
        return self._points(query=query, limit=limit, prefetches=[self._stage(stage) for stage in fusion.prefetches])

    def _points(self, **request) -> list[tuple[int, float]]:
        with self._edge("cannot be searched", self._fits) as shard:
            return [(int(point.id), point.score) for point in shard.query(qe.QueryRequest(**request))]

    def _stored(self, points, names):
        with self._edge("cannot be read", _REPLACE) as shard:
            records = shard.retrieve([*points], with_payload=False, with_vector=names)
        for record in records:
            yield {name: Sparse.of(record.vector[name]) for name in names}

    def _stage(self, stage: Prefetch) -> qe.Prefetch:
        query = qe.Query.Nearest(_plain(stage.vector), using=stage.using)
        return qe.Prefetch(query=query, limit=stage.depth, params=self._search_params(stage.using))

    def _search_params(self, using: str) -> qe.SearchParams:
        storage = self.vectors[using].storage
        if storage.exact:
            return qe.SearchParams(exact=True)
        quantization = qe.QuantizationSearchParams(rescore=storage.rescore, oversampling=storage.oversampling)
        return qe.SearchParams(
            hnsw_ef=storage.hnsw_ef if storage.hnsw_m else None,
            quantization=quantization if storage.quantization else None,
        )

    def bytes_on_disk(self):
        return disk.taken(self.folder)

    def close(self):
        try:
            if self._shard is not None:
                shard, self._shard = self._shard, None
                with _told(f"{self.place} cannot be closed", "Open it again, and look whether it is whole."):
                    shard.close()
                if self._whole and self._sealed is None and self.doc_ids:
                    self._seal()
        finally:
            if self._lock is not None:
                self._lock.release()
            if self._remove:
                self._remove()

    @contextmanager
    def _edge(self, problem: str, advice: str) -> Iterator[qe.EdgeShard]:
        """Yield the shard; what goes wrong in it is a RagkitError that names the folder."""
        if self._shard is None:
            raise RagkitError(f"{self.place} is closed; open it again.")
        with _told(f"{self.place} {problem}", advice):
            yield self._shard


@contextmanager
def _told(problem: str, advice: str) -> Iterator[None]:
    """Turn Edge's errors, the system's and a panic, which is no Exception, into a RagkitError."""
    try:
        yield
    except BaseException as error:
        if type(error) is Exception or isinstance(error, OSError) or type(error).__module__ == "pyo3_runtime":
            raise RagkitError(f"{problem} ({error}). {advice}") from error
        raise


def _built(spec: VectorSpec) -> dict:
    """Return what of a spec decides how an index is built; how it is searched may change."""
    built = asdict(spec)
    for setting in ("rescore", "oversampling", "hnsw_ef"):
        del built["storage"][setting]
    if not spec.sparse:
        del built["modifier"]
    return built


def _params(spec: VectorSpec) -> qe.EdgeVectorParams:
    storage = spec.storage
    return qe.EdgeVectorParams(
        size=spec.dim,
        distance=qe.Distance.Cosine,
        multivector_config=qe.MultiVectorConfig(qe.MultiVectorComparator.MaxSim) if spec.multivector else None,
        datatype=_DATATYPES[storage.datatype],
        quantization_config=_quantization(storage),
        hnsw_config=qe.HnswIndexConfig(m=storage.hnsw_m, ef_construct=100, full_scan_threshold=_FULL_SCAN_KB),
        memory=qe.Memory.Cold if storage.on_disk else None,
    )


def _quantization(storage: Storage):
    if storage.quantization is None:
        return None
    if storage.quantization == "int8":
        return qe.ScalarQuantizationConfig(qe.ScalarType.Int8, memory=qe.Memory.Pinned)
    if storage.quantization == "binary":
        return qe.BinaryQuantizationConfig(memory=qe.Memory.Pinned)
    return qe.TurboQuantQuantizationConfig(bits=_TURBO[storage.quantization], memory=qe.Memory.Pinned)


def _plain(vector: Vector) -> Any:
    if isinstance(vector, Sparse):
        return qe.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
    # Edge takes Python numbers; a view makes each as Edge reads it, which is quicker than a list of all of them.
    vector = np.asarray(vector, np.float32)
    return vector.data if vector.ndim == 1 else [row.data for row in vector]
