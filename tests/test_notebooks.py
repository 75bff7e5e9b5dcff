"""What a lesson must be, and that nbval would notice if it were not."""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest

import ragkit
from conftest import notebook_reads_scifact
from ragkit.display import plots
from tests import reading
from tests.stub_server import StubServer

ROOT = Path(__file__).resolve().parent.parent
LESSONS = reading.LESSONS
NOTEBOOKS = LESSONS + sorted((ROOT / "notebooks" / "appendix").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


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
    assert [path.stem for path in LESSONS] == [
        "00_check_setup",
        "01_movies",
        "02_maxsim_and_tokens",
        "03_compare_on_movies",
        "04_compare_on_scifact",
        "05_is_it_real",
        "06_cost_of_tokens",
        "07_first_stages",
        "08_your_own_data",
    ]


@each_notebook
def test_it_was_executed_top_to_bottom(path):
    cells = code_cells(nbformat.read(path, 4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr"


@each_lesson
def test_it_reads_as_a_lesson_should(path):
    assert reading.too_much(path) == []
    assert opening_and_closing(nbformat.read(path, 4)) == []


@each_notebook
def test_a_cell_of_code_can_be_seen_whole(path):
    lines = [len(cell.source.splitlines()) for cell in code_cells(nbformat.read(path, 4))]
    assert max(lines) <= reading.LIMITS["lines in one cell"]


def opening_and_closing(notebook):
    """What a lesson's first and last cell lack."""
    first, last = notebook.cells[0].source, notebook.cells[-1].source
    text = "\n".join(cell.source for cell in notebook.cells[:-1] if cell.cell_type == "markdown")
    wanted = {
        "one question": "**The question:**" in first and "?" in first,
        "time, prerequisites, aims": all(word in first for word in ("**Time:**", "**Prerequisites:**", "You will")),
        "what to skip in a short workshop": "**In a hurry:**" in first,
        "a link to the glossary": "glossary.md" in first,
        "a recap": "## Recap" in last,
        "three questions with folded answers": last.count("<details>") == last.count("</details>") == 3,
        "predictions to click on": text.count("<details>") == text.count("</details>") >= 1,
        "what comes next": "**Next:**" in last,
    }
    return [name for name, there in wanted.items() if not there]


def test_what_is_too_much_is_told():
    long = "One two three. " + "Word " * 40 + "0.123 and 0.456 and 0.789."
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(f"**Time:** 1 minutes\n\n| 0.1 | 0.2 |\n\n# 0.3 0.4\n\n{long}"),
            nbformat.v4.new_code_cell("x = 0.5\n" * 13),
        ]
    )
    found = reading.measure(notebook, machine_s=30)
    assert found["numbers in one sentence"] == 3 and found["lines in one cell"] == found["lines of code"] == 13
    assert found["words per sentence"] == pytest.approx((3 + 3 + 45) / 3)
    assert found["decimals per 100 words"] == pytest.approx(100 * 3 / 51)
    assert found["minutes"] == pytest.approx(55 / 200 + 13 / 25 + 0.5)
    assert opening_and_closing(notebook)


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


@each_notebook
def test_a_systems_colour_is_no_other_things(path):
    # One colour for each system through the whole course, and it comes from plots.colour.
    code = "\n".join(cell.source for cell in code_cells(nbformat.read(path, 4)))
    written = {found.upper() for found in re.findall(r"#[0-9A-Fa-f]{6}", code)}
    assert not written & {colour.upper() for colour in plots.COLOURS.values()}


@each_notebook
def test_no_sanitizer_hides_a_number(path):
    # nbval compares what its sanitizers leave of an output: a number that they swallow could be anything.
    rules = configparser.RawConfigParser()
    rules.read(ROOT / "tests" / "nbval.cfg", "utf8")

    def compared(text):
        for rule in rules.values():
            if "regex" in rule:
                text = re.sub(rule["regex"], rule["replace"], text, flags=re.DOTALL)
        return text

    for cell in code_cells(nbformat.read(path, 4)):
        text = text_of(cell)
        numbers = re.findall(r"\d", re.sub(r"<Figure size [^>]*>", "", text))
        assert re.findall(r"\d", compared(text)) == numbers


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


@pytest.mark.thorough
@pytest.mark.parametrize(
    "path",
    [pytest.param(p, id=p.stem, marks=[pytest.mark.scifact] if notebook_reads_scifact(p) else []) for p in NOTEBOOKS],
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


@each_notebook
def test_a_client_of_a_lessons_own_goes_to_the_server_that_is_named_and_leaves_nothing_there(path):
    code = "\n".join(cell.source for cell in code_cells(nbformat.read(path, as_version=4)))
    code = re.sub(r"#.*", "", code)
    assert "QdrantClient(" not in code, "ragkit.open_client takes whatever QDRANT_URL may hold"
    for name in re.findall(r'create_collection\("(.+?)"', code):
        assert name.startswith(f"lesson-{path.stem[:2]}")
        assert code.index(f'delete_collection("{name}")') < code.index(f'create_collection("{name}"'), "run twice"
        assert code.rindex("delete_collection") > code.rindex("client.query_points"), "left behind"


@pytest.mark.thorough
@pytest.mark.parametrize("version", ["1.18.0", "1.20.0"])
def test_lesson_06_leaves_out_what_an_older_server_does_not_know(version, movies, movies_cache, monkeypatch, capsys):
    cells = [cell.source for cell in code_cells(nbformat.read(ROOT / "notebooks" / "06_cost_of_tokens.ipynb", 4))]
    start = next(i for i, source in enumerate(cells) if "def show(" in source)
    with StubServer(version=version) as stub:
        monkeypatch.setenv("QDRANT_URL", stub.url)
        monkeypatch.setattr(ragkit, "load_dataset", lambda *_, **__: movies)  # the films in place of collections
        scope = {"dataset": movies, "orange": "orange"}
        for source in [cells[0], *(source for source in cells[start:] if not re.search("rounded|forms", source))]:
            exec(source, scope)
    plt.close("all")
    told = capsys.readouterr().out
    left_out = re.findall(r"^left out: (?:(\S+): )?turbo4 needs Qdrant 1\.19; this is 1\.18\.0: float16\.$", told, re.M)
    rows = ["colbert-turbo4", "colbert-pool2-turbo4", "colbert-pool4-turbo4"]
    assert left_out == ([*rows, ""] if version == "1.18.0" else [])
    for row in [*rows, "colbert-small"]:
        assert bool(re.search(rf"^{row} +\d", told, re.M)) == (version != "1.18.0")
    assert re.search(r"^colbert-binary-raw +\d", told, re.M) and re.search(r"^colbert-pool4-binary-raw +\d", told, re.M)
