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
