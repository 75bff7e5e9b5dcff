"""The house: imports run downwards only, private modules stay private, public names are seen and load late."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ragkit

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ragkit"
INITS = sorted(PACKAGE.rglob("__init__.py"))


def lint(root):
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    return subprocess.run([*command, "--no-cache"], cwd=root, capture_output=True, text=True)


@pytest.mark.slow
def test_imports_run_one_way():
    done = lint(ROOT)
    assert done.returncode == 0 and "0 broken" in done.stdout, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("files", "from ragkit.display import tables", "Each floor"),
        ("display/tables", "from ragkit.evaluation import retriever", "Whoever only measures"),
        ("encoders/bm25", "import qdrant_client", "Encoders know no engine"),
        ("engines/edge", "from ragkit.encoders import encoder", "Only the ingest"),
        ("evaluation/comparing", "from ragkit.engines import _retries", "Private modules"),
    ],
)
def test_an_import_upwards_is_noticed(module, line, broken, tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "ragkit", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "ragkit" / f"{module}.py"
    path.write_text(path.read_text("utf8") + f"\n{line}\n", "utf8")
    done = lint(tmp_path)
    lines = [text for text in done.stdout.splitlines() if text.endswith(" BROKEN")]
    assert done.returncode == 1 and any(text.startswith(broken) for text in lines), done.stdout


def from_packages(source):
    """Return what a module takes from a package itself: names that load late, whose modules import-linter cannot see.

    What is left out: submodules, what only type checkers read, and names such as __version__.
    """
    tree = ast.parse(source)
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    unread = {id(node) for block in blocks for line in block.body for node in ast.walk(line)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name == "ragkit"]  # any name may follow
        elif isinstance(node, ast.ImportFrom) and id(node) not in unread:
            package = ROOT / str(node.module).replace(".", "/")
            if node.level or not package.is_relative_to(PACKAGE):
                found += ["." * node.level] * bool(node.level)  # a house has whole names
            elif (package / "__init__.py").is_file():
                there = {path.stem for path in package.iterdir()}
                names = [alias.name for alias in node.names if not re.fullmatch("__[a-z]+__", alias.name)]
                found += [f"{node.module}.{name}" for name in names if name not in there]
    return found


def test_what_import_linter_cannot_see_is_imported_by_nobody():
    found = {path.name: names for path in PACKAGE.rglob("*.py") if (names := from_packages(path.read_text("utf8")))}
    assert not found, f"import these from the modules that have them: {found}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from ragkit.evaluation import Retriever, measures", ["ragkit.evaluation.Retriever"]),
        ("def f():\n    from ragkit import open_index", ["ragkit.open_index"]),
        ("if TYPE_CHECKING:\n    from ragkit import Index\nelse:\n    from ragkit import Run", ["ragkit.Run"]),
        ("import ragkit as kit", ["ragkit"]),
        ("from . import Retriever", ["."]),
        ("import ragkit.evaluation.measures\nfrom ragkit import __version__, maxsim, network", []),
        ("from ragkit.evaluation.retriever import Retriever", []),
    ],
)
def test_a_name_that_loads_late_is_noticed(source, found):
    assert from_packages(source) == found


def test_the_contracts_that_list_modules_list_all_that_are_there():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["tool"]["importlinter"]["contracts"]

    def modules(pattern):
        paths = (path.relative_to(ROOT).with_suffix("") for path in PACKAGE.rglob(pattern))
        return {".".join(path.parts) for path in paths if not path.name.startswith("__")}

    protected = [contract for contract in contracts if contract["type"] == "protected"]
    assert {name for contract in protected for name in contract["protected_modules"]} == modules("_*.py")
    for contract in protected:
        assert {name.rpartition(".")[0] for name in contract["protected_modules"]} == {*contract["allowed_importers"]}
    (engines,) = [contract for contract in contracts if contract["name"].startswith("Only the ingest, ")]
    others = {name for name in modules("*.py") if name.startswith("ragkit.engines.")} - {"ragkit.engines.ingest"}
    assert {*engines["source_modules"]} == others


@pytest.mark.parametrize("path", INITS, ids=lambda path: path.parent.name)
def test_a_package_is_a_sentence_and_the_names_that_editors_see(path):
    tree = ast.parse(path.read_text("utf8"))
    assert ast.get_docstring(tree)
    seen = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("ragkit")
        for alias in node.names
    }
    package = importlib.import_module(".".join(path.parent.relative_to(ROOT).parts))
    assert seen == set(package.__all__)
    for name in seen:
        assert getattr(package, name).__module__.startswith("ragkit"), name


def test_the_function_is_maxsim_whoever_imports_the_module_first():
    code = "import ragkit.maxsim, ragkit; from ragkit.maxsim import maxsim; print(ragkit.maxsim is maxsim)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "True"


@pytest.mark.slow
def test_ragkit_and_measures_load_nothing_that_they_do_not_need():
    heavy = "{{'pandas', 'fastembed', 'qdrant_client', 'qdrant_edge'}}"
    code = f"import sys, ragkit{{}}; print(sorted({heavy} & set(sys.modules)))"
    for more, loaded in (("", []), (", ragkit.display.tables, ragkit.evaluation.comparison", ["pandas"])):
        done = subprocess.run([sys.executable, "-c", code.format(more)], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(loaded)


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").is_file() and ragkit.__version__


def test_the_architecture_names_every_room_and_no_other():
    text = (ROOT / "docs" / "architecture.md").read_text("utf8")
    for package in sorted(path.parent for path in PACKAGE.glob("*/__init__.py")):
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{package.name}/` |")]
        named = {name for name in re.findall(r"`([a-z0-9_]+)`", row)}
        modules = {path.stem for path in package.glob("[a-z]*.py")}
        missing = {name for name in modules - named if not name.startswith("checks_")}
        assert not missing, f"{package.name}: {missing}"
    numbers = dict(enumerate(["five", "six", "seven", "eight", "nine"], 5))
    abstract = sum(getattr(method, "__isabstractmethod__", False) for method in vars(ragkit.Index).values())
    assert f"its {numbers[abstract]} abstract methods" in text
