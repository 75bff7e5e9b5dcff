"""Pictures of ideas, in the course's colours: no data goes in, and nothing is measured."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from ragkit.display.plots import INK, SMALL, colour

__all__ = ["arrows", "three_ways"]

_PAPER, _MODEL, _STORE = "#F4F4F4", "#E3E3E3", "#FFF7DA"
_QUERY, _DOCUMENT = (0.9, 2.1, 3.3), (5.6, 6.8, 8.0, 9.2)  # where their tokens stand
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


def _box(ax: Axes, x: float, y: float, width: float, height: float, fill: str, text: str = "", dashed=False) -> None:
    """Draw a box around its middle, with a text in it."""
    corner = (x - width / 2, y - height / 2)
    look = {"facecolor": fill, "edgecolor": "#888888", "linestyle": "--" if dashed else "-", "linewidth": 0.9}
    ax.add_patch(FancyBboxPatch(corner, width, height, boxstyle="round,pad=0,rounding_size=0.15", **look))
    ax.text(x, y, text, ha="center", va="center", fontsize=10, color=INK)


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
