"""Uploads over gRPC, where a server answers there: float32 as they are, and a second request while one waits."""

from typing import Any

import grpc
import numpy as np
from qdrant_client import QdrantClient
from qdrant_client import grpc as messages

from ragkit.errors import RagkitError
from ragkit.vectors import Sparse, Vector

# So long the port may take to answer whether it is the same server's.
_ASK_S = 2
# A wire type of protocol buffers: field 1, so many bytes.
_FIELD_1 = 0x0A


def port_beside(port: int) -> int:
    """Return the port at which Qdrant's gRPC is, unless somebody has put it elsewhere: the next one.

    >>> port_beside(6333)
    6334
    """
    return port + 1


def is_same(client: QdrantClient, collection: str, token: str) -> bool:
    """Return whether the port of gRPC answers, and has the collection with that token in its note."""
    try:
        asked = messages.GetCollectionInfoRequest(collection_name=collection)
        info = client._client.grpc_collections.Get(asked, timeout=_ASK_S)  # type: ignore[attr-defined]
        note = info.result.config.metadata["ragkit"].struct_value.fields["token"].string_value
    except (grpc.RpcError, ValueError, RuntimeError):
        return False
    return bool(token) and note == token


def upsert(
    client: QdrantClient, collection: str, points: list[int], batch: list[dict[str, Vector]], doc_ids: list[str], s: int
) -> Any:
    """Begin to store a batch; return gRPC's future, which has `s` seconds."""
    structs = [
        messages.PointStruct(
            id=messages.PointId(num=point),
            vectors=messages.Vectors(
                vectors=messages.NamedVectors(vectors={name: _vector(v) for name, v in vectors.items()})
            ),
            payload={"doc_id": messages.Value(string_value=doc_id)},
        )
        for point, vectors, doc_id in zip(points, batch, doc_ids, strict=True)
    ]
    request = messages.UpsertPoints(collection_name=collection, wait=True, points=structs)
    return client._client.grpc_points.Upsert.future(request, timeout=s)  # type: ignore[attr-defined]


def _vector(vector: Vector) -> Any:
    if isinstance(vector, Sparse):
        values, indices = vector.values.tolist(), vector.indices.tolist()
        return messages.Vector(sparse=messages.SparseVector(values=values, indices=indices))
    array = np.ascontiguousarray(vector, "<f4")
    if not np.isfinite(array).all():
        raise RagkitError("A vector has a number that is not finite: what made it?")
    # As bytes, which are what protocol buffers hold of floats: a list of Python numbers takes ten times as long.
    rows = np.atleast_2d(array)
    head = _head(rows.shape[1] * 4)
    dense = np.concatenate(
        [np.tile(np.frombuffer(head, np.uint8), (len(rows), 1)), rows.view(np.uint8).reshape(len(rows), -1)], axis=1
    )
    if array.ndim == 1:
        return messages.Vector(dense=messages.DenseVector.FromString(dense.tobytes()))
    outer = np.tile(np.frombuffer(_head(dense.shape[1]), np.uint8), (len(rows), 1))
    whole = np.concatenate([outer, dense], axis=1).tobytes()
    return messages.Vector(multi_dense=messages.MultiDenseVector.FromString(whole))


def _head(length: int) -> bytes:
    """Return what stands before so many bytes of field 1: the field, and the length in groups of 7 bits.

    >>> _head(512).hex()
    '0a8004'
    """
    groups = []
    while length > 127:
        groups.append(length & 127 | 128)
        length >>= 7
    return bytes([_FIELD_1, *groups, length])
