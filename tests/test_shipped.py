"""Files that come with the kit are checked before use, and the list that they are checked by is current."""

import importlib.util
import shutil
from pathlib import Path

import pytest

import ragkit
from ragkit import RagkitError
from ragkit.datasets import catalogue
from ragkit.files import read_sums
from ragkit.paths import data_dir, shipped

ROOT = Path(__file__).resolve().parent.parent
NAMES = ["movies.jsonl", "movies_queries.jsonl", "movies_qrels.tsv", "beir/scifact.json", "beir_archives.json"]


def read():
    ragkit.load_movies()
    catalogue.catalogue()


@pytest.fixture()
def own_data(tmp_path, monkeypatch):
    """A copy of the data without the models, in place of the checkout's."""
    shutil.copytree(data_dir(), tmp_path / "data", ignore=shutil.ignore_patterns("models"))
    monkeypatch.setenv("RAGKIT_DATA", str(tmp_path / "data"))
    read()
    return tmp_path / "data"


def test_the_list_of_checksums_is_current():
    spec = importlib.util.spec_from_file_location("make_sums", ROOT / "docs" / "make_sums.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert read_sums(data_dir()) == made.sums(), "run: make sums"
    assert {*NAMES, "library_faq.csv", "models/SHA256SUMS"} <= set(made.sums())


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_that_ships_is_not_used(name, own_data):
    """As when a disk gives back zeros: the judgments still read, and every score would be another."""
    content = (own_data / name).read_bytes()
    for damaged in (content[:-1], content.replace(b"1", b"0", 1), bytes(4096) + content[4096:]):
        (own_data / name).write_bytes(damaged)
        with pytest.raises(RagkitError, match=f"{name} is damaged or was edited.*git checkout -- data"):
            read()
    (own_data / name).unlink()
    with pytest.raises(RagkitError, match=name):
        shipped(name)
    (own_data / name).write_bytes(content)
    read()


@pytest.mark.parametrize("keep", [0, 1, 100], ids=["empty", "one line", "cut in a line"])
def test_a_damaged_list_is_not_taken_for_an_answer(keep, own_data):
    text = (own_data / "SHA256SUMS").read_text("utf8")
    (own_data / "SHA256SUMS").write_text(text[:100] if keep == 100 else "".join(text.splitlines(True)[:keep]), "utf8")
    (own_data / "movies_qrels.tsv").touch()  # looked at anew
    with pytest.raises(RagkitError, match="SHA256SUMS (is damaged|does not list movies_qrels.tsv).*git checkout"):
        shipped("movies_qrels.tsv")


def test_a_file_that_is_added_without_its_checksum_is_told(own_data):
    shutil.copy(own_data / "beir" / "scifact.json", own_data / "beir" / "another.json")
    with pytest.raises(RagkitError, match="SHA256SUMS does not list beir/another.json"):
        catalogue.manifests()


def test_a_manifest_that_is_gone_is_told(own_data):
    """Without it, what has its name would be read unchecked."""
    (own_data / "beir" / "scifact.json").unlink()
    with pytest.raises(RagkitError, match="scifact.json cannot be read.*git checkout"):
        catalogue.catalogue()


def test_a_file_is_read_for_its_checksum_once_a_process(own_data, monkeypatch):
    monkeypatch.setattr("ragkit.files.sha256", lambda path: pytest.fail(f"{path} was hashed again"))
    read()
