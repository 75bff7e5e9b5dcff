"""Qdrant Edge: the server's own engine in this process, in a folder."""

import json
import os
import shutil
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as qe
from filelock import FileLock, Timeout

from ragkit.engines.index import Index, Prefetch
from ragkit.errors import RagkitError
from ragkit.vectors import Hits, Sparse, Storage, Vector, VectorSpec

_DATATYPES = {
    "float32": qe.VectorStorageDatatype.Float32,
    "float16": qe.VectorStorageDatatype.Float16,
    "turbo8": qe.VectorStorageDatatype.Turbo8,
}
_TURBO = {
    "turbo4": qe.TurboQuantBitSize.Bits4,
    "turbo2": qe.TurboQuantBitSize.Bits2,
    "turbo1.5": qe.TurboQuantBitSize.Bits1_5,
    "turbo1": qe.TurboQuantBitSize.Bits1,
}
# Edge searches its segments in parallel, one thread each, and puts all documents in one segment
# unless told otherwise: one segment a core halves the time of a query on two cores.
_SEGMENTS = min(8, os.cpu_count() or 1)
_LEAST_DOCUMENTS_A_SEGMENT = 100
# A segment of more kilobytes than this is closed by optimize(), and a new one takes what follows.
_CLOSE_SEGMENT_KB = 100
# Below so many kilobytes of vectors a graph is not searched.
_FULL_SCAN_KB = 10_000
_NOTE, _LOCK = "ragkit.json", "ragkit.lock"


class EdgeIndex(Index):
    """An index in a folder; `temporary` folders are removed on close.

    Opening a folder that holds an index of the same vectors and content continues it. `content`
    is any text that stands for what is indexed.
    """

    batch_bytes = 64 * 2**20  # after so much, what was stored is made durable

    def __init__(self, folder: Path, vectors: dict[str, VectorSpec], content: str = "", temporary: bool = False):
        super().__init__(vectors)
        self.folder = folder
        self.engine = f"Qdrant Edge {version('qdrant-edge-py')}"
        self._shard: Any = None  # Edge's; None once it is closed
        self._bounds: set[int] = set()
        described = {"vectors": {name: _built(spec) for name, spec in sorted(vectors.items())}, "content": content}
        unfinished = (folder / _LOCK).is_file() and not (folder / _NOTE).is_file()
        if folder.exists() and any(folder.iterdir()) and not unfinished and not (folder / _NOTE).is_file():
            raise RagkitError(f"The folder {folder} is not empty and holds no index of ragkit; choose another.")
        folder.mkdir(parents=True, exist_ok=True)
        # Also removes the folder of an index that nobody closed.
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True) if temporary else None
        self._lock = _locked(folder)
        try:
            note = folder / _NOTE
            if not note.is_file():
                self._create(note, described)
            elif json.loads(note.read_text("utf8")) != described:
                raise RagkitError(
                    f"The folder {folder} holds another index: {note.read_text('utf8')}, where "
                    f"{json.dumps(described)} was expected. Choose another folder, or delete it."
                )
            else:
                self._load()
        except BaseException:
            self.close()
            raise

    def _create(self, note: Path, described: dict) -> None:
        for path in self.folder.iterdir():  # what a creation left that was interrupted
            if path.name != _LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        idf = qe.EdgeSparseVectorParams(modifier=qe.Modifier.Idf)
        # The write-ahead log would store every vector twice; flush() makes a batch durable instead.
        config = qe.EdgeConfig(
            vectors={n: _params(spec) for n, spec in self.vectors.items() if not spec.sparse},
            sparse_vectors={n: idf for n, spec in self.vectors.items() if spec.sparse},
            optimizers=qe.EdgeOptimizersConfig(default_segment_number=_SEGMENTS, indexing_threshold=_CLOSE_SEGMENT_KB),
            wal_enabled=False,
        )
        self._shard = qe.EdgeShard.create(str(self.folder), config)
        self._shard.flush()
        note.write_text(json.dumps(described), "utf8")  # last: it says that the rest is whole

    def _load(self) -> None:
        try:
            self._shard = qe.EdgeShard.load(str(self.folder))
        except Exception as error:
            raise RagkitError(f"The index in {self.folder} cannot be opened ({error}).") from error
        count = self._shard.count(qe.CountRequest())
        records, _ = self._shard.scroll(qe.ScrollRequest(limit=count or 1, with_payload=True))
        by_point = {record.id: record.payload["doc_id"] for record in records}
        while len(self.doc_ids) in by_point:
            self.doc_ids.append(by_point[len(self.doc_ids)])
        beyond = [point for point in by_point if point >= len(self.doc_ids)]
        if beyond:  # points come in order, so these are what an interruption left behind a gap
            self._shard.update(qe.UpdateOperation.delete_points(beyond))

    def _begin(self, documents):
        parts = max(1, min(_SEGMENTS, documents // _LEAST_DOCUMENTS_A_SEGMENT))
        self._bounds = {documents * part // parts for part in range(1, parts)}

    def _upsert(self, points, batch, doc_ids):
        for point, vectors, doc_id in zip(points, batch, doc_ids, strict=True):
            if point in self._bounds:
                self._shard.optimize()
            # One point an update: within one update Edge stores points in random order, and that order
            # breaks ties between equal scores. It takes no longer.
            struct = qe.Point(point, {n: _plain(v) for n, v in vectors.items()}, {"doc_id": doc_id})
            self._shard.update(qe.UpdateOperation.upsert_points([struct]))
        self._shard.flush()

    def _finish(self):
        if not all(spec.sparse or spec.storage.exact for spec in self.vectors.values()):
            self._shard.optimize()  # makes the small copies and the graph
        self._shard.flush()

    def search_batch(self, vectors: Sequence[Vector], using: str, limit: int) -> list[Hits]:
        """Return what `search` returns for each vector, planned by the engine as one batch."""
        self._know(using)
        requests = [
            qe.QueryRequest(
                query=qe.Query.Nearest(_plain(vector), using=using), limit=limit, params=self._search_params(using)
            )
            for vector in vectors
        ]
        found = self._shard.query_batch(qe.QueryBatchRequest(requests))
        return [self._hits([(point.id, point.score) for point in points]) for points in found]

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

    def _points(self, **request):
        return [(point.id, point.score) for point in self._shard.query(qe.QueryRequest(**request))]

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
        # Qdrant reserves its files ahead of what they hold: count the blocks in use where the system tells.
        stats = [path.stat() for path in self.folder.rglob("*") if path.is_file()]
        return sum(stat.st_blocks * 512 if hasattr(stat, "st_blocks") else stat.st_size for stat in stats)

    def close(self):
        if self._shard is not None:
            self._shard.close()
            self._shard = None
        self._lock.release()
        if self._remove:
            self._remove()


def _locked(folder: Path) -> FileLock:
    """Return a lock on the folder, which the system takes away from a process that dies."""
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RagkitError(
            f"The index in {folder} is open elsewhere, in another process or notebook kernel or in this one. "
            "An Edge folder has one user at a time: close the other (index.close(), or shut its kernel down), "
            "or choose another folder."
        ) from error
    return lock


def _built(spec: VectorSpec) -> dict:
    """Return what of a spec decides how an index is built; how it is searched may change."""
    built = asdict(spec)
    for setting in ("rescore", "oversampling", "hnsw_ef"):
        del built["storage"][setting]
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
