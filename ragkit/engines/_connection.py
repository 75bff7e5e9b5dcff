"""A connection to a Qdrant server: found, its answers not trusted, vectors in few digits."""

import ipaddress
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import urlsplit

import httpx
import numpy as np
from qdrant_client import QdrantClient
from qdrant_client.common.version_check import is_compatible
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from ragkit import network
from ragkit.addresses import checked, separate
from ragkit.engines._grpc import port_beside
from ragkit.engines._key import api_key, heard
from ragkit.engines._retries import Refused, Retries
from ragkit.errors import RagkitError, plain, shown
from ragkit.vectors import Sparse, Vector

# Of an answer: a page of 10,000 ids of documents has 1 to 5 MB, and a million hits have 40 MB.
MOST_ANSWER_BYTES = 64 * 2**20
_VERSION = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}[\w.+-]{0,40}", re.ASCII)

_QDRANTS_PORT = 6333
# So long one of several addresses may take to connect.
_CONNECT_S = 5

# A line of what a server tells of itself at /metrics.
_RESIDENT = re.compile(r"^memory_resident_bytes (\d[\d.e+]*)$", re.MULTILINE)

# Unit vectors keep their float32 with so many decimals.
_DECIMALS = 9
# The longest numbers, each with its comma: -0.123456789 and -0.00001234567890123456.
_SHORT, _LONG = 13, 25


@dataclass(frozen=True)
class Connection:
    """A client of a server that answered at `url`, its version, what was sent again, and the other nodes' addresses."""

    client: QdrantClient
    url: str
    version: str
    retries: Retries
    others: tuple[str, ...] = ()


def connect(url: str, timeout: int) -> Connection:
    """Return a connection to a server that sends what failed again, to another node where there are several.

    url: an address or several, separated by commas, of which the first that answers is used. Without a port Qdrant's
    own is tried, 6333, then the scheme's. The key is QDRANT_API_KEY. Raises RagkitError if no Qdrant server answers;
    warns if its version is too far from qdrant-client's, and of a key that others on the way may read.
    """
    nodes, key = [with_port(address) for address in separate(checked(url))], api_key()
    addresses = [(address, node) for node in nodes for address in node]
    failures = []
    for address, node in addresses:
        others = [other[0] for other in nodes if other is not node]
        found = _greet(address, others, key, timeout, alone=len(addresses) == 1)
        if isinstance(found, Connection):
            break
        failures.append(f"{shown(address)} ({found})")
    else:
        raise RagkitError(f"No Qdrant server answers at {', nor at '.join(failures)}. Check QDRANT_URL, or unset it.")
    if key and urlsplit(found.url).scheme == "http" and not _on_loopback(found.url):
        warnings.warn(
            f"QDRANT_API_KEY goes to {shown(found.url)} without encryption, for all on the way to read: use https.",
            stacklevel=2,
        )
    if not is_compatible(version("qdrant-client"), found.version):
        warnings.warn(
            f"The server at {shown(found.url)} is Qdrant {found.version}, and qdrant-client "
            f"{version('qdrant-client')} is made for servers one minor version away at most: what it asks for may be "
            "refused or ignored. Update the older one.",
            stacklevel=2,
        )
    return found


def _greet(address: str, others: list[str], key: str, timeout: int, alone: bool) -> "Connection | str":
    """Return a connection, or why nothing answers there. Raises RagkitError if something else than Qdrant does."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
            # Its own check runs in a thread, and its warning comes whenever that is done.
            client = QdrantClient(
                url=address,
                api_key=key or None,
                timeout=timeout,
                check_compatibility=False,
                grpc_port=port_beside(urlsplit(address).port or _QDRANTS_PORT),
            )
    except ValueError:  # its message quotes the address as it is
        told = plain(shown(address))
        raise RagkitError(f"{told} is no address; expected one such as http://localhost:6333.") from None
    http = client.http.client._client  # httpx's client, which no public name leads to
    network.bound(http, MOST_ANSWER_BYTES)
    if not alone:  # what a firewall swallows is not waited for as long
        http.timeout = httpx.Timeout(timeout, connect=min(timeout, _CONNECT_S))
    retries = Retries(addresses=[address, *others])
    client.http.client.add_middleware(retries)
    retries.alone = True  # no other node answers in this one's place
    try:
        with understood(f"What answers at {shown(address)}"):
            found = client.info().version
            if not _VERSION.fullmatch(found):
                raise ValueError(found)
    except RagkitError as error:
        client.close()
        if isinstance(error, Refused) and error.status == 404:
            raise RagkitError(
                f"What answers at {shown(address)} is no Qdrant server, or has it at another path; /dashboard is no "
                f"part of its address. {error}"
            ) from None
        if retries.reached:
            raise
        return str(error)
    retries.alone = False
    return Connection(client, address, found, retries, tuple(others))


def resident_bytes(addresses: Sequence[str]) -> dict[str, float]:
    """Return what the servers at these addresses have in memory, of those that tell."""
    told = {}
    for address in addresses:
        headers = {"api-key": key} if (key := api_key()) else {}
        with suppress(httpx.HTTPError, RagkitError), httpx.Client(headers=headers, timeout=_CONNECT_S) as client:
            network.bound(client, MOST_ANSWER_BYTES)
            found = _RESIDENT.search(client.get(f"{address.rstrip('/')}/metrics").text)
            if found:
                told[address] = float(found[1])
    return told


def with_port(address: str) -> list[str]:
    """Return an address as it is if it has a port, else with Qdrant's own and with its scheme's.

    >>> with_port("https://qdrant.example/films")
    ['https://qdrant.example:6333/films', 'https://qdrant.example:443/films']
    """
    parts = urlsplit(address)
    if parts.port is not None:
        return [address]
    ports = (_QDRANTS_PORT, 443 if parts.scheme == "https" else 80)
    return [parts._replace(netloc=f"{parts.netloc.rstrip(':')}:{port}").geturl() for port in ports]


def _on_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Turn whatever qdrant-client makes of an answer that is none of Qdrant's into a RagkitError.

    what: who answers, as a sentence begins. qdrant-client wraps only some of it, and asserts that there is a result.
    """
    try:
        yield
    except RagkitError:
        raise
    except (ResponseHandlingException, UnexpectedResponse, ValueError, RecursionError, AssertionError) as error:
        # The cause is left out: it holds the answer, of any length.
        raise RagkitError(
            f"{what} is no Qdrant server. Check QDRANT_URL, or unset it; or something between here and there answers, "
            f"such as a proxy, or a network that one must log in to. What cannot be understood is {_quoted(error)}."
        ) from None


def _quoted(error: BaseException) -> str:
    """Return the beginning of an answer that is no JSON, or what is wrong with one that is."""
    source = getattr(error, "source", error)
    content = getattr(error, "content", None)
    text = getattr(source, "doc", None) or (content.decode("utf8", "replace") if content else str(source))
    return repr(heard(str(text), 120))


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
