"""What can be the matter with the bytes of a file that should be text, whatever it is about."""

import bz2
import gzip
import io
import lzma
import random
import struct
import zipfile
import zlib
from collections.abc import Callable

Spoil = Callable[[bytes], bytes]


def insert(line: bytes) -> Spoil:
    """Return what puts a line after the second one."""

    def spoil(data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        return b"".join([*lines[:2], line + b"\n", *lines[2:]])

    return spoil


def zipped(data: bytes, name: str = "corpus.jsonl", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a ZIP archive of one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def patched(data: bytes, offset_local: int, offset_central: int, value: int) -> bytes:
    """Return a ZIP archive of one file with a 16-bit field of both its headers changed, such as flags or method."""
    made, central = bytearray(data), data.index(b"PK\x01\x02")
    struct.pack_into("<H", made, offset_local, value)
    struct.pack_into("<H", made, central + offset_central, value)
    return bytes(made)


def encrypted(data: bytes) -> bytes:
    """Return a ZIP archive of one file that says it is encrypted."""
    return patched(data, 6, 8, 1)


def packed_otherwise(data: bytes, method: int = 97) -> bytes:
    """Return a ZIP archive of one file that says it is packed in a way that Python does not know (97: WavPack)."""
    return patched(data, 8, 10, method)


def random_bytes(count: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(count)


def bomb(start: bytes, size: int) -> bytes:
    """Return gzip bytes that unpack to a beginning and then so many spaces."""
    packer = zlib.compressobj(9, wbits=31)
    parts, block = [packer.compress(start)], b" " * 2**24
    parts += [packer.compress(block) for _ in range(size // len(block))]
    return b"".join([*parts, packer.flush()])


# Which bytes become of a file. What is read of them must be what was read before, or be refused.
DISORDERS: dict[str, Spoil] = {
    "nothing in it": lambda d: b"",
    "white space alone": lambda d: b" \n\t\n\n",
    "a line break alone": lambda d: b"\n",
    "UTF-8's mark": lambda d: b"\xef\xbb\xbf" + d,
    "UTF-8's mark twice": lambda d: b"\xef\xbb\xbf" * 2 + d,
    "UTF-8's mark and nothing": lambda d: b"\xef\xbb\xbf",
    "UTF-16 with its mark": lambda d: d.decode().encode("utf-16"),
    "UTF-16 cut within a character": lambda d: d.decode().encode("utf-16")[:-1],
    "UTF-16 without its mark": lambda d: d.decode().encode("utf-16-le"),
    "UTF-16, the other order": lambda d: d.decode().encode("utf-16-be"),
    "UTF-16's mark before UTF-8": lambda d: b"\xff\xfe" + d,
    "UTF-32 with its mark": lambda d: d.decode().encode("utf-32"),
    "UTF-32's mark before UTF-8": lambda d: b"\xff\xfe\0\0" + d,
    "Latin-1": lambda d: d.decode().encode("latin-1", "replace"),
    "cp1252": lambda d: d.decode().encode("cp1252", "replace"),
    "EBCDIC": lambda d: d.decode().encode("cp500", "replace"),
    "UTF-7's kind of text": lambda d: b"+2D3eAA-\n" + d,
    "line ends of Windows": lambda d: d.replace(b"\n", b"\r\n"),
    "line ends of an old Mac": lambda d: d.replace(b"\n", b"\r"),
    "no line end at the end": lambda d: d.rstrip(b"\n"),
    "blank lines between": lambda d: d.replace(b"\n", b"\n\n"),
    "NULs at the end": lambda d: d + bytes(64),
    "4 KB of NULs in place of it": lambda d: bytes(4096),
    "NULs in the middle": lambda d: d[: len(d) // 2] + bytes(16) + d[len(d) // 2 :],
    "a byte that is not UTF-8": lambda d: d[: len(d) // 2] + b"\xff" + d[len(d) // 2 :],
    "a character cut at the end": lambda d: d + "ü".encode()[:1],
    "an overlong encoding": lambda d: d + b"\xc0\xaf\n",
    "a surrogate in UTF-8": lambda d: d + b"\xed\xa0\x80\n",
    "a code point beyond the last": lambda d: d + b"\xf4\x90\x80\x80\n",
    "random bytes": lambda d: random_bytes(64, 1),
    "many random bytes": lambda d: random_bytes(65_536, 2),
    "random bytes at the end": lambda d: d + random_bytes(64, 3),
    "packed by gzip": gzip.compress,
    "gzip, cut": lambda d: gzip.compress(d)[:-12],
    "gzip, its head alone": lambda d: gzip.compress(d)[:5],
    "gzip, its mark alone": lambda d: b"\x1f\x8b",
    "gzip, another checksum": lambda d: gzip.compress(d)[:-8] + bytes(8),
    "gzip, a bit flipped": lambda d: (g := bytearray(gzip.compress(d * 9)), g.__setitem__(40, g[40] ^ 16), bytes(g))[2],
    "gzip, more behind it": lambda d: gzip.compress(d) + b"more",
    "gzip, packed otherwise": lambda d: b"\x1f\x8b\x07" + gzip.compress(d)[3:],
    "gzip twice": lambda d: gzip.compress(gzip.compress(d)),
    "gzip of nothing": lambda d: gzip.compress(b""),
    "ZIP": zipped,
    "ZIP, encrypted": lambda d: encrypted(zipped(d)),
    "ZIP, packed otherwise": lambda d: packed_otherwise(zipped(d)),
    "ZIP, cut": lambda d: zipped(d)[:-30],
    "an Excel workbook": lambda d: zipped(d, "xl/workbook.xml"),
    "a Word document": lambda d: zipped(d, "word/document.xml"),
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "a PDF": lambda d: b"%PDF-1.7\n" + d,
    "a page of HTML": lambda d: b"<!DOCTYPE html><html><head><title>404</title></head><body>Not found</body></html>\n",
    "an XML file": lambda d: b'<?xml version="1.0"?><rows><row/></rows>\n',
    "an SQLite database": lambda d: b"SQLite format 3\0" + bytes(100),
    "Parquet's mark alone": lambda d: b"PAR1" + d + b"PAR1",
    "a picture": lambda d: b"\x89PNG\r\n\x1a\n" + random_bytes(64, 4),
    "a pickle": lambda d: b"\x80\x04\x95" + d,
    "a pointer of Git LFS": lambda d: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
}

# Lines that no file of rows has: refused, or passed over.
LINES: dict[str, bytes] = {
    "an empty object": b"{}",
    "an empty list": b"[]",
    "a list of lists": b"[[1, 2], [3]]",
    "null": b"null",
    "NaN": b"NaN",
    "minus Infinity": b"-Infinity",
    "a text": b'"a"',
    "an object that is cut": b'{"_id": "d',
    "two objects": b'{"_id": "x"} {"_id": "y"}',
    "deep JSON": b"[" * 100_000,
    "a deep object": b'{"_id": ' * 50_000 + b"1" + b"}" * 50_000,
    "a number of 5,000 digits": b"9" * 5_000,
    "an object with a number of 5,000 digits": b'{"_id": ' + b"9" * 5_000 + b', "text": "x"}',
    "a number beyond every float": b"1e400",
    "a field of 200,000 characters": b"x" * 200_000,
    "a line of 3 MB": b"word " * 600_000,
    "control characters": b"\x1b[31m\x07\x08\x7f",
    "a form feed": b"\x0c",
    "line ends of Unicode": "a\u2028b\u2029c\x85d".encode(),
    "marks of direction": "\u202eabc\u202c\u200b\ufeff".encode(),
    "half a character, escaped": b'{"_id": "\\ud83d", "text": "\\ud83d", "query_id": "\\ud83d", "doc_id": "d"}',
    "a quote that is not closed": b'"a\t"b',
    "tabs alone": b"\t\t\t\t\t",
    "one tab": b"\t",
    "commas alone": b",,,,,,",
    "a comment": b"# comment",
    "a conflict of Git": b"<<<<<<< HEAD",
}
