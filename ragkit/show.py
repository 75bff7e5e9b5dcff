"""Tables that print the same on every machine."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from ragkit.evaluate import Comparison
from ragkit.index import Hits
from ragkit.retrieve import Run

# Columns that hold counts or identifiers, and are printed as they are.
_UNITS = {
    "min_ms": "{:.2f}",
    "p50_ms": "{:.2f}",
    "p95_ms": "{:.2f}",
    "max_ms": "{:.2f}",
    "bytes_per_document": "{:,.0f}",
}


def number(value: float, places: int = 3) -> str:
    """Return a number with fixed places, and 0 without a sign.

    >>> number(0.12345), number(-0.0001), number(float("nan"))
    ('0.123', '0.000', '-')
    """
    if pd.isna(value):
        return "-"
    text = f"{value:.{places}f}"
    return text[1:] if text.startswith("-") and float(text) == 0 else text


def format_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame as text: floats with three decimals, milliseconds with two, bytes with commas."""

    def cell(column: str, value: Any) -> str:
        if isinstance(value, float):
            return _UNITS[column].format(value) if column in _UNITS and not pd.isna(value) else number(value)
        return str(value)

    return pd.DataFrame({c: [cell(c, v) for v in frame[c]] for c in frame.columns}, index=frame.index, dtype=object)


def table(rows: pd.DataFrame | Iterable[dict]) -> str:
    """Return a plain-text table: text left, numbers right, no index.

    >>> print(table([{"system": "dense", "nDCG@10": 0.5}, {"system": "dense→colbert", "nDCG@10": 1.0}]))
    system         nDCG@10
    dense            0.500
    dense→colbert    1.000
    """
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    text = format_frame(frame)
    columns = []
    for name in frame.columns:
        numeric = pd.api.types.is_numeric_dtype(frame[name])
        cells = [str(name), *text[name]]
        width = max(map(len, cells))
        columns.append([cell.rjust(width) if numeric else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))


def quality(comparison: Comparison) -> str:
    """Return the measures of every system as a table: what is the same on every machine."""
    frame = comparison.table()
    return table(frame.drop(columns=["p50_ms", "p95_ms", "bytes_per_document"]))


def cost(comparison: Comparison) -> str:
    """Return milliseconds and bytes of every system as a table: times differ from run to run."""
    return table(comparison.table()[["system", "p50_ms", "p95_ms", "bytes_per_document"]])


def hits(found: Hits, documents: pd.DataFrame, relevance: Mapping[str, int] | None = None) -> str:
    """Return what `Retriever.search` found, with titles and, if given, each document's relevance."""
    titles = documents.set_index("doc_id")["title"]
    rows = [
        {"rank": rank, "doc_id": doc_id, "title": titles[doc_id], "score": float(score)}
        for rank, (doc_id, score) in enumerate(found, 1)
    ]
    if relevance is not None:
        rows = [{**row, "relevance": int(relevance.get(row["doc_id"], 0))} for row in rows]
    return table(rows)


def top(
    results: pd.DataFrame | Run,
    documents: pd.DataFrame,
    query_id: str,
    k: int = 3,
    qrels: pd.DataFrame | None = None,
) -> str:
    """Return the first k documents of one query with their titles and, given qrels, their relevance."""
    frame = results.results if isinstance(results, Run) else results
    frame = frame[(frame["query_id"] == query_id) & (frame["rank"] <= k)]
    judged = None
    if qrels is not None:
        judged = qrels[qrels["query_id"] == query_id].set_index("doc_id")["relevance"].to_dict()
    return hits(list(zip(frame["doc_id"], frame["score"], strict=True)), documents, judged)


def headline(comparison: Comparison) -> str:
    """Return the lines above a table: what was compared, with what, and how."""
    c = comparison.config
    names = ", ".join(f"{name} = {m['model']} ({m['dim']}-d)" for name, m in c["models"].items())
    lines = [
        f"{comparison.collection}: {comparison.documents:,} documents, {comparison.queries:,} queries",
        f"{names}; {c['embedded_text']}; {c['engine']}, {c['search']} search, depth {c['depth']}",
        *(f"Note: {note}." for note in comparison.notes),
    ]
    if not c["engine_times_are_qdrants"]:
        lines.append("Note: the times are those of a NumPy loop, not Qdrant's; leave out --where to use Qdrant Edge.")
    return "\n".join(lines)
