import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import ragkit
from ragkit import plots, show
from ragkit.maxsim import maxsim
from ragkit.report import render


@pytest.fixture(scope="module")
def comparison():
    return ragkit.compare(ragkit.load_movies(), ["dense", "colbert", "tokens"], where=":memory:")


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.alts, self.images = [], [], 0

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.links += [values[name] for name in ("src", "href") if name in values]
        if tag == "img":
            self.images += 1
            self.alts.append(values.get("alt"))


def test_the_report_needs_nothing_but_itself(movies, comparison):
    page = render([(movies, comparison)])
    found = Links()
    found.feed(page)
    assert found.images >= 3 and all(found.alts)
    assert all(link.startswith("data:") for link in found.links)
    assert not re.search(r"@import|url\(", page)
    assert len(page) < 2_000_000
    assert "Let the Right One In" in page and "all-MiniLM-L6-v2" in page


def test_a_document_that_holds_html_is_shown_as_text(write_collection, own_cache):
    bad = "<script>alert('x')</script>"
    folder = write_collection(
        [f'{{"_id": "<d>", "title": "{bad}", "text": "red fish"}}', '{"_id": "e", "text": "blue bird in a tree"}'],
        [f'{{"_id": "q<1>", "text": "{bad} fish"}}', '{"_id": "q2", "text": "bird"}'],
        ["q<1>\t<d>\t1", "q2\te\t1"],
    )
    dataset = ragkit.load_beir(folder)
    page = render([(dataset, ragkit.compare(dataset, ["dense", "tokens"], where=":memory:"))])
    assert "<script>alert" not in page


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
    assert show.table(frame).splitlines() == [
        "system         nDCG@10  p50_ms  bytes_per_document  queries",
        "dense            0.500    1.23               1,536      300",
        "dense→colbert    0.000   10.00             110,963        5",
    ]


def test_the_top_of_a_run_names_the_films(movies, comparison):
    lines = show.top(comparison.systems[0].results, movies.documents, "q01", 1).splitlines()
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


def test_pictures_show_the_numbers_of_the_comparison(comparison):
    table = comparison.table().set_index("system")
    bars = plots.measures(comparison).containers
    assert [bar.get_height() for bar in bars[0]] == pytest.approx(
        table.loc["dense", ["nDCG@10", "R@100", "RR@10"]].tolist()
    )
    axes = plots.differences(comparison, "colbert", "dense")
    values = comparison.values()
    assert sum(bar.get_height() for bar in axes.containers[0]) == pytest.approx(
        (values["colbert"] - values["dense"]).sum()
    )
    offsets = plots.quality_cost(comparison, cost="bytes_per_document").collections
    assert [c.get_offsets()[0][0] for c in offsets] == pytest.approx(table["bytes_per_document"].tolist())
    plt.close("all")


def test_progress_is_hidden_when_asked(monkeypatch):
    from ragkit.progress import progress

    for value, hidden in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("TQDM_DISABLE", value)
        with progress(3, "encoding", "text") as bar:
            assert bar.disable is hidden
