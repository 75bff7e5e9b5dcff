"""The package without the checkout: what wheel and sdist hold, and that it works from an empty folder."""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import nbformat
import pytest

import ragkit
from ragkit import RagkitError
from ragkit.course.lessons import absolute, copy_lessons
from ragkit.paths import home, restoring
from tests.environments import Environment, closure

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))
LESSON = "01_movies.ipynb"


def build(source, folder):
    """The wheel and the sdist of a folder with the project, as `make dist` builds them."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def sizes(wheel):
    with zipfile.ZipFile(wheel) as zipped:
        return {info.filename: info.file_size for info in zipped.infolist()}


def kit_files():
    """Path in the wheel of every file of the package, its data and its lessons, with its size."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    others = subprocess.run(["git", "ls-files", "-o", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    names = [n for n in (done.stdout + others.stdout).splitlines() if n.startswith(("ragkit/", "data/", "notebooks/"))]
    there = [name for name in names if (ROOT / name).is_file()]
    return {n if n.startswith("ragkit/") else f"ragkit/{n}": (ROOT / n).stat().st_size for n in there}


@pytest.mark.thorough
def test_the_wheel_holds_the_package_its_data_and_its_lessons_and_nothing_else(built):
    wheel, _ = built
    held = {name: size for name, size in sizes(wheel).items() if ".dist-info/" not in name}
    assert held == kit_files()
    megabytes = {part: 0.0 for part in ("ragkit/data/models", "ragkit/notebooks", "ragkit")}
    for name, size in held.items():
        megabytes[next(part for part in megabytes if name.startswith(f"{part}/"))] += size / 1e6
    assert 45 < megabytes["ragkit/data/models"] < 50  # two models of 23 MB
    assert 0.5 < megabytes["ragkit/notebooks"] < 10 and megabytes["ragkit"] < 2
    assert wheel.stat().st_size < 60e6  # an index takes 100 MB


@pytest.mark.thorough
def test_the_wheel_says_what_the_project_says(built):
    wheel, _ = built
    with zipfile.ZipFile(wheel) as zipped:
        (name,) = [name for name in zipped.namelist() if name.endswith(".dist-info/METADATA")]
        told = email.message_from_bytes(zipped.read(name))
        assert {"LICENSE", "NOTICE"} == {n.rpartition("/")[2] for n in zipped.namelist() if "/licenses/" in n}
    assert told["Version"] == ragkit.__version__ and f"-{ragkit.__version__}-" in wheel.name
    assert set(told.get_all("Provides-Extra")) == set(PROJECT["project"]["optional-dependencies"])
    plain = [text for text in told.get_all("Requires-Dist") if "extra ==" not in text]
    assert len(plain) == len(PROJECT["project"]["dependencies"])
    assert not re.search("jupyter|nbval|ipywidgets|pytest|ruff", " ".join(plain))


@pytest.mark.thorough
def test_the_sdist_is_complete_a_wheel_of_it_is_the_same(built, tmp_path):
    wheel, sdist = built
    with tarfile.open(sdist) as packed:
        packed.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    again, _ = build(source, tmp_path / "dist")
    assert sizes(again) == sizes(wheel)
    for name in ("tests/test_package.py", "requirements.txt", "Makefile", "docs/architecture.md", "CHANGELOG.md"):
        assert (source / name).read_bytes() == (ROOT / name).read_bytes()
    assert not [path for path in source.rglob("*") if path.name in {".venv", "build", "__pycache__", ".git"}]


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """An environment with the wheel and what it asks for, and nothing of this checkout."""
    environment = Environment(tmp_path_factory.mktemp("installed"))
    environment.install(built[0])
    environment.link(closure(PROJECT["project"]["dependencies"]))
    return environment


@pytest.mark.thorough
def test_it_is_used_from_an_empty_folder(installed):
    where = installed.run("python", "-c", "import ragkit; print(ragkit.__file__)").strip()
    assert Path(where).is_relative_to(installed.site)
    told = installed.run("ragkit", "doctor")
    assert f"{installed.site / 'ragkit' / 'data'} (of the package)" in told
    assert re.search(r"note +jupyterlab .*ragkit\[lab\]", told) and "The kit can run; the lessons need" in told
    assert "dense→colbert" in installed.run("ragkit", "demo", "--datasets", "movies")
    report = (installed.work / "build" / "report.html").read_text("utf8")
    assert "movies" in report and "<svg" in report or "data:image" in report
    assert "20 documents, 40 queries" in installed.run("ragkit", "inspect", "movies")
    folder = installed.work / "mine"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "a", "text": "A film."}\n{"_id": "b", "text": "Rain."}\n', "utf8")
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "weather"}\n', "utf8")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\tb\t1\n", "utf8")
    assert re.search(r"dense +1\.000", installed.run("ragkit", "compare", "mine", "--systems", "dense,colbert"))


@pytest.mark.thorough
def test_its_check_and_its_explorer_answer(installed):
    code = 'import ragkit; print(ragkit.check("02-a", [0])); encoder = ragkit.load_encoder("colbert");'
    code += 'print(len(ragkit.explore(encoder, "a samurai", ["Kagemusha", "Rain"])._repr_html_()) > 10_000)'
    assert installed.run("python", "-c", code).splitlines() == [
        "Not yet. b with 1 more row reaches 1.766; a has 1.970.",
        "True",
    ]


@pytest.mark.thorough
def test_what_is_lost_is_had_back_as_it_came(installed):
    told = installed.run("python", "-c", "from ragkit.paths import restoring; print(restoring('data/models'))")
    assert told.strip() == "python -m pip install --force-reinstall --no-deps ragkit"
    assert restoring("data/models") == "git checkout -- data/models" and home() == ROOT


@pytest.mark.thorough
def test_a_lesson_runs_there_and_prints_what_it_prints_here(installed):
    installed.link(closure(PROJECT["project"]["optional-dependencies"]["lab"]))
    assert "The lessons are in learn" in installed.run("ragkit", "lessons", "--to", "learn")
    code = "import nbformat, nbclient; book = nbformat.read('learn/{0}', 4); nbclient.NotebookClient(book, "
    code += "kernel_name='python3', coalesce_streams=True, resources={{'metadata': {{'path': 'learn'}}}}).execute()"
    code += "; nbformat.write(book, 'run.ipynb')"
    installed.run("python", "-c", code.format(LESSON))
    run, stored = nbformat.read(installed.work / "run.ipynb", 4), nbformat.read(ROOT / "notebooks" / LESSON, 4)
    assert [printed(cell) for cell in run.cells] == [printed(cell) for cell in stored.cells]
    assert len("".join(printed(cell) for cell in run.cells)) > 500


def printed(cell):
    if "nbval-ignore-output" in cell.metadata.get("tags", []):
        return ""
    return "".join(output.get("text", "") for output in cell.get("outputs", []))


@pytest.mark.skipif(not shutil.which("make") or os.name == "nt", reason="needs make")
def test_make_lab_opens_a_copy_that_it_makes_once(tmp_path):
    tools = tmp_path / "venv" / "bin"
    tools.mkdir(parents=True)
    (tools / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tools / "jupyter").write_text('#!/bin/sh\necho opened "$@"\n')  # a browser is not wanted here
    for tool in tools.iterdir():
        tool.chmod(0o755)
    (tmp_path / "venv" / ".ready").touch()
    command = ["make", "--no-print-directory", "lab", f"VENV={tmp_path / 'venv'}", f"LESSONS={tmp_path / 'mine'}"]
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert f"opened lab {tmp_path / 'mine'}" in done.stdout
        mine = tmp_path / "mine" / "01_movies.ipynb"
        assert '"execution_count": null' in mine.read_text("utf8") or mine.read_text("utf8") == "changed"
        mine.write_text("changed", "utf8")
    assert mine.read_text("utf8") == "changed"


def test_a_copy_of_the_lessons_has_no_outputs_and_is_made_once(tmp_path):
    assert copy_lessons(tmp_path / "learn")
    names = {p.relative_to(ROOT / "notebooks").as_posix() for p in (ROOT / "notebooks").rglob("*.ipynb")}
    copies = {p.relative_to(tmp_path / "learn").as_posix(): p for p in (tmp_path / "learn").rglob("*.ipynb")}
    assert copies.keys() == {name for name in names if ".ipynb_checkpoints" not in name} and LESSON in copies
    for name, path in copies.items():
        book, original = nbformat.read(path, 4), nbformat.read(ROOT / "notebooks" / name, 4)
        assert [cell.source for cell in book.cells] == [absolute(cell.source, name) for cell in original.cells]
        if not name.startswith("solutions/"):
            assert not any(cell.get("outputs") or cell.get("execution_count") for cell in book.cells)
    copies[LESSON].write_text("mine", "utf8")
    assert not copy_lessons(tmp_path / "learn") and copies[LESSON].read_text("utf8") == "mine"


@pytest.mark.parametrize("there", ["another file", "a file in its place"])
def test_no_copy_is_put_into_what_is_somebodys_own(there, tmp_path):
    (tmp_path / "learn").write_text("mine", "utf8") if "place" in there else (tmp_path / "learn").mkdir()
    if there == "another file":
        (tmp_path / "learn" / "thesis.tex").write_text("mine", "utf8")
    with pytest.raises(RagkitError, match="learn is there and holds no copy of the lessons; expected .* new folder"):
        copy_lessons(tmp_path / "learn")
    assert [path.name for path in tmp_path.rglob("*")] == ["learn"] + ["thesis.tex"] * (there == "another file")


def test_what_the_lessons_link_to_comes_along(tmp_path):
    copy_lessons(tmp_path / "learn")
    for path in (tmp_path / "learn").rglob("*.ipynb"):
        texts = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", "\n".join(texts)):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
