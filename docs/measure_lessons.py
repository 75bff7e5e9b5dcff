"""Measure what docs/workshop.md tells of times and sizes: `python docs/measure_lessons.py`; `--render` writes it anew.

Every lesson runs three times, each in a new kernel: from an empty cache, in the lessons' order; again, from the cache
that this filled; and from an empty cache beside a prefetched folder. A lesson that reads no embeddings is the same in
all three. Setting up is pip from that folder's wheels alone.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient

from ragkit.bench.race import machine
from ragkit.files import write_text
from ragkit.workshop.stick import fill_stick

DOCS = Path(__file__).resolve().parent
LESSONS = DOCS.parent / "notebooks"
RESULT = DOCS / "results" / "lessons.json"
# What a folder for a room holds besides: the machines that most rooms are made of.
PLATFORMS = ("this",)


def run(path: Path) -> tuple[float, float, int]:
    """Run a lesson; return seconds, the kernel's seconds of processor time, and its peak resident bytes."""
    client = NotebookClient(
        nbformat.read(path, as_version=4),
        timeout=1200,
        kernel_name="python3",
        resources={"metadata": {"path": LESSONS}},
    )
    seen, done = {"cpu": 0.0, "rss": 0}, threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            try:
                process = psutil.Process(client.km.provisioner.pid)
                times, memory = process.cpu_times(), process.memory_info()
            except (AttributeError, TypeError, psutil.Error):  # not started yet, or ended
                continue
            seen["cpu"] = times.user + times.system
            seen["rss"] = max(seen["rss"], getattr(memory, "peak_wset", memory.rss))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    start = time.perf_counter()
    try:
        client.execute()
        seconds = time.perf_counter() - start
    finally:
        done.set()
        thread.join()
    return seconds, seen["cpu"], seen["rss"]


def measure(only: list[Path]) -> dict:
    """Return the times of setting up and of every lesson, with the machine they were measured on."""
    os.environ["TQDM_DISABLE"] = "1"
    mirror = os.environ.get("RAGKIT_MIRROR")
    lessons: dict[str, dict] = {path.stem: {"lesson": path.stem} for path in only}
    with tempfile.TemporaryDirectory() as room:
        for cache, situation in (("first", "empty"), ("first", "again")):
            os.environ["RAGKIT_CACHE"] = str(Path(room) / cache)
            _pass(only, lessons, situation)
        stick = Path(room) / "stick"
        _, filled = _timed(lambda: fill_stick(stick, platforms=PLATFORMS))
        steps = [{"step": "fill a folder, embeddings in the cache", "s": filled, "MB": _megabytes(stick)}]
        steps += [{"step": f"{part}/ of it", "s": None, "MB": _megabytes(stick / part)} for part in _parts(stick)]
        steps.append(_set_up(stick, Path(room) / "venv"))
        os.environ["RAGKIT_MIRROR"], os.environ["RAGKIT_CACHE"] = str(stick), str(Path(room) / "second")
        _pass(only, lessons, "folder")
        steps.append({"step": "the cache after all lessons", "s": None, "MB": _megabytes(Path(room) / "second")})
    if mirror:
        os.environ["RAGKIT_MIRROR"] = mirror
    return {"machine": machine(), "steps": steps, "lessons": list(lessons.values())}


def _pass(only: list[Path], lessons: dict[str, dict], situation: str) -> None:
    for path in only:
        seconds, cpu, peak = run(path)
        lessons[path.stem] |= {f"{situation}_s": round(seconds, 1), f"{situation}_cpu_s": round(cpu, 1)}
        lessons[path.stem]["peak_MB"] = max(lessons[path.stem].get("peak_MB", 0), round(peak / 1e6))
        print(f"{path.stem}, {situation}: {seconds:.1f} s, {cpu:.1f} s of a core, {peak / 1e6:,.0f} MB", flush=True)


def _set_up(stick: Path, venv: Path) -> dict:
    def install() -> None:
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        python = next(path for path in venv.glob("*/python*") if path.is_file())
        command = [python, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", stick / "wheels"]
        subprocess.run([*command, "-r", DOCS.parent / "requirements.txt"], check=True)

    _, seconds = _timed(install)
    return {"step": "make setup from its wheels", "s": seconds, "MB": _megabytes(venv)}


def _timed(work: Callable) -> tuple[object, float]:
    start = time.perf_counter()
    return work(), round(time.perf_counter() - start, 1)


def _parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def _megabytes(folder: Path) -> int:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return round(sum(path.stat().st_size for path in files) / 1e6)


def table(heads: dict[str, str], rows: list[dict]) -> str:
    """Return rows as a Markdown table; heads: column to heading, the first one left-aligned."""
    lines = ["| " + " | ".join(heads.values()) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for row in rows:
        cells = ["–" if row.get(name) is None else row[name] for name in heads]
        lines.append("| " + " | ".join(f"{c:,.0f}" if isinstance(c, float | int) else c for c in cells) + " |")
    return "\n".join(lines)


def render(text: str, result: dict) -> str:
    """Return the guide's text with the measured tables between their marks."""
    columns = {"lesson": "lesson", "empty_s": "from nothing, s", "empty_cpu_s": "a core's s"}
    columns |= {"folder_s": "with the folder, s", "folder_cpu_s": "a core's s"}
    columns |= {"again_s": "again, s", "again_cpu_s": "a core's s", "peak_MB": "memory at most, MB"}
    on = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    parts = {
        "steps": table({"step": "step", "MB": "MB", "s": "s"}, result["steps"]),
        "lessons": table(columns, result["lessons"]) + f"\n\nMeasured on: {on}.",
    }
    for name, part in parts.items():
        pattern = rf"(<!-- measured:{name} -->\n).*?(<!-- /measured -->)"
        text = re.sub(pattern, lambda m, part=part: f"{m[1]}{part}\n{m[2]}", text, flags=re.DOTALL)
    return text


def main() -> None:
    """Measure, unless only asked to render, and write the result and the guide."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--render", action="store_true", help="measure nothing; write the guide from the last result")
    parser.add_argument("--lessons", metavar="NN,NN,…", help="measure these; the others keep what was measured before")
    options = parser.parse_args()
    if not options.render:
        paths = sorted(LESSONS.glob("[0-9]*.ipynb"))
        asked = options.lessons.split(",") if options.lessons else [path.name[:2] for path in paths]
        result = measure([path for path in paths if path.name[:2] in asked])
        before = json.loads(RESULT.read_text("utf8"))["lessons"] if RESULT.is_file() and options.lessons else []
        rows = {row["lesson"]: row for row in [*before, *result["lessons"]]}
        result["lessons"] = [rows[name] for name in sorted(rows)]
        write_text(RESULT, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    guide = DOCS / "workshop.md"
    write_text(guide, render(guide.read_text("utf8"), json.loads(RESULT.read_text("utf8"))))


if __name__ == "__main__":
    main()
