"""A dataset from three DataFrames, held to the rules that files are held to."""

import json

import numpy as np
import pandas as pd
import pytest

import ragkit
from ragkit import Dataset, RagkitError

DOCUMENTS = pd.DataFrame({"doc_id": ["a", "b"], "title": ["", "T"], "text": ["a red fish", "a blue bird"]})
QUERIES = pd.DataFrame({"query_id": ["q1", "q2"], "text": ["fish", "bird"], "kind": ["", "x"]})
QRELS = pd.DataFrame({"query_id": ["q1", "q2"], "doc_id": ["a", "b"], "relevance": [1, 2]})


def test_frames_and_files_of_the_same_content_are_equal_datasets(write_collection):
    documents = [json.dumps({"_id": d.doc_id, "title": d.title, "text": d.text}) for d in DOCUMENTS.itertuples()]
    queries = [
        json.dumps({"_id": q.query_id, "text": q.text, "metadata": {"kind": q.kind}}) for q in QUERIES.itertuples()
    ]
    qrels = [f"{q.query_id}\t{q.doc_id}\t{q.relevance}" for q in QRELS.itertuples()]
    folder = write_collection(documents, queries, qrels, name="pets")
    assert Dataset.from_frames(DOCUMENTS, QUERIES, QRELS, name="pets") == ragkit.load_beir(folder)


@pytest.mark.slow
def test_the_movies_make_the_same_dataset_again_and_can_be_compared(movies):
    shuffled = (frame.set_axis(range(7, 7 + len(frame))) for frame in (movies.documents, movies.queries, movies.qrels))
    again = Dataset.from_frames(*shuffled, name="movies", with_titles=False)
    assert again == movies
    means = [ragkit.compare(d, ["dense"], where=":memory:").systems[0].means.to_dict() for d in (movies, again)]
    assert means[0] == means[1]


def test_title_and_kind_may_be_left_out_and_other_columns_are_ignored():
    made = Dataset.from_frames(
        DOCUMENTS.drop(columns="title").assign(extra=np.nan), QUERIES[["query_id", "text"]], QRELS
    )
    assert made.documents.columns.tolist() == ["doc_id", "title", "text"] and made.passages == [
        "a red fish",
        "a blue bird",
    ]
    assert made.queries["kind"].tolist() == ["", ""] and made.name == "mine"


@pytest.mark.parametrize("dtype", ["int64", "int32", "Int64", object])
def test_whole_numbers_as_ids_become_text(dtype):
    documents = DOCUMENTS.assign(
        doc_id=pd.Series([7, 10**15], dtype="int64").astype(dtype)
        if dtype != "int32"
        else pd.Series([7, 8], dtype="int32")
    )
    second = str(documents["doc_id"].iloc[1])
    made = Dataset.from_frames(documents, QUERIES, QRELS.assign(doc_id=["7", second]))
    assert made.documents["doc_id"].tolist() == ["7", second] and made.qrels["doc_id"].tolist() == ["7", second]


def test_an_index_is_not_taken_for_the_ids_whatever_its_name():
    made = Dataset.from_frames(DOCUMENTS.rename_axis("id"), QUERIES.rename_axis("qid"), QRELS.rename_axis("docno"))
    assert made == Dataset.from_frames(DOCUMENTS, QUERIES, QRELS)


def test_what_is_given_is_not_changed_and_not_kept():
    before = [frame.copy() for frame in (DOCUMENTS, QUERIES, QRELS)]
    made = Dataset.from_frames(DOCUMENTS, QUERIES, QRELS)
    made.documents.loc[0, "text"] = "another"
    for frame, copy in zip((DOCUMENTS, QUERIES, QRELS), before, strict=True):
        pd.testing.assert_frame_equal(frame, copy)


def test_queries_without_a_judgment_and_empty_documents_are_counted():
    made = Dataset.from_frames(DOCUMENTS.assign(title="", text=["a red fish", " "]), QUERIES, QRELS.head(1))
    assert made.queries["query_id"].tolist() == ["q1"]
    assert made.notes[0] == "1 queries have no judgment and were left out" and "1 documents are empty" in made.notes[1]


def test_judgments_that_do_not_fit_are_held_to_the_rules_of_files():
    made = Dataset.from_frames(DOCUMENTS, QUERIES, QRELS.assign(doc_id=["a", "c"]))
    assert len(made.qrels) == 2 and "1 judgments name a document that is not in the dataset" in made.notes[0]


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("documents", {"doc_id": ["a", "a"]}, r"documents, row 2: the doc_id 'a' is there twice"),
        ("documents", {"doc_id": [1, "1"]}, r"documents, row 2: the doc_id '1' is there twice"),
        ("documents", {"doc_id": ["a", np.nan]}, r"documents, row 2: doc_id is missing"),
        ("documents", {"doc_id": [1.0, 2.0]}, r'documents, row 1: expected a text "doc_id", got 1.0'),
        ("documents", {"doc_id": [True, False]}, r'documents, row 1: expected a text "doc_id", got True'),
        ("documents", {"doc_id": ["", "b"]}, r"documents, row 1: .*''"),
        ("documents", {"text": ["a", None]}, r"documents, row 2: text is missing"),
        ("documents", {"text": ["a", pd.NA]}, r"documents, row 2: text is missing"),
        ("documents", {"text": ["a", 5]}, r'documents, row 2: "text" is int, expected text'),
        ("documents", {"text": ["a", ["b"]]}, r'documents, row 2: "text" is list, expected text'),
        ("documents", {"text": ["a", "half \ud83d"]}, r"documents, row 2: character 6 is half a character"),
        ("documents", {"doc_id": ["a", "b\0"]}, r"documents, row 2: the id .* holds a NUL character"),
        ("documents", {"title": ["a", np.nan]}, r"documents, row 2: title is missing"),
        ("queries", {"query_id": ["q", "q"]}, r"queries, row 2: the query_id 'q' is there twice"),
        ("queries", {"text": ["fish", "  "]}, r"queries: the query 'q2' is empty, but judged"),
        ("queries", {"kind": ["", None]}, r"queries, row 2: kind is missing"),
        ("qrels", {"doc_id": ["c", "d"]}, "qrels: no judgment names a document of this dataset: .* 'c', .* 'a'"),
        ("qrels", {"query_id": ["q8", "q9"]}, "qrels: no judgment names a query of this dataset"),
        ("qrels", {"relevance": [1, 0.5]}, r"qrels, row 2: the score is 0.5, expected a whole number"),
        ("qrels", {"relevance": [1, np.nan]}, r"qrels, row 2: relevance is missing"),
        ("qrels", {"relevance": [1, np.inf]}, r"qrels, row 2: the score is inf"),
        ("qrels", {"relevance": [1, "b"]}, r"qrels, row 2: the score is 'b'"),
        ("qrels", {"relevance": [1, 2**40]}, r"qrels, row 2: the score is .*; the largest grade is"),
        ("qrels", {"relevance": [True, False]}, r"qrels, row 1: the score is True"),
        ("qrels", {"query_id": "q1", "doc_id": "a"}, r"qrels, row 2: 'q1' and 'a' are judged twice, differently"),
    ],
)
def test_a_row_that_a_file_could_not_hold_is_named(part, change, message):
    frames = {"documents": DOCUMENTS, "queries": QUERIES, "qrels": QRELS}
    frames[part] = frames[part].astype(object).assign(**change)
    with pytest.raises(RagkitError, match=message):
        Dataset.from_frames(**frames)


@pytest.mark.parametrize(
    ("part", "given", "message"),
    [
        (
            "documents",
            DOCUMENTS.drop(columns="text"),
            "documents: no column text; expected doc_id, text and perhaps title",
        ),
        (
            "queries",
            QUERIES.rename(columns={"query_id": "id"}),
            "queries: no column query_id;.* there are: id, text, kind",
        ),
        ("qrels", QRELS.set_index(["query_id", "doc_id"]), "qrels: no column query_id, doc_id"),
        ("qrels", QRELS.to_dict("records"), "qrels: expected a DataFrame .* got list"),
        ("documents", DOCUMENTS.head(0), "documents: the DataFrame is empty"),
        ("qrels", QRELS.head(0), "qrels: the DataFrame is empty"),
        ("documents", pd.concat([DOCUMENTS, DOCUMENTS[["text"]]], axis=1), "documents: two columns have the same name"),
        ("name", "a/b", "name: expected a text without slashes"),
        ("name", "", "name: expected"),
        ("name", "a\nb", "name: expected"),
        ("name", None, "name: expected"),
    ],
)
def test_what_is_no_such_frame_or_name_is_told(part, given, message):
    arguments = {"documents": DOCUMENTS, "queries": QUERIES, "qrels": QRELS} | {part: given}
    with pytest.raises(RagkitError, match=message):
        Dataset.from_frames(**arguments)
