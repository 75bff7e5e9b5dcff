"""One escaped HTML table, as a notebook shows an object; readable on light and dark ground."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

# Jupyter's own colours show through: only lines and faint words are set, in grey that both grounds bear. A notebook
# that is not trusted loses the style and keeps the table.
_PAGE = """\
<style>
.ragkit-table { overflow-x: auto; }
.ragkit-table table { border-collapse: collapse; margin: .3em 0; font-variant-numeric: tabular-nums; }
.ragkit-table caption { caption-side: top; text-align: left; padding: 0 0 .4em; white-space: nowrap; color: inherit; }
.ragkit-table caption span, .ragkit-table p { opacity: .7; }
.ragkit-table table th, .ragkit-table table td { padding: .3em .8em; border: 0; text-align: left; vertical-align: top; }
.ragkit-table table th.number, .ragkit-table table td.number { text-align: right; }
.ragkit-table thead th { border-bottom: 1px solid #8888; }
.ragkit-table tbody th { font-weight: 600; white-space: nowrap; }
.ragkit-table p { margin: .2em 0 .4em; max-width: 60em; font-size: .9em; }
</style>
<div class="ragkit-table"><table>
<caption><b>{{ title }}</b> <span>{{ about }}</span></caption>
<thead><tr>
{% for name in names %}
<th scope="col"{% if name in right %} class="number"{% endif %}>{{ name }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in rows %}
<tr>
{% for name, cell in row.items() %}
{% set tag = "th" if loop.first else "td" %}
<{{ tag }}{% if name in right %} class="number"{% endif %}{% if loop.first %} scope="row"{% endif %}>{{ cell }}</{{ tag }}>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
{% for note in notes %}
<p>{{ note }}</p>
{% endfor %}
</div>"""


def html_table(title: str, about: str, rows: Sequence[Mapping[str, Any]], notes: Sequence[str] = ()) -> str:
    """Return rows as an HTML table: a title with some words about it above, notes below, nothing taken as HTML.

    rows: cells by column, the same columns in each; the first names its row. Whole numbers get commas, others three
    decimals ("–" for NaN), and both stand right; all else stands left as its text.

    >>> page = html_table("two", "", [{"system": "a<b", "nDCG@10": 0.5}])
    >>> '<th scope="row">a&lt;b</th>' in page, '<td class="number">0.500</td>' in page
    (True, True)
    """
    names = list(rows[0]) if rows else []
    return _template().render(
        title=_text(title),
        about=_text(about),
        names=names,
        right={name for name in names if all(isinstance(row[name], int | float) for row in rows)},
        rows=[{name: _cell(row[name]) for name in names} for row in rows],
        notes=map(_text, notes),
    )


def _cell(value: Any) -> str:
    """Return a cell's text.

    >>> _cell(1536), _cell(-0.0001), _cell(float("nan")), _cell("a")
    ('1,536', '0.000', '–', 'a')
    """
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return "–" if value != value else f"{value:z.3f}"
    return _text(value)


def _text(value: object) -> str:
    # Half a character (a lone surrogate) could not be saved with the notebook.
    return str(value).encode("utf8", "replace").decode("utf8")


@functools.cache
def _template():
    from jinja2 import Environment, StrictUndefined  # a tenth of a second, which `import ragkit` does without

    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(_PAGE)
