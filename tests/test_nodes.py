"""Nodes of a real Qdrant that are killed, locked and strict: `RAGKIT_QDRANT=…/qdrant pytest tests -m server`.

RAGKIT_KILLS says how often each kind of process is killed (default 3).
"""

import os
import time
from random import Random

import pytest

import ragkit
from ragkit import RagkitError
from ragkit.engines.opening import open_index
from tests.nodes import NAMES, Nodes, Upload, assert_alike, dataset, indexed
from tests.windows import found

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif("RAGKIT_QDRANT" not in os.environ, reason="RAGKIT_QDRANT names no program of Qdrant"),
]
KILLS = range(int(os.environ.get("RAGKIT_KILLS", "3")))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What Qdrant Edge answers."""
    with ragkit.build_index(dataset(), ragkit.load_encoders(NAMES), tmp_path_factory.mktemp("edge"))[0] as index:
        return found(index, dataset(), NAMES)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with Nodes(tmp_path_factory.mktemp("node")) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, Nodes(tmp_path_factory.mktemp("cluster"), 3) as nodes:
        patch.setenv("QDRANT_SHARDS", "6")
        patch.setenv("QDRANT_REPLICAS", "2")
        yield nodes


def forget(url):
    """Delete what was stored."""
    with indexed(url) as index:
        index.client.delete_collection(index.collection)


@pytest.fixture(scope="module")
def seconds(node, expected):
    """How long an undisturbed ingest takes."""
    upload, start = Upload(node.url), time.monotonic()
    assert not upload.ended()
    seconds = time.monotonic() - start
    forget(node.url)
    return seconds


def assert_whole(url, expected):
    with indexed(url) as index:
        assert len(index.doc_ids) == len(set(index.doc_ids)) == len(dataset().documents)
        assert index.client.count(index.collection, exact=True).count == len(dataset().documents)
        assert_alike(found(index, dataset(), NAMES), expected)


@pytest.mark.parametrize("trial", KILLS)
def test_an_ingest_outlives_a_server_that_is_killed_and_comes_back(node, expected, seconds, trial):
    rng = Random(trial)
    upload = Upload(node.url)
    time.sleep(rng.random() * seconds)
    node.kill()
    time.sleep(rng.uniform(0.2, 4))
    node.start()
    said = upload.ended()
    assert not said or "RagkitError" in said, said  # a server that never answered is not waited for
    assert_whole(node.url, expected)
    forget(node.url)


@pytest.mark.parametrize("trial", KILLS)
def test_an_ingest_whose_client_is_killed_is_continued(node, expected, seconds, trial):
    rng = Random(1000 + trial)
    for _ in range(rng.choice([1, 1, 2])):
        upload = Upload(node.url)
        time.sleep(rng.random() * seconds)
        upload.kill()
    assert_whole(node.url, expected)
    forget(node.url)


@pytest.mark.parametrize("trial", KILLS)
def test_an_ingest_outlives_a_node_of_three(cluster, expected, seconds, trial):
    rng = Random(2000 + trial)
    upload = Upload(cluster.url)
    time.sleep(rng.random() * 2 * seconds)
    lost = rng.choice([1, 2])
    cluster.kill(lost)
    time.sleep(rng.uniform(0.2, 4))
    cluster.start(lost)
    assert not upload.ended()
    assert_whole(cluster.url, expected)
    forget(cluster.url)


def test_a_search_asks_the_next_node_when_one_is_gone(cluster, expected):
    assert not Upload(cluster.url).ended()
    with indexed(",".join(cluster.urls)) as index:
        assert_alike(found(index, dataset(), NAMES), expected)
        cluster.kill(2)
        assert_alike(found(index, dataset(), NAMES), expected)
        cluster.start(2)
    gone = ",".join([cluster.urls[2], cluster.urls[0]])
    cluster.kill(2)
    try:
        with indexed(gone) as index:
            assert_alike(found(index, dataset(), NAMES), expected)
    finally:
        cluster.start(2)
    forget(cluster.url)


def test_keys_open_what_they_may(tmp_path, monkeypatch, expected):
    settings = {"QDRANT__SERVICE__API_KEY": "all-of-it", "QDRANT__SERVICE__READ_ONLY_API_KEY": "to-read"}
    with Nodes(tmp_path, **settings) as nodes:
        for key in ("", "wrong"):
            monkeypatch.setenv("QDRANT_API_KEY", key)
            with pytest.raises(RagkitError, match="40[13].*QDRANT_API_KEY"):
                indexed(nodes.url)
        monkeypatch.setenv("QDRANT_API_KEY", "to-read")
        with pytest.raises(RagkitError, match="403.*may not make"):
            indexed(nodes.url)
        monkeypatch.setenv("QDRANT_API_KEY", "all-of-it")
        with indexed(nodes.url) as index:
            assert_alike(found(index, dataset(), NAMES), expected)
        monkeypatch.setenv("QDRANT_API_KEY", "to-read")
        with indexed(nodes.url) as index:
            assert_alike(found(index, dataset(), NAMES), expected)


@pytest.mark.parametrize(
    "strict",
    [
        {"max_query_limit": 50},
        {"upsert_max_batchsize": 10},
        {"write_rate_limit": 3000},
        {"max_query_limit": 50, "upsert_max_batchsize": 20, "read_rate_limit": 600},
    ],
    ids=str,
)
def test_strict_mode_costs_time_and_nothing_else(node, expected, strict):
    from qdrant_client import models

    with indexed(node.url) as index:
        index.client.delete(index.collection, models.FilterSelector(filter=models.Filter()))
        config = models.StrictModeConfig(enabled=True, **strict)
        index.client.update_collection(index.collection, strict_mode_config=config)
    assert_whole(node.url, expected)
    forget(node.url)


def test_strict_mode_that_forbids_what_a_comparison_needs_is_named(node):
    from qdrant_client import models

    with indexed(node.url) as index:
        name = index.collection
        config = models.StrictModeConfig(enabled=True, search_allow_exact=False)
        index.client.update_collection(name, strict_mode_config=config)
    try:
        with pytest.raises(RagkitError, match="search_allow_exact"), indexed(node.url) as index:
            found(index, dataset(), NAMES)
    finally:
        with open_index(node.url, {"gone": ragkit.VectorSpec(2)}, "ragkit-test-gone") as index:
            index.client.delete_collection(name)
            index.client.delete_collection(index.collection)
