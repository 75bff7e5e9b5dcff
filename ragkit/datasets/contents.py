"""The text in a file, unpacked if it is gzip and decoded or refused, and what no text and no id may hold."""

import codecs
import gzip
import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ragkit.boundary import reason
from ragkit.errors import RagkitError, amount, given, shorten
from ragkit.files import expanded, largest_unpacked

PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
# UTF-32 first: its mark begins with UTF-16's.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_HEAD = 264  # bytes that tell a format; tar's mark stands behind a name
_EXCEL = "in Excel save it as “CSV UTF-8”"
_UNPACK = "unpack it first"
_NAME_IT = "Name the file's encoding (--encoding; older Excel files in Western Europe are cp1252), or save it as UTF-8."
# Formats that are no text, by their first bytes, and what to do with them.
_FORMATS = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file (.xls, .doc)", _EXCEL),
    (b"%PDF-", "a PDF", "save its text as .txt or .md"),
    (b"{\\rtf", "a rich text file (RTF)", "save it as plain text"),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", _UNPACK),
    (b"\xfd7zXZ\0", "packed by xz", _UNPACK),
    (b"BZh91AY&SY", "packed by bzip2", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"ARROW1\0", "an Arrow or Feather file", "save it as Parquet"),
    (b"\x89PNG\r\n", "a picture (PNG)", "name a file of text"),
    (b"\xff\xd8\xff", "a picture (JPEG)", "name a file of text"),
    (b"\x80\x04\x95", "a Python pickle", "save it as CSV, JSON Lines or Parquet"),
    (b"\x80\x05\x95", "a Python pickle", "save it as CSV, JSON Lines or Parquet"),
    (_GZIP, "packed by gzip twice", _UNPACK),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "fetch it: git lfs pull"),
)
_OFFICE = (  # by the names in the archive
    ("xl/", "an Excel workbook (.xlsx)", _EXCEL),
    ("word/", "a Word document", "save it as plain text"),
    ("mimetype", "an OpenDocument or e-book file", "save its table as CSV, or its text as plain text"),
)
# What Python's own text has no use for: below the space, but for tab, line ends, form feed and escape.
_BINARY = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")


def is_parquet(path: str | Path) -> bool:
    """Return whether a file is Parquet, by its first and last bytes.

    Raises RagkitError as read_text does, and for a file that is named .parquet and is none.
    """
    path = expanded(path)
    with _opened(path) as file:
        head = file.read(_HEAD)
        if head.startswith(PARQUET) and file.seek(0, 2) >= 3 * len(PARQUET):
            file.seek(-len(PARQUET), 2)
            if file.read() == PARQUET:
                return True
    if path.suffix.lower() == ".parquet":
        _refuse_formats(path, head)
        raise RagkitError(f"{path}: not Parquet, though its name says so; damaged? Fetch or make it again.")
    return False


def read_text(path: str | Path, encoding: str | None = None) -> str:
    """Return a file's text, unpacked if it is gzip: by the encoding, else its byte order mark, else as UTF-8.

    Raises RagkitError, with the encoding that was tried and the line, for bytes that are not of it, and for NUL
    characters; for what is told by its first bytes to be no text (Excel, ZIP, PDF, …), damaged gzip, an encoding that
    is not known, and what is no regular file or is not there.
    """
    path = expanded(path)
    if encoding is not None:
        _check_encoding(encoding)
    with _unpacked(path) as file:
        data = file.read()
    _refuse_formats(path, data[:_HEAD])
    tried = encoding or _mark(data) or "utf-8"
    try:
        text = data.decode(tried)
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(tried, "replace").count("\n") + 1
        raise _undecodable(path, line, data, error, tried, _NAME_IT) from error
    except UnicodeError as error:  # UTF-16 that begins in neither of its orders, and its kind
        raise RagkitError(f"{path}: not {tried} ({error}). {_NAME_IT}") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise RagkitError(f"{path}, line {line}: a NUL character; text as {tried}? Perhaps it is utf-16 (--encoding).")
    if half := re.search("[\ud800-\udfff]", text):  # utf-7 and its kind can spell what no text can hold
        line = text[: half.start()].count("\n") + 1
        raise RagkitError(f"{path}, line {line}: {half[0]!r} is not {tried}: half a character; remove it.")
    return text.lstrip("\ufeff")


def _check_encoding(name: str) -> None:
    try:
        "a".encode(name)
    except (LookupError, ValueError) as error:
        raise RagkitError(
            f"There is no text encoding {given(name)}; known are utf-8, utf-16, cp1252, latin-1, …"
        ) from error


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, and the text of each line, without its end, holding no more than one in memory.

    The text is unpacked if it is gzip, and UTF-8 unless a byte order mark says otherwise. Raises RagkitError, naming
    the line, as read_text does.
    """
    path = expanded(path)
    with _unpacked(path) as file:
        head = file.peek(_HEAD)[:_HEAD]  # type: ignore[attr-defined]
        _refuse_formats(path, head)
        mark = _mark(head)
        if mark in (None, "utf-8-sig"):
            yield from _utf8_lines(path, file)
            return
    yield from enumerate(re.split("\r\n|\r|\n", read_text(path)), 1)


def _utf8_lines(path: Path, file: IO[bytes]) -> Iterator[tuple[int, str]]:
    number = 0
    for chunk in file:
        for data in chunk.splitlines():  # bytes break at \r and \n only
            number += 1
            if b"\0" in data:
                advice = "a NUL character; is the file text in UTF-8? UTF-16 needs its byte order mark."
                raise RagkitError(f"{path}, line {number}: {advice}")
            try:
                text = data.decode("utf-8")
            except UnicodeDecodeError as error:
                raise _undecodable(path, number, data, error, "utf-8", "Save the file as UTF-8.") from error
            yield number, text.lstrip("\ufeff") if number == 1 else text


def _undecodable(path: Path, line: int, data: bytes, error: UnicodeDecodeError, tried: str, advice: str) -> RagkitError:
    byte = f"byte 0x{data[error.start]:02x} is not {tried}"
    if _BINARY.search(data[:65536]):
        return RagkitError(
            f"{path}, line {line}: {byte}, and there are control characters: this is no text, or UTF-16 without its "
            "byte order mark. Save it as UTF-8 text."
        )
    return RagkitError(f"{path}, line {line}: {byte} ({error.reason}). {advice}")


def _mark(data: bytes) -> str | None:
    return next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Yield a regular file; a pipe would wait for ever, and a device has no end."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise RagkitError(f"{path} is a folder; expected a file.")
        if not stat.S_ISREG(mode):
            raise RagkitError(f"{path} is a pipe or a device, not a regular file; save what it gives in a file first.")
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError as error:
        raise RagkitError(f"No file {path}.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RagkitError(f"{path}: a damaged gzip file ({error}); fetch or make it again.") from error
    except (OSError, UnicodeEncodeError) as error:
        raise RagkitError(f"{path} cannot be read ({reason(error)}).") from error


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    with _opened(path) as file:
        packed = file.peek(2)[:2] == _GZIP  # type: ignore[attr-defined]
        if path.suffix.lower() == ".gz" and not packed:
            raise RagkitError(f"{path}: not gzip, though its name says so; damaged, or unpacked? Then rename it.")
        if not packed:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unpacked, io.BufferedReader(_Bounded(path, unpacked)) as bounded:
            yield bounded


class _Bounded(io.RawIOBase):
    """Unpacked bytes, no more of them than a file of that size may become."""

    def __init__(self, path: Path, unpacked: gzip.GzipFile):
        self._path, self._unpacked, self._left = path, unpacked, largest_unpacked(path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._unpacked.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise RagkitError(
                f"{self._path} unpacks to more than {amount(largest_unpacked(self._path))}, which no text of its size "
                f"does; if it is meant, {_UNPACK}."
            )
        return count


def _refuse_formats(path: Path, head: bytes) -> None:
    if head.startswith(_ZIP):
        raise RagkitError(f"{path}: {_zip(path)}")
    if path.suffix.lower() != ".parquet" and head.startswith(PARQUET) and is_parquet(path):
        raise RagkitError(f"{path}: a Parquet file; give it a name that ends with .parquet.")
    if head[257:262] == b"ustar":
        raise RagkitError(f"{path}: a tar archive, not text; {_UNPACK}.")
    for first, what, advice in _FORMATS:
        if head.startswith(first):
            raise RagkitError(f"{path}: {what}, not text; {advice}.")


def _zip(path: Path) -> str:
    """Return what is in a ZIP archive, and what to do: office files are ZIP archives, too."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return f"a ZIP archive or office file, not text; unpack it first, or {_EXCEL}."
    for start, what, advice in _OFFICE:
        if any(name.startswith(start) for name in names):
            return f"{what}, not text; {advice}."
    return f"a ZIP archive ({', '.join(names[:3])}{', …' if len(names) > 3 else ''}), not text; {_UNPACK}."


def checked_text(text: str, where: str) -> str:
    """Return the text. Raises RagkitError, which begins with `where`, if there is half a character in it.

    A lone surrogate is what is left of an emoji cut in two ("\\ud83d" in JSON), or a byte of a file name that is not
    UTF-8: no tokenizer, no database and no UTF-8 file takes it.

    >>> checked_text("naïve 🎬", "line 1")
    'naïve 🎬'
    """
    if text.isascii():
        return text
    try:
        text.encode("utf8")
    except UnicodeEncodeError as error:
        half, near = text[error.start], text[max(0, error.start - 20) : error.start + 20]
        # Python's way to hold a byte that is not UTF-8, of a file's name or an argument.
        byte, advice = "", "put the whole character there, or remove the half"
        if "\udc80" <= half <= "\udcff":
            byte, advice = f", the byte 0x{ord(half) - 0xDC00:02x} of a name that is not UTF-8", "rename the file"
        raise RagkitError(
            f"{where}: character {error.start + 1} is half a character ({half!r}, a lone surrogate{byte}) in {near!r}, "
            f"which no UTF-8 text can hold; {advice}."
        ) from None  # the codec's own error says no more
    return text


def checked_id(text: str, where: str) -> str:
    """Return the id. Raises RagkitError, which begins with `where`, if it is empty or holds NUL or half a character.

    >>> checked_id("a\\0", "corpus.jsonl, line 1")
    Traceback (most recent call last):
        ...
    ragkit.errors.RagkitError: corpus.jsonl, line 1: the id 'a\\x00' holds a NUL character; remove it.
    """
    if not text:
        raise RagkitError(f"{where}: the id is empty; expected a text such as 'q01'.")
    if "\0" in text:
        raise RagkitError(f"{where}: the id {shorten(text, 80)!r} holds a NUL character; remove it.")
    return checked_text(text, where)
