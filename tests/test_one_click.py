"""One click: the copies that Colab opens, and what Binder and a codespace run."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import nbformat
import pytest

from ragkit.paths import repository
from tests.environments import Environment

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
COPIED = [*sorted(NOTEBOOKS.glob("[0-9]*.ipynb")), *sorted((NOTEBOOKS / "exercises").glob("[0-9]*.ipynb"))]


@pytest.fixture(scope="module")
def made():
    spec = importlib.util.spec_from_file_location("make_colab", ROOT / "docs" / "make_colab.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_targets(text):
    return re.sub(r"\]\([^)]*\)", "]()", text)


@pytest.mark.parametrize("path", COPIED, ids=lambda path: path.relative_to(NOTEBOOKS).as_posix())
def test_a_copy_is_its_lesson_with_one_cell_before_it_and_links_that_lead_somewhere(path, made):
    lesson = nbformat.read(path, 4)
    copy = nbformat.reads(made.copy(path.relative_to(NOTEBOOKS).as_posix()), 4)
    nbformat.validate(copy)
    first, *cells = copy.cells
    assert re.fullmatch(r'%pip install --quiet "ragkit @ git\+https://github\.com/[\w-]+/ragkit"', first.source)
    assert len(cells) == len(lesson.cells)
    for mine, theirs in zip(cells, lesson.cells, strict=True):
        assert mine.cell_type == theirs.cell_type
        if mine.cell_type == "code":
            assert mine.source == theirs.source and mine.outputs == [] and mine.execution_count is None
            continue
        assert without_targets(mine.source) == without_targets(theirs.source)
        assert all(re.match("https?:|#|attachment:", target) for target in re.findall(r"\]\(([^)]*)\)", mine.source))


def test_a_link_between_lessons_leads_to_the_copy_and_any_other_to_the_repository(made, monkeypatch, tmp_path):
    text = "[a](02_b.ipynb) [c](exercises/01_a.ipynb#d) [e](glossary.md) [f](../docs/g.md) [h](https://i.example/j)"
    book = {"cells": [{"cell_type": "markdown", "metadata": {}, "source": [text]}], "metadata": {}}
    (tmp_path / "a.ipynb").write_text(json.dumps(book), "utf8")
    known = {name: tmp_path / "a.ipynb" for name in ("01_a.ipynb", "02_b.ipynb", "exercises/01_a.ipynb")}
    monkeypatch.setattr(made, "sources", lambda: known)
    colab = "https://colab.research.google.com/github/OWNER/ragkit/blob/colab"
    main = "https://github.com/OWNER/ragkit/blob/main"
    monkeypatch.setattr(made, "repository", lambda: "https://github.com/OWNER/ragkit")
    (source,) = json.loads(made.copy("01_a.ipynb"))["cells"][1]["source"]
    assert source == (
        f"[a]({colab}/02_b.ipynb) [c]({colab}/exercises/01_a.ipynb#d) [e]({main}/notebooks/glossary.md) "
        f"[f]({repository()}/blob/main/docs/g.md) [h](https://i.example/j)"
    )


def test_the_page_has_a_row_of_badges_for_each_lesson(made):
    text = (ROOT / "docs" / "one-click.md").read_text("utf8")
    assert made.page(text) == text, "run: make colab"
    for path in NOTEBOOKS.glob("[0-9]*.ipynb"):
        (row,) = [line for line in text.splitlines() if line.startswith(f"| [{path.stem}](../notebooks/{path.name}) |")]
        assert row.count("[![") == 3 and row.count(path.name) == 3
        for address in ("colab.research.google.com/github/", "mybinder.org/v2/gh/", "codespaces.new/"):
            assert f"https://{address}{repository().removeprefix('https://github.com/')}" in row


def test_the_public_address_stands_in_one_place():
    """In pyproject.toml; what is made from it is made again by `make colab`."""
    held = [p for p in ("README.md", "CITATION.cff", "docs/make_colab.py", "binder/postBuild") if "OWNER" in read(p)]
    assert held == [] and read("pyproject.toml").count("github.com/OWNER") == 1


def read(name):
    return (ROOT / name).read_text("utf8")


@pytest.fixture()
def checkout(tmp_path):
    """A copy of what is in the repository."""
    done = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    for name in done.stdout.splitlines():
        if (ROOT / name).is_file():
            (tmp_path / "work" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / "work" / name)
    return tmp_path / "work"


def locked():
    """The packages of the lock that are installed here."""
    for name in {*re.findall("^([a-z0-9._-]+)==", read("requirements.txt"), re.MULTILINE)} - {"pip", "setuptools"}:
        try:
            distribution(name)
        except PackageNotFoundError:  # for another system
            continue
        yield name


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="the containers are Linux")
@pytest.mark.parametrize("container", ["binder", "codespace"])
def test_the_containers_commands_make_a_kit_that_runs(container, checkout, tmp_path):
    """pip may fetch nothing here: the locked packages are there, and it checks them against the lock."""
    place = checkout / ".venv" if container == "codespace" else tmp_path / "venv"
    environment = Environment(tmp_path, place, with_pip=container == "binder")
    environment.link(locked())
    environment.environ |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if container == "binder":
        assert re.fullmatch(r"python-3\.\d+\n", read("binder/runtime.txt"))
        environment.run("python", "-m", "pip", "install", "-r", "binder/requirements.txt")  # as repo2docker does
        environment.run("bash", "binder/postBuild")
    else:
        told = json.loads(read(".devcontainer/devcontainer.json"))
        environment.run("sh", "-c", told["postCreateCommand"])
        assert str(environment.bin).endswith(told["customizations"]["vscode"]["settings"][INTERPRETER][-10:-7])
    code = "import os, ragkit, ragkit.paths as paths; os.chdir('/'); print(ragkit.__file__, paths.packaged())"
    assert environment.run("python", "-c", code).split() == [str(checkout / "ragkit" / "__init__.py"), "False"]
    assert "Kagemusha" in environment.run("ragkit", "search", "movies", "a samurai warlord and his double")


INTERPRETER = "python.defaultInterpreterPath"
