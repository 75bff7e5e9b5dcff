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

import huggingface_hub
import numpy as np
import pytest

import ragkit
from ragkit.cli import main
from ragkit.encoders import _fastembed
from ragkit.encoders.embedding_cache import EmbeddingCache
from ragkit.encoders.models import load_model
from ragkit.files import damaged, sha256
from ragkit.paths import in_mirror
from ragkit.workshop import stick, verify, wheels
from ragkit.workshop.stick import fill_stick
from ragkit.workshop.verify import problems
from ragkit.workshop.wheels import Target, absent, pins

ROOT = Path(__file__).resolve().parent.parent
# Run first in a child process: no socket may open, and no model may run.
OFFLINE = """
import socket
def refuse(*arguments, **options):
    raise AssertionError(f"the network was asked for: {arguments}")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from ragkit.encoders import Encoder
embed = Encoder._embed
def no_model(*arguments):
    raise AssertionError("something was encoded")
Encoder._embed = no_model
"""
# A comparison encodes each query once more, alone, to time it; what it searches with comes from the cache.
TIMED = """
def one_query(self, texts, role):
    return embed(self, texts, role) if role == "query" and len(texts) == 1 else no_model()
Encoder._embed = one_query
"""


def write_wheel(folder, name, version="1.0", tag="py3-none-any", more=""):
    """Write the smallest wheel that pip installs: one module whose VERSION is the version; more: of its metadata."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}",
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
    lines = []
    for path in sorted((tmp_path / "index").iterdir()):
        name = path.name.split("-")[0]
        marker = " ; sys_platform == 'win32'" if name == "winfig" else ""
        lines.append(f"{name}==1.0{marker} \\\n    --hash=sha256:{sha256(path)}\n")
    lock = tmp_path / "requirements.txt"
    lock.write_text("".join(lines), "utf8")
    return lock


@pytest.fixture()
def fill(index, tmp_path, monkeypatch):
    """A function that fills tmp_path/stick with wheels alone, and the lines that it said."""
    monkeypatch.delenv("RAGKIT_MIRROR", raising=False)
    said = []

    def run(**options):
        options = {"datasets": (), "lock": index, "say": said.append} | options
        return fill_stick(tmp_path / "stick", **options)

    run.stick, run.said = tmp_path / "stick", said
    return run


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def tree(folder):
    """All that is in a folder: files by content, folders, and where links lead."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*")}
    return {n: os.readlink(p) if p.is_symlink() else p.is_file() and p.read_bytes() for n, p in found.items()}


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


ZERO, ONE = "0" * 64, "1" * 64


def test_a_lock_is_read_with_the_eyes_of_another_machine(tmp_path):
    lock = tmp_path / "lock.txt"
    pinned = ["a==1", "b==2 ; sys_platform == 'win32'", "c==3 ; os_name != 'nt'", "d==4 ; platform_machine == 'arm64'"]
    pinned += ["e==5 ; python_full_version < '3.12'", "e==6 ; python_full_version >= '3.12'"]
    pinned += ["f==7 ; python_full_version < '3.11.5'", "f==8 ; python_full_version >= '3.11.5'"]
    lines = [f"{pin} \\\n    --hash=sha256:{ZERO} \\\n    --hash=sha256:{ONE}" for pin in pinned]
    lock.write_text("\n".join([*lines[:2], "# a comment", "", *lines[2:]]), "utf8")
    assert list(pins(lock, Target.parse("windows-3.12"))) == ["a==1", "b==2", "e==6", "f==8"]
    assert list(pins(lock, Target.parse("macos-3.12"))) == ["a==1", "c==3", "d==4", "e==6", "f==8"]
    # Which 3.11 it will be is not known: both pins of f come along.
    assert list(pins(lock, Target.parse("linux-3.11"))) == ["a==1", "c==3", "e==5", "f==7", "f==8"]
    assert set(pins(lock, Target.parse("linux-3.11")).values()) == {frozenset({ZERO, ONE})}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b>=2", "line 3: expected name==version, got 'b>=2'"),
        ("b==2", "line 3: b==2 has no --hash=sha256:…; make the lock with: make lock"),
        ("b==2 --hash=sha256:12", "line 3: b==2 has no --hash"),
        (f"b==2 --hash=md5:{ZERO[:32]}", "line 3: b==2 has no --hash"),
    ],
)
def test_a_line_that_pins_no_file_is_named(line, message, tmp_path):
    lock = tmp_path / "lock.txt"
    lock.write_text(f"a==1 \\\n    --hash=sha256:{ZERO}\n{line}\n", "utf8")
    with pytest.raises(ragkit.RagkitError, match=message):
        pins(lock, Target.parse("this"))


def test_a_lock_that_is_not_there_is_named_before_the_folder_is_made(fill, tmp_path):
    with pytest.raises(ragkit.RagkitError, match=r"no-lock.txt cannot be read .*requirements.txt of a checkout"):
        fill(lock=tmp_path / "no-lock.txt")
    assert not fill.stick.exists()


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
    lock = {"a==1": frozenset({ZERO, ONE})}
    assert (absent(lock, Target.parse(target), {wheel: ONE}) == {}) is fits
    assert absent(lock, Target.parse(target), {wheel: "2" * 64}) == lock  # by its name only


@pytest.mark.parametrize("name", ["win", "windows-3", "windows-x.y", "-3.12", "linux-arm-", ""])
def test_a_platform_that_is_none_is_refused_with_those_there_are(name):
    with pytest.raises(ragkit.RagkitError, match="linux, linux-arm, macos"):
        Target.parse(name)


@pytest.mark.slow
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
def test_a_wheel_for_a_later_release_of_the_same_python_comes_too(fill, index, tmp_path):
    write_wheel(tmp_path / "index", "fig", more="Requires-Python: >=3.11.5\n")
    digest = sha256(tmp_path / "index" / "fig-1.0-py3-none-any.whl")
    index.write_text(f"fig==1.0 ; python_full_version >= '3.11.5' --hash=sha256:{digest}\n", "utf8")
    assert fill(platforms=["linux-3.11"]) == []
    assert list(contents(fill.stick / "wheels")) == ["fig-1.0-py3-none-any.whl"]


@pytest.mark.slow
def test_without_a_network_it_stops_and_says_so(fill, monkeypatch):
    monkeypatch.delenv("PIP_FIND_LINKS")
    with pytest.raises(ragkit.RagkitError, match="no wheel at all.*Is there a network"):
        fill()


@pytest.mark.slow
def test_interrupted_it_continues_where_it_stopped(fill, monkeypatch):
    monkeypatch.setattr(wheels, "_BATCH", 1)
    download, asked = wheels._download, []

    def stopped(wanted, target, folder):
        if len(asked) == 1:
            raise KeyboardInterrupt
        asked.extend(wanted)
        return download(wanted, target, folder)

    monkeypatch.setattr(wheels, "_download", stopped)
    with pytest.raises(KeyboardInterrupt):
        fill()
    assert asked == ["apple==1.0"] and damaged(fill.stick) == []

    monkeypatch.setattr(wheels, "_download", lambda w, t, f: asked.extend(w) or download(w, t, f))
    assert fill() == []
    assert asked == ["apple==1.0", "pear==1.0", "plum==1.0"]
    assert len(contents(fill.stick / "wheels")) == 3
    assert fill() == [] and len(asked) == 3  # a third call fetches nothing


@pytest.mark.slow
def test_a_folder_that_two_fill_at_once_gets_the_wheels_of_both(fill, index, tmp_path, monkeypatch):
    folder, this = tmp_path / "wheels", Target.parse("this")
    apple, pear = ({name: digests} for name, digests in list(pins(index, this).items())[:2])
    run, seen = subprocess.run, []

    def another_meanwhile(*arguments, **options):
        done = run(*arguments, **options)
        if not seen:  # the first has its wheel, and has not yet moved it
            seen.append(done)
            seen.append(wheels._download(pear, this, folder))
        return done

    monkeypatch.setattr(subprocess, "run", another_meanwhile)
    folder.mkdir()
    fetched = [file.name for files, _ in (wheels._download(apple, this, folder), *seen[1:]) for file in files]
    assert fetched == ["apple-1.0-py3-none-any.whl", "pear-1.0-py3-none-any.whl"]
    assert sorted(contents(folder)) == fetched and not list(tmp_path.glob(".*"))


@pytest.mark.slow
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

    download, asked = wheels._download, []
    monkeypatch.setattr(wheels, "_download", lambda w, t, f: asked.append(list(w)) or download(w, t, f))
    fill()
    assert asked == [["pear==1.0", "plum==1.0"]]
    assert contents(fill.stick) == before


@pytest.mark.slow
def test_a_wheel_that_is_not_the_locks_is_not_fetched(fill, tmp_path):
    path = tmp_path / "index" / "pear-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "a") as wheel:
        wheel.writestr("pear_extra.py", "raise SystemExit('this is no pear')\n")
    assert fill() == [
        f"pear==1.0 for {Target.parse('this').name}: the wheel that was found is not the lock's, its SHA-256 differs"
    ]
    assert sorted(contents(fill.stick / "wheels")) == ["apple-1.0-py3-none-any.whl", "plum-1.0-py3-none-any.whl"]


@pytest.mark.slow
def test_a_wheel_on_the_stick_that_is_not_the_locks_is_replaced(fill):
    """As an older kit left them there, which built what had no wheel."""
    fill()
    before = contents(fill.stick)
    (fill.stick / "wheels" / "pear-1.0-py3-none-any.whl").unlink()
    write_wheel(fill.stick / "wheels", "pear", tag="py2.py3-none-any")
    write_wheel(fill.stick / "wheels", "fig")  # another lock's: it is nobody's business here
    names = sorted(path.relative_to(fill.stick).as_posix() for path in (fill.stick / "wheels").iterdir())
    (fill.stick / "SHA256SUMS").write_text("".join(f"{sha256(fill.stick / name)}  {name}\n" for name in names), "utf8")
    fill()
    assert "wheels/pear-1.0-py2.py3-none-any.whl: removed, because its SHA-256 is not the lock's" in fill.said
    after = contents(fill.stick)
    del after["wheels/fig-1.0-py3-none-any.whl"], after["SHA256SUMS"], before["SHA256SUMS"]
    assert after == before and problems(fill.stick) == []


@pytest.mark.slow
def test_a_wheel_that_nobody_listed_is_named(fill, capsys):
    fill()
    write_wheel(fill.stick / "wheels", "fig")
    (fill.stick / "wheels" / "._pear-1.0-py3-none-any.whl").write_bytes(b"what macOS leaves on a stick")
    (fill.stick / "slides.pdf").write_bytes(b"the teacher's own")
    assert main(["prefetch", "--check", str(fill.stick)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out == ["wheels/fig-1.0-py3-none-any.whl: not in SHA256SUMS", "1 files are damaged, missing or not listed"]
    fill()
    assert "wheels/fig-1.0-py3-none-any.whl: not in SHA256SUMS, and it will be refused: delete it" in fill.said
    assert (fill.stick / "wheels" / "fig-1.0-py3-none-any.whl").is_file()


def test_a_file_that_nobody_listed_is_named_wherever_it_would_be_used(fill, write_docs, own_cache, capsys):
    docs = write_docs("docs", "a red fish")
    fill(datasets=[str(docs)], platforms=(), vectors=())
    assert problems(fill.stick) == []
    names = ["beir/docs/qrels/dev.tsv", "beir/mine/corpus.jsonl", "embeddings/x.sqlite", "models/x.onnx"]
    for name in [*names, "models/._x.onnx", "slides/x.onnx"]:  # macOS's, and the teacher's own
        (fill.stick / name).parent.mkdir(parents=True, exist_ok=True)
        (fill.stick / name).write_bytes(b"nobody's")
    assert sorted(problems(fill.stick)) == [f"{name}: not in SHA256SUMS" for name in names]
    assert verify.main(fill.stick) == 0  # it looks at what pip reads alone
    assert main(["prefetch", "--check", str(fill.stick)]) == 1
    assert "4 files are damaged, missing or not listed" in capsys.readouterr().out


def test_a_link_is_listed_if_what_it_leads_to_is(fill):
    fill()
    blob, outside = fill.stick / "models" / "blobs" / "x", fill.stick.parent / "x.onnx"
    blob.parent.mkdir(parents=True)
    for path in (blob, outside):
        path.write_bytes(b"a model")
    with (fill.stick / "SHA256SUMS").open("a") as sums:
        sums.write(f"{sha256(blob)}  models/blobs/x\n")
    for name, leads_to in (("in.onnx", blob), ("loop.onnx", blob.with_name("loop.onnx")), ("out.onnx", outside)):
        try:
            blob.with_name(name).symlink_to(leads_to)
        except OSError:
            pytest.skip("this machine makes no links")
    assert problems(fill.stick) == [f"models/blobs/{name}: not in SHA256SUMS" for name in ("loop.onnx", "out.onnx")]


def test_a_dataset_that_was_put_there_by_hand_is_listed_once_it_is_named(fill, write_docs, own_cache):
    fill(platforms=())
    shutil.copytree(write_docs("mine", "a red fish"), fill.stick / "beir" / "mine")
    fill(platforms=())
    assert any(line.startswith("beir/mine/corpus.jsonl: not in SHA256SUMS, and nobody vouches") for line in fill.said)
    fill(datasets=[str(fill.stick / "beir" / "mine")], platforms=(), vectors=())
    assert problems(fill.stick) == []


@pytest.mark.slow
def test_wheels_are_verified_with_pythons_own_library_alone(fill):
    """Before anything is installed: -S and -I leave out all that is."""
    fill()
    command = [sys.executable, "-I", "-S", verify.__file__, str(fill.stick)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (fill.stick / "SHA256SUMS").unlink()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "no SHA256SUMS in it" in done.stderr and "Traceback" not in done.stderr


OUTSIDE = ["../precious.txt", "wheels/../../precious.txt", "{tmp}/precious.txt", "C:precious.txt", "C:/precious.txt"]
OUTSIDE += ["..\\precious.txt", "wheels\\..\\..\\precious.txt", "//server/share/precious.txt", "wheels/.."]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_listed_name_outside_the_folder_is_refused_and_nothing_is_deleted(name, fill, tmp_path):
    precious, stick = tmp_path / "precious.txt", fill.stick
    (stick / "wheels").mkdir(parents=True)
    for path in (precious, stick / name if "\\" in name else precious, stick / "wheels" / "damaged.whl"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine", "utf8")
    lines = [f"{ZERO}  wheels/damaged.whl\n", f"{ZERO}  {name.format(tmp=tmp_path)}\n"]
    (stick / "SHA256SUMS").write_text("".join(lines), "utf8")
    before = tree(tmp_path)
    with pytest.raises(ragkit.RagkitError, match="SHA256SUMS, line 2: .* outside of"):
        fill()
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("link", "leads_to"),
    [
        ("wheels", "elsewhere"),
        ("embeddings", "elsewhere"),
        ("beir/docs", "elsewhere"),
        ("models/deep/folder", "elsewhere"),
        ("embeddings/x.sqlite", "elsewhere/precious.txt"),
        ("SHA256SUMS", "elsewhere/sums.txt"),
        ("wheels/loop", "stick/wheels/loop"),
    ],
)
def test_a_link_out_of_the_folder_is_refused_and_nothing_is_deleted(link, leads_to, fill, tmp_path):
    precious, stick = tmp_path / "elsewhere" / "precious.txt", fill.stick
    precious.parent.mkdir()
    precious.write_text("mine", "utf8")
    (stick / "wheels" if link != "wheels" else stick).mkdir(parents=True)
    lines = "".join(f"{ZERO}  {part}precious.txt\n" for part in ("wheels/", "embeddings/", "beir/docs/"))
    (stick / "SHA256SUMS" if link != "SHA256SUMS" else tmp_path / leads_to).write_text(lines, "utf8")
    (stick / link).parent.mkdir(parents=True, exist_ok=True)
    try:
        (stick / link).symlink_to(tmp_path / leads_to)
    except OSError:
        pytest.skip("this machine makes no links")
    before = tree(tmp_path)
    with pytest.raises(ragkit.RagkitError, match=f"{Path(link).name} leads out of .*remove that link"):
        fill()
    assert tree(tmp_path) == before


@pytest.mark.slow
def test_what_the_kit_did_not_make_is_never_deleted(fill):
    """A folder that has a SHA256SUMS of its own, with a file that has changed since."""
    fill.stick.mkdir()
    (fill.stick / "holiday.jpg").write_bytes(b"changed since")
    (fill.stick / "SHA256SUMS").write_text(f"{ZERO}  holiday.jpg\n", "utf8")
    fill()
    assert (fill.stick / "holiday.jpg").read_bytes() == b"changed since"
    assert damaged(fill.stick) == ["holiday.jpg: damaged"]


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
    """A filled folder without wheels: the movies' embeddings, and a dataset of two documents with its own."""
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


@pytest.mark.slow
def test_a_dataset_comes_as_it_is(shelf):
    assert sorted(contents(shelf / "beir")) == ["mine/corpus.jsonl", "mine/qrels/test.tsv", "mine/queries.jsonl"]
    assert ragkit.load_beir(shelf / "beir" / "mine").documents["text"].tolist() == ["a red fish", "a bird"]


@pytest.fixture()
def write_docs(tmp_path):
    """A function that writes a dataset of one document into a folder of tmp_path, and returns that folder."""

    def write(name, text, splits=("test",)):
        folder = tmp_path / name
        (folder / "qrels").mkdir(parents=True, exist_ok=True)
        (folder / "corpus.jsonl").write_text(f'{{"_id": "a", "text": "{text}"}}\n', "utf8")
        (folder / "queries.jsonl").write_text('{"_id": "q", "text": "fish"}\n', "utf8")
        for path in (folder / "qrels").iterdir():
            path.unlink()
        for split in splits:
            (folder / "qrels" / f"{split}.tsv").write_text("q\ta\t1\n", "utf8")
        return folder

    return write


@pytest.mark.parametrize("name", ["docs", "DOCS"])
def test_two_datasets_of_one_name_are_refused_before_anything_is_written(name, fill, write_docs):
    one, two = write_docs("A/docs", "a red fish"), write_docs(f"B/{name}", "a bird")
    with pytest.raises(ragkit.RagkitError, match=f"A/docs and .*B/{name} would both be beir/{name}"):
        fill(datasets=[str(one), str(two)])
    assert not fill.stick.exists()


def test_one_dataset_named_twice_comes_once(fill, write_docs, own_cache):
    one = write_docs("A/docs", "a red fish")
    fill(datasets=[str(one), f"{one}/../docs"], platforms=(), vectors=())
    assert [line for line in fill.said if line.startswith("dataset")] == ["dataset docs: 3 files, 3 copied"]


def test_a_dataset_that_has_changed_is_copied_again(fill, write_docs, own_cache):
    options = {"datasets": [str(write_docs("docs", "a red fish", ["test", "dev"]))], "platforms": (), "vectors": ()}
    fill(**options)
    write_docs("docs", "a blue bird")
    fill(**options)
    (line,) = [line for line in fill.said if line.startswith("dataset")][1:]
    assert line == f"dataset docs: 3 files, 1 copied over what was there, from {options['datasets'][0]}"
    assert ragkit.load_beir(fill.stick / "beir" / "docs").documents["text"].tolist() == ["a blue bird"]
    assert not (fill.stick / "beir" / "docs" / "qrels" / "dev.tsv").exists()  # it is no longer part of it
    assert problems(fill.stick) == []


def test_a_dataset_is_copied_whole_or_not_at_all(fill, write_docs, own_cache, monkeypatch):
    options = {"datasets": [str(write_docs("docs", "a red fish"))], "platforms": (), "vectors": ()}
    fill(**options)
    before = tree(fill.stick)
    folder = write_docs("docs", "a blue bird")
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "bird"}\n', "utf8")
    copyfile = shutil.copyfile

    def full_disk(source, target):
        if Path(source).name == "queries.jsonl":
            raise OSError(28, "No space left on device")
        return copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", full_disk)
    with pytest.raises(ragkit.RagkitError, match="No space left"):
        fill(**options)
    assert tree(fill.stick) == before


def test_a_file_in_the_way_that_the_kit_did_not_put_there_is_left(fill, write_docs, own_cache):
    folder = write_docs("docs", "a red fish")
    theirs = fill.stick / "beir" / "docs" / "corpus.jsonl"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("somebody's own", "utf8")
    with pytest.raises(ragkit.RagkitError, match="corpus.jsonl is not the file that would be put there"):
        fill(datasets=[str(folder)], platforms=(), vectors=())
    assert theirs.read_text("utf8") == "somebody's own"


@pytest.mark.parametrize("option", ["--datasets", "--collections"])
def test_datasets_are_named_on_the_command_line_by_either_word(option, write_docs, tmp_path, own_cache, monkeypatch):
    monkeypatch.delenv("RAGKIT_MIRROR", raising=False)
    folder = write_docs("docs", "a red fish")
    stick = tmp_path / "stick"
    assert main(["prefetch", "--to", str(stick), option, str(folder), "--platform", "none", "--vectors", "bm25"]) == 0
    assert (stick / "beir" / "docs" / "corpus.jsonl").is_file()


def test_a_dataset_of_ir_datasets_is_no_part_of_a_folder(fill):
    with pytest.raises(ragkit.RagkitError, match="irds:cranfield is kept by ir_datasets"):
        fill(datasets=["irds:cranfield"])


def test_only_the_embeddings_of_the_named_datasets_come_along(shelf):
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


@pytest.mark.thorough
def test_a_laptop_without_a_network_compares_and_encodes_no_text_but_to_time_it(shelf, tmp_path, own_cache):
    before = contents(shelf)
    done = child(TIMED + LESSON, tmp_path / "empty", shelf)
    assert done.returncode == 0, done.stderr
    exec(LESSON.replace("print(", "table = str("), found := {})
    assert done.stdout.strip() == found["table"].strip()
    assert contents(shelf) == before and damaged(shelf) == []  # it was only read
    again = child(TIMED + LESSON, tmp_path / "other", tmp_path)  # the same with nothing on the shelf must fail
    assert again.returncode == 1 and "something was encoded" in again.stderr


@pytest.mark.slow
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


def test_embeddings_that_the_mirrors_checksums_do_not_list_are_refused(shelf, tmp_path, own_cache, monkeypatch):
    """Each row has a checksum of its own, which does not tell that two of them changed places."""
    stick = tmp_path / "stick"
    shutil.copytree(shelf, stick)
    (file,) = stick.glob("embeddings/sentence-transformers*-document.sqlite")
    kept = [line for line in (stick / "SHA256SUMS").read_text("utf8").splitlines(True) if "  embeddings/" not in line]
    monkeypatch.setenv("RAGKIT_MIRROR", str(stick))
    for lines in (kept, []):
        (stick / "SHA256SUMS").write_text("".join(lines), "utf8")
        with pytest.raises(ragkit.RagkitError, match=f"{file.name} is not in SHA256SUMS.* Copy {stick} again"):
            ragkit.load_encoder("dense").encode_documents(["a red fish"])
    (stick / "SHA256SUMS").unlink()  # a mirror without checksums is read as it is
    ragkit.load_encoder("dense").encode_documents(["a red fish"])


@pytest.mark.parametrize("vectors", ["dense", "colbert-pool2"])
def test_embeddings_that_lay_there_are_not_vouched_for_but_refused_by_name(vectors, fill, write_docs, own_cache):
    options = {"datasets": [str(write_docs("docs", "a red fish"))], "platforms": (), "vectors": (vectors,)}
    fill(**options)
    sums, rows = fill.stick / "SHA256SUMS", {}
    for file in sorted(fill.stick.glob("embeddings/*")):
        rows[file.name] = EmbeddingCache(file).get(["a red fish", "fish"])
    for name in rows:  # of another text, and nobody's
        (fill.stick / "embeddings" / name).unlink()
        EmbeddingCache(fill.stick / "embeddings" / name).put(["a red fish"], [np.ones((1, 4), np.float32)])
    lines = sums.read_text("utf8").splitlines(True)
    sums.write_text("".join(line for line in lines if "  embeddings/" not in line), "utf8")
    before = tree(fill.stick)
    with pytest.raises(ragkit.RagkitError, match="not in SHA256SUMS.*move it away") as error:
        fill(**options)
    assert all(f"embeddings/{name}" in str(error.value) for name in rows) and len(rows) == 2
    assert tree(fill.stick) == before
    for name in rows:
        (fill.stick / "embeddings" / name).unlink()
    fill(**options)
    assert problems(fill.stick) == []
    for name, arrays in rows.items():
        again = EmbeddingCache(fill.stick / "embeddings" / name).get(["a red fish", "fish"])
        for one, other in zip(arrays, again, strict=True):
            np.testing.assert_equal(one, other)


def test_interrupted_among_embeddings_it_keeps_what_was_there_and_continues(fill, write_docs, own_cache, monkeypatch):
    one, two = (
        {"datasets": [str(write_docs(*docs))], "platforms": ()} for docs in (("a", "a red fish"), ("b", "bird"))
    )
    fill(**one, vectors=("dense",))
    before = tree(fill.stick / "embeddings")
    copy_from = EmbeddingCache.copy_from

    def stopped(self, path, texts):
        copy_from(self, path, texts)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddingCache, "copy_from", stopped)
        with pytest.raises(KeyboardInterrupt):
            fill(**two, vectors=("dense",))
    assert tree(fill.stick / "embeddings") == before and problems(fill.stick) == []
    fill(**two, vectors=("dense",))
    (file,) = fill.stick.glob("embeddings/*-document.sqlite")
    assert EmbeddingCache(file).missing(["a red fish", "bird", "another"]) == ["another"]
    assert problems(fill.stick) == [] and not list((fill.stick / "embeddings").glob(".*"))
    before = tree(fill.stick)
    fill(**two, vectors=("dense",))  # once more, and nothing is made
    assert tree(fill.stick) == before


def test_a_mirror_may_be_a_url_or_nothing(monkeypatch, tmp_path):
    for value in ("https://example.org/mirror", str(tmp_path / "no-such-folder"), ""):
        monkeypatch.setenv("RAGKIT_MIRROR", value)
        assert in_mirror("embeddings/x.sqlite") is None


MODEL = "answerdotai/answerai-colbert-small-v1"


@pytest.fixture()
def hub(tmp_path, monkeypatch):
    """What a download of MODEL leaves, with the embedded model's files in the hub's layout, and which were made."""
    monkeypatch.delenv("RAGKIT_MIRROR", raising=False)
    place = tmp_path / "hub" / f"models--{MODEL.replace('/', '--')}"
    shutil.copytree(ROOT / "data" / "models" / "colbert-minilm-l6", place / "blobs")
    (place / "blobs" / "model.onnx").rename(place / "blobs" / "vespa_colbert.onnx")
    (place / "blobs" / "left.incomplete").write_bytes(b"of another time")
    (place / "snapshots" / "0123abcd").mkdir(parents=True)
    for path in (place / "blobs").iterdir():
        link = place / "snapshots" / "0123abcd" / path.name
        try:
            link.symlink_to(f"../../blobs/{path.name}")
        except OSError:  # as the hub's client does where there are no links
            shutil.copyfile(path, link)
    (place / "snapshots" / "0123abcd" / "left.incomplete").unlink()
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0123abcd")
    (tmp_path / "hub" / ".locks").mkdir()
    (tmp_path / "hub" / ".locks" / "a.lock").touch()
    asked = []

    def load(cls, model, advice, **options):
        asked.append(model)
        if not os.path.isdir(options["cache_dir"]):
            shutil.copytree(tmp_path / "hub", options["cache_dir"], symlinks=True)
        return load_model(cls, model, advice, **options)

    monkeypatch.setattr(stick, "load_model", load)
    return place, asked


@pytest.mark.slow
def test_of_a_model_only_what_was_downloaded_is_vouched_for(fill, hub):
    hub, asked = hub
    options = {"models": [MODEL], "platforms": ()}
    snapshot = fill.stick / "models" / hub.name / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    for name in ("theirs.bin", "vespa_colbert.onnx"):
        (snapshot / name).write_bytes(b"nobody's")
    before = contents(fill.stick)
    with pytest.raises(ragkit.RagkitError, match="vespa_colbert.onnx is not the file that would be put there"):
        fill(**options)
    after = contents(fill.stick)
    assert {name: data for name, data in after.items() if "/." not in name} == before
    (snapshot / "vespa_colbert.onnx").unlink()
    fill(**options)
    assert problems(fill.stick) == [
        f"{(snapshot / 'theirs.bin').relative_to(fill.stick).as_posix()}: not in SHA256SUMS"
    ]
    assert (snapshot / "vespa_colbert.onnx").read_bytes() == (hub / "blobs" / "vespa_colbert.onnx").read_bytes()
    assert not any(path.name.startswith(".") or "blobs" in path.parts for path in fill.stick.rglob("*"))
    assert asked == [MODEL] * 2
    fill(**options)
    assert asked == [MODEL] * 2  # it is there


@pytest.mark.slow
@pytest.mark.parametrize("part", ["wheels/", "beir/", "embeddings/"])
def test_what_was_damaged_is_told_until_it_is_made_anew(part, fill, write_docs, own_cache):
    made = {"wheels/": {"platforms": ("this",)}, "embeddings/": {"vectors": ("dense",)}, "beir/": {}}[part]
    rest = {"platforms": (), "vectors": ()}
    docs = {} if part == "wheels/" else {"datasets": [str(write_docs("docs", "a red fish"))]}
    fill(**rest | docs | made)
    before = contents(fill.stick)
    name = min(name for name in before if name.startswith(part))
    flip_a_byte(fill.stick / name)
    for _ in range(2):  # it is not asked for, and stays missing
        fill.said.clear()
        fill(**rest)
        assert problems(fill.stick) == [f"{name}: missing"]
        assert [line for line in fill.said if line.startswith(f"{name}: missing, because it was damaged: name its ")]
    fill.said.clear()
    fill(**rest | docs | made)
    assert problems(fill.stick) == [] and not [line for line in fill.said if "it was damaged" in line]
    assert contents(fill.stick).keys() == before.keys()
    if part != "embeddings/":  # SQLite's own bytes may differ
        assert contents(fill.stick) == before


def test_a_lost_file_that_a_dataset_has_no_more_is_forgotten(fill, write_docs, own_cache):
    docs = write_docs("docs", "a red fish", ("test", "dev"))
    options = {"datasets": [str(docs)], "platforms": (), "vectors": ()}
    fill(**options)
    flip_a_byte(fill.stick / "beir" / "docs" / "qrels" / "dev.tsv")
    write_docs("docs", "a red fish")
    fill(**options)
    assert problems(fill.stick) == [] and not [line for line in fill.said if "it was damaged" in line]


@pytest.mark.slow
def test_what_a_model_lost_is_told_until_it_is_downloaded_again(fill, hub):
    hub, asked = hub
    fill(models=[MODEL], platforms=())
    before = contents(fill.stick)
    name = f"models/{hub.name}/snapshots/0123abcd/tokenizer.json"
    flip_a_byte(fill.stick / name)
    for _ in range(2):  # the model is not named, and it stays missing
        fill(platforms=())
        assert problems(fill.stick) == [f"{name}: missing"]
        assert any(line.startswith(f"{name}: missing") for line in fill.said)
    fill(models=[MODEL], platforms=())
    assert asked == [MODEL] * 2 and contents(fill.stick) == before and problems(fill.stick) == []


@pytest.mark.slow
def test_a_models_files_come_along_and_are_found_without_a_network(tmp_path, hub, monkeypatch):
    """The hub's layout, with the embedded model's files: what is tested is where they are looked for."""
    name, stick = MODEL, tmp_path / "stick"
    place = stick / "models" / hub[0].name
    huggingface_hub.close_session()  # the next one is bounded, or it may hang
    assert fill_stick(stick, (), [name], platforms=(), say=lambda _: None) == []
    assert huggingface_hub.get_session() in _fastembed._bound
    model = f"{(place / 'snapshots').relative_to(stick).as_posix()}/0123abcd/vespa_colbert.onnx"
    assert model in (stick / "SHA256SUMS").read_text("utf8")

    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(stick / "models"))  # as the Makefile does
    before = contents(stick)
    done = child(f"print(Encoder({name!r}, cache=False).checksums['vespa_colbert.onnx'][:8])", tmp_path / "c", stick)
    assert (done.stdout, done.returncode) == ("17b15e42\n", 0), done.stderr
    assert contents(stick) == before and problems(stick) == []

    monkeypatch.setenv("RAGKIT_MIRROR", str(stick))
    lines = (stick / "SHA256SUMS").read_text("utf8").splitlines(True)
    one_less = [line for line in lines if not line.endswith(f"  {model}\n")]
    (stick / "SHA256SUMS").write_text("".join(one_less), "utf8")
    with pytest.raises(ragkit.RagkitError, match="vespa_colbert.onnx is not in SHA256SUMS"):
        ragkit.Encoder(name, cache=False, download=False)
    (stick / "SHA256SUMS").write_text("".join(line for line in lines if "  models/" not in line), "utf8")
    assert ragkit.Encoder(name, cache=False, download=False).dim == 96  # it was put there by hand
    (stick / "SHA256SUMS").write_text("".join(lines), "utf8")
    flip_a_byte(stick / model)
    with pytest.raises(ragkit.RagkitError, match="vespa_colbert.onnx is damaged"):
        ragkit.Encoder(name, cache=False, download=False)


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


@pytest.fixture()
def set_up(fill, index, tmp_path, monkeypatch):
    """A function that runs `make setup` in a project of its own, from tmp_path/stick alone; the project's Python."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    project = tmp_path / "a" / "project"
    (project / "ragkit" / "workshop").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", project)
    for name in ("ragkit/boundary.py", "ragkit/errors.py", "ragkit/files.py", "ragkit/workshop/verify.py"):
        shutil.copy(ROOT / name, project / name)
    shutil.copy(index, project)
    (project / "backend.py").write_text(BACKEND, "utf8")
    build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (project / "pyproject.toml").write_text(build, "utf8")
    fill()
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")  # nothing answers there
    monkeypatch.setenv("PIP_RETRIES", "0")
    command = ["make", "setup", f"PYTHON={sys.executable}", "RAGKIT_MIRROR=../../stick"]

    def run():
        return subprocess.run(command, cwd=project, capture_output=True, text=True)

    run.venv = project / ".venv"
    return run


def installed(venv):
    """The names of the fruit that a virtual environment has."""
    return sorted(path.stem for path in venv.rglob("*.py") if path.stem in ("apple", "pear", "plum", "fig"))


@pytest.mark.thorough
def test_make_setup_installs_from_the_folder_alone(fill, set_up):
    done = set_up()
    assert done.returncode == 0, done.stdout + done.stderr
    python = next(path for path in set_up.venv.glob("*/python*") if path.is_file())
    code = "import apple, plum; print(apple.VERSION, plum.VERSION)"
    assert subprocess.run([python, "-c", code], capture_output=True, text=True).stdout == "1.0 1.0\n"


@pytest.mark.slow
def test_make_setup_refuses_a_damaged_wheel_before_pip_reads_it(fill, set_up):
    flip_a_byte(fill.stick / "wheels" / "plum-1.0-py3-none-any.whl")
    (fill.stick / "wheels" / "pear-1.0-py3-none-any.whl").unlink()
    done = set_up()
    assert done.returncode != 0 and not set_up.venv.exists()
    assert done.stderr.splitlines()[:2] == [
        "wheels/pear-1.0-py3-none-any.whl: missing",
        "wheels/plum-1.0-py3-none-any.whl: damaged",
    ]


@pytest.mark.slow
def test_make_setup_refuses_a_wheel_that_nobody_listed(fill, set_up):
    write_wheel(fill.stick / "wheels", "fig")
    done = set_up()
    assert done.returncode != 0 and not set_up.venv.exists()
    assert "wheels/fig-1.0-py3-none-any.whl: not in SHA256SUMS" in done.stderr


@pytest.mark.slow
def test_make_setup_refuses_a_wheel_that_the_lock_does_not_know_whoever_listed_it(fill, set_up):
    path = fill.stick / "wheels" / "plum-1.0-py3-none-any.whl"
    was = sha256(path)
    with zipfile.ZipFile(path, "a") as wheel:
        wheel.writestr("plum_extra.py", "")
    sums = fill.stick / "SHA256SUMS"
    sums.write_text(sums.read_text("utf8").replace(was, sha256(path)), "utf8")
    assert problems(fill.stick) == []
    done = set_up()
    assert done.returncode != 0 and "DO NOT MATCH THE HASHES" in done.stderr
    assert installed(set_up.venv) == []


@pytest.mark.slow
def test_make_setup_takes_no_lock_without_checksums(fill, set_up):
    lock = set_up.venv.parent / "requirements.txt"
    lock.write_text("apple==1.0\npear==1.0\nplum==1.0\n", "utf8")
    done = set_up()
    assert done.returncode != 0 and installed(set_up.venv) == []


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
