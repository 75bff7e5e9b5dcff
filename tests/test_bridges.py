"""Bridges: what the documentation shows of others' tools is run with them; runs and results in JSON are read.

PyTerrier and ranx are the real packages; of MTEB, which needs PyTorch, the files are those that it wrote when it
measured the dense model on the movies (tests/make_mteb.py).
"""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ragkit
from ragkit import RagkitError
from ragkit.cli import main
from ragkit.datasets import json_runs
from ragkit.evaluation.measures import per_query

ROOT = Path(__file__).resolve().parent.parent
META = {"model_name": "org/model", "revision": "main"}


def blocks(heading):
    """The Python of one section of docs/bridges.md."""
    section = (ROOT / "docs" / "bridges.md").read_text("utf8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return compile("\n".join(re.findall("```python\n(.*?)```", section, re.DOTALL)), f"bridges.md, {heading}", "exec")


@pytest.fixture()
def run(monkeypatch, tmp_path, movies_cache):
    """A function that runs a section in an empty folder and returns its names."""
    monkeypatch.chdir(tmp_path)

    def run(heading):
        names: dict = {}
        exec(blocks(heading), names)
        return names

    return run


@pytest.fixture(scope="module")
def dense():
    return ragkit.compare(ragkit.load_movies(), ["dense"])["dense"]


@pytest.mark.thorough
def test_pyterrier_searches_an_index_and_its_run_is_compared(run):
    pytest.importorskip("pyterrier", reason="PyTerrier is not installed: make extras")
    names = run("PyTerrier")
    found, ours = names["found"], ragkit.compare(names["movies"], ["dense+colbert"])
    assert set(found.columns) >= {"qid", "query", "docno", "score", "rank"} and found["rank"].min() == 0
    assert found.groupby("qid").size().max() == 10
    comparison = names["comparison"]
    np.testing.assert_allclose(
        comparison["a pipeline"].values["nDCG@10"], ours["dense→colbert"].values["nDCG@10"], atol=1e-6
    )
    assert "p_holm" in comparison.evidence().columns


@pytest.mark.thorough
def test_ranx_reads_ours_and_we_read_ranxs(run):
    pytest.importorskip("ranx", reason="ranx is not installed: make extras")
    names = run("ranx")
    ours, again = names["run"], names["again"]
    assert names["theirs"].to_dict().keys() == set(ours["query_id"])
    merged = ours.merge(again, on=["query_id", "doc_id"], suffixes=("", "_again"))
    assert len(merged) == len(ours) == len(again)
    np.testing.assert_allclose(merged["score"], merged["score_again"], rtol=1e-6)
    assert (merged["rank"] == merged["rank_again"]).all()


@pytest.fixture()
def mteb_files(tmp_path):
    """The prediction file and the result file that MTEB wrote, under the names that the documentation has."""
    packed = (ROOT / "tests" / "mteb" / "Movies_predictions.json.gz").read_bytes()
    (tmp_path / "SciFact_predictions.json").write_bytes(gzip.decompress(packed))
    (tmp_path / "SciFact.json").write_bytes((ROOT / "tests" / "mteb" / "Movies.json").read_bytes())
    return tmp_path


@pytest.mark.thorough
def test_mtebs_predictions_are_a_run_and_its_result_is_means(run, mteb_files, dense):
    names = run("MTEB")
    theirs = names["comparison"]["lateon"].values
    np.testing.assert_allclose(theirs["nDCG@10"], dense.values["nDCG@10"], atol=1e-9)
    ours = {measure: dense.values[measure].mean() for measure in ("nDCG@10", "R@100", "RR@10")}
    assert names["published"] == pytest.approx(ours, abs=5e-6)  # MTEB rounds to five decimals


@pytest.mark.thorough
def test_the_command_line_takes_both(mteb_files, movies_cache, capsys):
    files = {name: str(mteb_files / name) for name in ("SciFact_predictions.json", "SciFact.json")}
    command = ["compare", "movies", "--systems", "bm25", "--run", f"theirs={files['SciFact_predictions.json']}"]
    assert main([*command, "--beside", f"published={files['SciFact.json']}", "--html", str(mteb_files / "r.html")]) == 0
    out = capsys.readouterr().out
    note = "published has nDCG@10 0.870, R@100 1.000, RR@10 0.881 by its own result file: not measured here"
    assert f"Note: {note}" in out and re.search("theirs beats bm25 by .*1 comparison with bm25", out)
    assert note in (mteb_files / "r.html").read_text("utf8")
    assert main([*command, "--order", "rank"]) == 2 and "has no ranks" in capsys.readouterr().err


def test_ranks_are_those_of_sorting_and_measures_those_of_the_frame(tmp_path, movies, rng):
    run = {q: {d: float(s) for d, s in zip(movies.document_ids, rng.random(20), strict=True)} for q in ("q01", "q02")}
    path = tmp_path / "run.json.gz"
    path.write_bytes(gzip.compress(json.dumps(run).encode()))
    read = json_runs.read_json_run(path)
    for query, scores in run.items():
        expected = sorted(scores, key=scores.get, reverse=True)
        assert read.loc[read["query_id"] == query, "doc_id"].tolist() == expected
    rows = [(q, d, s) for q, scores in run.items() for d, s in scores.items()]
    frame = pd.DataFrame(rows, columns=["query_id", "doc_id", "score"])
    qrels = movies.qrels[movies.qrels["query_id"].isin(run)]
    pd.testing.assert_frame_equal(per_query(read, qrels, ["nDCG@10"]), per_query(frame, qrels, ["nDCG@10"]))


def test_equal_scores_are_in_the_order_of_ids(tmp_path):
    (tmp_path / "run.json").write_text('{"q": {"b": 1, "a": 1, "c": 2}}', "utf8")
    assert json_runs.read_json_run(tmp_path / "run.json")["doc_id"].tolist() == ["c", "a", "b"]


def test_of_several_splits_the_named_one_is_taken(tmp_path):
    splits = {"test": {"q": {"a": 1}}, "dev": {"q": {"b": 1}}}
    (tmp_path / "p.json").write_text(json.dumps({"mteb_model_meta": META, "default": splits}), "utf8")
    for split, doc in (("test", "a"), ("dev", "b")):
        assert json_runs.read_json_run(tmp_path / "p.json", split)["doc_id"].tolist() == [doc]
    with pytest.raises(RagkitError, match="predictions of default/test, default/dev; expected one subset of the split"):
        json_runs.read_json_run(tmp_path / "p.json", "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "holds list; expected an object"),
        ("{", "is no JSON"),
        ("{}", "the run is empty"),
        ('{"q": {}}', "the run is empty"),
        ('{"q": [1]}', r"query 'q' has \[1\]; expected"),
        ('{"q": {"a": "1"}}', "document 'a' for query 'q' has the score '1'; expected a number"),
        ('{"q": {"a": NaN}}', "has the score nan; expected a number"),
        ('{"q": {"a": true}}', "has the score True; expected a number"),
        pytest.param(f'{{"q": {{"a": {10**400}}}}}', "has the score 1000+…; expected a number that a float", id="huge"),
        ('{"q": {"a": 1, "a": 2}}', "run.json: the name 'a' is there twice"),
        ('{"q": {"a": 1}, "q": {"b": 2}}', "run.json: the name 'q' is there twice"),
        ('{"q": {"\\ud800": 1}}', "half a character"),
        ('{"mteb_model_meta": {}, "default": {"test": [1]}}', "'default' holds no runs"),
        ('{"mteb_model_meta": {}}', "predictions of none"),
    ],
)
def test_what_is_no_run_is_named(text, message, tmp_path):
    (tmp_path / "run.json").write_text(text, "utf8")
    with pytest.raises(RagkitError, match=message):
        json_runs.read_json_run(tmp_path / "run.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"q": {"a": 1}}', "is no task result of MTEB"),
        ('{"scores": {"dev": [{}]}}', "0 subsets of 'test'; expected one. It has dev"),
        ('{"scores": {"test": [{}, {}]}}', "2 subsets of 'test'"),
        ('{"scores": {"test": [{"accuracy": 1}]}}', "says nothing of ndcg_at_10"),
        ('{"scores": {"test": [{"ndcg_at_10": 70.1}]}}', "ndcg_at_10 is 70.1; expected a number from 0 to 1"),
        pytest.param(f'{{"scores": {{"test": [{{"ndcg_at_10": {10**400}}}]}}}}', "ndcg_at_10 is 1000+…;", id="huge"),
    ],
)
def test_what_is_no_result_of_mteb_is_named(text, message, tmp_path):
    (tmp_path / "SciFact.json").write_text(text, "utf8")
    with pytest.raises(RagkitError, match=message):
        json_runs.read_mteb_result(tmp_path / "SciFact.json")
