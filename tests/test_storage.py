"""How an engine keeps vectors: what that takes on disk, and what a search then returns, on random vectors."""

import contextlib
import os
import re

import numpy as np
import pytest

import ragkit
from ragkit import Prefetch, RagkitError, Storage, VectorSpec, open_index
from ragkit.datasets.inspecting import Check
from ragkit.display import tables, verdicts
from ragkit.display.report import render
from ragkit.engines import edge
from ragkit.engines.edge import EdgeIndex
from ragkit.engines.folder import foreign
from ragkit.evaluation import comparing, inspecting
from ragkit.maxsim import maxsim
from ragkit.vectors import DATATYPES, QUANTIZATIONS
from tests.stub_server import StubServer

DATATYPE_STORAGES = [Storage(datatype=name) for name in DATATYPES]
QUANTIZED_STORAGES = [
    *(Storage(quantization=name) for name in QUANTIZATIONS),
    Storage("float16", "turbo4copy"),
    Storage("float32", "int8", on_disk=True),
]


def name_of(storage):
    return f"{storage.datatype}-{storage.quantization}{'-disk' * storage.on_disk}"


def multivectors(rng, documents, rows, dim):
    return [rng.standard_normal((rows, dim)).astype(np.float32) for _ in range(documents)]


def doc_ids(vectors):
    return [f"d{i}" for i in range(len(vectors))]


def filled(folder, spec, vectors):
    index = EdgeIndex(folder, {"v": spec})
    index.add(doc_ids(vectors), {"v": vectors})
    assert foreign(folder) == []  # whatever Edge makes is known to be its own
    return index


# What it takes


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os.stat_result, "st_blocks"), reason="files are reserved ahead of what they hold")
@pytest.mark.parametrize("dim", [128, *(pytest.param(dim, marks=pytest.mark.thorough) for dim in (96, 100, 384))])
@pytest.mark.parametrize("storage", DATATYPE_STORAGES + QUANTIZED_STORAGES, ids=name_of)
def test_bytes_a_row_are_those_that_edge_writes(storage, dim, rng, tmp_path):
    documents, rows = 240, 40
    filled(tmp_path, VectorSpec(dim, True, storage=storage), multivectors(rng, documents, rows, dim)).close()
    kept, copies = 0, 0
    for path in tmp_path.rglob("*"):
        if path.name == "quantized.data":
            copies += path.stat().st_size
        elif re.fullmatch(r"chunk_\d+\.mmap", path.name) and path.parent.name in ("vectors", "tq_vectors"):
            kept += path.stat().st_blocks * 512  # reserved ahead of what it holds
    searched = copies if storage.quantization else kept
    assert searched / documents / rows == pytest.approx(storage.bytes_per_row(dim), rel=0.02)
    assert kept / documents / rows == pytest.approx(Storage(storage.datatype).bytes_per_row(dim), rel=0.02)


@pytest.mark.slow
def test_single_vectors_take_what_rows_do(rng, tmp_path):
    vectors = list(rng.standard_normal((1500, 384)).astype(np.float32))
    for name in QUANTIZATIONS:
        storage = Storage(quantization=name)
        filled(tmp_path / name, VectorSpec(384, storage=storage), vectors).close()
        size = sum(path.stat().st_size for path in (tmp_path / name).rglob("quantized.data"))
        assert size / 1500 == pytest.approx(storage.bytes_per_row(384), rel=0.02)


# What it returns


@pytest.fixture()
def vectors(rng):
    return multivectors(rng, 300, 12, 32)


@pytest.fixture()
def queries(rng):
    return multivectors(rng, 12, 5, 32)


def exact_scores(query, vectors):
    return {doc_id: maxsim(query, rows).score for doc_id, rows in zip(doc_ids(vectors), vectors, strict=True)}


def errors(hits, query, vectors):
    exact = exact_scores(query, vectors)
    return np.array([abs(score - exact[doc_id]) for doc_id, score in hits])


@pytest.mark.slow
@pytest.mark.parametrize("storage", QUANTIZED_STORAGES, ids=name_of)
def test_rescored_scores_are_exact_and_raw_ones_are_not(storage, vectors, queries, tmp_path):
    tolerance = {"float32": 1e-5, "float16": 2e-3}[storage.datatype]
    filled(tmp_path, VectorSpec(32, True, storage=storage), vectors).close()
    raw = Storage(storage.datatype, storage.quantization, rescore=False, on_disk=storage.on_disk)
    for asked, exact in ((storage, True), (raw, False)):  # how it is searched may change, how it is kept does not
        with EdgeIndex(tmp_path, {"v": VectorSpec(32, True, storage=asked)}) as index:
            found = np.concatenate([errors(index.search(q, "v", 10), q, vectors) for q in queries])
            assert len(found) == 120
            assert found.max() < tolerance if exact else np.median(found) > 2 * tolerance


@pytest.mark.slow
def test_a_quantized_rerank_scores_its_candidates_exactly(vectors, queries, tmp_path):
    specs = {"first": VectorSpec(32), "v": VectorSpec(32, True, storage=Storage(quantization="turbo1copy"))}
    with EdgeIndex(tmp_path, specs) as index:
        index.add(doc_ids(vectors), {"first": [rows.sum(0) for rows in vectors], "v": vectors})
        for query in queries:
            candidates = index.search(query.sum(0), "first", 20)
            hits = index.search(query, "v", 20, [Prefetch(query.sum(0), "first", 20)])
            assert {doc_id for doc_id, _ in hits} == {doc_id for doc_id, _ in candidates}
            assert errors(hits, query, vectors).max() < 1e-5


@pytest.mark.slow
def test_oversampling_finds_more_of_the_best(vectors, queries, tmp_path):
    filled(tmp_path, VectorSpec(32, True, storage=Storage(quantization="turbo1copy")), vectors).close()
    found = []
    for oversampling in (1.0, 4.0, 30.0):
        storage = Storage(quantization="turbo1copy", oversampling=oversampling)
        with EdgeIndex(tmp_path, {"v": VectorSpec(32, True, storage=storage)}) as index:
            found.append(np.mean([recall(index, query, vectors, 10) for query in queries]))
    assert found[0] < found[1] <= found[2] == 1.0  # 30 × 10 are all documents


def recall(index, query, vectors, limit):
    scores = exact_scores(query, vectors)
    best = set(sorted(scores, key=scores.get, reverse=True)[:limit])
    return len(best & {doc_id for doc_id, _ in index.search(query, "v", limit)}) / limit


@pytest.mark.slow
@pytest.mark.parametrize(
    ("datatype", "tolerance", "share"),
    [
        ("float32", 1e-5, 0.95),
        ("float16", 2e-3, 0.95),
        ("turbo16", 1e-4, 0.95),
        ("turbo8", 2e-2, 0.95),
        ("turbo4", 4e-1, 0.7),
    ],
)
def test_a_datatype_is_as_exact_as_its_bits(datatype, tolerance, share, vectors, queries, tmp_path):
    with filled(tmp_path, VectorSpec(32, True, storage=Storage(datatype)), vectors) as index:
        worst = max(errors(index.search(query, "v", 300), query, vectors).max() for query in queries)
        assert tolerance / 1000 < worst < tolerance
        assert np.mean([recall(index, query, vectors, 10) for query in queries]) > share


@pytest.mark.slow
def test_a_graph_with_many_candidates_finds_what_an_exact_search_does(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(edge, "_FULL_SCAN_KB", 1)  # so that a small index is searched by its graph, too
    vectors = list(rng.standard_normal((3000, 64)).astype(np.float32))
    queries = rng.standard_normal((50, 64)).astype(np.float32)
    units = np.stack(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
    recalls = []
    filled(tmp_path, VectorSpec(64, storage=Storage(hnsw_m=16)), vectors).close()
    for ef in (10, 600):
        with EdgeIndex(tmp_path, {"v": VectorSpec(64, storage=Storage(hnsw_m=16, hnsw_ef=ef))}) as index:
            found = [{doc_id for doc_id, _ in index.search(query, "v", 10)} for query in queries]
        best = [{f"d{i}" for i in np.argsort(-(units @ query))[:10]} for query in queries]
        recalls.append(np.mean([len(a & b) / 10 for a, b in zip(found, best, strict=True)]))
    assert recalls[0] < 0.9  # so it is a graph that is searched
    assert recalls[1] >= 0.95


# What is refused


@pytest.mark.parametrize("setting", [{"datatype": "int8"}, {"quantization": "turbo4"}, {"quantization": "turbo3"}])
def test_unknown_ways_to_keep_vectors_are_named(setting):
    ((kind, value),) = setting.items()
    with pytest.raises(RagkitError, match=f"Unknown {kind} '{value}'; expected one of"):
        Storage(**setting)


@pytest.mark.parametrize(
    "storage", [Storage("float16"), Storage(quantization="int8"), Storage(hnsw_m=16), Storage(on_disk=True)]
)
def test_local_mode_refuses_what_it_would_ignore(storage):
    with pytest.raises(RagkitError, match="':memory:' ignores quantization, HNSW, datatype and on-disk settings"):
        open_index(":memory:", {"v": VectorSpec(4, storage=storage)})


def test_a_folder_kept_otherwise_is_refused(rng, tmp_path):
    vectors = multivectors(rng, 3, 2, 4)
    filled(tmp_path, VectorSpec(4, True), vectors).close()
    for storage in (Storage("float16"), Storage(quantization="int8"), Storage(on_disk=True)):
        with pytest.raises(RagkitError, match="holds another index"):
            EdgeIndex(tmp_path, {"v": VectorSpec(4, True, storage=storage)})


@pytest.mark.slow
def test_a_copy_that_is_rotated_by_chance_is_measured_over_several_builds(movies, movies_cache, monkeypatch):
    built = []
    build = comparing.build_index
    monkeypatch.setattr(comparing, "build_index", lambda *given: built.append(given) or build(*given))
    comparison = ragkit.compare(movies, ["dense", "dense-turbo1copy-raw"])
    assert len(built) == 6
    means = comparison["dense-turbo1copy-raw"].builds["nDCG@10"]
    assert len(means) == 5 and means[0] == comparison["dense-turbo1copy-raw"].means["nDCG@10"]
    _, row = comparison.evidence().to_dict("records")
    assert (row["builds"], row["builds_low"], row["builds_high"]) == (5, means.min(), means.max())
    spread = f"{means.min():.3f} to {means.max():.3f}"
    head, _, line, *_ = tables.evidence(comparison).splitlines()
    assert re.search(r"95 % +5 builds +difference", head) and re.search(rf"{row['high']:.3f} +{spread}", line)
    (sentence,) = verdicts(comparison)
    assert f"over 5 builds of its index nDCG@10 is {spread}" in sentence and "p = " in sentence
    assert [note for note in comparison.notes if "no two builds rank alike; 5 were built" in note]
    exact = ragkit.compare(movies, ["dense-turbo1copy", "dense-int8-raw"])
    assert not exact.notes and "builds" not in exact.evidence() and "builds" not in tables.evidence(exact)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["where", "server", "not separate", "baseline"])
def test_of_one_build_of_such_a_copy_there_is_no_interval_no_p_and_no_verdict(
    movies, movies_cache, monkeypatch, tmp_path, way
):
    monkeypatch.delenv("QDRANT_URL", raising=False)
    names = ["dense-turbo1copy-raw", "dense"] if way == "baseline" else ["dense", "dense-turbo1copy-raw"]
    how = {"separate": False} if way == "not separate" else {"where": tmp_path / "kept"}
    with contextlib.ExitStack() as stack:
        if way == "server":
            monkeypatch.setenv("QDRANT_URL", stack.enter_context(StubServer()).url)
            how = {}
        comparison = ragkit.compare(movies, names, **how)
    first, second = comparison.evidence().to_dict("records")
    once, other = (first, second) if way == "baseline" else (second, first)
    assert not np.isnan(once["mean"]) and np.isnan([once["low"], once["high"]]).all() and other["low"] < other["high"]
    assert np.isnan([second[name] for name in ("difference_low", "difference_high", "p", "p_holm")]).all()
    (sentence,) = verdicts(comparison)
    assert sentence.startswith(f"{names[1]} and {names[0]}: no verdict, since dense-turbo1copy-raw ranks otherwise in")
    (note,) = comparison.notes
    assert "of one there is no interval, no p and no verdict" in note and "without a place" in note
    line = tables.evidence(comparison).splitlines()[2]
    assert " to " not in line.replace(f"{other['low']:.3f} to {other['high']:.3f}", "")
    estimate = Check("power", "as estimated before")
    assert inspecting.measured(estimate, comparison) == estimate
    page = render([(movies, comparison)])
    assert "no verdict, since dense-turbo1copy-raw" in page and not re.search(r">nan|nan to|to nan", page)
