"""Tables that print the same on every machine."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from ragkit.datasets import passages
from ragkit.errors import shorten
from ragkit.evaluation.comparison import Comparison
from ragkit.evaluation.measures import JUDGED
from ragkit.evaluation.systems import Run
from ragkit.vectors import Hits

# Columns that hold counts or identifiers, and are printed as they are.
_UNITS = {name: "{:.2f}" for name in ("min_ms", "with_encoding_ms", "p50_ms", "p95_ms", "max_ms", "index_s")}
_WHOLE = ("queries_per_s", "bytes_per_document", "disk_bytes_per_document", "memory_bytes", "memory_MB")
_UNITS |= {name: "{:,.0f}" for name in _WHOLE}


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
    """Return the measures of every system as a table: what is the same on every machine.

    Where a system finds documents that nobody judged, Judged@10 stands beside the measures: the share of its first
    ten that somebody did.
    """
    frame = comparison.table()
    judged = [JUDGED] if (frame[JUDGED] < 1).any() and JUDGED not in comparison.measures else []
    return table(frame[["system", *comparison.measures, *judged]])


def cost(comparison: Comparison) -> str:
    """Return time and space of every system as a table: these differ from machine to machine."""
    frame = comparison.table().drop(columns=[*comparison.measures, JUDGED], errors="ignore")
    frame["memory_MB"] = frame.pop("memory_bytes") / 1e6
    return table(frame.dropna(axis="columns", how="all"))


def evidence(comparison: Comparison, measure: str | None = None) -> str:
    """Return one measure of every system with its interval, and its difference to the baseline with interval, p alone
    and in its family, and the queries it wins, ties and loses; below the table, which family that is.

    Where a system ranks otherwise in each build of its index, the spread of its mean over builds stands beside."""
    measure = comparison.named(measure)
    frame = comparison.evidence(measure)
    rows = []
    builds = f"{frame['builds'].max():.0f} builds" if "builds" in frame else ""
    for row in frame.to_dict("records"):
        line = {"system": row["system"], measure: row["mean"], "95 %": interval(row["low"], row["high"])}
        if builds:
            line[builds] = spread(row)
        if pd.isna(row.get("difference")):
            line |= {"difference": "baseline", "95 % ": "", "p": "", "p (Holm)": "", "wins/ties/losses": ""}
        else:
            line |= {
                "difference": signed(row["difference"]),
                "95 % ": interval(row["difference_low"], row["difference_high"], signed),
                "p": p_value(row["p"]),
                "p (Holm)": p_value(row["p_holm"]),
                "wins/ties/losses": f"{row['wins']:.0f}/{row['ties']:.0f}/{row['losses']:.0f}",
            }
        rows.append(line)
    return "\n".join([table(rows), *family(frame)])


def family(evidence: pd.DataFrame) -> list[str]:
    """Return the line below a table with p-values: what they and the intervals speak of; none without a family."""
    names = evidence["family"].dropna() if "family" in evidence else ()
    return [f"p (Holm): corrected for {name}; p and 95 %: for each pair alone" for name in dict.fromkeys(names)]


def interval(low: float, high: float, form: Callable[[float], str] = number) -> str:
    """Return both ends of an interval, or that there is none.

    >>> interval(0.1, 0.25), interval(float("nan"), float("nan"))
    ('0.100 to 0.250', '-')
    """
    return "-" if pd.isna(low) else f"{form(low)} to {form(high)}"


def spread(row: Mapping[str, Any]) -> str:
    """Return what a row of Comparison.evidence has as its lowest and highest mean over builds; "" if that is nothing.

    >>> spread({"builds": 5, "builds_low": 0.816, "builds_high": 0.823}), spread({})
    ('0.816 to 0.823', '')
    """
    return "" if pd.isna(row.get("builds", float("nan"))) else interval(row["builds_low"], row["builds_high"])


def signed(value: float) -> str:
    """Return a difference with its sign, and 0 without one.

    >>> signed(0.05), signed(-0.05), signed(0.0001)
    ('+0.050', '-0.050', '0.000')
    """
    text = number(value)
    return f"+{text}" if value > 0 and text != "0.000" else text


def p_value(value: float) -> str:
    """Return a p-value with three decimals, or that it is below them.

    >>> p_value(0.0312), p_value(0.0001)
    ('0.031', '< 0.001')
    """
    return "< 0.001" if value < 0.001 else number(value)


def hits(found: Hits, documents: pd.DataFrame, relevance: Mapping[str, int] | None = None) -> str:
    """Return what `Retriever.search` found, with titles and, if given, each document's relevance.

    A document without a title has the beginning of its text there.
    """
    if "document" in documents:  # passages or what they were cut from may be found
        documents = pd.concat([documents, passages.whole(documents)]).drop_duplicates("doc_id")
    known = documents.set_index("doc_id")
    titles = {i: known["title"][i] or shorten(" ".join(known["text"][i].split()), 60) for i, _ in found}
    rows: list[dict[str, Any]] = [
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


def depths(config: Mapping[str, Any]) -> str:
    """Return how many candidates a rerank gets, and how many of each side a hybrid takes.

    >>> depths({"depth": 7, "candidates_per_side": {"hybrid": 100, "hybrid→colbert": 4}})
    'depth 7, hybrid 100 of each side, hybrid→colbert 4 of each side'
    """
    sides = (f"{name} {count} of each side" for name, count in config.get("candidates_per_side", {}).items())
    return ", ".join([f"depth {config['depth']}", *sides])


def headline(comparison: Comparison) -> str:
    """Return the lines above a table: what was compared, with what, and how."""
    c = comparison.config
    v = c["versions"]
    kinds = {name: f"{m['dim']}-d" if m["dim"] else "sparse" for name, m in c["models"].items()}
    names = ", ".join(f"{name} = {m['model']} ({kinds[name]})" for name, m in c["models"].items())
    passages = f"; {c['passages']}" if "passages" in c else ""
    lines = [
        f"{comparison.dataset}: {comparison.documents:,} documents, {comparison.queries:,} queries",
        f"{names}; {c['embedded_text']}, {c['truncation']}; {c['engine']}, {c['search']} search, "
        f"{depths(c)}{passages}; fastembed {v['fastembed']}, onnxruntime {v['onnxruntime']}, Python {v['python']}, "
        f"{c['machine']}",
        *(f"Note: {note}." for note in comparison.notes),
    ]
    if not c["engine_times_are_qdrants"]:
        lines.append(
            "Note: no times, because local mode's (a NumPy loop) are not Qdrant's; without --where it is Qdrant Edge."
        )
    return "\n".join(lines)
