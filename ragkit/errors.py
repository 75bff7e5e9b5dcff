"""The one error type that the kit raises for bad input, and how a message quotes what it was given."""

import re


class RagkitError(ValueError):
    """Bad input: the message names what was given, what was expected and what to do."""


def shorten(text: str, length: int) -> str:
    """Return the text, or its beginning and "…" where it has more than `length` characters.

    >>> shorten("a long text", 7), shorten("short", 7)
    ('a long…', 'short')
    """
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def plain(text: str, length: int = 200) -> str:
    r"""Return what somebody else sent in one line of printable characters, cut after `length`.

    A terminal obeys control characters: a server's answer could move the cursor, change the colour, or hide what
    follows.

    >>> print(plain("no\n\x1b[31m red"))
    no \x1b[31m red
    """
    line = " ".join(text[: 2 * length].split())
    return shorten("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line), length)


def shown(address: str) -> str:
    """Return an address with "…" in place of its user and password, and of what follows a question mark.

    All that stands between :// and the last @ is hidden, since a password may hold any character. A text without
    :// is returned as it is.

    >>> shown("https://user:p@ss@qdrant.example:6333/one?key=2"), shown("a/folder")
    ('https://…@qdrant.example:6333/one?…', 'a/folder')
    """
    scheme, mark, rest = address.partition("://")
    rest = re.sub(r"^.*@", "…@", rest, flags=re.DOTALL)
    return scheme + mark + re.sub(r"\?.+", "?…", rest, flags=re.DOTALL)
