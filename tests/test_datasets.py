import functools
import http.server
import io
import os
import re
import shutil
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import ragkit
from ragkit import RagkitError
from ragkit.datasets import beir, catalogue, readers
from ragkit.datasets.catalogue import Known
from ragkit.datasets.qrels import read_judgments
from ragkit.files import sha256, write_sums

DOC = '{"_id": "d1", "title": "T", "text": "some text"}'
QUERY = '{"_id": "q1", "text": "a query"}'
QREL = "q1\td1\t1"


def test_every_pair_of_movie_and_query_is_judged(movies):
    assert len(movies.queries) >= 30
    pairs = set(zip(movies.qrels["query_id"], movies.qrels["doc_id"], strict=True))
    assert pairs == {(q, d) for q in movies.queries["query_id"] for d in movies.documents["doc_id"]}
    assert set(movies.qrels["relevance"]) == {0, 1, 2}
    best = movies.qrels.groupby("query_id")["relevance"].max()
    assert (best == 2).all()


def test_the_movie_queries_teach_what_they_should(movies, colbert):
    kinds = movies.queries["kind"].value_counts()
    assert {"tutorial", "paraphrase", "rare-name", "several", "negation", "two-needs", "long"} <= set(kinds.index)
    assert "A movie for kids with fantasy elements and wonders" in set(movies.queries["text"])
    long = [t for t in movies.queries["text"] if len(colbert.tokens(t, query=True)) > 32]
    assert len(long) >= 3


def test_movies_embed_the_description_as_the_tutorial_does(movies):
    assert movies.passages[0].startswith("In 1431, Jeanne d'Arc is placed on trial")


def test_folders_of_many_shapes_are_read(write_collection):
    folder = write_collection(
        [
            '{"_id": "a <b>&", "title": "", "text": "x", "metadata": {"url": "u"}, "extra": 1}',
            '{"_id": "with space", "text": "no title"}',
            "",
            '{"_id": 3, "title": "only a title"}',
            '{"_id": "empty", "title": "", "text": ""}',
        ],
        ['{"_id": "q 1", "text": "query", "metadata": {"kind": "keyword"}}', '{"_id": "q2", "text": "unjudged"}'],
        ["q 1\ta <b>&\t2", "q 1\twith space\t0", "q 1\tgone\t1", ""],
    )
    dataset = ragkit.load_beir(folder)
    assert dataset.documents["doc_id"].tolist() == ["a <b>&", "with space", "3", "empty"]
    assert dataset.passages == ["x", "no title", "only a title", ""]
    assert dataset.queries.to_dict("records") == [{"query_id": "q 1", "text": "query", "kind": "keyword"}]
    assert dataset.qrels["relevance"].tolist() == [2, 0, 1]  # an answer that is not there is one all the same
    counted = ("1 judgments name", "1 queries have no judgment", "1 documents are empty")
    assert len(dataset.notes) == 3
    assert all(what in note for what, note in zip(counted, dataset.notes, strict=True))


@pytest.mark.parametrize("header", [["query-id\tcorpus-id\tscore"], []])
def test_qrels_with_and_without_a_header_are_the_same(write_collection, header):
    dataset = ragkit.load_beir(write_collection([DOC], [QUERY], header + [QREL]))
    assert dataset.qrels.to_dict("records") == [{"query_id": "q1", "doc_id": "d1", "relevance": 1}]


def test_trecs_four_columns_are_read_too(write_collection):
    dataset = ragkit.load_beir(write_collection([DOC], [QUERY], ["q1\t0\td1\t2"]))
    assert dataset.qrels.to_dict("records") == [{"query_id": "q1", "doc_id": "d1", "relevance": 2}]


@pytest.mark.parametrize(
    ("corpus", "queries", "qrels", "message"),
    [
        ([DOC, "{broken"], [QUERY], [QREL], r"corpus.jsonl, line 2: not JSON"),
        ([DOC, "[1]"], [QUERY], [QREL], r"corpus.jsonl, line 2: expected a JSON object"),
        ([DOC, DOC], [QUERY], [QREL], r"corpus.jsonl, line 2: the _id 'd1' is there twice"),
        (['{"text": "x"}'], [QUERY], [QREL], r'corpus.jsonl, line 1: expected a text "_id", got None'),
        (['{"_id": "d1", "text": 5}'], [QUERY], [QREL], r'corpus.jsonl, line 1: "text" is int'),
        (['{"_id": "d1"}'], [QUERY], [QREL], r'corpus.jsonl, line 1: no "text"'),
        ([""], [QUERY], [QREL], r"corpus.jsonl: the file is empty"),
        ([DOC], ['{"_id": "q1", "text": " "}'], [QREL], r"queries.jsonl: the query 'q1' is empty"),
        ([DOC], [QUERY], ["q1 d1 1"], r"test.tsv, line 1: 1 tab-separated fields"),
        ([DOC], [QUERY], [QREL, "q1\td2\tmany"], r"test.tsv, line 2: the score is 'many'"),
        ([DOC], [QUERY], [QREL, "q1\td1\t2"], r"test.tsv, line 2: 'q1' and 'd1' are judged twice"),
        ([DOC], [QUERY], ["a\tb\tc"], r"test.tsv, line 1: the score is 'c'"),
        ([DOC], [QUERY], ["query-id\tcorpus-id\tscore"], r"test.tsv: no judgments"),
        ([DOC], [QUERY], ["other\td1\t1"], r"no judgment names a query .* 'other', the dataset such as 'q1'"),
    ],
)
def test_what_cannot_be_read_is_named_with_file_and_line(write_collection, corpus, queries, qrels, message):
    with pytest.raises(RagkitError, match=message):
        ragkit.load_beir(write_collection(corpus, queries, qrels))


def test_an_unknown_name_a_missing_split_and_too_few_documents_are_named(write_collection):
    with pytest.raises(RagkitError, match="No dataset 'scifacts'.*movies, .*scifact"):
        ragkit.load_beir("scifacts")
    folder = write_collection([DOC, DOC.replace("d1", "d2")], [QUERY], [QREL, "q1\td2\t1"])
    with pytest.raises(RagkitError, match="splits in this folder: test"):
        ragkit.load_beir(folder, split="dev")
    with pytest.raises(RagkitError, match="2 documents are judged, so a subset has at least as many; got 1"):
        ragkit.load_beir(folder, docs=1)
    with pytest.raises(RagkitError, match="movies come whole"):
        ragkit.load_dataset("movies", docs=5)


def test_a_subset_keeps_every_judged_document_and_is_always_the_same(write_collection):
    folder = write_collection([DOC.replace("d1", f"d{i}") for i in range(50)], [QUERY], [QREL, "q1\td7\t1"])
    one, two = (ragkit.load_beir(folder, docs=10).documents["doc_id"].tolist() for _ in range(2))
    assert one == two and len(one) == 10 and {"d1", "d7"} <= set(one)
    assert set(one) < set(ragkit.load_beir(folder, docs=20).documents["doc_id"])


# A small collection stands for SciFact where the way to it is tested: manifest, mirror, archive, address.


@pytest.fixture()
def known(write_collection, tmp_path, monkeypatch, own_cache):
    """A collection `tiny` that is known by name; returns its folder, a function that zips it, its address and md5."""
    folder = write_collection([DOC], [QUERY], ["query-id\tcorpus-id\tscore", QREL], name="source/beir/tiny")
    tables = readers.read_corpus(folder / "corpus.jsonl"), readers.read_queries(folder / "queries.jsonl")
    sums = beir.content_sha256(*tables, read_judgments(folder / "qrels" / "test.tsv")[0])
    manifest = {
        "name": "tiny",
        "sha256": {part: sums[part] for part in ("documents", "queries")},
        "splits": {"test": {"sha256": sums["qrels"]}},
    }
    place = {"url": "http://127.0.0.1:9/tiny.zip", "md5": "0" * 32}

    def lookup(name):
        return Known("tiny", ("test",), "tiny", manifest=manifest, **place) if name == "tiny" else None

    monkeypatch.setattr(beir, "lookup", lookup)
    monkeypatch.delenv("RAGKIT_MIRROR", raising=False)

    def zipped(path, extra=(), packed=zipfile.ZIP_STORED):
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", packed) as archive:
            for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
                archive.write(folder / name, f"tiny/{name}")
            for name in extra:
                archive.writestr(name, "outside")
        return path

    return folder, zipped, place


@pytest.fixture()
def served(tmp_path):
    """A web server on this machine over a folder; returns the folder and the address."""
    root = tmp_path / "web"
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield root, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def md5(path):
    import hashlib

    return hashlib.md5(path.read_bytes()).hexdigest()


def test_a_mirror_folder_is_read_in_place(known, monkeypatch, own_cache):
    folder, _, _ = known
    monkeypatch.setenv("RAGKIT_MIRROR", str(folder.parent.parent))
    assert len(ragkit.load_beir("tiny").documents) == 1
    assert not (own_cache / "beir" / "tiny").exists()


def test_a_mirror_with_an_archive_is_unpacked_once(known, monkeypatch, tmp_path, own_cache):
    monkeypatch.setenv("RAGKIT_MIRROR", str(tmp_path / "m"))
    known[1](tmp_path / "m" / "beir" / "tiny.zip")
    assert len(ragkit.load_beir("tiny").documents) == 1
    shutil.rmtree(tmp_path / "m")
    assert len(ragkit.load_beir("tiny").documents) == 1  # from the cache


@pytest.mark.parametrize("archived", [True, False])
def test_a_mirror_may_be_an_address(known, served, monkeypatch, archived):
    root, address = served
    if archived:
        known[1](root / "beir" / "tiny.zip")
    else:
        shutil.copytree(known[0], root / "beir" / "tiny")
    monkeypatch.setenv("RAGKIT_MIRROR", address)
    assert len(ragkit.load_beir("tiny").documents) == 1


def test_the_official_archive_is_checked_by_md5(known, served, own_cache):
    root, address = served
    archive = known[1](root / "tiny.zip")
    known[2].update(url=f"{address}/tiny.zip", md5="0" * 32)
    with pytest.raises(RagkitError, match="did not give it"):
        ragkit.load_beir("tiny")
    assert not list(own_cache.rglob("*tiny*"))
    known[2].update(md5=md5(archive))
    assert len(ragkit.load_beir("tiny").documents) == 1


def test_without_cache_mirror_and_network_the_message_says_what_to_do(known):
    with pytest.raises(RagkitError, match="set RAGKIT_MIRROR to a folder that holds beir/tiny/corpus.jsonl"):
        ragkit.load_beir("tiny")


ESCAPING = ["../escaped.txt", "/tmp/escaped.txt", "tiny/../../escaped.txt", "..\\escaped.txt", "C:escaped.txt"]


@pytest.mark.parametrize("member", ESCAPING)
def test_a_zip_member_that_would_escape_is_refused(known, monkeypatch, tmp_path, own_cache, member):
    monkeypatch.setenv("RAGKIT_MIRROR", str(tmp_path / "m"))
    known[1](tmp_path / "m" / "beir" / "tiny.zip", extra=[member])
    with pytest.raises(RagkitError, match="outside its folder; refused"):
        ragkit.load_beir("tiny")
    assert not list(tmp_path.rglob("escaped.txt")) and not Path("/tmp/escaped.txt").exists()
    assert not list((own_cache / "beir").iterdir())


PACKED = {
    "cut": (lambda content: content[: len(content) // 2], "not a readable zip"),
    "an HTML page": (lambda content: b"<!DOCTYPE html><title>Sign in</title>", "it is an HTML page"),
    "nothing": (lambda content: b"", "not a readable zip"),
    "encrypted": (lambda content: flagged(content, 6, 8, 1), "is encrypted. Unpack it yourself"),
    "packed by a method nobody knows": (lambda content: flagged(content, 8, 10, 77), "not a readable zip"),
    "a member without a name": (lambda content: content.replace(b"tiny/corpus.jsonl", bytes(17)), "not a readable zip"),
    "bytes that cannot be unpacked": (lambda content: garbled(content), "not a readable zip"),
}


def flagged(content, local, central, value):
    """The archive with a field of every local header and of every entry of its directory set to a value."""
    content = bytearray(content)
    for start, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        for found in re.finditer(re.escape(start), bytes(content)):
            content[found.start() + offset] = value
    return bytes(content)


def garbled(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        member = archive.infolist()[0]
    start = member.header_offset + 30 + len(member.filename)
    return content[:start] + bytes([255]) * member.compress_size + content[start + member.compress_size :]


@pytest.mark.slow
@pytest.mark.parametrize(("damage", "message"), PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("at", ["a folder", "an address"])
def test_an_archive_that_cannot_be_read_is_refused_and_not_kept(
    damage, message, at, known, served, monkeypatch, own_cache
):
    root, address = served
    archive = known[1](root / "beir" / "tiny.zip", packed=zipfile.ZIP_DEFLATED)
    good = archive.read_bytes()
    archive.write_bytes(damage(good))
    monkeypatch.setenv("RAGKIT_MIRROR", str(root) if at == "a folder" else address)
    with pytest.raises(RagkitError, match=message) as error:
        ragkit.load_beir("tiny")
    assert "Nothing that" in str(error.value) and "/.tiny" not in str(error.value)
    assert not [path for path in own_cache.rglob("*") if path.is_file() or path.name.startswith(".")]
    archive.write_bytes(good)
    assert len(ragkit.load_beir("tiny").documents) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
@pytest.mark.parametrize("archived", [True, False], ids=["archive", "files"])
def test_what_a_mirror_once_served_wrong_is_right_once_it_is_repaired(
    name, archived, known, served, monkeypatch, own_cache
):
    root, address = served
    folder = root / "beir" / "tiny"
    shutil.copytree(known[0], known[0].with_name("good"))
    shutil.copytree(known[0], folder)
    monkeypatch.setenv("RAGKIT_MIRROR", address)

    def serve(content):
        for path in (folder / name, known[0] / name):
            path.write_text(content, "utf8")
        if archived:
            known[1](root / "beir" / "tiny.zip")

    good = (folder / name).read_text("utf8")
    for wrong in ("<!DOCTYPE html>\n<title>Sign in</title>\n", good.replace("d1", "d2").replace("query", "quest")):
        serve(wrong)
        with pytest.raises(RagkitError, match="Nothing that http://127.0.0.1:[0-9]+/beir/tiny.* gave is kept"):
            ragkit.load_beir("tiny")
        assert not [path for path in own_cache.rglob("*") if path.is_file() or path.name.startswith(".")]
    serve(good)
    assert len(ragkit.load_beir("tiny").documents) == 1


def without_manifest(known, monkeypatch):
    lookup = beir.lookup
    monkeypatch.setattr(beir, "lookup", lambda name: replace(lookup(name), manifest=None))


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv", "SHA256SUMS"])
def test_a_file_of_the_cache_that_a_disk_changed_is_told_without_a_manifest_too(
    name, known, monkeypatch, tmp_path, own_cache
):
    without_manifest(known, monkeypatch)
    monkeypatch.setenv("RAGKIT_MIRROR", str(tmp_path / "m"))
    known[1](tmp_path / "m" / "beir" / "tiny.zip")
    good = ragkit.load_beir("tiny")
    path = own_cache / "beir" / "tiny" / name
    content = path.read_bytes()
    for changed in (content.replace(b"1", b"2"), b"", content[: len(content) // 2]):
        path.write_bytes(changed)
        with pytest.raises(RagkitError, match="tiny: .*damaged.* Delete that folder, and it is fetched"):
            ragkit.load_beir("tiny")
    path.unlink()
    if name != "SHA256SUMS":  # nobody vouches then, as in a cache from before there were lists
        with pytest.raises(RagkitError):
            ragkit.load_beir("tiny")
        shutil.rmtree(own_cache / "beir" / "tiny")
    assert ragkit.load_beir("tiny") == good


def test_a_file_of_a_mirror_is_the_one_that_its_list_vouches_for(known, monkeypatch, own_cache):
    without_manifest(known, monkeypatch)
    mirror = known[0].parent.parent
    monkeypatch.setenv("RAGKIT_MIRROR", str(mirror))
    write_sums(mirror, {f"beir/tiny/{path}": sha256(known[0] / path) for path in FILES})
    assert len(ragkit.load_beir("tiny").documents) == 1
    (known[0] / "queries.jsonl").write_text(QUERY.replace("a", "e"), "utf8")
    with pytest.raises(RagkitError, match="queries.jsonl is damaged.* Copy that file again"):
        ragkit.load_beir("tiny")


FILES = ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_a_mirrors_dataset_that_its_list_does_not_name_is_refused(name, known, monkeypatch, own_cache):
    without_manifest(known, monkeypatch)
    mirror = known[0].parent.parent
    monkeypatch.setenv("RAGKIT_MIRROR", str(mirror))
    write_sums(mirror, {f"beir/tiny/{path}": sha256(known[0] / path) for path in FILES if path != name})
    with pytest.raises(RagkitError, match=f"{name} is not in SHA256SUMS"):
        ragkit.load_beir("tiny")


def test_a_dataset_that_somebody_put_beside_those_of_a_list_is_read(known, monkeypatch, own_cache):
    without_manifest(known, monkeypatch)
    mirror = known[0].parent.parent
    monkeypatch.setenv("RAGKIT_MIRROR", str(mirror))
    write_sums(mirror, {"beir/tiny-too/corpus.jsonl": "0" * 64, "beir/tin": "0" * 64})
    assert len(ragkit.load_beir("tiny").documents) == 1
    archive = known[1](mirror / "beir" / "tiny.zip")
    shutil.rmtree(known[0])
    write_sums(mirror, {"beir/tiny.zip": "0" * 64})
    with pytest.raises(RagkitError, match="tiny.zip is damaged"):
        ragkit.load_beir("tiny")
    write_sums(mirror, {"beir/tiny.zip": sha256(archive)})
    assert len(ragkit.load_beir("tiny").documents) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("archived", [True, False], ids=["archive", "files"])
def test_what_is_unpacked_or_downloaded_may_be_read_by_whom_the_umask_lets(
    archived, known, served, monkeypatch, own_cache
):
    root, address = served
    known[1](root / "beir" / "tiny.zip") if archived else shutil.copytree(known[0], root / "beir" / "tiny")
    monkeypatch.setenv("RAGKIT_MIRROR", address)
    before = os.umask(0o022)
    try:
        ragkit.load_beir("tiny")
    finally:
        os.umask(before)
    paths = [own_cache / "beir" / "tiny", *(own_cache / "beir" / "tiny").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o755}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o644}


@pytest.mark.slow
@pytest.mark.parametrize("archived", [True, False], ids=["archive", "files"])
def test_an_empty_folder_in_the_cache_is_not_in_the_way(archived, known, served, monkeypatch, own_cache):
    root, address = served
    known[1](root / "beir" / "tiny.zip") if archived else shutil.copytree(known[0], root / "beir" / "tiny")
    monkeypatch.setenv("RAGKIT_MIRROR", address)
    (own_cache / "beir" / "tiny").mkdir(parents=True)
    assert len(ragkit.load_beir("tiny").documents) == 1


def test_what_is_in_the_way_in_the_cache_is_named_and_kept(known, monkeypatch, own_cache):
    monkeypatch.setenv("RAGKIT_MIRROR", str(known[1](own_cache.parent / "m" / "beir" / "tiny.zip").parent.parent))
    (own_cache / "beir" / "tiny").mkdir(parents=True)
    (own_cache / "beir" / "tiny" / "notes.txt").write_text("mine")
    with pytest.raises(RagkitError, match="tiny has no corpus.jsonl in it.*move it away"):
        ragkit.load_beir("tiny")
    assert (own_cache / "beir" / "tiny" / "notes.txt").read_text() == "mine"
    shutil.rmtree(own_cache / "beir" / "tiny")
    (own_cache / "beir" / "tiny").write_text("a file")
    with pytest.raises(RagkitError, match="tiny has no corpus.jsonl in it.*move it away"):
        ragkit.load_beir("tiny")
    shutil.rmtree(own_cache / "beir", ignore_errors=True), (own_cache / "beir").write_text("a file")
    with pytest.raises(RagkitError, match="tiny cannot be written .*RAGKIT_CACHE"):
        ragkit.load_beir("tiny")


def test_a_cache_below_a_file_is_named(known, monkeypatch, tmp_path):
    monkeypatch.setenv("RAGKIT_MIRROR", str(known[1](tmp_path / "m" / "beir" / "tiny.zip").parent.parent))
    (tmp_path / "file").write_text("a file")
    for place in ("file", "file/cache"):
        monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path / place))
        for call in (lambda: ragkit.load_beir("tiny"), lambda: beir.in_reach("tiny")):
            with pytest.raises(RagkitError, match=f"{place} cannot be made .*set RAGKIT_CACHE"):
                call()


@pytest.mark.parametrize("mirror", ["ftp://example.org/data", "s3://bucket"])
def test_a_mirror_of_another_kind_is_refused(mirror, known, monkeypatch):
    monkeypatch.setenv("RAGKIT_MIRROR", mirror)
    with pytest.raises(RagkitError, match="expected a folder, or an address that begins with http"):
        ragkit.load_beir("tiny")


def test_no_message_shows_the_password_of_a_mirror(known, served, monkeypatch):
    root, address = served
    monkeypatch.setenv("RAGKIT_MIRROR", address.replace("//", "//me:secret@"))
    with pytest.raises(RagkitError, match="127.0.0.1") as absent:
        ragkit.load_beir("tiny")
    known[1](root / "beir" / "tiny.zip").write_bytes(b"no zip")
    with pytest.raises(RagkitError, match="not a readable zip") as wrong:
        ragkit.load_beir("tiny")
    assert "secret" not in str(absent.value) + str(wrong.value)


def test_content_that_is_not_the_manifests_is_refused(known, monkeypatch):
    folder, _, _ = known
    monkeypatch.setenv("RAGKIT_MIRROR", str(folder.parent.parent))
    (folder / "corpus.jsonl").write_text(DOC.replace("some", "other"), "utf8")
    with pytest.raises(RagkitError, match="the documents are not those of tiny"):
        ragkit.load_beir("tiny")


@pytest.mark.parametrize(
    ("name", "part"),
    [("corpus", "title"), ("corpus", "text"), ("corpus", "doc_id"), ("queries", "text"), ("queries", "query_id")]
    + [("qrels", "query_id"), ("qrels", "doc_id"), ("qrels", "relevance")],
)
def test_the_content_hash_knows_every_column_that_counts(name, part, write_collection):
    folder = write_collection([DOC, DOC.replace("d1", "d2")], [QUERY], [QREL])
    tables = {
        "corpus": readers.read_corpus(folder / "corpus.jsonl"),
        "queries": readers.read_queries(folder / "queries.jsonl"),
        "qrels": read_judgments(folder / "qrels" / "test.tsv")[0],
    }
    before = beir.content_sha256(*tables.values())
    other = 2 if part == "relevance" else "another"
    changed = tables | {name: tables[name].assign(**{part: [other, *tables[name][part][1:]]})}
    after = beir.content_sha256(*changed.values())
    assert {key for key in after if after[key] != before[key]} == {"documents" if name == "corpus" else name}
    assert beir.content_sha256(*(table[::-1] for table in tables.values())) == before  # the order counts for nothing


@pytest.mark.scifact
def test_scifacts_subset_is_the_one_of_the_manifest():
    manifest = catalogue.manifests()["scifact"]
    subset, whole = ragkit.load_beir("scifact"), ragkit.load_beir("scifact", docs="all")
    assert (len(whole.documents), len(whole.queries), len(whole.qrels)) == (5183, 300, 339)
    assert sorted(subset.documents["doc_id"]) == sorted(manifest["subset"]["doc_ids"])
    assert len(subset.documents) == 1000 and set(subset.qrels["doc_id"]) <= set(subset.documents["doc_id"])
    assert "scores are higher" in subset.notes[0]


def test_the_manifest_is_whole():
    manifest = catalogue.manifests()["scifact"]
    ids = manifest["subset"]["doc_ids"]
    assert len(ids) == len(set(ids)) == manifest["subset"]["documents"] == 1000


@pytest.mark.slow
def test_an_archive_that_would_fill_a_disk_is_refused_before_it_is_unpacked(known, tmp_path, monkeypatch, own_cache):
    _, zipped, _ = known
    archive = zipped(tmp_path / "mirror" / "beir" / "tiny.zip", packed=zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as more, more.open("tiny/more.txt", "w") as member:
        for _ in range(36):
            member.write(bytes(2**24))  # 600 MB of zeros
    monkeypatch.setenv("RAGKIT_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(RagkitError, match="would unpack to 604.0 MB, which no archive of its size does"):
        ragkit.load_beir("tiny")
    assert not [path for path in own_cache.rglob("*") if path.is_file()]
