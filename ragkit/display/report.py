"""A comparison as one HTML file that opens offline; templates/report.html is its page."""

import base64
import io
import shlex
import warnings
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ragkit.boundary import public
from ragkit.datasets.dataset import Dataset
from ragkit.display import plots, tables
from ragkit.display.pages import page
from ragkit.display.verdicts import verdicts
from ragkit.errors import shorten
from ragkit.evaluation.comparison import Comparison
from ragkit.evaluation.measures import JUDGED

_TOP = 10  # documents of each system that the browser shows
_BROWSED = 500  # queries of a dataset that it holds at most, and
_TEXTS = 300_000  # characters of documents' texts, shared by all datasets: the page stays below 2 MB
_STYLE = {"figure.dpi": 120, "font.size": 10, "text.hinting": "none"}  # hinting is a fifth of the time to draw
_GLYPHS = dict(zip("osD^vPX*><hd", "●■◆▲▼✚✖★►◄⬢♦", strict=True))
# What each column of Comparison.table is called, and above which group it stands.
_COSTS = {
    "with_encoding_ms": ("Time", "with encoding, ms"),
    "p50_ms": ("Time", "engine p50, ms"),
    "p95_ms": ("Time", "engine p95, ms"),
    "queries_per_s": ("Time", "engine queries/s"),
    "bytes_per_document": ("Space", "bytes/document (vectors)"),
    "disk_bytes_per_document": ("Space", "disk bytes/document"),
    "index_s": ("To index", "time, s"),
    "memory_bytes": ("To index", "memory, MB"),
}
_MORE_FIRST = ("queries_per_s",)


@public("The report cannot be made")
def render(pairs: Sequence[tuple[Dataset, Comparison]]) -> str:
    """Return one self-contained HTML page: for each dataset a table, verdicts, pictures and every query.

    The page makes no request, and holds whatever a document or query says as text. Above 500 queries it
    holds those where the systems disagree most; documents' texts are cut, so that it stays below 2 MB.
    """
    data = [_browser(dataset, comparison, _TEXTS // max(1, len(pairs))) for dataset, comparison in pairs]
    filters = {"colour": plots.colour, "glyph": lambda system: _GLYPHS[plots.marker(system)]}
    return page("report.html", data, filters, datasets=[_dataset(*pair) for pair in pairs])


def _dataset(dataset: Dataset, comparison: Comparison) -> dict[str, Any]:
    head, *lines = tables.headline(comparison).split("\n")
    measure = comparison.named()
    command = comparison.config.get("command")
    columns = _columns(comparison, measure)
    with plt.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a query in a script that the font has not
        pictures = [_image(*picture) for picture in _pictures(dataset, comparison, measure)]
    return {
        "name": dataset.name,
        "head": head,
        "setting": lines[0],
        "notes": lines[1:],
        "checks": comparison.inspection.checks if comparison.inspection else (),
        "measure": measure,
        "systems": [system.system for system in comparison.systems],
        "rivals": [s.system for s in comparison.systems[1:] if not plots.is_oracle(s.system)],
        "columns": columns,
        "family": tables.family(comparison.evidence(measure)),
        "groups": [(title, len(list(of))) for title, of in groupby(column["group"] for column in columns)],
        "times": comparison.config["times"],
        "verdicts": verdicts(comparison, measure),
        "pictures": pictures,
        "queries": comparison.queries,
        "browsed": min(comparison.queries, _BROWSED),
        "config": list(_flat(comparison.config)),
        "command": command if isinstance(command, str | None) else shlex.join(command),
    }


def _columns(comparison: Comparison, measure: str) -> list[dict[str, Any]]:
    """Return the table's columns; a cell is (text, text below it, the number it is sorted by)."""
    frame = comparison.table().drop(columns="system").dropna(axis="columns", how="all")
    text = tables.format_frame(frame)
    if "memory_bytes" in frame:
        text["memory_bytes"] = [tables.number(value / 1e6, 1) for value in frame["memory_bytes"]]
    evidence = comparison.evidence(measure)
    rows = evidence.to_dict("records")
    columns = []
    for name in [measure, *(name for name in comparison.measures if name != measure)]:
        below = [_below(row) if name == measure else "" for row in rows]
        columns.append(_column("Mean", name, list(zip(text[name], below, frame[name], strict=True))))
    shown = set(comparison.measures)
    if JUDGED in frame and JUDGED not in shown:
        if (frame[JUDGED] < 1).any():
            columns.append(
                _column("Mean", JUDGED, [(cell, "", v) for cell, v in zip(text[JUDGED], frame[JUDGED], strict=True)])
            )
        shown.add(JUDGED)
    if len(rows) > 1:
        columns += _against(rows, measure)
    for name in (name for name in frame.columns if name not in shown):
        group, title = _COSTS.get(name, ("Cost", name))
        cells = [(cell, "", value) for cell, value in zip(text[name], frame[name], strict=True)]
        columns.append(_column(group, title, cells, name in _MORE_FIRST))
    return columns


def _below(row: dict[str, Any]) -> str:
    """Return what stands below a mean: its interval, and its spread over builds where that was measured."""
    text = tables.interval(row["low"], row["high"])
    return f"{text}; {row['builds']:.0f} builds: {between}" if (between := tables.spread(row)) else text


def _against(rows: list[dict], measure: str) -> list[dict[str, Any]]:
    """Return the columns that compare every system with the first one, which has no such numbers."""
    group, nothing = f"Against {rows[0]['system']}", float("nan")
    differences = [("baseline", "", nothing)]
    alone, p_values, counts = [("", "", nothing)], [("", "", nothing)], [("", "", nothing)]
    for row in rows[1:]:
        interval = tables.interval(row["difference_low"], row["difference_high"], tables.signed)
        differences.append((tables.signed(row["difference"]), interval, row["difference"]))
        alone.append((tables.p_value(row["p"]), "", row["p"]))
        p_values.append((tables.p_value(row["p_holm"]), "", row["p_holm"]))
        counts.append((f"{row['wins']:.0f}/{row['ties']:.0f}/{row['losses']:.0f}", "", row["wins"]))
    return [
        _column(group, measure, differences),
        _column(group, "p", alone, more_first=False),
        _column(group, "p (Holm)", p_values, more_first=False),
        _column(group, "wins/ties/losses", counts),
    ]


def _column(group: str, title: str, cells: list[tuple], more_first: bool = True) -> dict[str, Any]:
    cells = [(text, below, "" if pd.isna(value) else repr(float(value))) for text, below, value in cells]
    return {"group": group, "title": title, "cells": cells, "first": "descending" if more_first else "ascending"}


def _pictures(dataset: Dataset, comparison: Comparison, measure: str) -> Iterator[tuple[Figure, str, bool]]:
    """Yield each figure, what it shows in words, and whether it is wide."""
    table = comparison.table()
    figure, axes = plt.subplots(1, 2, figsize=(10.0, 4.0), layout="constrained", sharey=True)
    for ax, cost in zip(axes, ("p50_ms", "bytes_per_document"), strict=True):
        plots.quality_cost(comparison, measure, cost, ax)
    axes[1].set_ylabel("")
    points = (
        f"{row['system']} {tables.number(row[measure])} at {row['p50_ms']:.2f} ms, "
        f"{row['bytes_per_document']:,.0f} bytes"
        for row in table.dropna(subset=["p50_ms", "bytes_per_document"]).to_dict("records")
    )
    yield figure, f"{measure} against time a query and bytes a document: {'; '.join(points)}", True
    if any("→" not in system for system in table["system"]):
        axes = plots.recall_by_depth(comparison, dataset.qrels)
        text = "Recall, and the best nDCG@10 that any rerank could reach, by the depth of each first stage"
        yield axes[0].figure, text, True
    baseline, *others = table["system"]
    labels = dataset.queries.set_index("query_id")["text"]
    values = comparison.values(measure)
    for system in others:
        if plots.is_oracle(system):
            continue
        _, ax = plt.subplots(figsize=(6.0, 3.4), layout="constrained")
        plots.differences(comparison, system, baseline, measure, ax, labels)
        difference = values[system] - values[baseline]
        extremes = f"from {tables.signed(difference.min())} to {tables.signed(difference.max())}"
        yield ax.figure, f"{measure} of {system} minus {baseline}, a bar a query, sorted, {extremes}", False


def _image(figure: Figure, text: str, wide: bool) -> dict[str, Any]:
    drawn = FigureCanvasAgg(figure)
    drawn.draw()
    # A palette takes half the bytes; this way to choose it keeps the colours of thin lines, too.
    image = Image.fromarray(np.asarray(drawn.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(buffer, "png")
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    plt.close(figure)
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"source": source, "text": text, "width": width, "height": height, "wide": wide}


def _browser(dataset: Dataset, comparison: Comparison, characters: int) -> dict[str, Any]:
    """Return what the page's script shows of each query; documents and runs name each other by place."""
    values = comparison.values()
    systems = list(values.columns)
    real = [system for system in systems if not plots.is_oracle(system)]
    spread = (values[real].max(axis=1) - values[real].min(axis=1)).sort_values(ascending=False, kind="stable")
    chosen = set(spread.index[:_BROWSED])
    tops = {}
    for result in comparison.systems:
        top = result.results[(result.results["rank"] <= _TOP) & result.results["query_id"].isin(chosen)]
        tops[result.system] = top.sort_values("rank").groupby("query_id")["doc_id"].agg(list).to_dict()
    used = list(dict.fromkeys(doc_id for top in tops.values() for ids in top.values() for doc_id in ids))
    place = {doc_id: i for i, doc_id in enumerate(used)}
    judged = dataset.qrels[dataset.qrels["query_id"].isin(chosen)]
    grades = {
        query_id: dict(zip(of["doc_id"], of["relevance"], strict=True)) for query_id, of in judged.groupby("query_id")
    }
    texts = dataset.queries.set_index("query_id")["text"]
    queries = []
    for query_id in (query_id for query_id in values.index if query_id in chosen):
        known = grades.get(query_id, {})
        ranked = [[place[doc_id] for doc_id in tops[system].get(query_id, [])] for system in systems]
        queries.append(
            {
                "id": query_id,
                "text": texts[query_id],
                "values": [tables.number(value) for value in values.loc[query_id]],
                "tops": ranked,
                "grades": {
                    i: int(known[used[i]]) for i in sorted({i for top in ranked for i in top}) if used[i] in known
                },
                "relevant": sum(grade > 0 for grade in known.values()),
            }
        )
    looks = [
        {"name": s, "colour": plots.colour(s), "glyph": _GLYPHS[plots.marker(s)], "real": s in real} for s in systems
    ]
    return {"systems": looks, "documents": _documents(dataset, used, characters), "queries": queries}


def _documents(dataset: Dataset, doc_ids: Sequence[str], characters: int) -> list[list[str]]:
    """Return [id, title, beginning of the text] of each document; an unknown one has its id alone."""
    known = {document.doc_id: document for document in dataset.whole.documents.itertuples()}
    length = min(600, characters // max(1, len(doc_ids)))
    rows = []
    for doc_id in doc_ids:
        title, text = (known[doc_id].title, known[doc_id].text) if doc_id in known else ("", "")
        rows.append([doc_id, shorten(title or text or doc_id, 111 if title else 81), shorten(text, length + 1)])
    return rows


def _flat(config: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield every setting with the path to it.

    >>> list(_flat({"models": {"dense": {"dim": 384}}, "depth": 100}))
    [('models › dense › dim', '384'), ('depth', '100')]
    """
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key} › ")
        else:
            yield f"{above}{key}", str(value)
