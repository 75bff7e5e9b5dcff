"""The playground: what it shows is what the systems find, by hand, by button and by slider."""

from contextlib import closing
from dataclasses import replace

import pytest

import ragkit
from ragkit.datasets import passages
from ragkit.encoders.variants import load_readers
from ragkit.maxsim import maxsim

QUERY = "A movie for kids with fantasy elements and wonders"
OTHER = "a lonely boy at night"


@pytest.fixture()
def panel(movies, movies_cache):
    opened = ragkit.playground(movies, where=":memory:")
    yield opened
    opened.close()


def by_hand(movies, name, query):
    """All films by one model's scores, best first: a matrix product, or the sum of best matches."""
    encoder = ragkit.load_encoder(name)
    asked, documents = encoder.encode_queries([query])[0], encoder.encode_documents(movies.passages)
    scores = [maxsim(asked, d).score if encoder.multivector else float(asked @ d) for d in documents]
    return sorted(zip(movies.documents["doc_id"], scores, strict=True), key=lambda hit: -hit[1])


def ids(hits):
    return [doc_id for doc_id, _ in hits]


@pytest.mark.slow
@pytest.mark.parametrize("query", [QUERY, OTHER])
def test_each_system_shows_its_own_first_results(panel, movies, query):
    panel.ask(query)
    for name in ("dense", "colbert"):
        shown, expected = panel.results[name], by_hand(movies, name, query)[:5]
        assert ids(shown) == ids(expected)
        assert [s for _, s in shown] == pytest.approx([s for _, s in expected], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 3, 10, 20])
def test_a_rerank_orders_the_first_stages_candidates_and_tells_their_rank_there(panel, movies, depth):
    panel.ask(OTHER, depth)
    candidates = ids(by_hand(movies, "dense", OTHER))[:depth]
    expected = [i for i in ids(by_hand(movies, "colbert", OTHER)) if i in candidates][:5]
    assert ids(panel.results["dense→colbert"]) == expected
    titles = dict(zip(movies.documents["doc_id"], movies.documents["title"], strict=True))
    lines = repr(panel).splitlines()
    assert f"reorders the first {depth} of dense" in lines[-1]
    for line, doc_id in zip(lines[2:], expected, strict=False):
        assert titles[doc_id][:20] in line and line.endswith(f"({candidates.index(doc_id) + 1})")


@pytest.mark.slow
def test_the_first_state_is_a_table_of_the_datasets_first_query(panel, movies):
    lines = repr(panel).splitlines()
    assert lines[0] == f"movies: {movies.queries['text'].iloc[0]!r}"
    assert lines[1].split() == ["rank", "dense", "colbert", "dense→colbert"] and len(lines) == 8


@pytest.mark.slow
def test_a_dataset_without_queries_is_opened_with_one(movies, movies_cache):
    unasked = replace(movies, queries=movies.queries.head(0), qrels=movies.qrels.head(0))
    with pytest.raises(ragkit.RagkitError, match="movies has no queries to begin with; pass query="):
        ragkit.playground(unasked, ["dense"], where=":memory:")
    opened = ragkit.playground(unasked, ["dense"], QUERY, where=":memory:")
    assert ids(opened.results["dense"]) == ids(by_hand(movies, "dense", QUERY))[:5]
    opened.close()


@pytest.mark.slow
def test_a_result_is_explained_by_tokens_that_add_up_to_its_score(panel):
    panel.ask(QUERY)
    for system in ("colbert", "dense→colbert"):
        view = panel.explain(system, 2)
        assert view.documents[0].given == panel.results[system][1][1]
        assert view.contributions["similarity"].sum() == pytest.approx(panel.results[system][1][1], abs=1e-3)
    assert panel.explain("dense", 1).documents[0].given is None  # a cosine, and no sum of tokens


@pytest.mark.slow
def test_copies_with_fewer_bits_or_rows_are_explained_by_their_models_rows(movies, movies_cache):
    panel = ragkit.playground(movies, ["colbert-pool2"], QUERY, where=":memory:")
    assert panel.explain("colbert-pool2").documents[0].given is None
    panel.close()


@pytest.mark.slow
def test_what_cannot_be_asked_or_explained_is_refused_and_changes_nothing(panel, movies, movies_cache):
    before = repr(panel)
    for query in ("", " \n"):
        with pytest.raises(ragkit.RagkitError, match="expected words"):
            panel.ask(query, 3)
    with pytest.raises(ragkit.RagkitError, match="depth is 0"):
        panel.ask(depth=0)
    assert repr(panel) == before
    for rank, system in ((6, "dense"), (1, "bm25")):
        with pytest.raises(ragkit.RagkitError, match=f"{system} has no result at rank {rank}"):
            panel.explain(system, rank)
    for systems in ([], ["dense+oracle"]):
        with pytest.raises(ragkit.RagkitError, match="at least one"):
            ragkit.playground(movies, systems)
    dense = ragkit.playground(movies, ["dense"], where=":memory:")
    with pytest.raises(ragkit.RagkitError, match="add colbert or tokens"):
        dense.explain("dense")
    dense.close()


@pytest.mark.slow
def test_documents_cut_into_passages_are_shown_once_and_explained_by_the_best(movies, movies_cache):
    cut = replace(movies, documents=passages.cut(movies.documents, 24, load_readers(["dense"])["dense"]))
    assert len(cut.documents) > 40
    whole = dict(zip(cut.documents["doc_id"], cut.document_ids, strict=True))
    with closing(ragkit.playground(cut, query=OTHER, depth=12, where=":memory:")) as panel:
        for name in ("dense", "colbert", "dense→colbert"):
            rows = by_hand(cut, "colbert" if "colbert" in name else "dense", OTHER)
            if "→" in name:
                candidates = ids(by_hand(cut, "dense", OTHER))[:12]
                rows = [row for row in rows if row[0] in candidates]
            best = {}  # of each document the first row, so the best
            for row, score in rows:
                best.setdefault(whole[row], (row, score))
            expected = [(doc_id, row, score) for doc_id, (row, score) in best.items()][:5]
            assert ids(panel.results[name]) == [doc_id for doc_id, *_ in expected]
            texts = dict(zip(cut.documents["doc_id"], cut.passages, strict=True))
            for rank, (_, row, score) in enumerate(expected, 1):
                view = panel.explain(name, rank)
                alone = ragkit.explore(ragkit.load_encoder("colbert"), OTHER, texts[row])
                assert view.contributions["best document token"].equals(alone.contributions["best document token"])
                if name != "dense":
                    assert view.contributions["similarity"].sum() == pytest.approx(score, abs=1e-3)
        first = list(dict.fromkeys(whole[row] for row in ids(by_hand(cut, "dense", OTHER))))
        column = [line.rpartition("(")[2].rstrip(")") for line in repr(panel).splitlines()[2:]]
        shown = ids(panel.results["dense→colbert"])
        assert column[: len(shown)] == [str(first.index(doc_id) + 1) for doc_id in shown]


# The panel, pressed as a hand would.


def parts(panel):
    field, slider, row, said, below, _ = panel.widget().children
    columns = {name: column.children[1:] for name, column in zip(panel.systems, row.children, strict=True)}
    return field, slider, columns, said, below


def described(columns):
    return {name: [button.description for button in buttons] for name, buttons in columns.items()}


@pytest.mark.slow
def test_a_typed_query_changes_the_buttons(panel, movies):
    field, _, columns, _, below = parts(panel)
    columns["dense"][0].click()
    assert "iframe" in below.value
    field.value = OTHER
    titles = dict(zip(movies.documents["doc_id"], movies.documents["title"], strict=True))
    for name in ("dense", "colbert"):
        wanted = [titles[doc_id][:20] for doc_id in ids(by_hand(movies, name, OTHER))[:5]]
        assert all(title in text for title, text in zip(wanted, described(columns)[name], strict=True))
    assert below.value == ""  # tokens of a query that is no longer asked


@pytest.mark.slow
def test_an_empty_field_is_told_and_leaves_the_results(panel):
    field, _, columns, said, _ = parts(panel)
    before = described(columns)
    field.value = " "
    assert "expected words" in said.value and described(columns) == before


@pytest.mark.slow
def test_the_slider_moves_ranks_and_says_how(panel):
    panel.ask(OTHER)
    _, slider, columns, said, _ = parts(panel)
    assert slider.options == (1, 2, 3, 5, 10, 20)  # 20 films
    slider.value = 1
    only = described(columns)["dense→colbert"]
    assert only[0].endswith("(1)") or "▲" in only[0]
    assert only[1:] == [""] * 4 and columns["dense→colbert"][1].disabled
    slider.value = 20
    deep = described(columns)["dense→colbert"]
    assert sum("  new" in text for text in deep) >= 4 and "the first 20 of dense" in said.value
    assert not any("new" in text or "▲" in text for text in described(columns)["colbert"])  # it has no depth


@pytest.mark.slow
def test_a_click_shows_the_tokens_of_that_result_escaped(panel, movies):
    panel.ask("<script>alert(1)</script> a boy")
    _, _, columns, said, below = parts(panel)
    columns["colbert"][1].click()
    title = panel.explain("colbert", 2).documents[0].title
    assert "The score of colbert is this sum" in below.value and title in below.value
    assert "<script>alert" not in below.value + said.value
    columns["dense"][0].click()
    assert "another kind" in below.value


@pytest.mark.slow
def test_a_notebook_gets_the_panel_and_the_table_beside_it(panel, monkeypatch):
    assert set(panel._repr_mimebundle_()) == {"application/vnd.jupyter.widget-view+json", "text/plain"}
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)  # as if it were not installed
    assert panel._repr_mimebundle_() == {"text/plain": repr(panel)}


@pytest.mark.slow
def test_a_query_is_searched_once(panel):
    panel.ask(OTHER).ask(QUERY)
    panel.close()  # what is known needs no index
    assert panel.ask(OTHER).query == OTHER
