"""Work in processes of its own, which can be killed, and whose memory can be measured."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qdrant_edge
from tqdm import tqdm

import ragkit
from ragkit.datasets.dataset import Dataset
from ragkit.encoders import encoder as encoders
from ragkit.engines.edge import EdgeIndex

BATCH_BYTES = 150_000  # so little that an ingest of a few hundred short texts is made durable several times
TOKENS_PER_BATCH = 200


# What Python tells of before it does it, as far as files are changed: see "audit events" in its documentation.
CHANGES = {"os.chmod", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "sqlite3.connect"}


@contextmanager
def full_after(size: int) -> Iterator[None]:
    """Let no file become larger than so many bytes: a write is cut short there, as on a disk that fills."""
    import resource  # Windows limits no file's size, and lacks it

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def forking():
    """Return a context whose processes are forked from one that has imported everything: dozens start in seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.processes", "ragkit.engines.ingest", "ragkit.encoders.variants", "ragkit.workshop.stick", "pandas"]
    )
    return context


def at_change(number: int, act: Callable[[], None]) -> Callable[[], int]:
    """Call `act` before this process's change of that number to files, from 0; return how many there were so far."""
    count = 0

    def hear(event: str, arguments: tuple) -> None:
        nonlocal count
        written = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in CHANGES or written) and count <= number:
            count += 1
            if count == number + 1:
                act()

    sys.addaudithook(hear)
    return lambda: count


@dataclass(frozen=True)
class _Ended:
    """What a process says last; it may be killed after it."""

    changes: int


class Killed:
    """A process that does `work(say, *arguments)`, and is killed before a change to files, or after some seconds.

    `said`: what the work said; `changes`: how many changes to files it made; `ended`: whether it came to its end.
    """

    def __init__(self, work: Callable, *arguments: Any, change: int = 10**9, seconds: float | None = None):
        context = forking()
        heard, said = context.Pipe(duplex=False)
        begun = time.monotonic()
        process = context.Process(target=_killed, args=(said, dict(os.environ), os.getcwd(), change, work, arguments))
        process.start()
        said.close()
        self.said: list[Any] = []
        self.changes = 0
        try:
            heard.recv()  # it has begun
            begun = time.monotonic()
            if seconds is not None:
                time.sleep(seconds)
                process.kill()
            while True:
                self.said.append(heard.recv())
        except EOFError:
            pass
        self.seconds = time.monotonic() - begun
        process.join()
        assert process.exitcode in (0, -9), f"the work failed with {process.exitcode}; see its traceback"
        self.ended = bool(self.said) and isinstance(self.said[-1], _Ended)
        if self.ended:
            self.changes = self.said.pop().changes


def _killed(said, environment: dict, here: str, change: int, work: Callable, arguments: tuple) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(here)
    tqdm.set_lock(threading.RLock())  # one between processes would outlive a kill
    said.send(None)
    changes = at_change(change, lambda: os.kill(os.getpid(), signal.SIGKILL))
    work(said.send, *arguments)
    said.send(_Ended(changes()))


class Ingest:
    """A process that ingests a collection into a folder, and says each step before it begins: `steps`.

    The steps: "encode N" (texts that a model is asked), "create", "load", "found N" (documents in the folder when
    it was opened), "update" (one document), "optimize", "flush", and "flushed" when a flush is over.
    """

    def __init__(self, dataset: Dataset, names: list[str], folder: Path):
        context = forking()
        self._heard, said = context.Pipe(duplex=False)
        self.steps: list[str] = []
        self._process = context.Process(target=_ingest, args=(said, _cache(), dataset, names, folder))
        self._process.start()
        said.close()  # so that the pipe ends when the process does

    def killed_at(self, step: int, seconds: float = 0.0) -> bool:
        """Kill it so many seconds after its step of that number began; return whether it had not ended by then."""
        while len(self.steps) <= step and self._hear():
            pass
        time.sleep(seconds)
        self._process.kill()
        return not self.ended()

    def ended(self) -> bool:
        """Wait; return whether it came to its end, and False if it was killed."""
        while self._hear():
            pass
        self._process.join()
        assert self._process.exitcode in (0, -9), "the ingest failed; see its traceback"
        return self._process.exitcode == 0

    def count(self, step: str) -> int:
        """Return how often it began that step; with numbers, their sum."""
        numbers = [said.partition(" ")[2] for said in self.steps if said.split()[0] == step]
        return sum(int(number or 1) for number in numbers)

    @property
    def durable(self) -> int:
        """How many documents the folder held after the last flush that was over, those that it held before too."""
        flushes = [i for i, step in enumerate(self.steps) if step == "flushed"]
        return self.count("found") + self.steps[: flushes[-1] if flushes else 0].count("update")

    def _hear(self) -> bool:
        try:
            self.steps.append(self._heard.recv_bytes().decode())
        except EOFError:
            return False
        return True


def _ingest(said, cache: str, dataset: Dataset, names: list[str], folder: Path) -> None:
    def say(step: str) -> None:
        said.send_bytes(step.encode())

    class Shard:
        """Qdrant's shard, which says what it is asked to do."""

        def __init__(self, shard):
            self._shard = shard

        @staticmethod
        def create(*arguments):
            say("create")
            return Shard(engine.create(*arguments))

        @staticmethod
        def load(*arguments):
            say("load")
            return Shard(engine.load(*arguments))

        def update(self, operation):
            say("update")
            self._shard.update(operation)

        def optimize(self):
            say("optimize")
            self._shard.optimize()

        def flush(self):
            say("flush")
            self._shard.flush()
            say("flushed")

        def __getattr__(self, name):
            return getattr(self._shard, name)

    def stream(self, doc_ids, documents, stream=EdgeIndex.stream):
        say(f"found {len(self.doc_ids)}")
        stream(self, doc_ids, documents)

    def embed(self, batch, role, embed=encoders.Encoder._embed):
        say(f"encode {len(batch)}")
        return embed(self, batch, role)

    tqdm.set_lock(threading.RLock())  # one between processes would outlive a kill
    engine, qdrant_edge.EdgeShard, EdgeIndex.stream = qdrant_edge.EdgeShard, Shard, stream
    encoders.Encoder._embed, encoders.TOKENS_PER_BATCH, EdgeIndex.batch_bytes = embed, TOKENS_PER_BATCH, BATCH_BYTES
    os.environ["RAGKIT_CACHE"] = cache
    index, _ = ragkit.build_index(dataset, ragkit.load_encoders(names), folder)
    index.close()


def started(work: Callable, *arguments):
    """Start `work(*arguments)` in a process of its own that shares this one's cache, and return the process."""
    process = multiprocessing.get_context("spawn").Process(target=_in_cache, args=(_cache(), work, arguments))
    process.start()
    return process


def anonymous_growth(work: Callable[..., Iterator[None]], *arguments) -> list[float]:
    """Return by how many megabytes a process had grown at most, at each `yield` of `work` after the first.

    Only memory that is no file's is counted (RssAnon of Linux): what the engine maps from its folder is a file's.
    """
    heard, said = multiprocessing.get_context("spawn").Pipe(duplex=False)
    process = started(_watched, said, work, arguments)
    said.close()
    try:
        return heard.recv()
    finally:
        process.join()


def _watched(said, work: Callable[..., Iterator[None]], arguments: tuple) -> None:
    peak, done = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, _anonymous())

    steps = work(*arguments)
    next(steps)
    before, peaks = _anonymous(), []
    threading.Thread(target=watch, daemon=True).start()
    for _ in steps:
        peaks.append(max(peak, _anonymous()) - before)
    done.set()
    said.send(peaks)


def _anonymous() -> float:
    return int(Path("/proc/self/status").read_text(encoding="utf8").split("RssAnon:")[1].split()[0]) / 1024


def _in_cache(cache: str, work: Callable, arguments: tuple) -> None:
    os.environ["RAGKIT_CACHE"] = cache
    work(*arguments)


def _cache() -> str:
    return os.environ["RAGKIT_CACHE"]
