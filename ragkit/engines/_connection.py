"""A connection to a Qdrant server: vectors in few digits, what fails for a while sent again, errors told in words."""

import json
import os
import warnings
from collections.abc import Callable
from importlib.metadata import version
from random import random
from time import monotonic, sleep

import httpx
import numpy as np
from qdrant_client import QdrantClient
from qdrant_client.common.version_check import is_compatible
from qdrant_client.http.exceptions import ResponseHandlingException
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from ragkit.errors import RagkitError, shown
from ragkit.vectors import Sparse, Vector

# Too slow, too many requests, or something between here and the server: the same request may succeed later.
PASSING = {408, 429, 500, 502, 503, 504}
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0

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
    key = os.environ.get("QDRANT_API_KEY") or None
    try:
        # Its own check runs in a thread, and its warning comes whenever that is done.
        client = QdrantClient(url=url, api_key=key, timeout=timeout, check_compatibility=False)
    except ValueError:  # its message quotes the address as it is
        raise RagkitError(f"{shown(url)} is no address; expected one such as http://localhost:6333.") from None
    retries = Retries()
    client.http.client.add_middleware(retries)
    try:
        found = client.info().version
    except RagkitError as error:
        client.close()
        if retries.reached:
            raise
        raise RagkitError(
            f"No Qdrant server answers at {shown(url)} ({error}). Check QDRANT_URL, or unset it."
        ) from error
    except ResponseHandlingException as error:
        client.close()
        raise RagkitError(
            f"What answers at {shown(url)} is no Qdrant server. Check QDRANT_URL, or unset it."
        ) from error
    if not is_compatible(version("qdrant-client"), found):
        warnings.warn(
            f"The server at {shown(url)} is Qdrant {found}, and qdrant-client {version('qdrant-client')} is made for "
            "servers one minor version away at most: what it asks for may be refused or ignored. Update the older one.",
            stacklevel=2,
        )
    return client, found


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
                if not isinstance(error.source, httpx.TransportError):
                    raise
                problem = _in_words(error.source)
                if not self.reached:
                    raise RagkitError(problem) from error
            else:
                self.reached = True
                if response.status_code < 400:
                    return response
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


def _in_words(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx.ConnectError):
        return f"no connection: {error}"
    return f"the connection was cut: {error or type(error).__name__}"


def _message(response: httpx.Response) -> str:
    try:
        return response.json()["status"]["error"].rstrip(".")
    except (ValueError, LookupError, TypeError, AttributeError):  # not Qdrant: a proxy, say
        return response.text.strip()[:200] or response.reason_phrase


def _asked(response: httpx.Response) -> float | None:
    """Return the seconds that the server asks to wait, given as a number or as a date."""
    text = response.headers.get("Retry-After")
    try:
        return None if text is None else float(Retry().parse_retry_after(text))
    except InvalidHeader:
        return None


def _advice(response: httpx.Response) -> str:
    if response.status_code in (401, 403):
        return " Check QDRANT_API_KEY."
    if response.status_code == 413 or "larger than allowed" in response.text:
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
