"""A query to a ranking, over a few documents with vectors made by hand: each ranking against its definition."""

from collections import Counter
from types import SimpleNamespace
from unittest.mock import MagicMock, call

import numpy as np
import pandas as pd
import pytest

from ragkit import RagkitError, Retriever, System, VectorSpec, maxsim, open_index
from ragkit.encoders.cached_encoder import CachedEncoder
from ragkit.engines.index import Fusion, Prefetch
from ragkit.evaluation.retriever import best_passages, cross_encoder, oracle
from ragkit.vectors import Sparse

COUNT = 12
IDS = [f"d{i:02}" for i in range(COUNT)]
SPECS = {"dense": VectorSpec(6), "bm25": VectorSpec(0, sparse=True), "colbert": VectorSpec(6, True)}
# Three passages of each of four documents.
PASSAGE_OF = {doc_id: f"whole {i % 4}" for i, doc_id in enumerate(IDS)}


class Drawn(CachedEncoder):
    """Queries' arrays, drawn from the text's length; it keeps what it was asked for."""

    checksums, fingerprint, cache = {}, "0" * 64, False

    def __init__(self, name, multivector=False, source=None):
        self.name, self.multivector, self.source, self.dim, self.asked = name, multivector, source, 6, []

    def token_counts(self, texts):
        raise AssertionError("no document is counted here")

    def _compute(self, texts, role):
        self.asked += texts
        yield texts, [drawn(text, self.multivector) for text in texts]

    def query_from(self, array):
        return array if self.source is None else array.mean(axis=0)


def drawn(text, multivector):
    return np.random.default_rng(len(text)).standard_normal((3, 6) if multivector else 6).astype(np.float32)


def words(*indices):
    return Sparse(np.array(indices, np.uint32), np.ones(len(indices), np.float32))


class Words:
    """Queries of bm25: which words a text has, as one vector."""

    source = None

    def encode_queries(self, texts):
        return [words(1, 2, len(text) % 5 + 3) for text in texts]


@pytest.fixture(scope="module")
def documents():
    rng = np.random.default_rng(5)
    return {
        "dense": [rng.standard_normal(6).astype(np.float32) for _ in IDS],
        "bm25": [words(i % 7 + 1, *range(8, 9 + i)) for i in range(COUNT)],
        "colbert": [rng.standard_normal((2 + i % 3, 6)).astype(np.float32) for i in range(COUNT)],
    }


@pytest.fixture(scope="module")
def index(documents):
    with open_index(":memory:", SPECS) as index:
        index.add(IDS, documents)
        yield index


@pytest.fixture()
def encoders():
    return {"dense": Drawn("dense"), "bm25": Words(), "colbert": Drawn("colbert", True)}


def by_score(score, of=IDS):
    return sorted(of, key=lambda doc_id: -score[doc_id])


def cosines(documents, text):
    query = drawn(text, False)
    return {
        doc_id: float(query @ d) / np.linalg.norm(query) / np.linalg.norm(d)
        for doc_id, d in zip(IDS, documents["dense"], strict=True)
    }


def maxsims(documents, text):
    rows = zip(IDS, documents["colbert"], strict=True)
    return {doc_id: maxsim(drawn(text, True), d).score for doc_id, d in rows}


def ranked(hits, score):
    """Whether hits have these scores; returns their ids."""
    np.testing.assert_allclose([s for _, s in hits], [score[doc_id] for doc_id, _ in hits], atol=1e-4)
    return [doc_id for doc_id, _ in hits]


@pytest.mark.parametrize("limit", [1, 5, 100])
def test_a_first_stage_is_the_order_of_its_scores_up_to_the_limit(index, encoders, documents, limit):
    for name, scores in (("dense", cosines), ("colbert", maxsims)):
        score = scores(documents, "a query")
        hits = Retriever(index, encoders, System(name), limit=limit).search("a query")
        assert ranked(hits, score) == by_score(score)[:limit]


@pytest.mark.parametrize(("depth", "limit"), [(4, 2), (4, 100), (1, 3), (100, 100)])
def test_a_rerank_orders_the_first_stages_candidates_and_no_others(index, encoders, documents, depth, limit):
    first, score = cosines(documents, "another"), maxsims(documents, "another")
    hits = Retriever(index, encoders, System("dense", "colbert"), depth, limit).search("another")
    assert ranked(hits, score) == by_score(score, by_score(first)[:depth])[: min(depth, limit)]


@pytest.mark.parametrize("method", ["rrf", "dbsf"])
def test_a_hybrid_is_the_fusion_of_as_many_of_each_side(index, encoders, method):
    name = "hybrid" if method == "rrf" else "hybrid-dbsf"
    dense, bm25 = drawn("words", False), words(1, 2, 3)
    for per_side in (3, 100):
        sides = (Prefetch(dense, "dense", per_side), Prefetch(bm25, "bm25", per_side))
        expected = index.fuse(Fusion(sides, method), 5)
        hits = Retriever(index, encoders, System(name, per_side=per_side), depth=7, limit=5).search("words")
        assert [doc_id for doc_id, _ in hits] == [doc_id for doc_id, _ in expected]
        assert [score for _, score in hits] == pytest.approx([score for _, score in expected])


def test_a_hybrids_rerank_takes_half_of_the_depth_of_each_side(index, encoders, documents):
    dense, bm25 = drawn("words", False), words(1, 2, 3)
    sides = [index.search(dense, "dense", 4), index.search(bm25, "bm25", 4)]
    candidates = {doc_id for side in sides for doc_id, _ in side}
    score = maxsims(documents, "words")
    hits = Retriever(index, encoders, System("hybrid", "colbert"), depth=7).search("words")
    assert ranked(hits, score) == by_score(score, candidates)[:7]
    calls = []

    def rescore(*call):
        calls.append(call)
        return [(doc_id, float(int(doc_id[1:]) // 2)) for doc_id, _ in call[2]]

    retriever = Retriever(index, encoders, System("hybrid", "cross-encoder"), 7, 3, rescore)
    hits = retriever.run(pd.DataFrame({"query_id": ["q"], "text": ["words"]})).results
    query_id, text, given = calls[-1]
    assert (query_id, text, {doc_id for doc_id, _ in given}) == ("q", "words", candidates)
    assert len(given) == len(candidates)  # each once, though both sides have it
    best = sorted(candidates, key=lambda doc_id: (-(int(doc_id[1:]) // 2), doc_id))  # ties by the id
    assert hits["doc_id"].tolist() == best[:3]
    assert hits["score"].tolist() == [float(int(doc_id[1:]) // 2) for doc_id in best[:3]]


def test_a_rerank_by_judgments_returns_no_more_than_the_depth(index, encoders):
    grades = pd.DataFrame({"query_id": ["q", "other"], "doc_id": [IDS[3], IDS[4]], "relevance": [2, 9]})
    retriever = Retriever(index, encoders, System("dense", "oracle"), 100, 100, oracle(grades))
    hits = retriever.run(pd.DataFrame({"query_id": ["q"], "text": ["words"]})).results
    assert hits["doc_id"].tolist() == [IDS[3], *(doc_id for doc_id in IDS if doc_id != IDS[3])]
    assert hits["score"].tolist() == [2.0] + [0.0] * (COUNT - 1)
    few = Retriever(index, encoders, System("dense", "oracle"), 5, 100, oracle(grades))
    assert len(few.search("words")) == 5


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
def test_passages_are_ranked_until_there_are_as_many_documents_as_the_limit(index, encoders, documents, limit):
    score = maxsims(documents, "a query")
    best = {}
    for passage in by_score(score):
        best.setdefault(PASSAGE_OF[passage], passage)
    retriever = Retriever(index, encoders, System("colbert"), limit=limit, passage_of=PASSAGE_OF)
    assert ranked(retriever.search_passages("a query"), score) == list(best.values())[:limit]
    found = retriever.run(pd.DataFrame({"query_id": ["q"], "text": ["a query"]})).results
    assert found["doc_id"].tolist() == list(best)[:limit] == [doc_id for doc_id, _ in retriever.search("a query")]


def test_passages_of_one_document_in_front_are_no_reason_to_stop():
    """Nine passages of one document come first: what a document has on average is not enough."""
    passages = [f"p{i}" for i in range(12)]
    document = {p: "long" if i < 9 else p for i, p in enumerate(passages)}
    asked = []

    class Ordered:
        def search(self, vector, using, limit):
            asked.append(limit)
            return [(p, 1 - i / 100) for i, p in enumerate(passages)][:limit]

    encoders = {"dense": Drawn("dense")}
    retriever = Retriever(Ordered(), encoders, System("dense"), limit=2, passage_of=document)
    assert retriever.search("x") == [("long", 1.0), ("p9", 0.91)]
    assert asked == [6, 12]  # of 12 passages and 4 documents
    asked.clear()
    assert len(Retriever(Ordered(), encoders, System("dense"), limit=4, passage_of=document).search("x")) == 4
    assert asked == [12]  # there are no more documents


def test_of_no_passages_documents_are_found(index, encoders):
    plain = Retriever(index, encoders, System("dense")).search("x")
    found = Retriever(index, encoders, System("dense"), passage_of={}).search("x")
    assert [doc_id for doc_id, _ in found] == [doc_id for doc_id, _ in plain]


def test_an_engine_is_told_whether_a_rerank_is_each_shards_own(encoders):
    asked = []

    class Recorded:
        def search(self, *of):
            asked.append(of)
            return []

    for system in (System("dense", "colbert"), System("dense", "colbert", shard_depth=7)):
        assert Retriever(Recorded(), encoders, system, depth=7, limit=3).search("words") == []
    for (_, using, limit, (stage,), per_shard), expected in zip(asked, (False, True), strict=True):
        assert (using, limit, stage.using, stage.depth, per_shard) == ("colbert", 3, "dense", 7, expected)


def test_a_rerank_of_passages_is_asked_with_the_query(index, encoders):
    calls = []

    def rescore(*call):
        calls.append(call[:2])
        return call[2]

    system = System("dense", "oracle")
    retriever = Retriever(index, encoders, system, limit=2, rescore=rescore, passage_of=PASSAGE_OF)
    retriever.run(pd.DataFrame({"query_id": ["q"], "text": ["words"]}))
    assert set(calls) == {("q", "words")}


def test_the_best_passage_counts_whichever_comes_first_and_equals_are_by_the_documents_id():
    passage_of = {"b#1": "b", "b#2": "b", "a#1": "a", "c#1": "c"}
    hits = [("c#1", 0.5), ("b#1", 0.5), ("b#2", 0.7), ("a#1", 0.7)]
    assert best_passages(hits, passage_of) == [("a#1", 0.7), ("b#2", 0.7), ("c#1", 0.5)]
    assert best_passages([("b#1", 0.5), ("b#2", 0.5)], passage_of) == [("b#1", 0.5)]


def test_each_query_is_encoded_by_each_of_the_systems_models_and_by_no_other(index, encoders):
    found = Retriever(index, encoders, System("dense", "colbert"))._encode(["one", "three"])
    assert [list(query) for query in found] == [["dense", "colbert"]] * 2
    for query, text in zip(found, ["one", "three"], strict=True):
        np.testing.assert_array_equal(query["dense"], drawn(text, False))
        np.testing.assert_array_equal(query["colbert"], drawn(text, True))
    Retriever(index, encoders, System("dense"))._encode(["four"])
    assert encoders["colbert"].asked == ["one", "three"]


def test_what_is_made_of_another_encoders_array_is_made_of_one_reading(index):
    colbert = Drawn("colbert", True)
    encoders = {"dense": Drawn("mean", source=colbert), "colbert": colbert}
    found = Retriever(index, encoders, System("dense", "colbert"))._encode_anew("words")
    assert colbert.asked == ["words"] and encoders["dense"].asked == []
    np.testing.assert_array_equal(found["colbert"], drawn("words", True))
    np.testing.assert_array_equal(found["dense"], drawn("words", True).mean(axis=0))
    others = {"dense": Drawn("dense"), "colbert": Drawn("colbert", True)}
    found = Retriever(index, others, System("dense", "colbert"))._encode_anew("words")
    np.testing.assert_array_equal(found["dense"], drawn("words", False))
    assert [encoder.asked for encoder in others.values()] == [["words"]] * 2


def test_a_run_keeps_each_querys_ranking_and_time_apart(index, encoders, documents):
    queries = pd.DataFrame({"query_id": ["q", "r"], "text": ["one", "three"]})
    run = Retriever(index, encoders, System("colbert"), limit=3).run(queries)
    for query_id, text in queries.itertuples(index=False):
        part = run.results[run.results["query_id"] == query_id]
        assert part["doc_id"].tolist() == by_score(maxsims(documents, text))[:3] and part["rank"].tolist() == [1, 2, 3]
    assert list(run.ms.index) == ["q", "r"] and (run.ms > 0).all() and run.system == "colbert"


def test_vectors_that_are_there_already_are_searched_as_those_of_a_text(index, encoders, documents):
    first, score = cosines(documents, "another"), maxsims(documents, "another")
    vectors = {"dense": drawn("another", False), "colbert": drawn("another", True)}
    hits = Retriever(index, encoders, System("dense", "colbert"), 4, 3).answer(vectors)
    assert ranked(hits, score) == by_score(score, by_score(first)[:4])[:3]
    assert encoders["dense"].asked == encoders["colbert"].asked == []
    told = []

    def rescore(*call):
        told.append(call[:2])
        return call[2]

    of_documents = Retriever(index, encoders, System("dense", "oracle"), 4, 3, rescore, PASSAGE_OF)
    assert {doc_id for doc_id, _ in of_documents.answer(vectors)} <= set(PASSAGE_OF.values())
    assert set(told) == {("", "")}  # there is neither an id nor a text


def test_a_text_that_is_searched_is_reranked_by_that_text_under_no_id(index, encoders):
    told = []

    def rescore(query_id, text, hits):
        told.append((query_id, text))
        return hits

    Retriever(index, encoders, System("dense", "cross-encoder"), rescore=rescore).search("words")
    assert told == [("", "words")]


class Clock:
    """Time that passes only when somebody works."""

    def __init__(self, monkeypatch):
        self.now, self.events = 100.0, []
        monkeypatch.setattr("ragkit.evaluation.retriever.time", SimpleNamespace(perf_counter=self.read))

    def read(self):
        self.events.append("clock")
        return self.now

    def work(self, what, seconds):
        self.events.append(what)
        self.now += seconds


class Timed:
    """An index that takes as many seconds as a query has letters, and is asked again for some of them."""

    again_for = {"four": {"429": 2, "503": 1}, "three": {"429": 1}}

    def __init__(self, clock):
        self.clock, self.lost_s, self.again = clock, 50.0, Counter({"429": 7})  # of searches before this run

    def search(self, query, using, limit):
        lost = 10 * len(self.again_for.get(query, ()))
        self.clock.work(query, len(query) + lost)
        self.lost_s += lost
        self.again.update(self.again_for.get(query, {}))
        return [("d1", 0.5), ("d0", 0.25)][:limit]


class Itself:
    """A query's vector is its text."""

    source = None

    def encode_queries(self, texts):
        return list(texts)


def queries_of(*texts):
    return pd.DataFrame({"query_id": [f"q{i}" for i, _ in enumerate(texts)], "text": texts})


def test_a_querys_time_is_the_engines_for_its_last_sending_once_five_queries_have_warmed_it_up(monkeypatch):
    clock = Clock(monkeypatch)
    queries = queries_of("one", "three", "four", "a", "fourteen", "seventeen")
    run = Retriever(Timed(clock), {"dense": Itself()}, System("dense")).run(queries)
    assert clock.events[:5] == queries["text"].tolist()[:5]
    assert clock.events[5:] == [event for text in queries["text"] for event in ("clock", text, "clock")]
    pd.testing.assert_series_equal(
        run.ms, pd.Series([3e3, 5e3, 4e3, 1e3, 8e3, 9e3], [f"q{i}" for i in range(6)], name="ms")
    )
    assert run.sent_again == {"429": 2, "503": 1}  # queries, not sendings, and none of those that warmed it up
    assert run.results.columns.tolist() == ["query_id", "doc_id", "score", "rank"]
    assert run.results.values.tolist()[-2:] == [["q5", "d1", 0.5, 1], ["q5", "d0", 0.25, 2]]


def test_a_run_of_no_queries_is_an_empty_table_and_no_times(index, encoders):
    run = Retriever(index, encoders, System("dense")).run(queries_of())
    assert run.results.columns.tolist() == ["query_id", "doc_id", "score", "rank"] and run.results.empty
    assert run.ms.empty and run.ms.dtype == float and run.sent_again == {}


def test_progress_is_told_by_the_systems_name_and_what_was_searched(index, encoders, monkeypatch):
    bar = MagicMock()
    monkeypatch.setattr("ragkit.evaluation.retriever.progress", bar)
    Retriever(index, encoders, System("dense", "colbert")).run(queries_of("one", "three"))
    assert bar.call_args_list == [call(2, "dense→colbert: searching", "query")]
    assert bar.return_value.__enter__.return_value.update.call_args_list == [call(), call()]


@pytest.mark.parametrize(
    ("most", "timed"), [(50, [0, 1, 2, 3, 4, 5, 6]), (7, [0, 1, 2, 3, 4, 5, 6]), (6, [0, 2, 4, 6]), (3, [0, 3, 6])]
)
def test_the_encoding_of_at_most_so_many_queries_spread_evenly_is_timed_one_at_a_time(monkeypatch, most, timed):
    """Each a model's reading anew, the first five of them once before the clock counts."""
    monkeypatch.setattr("ragkit.evaluation.retriever.ENCODED", most)
    clock = Clock(monkeypatch)

    class Slow(Drawn):
        def _compute(self, texts, role):
            for text in texts:
                clock.work(text, len(text))
            yield from super()._compute(texts, role)

    queries = queries_of("one", "three", "four", "a", "fourteen", "seventeen", "no")
    sample = queries.iloc[timed]
    found = Retriever(None, {"dense": Slow("dense")}, System("dense")).encoding_ms(queries)
    warm_up = min(5, len(timed))
    assert clock.events[:warm_up] == sample["text"].tolist()[:5]
    assert clock.events[warm_up:] == [event for text in sample["text"] for event in ("clock", text, "clock")]
    expected = [1000.0 * len(text) for text in sample["text"]]
    pd.testing.assert_series_equal(found, pd.Series(expected, sample["query_id"].tolist(), name="encoding_ms"))


def test_the_encoding_of_no_queries_has_no_times(encoders):
    found = Retriever(None, encoders, System("dense")).encoding_ms(queries_of())
    assert found.empty and found.dtype == float and found.name == "encoding_ms"


def test_it_says_what_it_is(index, encoders):
    assert (
        repr(Retriever(index, encoders, System("dense"), limit=7)) == f"<Retriever of dense, limit 7, over {index!r}>"
    )
    of_two = Retriever(index, encoders, System("dense", "colbert"), depth=9)
    assert repr(of_two) == f"<Retriever of dense→colbert, depth 9, limit 100, over {index!r}>"
    assert repr(Retriever(index, encoders, of_two.system)).startswith("<Retriever of dense→colbert, depth 100, limit ")


@pytest.mark.parametrize("name", ["depth", "limit", "per_side"])
def test_a_number_of_documents_that_is_none_is_refused_by_its_name(index, encoders, name):
    for value in (0, 1.5):
        system, numbers = System("hybrid"), {name: value}
        if name == "per_side":
            system, numbers = System("hybrid", **numbers), {}
        with pytest.raises(RagkitError, match=f"^{name} is {value}.*; expected a whole number from 1"):
            Retriever(index, encoders, system, **numbers)


def test_arguments_in_each_others_places_are_named(index, encoders):
    with pytest.raises(RagkitError, match="system is 'dense'; expected a System"):
        Retriever(index, encoders, "dense")
    with pytest.raises(RagkitError, match="encoders is .*; expected a Mapping"):
        Retriever(encoders, index, System("dense"))


def test_what_a_system_needs_and_has_not_is_named(index, encoders):
    with pytest.raises(RagkitError, match="dense→tokens needs an encoder for tokens"):
        Retriever(index, encoders, System("dense", "tokens"))
    with pytest.raises(RagkitError, match="hybrid→tokens needs an encoder for dense, bm25, tokens[.]$"):
        Retriever(index, {}, System("hybrid", "tokens"))
    for system, rescore in ((System("dense", "oracle"), None), (System("dense", "colbert"), lambda *_: [])):
        with pytest.raises(RagkitError, match="`rescore` goes with a rerank by oracle or cross-encoder"):
            Retriever(index, encoders, system, rescore=rescore)
    with pytest.raises(RagkitError, match="The query is ' '; expected words to search for"):
        Retriever(index, encoders, System("dense")).search(" ")


@pytest.mark.parametrize("named", ["", "my/cross-encoder"])
def test_a_cross_encoder_reads_the_query_with_each_candidates_own_text(monkeypatch, named):
    """No model is loaded: lengths stand for its scores, since what is tested is which text is read with which query."""
    loaded, read = [], []

    def load(cls, model, advice):
        loaded.append((cls.__name__, model, advice))
        return SimpleNamespace(rerank=lambda query, texts: read.append((query, texts)) or iter(map(len, texts)))

    monkeypatch.setattr("ragkit.evaluation.retriever.load_model", load)
    monkeypatch.setenv("RAGKIT_CROSS_ENCODER_MODEL", named)
    rescore = cross_encoder({"a": "four", "b": "sixsix", "c": ""})
    assert loaded == [
        (
            "TextCrossEncoder",
            named or "Xenova/ms-marco-MiniLM-L-6-v2",
            "No cross-encoder is embedded: connect once to its hub, or leave it out.",
        )
    ]
    assert rescore("q", "asked", [("b", 0.1), ("a", 0.9)]) == [("b", 6.0), ("a", 4.0)]
    assert read == [("asked", ["sixsix", "four"])]
