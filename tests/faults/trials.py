"""What a trial is: one fault, injected into one piece of work, and how it is judged."""

import io
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from ragkit import RagkitError
from ragkit.cli import main

CLEAR, SURVIVED, WRONG = "clear error", "survived", "wrong"
LONGEST = 2_000  # characters of a message; a server's answer or a file's line is cut long before
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Room:
    """Where a trial takes place: `kit`, prepared by its area and only read, and an empty `scratch` of its own."""

    kit: Path
    scratch: Path


@dataclass(frozen=True)
class Trial:
    """One fault. `work` returns CLEAR or SURVIVED; whatever it raises is WRONG, and says how.

    WRONG are also: a process that dies, one that is not done after `seconds`, and one that takes over 4 GB.
    """

    name: str
    work: Callable[[Room], str]
    seconds: float = 60


def ask(call: Callable[[], object], same: Callable[[object], bool] | None = None, secrets: tuple[str, ...] = ()) -> str:
    """Return CLEAR if the call raises a well-said RagkitError, SURVIVED if it returns and `same` holds of its result.

    Any other exception passes through. Raises AssertionError for a result that is not the same, a message that is not
    well said, and one that has a secret in it.
    """
    try:
        result = call()
    except RagkitError as error:
        well_said(str(error), secrets)
        return CLEAR
    assert same is None or same(result), f"in silence another result: {str(result)[:200]}"
    return SURVIVED


def well_said(message: str, secrets: tuple[str, ...] = ()) -> None:
    """Raise AssertionError for a message that is empty, too long, holds control characters, a traceback or a secret."""
    assert message.strip(), "an empty message"
    assert len(message) <= LONGEST, f"a message of {len(message):,} characters: {message[:200]}"
    assert not _CONTROL.search(message), f"control characters in the message: {message[:200]!r}"
    assert "Traceback (most recent call last)" not in message, f"a traceback: {message[-300:]}"
    for secret in secrets:
        assert secret not in message, "a secret in the message"


def command_said(status: int, errors: str, secrets: tuple[str, ...] = ()) -> str:
    """Return CLEAR for a command that ended with 2 and one `error:` line, SURVIVED for 0; else raise AssertionError."""
    well_said(errors or "nothing", secrets)
    if status == 0:
        return SURVIVED
    assert status == 2, f"status {status}: {errors[-300:]}"
    assert "error: " in errors, f"status 2 without a word of error: {errors[-300:]}"
    return CLEAR


def command(arguments: Sequence[str], same: Callable[[str], bool] | None = None, secrets: tuple[str, ...] = ()) -> str:
    """Run a command in this process and judge it as command_said does; `same` must hold of what it prints, if it ends
    with 0.
    """
    out, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors):
        try:
            status = main(arguments)
        except SystemExit as end:  # argparse's own refusals
            status = int(end.code or 0)
    outcome = command_said(status, errors.getvalue(), secrets)
    assert outcome == CLEAR or same is None or same(out.getvalue()), f"another result: {out.getvalue()[:200]!r}"
    return outcome
