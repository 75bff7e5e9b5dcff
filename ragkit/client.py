"""qdrant-client: its local mode and Qdrant servers."""

from qdrant_client import QdrantClient, models

from ragkit.index_base import Index, Prefetch, Sparse, Vector, VectorSpec


class ClientIndex(Index):
    """qdrant-client: local mode (":memory:") or a server.

    Local mode is Python and NumPy: it ignores HNSW, quantization and on-disk settings, and its
    speed says nothing about Qdrant's.
    """

    # A request of a server may have 32 MiB; a float32 takes 4 bytes here and up to 22 as JSON.
    batch_bytes = 4 * 2**20

    def __init__(self, client: QdrantClient, collection: str, vectors: dict[str, VectorSpec], engine: str):
        super().__init__(vectors)
        self.client, self.collection, self.engine = client, collection, engine
        self.measurable = "local mode" not in engine
        if not client.collection_exists(collection):
            idf = models.SparseVectorParams(modifier=models.Modifier.IDF)
            client.create_collection(
                collection,
                vectors_config={n: _params(spec) for n, spec in vectors.items() if not spec.sparse},
                sparse_vectors_config={n: idf for n, spec in vectors.items() if spec.sparse} or None,
            )
        else:
            count = client.count(collection).count
            records, _ = client.scroll(collection, limit=max(1, count), with_payload=["doc_id"])
            self.doc_ids = [r.payload["doc_id"] for r in sorted(records, key=lambda record: record.id)]

    def _upsert(self, points, batch, doc_ids):
        structs = [
            models.PointStruct(id=p, vector={n: _plain(v) for n, v in vectors.items()}, payload={"doc_id": d})
            for p, vectors, d in zip(points, batch, doc_ids, strict=True)
        ]
        self.client.upsert(self.collection, structs, wait=True)

    def _query(self, vector, using, limit, prefetch):
        return self._points(
            query=_plain(vector),
            using=using,
            limit=limit,
            search_params=self._exact(),
            prefetch=[self._stage(stage) for stage in prefetch] or None,
        )

    def _query_fused(self, fusion, limit):
        rrf = models.RrfQuery(rrf=models.Rrf(k=fusion.k))
        query = rrf if fusion.method == "rrf" else models.FusionQuery(fusion=models.Fusion.DBSF)
        return self._points(query=query, limit=limit, prefetch=[self._stage(p) for p in fusion.prefetches])

    def _points(self, **request):
        response = self.client.query_points(self.collection, with_payload=False, **request)
        return [(point.id, point.score) for point in response.points]

    def _exact(self):
        return models.SearchParams(exact=True) if self.measurable else None  # local mode always is

    def _stage(self, stage: Prefetch) -> models.Prefetch:
        return models.Prefetch(query=_plain(stage.vector), using=stage.using, limit=stage.depth, params=self._exact())

    def _begin(self, documents):
        pass

    def _finish(self):
        pass

    def bytes_on_disk(self):
        return None

    def close(self):
        self.client.close()


def _params(spec: VectorSpec) -> models.VectorParams:
    multivector = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    return models.VectorParams(
        size=spec.dim,
        distance=models.Distance.COSINE,
        multivector_config=multivector if spec.multivector else None,
        # Without m=0 a server builds a graph over multivectors, at tokens² comparisons an insertion.
        hnsw_config=models.HnswConfigDiff(m=0) if spec.multivector else None,
    )


def _plain(vector: Vector) -> list | models.SparseVector:
    if isinstance(vector, Sparse):
        return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
    return vector.tolist()
