"""What this process has of the machine: how many cores it may use, and how much memory it takes."""

import ctypes
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_EVERY_S = 0.02
# How many microseconds of a core a container may take in how many, or "max".
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """Return how many cores this process may use: those it is bound to, and no more than its container is given.

    ONNX Runtime knows of neither, and has a thread for each core of the machine, which spin while they wait for one
    another.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # neither macOS nor Windows
    found = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, _, period = _QUOTA.read_text("ascii").partition(" ")
        given = math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no such container, or "max"
        given = found
    return max(1, min(found, given))


@contextmanager
def peak_growth() -> Iterator[Callable[[], int]]:
    """Measure by how many bytes the process grows at most inside the block (resident memory).

    Yields a function that returns the bytes; it is asked every 20 ms, so a shorter peak is missed.
    """
    process = psutil.Process()
    if sys.platform == "linux":  # give back what earlier work freed, so that it does not hide growth
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = peak = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(_EVERY_S):
            peak = max(peak, process.memory_info().rss)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: max(peak, before) - before
    finally:
        done.set()
        thread.join()
