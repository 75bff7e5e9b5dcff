"""Pictures of ideas: they say what they should, and nothing covers anything else."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ragkit.display import ideas, plots


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def words_of(ax):
    return [text for text in [ax.title, *ax.texts] if text.get_text().strip()]


def test_the_three_ways_are_told_apart_by_what_they_store_and_where_texts_meet():
    said = ["\n".join(text.get_text() for text in words_of(ax)) for ax in ideas.three_ways()]
    for words, title, stores, meet in zip(
        said,
        ("Dense", "Cross-encoder", "Late interaction"),
        ("one vector per document", "stores nothing", "one vector per token"),
        ("at the very end", "inside the model", "token by token"),
        strict=True,
    ):
        assert title in words and stores in words and meet in words
    lines = [{line.get_color() for line in ax.lines} for ax in ideas.three_ways()]
    assert lines == [{plots.colour(name)} for name in ("dense", "dense→cross-encoder", "colbert")]


def test_no_words_of_the_three_ways_lie_on_others_or_leave_the_picture():
    panels = ideas.three_ways()
    figure = panels[0].figure
    figure.canvas.draw()
    boxes = [text.get_window_extent() for ax in panels for text in words_of(ax)]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)


def test_an_arrow_ends_where_its_row_does_and_bears_its_name():
    _, ax = plt.subplots()
    rows = np.array([[1.0, 0.0], [0.0, 1.0]])
    ideas.arrows(ax, "two", [("right up", rows, "black")])
    tips = [text.xy for text in ax.texts if hasattr(text, "xy")]
    assert np.allclose(tips, rows)
    names = {text.get_text(): text.get_position() for text in ax.texts if text.get_text()}
    assert names["right"][0] > 1 and names["up"][1] > 1
    with pytest.raises(ValueError):
        ideas.arrows(ax, "one name short", [("right", rows, "black")])
