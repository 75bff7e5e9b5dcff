"""Requests to a Qdrant server sent again: after a wait, or to another node, with what that took kept apart."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from random import random
from time import monotonic, sleep

import httpx
from qdrant_client.http.exceptions import ResponseHandlingException
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from ragkit import network
from ragkit.engines._key import heard
from ragkit.errors import RagkitError, shown

# Too slow, too many requests, or something between here and the server: the same request may succeed later.
PASSING = {408, 429, 500, 502, 503, 504}
# Another node may answer at once.
_GONE = {502, 503, 504}
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
# Of an answer that is an error, so much is read for its message.
_MOST_MESSAGE_BYTES = 4096
# What can never pass, but in parts: a body over a server's or a proxy's limit, more points than a rate limit holds.
_TOO_LARGE = re.compile(r"larger than allowed|larger than rate limiter capacity")
# Settings of a collection's strict mode, by what Qdrant says when a request is beyond one.
_STRICT = {
    "Read rate limit": "read_rate_limit",
    "Write rate limit": "write_rate_limit",
    'for "limit"': "max_query_limit",
    'for "timeout"': "max_timeout",
    'for "upsert limit"': "upsert_max_batchsize",
    'for "search batch size"': "search_max_batchsize",
    'for "hnsw_ef"': "search_max_hnsw_ef",
    'for "oversampling"': "search_max_oversampling",
    "Exact search disabled": "search_allow_exact",
    "Condition size limit": "condition_max_size",
    "Filter condition limit": "filter_max_conditions",
}

Send = Callable[[httpx.Request], httpx.Response]


class TooLarge(RagkitError):
    """A request that may pass in parts."""


class Refused(RagkitError):
    """A request that was answered with this status, as it would be the next time."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


class Retries:
    """Middleware for qdrant-client's HTTP client, at most `tries` times a request and within `seconds`.

    Every request that ragkit sends may be sent twice: points have ids, so storing one again changes nothing.
    It waits as long as the server asks (Retry-After), else 0.5 s, doubled each time, each wait varied by half
    so that many clients do not come back at once. A server that has never answered is not waited for: its
    address is more likely wrong. addresses: of the nodes of a cluster, the one that the client was made for first; when
    one is gone the next is asked at once. Raises RagkitError when it gives up, and for every answer that would be the
    same next time (400, 401, 403, 404 …), with the server's own message: TooLarge for what may pass in parts, else
    Refused.

    lost_s: seconds until the last sending of each request, and `again` why how many were sent again.
    """

    def __init__(self, tries: int = 6, seconds: float = 300.0, addresses: Sequence[str] = ()):
        self.tries, self.seconds = tries, seconds
        self.reached = False
        self.alone = False  # whether only the first address is asked
        self.lost_s, self.again = 0.0, Counter[str]()
        self._addresses = [httpx.URL(address) for address in addresses]
        self._prefix = len(self._addresses[0].path.rstrip("/")) if addresses else 0

    def __call__(self, request: httpx.Request, send: Send) -> httpx.Response:
        start, path = monotonic(), request.url.raw_path[self._prefix :]
        for tried in range(1, self.tries + 1):
            wait = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (tried - 1)) * (0.5 + random())
            self._aim(request, path)
            sent = monotonic()
            try:
                response = send(request)
            except ResponseHandlingException as error:
                problem, why = heard(network.in_words(error.source)), "no connection"
                if not self.reached:
                    raise RagkitError(problem) from None
                if not isinstance(error.source, httpx.TransportError):
                    raise RagkitError(
                        f"The Qdrant server's answer to {_name(request)} cannot be read: {problem}."
                    ) from None
                wait = self._next(tried, wait)
            else:
                self.reached = True
                if response.status_code in (200, 201, 202):
                    self.lost_s += sent - start
                    return response
                if response.status_code < 400:
                    raise RagkitError(_elsewhere(request, response))
                problem, why = f"{response.status_code}: {_message(response)}", str(response.status_code)
                told = f"The Qdrant server refused {_name(request)} with {problem}.{_advice(request, response)}"
                if _too_large(response):
                    raise TooLarge(told)
                if response.status_code not in PASSING:
                    raise Refused(told, response.status_code)
                wait = _asked(response) or (self._next(tried, wait) if response.status_code in _GONE else wait)
            if tried == self.tries or monotonic() - start + wait > self.seconds:
                raise RagkitError(
                    f"The Qdrant server failed at {_name(request)} {tried} times in {monotonic() - start:.0f} s "
                    f"(the last time: {problem})."
                )
            self.again[why] += 1
            sleep(wait)
        raise AssertionError("unreachable")

    def _aim(self, request: httpx.Request, path: bytes) -> None:
        if len(self._addresses) > 1 and not self.alone:
            node = self._addresses[0]
            request.url = node.copy_with(raw_path=node.path.rstrip("/").encode() + path)
            request.headers["Host"] = node.netloc.decode()

    def _next(self, tried: int, wait: float) -> float:
        """Turn to the next node; return how long to wait, which is not at all until each was asked."""
        if len(self._addresses) < 2 or self.alone:
            return wait
        self._addresses = [*self._addresses[1:], self._addresses[0]]
        return wait if tried % len(self._addresses) == 0 else 0.0


def _name(request: httpx.Request) -> str:
    return f"{request.method} {request.url.path}"


def _message(response: httpx.Response) -> str:
    """Return the message of an error: Qdrant's, or the beginning of what a proxy, say, has answered."""
    try:
        if len(response.content) <= _MOST_MESSAGE_BYTES:
            return heard(response.json()["status"]["error"].rstrip("."))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    # Not in the charset that it names, which may be none of text.
    text = response.content[:_MOST_MESSAGE_BYTES].decode("utf8", "replace").strip()
    return heard(text or response.reason_phrase)


def _elsewhere(request: httpx.Request, response: httpx.Response) -> str:
    told = f"What answers {_name(request)} is no Qdrant server: it answered {response.status_code}"
    place = response.headers.get("Location")
    if place is None:
        return f"{told}. Check QDRANT_URL, or unset it."
    return (
        f"{told}, a redirect to {heard(shown(place))!r}, where the key is not sent. If that is your server, name it as "
        "the address; else log in to the network, or check QDRANT_URL."
    )


def _asked(response: httpx.Response) -> float | None:
    """Return the seconds that the server asks to wait, given as a number or as a date."""
    text = response.headers.get("Retry-After")
    try:
        return None if text is None else float(Retry().parse_retry_after(text))
    except (InvalidHeader, ValueError, OverflowError):
        return None


def _too_large(response: httpx.Response) -> bool:
    told = response.content[:_MOST_MESSAGE_BYTES].decode("utf8", "replace")
    return response.status_code == 413 or bool(_TOO_LARGE.search(told))


def _advice(request: httpx.Request, response: httpx.Response) -> str:
    if response.status_code == 403:
        return f" The key may not {_right(request)}. Check QDRANT_API_KEY."
    if response.status_code == 401:
        return " Check QDRANT_API_KEY."
    if response.status_code == 413:
        return " Raise its limit, or that of the proxy before it (client_max_body_size of nginx)."
    told = response.content[:_MOST_MESSAGE_BYTES].decode("utf8", "replace").replace('\\"', '"')
    settings = [setting for said, setting in _STRICT.items() if response.status_code in (400, 429) and said in told]
    return "".join(f" Raise {setting} of the collection's strict mode, or turn that off." for setting in settings)


def _right(request: httpx.Request) -> str:
    """Return in words what a request needs the right to."""
    path, collection = request.url.path, r"/collections/[^/]+"
    if request.method == "PUT" and re.search(rf"{collection}/points$", path):
        return "store documents"
    if re.search(rf"{collection}/points/delete$", path):
        return "delete documents"
    if request.method in ("PUT", "PATCH", "DELETE"):
        return "make, change or delete collections"
    return "read this collection" if re.search(collection, path) else "read all collections"
