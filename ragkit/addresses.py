"""How a server's address is shown, which may hold what only its owner should read."""

import re


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
