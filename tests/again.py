"""`python -m tests.again [WORD …]`: lessons and the unit tests of `make test`, as on another machine; what changes.

Ways: the models' numbers moved by 3e-7, as processors differ; 1 and 8 cores, which Edge's segments follow; another hash
seed; a busy machine; for lessons, the server at QDRANT_URL, or without one a stub that cuts every collection into three
shards. A word is a way, or a part of a file's name; none is all. What passed is kept in build/again.json while nothing
that it depends on changes, so that a run which was stopped goes on.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.stub_server import StubServer

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "build" / "again.json"
WAYS = {
    "noise": {"RAGKIT_NOISE": "3e-7"},
    "one-core": {"RAGKIT_CORES": "1"},
    "eight-cores": {"RAGKIT_CORES": "8"},
    "hash": {"PYTHONHASHSEED": "12345"},
    "load": {},
    "server": {},
}
_BURN = "while True: sum(i * i for i in range(10_000))"


def targets() -> list[Path]:
    """Return the lessons, and the files of tests that need no browser; of these the tests of `make test` are run."""
    notebooks = [p for p in sorted((ROOT / "notebooks").rglob("*.ipynb")) if p.parent.name != "exercises"]
    return notebooks + [path for path in sorted((ROOT / "tests").glob("test_*.py")) if "browser" not in path.name]


def chosen(words: list[str]) -> tuple[list[str], list[Path]]:
    """Return which ways and which files the words choose.

    >>> chosen(["noise", "08_"])[0]
    ['noise']
    """
    ways = [word for word in words if word in WAYS] or list(WAYS)
    parts = [word for word in words if word not in WAYS]
    return ways, [path for path in targets() if not parts or any(part in str(path.relative_to(ROOT)) for part in parts)]


def fingerprint(path: Path) -> str:
    """Return what stands for a file and all that its outcome depends on."""
    digest = hashlib.sha256()
    helpers = [file for file in sorted((ROOT / "tests").rglob("*.py")) if not file.name.startswith("test_")]
    shared = ["tests/nbval.cfg", "requirements.txt", "conftest.py", "data/SHA256SUMS"]
    own = [path, *(ROOT / name for name in shared), *helpers, *sorted((ROOT / "ragkit").rglob("*.py"))]
    for part in own:
        digest.update(part.read_bytes())
    return digest.hexdigest()


def outcome(surroundings: dict[str, str], path: Path, cache: Path) -> list[str]:
    """Return what fails of a file when it is run in such an environment, a line each; none if all is as stored."""
    before = [str(ROOT / "tests" / "elsewhere"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | surroundings | {"PYTHONPATH": os.pathsep.join(before), "TQDM_DISABLE": "1"}
    environment |= {"RAGKIT_CACHE": str(cache)}
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=", "-m", "not thorough and not online and not server"]
    if path.suffix == ".ipynb":
        sanitize = f"--nbval-sanitize-with={ROOT / 'tests' / 'nbval.cfg'}"
        options = [*options[:5], "--nbval", "--nbval-current-env", sanitize]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf8",
    )
    if done.returncode in (0, 5):  # 5: nothing of it is tested so
        return []
    # As an edit that makes one output the other: of a lesson, nbval's; of a test, the end of its report.
    lines = [
        line for line in done.stdout.splitlines() if re.match(r"FAILED|ERROR|Cell \d|<<<|\+\+\+|E  ", line.strip())
    ]
    return lines[:40] or done.stdout.splitlines()[-5:] or done.stderr.splitlines()[-5:]


@contextmanager
def surroundings_of(way: str) -> Iterator[dict[str, str]]:
    """Give the environment of a way, and what else belongs to it: a stub, or twice as many busy processes as cores."""
    with ExitStack() as stack:
        own = dict(WAYS[way])
        if way == "server":
            own["QDRANT_URL"] = os.environ.get("QDRANT_URL") or stack.enter_context(StubServer(nodes=3)).url
        for _ in range(2 * (os.cpu_count() or 1) if way == "load" else 0):
            burning = stack.enter_context(subprocess.Popen([sys.executable, "-c", _BURN]))
            stack.callback(burning.kill)
        yield own


def tried(way: str, path: Path, surroundings: dict[str, str], cache: Path, kept: dict[str, str]) -> bool:
    """Run a file, unless `kept` has that it passed; print what came of it, and return whether anything changes."""
    name, stands_for = f"{way} {path.relative_to(ROOT).as_posix()}", fingerprint(path)
    if kept.get(name) == stands_for:  # never of a server, which the fingerprint knows nothing of
        print(f"{name}: as stored (kept)", flush=True)
        return False
    lines = outcome(surroundings, path, cache)
    print("\n    ".join([f"{name}: {'changes' if lines else 'as stored'}", *lines]), flush=True)
    if not lines and way != "server":
        kept[name] = stands_for
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(kept, indent=1), "utf8")
    return bool(lines)


def main(words: list[str]) -> int:
    """Run what the words choose; print what changes, and return how many files have something."""
    kept: dict[str, str] = json.loads(KEPT.read_text("utf8")) if KEPT.exists() else {}
    ways, paths = chosen(words)
    changes = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as caches:
        for way in ways:
            # Vectors that are moved are no use to other ways, nor theirs to this one.
            cache = Path(caches) / ("moved" if "RAGKIT_NOISE" in WAYS[way] else "kept")
            # Tests choose their engine, and those of a server are `pytest tests -m server`.
            own = [path for path in paths if way != "server" or path.suffix == ".ipynb"]
            with surroundings_of(way) as surroundings:
                changes += [tried(way, path, surroundings, cache, kept) for path in own]
    print(f"{sum(changes)} of {len(changes)} change something." if any(changes) else "Nothing changes.")
    return sum(changes)


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
