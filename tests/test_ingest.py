"""A collection into an index: killed and continued, streamed, planned."""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import weakref
from collections import Counter
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import ragkit
from ragkit import RagkitError, Storage, VectorSpec, build_index, load_encoders, open_index
from ragkit.encoders.cached_encoder import CachedEncoder
from ragkit.encoders.encoder import Encoder
from ragkit.encoders.variants import vector_spec
from ragkit.engines import disk
from ragkit.engines.edge import EdgeIndex
from ragkit.engines.folder import aside, open_segments
from ragkit.engines.ingest import Plan, plan
from ragkit.vectors import MAX_FLOATS_PER_POINT, Sparse
from tests.processes import BATCH_BYTES, TOKENS_PER_BATCH, Ingest, anonymous_growth, started
from tests.windows import answers, collection
from tests.windows import windows as short_texts

PLAIN = ["colbert"]
# No turbo copy: each build of one rotates the vectors at random, so that two indexes need not answer alike.
SEVERAL = ["dense-int8-raw", "colbert-pool2-binary", "bm25"]
KILLS = 3  # of many more in `make faults`
unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's own memory")


@pytest.fixture(autouse=True)
def alone(own_cache, monkeypatch):
    """A cache of its own, no mirror that has embeddings already, no server."""
    monkeypatch.delenv("RAGKIT_MIRROR", raising=False)
    monkeypatch.delenv("QDRANT_URL", raising=False)


@pytest.fixture(scope="session")
def windows(movies):
    return short_texts(movies)


@pytest.fixture(scope="session")
def undisturbed(windows, tmp_path_factory):
    """The cache with what PLAIN and SEVERAL need, and by name the steps and answers of ingests that nobody killed."""
    folder, found = tmp_path_factory.mktemp("undisturbed"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGKIT_CACHE", str(folder / "cache"))
        for names in (PLAIN, SEVERAL):
            for encoder in load_encoders(names).values():
                encoder.prepare(windows.passages)
            ingest = Ingest(windows, names, folder / names[0])
            assert ingest.ended() and ingest.count("update") == len(windows.documents) and ingest.count("flush") > 4
            expected = answers(windows, names, folder / names[0])
            assert len(expected) == 10 * len(names) ** 2 and sum(map(bool, expected)) > 0.9 * len(expected)
            found[names[0]] = ingest.steps, expected
    return folder / "cache", found


@pytest.fixture()
def whole(undisturbed, monkeypatch):
    """Return a function from names to the steps and the answers of an ingest that nobody killed."""
    cache, found = undisturbed
    monkeypatch.setenv("RAGKIT_CACHE", str(cache))
    return lambda names: found[names[0]]


# Killed, and continued


@pytest.mark.thorough
@unix
@pytest.mark.parametrize(("names", "seed"), [(PLAIN, 1), (SEVERAL, 2)])
def test_an_ingest_killed_at_random_moments_ends_equal_to_an_undisturbed_one(names, seed, windows, whole, tmp_path):
    steps, expected = whole(names)
    documents, draw = len(windows.documents), random.Random(seed)
    kills, continued_at = 0, []
    for kill in range(KILLS):  # each in its part of the steps, and some once more in what remains
        folder, durable, sent, killed = tmp_path / f"killed {kill}", 0, 0, True
        moment = (kill + draw.random()) / KILLS
        while killed:
            ingest = Ingest(windows, names, folder)
            step, seconds = int(moment * len(steps)), draw.uniform(0, 0.02)
            killed = not ingest.ended() if moment == 1 else ingest.killed_at(step, seconds)
            print(f"{names}, index {kill}: killed {seconds:.3f} s after step {step}: {killed}, {ingest.steps[-1:]}")
            kills += killed
            if any(step.startswith("found") for step in ingest.steps):
                found = ingest.count("found")
                assert durable <= found <= sent  # all that was durable is there, and nothing that was never sent
                durable, sent = ingest.durable, found + ingest.count("update")
                continued_at.append(found)
            moment = draw.random() * (1 - durable / documents) if draw.random() < 0.25 else 1
        assert sent == documents  # so what was found was not sent again
        assert answers(windows, names, folder) == expected
    assert kills >= KILLS and np.count_nonzero(continued_at)


@pytest.mark.thorough
@unix
def test_an_ingest_killed_while_small_copies_are_made_makes_them_the_next_time(windows, whole, tmp_path):
    steps, expected = whole(SEVERAL)
    last = max(i for i, step in enumerate(steps) if step == "optimize")
    ingest = Ingest(windows, SEVERAL, tmp_path / "killed")
    assert ingest.killed_at(last)
    again = Ingest(windows, SEVERAL, tmp_path / "killed")
    assert again.ended() and again.count("found") == len(windows.documents) and again.count("update") == 0
    assert again.count("optimize") == 1
    assert answers(windows, SEVERAL, tmp_path / "killed") == expected


@pytest.mark.slow
@unix
def test_an_ingest_killed_while_its_folder_is_made_begins_anew(windows, whole, tmp_path):
    dataset = replace(windows, documents=windows.documents[:20])
    ingest = Ingest(dataset, PLAIN, tmp_path / "killed")
    assert ingest.killed_at(0)
    assert ingest.steps[0] == "create" and (tmp_path / "killed" / "ragkit.lock").exists()
    again = Ingest(dataset, PLAIN, tmp_path / "killed")
    assert again.ended() and again.count("found") + again.count("update") == 20
    assert answers(dataset, PLAIN, tmp_path / "killed") == answers(dataset, PLAIN, tmp_path / "whole")


def test_a_folder_whose_creation_was_interrupted_is_cleared_and_made(tmp_path, rng):
    open_index(tmp_path, {"dense": VectorSpec(8)}).close()
    (tmp_path / "ragkit.json").unlink()  # which is written last
    for part in (
        ".ragkit.json-ab_12cde.ragkit/ragkit.json",
        ".atomicwriteA1b2C3/tmpfile.tmp",
        "segments/new/version.info",
    ):
        path = tmp_path / part.replace("new", "0a1b2c3d-0000-4000-8000-0123456789ab")
        path.parent.mkdir(exist_ok=True)
        path.write_text("half a")
    vectors = list(rng.standard_normal((3, 4)).astype(np.float32))
    with open_index(tmp_path, {"dense": VectorSpec(4)}) as index:
        index.add("abc", {"dense": vectors})
        assert index.search(vectors[1], "dense", 1)[0][0] == "b"
    assert {path.name for path in tmp_path.iterdir()} == {"ragkit.json", "ragkit.lock", "edge_config.json", "segments"}
    assert len(list((tmp_path / "segments").iterdir())) == 1


@pytest.mark.thorough
def test_an_index_continued_after_a_gap_answers_as_an_undisturbed_one(windows, whole, tmp_path, monkeypatch):
    """Power that fails can leave every other document of a batch, say: the gap is closed, and counts in no weight."""
    whole(PLAIN)
    names = ["dense", "colbert", "bm25"]
    monkeypatch.setattr(EdgeIndex, "batch_bytes", BATCH_BYTES)
    expected = answers(windows, names, tmp_path / "undisturbed")
    batches, upsert = [], EdgeIndex._upsert

    def fail(self, points, vectors, doc_ids):
        batches.append(points)
        if len(batches) < last:
            return upsert(self, points, vectors, doc_ids)
        upsert(self, points[1::2], vectors[1::2], doc_ids[1::2])
        raise OSError("the power failed")

    for last in (1, 4):
        folder = tmp_path / f"failed at batch {last}"
        batches.clear()
        with monkeypatch.context() as patch, pytest.raises(RagkitError, match="the power failed"):
            patch.setattr(EdgeIndex, "_upsert", fail)
            build_index(windows, load_encoders(names), folder)
        assert len(batches) == last and len(batches[-1]) > 10
        assert answers(windows, names, folder) == expected  # by the index that was continued
        assert answers(windows, names, folder) == expected  # and opened again


@pytest.mark.slow
def test_vectors_that_a_kill_left_without_a_point_count_in_no_weight(windows, whole, tmp_path, monkeypatch):
    """A flush writes the versions of points last, and Edge drops a point without one, but not its vectors."""
    whole(PLAIN)
    names, stored, upsert, before = ["dense", "bm25"], [], EdgeIndex._upsert, {}
    monkeypatch.setattr(EdgeIndex, "batch_bytes", 20_000)
    expected = answers(windows, names, tmp_path / "undisturbed")

    def noted(self, points, vectors, doc_ids):
        before.clear()  # what the flush of the last batch changes: nothing is optimized after it, which would mend this
        before.update({path: path.read_bytes() for path in self.folder.glob("segments/*/mutable_id_tracker.versions")})
        upsert(self, points, vectors, doc_ids)
        stored.append(len(points))

    def fail(self):
        raise RagkitError("killed")

    folder = tmp_path / "killed"
    with monkeypatch.context() as patch, pytest.raises(RagkitError, match="killed"):
        patch.setattr(EdgeIndex, "_upsert", noted)
        patch.setattr(EdgeIndex, "_finish", fail)
        build_index(windows, load_encoders(names), folder)
    assert before and sum(stored) == len(windows.documents) and stored[-1] > 1
    for path, content in before.items():
        path.write_bytes(content)
    note = json.loads((folder / "ragkit.json").read_text())
    (folder / "ragkit.json").write_text(json.dumps({key: note[key] for key in ("vectors", "content")}))
    assert answers(windows, names, folder) == expected  # by the index that was continued


@pytest.mark.thorough
@pytest.mark.parametrize("killed_again", [False, True])
def test_a_segment_that_a_kill_left_beside_the_one_made_of_it_is_deleted(
    windows, whole, tmp_path, monkeypatch, killed_again
):
    whole(PLAIN)
    names, optimize, upsert = ["dense", "bm25"], EdgeIndex._optimize, EdgeIndex._upsert
    kept, after = tmp_path / "copies", []
    monkeypatch.setattr(EdgeIndex, "batch_bytes", 20_000)
    monkeypatch.setattr("ragkit.engines.disk.cores", lambda: 2)  # one segment is closed, one stays open
    expected = answers(windows, names, tmp_path / "undisturbed")

    def copied(self, shard):
        shard.flush()
        for segment in open_segments(self.folder):
            shutil.copytree(segment, kept / segment.name)
        optimize(self, shard)

    def fail(self, points, vectors, doc_ids):
        if len(after) == 2:
            raise OSError("killed")
        upsert(self, points, vectors, doc_ids)
        after.extend([points] * kept.exists())

    folder = tmp_path / "killed"
    with monkeypatch.context() as patch, pytest.raises(RagkitError, match="killed"):
        patch.setattr(EdgeIndex, "_optimize", copied)
        patch.setattr(EdgeIndex, "_upsert", fail)
        build_index(windows, load_encoders(names), folder)
    (copy,) = kept.iterdir()
    assert not (folder / "segments" / copy.name).exists()
    for name, size in (("mappings", 13), ("versions", 8)):  # of the last flush before that: 95 of its 110 points
        path = copy / f"mutable_id_tracker.{name}"
        path.write_bytes(path.read_bytes()[: 95 * size])
    note = json.loads((folder / "ragkit.json").read_text())
    (folder / "ragkit.json").write_text(json.dumps({key: note[key] for key in ("vectors", "content")}))
    # Or it was taken away to see what is lost without it, and that was killed, too.
    place = folder / ("ragkit.aside" if killed_again else "segments")
    shutil.copytree(copy, place / copy.name)
    assert answers(windows, names, folder) == expected  # by the index that was continued
    assert answers(windows, names, folder) == expected  # and opened again
    assert not (folder / "segments" / copy.name).exists() and not (folder / "ragkit.aside").exists()


def test_a_segment_that_is_taken_away_comes_back_unless_it_is_deleted(tmp_path):
    segment = tmp_path / "segments" / "one"
    segment.mkdir(parents=True)
    with pytest.raises(KeyError), aside(segment):
        assert not segment.exists()
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["segments"] and segment.exists()
    with aside(segment) as delete:
        delete()
    assert not segment.exists() and not list((tmp_path / "temp_segments").iterdir())


@pytest.mark.thorough
@unix
def test_texts_encoded_before_a_kill_are_not_encoded_again(windows, tmp_path):
    names, texts, runs = ["dense", "colbert"], len(windows.documents), []
    for kill in (3, 8):  # steps; the second run opens the folder twice
        ingest = Ingest(windows, names, tmp_path / "killed")
        assert ingest.killed_at(kill)
        runs.append(ingest.count("encode"))
    last = Ingest(windows, names, tmp_path / "killed")
    assert last.ended()
    runs.append(last.count("encode"))
    at_once = TOKENS_PER_BATCH // 10  # eight words are ten tokens and more
    assert 2 * texts <= sum(runs) <= 2 * texts + 2 * at_once and runs[-1] < 2 * texts
    encoders = load_encoders(names)
    for encoder in encoders.values():
        fresh = Encoder(encoder.name, cache=False).encode_documents(windows.passages)
        for a, b in zip(encoder.encode_documents(windows.passages), fresh, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6)


# Shared, and content-addressed


@pytest.fixture()
def asked(monkeypatch):
    """The texts that models are asked to encode."""
    texts = []
    embed = Encoder._embed
    monkeypatch.setattr(Encoder, "_embed", lambda self, batch, role: texts.extend(batch) or embed(self, batch, role))
    return texts


@pytest.mark.slow
def test_a_changed_document_is_encoded_alone(movies, asked):
    names = ["dense", "colbert-pool2-turbo4copy", "muvera", "bm25"]
    build_index(movies, load_encoders(names))[0].close()
    assert Counter(asked) == dict.fromkeys(movies.passages, 2)  # once by each of two models
    asked.clear()
    documents = movies.documents.copy()
    documents.loc[7, "text"] = "A robot alone on Earth falls in love."
    changed = replace(movies, documents=documents)
    predicted = plan(changed, load_encoders(names))
    with build_index(changed, load_encoders(names))[0] as index:
        assert asked == ["A robot alone on Earth falls in love."] * 2 and predicted.to_encode == 1
        encoders = load_encoders(names)
        for name in names:
            (vector,) = encoders[name].encode_queries(["a robot in love"])
            assert index.search(vector, name, 1)[0][0] == documents["doc_id"][7]


@pytest.mark.slow
def test_a_folder_is_continued_only_with_the_documents_it_was_made_for(movies, tmp_path):
    encoders = load_encoders(["dense"])
    build_index(movies, encoders, tmp_path / "kept")[0].close()
    changed = replace(movies, documents=movies.documents[::-1])
    with pytest.raises(RagkitError, match="holds another index"):
        build_index(changed, encoders, tmp_path / "kept")


@pytest.mark.slow
def test_a_folder_is_not_continued_with_documents_whose_titles_alone_are_others(tmp_path):
    """A title is embedded with its text, so that another title is another vector."""
    dataset, encoders = replace(collection(["a film", "a play"]), with_titles=True), load_encoders(["dense"])
    build_index(dataset, encoders, tmp_path / "kept")[0].close()
    titled = replace(dataset, documents=dataset.documents.assign(title=["Alien", ""]))
    with pytest.raises(RagkitError, match="holds another index"):
        build_index(titled, encoders, tmp_path / "kept")


def test_a_folder_is_never_searched_with_another_models_vectors(tmp_path):
    dataset, encoder = keep(3, 2, 8), Kept(8)
    build_index(dataset, {"colbert": encoder}, tmp_path / "kept")[0].close()
    encoder.fingerprint = "1" * 64  # another model with vectors of the same shape
    with pytest.raises(RagkitError, match="holds another index"):
        build_index(dataset, {"colbert": encoder}, tmp_path / "kept")


@pytest.mark.slow
def test_the_time_to_index_is_told_only_of_what_was_indexed_now(windows, whole, tmp_path, monkeypatch):
    whole(PLAIN)
    few, begun, upsert = replace(windows, documents=windows.documents[:30]), [], EdgeIndex._upsert

    def interrupted(self, *batch):
        begun.append(batch)
        if len(begun) == 2:
            raise KeyboardInterrupt
        upsert(self, *batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(EdgeIndex, "batch_bytes", 20_000)
        patch.setattr(EdgeIndex, "_upsert", interrupted)
        build_index(few, load_encoders(["dense"]), tmp_path / "continued")
    for where, told in (("new", True), ("new", False), ("continued", False)):
        (system,) = ragkit.compare(few, ["dense"], where=tmp_path / where).systems
        assert np.isfinite(system.cost.index_s) == told
        assert np.isfinite(system.cost.disk_bytes_per_document)


def fill(texts):
    for encoder in load_encoders(["dense", "colbert"]).values():
        encoder.encode_documents(texts)


@pytest.mark.thorough
def test_two_processes_that_fill_one_cache_end_with_the_right_arrays(windows):
    texts = windows.passages[:100]
    workers = [started(fill, texts), started(fill, texts[::-1])]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    for encoder in load_encoders(["dense", "colbert"]).values():
        assert encoder.rows(texts)[1] == []
        fresh = Encoder(encoder.name, cache=False).encode_documents(texts)
        for kept, array in zip(encoder.encode_documents(texts), fresh, strict=True):
            np.testing.assert_allclose(kept, array, atol=2e-6)


def hold(folder):
    with open_index(folder, {"dense": VectorSpec(4)}):
        (folder / "held").touch()
        signal.pause()


@pytest.mark.slow
@unix
def test_a_folder_has_one_user_and_none_once_that_one_is_dead(tmp_path, rng):
    folder, specs = tmp_path / "kept", {"dense": VectorSpec(4)}
    with open_index(folder, specs):
        with pytest.raises(RagkitError, match="open elsewhere, in another process .* or in this one"):
            open_index(folder, specs)
        refused = started(hold, folder)
        refused.join()
        assert refused.exitcode == 1
    holder = started(hold, folder)
    while not (folder / "held").exists():
        assert holder.is_alive()
        time.sleep(0.01)
    with pytest.raises(RagkitError, match="close the other"):
        open_index(folder, specs)
    holder.kill()
    holder.join()
    with open_index(folder, specs) as index:
        index.add(["a"], {"dense": [rng.standard_normal(4).astype(np.float32)]})


# Streamed


class Kept(CachedEncoder):
    """Vectors that are in the cache already; `tokens` is what it says of a text that is not."""

    name, multivector, cache, checksums, fingerprint = "kept", True, True, {}, "0" * 64

    def __init__(self, dim=128, tokens=200):
        self.dim, self.tokens = dim, tokens

    def token_counts(self, texts):
        return [self.tokens] * len(texts)

    def _compute(self, texts, role):
        assert not texts, "nothing may be encoded here"
        yield from ()


def keep(documents, rows, dim):
    """Put random multivectors in the cache, and return their collection."""
    draw = np.random.default_rng(3)
    texts = [f"text {i}" for i in range(documents)]
    for start in range(0, documents, 100):
        part = texts[start : start + 100]
        Kept(dim)._store("document").put(part, draw.standard_normal((len(part), rows, dim), np.float32))
    return collection(texts)


def build_kept(documents, folder):
    build_index(keep(100, 200, 128), {"colbert": Kept()}, folder / "small")[0].close()
    dataset = keep(documents, 200, 128)
    yield
    with build_index(dataset, {"colbert": Kept()}, folder / "large")[0] as index:
        assert len(index.doc_ids) == documents
    yield


@pytest.mark.thorough
@linux
def test_vectors_are_never_in_memory_all_at_once(tmp_path):
    """400 MB of vectors from the cache to an Edge folder, in batches of 67 MB."""
    (grown,) = anonymous_growth(build_kept, 4000, tmp_path)
    print(f"grown by {grown:.0f} MB")
    assert grown < 130
    shutil.rmtree(tmp_path / "large")


class Watched(Kept):
    """Encodes ten texts at a time, and counts how many of all its arrays are alive."""

    def __init__(self):
        super().__init__(dim=4)
        self.arrays, self.most_alive = [], 0

    def count(self, arrays):
        self.arrays += map(weakref.ref, arrays)
        self.most_alive = max(self.most_alive, sum(array() is not None for array in self.arrays))

    def _compute(self, texts, role):
        for start in range(0, len(texts), 10):
            batch = texts[start : start + 10]
            arrays = [np.full((3, 4), int(text), np.float32) for text in batch]
            self.count(arrays)
            yield batch, arrays


@pytest.mark.slow
def test_no_more_than_a_few_documents_are_held_while_many_are_prepared_and_streamed():
    encoder, texts = Watched(), [str(i) for i in range(1000)]
    encoder.prepare(texts)
    assert len(encoder.arrays) == 1000 and encoder.most_alive <= 20
    encoder.arrays.clear()
    for i, array in enumerate(encoder.stream(texts)):
        assert (array == i).all()
        encoder.count([array])
    assert len(encoder.arrays) == 1000 and encoder.most_alive <= 130  # read 64 at a time


def encode_short(texts):
    encoder = ragkit.load_encoder("colbert")
    encoder.prepare(texts[:1])
    yield
    for count in (2000, 10_000, len(texts)):
        encoder.prepare(texts[:count])
        yield


@pytest.mark.thorough
@linux
def test_memory_stays_flat_while_ten_thousand_documents_are_encoded(movies):
    """Ten thousand texts of two words, then twenty of up to 256 tokens."""
    words = sorted({word for text in movies.passages for word in text.lower().split()})
    texts = [f"{a} {b}" for a, b in islice(product(words, words), 10_000)]
    texts += [" ".join(movies.passages[: i + 1]) for i in range(20)]
    assert len(set(texts)) == 10_020
    first, all_of_them, and_long = anonymous_growth(encode_short, texts)
    print(f"grown by {first:.0f} MB after 2,000 texts, {all_of_them:.0f} after 10,000, {and_long:.0f} after long ones")
    assert all_of_them - first < 15 and and_long < 150


# Planned


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        ["dense"],
        ["bm25"],
        ["colbert"],
        ["colbert-turbo8"],
        ["tokens-float16"],
        SEVERAL,
        ["muvera-hnsw", "colbert-disk"],
    ],
)
def test_what_a_plan_predicts_is_what_is_there_afterwards(names, windows, tmp_path, own_cache):
    encoders = load_encoders(names)
    predicted = plan(windows, encoders, tmp_path / "kept")
    empty = bytes_in(own_cache)
    with build_index(windows, encoders, tmp_path / "kept")[0] as index:
        disk_bytes = index.bytes_on_disk()
    times = 2 if all(vector_spec(name, encoder).storage.exact for name, encoder in encoders.items()) else 3
    assert disk_bytes <= predicted.index_bytes <= 3 * disk_bytes
    assert times * predicted.index_bytes <= predicted.disk_bytes
    cached = bytes_in(own_cache) - empty
    assert cached <= predicted.cache_bytes <= 3 * max(cached, 1)
    assert predicted.to_encode == (len(windows.documents) if names != ["bm25"] else 0)
    sizes = {
        doc_id: vectors.size
        for name, encoder in encoders.items()
        if name != "bm25"
        for doc_id, vectors in zip(windows.documents["doc_id"], encoder.encode_documents(windows.passages), strict=True)
    }
    again = plan(windows, encoders, tmp_path / "kept")
    assert again.cache_bytes == again.to_encode == 0
    assert again.disk_bytes <= predicted.disk_bytes - disk_bytes  # what is there need not be free as well
    assert max(sizes.values(), default=0) <= again.floats <= predicted.floats


def bytes_in(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_plan_is_exact_about_what_the_cache_holds():
    dataset = keep(300, 40, 64)
    predicted = plan(dataset, {"colbert-float16": Kept(64, tokens=10**6)}, ":memory:")
    assert (predicted.floats, predicted.to_encode, predicted.cache_bytes) == (40 * 64, 0, 0)
    vectors = 300 * 40 * 64 * 2
    assert vectors <= predicted.index_bytes <= vectors + 400_000 and predicted.disk_bytes == 0
    assert predicted.memory_bytes == 2 * predicted.index_bytes
    assert plan(dataset, {"colbert-int8": Kept(64)}, "folder").memory_bytes == 300 * 40 * (64 + 4)


def assert_refused_before_any_work(dataset, encoders, folder, match, cache):
    for encoder in encoders.values():
        encoder.prepare([])  # makes the empty cache
    before = bytes_in(cache)
    with pytest.raises(RagkitError, match=match):
        build_index(dataset, encoders, folder)
    assert not folder.exists() and bytes_in(cache) == before and not list(cache.rglob("edge/*"))


def test_a_document_with_too_many_floats_is_refused_before_any_work(tmp_path, own_cache):
    too_many = MAX_FLOATS_PER_POINT // 128 + 1
    dataset, encoders = collection(["short", "long"]), {"colbert": Kept(tokens=too_many)}
    match = r"Document 'd0' would have up to 1,048,704 floats; .* at most 1,048,576 a point. Split the document"
    assert_refused_before_any_work(dataset, encoders, tmp_path / "kept", match, own_cache)
    encoders["colbert"].tokens -= 1
    plan(dataset, encoders, tmp_path / "kept").check()


def test_too_little_memory_is_refused_before_any_work(tmp_path, own_cache, monkeypatch, windows, asked):
    monkeypatch.setattr("ragkit.engines.ingest.psutil.virtual_memory", lambda: SimpleNamespace(available=300_000))
    encoders = load_encoders(["colbert"])
    match = r"needs about 1.[0-9] MB in memory and 0.3 MB are free. Take fewer documents .* \(colbert-pool2-turbo4\)"
    assert_refused_before_any_work(windows, encoders, tmp_path / "kept", match, own_cache)
    assert asked == []
    plan(windows, load_encoders(["colbert-turbo4copy-disk"]), tmp_path / "kept").check()


@pytest.mark.parametrize("free", [0.0, 3_000_000.0])
def test_too_small_a_disk_is_refused_before_any_work(free, tmp_path, own_cache, monkeypatch, windows, asked):
    monkeypatch.setattr("ragkit.engines.ingest.shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    match = rf"writes up to [3-9].[0-9] MB to the disk of .*, which has {free / 1e6} MB free. Choose another place"
    assert_refused_before_any_work(windows, load_encoders(["colbert"]), tmp_path / "kept", match, own_cache)
    assert asked == []


KINDS = {
    "dense": VectorSpec(4),
    "colbert": VectorSpec(4, True),
    "colbert-turbo4copy": VectorSpec(4, True, storage=Storage(quantization="turbo4copy")),
    "dense-binary-hnsw": VectorSpec(4, storage=Storage(quantization="binary", hnsw_m=16)),
    "bm25": VectorSpec(0, sparse=True),
}


@pytest.fixture(params=["a disk", "memory"])
def place(request, tmp_path):
    """A folder on the tests' disk, and one on a disk that keeps nothing but whole files."""
    if request.param == "a disk":
        yield tmp_path
        return
    memory = Path("/dev/shm")
    if not memory.is_dir() or shutil.disk_usage(memory).free < 1e9:
        pytest.skip("no /dev/shm with a gigabyte free")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os.stat_result, "st_blocks"), reason="the system does not tell what a file takes")
@pytest.mark.parametrize("names", [*([name] for name in KINDS), list(KINDS)])
def test_a_plan_needs_no_less_than_what_edge_takes_for_one_document(names, place, movies):
    specs = {name: KINDS[name] for name in names}
    vectors = {True: Sparse(np.array([1], np.uint32), np.ones(1, np.float32)), False: np.ones(4, np.float32)}
    document = {
        n: np.ones((1, 4), np.float32) if spec.multivector else vectors[spec.sparse] for n, spec in specs.items()
    }
    for _ in range(2):  # made, and opened again, which reads all of its files
        with open_index(place / "kept", specs) as index:
            if not index.doc_ids:
                index.stream(["d"], [document])
            paths = [place / "kept", *(place / "kept").rglob("*")]
            taken = sum(path.stat().st_blocks * 512 for path in paths)
    assert taken <= disk.least(specs.values(), 1, place)
    assert disk.least(specs.values(), 1) <= 4 * taken
    one = replace(movies, documents=movies.documents[:1])
    assert taken <= plan(one, load_encoders(names), place / "other").disk_bytes


def test_a_plan_says_megabytes_and_gigabytes_where_it_means_them():
    said = str(Plan(1, 1, "d", 0, 0, 3_140_000, 0, 2_500_000_000, None, remote=True))
    assert "(0.0 MB more in the cache); about 3.1 MB in the server, 2.5 GB of its memory to search" in said


@pytest.mark.parametrize(("where", "place"), [(":memory:", "memory"), ("kept", "kept")])
def test_a_plan_says_where_the_index_will_be(where, place, movies):
    assert f" in {place}, " in str(plan(movies, load_encoders(["dense"]), where))


def test_the_cache_and_the_index_share_a_disk(tmp_path, own_cache, monkeypatch, windows):
    """Each fits alone; together they do not."""
    predicted = plan(windows, load_encoders(["colbert"]), tmp_path / "kept")
    free = max(predicted.cache_bytes, predicted.disk_bytes)
    assert os.stat(own_cache).st_dev == os.stat(tmp_path).st_dev
    monkeypatch.setattr("ragkit.engines.ingest.shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(RagkitError, match="Choose another place"):
        predicted.check()
    replace(predicted, cache_bytes=0).check()
