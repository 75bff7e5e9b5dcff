import math
import time

import numpy as np
import pandas as pd
import pytest

import ragkit
from ragkit import RagkitError, Retriever, System, per_query
from ragkit.display import plots, tables
from ragkit.display.verdicts import verdicts
from ragkit.evaluation.inspecting import estimated, measured
from ragkit.evaluation.retriever import WARM_UP


def frames(run, qrels):
    return (
        pd.DataFrame(run, columns=["query_id", "doc_id", "score"]),
        pd.DataFrame(qrels, columns=["query_id", "doc_id", "relevance"]),
    )


def naive(run, qrels, query_id):
    """nDCG@10, R@100 and RR@10 of one query, from their definitions."""
    gains = dict(zip(*[qrels[qrels["query_id"] == query_id][c] for c in ("doc_id", "relevance")], strict=True))
    ranked = run[run["query_id"] == query_id].sort_values("score", ascending=False)["doc_id"].tolist()
    dcg = sum(gains.get(d, 0) / math.log2(i + 2) for i, d in enumerate(ranked[:10]))
    ideal = sum(g / math.log2(i + 2) for i, g in enumerate(sorted(gains.values(), reverse=True)[:10]))
    relevant = {d for d, g in gains.items() if g > 0}
    ranks = [i + 1 for i, d in enumerate(ranked[:10]) if d in relevant]
    recall = len(relevant & set(ranked[:100])) / len(relevant)
    return dcg / ideal, recall, 1 / ranks[0] if ranks else 0.0


def test_measures_equal_their_definitions(rng):
    documents = [f"d{i}" for i in range(150)]
    run, qrels = [], []
    for q in map(str, range(25)):
        scores = rng.permutation(150)
        run += [(q, d, float(s)) for d, s in zip(documents, scores, strict=True)][: rng.integers(1, 150)]
        qrels += [(q, d, int(rng.integers(0, 3))) for d in rng.choice(documents, 30, replace=False)] + [(q, "d0", 2)]
    run, qrels = frames(run, qrels)
    qrels = qrels.drop_duplicates(["query_id", "doc_id"], keep="last")
    values = per_query(run, qrels)
    for query_id, row in values.iterrows():
        np.testing.assert_allclose(row, naive(run, qrels, query_id), atol=1e-9)


def test_ties_are_ranked_by_document_id_by_every_measure():
    for first, expected in (("a", [1.0, 1.0]), ("b", [0.6309, 0.5])):
        run, qrels = frames([("q", "b", 1.0), ("q", "a", 1.0)], [("q", first, 1)])
        assert per_query(run, qrels, ["nDCG@10", "RR@10"]).loc["q"].tolist() == pytest.approx(expected, abs=1e-4)


def test_queries_come_in_the_order_of_the_judgments_under_their_name():
    values = per_query(*frames([("a", "d", 1.0)], [("b", "d", 1), ("a", "d", 1)]))
    assert values.index.tolist() == ["b", "a"] and values.index.name == "query_id"
    assert values.dtypes.tolist() == ["float64"] * 3


def test_a_judged_query_without_results_counts_as_zero_and_an_unjudged_one_not_at_all():
    values = per_query(*frames([("a", "d", 1.0), ("x", "d", 1.0)], [("a", "d", 1), ("b", "d", 1)]))
    assert values.index.tolist() == ["a", "b"]
    assert values["RR@10"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("measures", "columns"),
    [
        (["MRR@10", "RR@10"], ["MRR@10"]),
        (["RR@10", "AP", "MRR@10", "MAP"], ["RR@10", "AP"]),
        (["nDCG@10"] * 2, ["nDCG@10"]),
    ],
)
def test_a_measure_asked_for_twice_or_by_an_alias_is_one_column_named_as_first_asked_for(measures, columns):
    values = per_query(*frames([("q", "a", 2.0), ("q", "b", 1.0)], [("q", "b", 1)]), measures)
    assert values.columns.tolist() == columns
    assert values.loc["q"].tolist() == pytest.approx(
        [0.5 if name != "nDCG@10" else 1 / math.log2(3) for name in columns]
    )


@pytest.mark.parametrize(
    ("run", "qrels", "measures", "message"),
    [
        ([("q", "d", 1.0)], [], ["RR@10"], "no judgments"),
        ([("q", "d", float("nan"))], [("q", "d", 1)], ["RR@10"], "score that is not finite"),
        ([("q", "d", 1.0), ("q", "d", 2.0)], [("q", "d", 1)], ["RR@10"], "returns document 'd' twice for query 'q'"),
        ([("q", "d", 1.0)], [("q", "d", 1)], ["nDGC@10"], "knows no measure 'nDGC@10'"),
    ],
)
def test_bad_runs_and_measures_are_named(run, qrels, measures, message):
    with pytest.raises(RagkitError, match=message):
        per_query(*frames(run, qrels), measures)


def test_nothing_changes_its_input(movies):
    results, qrels = frames([("q01", "4", 1.0)], [("q01", "4", 2)])
    copies = results.copy(), qrels.copy()
    per_query(results, qrels)
    pd.testing.assert_frame_equal(results, copies[0])
    pd.testing.assert_frame_equal(qrels, copies[1])


@pytest.mark.parametrize("text", ["", "dense+", "a+b+c", "colbert+colbert", "den se"])
def test_what_is_no_system_is_named(text):
    with pytest.raises(RagkitError, match="is no system; expected"):
        System.parse(text)


def test_a_system_is_named_the_same_everywhere():
    assert System.parse("dense→colbert") == System.parse("dense+colbert") == System("dense", "colbert")


@pytest.mark.slow
def test_a_run_is_ranked_from_one_best_first_and_timed_per_query(movies, movies_cache):
    encoders = {name: ragkit.load_encoder(name) for name in ("dense", "colbert")}
    index, _ = ragkit.build_index(movies, encoders)
    with index:
        run = Retriever(index, encoders, System.parse("dense+colbert"), depth=7).run(movies.queries)
        hits = Retriever(index, encoders, System.parse("dense+colbert"), depth=7).search(movies.queries["text"][3])
    assert (run.results.groupby("query_id")["rank"].agg(list).map(lambda ranks: ranks == list(range(1, 8)))).all()
    assert (run.results.groupby("query_id")["score"].agg(lambda s: s.is_monotonic_decreasing)).all()
    assert run.ms.index.tolist() == movies.queries["query_id"].tolist() and (run.ms > 0).all()
    mine = run.results[run.results["query_id"] == movies.queries["query_id"][3]]
    assert list(zip(mine["doc_id"], mine["score"], strict=True)) == hits


@pytest.mark.slow
def test_five_queries_warm_up_before_the_clock_counts(movies, own_cache, monkeypatch):
    encoders, events = {"dense": ragkit.load_encoder("dense")}, []
    clock, search = time.perf_counter, Retriever._search
    monkeypatch.setattr("ragkit.evaluation.retriever.time.perf_counter", lambda: events.append("clock") or clock())
    monkeypatch.setattr(Retriever, "_search", lambda self, q, *rest: events.append(q) or search(self, q, *rest))
    index, _ = ragkit.build_index(movies, encoders)
    with index:
        events.clear()
        run = Retriever(index, encoders, System.parse("dense")).run(movies.queries.head(8))
    ids = movies.queries["query_id"].tolist()
    events = events[events.index(ids[0]) :]  # the progress bar's own looks at the clock come before
    assert events[:5] == ids[:5] and WARM_UP == 5
    assert events[5:] == [event for query_id in ids[:8] for event in ("clock", query_id, "clock")]
    assert run.ms.index.tolist() == ids[:8]


@pytest.mark.thorough
def test_all_engines_give_the_same_comparison(movies, tmp_path, movies_cache):
    systems = ("dense", "colbert", "dense+colbert", "tokens", "dense+tokens")
    local, edge, kept = (ragkit.compare(movies, systems, depth=5, where=w) for w in (":memory:", None, tmp_path / "i"))
    for one in (edge, kept):
        for a, b in zip(local.systems, one.systems, strict=True):
            pd.testing.assert_frame_equal(a.values, b.values)
            assert a.results[["query_id", "doc_id", "rank"]].equals(b.results[["query_id", "doc_id", "rank"]])
    assert local.table()[["p50_ms", "index_s", "memory_bytes"]].isna().all(axis=None)  # not Qdrant's
    assert not local.config["engine_times_are_qdrants"] and edge.config["engine_times_are_qdrants"]


@pytest.mark.slow
def test_reranking_every_document_is_the_rerankers_own_ranking(movies, movies_cache):
    comparison = ragkit.compare(movies, ["colbert", "dense+colbert"], depth=20)
    values = comparison.values()
    assert values["colbert"].equals(values["dense→colbert"])
    shallow = ragkit.compare(movies, ["colbert", "dense+colbert"], depth=1).values()
    assert not shallow["colbert"].equals(shallow["dense→colbert"])  # the experiment can fail


@pytest.mark.slow
def test_bytes_a_document_are_those_of_its_vectors(movies, colbert, movies_cache):
    table = ragkit.compare(movies, ["dense", "colbert", "dense+colbert"]).table().set_index("system")
    rows = np.mean([len(array) for array in colbert.encode_documents(movies.passages)])
    expected = {"dense": 384 * 4, "colbert": rows * 128 * 4, "dense→colbert": 384 * 4 + rows * 128 * 4}
    assert table["bytes_per_document"].to_dict() == pytest.approx(expected)


@pytest.mark.slow
def test_a_comparison_refuses_the_same_system_twice(movies):
    with pytest.raises(RagkitError, match="each once"):
        ragkit.compare(movies, ["dense+colbert", "dense→colbert"])
    with pytest.raises(RagkitError, match="'MAP' was not computed"):
        ragkit.compare(movies, ["dense"]).values("MAP")


def of_runs(dataset, measures):
    """A comparison of two runs made by hand: one has each query's judged documents in order, one the other way."""
    best = dataset.qrels.sort_values(["query_id", "relevance"], ascending=[True, False])
    best = best.assign(score=-np.arange(len(best), dtype=float))[["query_id", "doc_id", "score"]]
    return ragkit.compare(
        dataset, [], measures=measures, runs={"worst": best.assign(score=-best["score"]), "best": best}
    )


def test_a_measure_is_found_by_any_of_its_names(movies):
    comparison = of_runs(movies, ["MRR@10", "NDCG@10"])
    plain = of_runs(movies, ["RR@10", "nDCG@10"])
    for alias, name in (("RR@10", "MRR@10"), ("nDCG@10", "NDCG@10"), ("MRR@10", "MRR@10")):
        pd.testing.assert_frame_equal(comparison.values(alias), plain.values(alias))
        assert comparison.evidence(alias).equals(plain.evidence(alias))
        assert comparison.named(alias) == name and name in tables.evidence(comparison, alias)
        assert f" {name} (" in verdicts(comparison, alias)[0]
        assert plots.differences(comparison, "best", "worst", alias).get_ylabel() == f"difference in {name}"
        assert plots.quality_cost(comparison, alias).get_ylabel() == f"{name}, 95 % interval"
    with pytest.raises(RagkitError, match="'nDCG@5' was not computed; this comparison has MRR@10, NDCG@10"):
        comparison.values("nDCG@5")
    with pytest.raises(RagkitError, match="knows no measure 'nDGC@10'"):
        comparison.values("nDGC@10")


@pytest.mark.parametrize(
    ("measures", "first"),
    [(["RR@10", "NDCG@10"], "NDCG@10"), (["R@100", "nDCG@10"], "nDCG@10"), (["P@5", "RR@10"], "P@5")],
)
def test_what_is_told_where_no_measure_is_named_is_ndcg_or_the_first(measures, first, movies):
    comparison = of_runs(movies, measures)
    assert comparison.named() == first
    assert comparison.values().equals(comparison.values(first))
    assert tables.evidence(comparison) == tables.evidence(comparison, first)
    assert verdicts(comparison) == verdicts(comparison, first)
    before = estimated(len(movies.queries))
    assert (measured(before, comparison) == before) is (first == "P@5")  # it is estimated for nDCG@10


def test_a_share_of_judged_documents_that_is_asked_for_is_a_measure_too(movies):
    comparison = of_runs(movies, ["RR@10", "Judged@10"])
    assert comparison.measures == ["RR@10", "Judged@10"]
    assert comparison.values("Judged@10").mean().tolist() == comparison.table()["Judged@10"].tolist() == [1.0, 1.0]


@pytest.mark.scifact
def test_scifacts_subset_scores_what_the_readme_says():
    table = ragkit.compare(ragkit.load_beir("scifact"), ["dense", "dense+colbert"]).table().set_index("system")
    assert table.loc["dense", "nDCG@10"] == pytest.approx(0.793, abs=0.002)
    assert table.loc["dense→colbert", "nDCG@10"] == pytest.approx(0.818, abs=0.002)
    assert table.loc["dense→colbert", "R@100"] == table.loc["dense", "R@100"]  # reranking adds no document


@pytest.mark.parametrize(
    "name", ["nDCG@0", "nDCG@-1", f"nDCG@{2**70}", "nDCG@1.5", "P(rel=0)@5", "nDCG(dcg='x')", "x@"]
)
def test_a_measure_that_trec_eval_would_end_the_process_for_is_refused(name):
    with pytest.raises(ragkit.RagkitError, match="measure"):
        ragkit.per_query(RESULTS, JUDGED, [name])


@pytest.mark.parametrize("relevance", [2**31 - 1, 2**62, 10**30, 1.5, float("nan"), None, True, "high"])
def test_a_relevance_that_measures_cannot_count_in_is_refused_in_a_frame_too(relevance):
    qrels = JUDGED.assign(relevance=pd.Series([relevance], dtype=object))
    with pytest.raises(ragkit.RagkitError, match="The judgment of 'a' for 'q': the score is"):
        ragkit.per_query(RESULTS, qrels)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), None, "high", 1j, 10**400, pd.NA])
def test_a_score_that_no_rank_can_be_made_of_is_refused(score):
    results = RESULTS.assign(score=pd.Series([score], dtype=object))
    with pytest.raises(ragkit.RagkitError, match="The run holds"):
        ragkit.per_query(results, JUDGED)


def test_tables_that_are_none_or_lack_a_column_are_told_with_what_was_expected():
    for table in (None, "a path", [1], RESULTS.drop(columns="score"), pd.concat([RESULTS, RESULTS], axis=1)):
        with pytest.raises(ragkit.RagkitError, match="^The run"):
            ragkit.per_query(table, JUDGED)
    for table in (JUDGED.drop(columns="relevance"), pd.concat([JUDGED, JUDGED], axis=1)):
        with pytest.raises(ragkit.RagkitError, match="^The judgments has "):
            ragkit.per_query(RESULTS, table)
    with pytest.raises(ragkit.RagkitError, match="are two, and differ"):
        ragkit.per_query(RESULTS, pd.concat([JUDGED, JUDGED.assign(relevance=0)]))


RESULTS = pd.DataFrame({"query_id": ["q"], "doc_id": ["a"], "score": [1.0]})
JUDGED = pd.DataFrame({"query_id": ["q"], "doc_id": ["a"], "relevance": [1]})
