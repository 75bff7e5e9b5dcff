"""The doctor: what it says is what it looked at."""

import shutil
import sys
import zipfile
from collections import namedtuple
from pathlib import Path

import httpx
import pytest

from ragkit import VectorSpec, open_index
from ragkit.cli import main
from ragkit.workshop.doctor import can_run, examine
from tests.stub_server import Answer, StubServer

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def plain(request, monkeypatch):
    """No server, no models but the embedded ones, and nothing to download from or in the cache."""
    if not request.node.get_closest_marker("scifact"):
        request.getfixturevalue("own_cache")
        monkeypatch.delenv("RAGKIT_MIRROR", raising=False)
    for name in ("QDRANT_URL", "QDRANT_API_KEY", "RAGKIT_DENSE_MODEL", "RAGKIT_COLBERT_MODEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture()
def data(tmp_path, monkeypatch):
    """A copy of data/ that may be spoilt; its models are the checkout's."""
    folder = tmp_path / "data"
    shutil.copytree(ROOT / "data", folder, ignore=shutil.ignore_patterns("models"))
    monkeypatch.setenv("RAGKIT_DATA", str(folder))
    return folder


@pytest.fixture()
def mirror(tmp_path, own_cache, monkeypatch):
    """An empty mirror beside an empty cache."""
    monkeypatch.setenv("RAGKIT_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "mirror" / "beir").mkdir(parents=True)
    return tmp_path / "mirror"


def line(what):
    (finding,) = [finding for finding in examine() if finding.what == what]
    return finding


def test_a_dead_server_is_missing_and_the_lessons_cannot_run(monkeypatch, capsys):
    monkeypatch.setenv("QDRANT_URL", "http://127.0.0.1:9")
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "The lessons can run" not in out
    assert "missing  engine" in out and "No Qdrant server answers at http://127.0.0.1:9" in out


def test_a_server_that_answers_is_named_with_its_version(monkeypatch):
    with StubServer(version="1.20.3") as stub:
        monkeypatch.setenv("QDRANT_URL", stub.url)
        engine = line("engine")
        assert {seen.method for seen in stub.seen if seen.path != "/collections/aliases"} == {"GET"}
        assert not stub.collections
    told = f"Qdrant server 1.20.3 at {stub.url} (QDRANT_URL), 1 node; who has no key may read and write"
    assert (engine.status, engine.detail) == ("ok", f"{told}; 0 collections of ragkit's")


@pytest.mark.slow
def test_what_a_key_may_do_and_what_is_there_is_told(monkeypatch, own_cache):
    with StubServer(api_key="all", read_key="read", strict={"max_query_limit": 9}, nodes=3) as stub:
        monkeypatch.setenv("QDRANT_URL", stub.url)
        monkeypatch.setenv("QDRANT_API_KEY", "all")
        open_index(stub.url, {"dense": VectorSpec(2)}, "ragkit-films").close()
        httpx.put(f"{stub.url}/collections/theirs", json={"vectors": {}}, headers={"api-key": "all"})
        monkeypatch.setenv("QDRANT_API_KEY", "read")
        engine = line("engine")
    assert engine.status == "note"
    assert "3 nodes; the key may only read; 1 collection of ragkit's" in engine.detail
    assert "nothing can be stored; strict mode limits ragkit-films, theirs" in engine.detail


def test_what_a_server_does_not_answer_is_told_and_not_guessed(monkeypatch):
    monkeypatch.setattr("ragkit.engines._retries.sleep", lambda _: None)
    with StubServer(nodes=3) as stub:
        monkeypatch.setenv("QDRANT_URL", stub.url)
        open_index(stub.url, {"dense": VectorSpec(2)}, "ragkit-films").close()
        stub.fail("GET", "/collections/ragkit-films", *[Answer(500)] * 9)
        stub.fail("POST", "/collections/aliases", *[Answer(500)] * 9)
        engine = line("engine")
        assert engine.status == "note" and "who has no key may read; 0 collections of ragkit's" in engine.detail
        assert "whether it may write is not answered" in engine.detail
        assert "ragkit-films does not answer: is a node gone?" in engine.detail
        stub.heal()
        stub.fail("POST", "/collections/aliases", Answer(403))
        assert "may store in collections that are there, and make none; 1 coll" in line("engine").detail


@pytest.mark.slow
def test_a_server_that_does_not_let_us_in_is_missing(monkeypatch):
    with StubServer(api_key="right") as stub:
        monkeypatch.setenv("QDRANT_URL", stub.url)
        for key in ("", "wrong"):
            monkeypatch.setenv("QDRANT_API_KEY", key)
            assert line("engine").status == "missing" and "Check QDRANT_API_KEY" in line("engine").detail
        monkeypatch.setenv("QDRANT_API_KEY", "right")
        assert line("engine").status == "ok"


def test_a_server_of_another_age_is_noted(monkeypatch):
    with StubServer(version="1.17.0") as stub:
        monkeypatch.setenv("QDRANT_URL", stub.url)
        assert line("engine").status == "note" and "Update the older one" in line("engine").detail


@pytest.mark.slow
def test_an_address_that_is_none_is_missing(monkeypatch, tmp_path):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for address in ("http://[qdrant", "localhost:6333"):
        monkeypatch.setenv("QDRANT_URL", address)
        assert line("engine").status == "missing" and "http://localhost:6333" in line("engine").detail
    for folder in ("qdrant.example", str(tmp_path / "kept" / "index"), ":memory:"):  # may be meant
        monkeypatch.setenv("QDRANT_URL", folder)
        assert line("engine").status == "note"
        assert f"QDRANT_URL is {folder}, where a server's address begins with http://" in line("engine").detail
    assert list(Path.cwd().iterdir()) == [] and not (tmp_path / "kept").exists()  # the doctor leaves nothing


def test_the_engine_in_this_process_is_tried(own_cache, monkeypatch):
    assert line("engine").status == "ok" and "a vector was stored and found" in line("engine").detail
    assert [path for path in own_cache.rglob("*") if path.is_file()] == []  # and leaves nothing
    monkeypatch.setitem(sys.modules, "ragkit.engines.opening", None)  # as where its library cannot be loaded
    assert line("engine").status == "missing"


def test_a_full_disk_is_told_before_anything_is_written(own_cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("usage", "free")(10_000_000))
    monkeypatch.setattr("ragkit.engines.opening.EdgeIndex", None)  # Edge would end the process
    assert [line(what).status for what in ("disk", "engine")] == ["missing", "missing"]


def test_a_cache_that_cannot_be_made_is_a_line_and_no_end(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path / "file" / "cache"))
    assert line("disk").status == "missing" and "set RAGKIT_CACHE" in line("disk").detail


def test_the_movies_are_read(data):
    assert line("movies").detail == f"20 documents, 40 queries, 800 judgments, checksums match: {data} (RAGKIT_DATA)"


@pytest.mark.parametrize("name", ["movies.jsonl", "movies_queries.jsonl", "movies_qrels.tsv"])
def test_without_the_movies_the_lessons_cannot_run(name, data):
    (data / name).unlink()
    assert line("movies").status == "missing" and name in line("movies").detail and not can_run(examine())


def test_a_part_of_the_movies_is_not_the_movies(data):
    path = data / "movies_qrels.tsv"
    path.write_text("".join(path.read_text("utf8").splitlines(keepends=True)[:-1]), "utf8")
    assert line("movies").status == "missing" and "movies_qrels.tsv is damaged" in line("movies").detail


def test_an_empty_data_folder_is_many_lines_and_no_traceback(tmp_path, monkeypatch):
    monkeypatch.setenv("RAGKIT_DATA", str(tmp_path))
    assert {f.what for f in examine() if f.status == "missing"} >= {"movies", "datasets by name"}


def test_a_dataset_that_is_there_is_read(mirror):
    folder = mirror / "beir" / "scifact"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "a", "text": "not SciFact"}\n', "utf8")
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "x"}\n', "utf8")
    (folder / "qrels" / "test.tsv").write_text("q\ta\t1\n", "utf8")
    assert line("scifact").status == "missing" and "are not those of scifact" in line("scifact").detail


@pytest.mark.scifact
def test_the_real_scifact_is_counted():
    assert line("scifact").status == "ok" and "5,183 documents, checksums match" in line("scifact").detail


@pytest.mark.slow
def test_an_archive_is_opened(mirror):
    path = mirror / "beir" / "scifact.zip"
    path.write_text("<html>not found</html>")
    assert line("scifact").status == "missing" and "not a zip file" in line("scifact").detail
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scifact/readme.txt", "")
    assert line("scifact").status == "missing" and "no corpus.jsonl" in line("scifact").detail
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scifact/corpus.jsonl", "")
    assert line("scifact").status == "ok" and "checked on first use" in line("scifact").detail


@pytest.mark.slow
def test_what_is_not_here_is_noted_with_where_it_will_be_asked_for(mirror, monkeypatch, capsys):
    assert line("scifact").status == "note"
    assert f"nor in {mirror} (RAGKIT_MIRROR); will be asked for on first use at https://" in line("scifact").detail
    assert line("cranfield").detail.endswith("no address has it")
    monkeypatch.setenv("RAGKIT_MIRROR", str(mirror / "gone"))
    assert line("scifact").detail.startswith("not in the cache; RAGKIT_MIRROR names no folder; will be asked for")
    monkeypatch.setenv("RAGKIT_MIRROR", "ftp://mirror.example/kit")
    assert line("scifact").status == "missing" and "RAGKIT_MIRROR begins with ftp://" in line("scifact").detail
    monkeypatch.setenv("RAGKIT_MIRROR", "https://mirror.example/kit")
    assert "first use at https://mirror.example/kit, then at https://" in line("scifact").detail
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "The lessons can run.",
        "A note says what is skipped, slower, or fetched on first use.",
    ]
