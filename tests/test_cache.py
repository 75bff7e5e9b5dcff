import multiprocessing
import sqlite3

import numpy as np
import pytest

from ragkit import RagkitError
from ragkit.encoders.embedding_cache import EmbeddingCache


def array(i):
    return np.full((i % 5 + 1, 3), i, np.float32)


def write_many(path, start):
    store = EmbeddingCache(path)
    for i in range(start, start + 50):
        store.put([f"text {i}"], [array(i)])


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


def test_a_damaged_row_is_as_good_as_absent(tmp_path):
    store = EmbeddingCache(tmp_path / "c.sqlite")
    store.put(["a"], [array(4)])
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE arrays SET data = substr(data, 1, 8)")
    assert store.get(["a"]) == [None]


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(RagkitError, match="c.sqlite cannot be used .* Delete that file"):
        EmbeddingCache(path)
