"""bm25, hybrids, oracles, others' runs: what they return, against their definitions."""

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import ragkit
from ragkit import RagkitError, Retriever, System
from ragkit.display import tables
from ragkit.display.verdicts import verdicts
from ragkit.encoders.bm25 import B, Bm25Encoder, K
from ragkit.encoders.sparse_encoder import SparseEncoder
from ragkit.engines.index import Fusion, Prefetch
from ragkit.engines.ingest import _rest, plan
from ragkit.engines.opening import open_index
from ragkit.evaluation import statistics
from ragkit.evaluation.comparison import Comparison, SystemResult
from ragkit.evaluation.retriever import oracle
from ragkit.vectors import VectorSpec

# Words that no stemmer changes and no stop list holds, so that the test needs no tokenizer of its own.
ALL_TEXTS = ["fox dog fox", "dog cat cat cat bird", "bird", "", "fox bird dog cat fish fish tree"]


class Elsewhere(SparseEncoder):
    """bm25 by a class that nothing here knows; it counts the documents that it reads."""

    name, fingerprint, checksums = "elsewhere", "elsewhere", {}

    def __init__(self, mean_length):
        self.inner, self.read = Bm25Encoder(mean_length=mean_length), 0

    depends_on_others = property(lambda self: self.inner.depends_on_others)

    def encode_documents(self, texts):
        self.read += len(texts)
        return self.inner.encode_documents(texts)

    def encode_queries(self, texts):
        return self.inner.encode_queries(texts)


def naive_bm25(query, texts):
    documents = [text.split() for text in texts]
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for words in documents:
        score = 0.0
        for word in set(query.split()):
            holding = sum(word in other for other in documents)
            count = sum(map(bool, documents))  # one without words is none, as for Qdrant
            idf = math.log(1 + (count - holding + 0.5) / (holding + 0.5))
            frequency = words.count(word)
            score += idf * frequency * (K + 1) / (frequency + K * (1 - B + B * len(words) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize("where", [":memory:", None])
def test_bm25_equals_its_formula(where, own_cache):
    encoder, texts = Bm25Encoder(), ALL_TEXTS
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


def of_each_side(index, encoders, text, count):
    """The documents of both sides' first `count`."""
    vectors = {name: encoders[name].encode_queries([text])[0] for name in ("dense", "bm25")}
    return {doc_id for name, vector in vectors.items() for doc_id, _ in index.search(vector, name, count)}


@pytest.mark.slow
def test_a_hybrid_reranks_half_of_its_candidates_from_each_side_and_an_odd_depth_rounds_up(movies, movies_cache):
    encoders = ragkit.load_encoders(["dense", "bm25", "colbert"])
    index, _ = ragkit.build_index(movies, encoders)
    with index:
        everything = Retriever(index, encoders, System.parse("colbert")).run(movies.queries).results
        for depth, half in ((6, 3), (7, 4), (1, 1)):
            reranked = Retriever(index, encoders, System.parse("hybrid+colbert"), depth).run(movies.queries).results
            for query_id, text in movies.queries.values[:, :2]:
                candidates = of_each_side(index, encoders, text, half)
                order, found = (f[f["query_id"] == query_id]["doc_id"].tolist() for f in (everything, reranked))
                # The depth is also the most that is returned; of an odd one, both sides hold one more.
                assert found == [doc_id for doc_id in order if doc_id in candidates][:depth]


@pytest.mark.slow
def test_a_ranking_is_the_same_for_any_limit(movies, own_cache):
    encoders = ragkit.load_encoders(["dense", "bm25", "colbert"])
    index, _ = ragkit.build_index(movies, encoders)
    with index:
        for name in ("hybrid", "hybrid-dbsf", "hybrid+colbert", "dense+colbert", "bm25"):
            long, *others = (
                Retriever(index, encoders, System.parse(name), limit=limit).run(movies.queries).results
                for limit in (100, 10, 3)
            )
            for limit, short in zip((10, 3), others, strict=True):
                pd.testing.assert_frame_equal(short, long[long["rank"] <= limit].reset_index(drop=True))


@pytest.mark.slow
def test_how_many_candidates_a_hybrid_takes_from_each_side_is_a_setting_of_the_system(movies, own_cache):
    encoders = ragkit.load_encoders(["dense", "bm25"])
    index, _ = ragkit.build_index(movies, encoders)
    with index:
        results = Retriever(index, encoders, System("hybrid", per_side=3)).run(movies.queries).results
        for query_id, text in movies.queries.values[:, :2]:
            found = set(results[results["query_id"] == query_id]["doc_id"])
            assert found == of_each_side(index, encoders, text, 3)
        with pytest.raises(RagkitError, match="per_side is 0; expected a whole number from 1"):
            Retriever(index, encoders, System("hybrid", per_side=0))
    comparison = ragkit.compare(movies, [System("hybrid", per_side=3), "hybrid+colbert"], depth=7)
    pd.testing.assert_frame_equal(comparison["hybrid"].results, results)
    assert comparison.to_dict()["config"]["candidates_per_side"] == {"hybrid": 3, "hybrid→colbert": 4}
    assert "depth 7, hybrid 3 of each side, hybrid→colbert 4 of each side;" in tables.headline(comparison)


@pytest.mark.thorough
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


@pytest.mark.slow
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


def test_others_ties_are_ordered_by_rising_document_id(movies):
    frame = pd.DataFrame({"query_id": "q01", "doc_id": ["7", "12", "3", "5"], "score": [1.0, 1.0, 1.0, 2.0]})
    results = ragkit.compare(movies, [], runs={"theirs": frame})["theirs"].results
    assert results["doc_id"].tolist() == ["5", "12", "3", "7"] and results["rank"].tolist() == [1, 2, 3, 4]


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


@pytest.mark.slow
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


def made_up(**values):
    """A comparison of systems by their values of nDCG@10, a query each."""
    systems = []
    for name, of in values.items():
        frame = pd.DataFrame({"nDCG@10": of}, index=[f"q{i}" for i in range(len(of))], dtype=float)
        systems.append(SystemResult(name, frame, pd.DataFrame(), pd.Series(np.nan, frame.index)))
    return Comparison("made up", 9, len(frame), {}, systems)


@pytest.fixture()
def with_oracles(rng):
    base = rng.random(30)
    values = {"a": base + rng.normal(0.01, 0.1, 30), "b": base + rng.normal(0.05, 0.1, 30)}
    return made_up(base=base, **values, **{f"{name}→oracle": base + 0.5 for name in values})


def test_an_oracle_is_not_counted_in_holms_family(with_oracles):
    table = with_oracles.evidence().set_index("system")
    small, large = sorted(["a", "b"], key=table["p"].get)
    assert table.loc[small, "p_holm"] == pytest.approx(2 * table.loc[small, "p"])
    assert table.loc[large, "p_holm"] == pytest.approx(max(2 * table.loc[small, "p"], table.loc[large, "p"]))
    assert table.loc[["a→oracle", "b→oracle"], ["p_holm", "family"]].isna().all(axis=None)


def test_the_family_is_named_wherever_its_p_is_shown(with_oracles):
    name = "2 comparisons with base"
    rows = with_oracles.to_dict()["systems"]
    assert [row["evidence"]["nDCG@10"]["family"] for row in rows] == [None, name, name, None, None]
    assert f"\np (Holm): corrected for {name};" in tables.evidence(with_oracles)
    assert [name in verdict for verdict in verdicts(with_oracles)] == [True, True, False, False]
    assert with_oracles.evidence(baseline="a")["family"].dropna().tolist() == ["2 comparisons with a"] * 2
    one = replace(with_oracles, systems=with_oracles.systems[:2])
    assert "corrected for 1 comparison with base;" in tables.evidence(one)
    assert "corrected" not in tables.evidence(replace(one, systems=one.systems[:1]))


@pytest.mark.slow
def test_interval_p_and_verdict_tell_one_story(rng):
    said = {"beats": 0, "loses to": 0, "shown alone": 0, "no difference shown": 0, "tie": 0}
    for _ in range(30):
        base = rng.choice([0.0, 0.5, 1.0], 60)
        shifts = {f"s{i}": rng.choice([0.0, 0.3, -0.3], 60, p=[0.5, 0.25 + x, 0.25 - x])
                  for i, x in enumerate(rng.uniform(-0.2, 0.2, 6))}  # fmt: skip
        comparison = made_up(base=base, **{name: base + shift for name, shift in shifts.items()}, same=base)
        table = comparison.evidence().set_index("system")
        for name, sentence in zip(table.index[1:], verdicts(comparison), strict=True):
            row = table.loc[name]
            told = [words for words in said if words in sentence]
            if row["p_holm"] < 0.05:
                expected = "beats" if row["difference"] > 0 else "loses to"
            elif row["p"] < 0.05:
                expected = "shown alone"
            else:
                expected = "tie" if name == "same" else "no difference shown"
            assert told == [expected], sentence
            said[expected] += 1
            apart = not row["difference_low"] <= 0 <= row["difference_high"]
            assert ("interval and test disagree" in sentence) == (apart != (row["p"] < 0.05))
    assert min(said.values()) >= 5, said


def test_what_an_interval_leaves_room_for_is_said_where_nothing_is_shown():
    base, better = [0.5] * 8, [0.9, 0.7, 0.6, 0.5, 0.5, 0.5, 0.4, 0.4]
    comparison = made_up(base=base, other=better)
    row = comparison.evidence().iloc[1]
    assert verdicts(comparison) == [
        f"other and base: no difference shown (+0.062 nDCG@10), p = {row['p']:.3f} (Holm, 1 comparison with base), "
        f"but the pair's interval leaves room from {row['difference_low']:+.3f} to {row['difference_high']:+.3f}."
    ]


def test_five_wins_of_five_are_no_proof_though_the_interval_leaves_0_out():
    [sentence] = verdicts(made_up(base=[0.1, 0.2, 0.3, 0.2, 0.1], other=[0.9, 0.8, 0.9, 0.9, 0.7]))
    assert "no difference shown" in sentence and "p = 0.062" in sentence
    assert "interval and test disagree: more queries would tell" in sentence


def test_what_a_family_can_show_is_computed_at_its_corrected_level(rng):
    base = rng.random(40)
    others = {f"s{i}": np.clip(base + rng.normal(0, 0.2, 40), 0, 1) for i in range(4)}
    table = made_up(base=base, **others).evidence().set_index("system")
    z = norm.ppf(1 - 0.05 / 4 / 2) + norm.ppf(0.8)
    for name, values in others.items():
        assert table.loc[name, "detectable"] == pytest.approx(z * np.std(values - base, ddof=1) / 40**0.5)


@pytest.mark.slow
def test_a_verdict_says_what_the_numbers_say(movies, movies_cache):
    comparison = ragkit.compare(movies, ["dense", "colbert", "bm25"])
    small, large = verdicts(comparison)
    assert re.match(r"colbert and dense: no difference shown \(-0\.009 nDCG@10\), p = .*; it takes 11 times", small)
    assert re.match(r"bm25 loses to dense by 0\.\d+ nDCG@10 \(0\.\d+ to 0\.\d+\), p < 0\.001 .*; it takes", large)


@pytest.mark.slow
def test_one_system_alone_and_ties_everywhere_are_no_error(movies, movies_cache):
    alone = ragkit.compare(movies, ["dense"])
    assert verdicts(alone) == [] and "baseline" in tables.evidence(alone)
    assert alone.to_dict()["systems"][0]["evidence"]["nDCG@10"]["mean"] == pytest.approx(0.870, abs=0.001)
    same = ragkit.compare(movies, ["colbert", "dense+colbert"], depth=20).evidence().iloc[1]
    assert (same["p"], same["difference"], same["ties"], same["detectable"]) == (1.0, 0.0, 40, 0.0)


@pytest.mark.slow
def test_runs_alone_need_no_engine_and_times_are_those_of_the_queries(movies, movies_cache):
    mine = ragkit.compare(movies, ["dense"])
    alone = ragkit.compare(movies, [], runs={"theirs": mine["dense"].results})
    assert "no engine" in tables.headline(alone) and alone["theirs"].values.equals(mine["dense"].values)
    row, ms = mine.table().iloc[0], mine["dense"].ms
    assert row["p50_ms"] == np.percentile(ms, 50) and row["p95_ms"] == np.percentile(ms, 95)
    assert row["queries_per_s"] == pytest.approx(len(ms) / (ms.sum() / 1000))


@pytest.mark.slow
def test_a_shared_index_is_no_ones_cost_but_of_who_needs_all_of_it(movies, movies_cache):
    shared = ragkit.compare(movies, ["dense", "colbert", "dense+colbert"], separate=False).table().set_index("system")
    for column in ("index_s", "disk_bytes_per_document", "memory_bytes"):
        assert shared[column].notna().tolist() == [False, False, True]
    own = ragkit.compare(movies, ["dense", "colbert"]).table().set_index("system")
    assert own["disk_bytes_per_document"].is_monotonic_increasing and (own["index_s"] > 0).all()
    assert shared.loc["colbert", "bytes_per_document"] == own.loc["colbert", "bytes_per_document"]


@pytest.mark.slow
def test_a_cross_encoder_out_of_reach_is_named(movies, monkeypatch):
    monkeypatch.setenv("RAGKIT_CROSS_ENCODER_MODEL", "nobody/no-such-model")
    with pytest.raises(RagkitError, match=r"no-such-model is not supported .*\)\. No cross-encoder is embedded"):
        ragkit.compare(movies, ["dense+cross-encoder"])


@pytest.mark.slow
def test_a_sparse_encoder_of_any_class_is_indexed_and_searched(movies, own_cache):
    found = []
    for encoder in (Bm25Encoder(mean_length=20), Elsewhere(20)):
        planned = plan(movies, {"bm25": encoder})
        index, size = ragkit.build_index(movies, {"bm25": encoder})
        with index:
            hits = Retriever(index, {"bm25": encoder}, System("bm25")).search(movies.passages[0])
        found.append((hits, size, planned))
    assert found[0] == found[1] and len(found[0][0]) > 3


@pytest.mark.parametrize(("mean_length", "read"), [(20, 2), (None, 5)])
def test_all_documents_are_read_again_only_where_weights_depend_on_all(mean_length, read):
    encoder = Elsewhere(mean_length)
    rest = list(_rest(encoder, ALL_TEXTS, 3))
    expected = Bm25Encoder(mean_length=mean_length).encode_documents(ALL_TEXTS)[3:]
    assert [v.values.tolist() for v in rest] == [v.values.tolist() for v in expected] and encoder.read == read


@pytest.mark.scifact
def test_bm25_on_all_of_scifact_is_near_the_published_figures():
    comparison = ragkit.compare(ragkit.load_beir("scifact", docs="all"), ["bm25"])
    value = comparison["bm25"].means["nDCG@10"]
    assert 0.679 - 0.01 <= value <= 0.683 + 0.01
