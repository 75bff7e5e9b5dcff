"""A comparison as one HTML file that opens offline."""

import base64
import html
import io
from collections.abc import Sequence

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from ragkit import plots, show
from ragkit.datasets import Dataset
from ragkit.evaluate import Comparison

_EXTREMES = 5  # queries shown on either side

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Late interaction, compared</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
th, td {{ padding: .3rem .7rem; border-bottom: 1px solid #8886; text-align: right; vertical-align: top; }}
th:first-child, td:first-child, td.text, th.text {{ text-align: left; }}
img {{ max-width: 100%; background: white; border-radius: 6px; }}
.note, .config {{ color: #777; font-size: .9rem; }}
li.relevant {{ font-weight: 600; }}
ol {{ margin: 0; padding-left: 1.4rem; }}
summary {{ cursor: pointer; margin: .4rem 0; }}
pre {{ white-space: pre-wrap; font-size: .85rem; }}
</style></head><body>
<h1>Late interaction, compared</h1>
{body}
</body></html>"""


def render(pairs: Sequence[tuple[Dataset, Comparison]]) -> str:
    """Return one self-contained HTML page: tables, plots, the best and worst queries, the config."""
    return _PAGE.format(body="\n".join(_section(dataset, comparison) for dataset, comparison in pairs))


def _section(dataset: Dataset, comparison: Comparison) -> str:
    head, *notes = show.headline(comparison).split("\n")
    parts = [f"<h2>{html.escape(head)}</h2>", *(f'<p class="note">{html.escape(note)}</p>' for note in notes)]
    parts.append(_table(comparison))
    parts.append(_image(plots.measures(comparison).figure, f"{comparison.collection}: means of each measure by system"))
    parts.append(_image(plots.quality_cost(comparison).figure, f"{comparison.collection}: quality against time"))
    baseline = comparison.systems[0].system
    labels = dataset.queries.set_index("query_id")["text"]
    for result in comparison.systems[1:]:
        figure = plots.differences(comparison, result.system, baseline, labels=labels).figure
        parts.append(_image(figure, f"{result.system} against {baseline}, query by query"))
        parts.append(_extremes(dataset, comparison, result.system, baseline))
    config = "\n".join(f"{key}: {value}" for key, value in comparison.config.items())
    parts.append(f'<details class="config"><summary>Configuration</summary><pre>{html.escape(config)}</pre></details>')
    return "\n".join(parts)


def _table(comparison: Comparison) -> str:
    frame = show.format_frame(comparison.table())
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in frame.columns)
    rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in frame.itertuples(index=False))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"


def _image(figure: Figure, text: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    matplotlib.pyplot.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<p><img alt="{html.escape(text)}" src="data:image/png;base64,{data}"></p>'


def _extremes(dataset: Dataset, comparison: Comparison, system: str, baseline: str) -> str:
    values = comparison.values()
    difference = (values[system] - values[baseline]).sort_values(kind="stable")
    worst = difference[difference < 0].index[:_EXTREMES]
    best = difference[difference > 0].index[::-1][:_EXTREMES]
    parts = []
    for title, ids in (
        (f"Where {system} is best against {baseline}", best),
        (f"Where {system} is worst against {baseline}", worst),
    ):
        items = "".join(_query(dataset, comparison, query_id, system, baseline) for query_id in ids)
        parts.append(
            f"<details><summary>{html.escape(title)} (nDCG@10)</summary>{items or '<p>Nowhere.</p>'}</details>"
        )
    return "".join(parts)


def _query(dataset: Dataset, comparison: Comparison, query_id: str, system: str, baseline: str) -> str:
    text = dataset.queries.set_index("query_id")["text"][query_id]
    cells = []
    for name in (baseline, system):
        result = comparison[name]
        value = show.number(result.values.loc[query_id, "nDCG@10"])
        cells.append(
            f"<td class='text'><b>{html.escape(name)} {value}</b>{_ranking(dataset, result.results, query_id)}</td>"
        )
    return f"<p><b>{html.escape(query_id)}</b> {html.escape(text)}</p><table><tr>{''.join(cells)}</tr></table>"


def _ranking(dataset: Dataset, results: pd.DataFrame, query_id: str) -> str:
    documents = dataset.documents.set_index("doc_id")
    judged = dataset.qrels[(dataset.qrels["query_id"] == query_id) & (dataset.qrels["relevance"] > 0)]
    relevant = set(judged["doc_id"])
    items = []
    for doc_id in results[(results["query_id"] == query_id) & (results["rank"] <= 5)]["doc_id"]:
        name = documents.loc[doc_id, "title"] or documents.loc[doc_id, "text"][:80]
        mark = ' class="relevant"' if doc_id in relevant else ""
        items.append(f"<li{mark}>{html.escape(name)}{' ✓' if mark else ''}</li>")
    return f"<ol>{''.join(items)}</ol>"
