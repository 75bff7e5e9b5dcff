"""Pictures of ideas, in the course's colours: no data goes in, and nothing is measured."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle, Wedge

from ragkit.display.plots import INK, SMALL, colour

__all__ = ["areas", "arrows", "regions", "three_shards", "three_ways"]

_PAPER, _MODEL, _STORE = "#F4F4F4", "#E3E3E3", "#FFF7DA"
_QUERY, _DOCUMENT = (0.9, 2.1, 3.3), (5.6, 6.8, 8.0, 9.2)  # where their tokens stand
_SHARDS = (1.6, 5.0, 8.4)  # where they stand
_BEST = (1, 0, 3)  # the document token that each query token meets


def three_ways() -> tuple[Axes, Axes, Axes]:
    """Draw dense, cross-encoder and late interaction side by side: what each stores, and where the two texts meet.

    Each is read upwards, from the tokens of a query (left) and of a document (right) to the score.
    """
    figure, (dense, cross, late) = plt.subplots(1, 3, figsize=(12.6, 4.9), layout="constrained")
    for ax, title in ((dense, "Dense"), (cross, "Cross-encoder"), (late, "Late interaction (ColBERT)")):
        ax.set(xlim=(-0.2, 10.4), ylim=(-0.4, 11.0))
        ax.axis("off")
        ax.set_title(title, fontsize=13, color=INK)
        for words, places in (("query", _QUERY), ("document", _DOCUMENT)):
            for x in places:
                _box(ax, x, 0.9, 0.9, 0.7, _PAPER)
            ax.text(float(np.mean(places)), 0.05, f"tokens of the {words}", ha="center", fontsize=SMALL, color=INK)
    for ax, system in ((dense, "dense"), (late, "colbert")):
        _box(ax, 7.4, 4.6, 5.2, 1.6, _STORE, dashed=True)
        for places in (_QUERY, _DOCUMENT):
            middle = float(np.mean(places))
            _box(ax, middle, 2.6, places[-1] - places[0] + 1.0, 1.0, _MODEL, "encoder")
            rows = [middle] if system == "dense" else places
            for x in rows:
                _vector(ax, x, 4.6, colour(system))
    _meet(dense, [(float(np.mean(_QUERY)), float(np.mean(_DOCUMENT)))], "one cosine", colour("dense"))
    _meet(
        late,
        [(_QUERY[i], _DOCUMENT[j]) for i, j in enumerate(_BEST)],
        "MaxSim: best matches, added up",
        colour("colbert"),
    )
    shade = colour("dense→cross-encoder")
    _box(cross, 5.1, 4.2, 9.6, 4.2, _MODEL, "one model reads both texts,\nfor each pair anew")
    for x in (*_QUERY, *_DOCUMENT):
        cross.plot([x, x], [1.3, 2.1], color=shade, linewidth=1)
    cross.plot([5.1, 5.1], [6.3, 8.3], color=shade, linewidth=1.6)
    for ax, stores, meet in (
        (dense, "stores one vector per document", "the texts meet once, at the very end"),
        (cross, "stores nothing", "the texts meet inside the model"),
        (late, "stores one vector per token", "the texts meet at the end, token by token"),
    ):
        _box(ax, 5.1, 8.8, 2.4, 1.0, "white", "score")
        ax.text(5.1, 10.4, f"{stores};\n{meet}", ha="center", va="center", fontsize=10, color=INK)
    figure.supxlabel("dashed: stored before any query comes", fontsize=10, color=INK)
    return dense, cross, late


def three_shards() -> tuple[Axes, Axes]:
    """Draw a rerank over three shards: in one request, where each shard chooses its own candidates, and in two."""
    figure, (one, two) = plt.subplots(1, 2, figsize=(12.6, 4.6), layout="constrained")
    for ax, title in ((one, "One request with prefetch, depth 10"), (two, "Two requests, depth 10")):
        ax.set(xlim=(0, 10), ylim=(0, 9.4))
        ax.axis("off")
        ax.set_title(title, fontsize=13, color=INK)
        _box(ax, 5, 8.8, 3.2, 0.9, "white", "query")
        for shard, x in enumerate(_SHARDS, 1):
            ax.annotate("", (x, 7.5), (5, 8.3), arrowprops={"arrowstyle": "-|>", "color": "#888888"})
            _box(ax, x, 7.0, 2.6, 0.9, _STORE, f"shard {shard}")
    for x in _SHARDS:
        _step(one, x, 6.5, 5.0, "first stage:\nits own best 10", colour("dense"))
        _step(one, x, 4.3, 2.9, "reranks its 10", colour("colbert"))
        one.annotate("", (5, 1.5), (x, 2.4), arrowprops={"arrowstyle": "-|>", "color": "#888888"})
        _step(two, x, 6.5, 5.6, "its best 10", colour("dense"))
        two.annotate("", (5, 4.6), (x, 5.1), arrowprops={"arrowstyle": "-|>", "color": "#888888"})
    _box(one, 5, 1.0, 6.4, 0.9, "white", "30 documents were reranked")
    _box(two, 5, 4.1, 6.4, 0.9, "white", "merged, and cut to the best 10")
    _step(two, 5, 3.6, 2.4, "second request: rerank these 10, wherever they are", colour("colbert"), 8.6)
    two.annotate("", (5, 1.5), (5, 1.9), arrowprops={"arrowstyle": "-|>", "color": "#888888"})
    _box(two, 5, 1.0, 6.4, 0.9, "white", "10 documents were reranked")
    return one, two


def arrows(ax: Axes, title: str, groups: Sequence[tuple[str, np.ndarray, str]]) -> Axes:
    """Draw rows of length 1 in the plane as named arrows from the middle of a circle.

    groups: for each, the names of its rows in one string, the rows (n × 2), and a colour.
    """
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="0.8"))
    for names, rows, shade in groups:
        for name, (x, y) in zip(names.split(), rows, strict=True):
            ax.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "-|>", "color": shade, "lw": 2})
            ax.text(1.14 * x, 1.14 * y, name, color=shade, ha="center", va="center", fontsize=13)
    ax.set(title=title, xlim=(-1.3, 1.3), ylim=(-0.1, 1.3), aspect="equal")
    ax.axis("off")
    return ax


def areas(sizes: Sequence[tuple[str, float, float, str]]) -> Axes:
    """Draw documents' vectors to scale: as high as there are rows, as wide as a row has bytes, so the area is bytes.

    sizes: for each, what to call it, its rows, the bytes of a row, and a colour.
    """
    _, ax = plt.subplots(figsize=(11, 3.6), layout="constrained")
    left, gap = 0.0, 130.0
    for name, rows, width, shade in sizes:
        ax.add_patch(Rectangle((left, 0), width, max(rows, 2), color=shade))  # of one row a line is to be seen
        words = f"{name}\n{rows:,.0f} × {width:,.0f}\n= {rows * width:,.0f} bytes"
        ax.text(left, -6, words, va="top", fontsize=10, color=INK)
        left += max(width, 420) + gap
    ax.set(xlim=(0, left), ylim=(-0.45 * max(rows for _, rows, _, _ in sizes), max(rows for _, rows, _, _ in sizes)))
    ax.axis("off")
    return ax


def regions(ax: Axes, rows: np.ndarray, query: np.ndarray, planes: np.ndarray, shade: str) -> Axes:
    """Draw how MUVERA sorts rows in the plane: each side of each plane is a region, and keeps the mean of its rows.

    rows: the document's (n × 2); query: one row (2); planes: the normals (k × 2), each drawn as the line that it stands
    on; shade: the document's colour. The query's region is grey. A mean is a dot, a row an arrow.
    """
    sides = [tuple(side) for side in rows @ planes.T > 0]
    own = tuple(query @ planes.T > 0)
    turns = np.sort(np.degrees(np.arctan2(planes[:, 0], -planes[:, 1])) % 180)
    edges = np.concatenate([turns, turns + 180])
    for start, end in zip(edges, [*edges[1:], edges[0] + 360], strict=True):
        middle = np.radians((start + end) / 2)
        if tuple(np.array([np.cos(middle), np.sin(middle)]) @ planes.T > 0) == own:
            ax.add_patch(Wedge((0, 0), 1.25, start, end, color="0.9"))
    for turn in np.radians(turns):
        ax.plot(*(1.25 * np.array([[-np.cos(turn), np.cos(turn)], [-np.sin(turn), np.sin(turn)]])), "0.55", linewidth=1)
    for row, colour_of, width in [*((row, shade, 1.4) for row in rows), (query, INK, 2.2)]:
        ax.annotate("", row, (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour_of, "lw": width})
    for side in dict.fromkeys(sides):
        mean = rows[[one == side for one in sides]].mean(axis=0)
        ax.scatter(*mean, s=90, color=shade, edgecolor="white", zorder=3, clip_on=False)
    ax.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal")
    ax.axis("off")
    return ax


def _box(ax: Axes, x: float, y: float, width: float, height: float, fill: str, text: str = "", dashed=False) -> None:
    """Draw a box around its middle, with a text in it."""
    corner = (x - width / 2, y - height / 2)
    look = {"facecolor": fill, "edgecolor": "#888888", "linestyle": "--" if dashed else "-", "linewidth": 0.9}
    ax.add_patch(FancyBboxPatch(corner, width, height, boxstyle="round,pad=0,rounding_size=0.15", **look))
    ax.text(x, y, text, ha="center", va="center", fontsize=10, color=INK)


def _step(ax: Axes, x: float, start: float, y: float, text: str, shade: str, width: float = 2.6) -> None:
    """Draw an arrow down to a box with what is done there, in a system's colour."""
    height = 1.3 if "\n" in text else 0.9
    ax.annotate("", (x, y + height / 2), (x, start), arrowprops={"arrowstyle": "-|>", "color": shade, "lw": 1.6})
    _box(ax, x, y, width, height, _PAPER, text)


def _vector(ax: Axes, x: float, y: float, shade: str) -> None:
    """Draw a vector: four cells, one above the other, and the line from its encoder."""
    ax.plot([x, x], [3.1, y - 0.5], color=shade, linewidth=1)
    for k in range(4):
        cell = {"facecolor": shade, "alpha": (0.9, 0.45, 0.7, 0.3)[k], "edgecolor": "white"}
        ax.add_patch(plt.Rectangle((x - 0.25, y - 0.5 + 0.25 * k), 0.5, 0.25, **cell))


def _meet(ax: Axes, pairs: Sequence[tuple[float, float]], words: str, shade: str) -> None:
    """Draw lines from a query's vectors to the document's, and the way on to the score."""
    for left, right in pairs:
        curve = np.linspace(0, np.pi, 30)
        ax.plot((left + right) / 2 - (right - left) / 2 * np.cos(curve), 5.2 + 1.4 * np.sin(curve), color=shade)
    ax.plot([5.1, 5.1], [7.5, 8.3], color=shade, linewidth=1.6)
    ax.text(5.1, 7.05, words, ha="center", va="center", fontsize=10, color=INK)
