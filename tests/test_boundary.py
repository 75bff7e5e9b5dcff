"""The boundary of the Python API: what each public function does with what it cannot use."""

import dataclasses
import importlib
import inspect
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import ragkit
from ragkit import RagkitError
from ragkit.boundary import public, whole_number

PACKAGES = ["", *(f".{name}" for name in ("bench", "course", "datasets", "display", "encoders", "engines"))]
PACKAGES += [".evaluation", ".workshop"]

# Public, and without a boundary of its own.
OF_THEIR_OWN = {
    # They say of every array and number themselves what was expected; a search is timed.
    *("Index.search", "Index.fuse", "maxsim", "pool_tokens"),
    # They compute from what their object holds, which was looked at when it was made.
    *("Comparison.evidence", "Comparison.named", "Comparison.table", "Comparison.to_dict", "Comparison.values"),
    *("Inspection.to_dict", "CachedEncoder.file_name", "TokenPooledEncoder.file_name"),
    *(
        "Storage.bytes_per_row",
        "System.as_deployed",
        "System.of_each_side",
        "AsWidget.widget",
        "Judge.back",
        "Judge.widget",
        "Playground.close",
        "Playground.widget",
        "ServerOptions.from_environment",
    ),
    # Called by encode_documents and its kin, which have one; those that yield cannot.
    *("CachedEncoder.stream", "CachedEncoder.query_from", "SparseEncoder.stream", "SparseEncoder.prepare"),
    *("CachedEncoder.document_from", "MuveraEncoder.document_from", "TokenPooledEncoder.document_from"),
    *("MuveraEncoder.encode_query", "MuveraEncoder.query_from", "MuveraEncoder.token_counts"),
    *("TokenPooledEncoder.encode_queries", "TokenPooledEncoder.encode_query", "TokenPooledEncoder.share"),
    *("TokenPooledEncoder.token_counts", "Index.__init__", "RagkitError.__init__", "race"),
    *("Index.memory_growth", "Index.allow"),
}


def public_functions() -> Iterator[tuple[str, Callable]]:
    for package in PACKAGES:
        module = importlib.import_module(f"ragkit{package}")
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isfunction(thing):
                yield name, thing
            elif inspect.isclass(thing):
                yield from methods(thing)


def methods(cls: type) -> Iterator[tuple[str, Callable]]:
    for base in cls.__mro__:
        if not base.__module__.startswith("ragkit"):
            continue
        for name, value in vars(base).items():
            function = getattr(value, "__func__", value)
            shown = not name.startswith("_") or (name == "__init__" and not dataclasses.is_dataclass(base))
            if shown and inspect.isfunction(function) and not getattr(function, "__isabstractmethod__", False):
                yield f"{base.__name__}.{name}", function


def test_every_public_function_has_a_boundary_or_is_listed():
    found = dict(public_functions())
    assert len(found) > 60
    without = {name for name, function in found.items() if not hasattr(function, "problem")}
    assert without == OF_THEIR_OWN


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(2, "No such file or directory", "/a/b"), "/a/b: No such file or directory; look for a slip"),
        (OSError(36, "File name too long", "n" * 9_000), "File name too long; choose a shorter name"),
        (OSError("no route"), "no route"),
        (EOFError(), "EOFError"),
        (zlib.error("Error -3"), "Error -3"),
        (zipfile.BadZipFile("no zip"), "no zip"),
        (NotImplementedError("That compression method"), "That compression method"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "invalid"),
        (sqlite3.OperationalError("disk I/O error"), "disk I/O error"),
        (RecursionError("maximum"), "nested too deeply; write it flat"),
        (MemoryError(), "not enough memory; take less at a time"),
    ],
)
def test_what_comes_from_outside_is_one_error_that_says_what_was_done(error, told):
    @public("The file cannot be read")
    def read():
        raise error

    with pytest.raises(RagkitError, match="^The file cannot be read: ") as caught:
        read()
    assert told in str(caught.value) and len(str(caught.value)) < 2_000


@pytest.mark.parametrize(
    "error", [KeyError("text"), AssertionError(), TypeError("x"), BrokenPipeError(), RagkitError("x")]
)
def test_faults_of_the_kit_broken_pipes_and_its_own_errors_pass_as_they_are(error):
    @public("The file cannot be read")
    def read():
        raise error

    with pytest.raises(type(error)) as caught:
        read()
    assert caught.value is error


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: ragkit.load_dataset(3), r"source is 3 \(int\); expected str \| Path"),
        (lambda: ragkit.load_dataset("movies", docs=True), r"docs is True \(bool\); expected int \| Literal"),
        (lambda: ragkit.compare("movies"), r"dataset is 'movies' \(str\); expected Dataset"),
        (lambda: ragkit.load_encoders("dense"), r"names is 'dense' \(str\); expected Sequence\[str\]"),
        (
            lambda: ragkit.compare(ragkit.load_movies(), {"dense", "colbert"}),
            r"systems is \{'.*'\} \(set\); expected Sequence\[str \| System\]: a set has no order, pass \[\.\.\.\]",
        ),
        (lambda: ragkit.load_encoders(frozenset({"dense"})), r"\(frozenset\); .* pass \[\.\.\.\]"),
        (lambda: ragkit.load_encoders({"dense": 1}.keys() | {"colbert"}), r"\(set\); .* pass \[\.\.\.\]"),
        (lambda: ragkit.load_encoders([None]), r"names\[0\] is None \(NoneType\); expected str"),
        (lambda: ragkit.System.parse(None), r"text is None \(NoneType\); expected str"),
        (lambda: ragkit.load_dataset("movies", docs=10**5_000), "come whole"),
    ],
)
def test_an_argument_of_another_kind_is_named_with_what_was_expected(call, told):
    with pytest.raises(RagkitError, match=told):
        call()


def test_arguments_of_the_kind_pass_whatever_they_are_made_of():
    @public("Nothing can be done")
    def take(path: str | Path, names: list[str], count: int, share: float, by_name: dict[str, int]) -> int:
        return count

    assert take(Path("a"), ("a", "b"), np.int64(3), 1, {"a": 2}) == 3
    assert take("a", np.array(["a"]), 3, np.float32(0.5), {}) == take("a", {"a": 1}.keys(), 3, 0, {}) == 3
    with pytest.raises(RagkitError, match="names is"):
        take("a", {"a": 1}, 3, 0.5, {})


@pytest.mark.parametrize("value", [0, -1, 1.0, float("nan"), "3", None, True, pytest.param(10**5_000, id="huge"), [1]])
def test_a_number_that_is_not_whole_or_out_of_bounds_is_refused(value):
    with pytest.raises(RagkitError, match="^depth is "):
        whole_number("depth", value, 1, 100)


def test_a_message_is_legible_whatever_it_quotes():
    error = RagkitError("No file \x1b[31mred\ud83d.\n" + "x" * 10_000 + " Name another.")
    assert str(error).startswith("No file \\x1b[31mred\\ud83d.\n") and str(error).endswith("Name another.")
    assert len(str(error)) < 1_600


@pytest.mark.parametrize("path", ["", " ", "ftp://example.org/x", "grpc://here:6334", "a\0b", "~nobody-of-that-name/x"])
def test_what_is_no_path_is_refused_and_not_made_a_folder(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (ragkit.load_unjudged, ragkit.load_dataset, ragkit.Judgments):
        with pytest.raises(RagkitError):
            call(path)
    for call in (ragkit.write_queries, lambda to, _: ragkit.import_dataset(tmp_path, to)):
        with pytest.raises(RagkitError):
            call(path, {"q": "text"})
    if path != " ":
        with pytest.raises(RagkitError):
            ragkit.open_index(path, {"dense": ragkit.VectorSpec(2)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["HTTP://127.0.0.1:9", "Https://127.0.0.1:9"])
def test_an_address_may_be_written_in_any_case(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RagkitError, match="No Qdrant server answers"):
        ragkit.open_index(where, {"dense": ragkit.VectorSpec(2)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "make",
    [
        lambda: ragkit.VectorSpec(0),
        lambda: ragkit.VectorSpec(2**31),
        lambda: ragkit.VectorSpec(1.5),
        lambda: ragkit.Storage(hnsw_m=-1),
        lambda: ragkit.Storage(hnsw_ef=2**70),
        lambda: ragkit.Storage(oversampling=float("nan")),
        lambda: ragkit.Storage(datatype=None),
        lambda: ragkit.ServerOptions(shards=1.5),
        lambda: ragkit.ServerOptions(timeout=True),
    ],
)
def test_settings_beyond_what_an_engine_takes_are_refused_when_they_are_made(make):
    with pytest.raises(RagkitError, match="expected"):
        make()
