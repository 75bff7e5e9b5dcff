"""One interface over Qdrant's engines: local mode, Qdrant Edge, a server."""

import os
import tempfile
from pathlib import Path

from ragkit.edge import EdgeIndex
from ragkit.errors import RagkitError
from ragkit.index_base import Fusion, Hits, Index, Prefetch, Sparse, Vector, VectorSpec
from ragkit.paths import cache_dir

__all__ = ["Fusion", "Hits", "Index", "Prefetch", "Sparse", "Vector", "VectorSpec", "open_index"]


def open_index(
    where: str | Path | None, vectors: dict[str, VectorSpec], name: str = "ragkit", content: str = ""
) -> Index:
    """Return an index in the engine that `where` names; empty if it did not exist.

    where: ":memory:" (qdrant-client's local mode), a URL (a Qdrant server, with `QDRANT_API_KEY`), a
    folder (Qdrant Edge, kept), or None: `QDRANT_URL` if set, else Qdrant Edge in a temporary folder.
    vectors: the spec of each named vector. name: the collection's name on a server. content: any text
    that stands for what is indexed; a kept index is opened again only for the same content, and on a
    server the collection's name carries it. Raises RagkitError if a folder holds something else, or
    a server does not answer.

    >>> import numpy as np
    >>> with open_index(":memory:", {"dense": VectorSpec(2, False)}) as index:
    ...     index.add(["a", "b"], {"dense": [np.array([1.0, 0.0]), np.array([0.0, 1.0])]})
    ...     index.search(np.array([0.0, 2.0]), "dense", limit=1)
    [('b', 1.0)]
    """
    where = where if where is not None else os.environ.get("QDRANT_URL")
    if where is None:
        folder = cache_dir() / "edge"
        folder.mkdir(exist_ok=True)
        return EdgeIndex(Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder)), vectors, temporary=True)
    if str(where).startswith((":memory:", "http://", "https://")):
        return _client_index(str(where), vectors, name, content)
    return EdgeIndex(Path(where), vectors, content)


def _client_index(where: str, vectors: dict[str, VectorSpec], name: str, content: str) -> Index:
    # Half a second to import, and Edge does without.
    from qdrant_client import QdrantClient

    from ragkit.client import ClientIndex

    if where == ":memory:":
        return ClientIndex(QdrantClient(":memory:"), name, vectors, "Qdrant local mode (NumPy, not for timing)")
    try:
        client = QdrantClient(url=where, api_key=os.environ.get("QDRANT_API_KEY"), timeout=60)
        collection = f"{name}-{content[:12]}" if content else name
        return ClientIndex(client, collection, vectors, f"Qdrant server {client.info().version}")
    except Exception as error:
        raise RagkitError(f"No Qdrant server answers at {where} ({error}). Check QDRANT_URL, or unset it.") from error
