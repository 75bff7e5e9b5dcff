"""Rows with named fields, from JSON Lines, delimited files, Parquet or a DataFrame, and where each of them stands."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ragkit.datasets.contents import is_parquet
from ragkit.datasets.delimited import read_rows
from ragkit.datasets.jsonl import read_jsonl
from ragkit.errors import RagkitError, shorten

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Records:
    """Rows as they were found: nothing is converted, a value that is missing is None or not there.

    source: what messages name; unit: what its numbers count ("line" or "row", from 1); columns: every name, in order,
    one that is there twice twice; rows: number and fields by name; notes: what is unusual.
    """

    source: str
    unit: str
    columns: list[str]
    rows: list[tuple[int, Row]]
    notes: list[str] = field(default_factory=list)

    def where(self, number: int) -> str:
        """Return the place of a row, for messages."""
        return f"{self.source}, {self.unit} {number}"


def stem(path: Path) -> str:
    """Return a file's name without its ends, of which .gz is one.

    >>> stem(Path("qrels/test.tsv.gz"))
    'test'
    """
    name = path.name.removesuffix(".gz")
    return name.rpartition(".")[0] or name


def is_jsonl(path: Path) -> bool:
    """Return whether the name says JSON Lines, packed by gzip or not."""
    return path.name.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson"))


def read_records(path: Path) -> Records:
    """Return the rows of a .jsonl, .tsv or .parquet file, the first two perhaps packed as .gz.

    Raises RagkitError, naming file and place, for what cannot be read.
    """
    if is_parquet(path):
        return read_parquet(path)
    if is_jsonl(path):
        rows = read_jsonl(path)
        return Records(str(path), "line", list(dict.fromkeys(name for _, row in rows for name in row)), list(rows))
    return read_delimited(path, delimiter="\t")


def read_delimited(path: Path, wanted: tuple[str, ...] = (), **options: str | None) -> Records:
    """Return the rows of a delimited file; see delimited.read_rows."""
    header, rows, notes = read_rows(path, wanted, **options)
    return Records(str(path), "line", header, [(line, dict(zip(header, f, strict=True))) for line, f in rows], notes)


def read_parquet(path: Path) -> Records:
    """Return the rows of a Parquet file, which pandas reads with pyarrow or fastparquet.

    Raises RagkitError if neither is installed, and for a file that cannot be read.
    """
    try:
        return of_frame(pd.read_parquet(path), str(path))
    except ImportError as error:
        raise RagkitError(
            f"{path}: Parquet is read by pyarrow or fastparquet, and neither is installed. Run: pip install pyarrow"
        ) from error
    except FileNotFoundError as error:
        raise RagkitError(f"No file {path}.") from error
    except RagkitError:
        raise
    except Exception as error:  # pyarrow's and fastparquet's own kinds, and whatever damaged bytes make of them
        raise RagkitError(
            f"{path}: cannot be read as Parquet ({type(error).__name__}: {shorten(str(error), 120)}); a damaged file? "
            "Fetch or make it again."
        ) from error


def of_frame(frame: pd.DataFrame, source: str) -> Records:
    """Return the rows of a DataFrame, numbered from 1; its index comes along where it has a name."""
    if frame.index.name is not None and frame.index.name not in frame:
        frame = frame.reset_index()
    columns = [str(name) for name in frame.columns]
    return Records(source, "row", columns, list(enumerate(_rows(frame, columns), 1)))


def _rows(frame: pd.DataFrame, columns: list[str]) -> Iterator[Row]:
    for values in frame.itertuples(index=False, name=None):
        yield {name: None if _missing(value) else value for name, value in zip(columns, values, strict=True)}


def _missing(value: Any) -> bool:
    return value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and value != value)
