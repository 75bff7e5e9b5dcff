"""What every picture shares: a system's colour and marker, axes, labels that do not overlap."""

import zlib
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from ragkit.errors import shorten
from ragkit.evaluation.systems import is_oracle

# Okabe and Ito's colour-blind safe palette, then darker relatives of it; darker and lighter in grey too.
COLOURS = {
    "dense": "#0072B2",
    "colbert": "#D55E00",
    "dense→colbert": "#009E73",
    "tokens": "#CC79A7",
    "dense→tokens": "#E69F00",
    "bm25": "#56B4E9",
    "hybrid": "#6A3D9A",
    "hybrid-dbsf": "#B08FD8",
    "hybrid→colbert": "#8C510A",
    "dense→cross-encoder": "#8B1A4A",
    "bm25→colbert": "#00524E",
    "dense→oracle": "#444444",
}


MARKERS = dict(zip(COLOURS, "osD^vPX*><hd", strict=True))


LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)))


INK = "#222222"  # words are dark: a light colour cannot be read


SMALL = 9  # points; nothing is smaller


def colour(system: str) -> str:
    """Return the colour of a system, the same in every picture, also of one that is not known here.

    >>> colour("dense"), colour("mine") == colour("mine")
    ('#0072B2', True)
    """
    return COLOURS.get(system) or list(COLOURS.values())[_number(system) % len(COLOURS)]


def marker(system: str) -> str:
    """Return the matplotlib marker of a system, which tells it from others where colours cannot."""
    return MARKERS.get(system) or "osD^vPX*><hd"[_number(system) // len(COLOURS) % len(COLOURS)]


def _number(system: str) -> int:
    return zlib.crc32(system.encode("utf8", "replace"))


def short(text: str, length: int = 48) -> str:
    """Return the text, cut to the length, without what a font cannot hold."""
    return shorten(text.encode("utf8", "replace").decode("utf8"), length)


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    if ax is None:
        _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def bars(ax: Axes, heights: np.ndarray, colours: Sequence[str] | np.ndarray) -> None:
    """Draw one bar beside the other, at 0, 1, 2, …; as one artist, where Axes.bar makes one a bar."""
    x, zero = np.arange(len(heights)), np.zeros(len(heights))
    corners = [(x - 0.5, zero), (x - 0.5, heights), (x + 0.5, heights), (x + 0.5, zero)]
    outline = {"edgecolors": "white", "linewidths": 0.3 if len(x) < 100 else 0}
    ax.add_collection(PolyCollection(np.array(corners).transpose(2, 0, 1), facecolors=colours, **outline))


def levels(ax: Axes, levels: dict[str, float], among_points: bool) -> None:
    """Draw what has a quality and no cost as dotted lines; above the points' range, as words at the top."""
    bottom, top = ax.get_ylim() if among_points else (0, 1)
    above = []
    for system, value in levels.items():
        name = f"{short(system)} ({'ceiling' if is_oracle(system) else 'cost not measured'})"
        words = {"fontsize": SMALL, "color": INK, "parse_math": False}
        if value > top:
            above.append(f"↑ {name}: {value:.3f}")
        else:
            ax.axhline(value, linestyle=":", linewidth=1.6, color=colour(system), zorder=1)
            ax.text(0.01, value, name, transform=ax.get_yaxis_transform(), va="bottom", **words)
    ax.set_ylim(bottom, top)
    if above:
        ax.text(0.01, 1.0, "\n".join(above), transform=ax.transAxes, va="top", **words)


def log_ticks(ax: Axes) -> None:
    """Write plain numbers on a log axis, at 1, 2 and 5 where there is room."""
    low, high = ax.get_xlim()
    decades = np.log10(high / low)
    subs = (1, 2, 5) if decades < 2 else (1, 3) if decades < 3 else (1,)
    ax.xaxis.set_major_locator(LogLocator(subs=subs) if decades > 0.7 else MaxNLocator(4))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    ax.xaxis.set_minor_locator(NullLocator())


# Where a point's name may stand, best first: points to the right and up, and the side of the text that is there.
_PLACES = [(8, 6, "left"), (8, -14, "left"), (-8, 6, "right"), (-8, -14, "right")]
_PLACES += [(dx, dy, side) for dy in (18, -26, 30, -38, 42, -50) for dx, side in ((14, "left"), (-14, "right"))]
_LINE = {"arrowstyle": "-", "color": "#999999", "linewidth": 0.7}  # from a name to a point that is not beside it


def label_points(ax: Axes, points: dict[str, tuple[float, float]]) -> None:
    """Name each point in the first of _PLACES where the name covers no other name, point or bar (or the least)."""
    if not points:
        return
    if ax.figure.get_layout_engine():
        ax.figure.get_layout_engine().execute(ax.figure)  # so that the axes are where they will be
    renderer = ax.figure.canvas.get_renderer()
    pixels = ax.figure.dpi / 72  # in a point
    taken = [artist.get_window_extent(renderer).padded(1.5 * pixels) for artist in [*ax.texts, *ax.lines]]
    places = {system: ax.transData.transform(point) for system, point in points.items()}
    frame = ax.get_window_extent(renderer)

    def covered(box: Bbox, system: str) -> float:
        # A name so near another's point could be taken for that point's.
        near = (Bbox([place, place]).padded((5 if other == system else 12) * pixels) for other, place in places.items())
        outside = box.width * box.height - _overlap(box, frame)
        return 3 * outside + sum(_overlap(box, other) for other in [*taken, *near])

    for system, point in points.items():
        words = {"color": INK, "fontsize": 10, "zorder": 4, "parse_math": False, "textcoords": "offset points"}
        name = ax.annotate(short(system, 24), point, (0, 0), **words)
        at_point = name.get_window_extent(renderer)  # measured once: elsewhere it is as large
        name.remove()
        boxes = {}
        for dx, dy, side in _PLACES:
            box = at_point.translated(dx * pixels - at_point.width * (side == "right"), dy * pixels)
            boxes[dx, dy, side] = Bbox.union([box, Bbox([places[system]] * 2)]) if abs(dx) > 8 else box
        best = min(boxes, key=lambda place: covered(boxes[place], system))
        dx, dy, side = best
        ax.annotate(short(system, 24), point, (dx, dy), ha=side, arrowprops=_LINE if abs(dx) > 8 else None, **words)
        taken.append(boxes[best])


def _overlap(a: Bbox, b: Bbox) -> float:
    """Return the area in pixels that two boxes share."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0.0) * max(height, 0.0)


def label_ends(ax: Axes, curves: dict[str, pd.Series]) -> None:
    """Name each curve at its right end, one name under the other, with a line to where it ends."""
    bottom, top = ax.get_ylim()
    gap = 0.075 * (top - bottom)
    order = sorted(curves, key=lambda system: (curves[system].iloc[-1], curves[system].mean()), reverse=True)
    ends = [curves[system].iloc[-1] for system in order]
    places = list(ends)
    for i in range(1, len(places)):
        places[i] = min(places[i], places[i - 1] - gap)
    raised = max(0.0, bottom - min(places))  # what would fall below the axis goes up again
    at_right = {"transform": ax.get_yaxis_transform(), "clip_on": False}
    lines = [[(1.012, end), (1.05, y + raised)] for end, y in zip(ends, places, strict=True)]
    ax.add_collection(
        LineCollection(lines, colors=[colour(system) for system in order], linewidths=1, **at_right), False
    )
    for system, y in zip(order, places, strict=True):
        words = {"fontsize": SMALL, "color": INK, "parse_math": False, "va": "center"}
        ax.text(1.06, y + raised, short(system, 24), **words, **at_right)
