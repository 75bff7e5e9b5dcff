"""What every picture shares: a system's colour and marker, axes, labels that do not overlap."""

import zlib

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

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


def is_oracle(system: str) -> bool:
    """Return whether the name is that of an oracle, which is a ceiling and no system."""
    return system.endswith("→oracle")


def short(text: str, length: int = 48) -> str:
    """Return the text, cut to the length, without what a font cannot hold."""
    text = text.encode("utf8", "replace").decode("utf8")
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    if ax is None:
        _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


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


def label_points(ax: Axes, points: dict[str, tuple[float, float]]) -> None:
    """Name each point in the first of _PLACES where the name covers no other name, point or bar (or the least)."""
    if not points:
        return
    ax.figure.draw_without_rendering()
    renderer = ax.figure.canvas.get_renderer()
    taken = [artist.get_window_extent(renderer).padded(2) for artist in [*ax.texts, *ax.lines]]
    places = {system: ax.transData.transform(point) for system, point in points.items()}
    marks = {system: Bbox([place, place]).padded(7) for system, place in places.items()}
    frame = ax.get_window_extent(renderer)

    def covered(name: Annotation) -> float:
        box = name.get_window_extent(renderer)
        # A name so near another's point could be taken for that point's.
        near = (mark.padded(0 if short(system, 24) == name.get_text() else 10) for system, mark in marks.items())
        outside = box.width * box.height - _overlap(box, frame)
        return 3 * outside + sum(_overlap(box, other) for other in [*taken, *near])

    for system, point in points.items():
        tried = []
        for dx, dy, side in _PLACES:
            line = {"arrowstyle": "-", "color": "#999999", "linewidth": 0.7} if abs(dx) > 8 else None
            place = {"xytext": (dx, dy), "textcoords": "offset points", "ha": side, "arrowprops": line}
            tried.append(
                ax.annotate(short(system, 24), point, color=INK, fontsize=10, zorder=4, parse_math=False, **place)
            )
        best = min(tried, key=covered)
        for name in tried:
            if name is not best:
                name.remove()
        taken.append(best.get_window_extent(renderer))


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
    for system, end, y in zip(order, ends, places, strict=True):
        line = {
            "arrowstyle": "-",
            "color": colour(system),
            "linewidth": 1,
            "shrinkA": 1,
            "shrinkB": 4,
            "relpos": (0, 0.5),
        }
        place = {"xycoords": ("axes fraction", "data"), "textcoords": ("axes fraction", "data"), "va": "center"}
        words = {"fontsize": SMALL, "color": INK, "parse_math": False, "annotation_clip": False}
        ax.annotate(short(system, 24), (1.0, end), (1.06, y + raised), arrowprops=line, **words, **place)
