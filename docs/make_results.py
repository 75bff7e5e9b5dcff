"""Measure what the README shows: `make results` writes docs/results/*.json and docs/img/results.png."""

import json
from pathlib import Path

import matplotlib.pyplot as plt

from ragkit import compare, load_beir, load_movies, plots, show

DOCS = Path(__file__).resolve().parent
SYSTEMS = ("dense", "colbert", "dense+colbert", "tokens", "dense+tokens")


def main() -> None:
    """Compare on the movies, SciFact's subset and the whole of SciFact, and draw the subset's trade-off."""
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


if __name__ == "__main__":
    main()
