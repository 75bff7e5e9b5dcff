"""The cache of embeddings: two writers, damage of any kind, files that cannot be written to, files of before."""

import hashlib
import json
import multiprocessing
import os
import random
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import ragkit
from ragkit import RagkitError
from ragkit.cli import main
from ragkit.encoders import embedded, embedding_cache
from ragkit.encoders.embedding_cache import EmbeddingCache, _Row
from ragkit.encoders.encoder import Encoder
from ragkit.engines.ingest import plan

TEXTS = [f"film number {i}" for i in range(60)]


def array(i):
    return np.full((i % 5 + 1, 3), i, np.float32)


def write_many(path, start):
    store = EmbeddingCache(path)
    for i in range(start, start + 50):
        store.put([f"text {i}"], [array(i)])


def filled(path, count=60):
    """A cache of the first texts, over several pages."""
    store = EmbeddingCache(path)
    store.put(TEXTS[:count], [array(i) for i in range(count)])
    return store


def before_checksums(path, count=60):
    """A cache as it was written before rows had checksums."""
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE arrays (key BLOB PRIMARY KEY, shape TEXT NOT NULL, data BLOB NOT NULL)")
        for i, text in enumerate(TEXTS[:count]):
            shape = ",".join(map(str, array(i).shape))
            db.execute("INSERT INTO arrays VALUES (?, ?, ?)", (digest(text), shape, array(i).tobytes()))
    db.close()
    return path


def digest(text):
    return hashlib.sha256(text.encode()).digest()


def run(path, sql, *values):
    with sqlite3.connect(path) as db:
        found = db.execute(sql, values).fetchall()
    db.close()
    return found


def same(found, expected):
    return found is not None and np.array_equal(found, expected)


@contextmanager
def not_writable(folder, as_another=True):
    """Make a folder's files and the folder read-only, and, as another user, give up what root may do regardless."""
    paths = [*folder.rglob("*"), folder]
    modes = [stat.S_IMODE(path.stat().st_mode) for path in paths]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    root = as_another and hasattr(os, "geteuid") and os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


@pytest.fixture()
def open_folder():
    """A folder that every user may look into, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.thorough
def test_two_processes_may_write_at_once(tmp_path):
    path = tmp_path / "c.sqlite"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=write_many, args=(path, start)) for start in (0, 25)]  # they overlap
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    found = EmbeddingCache(path).get([f"text {i}" for i in range(75)])
    for i, value in enumerate(found):
        np.testing.assert_array_equal(value, array(i))


def test_a_batch_is_there_wholly_or_not_at_all(tmp_path):
    store = EmbeddingCache(tmp_path / "c.sqlite")
    with pytest.raises(ValueError):
        store.put(["a", "b"], [array(1)])
    assert store.get(["a", "b"]) == [None, None]


def test_arrays_of_other_numbers_are_kept_as_float32_in_folders_that_are_made(tmp_path):
    store = EmbeddingCache(tmp_path / "a" / "b" / "c.sqlite")
    store.put(["double", "whole"], [np.array([0.1, 0.2]), np.array([[1], [2]])])
    assert all(found.dtype == np.float32 for found in store.get(["double", "whole"]))
    np.testing.assert_array_equal(store.get(["double"])[0], np.array([0.1, 0.2], np.float32))
    assert store.shapes(["double", "whole"]) == [(2,), (2, 1)]


def test_a_text_with_half_a_character_is_kept_too(tmp_path):
    store = EmbeddingCache(tmp_path / "c.sqlite")
    store.put(["a\ud800", "a"], [array(1), array(2)])
    assert same(store.get(["a\ud800"])[0], array(1)) and same(store.get(["a"])[0], array(2))


def test_a_checksum_is_the_crc_of_key_shape_and_data_so_that_caches_of_before_stay_good(tmp_path):
    store = filled(tmp_path / "c.sqlite")
    for key, shape, data, checksum in run(store.path, "SELECT key, CAST(shape AS BLOB), data, checksum FROM arrays"):
        assert checksum == zlib.crc32(key + b" " + shape + data)


@pytest.mark.parametrize(("key", "data"), [("text", b"1234"), (b"key", "1234"), (None, None)])
def test_a_row_of_other_types_is_damaged(key, data):
    assert _Row(False, b"key", b"1", b"1234").array() is not None
    assert _Row(True, key, b"1", data, 0).array() is None


def test_an_empty_file_is_an_empty_cache_and_not_a_damaged_one(tmp_path):
    (tmp_path / "c.sqlite").touch()
    store = EmbeddingCache(tmp_path / "c.sqlite")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.shapes(TEXTS[:2]) == store.get(TEXTS[:2]) == [None, None]
        assert store.missing(TEXTS[:2]) == TEXTS[:2]


def test_looking_into_a_cache_makes_no_file(tmp_path):
    store = EmbeddingCache(tmp_path / "folder" / "c.sqlite")
    assert store.get(["a"]) == [None] and store.missing(["a", "a"]) == ["a"] and store.shapes(["a"]) == [None]
    assert not list(tmp_path.iterdir())


# Damage. What is read is what was stored, or nothing; never something else, and never a traceback.

DAMAGES = {
    "a flipped bit": "UPDATE arrays SET data = CAST(X'00000001' || substr(data, 5) AS BLOB) WHERE key = ?",
    "not a number": "UPDATE arrays SET data = CAST(X'0000C07F' || substr(data, 5) AS BLOB) WHERE key = ?",
    "zeros": "UPDATE arrays SET data = zeroblob(length(data)) WHERE key = ?",
    "cut": "UPDATE arrays SET data = substr(data, 1, 8) WHERE key = ?",
    "another shape of as many": "UPDATE arrays SET shape = '192,2' WHERE key = ?",
    "a shape below 0": "UPDATE arrays SET shape = '-1,-384' WHERE key = ?",
    "no shape": "UPDATE arrays SET shape = 'film' WHERE key = ?",
    "a shape of a thousand digits": "UPDATE arrays SET shape = printf('%.*c', 5000, '1') WHERE key = ?",
    "a shape that is no text": "UPDATE arrays SET shape = X'FF' WHERE key = ?",
    "a number for data": "UPDATE arrays SET data = 5 WHERE key = ?",
    "another's data": "UPDATE arrays SET (data, checksum) = (SELECT data, checksum FROM arrays WHERE key != ?1) "
    "WHERE key = ?1",
    "a checksum of text": "UPDATE arrays SET checksum = 'film' WHERE key = ?",
    "no checksum": "UPDATE arrays SET checksum = NULL WHERE key = ?",
}


@pytest.mark.slow
@pytest.mark.parametrize("sql", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_row_is_computed_again_told_and_repaired(sql, own_cache):
    texts = ["A film about a king.", "A film about the sea.", "A third."]
    encoder = Encoder(embedded.DENSE)
    expected = encoder.encode_documents(texts)
    (path,) = (own_cache / "embeddings").glob("*-document.sqlite")
    run(path, sql, digest(texts[1]))
    with pytest.warns(UserWarning, match="damaged rows .1 of those just read.") as told:
        found = encoder.encode_documents(texts)
    assert len(told) == 1
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(EmbeddingCache(path).get(texts), found)  # the row is whole again
        run(path, sql, digest(texts[0]))
        np.testing.assert_allclose(encoder.encode_documents(texts), expected, atol=1e-6)  # told once a file


@pytest.mark.slow
def test_a_damaged_row_is_not_counted_on(own_cache):
    """What is planned, prepared and streamed is right even if a shape or an array is damaged."""
    encoder = Encoder(embedded.COLBERT)
    expected = encoder.encode_documents(TEXTS[:3])
    (path,) = (own_cache / "embeddings").glob("*-document.sqlite")
    run(path, "UPDATE arrays SET shape = '1,128' WHERE key = ?", digest(TEXTS[0]))
    run(path, "UPDATE arrays SET data = zeroblob(length(data)) WHERE key = ?", digest(TEXTS[1]))
    with pytest.warns(UserWarning, match="damaged"):
        rows, absent = encoder.rows(TEXTS[:3])
    assert absent == TEXTS[:1] and rows[0] >= len(expected[0])
    streamed = list(encoder.stream(TEXTS[:3]))
    for found, array_ in zip(streamed, expected, strict=True):
        np.testing.assert_allclose(found, array_, atol=1e-6)


def test_a_zeroed_page_costs_its_rows_and_no_other(tmp_path):
    store = filled(tmp_path / "c.sqlite")
    (root,) = run(store.path, "SELECT rootpage FROM sqlite_master WHERE name = 'arrays'")[0]
    content = bytearray(store.path.read_bytes())
    # A leaf of the table (13) that is not its root.
    pages = [page for page in range(1, len(content) // 4096) if content[page * 4096] == 13 and page + 1 != root]
    content[pages[0] * 4096 : (pages[0] + 1) * 4096] = bytes(4096)
    store.path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"c.sqlite is damaged \((?!None).*: [0-9]+ rows are kept"):
        found = store.get(TEXTS)
    lost = [i for i, value in enumerate(found) if value is None]
    assert 0 < len(lost) < 60 and all(same(v, array(i)) for i, v in enumerate(found) if i not in lost)
    store.put([TEXTS[i] for i in lost], [array(i) for i in lost])
    assert all(same(value, array(i)) for i, value in enumerate(store.get(TEXTS)))
    assert [path.name for path in tmp_path.iterdir()] == ["c.sqlite"]


@pytest.mark.parametrize("make", [filled, before_checksums])
def test_rows_before_and_after_a_damaged_page_are_kept(make, tmp_path, monkeypatch):
    texts = [f"film number {i}" for i in range(300)]
    monkeypatch.setattr("tests.test_cache.TEXTS", texts)
    make(tmp_path / "c.sqlite", 300)
    path = tmp_path / "c.sqlite"
    (root,) = run(path, "SELECT rootpage FROM sqlite_master WHERE name = 'arrays'")[0]
    content = bytearray(path.read_bytes())
    pages = [page for page in range(1, len(content) // 4096) if content[page * 4096] == 13 and page + 1 != root]
    middle = pages[len(pages) // 2]
    content[middle * 4096 : (middle + 1) * 4096] = bytes(4096)
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="c.sqlite is damaged"):
        found = EmbeddingCache(path).get(texts)
    lost = [i for i, value in enumerate(found) if value is None]
    assert lost[0] > 0 and lost[-1] < 299 and len(lost) < 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.filterwarnings("ignore:The embedding cache")
def test_no_damage_is_used_in_silence(seed, tmp_path):
    """Flipped bits, zeroed and foreign pages, cut files: right arrays, none, or a clear error."""
    whole, rng = filled(tmp_path / "whole.sqlite").path.read_bytes(), random.Random(seed)
    pages = len(whole) // 4096
    for trial in range(40):
        content, kind = bytearray(whole), trial % 5
        if kind < 2:
            for _ in range((1, 20)[kind]):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        elif kind < 4:
            start = rng.randrange(pages) * 4096
            content[start : start + 4096] = bytes(4096) if kind == 2 else rng.randbytes(4096)
        else:
            del content[rng.randrange(len(content)) :]
        path = tmp_path / f"{trial}.sqlite"
        path.write_bytes(content)
        try:
            store = EmbeddingCache(path)
            store.shapes(TEXTS)
            for _ in range(2):
                found = store.get(TEXTS)
                assert all(value is None or same(value, array(i)) for i, value in enumerate(found))
                store.put(TEXTS, map(array, range(60)))
        except RagkitError as error:
            assert "is no database" in str(error) or "may not be written to" in str(error)


@pytest.mark.slow
def test_what_is_shared_is_sound(own_cache, tmp_path):
    encoder = Encoder(embedded.DENSE)
    expected = encoder.encode_documents(TEXTS[:3])
    (path,) = (own_cache / "embeddings").glob("*-document.sqlite")
    run(path, "UPDATE arrays SET data = zeroblob(length(data)) WHERE key = ?", digest(TEXTS[1]))
    with pytest.warns(UserWarning, match="damaged"):
        shared = encoder.share(tmp_path / "stick", TEXTS[:3], "document")
    np.testing.assert_allclose(EmbeddingCache(shared).get(TEXTS[:3]), expected, atol=1e-6)


@pytest.mark.slow
def test_a_damaged_row_of_a_mirror_is_left_there(own_cache, tmp_path, monkeypatch):
    encoder = Encoder(embedded.DENSE)
    shared = encoder.share(tmp_path / "embeddings", TEXTS[:3], "document")
    expected = encoder.encode_documents(TEXTS[:3])
    run(shared, "UPDATE arrays SET data = zeroblob(length(data)) WHERE key = ?", digest(TEXTS[1]))
    monkeypatch.setenv("RAGKIT_MIRROR", str(tmp_path))
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path / "another"))
    with pytest.warns(UserWarning, match=f"{shared.name} has damaged rows"):
        np.testing.assert_allclose(encoder.encode_documents(TEXTS[:3]), expected, atol=1e-6)


def test_damaged_rows_of_another_file_are_counted_under_its_name_and_sound_ones_are_not(tmp_path):
    other = filled(tmp_path / "other.sqlite")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EmbeddingCache(tmp_path / "a.sqlite").copy_from(other.path, [*TEXTS, "another"])
    for i in (3, 5):
        run(other.path, "UPDATE arrays SET data = zeroblob(length(data)) WHERE key = ?", digest(TEXTS[i]))
    with pytest.warns(UserWarning, match=r"other.sqlite has damaged rows \(2 of those just read\)"):
        EmbeddingCache(tmp_path / "b.sqlite").copy_from(other.path, TEXTS)


def test_another_file_that_cannot_be_read_is_named_and_not_made(tmp_path):
    (tmp_path / "other.sqlite").write_bytes(b"something else entirely" * 300)
    for name in ("other.sqlite", "missing.sqlite"):
        with pytest.raises(RagkitError, match=f"{name} cannot be read .* copy it again"):
            EmbeddingCache(tmp_path / "c.sqlite").copy_from(tmp_path / name, TEXTS)
    assert not (tmp_path / "missing.sqlite").exists()


def test_numbers_that_are_not_finite_are_neither_returned_nor_stored(own_cache, monkeypatch):
    encoder = Encoder(embedded.DENSE)
    monkeypatch.setattr(encoder, "_embed", lambda batch, role: [np.full(384, np.nan) for _ in batch])
    with pytest.raises(RagkitError, match="not finite for 'a film'"):
        encoder.encode_documents(["a film"])
    assert not list(own_cache.rglob("*.sqlite"))


def test_another_files_arrays_under_its_name_are_not_used(tmp_path):
    """As when two files change places: they hold the same texts, and the checksums of their rows are right."""
    store, other = filled(tmp_path / "c.sqlite"), EmbeddingCache(tmp_path / "other.sqlite")
    other.put(TEXTS, [array(i) + 1 for i in range(60)])
    shutil.copyfile(other.path, store.path)
    with pytest.warns(UserWarning, match=r"is damaged \(it holds the arrays of another file\): 0 rows are kept"):
        assert store.get(TEXTS) == [None] * 60
    store.put(TEXTS[:1], [array(0)])
    assert same(EmbeddingCache(store.path).get(TEXTS[:1])[0], array(0))
    shutil.copyfile(store.path, tmp_path / "stick.sqlite")
    with pytest.raises(RagkitError, match="stick.sqlite cannot be read .it holds the arrays of another file"):
        EmbeddingCache(tmp_path / "d.sqlite").copy_from(tmp_path / "stick.sqlite", TEXTS)


def test_a_file_from_before_there_were_marks_gets_one_when_it_is_written_to(tmp_path):
    store = filled(tmp_path / "c.sqlite")
    run(store.path, "PRAGMA user_version = 0")
    assert same(store.get(TEXTS[:1])[0], array(0))
    store.put(["one more"], [array(1)])
    assert run(store.path, "PRAGMA user_version") != [(0,)]


# Files from before rows had checksums.


def test_a_file_from_before_there_were_checksums_gets_them(tmp_path):
    path = before_checksums(tmp_path / "c.sqlite")
    run(path, "UPDATE arrays SET data = zeroblob(3) WHERE key = ?", digest(TEXTS[7]))
    store = EmbeddingCache(path)
    sums = [row[0] for row in run(path, "SELECT checksum FROM arrays ORDER BY rowid")]
    assert sums[7] is None and len(set(sums)) == 60
    with pytest.warns(UserWarning, match="damaged rows .1 of"):
        found = store.get(TEXTS)
    assert found[7] is None and all(same(value, array(i)) for i, value in enumerate(found) if i != 7)
    run(path, "UPDATE arrays SET data = zeroblob(length(data)) WHERE key = ?", digest(TEXTS[9]))
    assert EmbeddingCache(path).get([TEXTS[9]]) == [None]


def test_a_stick_from_before_there_were_checksums_is_read_as_it_is(tmp_path):
    old = before_checksums(tmp_path / "old.sqlite")
    run(old, "UPDATE arrays SET data = CAST(X'0000C07F' || substr(data, 5) AS BLOB) WHERE key = ?", digest(TEXTS[7]))
    content = old.read_bytes()
    store = EmbeddingCache(tmp_path / "new.sqlite")
    with pytest.warns(UserWarning, match="old.sqlite has damaged rows"):
        store.copy_from(old, [*TEXTS, "another"])
    assert store.missing([*TEXTS, "another"]) == [TEXTS[7], "another"]
    assert all(same(value, array(i)) for i, value in enumerate(store.get(TEXTS)) if i != 7)
    assert old.read_bytes() == content


# What is the matter, and what to do about it.


def test_only_a_file_that_is_no_database_is_to_be_deleted(tmp_path):
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(RagkitError, match="c.sqlite cannot be used .* Delete that file"):
        EmbeddingCache(path)


def test_an_error_without_a_code_is_no_reason_to_delete_or_rebuild():
    for error in (sqlite3.ProgrammingError("closed"), sqlite3.InterfaceError("odd")):
        assert embedding_cache._cause(error) == 0
        text = str(embedding_cache._unusable("The cache", error))
        assert text.startswith("The cache cannot be used (") and "Is its disk full" in text and "elete" not in text


def test_a_cache_that_another_process_holds_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_cache, "_WAIT_FOR_WRITER_S", 0.05)
    store = filled(tmp_path / "c.sqlite")
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for call in (lambda: store.get(TEXTS), lambda: store.put(["a"], [array(1)])):
        with pytest.raises(RagkitError, match="Another process is writing to it: wait") as error:
            call()
        assert "elete" not in str(error.value)
    other.close()
    assert same(store.get(TEXTS)[3], array(3))


def test_a_full_disk_says_so_and_loses_nothing(tmp_path, monkeypatch):
    store = filled(tmp_path / "c.sqlite")

    def on_a_small_disk(*arguments, connect=embedding_cache._connect):
        db = connect(*arguments)
        db.execute("PRAGMA max_page_count = 1")  # as many as there are, at least
        return db

    monkeypatch.setattr(embedding_cache, "_connect", on_a_small_disk)
    with pytest.raises(RagkitError, match="full.*Make room on its disk") as error:
        store.put([f"text {i}" for i in range(99)], [array(i) for i in range(99)])
    assert "elete" not in str(error.value)
    monkeypatch.undo()
    assert all(same(value, array(i)) for i, value in enumerate(store.get(TEXTS)))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("make", [lambda path: filled(path).path, before_checksums], ids=["now", "before checksums"])
def test_a_read_only_cache_is_read_and_told_when_something_is_missing(make, open_folder):
    path = make(open_folder / "c.sqlite")
    with not_writable(open_folder):
        store = EmbeddingCache(path)
        found = store.get(TEXTS)
        with pytest.raises(RagkitError, match="may not be written to|not be written") as error:
            store.put(["a"], [array(1)])
    assert all(same(value, array(i)) for i, value in enumerate(found))
    assert "elete" not in str(error.value) and "RAGKIT_CACHE" in str(error.value)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_read_only_cache_that_holds_everything_needed_works(open_folder, movies, monkeypatch):
    monkeypatch.setenv("RAGKIT_CACHE", str(open_folder))
    monkeypatch.delenv("RAGKIT_MIRROR", raising=False)
    encoders, query = ragkit.load_encoders(["dense", "colbert"]), movies.queries["text"][0]

    def search():
        index, _ = ragkit.build_index(movies, encoders, ":memory:")
        with index:
            return [index.search(e.encode_queries([query])[0], name, 3) for name, e in encoders.items()]

    expected = search()
    before = {path: path.read_bytes() for path in open_folder.rglob("*.sqlite")}
    with not_writable(open_folder):
        assert search() == expected
        with pytest.raises(RagkitError, match="set RAGKIT_CACHE to"):
            encoders["dense"].encode_documents(["not there yet"])
    assert {path: path.read_bytes() for path in open_folder.rglob("*.sqlite")} == before


@pytest.fixture()
def systems(open_folder, monkeypatch):
    """An empty folder for the system's temporary ones, beside that of the cache; no server, no mirror."""
    folder = open_folder / "tmp"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("RAGKIT_CACHE", str(open_folder / "cache"))
    (open_folder / "cache").mkdir()
    for name in ("QDRANT_URL", "RAGKIT_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.mark.thorough
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_all_commands_work_with_a_read_only_cache_that_holds_everything_needed(open_folder, systems, movies):
    compare = ["compare", "movies", "--systems", "dense,colbert"]
    search = ["search", "movies", movies.queries["text"][0], "--system", "dense"]
    commands = [compare, [*compare, "--where", ":memory:"], ["inspect", "movies"], search, ["doctor"]]
    assert main(compare) == 0
    code = "import json, sys; from ragkit.cli import main; print([main(one) for one in json.loads(sys.argv[1])])"
    command = [sys.executable, "-c", code, json.dumps(commands)]
    if os.geteuid() == 0:  # who may write anywhere, unless that is taken
        if not shutil.which("setpriv"):
            pytest.skip("there is no setpriv to take root's capabilities with")
        command = ["setpriv", "--bounding-set=-all", *command]
    with not_writable(open_folder / "cache", as_another=False):
        done = subprocess.run(command, env=os.environ | {"TMPDIR": str(systems)}, capture_output=True, text=True)
    assert done.stdout.endswith("\n[0, 0, 0, 0, 0]\n"), done.stderr
    note = rf"^note +engine +.* temporary indexes are made in {systems}/ragkit-[0-9]+,"
    assert re.search(note, done.stdout, re.MULTILINE)
    assert [path.name for path in systems.glob("*/*")] == ["ragkit.lock"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_temporary_indexes_elsewhere_are_planned_and_swept_there(open_folder, systems, movies):
    encoders, spec = ragkit.load_encoders(["bm25"]), {"dense": ragkit.VectorSpec(2)}
    assert plan(movies, encoders).folder == open_folder / "cache" / "edge"
    with not_writable(open_folder / "cache"):
        place = plan(movies, encoders).folder
        assert place.parent == systems and stat.S_IMODE(place.stat().st_mode) == 0o700
        index = ragkit.open_index(None, spec)
        index._remove.detach()  # as a kill would leave it
        index.close()
        assert index.folder.parent == place and (index.folder / "ragkit.json").is_file()
        ragkit.open_index(None, spec).close()
        assert os.listdir(place) == ["ragkit.lock"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_where_nothing_can_be_written_a_message_says_what_to_set(open_folder, systems, capsys):
    search = ["search", "movies", "a film", "--system", "bm25"]
    compare = ["compare", "movies", "--systems", "bm25", "--where", ":memory:"]
    # So that all is imported, which another user than root may not do everywhere.
    assert main([*search, "--where", ":memory:"]) == main(search) == main(["doctor"]) == main(compare) == 0
    capsys.readouterr()
    with not_writable(open_folder):
        assert main(search) == 2
        assert main([*search, "--where", ":memory:"]) == main(compare) == 0
        assert main(["doctor"]) == 1
    told = capsys.readouterr()
    advice = "set RAGKIT_CACHE or TMPDIR to a folder that can be written to, or name another place with --where"
    assert f"neither in {open_folder / 'cache' / 'edge'} nor" in told.err and advice in told.err
    assert re.search(rf"^missing +engine +No temporary index can be made.* {advice}", told.out, re.MULTILINE)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be another user")
def test_a_temporary_folder_that_another_user_made_is_not_used(open_folder, systems):
    (systems / "ragkit-65534").mkdir()
    (systems / "ragkit-65534").chmod(0o777)
    with not_writable(open_folder / "cache"), pytest.raises(RagkitError, match="ragkit-65534: it is another user's"):
        ragkit.open_index(None, {"dense": ragkit.VectorSpec(2)})


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "embeddings").write_text("a file")
    with pytest.raises(RagkitError, match="embeddings.* cannot be made .*set RAGKIT_CACHE"):
        EmbeddingCache(tmp_path / "embeddings" / "c.sqlite").put(["a"], [array(1)])
    (tmp_path / "c.sqlite").mkdir()
    with pytest.raises(RagkitError, match="c.sqlite cannot be used"):
        EmbeddingCache(tmp_path / "c.sqlite")
