"""Pictures of a comparison; a system has the same colour everywhere."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ragkit.errors import RagkitError
from ragkit.evaluate import Comparison
from ragkit.maxsim import MaxSim

# Okabe and Ito's colour-blind safe palette; darker and lighter in grey too.
COLOURS = {
    "dense": "#0072B2",
    "colbert": "#D55E00",
    "dense→colbert": "#009E73",
    "tokens": "#CC79A7",
    "dense→tokens": "#E69F00",
}
_OTHER = "#555555"


def colour(system: str) -> str:
    """Return the colour of a system, the same in every picture."""
    return COLOURS.get(system, _OTHER)


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    if ax is None:
        _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def measures(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw every measure's mean as a group of bars, a bar a system, each with its value."""
    ax = _axes(ax, 7.5, 3.2)
    names = list(comparison.systems[0].values.columns)
    width = 0.8 / len(comparison.systems)
    for i, result in enumerate(comparison.systems):
        x = np.arange(len(names)) + (i - (len(comparison.systems) - 1) / 2) * width
        bars = ax.bar(x, result.means, width * 0.92, color=colour(result.system), label=result.system)
        ax.bar_label(bars, fmt="%.3f", fontsize=8, padding=1)
    ax.set_xticks(np.arange(len(names)), names)
    ax.set_ylim(0, 1.08)
    ax.set_ylabel("mean over queries")
    ax.set_title(
        f"{comparison.collection}: {comparison.documents:,} documents, {comparison.queries} queries", loc="left"
    )
    ax.legend(frameon=False, ncols=len(comparison.systems), loc="upper center", bbox_to_anchor=(0.5, -0.1), fontsize=9)
    return ax


def differences(
    comparison: Comparison,
    system: str,
    baseline: str,
    measure: str = "nDCG@10",
    ax: Axes | None = None,
    labels: pd.Series | None = None,
) -> Axes:
    """Draw one bar a query: how much `system` is above or below `baseline`, sorted.

    labels: what to call each query, by query_id; the three extremes on either side are named.
    """
    ax = _axes(ax, 7.5, 3.4)
    values = comparison.values(measure)
    difference = (values[system] - values[baseline]).sort_values(kind="stable")
    x = np.arange(len(difference))
    colours = np.where(difference > 0, colour(system), colour(baseline))
    ax.bar(x, difference, 1.0, color=colours, edgecolor="white", linewidth=0.3 if len(x) < 100 else 0)
    ax.axhline(0, color="black", linewidth=0.8)
    wins, losses = int((difference > 1e-9).sum()), int((difference < -1e-9).sum())
    ax.set_title(
        f"{system} − {baseline}: better on {wins}, worse on {losses}, equal on {len(x) - wins - losses}", loc="left"
    )
    ax.set_ylabel(f"difference in {measure}")
    ax.set_xlabel("queries, sorted by difference")
    ax.set_xticks([])
    ax.set_xlim(-0.6, len(x) - 0.4)
    low, high = difference.min(), difference.max()
    ax.set_ylim(min(low, -0.05) * 1.15, max(high, 0.05) * 1.15)
    if labels is not None:
        worst = difference[difference < 0].head(3)
        best = difference[difference > 0].iloc[::-1].head(3)
        for named, owner, x, y, side in ((worst, baseline, 0.02, 0.97, "left"), (best, system, 0.98, 0.04, "right")):
            text = "\n".join(f"{value:+.2f}  {_short(labels[query_id])}" for query_id, value in named.items())
            ax.text(
                x,
                y,
                text,
                transform=ax.transAxes,
                va="top" if side == "left" else "bottom",
                ha=side,
                fontsize=8,
                color=colour(owner),
            )
    return ax


def _short(text: str, length: int = 48) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def quality_cost(
    comparison: Comparison, measure: str = "nDCG@10", cost: str = "p50_ms", ax: Axes | None = None
) -> Axes:
    """Draw each system as a labelled point: its quality against what a query or a document costs.

    cost: "p50_ms" or "bytes_per_document", on a log scale.
    """
    ax = _axes(ax, 6.0, 3.4)
    frame = comparison.table()
    for row in frame.to_dict("records"):
        ax.scatter(row[cost], row[measure], s=70, color=colour(row["system"]), zorder=3)
        ax.annotate(
            row["system"],
            (row[cost], row[measure]),
            xytext=(7, 5),
            textcoords="offset points",
            color=colour(row["system"]),
            fontsize=10,
        )
    ax.set_xscale("log")
    ax.margins(x=0.25, y=0.25)
    ax.set_xlabel(
        {
            "p50_ms": "milliseconds a query in the engine (median, log scale)",
            "bytes_per_document": "bytes a document (float32 vectors, log scale)",
        }[cost]
    )
    ax.set_ylabel(measure)
    ax.grid(alpha=0.25)
    return ax


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
