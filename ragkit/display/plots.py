"""Pictures of a comparison; a system has the same colour and marker everywhere."""

import zlib
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from ragkit.errors import RagkitError, shorten
from ragkit.evaluation.comparison import Comparison
from ragkit.evaluation.measures import per_query
from ragkit.evaluation.statistics import TIE
from ragkit.evaluation.systems import is_oracle
from ragkit.maxsim import MaxSim

__all__ = [
    "colour",
    "depth_curves",
    "differences",
    "heat_map",
    "is_oracle",
    "marker",
    "measures",
    "quality_cost",
    "recall_by_depth",
]

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


def measures(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw every measure's mean as a group of bars, a bar a system, each with its value."""
    ax = _axes(ax, 7.5, 3.2)
    names = comparison.measures
    rotation = 90 if len(comparison.systems) > 4 else 0  # a value is as wide as its bar, or upright
    width = 0.8 / len(comparison.systems)
    for i, result in enumerate(comparison.systems):
        x = np.arange(len(names)) + (i - (len(comparison.systems) - 1) / 2) * width
        bars = ax.bar(x, result.means, width * 0.92, color=colour(result.system), label=result.system)
        ax.bar_label(bars, fmt="%.3f", fontsize=SMALL, padding=2, rotation=rotation)
    ax.set_xticks(np.arange(len(names)), names)
    ax.set_ylim(0, 1.25 if rotation else 1.08)
    ax.set_ylabel("mean over queries")
    ax.set_title(f"{comparison.dataset}: {comparison.documents:,} documents, {comparison.queries} queries", loc="left")
    ax.legend(
        frameon=False, ncols=min(5, len(comparison.systems)), loc="upper center", bbox_to_anchor=(0.5, -0.1), fontsize=9
    )
    return ax


def differences(
    comparison: Comparison,
    system: str,
    baseline: str,
    measure: str | None = None,
    ax: Axes | None = None,
    labels: pd.Series | None = None,
) -> Axes:
    """Draw one bar a query: how much `system` is above or below `baseline`, sorted.

    labels: what to call each query, by query_id; the three extremes on either side are named.
    """
    ax = _axes(ax, 7.5, 3.4)
    measure = comparison.named(measure)
    values = comparison.values(measure)
    difference = (values[system] - values[baseline]).sort_values(kind="stable")
    x = np.arange(len(difference))
    colours = np.where(difference > 0, colour(system), colour(baseline))
    _bars(ax, difference.to_numpy(), colours)
    ax.axhline(0, color="black", linewidth=0.8)
    wins, losses = int((difference > TIE).sum()), int((difference < -TIE).sum())
    counts = f"better on {wins}, worse on {losses}, equal on {len(x) - wins - losses}"
    ax.set_title(
        f"{_short(system, 24)} − {_short(baseline, 24)}: {counts}",
        loc="left",
        fontsize=11,
        parse_math=False,
    )
    ax.set_ylabel(f"difference in {measure}")
    ax.set_xlabel(f"{len(x)} queries, sorted by difference")
    ax.set_xticks([])
    ax.set_xlim(-0.6, len(x) - 0.4)
    low, high = min(difference.min(), -0.05) * 1.15, max(difference.max(), 0.05) * 1.15
    if labels is not None:
        worst = difference[difference < -TIE].head(3)
        best = difference[difference > TIE].iloc[::-1].head(3)
        # The names stand on the side of the axis where their own bars are not: it needs a third of the height.
        high, low = max(high, -low / 2 * bool(len(worst))), min(low, -high / 2 * bool(len(best)))
        for named, h, v, side, edge in ((worst, 0.01, 0.99, "left", "top"), (best, 0.99, 0.01, "right", "bottom")):
            lines = [f"{value:+.2f}  {_short(str(labels[query_id]))}" for query_id, value in named.items()]
            place = {"transform": ax.transAxes, "va": edge, "ha": side, "fontsize": SMALL}
            ax.text(h, v, "\n".join(lines), color=INK, parse_math=False, **place)
    ax.set_ylim(low, high)
    return ax


def quality_cost(
    comparison: Comparison, measure: str | None = None, cost: str = "p50_ms", ax: Axes | None = None
) -> Axes:
    """Draw each system as a labelled point: its quality against what a query or a document costs, both intervals.

    Upright: the mean's 95 % interval. Across, for time: from the median to the 95th percentile. An oracle, and
    a system whose cost was not measured, is a dotted line at its quality. cost: "p50_ms" or
    "bytes_per_document", on a log scale.
    """
    ax = _axes(ax, 6.0, 3.4)
    ax.set_xscale("log")
    measure = comparison.named(measure)
    frame = comparison.table().merge(comparison.evidence(measure)[["system", "low", "high"]], on="system")
    lines = frame["system"].map(is_oracle) | frame[cost].isna()
    points = {}
    for row in frame[~lines].to_dict("records"):
        x, y, look = row[cost], row[measure], {"color": colour(row["system"]), "linewidth": 1.5, "alpha": 0.7}
        if not pd.isna(row["low"]):
            ax.plot([x, x], [row["low"], row["high"]], marker="_", **look)
        if cost == "p50_ms":
            ax.plot([x, row["p95_ms"]], [y, y], marker="|", markevery=[1], **look)
        look = {"color": colour(row["system"]), "marker": marker(row["system"])}
        ax.scatter(x, y, s=75, edgecolor="white", linewidth=0.7, zorder=3, **look)
        points[row["system"]] = (x, y)
    ax.margins(x=0.2, y=0.15)
    _levels(ax, {row["system"]: row[measure] for row in frame[lines].to_dict("records")}, bool(points))
    ax.set_xlabel(
        {
            "p50_ms": "milliseconds a query (median, bar to p95; log scale)",
            "bytes_per_document": "bytes a document (vectors, log scale)",
        }[cost]
    )
    ax.set_ylabel(f"{measure}, 95 % interval")
    log_ticks(ax)
    ax.grid(alpha=0.25)
    label_points(ax, points)
    return ax


DEPTHS = (1, 2, 3, 5, 10, 20, 50, 100)


def recall_by_depth(comparison: Comparison, qrels: pd.DataFrame) -> tuple[Axes, Axes]:
    """Draw what each first stage hands to a rerank of its first k documents: the recall, and the ceiling.

    Left: R@k. Right: the nDCG@10 of an oracle that ranks these k documents by their judgments, which no
    rerank of them can exceed. qrels: query_id, doc_id, relevance. A first stage is a system without a
    rerank; raises RagkitError if there is none.
    """
    stages = [result for result in comparison.systems if "→" not in result.system]
    if not stages:
        raise RagkitError("Every system here is a rerank; compare its first stage too, to see how deep it must go.")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 3.8), layout="constrained", sharey=True)
    longest = max(result.results["rank"].max() for result in stages)
    depths = [k for k in DEPTHS if k <= longest] or DEPTHS[:1]
    curves = {result.system: depth_curves(result.results, qrels, depths) for result in stages}
    for ax, column, title in (
        (left, "recall", "Recall: what the first k hold of the relevant documents"),
        (right, "ceiling", "Ceiling: nDCG@10 of the best order of the first k"),
    ):
        _axes(ax, 0, 0)
        for i, (system, curve) in enumerate(curves.items()):
            look = {"color": colour(system), "linestyle": LINES[i % len(LINES)], "marker": marker(system)}
            ax.plot(curve.index, curve[column], markersize=5, linewidth=1.6, clip_on=False, **look)
        ax.set_xscale("log")
        ax.set_xlim(1, max(2, depths[-1]))
        ax.set_xlabel("k: documents from the first stage (log scale)")
        ax.set_title(title, loc="left", fontsize=10)
        log_ticks(ax)
        ax.grid(alpha=0.25)
    left.set_ylabel("mean over queries")
    lowest = min(curve.to_numpy().min() for curve in curves.values())
    left.set_ylim(np.floor(lowest * 10) / 10, 1.01)
    right.tick_params(labelleft=True)
    for ax, column in ((left, "recall"), (right, "ceiling")):
        _label_ends(ax, {system: curve[column] for system, curve in curves.items()})
    return left, right


def depth_curves(results: pd.DataFrame, qrels: pd.DataFrame, depths: Sequence[int] = DEPTHS) -> pd.DataFrame:
    """Return, by depth k, the means of R@k (recall) and of the best nDCG@10 in the first k (ceiling).

    results: query_id, doc_id, score, rank; qrels: query_id, doc_id, relevance.

    >>> results = pd.DataFrame({"query_id": ["q"] * 2, "doc_id": ["a", "b"], "score": [2.0, 1.0], "rank": [1, 2]})
    >>> qrels = pd.DataFrame({"query_id": ["q"], "doc_id": ["b"], "relevance": [1]})
    >>> depth_curves(results, qrels, [1, 2])["ceiling"].to_dict()
    {1: 0.0, 2: 1.0}
    """
    recall = per_query(results, qrels, [f"R@{k}" for k in depths]).mean()
    # Documents without relevance add nothing to nDCG, wherever an oracle puts them.
    judged = results.merge(qrels[qrels["relevance"] > 0], on=["query_id", "doc_id"])
    judged = judged.assign(score=judged["relevance"].astype(float))
    # All depths in one pass: the query of a depth is a query of its own.
    tops, judgments = (
        pd.concat([frame.assign(query_id=f"{k} " + frame["query_id"]) for k, frame in by_depth])
        for by_depth in ([(k, judged[judged["rank"] <= k]) for k in depths], [(k, qrels) for k in depths])
    )
    ceiling = per_query(tops, judgments, ["nDCG@10"]).to_numpy().reshape(len(depths), -1).mean(axis=1)
    return pd.DataFrame({"recall": recall.to_numpy(), "ceiling": ceiling}, index=pd.Index(depths, name="k"))


def heat_map(
    result: MaxSim,
    query_labels: Sequence[str],
    document_labels: Sequence[str],
    query_groups: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the similarity of every pair of tokens; a frame marks the best document token of each row.

    The row maxima, on the right, summed, are the score. query_groups: a name for each query row, such
    as Token.kind; a line separates neighbours of different groups. Raises RagkitError unless there is
    one label (and group) a row.
    """
    rows, columns = result.similarities.shape
    groups = [""] * rows if query_groups is None else query_groups
    if (len(query_labels), len(document_labels), len(groups)) != (rows, columns, rows):
        raise RagkitError(
            f"{rows} query rows and {columns} document rows got {len(query_labels)} query labels, "
            f"{len(document_labels)} document labels and {len(groups)} groups; Encoder.tokens names the rows."
        )
    ax = _axes(ax, max(5.0, 0.34 * columns + 2.0), max(2.4, 0.25 * rows + 1.5))
    ax.spines[:].set_visible(False)
    image = ax.imshow(result.similarities, cmap="Blues", aspect="auto", vmin=0, vmax=1)
    ax.set_xticks(range(columns), document_labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=9)
    ax.set_yticks(range(rows), query_labels, fontsize=9)
    ax.tick_params(length=0)
    frame = {"fill": False, "edgecolor": "#D55E00", "linewidth": 1.8}
    for row, (column, value) in enumerate(zip(result.best, result.contributions, strict=True)):
        ax.add_patch(plt.Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, **frame))
        ax.text(columns - 0.3, row, f"{value:.2f}", va="center", fontsize=8, color="#D55E00")
    for row in range(1, rows):
        if groups[row] != groups[row - 1]:
            ax.axhline(row - 0.5, color="black", linewidth=1.2)
    ax.set_title(f"MaxSim = sum of the {rows} row maxima = {result.score:.3f}", loc="left", fontsize=11)
    ax.set_xlabel("document tokens")
    ax.set_ylabel("query tokens")
    pad = 0.05 if columns > 20 else 0.08
    ax.figure.colorbar(image, ax=ax, label="cosine (below 0: white)", shrink=0.8, pad=pad, extend="min")
    return ax


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


def _short(text: str, length: int = 48) -> str:
    """Return the text, cut to the length, without what a font cannot hold."""
    return shorten(text.encode("utf8", "replace").decode("utf8"), length)


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    if ax is None:
        _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _bars(ax: Axes, heights: np.ndarray, colours: Sequence[str] | np.ndarray) -> None:
    """Draw one bar beside the other, at 0, 1, 2, …; as one artist, where Axes.bar makes one a bar."""
    x, zero = np.arange(len(heights)), np.zeros(len(heights))
    corners = [(x - 0.5, zero), (x - 0.5, heights), (x + 0.5, heights), (x + 0.5, zero)]
    outline = {"edgecolors": "white", "linewidths": 0.3 if len(x) < 100 else 0}
    ax.add_collection(PolyCollection(np.array(corners).transpose(2, 0, 1), facecolors=colours, **outline))


def _levels(ax: Axes, levels: dict[str, float], among_points: bool) -> None:
    """Draw what has a quality and no cost as dotted lines; above the points' range, as words at the top."""
    bottom, top = ax.get_ylim() if among_points else (0, 1)
    above = []
    for system, value in levels.items():
        name = f"{_short(system)} ({'ceiling' if is_oracle(system) else 'cost not measured'})"
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
        name = ax.annotate(_short(system, 24), point, (0, 0), **words)
        at_point = name.get_window_extent(renderer)  # measured once: elsewhere it is as large
        name.remove()
        boxes = {}
        for dx, dy, side in _PLACES:
            box = at_point.translated(dx * pixels - at_point.width * (side == "right"), dy * pixels)
            boxes[dx, dy, side] = Bbox.union([box, Bbox([places[system]] * 2)]) if abs(dx) > 8 else box
        best = min(boxes, key=lambda place: covered(boxes[place], system))
        dx, dy, side = best
        ax.annotate(_short(system, 24), point, (dx, dy), ha=side, arrowprops=_LINE if abs(dx) > 8 else None, **words)
        taken.append(boxes[best])


def _overlap(a: Bbox, b: Bbox) -> float:
    """Return the area in pixels that two boxes share."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0.0) * max(height, 0.0)


def _label_ends(ax: Axes, curves: dict[str, pd.Series]) -> None:
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
        ax.text(1.06, y + raised, _short(system, 24), **words, **at_right)
