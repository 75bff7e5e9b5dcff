"""Malformed files, tables and arguments."""

import hashlib
import json
import math
import os
import shutil
import zipfile
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
from ragkit.engines.index import Fusion, Prefetch
from ragkit.evaluation import Retriever, System
from ragkit.files import SUMS, damaged, write_sums
from ragkit.vectors import Storage, VectorSpec
from tests.faults import malformed
from tests.faults.trials import CLEAR, Room, Trial, ask, command

REFUSED = object()  # expected in place of a result

DOCUMENTS = [("a", "Red", "a red fish"), ("b", "", "a blue bird"), ("c", "Green", "a green frog, für Elise")]
QUERIES = [("q1", "red fish"), ("q2", "grüner Frosch")]
QRELS = [("q1", "a", 1), ("q2", "c", 2), ("q2", "b", 0)]


def prepare(kit: Path) -> None:
    collection(kit / "collection")
    (kit / "bomb").write_bytes(malformed.bomb(b'{"_id": "a", "text": "', 6 * 10**9))


def collection(folder: Path, **files: bytes) -> Path:
    """Write the toy collection to a folder, some files of it otherwise, by name with __ for a slash; return it."""
    plain = {
        "corpus.jsonl": _jsonl({"_id": i, "title": title, "text": text} for i, title, text in DOCUMENTS),
        "queries.jsonl": _jsonl({"_id": i, "text": text} for i, text in QUERIES),
        "qrels/test.tsv": _tsv([("query-id", "corpus-id", "score"), *QRELS]),
    }
    for name, data in (plain | {name.replace("__", "/"): data for name, data in files.items()}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def _jsonl(rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _tsv(rows, between: str = "\t") -> bytes:
    return "".join(between.join(map(str, row)) + "\n" for row in rows).encode()


def trials(rng) -> Iterator[Trial]:
    yield from _files()
    yield from _fields()
    yield from _archives()
    yield from _frames()
    yield from _calls()
    yield from _commands()


def _expects(expected: Any) -> Callable[[Any], bool]:
    if expected is REFUSED:
        return lambda result: False
    return expected if callable(expected) else lambda result: result == expected


def _here(room: Room) -> None:
    """Leave the network and the checkout alone, and keep what is encoded with the kit."""
    os.chdir(room.scratch)
    os.environ["RAGKIT_CACHE"] = str(room.kit / "cache")
    for name in ("RAGKIT_MIRROR", "QDRANT_URL", "RAGKIT_DATA"):
        os.environ.pop(name, None)


def _trial(name: str, call: Callable[[Room], Any], expected: Any = REFUSED, seconds: float = 60) -> Trial:
    def work(room: Room) -> str:
        _here(room)
        return ask(lambda: call(room), _expects(expected))

    return Trial(name, work, seconds)


# -- Files: each kind of file, and what can be the matter with its bytes


@dataclass(frozen=True)
class Role:
    """A file that the kit reads: its name in a folder, its bytes, what is read of it; whether it may be empty."""

    name: str
    data: bytes
    read: Callable[[Path], Any]
    empty: Any = REFUSED
    text: bool = False  # whether any text is one


def _values(frame: pd.DataFrame, *columns: str) -> list:
    return frame[list(columns)].values.tolist()


def _corpus(folder: Path) -> list:
    return _values(ragkit.load_unjudged(folder).documents, "doc_id", "title", "text")


def _asked(folder: Path) -> list:
    collection_of = folder / "corpus.jsonl"
    if not collection_of.exists():
        collection_of.write_bytes(_jsonl({"_id": i, "title": title, "text": text} for i, title, text in DOCUMENTS))
    return _values(ragkit.load_unjudged(folder).queries, "query_id", "text")


def _judged(folder: Path) -> list:
    for name, data in (
        ("corpus.jsonl", _jsonl({"_id": i, "title": title, "text": text} for i, title, text in DOCUMENTS)),
        ("queries.jsonl", _jsonl({"_id": i, "text": text} for i, text in QUERIES)),
    ):
        (folder / name).write_bytes(data)
    return _values(ragkit.load_beir(folder).qrels, "query_id", "doc_id", "relevance")


def _documents(name: str, **options: Any) -> Callable[[Path], list]:
    return lambda folder: _values(read_documents(folder / name, **options)[0], "doc_id", "text")


_ROWS = {"text": "text", "id": "_id"}
ROLES = [
    Role("corpus.jsonl", _jsonl({"_id": i, "title": t, "text": x} for i, t, x in DOCUMENTS), _corpus),
    Role("corpus.tsv", _tsv([("_id", "title", "text"), *DOCUMENTS]), _corpus),
    Role("corpus.jsonl.gz", _jsonl({"_id": i, "title": t, "text": x} for i, t, x in DOCUMENTS), _corpus),
    Role("queries.jsonl", _jsonl({"_id": i, "text": x} for i, x in QUERIES), _asked, []),
    Role("qrels/test.tsv", _tsv([("query-id", "corpus-id", "score"), *QRELS]), _judged),
    Role("qrels/test.jsonl", _jsonl({"query_id": q, "doc_id": d, "relevance": r} for q, d, r in QRELS), _judged),
    Role(
        "run.txt",
        _tsv([("q1", "Q0", "ä", 1, 2.5, "t"), ("q1", "Q0", "b", 2, 1.5, "t"), ("q2", "Q0", "b", 1, 1, "t")], " "),
        lambda folder: _values(trec.read_run(folder / "run.txt"), "query_id", "doc_id", "score"),
    ),
    Role(
        "qrels.txt",
        _tsv([("q1", 0, "ä", 1), ("q1", 0, "b", 0), ("q2", 0, "b", 2)], " "),
        lambda folder: _values(trec.read_qrels(folder / "qrels.txt"), "query_id", "doc_id", "relevance"),
    ),
    Role(
        "judgments.jsonl",
        _jsonl({"query_id": q, "doc_id": d, "relevance": r} for q, d, r in [*QRELS, ("q2", "ü", 1)]),
        lambda folder: _values(ragkit.Judgments(folder / "judgments.jsonl").table(), "query_id", "doc_id", "relevance"),
        [],
    ),
    Role(
        "faq.csv",
        _tsv([("_id", "text"), *((i, f'"{x}"') for i, _, x in DOCUMENTS)], ","),
        _documents("faq.csv", **_ROWS),
    ),
    Role("faq.jsonl", _jsonl({"_id": i, "text": x} for i, _, x in DOCUMENTS), _documents("faq.jsonl", **_ROWS)),
    Role("texts/one.md", "Für Elise.\nA second line.\nA third.\n".encode(), _documents("texts"), text=True),
]


def _files() -> Iterator[Trial]:
    for role in ROLES:
        disorders = dict(malformed.DISORDERS)
        if not role.text:
            lines = {name: line for name, line in malformed.LINES.items() if not _is_row(role, line)}
            disorders |= {f"a line: {name}": malformed.insert(line) for name, line in lines.items()}
        for name, spoil in disorders.items():
            yield Trial(f"{role.name}: {name}", partial(_file, role, spoil))
    for name, read in {
        "corpus.jsonl.gz": _corpus,
        "faq.csv.gz": _documents("faq.csv.gz", **_ROWS),
        "run.gz": lambda folder: trec.read_run(folder / "run.gz"),
    }.items():
        yield _trial(f"{name} of 6 MB that unpacks to 6 GB", partial(_bomb, name, read))


def _is_row(role: Role, line: bytes) -> bool:
    """Return whether a line is a row of the file, whatever is in it."""
    return role.name == "faq.csv" and line.count(b",") == 1


def _file(role: Role, spoil: malformed.Spoil, room: Room) -> str:
    _here(room)
    path, undisturbed = room.scratch / "spoilt" / role.name, room.scratch / "undisturbed" / role.name
    for place, data in ((path, spoil(role.data)), (undisturbed, role.data)):
        place.parent.mkdir(parents=True)
        place.write_bytes(malformed.gzip.compress(data) if role.name.endswith(".gz") and place != path else data)
    expected = role.read(room.scratch / "undisturbed")
    spoilt = spoil(role.data)
    nothing = not spoilt.removeprefix(b"\xef\xbb\xbf").strip() or spoilt == malformed.gzip.compress(b"")

    def same(result: Any) -> bool:
        if role.text:  # any text is one, but for what is none
            return all(isinstance(text, str) and "\0" not in text for _, text in result)
        return result == (role.empty if nothing else expected)

    return ask(lambda: role.read(room.scratch / "spoilt"), same)


def _bomb(name: str, read: Callable[[Path], Any], room: Room) -> Any:
    shutil.copyfile(room.kit / "bomb", room.scratch / name)
    return read(room.scratch)


# -- Fields: values that a file may hold where others are expected

LONG, HUGE = "x" * 300_000, "9" * 5_000
# As they stand in JSON: what is read of each as an id and as a text.
JSON_VALUES: dict[str, tuple[str, Any, Any]] = {
    "a whole number": ("7", "7", REFUSED),
    "zero": ("0", "0", REFUSED),
    "a negative number": ("-7", "-7", REFUSED),
    "2^31": (str(2**31), str(2**31), REFUSED),
    "2^63": (str(2**63), str(2**63), REFUSED),
    "5,000 digits": (HUGE, REFUSED, REFUSED),
    "a fraction": ("1.5", REFUSED, REFUSED),
    "a whole number as a fraction": ("7.0", REFUSED, REFUSED),
    "an exponent": ("1e3", REFUSED, REFUSED),
    "beyond every float": ("1e999", REFUSED, REFUSED),
    "NaN": ("NaN", REFUSED, REFUSED),
    "Infinity": ("Infinity", REFUSED, REFUSED),
    "true": ("true", REFUSED, REFUSED),
    "null": ("null", REFUSED, REFUSED),
    "a list": ('["a"]', REFUSED, REFUSED),
    "an object": ('{"a": 1}', REFUSED, REFUSED),
    "deep": ("[" * 50_000 + "]" * 50_000, REFUSED, REFUSED),
    "an empty text": ('""', REFUSED, ""),
    "a text of 300,000 characters": (f'"{LONG}"', LONG, LONG),
    "NUL": ('"a\\u0000b"', REFUSED, "a\0b"),
    "half a character": ('"\\ud83d"', REFUSED, REFUSED),
    "the other half": ('"a \\ude00 b"', REFUSED, REFUSED),
    "both halves": ('"\\ud83d\\ude00"', "😀", "😀"),
    "escapes of a terminal": ('"\\u001b[31mred\\u0007"', "\x1b[31mred\x07", "\x1b[31mred\x07"),
    "no Unicode character": ('"\\uffff"', "\uffff", "\uffff"),
    "marks alone": ('"\\u0301\\u0301"', "\u0301\u0301", "\u0301\u0301"),
    "right to left": ('"\\u202eabc"', "\u202eabc", "\u202eabc"),
    "a bad escape": ('"\\x41"', REFUSED, REFUSED),
    "single quotes": ("'a'", REFUSED, REFUSED),
    "nothing": ("", REFUSED, REFUSED),
}
# As they are written: what is read of each as a relevance.
GRADES: dict[str, tuple[str, Any]] = {
    "the largest grade": ("1000000", 1_000_000),
    "beyond the largest grade": ("1000001", REFUSED),
    "2^31 - 1": (str(2**31 - 1), REFUSED),
    "2^31": (str(2**31), REFUSED),
    "2^62": (str(2**62), REFUSED),
    "2^64": (str(2**64), REFUSED),
    "5 * 10^8": ("500000000", REFUSED),
    "10^30": ("1" + "0" * 30, REFUSED),
    "5,000 digits": (HUGE, REFUSED),
    "minus one": ("-1", -1),
    "minus 2^31": (str(-(2**31)), REFUSED),
    "minus 5,000 digits": ("-" + HUGE, REFUSED),
    "1.0": ("1.0", 1),
    "1.9": ("1.9", REFUSED),
    "1e3": ("1e3", REFUSED),
    "NaN": ("NaN", REFUSED),
    "Infinity": ("Infinity", REFUSED),
    "true": ("true", REFUSED),
    "null": ("null", REFUSED),
    "a text": ('"high"', REFUSED),
    "a list": ("[1]", REFUSED),
    "hexadecimal": ("0x1", REFUSED),
    "an underscore": ("1_000", REFUSED),
    "Arabic digits": ("١", REFUSED),
    "a full-width digit": ("１", REFUSED),
    "a superscript": ("²", REFUSED),
    "two signs": ("--1", REFUSED),
    "nothing": ("", REFUSED),
}
SCORES: dict[str, tuple[str, Any]] = {
    "a whole number": ("3", 3.0),
    "an exponent": ("1e-3", 0.001),
    "the largest float": ("1.7976931348623157e308", 1.7976931348623157e308),
    "beyond every float": ("1e309", REFUSED),
    "the smallest float": ("5e-324", 5e-324),
    "NaN": ("NaN", REFUSED),
    "Infinity": ("Infinity", REFUSED),
    "minus inf": ("-inf", REFUSED),
    "5,000 digits": (HUGE, REFUSED),
    "a comma": ("1,5", REFUSED),
    "an underscore": ("1_0", REFUSED),
    "hexadecimal": ("0x1p3", REFUSED),
    "a text": ("high", REFUSED),
    "minus zero": ("-0", 0.0),
}
RANKS = {"0": True, "-1": True, "1.5": False, HUGE: False, "one": False, str(2**62): False, "+3": True, "NaN": False}


def _fields() -> Iterator[Trial]:
    for name, (value, as_id, as_text) in JSON_VALUES.items():
        yield _trial(
            f"a document's id: {name}",
            partial(_field, "corpus.jsonl", f'{{"_id": {value}, "text": "x"}}\n', _corpus, 0),
            as_id,
        )
        yield _trial(
            f"a document's text: {name}",
            partial(_field, "corpus.jsonl", f'{{"_id": "x", "text": {value}}}\n', _corpus, 2),
            as_text,
        )
        yield _trial(
            f"a query's id: {name}",
            partial(_field, "queries.jsonl", f'{{"_id": {value}, "text": "x"}}\n', _asked, 0),
            as_id,
        )
        yield _trial(
            f"a row's text to import: {name}",
            partial(_field, "faq.jsonl", f'{{"_id": "x", "text": {value}, "more": "x"}}\n', ROLES[10].read, 1),
            lambda text: isinstance(text, str) and "\ud83d" not in text,  # numbers are imported as they are shown
        )
    for name, (value, grade) in GRADES.items():
        quoted = value if value.isascii() and value.replace("_", "x") == value and value else f'"{value}"'
        yield _trial(
            f"a relevance in qrels.tsv: {name}",
            partial(_field, "qrels/test.tsv", f"query-id\tcorpus-id\tscore\nq1\ta\t{value}\n", _judged, 2),
            grade,
        )
        yield _trial(
            f"a relevance in qrels.jsonl: {name}",
            partial(_field, "qrels/test.jsonl", f'{{"qid": "q1", "docid": "a", "rel": {quoted}}}\n', _judged, 2),
            {"1e3": 1000}.get(name, grade),  # a number in JSON
        )
        yield _trial(
            f"a relevance in TREC's qrels: {name}",
            partial(_field, "qrels.txt", f"q1 0 a {value}\n", ROLES[7].read, 2),
            {"1e3": 1000}.get(name, grade),
        )
        yield _trial(
            f"a judgment's relevance: {name}",
            partial(
                _field,
                "judgments.jsonl",
                f'{{"query_id": "q1", "doc_id": "a", "relevance": {quoted}}}\n',
                ROLES[8].read,
                2,
            ),
            grade if grade in (0, 1, 2) else REFUSED,
        )
    for name, (value, score) in SCORES.items():
        yield _trial(
            f"a run's score: {name}", partial(_field, "run.txt", f"q1 Q0 a 1 {value} t\n", ROLES[6].read, 2), score
        )
    for value, well in RANKS.items():
        yield _trial(
            f"a run's rank: {value[:20]}",
            partial(_field, "run.txt", f"q1 Q0 a {value} 1.5 t\n", _by_rank, 1),
            "a" if well else REFUSED,
        )
    for name, line in {
        "an id with a space": '"a b"',
        "an id with a tab": '"a\\tb"',
        "an id with a line break": '"a\\nb"',
    }.items():
        yield _trial(
            f"a document's {name}, in a run that is written",
            partial(_written_run, json.loads(line)),
        )


def _field(name: str, text: str, read: Callable[[Path], list], column: int, room: Room) -> Any:
    (room.scratch / name).parent.mkdir(parents=True, exist_ok=True)
    (room.scratch / name).write_text(text, "utf8")
    [row] = read(room.scratch)
    return row[column]


def _by_rank(folder: Path) -> list:
    return _values(trec.read_run(folder / "run.txt", "rank"), "query_id", "doc_id")


def _written_run(doc_id: str, room: Room) -> None:
    trec.write_run(pd.DataFrame({"query_id": ["q"], "doc_id": [doc_id], "score": [1.0]}), room.scratch / "run.txt")


# -- Archives of a collection


def _archive(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = malformed.io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _well() -> dict[str, bytes]:
    return {
        "nfcorpus/corpus.jsonl": _jsonl({"_id": i, "title": title, "text": text} for i, title, text in DOCUMENTS),
        "nfcorpus/queries.jsonl": _jsonl({"_id": i, "text": text} for i, text in QUERIES),
        "nfcorpus/qrels/test.tsv": _tsv([("query-id", "corpus-id", "score"), *QRELS]),
    }


def _one(change: Callable[[bytes], bytes]) -> bytes:
    """Return an archive whose first member, its corpus alone, is changed."""
    return change(malformed.zipped(_well()["nfcorpus/corpus.jsonl"], "nfcorpus/corpus.jsonl"))


def _linked() -> bytes:
    buffer = malformed.io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in _well().items():
            archive.writestr(name, data)
        link = zipfile.ZipInfo("nfcorpus/qrels/other.tsv")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return buffer.getvalue()


def _lying(data: bytes) -> bytes:
    """Return an archive of one file whose directory says that it is of 3 bytes."""
    made, central = bytearray(data), data.index(b"PK\x01\x02")
    made[central + 24 : central + 28] = (3).to_bytes(4, "little")
    return bytes(made)


ARCHIVES: dict[str, tuple[Callable[[], bytes], Any]] = {
    "a good one": (lambda: _archive(_well()), 3),
    "stored": (lambda: _archive(_well(), zipfile.ZIP_STORED), 3),
    "packed by bzip2": (lambda: _archive(_well(), zipfile.ZIP_BZIP2), 3),
    "packed by LZMA": (lambda: _archive(_well(), zipfile.ZIP_LZMA), 3),
    "nothing": (lambda: b"", REFUSED),
    "an empty archive": (lambda: _archive({}), REFUSED),
    "no corpus": (lambda: _archive({"nfcorpus/readme.txt": b"hello"}), REFUSED),
    "an empty corpus": (lambda: _archive(_well() | {"nfcorpus/corpus.jsonl": b""}), REFUSED),
    "no queries": (lambda: _archive({k: v for k, v in _well().items() if "queries" not in k}), REFUSED),
    "no judgments": (lambda: _archive({k: v for k, v in _well().items() if "qrels" not in k}), REFUSED),
    "a page of HTML": (lambda: b"<!doctype html><title>Sign in</title>", REFUSED),
    "cut": (lambda: _archive(_well())[:-40], REFUSED),
    "its end alone": (lambda: _archive(_well())[-22:], REFUSED),
    "a flipped bit": (lambda: _flipped(_archive(_well(), zipfile.ZIP_STORED), b"a red fish"), REFUSED),
    "a damaged stream": (lambda: _one(lambda data: data[:60] + b"\xff" * 12 + data[72:]), REFUSED),
    "encrypted": (lambda: _one(malformed.encrypted), REFUSED),
    "packed in an unknown way": (lambda: _one(malformed.packed_otherwise), REFUSED),
    "packed by Deflate64": (lambda: _one(lambda data: malformed.packed_otherwise(data, 9)), REFUSED),
    "strong encryption": (lambda: _one(lambda data: malformed.patched(data, 6, 8, 65)), REFUSED),
    "patched data": (lambda: _one(lambda data: malformed.patched(data, 6, 8, 32)), REFUSED),
    "a size that lies": (lambda: _one(_lying), REFUSED),
    "of a later version": (lambda: _one(lambda data: malformed.patched(data, 4, 6, 99)), REFUSED),
    "a name that leads out": (lambda: _archive(_well() | {"../out.txt": b"x"}), REFUSED),
    "an absolute name": (lambda: _archive(_well() | {"/tmp/ragkit-out.txt": b"x"}), REFUSED),
    "a name of Windows": (lambda: _archive(_well() | {"nfcorpus\\..\\..\\x.txt": b"x"}), REFUSED),
    "a name too long": (lambda: _archive(_well() | {"nfcorpus/" + "n" * 300: b"x"}), REFUSED),
    "a file as a folder": (lambda: _archive(_well() | {"nfcorpus/corpus.jsonl/x": b"x"}), REFUSED),
    "a link": (_linked, 3),
    "a bomb": (lambda: _archive(_well() | {"nfcorpus/more.txt": bytes(1_200_000_000)}), REFUSED),
    "gzip": (lambda: malformed.gzip.compress(_archive(_well())), REFUSED),
    "random bytes": (lambda: malformed.random_bytes(5_000, 7), REFUSED),
    "UTF-16 in it": (
        lambda: _archive({name: data.decode().encode("utf-16") for name, data in _well().items()}),
        3,
    ),
}


def _flipped(data: bytes, at: bytes) -> bytes:
    made = bytearray(data)
    made[data.index(at)] ^= 1
    return bytes(made)


def _archives() -> Iterator[Trial]:
    for name, (make, expected) in ARCHIVES.items():
        yield _trial(f"an archive of a collection: {name}", partial(_unpacked, make), expected)


def _unpacked(make: Callable[[], bytes], room: Room) -> int:
    os.environ |= {"RAGKIT_MIRROR": str(room.scratch / "mirror"), "RAGKIT_CACHE": str(room.scratch / "cache")}
    (room.scratch / "mirror" / "beir").mkdir(parents=True)
    (room.scratch / "mirror" / "beir" / "nfcorpus.zip").write_bytes(make())
    try:
        return len(ragkit.load_beir("nfcorpus").documents)
    finally:
        kept = [path for path in (room.scratch / "cache").rglob("*") if path.is_symlink() or ".nfcorpus-" in path.name]
        assert not kept, f"left behind: {kept}"
        assert not (room.scratch / "cache" / "beir" / "out.txt").exists(), "written outside"


# -- Tables of pandas

ODD_VALUES: dict[str, Any] = {
    "None": None,
    "NaN": math.nan,
    "pd.NA": pd.NA,
    "NaT": pd.NaT,
    "True": True,
    "a fraction": 1.5,
    "infinity": math.inf,
    "bytes": b"a",
    "a list": ["a"],
    "a dict": {"a": 1},
    "an object": object(),
    "a complex number": 1j,
    "a time": pd.Timestamp("2020-01-01"),
    "a numpy array": np.ones(2),
    "a function": len,
    "half a character": "\ud83d",
    "NUL in a text": "a\0b",
    "an empty text": "",
    "5,000 digits": 10**5_000,
    "2^63": 2**63,
    "minus 2^70": -(2**70),
}


def _tables() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    return (
        pd.DataFrame(DOCUMENTS, columns=["doc_id", "title", "text"], dtype=object),
        pd.DataFrame(QUERIES, columns=["query_id", "text"], dtype=object),
        pd.DataFrame(QRELS, columns=["query_id", "doc_id", "relevance"], dtype=object),
    )


def _frames() -> Iterator[Trial]:
    for name, value in ODD_VALUES.items():
        for i, column in ((0, "doc_id"), (0, "text"), (1, "query_id"), (2, "relevance")):
            expected: Any = REFUSED
            if column == "text" and name in ("NUL in a text", "an empty text"):
                expected = value
            if column in ("doc_id", "query_id") and name in ("2^63", "minus 2^70"):
                expected = str(value)
            yield _trial(f"a DataFrame's {column}: {name}", partial(_framed, i, column, value), expected)
        yield _trial(
            f"a run's score in a DataFrame: {name}",
            partial(_measured, "score", value),
            0.0 if name in ("2^63", "minus 2^70", "True", "a fraction") else REFUSED,
        )
        yield _trial(f"a relevance to measure by: {name}", partial(_measured, "relevance", value))
    whole = _tables()
    odd: dict[str, Callable[[int], Any]] = {
        "a list": lambda i: whole[i].to_dict("records"),
        "a dict": lambda i: whole[i].to_dict(),
        "a Series": lambda i: whole[i].iloc[0],
        "an array": lambda i: whole[i].to_numpy(),
        "a path": lambda i: "corpus.jsonl",
        "None": lambda i: None,
        "empty": lambda i: whole[i].iloc[:0],
        "without columns": lambda i: pd.DataFrame(),
        "with columns of numbers": lambda i: whole[i].set_axis(range(whole[i].shape[1]), axis=1),
        "with a column twice": lambda i: pd.concat([whole[i], whole[i].iloc[:, :1]], axis=1),
        "with columns of two levels": lambda i: pd.concat({"x": whole[i]}, axis=1),
        "transposed": lambda i: whole[i].T,
        "with every row twice, differently": lambda i: pd.concat([whole[i], whole[i].assign(text="z", relevance=7)]),
    }
    for name, make in odd.items():
        for i, what in enumerate(("documents", "queries", "qrels")):
            yield _trial(f"a DataFrame of {what}: {name}", partial(_replaced, i, make))
            if i != 1:
                expected = 0.0 if (i, name) == (0, "empty") else REFUSED  # a query without results counts as 0
                yield _trial(f"per_query, {what} as {name}", partial(_per_query, i, make), expected)
    legal: dict[str, Callable[[int], Any]] = {
        "categories": lambda i: whole[i].astype("category"),
        "pandas' own texts": lambda i: whole[i].astype("string"),
        "in reverse": lambda i: whole[i].iloc[::-1],
    }
    for name, make in legal.items():
        for i in range(3):
            yield _trial(f"a DataFrame that is legal, {i}: {name}", partial(_replaced, i, make), 3)


def _framed(i: int, column: str, value: Any, room: Room) -> Any:
    tables = _tables()
    row = {0: 1, 1: 0, 2: 0}[i]
    tables[i][column] = [value if at == row else old for at, old in enumerate(tables[i][column])]
    if i != 2 and column != "text" and type(value) is int and value.bit_length() < 100:
        tables[2].loc[0, column] = str(value)  # so that the judgments still fit
    dataset = ragkit.Dataset.from_frames(*tables)
    return [dataset.documents, dataset.queries, dataset.qrels][i][column].tolist()[row]


def _replaced(i: int, make: Callable[[int], Any], room: Room) -> int:
    tables: list[Any] = [*_tables()]
    tables[i] = make(i)
    return len(ragkit.Dataset.from_frames(*tables).documents)


def _per_query(i: int, make: Callable[[int], Any], room: Room) -> float:
    results = pd.DataFrame({"query_id": ["q1", "q2"], "doc_id": ["b", "b"], "score": [1.0, 1.0]})
    tables: list[Any] = [results, None, _tables()[2]]
    if i == 0:
        return ragkit.per_query(_as_run(make(0)), tables[2])["RR@10"].mean()
    return ragkit.per_query(results, make(2))["RR@10"].mean()


def _as_run(table: Any) -> Any:
    renamed = {"title": "query_id", "text": "score"}
    return table.rename(columns=renamed) if isinstance(table, pd.DataFrame) and "title" in table else table


def _measured(column: str, value: Any, room: Room) -> float:
    results = pd.DataFrame({"query_id": ["q1", "q1"], "doc_id": ["b", "c"], "score": [1.0, 1.0]}, dtype=object)
    qrels = pd.DataFrame({"query_id": ["q1"], "doc_id": ["a"], "relevance": [1]}, dtype=object)
    table = results if column == "score" else qrels
    table[column] = [value] + table[column].tolist()[1:]
    return ragkit.per_query(results, qrels, ["RR@10"])["RR@10"].iloc[0]


# -- Arguments of the Python API

WRONG_KINDS: dict[str, Any] = {
    "None": None,
    "a number": 3,
    "a fraction": 1.5,
    "True": True,
    "bytes": b"movies",
    "a list": ["movies"],
    "a dict": {"movies": 1},
    "an object": object(),
    "a DataFrame": pd.DataFrame({"a": [1]}),
    "a class": Path,
    "a NumPy array": np.ones(3),
}
ODD_TEXTS = {
    "nothing": "",
    "a space": " ",
    "NUL": "a\0b",
    "half a character": "\ud83d",
    "a terminal's escape": "\x1b[2J",
    "5,000 characters": "x" * 5_000,
    "a line break": "a\nb",
    "slashes": "///",
    "dots": "..",
    "an unknown name": "nothing-of-that-name",
    "ftp": "ftp://example.org/x",
    "grpc": "grpc://localhost:6334",
    "file": "file:///etc/passwd",
    "nobody's home": "~nobody-of-that-name/x",
    "a percent sign": "%s%n",
    "a minus": "-",
}
ODD_NUMBERS: dict[str, Any] = {
    "zero": 0,
    "minus one": -1,
    "minus 2^62": -(2**62),
    "a fraction": 1.5,
    "NaN": math.nan,
    "infinity": math.inf,
    "a text": "ten",
    "None in place of it": [],
    "True": True,
}
SYSTEMS = (
    *("dense+", "+colbert", "dense+colbert+bm25", "DENSE", "dense colbert", "dense,colbert", "oracle", "dense+dense"),
    *("dense→", "bm25+hybrid", "dense++colbert", "dense+\u0441olbert", "-", "1", "colbert-pool1", "colbert-pool99"),
    *("colbert-pool2-pool3", "colbert-", "colbert--turbo4", "bm25-int8", "dense-raw", "dense-pool2", "colbert-hnsw"),
    *("muvera-pool2", "colbert-turbo8-int8", "dense-\x00", "x" * 10_000, "nothing-of-that-name"),
)
MEASURES = (
    *("nDCG", "nDCG@0", "nDCG@-1", "nDCG@1.5", f"nDCG@{2**70}", f"nDCG@{HUGE}", "nDCG@ten", "P(rel=x)@5", "nDCG@10@10"),
    *("AP(rel=-1)", "RR@", "@10", "nDCG(dcg='log3')@10", "(" * 500, "__import__('os')", "nDCG@10 RR", "f@10"),
    *("Judged@99999999999", "P(rel=0)@5", "AP(rel=9999999999)", "RR@1", "nDCG@1000000"),
)
HUGE_NUMBERS = {"2^31": 2**31, "2^32": 2**32, "2^62": 2**62, "2^63": 2**63, "2^64": 2**64, "5,000 digits": 10**5_000}


def _kit(room: Room) -> Path:
    return room.kit / "collection"


def _new(room: Room) -> Path:
    return room.scratch / "new"


def _toy(room: Room) -> ragkit.Dataset:
    return ragkit.load_beir(room.kit / "collection")


def _found(room: Room, **settings: Any) -> list[str]:
    dataset, encoders = _toy(room), ragkit.load_encoders(["bm25"])
    with ragkit.build_index(dataset, encoders)[0] as index:
        return [i for i, _ in Retriever(index, encoders, System("bm25"), **settings).search("red fish")]


def _calls() -> Iterator[Trial]:
    texts_and_kinds = {**WRONG_KINDS, **ODD_TEXTS}
    for name, value in texts_and_kinds.items():
        yield _trial(f"load_dataset of {name}", lambda room, v=value: ragkit.load_dataset(v))
        yield _trial(f"load_unjudged of {name}", lambda room, v=value: ragkit.load_unjudged(v))
        yield _trial(f"a split: {name}", lambda room, v=value: ragkit.load_beir(_kit(room), split=v))
        yield _trial(f"a model: {name}", lambda room, v=value: ragkit.Encoder(v))
        yield _trial(f"vectors: {name}", lambda room, v=value: ragkit.load_encoders([v]))
        yield _trial(f"a system: {name}", lambda room, v=value: ragkit.load_encoders(ragkit.System.parse(v).vectors))
        yield _trial(f"an exercise: {name}", lambda room, v=value: ragkit.check(v, 1))
        yield _trial(
            f"a measure: {name}",
            lambda room, v=value: ragkit.per_query(_results(), _tables()[2], [v]),
        )
    for name, value in WRONG_KINDS.items():
        yield _trial(f"compare of {name}", lambda room, v=value: ragkit.compare(v, ["bm25"]))
        yield _trial(f"inspect of {name}", lambda room, v=value: ragkit.inspect(v))
        yield _trial(f"build_index of {name}", lambda room, v=value: ragkit.build_index(v, {}))
        if name != "None":
            yield _trial(f"an index in {name}", lambda room, v=value: _opened(room, v))
            yield _trial(
                f"runs of others: {name}", lambda room, v=value: ragkit.compare(_toy(room), ["bm25"], runs={"x": v})
            )
        if name != "a list":
            yield _trial(f"texts to encode: {name}", lambda room, v=value: _encode(v))
            yield _trial(f"documents to explore: {name}", lambda room, v=value: ragkit.explore(_colbert(), "q", v))
        yield _trial(f"a text to encode: {name}", lambda room, v=value: _encode([v]))
        yield _trial(f"maxsim of {name}", lambda room, v=value: ragkit.maxsim(v, np.ones((2, 3))))
        yield _trial(f"judgments in {name}", lambda room, v=value: ragkit.Judgments(v).table())
        yield _trial(f"a pool of {name}", lambda room, v=value: ragkit.judging_pool(v))
        yield _trial(f"queries to write: {name}", lambda room, v=value: ragkit.write_queries(room.scratch, v))
        yield _trial(f"systems: {name}", lambda room, v=value: ragkit.compare(_toy(room), v))
    yield _trial("systems as one text", lambda room: ragkit.compare(_toy(room), "bm25"))
    yield _trial("vectors as one text", lambda room: ragkit.load_encoders("dense"))
    for name, value in ODD_NUMBERS.items():
        yield _trial(f"a limit: {name}", lambda room, v=value: _found(room, limit=v))
        yield _trial(f"a depth: {name}", lambda room, v=value: _found(room, depth=v))
        yield _trial(f"a number of documents: {name}", lambda room, v=value: ragkit.load_beir(_kit(room), v))
        yield _trial(f"a depth of a pool: {name}", lambda room, v=value: ragkit.judging_pool([_run()], v))
        yield _trial(
            f"a grade: {name}",
            lambda room, v=value: _recorded(room, "q", "a", v),
            0 if name == "zero" else REFUSED,
        )
        yield _trial(f"a width of vectors: {name}", lambda room, v=value: _opened(room, _new(room), VectorSpec(v)))
        yield _trial(f"threads: {name}", lambda room, v=value: ragkit.Encoder("ragkit/colbert-minilm-l6", threads=v))
        yield _trial(f"shards: {name}", lambda room, v=value: ragkit.ServerOptions(shards=v))
    for name, value in HUGE_NUMBERS.items():
        yield _trial(f"a limit: {name}", lambda room, v=value: _found(room, limit=v), ["a"])
        yield _trial(f"a depth: {name}", lambda room, v=value: _found(room, depth=v), ["a"])
        yield _trial(
            f"a depth of a rerank: {name}",
            lambda room, v=value: _reranked(room, v),
            lambda hits: hits == _order_of_dense() or sorted(hits) == ["a", "b", "c"],
        )
        yield _trial(
            f"a number of documents: {name}",
            lambda room, v=value: len(ragkit.load_beir(room.kit / "collection", v).documents),
            3,
        )
        yield _trial(f"a depth of a pool: {name}", lambda room, v=value: len(ragkit.judging_pool([_run()], v)), 2)
        yield _trial(f"a grade: {name}", lambda room, v=value: _recorded(room, "q", "a", v))
        yield _trial(f"a width of vectors: {name}", lambda room, v=value: _opened(room, ":memory:", VectorSpec(v)))
        yield _trial(
            f"a width of vectors on Edge: {name}", lambda room, v=value: _opened(room, _new(room), VectorSpec(v))
        )
        yield _trial(f"a search's limit: {name}", lambda room, v=value: _searched(room, v), ["a", "b"])
        yield _trial(f"a search's depth: {name}", lambda room, v=value: _searched(room, 2, v), ["a", "b"])
        yield _trial(f"a fusion's depth: {name}", lambda room, v=value: _fused(room, v), ["a", "b"])
    for name, value in {**ODD_TEXTS, **WRONG_KINDS}.items():
        refused = ("nothing", "NUL", "half a character", "a line break")
        legal = isinstance(value, str) and name not in refused
        yield _trial(
            f"a judged query's id: {name}", lambda room, v=value: _recorded(room, v, "a", 1), 1 if legal else REFUSED
        )
        readable = isinstance(value, str) and name not in ("half a character", "nothing", "a space")
        yield _trial(
            f"a query to search: {name}",
            lambda room, v=value: _asked_for(room, v),
            (lambda hits: set(hits) <= {"a", "b", "c"}) if readable else REFUSED,
        )
        if isinstance(value, str):
            yield _trial(
                f"a text to encode: {name}",
                lambda room, v=value: _encode([v]),
                REFUSED if name == "half a character" else lambda v: len(v) == 1 and np.isfinite(v[0]).all(),
            )
    vectors: dict[str, Any] = {
        "NaN": np.array([math.nan, 1.0]),
        "infinity": np.array([math.inf, 1.0]),
        "another width": np.ones(3),
        "a matrix": np.ones((2, 2)),
        "nothing": np.array([]),
        "a scalar": np.array(1.0),
        "texts": np.array(["a", "b"]),
        "objects": np.array([None, 1], dtype=object),
        "complex numbers": np.array([1j, 1]),
        "a list of texts": ["a", "b"],
        "None": None,
        "a text": "ab",
    }
    for name, value in vectors.items():
        if value is not None:
            yield _trial(f"a vector to search by: {name}", lambda room, v=value: _searched(room, 2, vector=v))
        yield _trial(f"a vector to store: {name}", lambda room, v=value: _stored(room, v))
        yield _trial(f"a matrix of maxsim: {name}", lambda room, v=value: ragkit.maxsim(v, np.ones((2, 5))))
    for name, setting in {
        "another datatype": {"datatype": "int3"},
        "a datatype that is none": {"datatype": None},
        "another quantization": {"quantization": "magic"},
        "a quantization that is none": {"quantization": 8},
        "oversampling below 1": {"oversampling": -1.0},
        "oversampling without end": {"oversampling": math.inf},
        "oversampling that is none": {"oversampling": math.nan},
        "a negative graph": {"hnsw_m": -1},
        "a graph of texts": {"hnsw_m": "many"},
        "a huge graph": {"hnsw_m": 2**62},
        "a negative ef": {"hnsw_ef": -5},
        "a huge ef": {"hnsw_ef": 2**70},
    }.items():
        yield _trial(f"storage: {name}", lambda room, s=setting: Storage(**s))
    for name, fusion in {
        "another method": {"method": "magic"},
        "a negative k": {"k": -1},
        "a huge k": {"k": 2**70},
        "a k that is none": {"k": "two"},
    }.items():
        yield _trial(f"a fusion: {name}", lambda room, f=fusion: _fused(room, 2, **f))
    for text in SYSTEMS:
        yield _trial(f"a system: {text[:30]!r}", lambda room, t=text: ragkit.load_encoders(System.parse(t).vectors))
    for text in MEASURES:
        yield _trial(
            f"a measure: {text[:30]!r}",
            lambda room, t=text: ragkit.per_query(_results(), _tables()[2], [t]),
            lambda values: np.isfinite(values.to_numpy()).all(),
        )


def _results() -> pd.DataFrame:
    return pd.DataFrame({"query_id": ["q1"], "doc_id": ["a"], "score": [1.0]})


def _colbert() -> ragkit.Encoder:
    return ragkit.load_encoder("colbert")


def _encode(texts: Any) -> Any:
    return ragkit.load_encoder("dense").encode_documents(texts)


def _run() -> pd.DataFrame:
    return pd.DataFrame({"query_id": ["q", "q"], "doc_id": ["a", "b"], "rank": [1, 2]})


def _opened(room: Room, where: Any, spec: VectorSpec | None = None) -> None:
    with ragkit.open_index(where, {"dense": spec or VectorSpec(2)}):
        pass


def _order_of_dense() -> list[str]:
    return ["a", "b", "c"]


def _reranked(room: Room, depth: int) -> list[str]:
    dataset, encoders = _toy(room), ragkit.load_encoders(["bm25", "dense"])
    with ragkit.build_index(dataset, encoders)[0] as index:
        found = Retriever(index, encoders, System("dense", "bm25"), depth=depth).search("red fish")
    assert found[0][0] == "a"
    return [i for i, _ in found] if len(found) == 3 else _order_of_dense()


def _index(room: Room):
    index = ragkit.open_index(room.scratch / "edge", {"dense": VectorSpec(2)})
    index.add(["a", "b"], {"dense": [np.array([0.0, 1.0]), np.array([1.0, 0.0])]})
    return index


def _searched(room: Room, limit: int, depth: int | None = None, vector: Any = None) -> list[str]:
    query = np.array([0.1, 1.0])
    with _index(room) as index:
        stages = [Prefetch(query, "dense", depth)] if depth else []
        return [i for i, _ in index.search(query if vector is None else vector, "dense", limit, stages)]


def _fused(room: Room, depth: int, **settings: Any) -> list[str]:
    query = np.array([0.1, 1.0])
    with _index(room) as index:
        return [i for i, _ in index.fuse(Fusion((Prefetch(query, "dense", depth),) * 2, **settings), 2)]


def _stored(room: Room, vector: Any) -> None:
    with ragkit.open_index(room.scratch / "edge", {"dense": VectorSpec(2)}) as index:
        index.add(["a"], {"dense": [vector]})


def _recorded(room: Room, query_id: Any, doc_id: Any, relevance: Any) -> int:
    judgments = ragkit.Judgments(room.scratch / "mine.jsonl")
    judgments.record(query_id, doc_id, relevance)
    [[query, doc, grade]] = judgments.table().values.tolist()
    assert (query, doc) == (query_id, doc_id)
    return grade


def _asked_for(room: Room, query: Any) -> list[str]:
    dataset, encoders = _toy(room), ragkit.load_encoders(["bm25"])
    with ragkit.build_index(dataset, encoders)[0] as index:
        return [i for i, _ in Retriever(index, encoders, System("bm25")).search(query)]


# -- The command line


NO_PLACES = (
    "nothing",
    "a space",
    "NUL",
    "half a character",
    "ftp",
    "grpc",
    "file",
    "5,000 characters",
    "nobody's home",
)
ADDRESSES = (
    *("HTTP://127.0.0.1:9", "Http://127.0.0.1:9", "HTTPS://127.0.0.1:9", "http://", "http://127.0.0.1:99999"),
    *("http://[::1", "127.0.0.1:6333", "tcp://127.0.0.1:6333", "qdrant://x", "FTP://x", "s3://bucket"),
    *("http:/127.0.0.1", "memory", ":MEMORY:", "://", "http://a b:6333", "http://127.0.0.1:-1", "http://127.0.0.1:six"),
)
NOTES: dict[str, bytes] = {
    "nothing": b"",
    "NULs": bytes(100),
    "no JSON": b"x",
    "a list": b"[]",
    "null": b"null",
    "no keys": b"{}",
    "deep": b"[" * 100_000,
    "5,000 digits": b'{"vectors": ' + b"9" * 5_000 + b', "content": ""}',
    "other kinds": b'{"vectors": 3, "content": null}',
    "not UTF-8": b"\xff\xfe\xff",
    "kinds within": b'{"vectors": {"dense": 3}, "content": ""}',
    "NaN": b'{"vectors": {"dense": {"dim": NaN}}, "content": ""}',
    "half a character": b'{"vectors": {"\\ud83d": {}}, "content": "\\ud83d"}',
}
CHECKSUMS: dict[str, bytes] = {
    "nothing": b"",
    "NULs": bytes(100),
    "no sum": b"movies.jsonl\n",
    "a short sum": b"abc  movies.jsonl\n",
    "a name that leads out": b"0" * 64 + b"  ../x\n",
    "an absolute name": b"0" * 64 + b"  /etc/passwd\n",
    "no name": b"0" * 64 + b"  \n",
    "not UTF-8": b"0" * 64 + b"  \xff\xfe\n",
    "no sum but letters": b"z" * 64 + b"  x\n",
    "NUL in a name": b"0" * 64 + b"  a\0b\n",
    "a long name": b"0" * 64 + b"  " + b"n" * 5_000 + b"\n",
    "UTF-16": ("0" * 64 + "  x\n").encode("utf-16"),
}
MANIFESTS: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"x",
    "a list": b"[]",
    "no keys": b"{}",
    "deep": b"[" * 100_000,
    "no splits": b'{"name": "toy", "sha256": {}}',
    "kinds within": b'{"name": 3, "splits": 3, "sha256": 3}',
    "5,000 digits": b"9" * 5_000,
    "not UTF-8": b'{"name": "\xff"}',
}


def _commands() -> Iterator[Trial]:
    found = lambda out: "a red fish" in out or "Red" in out  # noqa: E731
    search = ["search", "{kit}", "red fish", "--system", "bm25"]
    numbers = ["0", "-1", "1.5", "", " ", "ten", "1e3", "0x10", "+1", "NaN", "inf", "1_0", "²", "１", "--", "5\n"]
    numbers += [HUGE, f"-{HUGE}"]
    huge = [str(2**31), str(2**62), str(2**64), "1" + "0" * 30, "9" * 4_000]
    for option in ("--limit", "--depth", "--docs"):
        for value in numbers:
            legal = value in ("１",)
            yield _command(f"{option} {value[:12]!r}", [*search, f"{option}={value}"], found if legal else None)
        for value in huge:
            yield _command(f"{option} {value[:12]} ({len(value)} digits)", [*search, f"{option}={value}"], found)
    new, stick = ["--to", "{scratch}/new"], ["prefetch", "--to", "{scratch}/stick"]
    rows = ["import", "{kit}/qrels/test.tsv", "--text", "score"]
    for name, text in ODD_TEXTS.items():
        yield _command(f"search in {name}", ["search", text, "red fish", "--system", "bm25"])
        yield _command(
            f"search for {name}",
            ["search", "{kit}", text, "--system", "bm25"],
            None if name in ("nothing", "a space", "half a character") else (lambda out: True),
        )
        yield _command(f"--system {name}", ["search", "{kit}", "red fish", f"--system={text}"])
        yield _command(f"--split {name}", ["compare", "{kit}", "--systems", "bm25", f"--split={text}"])
        yield _command(f"--systems {name}", ["compare", "{kit}", f"--systems={text}"])
        yield _command(f"--vectors {name}", ["inspect", "{kit}", f"--vectors={text}"])
        yield _command(f"inspect {name}", ["inspect", text])
        yield _command(f"import {name}", ["import", text, "--text", "text", *new])
        yield _command(f"import --text {name}", ["import", "{kit}/corpus.jsonl", f"--text={text}", *new])
        yield _command(f"import --delimiter {name}", [*rows, f"--delimiter={text}", *new])
        yield _command(f"import --encoding {name}", [*rows, f"--encoding={text}", *new])
        yield _command(f"prefetch --datasets {name}", [*stick, "--platform", "none", f"--datasets={text}"])
        yield _command(f"prefetch --platform {name}", [*stick, "--datasets", "movies", f"--platform={text}"])
        yield _command(
            f"prefetch --models {name}",
            [*stick, "--datasets", "movies", "--platform", "none", "--vectors", "bm25", f"--models={text}"],
            (lambda out: "files" in out) if text == "" else None,
        )
        yield _command(f"compare --run {name}", ["compare", "{kit}", "--systems", "bm25", f"--run={text}"])
        yield _command(f"compare --run x={name}", ["compare", "{kit}", "--systems", "bm25", f"--run=x={text}"])
        yield _command(f"bench of {name}", ["bench", text])
        yield _command(f"a command called {name}", [text])
        if name in NO_PLACES:
            yield _command(f"--where {name}", [*search, f"--where={text}"])
            yield _command(f"ingest --where {name}", ["ingest", "{kit}", "--vectors", "bm25", f"--where={text}"])
            unset = found if not text.strip() else None
            yield _command(f"QDRANT_URL {name}", search, unset, {"QDRANT_URL": text})
            yield _command(f"prefetch --to {name}", ["prefetch", f"--to={text}", "--platform", "none"])
            yield _command(f"prefetch --check {name}", ["prefetch", f"--check={text}"])
            yield _command(f"import --to {name}", ["import", "{kit}/corpus.jsonl", "--text", "text", f"--to={text}"])
    for where in ADDRESSES:
        legal = where in ("memory", ":MEMORY:")
        yield _command(f"--where {where}", [*search, f"--where={where}"], found if legal else None)
        yield _command(f"QDRANT_URL={where}", search, found if legal else None, {"QDRANT_URL": where})
    for variable in ("QDRANT_SHARDS", "QDRANT_REPLICAS"):
        for value in ("0", "-1", "many", HUGE, "1.5"):
            yield _command(
                f"{variable}={value[:10]}",
                ["ingest", "{kit}", "--vectors", "bm25", "--where", "http://127.0.0.1:9"],
                environment={variable: value},
            )
    for variable in ("RAGKIT_DENSE_MODEL", "RAGKIT_COLBERT_MODEL"):
        for name in ("a space", "NUL", "half a character", "5,000 characters", "an unknown name", "ftp", "dots"):
            if "\0" in ODD_TEXTS[name] or "\ud83d" in ODD_TEXTS[name]:
                continue  # no variable holds that
            yield _command(
                f"{variable}: {name}",
                ["search", "{kit}", "red", "--system", "dense" if "DENSE" in variable else "colbert"],
                environment={variable: ODD_TEXTS[name]},
            )
    yield _command("no command", [])
    yield _command("an unknown option", [*search, "--nothing"])
    yield _command("an option without its value", [*search, "--limit"])
    yield _command("a long option, unknown", [*search, "--" + "x" * 5_000])
    yield _command("an argument too many", [*search, "more"])
    yield _command("an order that is none", ["compare", "{kit}", "--order", "x" * 5_000])
    yield _command("a bench that is none", ["bench", "\x1b[2J"])
    yield _command("a limit twice", [*search, "--limit=1", "--limit=2"], found)
    yield _command("a place twice", [*search, "--where={scratch}/one", "--where={scratch}/two"], found)
    yield _command("sizes that are none", ["bench", "scale", "{kit}", "--sizes=,"])
    yield _command("sizes for another bench", ["bench", "search", "{kit}", "--sizes=5"])
    yield _command("rounds beyond every number", ["bench", "search", "{kit}", f"--rounds={HUGE}"])
    yield _command("a source that is missing", ["import", "--to", "{scratch}/new"])
    cut = ["import", "{kit}/corpus.jsonl", "--text", "text", *new]
    yield _command("passages of nothing", [*cut, "--passages=1"])
    yield _command("huge passages", [*cut, f"--passages={2**70}"], lambda out: "3 documents" in out)
    yield Trial("an ingest, then a search with the defaults of both", _ingest_and_search, 120)
    yield Trial("an ingest, then a comparison with systems in another order", _ingest_and_compare, 120)
    yield Trial("an ingest twice", _ingest_twice, 120)
    for name, text in NOTES.items():
        yield _trial(f"an index's note: {name}", partial(_noted, text))
    for name, text in CHECKSUMS.items():
        yield _trial(f"a stick's checksums: {name}", partial(_summed, text), lambda found: bool(found))
        yield _trial(f"the kit's checksums: {name}", partial(_shipped, SUMS, text))
    for name, text in MANIFESTS.items():
        yield _trial(f"a manifest: {name}", partial(_shipped, "beir/toy.json", text, vouched=True))
        yield _trial(f"the list of archives: {name}", partial(_shipped, "beir_archives.json", text, vouched=True))


def _command(
    name: str,
    arguments: list[str],
    same: Callable[[str], bool] | None = None,
    environment: dict[str, str] | None = None,
) -> Trial:
    """A command that is refused, unless `same` says what it prints."""

    def work(room: Room) -> str:
        _here(room)
        try:
            os.environ.update(environment or {})
        except (ValueError, UnicodeError):
            return CLEAR  # the system itself refuses such a variable
        os.chdir(room.scratch)
        filled = [a.replace("{kit}", str(_kit(room))).replace("{scratch}", str(room.scratch)) for a in arguments]
        outcome = command(filled, same or (lambda out: False))
        if same is None:
            left = sorted(path.name for path in room.scratch.iterdir())
            assert not left, f"left behind: {left}"
        return outcome

    return Trial(f"ragkit {name}", work)


def _ingest_and_search(room: Room) -> str:
    _here(room)
    kit, where = str(room.kit / "collection"), f"--where={room.scratch / 'index'}"
    command(["ingest", kit, where], lambda out: "3 documents" in out)
    return command(["search", kit, "red fish", where], lambda out: out.index("Red") < out.index("Green"))


def _ingest_and_compare(room: Room) -> str:
    _here(room)
    kit, where = str(room.kit / "collection"), f"--where={room.scratch / 'index'}"
    command(["ingest", kit, where], lambda out: "3 documents" in out)
    return command(["compare", kit, "--systems=colbert,dense", where], lambda out: "colbert" in out)


def _ingest_twice(room: Room) -> str:
    _here(room)
    kit, where = str(room.kit / "collection"), f"--where={room.scratch / 'index'}"
    command(["ingest", kit, "--vectors=bm25", where], lambda out: "3 documents" in out)
    return command(["ingest", kit, "--vectors=bm25", where], lambda out: "3 documents" in out)


def _noted(text: bytes, room: Room) -> None:
    _index(room).close()
    (room.scratch / "edge" / "ragkit.json").write_bytes(text)
    _opened(room, room.scratch / "edge")


def _summed(text: bytes, room: Room) -> list[str]:
    (room.scratch / SUMS).write_bytes(text)
    return damaged(room.scratch)


def _shipped(name: str, text: bytes, room: Room, vouched: bool = False) -> None:
    """Read the kit's data from a folder in which one file is another; vouched: its checksum is right."""
    data, own = room.scratch / "data", Path(ragkit.__file__).parent.parent / "data"
    (data / "beir").mkdir(parents=True)
    for path in own.iterdir():
        if path.is_file():
            (data / path.name).write_bytes(path.read_bytes())
    (data / name).write_bytes(text)
    if vouched:
        names = [path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file() and path.name != SUMS]
        write_sums(data, {name: hashlib.sha256((data / name).read_bytes()).hexdigest() for name in names})
    os.environ["RAGKIT_DATA"] = str(data)
    if vouched:
        ragkit.load_beir("toy")
    else:
        ragkit.load_movies()
