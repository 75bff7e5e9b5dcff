import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import ragkit
from ragkit.datasets.dataset import Dataset
from ragkit.display import plots, tables
from ragkit.display.report import render
from ragkit.display.verdicts import verdicts
from ragkit.evaluation.comparison import Comparison, Cost, system_result
from ragkit.evaluation.measures import JUDGED, MEASURES
from ragkit.evaluation.systems import Run
from ragkit.maxsim import maxsim

# Text that would run, close its element or break a formula if it were not taken as text.
BAD = "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 2'><!-- $x_{ & \"q\""


@pytest.fixture(scope="module")
def comparison():
    return ragkit.compare(ragkit.load_movies(), ["dense", "colbert", "tokens"])


def made_up(systems, queries=300, documents=1000, bad=""):
    """A collection and a comparison with a real one's structure: drawn runs, and measures computed from them.

    The first query, its relevant document and one note hold the text `bad`. An oracle has no times.
    """
    rng = np.random.default_rng(3)
    words = np.array(["cell", "gene", "protein", "in", "mice", "risk of", "the human", "cancer", "binding", "therapy"])

    def text(count):
        return " ".join(rng.choice(words, count))

    doc_ids = [str(1000 + 7 * i) for i in range(documents)]
    query_ids = [str(1 + i) for i in range(queries)]
    dataset = Dataset(
        "made up",
        pd.DataFrame(
            {"doc_id": doc_ids, "title": [bad + text(14) for _ in doc_ids[:1]] + [text(14) for _ in doc_ids[1:]]}
        ).assign(text=[text(200) for _ in doc_ids]),
        pd.DataFrame(
            {"query_id": query_ids, "text": [(bad if q == "1" else "") + text(12) for q in query_ids], "kind": ""}
        ),
        pd.DataFrame(
            {"query_id": query_ids, "doc_id": [doc_ids[i % documents] for i in range(queries)], "relevance": 1}
        ),
    )
    results = []
    for place, name in enumerate(systems):
        rows = []
        for i, query_id in enumerate(query_ids):
            others = rng.choice(documents, min(documents, 100), replace=False)
            ranked = [doc_ids[j] for j in others if j != i % documents]
            ranked.insert(
                0 if plots.is_oracle(name) else int(rng.geometric(0.5 - 0.05 * place)) - 1, doc_ids[i % documents]
            )
            rows += [(query_id, doc_id, 1 - rank / 1000, rank) for rank, doc_id in enumerate(ranked[:100], 1)]
        frame = pd.DataFrame(rows, columns=["query_id", "doc_id", "score", "rank"])
        ms = pd.Series(rng.gamma(4, 0.7 * 7.0**place, queries) * (np.nan if plots.is_oracle(name) else 1), query_ids)
        cost = Cost(1536.0 * 9**place, 1800.0 * 9**place, 0.9 * (place + 1), 8e6 * 2**place)
        results.append(system_result(Run(name, frame, ms), dataset.qrels, cost, MEASURES))
    config = {
        "models": {"dense": {"model": "a/model", "dim": 384, "sha256": {"model.onnx": "08ca"}}},
        "embedded_text": "title + text",
        "truncation": "256 tokens",
        "search": "exact",
        "depth": 100,
        "times": "engine only",
        "versions": {"python": "3.11", "fastembed": "0.9", "onnxruntime": "1.3"},
        "machine": "Linux, 2 cores",
        "engine": "Qdrant Edge",
        "engine_times_are_qdrants": True,
        "command": f"python -m ragkit compare made_up {bad}",
    }
    return dataset, Comparison("made up", documents, queries, config, results, (f"a note {bad}",))


FIVE = ("dense", "colbert", "dense→colbert", "bm25", "dense→oracle")


@pytest.fixture(scope="module")
def large():
    return made_up(FIVE)


@pytest.fixture(scope="module")
def large_page(large):
    return render([large])


class Page(HTMLParser):
    """What a page links to and shows, and the cells of its tables as (text, data-value, style)."""

    def __init__(self, page):
        super().__init__()
        self.links, self.alts, self.headings, self.tags, self.rows, self.styles = [], [], [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.links += [values[name] for name in ("src", "href", "srcset", "action", "data") if name in values]
        if tag == "img":
            self.alts.append(values.get("alt"))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append(["", values.get("data-value")])
        if "style" in values:
            self.styles.append(values["style"])

    def handle_data(self, text):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1][0] += text.strip() + " " * bool(text.strip())


@pytest.mark.slow
def test_the_report_needs_nothing_but_itself(movies, comparison):
    page = render([(movies, comparison)])
    found = Page(page)
    assert len(found.alts) >= 4 and all(found.alts)
    assert all(link.startswith(("data:", "#")) for link in found.links)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttp", page)
    assert "Let the Right One In" in page and "all-MiniLM-L6-v2" in page


@pytest.mark.slow
def test_a_report_of_five_systems_on_300_queries_and_of_the_movies_is_below_2_mb(movies, comparison, large):
    page = render([large, (movies, comparison)])
    assert len(page.encode()) < 2_000_000
    headings = Page(page).headings
    assert headings[0] == 1 and all(b - a <= 1 for a, b in zip(headings, headings[1:], strict=False))


@pytest.mark.slow
def test_a_collection_of_many_queries_is_cut_to_those_where_systems_disagree(large, large_page, monkeypatch):
    def shown(page):
        return [query["id"] for query in json.loads(re.search(r'id="data">(.*?)</script>', page)[1])[0]["queries"]]

    _, many = large
    assert shown(large_page) == [str(i) for i in range(1, 301)] and "disagree most.</p>" not in large_page
    monkeypatch.setattr("ragkit.display.report._BROWSED", 20)
    page = render([large])
    kept = shown(page)
    assert "These are the 20 of 300 queries where the systems disagree most." in page
    values = many.values().drop(columns="dense→oracle")
    spread = values.max(axis=1) - values.min(axis=1)
    assert len(kept) == 20 and spread[kept].min() >= spread.drop(kept).max()


@pytest.mark.slow
def test_what_looks_like_html_is_shown_as_text():
    page = render([made_up(["dense", f"my run {BAD}"], queries=5, documents=30, bad=BAD)])
    found = Page(page)
    assert found.tags.count("script") == 2  # the data and the page's own
    assert "<img src=x" not in page and "window.hit = 1</script>" not in page and "<!--" not in page
    assert len(found.alts) == found.tags.count("img") and all(link.startswith(("data:", "#")) for link in found.links)


@pytest.mark.slow
def test_the_table_holds_the_numbers_of_the_comparison(large, large_page):
    _, many = large
    table, evidence = many.table().set_index("system"), many.evidence().set_index("system")
    rows = {row[0][1]: row[1:] for row in Page(large_page).rows if row and row[0][1] in FIVE}
    assert list(rows) == list(FIVE)
    for system, cells in rows.items():
        row = evidence.loc[system]
        numbers = [row["mean"], *table.loc[system, ["R@100", "RR@10", JUDGED]]]
        numbers += [row["difference"], row["p"], row["p_holm"], row["wins"]]
        numbers += table.loc[system].drop([*MEASURES, JUDGED, "with_encoding_ms"]).tolist()
        assert [float(value or "nan") for _, value in cells] == pytest.approx(numbers, nan_ok=True)
    cells = [text.strip() for text, _ in rows["colbert"]]
    row = evidence.loc["colbert"]
    assert cells[0] == f"{row['mean']:.3f} {row['low']:.3f} to {row['high']:.3f}"
    assert cells[4] == f"{row['difference']:+.3f} {row['difference_low']:+.3f} to {row['difference_high']:+.3f}"
    assert cells[7] == f"{row['wins']:.0f}/{row['ties']:.0f}/{row['losses']:.0f}"
    assert cells[8] == f"{table.loc['colbert', 'p50_ms']:.2f}" and cells[11] == "13,824"
    for verdict in verdicts(many):
        assert verdict.replace("'", "&#39;").replace("<", "&lt;") in large_page


def test_the_report_names_the_family_of_its_p_and_whose_intervals_it_shows(large_page):
    assert "p (Holm): corrected for 3 comparisons with dense; p and 95 %: for each pair alone." in large_page


def test_a_system_has_one_colour_everywhere(large, large_page):
    assert len(set(plots.COLOURS.values())) == len(plots.COLOURS)
    looks = {(plots.colour(name), plots.marker(name)) for name in plots.COLOURS}
    assert len({marker for _, marker in looks}) == len(plots.COLOURS)
    assert plots.colour("somebody's run") == plots.colour("somebody's run")
    assert set(Page(large_page).styles) == {f"color:{plots.colour(name)}" for name in FIVE}
    _, many = large
    drawn = plots.quality_cost(many).collections
    expected = [plots.colour(name) for name in FIVE if name != "dense→oracle"]
    assert [plt.matplotlib.colors.to_hex(points.get_facecolor()[0]).upper() for points in drawn] == expected
    plt.close("all")


@pytest.mark.slow
def test_pictures_in_the_report_keep_the_colours_of_many_systems():
    names = ("dense", "colbert", "dense→colbert", "bm25", "hybrid", "hybrid→colbert", "tokens", "dense→tokens")
    page = render([made_up(names, queries=40, documents=60)])
    first = re.search(r'src="data:image/png;base64,([^"]+)"', page)[1]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(first))).convert("RGB")).astype(int)
    for name in names:
        red, green, blue = (round(255 * part) for part in plt.matplotlib.colors.to_rgb(plots.colour(name)))
        near = np.abs(pixels - (red, green, blue)).max(axis=-1) <= 4
        assert near.sum() >= 40, name  # what two markers have inside


def test_names_in_the_trade_off_cover_neither_each_other_nor_a_point(large):
    _, many = large
    costs = dict(zip(FIVE, (1000.0, 1020.0, 1010.0, 50_000.0, 1000.0), strict=True))
    near = [replace(s, cost=Cost(costs[s.system]), values=many["dense"].values) for s in many.systems[:4]]
    axes = plots.quality_cost(replace(many, systems=near), cost="bytes_per_document")
    axes.figure.draw_without_rendering()
    names = [text.get_window_extent() for text in axes.texts if text.get_text() in FIVE]
    points = [axes.transData.transform(point.get_offsets()[0]) for point in axes.collections]
    assert len(names) == len(points) == 4
    for i, name in enumerate(names):
        assert not any(name.overlaps(other) for other in names[i + 1 :])
        assert not any(name.padded(4).contains(*point) for point in points)
    plt.close("all")


@pytest.mark.slow
def test_names_at_the_ends_of_curves_stand_apart_in_the_order_of_the_ends(large):
    dataset, many = large
    _, axes = plots.recall_by_depth(many, dataset.qrels)
    axes.figure.draw_without_rendering()
    ends = {name: line.get_ydata()[-1] for name, line in zip(("dense", "colbert", "bm25"), axes.lines, strict=True)}
    names = [(text.get_text(), text.get_window_extent()) for text in axes.texts]
    assert sorted(name for name, _ in names) == sorted(ends)
    for (above, box), (below, next_box) in zip(names, names[1:], strict=False):
        assert ends[above] >= ends[below] and box.y0 >= next_box.y1
    assert all(box.x0 > axes.get_window_extent().x1 for _, box in names)
    assert all(box.x1 <= axes.figure.bbox.x1 for _, box in names)
    plt.close("all")


@pytest.mark.slow
def test_curves_by_depth_agree_with_a_naive_loop(large):
    dataset, many = large
    results = many["colbert"].results
    relevant = dict(zip(dataset.qrels["query_id"], dataset.qrels["doc_id"], strict=True))
    curves = plots.depth_curves(results, dataset.qrels, [1, 5, 100])
    for k, row in curves.iterrows():
        top = results[results["rank"] <= k]
        found = sum(relevant[query_id] in set(of["doc_id"]) for query_id, of in top.groupby("query_id"))
        # With one relevant document a query, an oracle ranks it first if the first k hold it.
        assert row.tolist() == pytest.approx([found / 300, found / 300])
    left, right = plots.recall_by_depth(many, dataset.qrels)
    assert len(left.lines) == len(right.lines) == 3  # dense, colbert and bm25: a rerank is no first stage
    plt.close("all")


def test_a_rerank_alone_has_no_curve_by_depth(large):
    dataset, many = large
    alone = Comparison("x", 1, 1, {}, [many["dense→colbert"]])
    with pytest.raises(ragkit.RagkitError, match="compare its first stage too"):
        plots.recall_by_depth(alone, dataset.qrels)


def test_tables_do_not_depend_on_the_machine():
    frame = pd.DataFrame(
        {
            "system": ["dense", "dense→colbert"],
            "nDCG@10": [0.5, -0.0001],
            "p50_ms": [1.234, 10.0],
            "bytes_per_document": [1536.0, 110963.4],
            "queries": [300, 5],
        }
    )
    assert tables.table(frame).splitlines() == [
        "system         nDCG@10  p50_ms  bytes_per_document  queries",
        "dense            0.500    1.23               1,536      300",
        "dense→colbert    0.000   10.00             110,963        5",
    ]


@pytest.mark.slow
def test_the_top_of_a_run_names_the_films(movies, comparison):
    lines = tables.top(comparison.systems[0].results, movies.documents, "q01", 1).splitlines()
    assert [line.split() for line in lines] == [
        ["rank", "doc_id", "title", "score"],
        ["1", "19", "Let", "the", "Right", "One", "In", "0.323"],
    ]


def test_a_heat_map_refuses_labels_that_do_not_fit(rng):
    result = maxsim(rng.standard_normal((3, 4)), rng.standard_normal((5, 4)))
    with pytest.raises(ragkit.RagkitError, match="3 query rows and 5 document rows got 2 query labels"):
        plots.heat_map(result, ["a", "b"], list("vwxyz"))
    with pytest.raises(ragkit.RagkitError, match="6 document labels"):
        plots.heat_map(result, ["a", "b", "c"], list("vwxyz!"))
    axes = plots.heat_map(result, ["a", "b", "c"], list("vwxyz"))
    assert [label.get_text() for label in axes.get_xticklabels()] == list("vwxyz")
    assert f"{result.score:.3f}" in axes.get_title(loc="left")
    plt.close("all")


@pytest.mark.slow
def test_pictures_show_the_numbers_of_the_comparison(comparison):
    table = comparison.table().set_index("system")
    bars = plots.measures(comparison).containers
    assert [bar.get_height() for bar in bars[0]] == pytest.approx(
        table.loc["dense", ["nDCG@10", "R@100", "RR@10"]].tolist()
    )
    axes = plots.differences(comparison, "colbert", "dense")
    values = comparison.values()
    gains = (values["colbert"] - values["dense"]).sort_values()
    corners = [path.get_extents() for path in axes.collections[0].get_paths()]
    assert [box.y1 + box.y0 for box in corners] == pytest.approx(gains.tolist())  # one end of a bar is 0
    assert [box.x0 + box.x1 for box in corners] == [2 * i for i in range(len(gains))]
    offsets = plots.quality_cost(comparison, cost="bytes_per_document").collections
    assert [c.get_offsets()[0][0] for c in offsets] == pytest.approx(table["bytes_per_document"].tolist())
    plt.close("all")


def test_progress_is_hidden_when_asked(monkeypatch):
    from ragkit.progress import progress

    for value, hidden in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("TQDM_DISABLE", value)
        with progress(3, "encoding", "text") as bar:
            assert bar.disable is hidden
