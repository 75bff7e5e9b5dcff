"""How a lesson reads: `python -m tests.reading` prints it, and test_notebooks.py holds each lesson to LIMITS."""

import json
import re
from pathlib import Path

import nbformat

from ragkit.display import tables

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))

WORDS_A_MINUTE, LINES_A_MINUTE = 200, 25
LIMITS = {
    "decimals per 100 words": 2.0,
    "words per sentence": 18.0,
    "numbers in one sentence": 2,
    "lines in one cell": 12,
    "lines of code": 110,
}

DECIMAL = re.compile(r"\d\.\d")
# A number by itself: not that of a lesson, not part of a name (nDCG@10, q01), not in code.
NUMBER = re.compile(r"(?<![\w@.,/-])[+−-]?\d[\d,]*(?:\.\d+)?(?![\w-])")
CODE = re.compile(r"`[^`]*`")


def prose(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the paragraphs and list items of a notebook's text: no headings, tables, code blocks, links or tags."""
    paragraphs = []
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        text = re.sub(r"^```.*?^```", "", cell.source, flags=re.MULTILINE | re.DOTALL)
        text = re.sub(r"</?(details|summary|br|p|b|i|em|img|a)\b[^>]*>", "\n\n", text)
        text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
        lines = ["" if re.match(r"\s*(#|\||---)", line) else line for line in text.splitlines()]
        lines = [re.sub(r"^\s*(?:[-*]|\d+\.)\s+", "\n", line) for line in lines]
        paragraphs += [p for p in re.split(r"\n\s*\n", "\n".join(lines)) if re.search(r"\w", p)]
    return [" ".join(p.split()) for p in paragraphs]


def sentences(paragraphs: list[str]) -> list[str]:
    """Return the sentences of paragraphs; a paragraph's end ends one.

    >>> sentences(["One is here. Is this two?", "**Three.**"])
    ['One is here.', 'Is this two?', '**Three.**']
    """
    return [s for p in paragraphs for s in re.split(r"(?<=[.!?])[*_)\"”]*\s+(?=[^a-z])", p) if words([s])]


def words(paragraphs: list[str]) -> int:
    """Return how many words there are; a sign alone is none.

    >>> words(["one → two"])
    2
    """
    return sum(bool(re.search(r"\w", word)) for p in paragraphs for word in p.split())


def numbers(sentence: str) -> list[str]:
    """Return the numbers that a reader meets in a sentence.

    >>> numbers("In lesson 02, q01 gains 0.061 of nDCG@10 over 40 queries")
    ['0.061', '40']
    """
    return NUMBER.findall(re.sub(r"[Ll]essons? \d\d( (to|and) \d\d)?|§ ?\d+", "", CODE.sub("x", sentence)))


def measure(notebook: nbformat.NotebookNode, machine_s: float = 0.0) -> dict:
    """Return what is limited, with the minutes that reading and running take; machine_s: seconds of the machine."""
    text = prose(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    lines = [len(cell.source.splitlines()) for cell in cells]
    everything = words([cell.source for cell in notebook.cells if cell.cell_type == "markdown"])
    said = sentences(text)
    return {
        "words": everything,
        "decimals per 100 words": 100 * sum(len(DECIMAL.findall(p)) for p in text) / words(text),
        "words per sentence": words(text) / len(said),
        "numbers in one sentence": max(len(numbers(s)) for s in said),
        "lines in one cell": max(lines),
        "lines of code": sum(lines),
        "minutes": everything / WORDS_A_MINUTE + sum(lines) / LINES_A_MINUTE + machine_s / 60,
    }


def stated_minutes(notebook: nbformat.NotebookNode) -> int:
    """Return the minutes that a lesson says it takes."""
    return int(re.search(r"\*\*Time:?\*\*:? (\d+) minutes", notebook.cells[0].source)[1])


def machine_seconds() -> dict[str, float]:
    """Return each lesson's seconds from nothing, as docs/measure_lessons.py measured them."""
    measured = json.loads((ROOT / "docs" / "results" / "lessons.json").read_text("utf8"))["lessons"]
    return {row["lesson"]: row["empty_s"] for row in measured}


def too_much(path: Path) -> list[str]:
    """Return what of a lesson is over its limit, in words; nothing where it keeps to them."""
    notebook = nbformat.read(path, 4)
    found = measure(notebook, machine_seconds().get(path.stem, 0.0))
    limits = LIMITS | {"minutes": stated_minutes(notebook)}
    return [f"{name}: {found[name]:.1f}, at most {limit}" for name, limit in limits.items() if found[name] > limit]


if __name__ == "__main__":
    seconds = machine_seconds()
    rows = []
    for path in LESSONS:
        notebook = nbformat.read(path, 4)
        found = measure(notebook, seconds.get(path.stem, 0.0)) | {"stated": stated_minutes(notebook)}
        rows.append({"lesson": path.stem} | {k: round(v, 1) if isinstance(v, float) else v for k, v in found.items()})
    print(tables.table(rows))
