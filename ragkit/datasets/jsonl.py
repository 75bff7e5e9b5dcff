"""JSON Lines: one JSON object a line."""

import json
from pathlib import Path
from typing import Any

from ragkit.datasets.contents import read_lines
from ragkit.errors import RagkitError, shorten

AS_JSON_LINES = 'To write it one object a line: pandas.read_json(file).to_json(to, orient="records", lines=True).'


def read_jsonl(path: str | Path) -> list[tuple[int, dict[str, Any]]]:
    """Return (line number, object) for each non-blank line of a JSON Lines file, packed by gzip or not.

    Raises RagkitError, naming file and line, for what is no JSON object or cannot be read.
    """
    return [(n, parse_object(line, f"{path}, line {n}")) for n, line in read_lines(path) if line.strip()]


def parse_object(line: str, where: str) -> dict[str, Any]:
    """Return the JSON object in a line. Raises RagkitError, which begins with `where`, if there is none.

    >>> parse_object('{"_id": "d1"}', "line 1")
    {'_id': 'd1'}
    """
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        if line.strip() in ("{", "["):
            raise RagkitError(f"{where}: JSON over several lines, expected one a line. {AS_JSON_LINES}") from error
        raise RagkitError(f"{where}: not JSON ({error.msg}, column {error.colno}).") from error
    except RecursionError as error:
        raise RagkitError(f"{where}: JSON nested too deeply to be read; keep the fields that are needed.") from error
    except ValueError as error:  # Python reads no integer of more than 4,300 digits
        raise RagkitError(f"{where}: a number that cannot be read ({error}); write it as text.") from error
    if isinstance(value, list):
        raise RagkitError(f"{where}: expected a JSON object, one a line, got a list. {AS_JSON_LINES}")
    if not isinstance(value, dict):
        raise RagkitError(f"{where}: expected a JSON object, one a line, got {shorten(line.strip(), 60)}.")
    return value


def is_json(text: str, kinds: type | tuple[type, ...]) -> bool:
    """Return whether a text is JSON of these kinds (dict, list, …).

    >>> is_json("[1]", list), is_json("[id]", list)
    (True, False)
    """
    try:
        return isinstance(json.loads(text), kinds)
    except (ValueError, RecursionError):
        return False
