"""What broken, hostile and foreign servers answer over HTTP: by name, what each writes on a connection."""

import json
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator

Write = Callable[[socket.socket, threading.Event], None]

# Those that come out of the kit's sight: an ANSI escape, a bell, a carriage return, a backspace, and a C1 code.
CONTROL = "\x1b[31mred\x1b[0m\x07\rover\x08\x9b2J\x00"
HTML = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please log in to the WiFi.</body></html>"


def head(status: str, *headers: str) -> bytes:
    """Return a status line and headers, such as head("200 OK", "Content-Length: 0")."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1")


def page(status: str, body: bytes, *headers: str, kind: str = "application/json") -> Write:
    """Return what writes a whole answer."""
    whole = head(status, f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers) + body
    return lambda connection, _: connection.sendall(whole)


def raw(content: bytes) -> Write:
    """Return what writes these bytes, and no more."""
    return lambda connection, _: connection.sendall(content)


def drip(start: bytes, more: bytes, wait: float = 0.05) -> Write:
    """Return what writes a beginning, then `more` again and again, a byte at a time."""

    def write(connection: socket.socket, closing: threading.Event) -> None:
        connection.sendall(start)
        while True:
            for i in range(len(more)):
                if closing.wait(wait):
                    return
                connection.sendall(more[i : i + 1])

    return write


def endless(start: bytes, more: bytes) -> Write:
    """Return what writes a beginning, then `more` again and again, as fast as it is read."""

    def write(connection: socket.socket, closing: threading.Event) -> None:
        connection.sendall(start)
        while not closing.is_set():
            connection.sendall(more)

    return write


def silent(_: socket.socket, closing: threading.Event) -> None:
    """Say nothing until the test is over."""
    closing.wait()


def reset(content: bytes) -> Write:
    """Return what writes these bytes and resets the connection."""

    def write(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(content)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    return write


def bomb(size: int) -> bytes:
    """Return a gzip of `size` zeros, about a thousandth of that, made of one block again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(2**20)
    start = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * (size // 2**20 - 1)


def _error(message: str) -> bytes:
    return json.dumps({"status": {"error": message}, "time": 0.0}).encode()


def ended() -> Iterator[tuple[str, Write]]:
    """Yield answers that come to an end at once."""
    text, web = "text/plain", "text/html; charset=utf-8"
    good = b'{"result": true, "status": "ok", "time": 0.0}'
    yield "a captive portal with 200", page("200 OK", HTML, kind=web)
    yield "nothing with 200", page("200 OK", b"")
    for body in (b"{}", b"[]", b"null", b'"ok"', b"7", b"{", b'{"result": ', b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}"):
        yield f"{body!r} with 200", page("200 OK", body)
    for result in ("null", "7", '"yes"', "[[]]", '{"points": "none"}', '{"points": [7]}', '{"config": 0}', "1e999"):
        yield f"the result {result}", page("200 OK", f'{{"result": {result}, "status": "ok", "time": 0}}'.encode())
    yield "an error with 200", page("200 OK", _error("out of memory"))
    yield "deep JSON with 200", page("200 OK", b'{"result": ' + b"[" * 200_000)
    yield "a number of 10,000 digits", page("200 OK", b'{"result": ' + b"9" * 10_000 + b"}")
    yield "5 MB of text with 200", page("200 OK", b"what? " * 900_000, kind=text)
    yield "201 with nothing", page("201 Created", b"")
    yield "202 with HTML", page("202 Accepted", HTML, kind=web)
    yield "204", raw(head("204 No Content"))
    yield "206 of another range", page("206 Partial Content", b"zz", "Content-Range: bytes 5-6/7")
    yield "300", page("300 Multiple Choices", HTML, kind=web)
    yield "304", raw(head("304 Not Modified"))
    yield "a redirect to nowhere", page("302 Found", HTML, kind=web)
    yield "a redirect to itself", page("307 Temporary Redirect", b"", "Location: ?again")
    yield "a redirect to no address", page("301 Moved", b"", "Location: http://[:::]:99999/\x7f")
    yield "a redirect to a file", page("302 Found", b"", "Location: file:///etc/passwd")
    for status in (400, 401, 402, 403, 404, 405, 407, 409, 413, 418, 422, 426, 429, 431, 451, 500, 501, 502, 503, 504):
        yield f"{status} for ever", page(f"{status} No", _error(f"no {status}"))
    yield "508 and HTML", page("508 Loop Detected", HTML, kind=web)
    yield "599", page("599 Network", b"", kind=text)
    yield "999", page("999 Denied", b"denied", kind=text)
    for told in ("9" * 5000, "-7", "soon", "1e9", "Wed, 99 Foo 2026 99:99:99 GMT", "\xff", "0"):
        yield f"429, retry after {told[:30]!a}", page("429 Too Many", _error("slow"), f"Retry-After: {told}")
    yield "500 with 5 MB of text", page("500 Error", b"<p>what?</p>" * 450_000, kind=web)
    yield "400 with 5 MB of message", page("400 Bad", _error("no " * 1_700_000))
    yield "400 with control characters", page("400 Bad", _error(f"no {CONTROL}"))
    yield "400 with control characters in text", page("400 Bad", f"no {CONTROL}".encode(), kind=text)
    yield "500 with control characters in its reason", raw(head("500 \x1b[31mNo\x07", "Content-Length: 0"))
    yield "400 in a charset that is not its own", page("400 Bad", "no é ü".encode("latin-1"), kind=f"{text}; charset=x")
    yield "400 in UTF-16", page("400 Bad", "no é ü\U0001f3ac".encode("utf-16"), kind=f"{text}; charset=utf-16")
    yield "400 in a charset of bytes", page("400 Bad", b"no", kind=f"{text}; charset=base64")
    yield "400 and deep JSON", page("400 Bad", b"[" * 200_000)
    yield "400 and a message that is none", page("400 Bad", b'{"status": {"error": {"error": [1]}}}')
    yield "400 and lone surrogates", page("400 Bad", b'{"status": {"error": "no \\ud800 \\udfff"}}')
    yield "a body longer than its length", raw(head("200 OK", "Content-Length: 5") + good)
    yield "a length of -1", raw(head("200 OK", "Content-Length: -1") + good)
    yield "a length in words", raw(head("200 OK", "Content-Length: many") + good)
    yield "two lengths", raw(head("200 OK", "Content-Length: 45", "Content-Length: 44") + good)
    yield "a length of 5,000 digits", raw(head("200 OK", "Content-Length: " + "9" * 5000) + good)
    yield "a length, and chunks", raw(head("200 OK", "Content-Length: 4", "Transfer-Encoding: chunked") + b"zz\r\nab")
    yield "a chunk of no size", raw(head("200 OK", "Transfer-Encoding: chunked") + b"many\r\nab\r\n0\r\n\r\n")
    yield "no gzip where gzip is told", page("200 OK", good, "Content-Encoding: gzip")
    yield "half a gzip", page("200 OK", zlib.compress(good * 99, wbits=31)[:20], "Content-Encoding: gzip")
    yield "an encoding that nobody knows", page("200 OK", good, "Content-Encoding: x-secret")
    yield "8 GB of zeros in 8 MB of gzip", page("200 OK", bomb(2**33), "Content-Encoding: gzip")
    yield "400 and 8 GB of zeros in gzip", page("400 Bad", bomb(2**33), "Content-Encoding: gzip")
    yield "SSH", raw(b"SSH-2.0-OpenSSH_9.6\r\n")
    yield "HTTP/2 alone", raw(bytes.fromhex("000012040000000000") + bytes(18))
    yield "a TLS alert", raw(bytes.fromhex("15030100020246"))
    yield "bytes of no protocol", raw(bytes(range(256)) * 4)
    yield "control characters for a status line", raw(f"HTTP/1.1 {CONTROL}\r\n\r\n".encode())
    yield "HTTP/0.9", raw(HTML)
    yield "a status of 4 digits", raw(head("2000 OK", "Content-Length: 0"))
    yield "a header without a name", raw(head("200 OK", ": x", "Content-Length: 2") + b"{}")
    yield "a header of 300 kB", raw(head("200 OK", "X-Long: " + "x" * 300_000, "Content-Length: 2") + b"{}")
    yield "9,000 headers", raw(head("200 OK", *[f"X-{i}: x" for i in range(9000)], "Content-Length: 2") + b"{}")
    yield "a switch of protocols", raw(head("101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"))


def broken() -> Iterator[tuple[str, Write]]:
    """Yield answers that break off: the same request might succeed later."""
    yield "no answer, closed", raw(b"")
    yield "no answer, reset", reset(b"")
    yield "cut in the status line", raw(b"HTTP/1.1 2")
    yield "cut in the headers", raw(b"HTTP/1.1 200 OK\r\nContent-Len")
    yield "cut in the body", raw(head("200 OK", "Content-Length: 900") + b'{"result": ')
    yield "cut in a chunk", raw(head("200 OK", "Transfer-Encoding: chunked") + b"ff\r\n{")
    yield "reset in the body", reset(head("200 OK", "Content-Length: 900") + b'{"result": ')
    yield "a length of 10 TB", raw(head("200 OK", "Content-Length: 10000000000000") + b"{")


def slow() -> Iterator[tuple[str, Write]]:
    """Yield answers that never come to an end, though something may come all the time."""
    yield "silence", silent
    yield "silence after the headers", lambda c, e: (c.sendall(head("200 OK", "Content-Length: 9")), silent(c, e))
    yield "a byte at a time", drip(head("200 OK", "Content-Length: 99999"), b" ")
    yield "a byte of an error at a time", drip(head("503 No", "Content-Length: 99999"), b" ")
    yield "a chunk at a time", drip(head("200 OK", "Transfer-Encoding: chunked"), b"1\r\n \r\n", 0.02)
    yield "a header at a time", drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.02)
    yield "100 Continue for ever", drip(b"", head("100 Continue"), 0.005)


def large() -> Iterator[tuple[str, Write]]:
    """Yield answers that never come to an end, and come fast."""
    chunk = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    yield "chunks without an end", endless(head("200 OK", "Transfer-Encoding: chunked"), chunk)
    yield "a body without an end", endless(head("200 OK", "Connection: close"), b" " * 2**20)
    yield "an error without an end", endless(head("400 No", "Connection: close"), b" " * 2**20)
    yield "JSON without an end", endless(head("200 OK", "Connection: close") + b'{"result": [', b"[]," * 2**18)
    yield "100 Continue, fast", endless(b"", head("100 Continue") * 1000)
    yield "headers without an end", endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000)


def every() -> dict[str, Write]:
    """Return all of them, by name."""
    return dict([*ended(), *broken(), *slow(), *large()])
