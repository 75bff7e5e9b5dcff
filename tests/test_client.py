"""The way to a Qdrant server, without one: against a stub that validates requests and fails on demand."""

import email.utils
import itertools
import json
import os
import threading
import time

import httpx
import numpy as np
import pandas as pd
import pytest
from qdrant_client import models

import ragkit
from ragkit import Prefetch, RagkitError, ServerOptions, Storage, VectorSpec, open_index
from ragkit.engines import _connection
from ragkit.engines._connection import point_bytes, shortened
from ragkit.engines._retries import Retries
from ragkit.engines.index import Fusion
from ragkit.vectors import Sparse
from tests.faults.answers import drip, endless, head, page
from tests.stub_server import Answer, Cut, Edit, Raw, Stall, StubServer

SPECS = {"dense": VectorSpec(24), "colbert": VectorSpec(8, True), "bm25": VectorSpec(0, sparse=True)}
COUNT = 60
DOC_IDS = [f'film "{i}" é🎬' for i in range(COUNT)]
SMALL = ServerOptions(request_bytes=20_000)
OPEN = {"name": "films", "content": "what they are"}


@pytest.fixture()
def vectors(rng):
    def sparse():
        indices = np.sort(rng.choice(2**32 - 1, 6, replace=False)).astype(np.uint32)
        return Sparse(indices, rng.uniform(0.5, 3, 6).astype(np.float32))

    return {
        "dense": list(rng.standard_normal((COUNT, 24)).astype(np.float32)),
        "colbert": [rng.standard_normal((n, 8)).astype(np.float32) for n in rng.integers(1, 20, COUNT)],
        "bm25": [sparse() for _ in range(COUNT)],
    }


@pytest.fixture()
def documents(vectors):
    return [dict(zip(vectors, row, strict=True)) for row in zip(*vectors.values(), strict=True)]


@pytest.fixture()
def stub(monkeypatch):
    for name in ("QDRANT_URL", "QDRANT_API_KEY", "QDRANT_SHARDS", "QDRANT_REPLICAS"):
        monkeypatch.delenv(name, raising=False)
    with StubServer() as server:
        yield server


@pytest.fixture()
def naps(monkeypatch):
    """What was slept, in seconds, on a clock that only sleeping moves."""
    slept = []
    for module in ("ragkit.engines._retries", "ragkit.engines.server"):
        monkeypatch.setattr(f"{module}.sleep", slept.append)
        monkeypatch.setattr(f"{module}.monotonic", lambda: sum(slept))
    return slept


@pytest.fixture()
def expected(vectors):
    """The answers of local mode, asked directly."""
    with open_index(":memory:", SPECS) as index:
        index.add(DOC_IDS, vectors)
        return answers(index, vectors)


def answers(index, vectors):
    dense, colbert, bm25 = (vectors[name][7] for name in SPECS)
    first = Prefetch(dense * 0.3, "dense", 20)
    return (
        index.search(dense, "dense", 15),
        index.search(colbert, "colbert", COUNT),
        index.search(bm25, "bm25", 15),
        index.search(colbert, "colbert", 15, [first]),
        index.fuse(Fusion((first, Prefetch(bm25, "bm25", 20))), 15),
    )


def assert_same(answers, expected):
    """Expect the same documents in the same order, with the same scores.

    Local mode sums a vector's squares as its memory happens to lie, so scores may differ in their last digit.
    """
    for hits, others in zip(answers, expected, strict=True):
        assert [doc_id for doc_id, _ in hits] == [doc_id for doc_id, _ in others]
        np.testing.assert_allclose([score for _, score in hits], [score for _, score in others], rtol=1e-6)


def stored(stub):
    (name,) = stub.collections
    records, _ = stub.engine.scroll(name, limit=10 * COUNT, with_payload=True)
    return [(record.id, record.payload["doc_id"]) for record in records]


def interrupted(documents, after):
    yield from documents[:after]
    raise KeyboardInterrupt


# What is sent, and what comes back


def test_a_stubbed_server_answers_as_local_mode_does(stub, vectors, expected):
    with open_index(stub.url, SPECS, **OPEN) as index:
        index.add(DOC_IDS, vectors)
        assert_same(answers(index, vectors), expected)
        assert index.engine == "Qdrant server 1.20.0 (1 node, 1 shard, 1 replica)" and index.measurable


@pytest.mark.slow
def test_a_comparison_over_the_stub_has_the_numbers_of_local_mode(stub, movies):
    systems = ["dense", "colbert", "dense+colbert", "bm25", "hybrid"]
    local, server = (ragkit.compare(movies, systems, depth=5, where=where) for where in (":memory:", stub.url))
    for a, b in zip(local.systems, server.systems, strict=True):
        pd.testing.assert_frame_equal(a.values, b.values, check_exact=True)
        pd.testing.assert_frame_equal(a.results, b.results, rtol=1e-6)
    assert all(seen.status == 200 for seen in stub.seen)


@pytest.mark.slow
def test_a_comparison_again_uploads_nothing(stub, movies, monkeypatch):
    monkeypatch.setenv("QDRANT_URL", stub.url)
    first, again = (ragkit.compare(movies, ["dense", "dense-turbo4copy"], depth=5) for _ in range(2))
    assert len(stub.requests("PUT", "/points")) == 1 and len(stub.collections) == 1
    assert first.systems[0].values.equals(again.systems[0].values)


def test_uploads_are_cut_by_their_real_bytes(stub, vectors):
    with open_index(stub.url, SPECS, **OPEN, options=SMALL) as index:
        index.add(DOC_IDS, vectors)
    sizes = [seen.bytes for seen in stub.requests("PUT", "/points")]
    assert max(sizes) <= SMALL.request_bytes and min(sizes[:-1]) > SMALL.request_bytes / 2 and len(sizes) > 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:overflow")  # local mode's, of the largest numbers
@pytest.mark.parametrize("scale", [1e-42, 1e-9, 1e-6, 1e-5, 1e-3, 1.0, 10.0, 1e6, 1e15, 1e38])
def test_predicted_bytes_are_never_fewer_than_the_real_ones(stub, rng, scale):
    specs = {"dense": VectorSpec(2000), "colbert": VectorSpec(5, True), "bm25": VectorSpec(0, sparse=True)}
    values = (rng.uniform(-3, -1, (3, 2000)) * scale).astype(np.float32)
    document = {
        "dense": values[0],
        "colbert": values[1].reshape(400, 5),
        "bm25": Sparse(np.arange(2**32 - 2000, 2**32, dtype=np.uint32), values[2]),
    }
    doc_id = 'é🎬"\\\n\x01' * 20
    with open_index(stub.url, specs) as index:
        index.add([doc_id], {name: [vector] for name, vector in document.items()})
    (sent,) = stub.requests("PUT", "/points")
    assert sent.bytes <= point_bytes(doc_id, document)


def test_predicted_bytes_of_unit_vectors_are_close_to_the_real_ones(stub, rng):
    rows = rng.standard_normal((300, 128)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with open_index(stub.url, {"colbert": VectorSpec(128, True)}) as index:
        index.add(["a"], {"colbert": [rows]})
    (sent,) = stub.requests("PUT", "/points")
    assert 0.9 < sent.bytes / point_bytes("a", {"colbert": rows}) <= 1
    assert sent.bytes < 0.65 * len(json.dumps(rows.tolist()))


def test_shortened_numbers_are_the_same_float32(rng):
    numbers = (rng.standard_normal(20_000) * 10.0 ** rng.integers(-44, 38, 20_000)).astype(np.float32)
    numbers[:5] = [0, -0.0, 1, np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal]
    read = np.array(json.loads(json.dumps(shortened(numbers).tolist()))).astype(np.float32)
    assert read.tobytes() == numbers.tobytes()


def test_a_document_that_never_fits_is_refused_before_anything_is_sent(stub):
    specs = {"colbert": VectorSpec(128, True), "tokens": VectorSpec(128, True)}
    rows = np.full((8192, 128), 1.2345678e-5, np.float32)
    with open_index(stub.url, specs) as index:
        with pytest.raises(RagkitError, match=r"'long' \(colbert 8192 rows, tokens 8192 rows\).*at most 33,554,432"):
            index.add(["short", "long"], {name: [rows[:1], rows] for name in specs})
        assert not stub.requests("PUT", "/points")


def test_the_api_key_is_sent(monkeypatch, vectors):
    with StubServer(api_key="secret") as stub:
        monkeypatch.setenv("QDRANT_API_KEY", "secret")
        with open_index(stub.url, SPECS, **OPEN) as index:
            index.add(DOC_IDS, vectors)
        assert {seen.headers.get("api-key") for seen in stub.seen} == {"secret"}


def test_a_wrong_api_key_is_named_at_once(monkeypatch, naps):
    with StubServer(api_key="secret") as stub:
        monkeypatch.delenv("QDRANT_API_KEY", raising=False)
        with pytest.raises(RagkitError, match="401: Must provide an API key .*Check QDRANT_API_KEY"):
            open_index(stub.url, SPECS)
        assert naps == []


# How a collection is made


def created(stub):
    (request,) = [seen for seen in stub.seen if seen.method == "PUT" and not seen.path.endswith("/points")]
    return request.body


PINNED = {"memory": "pinned"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("storage", "kept"),
    [
        (Storage(), {}),
        (Storage("float16"), {"datatype": "float16"}),
        (Storage("turbo8", on_disk=True), {"datatype": "turbo8", "memory": "cold"}),
        (Storage(quantization="int8"), {"quantization_config": {"scalar": {"type": "int8", **PINNED}}}),
        (Storage(quantization="binary"), {"quantization_config": {"binary": PINNED}}),
        (Storage(quantization="turbo4copy"), {"quantization_config": {"turbo": {"bits": "bits4", **PINNED}}}),
        (Storage(quantization="turbo1.5copy"), {"quantization_config": {"turbo": {"bits": "bits1_5", **PINNED}}}),
        (Storage(hnsw_m=16), {"hnsw_config": {"m": 16}}),
    ],
)
def test_storage_arrives_as_qdrant_spells_it(stub, storage, kept):
    open_index(stub.url, {"colbert": VectorSpec(8, True, storage=storage)}).close()
    assert created(stub)["vectors"] == {
        "colbert": {
            "size": 8,
            "distance": "Cosine",
            "multivector_config": {"comparator": "max_sim"},
            "datatype": "float32",
            "hnsw_config": {"m": 0},
            **kept,
        }
    }


def test_shards_replicas_and_consistency_arrive_and_are_left_to_the_server_if_not_asked_for(stub):
    open_index(stub.url, SPECS, "a", options=ServerOptions(shards=6, replicas=2, write_consistency=2)).close()
    numbers = {"shard_number": 6, "replication_factor": 2, "write_consistency_factor": 2}
    assert numbers.items() <= created(stub).items()
    stub.seen.clear()
    open_index(stub.url, SPECS, "b").close()
    assert not numbers.keys() & created(stub).keys()


@pytest.mark.slow
def test_shards_and_replicas_come_from_the_environment(stub, monkeypatch):
    monkeypatch.setenv("QDRANT_SHARDS", "6")
    monkeypatch.setenv("QDRANT_REPLICAS", "2")
    monkeypatch.setenv("QDRANT_URL", stub.url)
    open_index(None, SPECS).close()
    assert created(stub)["shard_number"] == 6 and created(stub)["replication_factor"] == 2
    monkeypatch.setenv("QDRANT_SHARDS", "many")
    with pytest.raises(RagkitError, match="QDRANT_SHARDS is 'many'; expected a whole number from 1"):
        open_index(None, SPECS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("storage", "params"),
    [
        (Storage(), {"exact": True}),
        (Storage("float16"), {"exact": True}),
        (Storage(quantization="turbo4copy"), {"quantization": {"rescore": True, "oversampling": 2.0}}),
        (Storage(quantization="binary", rescore=False), {"quantization": {"rescore": False, "oversampling": 2.0}}),
        (Storage(hnsw_m=16, hnsw_ef=64), {"hnsw_ef": 64}),
    ],
)
def test_a_first_stage_and_its_rerank_are_each_searched_as_stored(stub, naps, vectors, storage, params):
    specs = {"dense": VectorSpec(24, storage=storage), "colbert": VectorSpec(8, True)}
    with open_index(stub.url, specs) as index:
        index.add(DOC_IDS, {name: vectors[name] for name in specs})
        index.search(vectors["colbert"][0], "colbert", 5, [Prefetch(vectors["dense"][0], "dense", 20)])
    (query,) = stub.requests("POST", "/query")
    assert query.body["params"] == {"exact": True}
    assert query.body["prefetch"][0]["params"] == params


OTHERS = [
    (SPECS | {"dense": VectorSpec(32)}, ServerOptions(), "dense: size is 24, asked for 32"),
    (SPECS | {"colbert": VectorSpec(8)}, ServerOptions(), "colbert: kind is multivector, asked for vector"),
    (SPECS | {"tokens": VectorSpec(8)}, ServerOptions(), "tokens: kind is not there, asked for vector"),
    (
        {"dense": SPECS["dense"], "colbert": SPECS["colbert"]},
        ServerOptions(),
        "bm25: kind is .* asked for none",
    ),
    (SPECS | {"dense": VectorSpec(24, storage=Storage("float16"))}, ServerOptions(), "datatype is float32, .*float16"),
    (
        SPECS | {"colbert": VectorSpec(8, True, storage=Storage(quantization="turbo2copy"))},
        ServerOptions(),
        "colbert: quantization is none, asked for turbo2copy",
    ),
    (SPECS | {"dense": VectorSpec(24, storage=Storage(hnsw_m=16))}, ServerOptions(), "hnsw_m is 0, asked for 16"),
    (SPECS | {"dense": VectorSpec(24, storage=Storage(on_disk=True))}, ServerOptions(), "on_disk is False, .* True"),
    (SPECS, ServerOptions(shards=6), "shards is 1, asked for 6"),
    (SPECS, ServerOptions(replicas=2), "replicas is 1, asked for 2"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("specs", "options", "message"), OTHERS)
def test_a_collection_that_is_another_one_is_refused_and_still_there(stub, vectors, specs, options, message):
    with open_index(stub.url, SPECS, "films") as index:
        index.add(DOC_IDS, vectors)
    with pytest.raises(RagkitError, match=f"is another one: .*{message}.*recreate=True"):
        open_index(stub.url, specs, "films", options=options)
    assert not stub.requests("DELETE", "") and len(stored(stub)) == COUNT


@pytest.mark.slow
def test_other_content_and_other_storage_are_other_collections(stub):
    quantized = SPECS | {"colbert": VectorSpec(8, True, storage=Storage(quantization="turbo4copy"))}
    finer = SPECS | {"dense": VectorSpec(24, storage=Storage(oversampling=4.0))}
    for specs, content in ((SPECS, "a"), (SPECS, "b"), (quantized, "a"), (finer, "a")):
        open_index(stub.url, specs, "films", content).close()
    assert len(stub.collections) == 3  # how finely it is searched makes no other


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["int8", "binary", "turbo4copy", "turbo2copy", "turbo1.5copy", "turbo1copy"])
def test_a_quantized_collection_is_known_again_however_it_is_searched(stub, naps, vectors, quantization):
    for oversampling in (2.0, 4.0):
        storage = Storage("float16", quantization, oversampling=oversampling, on_disk=True)
        with open_index(stub.url, {"colbert": VectorSpec(8, True, storage=storage)}) as index:
            if not index.doc_ids:
                index.add(DOC_IDS, {"colbert": vectors["colbert"]})
            assert index.doc_ids == DOC_IDS


@pytest.mark.slow
def test_only_recreate_deletes_and_it_says_so(stub, vectors, capsys):
    with open_index(stub.url, SPECS, "films") as index:
        index.add(DOC_IDS, vectors)
    assert capsys.readouterr().err == ""
    with open_index(stub.url, {"dense": VectorSpec(32)}, "films", options=ServerOptions(recreate=True)) as index:
        assert index.doc_ids == [] and stored(stub) == []
    assert f"deleting films at {stub.url}, 60 documents" in capsys.readouterr().err


def test_a_server_that_ignores_a_setting_is_not_believed(stub):
    stub.forget = {"quantization_config"}
    specs = {"colbert": VectorSpec(8, True, storage=Storage(quantization="turbo4copy"))}
    with pytest.raises(RagkitError, match="otherwise than asked: colbert: quantization is none, asked for turbo4copy"):
        open_index(stub.url, specs)


@pytest.mark.parametrize(
    "storage", [Storage("float16"), Storage(quantization="int8"), Storage(hnsw_m=16), Storage(on_disk=True)]
)
def test_local_mode_refuses_what_it_would_ignore(storage):
    with pytest.raises(RagkitError, match="':memory:' ignores quantization.*'dense'.*Use a folder"):
        open_index(":memory:", {"dense": VectorSpec(2, storage=storage)})


# What goes wrong for a while


def in_seconds(seconds):
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


PASSING = {
    "429 with seconds": (Answer(429, "Rate limit exceeded", {"Retry-After": "7"}), (7, 7)),
    "429 with a date": (Answer(429, "Rate limit exceeded", {"Retry-After": in_seconds(3600 * 24)}), None),
    "429 alone": (Answer(429), (0.25, 0.75)),
    "500": (Answer(500, "Service internal error"), (0.25, 0.75)),
    "502 of a proxy": (Answer(502), (0.25, 0.75)),
    "503": (Answer(503), (0.25, 0.75)),
    "504": (Answer(504), (0.25, 0.75)),
    "408": (Answer(408, "Timeout"), (0.25, 0.75)),
    "cut before it is read": (Cut("before"), (0.25, 0.75)),
    "cut during the upload": (Cut("during"), (0.25, 0.75)),
    "cut before the answer": (Cut("after"), (0.25, 0.75)),
    "cut, and stored in part": (Cut("part"), (0.25, 0.75)),
}
QUICK = {name: case for name, case in PASSING.items() if case[1]}


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "nap"), QUICK.values(), ids=QUICK)
def test_an_upload_is_sent_again_and_nothing_is_doubled_or_lost(stub, naps, vectors, expected, fault, nap):
    stub.fail("PUT", "/points", None, fault, None, fault)
    with open_index(stub.url, SPECS, **OPEN, options=SMALL) as index:
        index.add(DOC_IDS, vectors)
        assert_same(answers(index, vectors), expected)
    assert stored(stub) == list(enumerate(DOC_IDS))
    assert len(naps) == 2 and all(nap[0] <= slept <= nap[1] for slept in naps)


@pytest.mark.slow
def test_an_upload_that_stalls_is_sent_again_and_nothing_is_doubled(stub, naps, vectors, expected):
    stub.fail("PUT", "/points", Stall(30))
    with open_index(stub.url, SPECS, **OPEN, options=ServerOptions(timeout=1)) as index:
        index.add(DOC_IDS, vectors)
        assert_same(answers(index, vectors), expected)
    assert stored(stub) == list(enumerate(DOC_IDS)) and len(stub.requests("PUT", "/points")) == 2


# A server that has never answered is not waited for: no connection is cut at the first request.
REQUESTS = [("GET", "/exists"), ("PUT", "s/films"), ("GET", "s/films"), ("POST", "/count"), ("POST", "/query")]
CASES = [(*request, fault) for request in REQUESTS for fault in (Answer(429), Answer(503), Cut("before"), Cut("after"))]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "ending", "fault"), [("GET", "/", Answer(503)), *CASES])
def test_every_other_request_is_sent_again_too(stub, naps, vectors, expected, method, ending, fault):
    stub.fail(method, ending, fault)
    with open_index(stub.url, SPECS, "films") as index:
        index.add(DOC_IDS, vectors)
        assert_same(answers(index, vectors), expected)
    assert len(naps) == 1 and stored(stub) == list(enumerate(DOC_IDS))


def test_waits_grow_and_differ(stub, naps, vectors):
    stub.fail("PUT", "/points", *[Answer(503)] * 5)
    with open_index(stub.url, SPECS, **OPEN) as index:
        index.add(DOC_IDS, vectors)
    assert len(naps) == 5
    assert all(0.5 <= nap / (0.5 * 2**i) <= 1.5 for i, nap in enumerate(naps))
    assert len({nap / 2**i for i, nap in enumerate(naps)}) == 5


def test_a_date_to_wait_for_is_read(naps):
    retries, answers = Retries(), iter([429, 200])
    header = {"Retry-After": in_seconds(120)}
    request = httpx.Request("POST", "http://stub/points/query")
    assert retries(request, lambda _: httpx.Response(next(answers), headers=header)).status_code == 200
    assert 110 < naps[0] <= 120


def test_a_wait_that_would_be_too_long_is_not_begun(stub, naps, vectors):
    stub.fail("PUT", "/points", PASSING["429 with a date"][0])
    with open_index(stub.url, SPECS, **OPEN) as index, pytest.raises(RagkitError, match="429: Rate limit exceeded"):
        index.add(DOC_IDS, vectors)
    assert naps == [] and len(stub.requests("PUT", "/points")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Answer(503, "Service unavailable"), Cut("after"), Cut("part"), Cut("during")])
def test_giving_up_says_what_is_stored_and_running_again_continues_there(stub, naps, vectors, expected, fault):
    stub.fail("PUT", "/points", None, None, *[fault] * 6)
    with open_index(stub.url, SPECS, **OPEN, options=SMALL) as index:
        with pytest.raises(RagkitError, match=r"failed at PUT .*/points 6 times in .* documents are stored; run it"):
            index.add(DOC_IDS, vectors)
        kept = len(index.doc_ids)
    assert 0 < kept < COUNT
    with open_index(stub.url, SPECS, **OPEN, options=SMALL) as index:
        done = len(index.doc_ids)
        assert index.doc_ids == DOC_IDS[:done] and done >= kept
        stub.seen.clear()
        index.add(DOC_IDS[done:], {name: arrays[done:] for name, arrays in vectors.items()})
        assert_same(answers(index, vectors), expected)
    sent = [point["id"] for seen in stub.requests("PUT", "/points") for point in seen.body["points"]]
    assert sent == list(range(done, COUNT)) and stored(stub) == list(enumerate(DOC_IDS))


@pytest.mark.slow
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_would_fail_again_is_told_at_once_in_the_servers_words(stub, naps, vectors, status):
    stub.fail("PUT", "/points", None, Answer(status, "Wrong input: no way"))
    with open_index(stub.url, SPECS, **OPEN, options=SMALL) as index:
        message = rf"refused PUT /collections/films-[0-9a-f]+/points with {status}: Wrong input: no way\..* stored"
        with pytest.raises(RagkitError, match=message):
            index.add(DOC_IDS, vectors)
    assert naps == [] and len(stub.requests("PUT", "/points")) == 2


TAKES_LESS = {
    "Qdrant": {"limit": 6_000},
    "a proxy": {"proxy": 6_000},
    "a rate limit": {"strict": {"write_rate_limit": 7}},
}


@pytest.mark.slow
@pytest.mark.parametrize("less", TAKES_LESS.values(), ids=TAKES_LESS)
def test_what_is_too_large_is_halved_and_that_is_remembered(naps, vectors, expected, less):
    with StubServer(**less) as stub, open_index(stub.url, SPECS, **OPEN, options=SMALL) as index:
        index.add(DOC_IDS, vectors)
        assert_same(answers(index, vectors), expected)
        assert naps == [] and stored(stub) == list(enumerate(DOC_IDS))
        refused = [seen.status for seen in stub.requests("PUT", "/points") if seen.status != 200]
        assert len(refused) < 6 and set(refused) <= {400, 413, 429}


@pytest.mark.slow
def test_no_size_is_tried_again_that_was_too_large_once(naps, vectors, expected):
    """Within one batch, too, which is cut in many parts."""
    with StubServer(proxy=6_000) as stub, open_index(stub.url, SPECS, **OPEN) as index:
        index.add(DOC_IDS, vectors)
        assert_same(answers(index, vectors), expected)
        statuses = [seen.status for seen in stub.requests("PUT", "/points")]
        assert statuses.count(200) > 10 > statuses.count(413) and stored(stub) == list(enumerate(DOC_IDS))


def test_a_document_that_is_too_large_by_itself_is_named_with_its_size_and_what_refused_it(naps, vectors):
    with StubServer(proxy=1_000) as stub, open_index(stub.url, SPECS, **OPEN, options=SMALL) as index:
        with pytest.raises(RagkitError, match=r"film .0.* takes \d,\d+ bytes.*413.*client_max_body_size") as caught:
            index.add(DOC_IDS, vectors)
        assert "413 Request Entity Too Large" in str(caught.value) and stored(stub) == []


STRICT = {
    "many at once": {
        "max_query_limit": 20,
        "upsert_max_batchsize": 4,
        "condition_max_size": 9,
        "search_max_batchsize": 1,
        "write_rate_limit": 50,
    },
    "a rate of reading": {"read_rate_limit": 20},
    "few conditions": {"condition_max_size": 5, "filter_max_conditions": 2},
    "conditions at a rate": {"condition_max_size": 2, "read_rate_limit": 20},
}


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("strict", STRICT.values(), ids=STRICT)
def test_strict_mode_is_obeyed_where_that_costs_only_time(vectors, strict, nodes):
    dense, bm25 = vectors["dense"][7], vectors["bm25"][7]
    colbert = np.resize(vectors["colbert"][7], (16, 8))  # 16 of the 20 that a request may cost
    stages = [Prefetch(dense, "dense", 20), Prefetch(bm25, "bm25", 20)]

    def found(index):
        two = index.search(dense, "dense", 15), index.search(bm25, "bm25", 15)
        return *two, index.search(colbert, "colbert", 15, stages)

    with open_index(":memory:", SPECS) as index:
        index.add(DOC_IDS, vectors)
        expected = found(index)
    with StubServer(strict=strict, nodes=nodes) as stub:
        for _ in range(2):
            with open_index(stub.url, SPECS, **OPEN) as index:
                done = len(index.doc_ids)
                index.add(DOC_IDS[done:], {name: arrays[done:] for name, arrays in vectors.items()})
                assert_same(found(index), expected)
        assert {seen.status for seen in stub.seen} == {200}


def test_a_rerank_too_large_for_a_proxy_goes_in_parts_and_that_is_remembered(vectors):
    dense, colbert = vectors["dense"][7], vectors["colbert"][7]
    with open_index(":memory:", SPECS) as index:
        index.add(DOC_IDS, vectors)
        expected = index.search(colbert, "colbert", 15, [Prefetch(dense, "dense", 50)])
    with StubServer(nodes=3) as stub, open_index(stub.url, SPECS, **OPEN) as index:
        index.add(DOC_IDS, vectors)
        for _ in range(3):
            assert_same([index.search(colbert, "colbert", 15, [Prefetch(dense, "dense", 50)])], [expected])
            if stub.proxy is None:
                stub.proxy = stub.seen[-1].bytes - 40  # of some 150 that its ids take
        statuses = [seen.status for seen in stub.requests("POST", "/query")]
        assert statuses.count(413) == 1 and statuses[-4:] == [200] * 4


def test_a_limit_of_strict_mode_below_what_is_asked_for_is_named(vectors):
    with StubServer(strict={"max_query_limit": 20}) as stub, open_index(stub.url, SPECS, **OPEN) as index:
        index.add(DOC_IDS, vectors)
        with pytest.raises(RagkitError, match=r"at most 20 documents \(max_query_limit in its strict mode\), and 21"):
            index.search(vectors["dense"][0], "dense", 21)


def test_a_limit_of_strict_mode_that_no_request_passes_is_named(naps, vectors):
    graph = {"dense": VectorSpec(24, storage=Storage(hnsw_m=16, hnsw_ef=64))}
    colbert = np.resize(vectors["colbert"][7], (32, 8))
    with StubServer(strict={"read_rate_limit": 20, "search_max_hnsw_ef": 10}) as stub:
        with open_index(stub.url, SPECS, **OPEN) as index, pytest.raises(RagkitError) as caught:
            index.add(DOC_IDS, vectors)
            index.search(colbert, "colbert", 10)
        assert "429" in str(caught.value) and "Raise read_rate_limit of the collection's strict mode" in str(
            caught.value
        )
        assert "nginx" not in str(caught.value)
        with (
            open_index(stub.url, graph) as index,
            pytest.raises(RagkitError, match="Raise search_max_hnsw_ef of the coll"),
        ):
            index.add(DOC_IDS, {"dense": vectors["dense"]})
            index.search(vectors["dense"][0], "dense", 10)


def test_strict_mode_that_forbids_exact_search_is_named_and_nothing_is_left_behind():
    with StubServer(strict={"search_allow_exact": False}) as stub:
        with pytest.raises(RagkitError, match="no exact search .search_allow_exact is false"):
            open_index(stub.url, SPECS)
        assert not stub.collections


@pytest.mark.slow
def test_a_key_that_may_only_read_searches_and_is_told_what_it_may_not(monkeypatch, vectors, expected):
    with StubServer(api_key="all", read_key="read") as stub:
        monkeypatch.setenv("QDRANT_API_KEY", "all")
        with open_index(stub.url, SPECS, **OPEN) as index:
            index.add(DOC_IDS[:50], {name: arrays[:50] for name, arrays in vectors.items()})
        monkeypatch.setenv("QDRANT_API_KEY", "read")
        with open_index(stub.url, SPECS, **OPEN) as index:
            index.search(vectors["bm25"][7], "bm25", 15)
            index.stream([], [])
            with pytest.raises(RagkitError, match="403: .* The key may not store documents. Check QDRANT_API_KEY"):
                index.add(DOC_IDS[50:], {name: arrays[50:] for name, arrays in vectors.items()})
        with pytest.raises(RagkitError, match="The key may not make, change or delete collections"):
            open_index(stub.url, SPECS, "others")


@pytest.mark.parametrize(
    ("version", "datatype", "instead"), [("1.19.0", "turbo8", "float16 or turbo4"), ("1.18.2", "turbo4", "float16")]
)
def test_what_a_version_does_not_know_is_refused_before_anything_is_encoded(monkeypatch, version, datatype, instead):
    monkeypatch.setattr("ragkit.encoders.cached_encoder.CachedEncoder.prepare", lambda *_: pytest.fail("encoded"))
    with StubServer(version=version) as stub:
        with pytest.raises(RagkitError, match=rf"{datatype} needs Qdrant 1.\d+; this is {version}: {instead}\."):
            ragkit.compare(ragkit.load_movies(), [f"colbert-{datatype}"], where=stub.url)
        assert not stub.collections


@pytest.mark.parametrize(("version", "word"), [("1.18.0", {"always_ram": True}), ("1.19.0", {"memory": "pinned"})])
def test_memory_is_said_in_the_words_of_the_servers_version(recwarn, version, word):
    specs = {"colbert": VectorSpec(8, True, storage=Storage("float16", "int8", on_disk=True))}
    with StubServer(version=version) as stub:
        for _ in range(2):  # made, then known again
            open_index(stub.url, specs).close()
        assert created(stub)["vectors"]["colbert"]["quantization_config"]["scalar"] == {"type": "int8", **word}


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 1, 13, 30, 59])
def test_an_ingest_that_is_killed_continues_and_ends_as_an_undisturbed_one(stub, vectors, documents, expected, after):
    index = open_index(stub.url, SPECS, **OPEN, options=SMALL)
    with pytest.raises(KeyboardInterrupt):
        index.stream(DOC_IDS, interrupted(documents, after))
    with open_index(stub.url, SPECS, **OPEN, options=SMALL) as index:
        done = len(index.doc_ids)
        stub.seen.clear()
        index.stream(DOC_IDS[done:], documents[done:])
        assert_same(answers(index, vectors), expected)
    sent = [point["id"] for seen in stub.requests("PUT", "/points") for point in seen.body["points"]]
    assert sent == list(range(done, COUNT)) and after - 15 < done <= after
    assert stored(stub) == list(enumerate(DOC_IDS))


def killed_with_a_gap(stub, naps, vectors):
    """Leave a collection of 60 points whose every second is missing from somewhere on."""
    stub.fail("PUT", "/points", None, *[Cut("part")] * 6)
    with open_index(stub.url, SPECS, **OPEN, options=SMALL) as index, pytest.raises(RagkitError):
        index.add(DOC_IDS, vectors)
    ids = [point for point, _ in stored(stub)]
    assert ids != list(range(len(ids)))
    return ids


@pytest.mark.slow
def test_points_beyond_a_gap_do_not_count_and_are_not_searched(stub, naps, vectors):
    ids = killed_with_a_gap(stub, naps, vectors)
    with open_index(stub.url, SPECS, **OPEN) as index:
        assert index.doc_ids == DOC_IDS[: len(index.doc_ids)] and len(index.doc_ids) < len(ids)
        with pytest.raises(RagkitError, match="is not whole: storing it was interrupted after"):
            index.search(vectors["dense"][0], "dense", COUNT)


@pytest.mark.slow
def test_points_beyond_the_end_are_deleted(stub, naps, vectors):
    killed_with_a_gap(stub, naps, vectors)
    with open_index(stub.url, SPECS, **OPEN) as index:
        done = len(index.doc_ids)
        index.add(["last"], {name: arrays[done : done + 1] for name, arrays in vectors.items()})
    assert stored(stub) == list(enumerate([*DOC_IDS[:done], "last"]))


@pytest.mark.slow
def test_two_that_store_the_same_at_once_double_nothing(stub, vectors, documents, expected):
    with (
        open_index(stub.url, SPECS, **OPEN, options=SMALL) as one,
        open_index(stub.url, SPECS, **OPEN, options=SMALL) as two,
    ):
        threads = [threading.Thread(target=index.stream, args=(DOC_IDS, documents)) for index in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert_same(answers(one, vectors), expected)
        assert_same(answers(two, vectors), expected)
    assert stored(stub) == list(enumerate(DOC_IDS))


@pytest.mark.slow
def test_what_is_stored_is_read_in_pages(stub, vectors, monkeypatch):
    with open_index(stub.url, SPECS, **OPEN) as index:
        index.add(DOC_IDS, vectors)
    monkeypatch.setattr("ragkit.engines._limits._PAGE", 7)
    with open_index(stub.url, SPECS, **OPEN) as index:
        assert index.doc_ids == DOC_IDS
    pages = [seen.body for seen in stub.requests("POST", "/scroll")]
    assert len(pages) == 9 and all(page["limit"] == 7 and not page["with_vector"] for page in pages)


def test_points_of_others_are_left_alone(stub, vectors):
    open_index(stub.url, {"dense": VectorSpec(2)}, "theirs").close()
    stub.engine.upsert("theirs", [models.PointStruct(id=5, vector={"dense": [1.0, 0.0]}, payload={"title": "mine"})])
    with pytest.raises(RagkitError, match="points that ragkit did not store, such as 5"):
        open_index(stub.url, {"dense": VectorSpec(2)}, "theirs")
    assert stub.engine.count("theirs").count == 1


def test_a_server_that_lost_points_is_not_believed(stub, naps, vectors):
    with open_index(stub.url, SPECS, **OPEN) as index:
        stub.fail("POST", "/count", None)
        upsert = index._upsert

        def lose(*batch):
            upsert(*batch)
            stub.engine.delete(index.collection, [3])

        index._upsert = lose
        with pytest.raises(RagkitError, match="holds 59 documents, where 60 were stored"):
            index.add(DOC_IDS, vectors)
    assert sum(naps) < 10


QUANTIZED = {"colbert": VectorSpec(8, True, storage=Storage(quantization="turbo4copy"))}


def test_quantization_is_waited_for_until_the_server_is_done(stub, naps, vectors):
    with open_index(stub.url, QUANTIZED) as index:
        stub.statuses.extend(["green", "green", "yellow", "grey", "green", "green"])
        index.add(DOC_IDS, {"colbert": vectors["colbert"]})
    assert not stub.statuses and len(naps) == 4
    (asked,) = stub.requests("PATCH", "/ragkit")
    assert asked.body == {"optimizers_config": {"indexing_threshold": 100}}


def test_exact_vectors_are_not_waited_for(stub, naps, vectors):
    with open_index(stub.url, SPECS) as index:
        index.add(DOC_IDS, vectors)
    assert naps == [] and not stub.requests("PATCH", "/ragkit")


@pytest.mark.parametrize(
    ("statuses", "message"),
    [(["green", "red"], "cannot index"), (["yellow"] * 99, "still indexes ragkit after 10 s")],
)
def test_an_index_that_fails_or_takes_too_long_is_an_error(stub, naps, vectors, statuses, message):
    with open_index(stub.url, QUANTIZED, options=ServerOptions(index_timeout=10)) as index:
        stub.statuses.extend(statuses)
        with pytest.raises(RagkitError, match=message):
            index.add(DOC_IDS, {"colbert": vectors["colbert"]})
    assert sum(naps) < 12


@pytest.mark.slow
def test_a_quantized_collection_that_still_is_indexed_is_waited_for_when_it_is_opened_again(stub, naps, vectors):
    with open_index(stub.url, QUANTIZED) as index:
        index.add(DOC_IDS, {"colbert": vectors["colbert"]})
    naps.clear()
    with open_index(stub.url, QUANTIZED) as index:
        stub.statuses.extend(["yellow"] * 4)
        index.search(vectors["colbert"][0], "colbert", 5)
        assert not stub.statuses and len(naps) == 4
        index.search(vectors["colbert"][0], "colbert", 5)
        assert len(naps) == 4
    assert len(stub.requests("PATCH", "/ragkit")) == 1


# Who is there


def test_a_server_far_from_the_clients_version_is_warned_of_in_words(recwarn):
    with StubServer(version="1.17.4") as stub:
        open_index(stub.url, SPECS).close()
    (warning,) = recwarn
    assert f"The server at {stub.url} is Qdrant 1.17.4, and qdrant-client" in str(warning.message)


@pytest.mark.slow
def test_a_server_near_the_clients_version_is_not_warned_of(stub, recwarn):
    for name in "abc":
        open_index(stub.url, SPECS, name).close()
    assert not list(recwarn) and len(stub.requests("GET", "/")) == 3  # qdrant-client's own check would ask again


def test_something_else_than_a_qdrant_server_is_told(stub):
    with pytest.raises(RagkitError, match="is no Qdrant server. Check QDRANT_URL"):
        stub.version = None
        open_index(stub.url, SPECS)


def test_a_server_that_never_answered_is_not_waited_for(naps):
    with pytest.raises(RagkitError, match="No Qdrant server answers at http://127.0.0.1:9 .no connection"):
        open_index("http://127.0.0.1:9", SPECS)
    assert naps == []


def test_an_address_without_a_port_is_tried_at_qdrants_and_at_the_schemes(naps, monkeypatch):
    assert _connection._QDRANTS_PORT == 6333
    monkeypatch.setattr(_connection, "_QDRANTS_PORT", 9)  # who runs these tests may have a Qdrant at 6333
    with pytest.raises(RagkitError, match=r"answers at http://127.0.0.1:9 \(.*, nor at http://127.0.0.1:80 \("):
        open_index("http://127.0.0.1", SPECS)
    with pytest.raises(RagkitError, match=r"https://127.0.0.1:9/q \(.*, nor at https://127.0.0.1:443/q \("):
        open_index("https://127.0.0.1/q", SPECS)
    assert naps == []


@pytest.mark.slow
def test_of_several_addresses_the_next_is_asked_when_one_is_gone(naps, vectors, expected):
    """Two nodes of a cluster: here, two addresses of one stub."""
    with StubServer() as stub:
        with StubServer() as other:
            other.engine, other.collections = stub.engine, stub.collections
            with open_index(f"http://127.0.0.1:9,{other.url}, {stub.url}/", SPECS, **OPEN, options=SMALL) as index:
                index.add(DOC_IDS[:30], {name: arrays[:30] for name, arrays in vectors.items()})
                assert not stub.requests("PUT", "/points") and other.requests("PUT", "/points")
                other.__exit__()
                index.add(DOC_IDS[30:], {name: arrays[30:] for name, arrays in vectors.items()})
                assert_same(answers(index, vectors), expected)
                assert index.again == {"no connection": 2} and max(naps) == 0
        assert stub.seen


def test_a_key_over_http_to_elsewhere_is_told_once(monkeypatch):
    monkeypatch.setattr(_connection, "_on_loopback", lambda _: False)
    with StubServer(api_key="secret") as stub:
        monkeypatch.setenv("QDRANT_API_KEY", "secret")
        with pytest.warns(UserWarning, match="QDRANT_API_KEY goes to .* without encryption") as told:
            open_index(stub.url, SPECS).close()
    assert len(told) == 1


@pytest.mark.slow
def test_memory_beside_a_server_is_the_servers_or_not_told(stub, movies, movies_cache):
    first, again = (ragkit.compare(movies, ["dense"], where=stub.url).table()["memory_bytes"] for _ in range(2))
    assert first.item() == 20 * 1000 and again.isna().all()
    stub.fail("GET", "/metrics", *[Answer(403)] * 2)
    assert ragkit.compare(movies, ["bm25"], where=stub.url).table()["memory_bytes"].isna().all()


@pytest.mark.slow
def test_memory_is_told_only_where_all_nodes_answer_before_and_after(vectors):
    """Three nodes of a cluster: here, three addresses of one stub."""
    with StubServer(nodes=3) as stub, StubServer(nodes=3) as second, StubServer(nodes=3) as third:
        for other in (second, third):
            other.engine, other.collections = stub.engine, stub.collections

        def grown(*stubs, name):
            with open_index(",".join(one.url for one in stubs), SPECS, name) as index:
                index.add(DOC_IDS, vectors)
                return index.memory_growth()

        assert grown(stub, second, third, name="all") == 3 * 1000 * COUNT
        assert np.isnan(grown(stub, name="one")) and np.isnan(grown(stub, second, name="two"))
        third.fail("GET", "/metrics", None, Answer(500))
        assert np.isnan(grown(stub, second, third, name="gone at the end"))


@pytest.mark.slow
def test_a_query_that_is_sent_again_is_timed_by_its_last_sending(stub, movies, movies_cache, monkeypatch):
    monkeypatch.setattr("ragkit.engines._retries._FIRST_WAIT_S", 2.0)
    stub.fail("POST", "/query", *[None] * 8, Answer(429, "slow down", {"Retry-After": "2"}))
    comparison = ragkit.compare(movies, ["dense"], where=stub.url)
    assert comparison.systems[0].ms.max() < 1900
    assert "dense: of 40 queries 1 sent again for 429; times are those of the last sending" in comparison.notes


def test_an_address_without_its_scheme_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QDRANT_URL", "localhost:6333")
    with pytest.raises(RagkitError, match="did you mean 'http://localhost:6333'"):
        open_index(None, SPECS)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("field", ["shards", "replicas", "write_consistency", "timeout", "request_bytes"])
def test_options_that_cannot_be_are_refused(field):
    with pytest.raises(RagkitError, match=f"{field} is 0; expected a whole number from 1"):
        ServerOptions(**{field: 0})


def test_requests_over_a_servers_limit_cannot_be_asked_for():
    with pytest.raises(RagkitError, match="request_bytes is 33,554,433; a Qdrant server takes at most 33,554,432"):
        ServerOptions(request_bytes=32 * 2**20 + 1)


# Answers that are not to be trusted


@pytest.mark.parametrize("around", ["\n", " ", "\r\n", "\xa0"])
def test_white_space_around_a_key_is_not_sent(monkeypatch, around):
    with StubServer(api_key="secret") as stub:
        monkeypatch.setenv("QDRANT_API_KEY", f"{around}secret{around}")
        open_index(stub.url, SPECS).close()  # on loopback, without a word of http
        assert {seen.headers["api-key"] for seen in stub.seen} == {"secret"}


@pytest.mark.parametrize("odd", ["\n", "\x01", "é", "–", "\x7f"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(stub, monkeypatch, odd):
    monkeypatch.setenv("QDRANT_API_KEY", f"sec{odd}ret")
    with pytest.raises(RagkitError, match="QDRANT_API_KEY has a character at place 4 of 7") as caught:
        open_index(stub.url, SPECS)
    assert "sec" not in str(caught.value) and not stub.seen


def test_a_key_that_a_server_says_back_is_not_shown(monkeypatch):
    with StubServer(api_key="s3cret") as stub:
        monkeypatch.setenv("QDRANT_API_KEY", "s3cret")
        stub.fail("GET", "/exists", Answer(401, "no such key: s3cret!"))
        with pytest.raises(RagkitError, match="no such key: …!"):
            open_index(stub.url, SPECS)


@pytest.mark.parametrize("text", ["no \x1b[31m\a" * 9, "long " * 10**6, "\ud800"], ids=["control", "long", "surrogate"])
def test_what_a_server_says_is_cut_and_made_plain(stub, text):
    stub.fail("GET", "/exists", Answer(400, text))
    with pytest.raises(RagkitError, match="400: ") as caught:
        open_index(stub.url, SPECS)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


@pytest.mark.slow
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_named_and_not_followed(stub, monkeypatch, status):
    with StubServer() as other:
        stub.fail("GET", "/exists", Answer(status, headers={"Location": f"{other.url}/x?token=1"}))
        message = rf"answered {status}, a redirect to '{other.url}/x\?…', where the key is not sent"
        with pytest.raises(RagkitError, match=message):
            open_index(stub.url, SPECS)
        assert not other.seen


NO_QDRANT = {
    "HTML": b"<html>log in</html>",
    "nothing": b"",
    "{}": b"{}",
    "a wrong schema": b'{"result": {"exists": [1]}}',
    "deep": b'{"result": ' + b"[" * 10**5,
    "a long number": b'{"result": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("body", NO_QDRANT.values(), ids=NO_QDRANT)
def test_200_with_something_else_than_qdrants_json_is_told(stub, body):
    stub.fail("GET", "/exists", Raw(page("200 OK", body)))
    with pytest.raises(RagkitError, match=r"is no Qdrant server\. Check QDRANT_URL"):
        open_index(stub.url, SPECS)


def test_an_answer_without_an_end_is_told_and_not_asked_for_again(stub, naps):
    stub.fail("GET", "/exists", Raw(endless(head("200 OK"), b" " * 2**20)))
    with pytest.raises(RagkitError, match="GET /collections/ragkit/exists cannot be read: the answer is larger"):
        open_index(stub.url, SPECS)
    assert naps == []


@pytest.mark.thorough
def test_a_server_that_drips_meets_the_timeout(stub, naps):
    stub.fail("GET", "/exists", *[Raw(drip(head("200 OK", "Content-Length: 99"), b" "))] * 6)
    with pytest.raises(RagkitError, match=r"6 times .* \(the last time: no answer in time\)"):
        open_index(stub.url, SPECS, options=ServerOptions(timeout=1))


def edited(change):
    return Edit(lambda body: {**body, "result": change(body["result"])})


def hits(change):
    return edited(lambda result: {"points": change(result["points"])})


WRONG_HITS = {
    "twice the same": (hits(lambda points: [points[0], *points[:-1]]), "one of them twice"),
    "one more": (hits(lambda points: [*points, {**points[0], "id": 59}]), "where 15 were asked for"),
    "fewer": (hits(lambda points: points[1:]), "found 14 documents where it must find 15"),
    "negative": (hits(lambda points: [{**points[0], "id": -1}, *points[1:]]), "is not whole"),
    "a UUID": (hits(lambda points: [{**points[0], "id": "3"}, *points[1:]]), "that ragkit did not store"),
    "NaN": (hits(lambda points: [{**points[0], "score": float("nan")}, *points[1:]]), "no finite float32"),
    "infinite": (hits(lambda points: [{**points[0], "score": 1e300}, *points[1:]]), "no finite float32"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "message"), WRONG_HITS.values(), ids=WRONG_HITS)
def test_hits_that_no_search_can_find_are_refused(stub, vectors, fault, message):
    with open_index(stub.url, SPECS, **OPEN) as index:
        index.add(DOC_IDS, vectors)
        stub.fail("POST", "/query", fault)
        with pytest.raises(RagkitError, match=message):
            index.search(vectors["dense"][0], "dense", 15)


STARTS = itertools.count(0, 40)


def new_page(start):
    """A page of forty documents that nobody stored, and the next one's offset."""
    points = [{"id": i, "payload": {"doc_id": f"new {i}"}} for i in range(start, start + 40)]
    return {"points": points, "next_page_offset": start + 40}


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        edited(lambda result: {**result, "next_page_offset": 0}),
        edited(lambda result: {"points": [], "next_page_offset": 7}),
        edited(lambda result: new_page(next(STARTS))),
        edited(lambda result: {**result, "points": result["points"][::-1]}),
        edited(lambda result: {**result, "points": [{**p, "payload": {"doc_id": "a"}} for p in result["points"]]}),
    ],
    ids=["the same page", "empty pages", "pages that go on", "no order", "one id for all"],
)
def test_a_list_of_documents_that_is_none_comes_to_an_end(stub, vectors, monkeypatch, fault):
    with open_index(stub.url, SPECS, **OPEN) as index:
        index.add(DOC_IDS, vectors)
    monkeypatch.setattr("ragkit.engines._limits._PAGE", 40)
    stub.fail("POST", "/scroll", *[fault] * 99)
    with pytest.raises(RagkitError, match="lists its documents twice, in no order or without an end"):
        open_index(stub.url, SPECS, **OPEN)


def test_numbers_that_json_cannot_hold_are_refused_before_they_are_sent(stub, vectors):
    with open_index(stub.url, SPECS, **OPEN) as index:
        with pytest.raises(RagkitError, match="not finite"):
            index.add(DOC_IDS[:1], {**{n: v[:1] for n, v in vectors.items()}, "dense": [vectors["dense"][0] * np.nan]})
        assert not stub.requests("PUT", "/points")


# The stub itself


@pytest.mark.slow
def test_the_stub_refuses_what_it_does_not_know(stub):
    def ask(method, path, body=None):
        answer = httpx.request(method, stub.url + path, json=body)
        return answer.status_code, answer.json()["status"]["error"]

    open_index(stub.url, {"dense": VectorSpec(2)}, "c").close()
    assert ask("GET", "/collections/c/points/unheard-of")[0] == 404
    assert ask("POST", "/collections/none/points/count", {}) == (404, "Not found: Collection `none` doesn't exist!")
    assert "surprise" in ask("POST", "/collections/c/points/count", {"surprise": 1})[1]
    assert "limit" in ask("POST", "/collections/c/points/scroll", {"limit": "ten"})[1]
    assert ask("PUT", "/collections/c/points?wait=true&often=1", {"points": []})[0] == 400
    point = {"id": 1, "vector": {"dense": [1.0, 2.0, 3.0]}}
    assert "expected dim: 2" in ask("PUT", "/collections/c/points", {"points": [point]})[1]
    assert ask("PUT", "/collections/c", {"vectors": {"dense": {"size": 2, "distance": "Cosine"}}})[0] == 409


@pytest.mark.slow
def test_the_stub_has_qdrants_limit_and_its_words(stub):
    answer = httpx.put(f"{stub.url}/collections/c/points", content=b" " * (32 * 2**20 + 1))
    assert answer.status_code == 400 and answer.json()["status"]["error"] == (
        "Payload error: JSON payload (33554433 bytes) is larger than allowed (limit: 33554432 bytes)."
    )
