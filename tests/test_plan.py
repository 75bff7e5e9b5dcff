"""What an ingest consists of, over vectors made by hand: what it predicts, refuses, and stores in what order."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

from ragkit import RagkitError, Storage, VectorSpec, build_index, load_encoders
from ragkit.encoders.cached_encoder import CachedEncoder
from ragkit.encoders.sparse_encoder import SparseEncoder
from ragkit.engines import disk, ingest
from ragkit.engines.ingest import Plan, plan
from ragkit.engines.inventory import MadeOf
from ragkit.engines.server_options import ServerOptions
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


# A plan of all TEXTS: none is in the cache, and 270 rows of 4 numbers are what they have at most.
ROWS, DOCUMENTS = 270, 9
PER_DOCUMENT = DOCUMENTS * disk.DOCUMENT_BYTES
SERVER = "http://user:secret@127.0.0.1:1"


class Sizes:
    """What files take beside vectors, in numbers that tell which was asked for; it keeps what it was asked."""

    segments, kept = 3, 0

    def __init__(self, monkeypatch):
        self.asked = []
        for name in ("most_segments", "least", "closing", "taken"):
            monkeypatch.setattr(disk, name, getattr(self, name))

    def most_segments(self, documents, size):
        self.asked.append((documents, size))
        return self.segments

    def least(self, specs, segments, folder=None):
        self.asked.append((len(specs), segments, folder))
        return segments * (1_000 if folder is None else 20_000)

    def closing(self, specs, segments, folder):
        self.asked.append((len(specs), segments, folder, "closing"))
        return segments * 300_000

    def taken(self, folder):
        self.asked.append(folder)
        return self.kept


@pytest.fixture()
def sizes(monkeypatch):
    return Sizes(monkeypatch)


def planned(where, *names):
    return plan(collection(TEXTS), {name: Counted(True) if name == "bm25" else Rows(name) for name in names}, where)


@pytest.mark.parametrize(
    ("name", "kept", "searched"),
    [
        ("colbert", 16 * ROWS, 16 * ROWS),
        ("colbert-float16", 8 * ROWS, 8 * ROWS),
        ("colbert-disk", 16 * ROWS, 0),
        ("colbert-int8", (16 + 20) * ROWS, 20 * ROWS),  # a copy of 16 numbers at least, and how they are rounded
        ("colbert-int8-disk", (16 + 20) * ROWS, 20 * ROWS),
        ("bm25", 2 * sum(map(len, TEXTS)), 0),
    ],
)
def test_vectors_are_kept_whole_and_what_is_searched_is_in_memory_unless_it_is_read_from_disk(
    name, kept, searched, sizes, tmp_path
):
    found = planned(tmp_path / "kept", name)
    assert found.index_bytes == kept + PER_DOCUMENT + 3_000
    assert found.memory_bytes == searched and found.documents == DOCUMENTS
    assert sizes.asked[0] == (DOCUMENTS, kept)  # segments are counted by their vectors


def test_vectors_of_several_names_add_up(sizes, tmp_path):
    found = planned(tmp_path / "kept", "bm25", "colbert-int8", "colbert-disk", "colbert-float16")
    vectors = 2 * sum(map(len, TEXTS)) + (36 + 16 + 8) * ROWS
    assert (found.index_bytes, found.memory_bytes) == (vectors + PER_DOCUMENT + 3_000, (20 + 8) * ROWS)
    assert sizes.asked[0] == (DOCUMENTS, vectors)


def test_all_that_local_mode_keeps_is_in_memory_twice_and_nothing_on_a_disk(sizes):
    found = planned(":memory:", "colbert", "bm25")
    assert found.index_bytes == 16 * ROWS + 2 * sum(map(len, TEXTS)) + PER_DOCUMENT + 1_000
    assert (found.memory_bytes, found.disk_bytes) == (2 * found.index_bytes, 0)
    assert (found.folder, found.remote) == (None, False)
    assert sizes.asked == [(2, 1, None)]


def test_a_server_keeps_what_a_plan_says_once_it_is_known_to_answer(sizes, monkeypatch):
    asked = []
    monkeypatch.setattr("ragkit.engines.server.require", lambda *of: asked.append(of))
    found = planned(SERVER, "colbert-int8")
    assert asked == [(SERVER, {"colbert-int8": VectorSpec(4, True, storage=Storage(quantization="int8"))})]
    assert found.index_bytes == 36 * ROWS + PER_DOCUMENT + 1_000 and found.memory_bytes == 20 * ROWS
    assert (found.disk_bytes, found.folder, found.remote) == (0, None, True)
    assert sizes.asked == [(1, 1, None)]


@pytest.mark.parametrize(
    ("names", "anew", "written"),
    [
        (["colbert"], 0, 2),
        (["colbert-int8"], 3, 3),
        (["muvera-hnsw"], 3, 3),
        (["colbert-int8", "colbert"], 3, 3),
        (["colbert", "colbert-int8"], 3, 3),
    ],
)
def test_what_must_be_free_is_what_is_kept_and_made_ahead_and_what_edge_writes_again(
    names, anew, written, sizes, tmp_path
):
    """Twice what is kept, thrice where small copies or a graph are made, and nothing that is there already."""
    folder, count = tmp_path / "kept", len(names)
    found = planned(folder, *names)
    ahead = 3 * 20_000 + anew * 300_000
    vectors = found.index_bytes - 3 * 1_000
    assert found.disk_bytes == vectors + ahead + (written - 1) * found.index_bytes + disk.RESERVE
    assert sizes.asked[1:] == [(count, 3, folder), (count, anew, folder, "closing"), (count, 3, None)]
    assert (found.folder, found.remote) == (folder, False)
    folder.mkdir()
    sizes.kept = vectors + ahead - 500  # all but a little is there
    assert planned(folder, *names).disk_bytes == written * 500 + disk.RESERVE
    assert sizes.asked[-2] == folder
    for sizes.kept in (vectors + ahead, vectors + ahead + 1):
        assert planned(folder, *names).disk_bytes == 0


def test_a_temporary_folder_is_begun_anew_whatever_others_keep_beside_it(sizes, own_cache):
    sizes.kept = 10**9
    found = planned(None, "colbert")
    assert found.folder == own_cache / "edge" and found.folder.is_dir()
    assert found.disk_bytes == 2 * (16 * ROWS + PER_DOCUMENT) + 3 * 21_000 + disk.RESERVE
    assert own_cache / "edge" not in sizes.asked


def test_a_folder_is_planned_where_its_name_leads(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert planned("~/kept", "colbert").folder == tmp_path / "kept"


def test_a_plan_names_the_largest_document_of_any_name_of_vectors():
    class Last(Rows):
        def token_counts(self, texts):
            return [10 * (i == 8) + 1 for i, _ in enumerate(texts)]

    texts = collection(TEXTS)
    small, large, other = Rows("small", multivector=False), Rows("large"), Last("other")
    for encoders, expected in (
        ({"dense": small}, (4, "d0")),
        ({"tokens": large}, (4 * 40, "d2")),  # the first of those that are as large
        ({"tokens": other}, (4 * 11, "d8")),
        ({"colbert": large, "dense": small, "tokens": other}, (4 * 40, "d2")),
        ({"tokens": other, "bm25": Counted(True), "colbert": large}, (4 * 40, "d2")),
        ({"bm25": Counted(True)}, (0, "")),
    ):
        found = plan(texts, encoders, ":memory:")
        assert (found.floats, found.largest) == expected


def test_a_text_that_several_models_must_read_is_counted_once_and_kept_for_each():
    source = Rows("source")
    source.prepare(TEXTS[:4])
    encoders = {"colbert": source, "colbert-pool2": Rows("pooled", source=source), "bm25": Counted(True)}
    left = 16 * sum(10 * len(text.split()) for text in TEXTS[4:]) + 5 * ingest._CACHED_TEXT
    pooled = 16 * ROWS + DOCUMENTS * ingest._CACHED_TEXT
    found = plan(collection(TEXTS), encoders, ":memory:")
    assert (found.to_encode, found.cache_bytes) == (5, left + pooled)
    encoders["tokens"] = Rows("other")
    found = plan(collection(TEXTS), encoders, ":memory:")
    assert (found.to_encode, found.cache_bytes) == (9, left + 2 * pooled)
    assert source.asked == TEXTS[:4]


class Kept:
    """An index that holds the first documents already; it keeps what it is given."""

    def __init__(self, monkeypatch, doc_ids=(), fails=None):
        self.doc_ids, self.fails, self.asked, self.stored, self.closed = [*doc_ids], fails, [], [], False
        monkeypatch.setattr("ragkit.engines.ingest.open_index", self.open)
        monkeypatch.setattr("ragkit.engines.server.require", lambda *_: None)

    def open(self, *of):
        self.asked.append(of)
        return self

    def stream(self, doc_ids, rows):
        self.stored.append((doc_ids, list(rows)))
        if self.fails:
            raise self.fails

    def close(self):
        self.closed = True


DOC_IDS = [f"d{i}" for i in range(DOCUMENTS)]


@pytest.mark.parametrize("done", [0, 7, 9])
def test_an_index_gets_the_documents_that_it_has_not_with_a_vector_of_every_name(done, monkeypatch, tmp_path):
    index, encoders = Kept(monkeypatch, DOC_IDS[:done]), {"colbert": Rows(), "dense": Rows("one", multivector=False)}
    returned, _ = build_index(collection(TEXTS), encoders, tmp_path / "kept")
    assert returned is index and not index.closed
    ((doc_ids, rows),) = index.stored  # also where nothing is left, so that what an interruption left is finished
    assert doc_ids == DOC_IDS[done:]
    for row, text in zip(rows, TEXTS[done:], strict=True):
        assert list(row) == ["colbert", "dense"]
        np.testing.assert_array_equal(row["colbert"], vector(text))
        np.testing.assert_array_equal(row["dense"], vector(text, False))
    assert encoders["colbert"].asked == encoders["dense"].asked == TEXTS[done:]


def test_nothing_is_encoded_for_an_index_that_is_whole(monkeypatch, tmp_path):
    class Unread(Counted):
        def stream(self, texts):
            raise AssertionError("all documents are stored")

    index = Kept(monkeypatch, DOC_IDS)
    build_index(collection(TEXTS), {"bm25": Unread(True)}, tmp_path / "kept")
    assert index.stored == [([], [])]


@pytest.mark.parametrize("where", ["kept", SERVER])
def test_an_index_is_opened_by_what_stands_for_all_that_is_in_it(where, monkeypatch, tmp_path):
    where = where if where == SERVER else tmp_path / where
    index, options = Kept(monkeypatch), ServerOptions(timeout=7)
    encoders = {"dense": Rows("one", multivector=False), "bm25": Counted(True), "colbert": Rows()}
    size = plan(collection(TEXTS), encoders, where).index_bytes
    build_index(collection(TEXTS), encoders, where, options)
    prints = {name: encoder.fingerprint for name, encoder in encoders.items()}
    specs = {"dense": VectorSpec(4), "bm25": VectorSpec(0, sparse=True), "colbert": VectorSpec(4, True)}
    content = sha256_of([DOC_IDS, TEXTS, prints["bm25"], prints["colbert"], prints["dense"]])  # by their names
    ((*opened, made_of),) = index.asked
    assert opened == [where, specs, "ragkit-windows", content, options]
    noted = MadeOf("windows", sha256_of([DOC_IDS, TEXTS]), DOCUMENTS, prints, size)
    assert made_of == (noted if where == SERVER else None)


def sha256_of(stands_for):
    return hashlib.sha256(repr(stands_for).encode()).hexdigest()


def test_an_index_of_other_documents_is_refused_and_closed_without_a_password_being_told(monkeypatch):
    index = Kept(monkeypatch, ["d0", "another"])
    with pytest.raises(RagkitError) as caught:
        build_index(collection(TEXTS), {"colbert": Rows()}, SERVER)
    told = str(caught.value)
    assert told.startswith("The index at http://") and "secret" not in told and "127.0.0.1:1" in told
    assert told.endswith(" holds other documents in other places; choose another place.")
    assert index.closed and index.stored == []


@pytest.mark.parametrize("error", [RagkitError("the disk is full"), KeyboardInterrupt()])
def test_an_index_that_cannot_be_filled_is_closed(error, monkeypatch, tmp_path):
    index = Kept(monkeypatch, fails=error)
    with pytest.raises(type(error)):
        build_index(collection(TEXTS), {"colbert": Rows()}, tmp_path / "kept")
    assert index.closed


def test_vectors_that_are_kept_beside_are_filled_and_bytes_told_of_those_asked_for_alone(monkeypatch, tmp_path):
    index, asked = Kept(monkeypatch), []
    encoders, beside = {"colbert": Rows(), "bm25": Counted(True)}, {"dense": Rows("one", multivector=False)}
    monkeypatch.setattr(ingest, "_kept_beside", lambda *of: asked.append(of) or beside)
    _, told = build_index(collection(TEXTS), encoders, tmp_path / "kept")
    assert asked == [(encoders, tmp_path / "kept")]
    assert told == {"colbert": pytest.approx(16 * 27 / 9), "bm25": 8.0}
    assert list(index.stored[0][1][0]) == ["colbert", "bm25", "dense"] == list(index.asked[0][1])
    assert list(encoders) == ["colbert", "bm25"]


def test_what_a_plan_refuses_is_not_begun(monkeypatch, tmp_path):
    index, encoder = Kept(monkeypatch), Rows()
    monkeypatch.setattr("ragkit.engines.ingest.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(RagkitError, match="Choose another place"):
        build_index(collection(TEXTS), {"colbert": encoder}, tmp_path / "kept")
    assert index.asked == [] == encoder.asked


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
