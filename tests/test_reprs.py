"""What objects say of themselves: a few lines as text, an escaped table in a notebook, equality without surprises."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import ragkit
from ragkit.evaluation.comparison import Comparison, Cost
from ragkit.evaluation.systems import Run
from ragkit.html_table import html_table
from ragkit.maxsim import maxsim
from tests.test_report import BAD, made_up

HALF = "half \ud83d of one"  # a lone surrogate, which no file of UTF-8 can hold


class Page(HTMLParser):
    """The elements of a piece of HTML, the attributes that could run something, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.handlers, self.words, self.cells, self.inside = [], [], "", [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")]
        self.inside = tag in ("td", "th")
        if self.inside:
            self.cells.append(dict(attrs) | {"text": ""})

    def handle_data(self, data):
        self.words += data
        if self.inside:
            self.cells[-1]["text"] += data

    def handle_endtag(self, tag):
        self.inside = False


def hostile():
    """One object of each kind, whose every text would run something if it were taken as HTML."""
    dataset, comparison = made_up(["dense", f"my {BAD}"], queries=12, documents=30, bad=BAD)
    run = Run(f"run {BAD}", comparison.systems[0].results.assign(doc_id=BAD), comparison.systems[0].ms)
    return {
        "comparison": replace(comparison, dataset=f"c {BAD}"),
        "dataset": replace(dataset, name=f"d {BAD}", notes=(BAD,)),
        "run": run,
    }


def objects(movies):
    rng = np.random.default_rng(3)
    _, comparison = made_up(["dense", "colbert"])
    result = comparison.systems[0]
    return {
        "Comparison": comparison,
        "SystemResult": result,
        "Run": Run("dense", result.results, result.ms),
        "Dataset": movies,
        "MaxSim": maxsim(rng.standard_normal((32, 128)), rng.standard_normal((200, 128))),
    }


@pytest.mark.slow
def test_a_repr_is_a_few_short_lines_that_say_what_it_is(movies):
    for name, value in objects(movies).items():
        text = repr(value)
        assert text.startswith(name) and len(text.splitlines()) <= 4 and len(text) < 300, text


def test_a_comparison_of_many_long_names_still_prints_a_few_lines():
    _, comparison = made_up(["dense"], queries=3, documents=5)
    many = [replace(comparison.systems[0], system=f"system {i} {'x' * 500}") for i in range(40)]
    comparison = replace(comparison, systems=many)
    assert len(repr(comparison).splitlines()) <= 16 and len(repr(comparison)) < 1500


@pytest.mark.slow
def test_a_comparisons_repr_and_table_hold_its_means_and_its_baseline():
    _, comparison = made_up(["dense", "colbert"])
    for system in comparison.systems:
        mean = f"{system.values['nDCG@10'].mean():.3f}"
        assert mean in repr(comparison) and mean in comparison._repr_html_()
    page = Page(comparison._repr_html_())
    assert "300 queries; the baseline is dense" in page.words and "1,536" in page.words


def test_what_was_not_measured_is_no_column_and_no_number():
    _, comparison = made_up(["dense", "colbert"], queries=3, documents=5)
    unmeasured = replace(comparison.systems[0], ms=comparison.systems[0].ms * np.nan, cost=Cost())
    page = Page(replace(comparison, systems=[unmeasured, comparison.systems[1]])._repr_html_())
    assert "–" in page.words and "nan" not in page.words.lower()
    page = Page(replace(comparison, systems=[unmeasured])._repr_html_())
    assert "ms" not in page.words.split() and "bytes a document" not in page.words


def test_a_dataset_shows_its_counts_an_example_and_its_notes(movies):
    page = Page(replace(movies, notes=("one thing",))._repr_html_())
    for words in ("20", "40", "800", "such as 0: The Passion of Joan of Arc – In 1431", "Note: one thing."):
        assert words in page.words
    counts = movies.qrels["relevance"].value_counts()
    assert f"{counts[0]} of relevance 0, {counts[1]} of relevance 1, {counts[2]} of relevance 2" in page.words


def test_a_dataset_without_queries_has_a_table_too(write_collection):
    folder = write_collection(['{"_id": "d", "text": "t"}'], [], [])
    assert "none" in Page(ragkit.datasets.load_unjudged(folder)._repr_html_()).words


def test_a_run_shows_the_first_document_of_its_first_queries():
    _, comparison = made_up(["dense"])
    result = comparison.systems[0]
    page = Page(Run("dense", result.results, result.ms)._repr_html_())
    first = result.results[result.results["rank"] == 1].head(5)
    assert [cell["text"] for cell in page.cells[3:]][1::3] == first["doc_id"].tolist()
    assert "and 295 more queries" in page.words and f"{result.ms.median():.2f} ms" in page.words


def test_maxsims_table_and_its_last_line_add_up_to_the_score(rng):
    result = maxsim(rng.standard_normal((32, 8)), rng.standard_normal((20, 8)))
    page = Page(result._repr_html_())
    rows = [[cell["text"] for cell in page.cells[i : i + 3]] for i in range(3, len(page.cells), 3)]
    assert len(rows) == 8 and all(int(best) == result.best[int(query)] for query, best, _ in rows)
    assert [int(query) for query, *_ in rows] == np.argsort(-result.contributions)[:8].tolist()
    rest = float(page.words.split("more query rows add ")[1].split()[0].rstrip("."))
    assert sum(float(value) for *_, value in rows) + rest == pytest.approx(result.score, abs=0.01)


def test_nothing_that_a_table_shows_is_taken_as_html():
    for name, value in hostile().items():
        page = Page(value._repr_html_())
        assert not {"script", "img"} & set(page.tags) and not page.handlers, name
        assert "window.hit = 1" in page.words, name  # it is there, as text
    page = Page(html_table(BAD, BAD, [{BAD: BAD}], [BAD]))
    assert not {"script", "img"} & set(page.tags) and not page.handlers
    assert page.words.count("window.hit = 1") == 5


def test_a_notebook_can_be_saved_whatever_a_text_holds():
    json.dumps(html_table(HALF, HALF, [{HALF: HALF}], [HALF]), ensure_ascii=False).encode("utf8")


@pytest.mark.parametrize("ground", ["rgb(255, 255, 255)", "rgb(17, 17, 17)"])
def test_a_browser_runs_nothing_and_shows_the_ink_of_the_page(browser, ground):
    page = browser.new_page(viewport={"width": 900, "height": 600})
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    ink = "rgb(0, 0, 0)" if ground == "rgb(255, 255, 255)" else "rgb(240, 240, 240)"
    tables = "".join(value._repr_html_() for value in hostile().values())
    page.set_content(f"<body style='background: {ground}; color: {ink}'>{tables}</body>")
    cells = page.locator(".ragkit-table th, .ragkit-table td, .ragkit-table b, .ragkit-table small")
    assert cells.count() > 30
    look = "cells => [...new Set(cells.map(c => getComputedStyle(c).color + getComputedStyle(c).backgroundColor))]"
    assert cells.evaluate_all(look) == [f"{ink}rgba(0, 0, 0, 0)"]
    assert page.evaluate("window.hit") is None and not requests
    page.close()


def test_numbers_stand_right_and_words_left():
    page = Page(html_table("t", "", [{"a": "x", "b": 1, "c": 0.5}, {"a": "y", "b": 2, "c": float("nan")}]))
    sides = [cell["style"].removeprefix("text-align: ") for cell in page.cells]
    assert sides == ["left", "right", "right"] * 3


def test_other_objects_say_what_they_are(movies, tmp_path):
    encoders = ragkit.load_encoders(["colbert", "bm25", "colbert-pool2"])
    assert repr(encoders["colbert"]) == "<Encoder ragkit/colbert-minilm-l6: late interaction, dim 128>"
    assert all(" object at " not in repr(encoder) for encoder in encoders.values())
    with ragkit.open_index(":memory:", {"dense": ragkit.VectorSpec(2)}) as index:
        index.add(["a"], {"dense": [np.array([1.0, 0.0])]})
        assert repr(index) == "<LocalIndex of dense: 1 documents in Qdrant local mode (NumPy, not for timing)>"
        retriever = ragkit.Retriever(index, ragkit.load_encoders(["dense"]), ragkit.System.parse("dense"))
        assert repr(retriever) == f"<Retriever of dense, limit 100, over {index!r}>"
    assert repr(ragkit.Judgments(tmp_path / "j.jsonl")) == f"<Judgments in {tmp_path / 'j.jsonl'}>"


def test_maxsim_and_comparison_are_public():
    assert ragkit.maxsim is maxsim and ragkit.Comparison is Comparison and {"maxsim", "Comparison"} <= set(dir(ragkit))


def test_datasets_are_compared_by_what_they_hold(movies):
    again = ragkit.load_movies()
    assert movies == again and hash(movies) == hash(again) and len({movies, again}) == 1
    text = movies.documents["text"].where(movies.documents["doc_id"] != "7", "another")
    others = [
        replace(movies, name="films"),
        replace(movies, with_titles=True),
        replace(movies, notes=("n",)),
        replace(movies, documents=movies.documents.assign(text=text)),
        replace(movies, queries=movies.queries.iloc[1:]),
        replace(movies, qrels=movies.qrels.assign(relevance=0)),
    ]
    assert all(movies != other for other in others) and movies != "movies"


def test_indexes_and_dtypes_do_not_make_datasets_differ(movies):
    moved = movies.qrels.astype({"relevance": "int32"}).set_axis(range(100, 900))
    assert movies == replace(movies, qrels=moved)


@pytest.mark.slow
def test_objects_with_tables_and_arrays_are_compared_and_hashed_without_an_exception(movies):
    for one, two in zip(objects(movies).values(), objects(movies).values(), strict=True):
        assert one == one and (one == two) in (True, False) and len({one, two}) in (1, 2)
