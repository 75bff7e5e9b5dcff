"""SciFact's tests are skipped, loudly, only where no source of it exists; a broken one fails."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

import conftest
from conftest import LONGEST
from ragkit.datasets import catalogue
from ragkit.files import sha256, write_sums
from tests.serving import Serving

ROOT = Path(__file__).resolve().parent.parent
READS_SCIFACT = """
import pytest
import ragkit

@pytest.mark.scifact
def test_it_is_read():
    ragkit.load_beir("scifact")

def test_another():
    pass
"""


@pytest.fixture()
def run_pytest(tmp_path):
    """Return a function that runs two tests, of which one reads SciFact, where no network is, and returns the run."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_some.py").write_text(READS_SCIFACT, "utf8")
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "data" / "beir").mkdir(parents=True)
    shutil.copy(ROOT / "data" / "beir" / "scifact.json", tmp_path / "data" / "beir")
    archives = json.loads((ROOT / "data" / "beir_archives.json").read_text("utf8"))
    archives["url"] = "http://127.0.0.1:9/{name}.zip"  # where nobody listens
    (tmp_path / "data" / "beir_archives.json").write_text(json.dumps(archives), "utf8")
    names = ("beir/scifact.json", "beir_archives.json")
    write_sums(tmp_path / "data", {name: sha256(tmp_path / "data" / name) for name in names})

    def run(*options, **env):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAGKIT_", "PYTEST_"))}
        clean |= {f"RAGKIT_{name.upper()}": str(tmp_path / name) for name in ("cache", "data")}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", *options, "tests"]
        env = clean | {"PYTHONPATH": str(ROOT)} | env
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("-n", "2", "--dist", "loadfile")], ids=["one process", "two workers"])
def test_without_a_source_its_tests_are_skipped_loudly(options, run_pytest):
    done = run_pytest(*options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"!!! NOT TESTED: SciFact is not in reach !!!", done.stdout)
    assert "  skipped: tests/test_some.py::test_it_is_read\n" in done.stdout
    assert "  why: not in the cache, not in a mirror (RAGKIT_MIRROR=unset); http://127.0.0.1:9/" in done.stdout
    assert re.search(r"^=+ 1 passed, 1 skipped in ", done.stdout, re.MULTILINE)


@pytest.mark.slow
def test_with_a_broken_source_its_tests_fail(run_pytest, tmp_path):
    folder = tmp_path / "mirror" / "beir" / "scifact"
    folder.mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("{}\n", "utf8")
    done = run_pytest(RAGKIT_MIRROR=str(tmp_path / "mirror"))
    assert done.returncode == 1 and "NOT TESTED" not in done.stdout, done.stdout + done.stderr
    assert re.search(r"^FAILED tests/test_some.py::test_it_is_read", done.stdout, re.MULTILINE)
    assert re.search(r"^=+ 1 failed, 1 passed in ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("status", [200, 401, 403, 404, 405, 410, 500, 501, 503])
def test_only_404_and_410_say_that_a_mirror_has_none(status, own_cache, monkeypatch):
    class Mirror(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    beir = replace(catalogue.lookup("scifact"), url="http://127.0.0.1:9/scifact.zip")  # where nobody listens
    monkeypatch.setattr(catalogue, "lookup", lambda name: beir)
    with Serving(Mirror) as mirror:
        monkeypatch.setenv("RAGKIT_MIRROR", mirror.url)
        why = conftest.no_source_of_scifact.__wrapped__()
    assert bool(why) == (status in (404, 410)), why
    assert not why or f"scifact.zip: HTTP {status}" in why and "ConnectionError" in why


def test_the_files_that_begin_first_are_there():
    names = [path.name for folder in ("tests", "notebooks") for path in (ROOT / folder).iterdir()]
    assert set(LONGEST) <= set(names)
