"""Qdrant servers, clusters and Cloud: collections that are never dropped by surprise, uploads that survive."""

import sys
import warnings
from collections import Counter
from copy import copy
from itertools import accumulate, takewhile
from time import monotonic, sleep

import grpc
import numpy as np
from qdrant_client import models

from ragkit.engines import _grpc, versions
from ragkit.engines._client import ClientIndex, collection_name, differences, search_params, vectors_config
from ragkit.engines._connection import connect, point_bytes, resident_bytes, shortened, understood
from ragkit.engines._key import heard
from ragkit.engines._limits import Limits
from ragkit.engines._retries import TooLarge
from ragkit.engines.index import WHOLE
from ragkit.engines.inventory import MadeOf, nodes, note, reusable, token
from ragkit.engines.server_options import MAX_REQUEST_BYTES, ServerOptions
from ragkit.errors import RagkitError, shown
from ragkit.progress import progress
from ragkit.vectors import Sparse, Vector, VectorSpec

# Small copies and graphs are made of segments above so many kilobytes, as on Edge, once all is stored.
_INDEX_KB = 100
_POLL_S = 0.5
# Differences that a message tells.
_MOST_TOLD = 8


def require(url: str, vectors: dict[str, VectorSpec]) -> None:
    """Raise RagkitError if the server at an address does not answer, or cannot keep vectors so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever opens the index warns
        found = connect(url, ServerOptions().timeout)
    found.client.close()
    versions.require(found.version, vectors)


class ServerIndex(ClientIndex):
    """A collection on a Qdrant server; one that is there with the same vectors and content is continued.

    `content` is any text that stands for what is indexed; with it, and with how the vectors are kept, the name
    ends. Raises RagkitError if a collection of this name is otherwise than asked for, unless the options say that
    it may be deleted.
    """

    measurable = True

    def __init__(
        self,
        url: str,
        name: str,
        vectors: dict[str, VectorSpec],
        content: str,
        options: ServerOptions,
        made_of: MadeOf | None = None,
    ):
        self.url, self.options = shown(url), options  # for messages
        self._url = url
        self._made_of, self._token, self._grpc = made_of, "", False
        self._others = False  # whether the collection may hold other vectors too
        found = connect(url, options.timeout)
        client, self.version, self._retries = found.client, found.version, found.retries
        self._addresses = [found.url, *found.others]
        self._memory = resident_bytes(self._addresses)
        self.engine = self._server = f"Qdrant server {self.version}"
        self.batch_bytes = options.request_bytes
        self._beyond: list[int] = []
        self._indexed = all(spec.sparse or spec.storage.exact for spec in vectors.values())
        asked = [options.shards, options.replicas, options.write_consistency]
        if made_of is not None and any(asked):  # beside one that is spread otherwise
            content = f"{content} {asked}"
        kept = collection_name(name, vectors, content)
        if made_of is not None and not options.recreate:
            found_name = reusable(url, name, made_of, vectors, options)
            kept, self._others = found_name or kept, found_name is not None
        name = kept
        self.place = f"The collection {name} at {self.url}"
        self._limits = Limits(self.place, None)
        self._answering = f"What answers at {self.url}"
        try:
            versions.require(self.version, vectors)
            super().__init__(client, name, vectors)
        except BaseException:
            client.close()
            raise

    @property
    def lost_s(self) -> float:  # type: ignore[override]  # a constant elsewhere
        return self._retries.lost_s

    @property
    def again(self) -> Counter[str]:  # type: ignore[override]
        return self._retries.again

    def another(self) -> "ServerIndex":
        """Return the same index over a connection of its own, for another thread; nothing is read anew."""
        self._count_stored_words()  # once for all, since they share the counts
        other = copy(self)
        found = connect(self._url, self.options.timeout)
        other.client, other._retries = found.client, found.retries
        return other

    def memory_growth(self):
        before, after = self._memory, resident_bytes(self._addresses)
        # Of a cluster of which not all nodes tell it would be a part, and of others than before no growth.
        whole = before.keys() == after.keys() and len(after) == self.layout.get("nodes")
        return sum(after.values()) - sum(before.values()) if whole else float("nan")

    def _open(self) -> None:
        with understood(self._answering):
            self._find()

    def _find(self) -> None:
        exists = made = self.client.collection_exists(self.collection)
        if exists and self.options.recreate:
            count = self.client.count(self.collection, exact=True).count
            print(f"ragkit: deleting {self.collection} at {self.url}, {count:,} documents", file=sys.stderr)
            self.client.delete_collection(self.collection)
            exists = False
        if not exists:
            self._create()
        config = self.client.get_collection(self.collection).config
        different = differences(config, self.vectors, self.options, self._others)
        if different and exists:
            raise RagkitError(
                f"{self.place} is another one: {_listed(different)}. Ask for what it is (QDRANT_SHARDS, "
                "QDRANT_REPLICAS), choose another name, or delete it with ServerOptions(recreate=True)."
            )
        if different:
            raise RagkitError(
                f"{self._server} at {self.url} made the collection {self.collection} otherwise than asked: "
                f"{_listed(different)}. A newer server may know these settings (ragkit is made for 1.20)."
            )
        self._token = token(config)
        self._made = not made
        self._obey(config.strict_mode_config)
        self._lay_out(config.params)
        if exists:
            self._load()

    def _obey(self, strict: models.StrictModeConfigOutput | None) -> None:
        """Note what the collection's strict mode limits. Raises RagkitError if it forbids what the kit needs."""
        self._limits = Limits(self.place, strict)
        if not self._limits.exact:
            self._unmake()
            raise RagkitError(
                f"{self.place} allows no exact search (search_allow_exact is false in its strict mode), and the kit "
                "compares by exact search: set it to true for this collection, or choose another server."
            )
        self.batch_documents = self._limits.batch

    def _unmake(self) -> None:
        """Delete the collection if it was made at this opening, for it can be of no use."""
        if self._made:
            self.client.delete_collection(self.collection)

    def allow(self, limit):
        try:
            self._limits.allow(limit)
        except RagkitError:
            self._unmake()
            raise

    def _lay_out(self, params: models.CollectionParams) -> None:
        """Note how the collection is spread. Who may not ask how many nodes there are hears of shards alone."""
        self.shards = params.shard_number or 1
        count = nodes(self.client)
        self.layout = {"nodes": count} if count is not None else {}
        self.layout |= {"shards": self.shards, "replicas": params.replication_factor or 1}
        told = ", ".join(f"{count} {what if count > 1 else what[:-1]}" for what, count in self.layout.items())
        whole = f"; {WHOLE}" if self.shards > 1 else ""
        self.engine = f"{self._server} ({told}{whole})"

    def _create(self) -> None:
        try:
            self.client.create_collection(
                self.collection,
                **vectors_config(self.vectors, versions.numbers(self.version) >= versions.MEMORY),
                shard_number=self.options.shards,
                replication_factor=self.options.replicas,
                write_consistency_factor=self.options.write_consistency,
                metadata=note(self._made_of),
            )
        except RagkitError:
            # Another one, or a try of ours whose answer was lost, may have made it.
            if not self.client.collection_exists(self.collection):
                raise

    def _load(self) -> None:
        """Read which documents are stored without a gap; points beyond one are what an interruption left."""
        page = most = self._limits.page
        offset, last = None, -1
        while True:
            records, offset = self.client.scroll(
                self.collection, limit=page, offset=offset, with_payload=["doc_id"], with_vectors=False
            )
            for record in records:  # in the order of their ids
                doc_id = (record.payload or {}).get("doc_id")
                if not isinstance(record.id, int) or not isinstance(doc_id, str):
                    raise RagkitError(
                        f"{self.place} holds points that ragkit did not store, such as {heard(str(record.id), 40)}. "
                        "Choose another name."
                    )
                if record.id <= last:
                    raise self._disordered()
                last = record.id
                if record.id == len(self.doc_ids):
                    self.doc_ids.append(doc_id)
                else:
                    self._beyond.append(record.id)
            if offset is None:
                break
            read = len(self.doc_ids) + len(self._beyond)
            if read > most:  # another process may store more while this one reads
                most = self.client.count(self.collection, exact=True).count
            if not records or not isinstance(offset, int) or offset <= last or read > most:
                raise self._disordered()
        if len(set(self.doc_ids)) < len(self.doc_ids):
            raise self._disordered()
        self.reopened = bool(self.doc_ids)

    def _disordered(self) -> RagkitError:
        return RagkitError(
            f"{self.place} lists its documents twice, in no order or without an end, which Qdrant does not. Is "
            "something else at that address? Or store them anew with ServerOptions(recreate=True)."
        )

    def _check(self, doc_id, document):
        super()._check(doc_id, document)
        if 40 * sum(vector.size for vector in document.values()) < MAX_REQUEST_BYTES:  # quicker to tell
            return
        size = self._request_bytes(doc_id, document)
        if size > MAX_REQUEST_BYTES:
            rows = ", ".join(f"{name} {len(v)} rows" for name, v in document.items() if self.vectors[name].multivector)
            raise RagkitError(
                f"Document {doc_id!r} ({rows}) takes up to {size:,} bytes; a Qdrant server takes at most "
                f"{MAX_REQUEST_BYTES:,} a request. Split the document, or index its vectors apart."
            )

    def _request_bytes(self, doc_id, document):
        return point_bytes(doc_id, document)

    def _begin(self, documents):
        # In parts over REST where a limit is known: over gRPC a server says no more than that it failed.
        self._grpc = self.batch_documents is None and _grpc.is_same(self.client, self.collection, self._token)

    def _upsert(self, points, batch, doc_ids):
        if not self._grpc:
            return self._over_rest(points, batch, doc_ids)
        answer = _grpc.upsert(self.client, self.collection, points, batch, doc_ids, self.options.timeout)

        def wait() -> None:
            try:
                answer.result()
            except grpc.RpcError:
                self._grpc = False  # what REST says of it is understood, sent again, or cut in halves
                self._over_rest(points, batch, doc_ids)

        return wait

    def _over_rest(self, points: list[int], batch: list[dict[str, Vector]], doc_ids: list[str]) -> None:
        try:
            self._send(points, batch, doc_ids)
        except RagkitError as error:
            raise RagkitError(
                f"{error} {len(self.doc_ids):,} documents are stored; run it again, and it continues there."
            ) from error

    def _send(self, points: list[int], batch: list[dict[str, Vector]], doc_ids: list[str]) -> None:
        """Store a batch, in parts if it is too large for what takes it; later ones are as small from the start."""
        start, stop = 0, len(points)
        while start < len(points):
            part = slice(start, stop)
            try:
                with understood(self._answering):
                    super()._upsert(points[part], batch[part], doc_ids[part])
                start = stop
            except TooLarge as error:
                self._learn(error, batch[part], doc_ids[part])
            stop = start + self._passing(batch[start:], doc_ids[start:])

    def _learn(self, error: TooLarge, batch: list[dict[str, Vector]], doc_ids: list[str]) -> None:
        """Remember that half of this may pass, from now on; raise RagkitError if it is a document alone."""
        size = sum(map(self._request_bytes, doc_ids, batch))
        if len(batch) == 1:
            raise RagkitError(
                f"Document {doc_ids[0]!r} takes {size:,} bytes, which is too much for the server or a proxy before "
                f"it: {error} Or split the document."
            ) from None
        if "rate limiter" in str(error):
            self.batch_documents = len(batch) // 2
        else:
            self.batch_bytes = min(self.batch_bytes, size // 2)

    def _passing(self, batch: list[dict[str, Vector]], doc_ids: list[str]) -> int:
        """Return how many of the first documents may pass in one request, by what was learned; at least one."""
        sizes = accumulate(map(self._request_bytes, doc_ids, batch))
        count = sum(1 for _ in takewhile(lambda size: size <= self.batch_bytes, sizes))
        return max(1, min(count, self.batch_documents or count))

    def _finish(self):
        with understood(self._answering):
            self._settle()

    def _settle(self) -> None:
        stale: list[models.ExtendedPointId] = [point for point in self._beyond if point >= len(self.doc_ids)]
        page = min(self._limits.page, self.batch_documents or self._limits.page)
        for start in range(0, len(stale), page):
            self.client.delete(self.collection, models.PointIdsList(points=stale[start : start + page]), wait=True)
        self._beyond = []
        self._count()
        if not self._indexed:
            self._wait_for_index()

    def _count(self) -> None:
        """Raise RagkitError if the server does not hold what was stored; it may lag behind for a moment."""
        for wait in (0.1, 0.5, 2.0, 5.0, None):
            count = self.client.count(self.collection, exact=True).count
            if count == len(self.doc_ids):
                return
            if wait is not None:
                sleep(wait)
        raise RagkitError(
            f"{self.place} holds {count:,} documents, where {len(self.doc_ids):,} were stored. "
            "Does something else write to it? Store it anew with ServerOptions(recreate=True)."
        )

    def _wait_for_index(self) -> None:
        """Have the server make small copies and graphs of all that is stored, and wait until it has."""
        limit, calm = self.options.index_timeout, 0
        request_timeout = self._limits.timeout(limit)
        end = monotonic() + limit
        info = self.client.get_collection(self.collection)
        if info.config.optimizer_config.indexing_threshold != _INDEX_KB:
            optimizers = models.OptimizersConfigDiff(indexing_threshold=_INDEX_KB)
            self.client.update_collection(self.collection, optimizers_config=optimizers, timeout=request_timeout)
        with progress(len(self.doc_ids), "the server indexes", "vector") as bar:
            while True:
                info = self.client.get_collection(self.collection)
                if info.status == models.CollectionStatus.RED:
                    told = heard(str(info.optimizer_status))
                    raise RagkitError(f"{self._server} at {self.url} cannot index: {told}.")
                calm = calm + 1 if info.status == models.CollectionStatus.GREEN else 0
                if calm == 2:  # what was just asked for may not have begun the first time
                    break
                bar.update(min(info.indexed_vectors_count or 0, len(self.doc_ids)) - bar.n)
                if monotonic() > end:
                    raise RagkitError(
                        f"{self._server} at {self.url} still indexes {self.collection} after {limit:,} s. All "
                        "documents are stored: open it again later, or raise ServerOptions(index_timeout=…)."
                    )
                sleep(_POLL_S)
        self._indexed = True

    def _points(self, **request):
        with understood(self._answering):
            if not self._indexed:
                self._wait_for_index()
            self._limits.allow(request["limit"], *(stage.limit for stage in request.get("prefetch") or ()))
            return super()._points(**request)

    def _query_in_two(self, vector, using, limit, prefetch):
        # Within one request every shard would choose `depth` candidates of its own.
        stages = [
            models.QueryRequest(
                query=self._plain(stage.vector),
                using=stage.using,
                limit=stage.depth,
                params=self._search_params(stage.using),
                with_payload=False,
            )
            for stage in prefetch
        ]
        self._limits.allow(*(stage.depth for stage in prefetch))
        with understood(self._answering):
            if not self._indexed:
                self._wait_for_index()
            answers = self._limits.in_parts(
                "stages",
                stages,
                self._limits.searches,
                lambda part: self.client.query_batch_points(self.collection, part),
            )
        found = dict(hit for answer in answers for hit in self._ours(answer))
        if not found:
            return []
        size = self._limits.ids or len(found)
        query = self._plain(vector)

        def rerank(ids: list[int]) -> list[tuple[int, float]]:
            conditions = [models.HasIdCondition(has_id=[*ids[i : i + size]]) for i in range(0, len(ids), size)]
            return self._points(
                query=query,
                using=using,
                limit=limit,
                search_params=self._search_params(using),
                query_filter=models.Filter(should=[*conditions]),
            )

        rows = 1 if isinstance(vector, Sparse) or vector.ndim == 1 else len(vector)
        hits = self._limits.in_parts("candidates", sorted(found), size * self._limits.conditions(rows), rerank)
        return sorted(hits, key=lambda hit: (-hit[1], hit[0]))[:limit]

    def _stored(self, points, names):
        with understood(self._answering):
            page = self._limits.page
            for start in range(0, len(points), page):
                yield from super()._stored(points[start : start + page], names)

    def _search_params(self, using):
        return search_params(self.vectors[using].storage)

    def _plain(self, vector):
        if not np.isfinite(vector.values if isinstance(vector, Sparse) else vector).all():
            raise RagkitError("A vector has a number that is not finite, which JSON cannot hold: what made it?")
        return super()._plain(vector) if isinstance(vector, Sparse) else shortened(vector).tolist()


def _listed(differences: list[str]) -> str:
    """Return what differs as one text, of names and values that a server gave."""
    more = f"; and {len(differences) - _MOST_TOLD} more" if len(differences) > _MOST_TOLD else ""
    return "; ".join(heard(difference, 120) for difference in differences[:_MOST_TOLD]) + more
