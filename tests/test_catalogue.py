"""Collections by the names that everybody knows: BEIR's, a mirror's, and those of ir_datasets."""

import hashlib
import json
import sys
import types
import zipfile
from collections import namedtuple

import pytest

import ragkit
from ragkit.datasets import catalogue, irds
from ragkit.datasets.beir import locate
from ragkit.files import write_sums
from ragkit.paths import data_dir

NAMES = {"msmarco", "trec-covid", "nfcorpus", "nq", "hotpotqa", "fiqa", "arguana", "webis-touche2020", "quora"}
NAMES |= {"dbpedia-entity", "scidocs", "fever", "climate-fever", "scifact", "cranfield"}


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def files(text):
    """The files of a collection of two documents and one judged query."""
    return {
        "corpus.jsonl": lines({"_id": "a", "text": text}, {"_id": "b", "text": "nothing"}),
        "queries.jsonl": lines({"_id": "q", "text": "which?"}),
        "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq\ta\t1\n",
    }


def test_every_public_collection_of_beir_is_known_by_its_name():
    known = catalogue.catalogue()
    assert set(known) >= NAMES and sum(name.startswith("cqadupstack/") for name in known) == 12
    for name, entry in known.items():
        assert entry.splits and (name == "cranfield" or len(entry.md5) == 32 and entry.url.endswith(".zip"))
    assert known["scifact"].md5 == "5f7d1de60b170fc8027bb7898e2efca1"  # BEIR's README
    assert known["nfcorpus"].splits == ("train", "dev", "test") and known["arguana"].splits == ("test",)


@pytest.mark.parametrize("packed", [True, False], ids=["archive", "files"])
def test_a_forum_of_cqadupstack_is_a_collection_of_its_own(packed, own_cache, tmp_path, monkeypatch):
    root = tmp_path / "mirror" / "beir"
    root.mkdir(parents=True)
    monkeypatch.setenv("RAGKIT_MIRROR", str(tmp_path / "mirror"))
    for forum in ("gis", "unix"):
        for name, text in files(f"about {forum}").items():
            path = root / "cqadupstack" / forum / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf8")
    if packed:
        with zipfile.ZipFile(root / "cqadupstack.zip", "w") as zipped:
            for path in sorted((root / "cqadupstack").rglob("*.*")):
                zipped.write(path, path.relative_to(root).as_posix())
                path.unlink()
    for name in ("cqadupstack/gis", "CQADupStack-unix"):
        dataset = ragkit.load_dataset(name)
        assert dataset.name == name.lower().replace("/", "-")
        assert dataset.documents["text"][0] == f"about {dataset.name.rpartition('-')[2]}"


def test_a_collection_that_only_a_mirror_has_says_so(own_cache, monkeypatch):
    monkeypatch.delenv("RAGKIT_MIRROR", raising=False)
    with pytest.raises(ragkit.RagkitError, match="cranfield is not in the cache .* BEIR has no archive of it: set"):
        ragkit.load_dataset("cranfield")


def test_a_name_that_nobody_knows_is_told_which_there_are():
    with pytest.raises(ragkit.RagkitError, match="nfcorpus, .* cqadupstack/gis, and irds:"):
        locate("nf-corpus")


@pytest.mark.scifact
def test_cranfield_is_what_its_manifest_was_made_from():
    dataset = ragkit.load_dataset("cranfield")
    assert (len(dataset.documents), len(dataset.queries)) == (1400, 225)
    assert set(dataset.qrels["relevance"]) == {1, 2, 3, 4}
    subset = ragkit.load_dataset("cranfield", docs=1200)
    judged = set(dataset.qrels["doc_id"])
    others = set(subset.documents["doc_id"]) - judged
    rest = set(dataset.documents["doc_id"]) - judged
    expected = sorted(rest, key=lambda doc_id: hashlib.sha256(doc_id.encode()).hexdigest())[: 1200 - len(judged)]
    assert judged <= set(subset.documents["doc_id"]) and others == set(expected)


# ir_datasets, of which only the shape is needed: it downloads what it reads.

Doc = namedtuple("Doc", "doc_id title text")
Untitled = namedtuple("Untitled", "doc_id body default_text")
Query = namedtuple("Query", "query_id text")
Qrel = namedtuple("Qrel", "query_id doc_id relevance iteration")


class Source:
    def __init__(self, documents, has_qrels=True):
        self.documents, self.has_qrels = documents, lambda: has_qrels
        self.queries = [Query("1", "a question"), Query("2", "nobody judged")]
        self.qrels = [Qrel("1", "d3", 2, "0"), Qrel("1", "gone", 1, "0")]
        self.has_docs = self.has_queries = lambda: True

    def dataset_id(self):
        return "tiny"

    def docs_count(self):
        return len(self.documents)

    def docs_iter(self):
        return iter(self.documents)

    def queries_iter(self):
        return iter(self.queries)

    def qrels_iter(self):
        return iter(self.qrels)


@pytest.fixture()
def library(monkeypatch):
    """ir_datasets with one collection of twenty documents, and one without judgments."""
    sources = {
        "tiny/test": Source([Doc(f"d{i}", f"title {i}", f"text {i}") for i in range(20)]),
        "tiny": Source([], has_qrels=False),
        "other/test": Source([Untitled(f"d{i}", "", lambda i=i: f"body {i}") for i in range(4)]),
    }
    module = types.SimpleNamespace(load=sources.__getitem__, registry=sources)
    monkeypatch.setitem(sys.modules, "ir_datasets", module)
    return sources


def test_a_collection_of_ir_datasets_is_read_by_its_name(library):
    dataset = ragkit.load_dataset("irds:tiny/test")
    assert dataset.name == "irds-tiny-test" and len(dataset.documents) == 20
    assert dataset.documents.iloc[3].tolist() == ["d3", "title 3", "text 3"]
    assert dataset.qrels.values.tolist() == [["1", "d3", 2], ["1", "gone", 1]] and dataset.queries[
        "query_id"
    ].tolist() == ["1"]
    assert dataset.notes[0].startswith("1 judgments name a document that is not in the dataset, such as 'gone'")
    assert ragkit.load_dataset("irds:other/test").documents["text"].tolist() == [f"body {i}" for i in range(4)]


def test_a_subset_of_ir_datasets_is_the_judged_documents_and_the_smallest_hashes(library):
    dataset = ragkit.load_dataset("irds:tiny/test", docs=6)
    others = sorted(set(range(20)) - {3}, key=lambda i: hashlib.sha256(f"d{i}".encode()).hexdigest())[:5]
    assert dataset.documents["doc_id"].tolist() == [f"d{i}" for i in sorted([3, *others])]  # in the source's order
    assert "a subset of 6 documents" in dataset.notes[-1]


def test_queries_of_ir_datasets_that_nothing_can_answer_may_be_left_out(library):
    library["tiny/test"].qrels.append(Qrel("2", "gone", 1, "0"))
    dataset = ragkit.load_dataset("irds:tiny/test", unanswerable="leave out")
    assert dataset.queries["query_id"].tolist() == ["1"] and len(dataset.notes) == 2
    assert dataset.notes[1] == "1 queries, of which no relevant document is there, are left out, as asked"


def test_empty_documents_of_ir_datasets_are_counted(library):
    library["tiny/test"].documents[7] = Doc("d7", "", " ")
    assert ragkit.load_dataset("irds:tiny/test").notes[-1].startswith("1 documents are empty")


@pytest.mark.parametrize(
    ("part", "row", "message"),
    [
        ("queries", Query("1", " "), "irds:tiny/test, queries: the query '1' is empty, but judged"),
        ("qrels", Qrel("1", "d3", 0, "0"), "irds:tiny/test, qrels, row 2: '1' and 'd3' are judged twice, differently"),
        ("documents", Doc("d0", "", "text 0"), "irds:tiny/test, documents, row 2: the doc_id 'd0' is there twice"),
    ],
)
def test_what_a_file_may_not_hold_ir_datasets_may_not_either(part, row, message, library):
    rows = getattr(library["tiny/test"], part)
    rows[0 if part == "queries" else 1] = row
    with pytest.raises(ragkit.RagkitError, match=message):
        ragkit.load_dataset("irds:tiny/test")


def test_a_collection_of_ir_datasets_without_a_judged_query_is_refused(library):
    library["tiny/test"].queries = [Query("2", "nobody judged")]
    with pytest.raises(ragkit.RagkitError, match="irds:tiny/test: no query has a judgment, so there is nothing to"):
        ragkit.load_dataset("irds:tiny/test")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("irds:tiny", "no qrels under 'tiny'. Perhaps tiny/test"),
        ("irds:tin", "knows no 'tin'; near it are tiny, tiny/test"),
        ("irds:nothing", "knows no 'nothing'; see https://ir-datasets.com"),
    ],
)
def test_what_ir_datasets_has_not_is_named(name, message, library):
    with pytest.raises(ragkit.RagkitError, match=message):
        ragkit.load_dataset(name)
    with pytest.raises(ragkit.RagkitError, match="The name says the split"):
        ragkit.load_dataset(name, split="dev")


def test_without_ir_datasets_the_message_says_how_to_have_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(ragkit.RagkitError, match="pip install ir-datasets"):
        ragkit.load_dataset("irds:cranfield")


def test_a_download_that_fails_is_one_sentence(library, monkeypatch):
    def fail(self):
        raise RuntimeError("All download sources failed" + "!" * 900)

    monkeypatch.setattr(Source, "docs_iter", fail)
    with pytest.raises(ragkit.RagkitError, match="could not get the files of 'tiny/test'") as told:
        irds.read("tiny/test")
    assert len(str(told.value)) < 400


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, "9" * 5_000, '{"name": 3, "splits": 3, "sha256": 3}'])
def test_a_manifest_that_is_none_is_named(text, tmp_path, monkeypatch):
    own = data_dir()
    (tmp_path / "beir").mkdir()
    files = {"beir/toy.json": text.encode(), "beir_archives.json": (own / "beir_archives.json").read_bytes()}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    write_sums(tmp_path, {name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
    monkeypatch.setenv("RAGKIT_DATA", str(tmp_path))
    with pytest.raises(ragkit.RagkitError, match="toy.json is no JSON object with name, splits, sha256"):
        ragkit.load_beir("toy")
