"""What an ingest consists of, over vectors made by hand: what it predicts, refuses, and stores in what order."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

from ragkit import RagkitError, VectorSpec, build_index, load_encoders
from ragkit.encoders.cached_encoder import CachedEncoder
from ragkit.encoders.sparse_encoder import SparseEncoder
from ragkit.engines import ingest
from ragkit.engines.ingest import Plan
from ragkit.vectors import MAX_FLOATS_PER_POINT, Sparse
from tests.windows import collection

TEXTS = [f"{'word ' * (i % 3 + 1)}{i}" for i in range(9)]


class Rows(CachedEncoder):
    """As many rows as a text has words, all of the text's length."""

    checksums = {}

    def __init__(self, name="rows", cache=True, source=None, multivector=True):
        self.name, self.cache, self.source, self.multivector, self.dim, self.asked = (
            name,
            cache,
            source,
            multivector,
            4,
            [],
        )

    fingerprint = property(lambda self: hashlib.sha256(self.name.encode()).hexdigest())

    def token_counts(self, texts):
        return [10 * len(text.split()) for text in texts]

    def _compute(self, texts, role):
        self.asked += texts
        yield texts, [vector(text, self.multivector) for text in texts]


def vector(text, multivector=True):
    return np.full((len(text.split()), 4) if multivector else 4, len(text), np.float32)


class Counted(SparseEncoder):
    """One word, whose weight is how many texts are encoded with it."""

    name, fingerprint, checksums = "counted", "c" * 64, {}

    def __init__(self, depends_on_others):
        self.depends = depends_on_others

    depends_on_others = property(lambda self: self.depends)

    def encode_documents(self, texts):
        return [Sparse(np.array([i], np.uint32), np.full(1, len(texts), np.float32)) for i, _ in enumerate(texts)]

    encode_queries = encode_documents


@pytest.fixture(autouse=True)
def alone(own_cache, monkeypatch):
    monkeypatch.delenv("RAGKIT_MIRROR", raising=False)
    monkeypatch.delenv("QDRANT_URL", raising=False)


def a_plan(**changes):
    few = {"documents": 1, "floats": 1, "largest": "d7", "to_encode": 0, "cache_bytes": 0, "index_bytes": 0}
    return Plan(**(few | {"disk_bytes": 0, "memory_bytes": 0, "folder": None} | changes))


def test_a_plan_in_words(tmp_path):
    sizes = {"documents": 12_345, "to_encode": 6_789, "cache_bytes": 1_500_000, "index_bytes": 2_500_000_000}
    said = "12,345 documents, 6,789 to encode (1.5 MB more in the cache); about 2.5 GB in {}, 3.0 MB of {} to search"
    for changes, words in (
        ({"remote": True}, ("the server", "its memory")),
        ({}, ("memory", "memory")),
        ({"folder": tmp_path}, (str(tmp_path), "memory")),
    ):
        assert str(a_plan(**sizes, memory_bytes=3_000_000, **changes)) == said.format(*words)


def refused(planned):
    with pytest.raises(RagkitError) as caught:
        planned.check()
    return str(caught.value)


def test_a_point_may_have_as_many_floats_as_qdrant_stores_and_no_more():
    a_plan(floats=MAX_FLOATS_PER_POINT).check()
    assert refused(a_plan(floats=MAX_FLOATS_PER_POINT + 1)) == (
        "Document 'd7' would have up to 1,048,577 floats; Qdrant stores at most 1,048,576 a point. Split the document."
    )


def test_what_is_searched_must_fit_the_memory_of_this_machine_and_not_that_of_a_server(monkeypatch):
    monkeypatch.setattr("ragkit.engines.ingest.psutil.virtual_memory", lambda: SimpleNamespace(available=2_000_000))
    a_plan(memory_bytes=2_000_000).check()
    a_plan(memory_bytes=9_000_000, remote=True).check()
    assert refused(a_plan(memory_bytes=2_000_001)) == (
        "Searching needs about 2.0 MB in memory and 2.0 MB are free. Take fewer documents (--docs), pooled or "
        "quantized vectors (colbert-pool2-turbo4), or keep them on disk (-disk)."
    )


def test_each_disk_must_have_room_for_all_that_is_written_to_it(tmp_path, monkeypatch):
    """The cache on one disk, the folder on another or on the same."""
    cache, folder, asked = tmp_path / "one", tmp_path / "two" / "kept", []
    cache.mkdir()
    (tmp_path / "two").mkdir()
    monkeypatch.setenv("RAGKIT_CACHE", str(cache))
    devices = {cache: 1, tmp_path / "two": 2}
    monkeypatch.setattr("ragkit.engines.ingest.disk.nearest", lambda path: Disk(path if path == cache else path.parent))

    class Disk:
        def __init__(self, path):
            self.path = path

        def stat(self):
            return SimpleNamespace(st_dev=devices[self.path])

        def __str__(self):
            return f"disk {devices[self.path]}"

    def usage(place):
        asked.append(str(place))
        return SimpleNamespace(free=5_000_000)

    monkeypatch.setattr("ragkit.engines.ingest.shutil.disk_usage", usage)
    full = a_plan(cache_bytes=5_000_000, disk_bytes=5_000_000, folder=folder)
    full.check()
    assert asked == ["disk 1", "disk 2"]
    a_plan(cache_bytes=5_000_000, disk_bytes=9_000_000).check()  # no folder: only the cache is written to
    for changes, number, size in (({"cache_bytes": 6_000_000}, 1, 6), ({"disk_bytes": 7_000_000}, 2, 7)):
        assert refused(a_plan(folder=folder, **changes)) == (
            f"This writes up to {size}.0 MB to the disk of disk {number}, which has 5.0 MB free. Choose another place "
            "(RAGKIT_CACHE, --where), take fewer documents, or pooled or smaller vectors."
        )
    devices[tmp_path / "two"] = 1
    assert "writes up to 10.0 MB to the disk of disk 1, which has 5.0 MB free" in refused(full)


def test_the_cache_grows_by_each_absent_text_and_by_what_it_is_made_from():
    source = Rows("source")
    pooled = Rows("pooled", source=source)
    source.prepare(["a b"])
    rows = {"a b": 20, "c": 10, "not asked": 7}
    found = ingest._to_cache(pooled, rows, ["a b", "c"])
    beside = ingest._CACHED_TEXT
    assert found == {
        (pooled, "a b"): 4 * 4 * 20 + beside,
        (pooled, "c"): 4 * 4 * 10 + beside,
        (source, "c"): 4 * 4 * 10 + beside,  # "a b" is there
    }
    assert ingest._to_cache(Rows(cache=False), rows, ["c"]).popitem()[1] == 0
    assert ingest._to_cache(source, {}, []) == {}


def test_what_stands_for_a_collection_is_a_sha256_over_all_of_it_half_characters_too():
    found = ingest._hash([["a"], ["\ud800é"]])
    assert found == hashlib.sha256(repr([["a"], ["\ud800é"]]).encode()).hexdigest()
    others = [[["a"], ["b"]], [["a", "b"]], ["a", "b"]]
    assert len({ingest._hash(other) for other in others}) == 3


def test_documents_are_rows_of_every_name_from_where_an_ingest_stopped():
    encoders = {"rows": Rows(), "one": Rows("one", multivector=False)}
    for done in (0, 7):
        found = list(ingest._documents(encoders, TEXTS, done))
        assert [list(row) for row in found] == [["rows", "one"]] * (9 - done)
        for row, text in zip(found, TEXTS[done:], strict=True):
            np.testing.assert_array_equal(row["rows"], vector(text))
            np.testing.assert_array_equal(row["one"], vector(text, False))


def test_what_depends_on_the_other_documents_is_encoded_with_all_of_them():
    weights = {on_others: list(ingest._rest(Counted(on_others), TEXTS, 7)) for on_others in (True, False)}
    assert [(v.indices.tolist(), v.values.tolist()) for v in weights[True]] == [([7], [9.0]), ([8], [9.0])]
    assert [v.values.tolist() for v in weights[False]] == [[2.0], [2.0]]


def test_what_is_left_is_encoded_before_the_first_of_it_is_stored():
    encoder = Rows()
    rest = ingest._rest(encoder, TEXTS, 7)
    assert encoder.asked == TEXTS[7:]
    assert len(list(rest)) == 2 and encoder.asked == TEXTS[7:]


def test_bytes_are_those_of_a_mean_document():
    rows = sum(len(text.split()) for text in TEXTS)
    encoder = Rows()
    encoder.prepare(TEXTS)
    assert ingest._bytes(encoder, VectorSpec(4, True), TEXTS) == pytest.approx(4 * 4 * rows / 9)
    assert ingest._bytes(Counted(False), VectorSpec(0, sparse=True), TEXTS) == 8.0


@pytest.mark.slow
def test_vectors_that_a_folder_holds_beside_are_filled_too_and_others_are_not(tmp_path, monkeypatch):
    """A folder of dense and bm25, asked for dense, and for dense with colbert."""
    folder, encoders = tmp_path / "kept", load_encoders(["dense", "bm25"])
    few = collection(TEXTS[:3])
    build_index(few, encoders, folder)[0].close()
    dense = {"dense": encoders["dense"]}
    assert list(ingest._kept_beside(dense, folder)) == ["bm25"]
    assert list(ingest._kept_beside({"bm25": encoders["bm25"]}, str(folder))) == ["dense"]
    for asked in (encoders, {**dense, "colbert": None}):
        assert ingest._kept_beside(asked, folder) == {}
    for where in (None, ":memory:", "http://127.0.0.1:1", tmp_path / "nothing"):
        assert ingest._kept_beside(dense, where) == {}
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert list(ingest._kept_beside(dense, "~/kept")) == ["bm25"]
    with build_index(few, dense, folder)[0] as index:
        assert sorted(index.vectors) == ["bm25", "dense"] and index.reopened
