import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import ragkit
from ragkit import commands
from ragkit.cli import main
from ragkit.datasets import beir
from ragkit.datasets.trec import read_run, write_run
from ragkit.paths import cache_dir

DOCUMENTS = ["a red fish swims", "a blue bird sings", "an old stone lies"]


@pytest.fixture()
def pets(write_collection):
    """A small judged dataset without titles."""
    documents = [json.dumps({"_id": f"d{i}", "text": text}) for i, text in enumerate(DOCUMENTS)]
    return write_collection(documents, ['{"_id": "q", "text": "fish"}'], ["q\td0\t1"], name="pets")


@pytest.fixture()
def spaced(write_collection):
    """A dataset whose ids are addresses with a space in them, which no TREC file can hold."""
    documents = [json.dumps({"_id": f"https://x.org/a b?q={i}", "text": text}) for i, text in enumerate(DOCUMENTS)]
    return write_collection(documents, ['{"_id": "q", "text": "fish"}'], ["q\thttps://x.org/a b?q=0\t1"], name="spaced")


@pytest.fixture()
def a_run(tmp_path):
    """Another's run on the pets, as a TREC file."""
    path = tmp_path / "theirs.txt"
    write_run(pd.DataFrame({"query_id": ["q"], "doc_id": ["d1"], "score": [1.0]}), path)
    return path


def untouched(monkeypatch):
    """Have any comparison fail: what is refused is refused before the work begins."""

    def never(*_, **__):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("ragkit.evaluation.comparing.compare", never)


@pytest.mark.slow
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
    assert (result["dataset"], result["documents"], result["queries"]) == ("movies", 20, 40)
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
def test_demo_shows_the_movies_before_scifact_is_asked_for(capsys, tmp_path, movies_cache, monkeypatch):
    load = ragkit.load_dataset

    def absent(name):
        if name == "scifact":
            raise ragkit.RagkitError("scifact is not in reach")
        return load(name)

    monkeypatch.setattr("ragkit.datasets.dataset.load_dataset", absent)
    assert main(["demo", "--html", str(tmp_path / "report.html")]) == 2
    said = capsys.readouterr()
    assert said.out.index("colbert and dense: ") < said.out.index("Comparing dense, colbert, dense+colbert on scifact")
    assert "scifact is not in reach" in said.err and "Report:" not in said.out
    assert "movies" in (tmp_path / "report.html").read_text("utf8")


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


@pytest.mark.slow
def test_a_folder_of_ones_own_is_compared(write_collection, capsys, own_cache):
    documents = [json.dumps({"_id": f"d{i}", "text": text}) for i, text in enumerate(["a red fish", "a blue bird", ""])]
    folder = write_collection(documents, ['{"_id": "q<1>", "text": "fish"}'], ["q<1>\td0\t1"])
    assert main(["compare", str(folder), "--where", ":memory:", "--systems", "dense,dense+tokens"]) == 0
    out = capsys.readouterr().out
    assert "1 documents are empty" in out and "not Qdrant's" in out and "dense→tokens" in out


@pytest.mark.slow
def test_doctor_says_whether_the_lessons_can_run(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "The lessons can run." in out and "ragkit/colbert-minilm-l6" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "moveis"], "No dataset 'moveis'"),
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


@pytest.mark.slow
def test_an_output_that_cannot_be_written_leaves_nothing(tmp_path, capsys):
    (tmp_path / "file").write_text("here first")
    assert main(["search", "movies", "x", "--json", str(tmp_path / "file" / "hits.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_it_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "ragkit", "--help"], capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in ("doctor", "search", "compare", "bench", "demo"))


def test_it_tells_its_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0 and capsys.readouterr().out == f"ragkit {ragkit.__version__}\n"


def test_help_speaks_of_datasets(capsys):
    for command in ("", "search", "compare", "ingest", "import", "bench", "prefetch", "demo"):
        with pytest.raises(SystemExit):
            main([*command.split(), "--help"])
        text = capsys.readouterr().out
        assert "COLLECTION" not in text and text.startswith("usage: ragkit"), command
        # What is left is Qdrant's: the collection on a server, and the command for those.
        lines = [line for line in text.splitlines() if "collection" in line and line.strip() != "collections"]
        assert all("server" in line for line in lines), command


@pytest.mark.slow
def test_json_to_standard_output_is_all_there_is(pets, capsys):
    assert main(["search", str(pets), "fish", "--json", "-", "--system", "dense"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["results"][0]["doc_id"] == "d0" and "rank  doc_id" in captured.err
    assert main(["compare", str(pets), "--systems", "dense", "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["systems"][0]["nDCG@10"] == 1.0 and "nDCG@10" in captured.err
    assert not Path("-").exists()


@pytest.mark.slow
def test_json_on_standard_output_is_ascii_for_any_terminal(pets, tmp_path):
    command = [sys.executable, "-m", "ragkit", "search", str(pets), "fish", "--system", "dense+tokens", "--json", "-"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"}
    done = subprocess.run(command, env=environment, capture_output=True)
    assert json.loads(done.stdout.decode("ascii"))["system"] == "dense→tokens"


def test_what_is_not_known_is_null_in_json(pets, capsys, monkeypatch):
    monkeypatch.setattr("ragkit.bench.search.bench_search", lambda dataset, **_: [{"what": "x", "ms": float("nan")}])
    assert main(["bench", "search", str(pets), "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["rows"]
    assert rows == [{"what": "x", "ms": None}]


@pytest.mark.slow
def test_a_document_without_a_title_is_shown_by_its_text(write_collection, own_cache, capsys):
    long = "fish " * 100
    folder = write_collection([json.dumps({"_id": "d", "text": f"one\n {long}"})], ['{"_id": "q", "text": "fish"}'], [])
    assert main(["search", str(folder), "fish", "--system", "dense"]) == 0
    (line,) = capsys.readouterr().out.splitlines()[1:]
    assert "one fish fish" in line and "…" in line and len(line) < 100


@pytest.mark.parametrize(
    "arguments",
    [
        ["--text", "answer", "FILE"],
        ["FILE", "--text", "question", "answer"],
        ["--text", "question", "answer", "FILE"],
        ["--text", "question", "--text", "answer", "FILE"],
        ["--text", "question", "--text", "answer", "--id", "id", "FILE"],
        ["FILE", "--text", "question", "--text", "answer"],
    ],
)
def test_import_takes_the_file_wherever_it_stands(arguments, tmp_path, capsys):
    path = tmp_path / "faq.csv"
    path.write_text("id,question,answer\na,Why?,Because.\n", "utf8")
    assert main(["import", *(str(path) if a == "FILE" else a for a in arguments), "--to", str(tmp_path / "faq")]) == 0
    text = json.loads((tmp_path / "faq" / "corpus.jsonl").read_text("utf8"))["text"]
    assert text == ("Because." if "question" not in arguments else "Why?\nBecause.")


def test_import_takes_the_file_after_another_option_too(tmp_path):
    path = tmp_path / "faq.csv"
    path.write_text("question,answer\nWhy?,Because.\n", "utf8")
    assert main(["import", "--to", str(tmp_path / "faq"), "--text", "answer", "--title", "question", str(path)]) == 0
    assert json.loads((tmp_path / "faq" / "corpus.jsonl").read_text("utf8"))["title"] == "Why?"


@pytest.mark.parametrize("arguments", [["--text", "a"], ["--text", "a", "b", "--text", "c", "d"], []])
def test_import_without_a_file_asks_for_it(arguments, tmp_path, capsys):
    assert main(["import", *arguments, "--to", str(tmp_path / "faq")]) == 2
    assert "which file or folder?" in capsys.readouterr().err


@pytest.mark.slow
def test_a_tilde_in_a_path_is_the_home_folder(pets, a_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # where a path that is not expanded would be made
    assert main(["ingest", "~/pets", "--where", "~/index", "--vectors", "dense"]) == 0
    outputs = ["--json=~/c.json", "--html=~/c.html", "--export=~/runs", "--run=theirs=~/theirs.txt"]
    assert main(["compare", "~/pets", "--systems", "dense", "--where=~/index", *outputs]) == 0
    assert {"index", "c.json", "c.html", "runs"} <= {path.name for path in tmp_path.iterdir()}
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a text", "utf8")
    assert main(["import", "~/texts", "--to=~/made"]) == 0 and (tmp_path / "made" / "corpus.jsonl").is_file()
    assert main(["prefetch", "--to=~/stick", "--datasets=~/pets", "--platform=none", "--vectors=dense"]) == 0
    assert main(["prefetch", "--check=~/stick"]) == 0
    assert not Path("~").exists()


def test_a_tilde_is_the_home_folder_in_python_and_in_variables_too(pets, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # where a path that is not expanded would be made
    dataset = ragkit.load_beir("~/pets")
    assert dataset == ragkit.load_beir(pets)
    monkeypatch.setenv("QDRANT_URL", "~/from-a-variable")
    index, _ = ragkit.build_index(dataset, ragkit.load_encoders(["dense"]))
    index.close()
    assert (tmp_path / "from-a-variable").is_dir()
    (tmp_path / "faq.csv").write_text("answer\nBecause.\n", "utf8")
    assert ragkit.import_dataset("~/faq.csv", "~/faq", text="answer") == tmp_path / "faq"
    assert ragkit.load_unjudged("~/faq").qrels.empty
    ragkit.write_queries("~/faq", {"q": "why"})
    judgments = ragkit.Judgments("~/faq.jsonl")
    judgments.record("q", "1", 2)
    judgments.write_qrels("~/faq")
    write_run(pd.DataFrame({"query_id": ["q"], "doc_id": ["1"], "score": [1.0]}), "~/faq.run")
    assert read_run("~/faq.run")["doc_id"].tolist() == ["1"]
    assert len(ragkit.load_unjudged("~/faq").documents) == len(ragkit.load_beir("~/faq").qrels) == 1
    (tmp_path / "mirror" / "beir").mkdir(parents=True)
    pets.rename(tmp_path / "mirror" / "beir" / "scifact")
    monkeypatch.setenv("RAGKIT_MIRROR", "~/mirror")
    assert beir.in_reach("scifact").startswith(str(tmp_path / "mirror" / "beir" / "scifact"))
    monkeypatch.setenv("RAGKIT_CACHE", "~/cache-of-mine")
    assert cache_dir() == tmp_path / "cache-of-mine"
    assert not Path("~").exists()


def test_recreate_for_a_folder_is_refused(pets, tmp_path, capsys):
    (tmp_path / "index").mkdir()
    assert main(["ingest", str(pets), "--where", str(tmp_path / "index"), "--recreate"]) == 2
    assert "is a folder: delete it yourself" in capsys.readouterr().err


@pytest.mark.parametrize("where", [":memory:", ":temporary:"])
def test_an_ingest_into_a_place_that_is_not_kept_is_refused(where, pets, capsys):
    assert main(["ingest", str(pets), "--where", where]) == 2
    assert f"{where!r} keeps nothing; name a folder or the URL of a server" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "/some/where"),
            "ragkit: error: /some/where: Permission denied; permit that, or choose another place",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "ragkit: error: [Errno 28] No space left on device; make room, or choose another disk",
        ),
        (ConnectionError("no\nroute"), "ragkit: error: no route"),
        (TimeoutError(), "ragkit: error: TimeoutError"),
    ],
)
def test_an_error_of_the_system_is_one_line_and_exit_code_two(error, told, monkeypatch, capsys):
    def failing(*_, **__):
        raise error

    monkeypatch.setattr("ragkit.workshop.doctor.examine", failing)
    assert main(["doctor"]) == 2
    assert capsys.readouterr().err == told + "\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal, and another error")
def test_a_reader_who_has_seen_enough_is_no_error(pets):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "ragkit", "search", str(pets), "fish", "--system", "dense", "--json", "hits.json"]
    done = subprocess.run(command, cwd=pets, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 141 and "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr
    assert json.loads((pets / "hits.json").read_text("utf8"))["results"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../x", "cannot be exported"),
        ("..", None),
        ("a/b", "cannot be exported"),
        ("a\\b", "cannot be exported"),
        ("/tmp/x", "cannot be exported"),
        ("a b", "cannot be exported"),
        ("Con", "cannot be exported"),
        ("nul.txt", "cannot be exported"),
        ("console", None),
        ("a\u00a0b", "cannot be exported"),
        ("x" * 300, "cannot be exported"),
        ("dense+colbert", "'dense→colbert' and 'dense+colbert' would both be exported"),
        ("dense", "The run 'dense' has the name of a system beside it; give it another"),
        ("Dense", "'dense' and 'Dense' would both be exported"),
    ],
)
def test_a_name_that_is_no_file_of_its_own_is_refused_before_the_work(
    name, message, pets, a_run, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "there" / "out"
    arguments = [
        "compare",
        str(pets),
        "--systems",
        "dense,dense+colbert",
        "--export",
        str(out),
        "--run",
        f"{name}={a_run}",
    ]
    if message is None:
        assert main(arguments) == 0 and (out / f"{name}.run").is_file()
        return
    untouched(monkeypatch)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "there").exists()


def test_two_runs_of_one_name_are_refused(pets, a_run, monkeypatch, capsys):
    untouched(monkeypatch)
    assert main(["compare", str(pets), "--run", f"x={a_run}", "--run", f"x={a_run}"]) == 2
    assert "another run is called 'x'" in capsys.readouterr().err


@pytest.mark.slow
def test_every_run_is_exported_under_its_own_name(pets, a_run, tmp_path, capsys):
    arguments = ["compare", str(pets), "--systems", "dense,dense+tokens", "--export", str(tmp_path / "out")]
    assert main([*arguments, "--run", f"theirs={a_run}"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "dense+tokens.run",
        "dense.run",
        "qrels.txt",
        "theirs.run",
    ]
    assert read_run(tmp_path / "out" / "theirs.run")["doc_id"].tolist() == ["d1"]
    assert len(read_run(tmp_path / "out" / "dense.run")) == 3


def test_ids_that_trec_files_cannot_hold_are_refused_before_the_work(spaced, tmp_path, monkeypatch, capsys):
    untouched(monkeypatch)
    assert main(["compare", str(spaced), "--systems", "dense", "--export", str(tmp_path / "out")]) == 2
    assert re.search(r"doc_id 'https://x.org/a b\?q=0' .* whitespace", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_json_and_html_are_written_where_the_ids_cannot_be_exported(spaced, tmp_path, capsys):
    outputs = [
        "--json",
        str(tmp_path / "c.json"),
        "--html",
        str(tmp_path / "c.html"),
        "--export",
        str(tmp_path / "out"),
    ]
    assert main(["compare", str(spaced), "--systems", "dense", *outputs]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("ragkit: nothing will be exported, since ") and "nDCG@10" in captured.out
    assert json.loads((tmp_path / "c.json").read_text("utf8"))["systems"][0]["nDCG@10"] == 1.0
    assert (tmp_path / "c.html").is_file() and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_fails_to_be_written_stops_neither_the_rest_nor_the_table(pets, tmp_path, capsys):
    (tmp_path / "file").write_text("here first")
    outputs = ["--export", str(tmp_path / "file" / "out"), "--json", str(tmp_path / "c.json")]
    outputs += ["--html", str(tmp_path / "file" / "c.html")]
    assert main(["compare", str(pets), "--systems", "dense", *outputs]) == 2
    captured = capsys.readouterr()
    assert "out" in captured.err and "c.html" in captured.err and "nDCG@10" in captured.out
    assert json.loads((tmp_path / "c.json").read_text("utf8"))["systems"]


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_a_folder_in_a_files_place_is_refused_before_the_work(option, pets, tmp_path, monkeypatch, capsys):
    untouched(monkeypatch)
    assert main(["compare", str(pets), option, str(tmp_path)]) == 2
    assert "is a folder; expected the name of a file" in capsys.readouterr().err


@pytest.mark.slow
def test_results_are_written_before_they_are_printed(pets, tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "_print", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(["compare", str(pets), "--systems", "dense", "--json", str(tmp_path / "c.json")])
    assert (tmp_path / "c.json").is_file()


@pytest.mark.slow
def test_a_folder_that_was_filled_with_the_defaults_is_searched_with_the_defaults(pets, tmp_path, capsys):
    where = f"--where={tmp_path / 'index'}"
    assert main(["ingest", str(pets), where]) == 0
    capsys.readouterr()
    assert main(["search", str(pets), "fish", where, "--json=-"]) == 0
    kept = json.loads(capsys.readouterr().out)["results"]
    assert main(["search", str(pets), "fish", "--json=-"]) == 0
    assert kept == json.loads(capsys.readouterr().out)["results"]
    assert main(["compare", str(pets), "--systems=colbert,dense", where]) == 0  # in another order


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "movies", ""],
        ["search", "", "a film"],
        ["prefetch", "--to", ""],
        ["prefetch", "--check", " "],
        ["import", "", "--to", "made"],
        ["import", "x.csv", "--to", ""],
        ["search", "movies", "a film", "--where", ""],
        ["search", "movies", "a film", "--where", "ftp://example.org/x"],
        ["ingest", "movies", "--where", "grpc://localhost:6334"],
        ["search", "movies", "a film", "--limit=--"],
        ["search", "movies", "a film", f"--limit={'9' * 5_000}"],
    ],
)
def test_arguments_that_say_nothing_or_name_no_place_are_refused_in_a_line(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code
    errors = capsys.readouterr().err
    assert status == 2 and "error: " in errors and len(errors) < 2_000
    assert not list(tmp_path.iterdir())
