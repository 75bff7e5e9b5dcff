import gzip
import json
import os

import numpy as np
import pandas as pd
import pytest
import pytrec_eval

import ragkit
from ragkit import RagkitError, per_query
from ragkit.cli import main
from ragkit.datasets import trec

COLUMNS = ["query_id", "doc_id", "score", "rank"]
IDS = ["plain", "MED-10", "ÅÄÖ", "映画", "<urn:isbn:0451450523>", "a/b#c&amp;d", "🎬", '"quoted"', "007"]


@pytest.fixture(scope="module")
def dense():
    """The movies and what a real dense retriever returned for them."""
    movies = ragkit.load_movies()
    return movies, ragkit.compare(movies, ["dense"], where=":memory:")["dense"]


def table(rows, value):
    return pd.DataFrame(rows, columns=["query_id", "doc_id", value], dtype=object).infer_objects()


def shuffled(rng, queries=20, documents=120):
    """A run whose rows are in no order, and graded judgments of a part of its documents."""
    names = [f"d{i}" for i in range(documents)]
    run, qrels = [], []
    for query in (f"q{i}" for i in range(queries)):
        scores = rng.permutation(documents) / 7 - 3.0
        run += [(query, name, score) for name, score in zip(names, scores, strict=True)]
        qrels += [(query, name, int(rng.integers(0, 4))) for name in rng.choice(names[1:], 20, replace=False)]
        qrels += [(query, "d0", 2)]
    run = table(run, "score").sample(frac=1, random_state=7, ignore_index=True)
    return run, table(qrels, "relevance")


def assert_ranked(found, results):
    """Check ranks, order and values by a loop over the rows that were written."""
    assert found.columns.tolist() == COLUMNS
    assert found["score"].dtype == float and found["rank"].dtype == int
    rows = list(results[COLUMNS[:3]].itertuples(index=False, name=None))
    expected = []
    for query in dict.fromkeys(row[0] for row in rows):
        mine = sorted((row for row in rows if row[0] == query), key=lambda row: (-row[2], row[1]))
        expected += [(*row, rank) for rank, row in enumerate(mine, 1)]
    assert list(found.itertuples(index=False, name=None)) == expected


def test_a_run_is_read_back_exactly(rng, tmp_path):
    scores = [*rng.normal(size=5), *(rng.normal(size=4) * 10.0 ** rng.integers(-300, 300, 4))]
    extreme = [1e-30, -1e-30, 5e-324, -1.7976931348623157e308, 0.1 + 0.2, 2**53 + 1.0, 0.0, -1.0, 3]
    rows = {"q<1>": scores, "問": extreme}
    results = table([(q, d, s) for q in rows for d, s in zip(IDS, rows[q], strict=True)], "score")
    trec.write_run(results, tmp_path / "run.txt", "dense→colbert")
    assert_ranked(trec.read_run(tmp_path / "run.txt"), results)
    text = (tmp_path / "run.txt").read_bytes()
    assert text.count(b"\n") == 18 and b"\r" not in text


@pytest.mark.slow
def test_a_real_run_is_read_back_as_it_was_in_either_precision(dense, tmp_path):
    for precision in ("float64", "float32"):
        results = dense[1].results.astype({"score": precision})
        trec.write_run(results, tmp_path / "a")
        found = trec.read_run(tmp_path / "a")
        pd.testing.assert_frame_equal(found, results[COLUMNS], check_dtype=False, check_exact=True)
        trec.write_run(found, tmp_path / "b")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_rows_in_any_order_and_ties_are_ranked_as_ragkit_ranks_them(rng, tmp_path):
    results, _ = shuffled(rng)
    results["score"] = results["score"].round(0)  # many ties
    copy = results.copy()
    trec.write_run(results.assign(rank=99), tmp_path / "run.txt")
    assert_ranked(trec.read_run(tmp_path / "run.txt"), results)
    pd.testing.assert_frame_equal(results, copy)


def run_file(folder, rows, name="run"):
    (folder / name).write_text("".join(f"{q} Q0 {d} {rank} {score} t\n" for q, d, rank, score in rows), "utf8")
    return folder / name


USED = "the scores were used, and document ids where they tie"
RUNS = {  # rows, how many queries the ranks order otherwise, how many tie, of how many
    "all scores tie": ([("q", "b", 1, 1.0), ("q", "a", 2, 1.0), ("p", "a", 1, 1.0), ("p", "b", 2, 1.0)], 1, 2, 2),
    "ranks contradict": ([("q", "b", 1, 0.5), ("q", "a", 2, 1.5), ("p", "a", 1, 2), ("p", "b", 2, 1)], 1, 0, 2),
    "ranks fall": ([("q", "a", 3, 3.0), ("q", "b", 2, 2.0), ("q", "c", 1, 1.0)], 1, 0, 1),
    "some scores tie": ([("q", "c", 1, 3.0), ("q", "b", 2, 1.0), ("q", "a", 3, 1.0)], 1, 0, 1),
    "distances": ([("q", "a", 0, 0.1), ("q", "b", 1, 0.7), ("p", "a", 0, 0.2), ("p", "b", 1, 0.3)], 2, 0, 2),
    "one document": ([("q", "a", 1, 0.0)], 0, 0, 1),
    "no ranks": ([("q", "a", 0, 0.1), ("q", "b", 0, 0.7)], 0, 0, 1),
    "ranks that are none": ([("q", "a", "-", 0.1), ("q", "b", "-", 0.7)], 0, 0, 1),
    "agreed": ([("q", "b", 1, 2.0), ("q", "a", 2, 1.0)], 0, 0, 1),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_note_says_what_ordered_a_run_and_how_many_queries_the_ranks_order_otherwise(name, tmp_path):
    rows, other, tied, count = RUNS[name]
    run = trec.read_run(run_file(tmp_path, rows))
    assert_ranked(run, table([(q, d, float(score)) for q, d, _, score in rows], "score"))
    if not other and not tied:
        assert trec.order_notes(run) == ()
        return
    (note,) = trec.order_notes(run)
    assert note.startswith(USED) and f"which order {other} of {count} queries otherwise (--order rank" in note
    assert (f"for {tied} of {count} queries all scores tie" in note) == (tied > 0)


@pytest.mark.parametrize("name", ["all scores tie", "ranks contradict", "ranks fall", "some scores tie", "distances"])
def test_ranks_order_a_run_where_that_is_asked_for(name, tmp_path):
    rows, other, _, count = RUNS[name]
    run = trec.read_run(run_file(tmp_path, rows), order="rank")
    for query in dict.fromkeys(row[0] for row in rows):
        expected = [d for q, d, *_ in sorted(rows, key=lambda row: row[2]) if q == query]
        assert run.loc[run["query_id"] == query, "doc_id"].tolist() == expected
        last = table([(query, expected[-1], 1)], "relevance")
        assert per_query(run, last)["RR@10"].item() == 1 / len(expected)
    (note,) = trec.order_notes(run)
    assert note == f"the ranks in the file were used, not the scores, which order {other} of {count} queries otherwise"


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        (("-", "1"), "line 1: the rank is '-'"),
        ((1, 1), "line 2: rank 1 is there twice for query 'q'"),
        ((1, 1.5), "'1.5'"),
    ],
)
def test_ranks_that_order_nothing_are_refused_where_they_are_asked_for(ranks, message, tmp_path):
    path = run_file(tmp_path, [("q", d, rank, 1.0) for d, rank in zip("ab", ranks, strict=True)])
    with pytest.raises(RagkitError, match=f"run, .*{message}|run, line 2: the rank is {message}"):
        trec.read_run(path, order="rank")
    assert len(trec.read_run(path)) == 2
    with pytest.raises(RagkitError, match="no order 'ranks' of a run; expected score or rank"):
        trec.read_run(path, order="ranks")


@pytest.mark.parametrize("lead", [1e-12, 2.0**-30])
def test_scores_that_a_float32_would_tie_are_compared_as_they_are_and_noted(lead, tmp_path):
    rows = [("q", "b", 1, 1.0 + lead), ("q", "a", 2, 1.0), ("p", "a", 1, 1.5), ("p", "b", 2, 1.0)]
    run = trec.read_run(run_file(tmp_path, rows))
    assert run["doc_id"].tolist() == ["b", "a", "a", "b"]
    assert per_query(run, table([("q", "b", 1)], "relevance"))["RR@10"].item() == 1.0
    (note,) = trec.order_notes(run)
    assert (
        "for 1 of 2 queries some scores differ by less than a float32 holds" in note and "trec_eval would tie" in note
    )


def test_a_frame_is_held_to_the_same_rule_as_a_file():
    tied = table([("q", "b", 1.0), ("q", "a", 1.0)], "score")
    assert trec.order_notes(tied) == (f"{USED}; for 1 of 1 queries all scores tie",)
    (note,) = trec.order_notes(tied.assign(rank=[1, 2]))
    assert "which order 1 of 1 queries otherwise" in note
    assert trec.order_notes(tied.assign(rank=[1, 2], score=[2.0, 1.0])) == ()


@pytest.mark.slow
def test_the_notes_on_a_runs_order_reach_the_comparison_and_the_command_line(movies, tmp_path, capsys, own_cache):
    best = movies.qrels.sort_values(["query_id", "relevance", "doc_id"], ascending=[True, False, False])
    rows = [(row.query_id, row.doc_id, rank, 1.0) for rank, row in enumerate(best.itertuples(), 1)]
    path, page = run_file(tmp_path, rows), tmp_path / "c.json"
    comparison = ragkit.compare(movies, ["dense"], where=":memory:", runs={"x": trec.read_run(path)})
    assert any(note.startswith(f"run x: {USED}") and "40 of 40" in note for note in comparison.notes)
    command = ["compare", "movies", "--systems", "dense", "--where", ":memory:", "--run", f"x={path}"]
    means = {}
    for order in ("score", "rank"):
        assert main([*command, "--order", order, "--json", str(page)]) == 0
        assert f"run x: the {order}s " in capsys.readouterr().out
        means[order] = json.loads(page.read_text("utf8"))["systems"][1]["RR@10"]
    assert means["rank"] == 1.0 > means["score"]


def test_a_packed_run_is_read_and_a_pipe_refused(tmp_path):
    run_file(tmp_path, [("q", "a", 1, 1.0)])
    (tmp_path / "run.gz").write_bytes(gzip.compress((tmp_path / "run").read_bytes()))
    assert trec.read_run(tmp_path / "run.gz").values.tolist() == [["q", "a", 1.0, 1]]
    if os.name != "nt":
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path / "pipe", "/dev/null"):
            for read in (trec.read_run, trec.read_qrels):
                with pytest.raises(RagkitError, match="cannot be read; is a pipe or a device"):
                    read(path)


def test_judgments_are_read_back_exactly(movies, tmp_path):
    odd = table([("b", "y", 2), ("a", "<x>", 0), ("b", "映画", -1)], "relevance")
    for qrels in (movies.qrels, odd):
        trec.write_qrels(qrels, tmp_path / "qrels.txt")
        found = trec.read_qrels(tmp_path / "qrels.txt")
        assert found["relevance"].dtype == int
        pd.testing.assert_frame_equal(found, qrels.reset_index(drop=True), check_dtype=False)
    assert (tmp_path / "qrels.txt").read_text("utf8") == "b 0 y 2\na 0 <x> 0\nb 0 映画 -1\n"


@pytest.mark.parametrize(
    "text",
    [
        "q1 Q0 MED-2 1 14.07 Anserini\nq1 Q0 MED-1 2 13.50 Anserini\nq2 Q0 7 1 1.5E-3 Anserini\n",
        "q1 Q0 MED-2 0 14.07 pyterrier\nq1 Q0 MED-1 1 13.5 pyterrier\nq2 Q0 7 0 0.0015 pyterrier",  # ranks from 0
        "q1\tQ0\tMED-1\t2\t13.5\tranx\r\nq1\tQ0\tMED-2\t1\t14.07\tranx\r\nq2\tQ0\t7\t1\t0.0015\tranx\r\n",
        "\ufeffq1  ITER MED-2   1  14.07 run \n\n q1 0 MED-1\t9 13.5 run\nq2 Q0 7 1 +.0015 run\n\n",
    ],
    ids=["anserini", "pyterrier", "tabs and windows line ends", "aligned by hand"],
)
def test_runs_as_other_tools_write_them_are_read(text, tmp_path):
    (tmp_path / "run").write_bytes(text.encode("utf8"))
    found = trec.read_run(tmp_path / "run")
    assert found.values.tolist() == [["q1", "MED-2", 14.07, 1], ["q1", "MED-1", 13.5, 2], ["q2", "7", 0.0015, 1]]


MEASURES = {"nDCG@10": "ndcg_cut_10", "R@100": "recall_100", "RR@10": "recip_rank"}


def assert_trec_eval_agrees(results, qrels, folder):
    """trec_eval has no RR@10, so recip_rank is given the run's first ten."""
    trec.write_run(results, folder / "run.txt")
    trec.write_run(trec.read_run(folder / "run.txt").query("rank <= 10"), folder / "ten.txt")
    trec.write_qrels(qrels, folder / "qrels.txt")
    with open(folder / "qrels.txt", encoding="utf8") as file:
        judged = pytrec_eval.parse_qrel(file)
    found = {}
    for name in ("run", "ten"):
        with open(folder / f"{name}.txt", encoding="utf8") as file:
            found[name] = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10", "recall.100", "recip_rank"}).evaluate(
                pytrec_eval.parse_run(file)
            )
    values = per_query(results, qrels)
    for ours, theirs in MEASURES.items():
        evaluated = found["ten" if ours == "RR@10" else "run"]
        expected = [evaluated[query][theirs] for query in values.index]
        np.testing.assert_allclose(values[ours], expected, atol=1e-6, err_msg=ours)
        assert len(set(expected)) > 1 or ours == "R@100"  # the movies are fewer than 100


def assert_ranx_agrees(results, qrels, folder):
    """ranx's ndcg has linear gains, as trec_eval's; its ndcg_burges has exponential ones."""
    ranx = pytest.importorskip("ranx", reason="ranx is no dependency; pip install ranx to check against it")
    trec.write_run(results, folder / "run.txt")
    trec.write_qrels(qrels, folder / "qrels.txt")
    judged = ranx.Qrels.from_file(str(folder / "qrels.txt"), kind="trec")
    run = ranx.Run.from_file(str(folder / "run.txt"), kind="trec")
    names = {"nDCG@10": "ndcg@10", "R@100": "recall@100", "RR@10": "mrr@10"}
    ranx.evaluate(judged, run, [*names.values(), "ndcg_burges@10"], return_mean=False)
    values = per_query(results, qrels)
    for ours, theirs in names.items():
        expected = [run.scores[theirs][query] for query in values.index]
        np.testing.assert_allclose(values[ours], expected, atol=1e-6, err_msg=ours)
    burges = [run.scores["ndcg_burges@10"][query] for query in values.index]
    assert not np.allclose(values["nDCG@10"], burges, atol=1e-6)  # graded: the two definitions differ


@pytest.mark.slow
@pytest.mark.parametrize("agrees", [assert_trec_eval_agrees, assert_ranx_agrees])
def test_other_tools_measure_an_exported_run_of_the_movies_as_ragkit_does(agrees, dense, tmp_path):
    movies, result = dense
    assert movies.qrels["relevance"].nunique() > 1  # graded
    # Ties are ranked in three ways, and trec_eval's scores are float32.
    assert not result.results.astype({"score": "float32"}).duplicated(["query_id", "score"]).any()
    agrees(result.results, movies.qrels, tmp_path)


@pytest.mark.parametrize("agrees", [assert_trec_eval_agrees, assert_ranx_agrees])
def test_other_tools_measure_an_exported_deep_run_as_ragkit_does(agrees, rng, tmp_path):
    agrees(*shuffled(rng), tmp_path)


@pytest.mark.parametrize("lead", [0.0, 1e-12])  # none, and none that a float32 can hold
def test_trec_eval_ranks_ties_the_other_way_as_the_docstring_says(lead, tmp_path):
    results = table([("q", "a", 1.0 + lead), ("q", "b", 1.0)], "score")
    trec.write_run(results, tmp_path / "run.txt")
    with open(tmp_path / "run.txt", encoding="utf8") as file:
        run = pytrec_eval.parse_run(file)
    theirs = pytrec_eval.RelevanceEvaluator({"q": {"a": 1}}, {"recip_rank"}).evaluate(run)["q"]["recip_rank"]
    assert theirs == 0.5 and per_query(results, table([("q", "a", 1)], "relevance"))["RR@10"].item() == 1.0


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("q Q0 a 1 2.0 t\nq Q0 b 2 t", r"file, line 2: 5 columns, expected query_id Q0 doc_id rank score tag"),
        ("q Q0 a 1 2.0 t\n\nq Q0 b c 2 1.0 t", r"file, line 3: 7 columns"),
        ("q Q0 a 1 two t", r"file, line 1: document 'a' for query 'q' has 'two'.*no finite number"),
        ("q Q0 a 1 2.0 t\nq Q0 b 2 nan t", r"file, line 2: document 'b' for query 'q' has 'nan'"),
        ("q Q0 a 1 inf t", r"file, line 1: .* has 'inf'"),
        ("q Q0 a 1 1_0 t", r"file, line 1: .* has '1_0'"),
        (f"q Q0 a 1 {'9' * 5000} t", r"file, line 1: .* has '9{58}…, which is no finite"),
        ("q Q0 a\0 1 1 t", r"file: cannot be read; line 1: a NUL character"),
        ("q Q0 a 1 2.0 t\np Q0 a 1 2.0 t\nq Q0 a 2 1.0 t", r"file, line 3: document 'a' for query 'q' is there twice"),
        ("", r"file: the file is empty"),
        (" \n\n", r"file: the file is empty"),
    ],
)
def test_a_bad_run_file_is_named_with_its_line(lines, message, tmp_path):
    (tmp_path / "file").write_text(lines, "utf8")
    with pytest.raises(RagkitError, match=message):
        trec.read_run(tmp_path / "file")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("q 0 a 1\nq\ta\t1", r"file, line 2: 3 columns, expected query_id 0 doc_id relevance"),
        ("q 0 a 1\nq 0 b 1.0", r"file, line 2: document 'b' for query 'q' has '1.0'.*no whole number"),
        ("q 0 a yes", r"file, line 1: .* has 'yes'"),
        ("q 0 a --1", r"file, line 1: .* has '--1'"),
        (f"q 0 a {5 * 10**8}", r"file, line 1: .*largest grade"),
        (f"q 0 a {'9' * 5000}", r"file, line 1: .* no whole number"),
        ("q 0 a 1\nq 0 a 1", r"file, line 2: document 'a' for query 'q' is there twice"),
        ("\n", r"file: the file is empty"),
    ],
)
def test_a_bad_judgment_file_is_named_with_its_line(lines, message, tmp_path):
    (tmp_path / "file").write_text(lines, "utf8")
    with pytest.raises(RagkitError, match=message):
        trec.read_qrels(tmp_path / "file")


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path):
    (tmp_path / "latin").write_bytes("q Q0 é 1 1.0 t".encode("latin-1"))
    for name in ("latin", "missing"):
        with pytest.raises(RagkitError, match=f"{name}: cannot be read"):
            trec.read_run(tmp_path / name)


@pytest.mark.parametrize(
    ("rows", "tag", "message"),
    [
        ([], "t", "nothing to write"),
        ([("q", "a", 1.0), ("q", "Blade Runner", 2.0)], "t", "the doc_id 'Blade Runner' is empty or has whitespace"),
        ([("q\t1", "a", 1.0)], "t", r"the query_id 'q\\t1' is empty or has whitespace"),
        ([("q", "a\u00a0b", 1.0)], "t", "the doc_id .* has whitespace"),  # Python's split() breaks there
        ([("q", "", 1.0)], "t", "the doc_id '' is empty"),
        ([("q", "a\0", 1.0)], "t", "NUL"),
        ([("q", "\ud83d", 1.0)], "t", "half a character"),
        ([("q", "a", 10**400)], "t", "document 'a' for query 'q' has 1000"),
        ([("q", "a", 1.0)], "my run", "the tag 'my run' is empty or has whitespace"),
        ([("q", "a", 1.0)], "", "the tag '' is empty"),
        ([("q", "a", 1.0), ("q", "b", float("nan"))], "t", "document 'b' for query 'q' has nan"),
        ([("q", "a", float("-inf"))], "t", "document 'a' for query 'q' has -inf"),
        ([("q", "a", 1.0), ("q", "a", 2.0)], "t", "document 'a' for query 'q' is there twice"),
    ],
)
def test_a_run_that_the_format_cannot_hold_is_refused_and_the_old_file_kept(rows, tag, message, tmp_path):
    (tmp_path / "run").write_text("old", "utf8")
    with pytest.raises(RagkitError, match=message):
        trec.write_run(table(rows, "score"), tmp_path / "run", tag)
    assert (tmp_path / "run").read_text("utf8") == "old" and os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "nothing to write"),
        ([("q", "a b", 1)], "the doc_id 'a b' is empty or has whitespace"),
        ([("q", "a", 0.5)], "document 'a' for query 'q' has 0.5, which is no whole number"),
        ([("q", "a", 1), ("q", "b", None)], "document 'b' for query 'q' has nan"),
        ([("q", "a", 1), ("q", "a", 1)], "is there twice"),
    ],
)
def test_judgments_that_the_format_cannot_hold_are_refused(rows, message, tmp_path):
    with pytest.raises(RagkitError, match=message):
        trec.write_qrels(table(rows, "relevance"), tmp_path / "qrels")
    assert not os.listdir(tmp_path)


def test_a_write_that_is_cut_short_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    run = table([("q", "a", 1.0)], "score")
    trec.write_run(run, tmp_path / "deep" / "run")  # makes the folder
    before = (tmp_path / "deep" / "run").read_bytes()

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RagkitError, match="disk full"):
        trec.write_run(run.assign(score=2.0), tmp_path / "deep" / "run")
    assert (tmp_path / "deep" / "run").read_bytes() == before and os.listdir(tmp_path / "deep") == ["run"]
