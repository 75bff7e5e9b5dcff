"""The benches: their arithmetic and their checks; never how fast anything is."""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

import ragkit
from ragkit import RagkitError
from ragkit.bench import embed, index, peers, proof, scale, search
from ragkit.bench.peers import Lap
from ragkit.bench.race import race
from ragkit.bench.rivals import RIVALS, NumPy
from ragkit.bench.server import bench_server, told
from ragkit.cli import main
from ragkit.encoders.token_pooling import grouped
from ragkit.maxsim import maxsim
from tests.processes import started
from tests.stub_server import Answer, StubServer

pytestmark = pytest.mark.thorough


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


def _units_of(dataset):
    encoder = ragkit.load_encoder("colbert")
    both = encoder.encode_documents(dataset.passages), encoder.encode_queries(dataset.queries["text"].tolist())
    return [[rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in texts] for texts in both]


def _proven(query, depth, factor=1.25):
    """The same by loops: bounds by radius, the first documents by them, and the tenth score against the next bound."""
    found = []
    for rows in _units_of(ragkit.load_movies())[0]:
        labels, bounds = grouped(rows, factor), []
        for row in query:
            of_groups = []
            for group in set(labels):
                members = rows[labels == group]
                mean = members.mean(axis=0)
                radius = max(np.linalg.norm(member - mean) for member in members)
                of_groups.append(row @ mean + radius)
            bounds.append(max(of_groups))
        found.append((sum(bounds), maxsim(query, rows).score))
    found.sort(reverse=True)
    tenth = sorted((score for _, score in found[:depth]), reverse=True)[9]
    return tenth >= found[depth][0]


def test_proof_at_a_depth_below_the_collection(movies, movies_cache, monkeypatch):
    monkeypatch.setattr(proof, "DEPTHS", (12, 19))
    proven = {(row["what"], row["bound"], row["depth"]): row["proven"] for row in proof.bench_proof(movies)}
    assert proven["pooled by 1.25", "angle", 12] < proven["pooled by 1.25", "angle", 19] < 1
    assert proven["pooled by 3", "angle", 19] < proven["pooled by 1.25", "angle", 19]
    assert proven["pooled by 1.25", "radius", 19] == np.mean([_proven(query, 19) for query in _units_of(movies)[1]])
    # Bounds below the scores would prove what is not so.
    monkeypatch.setattr(proof, "maxsim_scores", lambda similarities, starts: -similarities[:, starts].sum(axis=0))
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


@pytest.mark.parametrize(
    "bench",
    [
        lambda movies: scale.bench_scale(movies, sizes=[20, 21], rounds=1),
        lambda movies: index.bench_index(movies, rounds=2, variants=("colbert",)),
        lambda movies: search.bench_search(movies, rounds=1),
    ],
    ids=["scale", "index", "search"],
)
def test_what_is_measured_on_edge_is_measured_there_wherever_qdrant_url_leads(bench, movies, movies_cache, monkeypatch):
    monkeypatch.setattr(scale, "SYSTEMS", (("dense-small", 0), ("colbert-small", 0)))
    monkeypatch.setattr(search, "SYSTEMS", (("colbert", 0), ("dense+colbert", 100)))
    with StubServer() as stub:
        monkeypatch.setenv("QDRANT_URL", stub.url)
        assert bench(movies) and stub.seen == []


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_a_rival_ranks_by_maxsim_or_close_to_it(rival, movies, colbert, movies_cache, tmp_path):
    if not find_spec(rival.module):
        pytest.skip(f"{rival.package} is not installed: make peers")
    rows = [row.copy() for row in colbert.encode_documents(movies.passages)]
    texts = movies.queries["text"].tolist()
    vectors = {name: ragkit.load_encoder(name).encode_queries(texts) for name in rival.reads}
    rival.prepare(movies)
    rival.build(movies, rows, tmp_path)
    hits = 0
    # maxsim-cpu is wrong for more than 32 rows, as the bench says in its row.
    asked = [i for i in range(len(texts)) if rival.package != "maxsim-cpu" or len(vectors["colbert"][i]) <= 32]
    for i in asked:
        query = {name: of[i] for name, of in vectors.items()}
        true = [ragkit.maxsim(query["colbert"], row).score for row in rows]
        best = sorted(range(len(rows)), key=lambda d, true=true: -true[d])[:10]
        for setting in rival.settings:
            ranking = rival.search(query, 10, **setting)
            scores = [score for _, score in ranking]
            assert scores == sorted(scores, reverse=True) and len({d for d, _ in ranking}) == len(ranking) > 0
        hits += best[0] == ranking[0][0]
        if rival.exact or rival.family.startswith("one vector"):  # all films are candidates
            assert scores == pytest.approx([true[d] for d in best], abs=1e-3)
            assert [true[d] for d, _ in ranking] == pytest.approx(scores, abs=1e-3)
    assert hits >= 0.8 * len(asked) > 10


class Raises(NumPy):
    name = "raises"

    def build(self, dataset, rows, folder):
        raise ValueError("no such\nluck")


class Hangs(NumPy):
    name = "hangs"

    def build(self, dataset, rows, folder):
        while True:
            pass


class KillsTheBench(NumPy):
    def build(self, dataset, rows, folder):
        (folder / "written").write_text("half an index")
        os.kill(os.getppid(), signal.SIGKILL)
        os._exit(0)


class Lacks(NumPy):
    name, module = "lacks", "no_such_engine"


def test_a_rival_that_is_missing_raises_or_hangs_is_a_row_with_its_reason(movies, movies_cache, monkeypatch):
    monkeypatch.setattr(peers, "BUILD_CPU_S", 0.5)
    rows = peers.bench_peers(movies, [NumPy(), Raises(), Lacks(), Hangs()])
    notes = {row["what"]: row["note"] for row in rows}
    assert notes == {
        "NumPy product": "",
        "raises": "ValueError: no such luck",
        "lacks": "not installed",
        "hangs": "stopped after 0.5 CPU seconds of building",
    }
    first = rows[0]
    expected = ragkit.compare(movies, ["colbert"]).systems[0].means
    assert (first["nDCG@10"], first["R@100"]) == pytest.approx((expected["nDCG@10"], expected["R@100"]))
    assert first["same_top_10"] == "40 of 40" and first["of_exact"] == 1 and first["wrong"] == 0
    rows_of_all = sum(map(len, ragkit.load_encoder("colbert").encode_documents(movies.passages)))
    assert first["disk_bytes_per_document"] >= 4 * 128 * rows_of_all / len(movies.documents)
    assert first["p50_encoded_ms"] > first["p50_ms"] > 0 and first["memory_MB"] >= 0 and first["build_cpu_s"] >= 0
    assert "raises: ValueError: no such luck" in peers.told(rows) and "best p50_ms: NumPy product" in peers.told(rows)
    assert not list(movies_cache.glob("*peers*"))
    with pytest.raises(ragkit.RagkitError, match="lacks, which the others are told against.*not installed"):
        peers.bench_peers(movies, [Lacks(), NumPy()])


def bench_that_is_killed(movies):
    peers._alone(KillsTheBench(), movies)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_what_a_killed_bench_left_is_swept_by_a_later_one(movies, movies_cache):
    process = started(bench_that_is_killed, movies)
    process.join()
    (left,) = movies_cache.glob("*peers*")
    assert process.exitcode == -signal.SIGKILL and list(left.rglob("written"))
    assert peers._alone(Raises(), movies)["reason"] == "ValueError: no such luck"
    assert not list(movies_cache.glob("*peers*"))


def test_a_rival_that_claims_to_be_exact_is_held_to_it(movies):
    count = len(movies.queries)
    judge = peers._Judge(movies, [32] * (count - 3) + [40] * 3, {"colbert": np.arange(count, dtype=float)})
    exact = Lap({}, [[(d, 20.0 - d) for d in range(20)]] * count, [1.0] * count)
    assert judge.row(NumPy(), exact)["note"] == ""
    off = Lap({}, [*exact.rankings[3:], *[[(d, float(d)) for d in range(19, -1, -1)]] * 3], [1.0] * count)
    row = judge.row(NumPy(), off)
    assert row["wrong"] == 3 and row["same_top_10"] == "37 of 40"
    words = "wrong in 3 queries of 40 rows or more; right in all others, of 32 at most"
    assert row["note"] == f"claims to be exact and is not: {words}"
    part = judge.row(NumPy(), Lap({}, exact.rankings[:4], [1.0, 2.0, 3.0, 4.0]))
    assert (part["left"], part["of_exact"], part["p50_ms"], part["p50_encoded_ms"]) == (36, 1, 2.5, 4)
    fit = {"what": "slow", "setting": "default", "of_exact": 0.99, "wrong": 0, "left": 0, "p50_ms": 5.0}
    faster = [{"of_exact": 0.98}, {"wrong": 1}, {"left": 1}, {"note": "not installed", "of_exact": 0}]
    rows = [fit, *(fit | {"what": "x", "p50_ms": 1.0} | other for other in faster)]
    assert peers.winners(rows) == {"p50_ms": ["slow"]}
    both = [fit | {"build_s": 1.0}, fit | {"build_s": 1.0, "setting": "probes 2", "p50_ms": 2.0}]
    assert peers.winners(both) == {"p50_ms": ["slow (probes 2)"], "build_s": ["slow"]}


def test_the_fastest_setting_that_is_good_enough_is_said_to_be_chosen():
    def rows(*pairs):
        return [{"of_exact": share, "p50_ms": ms, "note": ""} for share, ms in pairs]

    default, best = peers.chosen(rows((1.0, 9.0), (0.995, 3.0), (0.98, 1.0)))
    assert default["note"] == "" and best["p50_ms"] == 3
    assert best["note"] == "chosen on these queries: the fastest of 3 settings with 99% of exact nDCG@10"
    (only,) = peers.chosen(rows((1.0, 2.0), (1.0, 3.0)))
    assert only["p50_ms"] == 2 and only["note"].startswith("chosen on these queries: the fastest")
    assert [row["of_exact"] for row in peers.chosen(rows((0.8, 1.0), (0.9, 3.0)))] == [0.8, 0.9]
    assert "none has 99%" in peers.chosen(rows((0.8, 1.0), (0.9, 3.0)))[1]["note"]
    assert peers.chosen(rows((0.8, 1.0)))[0]["note"] == ""


def test_a_server_under_load_answers_all_clients_alike(movies, movies_cache, monkeypatch, tmp_path):
    with StubServer(nodes=3) as stub:
        monkeypatch.setenv("QDRANT_URL", stub.url)
        monkeypatch.setattr("ragkit.bench.server.SYSTEMS", ("bm25", "dense+bm25"))
        rows = bench_server(movies, rounds=24, clients=(1, 3))
        assert [(row["system"], row["clients"]) for row in rows] == [
            (system, clients) for system in ("bm25", "dense→bm25") for clients in (1, 3)
        ]
        assert all(row["equal"] == row["queries"] == 24 and row["errors"] == 0 for row in rows)
        assert all(row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] for row in rows)
        stub.fail("POST", "/query", *[None] * 5, *[Answer(400)] * 2)  # after the answers of one client alone
        monkeypatch.setattr("ragkit.bench.server._WARM_UP", 0)
        monkeypatch.setattr("ragkit.bench.server.SYSTEMS", ("bm25",))
        (row,) = bench_server(replace(movies, queries=movies.queries[:5]), rounds=24, clients=(3,))
        assert row["errors"] == 2 and row["equal"] == 22
        assert main(["bench", "server", "movies", "--rounds", "5", "--json", str(tmp_path / "server.json")]) == 0
        stored = json.loads((tmp_path / "server.json").read_text("utf8"))
        assert stored["machine"]["engine"].startswith("Qdrant server 1.20.0 (3 nodes")
        assert "engine" not in stored["rows"][0]


def test_a_server_is_meant_before_anything_is_stored(movies, own_cache, monkeypatch, tmp_path):
    for place in ("", str(tmp_path / "kept")):
        monkeypatch.setenv("QDRANT_URL", place)
        with pytest.raises(RagkitError, match="set QDRANT_URL to its address"):
            bench_server(movies)
    assert not (tmp_path / "kept").exists() and not list(own_cache.glob("edge/*"))


def test_a_server_under_load_is_timed_without_waits_and_says_what_was_sent_again(movies, movies_cache, monkeypatch):
    monkeypatch.setattr("ragkit.bench.server.SYSTEMS", ("bm25",))
    monkeypatch.setattr("ragkit.bench.server._WARM_UP", 0)
    few = replace(movies, queries=movies.queries[:5])
    with StubServer() as stub:
        monkeypatch.setenv("QDRANT_URL", stub.url)
        later = Answer(429, "slow down", {"Retry-After": "2"})
        stub.fail("POST", "/query", *[None] * 5, later, None, later)  # after the answers of one client alone
        (row,) = bench_server(few, rounds=10, clients=(1,))
        assert row["sent_again"] == {"429": 2} and row["errors"] == 0 and row["equal"] == 10
        assert row["p99_ms"] < 1900
        assert told([row]).splitlines()[-1].startswith("Warning: bm25, 1 at once: of 10 queries 2 sent again for 429;")
        assert "Warning" not in told([row | {"queries": 100}])
        monkeypatch.setattr("ragkit.bench.server._SECONDS", 1.0)
        stub.fail("POST", "/query", None, later)
        stub.seen.clear()
        (row,) = bench_server(few, rounds=10, clients=(1,))
        asked = {str(seen.body) for seen in stub.requests("POST", "/query") if seen.status == 200}
        assert len(asked) in (1, 2)  # as many as one client alone had answered in a second
        assert row["queries"] == row["equal"] and row["sent_again"] == {}
        assert len(told([row]).splitlines()) == 2  # nothing to be noted


BENCHES = [embed.bench_embed, index.bench_index, search.bench_search, scale.bench_scale]
BENCHES += [peers.bench_peers, proof.bench_proof, bench_server]


@pytest.mark.parametrize("bench", BENCHES)
def test_passages_are_refused_whose_judgments_are_of_whole_documents(bench, movies):
    cut = replace(movies, documents=movies.documents.assign(document="1"))
    with pytest.raises(RagkitError, match="bench measures whole documents, and movies is cut into passages"):
        bench(cut)


def test_the_command_line_writes_rows_and_machine(tmp_path, capsys):
    out = tmp_path / "scale.json"
    assert main(["bench", "scale", "movies", "--sizes", "20", "--rounds", "1", "--json", str(out)]) == 0
    stored = json.loads(out.read_text())
    assert stored["machine"]["cores"] and len(stored["rows"]) == 6 and "bench scale movies" in stored["command"]
    assert "dense-small-hnsw" in capsys.readouterr().out
    # Before the dataset is looked for, which may be a download.
    assert main(["bench", "index", "no-such-dataset", "--sizes", "20"]) == 2
    assert "--sizes is for bench scale" in capsys.readouterr().err
    assert main(["bench", "peers", "no-such-dataset", "--rounds", "2"]) == 2
    assert "--rounds is for the other benches" in capsys.readouterr().err
    assert main(["bench", "proof", "movies", "--rounds", "2"]) == 2
    assert "bench proof takes every query once" in capsys.readouterr().err
