"""Documents, queries and judgments from DataFrames, held to the rules that readers holds files to."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ragkit.datasets import passages, readers
from ragkit.datasets.fitting import fit
from ragkit.datasets.records import Records, of_frame
from ragkit.errors import RagkitError


def read(
    documents: pd.DataFrame, queries: pd.DataFrame, qrels: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, list[str]]:
    """Return documents, queries and qrels as Dataset has them, and notes on what was left out.

    documents: doc_id, text and perhaps title and document (what it is a passage of); queries: query_id, text and
    perhaps kind; qrels: query_id, doc_id, relevance. Raises RagkitError, naming the row, for what readers refuses in a
    file, and for a value that is missing; for a judged query that is empty, and for judgments none of which is of these
    queries and documents (see fit).
    """
    given = _as_in_a_file(_records(documents, "documents", ["doc_id", "text"], ["title", "document"]))
    asked = _as_in_a_file(_records(queries, "queries", ["query_id", "text"], ["kind"]))
    questions = readers.texts_of(asked, "query_id")[["query_id", "text", "kind"]]
    judged = readers.judgments_of(_records(qrels, "qrels", ["query_id", "doc_id", "relevance"]))
    texts, cut = passages.settle(readers.documents_of(readers.texts_of(given, "doc_id")), judged)
    evaluated, judged, notes = fit(passages.whole(texts), questions, judged, "qrels")
    notes = cut + notes
    blank = evaluated.loc[evaluated["text"].str.strip() == "", "query_id"]
    if not blank.empty:
        raise RagkitError(f"queries: the query {blank.iloc[0]!r} is empty, but judged; give it its text.")
    left = len(questions) - len(evaluated)
    notes += [f"{left:,} queries have no judgment and were left out"] * bool(left)
    return texts, evaluated, judged, notes


def _as_in_a_file(found: Records) -> Records:
    """Return rows that have their further fields where a file has them."""
    return replace(found, rows=[(number, {**row, "metadata": row}) for number, row in found.rows])


def _records(frame: pd.DataFrame, name: str, columns: Sequence[str], optional: Sequence[str] = ()) -> Records:
    """Return the rows of a frame with these columns alone, in which no value is missing."""
    expected = ", ".join(columns) + (f" and perhaps {', '.join(optional)}" if optional else "")
    if not isinstance(frame, pd.DataFrame):
        raise RagkitError(f"{name}: expected a DataFrame with the columns {expected}; got {type(frame).__name__}.")
    there = ", ".join(map(str, frame.columns)) or "none"
    if not set(columns) <= set(frame.columns):
        lacking = ", ".join(column for column in columns if column not in frame.columns)
        raise RagkitError(f"{name}: no column {lacking}; expected {expected}, and there are: {there}.")
    if not frame.columns.is_unique:
        raise RagkitError(f"{name}: two columns have the same name; there are: {there}.")
    if frame.empty:
        raise RagkitError(f"{name}: the DataFrame is empty.")
    wanted = [column for column in (*columns, *optional) if column in frame.columns]
    found = of_frame(frame[wanted].reset_index(drop=True), name)
    rows: list[tuple[int, Mapping[str, Any]]] = [
        (number, {column: _plain(value) for column, value in row.items()}) for number, row in found.rows
    ]
    for number, row in rows:
        for column, value in row.items():
            if value is None:
                raise RagkitError(f"{found.where(number)}: {column} is missing; fill it in, or drop the row.")
    return replace(found, rows=rows)


def _plain(value: Any) -> Any:
    """Return a value of NumPy's as Python's own."""
    return value.item() if isinstance(value, np.generic) else value
