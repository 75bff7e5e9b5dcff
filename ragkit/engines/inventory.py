"""What ragkit keeps on a Qdrant server: noted when it is made, listed, known again, deleted."""

import secrets
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from qdrant_client import QdrantClient, models

from ragkit.boundary import public
from ragkit.engines._client import differences
from ragkit.engines._connection import Connection, connect, understood
from ragkit.engines._retries import Refused
from ragkit.engines.server_options import ServerOptions
from ragkit.errors import RagkitError, given, shown
from ragkit.vectors import VectorSpec

# The key of the note in a collection's metadata.
_KEY = "ragkit"
# How the names begin that ragkit chooses.
_PREFIX = "ragkit-"
# How often what fails is asked before it is called silent.
_TRIES = 2


@dataclass(frozen=True)
class MadeOf:
    """What a collection is made of: a dataset's name, a hash of its documents and how many, each vector's model.

    bytes: what its vectors take at most, as planned.
    """

    dataset: str
    documents: str
    count: int
    vectors: Mapping[str, str] = field(default_factory=dict)
    bytes: int = 0


@dataclass(frozen=True)
class Kept:
    """A collection that ragkit made: its documents, and where it is noted, of what it is made, when, and by whom."""

    name: str
    documents: int
    dataset: str
    vectors: tuple[str, ...]
    bytes: int | None
    made: str
    version: str


@dataclass(frozen=True)
class Found:
    """A server as a key sees it: how many nodes, which collections are ragkit's, which are strict, which do not answer.

    rights: "write" for all there is, "store" in collections that are there but make none, "read" alone, or "unknown"
    where that is not answered.
    """

    version: str
    url: str
    rights: str
    nodes: int | None
    kept: tuple[Kept, ...]
    strict: tuple[str, ...]
    silent: tuple[str, ...]


@public("The server cannot be asked")
def survey(url: str, timeout: int = 5) -> Found:
    """Return what a server has and lets QDRANT_API_KEY do; nothing is stored there.

    Raises RagkitError if no Qdrant server answers, or if it does not let the key read; warns as `connect` does.
    """
    found = connect(url, timeout)
    found.retries.tries = _TRIES
    with closing(found.client) as client, understood(f"What answers at {shown(url)}"):
        infos, silent = _infos(found)
        kept = tuple(_kept(name, info) for name, info in infos.items() if _is_ours(name, info))
        return Found(
            found.version,
            found.url,
            _rights(client, [one.name for one in kept]),
            nodes(client),
            kept,
            tuple(name for name, info in infos.items() if (s := info.config.strict_mode_config) and s.enabled),
            tuple(silent),
        )


@public("The collection cannot be deleted")
def delete(url: str, name: str) -> None:
    """Delete a collection that ragkit made, one that does not answer by its name alone, which begins as ragkit's do.

    Raises RagkitError if there is none of that name, or it is another's.
    """
    found = connect(url, ServerOptions().timeout)
    with closing(found.client) as client, understood(f"What answers at {shown(url)}"):
        infos, silent = _infos(found)
        if name in silent and not name.startswith(_PREFIX):
            raise RagkitError(f"The collection {given(name)} at {shown(url)} does not answer: {silent[name]}")
        if name not in infos | silent:
            raise RagkitError(f"There is no collection {given(name)} at {shown(url)}.")
        if name in infos and not _is_ours(name, infos[name]):
            raise RagkitError(f"ragkit did not make the collection {given(name)} at {shown(url)}: delete it otherwise.")
        client.delete_collection(name)


def reusable(
    url: str, prefix: str, made_of: MadeOf, vectors: dict[str, VectorSpec], options: ServerOptions
) -> str | None:
    """Return the name of a whole collection of the same documents that has these vectors, among others perhaps.

    Raises RagkitError if there is none, and one that may be it does not answer.
    """

    def fitting(infos: Mapping[str, models.CollectionInfo]) -> str | None:
        fit = []
        for name, info in infos.items():
            told = _noted(info.config)
            models_there = told.get("vectors", {})
            if (
                told.get("documents") == made_of.documents
                and info.points_count == made_of.count
                and all(models_there.get(n) == fingerprint for n, fingerprint in made_of.vectors.items())
                and not differences(info.config, vectors, options, others=True)
            ):
                fit.append((len(models_there), name))
        return min(fit)[1] if fit else None

    found = connect(url, options.timeout)
    with closing(found.client) as client, understood(f"What answers at {shown(url)}"):
        try:
            infos, silent = _infos(found, prefix)
        except Refused as error:
            if error.status == 403:  # the key may not list them
                return None
            raise
        if name := fitting(infos):
            return name
        for name in silent:  # it may be coming back: none but this one fits
            try:
                infos = {name: client.get_collection(name)}
            except RagkitError as why:  # to store all a second time would be worse
                raise RagkitError(
                    f"{name} at {shown(url)} may be one of the same documents, and does not answer: {why} Start the "
                    f"node that is gone, or delete it: ragkit collections --where … --delete {name}"
                ) from None
            if name := fitting(infos):
                return name
    return None


def most_shards(url: str, prefix: str, options: ServerOptions) -> int | None:
    """Return how many shards at most a collection has, that is there or would be made; None if that is not known.

    prefix: how the names of those that are there begin. A server's own number for a new one (`shard_number_per_node`)
    is told by nothing but those.
    """
    found = connect(url, options.timeout)
    with closing(found.client) as client, understood(f"What answers at {shown(url)}"):
        asked = options.shards or nodes(client)
        try:
            infos, silent = _infos(found, prefix)
        except Refused:
            return None
    if asked is None or silent or not (infos or options.shards):
        return None
    return max([asked, *(info.config.params.shard_number or 1 for info in infos.values())])


def note(made_of: MadeOf | None) -> dict[str, Any]:
    """Return what is kept in a new collection's metadata, with a token that no other collection has."""
    made = datetime.now(UTC).isoformat(timespec="seconds")
    told = {"version": version("ragkit"), "made": made, "token": secrets.token_hex(8)}
    return {_KEY: told | (asdict(made_of) if made_of else {})}


def token(config: models.CollectionConfig) -> str:
    """Return the token of a collection, "" if it has none."""
    return str(_noted(config).get("token", ""))


def nodes(client: QdrantClient) -> int | None:
    """Return how many nodes a server's cluster has; None for who may not ask."""
    try:
        status = client.cluster_status()
    except RagkitError:
        return None
    return len(status.peers) if isinstance(status, models.ClusterStatusOneOf1) else 1


def _infos(found: Connection, prefix: str = "") -> tuple[dict[str, models.CollectionInfo], dict[str, RagkitError]]:
    """Return what is told of each collection, and why of those that do not answer when asked _TRIES times."""
    infos, silent = {}, {}
    names = sorted(one.name for one in found.client.get_collections().collections)
    tries, found.retries.tries = found.retries.tries, _TRIES
    for name in names:
        if name.startswith(prefix):
            try:
                infos[name] = found.client.get_collection(name)
            except RagkitError as error:
                if not (isinstance(error, Refused) and error.status in (403, 404)):  # not for this key, gone meanwhile
                    silent[name] = error
    found.retries.tries = tries
    return infos, silent


def _noted(config: models.CollectionConfig) -> dict[str, Any]:
    told = (config.metadata or {}).get(_KEY)
    return told if isinstance(told, dict) else {}


def _is_ours(name: str, info: models.CollectionInfo) -> bool:
    return bool(_noted(info.config)) or name.startswith(_PREFIX)  # as older versions named them


def _kept(name: str, info: models.CollectionInfo) -> Kept:
    told, params = _noted(info.config), info.config.params
    named = params.vectors if isinstance(params.vectors, dict) else {}
    vectors = (*named, *(params.sparse_vectors or {}))
    dataset, made, by = (str(told.get(key, "-")) for key in ("dataset", "made", "version"))
    size = told.get("bytes")
    return Kept(
        name,
        info.points_count or 0,
        dataset,
        vectors,
        size if isinstance(size, int) else None,
        made,
        by,
    )


def _rights(client: QdrantClient, kept: list[str]) -> str:
    """Return what the key may change, as Found says it: asked by changes of nothing."""
    try:
        client.update_collection_aliases([])
        return "write"
    except RagkitError as error:
        if not (isinstance(error, Refused) and error.status == 403):
            return "unknown"
    for name in kept:
        try:
            client.delete(name, models.PointIdsList(points=[]))
            return "store"
        except Refused as error:
            if error.status == 400:  # empty, as who may write is told
                return "store"
        except RagkitError:
            return "unknown"
    return "read"
