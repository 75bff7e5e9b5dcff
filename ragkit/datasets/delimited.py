"""Files of rows and of plain text as others save them: delimiters, quotes, encodings, and the line of what is wrong."""

import codecs
import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from ragkit.errors import RagkitError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_LONGEST_FIELD = 2**31 - 1  # csv's own limit of 131,072 characters is shorter than some documents
# UTF-32 first: its mark begins with UTF-16's.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

Record = tuple[int, list[str]]  # the line that it begins in, from 1, and its fields


def read_rows(
    path: Path, wanted: Sequence[str] = (), delimiter: str | None = None, encoding: str | None = None
) -> tuple[list[str], list[Record]]:
    """Return the header of a delimited file, and each further row with the line of the file that it begins in.

    wanted: columns that the caller needs; they settle which delimiter it is where several divide the header. delimiter,
    encoding: None to find out, see importing.read_documents. Blank lines are passed over. Raises RagkitError, naming
    file and line, for what cannot be read, and for a row that has not as many fields as the header.
    """
    content, skipped = read_text(path, encoding), 0
    if told := re.match(r"sep=(.)\r?\n", content):  # Excel's own way to say so
        delimiter, content, skipped = delimiter or told[1], content[told.end() :], 1
    delimiter = _delimiter(path, content, wanted) if delimiter is None else _checked(delimiter)
    records = _records(path, content, delimiter, skipped)
    if not records:
        raise RagkitError(f"{path}: the file is empty; expected a header line and a row a document.")
    (_, header), *rows = records
    if not rows:
        raise RagkitError(f"{path}: a header and no rows; expected a row a document.")
    for line, fields in rows:
        if len(fields) != len(header):
            raise RagkitError(
                f"{path}, line {line}: {len(fields)} fields, but the header has {len(header)}. A text with a "
                f"{DELIMITERS.get(delimiter, repr(delimiter))} or a line break in it stands in quotes; if another "
                "character divides the fields, name it (--delimiter)."
            )
    return [name.strip() for name in header], rows


def _records(path: Path, content: str, delimiter: str, skipped: int = 0, count: int | None = None) -> list[Record]:
    """Return the first `count` records, or all."""
    found: list[Record] = []
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
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
            'written twice: "".'
        ) from error
    finally:
        csv.field_size_limit(before)
    return found


def _checked(delimiter: str) -> str:
    """Return the delimiter that was asked for.

    >>> _checked("tab")
    '\\t'
    """
    delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise RagkitError(f"The delimiter is one character, such as ; or , or tab; got {delimiter!r}.")
    return delimiter


def _delimiter(path: Path, content: str, wanted: Sequence[str]) -> str:
    # Not csv.Sniffer, which guesses from how often characters occur in the texts: only the header decides.
    headers = {delimiter: _header(path, content, delimiter) for delimiter in DELIMITERS}
    dividing = [delimiter for delimiter, names in headers.items() if len(names) > 1]
    fitting = [delimiter for delimiter in dividing if set(wanted) <= set(headers[delimiter])]
    found = fitting if len(fitting) == 1 else dividing
    if len(found) > 1:
        names = " or ".join(DELIMITERS[delimiter] for delimiter in found)
        raise RagkitError(f"{path}: the header could be divided by {names}; name one (--delimiter).")
    return found[0] if found else ","  # a single column


def _header(path: Path, content: str, delimiter: str) -> list[str]:
    try:
        records = _records(path, content, delimiter, count=1)
    except RagkitError:  # "a";"b" cannot be read with a comma, so it is none
        return []
    return [name.strip() for name in records[0][1]] if records else []


def read_text(path: Path, encoding: str | None = None) -> str:
    """Return a file's text: by the encoding, else its byte order mark, else as UTF-8; without the mark.

    Raises RagkitError, with the encoding that was tried and the line, for bytes that are not of it, NUL characters, an
    office file, an encoding that is not known, or a file that is not there.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise RagkitError(f"No file {path}.") from error
    except OSError as error:
        raise RagkitError(f"{path} cannot be read ({error}).") from error
    if data.startswith(b"PK\x03\x04"):
        raise RagkitError(f"{path}: an archive or office file, not text; in Excel save it as “CSV UTF-8”.")
    marked = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    tried = encoding or marked or "utf-8"
    try:
        text = data.decode(tried)
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(tried, "replace").count("\n") + 1
        raise RagkitError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not {tried} ({error.reason}). Name the file's "
            "encoding (--encoding; older Excel files in Western Europe are cp1252), or save it as UTF-8."
        ) from error
    except (LookupError, UnicodeError) as error:
        raise RagkitError(
            f"There is no text encoding {encoding!r}; known are utf-8, utf-16, cp1252, latin-1, …"
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise RagkitError(f"{path}, line {line}: a NUL character; text as {tried}? Perhaps it is utf-16 (--encoding).")
    return text.removeprefix("\ufeff")
