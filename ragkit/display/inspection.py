"""An inspection in lines: all of it, or the three that stand above a comparison."""

import textwrap

from ragkit.datasets.inspecting import Inspection

_WIDTH = 116
_SHORT = {
    "Texts": ("language", "truncation"),
    "Judgments": ("judgments", "duplicates", "queries", "empty", "ids"),
    "Power": ("power",),
}


def full(inspection: Inspection) -> str:
    """Return every check as a line; under a fault, marked by "!", its examples and what to do."""
    counts = f"{inspection.documents:,} documents, {inspection.queries:,} queries, {inspection.judgments:,} judgments"
    lines = [f"{inspection.dataset}: {counts}", *(f"Note: {note}." for note in inspection.notes), ""]
    for check in inspection.checks:
        lines += _wrapped(f"{'!' if check.found else ' '} {check.kind:<11} ", f"{check.what}.")
        lines += [line for example in check.examples for line in _wrapped(" " * 16, example)]
        lines += _wrapped(f"{'':14}Do: ", f"{check.advice}.") if check.found else []
    many = len(inspection.findings)
    lines += ["", f"{many} of {len(inspection.checks)} checks found something." if many else "Nothing was found."]
    return "\n".join(lines)


def short(inspection: Inspection, command: str = "") -> str:
    """Return three lines: the texts as the models read them, judgments and ids, and what the queries could show.

    Where something is wrong with judgments and ids, only that is told. command: what tells more of what is wrong.
    """
    lines = []
    for title, kinds in _SHORT.items():
        checks = [inspection[kind] for kind in kinds]
        found = [check for check in checks if check.found]
        told = found if found and title == "Judgments" else checks
        text = "; ".join(check.what for check in told)
        more = f" More: {command}" if found and command else ""
        lines.append(f"{'! ' if found else ''}{title}: {text}.{more}")
    return "\n".join(lines)


def _wrapped(lead: str, text: str) -> list[str]:
    indent = " " * len(lead)
    return textwrap.wrap(
        text, _WIDTH, initial_indent=lead, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
