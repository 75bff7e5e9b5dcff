"""Measure what the README shows: `make results` writes docs/results/*.json and docs/img/results.png."""

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt

from ragkit import compare, load_beir, load_movies, plots, show

DOCS = Path(__file__).resolve().parent
SYSTEMS = ("dense", "colbert", "dense+colbert", "tokens", "dense+tokens")


COLUMNS = {
    "nDCG@10": "{:.3f}",
    "R@100": "{:.3f}",
    "RR@10": "{:.3f}",
    "p50_ms": "{:.1f}",
    "bytes_per_document": "{:,.0f}",
}
HEADINGS = {"p50_ms": "ms a query (p50)", "bytes_per_document": "bytes a document"}


def markdown(result: dict) -> str:
    """Return the table of one committed run for the README."""
    lines = ["| system | " + " | ".join(HEADINGS.get(name, name) for name in COLUMNS) + " |"]
    lines.append("| --- |" + " ---: |" * len(COLUMNS))
    for row in result["systems"]:
        cells = (form.format(row[name]) for name, form in COLUMNS.items())
        lines.append(f"| `{row['system']}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def fill_readme() -> None:
    """Write the tables of docs/results/*.json between their marks in the README."""
    readme = DOCS.parent / "README.md"
    text = readme.read_text("utf8")
    for path in sorted((DOCS / "results").glob("*.json")):
        table = markdown(json.loads(path.read_text("utf8")))
        text = re.sub(
            rf"(<!-- results:{path.stem} -->\n).*?(<!-- /results -->)",
            lambda found, table=table: f"{found[1]}{table}\n{found[2]}",
            text,
            flags=re.DOTALL,
        )
    readme.write_text(text, "utf8")


def main() -> None:
    """Compare on the movies, SciFact's subset and all of SciFact; draw the trade-off; fill the README."""
    (DOCS / "results").mkdir(exist_ok=True)
    for name, dataset in (
        ("movies", load_movies()),
        ("scifact", load_beir("scifact")),
        ("scifact-full", load_beir("scifact", docs="all")),
    ):
        comparison = compare(dataset, SYSTEMS)
        text = json.dumps(comparison.to_dict(), indent=1, ensure_ascii=False)
        (DOCS / "results" / f"{name}.json").write_text(text + "\n", "utf8")
        print(show.headline(comparison), show.table(comparison.table()), sep="\n", end="\n\n")
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharey=True)
    plots.quality_cost(comparison, cost="p50_ms", ax=axes[0])
    plots.quality_cost(comparison, cost="bytes_per_document", ax=axes[1])
    axes[1].set_ylabel("")
    figure.suptitle(f"SciFact, all {comparison.documents:,} documents, {comparison.queries} queries, Qdrant Edge")
    figure.savefig(DOCS / "img" / "results.png", dpi=150)
    fill_readme()


if __name__ == "__main__":
    main()
