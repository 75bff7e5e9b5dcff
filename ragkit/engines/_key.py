"""The key of a server: as it is sent, and never as it is told."""

import os

from ragkit.errors import RagkitError, plain


def _given() -> str:
    return os.environ.get("QDRANT_API_KEY", "").strip()


def api_key() -> str:
    """Return QDRANT_API_KEY without the white space around it; "" if it is not set.

    Raises RagkitError, without showing it, for one that no header can carry: what is copied may bring a line break or
    a dash that is no hyphen along.
    """
    key = _given()
    odd = next((place for place, c in enumerate(key, 1) if not " " <= c <= "~"), None)
    if odd is not None:
        raise RagkitError(
            f"QDRANT_API_KEY has a character at place {odd} of {len(key)} that no key has: a line break, or none of "
            "ASCII. Copy it anew."
        )
    return key


def heard(text: str, length: int = 200) -> str:
    """Return what a server said in printable characters, cut, and without the key, which it may say back."""
    key = _given()
    return plain(text.replace(key, "…") if key else text, length)
