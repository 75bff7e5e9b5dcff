import json
import subprocess
import sys

import pytest

from ragkit.cli import main


def test_search_prints_and_writes_the_ranking(capsys, tmp_path):
    path = tmp_path / "new" / "hits.json"
    assert (
        main(
            [
                "search",
                "movies",
                "toys in a day-care center",
                "--system",
                "dense+colbert",
                "--limit",
                "2",
                "--json",
                str(path),
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["1", "12"]
    found = json.loads(path.read_text("utf8"))
    assert found["results"][0]["title"] == "Toy Story 3" and len(found["results"]) == 2
    assert found["system"] == "dense→colbert"


@pytest.mark.slow
def test_compare_writes_what_the_readme_describes(capsys, tmp_path, movies_cache):
    path, page = tmp_path / "c.json", tmp_path / "c.html"
    assert main(["compare", "movies", "--json", str(path), "--html", str(page)]) == 0
    result = json.loads(path.read_text("utf8"))
    assert (result["collection"], result["documents"], result["queries"]) == ("movies", 20, 40)
    assert [s["system"] for s in result["systems"]] == ["dense", "colbert", "dense→colbert"]
    for system in result["systems"]:
        assert {"nDCG@10", "R@100", "RR@10", "p50_ms", "p95_ms", "bytes_per_document", "index_s"} <= set(system)
        values = system["per_query"]["nDCG@10"]
        assert len(values) == 40 and sum(values.values()) / 40 == pytest.approx(system["nDCG@10"])
    config = result["config"]
    assert config["models"]["colbert"]["sha256"]["model.onnx"].startswith("17b15e42")
    assert {"engine", "depth", "versions", "machine"} <= set(config)
    out = capsys.readouterr().out
    assert "dense→colbert" in out and "Qdrant Edge" in out
    assert page.stat().st_size < 2_000_000


@pytest.mark.slow
def test_runs_go_out_and_come_back_as_trec_files(capsys, tmp_path, movies_cache):
    assert main(["compare", "movies", "--systems", "dense,colbert", "--export", str(tmp_path / "out")]) == 0
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["colbert.run", "dense.run", "qrels.txt"]
    path = tmp_path / "c.json"
    theirs = f"theirs={tmp_path / 'out' / 'colbert.run'}"
    assert main(["compare", "movies", "--systems", "dense,colbert", "--run", theirs, "--json", str(path)]) == 0
    dense, colbert, same = json.loads(path.read_text("utf8"))["systems"]
    assert same["system"] == "theirs" and same["per_query"] == colbert["per_query"]
    assert same["p50_ms"] is None and same["bytes_per_document"] is None
    assert same["evidence"]["nDCG@10"]["wins"] == colbert["evidence"]["nDCG@10"]["wins"]


def test_a_folder_of_ones_own_is_compared(write_collection, capsys, own_cache):
    documents = [json.dumps({"_id": f"d{i}", "text": text}) for i, text in enumerate(["a red fish", "a blue bird", ""])]
    folder = write_collection(documents, ['{"_id": "q<1>", "text": "fish"}'], ["q<1>\td0\t1"])
    assert main(["compare", str(folder), "--where", ":memory:", "--systems", "dense,dense+tokens"]) == 0
    out = capsys.readouterr().out
    assert "1 documents are empty" in out and "not Qdrant's" in out and "dense→tokens" in out


def test_doctor_says_whether_the_lessons_can_run(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "The lessons can run." in out and "ragkit/colbert-minilm-l6" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "moveis"], "No collection 'moveis'"),
        (["compare", "movies", "--systems", "dense,sparse"], "there are no vectors 'sparse'"),
        (["compare", "movies", "--docs", "7"], "movies come whole"),
        (["search", "movies", "x", "--system", "a+b+c"], "is no system"),
        (["compare", "movies", "--run", "no-equals"], "expected NAME=FILE"),
        (["compare", "movies", "--run", "x=no/such.run"], "no/such.run"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_an_output_that_cannot_be_written_leaves_nothing(tmp_path, capsys):
    (tmp_path / "file").write_text("here first")
    assert main(["search", "movies", "x", "--json", str(tmp_path / "file" / "hits.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_it_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "ragkit", "--help"], capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in ("doctor", "search", "compare", "bench", "demo"))
