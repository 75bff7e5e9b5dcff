"""Qdrant Edge: the server's own engine in this process, in a folder."""

import json
import os
import shutil
import weakref
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import qdrant_edge as qe

from ragkit.errors import RagkitError
from ragkit.index_base import Index, Prefetch, Sparse, Vector, VectorSpec

_EXACT = qe.SearchParams(exact=True)
# Edge searches its segments in parallel, one thread each, and puts all documents in one segment
# unless told otherwise: one segment a core halves the time of a query on two cores.
_SEGMENTS = min(8, os.cpu_count() or 1)
_LEAST_DOCUMENTS_A_SEGMENT = 100
# A segment of more kilobytes than this is closed by optimize(), and a new one takes what follows.
_CLOSE_SEGMENT_KB = 100


class EdgeIndex(Index):
    """An index in a folder; `temporary` folders are removed on close.

    Opening a folder that holds an index of the same vectors and content continues it. `content`
    is any text that stands for what is indexed.
    """

    def __init__(self, folder: Path, vectors: dict[str, VectorSpec], content: str = "", temporary: bool = False):
        super().__init__(vectors)
        self.folder = folder
        # Also removes the folder of an index that nobody closed.
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True) if temporary else None
        self.engine = f"Qdrant Edge {version('qdrant-edge-py')}"
        described = {
            "vectors": {name: [spec.dim, spec.multivector, spec.sparse] for name, spec in sorted(vectors.items())},
            "content": content,
        }
        note = folder / "ragkit.json"
        if not folder.exists() or not any(folder.iterdir()):
            folder.mkdir(parents=True, exist_ok=True)
            # The write-ahead log would store every vector twice; _flush() makes a batch durable instead.
            config = qe.EdgeConfig(
                vectors={n: _params(spec) for n, spec in vectors.items() if not spec.sparse},
                sparse_vectors={
                    n: qe.EdgeSparseVectorParams(modifier=qe.Modifier.Idf) for n, spec in vectors.items() if spec.sparse
                },
                optimizers=qe.EdgeOptimizersConfig(
                    default_segment_number=_SEGMENTS, indexing_threshold=_CLOSE_SEGMENT_KB
                ),
                wal_enabled=False,
            )
            self._shard = qe.EdgeShard.create(str(folder), config)
            note.write_text(json.dumps(described), "utf8")
        elif not note.is_file():
            raise RagkitError(f"The folder {folder} is not empty and holds no index of ragkit; choose another.")
        elif json.loads(note.read_text("utf8")) != described:
            raise RagkitError(
                f"The folder {folder} holds another index: {note.read_text('utf8')}, where "
                f"{json.dumps(described)} was expected. Choose another folder, or delete it."
            )
        else:
            try:
                self._shard = qe.EdgeShard.load(str(folder))
            except Exception as error:
                raise RagkitError(f"The index in {folder} cannot be opened ({error}).") from error
            self.doc_ids = self._read_doc_ids()

    def add(self, doc_ids, vectors):
        doc_ids = list(doc_ids)
        self._check(doc_ids, vectors)
        parts = max(1, min(_SEGMENTS, len(doc_ids) // _LEAST_DOCUMENTS_A_SEGMENT))
        bounds = [len(doc_ids) * part // parts for part in range(parts + 1)]
        for start, stop in pairwise(bounds):
            if start:
                self._shard.optimize()
            super().add(doc_ids[start:stop], {name: arrays[start:stop] for name, arrays in vectors.items()})

    def _read_doc_ids(self) -> list[str]:
        records, _ = self._shard.scroll(
            qe.ScrollRequest(limit=self._shard.count(qe.CountRequest()) or 1, with_payload=True)
        )
        by_point = {record.id: record.payload["doc_id"] for record in records}
        return [by_point[point] for point in sorted(by_point)]

    def _upsert(self, points, batch, doc_ids):
        # One point an update: within one update Edge stores points in random order, and that order breaks
        # ties between equal scores. It takes no longer.
        for point, vectors, doc_id in zip(points, batch, doc_ids, strict=True):
            struct = qe.Point(point, {n: _plain(v) for n, v in vectors.items()}, {"doc_id": doc_id})
            self._shard.update(qe.UpdateOperation.upsert_points([struct]))

    def _query(self, vector, using, limit, prefetch):
        return self._points(
            query=qe.Query.Nearest(_plain(vector), using=using),
            limit=limit,
            params=_EXACT,
            prefetches=[_stage(stage) for stage in prefetch] or None,
        )

    def _query_fused(self, fusion, limit):
        query = qe.Fusion.Rrf(k=fusion.k) if fusion.method == "rrf" else qe.Fusion.Dbsf()
        return self._points(query=query, limit=limit, prefetches=[_stage(stage) for stage in fusion.prefetches])

    def _points(self, **request):
        return [(point.id, point.score) for point in self._shard.query(qe.QueryRequest(**request))]

    def _flush(self):
        self._shard.flush()

    def bytes_on_disk(self):
        # Qdrant reserves its files ahead of what they hold: count the blocks in use where the system tells.
        stats = [path.stat() for path in self.folder.rglob("*") if path.is_file()]
        return sum(stat.st_blocks * 512 if hasattr(stat, "st_blocks") else stat.st_size for stat in stats)

    def close(self):
        if self._shard is not None:
            self._shard.close()
            self._shard = None
            if self._remove:
                self._remove()


def _params(spec: VectorSpec) -> qe.EdgeVectorParams:
    multivector = qe.MultiVectorConfig(qe.MultiVectorComparator.MaxSim)
    return qe.EdgeVectorParams(
        size=spec.dim,
        distance=qe.Distance.Cosine,
        multivector_config=multivector if spec.multivector else None,
        hnsw_config=qe.HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000),  # no graph
    )


def _plain(vector: Vector) -> list | qe.SparseVector:
    if isinstance(vector, Sparse):
        return qe.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
    return vector.tolist()


def _stage(stage: Prefetch) -> qe.Prefetch:
    query = qe.Query.Nearest(_plain(stage.vector), using=stage.using)
    return qe.Prefetch(query=query, limit=stage.depth, params=_EXACT)
