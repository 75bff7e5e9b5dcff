"""What a server says, as the kit repeats it."""

import os

from ragkit.errors import plain


def heard(text: str, length: int = 200) -> str:
    """Return what a server said in printable characters, cut, and without the key, which it may say back."""
    key = os.environ.get("QDRANT_API_KEY", "").strip()
    return plain(text.replace(key, "…") if key else text, length)
