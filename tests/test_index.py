import gc
import json
import os
import shutil
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from ragkit import Prefetch, RagkitError, Storage, VectorSpec, cli, open_index
from ragkit.encoders.encoder import Encoder
from ragkit.engines.edge import EdgeIndex
from ragkit.engines.index import Fusion
from ragkit.engines.local import LocalIndex
from ragkit.maxsim import maxsim
from ragkit.vectors import Sparse
from tests.processes import Killed, started

SPECS = {"dense": VectorSpec(24, False), "colbert": VectorSpec(8, True)}


@pytest.fixture()
def vectors(rng):
    lengths = rng.integers(1, 20, 350)
    return {
        "dense": list(rng.standard_normal((350, 24)).astype(np.float32)),
        "colbert": [rng.standard_normal((n, 8)).astype(np.float32) for n in lengths],
    }


DOC_IDS = [f"doc <{i}>" for i in range(350)]


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("where", [":memory:", "edge", None])
def test_every_engine_returns_what_a_naive_loop_does(where, vectors, rng, tmp_path, own_cache):
    where = str(tmp_path / "kept") if where == "edge" else where
    dense, colbert = rng.standard_normal(24).astype("f4"), rng.standard_normal((5, 8)).astype("f4")
    by_dense = {d: cosine(dense, v) for d, v in zip(DOC_IDS, vectors["dense"], strict=True)}
    by_colbert = {d: maxsim(colbert, v).score for d, v in zip(DOC_IDS, vectors["colbert"], strict=True)}
    with open_index(where, SPECS) as index:
        index.add(DOC_IDS, vectors)
        candidates = sorted(by_dense, key=by_dense.get, reverse=True)[:20]
        cases = [
            (index.search(dense, "dense", 15), by_dense),
            (index.search(colbert, "colbert", 15), by_colbert),
            (
                index.search(colbert, "colbert", 15, [Prefetch(dense, "dense", 20)]),
                {d: by_colbert[d] for d in candidates},
            ),
        ]
    for hits, scores in cases:
        expected = sorted(scores, key=scores.get, reverse=True)[:15]
        assert [doc_id for doc_id, _ in hits] == expected
        np.testing.assert_allclose([score for _, score in hits], [scores[d] for d in expected], atol=1e-5)


def test_a_rerank_returns_no_more_than_its_candidates(vectors, own_cache):
    with open_index(None, SPECS) as index:
        index.add(DOC_IDS, vectors)
        prefetch = Prefetch(vectors["dense"][0], "dense", 3)
        assert len(index.search(vectors["colbert"][0], "colbert", 100, [prefetch])) == 3


@pytest.mark.parametrize("where", [":memory:", None])
def test_ties_are_in_the_order_of_document_ids(where, own_cache):
    same = [np.array([1.0, 2.0], np.float32)] * 4
    with open_index(where, {"dense": VectorSpec(2, False)}) as index:
        index.add(["10", "9", "b", "a"], {"dense": same})
        assert [doc_id for doc_id, _ in index.search(same[0], "dense", 4)] == ["10", "9", "a", "b"]


@pytest.mark.slow
def test_a_folder_is_kept_and_a_temporary_one_is_not(vectors, tmp_path, own_cache):
    query = vectors["colbert"][5]
    with open_index(tmp_path / "kept", SPECS, content="x") as index:
        index.add(DOC_IDS, vectors)
        before = index.search(query, "colbert", 10)
    with open_index(tmp_path / "kept", SPECS, content="x") as index:
        assert index.doc_ids == DOC_IDS and index.search(query, "colbert", 10) == before
    with open_index(None, SPECS) as index:
        folder = index.folder
        assert folder.is_dir()
    assert not folder.exists()
    forgotten = open_index(None, SPECS)
    folder = forgotten.folder
    del forgotten
    gc.collect()
    assert not folder.exists()


def test_segments_that_edge_left_half_made_are_deleted(vectors, tmp_path, own_cache):
    folder, half_made = tmp_path / "kept", tmp_path / "kept" / "temp_segments" / "segment_builder_AbCdEf"
    with open_index(folder, SPECS) as index:
        index.add(DOC_IDS, vectors)
    half_made.mkdir(parents=True)
    (half_made / "version.info").write_text("0")
    note = json.loads((folder / "ragkit.json").read_text())  # of an ingest that was killed: without what was sealed
    (folder / "ragkit.json").write_text(json.dumps({key: note[key] for key in ("vectors", "content")}))
    with open_index(folder, SPECS) as index:
        assert not half_made.exists() and index.doc_ids == DOC_IDS


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path, vectors):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RagkitError, match="holds no index of ragkit; choose another"):
        open_index(tmp_path, SPECS)
    open_index(tmp_path / "kept", SPECS, content="x").close()
    for specs, content in ((SPECS, "y"), ({"dense": VectorSpec(3, False)}, "x")):
        with pytest.raises(RagkitError, match="holds another index"):
            open_index(tmp_path / "kept", specs, content=content)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def contents(folder):
    """Return every path in a folder, with a file's bytes and a link's target."""
    found = {}
    for path in folder.rglob("*"):
        target = os.readlink(path) if path.is_symlink() else None
        found[path.relative_to(folder).as_posix()] = target or (path.read_bytes() if path.is_file() else None)
    return found


def unfinished(folder):
    """Make what is there when the making of an index is interrupted before it has its note, which is written last."""
    open_index(folder, SPECS).close()
    (folder / "ragkit.json").unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "photos/a.jpg",
        "segments/a.wav",
        "temp_segments/mine/a.dat",
        "segments/{segment}/notes.txt",
        ".git/x",
    ],
)
def test_what_ragkit_did_not_make_is_named_and_nothing_is_deleted(name, tmp_path, own_cache):
    unfinished(tmp_path / "kept")
    (segment,) = (tmp_path / "kept" / "segments").iterdir()
    path = tmp_path / "kept" / name.format(segment=segment.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(RagkitError, match=rf"holds .*{path.name}.*, which ragkit did not make.* Nothing was deleted"):
        open_index(tmp_path / "kept", SPECS)
    assert contents(tmp_path) == before
    path.unlink()
    for parent in (path.parent, path.parent.parent):
        if parent.name in ("photos", ".git", "mine", "temp_segments"):
            parent.rmdir()
    open_index(tmp_path / "kept", SPECS).close()


def test_a_link_in_an_unfinished_folder_is_not_followed(tmp_path, own_cache):
    unfinished(tmp_path / "kept")
    shutil.move(tmp_path / "kept" / "segments", tmp_path / "mine")
    (tmp_path / "kept" / "segments").symlink_to(tmp_path / "mine", target_is_directory=True)
    before = contents(tmp_path)
    with pytest.raises(RagkitError, match="holds segments/, which ragkit did not make"):
        open_index(tmp_path / "kept", SPECS)
    assert contents(tmp_path) == before


@pytest.mark.slow
def test_documents_without_a_note_are_not_deleted(vectors, tmp_path, own_cache):
    with open_index(tmp_path / "kept", SPECS) as index:
        index.add(DOC_IDS, vectors)
    note = tmp_path / "kept" / "ragkit.json"
    text = note.read_text()
    note.unlink()
    before = contents(tmp_path)
    with pytest.raises(RagkitError, match="holds documents, and no ragkit.json tells what they are. Nothing was delet"):
        open_index(tmp_path / "kept", SPECS)
    assert contents(tmp_path) == before
    note.write_text(text)
    with open_index(tmp_path / "kept", SPECS) as index:
        assert index.doc_ids == DOC_IDS


@pytest.mark.slow
@pytest.mark.parametrize(
    "note", [b"", b'{"vectors": {"dense', b"null", b"[]", b'"\xff"', b"{}", b'{"vectors": {"a": 3}, "content": ""}']
)
def test_an_empty_or_torn_note_is_a_clear_error(note, tmp_path, own_cache):
    open_index(tmp_path / "kept", SPECS).close()
    (tmp_path / "kept" / "ragkit.json").write_bytes(note)
    before = contents(tmp_path)
    with pytest.raises(RagkitError, match="ragkit.json is empty or torn: .* delete the folder to build its index anew"):
        open_index(tmp_path / "kept", SPECS)
    assert contents(tmp_path) == before


def test_the_note_is_written_whole(tmp_path, own_cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(RagkitError, match="ragkit.json cannot be written .*No space"):
        patch.setattr("ragkit.files.os.replace", full)
        open_index(tmp_path / "kept", SPECS)
    assert not list((tmp_path / "kept").glob("*ragkit.json*"))
    open_index(tmp_path / "kept", SPECS).close()
    assert set(json.loads((tmp_path / "kept" / "ragkit.json").read_text())) == {"vectors", "content"}


def test_a_file_is_no_folder_for_an_index(tmp_path, own_cache, capsys, monkeypatch):
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    for command in (["search", "movies", "robots"], ["ingest", "movies"]):
        assert cli.main([*command, "--where", str(file)]) == 2
        assert "notes.txt is a file; expected a folder for the index" in capsys.readouterr().err
    monkeypatch.delenv("RAGKIT_MIRROR", raising=False)
    monkeypatch.setattr(Encoder, "_embed", None)  # told before anything is encoded
    assert cli.main(["compare", "movies", "--where", str(file)]) == 2
    for where, message in (
        (file, "is a file"),
        (file / "kept", "Not a dir"),
        (tmp_path / ("x" * 300), "name too long"),
    ):
        with pytest.raises(RagkitError, match=message):
            open_index(where, SPECS)
    assert file.read_text() == "mine"


# Temporary indexes


def die_with_a_temporary_index():
    index = open_index(None, SPECS)
    os.kill(os.getpid(), signal.SIGKILL)
    index.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_the_temporary_index_of_a_killed_run_is_swept_by_a_later_one(own_cache):
    started(die_with_a_temporary_index).join()
    (left,) = (own_cache / "edge").glob("*/")
    assert (left / "ragkit.json").exists()
    with open_index(None, SPECS) as index:
        assert list((own_cache / "edge").glob("*/")) == [index.folder]


def use_a_temporary_index(say):
    open_index(None, SPECS).close()


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_at_whatever_change_a_temporary_index_is_killed_it_is_swept_by_a_later_one(own_cache):
    changes = Killed(use_a_temporary_index).changes
    assert changes > 15
    for change in range(0, changes, 2):
        assert not Killed(use_a_temporary_index, change=change).ended
        assert len(list((own_cache / "edge").glob("*/"))) <= 1
    open_index(None, SPECS).close()
    assert os.listdir(own_cache / "edge") == ["ragkit.lock"]


@pytest.mark.slow
def test_only_temporary_indexes_that_nobody_uses_are_swept(own_cache, vectors):
    edge = own_cache / "edge"
    with open_index(None, SPECS) as used:
        used.add(DOC_IDS, vectors)
        with open_index(edge / "ragkit-kept0123", SPECS) as kept:
            kept.add(DOC_IDS, vectors)
        (edge / "ragkit-mine0123").mkdir()
        (edge / "ragkit-mine0123" / "notes.txt").write_text("mine")
        (edge / "ragkit.temporary").write_text("")
        before = contents(edge)
        index = open_index(None, SPECS)
        dead = index.folder
        index._remove.detach()  # as a kill would leave it
        index.close()
        (dead / "thesis.tex").write_text("mine")  # so it is no longer only ragkit's
        before |= {f"{dead.name}/{name}": data for name, data in contents(dead).items()} | {dead.name: None}
        open_index(None, SPECS).close()
        assert contents(edge) == before
        assert len(used.search(vectors["dense"][0], "dense", 5)) == 5
        (dead / "thesis.tex").unlink()
        open_index(None, SPECS).close()
        assert not dead.exists()
    with open_index(edge / "ragkit-kept0123", SPECS) as kept:
        assert kept.doc_ids == DOC_IDS


# Interrupted, damaged, full


class Interrupted:
    """Edge's shard, interrupted at one of its updates."""

    def __init__(self, shard, at):
        self.shard, self.left = shard, at

    def update(self, operation):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.shard.update(operation)

    def __getattr__(self, name):
        return getattr(self.shard, name)


@pytest.mark.slow
def test_what_an_interrupted_batch_has_stored_is_found_and_the_rest_can_follow(vectors, tmp_path, own_cache):
    documents = [dict(zip(vectors, row, strict=True)) for row in zip(*vectors.values(), strict=True)]
    queries = [(vectors[name][i], name) for name in vectors for i in range(0, 350, 50)]
    with open_index(None, SPECS) as index:
        index.stream(DOC_IDS, documents)
        expected = [index.search(*query, 20) for query in queries]
    with open_index(tmp_path / "kept", SPECS) as index:
        for stored in (40, 210, 300):  # before and after a segment is closed
            shard, index._shard = index._shard, Interrupted(index._shard, stored - len(index.doc_ids))
            with pytest.raises(KeyboardInterrupt):
                index.stream(DOC_IDS[len(index.doc_ids) :], documents[len(index.doc_ids) :])
            index._shard = shard
            assert index.doc_ids == DOC_IDS[:stored]
            assert {doc_id for doc_id, _ in index.search(*queries[0], 350)} == set(DOC_IDS[:stored])
        index.stream(DOC_IDS[300:], documents[300:])
        assert [index.search(*query, 20) for query in queries] == expected
    with open_index(tmp_path / "kept", SPECS) as index:
        assert index.doc_ids == DOC_IDS and [index.search(*query, 20) for query in queries] == expected


def test_a_search_between_an_interruption_and_the_rest_is_a_clear_error(vectors, monkeypatch):
    with open_index(":memory:", SPECS) as index:
        upsert = index.client.upsert

        def interrupted(*arguments, **settings):
            upsert(*arguments, **settings)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(index.client, "upsert", interrupted)
            index.add(DOC_IDS, vectors)
        with pytest.raises(RagkitError, match="is not whole: .* after 0 documents.* Store the rest first"):
            index.search(vectors["dense"][0], "dense", 5)
        index.add(DOC_IDS, vectors)
        assert len(index.search(vectors["dense"][0], "dense", 5)) == 5


@pytest.mark.slow
def test_a_search_that_finds_fewer_documents_than_it_must_is_an_error(vectors, own_cache):
    import qdrant_edge

    specs = SPECS | {"graph": VectorSpec(24, storage=Storage(hnsw_m=16)), "words": VectorSpec(0, sparse=True)}
    words = [Sparse(np.array([i % 7], np.uint32), np.ones(1, np.float32)) for i in range(350)]
    first = Prefetch(vectors["dense"][0], "dense", 350)
    with open_index(None, specs) as index:
        index.add(DOC_IDS, vectors | {"graph": vectors["dense"], "words": words})
        assert len(index.search(words[0], "words", 350)) == 50  # that many have the word
        assert len(index.search(vectors["colbert"][0], "colbert", 350, [first])) == 350
        assert len(index.fuse(Fusion((first, Prefetch(words[0], "words", 350))), 400)) == 350
        index._shard.update(qdrant_edge.UpdateOperation.delete_points([5]))  # behind its back
        for search in (
            lambda: index.search(first.vector, "dense", 350),
            lambda: index.search_batch([first.vector], "dense", 350),
            lambda: index.search(vectors["colbert"][0], "colbert", 350, [first]),
            lambda: index.fuse(Fusion((first, Prefetch(words[0], "words", 350))), 400),
        ):
            with pytest.raises(RagkitError, match="found 349 documents where it must find 350"):
                search()
        assert len(index.search(first.vector, "dense", 349)) == 349
        assert len(index.search(first.vector, "graph", 350)) == len(index.search(words[5], "words", 350)) + 300


def truncate(folder, name):
    paths = [path for path in folder.rglob(name) if path.parent.name in ("vectors", "offsets")]
    for path in paths:
        os.truncate(path, 0)
    assert paths


@pytest.mark.slow
def test_errors_and_panics_of_edge_name_the_folder_and_what_to_do(vectors, tmp_path, own_cache):
    for name in ("panic", "error"):
        with open_index(tmp_path / name, SPECS) as index:
            index.add(DOC_IDS, vectors)
            with pytest.raises(RagkitError, match=r"The query's dense has shape \(3,\), expected \(24,\)"):
                index.search(np.ones(3), "dense", 1)
            backwards = Sparse(np.array([1, 1], np.uint32), np.array([1.0, 2.0], np.float32))
            with pytest.raises(RagkitError, match=rf"{name} cannot be searched \(.*\). .* dense \(24,\), colbert"):
                index.search(backwards, "dense", 1)
        with pytest.raises(RagkitError, match=f"The index in .*{name} is closed"):
            index.search(vectors["dense"][0], "dense", 1)
    truncate(tmp_path / "panic", "status.dat")
    (segment,) = list((tmp_path / "error" / "segments").iterdir())[:1]
    (segment / "segment.json").write_text("{")
    for name in ("panic", "error"):  # as from before there were checksums, which would tell it first
        note = json.loads((tmp_path / name / "ragkit.json").read_text("utf8"))
        (tmp_path / name / "ragkit.json").write_text(json.dumps({key: note[key] for key in ("vectors", "content")}))
    for name, problem in (("panic", "index out of bounds"), ("error", "Service runtime error")):
        for _ in range(2):  # and its lock is given back
            match = rf"The index in .*{name} cannot be opened \({problem}.*\). Put .* delete the folder"
            with pytest.raises(RagkitError, match=match):
                open_index(tmp_path / name, SPECS)


def free(monkeypatch, sizes):
    """Have disks say that so many bytes are free, each time they are asked; the last for ever."""
    left = list(sizes)
    usage = lambda _: SimpleNamespace(free=left.pop(0) if len(left) > 1 else left[0])  # noqa: E731
    monkeypatch.setattr("shutil.disk_usage", usage)


@pytest.mark.slow
def test_a_full_disk_is_told_before_edge_dies_of_it(vectors, tmp_path, own_cache, monkeypatch):
    with monkeypatch.context() as patch:
        free(patch, [100_000])
        with pytest.raises(RagkitError, match="kept has 0.1 MB free, and 0.3 MB are needed. Make room"):
            open_index(tmp_path / "kept", SPECS)
    assert not (tmp_path / "kept").exists()
    monkeypatch.setattr(EdgeIndex, "batch_bytes", 20_000)
    index = open_index(tmp_path / "kept", SPECS)
    with monkeypatch.context() as patch, index:
        free(patch, [10_000_000, 10_000_000, 10_000_000, 200_000])
        with pytest.raises(RagkitError, match="0.2 MB free, .* documents are stored. Make room .* it continues there"):
            index.add(DOC_IDS, vectors)
    with open_index(tmp_path / "kept", SPECS) as index:
        stored = len(index.doc_ids)
        assert 20 < stored < 350
        index.add(DOC_IDS[stored:], {name: arrays[stored:] for name, arrays in vectors.items()})
        assert len(index.search(vectors["dense"][0], "dense", 350)) == 350


def test_batches_are_cut_by_floats_and_nothing_is_lost(monkeypatch, vectors):
    monkeypatch.setattr(LocalIndex, "batch_bytes", 2000)
    with open_index(":memory:", SPECS) as index:
        sizes = []
        upsert = index._upsert

        def watch(points, batch, doc_ids):
            sizes.append(sum(np.size(v) for vectors in batch for v in vectors.values()))
            upsert(points, batch, doc_ids)

        monkeypatch.setattr(index, "_upsert", watch)
        index.add(DOC_IDS, vectors)
        assert max(sizes) <= 500 and len(sizes) > 50
        assert index.client.count("ragkit").count == 350
        assert sum(sizes) == sum(a.size for arrays in vectors.values() for a in arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ids, v: (ids, {"dense": v["dense"]}), r"Got vectors \['dense'\]"),
        (lambda ids, v: ([*ids[:-1], ids[0]], v), "given twice"),
        (lambda ids, v: (ids, v | {"dense": v["dense"][:-1]}), "Got 349 dense vectors for 350 documents"),
        (lambda ids, v: (ids, v | {"dense": v["colbert"]}), "dense has shape .*, expected \\(24,\\)"),
        (lambda ids, v: (ids, v | {"colbert": [np.ones((0, 8), np.float32), *v["colbert"][1:]]}), r"shape \(0, 8\)"),
        (
            lambda ids, v: (ids, v | {"colbert": [np.ones((131_073, 8), np.float32), *v["colbert"][1:]]}),
            "at most 1,048,576 a point. Split the document",
        ),
    ],
)
def test_bad_vectors_are_refused_before_anything_is_written(change, message, vectors):
    with open_index(":memory:", SPECS) as index:
        with pytest.raises(RagkitError, match=message):
            index.add(*change(DOC_IDS, vectors))
        assert index.doc_ids == [] and index.client.count("ragkit").count == 0


def test_unknown_vectors_and_silent_servers_are_named():
    with open_index(":memory:", SPECS) as index, pytest.raises(RagkitError, match="no vectors 'sparse'"):
        index.search(np.ones(3), "sparse", 1)
    with pytest.raises(RagkitError, match="No Qdrant server answers at http://127.0.0.1:9"):
        open_index("http://127.0.0.1:9", SPECS)


@pytest.mark.parametrize("count", [2**31, 2**62, 2**64, 10**5_000], ids=["2^31", "2^62", "2^64", "5,000 digits"])
def test_a_limit_or_depth_beyond_all_documents_finds_all(count, vectors, tmp_path, own_cache):
    query = vectors["dense"][0]
    with open_index(tmp_path / "index", SPECS) as index:
        index.add(DOC_IDS, vectors)
        everything = index.search(query, "dense", len(DOC_IDS))
        assert index.search(query, "dense", count) == everything
        assert index.search(query, "dense", count, [Prefetch(query, "dense", count)]) == everything
        assert index.fuse(Fusion((Prefetch(query, "dense", count),)), count) == index.fuse(
            Fusion((Prefetch(query, "dense", len(DOC_IDS)),)), len(DOC_IDS)
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, 1j, "a", None])
def test_a_vector_that_is_no_numbers_is_neither_stored_nor_searched_by(value, vectors, tmp_path, own_cache):
    odd = np.array([value] * 24)
    with open_index(tmp_path / "index", SPECS) as index:
        with pytest.raises(RagkitError, match="not finite|array of numbers"):
            index.add(DOC_IDS, {**vectors, "dense": [odd] * len(DOC_IDS)})
        assert index.doc_ids == []
        index.add(DOC_IDS, vectors)
        with pytest.raises(RagkitError, match="not finite|array of numbers"):
            index.search(odd, "dense", 1)
