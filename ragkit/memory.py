"""How much memory this process takes, at most."""

import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

_EVERY_S = 0.02


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
