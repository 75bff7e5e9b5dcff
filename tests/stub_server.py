"""A stub of a Qdrant server: its REST API over HTTP, with faults on demand, where no real server can run.

Every request is validated against the models that qdrant-client generates from Qdrant's OpenAPI description, which
forbid unknown fields. Answers are computed by qdrant-client's local mode. What it cannot show: speed, shards,
quantization, graphs and consensus; a collection's settings are kept and told, as a server does, and change nothing.
"""

import contextlib
import json
import re
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from pydantic import TypeAdapter, ValidationError
from qdrant_client import QdrantClient, models

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

    limit: bytes of a request at most, as Qdrant's max_request_size_mb. api_key: what requests must carry.
    """

    def __init__(self, limit: int = LIMIT, api_key: str | None = None, version: str = "1.20.0"):
        self.limit, self.api_key, self.version = limit, api_key, version
        self.engine = QdrantClient(":memory:")
        self.collections: dict[str, models.CreateCollection] = {}
        self.optimizers: dict[str, dict] = {}
        self.statuses: deque[str] = deque()  # of the collection, one for each time it is asked; then green
        self.forget: set[str] = set()  # settings of a vector that this server does not know, and ignores
        self.seen: list[Seen] = []
        self._faults: list[tuple[str, str, deque]] = []
        self._lock = threading.RLock()
        super().__init__(_handler(self))

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

    def requests(self, method: str, ending: str) -> list[Seen]:
        """Return the requests so far with this method and end of path."""
        return [seen for seen in self.seen if seen.method == method and seen.path.endswith(ending)]

    def handle(self, seen: Seen, content: bytes, part: bool = False) -> tuple[int, dict]:
        """Return the status and the body of the answer to a request."""
        if self.api_key and seen.path != "/" and seen.headers.get("api-key") != self.api_key:
            return 401, _error("Must provide an API key or an Authorization bearer token")
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
                    return 200, result if action is _version else {"result": result, "status": "ok", "time": 0.0}
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


def _version(stub, part):
    return {"title": "qdrant - vector search engine", "version": stub.version}


def _exists(stub, name, part):
    return {"exists": name in stub.collections}


def _create(stub, name, request: models.CreateCollection, part):
    if name in stub.collections:
        raise _Problem(409, f"Wrong input: Collection `{name}` already exists!")
    stub.engine.create_collection(name, request.vectors, sparse_vectors_config=request.sparse_vectors)
    stub.collections[name] = request
    return True


def _update(stub, name, request: models.UpdateCollection, part):
    _known(stub, name)
    stub.optimizers.setdefault(name, {}).update(_plain(request.optimizers_config))
    return True


def _drop(stub, name, part):
    if stub.collections.pop(name, None) is None:
        return False
    return stub.engine.delete_collection(name)


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
        "points_count": stub.engine.count(name).count,
        "segments_count": 2,
        "config": {
            "params": {
                "vectors": kept,
                "sparse_vectors": made.get("sparse_vectors"),
                "shard_number": made.get("shard_number", 1),
                "replication_factor": made.get("replication_factor", 1),
                "write_consistency_factor": made.get("write_consistency_factor", 1),
                "on_disk_payload": True,
            },
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
            "optimizer_config": {"default_segment_number": 0, "flush_interval_sec": 5} | stub.optimizers.get(name, {}),
            "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
            "metadata": made.get("metadata"),
        },
        "payload_schema": {},
    }
    return _plain(models.CollectionInfo.model_validate(info))


def _upsert(stub, name, request: models.PointsList, part):
    _known(stub, name)
    stub.engine.upsert(name, request.points[:: 2 if part else 1])
    return {"operation_id": 0, "status": "completed"}


def _delete(stub, name, request: models.PointsSelector, part):
    _known(stub, name)
    stub.engine.delete(name, request)
    return {"operation_id": 0, "status": "completed"}


def _count(stub, name, request: models.CountRequest, part):
    _known(stub, name)
    return {"count": stub.engine.count(name, request.filter).count}


def _scroll(stub, name, request: models.ScrollRequest, part):
    _known(stub, name)
    records, following = stub.engine.scroll(
        name,
        scroll_filter=request.filter,
        limit=request.limit or 10,
        offset=request.offset,
        with_payload=True if request.with_payload is None else request.with_payload,
        with_vectors=request.with_vector or False,
    )
    return {"points": [_plain(record) for record in records], "next_page_offset": following}


def _query(stub, name, request: models.QueryRequest, part):
    _known(stub, name)
    response = stub.engine.query_points(
        name,
        query=request.query,
        using=request.using,
        prefetch=request.prefetch,
        query_filter=request.filter,
        limit=request.limit or 10,
        offset=request.offset,
        with_payload=request.with_payload or False,
        with_vectors=request.with_vector or False,
        score_threshold=request.score_threshold,
    )
    return _plain(response)


def _batch(stub, name, request: models.QueryRequestBatch, part):
    return [_query(stub, name, search, part) for search in request.searches]


_WRITE, _READ = {"wait", "ordering", "timeout"}, {"consistency", "timeout"}
_C = "/collections/([^/]+)"
ROUTES = (
    ("GET", "/", None, set(), _version),
    ("GET", f"{_C}/exists", None, set(), _exists),
    ("GET", _C, None, set(), _info),
    ("PUT", _C, models.CreateCollection, {"timeout"}, _create),
    ("PATCH", _C, models.UpdateCollection, {"timeout"}, _update),
    ("DELETE", _C, None, {"timeout"}, _drop),
    ("PUT", f"{_C}/points", models.PointsList, _WRITE, _upsert),
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
            seen = Seen(self.command, address.path, length, headers, dict(parse_qsl(address.query)))
            stub.seen.append(seen)
            fault = stub.fault(self.command, address.path)
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
            content = json.dumps(body).encode()
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
