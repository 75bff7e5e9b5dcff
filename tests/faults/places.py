"""Paths and variables that name something else than they should."""

import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import ragkit
from ragkit.datasets import trec
from ragkit.datasets.importing import read_documents
from ragkit.vectors import VectorSpec
from tests.faults.inputs import DOCUMENTS, QRELS, QUERIES, ROLES, collection
from tests.faults.trials import CLEAR, Room, Trial, ask, command

FILES = {role.name: role.data for role in ROLES}


def prepare(kit: Path) -> None:
    collection(kit / "collection")
    os.environ["RAGKIT_CACHE"] = str(kit / "cache")
    ragkit.load_encoder("dense").encode_documents([f"{title} {text}".strip() for _, title, text in DOCUMENTS])


# -- What may be at a path. Each makes it in an empty folder and returns the path; `good` is what is well in that place.


def _link(to: str, name: str = "link") -> Callable[[Path, Path], str]:
    def make(folder: Path, good: Path) -> str:
        (folder / name).symlink_to(to)
        return str(folder / name)

    return make


def _to_good(folder: Path, good: Path) -> str:
    (folder / "link").symlink_to(good)
    return str(folder / "link")


def _file(data: bytes, name: str = "file") -> Callable[[Path, Path], str]:
    def make(folder: Path, good: Path) -> str:
        (folder / name).write_bytes(data)
        return str(folder / name)

    return make


def _folder(name: str = "folder", inside: str = "") -> Callable[[Path, Path], str]:
    def make(folder: Path, good: Path) -> str:
        (folder / name).mkdir()
        if inside:
            (folder / name / inside).write_text("somebody's own")
        return str(folder / name)

    return make


def _fifo(folder: Path, good: Path) -> str:
    os.mkfifo(folder / "fifo")
    return str(folder / "fifo")


def _to_fifo(folder: Path, good: Path) -> str:
    os.symlink(_fifo(folder, good), folder / "link")
    return str(folder / "link")


def _socket(folder: Path, good: Path) -> str:
    here = os.getcwd()
    os.chdir(folder)  # a socket's path is short
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("socket")
    listening.close()
    os.chdir(here)
    return str(folder / "socket")


def _renamed(name: str) -> Callable[[Path, Path], str]:
    """Return what copies the good one to another name."""

    def make(folder: Path, good: Path) -> str:
        place = folder / name
        if good.is_dir():
            shutil.copytree(good, place)
        elif good.exists():
            shutil.copyfile(good, place)
        return str(place)

    return make


def _named(text: str) -> Callable[[Path, Path], str]:
    return lambda folder, good: text.replace("{here}", str(folder))


def _loop(folder: Path, good: Path) -> str:
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    return str(folder / "one")


KINDS: dict[str, Callable[[Path, Path], str]] = {
    "missing": _named("{here}/missing"),
    "in a folder that is missing": _named("{here}/no/such/folder"),
    "an empty file": _file(b""),
    "a file of text": _file(b"somebody's own\n"),
    "a file of bytes": _file(bytes(range(256))),
    "an empty folder": _folder(),
    "a folder of something else": _folder("folder", "letter.txt"),
    "a link to nothing": _link("nothing"),
    "a link to itself": _link("link"),
    "a loop of links": _loop,
    "a link to what is well": _to_good,
    "a link to a device": _link("/dev/null"),
    "a link to a pipe": _to_fifo,
    "below a file": lambda folder, good: _file(b"x")(folder, good) + "/below",
    "below a device": _named("/dev/null/below"),
    "a pipe": _fifo,
    "a socket": _socket,
    "/dev/null": _named("/dev/null"),
    "/dev/zero": _named("/dev/zero"),
    "/dev/full": _named("/dev/full"),
    "/dev": _named("/dev/ragkit-nothing/below"),
    "/proc": _named("/proc/ragkit"),
    "/sys": _named("/sys/ragkit"),
    "a file of /proc": _named("/proc/version"),
    "a process's memory": _named("/proc/self/mem"),
    "a name too long": _named("{here}/" + "n" * 300),
    "a path too long": _named("{here}" + "/folder" * 800),
    "NUL in it": _named("{here}/a\0b"),
    "half a character in it": _named("{here}/\ud83d"),
    "a byte that is not UTF-8 in it": _named("{here}/" + os.fsdecode(b"\xff")),
    "such a byte, and it is there": _renamed(os.fsdecode(b"\xffthere")),
    "a line break in it": _renamed("a\nb"),
    "a terminal's escapes in it": _renamed("\x1b[31mred"),
    "spaces around it": _renamed("  a b  "),
    "a minus before it": _renamed("-x"),
    "letters of everywhere": _renamed("Ж 漢字 🎬 e\u0301"),
    "nobody's home": _named("~nobody-of-that-name/x"),
    "nothing": _named(""),
    "a space": _named(" "),
    "ftp": _named("ftp://example.org/x"),
    "file": _named("file:///etc/hostname"),
    "with dots and slashes": lambda folder, good: _folder("x")(folder, good) + "/.././/./missing",
}


# -- What may be asked of a path


@dataclass(frozen=True)
class Use:
    """Something that takes a path.

    call: is given a room, with what the kit prepared, and the path; right: whether its result is what it should be,
    where it returns; good: what is well in that place, in the room's `good`; leaves: whether what is at a path is
    left as it was when the path is refused.
    """

    call: Callable[[Room, str], Any]
    right: Callable[[Any], bool]
    good: Callable[[Path], Path] = lambda folder: folder / "nothing"
    leaves: bool = True


def _collection(folder: Path) -> Path:
    return collection(folder / "well")


def _one(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / Path(name).name
        path.write_bytes(FILES[name])
        return path

    return make


def _inside(name: str) -> Callable[[Room, str], Any]:
    """Return what loads a collection in which a file, or the folder of qrels, is what is at the path."""

    def call(room: Room, place: str) -> Any:
        folder = collection(room.scratch / "around")
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink()
        os.symlink(place, folder / name)
        return len(ragkit.load_beir(folder).documents)

    return call


def _command(*arguments: str, same: Callable[[str], bool]) -> Callable[[Room, str], Any]:
    def call(room: Room, place: str) -> Any:
        filled = [a.format(kit=room.kit / "collection", place=place, scratch=room.scratch) for a in arguments]
        return command(filled, same)

    return call


def _variable(name: str, call: Callable[[Room], Any]) -> Callable[[Room, str], Any]:
    def with_it(room: Room, place: str) -> Any:
        try:
            os.environ[name] = place
        except (ValueError, UnicodeError):
            raise ragkit.RagkitError("no variable can hold that") from None
        return call(room)

    return with_it


def _searched(room: Room) -> list[str]:
    """Search by bm25 and dense, with a temporary index and the vectors that the cache lacks."""
    from ragkit.evaluation import Retriever, System

    dataset, encoders = ragkit.load_beir(room.kit / "collection"), ragkit.load_encoders(["dense"])
    with ragkit.build_index(dataset, encoders)[0] as index:
        return [i for i, _ in Retriever(index, encoders, System("dense")).search("red fish")]


def _recorded(room: Room, place: str) -> list:
    ragkit.Judgments(place).record("q9", "a", 1)
    return ragkit.Judgments(place).table()["query_id"].tolist()


def _wrote_run(room: Room, place: str) -> list:
    trec.write_run(pd.DataFrame({"query_id": ["q"], "doc_id": ["a"], "score": [1.5]}), place)
    return trec.read_run(place)["score"].tolist()


def _wrote_queries(room: Room, place: str) -> list:
    path = ragkit.write_queries(place, {"q1": "red fish"})
    return path.read_text("utf8").splitlines()


def _wrote_qrels(room: Room, place: str) -> list:
    judgments = ragkit.Judgments(room.kit / "judgments.jsonl")
    if not judgments.path.exists():
        judgments.record("q1", "a", 1)
    return judgments.write_qrels(place).read_text("utf8").splitlines()


def _imported(room: Room, place: str) -> list:
    made = ragkit.import_dataset(room.kit / "collection" / "corpus.jsonl", place, text="text", id="_id")
    return ragkit.load_unjudged(made).documents["doc_id"].tolist()


def _indexed(room: Room, place: str) -> list:
    with ragkit.open_index(place, {"dense": VectorSpec(2)}, content="x") as index:
        if not index.doc_ids:
            index.add(["a"], {"dense": [np.array([0.0, 1.0])]})
    with ragkit.open_index(place, {"dense": VectorSpec(2)}, content="x") as index:
        return index.doc_ids


def _edge(folder: Path) -> Path:
    with ragkit.open_index(folder / "well", {"dense": VectorSpec(2)}, content="x") as index:
        index.add(["a"], {"dense": [np.array([0.0, 1.0])]})
    return folder / "well"


def _saved(room: Room, place: str) -> bool:
    view = ragkit.explore(ragkit.load_encoder("colbert"), "fish", "a red fish")
    view.save(place)
    return "red" in Path(os.path.expanduser(place)).read_text("utf8")


def _ids(*ids: str) -> Callable[[Any], bool]:
    return lambda found: found == list(ids)


def _three(found: Any) -> bool:
    return found == 3


_run_rows = ROLES[6].read
USES: dict[str, Use] = {
    "load_dataset": Use(lambda room, p: len(ragkit.load_dataset(p).documents), _three, _collection),
    "load_unjudged": Use(lambda room, p: len(ragkit.load_unjudged(p).documents), _three, _collection),
    "a collection's corpus": Use(_inside("corpus.jsonl"), _three, _one("corpus.jsonl")),
    "a collection's queries": Use(_inside("queries.jsonl"), _three, _one("queries.jsonl")),
    "a collection's judgments": Use(_inside("qrels/test.tsv"), _three, _one("qrels/test.tsv")),
    "a collection's folder of judgments": Use(_inside("qrels"), _three, lambda f: _collection(f) / "qrels"),
    "a run": Use(lambda room, p: len(trec.read_run(p)), _three, _one("run.txt")),
    "TREC's judgments": Use(lambda room, p: len(trec.read_qrels(p)), _three, _one("qrels.txt")),
    "a file of rows to import": Use(
        lambda room, p: len(read_documents(p, text="text", id="_id")[0]), _three, _one("faq.csv")
    ),
    "a folder of texts to import": Use(
        lambda room, p: len(read_documents(p)[0]), lambda n: n in (1, 2), lambda f: _one("texts/one.md")(f).parent
    ),
    "judgments to read": Use(
        lambda room, p: len(ragkit.Judgments(p).table()), lambda n: n in (0, 4), _one("judgments.jsonl")
    ),
    "judgments to add to": Use(_recorded, lambda ids: ids[-1:] == ["q9"], _one("judgments.jsonl")),
    "a run to write": Use(_wrote_run, lambda scores: scores == [1.5]),
    "a folder to write queries to": Use(_wrote_queries, lambda lines: len(lines) == 1, _collection),
    "a folder to write judgments to": Use(_wrote_qrels, lambda lines: len(lines) == 2, _collection),
    "a folder to import to": Use(_imported, _ids("a", "b", "c")),
    "an index": Use(_indexed, _ids("a"), _edge),
    "an explorer to save": Use(_saved, bool),
    "RAGKIT_CACHE": Use(_variable("RAGKIT_CACHE", _searched), lambda ids: ids[0] == "a", leaves=False),
    "RAGKIT_MIRROR": Use(_variable("RAGKIT_MIRROR", _searched), lambda ids: ids[0] == "a"),
    "RAGKIT_DATA": Use(
        _variable("RAGKIT_DATA", lambda room: len(ragkit.load_movies().documents)),
        lambda n: n == 20,
        lambda f: Path(ragkit.__file__).parent.parent / "data",
    ),
    "QDRANT_URL": Use(_variable("QDRANT_URL", _searched), lambda ids: ids[0] == "a"),
    "ragkit search in": Use(
        _command("search", "{place}", "red fish", "--system=bm25", same=lambda out: "Red" in out), bool, _collection
    ),
    "ragkit inspect": Use(_command("inspect", "{place}", same=lambda out: "3 documents" in out), bool, _collection),
    "ragkit compare --run": Use(
        _command("compare", "{kit}", "--systems=bm25", "--run=x={place}", same=lambda out: "bm25" in out),
        bool,
        _one("run.txt"),
    ),
    "ragkit import": Use(
        _command("import", "{place}", "--text=text", "--to={scratch}/new", same=lambda out: "3 documents" in out),
        bool,
        _one("faq.csv"),
    ),
    "ragkit import --to": Use(
        _command("import", "{kit}/corpus.jsonl", "--text=text", "--to={place}", same=lambda out: "3 documents" in out),
        bool,
    ),
    "ragkit ingest --where": Use(
        _command("ingest", "{kit}", "--vectors=bm25", "--where={place}", same=lambda out: "3 documents" in out), bool
    ),
    "ragkit search --where": Use(
        _command("search", "{kit}", "red fish", "--system=bm25", "--where={place}", same=lambda out: "Red" in out), bool
    ),
    "ragkit prefetch --to": Use(
        _command(
            *("prefetch", "--to={place}", "--platform=none", "--datasets={kit}", "--vectors=bm25"),
            same=lambda out: "3 files" in out,
        ),
        bool,
        leaves=False,
    ),
    "ragkit prefetch --check": Use(_command("prefetch", "--check={place}", same=lambda out: False), bool),
    "ragkit prefetch --datasets": Use(
        _command(
            *("prefetch", "--to={scratch}/stick", "--platform=none", "--vectors=bm25", "--datasets={place}"),
            same=lambda out: "3 files" in out,
        ),
        bool,
        _collection,
    ),
    "ragkit search --json": Use(
        _command("search", "{kit}", "red fish", "--system=bm25", "--json={place}", same=lambda out: "Red" in out), bool
    ),
}
assert len(QUERIES) == 2 and len(QRELS) == 3  # what is counted above
# Devices as what is written to are another area's.
_WRITTEN = ("a run to write", "an explorer to save", "ragkit search --json")
_NO_LINKS = ("a path too long", "NUL in it", "half a character in it", "nothing")  # where none can lead
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "a link to a device", "a pipe", "a link to a pipe", "a socket")


def trials(rng) -> Iterator[Trial]:
    for use_name, use in USES.items():
        for kind_name, kind in KINDS.items():
            if use_name in _WRITTEN and kind_name in _DEVICES:
                continue
            if use_name.startswith("a collection's") and kind_name in _NO_LINKS:
                continue
            yield Trial(f"{use_name}: {kind_name}", partial(_tried, use, kind), 30)


def _tried(use: Use, kind: Callable[[Path, Path], str], room: Room) -> str:
    os.environ["RAGKIT_CACHE"] = str(room.kit / "cache")
    for name in ("RAGKIT_MIRROR", "QDRANT_URL", "RAGKIT_DATA"):
        os.environ.pop(name, None)
    (room.scratch / "good").mkdir()
    (room.scratch / "place").mkdir()
    os.chdir(room.scratch)
    place = kind(room.scratch / "place", use.good(room.scratch / "good"))
    before = _seen(room.scratch / "place")
    found: list[Any] = []

    def call() -> Any:
        found.append(use.call(room, place))
        return found[0]

    outcome = ask(call, use.right)
    outcome = found[0] if found and isinstance(found[0], str) else outcome  # a command's own
    if outcome == CLEAR and use.leaves:
        after = _seen(room.scratch / "place")
        assert after == before, f"refused, and yet changed: {sorted(set(after.items()) ^ set(before.items()))[:3]}"
        assert os.stat("/dev/null").st_rdev == os.makedev(1, 3), "/dev/null is no device any more"
        strange = [name for name in os.listdir(room.scratch) if name not in ("good", "place", "around")]
        assert not strange, f"left behind: {strange}"
    return outcome


def _seen(folder: Path) -> dict[str, Any]:
    """Return what there is in a folder: the type and the content of each path in it."""
    seen: dict[str, Any] = {}
    for root, folders, files in os.walk(os.fsencode(folder)):
        for name in [*folders, *files]:
            path = os.path.join(root, name)
            mode = os.lstat(path).st_mode
            content = os.readlink(path) if stat.S_ISLNK(mode) else b""
            if stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    content = file.read()
            seen[os.fsdecode(path)] = (stat.S_IFMT(mode), content)
    return seen
