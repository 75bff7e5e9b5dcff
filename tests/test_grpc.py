"""An upload over gRPC leaves the same as one over REST, also where it fails."""

# ruff: noqa: F401, F811  # fixtures of another file

import numpy as np
import pytest

from ragkit import RagkitError, open_index
from ragkit.engines import _connection
from tests.stub_grpc import StubGrpc
from tests.stub_server import Answer, StubServer
from tests.test_client import (  # fixtures
    COUNT,
    DOC_IDS,
    OPEN,
    SMALL,
    SPECS,
    answers,
    assert_same,
    documents,
    expected,
    interrupted,
    naps,
    stored,
    stub,
    vectors,
)


@pytest.fixture()
def grpc(stub, monkeypatch):
    with StubGrpc(stub) as server:
        monkeypatch.setattr(_connection, "port_beside", lambda _: server.port)
        yield server


@pytest.mark.slow
def test_what_is_stored_over_grpc_is_what_is_stored_over_rest(stub, grpc, vectors, expected):
    with open_index(stub.url, SPECS, **OPEN, options=SMALL) as index:
        index.add(DOC_IDS, vectors)
        assert_same(answers(index, vectors), expected)
    assert sum(grpc.stored) == COUNT and len(grpc.stored) > 3 and not stub.requests("PUT", "/points")
    with StubServer() as other, open_index(other.url, SPECS, **OPEN) as index:
        index.add(DOC_IDS, vectors)
        (request,) = other.requests("PUT", "/points")
    for point in request.body["points"]:
        ours = grpc.points[point["id"]]
        assert ours.payload == point["payload"] and ours.vector.keys() == point["vector"].keys()
        for name, others in point["vector"].items():
            vector = ours.vector[name]
            vector = vector.model_dump() if isinstance(others, dict) else {"": vector}
            for part, numbers in (others if isinstance(others, dict) else {"": others}).items():
                assert np.array_equal(np.float32(vector[part]), np.float32(numbers))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_what_fails_over_grpc_is_stored_over_rest(stub, grpc, naps, vectors, expected, fault, place):
    grpc.fail = {place: fault}
    with open_index(stub.url, SPECS, **OPEN, options=SMALL) as index:
        index.add(DOC_IDS, vectors)
        assert_same(answers(index, vectors), expected)
    assert stored(stub) == list(enumerate(DOC_IDS)) and stub.requests("PUT", "/points")


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 13, 30, 59])
def test_an_upload_over_grpc_that_is_killed_continues(stub, grpc, vectors, documents, expected, after):
    index = open_index(stub.url, SPECS, **OPEN, options=SMALL)
    with pytest.raises(KeyboardInterrupt):
        index.stream(DOC_IDS, interrupted(documents, after))
    with open_index(stub.url, SPECS, **OPEN, options=SMALL) as index:
        done = len(index.doc_ids)
        assert done <= after
        index.stream(DOC_IDS[done:], documents[done:])
        assert_same(answers(index, vectors), expected)
    assert stored(stub) == list(enumerate(DOC_IDS))


@pytest.mark.slow
def test_both_ways_failing_says_what_is_stored_and_running_again_continues(stub, grpc, naps, vectors, expected):
    grpc.fail = {2: "before", 3: "before"}
    stub.fail("PUT", "/points", *[Answer(503)] * 6)
    with open_index(stub.url, SPECS, **OPEN, options=SMALL) as index:
        with pytest.raises(RagkitError, match="documents are stored; run it again"):
            index.add(DOC_IDS, vectors)
        kept = len(index.doc_ids)
    assert 0 < kept < COUNT
    with open_index(stub.url, SPECS, **OPEN, options=SMALL) as index:
        done = len(index.doc_ids)
        index.add(DOC_IDS[done:], {name: arrays[done:] for name, arrays in vectors.items()})
        assert_same(answers(index, vectors), expected)


@pytest.mark.slow
def test_another_servers_port_is_not_written_to(stub, grpc, vectors):
    """Beside the port of REST there may be anything: another Qdrant, too, with a collection of the same name."""
    with StubServer() as other, StubGrpc(other) as theirs, pytest.MonkeyPatch.context() as patch:
        open_index(other.url, SPECS, **OPEN).close()
        patch.setattr(_connection, "port_beside", lambda _: theirs.port)
        with open_index(stub.url, SPECS, **OPEN) as index:
            index.add(DOC_IDS, vectors)
        assert not theirs.stored and stored(stub) == list(enumerate(DOC_IDS))


def test_numbers_that_are_not_finite_are_refused(stub, grpc, vectors):
    with open_index(stub.url, SPECS, **OPEN) as index:
        with pytest.raises(RagkitError, match="not finite"):
            index.add(DOC_IDS[:1], {**{n: v[:1] for n, v in vectors.items()}, "dense": [vectors["dense"][0] * np.nan]})
        assert not grpc.stored
