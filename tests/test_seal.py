"""A kept index is as it was closed, or it is told before anything is searched."""

import json
import re

import numpy as np
import pytest

from ragkit import RagkitError, Storage, VectorSpec, open_index
from ragkit.engines import seal

SPECS = {
    "dense": VectorSpec(24),
    "colbert": VectorSpec(8, True),
    "small": VectorSpec(24, storage=Storage(quantization="turbo4copy")),
    "bm25": VectorSpec(0, sparse=True),
}
DOC_IDS = [f"d{i}" for i in range(250)]


@pytest.fixture()
def vectors(rng):
    from ragkit.vectors import Sparse

    dense = list(rng.standard_normal((250, 24)).astype(np.float32))
    return {
        "dense": dense,
        "colbert": [rng.standard_normal((n, 8)).astype(np.float32) for n in rng.integers(1, 20, 250)],
        "small": dense,
        "bm25": [Sparse(np.array([i % 7, 9], np.uint32), np.array([1, 2], np.float32)) for i in range(250)],
    }


@pytest.fixture()
def kept(vectors, tmp_path):
    """A folder with an index that was stored, closed and opened again."""
    folder = tmp_path / "kept"
    with open_index(folder, SPECS, content="x") as index:
        index.add(DOC_IDS, vectors)
    open_index(folder, SPECS, content="x").close()
    return folder


def note(folder):
    return json.loads((folder / "ragkit.json").read_text("utf8"))


def files(folder, pattern):
    """The files whose path matches, each with where its first bytes are that are not zero."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and re.search(pattern, path.as_posix()):
            yield path, next((at for at, byte in enumerate(path.read_bytes()) if byte), 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "pattern",
    [
        "-dense/vectors/chunk_0",
        "-colbert/offsets/chunk_0",
        "bm25/store/page_0",
        "id_tracker.mappings",
        "quantized.data",
    ],
)
def test_a_byte_that_a_disk_changed_is_told_before_anything_is_searched(pattern, kept):
    found = list(files(kept, pattern))
    assert found
    for path, at in found:
        good = path.read_bytes()
        for changed in (good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :], good[:-1], good + b"\0"):
            path.write_bytes(changed)
            with pytest.raises(
                RagkitError, match=rf"kept is damaged: .*{path.name}.* delete the folder to build it an"
            ):
                open_index(kept, SPECS, content="x")
        path.write_bytes(good)
    open_index(kept, SPECS, content="x").close()


@pytest.mark.slow
def test_a_file_that_is_gone_or_came_is_told_and_a_file_managers_is_not(kept):
    path, _ = next(files(kept, "quantized.data"))
    (path.parent / ".DS_Store").write_bytes(b"icons")
    open_index(kept, SPECS, content="x").close()
    other = path.with_name("other.dat")
    path.rename(other)
    with pytest.raises(RagkitError, match=rf"({path.name} is missing|other.dat is there, and was not). Put it"):
        open_index(kept, SPECS, content="x")


@pytest.mark.slow
def test_opened_again_and_again_it_is_sound_and_finds_the_same(kept, vectors):
    query, found = vectors["dense"][3], []
    for _ in range(8):  # each time, Edge writes some of its small files anew
        with open_index(kept, SPECS, content="x") as index:
            found.append([index.search(query, "dense", 5), index.search(query, "small", 5)])
        assert note(kept)["documents"] == 250 and "files" in note(kept)
    assert all(each == found[0] for each in found)


@pytest.mark.slow
def test_while_documents_are_stored_the_note_promises_nothing(vectors, tmp_path, monkeypatch):
    folder = tmp_path / "kept"
    half = {name: arrays[:120] for name, arrays in vectors.items()}
    with open_index(folder, SPECS, content="x") as index:
        index.add(DOC_IDS[:120], half)
    assert note(folder)["documents"] == 120
    with open_index(folder, SPECS, content="x") as index:
        store, seen = index._upsert, []
        monkeypatch.setattr(index, "_upsert", lambda *batch: (store(*batch), seen.append(note(folder)))[0])
        index.add(DOC_IDS[120:], {name: arrays[120:] for name, arrays in vectors.items()})
        assert seen and all(each.keys() == {"vectors", "content"} for each in seen)
    assert note(folder)["documents"] == 250
    with open_index(folder, SPECS, content="x") as index:
        assert index.doc_ids == DOC_IDS


@pytest.mark.slow
def test_an_index_from_before_there_were_checksums_is_opened_and_gets_them(kept):
    (kept / "ragkit.json").write_text(json.dumps({key: note(kept)[key] for key in ("vectors", "content")}))
    with open_index(kept, SPECS, content="x") as index:
        assert index.doc_ids == DOC_IDS
    assert "files" in note(kept)


@pytest.mark.slow
@pytest.mark.parametrize("files", [[], 7, {"a": 1}, {"a": [1, [[1]]]}, {"a": ["many", []]}])
def test_checksums_that_are_none_are_told(files, kept):
    (kept / "ragkit.json").write_text(json.dumps(note(kept) | {"files": files}))
    with pytest.raises(RagkitError, match="(ragkit.json|kept) is damaged.* delete the folder"):
        open_index(kept, SPECS, content="x")


def test_holes_count_as_the_zeros_that_they_read_as(tmp_path):
    with open(tmp_path / "edge_config.json", "wb") as file:
        file.truncate(5 * seal.BLOCK)
        file.seek(3 * seal.BLOCK + 5)
        file.write(b"data")
    sealed = seal.seal(tmp_path)
    (size, blocks) = sealed["edge_config.json"]
    assert size == 5 * seal.BLOCK and list(blocks) == [3]
    (tmp_path / "edge_config.json").write_bytes((tmp_path / "edge_config.json").read_bytes())  # without holes
    assert seal.damage(tmp_path, sealed) is None


def test_of_a_large_index_some_blocks_are_looked_at_and_in_the_end_all(tmp_path, rng):
    path = tmp_path / "edge_config.json"
    path.write_bytes(rng.bytes(6 * seal.BLOCK))
    sealed = seal.seal(tmp_path)
    with open(path, "r+b") as file:
        file.seek(4 * seal.BLOCK + 9)
        file.write(b"damage")
    found = [seal.damage(tmp_path, sealed, most=2) for _ in range(60)]
    assert None in found and "edge_config.json holds other bytes than it did" in found
