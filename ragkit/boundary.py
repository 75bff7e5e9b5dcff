"""The boundary of the Python API: arguments of the kind that is expected, and one error type whatever goes wrong."""

import errno
import functools
import inspect
import lzma
import numbers
import os
import re
import sqlite3
import types
import typing
import zipfile
import zlib
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from typing import Any, ParamSpec, TypeVar

from ragkit.errors import RagkitError, given

P = ParamSpec("P")
R = TypeVar("R")

# What the system, a codec, an unpacker or a parser raises for a file, a place or a text. A KeyError, a TypeError or an
# AssertionError is none of these: it is a fault of the kit, and stays one.
OUTSIDE = (
    OSError,
    UnicodeError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    NotImplementedError,  # of zipfile, for ways to pack that it does not know
    sqlite3.Error,
    RecursionError,
    MemoryError,
)
_ADVICE = {
    errno.ENOSPC: "make room, or choose another disk",
    errno.EDQUOT: "make room, or choose another disk",
    errno.EROFS: "choose a place that can be written to",
    errno.EACCES: "permit that, or choose another place",
    errno.EPERM: "permit that, or choose another place",
    errno.ENOENT: "look for a slip in the path",
    errno.ENOTDIR: "a part of the path is a file: look for a slip in it",
    errno.EISDIR: "it is a folder: name a file",
    errno.EEXIST: "it is there already: name another",
    errno.ELOOP: "a link leads to itself: remove it",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "close other files, or raise the limit (ulimit -n)",
    errno.EIO: "is the disk failing, or was it unplugged?",
}


def public(problem: str, kinds: bool = True) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator of what others may call: it raises RagkitError for whatever is wrong with what it is given.

    problem: what cannot be done then, such as "The dataset cannot be loaded". Arguments are refused before the call
    where they are not of the kind that the annotation names, unless `kinds` is False, where the function says more
    itself, as each does of tables and arrays; what OUTSIDE lists is told in one line.

    >>> @public("The file cannot be read")
    ... def read(path: str) -> str:
    ...     return open(path).read()
    >>> read(3)
    Traceback (most recent call last):
        ...
    ragkit.errors.RagkitError: The file cannot be read: path is 3 (int); expected str.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        # At the first call, when all that annotations name is loaded.
        annotated = functools.cache(lambda: _kinds(function) if kinds else {})

        @functools.wraps(function)
        def bounded(*args: P.args, **kwargs: P.kwargs) -> R:
            for name, value in signature.bind(*args, **kwargs).arguments.items():
                if not _fits(value, annotated().get(name, Any)):
                    raise RagkitError(f"{problem}: {_misfit(name, value, annotated()[name])}.")
            with one_error_type(problem):
                return function(*args, **kwargs)

        bounded.problem = problem  # type: ignore[attr-defined]
        return bounded

    return decorate


@contextmanager
def one_error_type(problem: str) -> Iterator[None]:
    """Turn what OUTSIDE lists into a RagkitError that says what could not be done, why, and what to do.

    A broken pipe passes: whoever read what was printed has seen enough.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OUTSIDE as error:
        raise RagkitError(f"{problem}: {reason(error)}.") from error


def reason(error: BaseException, advise: bool = True) -> str:
    """Return why, in one line that names the path, if there is one, and what to do, if that is known and asked for.

    >>> reason(PermissionError(13, "Permission denied", "/etc/shadow"))
    '/etc/shadow: Permission denied; permit that, or choose another place'
    """
    if isinstance(error, RecursionError):
        return "nested too deeply" + "; write it flat" * advise
    if isinstance(error, MemoryError):
        return "not enough memory" + "; take less at a time" * advise
    told = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        told = f"{os.fsdecode(error.filename)}: {error.strerror}"
    told = " ".join(told.split()) or type(error).__name__
    advice = _ADVICE.get(error.errno or 0) if isinstance(error, OSError) and advise else None
    return f"{told}; {advice}" if advice else told


def whole_number(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Return a whole number as an int. Raises RagkitError for what is none, and beyond `least` and `most`.

    >>> whole_number("depth", 10)
    10
    """
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or int(value) < least:
        raise RagkitError(f"{name} is {given(value)}; expected a whole number from {least:,}.")
    if most is not None and int(value) > most:
        raise RagkitError(f"{name} is {given(value)}; expected a whole number of at most {most:,}.")
    return int(value)


def _kinds(function: Callable) -> dict[str, Any]:
    """Return what a function's annotations name; without those that only a type checker knows."""
    found: dict[str, Any] = {}
    for name, kind in inspect.get_annotations(function).items():
        with suppress(NameError):
            found[name] = eval(kind, function.__globals__) if isinstance(kind, str) else kind
    return found


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a value is of the kind that an annotation names, as far as that can be told without using it up.

    >>> _fits("movies", str | int), _fits(True, int), _fits(["a", 3], list[str])
    (True, False, False)
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is typing.Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if kind is Any:
        return True
    if kind is None or kind is type(None):
        return value is None
    if kind in (int, float):
        number = numbers.Integral if kind is int else numbers.Real
        return isinstance(value, number) and not isinstance(value, bool)
    if origin is not None and isinstance(origin, type):
        return _holds(value, origin, inner)
    if not isinstance(kind, type) or kind.__module__.partition(".")[0] in ("pandas", "numpy"):
        return True  # the function itself says which columns, or which shape
    if issubclass(kind, os.PathLike):
        return isinstance(value, os.PathLike)
    return isinstance(value, kind) or getattr(kind, "_is_protocol", False)


def _holds(value: Any, outer: type, inner: tuple) -> bool:
    if outer is tuple and inner[-1:] != (...,):
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(_fits, value, inner))
    if issubclass(outer, Mapping):
        return isinstance(value, Mapping) and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    if not issubclass(outer, Iterable) or outer in (Iterator, types.GeneratorType):
        return isinstance(value, outer)
    if isinstance(value, str | bytes | Mapping) or hasattr(value, "columns") or getattr(value, "ndim", 1) == 0:
        return False  # a text is a sequence of texts, and a table one of columns: never what was meant
    if isinstance(value, Iterator):
        return outer is not Sequence
    if _unordered(value) and issubclass(outer, Sequence):
        return False  # its first item would hang on the seed of the hashes
    return isinstance(value, Iterable) and all(_fits(one, inner[0]) for one in value)


def _unordered(value: Any) -> bool:
    """Return whether a value's items come in no order; those of a dict come in its own.

    >>> _unordered({"a", "b"}), _unordered({"a": 1}.keys())
    (True, False)
    """
    return isinstance(value, Set) and not isinstance(value, KeysView | ItemsView)


def _misfit(name: str, value: Any, kind: Any) -> str:
    """Return what is wrong with a value that does not fit, or with the first in a list of them.

    >>> _misfit("texts", "a text", list[str]), _misfit("texts", ["a", 3], list[str])
    ("texts is 'a text' (str); expected list[str]: pass [text]", 'texts[1] is 3 (int); expected str')
    """
    inner = typing.get_args(kind)
    if isinstance(value, list) and typing.get_origin(kind) not in (typing.Union, types.UnionType) and inner:
        for i, one in enumerate(value):
            if not _fits(one, inner[0]):
                return _misfit(f"{name}[{i}]", one, inner[0])
    told = f"{name} is {given(value)} ({type(value).__name__}); expected {_in_words(kind)}"
    if isinstance(value, str) and _fits([value], kind):
        return told + ": pass [text]"
    return told + (": a set has no order, pass [...]" if _unordered(value) and _fits(list(value), kind) else "")


def _in_words(kind: Any) -> str:
    """Return an annotation without the names of modules.

    >>> _in_words(os.PathLike | None)
    'PathLike | None'
    """
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " | ".join(map(_in_words, typing.get_args(kind)))
    if kind is type(None):
        return "None"
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", inspect.formatannotation(kind))
