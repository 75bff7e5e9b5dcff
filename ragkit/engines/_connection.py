"""A connection to a Qdrant server: vectors in few digits, what fails for a while sent again, answers not trusted."""

import json
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from random import random
from time import monotonic, sleep

import httpx
import numpy as np
from qdrant_client import QdrantClient
from qdrant_client.common.version_check import is_compatible
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from ragkit import network
from ragkit.addresses import checked
from ragkit.errors import RagkitError, plain, shown
from ragkit.vectors import Sparse, Vector

# Too slow, too many requests, or something between here and the server: the same request may succeed later.
PASSING = {408, 429, 500, 502, 503, 504}
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
# Of an answer: a page of 10,000 ids of documents has 1 to 5 MB, and a million hits have 40 MB.
MOST_ANSWER_BYTES = 64 * 2**20
# Of an answer that is an error, so much is read for its message.
_MOST_MESSAGE_BYTES = 4096
_VERSION = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}[\w.+-]{0,40}", re.ASCII)

Send = Callable[[httpx.Request], httpx.Response]

# Unit vectors keep their float32 with so many decimals.
_DECIMALS = 9
# The longest numbers, each with its comma: -0.123456789 and -0.00001234567890123456.
_SHORT, _LONG = 13, 25


def connect(url: str, timeout: int) -> tuple[QdrantClient, str]:
    """Return a client that sends what failed again, and the server's version.

    The key is QDRANT_API_KEY. Raises RagkitError if no Qdrant server answers; warns if its version is too far
    from qdrant-client's.
    """
    url, key = checked(url), api_key()
    try:
        # Its own check runs in a thread, and its warning comes whenever that is done.
        client = QdrantClient(url=url, api_key=key or None, timeout=timeout, check_compatibility=False)
    except ValueError:  # its message quotes the address as it is
        raise RagkitError(f"{plain(shown(url))} is no address; expected one such as http://localhost:6333.") from None
    network.bound(client.http.client._client, MOST_ANSWER_BYTES)  # httpx's client, which no public name leads to
    retries = Retries()
    client.http.client.add_middleware(retries)
    try:
        with understood(f"What answers at {shown(url)}"):
            found = client.info().version
            if not _VERSION.fullmatch(found):
                raise ValueError(found)
    except RagkitError as error:
        client.close()
        if retries.reached:
            raise
        raise RagkitError(
            f"No Qdrant server answers at {shown(url)} ({error}). Check QDRANT_URL, or unset it."
        ) from None
    if not is_compatible(version("qdrant-client"), found):
        warnings.warn(
            f"The server at {shown(url)} is Qdrant {found}, and qdrant-client {version('qdrant-client')} is made for "
            "servers one minor version away at most: what it asks for may be refused or ignored. Update the older one.",
            stacklevel=2,
        )
    return client, found


def api_key() -> str:
    """Return QDRANT_API_KEY without the white space around it; "" if it is not set.

    Raises RagkitError, without showing it, for one that no header can carry: what is copied may bring a line break or
    a dash that is no hyphen along.
    """
    key = os.environ.get("QDRANT_API_KEY", "").strip()
    odd = next((place for place, c in enumerate(key, 1) if not " " <= c <= "~"), None)
    if odd is not None:
        raise RagkitError(
            f"QDRANT_API_KEY has a character at place {odd} of {len(key)} that no key has: a line break, or none of "
            "ASCII. Copy it anew."
        )
    return key


def heard(text: str, length: int = 200) -> str:
    """Return what a server said in printable characters, cut, and without the key, which it may say back."""
    key = os.environ.get("QDRANT_API_KEY", "").strip()
    return plain(text.replace(key, "…") if key else text, length)


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Turn whatever qdrant-client makes of an answer that is none of Qdrant's into a RagkitError.

    what: who answers, as a sentence begins. qdrant-client wraps only some of it, and asserts that there is a result.
    """
    try:
        yield
    except RagkitError:
        raise
    except (ResponseHandlingException, UnexpectedResponse, ValueError, RecursionError, AssertionError):
        # The cause is left out: it holds the answer, of any length.
        raise RagkitError(
            f"{what} is no Qdrant server. Check QDRANT_URL, or unset it; or something between here and there answers, "
            "such as a proxy, or a network that one must log in to."
        ) from None


class Retries:
    """Middleware for qdrant-client's HTTP client, at most `tries` times a request and within `seconds`.

    Every request that ragkit sends may be sent twice: points have ids, so storing one again changes nothing.
    It waits as long as the server asks (Retry-After), else 0.5 s, doubled each time, each wait varied by half
    so that many clients do not come back at once. A server that has never answered is not waited for: its
    address is more likely wrong. Raises RagkitError when it gives up, and for every answer that would be the
    same next time (400, 401, 403, 404, 413 …), with the server's own message.
    """

    def __init__(self, tries: int = 6, seconds: float = 300.0):
        self.tries, self.seconds = tries, seconds
        self.reached = False

    def __call__(self, request: httpx.Request, send: Send) -> httpx.Response:
        start = monotonic()
        for tried in range(1, self.tries + 1):
            wait = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (tried - 1)) * (0.5 + random())
            try:
                response = send(request)
            except ResponseHandlingException as error:
                problem = heard(network.in_words(error.source))
                if not self.reached:
                    raise RagkitError(problem) from None
                if not isinstance(error.source, httpx.TransportError):
                    raise RagkitError(
                        f"The Qdrant server's answer to {_name(request)} cannot be read: {problem}."
                    ) from None
            else:
                self.reached = True
                if response.status_code in (200, 201, 202):
                    return response
                if response.status_code < 400:
                    raise RagkitError(_elsewhere(request, response))
                problem = f"{response.status_code}: {_message(response)}"
                if response.status_code not in PASSING:
                    raise RagkitError(f"The Qdrant server refused {_name(request)} with {problem}.{_advice(response)}")
                wait = _asked(response) or wait
            if tried == self.tries or monotonic() - start + wait > self.seconds:
                raise RagkitError(
                    f"The Qdrant server failed at {_name(request)} {tried} times in {monotonic() - start:.0f} s "
                    f"(the last time: {problem})."
                )
            sleep(wait)
        raise AssertionError("unreachable")


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


def _advice(response: httpx.Response) -> str:
    if response.status_code in (401, 403):
        return " Check QDRANT_API_KEY."
    if response.status_code == 413 or b"larger than allowed" in response.content[:_MOST_MESSAGE_BYTES]:
        return " Lower ServerOptions(request_bytes=…), or raise what the server or a proxy before it takes."
    return ""


def shortened(array: np.ndarray) -> np.ndarray:
    """Return the same float32 numbers as float64 that need fewer digits: 13 bytes each, not 21.

    array: float32, any shape. Each number, read as float32 again, is exactly what it was; the few that 9 decimals
    do not tell from their neighbours keep all their digits.

    >>> third = np.array([1 / 3], np.float32)
    >>> third.tolist(), shortened(third).tolist()
    ([0.3333333432674408], [0.333333343])
    """
    exact = array.astype(np.float64)
    rounded = exact.round(_DECIMALS)
    return np.where(rounded.astype(np.float32) == array, rounded, exact)


def point_bytes(doc_id: str, document: dict[str, Vector]) -> int:
    """Return the bytes that a document and its vectors take in an upload at most; it takes a few percent less.

    >>> point_bytes("a", {"dense": np.ones(100, np.float32)})
    1395
    """
    frame = 80 + len(json.dumps(doc_id))  # {"id":…,"vector":{…},"payload":{"doc_id":…}}, and its share of the request
    return frame + sum(3 + len(json.dumps(name)) + _vector_bytes(vector) for name, vector in document.items())


def _vector_bytes(vector: Vector) -> int:
    if isinstance(vector, Sparse):
        return 30 + 11 * vector.indices.size + _vector_bytes(vector.values)
    numbers = shortened(vector)
    long = (numbers.round(_DECIMALS) != numbers) | (np.abs(numbers) >= 10)
    return _SHORT * numbers.size + (_LONG - _SHORT) * int(long.sum()) + 3 * len(vector) * (vector.ndim - 1) + 2
