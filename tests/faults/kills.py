"""SIGKILL at every kind of step and at random moments, and disks that fill while results are written.

Ingests, caches, sticks, judgments, imports and comparisons are killed and done again: what was acknowledged is there,
the end equals that of an undisturbed run, and nothing else is left.
"""

import contextlib
import io
import json
import os
import pickle
import shutil
import sqlite3
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd

from ragkit import RagkitError, commands, compare, import_dataset, load_encoders, load_movies
from ragkit.cli import main
from ragkit.datasets.judging import Judgments, write_queries
from ragkit.datasets.trec import export
from ragkit.display.report import render
from ragkit.encoders import encoder as encoders
from ragkit.engines.edge import EdgeIndex
from ragkit.engines.ingest import build_index
from ragkit.files import write_text
from ragkit.workshop.stick import fill_stick
from ragkit.workshop.verify import problems
from tests.faults.trials import CLEAR, SURVIVED, Room, Trial, ask, well_said
from tests.processes import BATCH_BYTES, Ingest, Killed, full_after
from tests.windows import answers, found, windows

NAMES = ["dense", "colbert", "bm25"]
# No turbo copy: each build of one rotates the vectors at random, so that two indexes need not answer alike.
COPIES = ["dense-int8-raw", "colbert-pool2-binary", "bm25"]
MODELS = ["dense", "colbert"]
STEPS = ("create", "found", "update", "optimize", "flush", "flushed")
FEW = 60  # texts, where models encode them
LINES = 100  # judgments
COMPARE = ["compare", "movies", "--systems", "dense,bm25", "--json", "c.json", "--html", "c.html", "--export", "runs"]
OLD = "as it was\n"
OUTPUTS = ["c.html", "c.json", "runs/bm25.run", "runs/dense.run", "runs/qrels.txt"]


def prepare(kit: Path) -> None:
    """Do everything once, undisturbed; keep what came of it, and how many steps and seconds it took."""
    os.environ.pop("RAGKIT_MIRROR", None)
    os.environ["RAGKIT_CACHE"] = str(kit / "cache")
    dataset, known = windows(load_movies()), {}
    for encoder in load_encoders([*NAMES[:2], *COPIES[:2]]).values():
        encoder.prepare(dataset.passages)
    for names in (NAMES, COPIES):
        ingest = Ingest(dataset, names, kit / names[0])
        assert ingest.ended()
        known[names[0]] = ingest.steps, answers(dataset, names, kit / names[0])
    rows = [f"{i}\t{text}" for i, text in enumerate(dataset.passages * 100)]
    (kit / "rows.tsv").write_text("id\tanswer\n" + "\n".join(rows) + "\n", "utf8")
    films = load_movies()
    (kit / "comparison.pickle").write_bytes(pickle.dumps((films, compare(films, ["dense", "bm25"]))))
    shelf = import_dataset(pd.DataFrame({"text": dataset.passages[:40]}), kit / "shelf", "text")
    write_queries(shelf, {"q1": "a robot in love"})
    (shelf / "qrels").mkdir()
    (shelf / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\t1\t1\n")
    for name, work in WORKS.items():
        (kit / name).mkdir()
        with _in(kit / name):
            _prepare(name, kit)
            first = Killed(work, kit)
            assert first.ended, name
            shutil.rmtree(kit / name)
            (kit / name).mkdir()
        with _in(kit / name):
            _prepare(name, kit)
            again = Killed(work, kit)
        known[name] = again.changes, again.seconds
    (kit / "known.pickle").write_bytes(pickle.dumps((dataset, known)))


def trials(rng: Random) -> Iterator[Trial]:
    for i in range(110):
        step, moment = STEPS[i // 2 % len(STEPS)] if i < 72 else "", rng.random()
        seconds, again = rng.choice([0.0, rng.uniform(0, 0.03)]), rng.random() < 0.2
        name = f"an ingest killed {seconds:.3f} s after {step or 'any step'} at {moment:.0%}"
        names = COPIES if i % 3 == 1 else NAMES
        yield Trial(name + ", twice" * again, partial(_ingest, names, step, moment, seconds, again))
    for _ in range(30):
        moment, seconds = rng.random(), rng.uniform(0, 0.1)
        name = f"a cache being filled, killed {seconds:.3f} s after step {moment:.0%}"
        yield Trial(name, partial(_cache, moment, seconds))
    checks = {"stick": _stick, "imported": _imported, "compared": _compared}
    for work, count in {"stick": 36, "imported": 30, "compared": 36}.items():
        for i in range(count):
            kind = "time" if i % 3 == 2 else "change"
            moment = rng.random() if kind == "time" else (i + rng.random()) / count
            yield Trial(
                f"{work}: killed at {moment:.0%} of its {kind}", partial(_again, work, checks[work], kind, moment)
            )
    for i in range(30):
        kind = "time" if i % 2 else "change"
        moment = rng.random()
        yield Trial(f"judging, killed at {moment:.0%} of its {kind}", partial(_judged, kind, moment))
    for i in range(10):
        yield Trial(f"judging on a disk that is full after {i * 40 + 7} bytes", partial(_judging_full, i * 40 + 7))
    for i in range(4):
        for what, work in FILLED.items():
            yield Trial(f"{what} on a disk that is full after {10**i} bytes", partial(_full, work, 10**i))


# An ingest into a folder


def _ingest(names: list[str], step: str, moment: float, seconds: float, again: bool, room: Room) -> str:
    dataset, known = _known(room.kit)
    (steps, expected), folder = known[names[0]], room.scratch / "index"
    places = [i for i, said in enumerate(steps) if said.split()[0] == step] or range(len(steps))
    with _environment(RAGKIT_CACHE=str(room.kit / "cache")):
        ingest = Ingest(dataset, names, folder)
        killed = ingest.killed_at(places[int(moment * len(places))], seconds)
        durable, sent = ingest.durable, ingest.count("found") + ingest.count("update")
        if killed and again:
            ingest = Ingest(dataset, names, folder)
            ingest.killed_at(int(moment * 20), seconds)
            if any(said.startswith("found") for said in ingest.steps):
                assert durable <= ingest.count("found") <= sent, f"{durable} durable, {ingest.count('found')} found"
                durable, sent = ingest.durable, ingest.count("found") + ingest.count("update")
        with _patched(EdgeIndex, "batch_bytes", BATCH_BYTES):
            count: list[int] = []
            stream = EdgeIndex.stream

            def spy(self, *arguments):
                count.append(len(self.doc_ids))
                stream(self, *arguments)

            with _patched(EdgeIndex, "stream", spy):
                index, _ = build_index(dataset, load_encoders(names), folder)
            with index:
                assert durable <= count[0] <= sent, f"{durable} durable, {count[0]} found, {sent} sent"
                assert found(index, dataset, names) == expected, "another ranking after continuing"
        assert answers(dataset, names, folder) == expected, "another ranking after opening again"
    left = {path.name for path in folder.iterdir()} - {path.name for path in (room.kit / names[0]).iterdir()}
    assert not left, f"left: {left}"
    assert not os.listdir(folder / "temp_segments"), "segments are left that were being made"
    return SURVIVED


# The cache of embeddings


def _fill(say: Callable, texts: list[str]) -> None:
    embed = encoders.Encoder._embed

    def told(self, batch, role):
        say(len(batch))
        return embed(self, batch, role)

    encoders.Encoder._embed, encoders.TOKENS_PER_BATCH = told, 100
    for encoder in load_encoders(MODELS).values():
        encoder.prepare(texts)


def _cache(moment: float, seconds: float, room: Room) -> str:
    dataset, known = _known(room.kit)
    texts = dataset.passages[:FEW]
    with _environment(RAGKIT_CACHE=str(room.scratch / "cache")):
        Killed(_fill, texts, seconds=moment * known["filled"][1] + seconds)
        stored = {name: len(texts) - len(encoder.rows(texts)[1]) for name, encoder in load_encoders(MODELS).items()}
        again = Killed(_fill, texts)
        assert again.ended
        assert sum(again.said) + sum(stored.values()) == len(MODELS) * len(texts), f"{stored} stored, {again.said}"
        ours = [encoder.encode_documents(texts) for encoder in load_encoders(MODELS).values()]
    with _environment(RAGKIT_CACHE=str(room.kit / "cache")):
        theirs = [encoder.encode_documents(texts) for encoder in load_encoders(MODELS).values()]
    for one, other in zip(ours, theirs, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6)
    left = [path.name for path in (room.scratch / "cache").rglob("*") if path.is_file() and path.suffix != ".sqlite"]
    assert not left, f"left: {left}"
    return SURVIVED


# A stick, an import, a comparison: done in the current folder, with the kit's cache or a copy


def _do_fill(say: Callable, kit: Path) -> None:
    os.environ["RAGKIT_CACHE"] = "cache"
    _fill(say, windows(load_movies()).passages[:FEW])


def _do_stick(say: Callable, kit: Path) -> None:
    os.environ["RAGKIT_CACHE"] = str(kit / "cache")
    (Path.cwd() / "stick").mkdir(exist_ok=True)
    fill_stick(Path("stick"), ("movies", str(kit / "shelf")), platforms=(), vectors=MODELS, say=say)


def _do_import(say: Callable, kit: Path) -> None:
    there = Path("collection").exists()
    try:
        import_dataset(kit / "rows.tsv", "collection", text="answer", id="id")
    except RagkitError:
        assert there  # which is left as it is


def _do_compare(say: Callable, kit: Path) -> None:
    os.environ["RAGKIT_CACHE"] = "cache"
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(COMPARE) == 0


def _do_judge(say: Callable, kit: Path) -> None:
    judgments = Judgments("mine.jsonl")
    for i in range(LINES):
        judgments.record("q", f"d{i}", i % 3)
        say(i)


WORKS = {
    "filled": _do_fill,
    "stick": _do_stick,
    "imported": _do_import,
    "compared": _do_compare,
    "judged": _do_judge,
}


def _again(work: str, check: Callable[[Path, Path], None], kind: str, moment: float, room: Room) -> str:
    """Kill the work, do it again, and compare what is there with what an undisturbed run made."""
    changes, seconds = _known(room.kit)[1][work]
    at = {"change": int(moment * changes)} if kind == "change" else {"seconds": moment * seconds}
    with _in(room.scratch):
        _prepare(work, room.kit)
        if work == "compared":
            _write_old()
        killed = Killed(WORKS[work], room.kit, **at)
        assert not killed.ended or kind == "time"
        _whole()
        assert Killed(WORKS[work], room.kit).ended
        _whole()
        check(room.kit / work, room.scratch)
    return SURVIVED


def _prepare(work: str, kit: Path) -> None:
    """Put what a work begins with into the current folder: no kill is to meet this."""
    if work == "compared":
        shutil.copytree(kit / "cache" / "embeddings", "cache/embeddings")


def _write_old() -> None:
    for name in OUTPUTS:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(OLD, encoding="utf8")


def _whole() -> None:
    """Raise AssertionError for a result that is half written, whatever else is there."""
    texts = {name: Path(name).read_text("utf8") for name in OUTPUTS if Path(name).exists()}
    for name, text in texts.items():
        if text == OLD:
            continue
        if name.endswith(".json"):
            json.loads(text)
        assert text.endswith("</html>\n" if name.endswith(".html") else "\n"), f"{name} is half written"


def _stick(undisturbed: Path, here: Path) -> None:
    assert not (bad := problems(here / "stick")), f"{bad}"
    expected, made = _files(undisturbed), _files(here)
    assert expected.keys() == made.keys(), f"not alike: {sorted(expected.keys() ^ made.keys())[:5]}"
    for name, path in made.items():
        if path.suffix == ".sqlite":
            assert _rows(path) == _rows(expected[name]), f"{name} has other rows"
        elif path.name != "SHA256SUMS":  # which has those of the files of SQLite
            assert path.read_bytes() == expected[name].read_bytes(), f"{name} differs"


def _imported(undisturbed: Path, here: Path) -> None:
    expected, made = _files(undisturbed), _files(here)
    assert expected.keys() == made.keys(), f"not alike: {sorted(expected.keys() ^ made.keys())[:5]}"
    for name, path in made.items():
        assert path.read_bytes() == expected[name].read_bytes(), f"{name} differs"


def _compared(undisturbed: Path, here: Path) -> None:
    expected, made = _files(undisturbed), _files(here)
    assert expected.keys() == made.keys(), f"not alike: {sorted(expected.keys() ^ made.keys())[:5]}"
    assert not list((here / "cache" / "edge").glob("*/")), "an index is left"
    for name in OUTPUTS[2:]:
        assert made[name].read_bytes() == expected[name].read_bytes(), f"{name} differs"
    one, other = (json.loads(files["c.json"].read_text("utf8"))["systems"] for files in (expected, made))
    for a, b in zip(one, other, strict=True):
        assert a["per_query"] == b["per_query"], "other measures"


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}


def _rows(path: Path) -> list:
    with sqlite3.connect(path) as db:
        return db.execute("SELECT key, shape, data, checksum FROM arrays ORDER BY key").fetchall()


# Judgments


def _judged(kind: str, moment: float, room: Room) -> str:
    changes, seconds = _known(room.kit)[1]["judged"]
    at = {"change": int(moment * changes)} if kind == "change" else {"seconds": moment * seconds}
    with _in(room.scratch):
        killed = Killed(_do_judge, room.kit, **at)
        _only(len(killed.said), len(killed.said) + (not killed.ended))
        Judgments("mine.jsonl").record("q", "last", 2)
        assert Judgments("mine.jsonl").table().values.tolist()[-1] == ["q", "last", 2]
        assert all(json.loads(line) for line in Path("mine.jsonl").read_text("utf8").splitlines())
        assert os.listdir() == ["mine.jsonl"]
    return SURVIVED


def _only(least: int, most: int) -> None:
    """Raise AssertionError unless the first judgments are on disk, so many of them."""
    expected = [["q", f"d{i}", i % 3] for i in range(LINES)]
    kept = Judgments("mine.jsonl").table().values.tolist()
    assert least <= len(kept) <= most, f"{len(kept)} judgments on disk, {least} acknowledged"
    assert kept == expected[: len(kept)]


def _judging_full(size: int, room: Room) -> str:
    """The disk is full, and has room again: what was refused is written then, with what follows."""
    with _in(room.scratch):
        judgments, acknowledged = Judgments("mine.jsonl"), 0
        with full_after(size):
            for i in range(LINES):
                try:
                    judgments.record("q", f"d{i}", i % 3)
                except RagkitError as error:
                    well_said(str(error))
                    break
                acknowledged += 1
        assert acknowledged < LINES
        _only(acknowledged, acknowledged)
        for i in range(acknowledged + 1, LINES):
            judgments.record("q", f"d{i}", i % 3)
        _only(LINES, LINES)
    return CLEAR


# Results on a full disk


def _full(work: Callable[[Path], object], size: int, room: Room) -> str:
    """A result is written to a disk that is full: what was there before stays, and nothing else is left."""
    with _in(room.scratch):
        if work is not _fill_import:
            _write_old()
        before = {name: path.read_bytes() for name, path in _files(room.scratch).items()}
        with full_after(size):
            outcome = ask(lambda: work(room.kit), lambda _: False)
        assert before == {name: path.read_bytes() for name, path in _files(room.scratch).items()}, "not as it was"
        assert before or not os.listdir(), "something is left"
    return outcome


def _fill_html(kit: Path) -> object:
    return write_text("c.html", render([pickle.loads((kit / "comparison.pickle").read_bytes())]))


def _fill_json(kit: Path) -> object:
    dataset, comparison = pickle.loads((kit / "comparison.pickle").read_bytes())
    return commands._write_json(Namespace(json=Path("c.json")), comparison.to_dict())


def _fill_export(kit: Path) -> object:
    dataset, comparison = pickle.loads((kit / "comparison.pickle").read_bytes())
    return export(dataset, {system.system: system.results for system in comparison.systems}, "runs")


def _fill_import(kit: Path) -> object:
    return import_dataset(kit / "rows.tsv", "collection", text="answer", id="id")


FILLED = {"--html": _fill_html, "--json": _fill_json, "--export": _fill_export, "import": _fill_import}


# The surroundings of a trial


def _known(kit: Path):
    return pickle.loads((kit / "known.pickle").read_bytes())


@contextmanager
def _in(folder: Path) -> Iterator[None]:
    with contextlib.chdir(folder):
        yield


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    os.environ.pop("RAGKIT_MIRROR", None)
    os.environ.update(values)  # put back after the trial
    yield


@contextmanager
def _patched(owner, name: str, value) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
