"""One escaped HTML table, as a notebook shows an object; readable on light and dark ground."""

import functools
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

# Jupyter's own colours show through: only lines and faint words are set, in grey that both grounds bear. A cell's side
# stands in the cell, where it wins over Jupyter's rule and stays when a notebook that is not trusted loses the rest.
_PAGE = """\
<style>
.ragkit-table { overflow-x: auto; }
.ragkit-table table { border-collapse: collapse; margin: 0; font-variant-numeric: tabular-nums; }
.ragkit-table table th, .ragkit-table table td { padding: .3em .8em; border: 0; vertical-align: top; }
.ragkit-table thead th { border-bottom: 1px solid #8888; }
.ragkit-table tbody th { font-weight: 600; white-space: nowrap; }
.ragkit-table p { margin: .2em 0 .4em; max-width: 60em; }
.ragkit-table small { opacity: .7; font-size: .9em; }
</style>
<div class="ragkit-table">
<p><b>{{ title }}</b> <small>{{ about }}</small></p>
<table aria-label="{{ title }}">
<thead><tr>
{% for name in names %}
<th scope="col" style="text-align: {{ side[name] }}">{{ name }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in rows %}
<tr>
{% for name, cell in row.items() %}
{% set tag = "th" if loop.first else "td" %}
<{{ tag }}{% if loop.first %} scope="row"{% endif %} style="text-align: {{ side[name] }}">{{ cell }}</{{ tag }}>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
{% for note in notes %}
<p><small>{{ note }}</small></p>
{% endfor %}
</div>"""


def html_table(title: str, about: str, rows: Sequence[Mapping[str, Any]], notes: Sequence[str] = ()) -> str:
    """Return rows as an HTML table: a title with some words about it above, notes below, nothing taken as HTML.

    rows: cells by column, the same columns in each; the first names its row. Whole numbers get commas, others three
    decimals ("–" for NaN), and both stand right; all else stands left as its text.

    >>> page = html_table("two", "", [{"system": "a<b", "nDCG@10": 0.5}])
    >>> "a&lt;b</th>" in page, '<td style="text-align: right">0.500</td>' in page
    (True, True)
    """
    names = list(rows[0]) if rows else []
    page = _template().render(
        title=title,
        about=about,
        names=names,
        side={name: "right" if all(isinstance(row[name], Real) for row in rows) else "left" for name in names},
        rows=[{name: _cell(row[name]) for name in names} for row in rows],
        notes=notes,
    )
    # Half a character (a lone surrogate) could not be saved with the notebook.
    return page.encode("utf8", "replace").decode("utf8")


def _cell(value: Any) -> str:
    """Return a cell's text.

    >>> _cell(1536), _cell(-0.0001), _cell(float("nan")), _cell("a")
    ('1,536', '0.000', '–', 'a')
    """
    if isinstance(value, Integral):
        return f"{value:,}"
    if isinstance(value, Real):
        return "–" if value != value else f"{value:z.3f}"
    return str(value)


@functools.cache
def _template():
    from jinja2 import Environment, StrictUndefined  # a tenth of a second, which `import ragkit` does without

    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        _PAGE
    )
