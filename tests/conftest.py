import os
import shutil
import subprocess

import numpy as np
import pytest

import ragkit

CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
CHROMIUM_FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium (RAGKIT_CHROMIUM names one); its tests are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("RAGKIT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        pytest.skip("no Chromium found; RAGKIT_CHROMIUM can name one")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, headless=True, args=CHROMIUM_FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session", autouse=True)
def few_timed():
    """Time the encoding of few queries: that of 50, for each system, is half of what a comparison takes.

    Before the fixtures of a module, which compare as well.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ragkit.evaluation.retriever.ENCODED", 3)
        yield


@pytest.fixture()
def own_cache(tmp_path, monkeypatch):
    """An empty cache for one test."""
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def _shared(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture()
def movies_cache(_shared, monkeypatch):
    """A cache that such tests share, so that the films are encoded once; for tests that ask what it answers only."""
    monkeypatch.setenv("RAGKIT_CACHE", str(_shared))
    return _shared


@pytest.fixture(scope="session")
def movies():
    return ragkit.load_movies()


@pytest.fixture(scope="session")
def colbert():
    return ragkit.load_encoder("colbert")


@pytest.fixture()
def rng():
    return np.random.default_rng(7)


@pytest.fixture()
def write_collection(tmp_path):
    """Return a function that writes a BEIR-layout folder from lines of text and returns it."""

    def write(corpus, queries, qrels, name="mine"):
        folder = tmp_path / name
        (folder / "qrels").mkdir(parents=True)
        (folder / "corpus.jsonl").write_text("\n".join(corpus), "utf8")
        (folder / "queries.jsonl").write_text("\n".join(queries), "utf8")
        (folder / "qrels" / "test.tsv").write_text("\n".join(qrels), "utf8")
        return folder

    return write


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A file with a certificate of this machine's own making, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=qdrant.example"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path
