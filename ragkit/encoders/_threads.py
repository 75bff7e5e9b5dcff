"""One thread for matrix products so small that several would wait for one another longer than they compute."""

import functools
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np  # noqa: F401  its BLAS has to be loaded before it is looked for
from threadpoolctl import ThreadpoolController

_lock, _limit = threading.Lock(), ExitStack()
_inside = 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Return a context in which matrix products take one thread, of this whole process.

    On two cores that is ten times as fast for a document's rows. Entering it takes some 30 microseconds. It may be
    entered by several threads at once: the last to leave gives the threads back.
    """
    global _inside
    with _lock:
        if not _inside:
            _limit.enter_context(_libraries().limit(limits=1, user_api="blas"))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _limit.close()


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()
