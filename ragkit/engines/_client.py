"""qdrant-client: what its local mode and servers have in common."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from qdrant_client import QdrantClient, models

from ragkit.engines.index import Fusion, Index, Prefetch
from ragkit.vectors import Sparse, Vector, VectorSpec


class ClientIndex(Index):
    """A collection of Qdrant's, stored and searched through qdrant-client."""

    def __init__(self, client: QdrantClient, collection: str, vectors: dict[str, VectorSpec]):
        super().__init__(vectors)
        self.client, self.collection = client, collection
        self._open()

    @abstractmethod
    def _open(self) -> None:
        """Make the collection, or continue the one that is there."""

    def _upsert(self, points, batch, doc_ids):
        structs = [
            models.PointStruct(id=p, vector={n: self._plain(v) for n, v in vectors.items()}, payload={"doc_id": d})
            for p, vectors, d in zip(points, batch, doc_ids, strict=True)
        ]
        self.client.upsert(self.collection, structs, wait=True)

    def _query(self, vector: Vector, using: str, limit: int, prefetch: Sequence[Prefetch]):
        return self._points(
            query=self._plain(vector),
            using=using,
            limit=limit,
            search_params=self._search_params(using),
            prefetch=[self._stage(stage) for stage in prefetch] or None,
        )

    def _query_fused(self, fusion: Fusion, limit: int):
        rrf = models.RrfQuery(rrf=models.Rrf(k=fusion.k))
        query = rrf if fusion.method == "rrf" else models.FusionQuery(fusion=models.Fusion.DBSF)
        return self._points(query=query, limit=limit, prefetch=[self._stage(p) for p in fusion.prefetches])

    def _points(self, **request) -> list[tuple[int, float]]:
        response = self.client.query_points(self.collection, with_payload=False, **request)
        return [(int(point.id), point.score) for point in response.points]

    def _stage(self, stage: Prefetch) -> models.Prefetch:
        params = self._search_params(stage.using)
        return models.Prefetch(query=self._plain(stage.vector), using=stage.using, limit=stage.depth, params=params)

    def _search_params(self, using: str) -> models.SearchParams | None:
        """Return how one first stage or rerank is searched."""
        return None

    def _plain(self, vector: Vector) -> Any:
        if isinstance(vector, Sparse):
            return models.SparseVector(indices=vector.indices.tolist(), values=self._plain(vector.values))
        return vector.tolist()

    def _begin(self, documents):
        pass

    def bytes_on_disk(self):
        return None

    def close(self):
        self.client.close()
