"""Bytes damaged in what is kept, shipped, carried on sticks or downloaded, and then read.

"survived" is a result equal to that of the undisturbed files: the rankings and scores of five systems, the arrays, the
tables. A file that nothing vouches for (a run, judgments) is taken at its word: what is read is what its lines say.
"""

import functools
import http.server
import json
import os
import pickle
import random
import re
import shutil
import socketserver
import sqlite3
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd

import ragkit
from ragkit.datasets import catalogue, trec
from ragkit.datasets.judging import Judgments
from ragkit.encoders import embedded
from ragkit.encoders.encoder import Encoder
from ragkit.evaluation.retriever import Retriever
from ragkit.evaluation.systems import System
from ragkit.files import SUMS, read_sums, sha256, write_sums
from ragkit.paths import data_dir
from ragkit.workshop.stick import fill_stick
from ragkit.workshop.verify import problems
from tests.faults.harm import KINDS, copy_with_holes, harm
from tests.faults.trials import CLEAR, SURVIVED, Room, Trial, ask

# What each prepared index holds, and what is asked of it. The films stay in one open segment; the pairs are in two, of
# which one is closed, and have small copies and a graph.
INDEXES = {
    "films": (["dense", "colbert", "bm25"], ["dense", "colbert", "dense+colbert", "bm25", "hybrid"]),
    "pairs": (
        ["dense", "colbert-pool3-turbo4copy", "muvera-hnsw", "bm25"],
        ["dense", "colbert-pool3-turbo4copy", "muvera-hnsw+colbert-pool3-turbo4copy", "bm25", "hybrid"],
    ),
}
MODELS = {"all-minilm-l6-v2": embedded.DENSE, "colbert-minilm-l6": embedded.COLBERT}
TEXTS = ["a silent film about a trial", "two thieves, and the police behind them"]
NAMED = "nfcorpus"  # a name that the kit has no manifest of; here it stands for the films
HUB = ("downloaded from its hub",)  # what no message about an embedded model may say


# What is undisturbed


def prepare(kit: Path) -> None:
    """Make every file once, and what is read of it while it is whole."""
    os.environ |= {"RAGKIT_CACHE": str(kit / "cache"), "RAGKIT_MIRROR": ""}
    expected: dict = {"index": {}}
    for name in INDEXES:
        with index_in(name, kit / "edge" / name) as index:
            expected["index"][name] = answers(name, index)
    expected["arrays"] = _arrays()
    expected["shipped"] = _shipped()
    _write_beir(kit / "cache" / "beir" / NAMED)
    expected["named"] = _tables(ragkit.load_beir(NAMED))
    fill_stick(kit / "stick", ["movies", NAMED], platforms=[], say=lambda line: None)
    for name in ("wheels/film-1.0-py3-none-any.whl", "models/models--a--film/blobs/1f"):
        (kit / "stick" / name).parent.mkdir(parents=True, exist_ok=True)
        (kit / "stick" / name).write_bytes(random.Random(name).randbytes(20_000))
        write_sums(kit / "stick", read_sums(kit / "stick") | {name: sha256(kit / "stick" / name)})
    assert problems(kit / "stick") == []
    (kit / "mirror" / "beir").mkdir(parents=True)
    with zipfile.ZipFile(kit / "mirror" / "beir" / f"{NAMED}.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in sorted((kit / "cache" / "beir" / NAMED).rglob("*")):
            zipped.write(path, f"{NAMED}/{path.relative_to(kit / 'cache' / 'beir' / NAMED)}")
    os.environ |= {"RAGKIT_CACHE": str(kit / "unpacked"), "RAGKIT_MIRROR": str(kit / "mirror")}
    assert _tables(ragkit.load_beir(NAMED)) == expected["named"]
    (kit / "runs").mkdir()
    results = expected["index"]["films"][0]
    trec.write_run(pd.DataFrame(results, columns=["query_id", "doc_id", "score"]), kit / "runs" / "dense.run")
    judgments = Judgments(kit / "runs" / "judgments.jsonl")
    for number, (query_id, doc_id, _) in enumerate(results):
        judgments.record(query_id, doc_id, number % 3)
    (kit / "expected.pickle").write_bytes(pickle.dumps(expected))


@functools.cache
def _expected(kit: Path) -> dict:
    return pickle.loads((kit / "expected.pickle").read_bytes())


@functools.cache
def dataset_of(name: str) -> ragkit.Dataset:
    movies = ragkit.load_movies()
    queries = movies.queries.iloc[::5].reset_index(drop=True)
    if name == "films":
        return ragkit.Dataset("films", movies.documents, queries, movies.qrels, with_titles=False)
    films = movies.documents["text"].tolist()
    texts = [f"{a} {b}" for a in films for b in films if a is not b][:240]
    documents = pd.DataFrame({"doc_id": [f"pair{i}" for i in range(len(texts))], "title": "", "text": texts})
    return ragkit.Dataset("pairs", documents, queries, movies.qrels, with_titles=False)


@functools.cache
def encoders_of(name: str) -> dict:
    return ragkit.load_encoders(INDEXES[name][0])


def index_in(name: str, folder: Path):
    return ragkit.build_index(dataset_of(name), encoders_of(name), folder)[0]


def answers(name: str, index) -> list[list[tuple]]:
    """Return query, document and score of the first twenty for eight queries, a list a system."""
    found = []
    for text in INDEXES[name][1]:
        retriever = Retriever(index, encoders_of(name), System.parse(text), depth=20, limit=20)
        results = retriever.run(dataset_of(name).queries).results
        found.append(list(results[["query_id", "doc_id", "score"]].itertuples(index=False, name=None)))
    return found


def _arrays() -> dict[str, np.ndarray]:
    """Return the arrays of the films and their queries, a role of a model after the other."""
    movies, found = dataset_of("films"), {}
    for name in ("dense", "colbert"):
        encoder = encoders_of("films")[name]
        found[f"{name} document"] = np.concatenate(
            [np.atleast_2d(a) for a in encoder.encode_documents(movies.passages)]
        )
        queries = encoder.encode_queries(movies.queries["text"].tolist())
        found[f"{name} query"] = np.concatenate([np.atleast_2d(a) for a in queries])
    return found


def _same_arrays(found: dict, expected: dict) -> bool:
    """Tell whether arrays are those of before, but for what a model's batches change in the last digits."""
    return found.keys() == expected.keys() and all(
        found[name].shape == expected[name].shape and np.allclose(found[name], expected[name], rtol=0, atol=1e-5)
        for name in expected
    )


def _tables(dataset: ragkit.Dataset) -> tuple:
    tables = (dataset.documents, dataset.queries, dataset.qrels)
    return (*(table.astype(str).to_numpy().tolist() for table in tables), dataset.notes)


def _shipped(model: str | None = None) -> list:
    """Return what is read of the files that ship: the tables and names, or what a model makes of two texts."""
    if model is None:
        return [_tables(ragkit.load_movies()), repr(catalogue.catalogue())]
    embedded.checksums.cache_clear()
    embedded.model_folder.cache_clear()
    encoder = Encoder(model, cache=False)
    return [encoder.fingerprint, *(array.tolist() for array in encoder.encode_documents(TEXTS))]


def _write_beir(folder: Path) -> None:
    movies = ragkit.load_movies()
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": d.doc_id, "title": d.title, "text": d.text} for d in movies.documents.itertuples()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf8")
    rows = [{"_id": q.query_id, "text": q.text} for q in movies.queries.itertuples()]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf8")
    for split, qrels in (("test", movies.qrels[::2]), ("dev", movies.qrels[1::2])):
        lines = [f"{q.query_id}\t{q.doc_id}\t{q.relevance}\n" for q in qrels.itertuples()]
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), "utf8")


# The trials


def trials(rng: random.Random) -> Iterator[Trial]:
    for name, count in (("films", 280), ("pairs", 280)):
        yield from _drawn(rng, f"Edge folder of {name}", count, functools.partial(_edge, name))
        yield from _drawn(rng, f"Edge's note of {name}", 14, functools.partial(_edge, name, part="ragkit.json"))
    yield from _drawn(rng, "cache", 170, _cache)
    yield from _rows(rng, 170)
    yield from _drawn(rng, "files that ship", 130, functools.partial(_shipped_file, models=False))
    yield from _drawn(rng, "models that ship", 70, functools.partial(_shipped_file, models=True))
    for use in ("check", "read", "refill"):
        yield from _drawn(rng, f"stick: {use}", 70, functools.partial(_stick, use))
    yield from _drawn(rng, "archive in a folder", 70, functools.partial(_archive, False))
    yield from _drawn(rng, "archive from an address", 42, functools.partial(_archive, True))
    yield from _drawn(rng, "dataset in the cache", 70, _unpacked)
    yield from _drawn(rng, "run", 56, _run)
    yield from _drawn(rng, "judgments", 56, _judgments)


def _drawn(rng: random.Random, what: str, count: int, work: Callable[[Room, str, int], str]) -> Iterator[Trial]:
    """Yield trials of a kind of work: each kind of damage in turn, each with a seed for file and place."""
    for number in range(count):
        kind, seed = KINDS[number % len(KINDS)], rng.randrange(2**32)
        yield Trial(f"{what}: {kind} ({seed})", lambda room, kind=kind, seed=seed: work(room, kind, seed))


def _harmed(folder: Path, kind: str, seed: int, match: str = ".") -> str:
    """Damage a file of a folder, drawn by the seed among those whose path matches; return its path."""
    files = {re.sub(r"[0-9a-f-]{36}", "", p.relative_to(folder).as_posix()) + str(p): p for p in folder.rglob("*")}
    found = [files[name] for name in sorted(files) if files[name].is_file() and re.search(match, str(files[name]))]
    found = [path for path in found if path.name != "ragkit.lock"]
    rng = random.Random(seed)
    path, other = rng.choice(found), rng.choice(found)
    harm(path, kind, seed, other.read_bytes()[: 1 << 20])
    return path.relative_to(folder).as_posix()


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Say which file it was of what goes wrong."""
    try:
        yield
    except BaseException as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error


def _at(room: Room, cache: Path | None = None, mirror: Path | None = None) -> None:
    os.environ |= {"RAGKIT_CACHE": str(cache or room.kit / "cache"), "RAGKIT_MIRROR": str(mirror or "")}


def _edge(name: str, room: Room, kind: str, seed: int, part: str = ".") -> str:
    _at(room)
    folder = room.scratch / "index"
    copy_with_holes(room.kit / "edge" / name, folder)
    file = _harmed(folder, kind, seed, part)
    expected = _expected(room.kit)["index"][name]

    def work():
        with index_in(name, folder) as index:
            return answers(name, index)

    with _naming(file):
        return ask(work, lambda found: found == expected)


def _cache(room: Room, kind: str, seed: int) -> str:
    _at(room, room.scratch / "cache")
    shutil.copytree(room.kit / "cache" / "embeddings", room.scratch / "cache" / "embeddings")
    file = _harmed(room.scratch / "cache", kind, seed, "(colbert-minilm-l6|MiniLM-L6-v2)-[0-9a-f]{16}-")
    with _naming(file):
        return _read_twice(room)


def _read_twice(room: Room) -> str:
    """Read the arrays; whatever had to be computed again is there when they are read once more."""
    expected = _expected(room.kit)["arrays"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = ask(_arrays, lambda arrays: _same_arrays(arrays, expected))
        if found == SURVIVED:
            computed = [0]
            with _counting(computed):
                again = ask(_arrays, lambda arrays: _same_arrays(arrays, expected))
            assert again == SURVIVED and computed == [0], f"{computed[0]} batches were computed once more"
    return found


@contextmanager
def _counting(computed: list[int]) -> Iterator[None]:
    real = Encoder._embed

    def counted(self, batch, role):
        computed[0] += 1
        return real(self, batch, role)

    Encoder._embed = counted
    try:
        yield
    finally:
        Encoder._embed = real


# What may befall a row that SQLite itself gives back as sound.
ROWS = {
    "a flipped bit": "data = CAST(X'00000001' || substr(data, 5) AS BLOB)",
    "no number": "data = CAST(X'0000C07F' || substr(data, 5) AS BLOB)",
    "zeros": "data = zeroblob(length(data))",
    "cut": "data = substr(data, 1, 8)",
    "empty": "data = X''",
    "text": "data = 'film'",
    "a number": "data = 5",
    "a shape of as many": "shape = '1,' || shape",
    "a shape below 0": "shape = '-1,-384'",
    "no shape": "shape = 'film'",
    "an empty shape": "shape = ''",
    "a shape of a thousand digits": "shape = printf('%.*c', 5000, '1')",
    "a shape that is no text": "shape = X'FF'",
    "another checksum": "checksum = checksum + 1",
    "a checksum of text": "checksum = 'film'",
    "no checksum": "checksum = NULL",
    "another key": "key = X'00'",
}


def _rows(rng: random.Random, count: int) -> Iterator[Trial]:
    for number in range(count):
        (what, change), seed = list(ROWS.items())[number % len(ROWS)], rng.randrange(2**32)
        yield Trial(f"row of the cache: {what} ({seed})", functools.partial(_row, change=change, seed=seed))


def _row(room: Room, change: str, seed: int) -> str:
    _at(room, room.scratch / "cache")
    shutil.copytree(room.kit / "cache" / "embeddings", room.scratch / "cache" / "embeddings")
    files = sorted((room.scratch / "cache" / "embeddings").iterdir())
    path = random.Random(seed).choice([file for file in files if re.search("(l6|v2)-[0-9a-f]{16}-", file.name)])
    with sqlite3.connect(path) as db:
        keys = db.execute("SELECT rowid FROM arrays").fetchall()
        db.execute(f"UPDATE arrays SET {change} WHERE rowid = ?", random.Random(seed).choice(keys))
    db.close()
    with _naming(path.name):
        return _read_twice(room)


def _shipped_file(room: Room, kind: str, seed: int, models: bool) -> str:
    _at(room)
    real, own = data_dir(), room.scratch / "data"
    for path in real.rglob("*"):
        if path.is_file():
            (own / path.relative_to(real)).parent.mkdir(parents=True, exist_ok=True)
            (own / path.relative_to(real)).symlink_to(path)
    read = r"/data/(models/SHA256SUMS|models/.*(json|onnx))$" if models else r"/data/[^/]+(jsonl?|tsv|SUMS)$|/beir/"
    chosen = random.Random(seed).choice(sorted(p for p in own.rglob("*") if re.search(read, str(p)) and p.is_symlink()))
    target = chosen.resolve()
    chosen.unlink()
    shutil.copyfile(target, chosen)
    harm(chosen, kind, seed, (real / "beir_archives.json").read_bytes())
    os.environ["RAGKIT_DATA"] = str(own)
    folder = chosen.relative_to(own).parts[1] if models else ""
    model = MODELS.get(folder, random.Random(seed).choice([*MODELS.values()])) if models else None
    with _naming(chosen.relative_to(own).as_posix()):
        expected = _of_models(str(real), model) if models else _expected(room.kit)["shipped"]
        return ask(lambda: _shipped(model), lambda found: found == expected, HUB)


@functools.cache
def _of_models(data: str, model: str) -> list:
    here = os.environ["RAGKIT_DATA"]
    os.environ["RAGKIT_DATA"] = data
    try:
        return _shipped(model)
    finally:
        os.environ["RAGKIT_DATA"] = here


def _stick(use: str, room: Room, kind: str, seed: int) -> str:
    stick = room.scratch / "stick"
    shutil.copytree(room.kit / "stick", stick)
    file = _harmed(stick, kind, seed, "" if use == "check" else "/(beir|embeddings)/|SUMS$")
    with _naming(file):
        if use == "check":
            found: list[str] = []
            said = ask(lambda: found.extend(problems(stick)))
            if found or said == CLEAR:
                return CLEAR
            # The list itself may say the same without its last line end.
            assert file == SUMS and read_sums(stick) == read_sums(room.kit / "stick"), "nobody noticed"
            return SURVIVED
        if use == "refill":
            _at(room)
            told: list[str] = []
            said = ask(lambda: fill_stick(stick, ["movies", NAMED], platforms=[], say=told.append))
            left = problems(stick) if said == SURVIVED else []
            assert all(any(line.startswith(problem) for line in told) for problem in left), left
            if said == CLEAR or left:
                return CLEAR
        _at(room, room.scratch / "cache", stick)
        expected = _expected(room.kit)
        return ask(
            lambda: (_tables(ragkit.load_beir(NAMED)), _arrays()),
            lambda found: found[0] == expected["named"] and _same_arrays(found[1], expected["arrays"]),
        )


def _archive(address: bool, room: Room, kind: str, seed: int) -> str:
    mirror = room.scratch / "mirror"
    shutil.copytree(room.kit / "mirror", mirror)
    _harmed(mirror, kind, seed, "zip")
    expected = _expected(room.kit)["named"]

    def work():
        return _tables(ragkit.load_beir(NAMED))

    with _served(mirror) if address else _as_folder(mirror) as place:
        _at(room, room.scratch / "cache", place)
        os.environ["HTTPS_PROXY"] = "http://127.0.0.1:9"  # BEIR's own address is not there
        said = ask(work, lambda found: found == expected)
        shutil.copytree(room.kit / "mirror", mirror, dirs_exist_ok=True)
        assert work() == expected  # what was bad once is not kept
    return said


@contextmanager
def _as_folder(folder: Path) -> Iterator[str]:
    yield str(folder)


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve a folder at an address of this machine."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _unpacked(room: Room, kind: str, seed: int) -> str:
    cache = room.scratch / "cache"
    shutil.copytree(room.kit / "unpacked", cache)
    file = _harmed(cache / "beir" / NAMED, kind, seed)
    expected = _expected(room.kit)["named"]
    _at(room, cache, room.kit / "mirror")
    with _naming(file):
        said = ask(lambda: _tables(ragkit.load_beir(NAMED)), lambda found: found == expected)
        if said == CLEAR:  # the advice helps
            shutil.rmtree(cache / "beir" / NAMED)
            assert _tables(ragkit.load_beir(NAMED)) == expected
    return said


def _run(room: Room, kind: str, seed: int) -> str:
    shutil.copytree(room.kit / "runs", room.scratch / "runs")
    _harmed(room.scratch / "runs", kind, seed, "run$")
    path = room.scratch / "runs" / "dense.run"

    def as_written(run: pd.DataFrame) -> bool:
        says = [re.split("[ \t]+", line.strip(" \t")) for line in path.read_bytes().decode("utf8").split("\n")]
        says = [(query, doc, float(score)) for query, _, doc, _, score, _ in (line for line in says if line != [""])]
        return sorted(says) == sorted(run[["query_id", "doc_id", "score"]].itertuples(index=False, name=None))

    return ask(lambda: trec.read_run(path), as_written)


def _judgments(room: Room, kind: str, seed: int) -> str:
    shutil.copytree(room.kit / "runs", room.scratch / "runs")
    _harmed(room.scratch / "runs", kind, seed, "jsonl$")
    path = room.scratch / "runs" / "judgments.jsonl"

    def as_written(table: pd.DataFrame) -> bool:
        lines = path.read_bytes().decode("utf8", "replace").split("\n") if path.exists() else [""]
        rows = [json.loads(line) for line in lines[:-1] if line.strip()]
        with suppress(ValueError):  # torn off
            rows += [json.loads(lines[-1])]
        says = {(str(row["query_id"]), str(row["doc_id"])): row["relevance"] for row in rows}
        return says == {(q, d): r for q, d, r in table.itertuples(index=False, name=None)}

    said = ask(lambda: Judgments(path).table(), as_written)
    ask(lambda: Judgments(path).record("another", "film", 2))
    kept = path.read_bytes().split(b"\n")[-2:]
    assert said == CLEAR or json.loads(kept[0])["query_id"] == "another", "what was judged then is not there"
    return said
