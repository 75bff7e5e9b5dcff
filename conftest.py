"""What every test run shares: quiet progress bars, a mirror beside the checkout, and loud skips."""

import functools
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
# Before any kernel starts: a progress bar on stderr would be an output that no notebook stores.
os.environ["TQDM_DISABLE"] = "1"
if "RAGKIT_MIRROR" not in os.environ and (ROOT.parent / "shared" / "data" / "beir").is_dir():
    os.environ["RAGKIT_MIRROR"] = str(ROOT.parent / "shared" / "data")

# Lessons that read SciFact; unit tests that do are marked with @pytest.mark.scifact.
SCIFACT_LESSONS = ("04_", "05_", "06_")
# Exercises are not executed; their solutions are.
collect_ignore_glob = ["notebooks/exercises/*"]
_skipped: list[str] = []


@functools.cache
def scifact_problem() -> str:
    """Return why SciFact cannot be read, or "" if it can."""
    from ragkit import RagkitError, load_beir

    try:
        load_beir("scifact")
    except RagkitError as error:
        return str(error)
    return ""


def pytest_configure(config):
    config.addinivalue_line("markers", "scifact: reads SciFact; skipped, loudly, where it is not in reach")


def pytest_runtest_setup(item):
    needs = item.get_closest_marker("scifact") or (
        item.path.suffix == ".ipynb" and item.path.name.startswith(SCIFACT_LESSONS)
    )
    if needs and scifact_problem():
        name = f"{item.path.name}" if item.path.suffix == ".ipynb" else item.nodeid
        if name not in _skipped:
            _skipped.append(name)
        pytest.skip("SciFact is not in reach")


def pytest_terminal_summary(terminalreporter):
    if _skipped:
        terminalreporter.section("NOT TESTED: SciFact is not in reach", sep="!", red=True, bold=True)
        for name in _skipped:
            terminalreporter.line(f"  skipped: {name}")
        terminalreporter.line(f"  why: {scifact_problem()}")
