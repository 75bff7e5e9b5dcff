"""Addresses of servers: which texts are meant as one, and whether each can be one."""

import ipaddress
import re
from urllib.parse import urlsplit

from ragkit.errors import RagkitError, plain, shown

_EXPECTED = "expected one such as http://localhost:6333 or https://qdrant.example"
# host:port, or user:password@host; a letter before a colon is a drive of Windows.
_NO_SCHEME = re.compile(r"[\w.-]+:\d+/?|[^/\\]{2,}:.*@.+", re.DOTALL)
# http:/host, http:host, http//host, //host
_HALF = re.compile(r"https?:|(https?:?)?//", re.IGNORECASE)
_NAME = re.compile(r"\w([\w-]*\w)?(\.\w([\w-]*\w)?)*\.?")


def is_address(text: str) -> bool:
    """Return whether a text is meant as an address, whole or half, and not as a folder.

    >>> [is_address(text) for text in ("HTTP://host", "http:/host", "//host", "host:6333", "C:/films", "films")]
    [True, True, True, True, False, False]
    """
    text = text.strip()
    return bool("://" in text or _HALF.match(text) or _NO_SCHEME.fullmatch(text))


def separate(text: str) -> list[str]:
    """Return the addresses of a text: a cluster may have several, separated by commas.

    >>> separate("http://one:6333, http://two:6333")
    ['http://one:6333', 'http://two:6333']
    """
    return re.split(r"\s*,\s*(?=[a-zA-Z]+://)", text.strip().rstrip(","))


def checked(text: str, what: str = "The address of the server") -> str:
    """Return an address as the kit uses it: http:// or https:// in small letters, and no slash at its end.

    Of several, separated by commas, each is. what: how a message names it. Raises RagkitError, without its user and
    password, for a text that is no whole address, for other schemes, and for hosts and ports that there cannot be.

    >>> checked("HTTP://localhost:6333/ ")
    'http://localhost:6333'
    >>> checked("localhost:6333")
    Traceback (most recent call last):
        ...
    ragkit.errors.RagkitError: The address of the server is only half of one; did you mean 'http://localhost:6333'?
    """
    parts = separate(text)
    return _checked(parts[0], what) if len(parts) == 1 else ",".join(_checked(part, what) for part in parts)


def _checked(text: str, what: str) -> str:
    text = text.strip()
    scheme, mark, rest = text.partition("://")
    told = plain(shown(text))
    if not mark or not scheme:
        told = plain(shown("http://" + re.sub(r"^(https?)?:?/*", "", text, flags=re.IGNORECASE)))
        raise RagkitError(f"{what} is only half of one; did you mean {told!r}?")
    if scheme.lower() not in ("http", "https"):
        raise RagkitError(
            f"{what} begins with {plain(scheme)}://; expected a folder, or an address that begins with http:// or https://."
        )
    if "," in rest.partition("/")[0].rpartition("@")[2]:
        raise RagkitError(f"{what} is {told!r}: of several, separated by commas, each begins with http:// or https://.")
    if re.search(r"\s", rest) or not rest.isprintable():
        raise RagkitError(f"{what} is {told!r}, with a space or a control character in it; {_EXPECTED}.")
    try:
        parts = urlsplit(f"{scheme.lower()}://{rest}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:  # brackets, or a port that is none: it quotes neither user nor password
        raise RagkitError(f"{what} is {told!r}: {_why(error)}; {_EXPECTED}.") from None
    if port == 0:
        raise RagkitError(f"{what} is {told!r}, with port 0; expected one from 1 to 65535.")
    if not _is_host(host, parts.netloc):
        raise RagkitError(f"{what} is {told!r}, which names no host; {_EXPECTED}.")
    return f"{scheme.lower()}://{rest.rstrip('/')}"


def _why(error: ValueError) -> str:
    return "its port is no number from 1 to 65535" if "ort" in str(error) else "its brackets hold no IPv6 address"


def _is_host(host: str, netloc: str) -> bool:
    if netloc.rpartition("@")[2].startswith("["):
        try:
            return bool(ipaddress.IPv6Address(host)) and bool(
                re.fullmatch(r"\[[^]]*\](:\d*)?", netloc.rpartition("@")[2])
            )
        except ValueError:
            return False
    try:
        return bool(_NAME.fullmatch(host)) and bool(host.encode("idna"))
    except UnicodeError:  # a part of over 63 characters
        return False
