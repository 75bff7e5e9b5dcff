"""The benches: their arithmetic and their checks; never how fast anything is."""

import json
import time

import numpy as np
import pytest

import ragkit
from ragkit.bench import embed, index, proof, scale, search
from ragkit.bench.race import race
from ragkit.cli import main

pytestmark = pytest.mark.slow


def test_a_race_runs_all_in_turn_and_compares_times_of_one_round(monkeypatch):
    now, calls = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def takes(name, seconds):
        def run(i):
            calls.append((i, name))
            now[0] += seconds[i]

        return run

    rows = race({"slow": takes("slow", [9, 4, 8, 6]), "fast": takes("fast", [9, 2, 2, 1])}, 3, "slow")
    assert [name for _, name in calls] == ["slow", "fast", "fast", "slow", "slow", "fast", "fast", "slow"]
    slow, fast = rows
    assert (slow["ms_min"], slow["ms"], slow["ms_max"], slow["times_as_fast"]) == (4000, 6000, 8000, 1)
    assert (fast["times_as_fast_min"], fast["times_as_fast"], fast["times_as_fast_max"]) == (2, 4, 6)
    with pytest.raises(ragkit.RagkitError, match="rival 'none' is none of a"):
        race({"a": abs}, 1, "none")


def test_a_batch_is_told_by_the_query():
    row = {"what": "x", "ms": 80.0, "ms_min": 40.0, "times_as_fast": 0.5}
    assert {k: search._each(k, v) for k, v in row.items()} == row | {"ms": 10, "ms_min": 5, "times_as_fast": 4}


def test_search_knows_what_the_exact_ranking_is(movies, movies_cache):
    rows = {row["what"]: row for row in search.bench_search(movies, rounds=1)}
    assert rows["colbert"]["of_exact"] == 1 and rows["colbert"]["same_top_10"] == "40 of 40"
    assert rows["colbert-pool4→colbert @500"]["nDCG@10"] == rows["colbert"]["nDCG@10"]  # 500 are all there are
    expected = ragkit.compare(movies, ["colbert", "colbert-pool3"])
    for name in ("colbert", "colbert-pool3"):
        assert rows[name]["nDCG@10"] == pytest.approx(expected[name].means["nDCG@10"])
    tops = [s.results[s.results["rank"] <= 10].groupby("query_id")["doc_id"].agg(tuple) for s in expected.systems]
    same = int((tops[0] == tops[1]).sum())
    assert same < 40 and rows["colbert-pool3"]["same_top_10"] == f"{same} of 40"
    assert {"colbert, local mode", "colbert, NumPy product", "dense→colbert @100, local mode"} <= set(rows)


def test_search_refuses_engines_that_disagree():
    def same(i):
        return [("d", 2.0), ("e", 1.0)]

    search._same_scores(same, same, lambda i: [2.0, 1.0])
    with pytest.raises(AssertionError):
        search._same_scores(same, same, lambda i: [2.0, 1.1])
    with pytest.raises(AssertionError):
        search._same_scores(same, lambda i: [("d", 2.1), ("e", 1.0)], lambda i: [2.0, 1.0])


def test_embed_compares_the_same_vectors(movies, movies_cache, monkeypatch):
    rows = embed.bench_embed(movies, rounds=1, documents=3)
    assert [(row["what"], row["documents"]) for row in rows] == [("FastEmbed embed()", 3), ("ragkit", 3)] * 2
    for row in rows:
        assert row["documents_per_s"] == pytest.approx(3000 / row["ms"])
    made = ragkit.Encoder.encode_documents
    monkeypatch.setattr(ragkit.Encoder, "encode_documents", lambda self, texts: [a * 1.01 for a in made(self, texts)])
    with pytest.raises(AssertionError):
        embed.bench_embed(movies, rounds=1, documents=1)


def test_index_measures_each_variant_in_a_process_of_its_own(movies):
    local, plain, pooled = index.bench_index(movies, rounds=1, variants=("colbert", "colbert-pool3-turbo8"))
    assert (local["what"], plain["what"], pooled["what"]) == ("colbert, local mode", "colbert", "colbert-pool3-turbo8")
    assert plain["bytes_ratio"] == plain["of_exact"] == 1 and pooled["bytes_ratio"] > 10
    assert all(row["seconds_min"] <= row["seconds"] <= row["seconds_max"] for row in (local, plain, pooled))
    assert plain["peak_memory_mb"] > 50 and plain["disk_bytes"] > plain["bytes"]


def test_proof_proves_what_is_so_and_less_with_wider_groups(movies, movies_cache):
    rows = proof.bench_proof(movies)
    assert [row["what"] for row in rows[::6]] == ["pooled by 1.25", "pooled by 1.5", "pooled by 2", "pooled by 3"]
    # Twenty films are fewer than any depth.
    assert {row["proven"] for row in rows} == {1.0}


def test_proof_at_a_depth_below_the_collection(movies, movies_cache, monkeypatch):
    monkeypatch.setattr(proof, "DEPTHS", (12, 19))
    proven = {(row["what"], row["bound"], row["depth"]): row["proven"] for row in proof.bench_proof(movies)}
    assert proven["pooled by 1.25", "angle", 12] < proven["pooled by 1.25", "angle", 19] < 1
    assert proven["pooled by 3", "angle", 19] < proven["pooled by 1.25", "angle", 19]
    # Bounds below the scores would prove what is not so.
    monkeypatch.setattr(proof, "_maxsim", lambda similarities, starts: -similarities[:, starts].sum(axis=0))
    with pytest.raises(AssertionError, match="below the score"):
        proof.bench_proof(movies)


def test_scale_repeats_documents_with_noise_and_says_nothing_of_quality(movies):
    rows = scale.bench_scale(movies, sizes=[20, 45], rounds=1)
    assert [row["documents"] for row in rows] == [20] * 6 + [45] * 6 and "nDCG@10" not in rows[0]
    encoders = ragkit.load_encoders(["colbert"])
    documents = [d["colbert"] for d in scale._documents(movies.passages, encoders, 45)]
    first, copy = documents[3], documents[23]
    np.testing.assert_array_equal(first, encoders["colbert"].encode_documents(movies.passages)[3])
    cosines = (first * copy).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(copy, axis=1)
    assert len(documents) == 45 and cosines.min() > 0.85 and cosines.max() < 0.99


def test_the_command_line_writes_rows_and_machine(tmp_path, capsys):
    out = tmp_path / "scale.json"
    assert main(["bench", "scale", "movies", "--sizes", "20", "--rounds", "1", "--json", str(out)]) == 0
    stored = json.loads(out.read_text())
    assert stored["machine"]["cores"] and len(stored["rows"]) == 6 and "bench scale movies" in stored["command"]
    assert "dense-small-hnsw" in capsys.readouterr().out
    assert main(["bench", "index", "movies", "--sizes", "20"]) == 2
    assert "--sizes is for bench scale" in capsys.readouterr().err
