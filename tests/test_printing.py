"""Nothing computed is lost by printing: results are saved first, and a character that is lacking stops nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMPARE = ["compare", "movies", "--systems", "dense,dense+colbert", "--where", ":memory:"]


@pytest.fixture()
def started(tmp_path):
    """Return a function that starts a comparison which writes JSON and HTML, with standard output as asked for."""
    paths = tmp_path / "found.json", tmp_path / "found.html"

    def start(stdout, **variables):
        command = [sys.executable, "-m", "ragkit", *COMPARE, "--json", paths[0], "--html", paths[1]]
        environment = os.environ | variables
        return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, env=environment)

    def whole():
        return json.loads(paths[0].read_text("utf8"))["queries"] == 40 and paths[1].read_text("utf8").endswith(
            "</html>\n"
        )

    return start, whole


@pytest.mark.thorough
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437"])
def test_characters_that_a_terminal_lacks_are_replaced(started, encoding):
    start, whole = started
    process = start(subprocess.PIPE, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    out, error = process.communicate()
    assert process.returncode == 0 and b"Traceback" not in error
    assert b"dense?colbert" in out and whole()


@pytest.mark.thorough
def test_a_reader_who_has_seen_enough_loses_nothing(started):
    start, whole = started
    process = start(subprocess.PIPE)
    process.stdout.close()
    _, error = process.communicate()
    assert process.returncode == 141 and error == b"" and whole()  # what a shell says of a closed pipe


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_behind_standard_output_loses_nothing(started):
    start, whole = started
    with open("/dev/full", "wb") as full:
        process = start(full)
        _, error = process.communicate()
    assert process.returncode == 2 and b"No space left" in error and b"Traceback" not in error and whole()
