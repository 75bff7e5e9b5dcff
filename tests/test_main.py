"""Whatever signal ends a command, and whenever: one line, its status, nothing left; and no pipe breaks it."""

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")

# Sends itself signals where a test says; what Python is about to do is told by its audit events.
DRIVER = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
def hear(event, given):
    if {when}:
        for number in {signals}:
            os.kill(os.getpid(), number)
sys.addaudithook(hear)
sys.argv = ["ragkit", *sys.argv[1:]]
runpy.run_module("ragkit", run_name="__main__", alter_sys=True)
"""
IMPORTED = "event == 'import' and given[0] in ('ragkit.cli', 'pandas', 'numpy._core.multiarray')"
INDEXING = "event == 'sqlite3.connect' and os.path.exists('cache/edge') and len(os.listdir('cache/edge')) > 1"
REMOVING = "event == 'os.remove' and 'ragkit.json' == os.path.basename(given[0])"


def ends(arguments, when, signals, tmp_path, **more):
    """Return the status and standard error of a command that gets signals before an event."""
    code = DRIVER.format(when=when, signals=[int(number) for number in signals])
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=os.environ | {"RAGKIT_CACHE": "cache"},
        capture_output=True,
        text=True,
        **more,
    )
    return done.returncode, done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("when", "sent", "said"),
    [
        (IMPORTED, "SIGINT", "interrupted"),
        (INDEXING, "SIGTERM", "ended by SIGTERM"),
        (REMOVING, "SIGHUP", "ended by SIGHUP"),
    ],
)
def test_a_signal_ends_a_command_in_one_line_and_leaves_nothing(when, sent, said, tmp_path):
    number = signal.Signals[sent]
    command = ["search", "movies", "a robot in love", "--system", "dense", "--json", "found.json"]
    heard = {"preexec_fn": lambda: signal.signal(number, signal.SIG_DFL)}  # though these tests may run under nohup
    # The second does not disturb the tidying up.
    status, errors = ends(command, when, [number, number], tmp_path, **heard)
    assert (status, errors) == (128 + number, f"ragkit: {said}; what was encoded so far is in the cache\n")
    edge = tmp_path / "cache" / "edge"
    assert not list(edge.glob("*/")) and not list(tmp_path.rglob("*.ragkit"))


@pytest.mark.slow
def test_a_signal_that_is_ignored_stays_so(tmp_path):
    """As nohup does with SIGHUP."""
    ignoring = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    when = "event == 'import' and given[0] == 'ragkit.cli'"
    assert ends(["doctor"], when, [signal.SIGHUP], tmp_path, **ignoring) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("closed", [(1,), (0, 1, 2)])
def test_a_command_does_its_work_with_closed_streams(closed, tmp_path):
    (tmp_path / "rows.csv").write_text("a\nyes\n")
    process = subprocess.run(
        [sys.executable, "-m", "ragkit", "import", "rows.csv", "--text", "a", "--to", "made"],
        cwd=tmp_path,
        preexec_fn=lambda: [os.close(number) for number in closed],
    )
    assert process.returncode == 0 and (tmp_path / "made" / "corpus.jsonl").exists()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_behind_standard_output_is_one_line(tmp_path):
    (tmp_path / "rows.csv").write_text("a\nyes\n")
    command = [sys.executable, "-m", "ragkit", "import", "rows.csv", "--text", "a", "--to", "made"]
    with open("/dev/full", "w", encoding="utf8") as full:
        done = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr.startswith("ragkit: error: ") and done.stderr.count("\n") == 1
