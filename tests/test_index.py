import gc

import numpy as np
import pytest

from ragkit import Prefetch, RagkitError, VectorSpec, open_index
from ragkit.engines.local import LocalIndex
from ragkit.maxsim import maxsim

SPECS = {"dense": VectorSpec(24, False), "colbert": VectorSpec(8, True)}


@pytest.fixture()
def vectors(rng):
    lengths = rng.integers(1, 20, 350)
    return {
        "dense": list(rng.standard_normal((350, 24)).astype(np.float32)),
        "colbert": [rng.standard_normal((n, 8)).astype(np.float32) for n in lengths],
    }


DOC_IDS = [f"doc <{i}>" for i in range(350)]


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("where", [":memory:", "edge", None])
def test_every_engine_returns_what_a_naive_loop_does(where, vectors, rng, tmp_path, own_cache):
    where = str(tmp_path / "kept") if where == "edge" else where
    dense, colbert = rng.standard_normal(24).astype("f4"), rng.standard_normal((5, 8)).astype("f4")
    by_dense = {d: cosine(dense, v) for d, v in zip(DOC_IDS, vectors["dense"], strict=True)}
    by_colbert = {d: maxsim(colbert, v).score for d, v in zip(DOC_IDS, vectors["colbert"], strict=True)}
    with open_index(where, SPECS) as index:
        index.add(DOC_IDS, vectors)
        candidates = sorted(by_dense, key=by_dense.get, reverse=True)[:20]
        cases = [
            (index.search(dense, "dense", 15), by_dense),
            (index.search(colbert, "colbert", 15), by_colbert),
            (
                index.search(colbert, "colbert", 15, [Prefetch(dense, "dense", 20)]),
                {d: by_colbert[d] for d in candidates},
            ),
        ]
    for hits, scores in cases:
        expected = sorted(scores, key=scores.get, reverse=True)[:15]
        assert [doc_id for doc_id, _ in hits] == expected
        np.testing.assert_allclose([score for _, score in hits], [scores[d] for d in expected], atol=1e-5)


def test_a_rerank_returns_no_more_than_its_candidates(vectors, own_cache):
    with open_index(None, SPECS) as index:
        index.add(DOC_IDS, vectors)
        prefetch = Prefetch(vectors["dense"][0], "dense", 3)
        assert len(index.search(vectors["colbert"][0], "colbert", 100, [prefetch])) == 3


@pytest.mark.parametrize("where", [":memory:", None])
def test_ties_are_in_the_order_of_document_ids(where, own_cache):
    same = [np.array([1.0, 2.0], np.float32)] * 4
    with open_index(where, {"dense": VectorSpec(2, False)}) as index:
        index.add(["10", "9", "b", "a"], {"dense": same})
        assert [doc_id for doc_id, _ in index.search(same[0], "dense", 4)] == ["10", "9", "a", "b"]


def test_a_folder_is_kept_and_a_temporary_one_is_not(vectors, tmp_path, own_cache):
    query = vectors["colbert"][5]
    with open_index(tmp_path / "kept", SPECS, content="x") as index:
        index.add(DOC_IDS, vectors)
        before = index.search(query, "colbert", 10)
    with open_index(tmp_path / "kept", SPECS, content="x") as index:
        assert index.doc_ids == DOC_IDS and index.search(query, "colbert", 10) == before
    with open_index(None, SPECS) as index:
        folder = index.folder
        assert folder.is_dir()
    assert not folder.exists()
    forgotten = open_index(None, SPECS)
    folder = forgotten.folder
    del forgotten
    gc.collect()
    assert not folder.exists()


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path, vectors):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RagkitError, match="holds no index of ragkit; choose another"):
        open_index(tmp_path, SPECS)
    open_index(tmp_path / "kept", SPECS, content="x").close()
    for specs, content in ((SPECS, "y"), ({"dense": VectorSpec(3, False)}, "x")):
        with pytest.raises(RagkitError, match="holds another index"):
            open_index(tmp_path / "kept", specs, content=content)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_batches_are_cut_by_floats_and_nothing_is_lost(monkeypatch, vectors):
    monkeypatch.setattr(LocalIndex, "batch_bytes", 2000)
    with open_index(":memory:", SPECS) as index:
        sizes = []
        upsert = index._upsert

        def watch(points, batch, doc_ids):
            sizes.append(sum(np.size(v) for vectors in batch for v in vectors.values()))
            upsert(points, batch, doc_ids)

        monkeypatch.setattr(index, "_upsert", watch)
        index.add(DOC_IDS, vectors)
        assert max(sizes) <= 500 and len(sizes) > 50
        assert index.client.count("ragkit").count == 350
        assert sum(sizes) == sum(a.size for arrays in vectors.values() for a in arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ids, v: (ids, {"dense": v["dense"]}), r"Got vectors \['dense'\]"),
        (lambda ids, v: ([*ids[:-1], ids[0]], v), "given twice"),
        (lambda ids, v: (ids, v | {"dense": v["dense"][:-1]}), "Got 349 dense vectors for 350 documents"),
        (lambda ids, v: (ids, v | {"dense": v["colbert"]}), "dense has shape .*, expected \\(24,\\)"),
        (lambda ids, v: (ids, v | {"colbert": [np.ones((0, 8), np.float32), *v["colbert"][1:]]}), r"shape \(0, 8\)"),
        (
            lambda ids, v: (ids, v | {"colbert": [np.ones((131_073, 8), np.float32), *v["colbert"][1:]]}),
            "at most 1,048,576 a point. Split the document",
        ),
    ],
)
def test_bad_vectors_are_refused_before_anything_is_written(change, message, vectors):
    with open_index(":memory:", SPECS) as index:
        with pytest.raises(RagkitError, match=message):
            index.add(*change(DOC_IDS, vectors))
        assert index.doc_ids == [] and index.client.count("ragkit").count == 0


def test_unknown_vectors_and_silent_servers_are_named():
    with open_index(":memory:", SPECS) as index, pytest.raises(RagkitError, match="no vectors 'sparse'"):
        index.search(np.ones(3), "sparse", 1)
    with pytest.raises(RagkitError, match="No Qdrant server answers at http://127.0.0.1:9"):
        open_index("http://127.0.0.1:9", SPECS)
