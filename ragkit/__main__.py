"""The command `ragkit`, which is `python -m ragkit`: a signal ends it in one line, with nothing left half-done."""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any

_TIDYING_S = 2.0  # after a signal, another one does not disturb for so long
_SOON_S = 0.02


class _Ended(KeyboardInterrupt):
    """A signal that ends the command, whichever it is: what tidies up after Ctrl-C does so after each."""

    def __init__(self, number: int):
        self.number = number


def run() -> int:
    """Run the command line's command; return its status, or 128 and the number of the signal that ended it."""
    _open_streams()
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows
    numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]  # nohup
    sys.unraisablehook = _unraisable
    try:
        for number in numbers:
            signal.signal(number, _end)
        from ragkit.cli import main  # half a second, in which somebody may press Ctrl-C

        status = main()
        _ignore(numbers)
    except _Ended as end:
        _ignore(numbers)
        how = "interrupted" if end.number == signal.SIGINT else f"ended by {signal.Signals(end.number).name}"
        with suppress(OSError):  # its terminal is closed, perhaps
            print(f"ragkit: {how}; what was encoded so far is in the cache", file=sys.stderr, flush=True)
        status = 128 + end.number
    finally:
        _flush()
    return status


def _open_streams() -> None:
    """Open what is closed of standard input, output and error, so that no other file gets its number."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf8")  # noqa: SIM115


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # nobody listens, and Python would say so when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


_last = float("-inf")  # when a signal last ended something


def _end(number: int, frame: FrameType | None) -> None:
    """End what is being done, but no import: what a library makes of an exception there is anybody's guess."""
    global _last
    if time.monotonic() - _last < _TIDYING_S:
        return
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return _again_soon(number)
        frame = frame.f_back
    _last = time.monotonic()
    raise _Ended(number)


def _unraisable(told: Any) -> None:
    """Where Python cannot raise (in the clearing up of an object, say), the signal comes again."""
    global _last
    if isinstance(told.exc_value, _Ended):
        _last = float("-inf")
        _again_soon(told.exc_value.number)
    else:
        sys.__unraisablehook__(told)


def _again_soon(number: int) -> None:
    def send() -> None:
        if sys.platform == "win32":
            signal.raise_signal(number)
        else:
            signal.pthread_kill(threading.main_thread().ident or 0, number)

    timer = threading.Timer(_SOON_S, send)
    timer.daemon = True
    timer.start()


def _ignore(numbers: list[int]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(run())
