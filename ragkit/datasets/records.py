"""Rows with named fields, from JSON Lines, delimited files, Parquet or a DataFrame, and where each of them stands."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ragkit.datasets.contents import is_parquet, read_lines, read_text
from ragkit.errors import RagkitError, shorten

Row = Mapping[str, Any]

AS_JSON_LINES = 'To write it one object a line: pandas.read_json(file).to_json(to, orient="records", lines=True).'

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
QUOTINGS = ("csv", "none")
_LONGEST_FIELD = 2**31 - 1  # csv's own limit of 131,072 characters is shorter than some documents
_UNQUOTED = "If quotes are plain characters in this file, as in MS MARCO's, import it with --quoting none."

_Fields = tuple[int, list[str]]  # the line that it begins in, from 1, and its fields


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
    """Return the rows of a delimited file; see read_rows."""
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


def read_jsonl(path: str | Path) -> list[tuple[int, dict[str, Any]]]:
    """Return (line number, object) for each non-blank line of a JSON Lines file, packed by gzip or not.

    Raises RagkitError, naming file and line, for what is no JSON object or cannot be read.
    """
    return [(n, parse_object(line, f"{path}, line {n}")) for n, line in read_lines(path) if line.strip()]


def parse_object(line: str, where: str) -> dict[str, Any]:
    """Return the JSON object in a line. Raises RagkitError, which begins with `where`, if there is none.

    >>> parse_object('{"_id": "d1"}', "line 1")
    {'_id': 'd1'}
    """
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        if line.strip() in ("{", "["):
            raise RagkitError(f"{where}: JSON over several lines, expected one a line. {AS_JSON_LINES}") from error
        raise RagkitError(f"{where}: not JSON ({error.msg}, column {error.colno}).") from error
    except RecursionError as error:
        raise RagkitError(f"{where}: JSON nested too deeply to be read; keep the fields that are needed.") from error
    except ValueError as error:  # Python reads no integer of more than 4,300 digits
        raise RagkitError(f"{where}: a number that cannot be read ({error}); write it as text.") from error
    if isinstance(value, list):
        raise RagkitError(f"{where}: expected a JSON object, one a line, got a list. {AS_JSON_LINES}")
    if not isinstance(value, dict):
        raise RagkitError(f"{where}: expected a JSON object, one a line, got {shorten(line.strip(), 60)}.")
    return value


def is_json(text: str, kinds: type | tuple[type, ...]) -> bool:
    """Return whether a text is JSON of these kinds (dict, list, …).

    >>> is_json("[1]", list), is_json("[id]", list)
    (True, False)
    """
    try:
        return isinstance(json.loads(text), kinds)
    except (ValueError, RecursionError):
        return False


def read_rows(
    path: Path,
    wanted: Sequence[str] = (),
    delimiter: str | None = None,
    encoding: str | None = None,
    quoting: str | None = None,
) -> tuple[list[str], list[_Fields], list[str]]:
    """Return the header of a delimited file, each further row with the line that it begins in, and notes.

    wanted: columns that the caller needs; they settle which delimiter it is where several divide the header. delimiter,
    encoding: None to find out, see importing.read_documents. quoting: "csv" (a field in quotes may hold delimiters and
    line breaks), "none" (quotes are characters, every line is a row), None for "csv" with a refusal of what looks like
    rows that a stray quote has swallowed. Blank lines are passed over; a row of empty fields has "" in each column.
    Raises RagkitError, naming file and line, for what cannot be read, and for a row that has not as many fields as the
    header.
    """
    if quoting not in (None, *QUOTINGS):
        raise RagkitError(f"There is no quoting {quoting!r}; expected csv or none.")
    content, skipped = read_text(path, encoding), 0
    if told := re.match(r"sep=(.)\r?\n", content):  # Excel's own way to say so
        delimiter, content, skipped = delimiter or told[1], content[told.end() :], 1
    _refuse_json(path, content)
    plain = quoting == "none"
    delimiter = _delimiter(path, content, wanted, plain) if delimiter is None else _checked(delimiter)
    records = _divided(path, content, delimiter, plain, skipped)
    if not records:
        raise RagkitError(f"{path}: the file is empty; expected a header line and a row a document.")
    notes = [] if quoting else _swallowed(path, records, delimiter)
    (_, header), *rows = records
    if not any(map(_holds, rows)):
        raise RagkitError(f"{path}: a header and no rows; expected a row a document.")
    for i, (line, fields) in enumerate(rows):
        if len(fields) != len(header):
            if _holds((line, fields)):
                raise RagkitError(_miscounted(path, line, fields, header, delimiter, plain))
            rows[i] = (line, [""] * len(header))
    return [name.strip() for name in header], rows, notes


def _refuse_json(path: Path, content: str) -> None:
    start = content.lstrip()
    if not start.startswith(("{", "[")):
        return
    if is_json(start.split("\n", 1)[0], dict):
        raise RagkitError(f"{path}: JSON Lines, not delimited rows; give it a name that ends with .jsonl.")
    if is_json(content, (dict, list)):
        raise RagkitError(f"{path}: JSON, not delimited rows. {AS_JSON_LINES}")


def _holds(record: _Fields) -> bool:
    return any(field.strip() for field in record[1])


def _miscounted(path: Path, line: int, fields: list[str], header: list[str], delimiter: str, plain: bool) -> str:
    told = f"{path}, line {line}: {len(fields)} fields, but the header has {len(header)}. "
    if plain:
        return told + "With --quoting none every line is a row, and every delimiter divides it."
    return told + (
        f"A text with a {DELIMITERS.get(delimiter, repr(delimiter))} or a line break in it stands in quotes; if "
        "another character divides the fields, name it (--delimiter)."
    )


def _divided(
    path: Path, content: str, delimiter: str, plain: bool, skipped: int = 0, count: int | None = None
) -> list[_Fields]:
    """Return the first `count` records, or all."""
    found: list[_Fields] = []
    before = csv.field_size_limit(_LONGEST_FIELD)
    lines, quoting = io.StringIO(content, newline=""), csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL
    try:
        reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
        while count is None or len(found) < count:
            line = reader.line_num + skipped + 1
            fields = next(reader)
            found += [(line, fields)] if fields else []
    except StopIteration:
        pass
    except csv.Error as error:
        why = "a quote is opened and never closed" if "end of data" in str(error) else str(error)
        raise RagkitError(
            f"{path}: the row that begins in line {line} cannot be read ({why}). A quote inside quotes is "
            f'written twice: "". {_UNQUOTED}'
        ) from error
    finally:
        csv.field_size_limit(before)
    return found


def _swallowed(path: Path, records: list[_Fields], delimiter: str) -> list[str]:
    """Refuse, or note, rows that a stray quote has made a part of the field that it opens.

    A tab or a bar is rare in a text, so a field of several lines with one in it is refused. A comma is not: there,
    every further line must look like a row of its own, and even so it may be a text, so that it is noted.
    """
    suspects = []
    for line, fields in records:
        for text in fields:
            if "\n" not in text and "\r" not in text or delimiter not in text:
                continue
            if delimiter in "\t|":
                raise RagkitError(
                    f"{path}: a quote opened in the row that begins in line {line} closes lines later, beyond a "
                    f"{DELIMITERS.get(delimiter, repr(delimiter))}: {shorten(text, 60)!r}. {_UNQUOTED} If that is one "
                    "text, import it with --quoting csv."
                )
            _, *further = re.split("\r\n|\r|\n", text)
            if len(fields) > 1 and all(part.count(delimiter) == len(fields) - 1 for part in further):
                suspects.append(line)
    if not suspects:
        return []
    where = ", ".join(map(str, suspects[:3])) + (", …" if len(suspects) > 3 else "")
    return [
        f"{len(suspects):,} quoted texts hold lines that look like rows of their own (in the rows that begin in line "
        f"{where}); if they are rows, read the file with --quoting none"
    ]


def _checked(delimiter: str) -> str:
    """Return the delimiter that was asked for.

    >>> _checked("tab")
    '\\t'
    """
    delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise RagkitError(f"The delimiter is one character, such as ; or , or tab; got {delimiter!r}.")
    return delimiter


def _delimiter(path: Path, content: str, wanted: Sequence[str], plain: bool) -> str:
    # Not csv.Sniffer, which guesses from how often characters occur in the texts: only the header decides.
    headers = {delimiter: _header(path, content, delimiter, plain) for delimiter in DELIMITERS}
    dividing = [delimiter for delimiter, names in headers.items() if len(names) > 1]
    fitting = [delimiter for delimiter in dividing if set(wanted) <= set(headers[delimiter])]
    found = fitting if len(fitting) == 1 else dividing
    if len(found) > 1:
        names = " or ".join(DELIMITERS[delimiter] for delimiter in found)
        raise RagkitError(f"{path}: the header could be divided by {names}; name one (--delimiter).")
    return found[0] if found else ","  # a single column


def _header(path: Path, content: str, delimiter: str, plain: bool) -> list[str]:
    try:
        records = _divided(path, content, delimiter, plain, count=1)
    except RagkitError:  # "a";"b" cannot be read with a comma, so it is none
        return []
    return [name.strip() for name in records[0][1]] if records else []
