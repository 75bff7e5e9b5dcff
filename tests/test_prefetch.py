"""A folder for a room without a network: filled, continued, checked, and lived from.

pip is the real one and fetches from a folder of tiny wheels; `pytest -m online` fetches the real lock.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import ragkit
from ragkit.cli import main
from ragkit.encoders.embedding_cache import EmbeddingCache
from ragkit.files import damaged
from ragkit.paths import in_mirror
from ragkit.workshop import wheels
from ragkit.workshop.stick import fill_stick
from ragkit.workshop.wheels import Target, absent, pins

ROOT = Path(__file__).resolve().parent.parent
# Run first in a child process: no socket may open, and no model may run.
OFFLINE = """
import socket
def refuse(*arguments, **options):
    raise AssertionError(f"the network was asked for: {arguments}")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from ragkit.encoders import Encoder
def no_model(*arguments):
    raise AssertionError("something was encoded")
Encoder._embed = no_model
"""


def write_wheel(folder, name, version="1.0", tag="py3-none-any"):
    """Write the smallest wheel that pip installs: one module whose VERSION is the version."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text.encode())}\n")
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"])
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as zipped:
        for path, text in files.items():
            zipped.writestr(path, text)


@pytest.fixture()
def index(tmp_path, monkeypatch):
    """A folder of wheels that is all pip can reach, and a lock of them."""
    for name in ("apple", "pear", "plum"):
        write_wheel(tmp_path / "index", name)
    write_wheel(tmp_path / "index", "winfig", tag="cp312-cp312-win_amd64")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    lock = tmp_path / "requirements.txt"
    lock.write_text("apple==1.0\npear==1.0\nplum==1.0\nwinfig==1.0 ; sys_platform == 'win32'\n", "utf8")
    return lock


@pytest.fixture()
def fill(index, tmp_path, monkeypatch):
    """A function that fills tmp_path/stick with wheels alone, and the lines that it said."""
    monkeypatch.delenv("RAGKIT_MIRROR", raising=False)
    said = []

    def run(**options):
        options = {"collections": (), "lock": index, "say": said.append} | options
        return fill_stick(tmp_path / "stick", **options)

    run.stick, run.said = tmp_path / "stick", said
    return run


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_lock_is_read_with_the_eyes_of_another_machine(tmp_path):
    lock = tmp_path / "lock.txt"
    lines = ["a==1", "b==2 ; sys_platform == 'win32'", "c==3 ; os_name != 'nt'", "d==4 ; platform_machine == 'arm64'"]
    lines += ["e==5 ; python_full_version < '3.12'", "e==6 ; python_full_version >= '3.12'", "# a comment", ""]
    lines += ["f==7 ; python_full_version < '3.11.5'", "f==8 ; python_full_version >= '3.11.5'"]
    lock.write_text("\n".join(lines), "utf8")
    assert pins(lock, Target.parse("windows-3.12")) == ["a==1", "b==2", "e==6", "f==8"]
    assert pins(lock, Target.parse("macos-3.12")) == ["a==1", "c==3", "d==4", "e==6", "f==8"]
    # Which 3.11 it will be is not known: both pins of f come along.
    assert pins(lock, Target.parse("linux-3.11")) == ["a==1", "c==3", "e==5", "f==7", "f==8"]
    lock.write_text("a==1\nb>=2\n", "utf8")
    with pytest.raises(ragkit.RagkitError, match=r"line 2: expected name==version, got 'b>=2'"):
        pins(lock, Target.parse("this"))


@pytest.mark.parametrize(
    ("wheel", "target", "fits"),
    [
        ("a-1-py3-none-any.whl", "windows-3.13", True),
        ("a-1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "linux-3.12", True),
        ("a-1-cp312-cp312-manylinux_2_28_x86_64.whl", "linux-3.12", True),
        ("a-1-cp312-cp312-manylinux_2_28_x86_64.whl", "linux-arm-3.12", False),
        ("a-1-cp312-cp312-manylinux_2_28_x86_64.whl", "linux-3.11", False),
        ("a-1-cp39-abi3-macosx_10_12_universal2.whl", "macos-3.12", True),
        ("a-1-cp312-cp312-macosx_11_0_arm64.whl", "macos-intel-3.12", False),
        ("A_b-1-cp312-cp312-win_amd64.whl", "windows-3.12", False),
    ],
)
def test_a_wheel_counts_where_it_can_be_installed(wheel, target, fits):
    assert (absent(["a==1"], Target.parse(target), [wheel]) == []) is fits


@pytest.mark.parametrize("name", ["win", "windows-3", "windows-x.y", "-3.12", "linux-arm-", ""])
def test_a_platform_that_is_none_is_refused_with_those_there_are(name):
    with pytest.raises(ragkit.RagkitError, match="linux, linux-arm, macos"):
        Target.parse(name)


def test_wheels_of_each_platform_come_with_their_checksums(fill):
    assert fill(platforms=("this", "windows-3.12")) == []
    names = sorted(contents(fill.stick / "wheels"))
    assert names == [f"{n}-1.0-py3-none-any.whl" for n in ("apple", "pear", "plum")] + [
        "winfig-1.0-cp312-cp312-win_amd64.whl"
    ]
    for line in (fill.stick / "SHA256SUMS").read_text("utf8").splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((fill.stick / name).read_bytes()).hexdigest() == digest
    assert damaged(fill.stick) == []


@pytest.mark.slow
def test_a_pin_without_a_wheel_is_named_and_the_others_come(fill, index):
    index.write_text(index.read_text("utf8").replace("pear==1.0", "pear==2.0"), "utf8")
    (lacking,) = fill()
    assert lacking.startswith("pear==2.0 for this")
    assert sorted(contents(fill.stick / "wheels")) == ["apple-1.0-py3-none-any.whl", "plum-1.0-py3-none-any.whl"]


@pytest.mark.slow
def test_without_a_network_it_stops_and_says_so(fill, monkeypatch):
    monkeypatch.delenv("PIP_FIND_LINKS")
    with pytest.raises(ragkit.RagkitError, match="no wheel at all.*Is there a network"):
        fill()


def test_interrupted_it_continues_where_it_stopped(fill, monkeypatch):
    monkeypatch.setattr(wheels, "_BATCH", 1)
    pip, asked = wheels._pip, []

    def stopped(arguments, folder, keep=None):
        if len(asked) == 1:
            raise KeyboardInterrupt
        asked.append(arguments[-2])
        return pip(arguments, folder, keep)

    monkeypatch.setattr(wheels, "_pip", stopped)
    with pytest.raises(KeyboardInterrupt):
        fill()
    (fill.stick / "wheels" / ".partial").mkdir()
    (fill.stick / "wheels" / ".partial" / "half.whl").write_bytes(b"PK")
    assert asked == ["apple==1.0"] and damaged(fill.stick) == []

    monkeypatch.setattr(wheels, "_pip", lambda a, f, keep=None: asked.append(a[-2]) or pip(a, f, keep))
    assert fill() == []
    assert asked == ["apple==1.0", "pear==1.0", "plum==1.0"]
    assert len(contents(fill.stick / "wheels")) == 3
    assert fill() == [] and len(asked) == 3  # a third call fetches nothing


def test_what_is_damaged_or_missing_is_named_and_alone_fetched_again(fill, capsys, monkeypatch):
    fill()
    before = contents(fill.stick)
    assert main(["prefetch", "--check", str(fill.stick)]) == 0
    flip_a_byte(fill.stick / "wheels" / "pear-1.0-py3-none-any.whl")
    (fill.stick / "wheels" / "plum-1.0-py3-none-any.whl").unlink()
    capsys.readouterr()
    assert main(["prefetch", "--check", str(fill.stick)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == ["wheels/pear-1.0-py3-none-any.whl: damaged", "wheels/plum-1.0-py3-none-any.whl: missing"]

    pip, asked = wheels._pip, []
    monkeypatch.setattr(wheels, "_pip", lambda a, f, keep=None: asked.append(a[-3:-1]) or pip(a, f, keep))
    fill()
    assert asked == [["pear==1.0", "plum==1.0"]]
    assert contents(fill.stick) == before


def test_a_folder_that_was_never_filled_is_no_intact_one(tmp_path, capsys):
    assert main(["prefetch", "--check", str(tmp_path)]) == 2
    assert "prefetch --to" in capsys.readouterr().err
    (tmp_path / "SHA256SUMS").write_text("not a checksum file\n")
    assert main(["prefetch", "--check", str(tmp_path)]) == 2
    assert "line 1" in capsys.readouterr().err


def test_a_folder_is_not_filled_from_itself(fill, monkeypatch):
    fill.stick.mkdir()
    monkeypatch.setenv("RAGKIT_MIRROR", str(fill.stick))
    with pytest.raises(ragkit.RagkitError, match="unset it"):
        fill()


def test_a_place_that_cannot_be_written_is_named(fill):
    fill.stick.write_text("a file")
    with pytest.raises(ragkit.RagkitError, match=r"stick cannot be filled"):
        fill()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A filled folder without wheels: the movies' embeddings, and a collection of two documents with its own."""
    place = tmp_path_factory.mktemp("shelf")
    mine = place / "mine"
    (mine / "qrels").mkdir(parents=True)
    (mine / "corpus.jsonl").write_text('{"_id": "a", "text": "a red fish"}\n{"_id": "b", "text": "a bird"}\n', "utf8")
    (mine / "queries.jsonl").write_text('{"_id": "q", "text": "fish"}\n', "utf8")
    (mine / "qrels" / "test.tsv").write_text("q\ta\t1\n", "utf8")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAGKIT_MIRROR", raising=False)
        vectors = ("dense", "colbert", "colbert-pool2", "bm25")
        assert (
            fill_stick(place / "stick", ["movies", str(mine)], platforms=(), vectors=vectors, say=lambda _: None) == []
        )
    return place / "stick"


def test_a_collection_comes_as_it_is(shelf):
    assert sorted(contents(shelf / "beir")) == ["mine/corpus.jsonl", "mine/qrels/test.tsv", "mine/queries.jsonl"]
    assert ragkit.load_beir(shelf / "beir" / "mine").documents["text"].tolist() == ["a red fish", "a bird"]


def test_only_the_embeddings_of_the_named_collections_come_along(shelf):
    names = sorted(contents(shelf / "embeddings"))
    assert [name.split("-")[0] for name in names].count("ragkit") == 3  # pooled documents; its queries are colbert's
    (file,) = shelf.glob("embeddings/ragkit--colbert-minilm-l6-[0-9a-f]*-document.sqlite")
    texts = [*ragkit.load_movies().passages, "a red fish", "a bird"]
    assert EmbeddingCache(file).missing([*texts, "another"]) == ["another"]


def child(code, cache, mirror):
    """Run code in a process that can neither open a connection nor run a model."""
    drop = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "RAGKIT_DENSE_MODEL", "RAGKIT_COLBERT_MODEL")
    clean = {name: value for name, value in os.environ.items() if name.upper() not in drop}
    clean |= {"RAGKIT_CACHE": str(cache), "RAGKIT_MIRROR": str(mirror), "HF_HUB_OFFLINE": "1"}
    return subprocess.run([sys.executable, "-c", OFFLINE + code], env=clean, capture_output=True, text=True)


LESSON = """
import ragkit
from ragkit.display import tables
comparison = ragkit.compare(ragkit.load_movies(), ["dense", "colbert", "dense+colbert", "colbert-pool2"])
print(tables.quality(comparison))
"""


@pytest.mark.slow
def test_a_laptop_without_a_network_compares_and_encodes_nothing(shelf, tmp_path, own_cache):
    before = contents(shelf)
    done = child(LESSON, tmp_path / "empty", shelf)
    assert done.returncode == 0, done.stderr
    exec(LESSON.replace("print(", "table = str("), found := {})
    assert done.stdout.strip() == found["table"].strip()
    assert contents(shelf) == before and damaged(shelf) == []  # it was only read
    again = child(LESSON, tmp_path / "other", tmp_path)  # the same with nothing on the shelf must fail
    assert again.returncode == 1 and "something was encoded" in again.stderr


def test_what_the_mirror_lacks_is_encoded(shelf, own_cache, monkeypatch):
    monkeypatch.setenv("RAGKIT_MIRROR", str(shelf))
    encoder = ragkit.load_encoder("colbert")
    both = encoder.encode_documents(["a red fish", "a text that no one has encoded"])
    alone = ragkit.Encoder(encoder.name, cache=False)
    for text, rows in zip(["a red fish", "a text that no one has encoded"], both, strict=True):
        assert np.allclose(rows, alone.encode_documents([text])[0], atol=1e-5)
    assert encoder.rows(["a bird"]) == ([alone.encode_documents(["a bird"])[0].shape[0]], [])


def test_a_damaged_embedding_is_named_when_it_is_used(shelf, tmp_path, own_cache, monkeypatch):
    stick = tmp_path / "stick"
    shutil.copytree(shelf, stick)
    (file,) = stick.glob("embeddings/sentence-transformers*-document.sqlite")
    flip_a_byte(file)
    monkeypatch.setenv("RAGKIT_MIRROR", str(stick))
    with pytest.raises(ragkit.RagkitError, match=f"{file.name} is damaged"):
        ragkit.load_encoder("dense").encode_documents(["a red fish"])
    (stick / "SHA256SUMS").unlink()  # nobody vouches: SQLite itself must notice
    file.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(ragkit.RagkitError, match=file.name):
        ragkit.load_encoder("dense").encode_documents(["a red fish"])


def test_a_mirror_may_be_a_url_or_nothing(monkeypatch, tmp_path):
    for value in ("https://example.org/mirror", str(tmp_path / "no-such-folder"), ""):
        monkeypatch.setenv("RAGKIT_MIRROR", value)
        assert in_mirror("embeddings/x.sqlite") is None


def test_a_models_files_come_along_and_are_found_without_a_network(tmp_path, monkeypatch):
    """The hub's layout, with the embedded model's files: what is tested is where they are looked for."""
    monkeypatch.delenv("RAGKIT_MIRROR", raising=False)
    name, stick = "answerdotai/answerai-colbert-small-v1", tmp_path / "stick"
    place = stick / "models" / f"models--{name.replace('/', '--')}"
    shutil.copytree(ROOT / "data" / "models" / "colbert-minilm-l6", place / "snapshots" / "0123abcd")
    (place / "snapshots" / "0123abcd" / "model.onnx").rename(place / "snapshots" / "0123abcd" / "vespa_colbert.onnx")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0123abcd")
    assert fill_stick(stick, (), [name], platforms=(), say=lambda _: None) == []
    model = f"{(place / 'snapshots').relative_to(stick).as_posix()}/0123abcd/vespa_colbert.onnx"
    assert model in (stick / "SHA256SUMS").read_text("utf8")

    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(stick / "models"))  # as the Makefile does
    before = contents(stick)
    done = child(f"print(Encoder({name!r}, cache=False).checksums['vespa_colbert.onnx'][:8])", tmp_path / "c", stick)
    assert (done.stdout, done.returncode) == ("17b15e42\n", 0), done.stderr
    assert contents(stick) == before


@pytest.mark.scifact
def test_scifact_comes_along_and_is_read_from_the_folder(tmp_path):
    stick = tmp_path / "stick"
    fill_stick(stick, ["scifact"], platforms=(), vectors=("dense",), say=lambda _: None)
    code = """
import ragkit
from ragkit.datasets import beir
dataset = ragkit.load_beir("scifact")
encoder = ragkit.load_encoder("dense")
arrays = encoder.encode_documents(dataset.passages) + encoder.encode_queries(dataset.queries["text"].tolist())
print(beir.locate("scifact")[0], len(dataset.documents), len(arrays))
"""
    done = child(code, tmp_path / "empty", stick)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(stick / "beir" / "scifact"), "1000", "1300"]
    flip_a_byte(stick / "beir" / "scifact" / "corpus.jsonl")
    assert damaged(stick) == ["beir/scifact/corpus.jsonl: damaged"]


# A build backend of its own, so that an editable install needs nothing that is not in the folder.
BACKEND = """
import zipfile
def build_editable(folder, *_):
    with zipfile.ZipFile(f"{folder}/ragkit-0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("ragkit-0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: ragkit\\nVersion: 0\\n")
        wheel.writestr("ragkit-0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("ragkit-0.dist-info/RECORD", "")
    return "ragkit-0-py3-none-any.whl"
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_setup_installs_from_the_folder_alone(fill, index, tmp_path, monkeypatch):
    fill()
    project = tmp_path / "a" / "project"
    project.mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", project)
    shutil.copy(index, project)
    (project / "backend.py").write_text(BACKEND, "utf8")
    build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (project / "pyproject.toml").write_text(build, "utf8")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")  # nothing answers there
    monkeypatch.setenv("PIP_RETRIES", "0")
    command = ["make", "setup", f"PYTHON={sys.executable}", "RAGKIT_MIRROR=../../stick"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    python = next(path for path in project.glob(".venv/*/python*") if path.is_file())
    code = "import apple, plum; print(apple.VERSION, plum.VERSION)"
    assert subprocess.run([python, "-c", code], capture_output=True, text=True).stdout == "1.0 1.0\n"

    (fill.stick / "wheels" / "plum-1.0-py3-none-any.whl").unlink()
    shutil.rmtree(project / ".venv")
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode != 0 and "plum==1.0" in done.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_lessons_in_their_own_folder_find_a_mirror_that_make_was_given_from_here(tmp_path):
    (tmp_path / "stick" / "models" / "x").mkdir(parents=True)
    show = tmp_path / "show.mk"
    show.write_text(f"include {ROOT / 'Makefile'}\nshow:\n\t@echo $$RAGKIT_MIRROR $$FASTEMBED_CACHE_PATH\n", "utf8")
    command = ["make", "-s", "-f", "show.mk", "show"]
    given = {n: v for n, v in os.environ.items() if n not in ("RAGKIT_MIRROR", "FASTEMBED_CACHE_PATH")}
    for name in ("stick", str(tmp_path / "stick")):
        done = subprocess.run(
            command, cwd=tmp_path, env=given | {"RAGKIT_MIRROR": name}, capture_output=True, text=True
        )
        assert done.stdout.split() == [str(tmp_path / "stick"), str(tmp_path / "stick" / "models")], done.stderr
    url = "https://example.org/mirror"
    done = subprocess.run(command, cwd=tmp_path, env=given | {"RAGKIT_MIRROR": url}, capture_output=True, text=True)
    assert done.stdout.split() == [url]


@pytest.mark.online
def test_the_real_lock_is_installed_from_wheels_alone(tmp_path):
    assert fill_stick(tmp_path / "stick", (), say=lambda _: None) == []
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = next(path for path in tmp_path.glob("venv/*/python*") if path.is_file())
    command = [python, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", tmp_path / "stick" / "wheels"]
    subprocess.run([*command, "-r", ROOT / "requirements.txt"], check=True)
    subprocess.run([python, "-c", "import fastembed, qdrant_client, qdrant_edge, jupyterlab"], check=True)
