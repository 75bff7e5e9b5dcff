"""HTTP that ends: whole requests within a deadline, answers within a size, files fetched so.

httpx limits the time of each read. A server that sends a byte a second, or never stops, would keep a request for ever.
"""

import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Any

import httpcore
import httpx

from ragkit.errors import RagkitError, amount, plain
from ragkit.progress import progress

# So slow may a line be: a request's deadline moves by a second for each so many bytes, sent or received.
LEAST_RATE = 20_000
# Of an answer that does not say how long it is, which servers of files do say.
MOST_UNTOLD = 256 * 2**20
# Status line and headers: h11 allows 100 kB, and any number of answers "100 Continue" before them.
_MOST_HEAD = 2**20
# A server that takes nothing must be noticed while a large request is sent.
_PIECE = 64 * 2**10
_FETCH_TIMEOUT_S = 30


class Unreachable(Exception):
    """An address did not give a file; the message says why."""


def bound(client: httpx.Client, most: int | None = None) -> None:
    """Have each request of a client end: within its read timeout, and 1 s more for each LEAST_RATE bytes it moves.

    most: bytes of an answer; None for as many as it says, and MOST_UNTOLD where it does not say. Answers are asked for
    as they are, not compressed, since a few bytes may unpack to gigabytes. Requests raise httpx.TimeoutException, and
    RagkitError for an answer that is larger or compressed.
    """
    watch = _Watch(most)
    hooks = client.event_hooks
    client.event_hooks = {
        "request": [*hooks["request"], watch.begin],
        "response": [watch.look, *hooks["response"]],
    }
    client.headers["Accept-Encoding"] = "identity"
    # No public name leads to the sockets of a client that also uses the environment's proxies.
    for transport in filter(None, (client._transport, *client._mounts.values())):
        pool: Any = transport._pool  # type: ignore[attr-defined]
        pool._network_backend = _Backend(pool._network_backend, watch)


def fetch(url: str, path: Path) -> None:
    """Write the file of an address to a path. Raises Unreachable if the address does not give it, OSError for the disk.

    Redirects are followed, without the user and password of the address if they lead to another host.
    """
    try:
        with httpx.Client(follow_redirects=True, timeout=_FETCH_TIMEOUT_S) as client:
            bound(client)
            with client.stream("GET", url) as response:
                if response.status_code != 200:
                    raise Unreachable(f"it answered {response.status_code}")
                told, free = int(response.headers.get("Content-Length", 0)), shutil.disk_usage(path.parent).free
                if told > free:
                    raise Unreachable(f"it says that it is {amount(told)}, and {amount(free)} are free")
                with open(path, "wb") as file, progress(told, f"fetching {path.name}", "B") as bar:
                    for chunk in response.iter_bytes():
                        file.write(chunk)
                        bar.update(len(chunk))
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, RagkitError) as error:
        raise Unreachable(in_words(error)) from None  # the network's own traceback is 80 lines that say no more


def in_words(error: Exception) -> str:
    """Return what went wrong with a request, in a few words."""
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    told = plain(str(error)) or type(error).__name__
    if isinstance(error, httpx.ConnectError):
        return f"no connection: {told}"
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL | httpx.TooManyRedirects):
        return f"it leads to no address that can be followed: {told}"
    return f"the connection was cut: {told}" if isinstance(error, httpx.TransportError) else told


class _Watch(threading.local):
    """What a thread's request may still take; httpx answers a request in the thread that sends it."""

    def __init__(self, most: int | None):
        self.most = most
        self.since, self.seconds, self.moved, self.left_bytes = monotonic(), float(_FETCH_TIMEOUT_S), 0, _MOST_HEAD

    def begin(self, request: httpx.Request) -> None:
        """Begin anew with a request, or with the next one of a redirect."""
        self.seconds = request.extensions.get("timeout", {}).get("read") or _FETCH_TIMEOUT_S
        self.since, self.moved, self.left_bytes = monotonic(), 0, _MOST_HEAD

    def look(self, response: httpx.Response) -> None:
        """Look at the headers of an answer before its body is read."""
        packed = response.headers.get("Content-Encoding", "identity")
        if packed.lower() != "identity":
            raise RagkitError(f"the answer is compressed ({plain(packed, 40)}), which was not asked for")
        told = response.headers.get("Content-Length")  # h11 lets no more than so many bytes come
        self.left_bytes = self.most or (int(told) + _MOST_HEAD if told else MOST_UNTOLD)

    def left(self, timeout: float | None, error: type[Exception]) -> float:
        """Return how many seconds a step may take at most; raise the error if none is left."""
        left = self.since + self.seconds + self.moved / LEAST_RATE - monotonic()
        if left <= 0:
            raise error("the deadline has passed")
        return left if timeout is None else min(timeout, left)

    def received(self, count: int) -> None:
        self.moved += count
        self.left_bytes -= count
        if self.left_bytes < 0:
            raise RagkitError("the answer is larger than any that was asked for")


class _Backend(httpcore.NetworkBackend):
    """httpcore's way to the network, with a watch over each step."""

    def __init__(self, inner: httpcore.NetworkBackend, watch: _Watch):
        self._inner, self._watch = inner, watch

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = self._watch.left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, timeout, local_address, socket_options), self._watch)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_unix_socket(path, timeout, socket_options), self._watch)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, watch: _Watch):
        self._inner, self._watch = inner, watch

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        content = self._inner.read(max_bytes, self._watch.left(timeout, httpcore.ReadTimeout))
        self._watch.received(len(content))
        return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            piece = buffer[start : start + _PIECE]
            self._inner.write(piece, self._watch.left(timeout, httpcore.WriteTimeout))
            self._watch.moved += len(piece)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        timeout = self._watch.left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._watch)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
