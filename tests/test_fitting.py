"""Who is in a mean: judgments that fit or do not, queries without an answer, a query's own document."""

import json

import pandas as pd
import pytest

import ragkit
from ragkit.datasets.fitting import fit, own_documents, without_answer
from ragkit.display import tables

TEXTS = ["a cat on a warm mat", "a dog behind a postman", "panels that turn light into current", "bread from rye flour"]
ASKED = ["cat", "dog", "solar panels", "rye bread"]


def lines(**columns):
    return [json.dumps(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


@pytest.fixture()
def made(write_collection):
    """Return a function from qrels lines (and ids) to a dataset of four texts and four queries."""

    def make(qrels, ids=("d0", "d1", "d2", "d3"), queries=("q0", "q1", "q2", "q3"), asked=ASKED, **options):
        corpus, questions = lines(_id=ids, text=TEXTS), lines(_id=queries, text=asked)
        folder = write_collection(corpus, questions, ["query-id\tcorpus-id\tscore", *qrels])
        return ragkit.load_dataset(folder, **options)

    return make


@pytest.mark.slow
def test_a_query_whose_answer_is_not_there_counts_as_0_and_the_means_are_told_both_ways(made, own_cache):
    dataset = made(["q0\td0\t1", "q1\td1\t1", "q2\tgone\t1", "q3\td3\t1", "q3\tlost\t1"])
    assert len(dataset.queries) == 4 and "such as 'gone'" in dataset.notes[0]
    comparison = ragkit.compare(dataset, ["bm25"], where=":memory:")
    values = comparison.values()["bm25"]
    assert values["q2"] == 0 and values["q0"] == 1
    # Of q3 one of two relevant documents is there: the best possible DCG is that of both.
    assert values["q3"] == pytest.approx(1 / (1 + 1 / 1.5849625))
    (note,) = [note for note in comparison.notes if "count as 0" in note]
    assert note.startswith("1 of 4 queries count as 0 for every system (of 1 no relevant document is in the dataset)")
    assert f"without them nDCG@10 is bm25 {values.drop('q2').mean():.3f}" in note


def test_queries_without_an_answer_are_left_out_where_the_user_says_so(made):
    dataset = made(["q0\td0\t1", "q1\tgone\t1", "q2\td2\t0"], unanswerable="leave out")
    assert dataset.queries["query_id"].tolist() == ["q0", "q2"]  # q2's judgments are there, and are 0
    assert "1 queries, of which no relevant document is there, are left out, as asked" in dataset.notes


@pytest.mark.slow
def test_queries_whose_judgments_are_all_0_are_counted(made, own_cache):
    comparison = ragkit.compare(made(["q0\td0\t1", "q1\td1\t0", "q2\td2\t0"]), ["bm25"], where=":memory:")
    assert "2 of 3 queries count as 0 for every system (of 2 all judgments are 0)" in comparison.notes[-1]


def test_a_document_without_relevance_is_no_answer():
    qrels = pd.DataFrame({"query_id": ["a", "a", "b"], "doc_id": ["x", "y", "x"], "relevance": [0, 1, 1]})
    assert without_answer(qrels, ["x", "y"]) == [] and without_answer(qrels, ["x"]) == ["a"]


@pytest.mark.parametrize(
    ("ids", "qrels", "told"),
    [
        (
            ["D0", "D1", "D2", "D3"],
            ["q0\td0\t1", "q1\td1\t1"],
            r"such as 'd0', the dataset such as 'D0' \(.*by case\)",
        ),
        (["a\u03080", "a\u03081", "a\u03082", "a\u03083"], ["q0\tä0\t1", "q1\tä1\t1"], "by Unicode form"),
        (["007", "008", "009", "010"], ["q0\t7\t1", "q1\t8\t1"], "by leading zeros"),
        (["doc-7", "doc-8", "doc-9", "doc-10"], ["q0\t7\t1", "q1\t8\t1"], r"the dataset's begin with 'doc-'"),
        (["7", "8", "9", "10"], ["q0\tdoc-7\t1", "q1\tdoc-8\t1"], r"the judgments' begin with 'doc-'"),
        (["a", "b", "c", "d"], ["q0\tx\t1"], r"such as 'x', the dataset such as 'a'\. Are they"),
    ],
)
def test_judgments_of_no_document_here_are_refused_with_an_id_of_each_side(made, ids, qrels, told):
    with pytest.raises(ragkit.RagkitError, match=rf"test.tsv: no judgment names a document of this .*{told}"):
        made(qrels, ids)


def test_judgments_of_no_query_here_are_refused(made):
    with pytest.raises(ragkit.RagkitError, match=r"no judgment names a query .* 'Q0', .* 'q0' \(they differ by case\)"):
        made(["Q0\td0\t1"])


def test_some_judgments_of_other_queries_are_left_out_with_a_note(made):
    dataset = made(["q0\td0\t1", "elsewhere\td1\t1"])
    assert dataset.notes[0].startswith("1 judgments are of queries that are not there, such as 'elsewhere'")
    assert dataset.qrels.values.tolist() == [["q0", "d0", 1]]


def test_what_fits_brings_no_note(movies):
    queries, qrels, notes = fit(movies.documents, movies.queries, movies.qrels, "movies")
    assert notes == [] and queries.equals(movies.queries) and qrels.equals(movies.qrels)


# A query that is a document of the collection, too


@pytest.mark.slow
def test_a_querys_own_document_is_left_out_of_its_results_as_beir_does(made, own_cache):
    ids = [f"a{i}" for i in range(4)]
    asked = [TEXTS[0].upper(), *TEXTS[1:3], f" {TEXTS[3]} "]  # case and spaces do not matter
    dataset = made([f"a{i}\ta{(i + 1) % 4}\t1" for i in range(4)], ids, ids, asked)
    runs = {"own": pd.DataFrame({"query_id": ids, "doc_id": ids, "score": 2.0})}
    runs["own"] = pd.concat([runs["own"], runs["own"].assign(doc_id=[*ids[1:], ids[0]], score=1.0)])
    comparison = ragkit.compare(dataset, ["dense", "dense+colbert"], runs=runs, depth=3, where=":memory:")
    assert any(note.startswith("4 of 4 queries are documents of the dataset, too") for note in comparison.notes)
    for system in comparison.systems:
        results = system.results
        assert not (results["query_id"] == results["doc_id"]).any() and set(
            results.groupby("query_id")["rank"].min()
        ) == {1}
    assert len(comparison["dense→colbert"].results) == 12  # each rerank has its three candidates all the same
    assert comparison["own"].values["RR@10"].tolist() == [1.0] * 4  # with it: 0.5


@pytest.mark.slow
def test_queries_and_documents_that_are_both_merely_numbered_are_kept(made, own_cache):
    ids = ["0", "1", "2", "3"]
    dataset = made([f"{i}\t{i}\t1" for i in range(4)], ids, ids)
    assert own_documents(dataset.documents, dataset.queries) == (set(), [])
    comparison = ragkit.compare(dataset, ["bm25"], where=":memory:")
    assert comparison.values()["bm25"].mean() == 1 and comparison.notes == ()


# Documents that nobody judged


@pytest.mark.slow
def test_the_share_of_judged_documents_is_shown_where_it_is_below_1(made, movies, own_cache):
    dataset = made(["q0\td0\t1", "q0\td1\t0", "q1\td1\t1"])
    comparison = ragkit.compare(dataset, ["dense"], where=":memory:")
    found = comparison["dense"].results.merge(dataset.qrels, how="left", on=["query_id", "doc_id"])
    share = found["relevance"].notna().groupby(found["query_id"]).mean().mean()  # all four documents are found
    assert comparison["dense"].judged == pytest.approx(share) == pytest.approx(0.375)
    assert "Judged@10" in tables.quality(comparison) and "0.375" in tables.quality(comparison)
    assert comparison.to_dict()["systems"][0]["Judged@10"] == pytest.approx(0.375)
    everything = ragkit.compare(movies, ["dense"], where=":memory:")
    assert everything["dense"].judged == 1 and "Judged@10" not in tables.quality(everything)
    assert "Judged@10" not in tables.cost(comparison)
