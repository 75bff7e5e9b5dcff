"""What a lesson must be, and that nbval would notice if it were not."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SCIFACT = ("04_", "05_", "06_")  # lessons that read it
SHORT = {"00_check_setup.ipynb"}  # a check, not a lesson: fewer cells
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(cell):
    """Everything that a code cell printed, as nbval compares it."""
    parts = []
    for output in cell.outputs:
        parts.append(output.get("text", ""))
        parts.append(output.get("data", {}).get("text/plain", ""))
    return "".join(parts)


def test_every_lesson_is_there():
    assert [path.stem for path in NOTEBOOKS] == [
        "00_check_setup",
        "01_movies",
        "02_maxsim_and_tokens",
        "03_compare_on_movies",
        "04_compare_on_scifact",
        "05_is_it_real",
        "06_cost_of_tokens",
        "07_your_own_data",
    ]


@each_notebook
def test_it_was_executed_top_to_bottom(path):
    cells = code_cells(nbformat.read(path, 4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr"


@each_notebook
def test_it_is_a_lesson_in_small_steps(path):
    notebook = nbformat.read(path, 4)
    lengths = [len(cell.source.splitlines()) for cell in code_cells(notebook)]
    assert max(lengths) <= 15 and statistics.median(lengths) <= 5
    words = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")
    assert words <= 1500
    assert len(notebook.cells) <= 40 and (path.name in SHORT or len(notebook.cells) >= 25)
    first, last = notebook.cells[0].source, notebook.cells[-1].source
    assert "minutes" in first and "rerequisites" in first and "ou will" in first
    assert notebook.cells[-1].cell_type == "markdown" and "ummary" in last


@each_notebook
def test_nearly_everything_is_compared(path):
    notebook = nbformat.read(path, 4)
    tags = [tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])]
    assert set(tags) <= {"nbval-ignore-output"} and len(tags) <= 2
    assert "widgets" not in notebook.metadata  # a progress bar's state
    sources = "\n".join(cell.source for cell in code_cells(notebook))
    assert not re.search(r"NBVAL_|PYTEST_VALIDATE|^\s*[!%]", sources, re.MULTILINE)
    assert "http" not in sources
    printing = [cell for cell in code_cells(notebook) if text_of(cell).strip()]
    assert len(printing) >= len(code_cells(notebook)) / 2


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").rglob("*.ipynb")), ids=lambda path: path.stem)
def test_no_output_hangs_on_one_build_of_a_turbo_copy(path):
    # Qdrant rotates the vectors at random for each build of a turbo copy: searched raw, no two builds rank alike.
    for cell in code_cells(nbformat.read(path, 4)):
        assert not re.search(r"turbo[\d.]+copy-raw", cell.source + text_of(cell))


@each_notebook
def test_it_names_no_machine(path):
    stored = json.dumps([cell.get("outputs", []) for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"])
    assert not re.search(r"/home/|/root|/tmp|/work|[A-Z]:\\\\\\\\|\.venv|0x[0-9a-f]{6,}", stored)


def corrupted(path):
    """The notebook with one digit of one stored, compared number changed, and the number's cell."""
    notebook = nbformat.read(path, 4)
    for i, cell in enumerate(code_cells(notebook)):
        if "nbval-ignore-output" in cell.metadata.get("tags", []):
            continue
        for output in cell.outputs:
            found = re.search(r"\d", output.get("text", "")) if output.output_type == "stream" else None
            if found:
                digit = str((int(found.group()) + 1) % 10)
                output.text = output.text[: found.start()] + digit + output.text[found.end() :]
                return notebook, i
    raise AssertionError(f"{path.name} prints no number that is compared")


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [pytest.param(p, id=p.stem, marks=[pytest.mark.scifact] if p.name.startswith(SCIFACT) else []) for p in NOTEBOOKS],
)
def test_a_corrupted_number_is_noticed(path, tmp_path):
    notebook, cell = corrupted(path)
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks" / path.name)
    shutil.copytree(ROOT / "data", tmp_path / "data", ignore=shutil.ignore_patterns("models"))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "--nbval",
        "--nbval-current-env",
        f"--nbval-sanitize-with={ROOT / 'tests' / 'nbval.cfg'}",
        "--rootdir",
        str(tmp_path),
        str(tmp_path / "notebooks" / path.name),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"TQDM_DISABLE": "1"})
    assert done.returncode == 1, done.stdout
    assert f"Cell {cell}" in done.stdout and "Cell outputs differ" in done.stdout
