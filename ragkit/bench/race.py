"""Rivals timed in turn, in one run, so that what slows the machine slows them all."""

import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil

from ragkit.datasets.dataset import Dataset
from ragkit.errors import RagkitError
from ragkit.machine import cores
from ragkit.progress import progress


def refuse_passages(dataset: Dataset) -> None:
    """Raise RagkitError for a dataset that is cut into passages: a bench ranks rows, and judged are whole documents."""
    if dataset.has_passages:
        raise RagkitError(
            f"bench measures whole documents, and {dataset.name} is cut into passages: import its documents without "
            "--passages into another folder, or compare it, which counts a document by its best passage."
        )


def race(contestants: Mapping[str, Callable[[int], object]], rounds: int, rival: str, warm_up: int = 1) -> list[dict]:
    """Return a row a contestant: milliseconds, and how many times as fast as the rival it is; each min, median, max.

    contestants: functions of the round's number; every round calls them all, each time from another one on.
    A ratio is of the times of one round. The first `warm_up` rounds do not count. Raises RagkitError if the rival is
    none of them.

    >>> [row["what"] for row in race({"a": abs, "b": abs}, 3, "a")]
    ['a', 'b']
    """
    if rival not in contestants:
        raise RagkitError(f"The rival {rival!r} is none of {', '.join(contestants)}.")
    names = list(contestants)
    ms: dict[str, list[float]] = {name: [] for name in names}
    with progress(rounds + warm_up, "racing", "round") as bar:
        for i in range(rounds + warm_up):
            turn = i % len(names)
            for name in names[turn:] + names[:turn]:
                start = time.perf_counter()
                contestants[name](i)
                if i >= warm_up:
                    ms[name].append(1000 * (time.perf_counter() - start))
            bar.update()
    return [{"what": name, **_spread("ms", ms[name]), **_ratios(ms[rival], ms[name])} for name in names]


def _ratios(rival: list[float], own: list[float]) -> dict[str, float]:
    return _spread("times_as_fast", [a / max(b, 1e-6) for a, b in zip(rival, own, strict=True)])


def _spread(name: str, values: list[float]) -> dict[str, float]:
    return {f"{name}_min": min(values), name: float(np.median(values)), f"{name}_max": max(values)}


def machine() -> dict[str, str | int]:
    """Return what the times were taken on: system, processor, cores, memory in GB, versions."""
    processor = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [
            line.partition(":")[2].strip() for line in cpuinfo.read_text("utf8").splitlines() if "model name" in line
        ]
        processor = lines[0] if lines else processor
    packages = ("fastembed", "qdrant-client", "qdrant-edge-py", "onnxruntime", "numpy")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor,
        "cores": cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }
