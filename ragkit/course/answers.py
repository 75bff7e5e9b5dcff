"""Reads the answers of exercises: what was given is taken kindly, or told what was expected instead."""

import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

_LONGEST = 200  # characters of a text that is an answer


class NotYet(Exception):
    """An answer that is not right, with what to tell the student."""


def number(answer: Any, what: str) -> float:
    """Return a finite number; NotYet, naming what was expected, for anything else.

    >>> number(np.float32(0.5), "a share")
    0.5
    >>> number("0.5", "a share")
    Traceback (most recent call last):
        ...
    ragkit.course.answers.NotYet: Expected a share, which is one number; got '0.5', a str.
    """
    value = _scalar(answer)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise NotYet(f"Expected {what}, which is one number; got {_shown(answer)}.")
    try:
        found = float(value)
    except OverflowError:  # a whole number beyond all floats
        raise NotYet(f"Expected {what}, which is one number; got one that is too large.") from None
    if not math.isfinite(found):
        raise NotYet(f"Expected {what}, which is one number; got {value}.")
    return found


def whole(answer: Any, what: str) -> int:
    """Return a whole number; NotYet, naming what was expected, for anything else.

    >>> whole(3.0, "a count")
    3
    """
    value = number(answer, what)
    if value != round(value):
        raise NotYet(f"Expected {what}, which is a whole number; got {value:g}.")
    return round(value)


def text(answer: Any, what: str) -> str:
    """Return a text with single spaces; NotYet, naming what was expected, for anything else.

    >>> text(" two  words ", "a query")
    'two words'
    >>> text(3, "a query")
    Traceback (most recent call last):
        ...
    ragkit.course.answers.NotYet: Expected a query, which is a text; got 3, an int.
    """
    if not isinstance(answer, str) or not answer.split():
        raise NotYet(f"Expected {what}, which is a text; got {_shown(answer)}.")
    if len(answer) > _LONGEST:
        raise NotYet(f"Expected {what}; got {len(answer):,} characters.")
    return " ".join(answer.split())


def items(answer: Any, what: str, count: int | None = None) -> list:
    """Return the items of a list, a tuple, a set, an array or a column; NotYet for anything else, or another count.

    >>> items((31, 30), "two counts", 2)
    [31, 30]
    """
    listed = isinstance(answer, Iterable) and not isinstance(answer, str | bytes | Mapping)
    found = [_scalar(item) for item in answer] if listed and _flat(answer) else None
    if found is None or (count is not None and len(found) != count):
        raise NotYet(f"Expected {what}, as a list{f' of {count}' if count else ''}; got {_shown(answer)}.")
    return found


def table(answer: Any, what: str, keys: Iterable[str]) -> dict[str, float]:
    """Return a number for each key, of a dict or a pandas Series; NotYet for other keys or no numbers.

    >>> table({7: 1, "19": 0.5}, "scores", ["7", "19"])
    {'7': 1.0, '19': 0.5}
    """
    keys = list(keys)
    pairs = getattr(answer, "items", None)
    found = {str(key): value for key, value in pairs()} if callable(pairs) else None
    if found is None or set(found) != set(keys):
        raise NotYet(f"Expected {what}, as a dict with the keys {', '.join(keys)}; got {_shown(answer)}.")
    return {key: number(found[key], f"{what}, for {key}") for key in keys}


def _flat(answer: Any) -> bool:
    try:
        return np.ndim(answer) < 2
    except ValueError:  # lists of several lengths in a list
        return False


def _scalar(value: Any) -> Any:
    """Return a NumPy scalar, or an array of one number without dimensions, as Python's own."""
    return value.item() if isinstance(value, np.generic | np.ndarray) and np.ndim(value) == 0 else value


def _shown(answer: Any) -> str:
    try:
        given = repr(answer)
    except Exception:  # a number of thousands of digits, or a repr that fails
        given = ""
    short = given if 0 < len(given) <= 60 and "\n" not in given else "something"
    kind = type(answer).__name__
    return f"{short}, {'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
