"""What needs a Qdrant server: `QDRANT_URL=… pytest tests -m server`. Skipped unless asked for.

Against a cluster set QDRANT_SHARDS and QDRANT_REPLICAS too. Where RAGKIT_GRPC is set, an upload must go over gRPC. Its
collections are named ragkit-test-… and deleted.
"""

import dataclasses
import os
import uuid

import numpy as np
import pandas as pd
import pytest

import ragkit
from ragkit import Prefetch, RagkitError, ServerOptions, Storage, VectorSpec, open_index
from ragkit.engines import inventory, versions
from tests.test_shards import assert_same_ranking

pytestmark = pytest.mark.server

COUNT = 400
DOC_IDS = [f"doc {i}" for i in range(COUNT)]
SPECS = {"dense": VectorSpec(64), "colbert": VectorSpec(32, True)}


@pytest.fixture()
def url():
    return os.environ["QDRANT_URL"]


@pytest.fixture()
def name(url):
    """The name of a collection that is deleted after the test."""
    name = f"ragkit-test-{uuid.uuid4().hex[:8]}"
    yield name
    with open_index(url, {"gone": VectorSpec(2)}, name, options=ServerOptions(recreate=True)) as index:
        index.client.delete_collection(name)


@pytest.fixture()
def films(url, movies):
    """The films under a name of their own, whose collections are deleted after the test."""
    films = dataclasses.replace(movies, name=f"test-{uuid.uuid4().hex[:8]}")
    yield films
    for kept in inventory.survey(url).kept:
        if kept.dataset == films.name:
            inventory.delete(url, kept.name)


@pytest.fixture()
def vectors(rng):
    def unit(*shape):
        rows = rng.standard_normal(shape).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    return {"dense": list(unit(COUNT, 64)), "colbert": [unit(n, 32) for n in rng.integers(5, 60, COUNT)]}


def answers(index, vectors):
    dense, colbert = vectors["dense"][7], vectors["colbert"][7]
    return (
        index.search(dense, "dense", 20),
        index.search(colbert, "colbert", 20),
        index.search(colbert, "colbert", 20, [Prefetch(dense, "dense", 50)]),
    )


def assert_same(answers, expected):
    for hits, others in zip(answers, expected, strict=True):
        assert [doc_id for doc_id, _ in hits] == [doc_id for doc_id, _ in others]
        np.testing.assert_allclose([score for _, score in hits], [score for _, score in others], atol=1e-4)


@pytest.fixture()
def expected(vectors, tmp_path):
    """The answers of Qdrant Edge."""
    with open_index(tmp_path / "edge", SPECS) as index:
        index.add(DOC_IDS, vectors)
        return answers(index, vectors)


def test_a_server_gives_the_same_comparison_as_local_mode_and_edge(url, films, tmp_path):
    systems = ["dense", "colbert", "dense+colbert"]
    server, *others = (ragkit.compare(films, systems, depth=5, where=w) for w in (url, ":memory:", tmp_path / "edge"))
    assert server.config["engine"].startswith("Qdrant server") and server.config["engine_times_are_qdrants"]
    for other in others:
        for a, b in zip(server.systems, other.systems, strict=True):
            pd.testing.assert_frame_equal(a.values, b.values)


def test_a_server_ranks_as_edge_does(url, name, vectors, expected):
    with open_index(url, SPECS, name) as index:
        index.add(DOC_IDS, vectors)
        assert_same(answers(index, vectors), expected)


SYSTEMS = ["dense", "colbert", "bm25", "hybrid", "hybrid-dbsf", "dense+colbert", "bm25+colbert", "hybrid+colbert"]


@pytest.mark.parametrize("shards", [1, 3, 6])
def test_every_system_ranks_alike_however_its_collection_is_cut(url, films, movies_cache, monkeypatch, shards):
    monkeypatch.setenv("QDRANT_SHARDS", str(shards))
    edge = ragkit.compare(films, SYSTEMS, depth=5, separate=False, where=movies_cache / f"edge-{shards}")
    server = ragkit.compare(films, SYSTEMS, depth=5, where=url, as_deployed=True)
    assert server.config["server"]["shards"] == shards
    words = edge["bm25"].results
    tied = set(words["query_id"][words.assign(score=words["score"].round(4)).duplicated(["query_id", "score"])])
    for system in edge.systems:
        queries = set(words["query_id"]) - (tied if "hybrid" in system.system or "bm25→" in system.system else set())
        assert_same_ranking(server[system.system].results, system.results, queries)
    assert any("per shard" in system.system for system in server.systems) == (shards > 1)


# Variants, too.
FULL = [*SYSTEMS, "dense+colbert-pool2", "muvera+colbert", "colbert-turbo4", "colbert-small"]


@pytest.mark.scifact
@pytest.mark.parametrize("shards", [1, 3, 6])
def test_the_first_ten_on_scifact_are_edges_however_its_collection_is_cut(url, monkeypatch, tmp_path, shards):
    monkeypatch.setenv("QDRANT_SHARDS", str(shards))
    scifact = dataclasses.replace(ragkit.load_beir("scifact"), name=f"test-{uuid.uuid4().hex[:8]}")
    edge = ragkit.compare(scifact, FULL, depth=10, separate=False, where=tmp_path / "edge")
    try:
        server = ragkit.compare(scifact, FULL, depth=10, where=url)
    finally:
        for kept in inventory.survey(url).kept:
            if kept.dataset == scifact.name:
                inventory.delete(url, kept.name)
    for system in edge.systems:
        ours, theirs = (dict(list(run.groupby("query_id"))) for run in (server[system.system].results, system.results))
        assert ours.keys() == theirs.keys()
        for query_id, run in theirs.items():
            first, other = run.nsmallest(10, "rank"), ours[query_id].nsmallest(10, "rank")
            assert other["doc_id"].tolist() == first["doc_id"].tolist(), f"{system.system}, {query_id}"


def test_an_upload_goes_over_grpc_where_that_answers(url, name, vectors, expected):
    with open_index(url, SPECS, name) as index:
        index.add(DOC_IDS, vectors)
        if not index._grpc and not os.environ.get("RAGKIT_GRPC"):
            pytest.skip("the port of gRPC does not answer beside that of REST")
        assert index._grpc, "RAGKIT_GRPC says that the port of gRPC answers beside that of REST"
        assert_same(answers(index, vectors), expected)
        again = index.client.retrieve(name, [7], with_vectors=True)[0].vector
    unit = vectors["colbert"][7] / np.linalg.norm(vectors["colbert"][7], axis=1, keepdims=True)
    np.testing.assert_allclose(again["colbert"], unit, atol=1e-6)


@pytest.mark.parametrize(
    "storage",
    [
        Storage("float16"),
        Storage("turbo8"),
        Storage("float16", "turbo4copy", on_disk=True),
        *[Storage(quantization=name) for name in ("int8", "binary", "turbo4copy", "turbo2copy", "turbo1.5copy")],
        Storage(quantization="turbo1copy", oversampling=4.0),
    ],
    ids=str,
)
def test_a_server_keeps_vectors_as_asked_and_finds_a_document_by_itself(url, name, vectors, storage):
    specs = {"colbert": VectorSpec(32, True, storage=storage)}
    with open_index(url, SPECS, f"{name}-first") as index:
        found = index.version
        index.client.delete_collection(index.collection)
    if versions.SINCE[storage.datatype] > versions.numbers(found):
        with pytest.raises(RagkitError, match=f"{storage.datatype} needs Qdrant .* this is {found}: .*float16"):
            open_index(url, specs, name)
        return
    for _ in range(2):  # made, then known again
        with open_index(url, specs, name) as index:
            if not index.doc_ids:
                index.add(DOC_IDS, {"colbert": vectors["colbert"]})
            assert index.doc_ids == DOC_IDS
            found = [index.search(vectors["colbert"][i], "colbert", 3)[0][0] for i in range(20)]
            assert found == DOC_IDS[:20]


def test_a_graph_over_dense_vectors_is_accepted(url, name, vectors):
    with open_index(url, {"dense": VectorSpec(64, storage=Storage(hnsw_m=16))}, name) as index:
        index.add(DOC_IDS, {"dense": vectors["dense"]})
        assert index.search(vectors["dense"][3], "dense", 1)[0][0] == DOC_IDS[3]


def test_an_ingest_that_is_killed_continues_and_ends_as_an_undisturbed_one(url, name, vectors, expected):
    documents = [dict(zip(vectors, row, strict=True)) for row in zip(*vectors.values(), strict=True)]

    def interrupted():
        yield from documents[:250]
        raise KeyboardInterrupt

    options = ServerOptions(
        shards=ServerOptions.from_environment().shards,
        replicas=ServerOptions.from_environment().replicas,
        request_bytes=100_000,
    )
    with open_index(url, SPECS, name, options=options) as index, pytest.raises(KeyboardInterrupt):
        index.stream(DOC_IDS, interrupted())
    with open_index(url, SPECS, name, options=options) as index:
        done = len(index.doc_ids)
        assert 200 < done <= 250
        index.stream(DOC_IDS[done:], documents[done:])
        assert_same(answers(index, vectors), expected)


def test_more_than_a_request_holds_is_stored_in_several(url, name):
    rows = np.full((511, 128), 1 / np.sqrt(128), np.float32)
    with open_index(url, {"colbert": VectorSpec(128, True)}, name) as index:
        index.add(DOC_IDS[:64], {"colbert": [rows] * 64})  # 50 MB as JSON
        assert index.client.count(name, exact=True).count == 64


def test_what_is_there_is_refused_and_only_recreate_deletes_it(url, name, vectors, capsys):
    with open_index(url, SPECS, name) as index:
        index.add(DOC_IDS, vectors)
    other = SPECS | {"dense": VectorSpec(32)}
    with pytest.raises(RagkitError, match="dense: size is 64, asked for 32"):
        open_index(url, other, name)
    with open_index(url, SPECS, name) as index:
        assert index.doc_ids == DOC_IDS
    with open_index(url, other, name, options=ServerOptions(recreate=True)) as index:
        assert index.doc_ids == []
    assert f"deleting {name}" in capsys.readouterr().err
