"""The workshop guide: its times were measured, its plans add up, and its quotations are in the lessons."""

import importlib.util
import json
import re
from pathlib import Path

import nbformat
import pytest

from tests import reading

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "docs" / "workshop.md").read_text("utf8")
NOTEBOOKS = {path.name[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))}


def cells(number, kind):
    return [cell for cell in nbformat.read(NOTEBOOKS[number], as_version=4).cells if cell.cell_type == kind]


def headings(number):
    return [h for cell in cells(number, "markdown") for h in re.findall(r"^##+ (.+)$", cell.source, re.MULTILINE)]


def printed(number):
    return "\n".join(output.get("text", "") for cell in cells(number, "code") for output in cell.outputs)


def rows(after, until="\n\n"):
    """The cells of each row of the first table after a text."""
    table = GUIDE.split(after, 1)[1].split("| ---", 1)[1].split(until, 1)[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[1:] if line]


def test_the_measured_tables_are_the_committed_measurement():
    spec = importlib.util.spec_from_file_location("measure_lessons", ROOT / "docs" / "measure_lessons.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    result = json.loads((ROOT / "docs" / "results" / "lessons.json").read_text("utf8"))
    assert script.render(GUIDE, result) == GUIDE and "| 04_compare_on_scifact |" in GUIDE


PLANS = {"90": 90, "alone": 90, "240": 240}  # minutes


def spans_of(plan):
    found = rows(f"<!-- plan:{plan} -->", "<!-- /plan -->")
    return [(tuple(map(int, row[0].strip("| ").split("–"))), row[1]) for row in found]


@pytest.mark.parametrize("plan, total", PLANS.items())
def test_a_plan_has_no_gap_and_ends_in_time(plan, total):
    spans = [span for span, _ in spans_of(plan)]
    assert spans[0][0] == 0 and spans[-1][1] == total
    assert all(before[1] == after[0] for before, after in zip(spans, spans[1:], strict=False))
    assert all(start < end for start, end in spans)


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_leaves_the_time_that_reading_and_running_a_lesson_take(plan):
    seconds = reading.machine_seconds()
    planned = {
        number[1]: end - start for (start, end), what in spans_of(plan) if (number := re.match(r"\[(\d\d)\]", what))
    }
    assert len(planned) >= 5
    for number, minutes in planned.items():
        path = NOTEBOOKS[number]
        assert reading.measure(nbformat.read(path, 4), seconds.get(path.stem, 0.0))["minutes"] <= minutes, path.stem


WRONG = rows("## Typical wrong ideas")


@pytest.mark.parametrize("row", WRONG, ids=[row[0].strip('|" ') for row in WRONG])
def test_a_wrong_idea_is_refuted_by_what_the_named_section_prints(row):
    _, place, quoted = row
    number, section = place.split(", ", 1)
    assert section in headings(number)
    assert quoted.strip("` |") in printed(number)


def test_a_reveal_names_a_section_that_is_there():
    reveals = rows("## Before each reveal")
    assert len(reveals) >= 8
    for place, _ in reveals:
        number, section = place.strip("| ").split(", ", 1)
        if section.startswith("section "):
            assert any(heading.startswith(f"{section.split()[1]}. ") for heading in headings(number))
        else:
            assert section in headings(number)


def test_every_quoted_section_of_a_plan_is_there():
    for plan in PLANS:
        for _, what, how in rows(f"<!-- plan:{plan} -->", "<!-- /plan -->"):
            number = re.search(r"\[(\d\d)\]", what)
            for section in re.findall(r'"([A-Z][^"]+)"', how) if number else []:
                assert section.rstrip(",") in headings(number[1])
