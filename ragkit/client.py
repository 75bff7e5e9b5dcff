"""qdrant-client: its local mode and Qdrant servers."""

from qdrant_client import QdrantClient, models

from ragkit.index_base import Index, VectorSpec


class ClientIndex(Index):
    """qdrant-client: local mode (":memory:") or a server.

    Local mode is Python and NumPy: it ignores HNSW, quantization and on-disk settings, and its
    speed says nothing about Qdrant's.
    """

    def __init__(self, client: QdrantClient, collection: str, vectors: dict[str, VectorSpec], engine: str):
        super().__init__(vectors)
        self.client, self.collection, self.engine = client, collection, engine
        self.measurable = "local mode" not in engine
        if not client.collection_exists(collection):
            client.create_collection(collection, vectors_config={n: _params(spec) for n, spec in vectors.items()})
        else:
            count = client.count(collection).count
            records, _ = client.scroll(collection, limit=max(1, count), with_payload=["doc_id"])
            self.doc_ids = [r.payload["doc_id"] for r in sorted(records, key=lambda record: record.id)]

    def _upsert(self, points, batch, doc_ids):
        structs = [
            models.PointStruct(id=point, vector=vectors, payload={"doc_id": doc_id})
            for point, vectors, doc_id in zip(points, batch, doc_ids, strict=True)
        ]
        self.client.upsert(self.collection, structs, wait=True)

    def _query(self, vector, using, limit, prefetch):
        exact = models.SearchParams(exact=True) if self.measurable else None  # local mode always is
        response = self.client.query_points(
            self.collection,
            query=vector.tolist(),
            using=using,
            limit=limit,
            search_params=exact,
            with_payload=False,
            prefetch=prefetch
            and models.Prefetch(
                query=prefetch.vector.tolist(), using=prefetch.using, limit=prefetch.depth, params=exact
            ),
        )
        return [(point.id, point.score) for point in response.points]

    def _flush(self):
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
