"""bm25, hybrids, oracles, others' runs: what they return, against their definitions."""

import math
import re

import numpy as np
import pandas as pd
import pytest

import ragkit
from ragkit import RagkitError, Retriever, System
from ragkit.display import tables
from ragkit.display.verdicts import verdicts
from ragkit.encoders.bm25 import B, Bm25Encoder, K
from ragkit.engines.index import Fusion, Prefetch
from ragkit.engines.opening import open_index
from ragkit.evaluation import statistics
from ragkit.evaluation.rescoring import oracle
from ragkit.vectors import VectorSpec

# Words that no stemmer changes and no stop list holds, so that the test needs no tokenizer of its own.
ALL_TEXTS = ["fox dog fox", "dog cat cat cat bird", "bird", "", "fox bird dog cat fish fish tree"]


def naive_bm25(query, texts):
    documents = [text.split() for text in texts]
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for words in documents:
        score = 0.0
        for word in set(query.split()):
            holding = sum(word in other for other in documents)
            idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
            frequency = words.count(word)
            score += idf * frequency * (K + 1) / (frequency + K * (1 - B + B * len(words) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize("where", [":memory:", None])
def test_bm25_equals_its_formula(where, own_cache):
    encoder = Bm25Encoder()
    # Edge leaves a document without words out of the number of documents, local mode does not.
    texts = [text for text in ALL_TEXTS if text or where == ":memory:"]
    doc_ids = [str(i) for i in range(len(texts))]
    with open_index(where, {"bm25": VectorSpec(0, sparse=True)}) as index:
        index.add(doc_ids, {"bm25": encoder.encode_documents(texts)})
        for query in ("fox", "cat dog", "tree fish bird"):
            hits = dict(index.search(encoder.encode_queries([query])[0], "bm25", 10))
            expected = naive_bm25(query, texts)
            for doc_id, score in zip(doc_ids, expected, strict=True):
                assert hits.get(doc_id, 0.0) == pytest.approx(score, abs=1e-4)


def test_bm25_counts_all_documents_although_they_lie_in_several_segments(movies, movies_cache):
    """IDF is a property of the collection: engines with one and with many segments agree."""
    texts = [f"{text} {'rare' if i == 7 else 'common'} word{i % 9}" for i, text in enumerate(movies.passages * 20)]
    encoder, found = Bm25Encoder(), []
    for where in (":memory:", None):
        with open_index(where, {"bm25": VectorSpec(0, sparse=True)}) as index:
            index.add(map(str, range(len(texts))), {"bm25": encoder.encode_documents(texts)})
            found.append([index.search(encoder.encode_queries([q])[0], "bm25", 30) for q in ("rare word3", "samurai")])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose([s for _, s in a], [s for _, s in b], rtol=1e-5)


def test_rrf_adds_reciprocal_ranks(own_cache, rng):
    vectors = {name: list(rng.standard_normal((12, 4)).astype(np.float32)) for name in ("dense", "bm25")}
    query = rng.standard_normal(4).astype(np.float32)
    doc_ids = [f"d{i:02}" for i in range(12)]
    for where in (":memory:", None):
        with open_index(where, {"dense": VectorSpec(4), "bm25": VectorSpec(4)}) as index:
            index.add(doc_ids, vectors)
            halves = tuple(Prefetch(query, name, 6) for name in vectors)
            hits = dict(index.fuse(Fusion(halves, "rrf", k=2), 12))
            expected: dict[str, float] = {}
            for name in vectors:
                for rank, (doc_id, _) in enumerate(index.search(query, name, 6)):
                    expected[doc_id] = expected.get(doc_id, 0.0) + 1 / (2 + rank)  # Qdrant's ranks start at 0
        assert hits == pytest.approx(expected, abs=1e-5)


def test_a_hybrid_reranks_half_of_its_candidates_from_each_side(movies, movies_cache):
    encoders = ragkit.load_encoders(["dense", "bm25", "colbert"])
    index, _ = ragkit.build_index(movies, encoders)
    with index:
        reranked = Retriever(index, encoders, System.parse("hybrid+colbert"), depth=6).run(movies.queries).results
        for query_id, text in zip(movies.queries["query_id"], movies.queries["text"], strict=True):
            vectors = {name: encoders[name].encode_queries([text])[0] for name in ("dense", "bm25")}
            expected = {d for name, vector in vectors.items() for d, _ in index.search(vector, name, 3)}
            assert set(reranked[reranked["query_id"] == query_id]["doc_id"]) == expected


def test_a_hybrid_is_the_same_in_every_run(movies, movies_cache):
    """Reciprocal ranks are often equal; the engine cuts such ties differently from run to run."""
    one, *others = [ragkit.compare(movies, ["hybrid", "hybrid+colbert"], depth=6) for _ in range(3)]
    for other in others:
        for a, b in zip(one.systems, other.systems, strict=True):
            pd.testing.assert_frame_equal(a.results, b.results)


@pytest.mark.slow
def test_an_oracle_is_the_ceiling_of_every_rerank_of_its_candidates(movies, movies_cache):
    systems = ["dense", "dense+oracle", "dense+colbert", "dense+tokens"]
    comparison = ragkit.compare(movies, systems, depth=4)
    values = comparison.values()
    for name in ("dense→colbert", "dense→tokens"):
        assert (values["dense→oracle"] >= values[name] - 1e-9).all()
    assert comparison["dense→oracle"].ms.isna().all()
    assert "is no system" in " ".join(verdicts(comparison))
    full = ragkit.compare(movies, ["dense+oracle"], depth=20).values()
    assert full["dense→oracle"].tolist() == [1.0] * 40


def test_an_oracle_orders_by_grade():
    qrels = pd.DataFrame({"query_id": ["q", "p"], "doc_id": ["b", "a"], "relevance": [2, 1]})
    assert oracle(qrels)("q", "", [("a", 9.0), ("b", 1.0)]) == [("a", 0.0), ("b", 2.0)]


def test_anothers_run_stands_in_the_same_table_and_what_does_not_fit_is_counted(movies, movies_cache):
    mine = ragkit.compare(movies, ["dense", "colbert"])
    theirs = mine["colbert"].results[["query_id", "doc_id", "score"]]
    theirs = theirs[theirs["query_id"] != "q02"]
    extra = pd.DataFrame({"query_id": ["q99", "q01"], "doc_id": ["1", "no film"], "score": [1.0, -1.0]})
    comparison = ragkit.compare(movies, ["dense"], runs={"theirs": pd.concat([theirs, extra])})
    expected = mine["colbert"].values.copy()
    expected.loc["q02"] = 0.0
    pd.testing.assert_frame_equal(comparison["theirs"].values, expected)
    assert len(comparison.notes) == 3 and all(note.startswith("run theirs: 1 ") for note in comparison.notes)
    assert "the bytes" not in verdicts(comparison)[0]  # its cost is not known


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"query_id": ["q01"], "doc_id": ["1"]}, "no column score"),
        ({"query_id": ["q01"], "doc_id": ["1"], "score": [math.nan]}, "not finite"),
        ({"query_id": ["q01"] * 2, "doc_id": ["1"] * 2, "score": [1.0, 2.0]}, "returns document '1' twice"),
    ],
)
def test_bad_runs_of_others_are_named(movies, frame, message):
    with pytest.raises(RagkitError, match=message):
        ragkit.compare(movies, [], runs={"theirs": pd.DataFrame(frame)})


def test_the_evidence_is_that_of_the_statistics(movies, movies_cache):
    comparison = ragkit.compare(movies, ["dense", "colbert", "bm25"])
    table = comparison.evidence().set_index("system")
    values = comparison.values()
    for name in ("colbert", "bm25"):
        pair = statistics.paired(values[name], values["dense"])
        assert table.loc[name, "difference"] == pytest.approx((values[name] - values["dense"]).mean())
        assert table.loc[name, ["wins", "ties", "losses"]].tolist() == [pair.wins, pair.ties, pair.losses]
        assert table.loc[name, "p_holm"] >= pair.p == table.loc[name, "p"]
    assert pd.isna(table.loc["dense", "p"])
    assert comparison.evidence(baseline="bm25").set_index("system").loc["dense", "difference"] == pytest.approx(
        -table.loc["bm25", "difference"]
    )


def test_a_verdict_says_what_the_numbers_say(movies, movies_cache):
    comparison = ragkit.compare(movies, ["dense", "colbert", "bm25"])
    small, large = verdicts(comparison)
    assert re.match(
        r"colbert and dense: no difference that 40 queries could show .* about 0\.\d+; it takes 11 times", small
    )
    assert re.match(r"bm25 loses to dense by 0\.\d+ nDCG@10 \(0\.\d+ to 0\.\d+\), p (=|<) 0\.\d+; it takes", large)


def test_one_system_alone_and_ties_everywhere_are_no_error(movies, movies_cache):
    alone = ragkit.compare(movies, ["dense"])
    assert verdicts(alone) == [] and "baseline" in tables.evidence(alone)
    assert alone.to_dict()["systems"][0]["evidence"]["nDCG@10"]["mean"] == pytest.approx(0.870, abs=0.001)
    same = ragkit.compare(movies, ["colbert", "dense+colbert"], depth=20).evidence().iloc[1]
    assert (same["p"], same["difference"], same["ties"], same["detectable"]) == (1.0, 0.0, 40, 0.0)


def test_runs_alone_need_no_engine_and_times_are_those_of_the_queries(movies, movies_cache):
    mine = ragkit.compare(movies, ["dense"])
    alone = ragkit.compare(movies, [], runs={"theirs": mine["dense"].results})
    assert "no engine" in tables.headline(alone) and alone["theirs"].values.equals(mine["dense"].values)
    row, ms = mine.table().iloc[0], mine["dense"].ms
    assert row["p50_ms"] == np.percentile(ms, 50) and row["p95_ms"] == np.percentile(ms, 95)
    assert row["queries_per_s"] == pytest.approx(len(ms) / (ms.sum() / 1000))


def test_a_shared_index_is_no_ones_cost_but_of_who_needs_all_of_it(movies, movies_cache):
    shared = ragkit.compare(movies, ["dense", "colbert", "dense+colbert"], separate=False).table().set_index("system")
    for column in ("index_s", "disk_bytes_per_document", "memory_bytes"):
        assert shared[column].notna().tolist() == [False, False, True]
    own = ragkit.compare(movies, ["dense", "colbert"]).table().set_index("system")
    assert own["disk_bytes_per_document"].is_monotonic_increasing and (own["index_s"] > 0).all()
    assert shared.loc["colbert", "bytes_per_document"] == own.loc["colbert", "bytes_per_document"]


def test_a_cross_encoder_out_of_reach_is_named(movies, monkeypatch):
    monkeypatch.setenv("RAGKIT_CROSS_ENCODER_MODEL", "nobody/no-such-model")
    with pytest.raises(RagkitError, match="No cross-encoder is embedded"):
        ragkit.compare(movies, ["dense+cross-encoder"])


@pytest.mark.scifact
def test_bm25_on_all_of_scifact_is_near_the_published_figures():
    comparison = ragkit.compare(ragkit.load_beir("scifact", docs="all"), ["bm25"])
    value = comparison["bm25"].means["nDCG@10"]
    assert 0.679 - 0.01 <= value <= 0.683 + 0.01
