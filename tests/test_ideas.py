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


@pytest.mark.slow
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


@pytest.mark.slow
def test_no_words_of_the_three_ways_lie_on_others_or_leave_the_picture():
    panels = ideas.three_ways()
    figure = panels[0].figure
    figure.canvas.draw()
    boxes = [text.get_window_extent() for ax in panels for text in words_of(ax)]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)


def test_three_shards_say_how_many_documents_are_reranked_and_nothing_covers_anything():
    panels = ideas.three_shards()
    said = ["\n".join(text.get_text() for text in words_of(ax)) for ax in panels]
    assert "30 documents" in said[0] and "10 documents" in said[1] and said[0].count("its own best 10") == 3
    figure = panels[0].figure
    figure.canvas.draw()
    boxes = [text.get_window_extent() for ax in panels for text in words_of(ax)]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


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


def test_areas_are_as_large_as_the_bytes_and_bear_them():
    ax = ideas.areas([("all", 200, 512, "#D55E00"), ("few", 50, 68, "#D55E00"), ("one", 1, 1536, "#0072B2")])
    areas = [patch.get_width() * patch.get_height() for patch in ax.patches]
    assert areas == [200 * 512, 50 * 68, 2 * 1536]  # one row is drawn as two, to be seen
    said = [text.get_text() for text in words_of(ax)]
    assert ["102,400 bytes" in said[0], "3,400 bytes" in said[1], "1 × 1,536\n= 1,536 bytes" in said[2]] == [True] * 3
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in words_of(ax)]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(ax.figure.bbox.x0 <= box.x0 and box.x1 <= ax.figure.bbox.x1 and box.y0 >= 0 for box in boxes)


@pytest.mark.parametrize("angles", [[75], [75, 160], [75, 160, 345], [10, 200, 300, 90]])
def test_regions_are_those_of_the_planes_and_keep_the_means_of_their_rows(angles, rng):
    def unit(degrees):
        return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)

    rows, query, planes = unit(rng.uniform(0, 360, 12)), unit([40])[0], unit(np.array(angles))
    ax = ideas.regions(plt.subplots()[1], rows, query, planes, "#D55E00")
    sides = rows @ planes.T > 0
    means = [rows[(sides == side).all(axis=1)].mean(axis=0) for side in np.unique(sides, axis=0)]
    drawn = [points.get_offsets()[0] for points in ax.collections]
    assert sorted(map(tuple, np.round(drawn, 6))) == sorted(map(tuple, np.round(means, 6)))
    assert len(ax.lines) == len(planes)
    for line, plane in zip(ax.lines, sorted(planes, key=lambda p: np.arctan2(p[0], -p[1]) % np.pi), strict=True):
        x, y = line.get_data()
        assert np.isclose(np.array([x[1], y[1]]) @ plane, 0)  # a plane stands upright on its normal
    wedges = [patch for patch in ax.patches if hasattr(patch, "theta1")]
    for turn in np.arange(0.5, 360, 7.0):
        inside = any(
            (turn - w.theta1) % 360 < (w.theta2 - w.theta1) % 360 or w.theta2 - w.theta1 == 360 for w in wedges
        )
        near = ((unit([turn]) @ planes.T > 0) == (query @ planes.T > 0)).all()
        assert inside == near
