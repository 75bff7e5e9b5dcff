"""Pages made from the templates: whatever a document or a query says is text there, and no part of the page."""

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined


def page(template: str, data: Any, filters: Mapping[str, Callable] | None = None, **values: Any) -> str:
    """Return the page that a file of templates/ makes of values, and of data, which its script reads as JSON.

    Half a character (a lone surrogate) is written as an escape, since no file could hold it.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= filters or {}
    source = files("ragkit.display").joinpath("templates", template).read_text("utf8")
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    text = text.encode("utf8", "backslashreplace").decode("utf8")  # which is how JSON, too, writes half a character
    # In a script element only "<" has a meaning, so that no "</script>" and no "<!--" can stand there.
    text = text.replace("<", "\\u003c")
    return environment.from_string(source).render(values, data=text)
