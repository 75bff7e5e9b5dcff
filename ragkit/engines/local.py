"""qdrant-client's local mode: NumPy in this process, for a first look."""

from qdrant_client import QdrantClient

from ragkit.engines._client import ClientIndex, vectors_config
from ragkit.errors import RagkitError
from ragkit.vectors import Storage, VectorSpec


class LocalIndex(ClientIndex):
    """A collection in qdrant-client's local mode (":memory:").

    Local mode is Python and NumPy, and its speed says nothing about Qdrant's. It ignores HNSW, quantization,
    datatypes and on-disk settings: raises RagkitError if one is asked for.
    """

    batch_bytes = 4 * 2**20
    measurable = False
    engine = "Qdrant local mode (NumPy, not for timing)"

    def __init__(self, name: str, vectors: dict[str, VectorSpec]):
        self.place = f"The collection {name} in local mode"
        super().__init__(QdrantClient(":memory:"), name, vectors)

    def _open(self):
        for name, spec in self.vectors.items():
            _refuse_in_local_mode(name, spec.storage)
        self.client.create_collection(self.collection, **vectors_config(self.vectors))

    def _finish(self):
        pass


def _refuse_in_local_mode(name: str, storage: Storage) -> None:
    if storage.exact and storage.datatype == "float32" and not storage.on_disk:
        return
    raise RagkitError(
        f"':memory:' ignores quantization, HNSW, datatype and on-disk settings, so what it measured of {name!r} with "
        f"{storage} would not be true. Use a folder (Qdrant Edge) or a server."
    )
