"""The one error type that the kit raises for bad input, and how a message quotes what it was given."""

import re

_LONGEST = 1500  # characters of a message
_END = 400  # of these, so many are its end, which says what to do
# What a terminal would obey, and what no UTF-8 text can hold.
_ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class RagkitError(ValueError):
    """Bad input: the message names what was given, what was expected and what to do.

    What it quotes may be anything, so the message is made `legible`.
    """

    def __init__(self, message: str):
        super().__init__(legible(message))


def legible(message: str) -> str:
    """Return a message with control characters escaped, and without its middle where it is very long.

    >>> legible("No file \x1b[31mred.")
    'No file \\\\x1b[31mred.'
    """
    message = _ODD.sub(lambda odd: odd[0].encode("unicode_escape").decode(), message)
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST - _END]} … {message[-_END:]}"


def given(value: object) -> str:
    """Return a value as messages quote it: its repr, cut, or its type where that cannot be told.

    >>> given("ten"), given(10**5000)
    ("'ten'", 'int')
    """
    try:
        return shorten(repr(value), 60)
    except Exception:  # a number of thousands of digits, or a repr that fails
        return type(value).__name__


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


def amount(size: float) -> str:
    """Return a size in bytes as megabytes, or as gigabytes from one.

    >>> amount(3_140_000), amount(2.5e9)
    ('3.1 MB', '2.5 GB')
    """
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
