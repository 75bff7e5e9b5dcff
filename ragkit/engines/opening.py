"""One interface over Qdrant's engines: local mode, Qdrant Edge, a server."""

import errno
import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from ragkit.addresses import checked, is_address
from ragkit.boundary import public
from ragkit.engines.edge import EdgeIndex
from ragkit.engines.folder import LOCK, sweep, usable
from ragkit.engines.index import Index
from ragkit.engines.server_options import ServerOptions
from ragkit.errors import RagkitError
from ragkit.files import expanded, saying
from ragkit.paths import cache_dir
from ragkit.vectors import VectorSpec

if TYPE_CHECKING:  # half a second to import, and Edge does without
    from qdrant_client import QdrantClient

    from ragkit.engines.inventory import MadeOf

TEMPORARY = ":temporary:"  # a place: Qdrant Edge in a temporary folder, whatever QDRANT_URL says


def chosen_place(where: str | Path | None) -> str | None:
    """Return where an index is to be: as given, else what `QDRANT_URL` says; None is a temporary folder.

    So is TEMPORARY, with `QDRANT_URL` or without. `:memory:` may be written in any case, as the scheme of an address
    may. Raises RagkitError as addresses.checked does for what is meant as an address, and for a file, or a folder that
    holds something else than an index.
    """
    chosen = str(where) if where is not None else os.environ.get("QDRANT_URL", "").strip() or None
    if chosen and is_address(chosen):
        return checked(chosen)
    if chosen and chosen.lower() == ":memory:":
        return ":memory:"
    if chosen == TEMPORARY:
        return None
    if chosen is not None:
        usable(expanded(chosen))
    return chosen


@public("The index cannot be opened")
def open_index(
    where: str | Path | None,
    vectors: dict[str, VectorSpec],
    name: str = "ragkit",
    content: str = "",
    options: ServerOptions | None = None,
    made_of: "MadeOf | None" = None,
) -> Index:
    """Return an index in the engine that `where` names; empty if it did not exist.

    where: ":memory:" (qdrant-client's local mode), a URL (a Qdrant server, with `QDRANT_API_KEY`), a
    folder (Qdrant Edge, kept), ":temporary:" (Qdrant Edge in a folder of its own in temporary_place, from which those
    of killed processes are swept first), or None: `QDRANT_URL` if set, else as ":temporary:".
    vectors: the spec of each named vector. name: the collection's name on a server. content: any text
    that stands for what is indexed; a kept index is opened again only for the same content, and on a
    server it and the vectors end the collection's name. options: for a server; by default what QDRANT_SHARDS and
    QDRANT_REPLICAS say. made_of: what is noted in a collection that is made on a server; one that has these vectors of
    the same, among others perhaps, is opened in its place. Raises RagkitError if a folder or a collection holds
    something else, a disk is full, a server does not answer, or ":memory:" is asked for what it ignores.

    >>> import numpy as np
    >>> with open_index(":memory:", {"dense": VectorSpec(2, False)}) as index:
    ...     index.add(["a", "b"], {"dense": [np.array([1.0, 0.0]), np.array([0.0, 1.0])]})
    ...     index.search(np.array([0.0, 2.0]), "dense", limit=1)
    [('b', 1.0)]
    """
    where = chosen_place(where)
    if where is None:
        return temporary_index(vectors, name)
    if where == ":memory:" or is_address(where):
        return _client_index(where, vectors, name, content, options, made_of)
    return EdgeIndex(expanded(where), vectors, content)


@public("No client can be made")
def open_client() -> "QdrantClient":
    """Return qdrant-client's own client of the server that `QDRANT_URL` names, else `QdrantClient(":memory:")`.

    The server is found as open_index finds it, of several addresses the first that answers, and asked with
    `QDRANT_API_KEY`. A folder or ":temporary:" is Qdrant Edge's, which has no client, so it is as no server at all.
    Raises RagkitError as open_index does for an address, and if no server answers.

    >>> open_client().collection_exists("films")
    False
    """
    from qdrant_client import QdrantClient  # half a second to import

    from ragkit.engines._connection import connect

    where = chosen_place(None)
    return connect(where, ServerOptions().timeout).client if where and is_address(where) else QdrantClient(":memory:")


def temporary_index(vectors: dict[str, VectorSpec], name: str = "ragkit") -> Index:
    """Return an empty index of Qdrant Edge that is removed when it is closed, whatever `QDRANT_URL` says.

    vectors, name: see open_index. Raises RagkitError as temporary_place does.
    """
    folder = temporary_place()
    with (
        saying(f"No temporary index can be made in {folder}", "set RAGKIT_CACHE to another folder"),
        FileLock(folder / LOCK, timeout=60),  # so that nobody who sweeps sees a folder before it has its own lock
    ):
        sweep(folder)
        return EdgeIndex(folder / f"{name}-{secrets.token_hex(4)}", vectors, temporary=True)


def passing_index(vectors: dict[str, VectorSpec], name: str = "ragkit") -> Index:
    """Return an empty index that nobody keeps: temporary_index's, or local mode's where no folder can be written to.

    vectors, name: see open_index. For a first look: local mode is slow where there are many documents.
    """
    try:
        temporary_place()
    except RagkitError:
        return _client_index(":memory:", vectors, name, "", None, None)
    return temporary_index(vectors, name)


def temporary_place() -> Path:
    """Return the folder that temporary indexes are made in, itself made if absent.

    It is `edge` in the cache, or a folder of this user's among the system's temporary ones if the cache cannot be
    written to: one that holds all embeddings is only read. Raises RagkitError if neither can be written to.
    """
    cached = cache_dir() / "edge"
    advice = "to a folder that can be written to, or name another place with --where"
    with saying(f"No temporary index can be made in {cached}", f"set RAGKIT_CACHE {advice}"):
        try:
            return _tried(cached)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
    both = f"neither in {cached} nor in the system's temporary folder"
    with saying(f"No temporary index can be made, {both}", f"set RAGKIT_CACHE or TMPDIR {advice}"):
        return _tried(_of_the_system())


def _tried(folder: Path) -> Path:
    """Return the folder, made if absent; OSError if nothing can be made in it."""
    folder.mkdir(exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
    return folder


def _of_the_system() -> Path:
    """Return this user's folder among the system's temporary ones; PermissionError if another made it first."""
    user = os.geteuid() if hasattr(os, "geteuid") else "indexes"  # on Windows that place is a user's own
    folder = Path(tempfile.gettempdir()) / f"ragkit-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or (hasattr(os, "geteuid") and folder.stat().st_uid != os.geteuid()):
        raise PermissionError(errno.EACCES, "it is another user's", str(folder))
    return folder


def _client_index(where: str, vectors: dict[str, VectorSpec], name: str, content: str, options, made_of) -> Index:
    # Half a second to import, and Edge does without.
    if where == ":memory:":
        from ragkit.engines.local import LocalIndex

        return LocalIndex(name, vectors)
    from ragkit.engines.server import ServerIndex

    return ServerIndex(where, name, vectors, content, options or ServerOptions.from_environment(), made_of)
