"""The one error type that the kit raises for bad input, and how a message quotes what it was given."""


class RagkitError(ValueError):
    """Bad input: the message names what was given, what was expected and what to do."""


def shorten(text: str, length: int) -> str:
    """Return the text, or its beginning and "…" where it has more than `length` characters.

    >>> shorten("a long text", 7), shorten("short", 7)
    ('a long…', 'short')
    """
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
