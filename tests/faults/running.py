"""Runs an area's trials in processes of their own, since a trial may end its process, hang or take all memory."""

import importlib
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.faults.trials import WRONG, Room, Trial

MOST_MEMORY = 4e9  # bytes resident


@dataclass(frozen=True)
class Outcome:
    """What came of a trial: CLEAR, SURVIVED or WRONG, and for the last how."""

    area: str
    name: str
    outcome: str
    how: str = ""


def trials_of(area: str, seed: int, share: float) -> list[Trial]:
    """Return an area's trials, the same for the same seed; share: the part of them that is drawn, in their order.

    None for an area whose `lacking()` says what this machine does not have.
    """
    module = importlib.import_module(f"tests.faults.{area}")
    if lacking(area):
        return []
    trials = list(module.trials(random.Random(seed)))
    kept = sorted(random.Random(seed).sample(range(len(trials)), max(1, round(share * len(trials)))))
    return [trials[i] for i in kept]


def lacking(area: str) -> str | None:
    """Return what an area needs and this machine does not have, in words; None if it can run."""
    module = importlib.import_module(f"tests.faults.{area}")
    return module.lacking() if hasattr(module, "lacking") else None


def run(area: str, seed: int, share: float, workers: int) -> Iterator[Outcome]:
    """Prepare an area, run its trials, and yield what came of each as it ends."""
    module = importlib.import_module(f"tests.faults.{area}")
    if lacking(area):
        return
    kit = Path(tempfile.mkdtemp(prefix="ragkit-faults-"))
    try:
        if hasattr(module, "prepare"):
            preparing = _context().Process(target=module.prepare, args=(kit,))
            preparing.start()
            preparing.join()
            if preparing.exitcode != 0:
                raise SystemExit(f"{area}: its preparation failed; see the traceback above.")
        trials = trials_of(area, seed, share)
        todo = list(range(len(trials)))
        running: list[_Worker] = []
        free = list(range(workers))
        while todo or running:
            while todo and free:
                # A worker takes some trials, so that importing the kit does not cost more than they do.
                batch, todo = todo[: max(1, len(trials) // (workers * 4))], todo[max(1, len(trials) // (workers * 4)) :]
                running.append(_Worker(area, seed, share, kit, batch, free.pop()))
            for worker in list(running):
                number, outcome, how = worker.step(trials)
                if number is not None:
                    yield Outcome(area, trials[number].name, outcome, how)
                if worker.ended:
                    running.remove(worker)
                    free.append(worker.slot)
                    todo = worker.left + todo
            time.sleep(0.01)
    finally:
        shutil.rmtree(kit, ignore_errors=True)


class _Worker:
    """A process that runs some trials in turn, watched from outside."""

    def __init__(self, area: str, seed: int, share: float, kit: Path, numbers: list[int], slot: int):
        self.left, self.ended, self.slot = list(numbers), False, slot
        self._scratch = Path(tempfile.mkdtemp(prefix="ragkit-fault-"))
        self._heard, said = _context().Pipe(duplex=False)
        self._process = _context().Process(
            target=_work, args=(said, area, seed, share, kit, self._scratch, numbers, slot)
        )
        self._process.start()
        said.close()
        self._begun: float | None = None  # when the trial began; None while the kit is imported

    def step(self, trials: list[Trial]) -> tuple[int | None, str, str]:
        """Return the number, outcome and how of a trial that has ended since the last call; None if none has."""
        if self._heard.poll():
            try:
                said = self._heard.recv()
            except EOFError:
                return self._died()
            self._begun = time.monotonic()
            if said is None:  # imported
                return None, "", ""
            return self.left.pop(0), *said
        if not self._process.is_alive() and not self._heard.poll():
            return self._died()
        if self._begun and self.left:
            limit = trials[self.left[0]].seconds
            if time.monotonic() - self._begun > limit:
                return self._kill(f"not done after {limit:.0f} seconds")
            if self._memory() > MOST_MEMORY:
                return self._kill(f"took over {MOST_MEMORY / 1e9:.0f} GB of memory")
        return None, "", ""

    def _memory(self) -> float:
        try:
            return psutil.Process(self._process.pid).memory_info().rss
        except psutil.NoSuchProcess:
            return 0

    def _kill(self, how: str) -> tuple[int | None, str, str]:
        for process in [*psutil.Process(self._process.pid).children(recursive=True), self._process]:
            process.kill()
        self._process.join()
        return self._end(how)

    def _died(self) -> tuple[int | None, str, str]:
        self._process.join()
        code = self._process.exitcode or 0
        return self._end(f"the process died of {signal.Signals(-code).name}" if code < 0 else f"it ended with {code}")

    def _end(self, how: str) -> tuple[int | None, str, str]:
        self.ended = True
        self._heard.close()
        shutil.rmtree(self._scratch, ignore_errors=True)
        return (self.left.pop(0), WRONG, how) if self.left else (None, "", "")


def _context():
    return multiprocessing.get_context("spawn")


def _work(said, area: str, seed: int, share: float, kit: Path, scratch: Path, numbers: list[int], slot: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        # A core each: the threads of models and of Edge wait in loops, and would take the cores from each other.
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[slot % len(cores)]})
    trials = trials_of(area, seed, share)
    said.send(None)
    for number in numbers:
        room = Room(kit, scratch / str(number))
        room.scratch.mkdir()
        here, environment = os.getcwd(), dict(os.environ)
        try:
            said.send((trials[number].work(room), ""))
        except BaseException as error:  # whatever it is, it is no RagkitError that was asked for
            said.send((WRONG, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"))
        os.chdir(here)
        os.environ.clear()
        os.environ.update(environment)
        shutil.rmtree(room.scratch, ignore_errors=True)
