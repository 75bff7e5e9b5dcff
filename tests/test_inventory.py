"""What ragkit keeps on a server: noted, listed, used again, deleted only after asking."""

import io
import sys
from dataclasses import replace

import httpx
import pytest

import ragkit
from ragkit import RagkitError
from ragkit.cli import main
from ragkit.engines.inventory import survey
from tests.stub_server import Answer, StubServer


@pytest.fixture()
def stub(monkeypatch):
    for name in ("QDRANT_API_KEY", "QDRANT_SHARDS", "QDRANT_REPLICAS"):
        monkeypatch.delenv(name, raising=False)
    with StubServer() as server:
        monkeypatch.setenv("QDRANT_URL", server.url)
        yield server


def theirs(stub):
    """Make a collection that is not ragkit's."""
    vectors = {"dense": {"size": 2, "distance": "Cosine"}}
    assert httpx.put(f"{stub.url}/collections/theirs", json={"vectors": vectors}).status_code == 200


def built(movies, *names):
    index, _ = ragkit.build_index(movies, ragkit.load_encoders(names))
    with index:
        return index.collection, index.reopened


@pytest.mark.slow
def test_a_collection_says_what_it_is_made_of(stub, movies, own_cache, capsys):
    name, _ = built(movies, "bm25")
    (kept,) = survey(stub.url).kept
    assert (kept.name, kept.dataset, kept.documents, kept.vectors) == (name, "movies", 20, ("bm25",))
    assert kept.version == ragkit.__version__ and kept.made[:2] == "20" and kept.bytes > 1000
    assert main(["collections"]) == 0
    printed = capsys.readouterr().out
    assert name in printed and "movies" in printed and kept.made in printed


@pytest.mark.slow
def test_vectors_that_are_there_among_others_are_not_stored_again(stub, movies, movies_cache):
    both, _ = built(movies, "bm25", "dense")
    stub.seen.clear()
    assert built(movies, "dense") == (both, True) and built(movies, "bm25") == (both, True)
    assert not stub.requests("PUT", "") and len(stub.collections) == 1
    other, reopened = built(movies, "dense-float16")
    assert other != both and not reopened and len(stub.collections) == 2


@pytest.mark.slow
def test_a_collection_that_is_not_whole_is_not_taken(stub, movies, movies_cache):
    both, _ = built(movies, "bm25", "dense")
    stub.engine.delete(both, [19])
    alone, reopened = built(movies, "dense")
    assert alone != both and not reopened


def test_a_collection_of_other_documents_is_not_taken(stub, movies, movies_cache):
    kept, _ = built(movies, "bm25")
    texts = [*movies.documents["text"][:-1], "Another film."]
    other, reopened = built(replace(movies, documents=movies.documents.assign(text=texts)), "bm25")
    assert other != kept and not reopened


@pytest.mark.slow
def test_a_collection_of_another_models_vectors_is_not_taken(stub, movies, movies_cache, monkeypatch):
    """Neither alone nor among others, though the documents and the vectors' name and shape are the same."""
    kept = [built(movies, *names) for names in (["dense"], ["bm25", "dense"])]
    monkeypatch.setattr("ragkit.encoders.encoder.version", lambda package: "0.0.0")  # it is in the fingerprint
    other, reopened = built(movies, "dense")
    assert other not in [name for name, _ in kept] and not reopened


@pytest.mark.slow
def test_a_search_finds_the_same_in_a_collection_of_more_vectors(stub, movies, movies_cache):
    built(movies, "bm25", "dense")
    encoders = ragkit.load_encoders(["bm25"])
    query, found = movies.queries["text"][0], []
    for where in (stub.url, ":memory:"):
        with ragkit.build_index(movies, encoders, where)[0] as index:
            hits = ragkit.Retriever(index, encoders, ragkit.System("bm25")).search(query)
            found.append([(doc_id, round(score, 5)) for doc_id, score in hits])
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "left"), [("n\n", 1), ("", 1), ("y\n", 0)])
def test_a_collection_is_deleted_only_after_asking(stub, movies, own_cache, monkeypatch, answer, left):
    name, _ = built(movies, "bm25")
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    assert main(["collections", "--delete", name]) == 0
    assert len(stub.collections) == left


@pytest.mark.slow
def test_what_ragkit_did_not_make_is_not_deleted(stub, capsys):
    theirs(stub)
    for name, why in (("theirs", "ragkit did not make the collection 'theirs'"), ("none", "There is no collection")):
        assert main(["collections", "--delete", name]) == 2 and why in capsys.readouterr().err
    assert [*stub.collections] == ["theirs"]


def test_collections_are_a_servers(own_cache, monkeypatch, tmp_path):
    monkeypatch.delenv("QDRANT_URL", raising=False)
    assert main(["collections"]) == 2 and main(["collections", "--where", str(tmp_path)]) == 2


@pytest.fixture()
def naps(monkeypatch):
    monkeypatch.setattr("ragkit.engines._retries.sleep", lambda _: None)


SILENT = Answer(500, "Service internal error: the node of this shard does not answer")


@pytest.mark.slow
def test_a_collection_that_does_not_answer_is_told_and_not_stored_again(stub, movies, own_cache, naps, capsys):
    name, _ = built(movies, "bm25")
    ending = f"/collections/{name}"
    stub.fail("GET", ending, *[SILENT] * 100)
    assert survey(stub.url).kept == () and survey(stub.url).silent == (name,)
    assert main(["collections"]) == 0
    assert f"{name} does not answer" in capsys.readouterr().out
    with pytest.raises(RagkitError, match=rf"{name} .*may be one of the same documents, and does not answer.*500"):
        built(movies, "bm25")
    assert [*stub.collections] == [name]
    stub.heal()
    assert built(movies, "bm25") == (name, True)


@pytest.mark.slow
def test_one_that_does_not_answer_holds_up_none_that_fits(stub, movies, own_cache, naps):
    name, _ = built(movies, "bm25")
    silent, _ = built(movies, "bm25-modifier")
    stub.fail("GET", f"/collections/{silent}", *[SILENT] * 100)
    stub.seen.clear()
    assert built(movies, "bm25") == (name, True)
    assert len(stub.requests("GET", f"/collections/{silent}")) == 2
    stub.heal()
    stub.fail("GET", f"/collections/{silent}", *[SILENT] * 6)  # it comes back while it is waited for
    assert built(movies, "bm25-modifier") == (silent, True)


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["y", "n"])
def test_one_that_does_not_answer_is_deleted_by_a_name_of_ragkits_alone(
    stub, movies, own_cache, naps, capsys, monkeypatch, answer
):
    """Its node may be gone for good, and nothing else says whose it is."""
    name, _ = built(movies, "bm25")
    theirs(stub)
    for one in (name, "theirs"):
        stub.fail("GET", f"/collections/{one}", *[SILENT] * 100)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{answer}\n" * 2))
    assert main(["collections", "--delete", name]) == 0
    assert "which does not answer, and is ragkit's by its name alone? [y/N]" in capsys.readouterr().out
    assert ([*stub.collections] == ["theirs"]) == (answer == "y")
    if answer == "y":
        assert main(["collections", "--delete", "theirs"]) == 2
        assert f"The collection 'theirs' at {stub.url} does not answer" in capsys.readouterr().err
        assert [*stub.collections] == ["theirs"]


@pytest.mark.slow
def test_another_number_of_shards_is_another_collection(stub, movies, own_cache, monkeypatch):
    one, _ = built(movies, "bm25")
    monkeypatch.setenv("QDRANT_SHARDS", "6")
    six, reopened = built(movies, "bm25")
    assert one != six and not reopened and stub.shard_number(six) == 6
    assert built(movies, "bm25") == (six, True)
    monkeypatch.delenv("QDRANT_SHARDS")
    assert built(movies, "bm25")[1] and len(stub.collections) == 2


def never(*_, **__):
    raise AssertionError("it was encoded")


@pytest.mark.slow
@pytest.mark.parametrize(("system", "asked"), [("bm25", 20), ("hybrid", 40), ("dense+colbert", 20)])
def test_a_comparison_that_a_strict_mode_refuses_is_refused_before_anything_is_encoded(
    system, asked, movies, own_cache, monkeypatch
):
    monkeypatch.setattr("ragkit.encoders.cached_encoder.CachedEncoder.encode_documents", never)
    monkeypatch.setattr("ragkit.encoders.cached_encoder.CachedEncoder.encode_queries", never)
    with StubServer(strict={"max_query_limit": asked - 1}) as stub:
        with pytest.raises(RagkitError, match=f"at most {asked - 1} documents .*and {asked} are asked for: raise it"):
            ragkit.compare(movies, [system], where=stub.url)
        assert not stub.collections


@pytest.mark.slow
@pytest.mark.parametrize("strict", [{"max_query_limit": 19}, {"search_allow_exact": False}])
def test_what_is_refused_deletes_no_collection_that_was_there(strict, stub, movies, own_cache):
    name, _ = built(movies, "bm25")
    stub.strict = strict
    for _ in range(2):
        with pytest.raises(RagkitError, match=[*strict][0]):
            ragkit.compare(movies, ["bm25"])
    assert [*stub.collections] == [name]
    stub.strict = {}
    assert built(movies, "bm25") == (name, True)


@pytest.mark.slow
def test_a_comparison_that_a_key_may_not_store_is_refused_before_anything_is_encoded(movies, own_cache, monkeypatch):
    monkeypatch.setattr("ragkit.encoders.cached_encoder.CachedEncoder.encode_documents", never)
    monkeypatch.setattr("ragkit.encoders.cached_encoder.CachedEncoder.encode_queries", never)
    monkeypatch.setenv("QDRANT_API_KEY", "read")
    with StubServer(api_key="all", read_key="read") as stub, pytest.raises(RagkitError, match="403"):
        ragkit.compare(movies, ["dense"], where=stub.url)


@pytest.mark.slow
@pytest.mark.parametrize("status", [403, 404])
def test_a_collection_that_is_gone_or_not_for_this_key_is_left_out(stub, movies, own_cache, status):
    name, _ = built(movies, "bm25")
    stub.fail("GET", f"/collections/{name}", Answer(status))
    found = survey(stub.url)
    assert found.kept == found.silent == ()


@pytest.mark.slow
def test_what_a_key_may_do_is_told_only_by_who_says_so(stub, movies, own_cache, naps):
    built(movies, "bm25")
    assert survey(stub.url).rights == "write"
    stub.fail("POST", "/collections/aliases", Answer(403), *[SILENT] * 9)
    assert survey(stub.url).rights == "store"  # it may in that collection
    assert survey(stub.url).rights == "unknown"
    stub.heal()
    stub.fail("POST", "/collections/aliases", Answer(403))
    stub.fail("POST", "/points/delete", Answer(403))
    assert survey(stub.url).rights == "read" and len(stub.collections) == 1


@pytest.mark.slow
def test_a_server_that_lets_nobody_list_is_no_reason_to_store_nothing(stub, movies, own_cache):
    stub.fail("GET", "/collections", Answer(403, "Global access is required"))
    with pytest.raises(RagkitError, match="may not read all collections"):
        survey(stub.url)
    stub.fail("GET", "/collections", Answer(403, "Global access is required"))
    assert not built(movies, "bm25")[1] and len(stub.collections) == 1
