"""qdrant-client: what its local mode and servers have in common, and how vectors are kept, in its words."""

from abc import abstractmethod
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from qdrant_client import QdrantClient, models

from ragkit.engines.index import Fusion, Index, Prefetch
from ragkit.engines.server_options import ServerOptions
from ragkit.errors import RagkitError
from ragkit.vectors import Sparse, Storage, Vector, VectorSpec

_TURBO = {
    "turbo4copy": models.TurboQuantBitSize.BITS4,
    "turbo2copy": models.TurboQuantBitSize.BITS2,
    "turbo1.5copy": models.TurboQuantBitSize.BITS1_5,
    "turbo1copy": models.TurboQuantBitSize.BITS1,
}


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
        return self._ours(self.client.query_points(self.collection, with_payload=False, **request))

    def _ours(self, response: models.QueryResponse) -> list[tuple[int, float]]:
        found = [(point.id, point.score) for point in response.points if isinstance(point.id, int)]
        if len(found) < len(response.points):
            raise RagkitError(f"{self.place} found points that ragkit did not store. Choose another name.")
        return found

    def _stored(self, points, names):
        # By their order, not by their ids: each of those would count in a rate limit.
        records, _ = self.client.scroll(
            self.collection, limit=len(points), offset=points[0], with_payload=False, with_vectors=names
        )
        for record in records:
            if record.id not in points:  # one is missing
                break
            vectors = record.vector if isinstance(record.vector, dict) else {}
            yield {name: Sparse.of(vectors[name]) for name in names}

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


def collection_name(name: str, vectors: dict[str, VectorSpec], content: str) -> str:
    """Return the name of a collection: another one for other content, or vectors kept otherwise.

    Without content it is the name alone, for whoever wants one collection and no other.

    >>> collection_name("films", {}, "")
    'films'
    """
    if not content:
        return name
    kept = {
        n: _sparse_kind(spec.modifier) if spec.sparse else _params(spec).model_dump_json(exclude_none=True)
        for n, spec in vectors.items()
    }
    return f"{name}-{sha256(repr((content, sorted(kept.items()))).encode()).hexdigest()[:12]}"


def vectors_config(vectors: dict[str, VectorSpec], memory: bool = True) -> dict:
    """Return the arguments of create_collection that describe the vectors.

    memory: whether the server knows that word; for older ones it is said in theirs.
    """
    return {
        "vectors_config": {n: _params(spec, memory) for n, spec in vectors.items() if not spec.sparse},
        "sparse_vectors_config": {n: _sparse_params(spec) for n, spec in vectors.items() if spec.sparse} or None,
    }


def search_params(storage: Storage) -> models.SearchParams:
    """Return how one first stage or rerank is searched: exactly, or as its storage says."""
    if storage.exact:
        return models.SearchParams(exact=True)
    quantization = models.QuantizationSearchParams(rescore=storage.rescore, oversampling=storage.oversampling)
    return models.SearchParams(
        hnsw_ef=storage.hnsw_ef if storage.hnsw_m else None,
        quantization=quantization if storage.quantization else None,
    )


def differences(
    config: models.CollectionConfig, vectors: dict[str, VectorSpec], options: ServerOptions, others: bool = False
) -> list[str]:
    """Return in words how a collection differs from what is asked for; how it is searched does not count.

    others: whether it may hold other vectors besides.
    """
    there = _described(config, [*vectors] if others else None)
    asked: dict[str, Any] = {}
    for name, spec in vectors.items():
        params = _sparse_params(spec) if spec.sparse else _params(spec)
        asked |= {f"{name}: {key}": value for key, value in _kept(params, config).items()}
    for key, value in (
        ("shards", options.shards),
        ("replicas", options.replicas),
        ("write consistency", options.write_consistency),
    ):
        if value is None:  # left to the server
            del there[key]
        else:
            asked[key] = value
    return [
        f"{key} is {there.get(key, 'not there')}, asked for {asked.get(key, 'none')}"
        for key in sorted(there.keys() | asked.keys())
        if there.get(key) != asked.get(key)
    ]


def _sparse_params(spec: VectorSpec) -> models.SparseVectorParams:
    return models.SparseVectorParams(modifier=models.Modifier.IDF if spec.modifier else None)


def _sparse_kind(modifier: bool) -> str:
    return "sparse, IDF by Qdrant's modifier" if modifier else "sparse, IDF in the query"


def _params(spec: VectorSpec, memory: bool = True) -> models.VectorParams:
    storage = spec.storage
    multivector = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    return models.VectorParams(
        size=spec.dim,
        distance=models.Distance.COSINE,
        multivector_config=multivector if spec.multivector else None,
        datatype=models.Datatype(storage.datatype),
        quantization_config=_quantization(storage, memory),
        # With m=0 there is no graph. Over multivectors one costs tokens² comparisons an insertion.
        hnsw_config=models.HnswConfigDiff(m=storage.hnsw_m),
        memory=models.Memory.COLD if storage.on_disk and memory else None,
        on_disk=True if storage.on_disk and not memory else None,
    )


def _quantization(storage: Storage, memory: bool) -> models.QuantizationConfig | None:
    pinned: dict[str, Any] = {"memory": models.Memory.PINNED} if memory else {"always_ram": True}
    if storage.quantization is None:
        return None
    if storage.quantization == "int8":
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, **pinned)
        return models.ScalarQuantization(scalar=scalar)
    if storage.quantization == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(**pinned))
    turbo = models.TurboQuantQuantizationConfig(bits=_TURBO[storage.quantization], **pinned)
    return models.TurboQuantization(turbo=turbo)


def _described(config: models.CollectionConfig, only: list[str] | None = None) -> dict:
    """Return what is compared of a collection, in a flat dict; only: of these vectors."""
    params = config.params
    named = params.vectors if isinstance(params.vectors, dict) else {"": params.vectors} if params.vectors else {}
    described = {
        "shards": params.shard_number,
        "replicas": params.replication_factor,
        "write consistency": params.write_consistency_factor,
    }
    vectors: dict[str, Any] = {**named, **(params.sparse_vectors or {})}
    for name, vector in vectors.items():
        if only is not None and name not in only:
            continue
        described |= {f"{name}: {key}": value for key, value in _kept(vector, config).items()}
    return described


def _kept(params: models.VectorParams | models.SparseVectorParams, config: models.CollectionConfig) -> dict:
    """Return how one vector is kept, in Storage's words; what it leaves open is the collection's."""
    if isinstance(params, models.SparseVectorParams):
        return {"kind": _sparse_kind(params.modifier == models.Modifier.IDF)}
    hnsw = params.hnsw_config
    return {
        "kind": "multivector" if params.multivector_config else "vector",
        "size": params.size,
        "distance": params.distance.value,
        "datatype": (params.datatype or models.Datatype.FLOAT32).value,
        "quantization": _quantization_name(params.quantization_config or config.quantization_config),
        "hnsw_m": config.hnsw_config.m if hnsw is None or hnsw.m is None else hnsw.m,
        "on_disk": params.memory == models.Memory.COLD if params.memory else bool(params.on_disk),
    }


def _quantization_name(config: models.QuantizationConfig | None) -> str:
    if config is None:
        return "none"
    if isinstance(config, models.ScalarQuantization):
        return config.scalar.type.value
    if isinstance(config, models.BinaryQuantization):
        return "binary"
    if isinstance(config, models.TurboQuantization):
        bits = config.turbo.bits or models.TurboQuantBitSize.BITS4
        return f"turbo{bits.value.removeprefix('bits').replace('_', '.')}copy"
    return "product"
