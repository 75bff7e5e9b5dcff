"""Signals at every kind of step and at random moments, closed pipes, and pairs of processes at the same work at once.

A signal ends a command with one line and 128 and its number, and leaves nothing that is half-written or temporary. Of
two processes at once both are right, or one says clearly why not.
"""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from functools import partial
from pathlib import Path
from random import Random

from ragkit import import_dataset, load_encoders, load_movies, open_index
from ragkit.datasets.judging import Judgments
from ragkit.vectors import VectorSpec
from ragkit.workshop.verify import problems
from tests.faults.trials import CLEAR, SURVIVED, Room, Trial, command, command_said
from tests.processes import CHANGES
from tests.windows import answers

SIGNALS = [signal.SIGINT] * 9 + [signal.SIGTERM] * 7 + [signal.SIGHUP] * 4
COMMANDS = {
    "doctor": ["doctor"],
    "search": ["search", "movies", "toys", "--json", "found.json"],
    "inspect": ["inspect", "movies", "--json", "found.json"],
    "compare": [
        *("compare", "movies", "--systems", "dense,bm25"),
        *("--json", "found.json", "--html", "found.html", "--export", "runs"),
    ],
    "ingest": ["ingest", "movies", "--where", "kept"],
    "import": ["import", "KIT/rows.tsv", "--text", "answer", "--id", "id", "--to", "collection"],
    "prefetch": ["prefetch", "--to", "stick", "--datasets", "movies", "--platform", "none"],
}
OUTPUTS = ["found.json", "found.html", "runs/dense.run", "runs/bm25.run", "runs/qrels.txt"]
OLD = "as it was\n"
# Runs the command in a process that is told of what Python is about to do, sends itself a signal before the event of
# that number, and says when the command line has begun to be imported and, at its end, how many events there were.
DRIVER = f"""
import os, runpy, signal, sys
number, sent, kind, heard, *arguments = sys.argv[1:]
number, sent, heard = int(number), int(sent), int(heard)
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the shell of `make faults` does with it
signal.signal(signal.SIGHUP, signal.SIG_DFL)
begun, count = False, 0
def hear(event, given):
    global begun, count
    if event == "import" and given[0] == "ragkit.cli":
        begun = True
        os.write(heard, b"begun\\n")
    written = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
    if begun and (event == "import" if kind == "import" else written or event in {sorted(CHANGES)}):
        count += 1
        if count == number:
            os.kill(os.getpid(), sent)
sys.addaudithook(hear)
sys.argv = ["ragkit", *arguments]
try:
    runpy.run_module("ragkit", run_name="__main__", alter_sys=True)
finally:
    os.write(heard, b"%d\\n" % count)
"""


def prepare(kit: Path) -> None:
    """Do everything once, undisturbed, and keep how many events and seconds it took."""
    os.environ.pop("RAGKIT_MIRROR", None)
    os.environ["RAGKIT_CACHE"] = str(kit / "cache")
    movies, known = load_movies(), {}
    for encoder in load_encoders(["dense", "colbert"]).values():
        encoder.prepare(movies.passages)
        encoder.encode_queries(movies.queries["text"].tolist())
    rows = [f"{i}\t{text}" for i, text in enumerate(movies.passages * 1000)]
    (kit / "rows.tsv").write_text("id\tanswer\n" + "\n".join(rows) + "\n", "utf8")
    for name in COMMANDS:
        for kind in ("import", "change"):
            place = kit / name
            shutil.rmtree(place, ignore_errors=True)
            _furnish(Room(kit, place))
            begun = time.monotonic()
            process, heard = _start(Room(kit, place), name, kind)
            heard.readline()
            started = time.monotonic()
            _, errors = process.communicate()
            assert process.returncode == 0, errors
            known[name, kind] = int(heard.readline())
            known[name, "time"] = time.monotonic() - started
            known[name, "start"] = started - begun
    known["answers"] = answers(movies, ["dense", "colbert"], kit / "ingest" / "kept")
    (kit / "known.pickle").write_bytes(pickle.dumps(known))


def trials(rng: Random) -> Iterator[Trial]:
    names = list(COMMANDS)
    for i in range(112):
        name, kind = names[i % len(names)], ("time", "change", "import", "change")[i % 4]
        sent, moment = SIGNALS[rng.randrange(len(SIGNALS))], rng.random()
        title = f"{sent.name} to {name} at {moment:.0%} of its {kind}"
        yield Trial(title, partial(_signalled, name, sent, kind, moment))
    for what in ENDS:
        for name in ("search", "compare"):
            yield Trial(f"{name} with {what}", partial(_closed, name, what))
    for title, work in PAIRS.items():
        yield Trial(f"two at once: {title}", work, seconds=120)


def _furnish(room: Room) -> None:
    """Give a trial a cache of its own and older results."""
    room.scratch.mkdir(exist_ok=True)
    if (room.kit / "cache").exists():
        shutil.copytree(room.kit / "cache" / "embeddings", room.scratch / "cache" / "embeddings")
    for name in OUTPUTS:
        (room.scratch / name).parent.mkdir(exist_ok=True)
        (room.scratch / name).write_text(OLD)


def _start(room: Room, name: str, kind: str, number: int = 0, sent: int = 0, **streams):
    """Start a command in a trial's folder; return the process and the file in which it says what DRIVER says."""
    heard, says = os.pipe()
    arguments = [argument.replace("KIT", str(room.kit)) for argument in COMMANDS[name]]
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(number), str(sent), kind, str(says), *arguments],
        cwd=room.scratch,
        env=_environment(room),
        pass_fds=[says],
        text=True,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE} | streams,
    )
    os.close(says)
    return process, os.fdopen(heard)


def _environment(room: Room) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("RAGKIT_MIRROR", "QDRANT_URL")}
    return kept | {"RAGKIT_CACHE": str(room.scratch / "cache"), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


# Signals


def _signalled(name: str, sent: signal.Signals, kind: str, moment: float, room: Room) -> str:
    known = pickle.loads((room.kit / "known.pickle").read_bytes())
    _furnish(room)
    number = 1 + int(moment * known[name, kind]) if kind != "time" else 0
    process, heard = _start(room, name, kind, number, sent)
    heard.readline()
    if kind == "time":
        time.sleep(moment * known[name, "time"])
        process.send_signal(sent)
    _, errors = process.communicate()
    heard.close()
    if process.returncode != 0:
        assert process.returncode == 128 + sent, f"status {process.returncode}: {errors[-300:]}"
        how = "interrupted" if sent == signal.SIGINT else f"ended by {sent.name}"
        assert errors == f"ragkit: {how}; what was encoded so far is in the cache\n", errors[-300:]
    else:
        assert kind == "time" or moment > 0.8, "it heard nothing"
        assert not errors, errors[-300:]
    _nothing_left(room)
    _again(name, room)
    return SURVIVED


def _nothing_left(room: Room) -> None:
    """Raise AssertionError for a temporary file or index, and for a result that is half-written."""
    left = [path.name for path in room.scratch.rglob("*") if path.suffix == ".ragkit" or path.name.endswith("-journal")]
    left += [path.name for path in (room.scratch / "cache" / "edge").glob("*/")]
    assert not left, f"left: {left}"
    for name in OUTPUTS:
        text = (room.scratch / name).read_text("utf8")
        if text != OLD and name.endswith(".json"):
            json.loads(text)
        assert text.endswith("</html>\n" if text != OLD and name.endswith(".html") else "\n"), f"{name} is half written"


def _again(name: str, room: Room) -> None:
    """Do again what keeps something, and raise AssertionError if that differs from what an undisturbed run made."""
    os.environ.pop("RAGKIT_MIRROR", None)
    os.environ["RAGKIT_CACHE"] = str(room.scratch / "cache")
    with chdir(room.scratch):
        if name == "ingest":
            assert answers(load_movies(), ["dense", "colbert"], Path("kept")) == _known(room)["answers"]
        if name == "prefetch":
            assert command(COMMANDS[name]) == SURVIVED
            assert not (bad := problems(Path("stick"))), f"{bad}"
        if name == "import":
            if not Path("collection").exists():
                import_dataset(room.kit / "rows.tsv", "collection", text="answer", id="id")
            made = Path("collection/corpus.jsonl").read_bytes()
            assert made == (room.kit / "import/collection/corpus.jsonl").read_bytes()


def _known(room: Room) -> dict:
    return pickle.loads((room.kit / "known.pickle").read_bytes())


# Closed pipes


ENDS = {
    "nobody who reads it": ("stdout", 141),
    "nobody who hears its errors": ("stderr", 0),
    "standard output closed": (1, 0),
    "standard error closed": (2, 0),
    "all three closed": (0, 0),
    "a full disk behind standard output": ("/dev/full", 2),
}


def _closed(name: str, what: str, room: Room) -> str:
    _furnish(room)
    end, expected = ENDS[what]
    streams: dict = {}
    if isinstance(end, int):
        streams["preexec_fn"] = lambda: [os.close(i) for i in ((0, 1, 2) if end == 0 else (end,))]
    elif end == "/dev/full":
        streams["stdout"] = open(end, "w", encoding="utf8")  # noqa: SIM115
    else:
        reading, writing = os.pipe()
        os.close(reading)
        streams[end] = writing
    process, heard = _start(room, name, "change", **streams)
    _, errors = process.communicate()
    heard.close()
    assert process.returncode == expected, f"status {process.returncode}: {(errors or '')[-300:]}"
    if expected == 2:
        command_said(2, errors)
    else:
        assert not errors, errors[-300:]
    _nothing_left(room)
    assert (room.scratch / "found.json").read_text() != OLD, "what was asked for was not written"
    return CLEAR if expected == 2 else SURVIVED


# Two at once


def _both(first: str, second: str, room: Room, cold: bool = False) -> list[int]:
    """Run two commands at once; return their statuses, of which at least one is 0, and the others clear errors."""
    _furnish(room)
    if cold:
        shutil.rmtree(room.scratch / "cache")
    started = [_start(room, name, "change") for name in (first, second)]
    statuses = []
    for process, _ in started:
        _, errors = process.communicate()
        command_said(process.returncode, errors)
        statuses.append(process.returncode)
    assert 0 in statuses, "neither was done"
    _nothing_left(room)
    return statuses


def _pair(first: str, second: str, cold: bool, room: Room) -> str:
    statuses = _both(first, second, room, cold)
    for name in {first, second}:
        _again(name, room)
    return CLEAR if 2 in statuses else SURVIVED


def _calls(code: str, room: Room) -> list[str]:
    """Run Python code twice at once, with `me` 0 and 1; return what each printed."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", f"me = {me}\n{code}"],
            cwd=room.scratch,
            env=_environment(room),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for me in range(2)
    ]
    said = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, said, strict=True):
        assert process.returncode == 0, errors[-300:]
    return [out for out, _ in said]


def _judge(room: Room) -> str:
    _calls("import ragkit\nfor i in range(300): ragkit.Judgments('mine.jsonl').record(f'q{me}', f'd{i}', i % 3)", room)
    table = Judgments(room.scratch / "mine.jsonl").table()
    expected = sorted([f"q{me}", f"d{i}", i % 3] for me in range(2) for i in range(300))
    assert sorted(table.values.tolist()) == expected
    return SURVIVED


def _write(room: Room) -> str:
    _calls("from ragkit.files import write_text\nfor i in range(300): write_text('page', f'{me}' * 100_000)", room)
    assert set((room.scratch / "page").read_text()) in ({"0"}, {"1"}) and os.listdir(room.scratch) == ["page"]
    return SURVIVED


def _temporary(room: Room) -> str:
    code = "import ragkit\nfor i in range(25): ragkit.open_index(None, {'dense': ragkit.VectorSpec(4)}).close()"
    _calls(code, room)
    assert os.listdir(room.scratch / "cache" / "edge") == ["ragkit.lock"]
    return SURVIVED


def _killed_beside(room: Room) -> str:
    """One is killed while the other works, and a third sweeps what it left, and nothing of the other's."""
    _furnish(room)
    killed, heard = _start(room, "compare", "change", int(0.8 * _known(room)["compare", "change"]), signal.SIGKILL)
    other, heard_too = _start(room, "search", "change")
    assert killed.wait() == -signal.SIGKILL
    os.environ["RAGKIT_CACHE"] = str(room.scratch / "cache")
    open_index(None, {"dense": VectorSpec(4)}).close()
    _, errors = other.communicate()
    assert (other.returncode, errors) == (0, "")
    heard.close(), heard_too.close()
    with chdir(room.scratch):
        assert command(COMMANDS["compare"]) == SURVIVED
    _nothing_left(room)
    return SURVIVED


PAIRS: dict[str, Callable[[Room], str]] = {
    "compare, of which the results go to the same files": partial(_pair, "compare", "compare", False),
    "compare with an empty cache": partial(_pair, "compare", "compare", True),
    "search with an empty cache": partial(_pair, "search", "search", True),
    "inspect into the same file": partial(_pair, "inspect", "inspect", False),
    "ingest into the same folder": partial(_pair, "ingest", "ingest", False),
    "ingest into the same folder with an empty cache": partial(_pair, "ingest", "ingest", True),
    "import into the same folder": partial(_pair, "import", "import", False),
    "prefetch to the same folder": partial(_pair, "prefetch", "prefetch", False),
    "prefetch to the same folder with an empty cache": partial(_pair, "prefetch", "prefetch", True),
    "compare and ingest with an empty cache": partial(_pair, "compare", "ingest", True),
    "prefetch and search with an empty cache": partial(_pair, "prefetch", "search", True),
    "judgments in the same file": _judge,
    "a page written 300 times": _write,
    "temporary indexes": _temporary,
    "compare, killed, and search": _killed_beside,
}
