"""What a text may not hold: half a character (a lone surrogate) anywhere, and NUL in an id. It is refused."""

from ragkit.errors import RagkitError, shorten


def checked_text(text: str, where: str) -> str:
    """Return the text. Raises RagkitError, which begins with `where`, if there is half a character in it.

    A lone surrogate is what is left of an emoji cut in two ("\\ud83d" in JSON), or a byte of a file name that is not
    UTF-8: no tokenizer, no database and no UTF-8 file takes it.

    >>> checked_text("naïve 🎬", "line 1")
    'naïve 🎬'
    """
    if text.isascii():
        return text
    try:
        text.encode("utf8")
    except UnicodeEncodeError as error:
        half, near = text[error.start], text[max(0, error.start - 20) : error.start + 20]
        # Python's way to hold a byte that is not UTF-8, of a file's name or an argument.
        byte, advice = "", "put the whole character there, or remove the half"
        if "\udc80" <= half <= "\udcff":
            byte, advice = f", the byte 0x{ord(half) - 0xDC00:02x} of a name that is not UTF-8", "rename the file"
        raise RagkitError(
            f"{where}: character {error.start + 1} is half a character ({half!r}, a lone surrogate{byte}) in {near!r}, "
            f"which no UTF-8 text can hold; {advice}."
        ) from None  # the codec's own error says no more
    return text


def checked_id(text: str, where: str) -> str:
    """Return the id. Raises RagkitError, which begins with `where`, if it is empty or holds NUL or half a character.

    >>> checked_id("a\\0", "corpus.jsonl, line 1")
    Traceback (most recent call last):
        ...
    ragkit.errors.RagkitError: corpus.jsonl, line 1: the id 'a\\x00' holds a NUL character; remove it.
    """
    if not text:
        raise RagkitError(f"{where}: the id is empty; expected a text such as 'q01'.")
    if "\0" in text:
        raise RagkitError(f"{where}: the id {shorten(text, 80)!r} holds a NUL character; remove it.")
    return checked_text(text, where)
