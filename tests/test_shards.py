"""A collection that is cut into shards: the same numbers as whole, unless each shard's own are asked for."""

import json

import numpy as np
import pandas as pd
import pytest

import ragkit
from ragkit import RagkitError, open_index
from ragkit.cli import main
from ragkit.display import tables
from ragkit.encoders.bm25 import Bm25Encoder
from ragkit.engines.edge import EdgeIndex
from ragkit.vectors import VectorSpec
from tests.stub_server import StubServer

SYSTEMS = ["dense", "colbert", "bm25", "hybrid", "hybrid-dbsf"]
SYSTEMS += ["dense+colbert", "bm25+colbert", "hybrid+colbert", "dense+bm25", "dense+oracle"]
CHANGED = {
    "bm25": "bm25 per shard",
    "hybrid": "hybrid per shard",
    "hybrid-dbsf": "hybrid-dbsf per shard",
    "dense→colbert": "dense→colbert @5 per shard",
    "bm25→colbert": "bm25→colbert @5 per shard",
    "hybrid→colbert": "hybrid→colbert @5 per shard",
    "dense→bm25": "dense→bm25 @5 per shard",
}
BM25 = {"bm25": VectorSpec(0, sparse=True), "bm25-modifier": VectorSpec(0, sparse=True, modifier=True)}


@pytest.fixture(scope="module")
def cached(_shared):
    """What movies_cache is, for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("QDRANT_URL", "QDRANT_API_KEY", "QDRANT_SHARDS", "QDRANT_REPLICAS"):
            patch.delenv(name, raising=False)
        patch.setenv("RAGKIT_CACHE", str(_shared))
        patch.setattr(ragkit.Retriever, "encoding_ms", lambda *_: pd.Series(dtype=float))  # no time is asked here
        yield


@pytest.fixture(scope="module")
def whole(movies, cached):
    return ragkit.compare(movies, SYSTEMS, depth=5, separate=False)


@pytest.fixture(scope="module", params=[3, *(pytest.param(nodes, marks=pytest.mark.thorough) for nodes in (1, 6))])
def cut(request, movies, cached):
    """The same comparison over a stub of so many nodes, as named and as deployed."""
    with StubServer(nodes=request.param) as stub:
        yield request.param, ragkit.compare(movies, SYSTEMS, depth=5, where=stub.url, as_deployed=True)


def assert_same_ranking(found: pd.DataFrame, expected: pd.DataFrame, queries: set[str]) -> None:
    """Expect the same scores, and the same documents wherever a score is not shared."""
    for query_id, others in expected[expected["query_id"].isin(queries)].groupby("query_id"):
        hits = found[found["query_id"] == query_id]
        np.testing.assert_allclose(hits["score"], others["score"], rtol=1e-5, atol=1e-6)
        alone = ~others["score"].round(5).duplicated(keep=False).to_numpy()
        assert hits["doc_id"][alone].tolist() == others["doc_id"][alone].tolist(), query_id


@pytest.mark.slow
@pytest.mark.parametrize("system", [system.replace("+", "→") for system in SYSTEMS])
def test_a_system_ranks_alike_however_its_collection_is_cut(whole, cut, system):
    """Where words find two documents alike, each engine fuses or cuts them as they come."""
    words = whole["bm25"].results
    tied = set(words["query_id"][words.assign(score=words["score"].round(4)).duplicated(["query_id", "score"])])
    queries = set(words["query_id"]) - (tied if "hybrid" in system or "bm25→" in system else set())
    assert len(queries) > 10
    assert_same_ranking(cut[1][system].results, whole[system].results, queries)


@pytest.mark.slow
def test_what_shards_change_has_a_row_of_its_own_with_its_difference(cut):
    shards, comparison = cut
    names = [system.system for system in comparison.systems]
    if shards == 1:
        assert not [name for name in names if "per shard" in name]
        assert "depth_and_idf" not in comparison.config["server"]
        return
    assert {name for name in names if "per shard" in name} == set(CHANGED.values())
    for name, twin in CHANGED.items():
        assert names.index(twin) == names.index(name) + 1
        assert not comparison[twin].results["doc_id"].equals(comparison[name].results["doc_id"])
        assert any(note.startswith(f"{twin} − {name}: ") for note in comparison.notes)
    assert comparison.config["server"]["depth_and_idf"].endswith("of rows per shard each shard's, as deployed")


@pytest.mark.slow
def test_nodes_shards_and_replicas_are_always_told(cut):
    shards, comparison = cut
    told = f"{shards} nodes, {shards} shards, 1 replica; depth and IDF of the whole collection"
    told += "; of rows per shard each shard's, as deployed"
    told = told if shards > 1 else "1 node, 1 shard, 1 replica"
    assert f"Qdrant server 1.20.0 ({told})" in tables.headline(comparison)
    server = comparison.to_dict()["config"]["server"]
    assert (server["nodes"], server["shards"], server["replicas"]) == (shards, shards, 1)


@pytest.mark.slow
def test_as_deployed_a_rerank_has_the_depth_of_every_shard(movies, movies_cache):
    """The first stage of each shard by itself, by a naive loop."""
    encoders = ragkit.load_encoders(["dense", "colbert"])
    system = ragkit.System.parse("dense+colbert").as_deployed(5)
    documents, queries = encoders["dense"].encode_documents(movies.passages), movies.queries
    with StubServer(nodes=3) as stub, ragkit.build_index(movies, encoders, stub.url)[0] as index:
        run = ragkit.Retriever(index, encoders, system, 5, 20).run(queries)
        places = [[record.id for record in stub.engine.scroll(s, limit=20)[0]] for s in stub.shards(index.collection)]
        deep = ragkit.Retriever(index, encoders, system, 5, 5).index.search(
            encoders["colbert"].encode_query(queries["text"][0]),
            "colbert",
            20,
            [ragkit.Prefetch(encoders["dense"].encode_query(queries["text"][0]), "dense", 5)],
            per_shard=True,
        )
    query = encoders["dense"].encode_query(queries["text"][0])
    best = [sorted(place, key=lambda point: -float(documents[point] @ query))[:5] for place in places]
    assert {doc_id for doc_id, _ in deep} == {movies.document_ids[point] for points in best for point in points}
    assert len(deep) > 5 and run.system == "dense→colbert @5 per shard"


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 3])
def test_as_deployed_is_told_alike_on_the_console_in_html_and_in_json(movies_cache, tmp_path, capsys, shards):
    """And on one shard, which is known where there is a collection, it is the same, and nothing more is stored."""
    path, page = tmp_path / "c.json", tmp_path / "c.html"
    with StubServer(nodes=shards) as stub:
        arguments = ["--where", stub.url, "--as-deployed", "--json", str(path), "--html", str(page)]
        if shards == 1:
            assert main(["compare", "movies", "--systems", "bm25", *arguments[:2]]) == 0
        assert main(["compare", "movies", "--systems", "bm25", *arguments]) == 0
        ((_, made),) = stub.collections.items()
    config = json.loads(path.read_text("utf8"))["config"]
    out, html = capsys.readouterr().out, page.read_text("utf8")
    if shards == 1:
        assert [*made.sparse_vectors] == ["bm25"] and "per shard" not in out + html + str(config)
        return
    told = "depth and IDF of the whole collection; of rows per shard each shard's, as deployed"
    assert f"3 shards, 1 replica; {told})" in out and told in html.replace("&#x27;", "'").replace("&#39;", "'")
    assert config["server"]["depth_and_idf"] == told and f"; {told})" in config["engine"]
    assert "bm25 per shard" in out and {*made.sparse_vectors} == {"bm25", "bm25-modifier"}


@pytest.mark.slow
def test_as_deployed_knows_a_collection_of_several_shards_on_one_node(movies, movies_cache, monkeypatch):
    with StubServer() as stub:
        monkeypatch.setenv("QDRANT_SHARDS", "3")
        ragkit.compare(movies, ["bm25"], where=stub.url, as_deployed=True)
        monkeypatch.delenv("QDRANT_SHARDS")
        names = [one.system for one in ragkit.compare(movies, ["bm25"], where=stub.url, as_deployed=True).systems]
        assert names == ["bm25", "bm25 per shard"] and len(stub.collections) == 1


@pytest.mark.slow
@pytest.mark.parametrize("per_node", [1, 3])
def test_as_deployed_takes_a_new_server_of_one_node_at_its_own_number_of_shards(movies, movies_cache, per_node):
    with StubServer(shards_per_node=per_node) as stub:
        names = [one.system for one in ragkit.compare(movies, ["bm25"], where=stub.url, as_deployed=True).systems]
        assert names == ["bm25", "bm25 per shard"][: min(per_node, 2)]


def test_as_deployed_is_refused_where_there_is_no_server(movies, movies_cache):
    with pytest.raises(RagkitError, match="as_deployed is for a server"):
        ragkit.compare(movies, ["bm25"], where=":memory:", as_deployed=True)


# The weights of words


def bm25(movies):
    encoder = Bm25Encoder()
    return encoder.encode_documents(movies.passages), encoder.encode_queries(movies.queries["text"].tolist())


@pytest.mark.parametrize("engine", [":memory:", None, "stub"])
def test_words_weigh_what_qdrants_modifier_makes_of_them_in_a_fresh_collection(movies, own_cache, engine):
    documents, queries = bm25(movies)
    with StubServer() as stub, open_index(stub.url if engine == "stub" else engine, BM25) as index:
        index.add(movies.document_ids, dict.fromkeys(BM25, documents))
        for query in queries:
            ours, qdrants = (index.search(query, name, 20) for name in BM25)
            assert [doc_id for doc_id, _ in ours] == [doc_id for doc_id, _ in qdrants]
            np.testing.assert_allclose([s for _, s in ours], [s for _, s in qdrants], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["folder", "stub"])
def test_words_weigh_the_same_when_an_index_is_opened_again_and_continued(movies, own_cache, tmp_path, where):
    documents, queries = bm25(movies)
    doc_ids, specs = movies.document_ids, {"bm25": BM25["bm25"]}

    def found(place, *parts):
        for start, stop in parts:
            with open_index(place, specs) as index:
                index.add(doc_ids[start:stop], {"bm25": documents[start:stop]})
        with open_index(place, specs) as index:
            return [index.search(query, "bm25", 20) for query in queries]

    with StubServer(nodes=3) as stub, StubServer(nodes=3) as other:
        places = (tmp_path / "a", tmp_path / "b") if where == "folder" else (stub.url, other.url)
        assert found(places[0], (0, 20)) == found(places[1], (0, 7), (7, 20))


def test_deleted_documents_count_in_no_weight_on_edge(movies, own_cache):
    """Qdrant's modifier counts them until their segment is written anew."""
    import qdrant_edge as qe

    documents, queries = bm25(movies)
    fresh = {}
    with open_index(None, BM25) as index:
        index.add(movies.document_ids[:10], dict.fromkeys(BM25, documents[:10]))
        fresh = {name: [index.search(query, name, 10) for query in queries] for name in BM25}
    with open_index(None, BM25) as index:
        assert isinstance(index, EdgeIndex)
        index.add(movies.document_ids, dict.fromkeys(BM25, documents))
        index._shard.update(qe.UpdateOperation.delete_points([*range(10, 20)]))
        del index.doc_ids[10:]
        index._frequencies["bm25"].__init__()
        index._counted = 0
        assert [index.search(query, "bm25", 10) for query in queries] == fresh["bm25"]
        assert [index.search(query, "bm25-modifier", 10) for query in queries] != fresh["bm25-modifier"]


def test_an_index_whose_words_qdrant_weighed_is_refused_with_what_to_do(movies, own_cache, tmp_path):
    import json

    documents, _ = bm25(movies)
    with open_index(tmp_path / "old", {"bm25": BM25["bm25"]}) as index:
        index.add(movies.document_ids, {"bm25": documents})
    note = json.loads((tmp_path / "old" / "ragkit.json").read_text("utf8"))
    del note["vectors"]["bm25"]["modifier"]  # as it was told before
    (tmp_path / "old" / "ragkit.json").write_text(json.dumps(note), "utf8")
    with pytest.raises(RagkitError, match="of an earlier ragkit, whose words Qdrant weighed.*Delete the folder"):
        open_index(tmp_path / "old", {"bm25": BM25["bm25"]})


def test_a_collection_whose_words_qdrant_weighs_is_another_one():
    with StubServer() as stub:
        open_index(stub.url, {"bm25": BM25["bm25-modifier"]}, "films").close()
        with pytest.raises(RagkitError, match="kind is sparse, IDF by Qdrant's modifier, asked for sparse, IDF in"):
            open_index(stub.url, {"bm25": BM25["bm25"]}, "films")
