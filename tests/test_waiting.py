"""What somebody who asks waits for: encoding and search, of the same query."""

import numpy as np
import pandas as pd
import pytest

import ragkit
from ragkit import Retriever, System, build_index, load_encoders
from ragkit.display import tables
from ragkit.display.verdicts import verdicts
from ragkit.encoders.encoder import Encoder
from ragkit.evaluation.retriever import ENCODED, WARM_UP


@pytest.fixture(autouse=True)
def as_many_timed_as_the_kit_does(monkeypatch):
    """And not the few of other tests; it was imported before they were made few."""
    monkeypatch.setattr("ragkit.evaluation.retriever.ENCODED", ENCODED)


@pytest.fixture()
def asked(monkeypatch):
    """The query texts that models are asked to encode, one list a call."""
    calls, embed = [], Encoder._embed

    def watch(self, batch, role):
        if role == "query":
            calls.append((self.name, list(batch)))
        return embed(self, batch, role)

    monkeypatch.setattr(Encoder, "_embed", watch)
    return calls


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dense", "colbert", "colbert-pool2", "muvera"])
def test_a_query_encoded_anew_is_the_query(name, movies, asked):
    encoder, text = load_encoders([name])[name], movies.queries["text"][3]
    expected = encoder.encode_queries([text])[0]
    asked.clear()
    np.testing.assert_allclose(encoder.encode_query(text), expected, atol=2e-5)
    assert [batch for _, batch in asked] == [[text]]  # the model was asked, though the cache holds it


@pytest.mark.slow
def test_a_model_reads_a_query_once_for_all_that_is_made_of_it(movies, asked):
    names = ["muvera", "colbert"]
    encoders = load_encoders(names)
    with build_index(movies, encoders, ":memory:")[0] as index:
        retriever = Retriever(index, encoders, System.parse("muvera+colbert"))
        found = retriever._encode_anew("a film about toys")
        asked.clear()
        retriever._encode_anew("a film about toys")
    assert len(asked) == 1 and list(found) == names
    for name, encoder in encoders.items():
        np.testing.assert_allclose(found[name], encoder.encode_queries(["a film about toys"])[0], atol=2e-5)


@pytest.mark.slow
def test_at_most_so_many_queries_are_timed_one_at_a_time_after_a_few_to_warm_up(movies, asked):
    many = pd.concat([movies.queries.assign(query_id=movies.queries["query_id"] + f"-{i}") for i in range(3)])
    encoders = load_encoders(["dense"])
    with build_index(movies, encoders, ":memory:")[0] as index:
        ms = Retriever(index, encoders, System("dense")).encoding_ms(many)
    assert len(ms) == 40 <= ENCODED and list(ms.index) == many["query_id"].tolist()[::3]
    assert [len(batch) for _, batch in asked] == [1] * (40 + WARM_UP) and (ms > 0).all()


@pytest.mark.slow
def test_the_time_with_encoding_is_that_of_encoding_and_search_of_the_same_query(movies, own_cache):
    comparison = ragkit.compare(movies, ["dense", "dense+oracle"])
    dense, oracle = comparison.systems
    assert len(dense.encoding_ms) == 40
    pd.testing.assert_series_equal(dense.waited_ms, dense.ms + dense.encoding_ms, check_names=False)
    row = comparison.table().iloc[0]
    assert (
        row["with_encoding_ms"] == pytest.approx(np.median(dense.waited_ms)) and row["with_encoding_ms"] > row["p50_ms"]
    )
    assert oracle.encoding_ms.empty and np.isnan(comparison.table()["with_encoding_ms"][1])
    assert "with_encoding_ms" in tables.cost(comparison)


@pytest.mark.slow
def test_a_verdict_speaks_of_what_one_waits_for_and_keeps_the_engines_part_beside_it(movies, own_cache):
    comparison = ragkit.compare(movies, ["dense", "colbert"])
    waited, engine = (comparison.table()[column] for column in ("with_encoding_ms", "p50_ms"))
    times = [
        f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" for ratio in (waited[1] / waited[0], engine[1] / engine[0])
    ]
    told = f"{times[0]} times the time with encoding ({times[1]} times the engine's time)."
    assert verdicts(comparison)[0].endswith(told)


@pytest.mark.slow
def test_local_mode_has_no_time_of_either_kind(movies):
    comparison = ragkit.compare(movies, ["dense"], where=":memory:")
    assert comparison.table()[["with_encoding_ms", "p50_ms"]].isna().all(axis=None)
    assert "with_encoding_ms" not in tables.cost(comparison)
