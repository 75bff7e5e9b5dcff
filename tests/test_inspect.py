"""inspect: each fault is found in a dataset that was made to have it, and in none that has it not."""

import hashlib
import json
import random
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tokenizers import Tokenizer

import ragkit
from ragkit import Dataset, load_encoder
from ragkit.cli import main
from ragkit.datasets import passages
from ragkit.datasets.inspecting import (
    Reading,
    documents_as_queries,
    duplicates,
    empty,
    form,
    language,
    similar_ids,
    truncation,
)
from ragkit.datasets.passages import Piece
from ragkit.display import tables
from ragkit.display.report import render
from ragkit.display.verdicts import inspection_in_full, inspection_in_short
from ragkit.encoders import embedded
from ragkit.encoders.encoder import ModelReader
from ragkit.encoders.variants import load_readers
from ragkit.evaluation import inspecting
from ragkit.evaluation.agreement import agreement
from ragkit.evaluation.inspecting import SPREADS, corrected, estimated, judgments
from ragkit.evaluation.retriever import Retriever
from ragkit.evaluation.statistics import detectable
from ragkit.evaluation.systems import System

ROOT = Path(__file__).resolve().parent.parent
ARABIC = ["قدمت الحكومة أمس مشروع قانون بشأن الطاقة.", "كيف أجدد بطاقة الهوية؟", "القطار متأخر اليوم بسبب عطل."]
CHINESE = ["政府昨天提出了一项关于能源转型的法案。", "如何更换身份证？", "火车今天因故障晚点。"]
GERMAN = [
    "Die Bundesregierung hat ein neues Gesetz zur Förderung erneuerbarer Energien beschlossen.",
    "Wie beantrage ich einen Personalausweis?",
    "Der Zug nach München fährt heute wegen einer Störung nicht.",
]


def made(texts, queries=("q",), qrels=(), titles=None, ids=None):
    """A dataset of these texts: d0, d1, …; queries q0, q1, …; qrels of (query_id, doc_id, relevance)."""
    ids = ids or [f"d{i}" for i in range(len(texts))]
    documents = pd.DataFrame({"doc_id": ids, "title": titles or [""] * len(texts), "text": list(texts)})
    rows = pd.DataFrame({"query_id": [f"q{i}" for i in range(len(queries))], "text": list(queries), "kind": ""})
    judged = pd.DataFrame(list(qrels) or [("q0", ids[0], 1)], columns=["query_id", "doc_id", "relevance"])
    return Dataset("made", documents, rows, judged)


@pytest.fixture(scope="module")
def readers():
    return load_readers(["dense", "colbert"])


@pytest.fixture(scope="module")
def cranfield():
    try:
        return ragkit.load_dataset("cranfield")
    except ragkit.RagkitError as error:
        pytest.skip(f"cranfield is not in reach: {error}")


# What is sound is not found fault with.


@pytest.mark.slow
def test_the_movies_have_no_fault(movies):
    inspection = ragkit.inspect(movies)
    assert inspection.findings == ()
    assert [check.kind for check in inspection.checks] == [
        *("language", "truncation", "duplicates", "queries", "empty", "ids", "judgments", "power")
    ]
    assert "0 of 20 documents have more than 256 tokens" in inspection["truncation"].what


@pytest.mark.scifact
def test_scifact_has_no_fault_and_its_long_documents_are_counted():
    inspection = ragkit.inspect(ragkit.load_beir("scifact", "all"))
    assert inspection.findings == ()
    assert inspection["truncation"].what.startswith(
        "dense: 3,681 of 5,183 documents have more than 256 tokens, 29 % of all tokens are not read; colbert: 3,710"
    )


@pytest.mark.slow
def test_of_cranfield_the_two_empty_documents_are_found_and_nothing_else(cranfield):
    inspection = ragkit.inspect(cranfield)
    assert [check.kind for check in inspection.findings] == ["empty"]
    assert inspection["empty"].examples == ("'471'", "'995'")
    assert "1 judgment call one relevant" in inspection["empty"].what  # 995, for query 110 or another


@pytest.mark.slow
def test_the_readme_shows_what_is_found_in_cranfield(cranfield):
    readme = (ROOT / "README.md").read_text("utf8")
    assert f"`inspect cranfield` finds:\n\n```text\n{inspection_in_full(ragkit.inspect(cranfield))}\n```" in readme


# Language and vocabulary.


@pytest.mark.parametrize(
    ("texts", "least", "most"), [(ARABIC, 0.9, 1.0), (CHINESE, 0.0, 0.1)], ids=["single letters", "unknown"]
)
def test_texts_that_the_models_cannot_read_are_found(texts, least, most, readers):
    check = language(made(texts, texts), readers)
    assert check.found and "3 of 3 documents and 3 of 3 queries can hardly be read" in check.what
    assert "all-MiniLM-L6-v2 is an English model" in check.advice and len(check.examples) == 3
    letters = float(check.what.split(" % single letters")[0].rsplit(" ", 1)[1]) / 100
    assert least <= letters <= most


def test_the_share_of_unknown_pieces_is_the_tokenizers_own(readers):
    tokenizer = Tokenizer.from_file(str(embedded.model_folder(embedded.DENSE) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokens = [token for text in CHINESE for token in tokenizer.encode(text).tokens[1:-1]]
    share = 100 * tokens.count("[UNK]") / len(tokens)
    assert share > 50  # of Chinese text more than half is unknown
    assert language(made(CHINESE), readers).what.startswith(f"dense, colbert: {share:.1f} % of the pieces are [UNK]")


def test_words_in_many_pieces_are_found_for_an_english_model_only(readers):
    check = language(made(GERMAN), readers)
    assert check.found and "pieces a word, where English prose has 1.0 to 1.3" in check.what

    class Multilingual:
        def __init__(self, reader):
            self.model, self.english, self.vocabulary = "a/multilingual-model", False, reader.vocabulary
            self.pieces = reader.pieces

    assert not language(made(GERMAN), {"dense": Multilingual(readers["dense"])}).found


def test_a_text_is_lost_with_a_tenth_unknown_or_half_in_letters():
    assert Reading(10, 2, 0, 10).lost and not Reading(10, 1, 0, 10).lost
    assert Reading(10, 1, 5, 4).lost and not Reading(10, 0, 5, 10).lost
    assert not Reading(2, 0, 2, 2).lost  # "x y" is a short text, and read


def test_a_few_unreadable_texts_among_many_are_no_fault(movies, readers):
    texts = [*movies.documents["text"], *(f"{text} {i}" for i in range(5) for text in movies.documents["text"])]
    assert not language(made([*texts, CHINESE[0]]), readers).found
    assert language(made([*texts[:20], *CHINESE[:2]]), readers).found  # 2 of 22 are more than 5 %


def test_queries_in_another_language_than_the_documents_are_found(movies, readers):
    check = language(made(movies.documents["text"], ARABIC), readers)
    assert check.found and "0 of 20 documents and 3 of 3 queries" in check.what


def test_bm25_alone_has_no_model_that_could_misread():
    assert not language(made(CHINESE), {}).found and not truncation(made(CHINESE), {}).found


# Truncation.


@pytest.mark.parametrize("vectors", ["dense", "colbert"])
def test_a_text_is_cut_off_where_the_encoder_cuts_it(vectors, readers):
    encoder, reader = load_encoder(vectors), readers[vectors]
    word = "word "
    whole = reader.limit - reader.lengths([""])[0] - reader.markers
    for count, cut in ((whole, 0), (whole + 1, 1)):
        text = word * count
        read = encoder.token_counts([text])[0]
        assert reader.lengths([text])[0] + reader.markers - read == cut and read <= reader.limit == 256


def test_documents_that_are_mostly_cut_off_are_found(movies, readers):
    story = " ".join(movies.documents["text"])  # more than 600 tokens
    check = truncation(made([story, "A film."]), readers)
    assert check.found and "1 of 2 documents have more than 256 tokens" in check.what
    assert "--passages 256" in check.advice and check.examples[0].startswith("'d0' has ")
    total = sum(readers["dense"].lengths([story, "A film."]))
    lost = readers["dense"].lengths([story])[0] - 256
    assert check.what.endswith(f"have more than 256 tokens, {100 * lost / total:.0f} % of all tokens are not read")
    assert not truncation(made([story, *movies.documents["text"], *movies.documents["text"]]), readers).found


# Duplicates, queries that are documents, empty documents, ids.


def test_a_text_under_two_ids_of_which_one_is_judged_is_found():
    texts = ["The cat sat.", "the  CAT sat.", "A dog."]
    check = duplicates(made(texts, qrels=[("q0", "d0", 1)]))
    assert check.found and "2 documents share 1 text; 1 query judge them unevenly" in check.what
    assert "query 'q0': 'd0' is judged 1, 'd1' is not judged" in check.examples[0]
    assert duplicates(made(texts, qrels=[("q0", "d0", 2), ("q0", "d1", 1)])).found
    assert not duplicates(made(texts, qrels=[("q0", "d0", 1), ("q0", "d1", 1)])).found
    assert not duplicates(made(texts, qrels=[("q0", "d2", 1)])).found
    assert not duplicates(made(texts[::2], qrels=[("q0", "d0", 1)])).found
    assert not duplicates(made(["", " "], qrels=[("q0", "d0", 1)])).found  # empty is another fault


def test_two_texts_are_one_only_with_their_titles():
    assert not duplicates(made(["same", "same"], titles=["one", "two"])).found


def test_a_query_that_is_a_document_is_found():
    check = documents_as_queries(made(["Zoos  should be closed.", "A dog."], ["zoos should be closed.", "A cat."]))
    assert check.found and check.what == "1 of 2 queries is word for word a document, and 1 of these is judged relevant"
    assert check.examples == ("query 'q0' is document 'd0': 'Zoos  should be closed.'",)
    assert not documents_as_queries(made(["Zoos.", "A dog."], ["zoos should be closed."])).found


def test_a_title_that_is_a_query_is_no_document_that_is_one():
    dataset = made(["Go to the desk."], ["How do I renew my card?"], titles=["How do I renew my card?"])
    assert not documents_as_queries(dataset).found


def test_empty_documents_are_found():
    check = empty(made(["a", " \n", ""], qrels=[("q0", "d1", 1)]))
    assert check.found and check.examples == ("'d1'", "'d2'") and "1 judgment call one relevant" in check.what
    assert not empty(made(["a", ""], titles=["", "but a title"])).found


@pytest.mark.parametrize(
    ("one", "other"), [("é1", "e\u03011"), ("Doc-1", "doc-1"), ("doc 1", "doc1"), ("007", "7"), ("ﬁ", "fi")]
)
def test_ids_that_differ_only_in_form_are_found(one, other):
    assert form(one) == form(other)
    check = similar_ids(made(["a", "b", "c"], ids=[one, other, "another"]))
    assert check.found and check.examples == (f"document ids {one!r} and {other!r}",)
    missed = similar_ids(made(["a", "b"], ids=[one, "another"], qrels=[("q0", other, 1)]))
    assert missed.found and missed.examples == (f"judgments name document {other!r}, which is here as {one!r}",)


@pytest.mark.parametrize("ids", [["1", "10", "100"], ["a-0", "a-1"], ["0", "00x", "x"]])
def test_ids_that_differ_in_more_than_form_are_not_found(ids):
    assert not similar_ids(made(["text"] * len(ids), ids=ids)).found


# Judgments that do not fit.


def moved(dataset, column, step):
    """The judgments name the document or query so many rows after the one that they mean."""
    ids = (dataset.documents["doc_id"] if column == "doc_id" else dataset.queries["query_id"]).tolist()
    place = {name: i for i, name in enumerate(ids)}
    names = [ids[(place[name] + step) % len(ids)] for name in dataset.qrels[column]]
    return replace(dataset, qrels=dataset.qrels.assign(**{column: names}))


@pytest.mark.slow
@pytest.mark.parametrize(("column", "step"), [("doc_id", 1), ("doc_id", -3), ("query_id", 2)])
def test_judgments_of_the_movies_shifted_by_rows_are_found_with_the_shift(movies, column, step):
    check = judgments(moved(movies, column, step))
    rows = f"{abs(step)} row{'s' * (abs(step) > 1)} {'after' if step > 0 else 'before'}"
    what = "document" if column == "doc_id" else "query"
    assert check.found and f"Each judgment names the {what} {rows} the one that is meant" in check.what
    assert len(check.examples) == 3
    truth = set(movies.qrels.loc[movies.qrels["relevance"] > 0, ["query_id", "doc_id"]].itertuples(False, None))
    for line in check.examples:  # what both systems found is indeed what was judged before the shift
        assert (line.split("'")[1], line.split("found '")[1].split("'")[0]) in truth


@pytest.mark.slow
def test_a_query_to_read_is_shown_with_what_is_judged_and_what_is_found(movies):
    line = judgments(moved(movies, "doc_id", 1)).examples[0]
    assert line.startswith("query 'q11': 'professional thieves heist'; judged '3': 'A petty thief with")
    assert "found '2': 'A group of high-end professional thieves" in line


@pytest.mark.scifact
@pytest.mark.parametrize("column", ["doc_id", "query_id"])
def test_judgments_of_scifact_shifted_by_rows_are_found_with_the_shift(column):
    check = judgments(moved(ragkit.load_beir("scifact"), column, 3))
    assert check.found and " 3 rows after the one that is meant" in check.what and "undone, it is 90 %" in check.what


@pytest.mark.scifact
def test_judgments_shifted_by_more_and_more_rows_are_found():
    scifact = ragkit.load_beir("scifact")
    ids = scifact.documents["doc_id"].tolist()
    place = {name: i for i, name in enumerate(ids)}
    lost = sorted(random.Random(7).sample(range(len(ids)), 8))  # rows that were lost when ids were numbered
    names = [ids[(place[d] + 1 + sum(row < place[d] for row in lost)) % len(ids)] for d in scifact.qrels["doc_id"]]
    check = judgments(replace(scifact, qrels=scifact.qrels.assign(doc_id=names)))
    assert check.found and "Judgments name documents up to 10 rows from those that are meant" in check.what


@pytest.mark.scifact
def test_judgments_of_queries_in_no_order_are_found():
    scifact = ragkit.load_beir("scifact")
    ids = scifact.queries["query_id"].tolist()
    other = dict(zip(ids, random.Random(7).sample(ids, len(ids)), strict=True))
    check = judgments(replace(scifact, qrels=scifact.qrels.assign(query_id=scifact.qrels["query_id"].map(other))))
    assert check.found and "Judgments name other queries than those that are meant, in no order" in check.what


@pytest.mark.scifact
def test_judgments_at_chance_that_no_shift_explains_are_found():
    scifact = ragkit.load_beir("scifact")
    drawn = random.Random(7).choices(scifact.documents["doc_id"].tolist(), k=len(scifact.qrels))
    qrels = scifact.qrels.assign(doc_id=drawn).drop_duplicates(["query_id", "doc_id"])
    check = judgments(replace(scifact, qrels=qrels))
    assert check.found and "No shift of rows explains it" in check.what


@pytest.mark.thorough
def test_neighbours_that_are_alike_do_not_hide_a_shift_in_cranfield(cranfield):
    check = judgments(moved(cranfield, "doc_id", 1))
    assert check.found and "names the document 1 row after the one that is meant" in check.what


def runs_of(tops):
    frames = {}
    for name, lists in tops.items():
        rows = [(q, d, rank) for q, docs in lists.items() for rank, d in enumerate(docs, 1)]
        frames[name] = pd.DataFrame(rows, columns=["query_id", "doc_id", "rank"])
    return frames


def test_columns_that_changed_places_are_found():
    ids = [str(i) for i in range(100)]
    right = dict(zip(ids[:40], random.Random(7).sample(ids[:40], 40), strict=True))  # each query's document
    runs = runs_of(dict.fromkeys(["bm25", "dense"], {q: [d] for q, d in right.items()}))
    rows = [(d, q, 1) for q, d in right.items()]
    found = agreement(runs, pd.DataFrame(rows, columns=["query_id", "doc_id", "relevance"]), ids, ids)
    assert found.broken and found.explanation == "queries and documents stand in each other's column"


def test_hard_queries_are_no_fault_of_the_judgments():
    ids, rng = [f"{i}" for i in range(2000)], random.Random(7)
    queries = [f"q{i}" for i in range(100)]
    right = {q: rng.choice(ids) for q in queries}
    # Both systems have the same distractors first, and the right document for a third of the queries.
    lists = {q: [*rng.sample(ids, 9), *([right[q]] if i % 3 == 0 else [])] for i, q in enumerate(queries)}
    qrels = pd.DataFrame([(q, d, 1) for q, d in right.items()], columns=["query_id", "doc_id", "relevance"])
    found = agreement(runs_of({"bm25": lists, "dense": lists}), qrels, ids, queries)
    assert found.suspicious and not found.broken and 0.34 <= found.judged < 0.4


def test_systems_that_do_not_agree_tell_nothing_of_the_judgments():
    ids, rng = [f"{i}" for i in range(2000)], random.Random(7)
    queries = [f"q{i}" for i in range(100)]
    tops = {name: {q: rng.sample(ids, 10) for q in queries} for name in ("bm25", "dense")}
    qrels = pd.DataFrame([(q, rng.choice(ids), 1) for q in queries], columns=["query_id", "doc_id", "relevance"])
    assert not agreement(runs_of(tops), qrels, ids, queries).broken


def test_three_queries_are_too_few_to_call_judgments_wrong():
    ids = [f"{i}" for i in range(100)]
    lists = {"q0": ["1"], "q1": ["2"], "q2": ["3"]}
    qrels = pd.DataFrame(
        [("q0", "50", 1), ("q1", "60", 1), ("q2", "70", 1)], columns=["query_id", "doc_id", "relevance"]
    )
    assert not agreement(runs_of({"bm25": lists, "dense": lists}), qrels, ids, list(lists)).broken


@pytest.mark.slow
def test_a_query_that_is_a_document_is_no_sign_of_wrong_judgments():
    topics = ("zoos", "trains", "bread", "snow", "ships")
    texts = [text for topic in topics for text in (f"{topic} do harm to many people", f"{topic} are useful and cheap")]
    qrels = [(f"q{i}", f"d{i ^ 1}", 1) for i in range(len(texts))]  # the counterargument is the answer
    check = judgments(made(texts, texts, qrels))
    assert not check.found


def hashed(doc_id):
    return hashlib.sha256(doc_id.encode()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize(("relevant", "kept"), [(2, 2), (20, 4)])
def test_no_more_documents_are_searched_than_the_caps_say_however_many_are_relevant(relevant, kept, monkeypatch):
    monkeypatch.setattr(inspecting, "_SEARCHED", 12)
    monkeypatch.setattr(inspecting, "_ENCODED", 8)
    run, looked = inspecting._run, {}

    def noted(dataset, vectors):
        looked[vectors] = set(dataset.document_ids)
        return run(dataset, vectors)

    monkeypatch.setattr(inspecting, "_run", noted)
    sets = {f"q{i}": [f"d{20 * i + j}" for j in range(relevant)] for i in range(3)}
    qrels = [(query_id, doc_id, 1) for query_id, of in sets.items() for doc_id in of]
    judgments(made([f"film {i}" for i in range(60)], ["film one", "film two", "film three"], qrels))
    assert {vectors: len(ids) for vectors, ids in looked.items()} == {"bm25": 12, "dense": 8}
    assert looked["dense"] < looked["bm25"]
    for of in sets.values():  # no query takes another's room, and those with the smallest hashes are taken
        ordered = sorted(of, key=hashed)
        assert set(ordered[:kept]) <= looked["bm25"] and ordered[0] in looked["dense"]
    if relevant == kept:  # there is room for all of them, and for others
        rest = sorted({f"d{i}" for i in range(60)} - {doc_id for _, doc_id, _ in qrels}, key=hashed)
        assert looked["bm25"] == {doc_id for _, doc_id, _ in qrels} | set(rest[:6])


@pytest.mark.slow
def test_queries_that_share_no_word_with_any_document_are_inspected():
    check = judgments(made(["A film.", "Rain."], ["weather"], [("q0", "d1", 1)]))
    assert check.what == "bm25 finds nothing for any query" and not check.found


def test_a_dataset_without_judgments_is_inspected(movies):
    inspection = ragkit.inspect(replace(movies, qrels=movies.qrels.head(0)), ["bm25"])
    assert inspection["judgments"].what == "nothing is judged yet" and inspection.findings == ()


# Power.


def test_the_spreads_are_those_of_the_committed_runs():
    for dataset, file in (("scifact", "scifact-full"), ("movies", "movies")):
        result = json.loads((ROOT / "docs" / "results" / f"{file}.json").read_text("utf8"))
        values = {s["system"]: np.array(list(s["per_query"]["nDCG@10"].values())) for s in result["systems"]}
        for (one, other), spreads in SPREADS.items():
            assert round(float((values[one] - values[other]).std(ddof=1)), 3) == spreads[dataset]


def test_the_estimate_is_what_as_many_queries_with_that_spread_show():
    differences = np.random.default_rng(7).normal(size=300)
    differences *= 0.234 / differences.std(ddof=1)
    assert f"a difference of {detectable(differences):.3f} nDCG@10 between dense and colbert" in estimated(300).what


def test_more_systems_leave_less_to_be_shown():
    differences = np.random.default_rng(7).normal(size=300)
    differences *= 0.234 / differences.std(ddof=1)
    what = estimated(300, comparisons=5).what
    assert (
        f"among 5 comparisons, a difference of {detectable(differences, 5):.3f} nDCG@10 between dense and colbert"
        in what
    )


@pytest.mark.parametrize(("queries", "found"), [(1, True), (10, True), (17, True), (18, False), (300, False)])
def test_queries_that_show_only_large_differences_are_found(queries, found):
    check = estimated(queries)
    assert check.found is found and ("takes about 172" in check.advice) is found


@pytest.mark.slow
def test_the_estimate_is_corrected_once_systems_are_compared(movies):
    comparison = ragkit.compare(movies, ["dense", "bm25", "dense+oracle"], where=":memory:")
    inspection = corrected(ragkit.inspect(movies, ["dense", "bm25"]), comparison)
    values = comparison.values()
    shown = detectable(values["bm25"] - values["dense"])
    what = inspection["power"].what
    assert f"40 queries show a difference to dense of {shown:.3f} for bm25 (nDCG@10, measured" in what
    assert shown > 0.1 and not inspection["power"].found  # it is much, but bm25 is shown to differ by more
    assert "oracle" not in what


@pytest.mark.slow
def test_few_queries_are_a_fault_once_compared_where_nothing_is_shown(movies):
    for query_ids, found in ((["q02", "q03", "q05", "q06", "q07", "q08"], False), (["q05", "q16", "q39", "q40"], True)):
        queries, qrels = (frame[frame["query_id"].isin(query_ids)] for frame in (movies.queries, movies.qrels))
        part = replace(movies, queries=queries, qrels=qrels)
        inspection = corrected(
            ragkit.inspect(part, ["bm25"]), ragkit.compare(part, ["dense", "bm25"], where=":memory:")
        )
        assert inspection["power"].found is found


# Passages.


def numbered(count):
    return " ".join(f"word{i}" for i in range(count))


def test_passages_fit_the_models_and_hold_every_word(readers):
    documents = made([numbered(500), "short"], titles=["A long title of a document", "t"]).documents
    for size in (64, 256):
        cut = passages.cut(documents, size, readers["dense"], markers=1)
        long = cut[cut["document"] == "d0"]
        assert cut["doc_id"].tolist()[-1] == "d1" and len(long) > 2  # what is short stays whole, under its own id
        assert long["doc_id"].tolist() == [f"d0#{i}" for i in range(1, len(long) + 1)]
        whole = [f"{row.title} {row.text}" for row in cut.itertuples()]
        assert max(readers["dense"].lengths(whole)) + 1 <= size
        words = [text.split() for text in long["text"]]
        assert list(dict.fromkeys(word for part in words for word in part)) == numbered(500).split()
        for one, other in zip(words, words[1:], strict=False):  # about half of each is in the next
            assert len(set(one) & set(other)) / len(one) > 0.3


def test_windows_cover_every_piece_whatever_the_words():
    rng = random.Random(7)
    for _ in range(300):
        words = [number for number in range(rng.randint(1, 30)) for _ in range(rng.choice([1, 1, 2, 5, 40]))]
        pieces = [Piece(i, i + 1, word, True) for i, word in enumerate(words)]
        size = rng.randint(1, 20)
        spans = passages.windows(pieces, size)
        assert {i for start, end in spans for i in range(start, end)} == set(range(len(pieces)))
        assert all(end - start <= size for start, end in spans) and spans == sorted(set(spans))


def test_a_word_is_cut_only_where_it_is_longer_than_a_passage():
    pieces = [Piece(i, i + 1, i // 3, True) for i in range(30)]  # words of three pieces
    assert all(start % 3 == 0 == end % 3 for start, end in passages.windows(pieces, 8))


def test_a_long_title_leaves_room_for_the_text(readers):
    documents = made([numbered(200)], titles=[numbered(100)]).documents
    words = " ".join(passages.cut(documents, 64, readers["dense"])["text"]).split()
    assert set(words) == set(numbered(200).split())


@pytest.mark.parametrize("text", ["", " \n", "five words are no passage"])
def test_a_short_text_stays_whole_however_long_its_title(text, readers):
    documents = made([text], titles=[numbered(100)]).documents
    assert passages.cut(documents, 64, readers["dense"]).values.tolist() == [["d0", numbered(100), text, "d0"]]


@pytest.mark.slow
def test_a_row_with_a_long_title_alone_is_imported(tmp_path, capsys):
    (tmp_path / "faq.csv").write_text(f"title,text\n{numbered(100)},\nshort,{numbered(100)}\n", "utf8")
    arguments = ["import", str(tmp_path / "faq.csv"), "--title", "title", "--text", "text", "--passages", "64"]
    assert main([*arguments, "--to", str(tmp_path / "faq")]) == 0
    ids = ragkit.load_unjudged(tmp_path / "faq").documents["doc_id"].tolist()
    assert ids[:3] == ["1", "2#1", "2#2"] and "1 of 2 documents have no text" in capsys.readouterr().out


@pytest.mark.parametrize("size", [32, 64])
def test_whole_documents_read_as_before_they_were_cut(size, readers):
    texts = [numbered(300), " ".join(ARABIC), "".join(CHINESE), f"{numbered(40)}\n\n{' - '.join(GERMAN)}", "short", ""]
    documents = made(texts, titles=["a title"] * len(texts)).documents
    cut = passages.cut(documents, size, readers["dense"], markers=1)
    assert len(cut) > len(texts)
    whole = replace(made(texts), documents=cut).whole
    assert not whole.has_passages and whole.documents.values.tolist() == documents.values.tolist()


def test_passages_that_share_nothing_follow_each_other_in_lines():
    assert passages.joined(["It was in Rome.", "me and you", "", "and you"]) == "It was in Rome.\nme and you\n\nand you"
    assert passages.joined(["abcabc", "abcabcd"]) == "abcabcd" and passages.joined([]) == ""


def test_of_a_text_that_repeats_itself_nothing_else_is_lost(readers):
    text = f"start {'la ' * 300}end"
    cut = passages.cut(made([text]).documents, 64, readers["dense"])
    words = passages.whole(cut)["text"][0].split()
    assert words[0] == "start" and words[-1] == "end" and set(words[1:-1]) == {"la"}


@pytest.mark.parametrize("size", [1, 15])
def test_a_passage_too_small_for_anything_is_refused(size, readers):
    with pytest.raises(ragkit.RagkitError, match="at least 16 tokens"):
        passages.cut(made(["a"]).documents, size, readers["dense"])


def test_a_passages_id_that_is_there_already_is_refused(readers):
    with pytest.raises(ragkit.RagkitError, match="'d0#1', which is there already"):
        passages.cut(made([numbered(500), "a"], ids=["d0", "d0#1"]).documents, 64, readers["dense"])


@pytest.fixture()
def long_movies(tmp_path, movies):
    """The movies with their texts each behind 300 words of another kind, as a CSV, and what is judged."""
    padding = numbered(300)
    rows = [(d.doc_id, f"{padding} {d.text}") for d in movies.documents.itertuples()]
    pd.DataFrame(rows, columns=["id", "text"]).to_csv(tmp_path / "films.csv", index=False)
    for name, more in (("whole", []), ("cut", ["--passages", "128"])):
        arguments = ["import", str(tmp_path / "films.csv"), "--text", "text", "--id", "id"]
        assert main([*arguments, "--to", str(tmp_path / name), *more]) == 0
        queries = dict(zip(movies.queries["query_id"], movies.queries["text"], strict=True))
        ragkit.write_queries(tmp_path / name, queries)
        (tmp_path / name / "qrels").mkdir(exist_ok=True)
        lines = (f"{row.query_id}\t{row.doc_id}\t{row.relevance}\n" for row in movies.qrels.itertuples())
        (tmp_path / name / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), "utf8")
    return tmp_path


@pytest.mark.thorough
def test_documents_count_by_their_best_passage(long_movies, movies, own_cache):
    cut = ragkit.load_beir(long_movies / "cut")
    assert cut.has_passages and set(cut.document_ids) == set(movies.documents["doc_id"])
    assert len(cut.documents) > 60 and any("passages of 20 documents" in note for note in cut.notes)
    comparison = ragkit.compare(cut, ["dense", "colbert", "bm25", "dense+colbert", "dense+oracle"], depth=15)
    assert comparison.documents == 20 and "best passage's (MaxP)" in comparison.config["passages"]
    encoder = load_encoder("dense")
    matrix = np.stack(encoder.encode_documents(cut.passages))
    run = comparison["dense"].results
    for query in cut.queries.head(5).itertuples():  # a naive MaxP over all passages
        [vector] = encoder.encode_queries([query.text])
        scores = pd.Series(matrix @ vector).groupby(cut.document_ids).max()
        found = run[run["query_id"] == query.query_id].set_index("doc_id")["score"]
        assert found.is_monotonic_decreasing and set(found.index) == set(scores.index)
        np.testing.assert_allclose(found, scores[found.index], atol=1e-5)
        # A rerank reads as many passages as its depth says, which are fewer documents.
        first = np.argsort(-(matrix @ vector), kind="stable")[:15]
        [rows] = load_encoder("colbert").encode_queries([query.text])
        texts = [cut.passages[i] for i in first]
        maxsims = [ragkit.maxsim(rows, document).score for document in load_encoder("colbert").encode_documents(texts)]
        scores = pd.Series(maxsims).groupby([cut.document_ids[i] for i in first]).max()
        reranked = comparison["dense→colbert"].results
        found = reranked[reranked["query_id"] == query.query_id].set_index("doc_id")["score"]
        assert len(found) <= 15 and found.is_monotonic_decreasing
        np.testing.assert_allclose(found[:5], scores[found.index[:5]], atol=1e-3)
    assert comparison["dense→oracle"].means["nDCG@10"] > comparison["dense"].means["nDCG@10"]
    rows = len(cut.documents) / 20
    assert comparison["dense"].cost.bytes_per_document == pytest.approx(4 * 384 * rows)


@pytest.mark.thorough
def test_passages_bring_back_what_was_cut_off(long_movies, own_cache):
    whole, cut = (ragkit.load_beir(long_movies / name) for name in ("whole", "cut"))
    readers = load_readers(["dense", "colbert"])
    assert truncation(whole, readers).found and "0 of 60" not in truncation(cut, readers).what
    assert not truncation(cut, readers).found and "0 % of all tokens" in truncation(cut, readers).what
    found = {d.name: ragkit.compare(d, ["dense"])["dense"].means["nDCG@10"] for d in (whole, cut)}
    assert found["cut"] > found["whole"] + 0.3


def test_enough_documents_come_however_many_passages_one_has():
    passage_of = {f"a#{i}": "a" for i in range(90)} | {f"b{i}": f"b{i}" for i in range(10)}

    class Ranked:
        """An index that returns passages in the order of their names, all of a's first."""

        def search(self, vector, using, limit):
            return [(name, 1 - i / 1000) for i, name in enumerate(list(passage_of)[:limit])]

    class Encoder:
        def encode_queries(self, texts):
            return [np.ones(2)] * len(texts)

    class Looked(dict):
        """Passages that count how often all of them are gone through."""

        times = 0

        def values(self):
            self.times += 1
            return super().values()

    looked = Looked(passage_of)
    retriever = Retriever(Ranked(), {"dense": Encoder()}, System("dense"), limit=5, passage_of=looked)
    assert [doc_id for doc_id, _ in retriever.search("query")] == ["a", "b0", "b1", "b2", "b3"]
    assert [row for row, _ in retriever.search_passages("query")] == ["a#0", "b0", "b1", "b2", "b3"]
    assert looked.times == 1  # when it was made, and within no query's time


@pytest.mark.slow
def test_a_run_of_passages_made_elsewhere_counts_by_the_best_one(long_movies, own_cache):
    cut = ragkit.load_beir(long_movies / "cut")
    rows = [(q, d, -float(i)) for q in cut.queries["query_id"] for i, d in enumerate(cut.documents["doc_id"])]
    run = pd.DataFrame(rows, columns=["query_id", "doc_id", "score"])
    result = ragkit.compare(cut, [], runs={"theirs": run})["theirs"].results
    assert result.groupby("query_id").size().eq(20).all() and result["doc_id"].iloc[0] == cut.document_ids[0]


def as_asked(readers):
    """Three documents of 90 words, cut, each of which is asked as a query of its id; the next one is its answer."""
    topics = ("fish", "bird", "tree")
    texts = [
        " ".join(f"{topic}{i}" for i in range(60)) + f" and a {topics[i - 2]} swims" for i, topic in enumerate(topics)
    ]
    whole = made(texts)
    queries = pd.DataFrame({"query_id": whole.documents["doc_id"], "text": whole.documents["text"], "kind": ""})
    qrels = pd.DataFrame({"query_id": ["d0", "d1", "d2"], "doc_id": ["d1", "d2", "d0"], "relevance": 1})
    cut = passages.cut(whole.documents, 64, readers["dense"])
    assert len(cut) > 6
    return Dataset("made", cut, queries, qrels)


@pytest.mark.slow
def test_a_querys_own_document_is_left_out_when_it_was_cut(readers, own_cache):
    dataset = as_asked(readers)
    theirs = dataset.queries.merge(dataset.documents[["doc_id"]], how="cross")[["query_id", "doc_id"]].assign(score=1.0)
    systems = ["dense", "dense+colbert"]
    comparison = ragkit.compare(dataset, systems, depth=1, where=":memory:", runs={"theirs": theirs})
    assert any(note.startswith("3 of 3 queries are documents of the dataset, too") for note in comparison.notes)
    for system in comparison.systems:
        assert not (system.results["query_id"] == system.results["doc_id"]).any()
    assert len(comparison["dense"].results) == len(comparison["theirs"].results) == 6
    # A rerank has a passage of another document all the same, however many its own has.
    assert comparison["dense→colbert"].results["query_id"].nunique() == 3


def test_a_query_that_is_a_document_cut_into_passages_is_told(readers, own_cache):
    dataset = as_asked(readers)
    check = documents_as_queries(dataset)
    assert "3 of 3 queries are word for word a document" in check.what and "leaves each out" in check.advice
    found = inspecting._run(dataset, "bm25")
    assert len(found) and not (found["query_id"] == found["doc_id"]).any()


@pytest.mark.slow
def test_search_prints_and_writes_a_document_once_with_its_best_passage(long_movies, movies, own_cache, capsys):
    query = movies.queries["text"].iloc[0]
    arguments = ["search", str(long_movies / "cut"), query, "--limit", "20", "--json", str(long_movies / "hits.json")]
    assert main([*arguments, "--system", "dense"]) == 0
    rows = json.loads((long_movies / "hits.json").read_text("utf8"))["results"]
    cut = ragkit.load_beir(long_movies / "cut")
    encoder = load_encoder("dense")
    scores = np.stack(encoder.encode_documents(cut.passages)) @ encoder.encode_queries([query])[0]
    best = cut.documents.assign(score=scores).sort_values("score").drop_duplicates("document", keep="last")
    expected = {row.document: (row.doc_id, row.text, row.score) for row in best.itertuples()}
    assert len(rows) == 20 and {row["doc_id"] for row in rows} == set(expected)
    for row in rows:
        passage, text, score = expected[row["doc_id"]]
        assert (row["passage"], row["text"]) == (passage, text) and row["score"] == pytest.approx(score, abs=1e-5)
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    lines = capsys.readouterr().out.splitlines()[-20:]
    for rank, (line, row) in enumerate(zip(lines, rows, strict=True), 1):
        assert line.split()[:2] == [str(rank), row["doc_id"]] and " ".join(row["text"].split())[:40] in line


def test_frames_hold_passages_as_files_do(readers):
    frames = made([numbered(100), "short"])
    cut = passages.cut(frames.documents, 64, readers["dense"])
    qrels = pd.DataFrame({"query_id": ["q0"], "doc_id": ["d0"], "relevance": [1]})
    dataset = Dataset.from_frames(cut, frames.queries, qrels)
    assert dataset.document_ids == cut["document"].tolist() and dataset.notes[0].startswith("8 passages of 2 documents")
    assert repr(dataset) == "Dataset 'mine': 8 passages of 2 documents, 1 queries, 1 judgments"
    of_rows = qrels.assign(doc_id="d0#2")  # judgments of passages: each counts for itself
    assert not Dataset.from_frames(cut, frames.queries, of_rows).has_passages


@pytest.mark.slow
def test_what_is_found_is_told_with_its_documents_title(long_movies, own_cache):
    cut = ragkit.load_beir(long_movies / "cut")
    run = ragkit.compare(cut, ["bm25"])["bm25"].results
    assert run["doc_id"].iloc[0] in tables.top(run, cut.documents, run["query_id"].iloc[0])


@pytest.mark.slow
def test_a_subset_holds_all_passages_of_its_documents(long_movies):
    judged = pd.read_csv(long_movies / "cut" / "qrels" / "test.tsv", sep="\t", dtype=str)
    few = judged[judged["corpus-id"].isin(["1", "2"])]
    few.to_csv(long_movies / "cut" / "qrels" / "few.tsv", sep="\t", index=False)
    part, whole = ragkit.load_beir(long_movies / "cut", 5, "few"), ragkit.load_beir(long_movies / "cut")
    assert len(set(part.document_ids)) == 5 and {"1", "2"} <= set(part.document_ids)
    kept = [doc_id for doc_id in whole.document_ids if doc_id in set(part.document_ids)]
    assert part.document_ids == kept


def test_metadata_that_nobody_judges_makes_no_passages(write_collection):
    rows = [{"_id": f"d{i}", "text": f"text {i}", "metadata": {"document": "a report"}} for i in range(3)]
    folder = write_collection(map(json.dumps, rows), ['{"_id": "q", "text": "text"}'], ["q\td1\t1"])
    dataset = ragkit.load_beir(folder)
    assert not dataset.has_passages and dataset.document_ids == ["d0", "d1", "d2"] and dataset.notes == ()
    assert ragkit.load_unjudged(folder).documents.equals(dataset.documents)  # what is searched is what is judged
    (folder / "qrels" / "test.tsv").write_text("q\td1\tof no use\n", "utf8")
    assert ragkit.load_unjudged(folder).has_passages


# What is printed, written and shown.


@pytest.mark.slow
def test_the_command_prints_every_check_and_writes_them(capsys, tmp_path, write_collection):
    rows = [{"_id": i, "text": text} for i, text in (("a", "The cat sat."), ("b", "the cat  sat."), ("c", ""))]
    queries = ['{"_id": "q", "text": "Where does the cat sit?"}']
    folder = write_collection(map(json.dumps, rows), queries, ["q\ta\t1"])
    assert main(["inspect", str(folder), "--json", str(tmp_path / "found.json")]) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("! ")]
    assert [line.split()[1] for line in lines] == ["duplicates", "empty", "power"] and "3 of 8 checks" in out
    written = json.loads((tmp_path / "found.json").read_text("utf8"))
    assert [check["kind"] for check in written["checks"] if check["found"]] == ["duplicates", "empty", "power"]
    assert written["documents"] == 3 and all(check["advice"] for check in written["checks"] if check["found"])


def test_a_folder_that_nobody_judged_yet_is_inspected(capsys, tmp_path):
    (tmp_path / "faq.csv").write_text("id,answer\na,Yes\nb,No\n", "utf8")
    ragkit.import_dataset(tmp_path / "faq.csv", tmp_path / "faq", text="answer", id="id")
    (tmp_path / "faq" / "qrels" / "test.tsv").unlink(missing_ok=True)
    assert main(["inspect", str(tmp_path / "faq"), "--vectors", "dense"]) == 0
    assert "nothing is judged yet" in capsys.readouterr().out


@pytest.mark.slow
def test_three_lines_stand_above_a_comparison_and_all_is_in_its_files(capsys, tmp_path, own_cache, movies):
    page, result = tmp_path / "report.html", tmp_path / "result.json"
    assert main(["compare", "movies", "--systems", "dense,bm25", "--html", str(page), "--json", str(result)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["Texts", "Judgments", "Power"]
    assert lines[3] == "" and lines[4] == "movies: 20 documents, 40 queries"
    assert any(line.startswith("Power: 40 queries show a difference to dense of") for line in lines)
    checks = json.loads(result.read_text("utf8"))["inspection"]["checks"]
    assert len(checks) == 8 and "measured" in checks[-1]["what"]
    html = page.read_text("utf8")
    assert all(check["what"].replace("'", "&#39;") in html for check in checks)


@pytest.mark.slow
def test_a_fault_is_marked_in_the_three_lines_and_told_in_the_report(movies):
    documents = movies.documents.assign(text=[*movies.documents["text"][:-1], ""])
    dataset = replace(movies, documents=documents)
    inspection = ragkit.inspect(dataset, ["dense"])
    lines = inspection_in_short(inspection, "python -m ragkit inspect here").splitlines()
    assert lines[1].startswith("! Judgments: 1 of 20 documents have no text")
    assert lines[1].endswith("More: python -m ragkit inspect here") and "More" not in lines[0]
    comparison = replace(ragkit.compare(dataset, ["dense", "bm25"], where=":memory:"), inspection=inspection)
    page = render([(dataset, comparison)])
    assert "1 of 8 checks found something" in page and "Look where their texts were lost" in page
    assert inspection["empty"].examples == ("'19'",) and "<li>&#39;19&#39;</li>" in page


@pytest.mark.slow
def test_a_comparison_in_python_says_nothing_of_an_inspection(movies):
    comparison = ragkit.compare(movies, ["dense"], where=":memory:")
    assert comparison.inspection is None and "inspection" not in comparison.to_dict()


@pytest.mark.slow
def test_texts_are_shown_as_text_in_the_report():
    text = "<script>alert(1)</script> is a text"
    dataset = made([text, text.upper(), "Another."], ["a text", "another"], [("q0", "d0", 1), ("q1", "d2", 1)])
    inspection = ragkit.inspect(dataset, ["dense"])
    assert "<script>" in inspection["duplicates"].examples[0]
    page = render([(dataset, replace(ragkit.compare(dataset, ["dense"], where=":memory:"), inspection=inspection))])
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page


@pytest.mark.slow
def test_all_pairs_of_vectors_have_readers():
    names = ["dense", "colbert-pool2", "muvera", "tokens", "bm25"]
    for one, other in combinations(names, 2):
        found = load_readers([one, other])
        assert "bm25" not in found and all(isinstance(reader, ModelReader) for reader in found.values())
    assert load_readers(["bm25"]) == {}


def test_the_printed_form_is_not_wider_than_a_terminal(movies):
    assert max(map(len, inspection_in_full(ragkit.inspect(movies, ["bm25"])).splitlines())) <= 116
