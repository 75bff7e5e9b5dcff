"""Rows divided by a delimiter, as others save them: which delimiter, which quotes, and the line of what is wrong."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from ragkit.datasets.contents import read_text
from ragkit.datasets.jsonl import AS_JSON_LINES, is_json
from ragkit.errors import RagkitError, shorten

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
QUOTINGS = ("csv", "none")
_LONGEST_FIELD = 2**31 - 1  # csv's own limit of 131,072 characters is shorter than some documents
_UNQUOTED = "If quotes are plain characters in this file, as in MS MARCO's, import it with --quoting none."

Record = tuple[int, list[str]]  # the line that it begins in, from 1, and its fields


def read_rows(
    path: Path,
    wanted: Sequence[str] = (),
    delimiter: str | None = None,
    encoding: str | None = None,
    quoting: str | None = None,
) -> tuple[list[str], list[Record], list[str]]:
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
    records = _records(path, content, delimiter, plain, skipped)
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


def _holds(record: Record) -> bool:
    return any(field.strip() for field in record[1])


def _miscounted(path: Path, line: int, fields: list[str], header: list[str], delimiter: str, plain: bool) -> str:
    told = f"{path}, line {line}: {len(fields)} fields, but the header has {len(header)}. "
    if plain:
        return told + "With --quoting none every line is a row, and every delimiter divides it."
    return told + (
        f"A text with a {DELIMITERS.get(delimiter, repr(delimiter))} or a line break in it stands in quotes; if "
        "another character divides the fields, name it (--delimiter)."
    )


def _records(
    path: Path, content: str, delimiter: str, plain: bool, skipped: int = 0, count: int | None = None
) -> list[Record]:
    """Return the first `count` records, or all."""
    found: list[Record] = []
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


def _swallowed(path: Path, records: list[Record], delimiter: str) -> list[str]:
    """Refuse, or note, rows that a stray quote has made a part of the field that it opens.

    A tab or a bar is rare in a text, so a field of several lines with one in it is refused. A comma is not: there,
    every further line must look like a row of its own, and even so it may be a text, so that it is noted.
    """
    suspects = []
    for line, fields in records:
        for field in fields:
            if "\n" not in field and "\r" not in field or delimiter not in field:
                continue
            if delimiter in "\t|":
                raise RagkitError(
                    f"{path}: a quote opened in the row that begins in line {line} closes lines later, beyond a "
                    f"{DELIMITERS.get(delimiter, repr(delimiter))}: {shorten(field, 60)!r}. {_UNQUOTED} If that is one "
                    "text, import it with --quoting csv."
                )
            _, *further = re.split("\r\n|\r|\n", field)
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
        records = _records(path, content, delimiter, plain, count=1)
    except RagkitError:  # "a";"b" cannot be read with a comma, so it is none
        return []
    return [name.strip() for name in records[0][1]] if records else []
