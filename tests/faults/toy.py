"""Trials whose outcomes are known, for the test that the runner notices each."""

import os
import time
from collections.abc import Iterator

from ragkit import RagkitError
from tests.faults.trials import Room, Trial, ask


def prepare(kit) -> None:
    (kit / "ready").write_text("yes")


def trials(rng) -> Iterator[Trial]:
    def refuse():
        raise RagkitError("A line was given; expected two. Add one.")

    def stumble():
        raise KeyError("text")

    def ready(room: Room) -> str:
        return ask(lambda: (room.kit / "ready").read_text(), lambda text: text == "yes")

    yield Trial("refused", lambda room: ask(refuse))
    yield Trial("went on", ready)
    yield Trial("another exception", lambda room: ask(stumble))
    yield Trial("in silence another result", lambda room: ask(lambda: 1, lambda value: value == 2))
    yield Trial("a dead process", lambda room: os.abort())
    yield Trial("a hang", lambda room: time.sleep(60), seconds=1)
    yield Trial("went on after them", ready)
