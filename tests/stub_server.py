"""A stub of a Qdrant server: its REST API over HTTP, with faults on demand, where no real server can run.

Every request is validated against the models that qdrant-client generates from Qdrant's OpenAPI description, which
forbid unknown fields. Answers are computed by qdrant-client's local mode. A collection of several shards is as many
of local mode's: points are spread by a hash of their ids, each shard answers for itself (its prefetches with their
limits, its IDF), answers are merged, and a fusion at the root is over the merged lists, as on a real cluster. What it
cannot show: speed, quantization, graphs and consensus; a collection's other settings are kept and told, as a server
does, and change nothing.
"""

import contextlib
import json
import re
import socket
import ssl
import threading
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from pydantic import TypeAdapter, ValidationError
from qdrant_client import QdrantClient, models
from qdrant_client.hybrid.fusion import distribution_based_score_fusion, reciprocal_rank_fusion

from tests.serving import Serving

LIMIT = 32 * 2**20


@dataclass
class Answer:
    """A fault: this status and message, and nothing is done."""

    status: int
    message: str = "the stub was told to fail"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Stall:
    """A fault: the request is carried out, and the answer comes so many seconds late."""

    seconds: float


@dataclass
class Cut:
    """A fault: the connection is cut "before" the request is read, "during" its upload, "after" it was carried
    out but before the answer, or after it was carried out in "part": every second point, as if one of two shards
    had not heard of it."""

    when: str


@dataclass
class Raw:
    """A fault: the request is read, `write` puts whatever it likes on the connection, which is then closed."""

    write: Callable[[socket.socket, threading.Event], None]


@dataclass
class Edit:
    """A fault: the request is carried out, and its answer changed by `change` before it is sent."""

    change: Callable[[dict], object]


Fault = Answer | Stall | Cut | Raw | Edit


@dataclass
class Seen:
    """A request that arrived: its body's bytes, and the body if it could be read."""

    method: str
    path: str
    bytes: int
    headers: dict[str, str]
    query: dict[str, str]
    body: dict | None = None
    status: int | None = None


class StubServer(Serving):
    """Use as a context manager; `url` is its address, `seen` the requests so far, `fail` scripts its faults.

    limit: bytes of a request at most, as Qdrant's max_request_size_mb. api_key: what requests must carry; read_key:
    what those that only read may. nodes: of the cluster, which makes `shards_per_node` on each if nobody asks for a
    number. strict: the strict mode of every collection. proxy: bytes that a proxy before the server takes at most.
    prefix: of every path, as a proxy may have one. tls: its certificate.
    """

    def __init__(
        self,
        limit: int = LIMIT,
        api_key: str | None = None,
        version: str = "1.20.0",
        nodes: int = 1,
        read_key: str | None = None,
        strict: dict | None = None,
        proxy: int | None = None,
        prefix: str = "",
        tls: ssl.SSLContext | None = None,
        shards_per_node: int = 1,
    ):
        self.limit, self.api_key, self.version, self.nodes = limit, api_key, version, nodes
        self.shards_per_node = shards_per_node
        self.read_key, self.strict, self.proxy, self.prefix = read_key, strict or {}, proxy, prefix
        self.engine = QdrantClient(":memory:")
        self.collections: dict[str, models.CreateCollection] = {}
        self.optimizers: dict[str, dict] = {}
        self.statuses: deque[str] = deque()  # of the collection, one for each time it is asked; then green
        self.forget: set[str] = set()  # settings of a vector that this server does not know, and ignores
        self.seen: list[Seen] = []
        self._faults: list[tuple[str, str, deque]] = []
        self._lock = threading.RLock()
        super().__init__(_handler(self), tls, quiet=tls is not None)

    def fail(self, method: str, ending: str, *faults: Fault | None) -> None:
        """Meet the next requests with this method and end of path with these faults in turn; None lets one pass."""
        self._faults.append((method, ending, deque(faults)))

    def fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for wanted, ending, faults in self._faults:
                if wanted == method and path.endswith(ending) and faults:
                    return faults.popleft()
        return None

    def heal(self) -> None:
        """Forget the faults that have not happened yet."""
        with self._lock:
            self._faults.clear()

    def shards(self, name: str) -> list[str]:
        """Return the names of a collection's shards, as collections of the engine."""
        return [name, *(f"{name}, shard {i}" for i in range(1, self.shard_number(name)))]

    def shard_number(self, name: str) -> int:
        return self.collections[name].shard_number or self.nodes * self.shards_per_node

    def requests(self, method: str, ending: str) -> list[Seen]:
        """Return the requests so far with this method and end of path."""
        return [seen for seen in self.seen if seen.method == method and seen.path.endswith(ending)]

    def handle(self, seen: Seen, content: bytes, part: bool = False) -> tuple[int, dict]:
        """Return the status and the body of the answer to a request."""
        key = seen.headers.get("api-key")
        if self.api_key and seen.path != "/" and key not in (self.api_key, self.read_key or self.api_key):
            return 401, _error("Must provide an API key or an Authorization bearer token")
        reads = seen.method == "GET" or re.search(r"/points(/(count|scroll|query|query/batch))?$", seen.path)
        if key and key == self.read_key and (not reads or seen.method == "PUT"):
            return 403, _error("Forbidden: Global manage access is required")
        if self.proxy and len(content) > self.proxy:
            return 413, "<html><head><title>413 Request Entity Too Large</title></head></html>"
        if len(content) > self.limit:
            sizes = f"({len(content)} bytes) is larger than allowed (limit: {self.limit} bytes)"
            return 400, _error(f"Payload error: JSON payload {sizes}.")
        for method, pattern, model, allowed, action in ROUTES:
            match = re.fullmatch(pattern, seen.path)
            if not match or method != seen.method:
                continue
            unknown = set(seen.query) - allowed
            if unknown:
                return 400, _error(f"Unknown query parameters: {', '.join(unknown)}")
            try:
                # Qdrant keeps every number of a vector as float32.
                seen.body = json.loads(content, parse_float=_float32) if content else None
                request = TypeAdapter(model).validate_python(seen.body) if model else None
            except (ValueError, ValidationError) as error:
                return 400, _error(f"Format error in JSON body: {error}")
            with self._lock:
                try:
                    result = action(self, *match.groups(), *([request] if model else []), part=part)
                    return 200, result if action in (_version, _metrics) else {
                        "result": result,
                        "status": "ok",
                        "time": 0.0,
                    }
                except _Problem as problem:
                    return problem.status, _error(str(problem))
                except ValueError as error:  # local mode's word for bad input
                    return 400, _error(str(error))
        return 404, _error(f"Not found: {seen.method} {seen.path}")


class _Problem(Exception):
    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def _float32(text: str) -> float:
    return float(np.float32(float(text)))


def _error(message: str) -> dict:
    return {"status": {"error": message}, "time": 0.0}


def _plain(model):
    return json.loads(model.model_dump_json(exclude_none=True))


def _known(stub: StubServer, name: str) -> None:
    if name not in stub.collections:
        raise _Problem(404, f"Not found: Collection `{name}` doesn't exist!")


def _at_most(stub: StubServer, setting: str, count: int, what: str) -> None:
    if count > stub.strict.get(setting, count):
        raise _Problem(400, f'Bad request: Limit exceeded {count} > {stub.strict[setting]} for "{what}".')


def _spend(stub: StubServer, kind: str, cost: int) -> None:
    """Refuse what can never pass a rate limit; the pace itself is not kept."""
    if cost > stub.strict.get(f"{kind.lower()}_rate_limit", cost):
        told = "request larger than rate limiter capacity, please try to split your request"
        raise _Problem(429, f"Rate limiting exceeded: {kind} rate limit exceeded, {told}")


def _cost(request: models.QueryRequest | models.Prefetch) -> int:
    """Return what a query costs: the rows of the vectors that are compared with all, and the conditions."""
    if request.prefetch:
        stages = request.prefetch if isinstance(request.prefetch, list) else [request.prefetch]
        return sum(map(_cost, stages))
    vector = getattr(request.query, "nearest", request.query)
    rows = len(vector) if isinstance(vector, list) and isinstance(vector[0], list) else 1
    return rows + len(_conditions(request))


def _conditions(request: models.QueryRequest | models.Prefetch) -> list:
    return request.filter.should or [] if request.filter else []


def _exactly(stub: StubServer, exact: bool | None) -> None:
    if exact and stub.strict.get("search_allow_exact") is False:
        raise _Problem(400, "Bad request: Exact search disabled!. Help: Set exact=false.")


def _version(stub, part):
    return {"title": "qdrant - vector search engine", "version": stub.version}


def _exists(stub, name, part):
    return {"exists": name in stub.collections}


def _list(stub, part):
    return {"collections": [{"name": name} for name in stub.collections]}


def _aliases(stub, request: models.ChangeAliasesOperation, part):
    assert not request.actions
    return True


def _create(stub, name, request: models.CreateCollection, part):
    if name in stub.collections:
        raise _Problem(409, f"Wrong input: Collection `{name}` already exists!")
    stub.collections[name] = request
    for shard in stub.shards(name):
        stub.engine.create_collection(shard, request.vectors, sparse_vectors_config=request.sparse_vectors)
    return True


def _update(stub, name, request: models.UpdateCollection, part):
    _known(stub, name)
    stub.optimizers.setdefault(name, {}).update(_plain(request.optimizers_config))
    return True


def _drop(stub, name, part):
    if name not in stub.collections:
        return False
    for shard in stub.shards(name):
        stub.engine.delete_collection(shard)
    del stub.collections[name]
    return True


def _info(stub, name, part):
    _known(stub, name)
    made = _plain(stub.collections[name])
    kept = {
        vector: {key: value for key, value in params.items() if key not in stub.forget}
        for vector, params in made.get("vectors", {}).items()
    }
    info = {
        "status": stub.statuses.popleft() if stub.statuses else "green",
        "optimizer_status": "ok",
        "indexed_vectors_count": 0,
        "points_count": sum(stub.engine.count(shard).count for shard in stub.shards(name)),
        "segments_count": 2,
        "config": {
            "params": {
                "vectors": kept,
                "sparse_vectors": made.get("sparse_vectors"),
                "shard_number": stub.shard_number(name),
                "replication_factor": made.get("replication_factor", 1),
                "write_consistency_factor": made.get("write_consistency_factor", 1),
                "on_disk_payload": True,
            },
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
            "optimizer_config": {"default_segment_number": 0, "flush_interval_sec": 5} | stub.optimizers.get(name, {}),
            "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
            "metadata": made.get("metadata"),
            "strict_mode_config": {"enabled": True, **stub.strict} if stub.strict else None,
        },
        "payload_schema": {},
    }
    return _plain(models.CollectionInfo.model_validate(info))


def _upsert(stub, name, request: models.PointsList, part):
    _known(stub, name)
    _at_most(stub, "upsert_max_batchsize", len(request.points), "upsert limit")
    _spend(stub, "Write", len(request.points))
    shards = stub.shards(name)
    spread: dict[str, list] = {}
    for point in request.points[:: 2 if part else 1]:
        spread.setdefault(shards[zlib.crc32(str(point.id).encode()) % len(shards)], []).append(point)
    for shard, points in spread.items():
        stub.engine.upsert(shard, points)
    return {"operation_id": 0, "status": "completed"}


def _delete(stub, name, request: models.PointsSelector, part):
    _known(stub, name)
    for shard in stub.shards(name):
        stub.engine.delete(shard, request)
    return {"operation_id": 0, "status": "completed"}


def _count(stub, name, request: models.CountRequest, part):
    _known(stub, name)
    _exactly(stub, request.exact)
    return {"count": sum(stub.engine.count(shard, request.filter).count for shard in stub.shards(name))}


def _retrieve(stub, name, request: models.PointRequest, part):
    _known(stub, name)
    _spend(stub, "Read", len(request.ids))
    payload = True if request.with_payload is None else request.with_payload
    found = [
        record
        for shard in stub.shards(name)
        for record in stub.engine.retrieve(shard, request.ids, payload, request.with_vector or False)
    ]
    return [_plain(record) for record in found]


def _scroll(stub, name, request: models.ScrollRequest, part):
    _known(stub, name)
    limit = request.limit or 10
    _at_most(stub, "max_query_limit", limit, "limit")
    records = [
        record
        for shard in stub.shards(name)
        for record in stub.engine.scroll(
            shard,
            scroll_filter=request.filter,
            limit=limit + 1,
            offset=request.offset,
            with_payload=True if request.with_payload is None else request.with_payload,
            with_vectors=request.with_vector or False,
        )[0]
    ]
    records.sort(key=lambda record: (isinstance(record.id, str), record.id))
    following = records[limit].id if len(records) > limit else None
    return {"points": [_plain(record) for record in records[:limit]], "next_page_offset": following}


def _query(stub, name, request: models.QueryRequest, part):
    _known(stub, name)
    limit, first = request.limit or 10, request.offset or 0
    _at_most(stub, "max_query_limit", limit, "limit")
    _exactly(stub, request.params and request.params.exact)
    _spend(stub, "Read", _cost(request))
    conditions = _conditions(request)
    for setting, what, size in (
        ("filter_max_conditions", "Filter condition", len(conditions)),
        ("condition_max_size", "Condition size", max((len(one.has_id) for one in conditions), default=0)),
    ):
        if size > stub.strict.get(setting, size):
            raise _Problem(400, f"Bad request: {what} limit reached ({size} > {stub.strict[setting]}). Help: …")
    ef = (request.params and request.params.hnsw_ef) or 0
    _at_most(stub, "search_max_hnsw_ef", ef, "hnsw_ef")
    if isinstance(request.query, models.RrfQuery | models.FusionQuery) and len(stub.shards(name)) > 1:
        stages = request.prefetch if isinstance(request.prefetch, list) else [request.prefetch]
        lists = [_merged(stub, name, stage, stage.limit or 10) for stage in stages]
        if isinstance(request.query, models.RrfQuery):
            points = reciprocal_rank_fusion(lists, first + limit, request.query.rrf.k, request.query.rrf.weights)
        else:
            assert request.query.fusion == models.Fusion.DBSF
            points = distribution_based_score_fusion(lists, first + limit)
    else:
        points = _merged(stub, name, request, first + limit)
    sent = [_plain(point) for point in points[first:]]
    for point in sent if len(stub.shards(name)) > 1 else ():
        if "payload" in point:  # what another node sends comes in any order
            point["payload"] = dict(reversed(point["payload"].items()))
    return {"points": sent}


def _merged(stub, name, request: models.QueryRequest | models.Prefetch, limit: int) -> list[models.ScoredPoint]:
    """Return the best of what each shard answers for itself."""
    points = [
        point
        for shard in stub.shards(name)
        for point in stub.engine.query_points(
            shard,
            query=request.query,
            using=request.using,
            prefetch=request.prefetch,
            query_filter=request.filter,
            limit=limit,
            with_payload=getattr(request, "with_payload", False) or False,
            with_vectors=getattr(request, "with_vector", False) or False,
            score_threshold=request.score_threshold,
        ).points
    ]
    return points if len(stub.shards(name)) == 1 else sorted(points, key=lambda point: (-point.score, point.id))[:limit]


def _batch(stub, name, request: models.QueryRequestBatch, part):
    _at_most(stub, "search_max_batchsize", len(request.searches), "search batch size")
    _spend(stub, "Read", sum(map(_cost, request.searches)))
    return [_query(stub, name, search, part) for search in request.searches]


def _metrics(stub, part):
    points = sum(stub.engine.count(shard).count for name in stub.collections for shard in stub.shards(name))
    return f"# TYPE memory_resident_bytes gauge\nmemory_resident_bytes {10**8 + 1000 * points}\n"


def _cluster(stub, part):
    if stub.nodes == 1:
        return {"status": "disabled"}
    peers = {str(i): {"uri": f"http://127.0.0.1:{7000 + i}/"} for i in range(stub.nodes)}
    raft = {"term": 1, "commit": 1, "pending_operations": 0, "is_voter": True}
    working = {"consensus_thread_status": "working", "last_update": "2026-11-30T00:00:00Z"}
    return {
        "status": "enabled",
        "peer_id": 0,
        "peers": peers,
        "raft_info": raft,
        "consensus_thread_status": working,
        "message_send_failures": {},
    }


_WRITE, _READ = {"wait", "ordering", "timeout"}, {"consistency", "timeout"}
_C = "/collections/([^/]+)"
ROUTES = (
    ("GET", "/", None, set(), _version),
    ("GET", "/cluster", None, set(), _cluster),
    ("GET", "/metrics", None, set(), _metrics),
    ("GET", "/collections", None, set(), _list),
    ("POST", "/collections/aliases", models.ChangeAliasesOperation, {"timeout"}, _aliases),
    ("GET", f"{_C}/exists", None, set(), _exists),
    ("GET", _C, None, set(), _info),
    ("PUT", _C, models.CreateCollection, {"timeout"}, _create),
    ("PATCH", _C, models.UpdateCollection, {"timeout"}, _update),
    ("DELETE", _C, None, {"timeout"}, _drop),
    ("PUT", f"{_C}/points", models.PointsList, _WRITE, _upsert),
    ("POST", f"{_C}/points", models.PointRequest, _READ, _retrieve),
    ("POST", f"{_C}/points/delete", models.PointsSelector, _WRITE, _delete),
    ("POST", f"{_C}/points/count", models.CountRequest, _READ, _count),
    ("POST", f"{_C}/points/scroll", models.ScrollRequest, _READ, _scroll),
    ("POST", f"{_C}/points/query", models.QueryRequest, _READ, _query),
    ("POST", f"{_C}/points/query/batch", models.QueryRequestBatch, _READ, _batch),
)


def _handler(stub: StubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            address = urlsplit(self.path)
            length = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            path = address.path.removeprefix(stub.prefix) if address.path.startswith(stub.prefix) else "/elsewhere"
            seen = Seen(self.command, path or "/", length, headers, dict(parse_qsl(address.query)))
            stub.seen.append(seen)
            fault = stub.fault(self.command, seen.path)
            if isinstance(fault, Cut) and fault.when in ("before", "during"):
                self.rfile.read(length // 2 if fault.when == "during" else 0)
                return self._cut()
            content = self.rfile.read(length)
            if isinstance(fault, Raw):
                with contextlib.suppress(OSError):  # the client has seen enough
                    fault.write(self.connection, stub.closing)
                return self._cut()
            if isinstance(fault, Answer):
                return self._send(seen, fault.status, _error(fault.message), fault.headers)
            status, body = stub.handle(seen, content, part=isinstance(fault, Cut) and fault.when == "part")
            if isinstance(fault, Cut):
                return self._cut()
            if isinstance(fault, Edit):
                body = fault.change(body)
            if isinstance(fault, Stall):
                stub.closing.wait(fault.seconds)
            return self._send(seen, status, body, {})

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve

        def _cut(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):  # the client was quicker
                self.connection.shutdown(socket.SHUT_RDWR)

        def _send(self, seen: Seen, status: int, body: object, headers: dict) -> None:
            seen.status = status
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            try:
                self.send_response(status)
                for name, value in {
                    "Content-Type": "application/json",
                    "Content-Length": len(content),
                    **headers,
                }.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the client has given up
                self.close_connection = True

        def log_message(self, *_) -> None:
            pass

    return Handler
