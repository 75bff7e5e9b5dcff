"""What every test run shares: quiet progress bars, a mirror beside the checkout, an order, and loud skips."""

import functools
import os
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).resolve().parent
# Before any kernel starts: a progress bar on stderr would be an output that no notebook stores.
os.environ["TQDM_DISABLE"] = "1"
# Before ranx is imported: to compile it takes half a minute, to run it on 40 queries as Python a second.
os.environ["NUMBA_DISABLE_JIT"] = "1"
if "RAGKIT_MIRROR" not in os.environ and (ROOT.parent / "shared" / "data" / "beir").is_dir():
    os.environ["RAGKIT_MIRROR"] = str(ROOT.parent / "shared" / "data")

# Lessons of ten minutes: their encoding and searching is half of all tests.
THOROUGH = ("06_cost_of_tokens.ipynb", "07_first_stages.ipynb")
# With several workers the longest files begin first, so that none is waited for at the end. One lesson, in each part of
# the tests, also encodes SciFact; the other files that read it come last, when its vectors are in the cache, and of
# those the longest first.
ENCODES = ("06_cost_of_tokens.ipynb", "04_compare_on_scifact.ipynb")
LONGEST = (*ENCODES, "test_systems.py", "test_client.py", "test_site.py", "test_lab_browser.py")
LONGEST += ("test_ingest.py", "test_package.py", "07_first_stages.ipynb", "test_notebooks.py")
# Exercises are not executed; their solutions are. Two programs are for packages that no lock has (docs/bridges.md).
collect_ignore_glob = ["notebooks/exercises/*", "tests/compare_exports.py", "tests/make_mteb.py"]
NOT_IN_REACH = "SciFact is not in reach"


@functools.cache
def notebook_reads_scifact(path: Path) -> bool:
    return 'load_beir(\\"scifact' in path.read_text("utf8")


def reads_scifact(item) -> bool:
    """Whether a test needs SciFact: a notebook that loads it, or a unit test with @pytest.mark.scifact."""
    notebook = item.path.suffix == ".ipynb" and notebook_reads_scifact(item.path)
    return notebook or item.get_closest_marker("scifact") is not None


@functools.cache
def no_source_of_scifact() -> str:
    """Return why there is nothing to read SciFact from, or "" if there is: whether it can be read is for the tests.

    An address has nothing where nobody answers, or with 404 or 410. Any other answer says no such thing: there are
    servers that know no HEAD, and one that is out of order is a fault.
    """
    from ragkit.datasets import beir, catalogue

    if beir.in_reach("scifact"):
        return ""
    mirror = os.environ.get("RAGKIT_MIRROR", "").rstrip("/")
    addresses = [f"{mirror}/beir/scifact.zip", f"{mirror}/beir/scifact/corpus.jsonl"] if "://" in mirror else []
    addresses.append(catalogue.lookup("scifact").url)
    found = []
    for address in addresses:
        try:
            status = requests.head(address, timeout=20, allow_redirects=True).status_code
        except (requests.ConnectionError, requests.Timeout) as error:
            found.append(f"{address}: {type(error).__name__}")
            continue
        if status not in (404, 410):
            return ""
        found.append(f"{address}: HTTP {status}")
    return f"not in the cache, not in a mirror (RAGKIT_MIRROR={mirror or 'unset'}); {'; '.join(found)}"


def pytest_configure(config):
    config.addinivalue_line("markers", "scifact: reads SciFact; skipped, loudly, where no source of it exists")
    config.addinivalue_line("markers", "slow: takes seconds; in make test, not in make check")
    config.addinivalue_line("markers", "thorough: takes minutes, or other programs; in make thorough, not in make test")
    if hasattr(config, "workerinput"):
        core_of_its_own(config.workerinput["workerid"])


def core_of_its_own(worker: str) -> None:
    """Keep a worker, gw0 or gw1, and the kernels and servers that it starts on one core, where the system can.

    A model and an index have a thread a core each, which spin as they wait for one another: workers that share cores
    spend most of their time on that.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(config, items):
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()) or item.path.name in THOROUGH:
            item.add_marker("thorough")
        if reads_scifact(item) or item.get_closest_marker("thorough"):
            item.add_marker("slow")
    if not hasattr(config, "workerinput"):
        return
    late = {item.path for item in items if reads_scifact(item)}
    place = {name: i for i, name in enumerate(LONGEST)}
    late -= {ROOT / "notebooks" / name for name in ENCODES}
    items.sort(key=lambda item: (item.path in late, place.get(item.path.name, len(place))))


def reads_cranfield(item) -> bool:
    """Whether this is the one cell of a lesson that shows a second collection, where there is one."""
    return item.path.suffix == ".ipynb" and 'elsewhere("cranfield")' in getattr(item, "cell", {}).get("source", "")


def pytest_runtest_setup(item):
    from ragkit.datasets import beir

    if reads_cranfield(item) and not beir.in_reach("cranfield"):
        pytest.skip("cranfield is not in reach, and the lesson says so")
    if reads_scifact(item) and no_source_of_scifact():
        pytest.skip(f"{NOT_IN_REACH}: {no_source_of_scifact()}")


def pytest_terminal_summary(terminalreporter):
    # From the reports, which the workers of pytest-xdist send too.
    skipped = [r for r in terminalreporter.stats.get("skipped", []) if NOT_IN_REACH in str(r.longrepr)]
    if skipped:
        terminalreporter.section(f"NOT TESTED: {NOT_IN_REACH}", sep="!", red=True, bold=True)
        names = [r.nodeid.split("::")[0] if ".ipynb" in r.nodeid else r.nodeid for r in skipped]
        for name in dict.fromkeys(names):
            terminalreporter.line(f"  skipped: {name}")
        terminalreporter.line(f"  why: {str(skipped[0].longrepr[2]).partition(f'{NOT_IN_REACH}: ')[2]}")
