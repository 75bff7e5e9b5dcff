"""Windows and macOS, as far as one system can tell: types and names there, encodings, line ends, processes."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "ragkit").rglob("*.py"))
CHECKED = [*SOURCES, *sorted((ROOT / "docs").glob("*.py")), *sorted((ROOT / "tests").rglob("*.py"))]
UNIX = {"fcntl", "grp", "posix", "pwd", "resource", "termios"}


def tool(*command, source=None):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, input=source)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="make lint looks there itself")
def test_what_is_called_is_there_on_windows(tmp_path):
    """`make lint` asks the same of macOS."""
    status, told = tool("mypy", "--platform", "win32", "--cache-dir", str(tmp_path))
    assert status == 0, told


def test_every_file_that_is_opened_has_its_encoding_named():
    """Windows has another one than UTF-8 by default."""
    assert tool("ruff", "check", "--select", "PLW1514", "--quiet", *map(str, CHECKED)) == (0, "")
    lost = "open('a')\nopen('b', 'w')\n"
    assert tool("ruff", "check", "--output-format", "concise", "-", source=lost)[1].count("without explicit") == 2


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, getattr(node.func, "attr", getattr(node.func, "id", ""))


def forks(tree):
    """Calls that fork, or ask multiprocessing for its default, which on Linux was to fork."""
    for node, name in calls(tree):
        first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        default = name in {"get_context", "set_start_method"} and first in {None, "fork"}
        if name in {"fork", "forkpty"} or default or ast.unparse(node.func).startswith("multiprocessing.P"):
            yield node.lineno


def translated(tree):
    """Calls that write text with the system's own line ends: a checksum would be another on Windows."""
    for node, name in calls(tree):
        named = {keyword.arg for keyword in node.keywords}
        mode = node.args[1] if name == "open" and len(node.args) > 1 else None
        text_mode = isinstance(mode, ast.Constant) and set(str(mode.value)) & set("wax") and "b" not in str(mode.value)
        writes = text_mode or (name == "write_text" and isinstance(node.func, ast.Attribute))
        if writes and "newline" not in named and "os.devnull" not in ast.unparse(node):
            yield node.lineno


def unguarded(tree):
    """Imports of what Windows has not, outside of a function and of an `if`."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {a.name for a in node.names} if isinstance(node, ast.Import) else {node.module}
            if names & UNIX:
                yield node.lineno


@pytest.mark.slow
@pytest.mark.parametrize(
    ("find", "sample"),
    [
        (forks, "import os\nos.fork()"),
        (forks, "import multiprocessing\nmultiprocessing.get_context()"),
        (translated, "from pathlib import Path\nPath('a').write_text('b', 'utf8')"),
        (translated, "open('a', 'w', encoding='utf8')"),
        (unguarded, "import fcntl"),
    ],
    ids=["fork", "default context", "write_text", "open", "fcntl"],
)
def test_the_package_does_nothing_that_only_unix_can(find, sample):
    found = {path.name: list(find(ast.parse(path.read_text("utf8")))) for path in SOURCES}
    assert not {name: lines for name, lines in found.items() if lines}
    assert list(find(ast.parse(sample)))  # and it would be seen


def test_no_two_files_of_the_repository_have_one_name_where_case_does_not_count():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    names = done.stdout.splitlines()
    assert len({name.casefold() for name in names}) == len(names) > 100
    assert not [name for name in names if set(name) & set('<>:"|?*\\') or name.endswith((" ", "."))]
    assert max(map(len, names)) < 120  # of the 260 that Windows takes by default
