"""Servers that are broken, hostile, or something else: of Qdrant, of mirrors, of archives, of models.

Each is given a key that no message may hold, and what went wrong once must go right once the server is whole.
"""

import contextlib
import functools
import hashlib
import io
import json
import os
import random
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np

from ragkit import ServerOptions, Storage, VectorSpec, compare, load_beir, load_movies, open_index
from ragkit.files import write_sums
from tests.faults import answers
from tests.faults.answers import CONTROL, HTML, Write, endless, head, page, raw
from tests.faults.trials import CLEAR, SURVIVED, Room, Trial, ask, command, well_said
from tests.serving import Serving
from tests.stub_server import Edit, Raw, StubServer

KEY, PASSWORD = "k3y-of-the-server", "pa55-of-the-address"
SECRETS = (KEY, PASSWORD)
SPECS = {"dense": VectorSpec(24), "colbert": VectorSpec(8, True)}
QUANTIZED = {"dense": VectorSpec(24, storage=Storage(quantization="int8"))}
DOC_IDS = [f'film "{i}" é🎬' for i in range(40)]
QUICK = ServerOptions(timeout=1, request_bytes=20_000, index_timeout=1)
# Where a fault meets the requests of an index that is opened, filled and searched.
STAGES = {
    "the greeting": ("GET", "/"),
    "whether a collection exists": ("GET", "/exists"),
    "making a collection": ("PUT", "s/films"),
    "a collection's settings": ("GET", "s/films"),
    "storing": ("PUT", "/points"),
    "a count": ("POST", "/count"),
    "a search": ("POST", "/query"),
    "what is stored": ("POST", "/scroll"),
}
FOR_EVER = 200


def prepare(kit: Path) -> None:
    os.environ["RAGKIT_CACHE"] = str(kit / "cache")
    compare(load_movies(), ["dense"])  # encodes the films and their queries
    folder = kit / "tiny"
    (folder / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": f"d{i}", "title": "", "text": f"Film {i} is about a sea."}) for i in range(2000)]
    (folder / "corpus.jsonl").write_text("\n".join(lines), "utf8")
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "the sea"}), "utf8")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td1\t1\n", "utf8")
    with zipfile.ZipFile(kit / "tiny.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, f"tiny/{path.relative_to(folder)}")
    names = ["-subj", "/CN=qdrant.example", "-keyout", str(kit / "tls.pem"), "-out", str(kit / "tls.pem")]
    with contextlib.suppress(OSError):  # without openssl, its trial is one of a server that closes
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *names], capture_output=True)


def trials(rng: random.Random) -> Iterator[Trial]:
    yield from _answers_of_a_server(rng)
    yield from _contents()
    yield from _redirects(rng)
    yield from _connections()
    yield from _keys()
    yield from _addresses()
    yield from _commands()
    yield from _downloads(rng)
    yield from _hubs()


# A Qdrant server


@functools.cache
def _vectors() -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(3)
    return {
        "dense": list(rng.standard_normal((len(DOC_IDS), 24)).astype(np.float32)),
        "colbert": [rng.standard_normal((n, 8)).astype(np.float32) for n in rng.integers(1, 9, len(DOC_IDS))],
    }


def _whole(where: str, specs: dict[str, VectorSpec] = SPECS, documents: int = len(DOC_IDS)) -> list:
    """Open an index, store what it lacks, and return what it finds."""
    vectors = {name: _vectors()[name] for name in specs}
    with open_index(where, specs, "films", options=QUICK) as index:
        done = len(index.doc_ids)
        index.add(DOC_IDS[done:documents], {name: arrays[done:documents] for name, arrays in vectors.items()})
        return [index.search(arrays[7], name, 12) for name, arrays in vectors.items()]


@functools.cache
def _expected() -> list:
    return _whole(":memory:")


def _same(found: list, expected: list | None = None) -> bool:
    """Return whether searches found the same documents in the same order, with scores of the same seven digits."""
    pairs = list(zip(found, expected or _expected(), strict=True))
    ids = all([doc_id for doc_id, _ in a] == [doc_id for doc_id, _ in b] for a, b in pairs)
    return ids and all(np.allclose([s for _, s in a], [s for _, s in b], rtol=1e-6) for a, b in pairs)


def _hurry() -> None:
    """Wait between tries as the kit does, but a hundredth as long."""
    from ragkit.engines import _retries

    _retries._FIRST_WAIT_S = 0.005
    _retries._LONGEST_WAIT_S = 0.05


def _meeting(stage: str, fault, specs: dict[str, VectorSpec] = SPECS, times: int = FOR_EVER) -> Callable[[Room], str]:
    """Return a trial in which requests of a stage meet a fault; once it is over, all must be as if nothing was."""

    def work(room: Room) -> str:
        _hurry()
        os.environ["QDRANT_API_KEY"] = KEY
        with StubServer(api_key=KEY) as stub:
            if stage == "what is stored":
                _whole(stub.url, specs, 30)
            stub.fail(*STAGES[stage], *[fault] * times)
            outcome = ask(lambda: _whole(stub.url, specs), _same if specs is SPECS else None, SECRETS)
            stub.heal()
            assert specs is not SPECS or _same(_whole(stub.url, specs)), "not whole once the server was"
        return outcome

    return work


def _answers_of_a_server(rng: random.Random) -> Iterator[Trial]:
    kinds = {"ended": answers.ended, "broken": answers.broken, "slow": answers.slow, "large": answers.large}
    for kind, named in kinds.items():
        for name, write in named():
            # What never ends is met at the greeting, which is not sent again, and at one other stage.
            others = [stage for stage in STAGES if stage != "the greeting"]
            stages = ["the greeting", *rng.sample(others, 1 if kind in ("ended", "slow") else 2)]
            for stage in stages:
                if _harmless(name, stage):
                    continue
                yield Trial(f"{stage}: {name}", _meeting(stage, Raw(write)), seconds=60)


def _harmless(name: str, stage: str) -> bool:
    """Return whether an answer is the right one at this stage, or says no more than that it was done."""
    return "5, and more" in name and stage == "storing"


def _edited(change: Callable[[object], object]) -> Edit:
    def edit(body: dict) -> object:
        return {**body, "result": change(body["result"])}

    return Edit(edit)


def _points(change: Callable[[list], object]) -> Edit:
    return _edited(lambda result: {**result, "points": change(list(result["points"]))})


def _contents() -> Iterator[Trial]:
    """Answers that are well formed and wrong."""

    def each(key: str, value: object) -> Edit:
        return _points(lambda points: [{**point, key: value} for point in points])

    def first(key: str, value: object) -> Edit:
        return _points(lambda points: [{**points[0], key: value}, *points[1:]])

    search = {
        "no hits": _points(lambda points: []),
        "half the hits": _points(lambda points: points[::2]),
        "one hit fewer": _points(lambda points: points[:-1]),
        "one hit twice": _points(lambda points: [points[0], *points[:-1]]),
        "all hits twice": _points(lambda points: points + points),
        "a hit more": _points(lambda points: [*points, {**points[0], "id": 39}]),
        "hits in another order": _points(lambda points: points[::-1]),
        "an unknown id": first("id", 4_000),
        "an id of 2^63": first("id", 2**63),
        "an id of 2^70": first("id", 2**70),
        "a negative id": first("id", -1),
        "an id that is a UUID": first("id", "9d6a2b1e-0f0c-4f4b-8f63-0c1d4b1f7f10"),
        "an id that is a number in quotes": first("id", "3"),
        "an id that is true": first("id", True),
        "ids of nothing": each("id", None),
        "a score of NaN": first("score", float("nan")),
        "scores of NaN": each("score", float("nan")),
        "a score of infinity": first("score", float("inf")),
        "a score in words": first("score", "high"),
        "no scores": each("score", None),
        "a score of 1e300": first("score", 10**300),
        "a score of 10^400": first("score", 10**400),
        "points of nothing": _edited(lambda result: {"points": None}),
        "a list in a list": _edited(lambda result: [result]),
    }
    for name, fault in search.items():
        yield Trial(f"a search: {name}", _meeting("a search", fault))
    counts = {"one fewer": 39, "one more": 41, "none": 0, "a negative one": -40, "a huge one": 10**30}
    for name, count in {**counts, "half a one": 39.5, "one in quotes": "forty", "nothing": None}.items():
        fault = _edited(lambda result, count=count: {"count": count})
        yield Trial(f"a count: {name}", _meeting("a count", fault))
    stored = {
        "the same page for ever": _edited(lambda result: {**result, "next_page_offset": 0}),
        "empty pages for ever": _edited(lambda result: {"points": [], "next_page_offset": 5}),
        "an offset that is a UUID": _edited(lambda result: {**result, "next_page_offset": "9d6a2b1e-0f0c-4f4b-8f63-0"}),
        "an offset beyond": _edited(lambda result: {**result, "next_page_offset": 2**63}),
        "twice the same": _points(lambda points: [points[0], *points]),
        "another order": _points(lambda points: points[::-1]),
        "one missing": _points(lambda points: points[:3] + points[4:]),
        "a UUID": first("id", "9d6a2b1e-0f0c-4f4b-8f63-0c1d4b1f7f10"),
        "a negative id": first("id", -7),
        "no payload": each("payload", None),
        "another payload": each("payload", {"title": "x"}),
        "a document's id that is a number": each("payload", {"doc_id": 7}),
        "a document's id that is nothing": each("payload", {"doc_id": None}),
        "a document's id that is a list": each("payload", {"doc_id": [1]}),
        "one document's id for all": each("payload", {"doc_id": "film"}),
        "a document's id of 5 MB with control characters": first("payload", {"doc_id": CONTROL * 300_000}),
        "a point's id of control characters": first("id", CONTROL),
        "points of nothing": _edited(lambda result: {"points": None}),
    }
    for name, fault in stored.items():
        yield Trial(f"what is stored: {name}", _meeting("what is stored", fault))
    endless_pages = _EndlessPages()
    yield Trial(
        "what is stored: new documents for ever", _meeting("what is stored", endless_pages.fault(), times=10**6)
    )
    for name, change in _settings().items():
        yield Trial(f"a collection's settings: {name}", _meeting("a collection's settings", _edited(change)))
    for status in ("yellow", "grey", "red", "mauve", None):
        fault = _edited(lambda result, status=status: {**result, "status": status, "optimizer_status": "ok"})
        yield Trial(f"an index that is {status} for ever", _meeting("a collection's settings", fault, QUANTIZED))
    broken = {"status": "red", "optimizer_status": {"error": CONTROL * 100_000 + KEY}}
    fault = _edited(lambda result: {**result, **broken})
    yield Trial(
        "an index that fails with 2 MB of control characters", _meeting("a collection's settings", fault, QUANTIZED)
    )
    for name, value in {"null": None, "maybe": "maybe", "7": 7, "a list": [True], "what is not so": True}.items():
        fault = _edited(lambda result, value=value: {"exists": value})
        yield Trial(f"exists: {name}", _meeting("whether a collection exists", fault))
    versions = [
        "",
        "x",
        "1",
        "1.20",
        "999.0.0",
        "0.0.1",
        "1.20.0" + CONTROL,
        "1.20.0" * 10**6,
        None,
        7,
        f"1.2.3 {KEY}",
        "٣.٤.٥",
    ]
    for version in versions:
        fault = Edit(lambda body, version=version: {**body, "version": version})
        yield Trial(f"the greeting: version {version!a:.40}", _greeting(fault))
    for state in ("acknowledged", "wait_timeout", "lost", None):
        fault = _edited(lambda result, state=state: {**result, "status": state})
        yield Trial(f"storing: {state}", _meeting("storing", fault))
    yield Trial("storing: done, and nothing is stored", _meeting("storing", Raw(page("200 OK", _DONE))))


_DONE = b'{"result": {"operation_id": 0, "status": "completed"}, "status": "ok", "time": 0.0}'


class _EndlessPages:
    """A list of documents that goes on, with new ones for ever."""

    def __init__(self):
        self.start = 0

    def fault(self) -> Edit:
        def change(_):
            ids = range(self.start, self.start + 10_000)
            self.start += 10_000
            points = [{"id": i, "payload": {"doc_id": f"new {i}"}} for i in ids]
            return {"points": points, "next_page_offset": self.start}

        return _edited(change)


def _settings() -> dict[str, Callable]:
    """Return changes of what a server says that a collection is."""

    def put(*path: str, value: object) -> Callable[[dict], dict]:
        def change(result: dict) -> dict:
            result = json.loads(json.dumps(result))
            inner = result
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value
            return result

        return change

    params = ("config", "params")
    return {
        "no config": put("config", value=None),
        "no vectors": put(*params, "vectors", value=None),
        "one vector without a name": put(*params, "vectors", value={"size": 24, "distance": "Cosine"}),
        "vectors of other names": put(*params, "vectors", value={CONTROL + KEY: {"size": 24, "distance": "Cosine"}}),
        "9,000 vectors": put(*params, "vectors", value={f"v{i}": {"size": 4, "distance": "Dot"} for i in range(9000)}),
        "another size": put(*params, "vectors", "dense", "size", value=25),
        "a size of 10^30": put(*params, "vectors", "dense", "size", value=10**30),
        "a negative size": put(*params, "vectors", "dense", "size", value=-24),
        "a distance of no kind": put(*params, "vectors", "dense", "distance", value="near"),
        "no distance": put(*params, "vectors", "dense", "distance", value=None),
        "a datatype of no kind": put(*params, "vectors", "dense", "datatype", value=CONTROL),
        "a quantization of no kind": put(*params, "vectors", "dense", "quantization_config", value={"magic": {}}),
        "a graph of no kind": put(*params, "vectors", "dense", "hnsw_config", value={"m": "many"}),
        "no graph's settings": put("config", "hnsw_config", value=None),
        "no optimizer's settings": put("config", "optimizer_config", value=None),
        "a product quantization": put(
            *params, "vectors", "dense", "quantization_config", value={"product": {"compression": "x4"}}
        ),
    }


def _greeting(fault) -> Callable[[Room], str]:
    def work(room: Room) -> str:
        os.environ["QDRANT_API_KEY"] = KEY
        with StubServer(api_key=KEY) as stub:
            stub.fail(*STAGES["the greeting"], *[fault] * 2)

            def shown() -> None:
                with open_index(stub.url, SPECS, "films", options=QUICK) as index:
                    well_said(f"{index!r} {index.engine} {index.place}", SECRETS)

            return ask(shown, None, SECRETS)

    return work


def _redirects(rng: random.Random) -> Iterator[Trial]:
    """A redirect is not followed with the key, wherever it leads."""
    for status in (301, 302, 303, 307, 308):
        for stage in rng.sample(list(STAGES), 2):
            yield Trial(f"{stage}: {status} to another host", functools.partial(_redirected, stage, status))


def _redirected(stage: str, status: int, room: Room) -> str:
    with Files({}) as other:
        page_ = page(f"{status} Found", b"", f"Location: {other.url}/collections?{KEY}")
        outcome = _meeting(stage, Raw(page_))(room)
        assert not [seen for seen in other.seen if KEY in str(seen)], "the key was sent to another host"
    assert outcome == CLEAR, "a redirect was followed"
    return outcome


def _connections() -> Iterator[Trial]:
    """Addresses at which there is no Qdrant server."""

    def at(url: Callable[[Room], contextlib.AbstractContextManager]) -> Callable[[Room], str]:
        def work(room: Room) -> str:
            os.environ["QDRANT_API_KEY"] = KEY
            with url(room) as address:
                return ask(lambda: _whole(address), lambda _: False, SECRETS)

        return work

    @contextlib.contextmanager
    def closed(_):
        with socket.socket() as taken:  # bound, and not listening: refused
            taken.bind(("127.0.0.1", 0))
            yield f"http://reader:{PASSWORD}@127.0.0.1:{taken.getsockname()[1]}"

    @contextlib.contextmanager
    def full(_):
        with socket.socket() as taken:  # listening, and nobody accepts
            taken.bind(("127.0.0.1", 0))
            taken.listen(0)
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"

    @contextlib.contextmanager
    def plain(_):
        with StubServer() as stub:  # TLS is asked for, and plain HTTP answers
            yield stub.url.replace("http://", f"https://reader:{PASSWORD}@")

    def tls(scheme: str):
        @contextlib.contextmanager
        def address(room: Room):
            import ssl

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            if (room.kit / "tls.pem").exists():
                context.load_cert_chain(room.kit / "tls.pem")
            with Files({}, context=context) as files:
                yield files.url.replace("http:", f"{scheme}:")

        return address

    @contextlib.contextmanager
    def unknown(_):
        yield "http://qdrant.invalid:6333"

    yield Trial("a port where nobody listens", at(closed))
    yield Trial("a port that accepts and is silent", at(full))
    yield Trial("https where http answers", at(plain))
    yield Trial("https with a certificate of its own", at(tls("https")))
    yield Trial("http where https answers", at(tls("http")))
    yield Trial("a host that there is not", at(unknown))
    yield Trial("a server that reads no upload", _stalled)
    yield Trial("a server that says back what it was sent", _echoed)
    yield Trial("a proxy that refuses", functools.partial(_proxied, page("403 Forbidden", HTML, kind="text/html")))
    yield Trial("a proxy that asks for a password", functools.partial(_proxied, page("407 Proxy", b"")))
    yield Trial("a proxy that is silent", functools.partial(_proxied, answers.silent))


def _stalled(room: Room) -> str:
    """A server that accepts an upload of megabytes and never reads it."""
    vectors = {"dense": [np.ones(60_000, np.float32) / (i + 3) for i in range(12)]}
    options = ServerOptions(timeout=1)
    _hurry()
    with (
        StubServer() as stub,
        _listening() as port,
        open_index(stub.url, {"dense": VectorSpec(60_000)}, options=options) as index,
    ):
        index.client.http.client.host = f"http://127.0.0.1:{port}"
        return ask(lambda: index.add([str(n) for n in range(12)], vectors), lambda _: False, SECRETS)


@contextlib.contextmanager
def _listening():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(20)
        yield listener.getsockname()[1]


def _echoed(room: Room) -> str:
    os.environ["QDRANT_API_KEY"] = KEY
    outcomes = set()
    for status in ("400 Bad", "401 No", "500 Error"):
        for body in (f"no {KEY}!".encode(), json.dumps({"status": {"error": f"no {KEY}! {KEY}"}}).encode()):
            outcomes.add(_meeting("a search", Raw(page(status, body)))(room))
    assert outcomes == {CLEAR}
    return CLEAR


def _proxied(write: Write, room: Room) -> str:
    with Files({"*": write}) as proxy:
        os.environ["HTTP_PROXY"] = os.environ["http_proxy"] = proxy.url.replace("http://", f"http://me:{PASSWORD}@")
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = ""
        os.environ["QDRANT_API_KEY"] = KEY
        return ask(lambda: _whole("http://qdrant.invalid:6333"), lambda _: False, SECRETS)


def _keys() -> Iterator[Trial]:
    good = {"a newline after": f"{KEY}\n", "spaces around": f"  {KEY} ", "a return after": f"{KEY}\r\n"}
    good |= {"a tab before": f"\t{KEY}", "a no-break space after": f"{KEY}\xa0", "nothing around": KEY}
    bad = {"a newline in it": f"{KEY[:5]}\n{KEY}", "a control character": f"{KEY}\x01{KEY}", "a DEL": f"{KEY}\x7f9"}
    bad |= {"no ASCII": f"{KEY}é", "a dash": f"{KEY}–9", "a film": f"🎬{KEY}", "a header": f"{KEY}\r\nX-Other: 1"}
    for name, key in {**good, **bad}.items():
        yield Trial(f"a key with {name}", functools.partial(_with_key, key, name in good))
    yield Trial("a key of spaces alone", functools.partial(_with_key, "  \n", None))
    yield Trial("a key of 300 kB", functools.partial(_with_key, KEY * 20_000, None))


def _with_key(key: str, good: bool | None, room: Room) -> str:
    os.environ["QDRANT_API_KEY"] = key
    with StubServer(api_key=KEY) as stub:
        outcome = ask(lambda: _whole(stub.url), _same, SECRETS)
        assert good is None or (outcome == SURVIVED) == good, f"{outcome}, with a key that is {good}"
        sent = {seen.headers.get("api-key") for seen in stub.seen}
        assert not good or sent == {KEY}, f"sent {sent}"
    os.environ["QDRANT_URL"] = stub.url  # nobody is there now
    _doctor(None)
    return outcome


BAD_ADDRESSES = [
    *("http://", "https://", "http:///", "http:/localhost", "http:localhost:6333", "http//localhost:6333"),
    *("//localhost:6333", "://localhost", "http://:6333", "http://localhost:0", "http://localhost:99999"),
    *("http://localhost:-1", "http://localhost:port", "http://localhost:63 33", "http://local host:6333"),
    *("http://localhost:6333:6333", "http://[::1", "http://::1:6333", "http://[localhost]:6333", "http://[::1]x:6333"),
    *("http://local\thost", "http://local\nhost", "http://local\x00host", "http://\x1b[31m", "http://ho\x7fst"),
    *("http://.", "http://..", "http://a..b", "http://-", "http://%", "http://%00", "http://" + "a" * 300),
    *("ftp://localhost", "FTP://localhost", "grpc://localhost:6334", "ws://localhost", "file:///tmp/x", "s3://bucket"),
    *("tcp://localhost:6333", "qdrant://localhost", "unix:///var/run/q.sock", "http+unix://x", "httpx://localhost"),
    *(f"ftp://me:{PASSWORD}@localhost", f"http://me:{PASSWORD}@", f"http://me:{PASSWORD}@localhost:0"),
    *(f"http://me:{PASSWORD}@local host", f"me:{PASSWORD}@localhost", f"//me:{PASSWORD}@localhost", "localhost:6333"),
    *(
        "http://localhost:٦٣٣٣",
        "http://localhost:6333.5",
        "http://localhost:1e3",
        "http://localhost: 6333",
        "http://\\x",
    ),
]


def _addresses() -> Iterator[Trial]:
    for address in BAD_ADDRESSES:
        yield Trial(f"the address {address!a:.60}", functools.partial(_addressed, address))
    for form in ("HTTP://{}", "Http://{}/", " http://{}", "http://{}\n", "http://{}//", "http://{}?a=b#c"):
        yield Trial(f"the address {form!r} of a server", functools.partial(_formed, form))
    yield Trial("an address in brackets where nobody is", functools.partial(_addressed, "http://[::1]:1"))
    for mirror in ("http://", "http://localhost:99999", "HTTP:/host", "ftp://host", "http://[::1", "//host"):
        yield Trial(f"the mirror {mirror!r}", functools.partial(_mirror_at, mirror))


def _addressed(address: str, room: Room) -> str:
    os.chdir(room.scratch)
    os.environ["QDRANT_API_KEY"] = KEY
    outcome = ask(lambda: _whole(address), lambda _: False, SECRETS)
    if "\x00" not in address:
        os.environ["QDRANT_URL"] = address
        _doctor("missing")
        os.environ["RAGKIT_CACHE"] = str(room.kit / "cache")
        given = ["--where", address, "--vectors", "dense"]
        assert command(["ingest", "movies", *given], lambda _: False, SECRETS) == CLEAR
    assert os.listdir(room.scratch) == [], f"made {os.listdir(room.scratch)}"
    return outcome


def _formed(form: str, room: Room) -> str:
    os.chdir(room.scratch)
    with StubServer() as stub:
        outcome = ask(lambda: _whole(form.format(stub.url.removeprefix("http://"))), _same)
        assert outcome == CLEAR or stub.seen, "not asked"
    assert os.listdir(room.scratch) == [], f"made {os.listdir(room.scratch)}"
    return outcome


def _mirror_at(mirror: str, room: Room) -> str:
    os.chdir(room.scratch)
    _own_data(room, "http://127.0.0.1:9/{name}.zip")
    os.environ["RAGKIT_MIRROR"] = mirror
    return ask(lambda: load_beir("tiny"), lambda _: False, SECRETS)


# The commands


def _doctor(expected: str | None) -> str:
    """Run the engine's part of the doctor; what it finds must be well said."""
    from ragkit.workshop import doctor

    (finding,) = doctor._engine()
    well_said(finding.detail, SECRETS)
    assert expected is None or finding.status == expected, f"{finding.status}: {finding.detail[:200]}"
    return CLEAR if finding.status == "missing" else SURVIVED


def _commands() -> Iterator[Trial]:
    faults = {
        "a captive portal": page("200 OK", HTML, kind="text/html"),
        "401": page("401 No", json.dumps({"status": {"error": f"the key {KEY} is none"}}).encode()),
        "control characters": page("400 Bad", f"no {CONTROL}".encode()),
        "5 MB of text": page("500 Error", b"what? " * 900_000, kind="text/plain"),
        "a redirect": page("302 Found", b"", "Location: http://portal.invalid/"),
        "nothing": raw(b""),
        "{}": page("200 OK", b"{}"),
        "JSON without an end": endless(head("200 OK") + b'{"result": [', b"[]," * 2**18),
    }
    commands = {
        "search": ["search", "movies", "toys", "--system", "dense", "--json", "out.json"],
        "compare": ["compare", "movies", "--systems", "dense", "--json", "out.json", "--html", "out.html"],
        "ingest": ["ingest", "movies", "--vectors", "dense"],
    }
    for name, write in faults.items():
        for stage in ("the greeting", "a search", "storing"):
            for what, arguments in commands.items():
                if (what, stage) not in {("ingest", "a search"), ("compare", "storing"), ("search", "the greeting")}:
                    work = functools.partial(_command, arguments, stage, write)
                    yield Trial(f"{what}: {name} at {stage}", work, seconds=90)
        yield Trial(f"doctor: {name}", functools.partial(_examined, write))
    for name, write in answers.slow():
        yield Trial(f"doctor: {name}", functools.partial(_examined, write), seconds=30)
    for name in ("search", "compare", "ingest"):
        yield Trial(f"{name}: a password in the address", functools.partial(_command, commands[name], None, None))


def _command(arguments: list[str], stage: str | None, write: Write | None, room: Room) -> str:
    _hurry()
    os.chdir(room.scratch)
    os.environ |= {"RAGKIT_CACHE": str(room.kit / "cache"), "QDRANT_API_KEY": KEY}
    with StubServer(api_key=KEY) as stub:
        if stage:
            stub.fail(*STAGES[stage], *[Raw(write)] * FOR_EVER)
        where = ["--where", stub.url.replace("http://", f"http://me:{PASSWORD}@")]
        outcome = command([*arguments, *where], None, SECRETS)
        assert (outcome == CLEAR) == bool(stage), outcome
    written = [path.read_text("utf8") for path in Path().iterdir()]
    assert not [text for text in written if KEY in text or PASSWORD in text], "a secret in a file"
    assert bool(written) == (not stage and arguments[0] != "ingest"), f"wrote {os.listdir()}"
    return outcome


def _examined(write: Write, room: Room) -> str:
    _hurry()
    os.environ["QDRANT_API_KEY"] = KEY
    with StubServer(api_key=KEY) as stub:
        os.environ["QDRANT_URL"] = stub.url
        stub.fail("GET", "/", *[Raw(write)] * FOR_EVER)
        return _doctor("missing")


# Mirrors and archives


class Files(Serving):
    """A server of files: `pages` are their bytes, or what writes their answer, by path; "*" is any other path."""

    def __init__(self, pages: dict[str, bytes | Write], context=None):
        self.pages, self.seen = pages, []
        files = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                files.seen.append((self.command, self.path, str(self.headers)))
                content = files.pages.get(self.path, files.pages.get("*", page("404 Not Found", HTML)))
                write = (
                    content
                    if callable(content)
                    else page("200 OK", content, "Connection: close", kind="application/octet-stream")
                )
                with contextlib.suppress(OSError):
                    write(self.connection, files.closing)
                self.close_connection = True

            do_HEAD = do_CONNECT = do_POST = do_PUT = do_GET

            def log_message(self, *_) -> None:
                pass

        super().__init__(Handler, context, quiet=True)


def _own_data(room: Room, url: str) -> None:
    """Give the kit a data folder in which `tiny` is a collection known by name, with its archive at `url`."""
    data = room.scratch / "data"
    (data / "beir").mkdir(parents=True)
    content = (room.kit / "tiny.zip").read_bytes()
    entry = {"md5": hashlib.md5(content).hexdigest(), "splits": ["test"]}
    (data / "beir_archives.json").write_text(json.dumps({"url": url, "archives": {"tiny": entry}}))
    write_sums(data, {"beir_archives.json": hashlib.sha256((data / "beir_archives.json").read_bytes()).hexdigest()})
    os.environ["RAGKIT_DATA"] = str(data)
    os.environ["RAGKIT_CACHE"] = str(room.scratch / "cache")


def _impatient() -> None:
    """Give a download up as the kit does, but after a second."""
    from ragkit import network

    network._FETCH_TIMEOUT_S = 1


def _downloads(rng: random.Random) -> Iterator[Trial]:
    places, short = ["archive", "mirror's archive", *_FILES], dict(answers.ended())
    for name, write in answers.every().items():
        for place in rng.sample(places, 1 if name in short else 2):
            yield Trial(f"{place}: {name}", functools.partial(_downloaded, place, write), seconds=60)
    for place in ("archive", "mirror's archive"):
        for name in ("half of it", "another one", "a byte of it changed", "HTML", "twice it"):
            yield Trial(f"{place}: {name}", functools.partial(_bad_archive, place, name))
    for status in (301, 302, 303, 307, 308):
        yield Trial(f"mirror: {status} to another host, with a password", functools.partial(_mirror_redirected, status))


def _downloaded(place: str, write: Write | bytes, room: Room, clear: bool = False) -> str:
    """Read a collection whose files come from an address, one of which answers so; then again, from a whole one."""
    _impatient()
    whole = {f"/beir/tiny/{name}": (room.kit / "tiny" / name).read_bytes() for name in _FILES}
    archive = (room.kit / "tiny.zip").read_bytes()
    with Files({}) as host, Files({}) as mirror:
        _own_data(room, host.url + "/{name}.zip")
        if place == "archive":
            host.pages, bad = {"/tiny.zip": archive}, (host, "/tiny.zip")
        else:
            os.environ["RAGKIT_MIRROR"] = mirror.url.replace("http://", f"http://me:{PASSWORD}@")
            mirror.pages = {"/beir/tiny.zip": archive} if place == "mirror's archive" else whole
            bad = mirror, "/beir/tiny.zip" if place == "mirror's archive" else f"/beir/tiny/{place}"
        good = bad[0].pages[bad[1]]
        bad[0].pages[bad[1]] = write
        outcome = ask(lambda: load_beir("tiny"), _tiny, SECRETS)
        assert outcome == CLEAR or not clear, "in silence"
        if outcome == CLEAR:
            kept = [
                str(path.relative_to(room.scratch)) for path in (room.scratch / "cache").rglob("*") if path.is_file()
            ]
            assert not kept, f"kept {kept}"
        bad[0].pages[bad[1]] = good
        assert _tiny(load_beir("tiny")), "not whole once the server was"
    return outcome


_FILES = ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv")


def _tiny(dataset) -> bool:
    return len(dataset.documents) == 2000 and len(dataset.queries) == 1 and len(dataset.qrels) == 1


def _bad_archive(place: str, how: str, room: Room) -> str:
    good = (room.kit / "tiny.zip").read_bytes()
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("tiny/readme.txt", "nothing")
    changed = bytearray(good)
    changed[len(good) // 3] ^= 255
    content = {
        "half of it": good[: len(good) // 2],
        "another one": other.getvalue(),
        "a byte of it changed": bytes(changed),
    }
    return _downloaded(place, {**content, "HTML": HTML, "twice it": good + good}[how], room, clear=how != "twice it")


def _mirror_redirected(status: int, room: Room) -> str:
    """A mirror may move; its password stays with it."""
    with Files({"/elsewhere": (room.kit / "tiny.zip").read_bytes()}) as other:
        write = page(f"{status} Moved", b"", f"Location: {other.url.replace('127.0.0.1', 'localhost')}/elsewhere")
        outcome = _downloaded("mirror's archive", write, room)
        assert other.seen, "the redirect was not followed"
        assert not [seen for seen in other.seen if "uthorization" in str(seen)], "the password was sent to another host"
    return outcome


# A hub of models


def _hubs() -> Iterator[Trial]:
    every = answers.every()
    names = ["a captive portal with 200", "401 for ever", "503 for ever", "no answer, reset"]
    names = [name for name in every if name in {*names, "b'{}' with 200"}]
    for name in [*names, "silence", "a byte at a time", "JSON without an end", "400 with control characters"]:
        yield Trial(f"a hub: {name}", functools.partial(_hub, every[name], LOADS["an encoder"]), seconds=120)
    for what in ("a cross-encoder", "a folder"):
        trial = functools.partial(_hub, every["a byte at a time"], LOADS[what])
        yield Trial(f"a hub, for {what}: a byte at a time", trial, seconds=120)


_LOAD = """
import time
time.sleep = lambda seconds: None  # FastEmbed waits 39 s between its tries
from loguru import logger
logger.disable("fastembed")
import ragkit
from pathlib import Path
from ragkit.evaluation.retriever import cross_encoder
from ragkit.workshop.stick import fill_stick
try:
    LOAD
except ragkit.RagkitError as error:
    print("RagkitError:" + str(error))
"""
LOADS = {
    "an encoder": 'ragkit.Encoder("BAAI/bge-small-en-v1.5")',
    "a cross-encoder": "cross_encoder({})",
    "a folder": 'fill_stick(Path("stick"), [], ["BAAI/bge-small-en-v1.5"], [])',
}


def _hub(write: Write, load: str, room: Room) -> str:
    with Files({"*": write}) as hub:
        own = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(room.scratch),
            "FASTEMBED_CACHE_PATH": str(room.scratch / "models"),
        }
        environment = os.environ | own | {"RAGKIT_CACHE": str(room.scratch), "HF_TOKEN": KEY}
        environment |= {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(
            [sys.executable, "-c", _LOAD.replace("LOAD", load)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=110,
            cwd=room.scratch,
        )
        assert hub.seen, "not asked"
    assert KEY not in done.stdout + done.stderr, "a secret"
    assert "RagkitError:" in done.stdout, f"{done.returncode}: {done.stderr[-300:]}"
    well_said(done.stdout.strip().partition("RagkitError:")[2], SECRETS)
    return CLEAR
