"""Measure what the README and the ledger show: `make results`.

`--render` measures nothing: it computes evidence and verdicts anew from every query's value in docs/results/.
"""

import json
import re
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from tokenizers import Tokenizer

from ragkit import Retriever, System, build_index, compare, load_beir, load_encoders, load_movies, per_query
from ragkit.datasets import Dataset
from ragkit.display import plots, tables
from ragkit.display.verdicts import verdicts
from ragkit.encoders.bm25 import Bm25Encoder
from ragkit.encoders.embedded import DENSE, model_folder
from ragkit.evaluation.comparison import Comparison, SystemResult
from ragkit.files import whole, write_text

DOCS = Path(__file__).resolve().parent
SYSTEMS = ("dense", "colbert", "dense+colbert", "tokens", "dense+tokens", "bm25", "hybrid", "hybrid-dbsf")
SYSTEMS += ("bm25+colbert", "hybrid+colbert", "dense+oracle")
DATASETS = {
    "movies": load_movies,
    "scifact": partial(load_beir, "scifact"),
    "scifact-full": partial(load_beir, "scifact", docs="all"),
    "cranfield": partial(load_beir, "cranfield"),
}
CARDS = sorted((DOCS.parent / "data" / "models").glob("*/README.md"))  # of the embedded models
CARD_DATASETS = {"scifact-full": "SciFact", "cranfield": "Cranfield", "movies": "the 20 movies"}
IN_README = ("dense", "colbert", "dense→colbert", "tokens", "dense→tokens", "bm25", "hybrid")

# Where others' BM25 differs from ours: the settings that drift() runs.
OURS = "mean length of the dataset (ragkit)"
QDRANT = "mean length 256 (Qdrant's default)"
ANSERINI = "k 0.9 and b 0.4 (Anserini's)"
# And where others' dense may: what is embedded of a document.
NO_TITLES, SHORT = "titles left out", "the first 128 tokens"
# Published nDCG@10 on all of SciFact, its source, and the setting of that source that differs from ours.
PUBLISHED = {
    "dense": [
        (0.6451, "Qdrant, any embedding model can become a late interaction model", None),
        (0.6239, "Qdrant, Search Tuning", SHORT),
    ],
    "tokens": [(0.7072, "Qdrant, same article", None)],
    "dense→tokens": [(0.7029, "Qdrant, same article, depth 50", None)],
    "bm25": [
        (0.6834, "Qdrant, fusion-methods notebook", QDRANT),
        (0.6886, "Qdrant, Search Tuning", None),
        (0.6789, "Anserini regressions, beir-v1.0.0-scifact-flat", ANSERINI),
    ],
    "hybrid": [(0.7235, "Qdrant, fusion-methods notebook", QDRANT), (0.7175, "Qdrant, Search Tuning", None)],
    "hybrid-dbsf": [(0.7360, "Qdrant, fusion-methods notebook", QDRANT)],
}
# What would have to be run elsewhere: models of a hub, their dimensions, published nDCG@10 on all of SciFact and its
# source, published mean over NanoBEIR (sentence-transformers' documentation), and how FastEmbed comes to know them.
FASTEMBED, EXPORT = "by name", "an export"
BENCHMARK, PYLATE = "embeddings-benchmark/results", "PyLate's documentation"
NOT_MEASURED = [
    ("colbert-ir/colbertv2.0", 128, f"0.6958 (Qdrant, exact), 0.693 ({PYLATE})", "0.605", FASTEMBED),
    ("answerdotai/answerai-colbert-small-v1", 96, f"0.7477 ({PYLATE})", "0.655", FASTEMBED),
    ("jinaai/jina-colbert-v2", 128, f"0.678 ({PYLATE})", "–", FASTEMBED),
    ("lightonai/LateOn", 128, f"0.7661 ({BENCHMARK})", "0.687", FASTEMBED),
    ("lightonai/mLateOn", 128, f"0.7635 ({BENCHMARK})", "0.685", FASTEMBED),
    ("lightonai/GTE-ModernColBERT-v1", 128, f"0.7633 ({BENCHMARK})", "0.672", EXPORT),
    ("lightonai/ColBERT-Zero", 128, f"0.7633 ({BENCHMARK})", "0.657", EXPORT),
    ("mixedbread-ai/mxbai-edge-colbert-v0-32m", 64, "–", "0.652", EXPORT),
    ("mixedbread-ai/mxbai-edge-colbert-v0-17m", 48, "–", "0.641", EXPORT),
]
CAUSE_FROM = 0.005


def drift() -> dict[str, float]:
    """Return nDCG@10 on all of SciFact under the settings of those whose figures differ from ours."""
    dataset = load_beir("scifact", docs="all")
    found = {}
    for setting, bm25 in {
        OURS: Bm25Encoder(),
        QDRANT: Bm25Encoder(mean_length=256.0),
        ANSERINI: Bm25Encoder(k=0.9, b=0.4),
    }.items():
        encoders = load_encoders(["dense"]) | {"bm25": bm25}
        index, _ = build_index(dataset, encoders)
        with index:
            for system in ("bm25", "hybrid", "hybrid-dbsf"):
                results = Retriever(index, encoders, System.parse(system)).run(dataset.queries).results
                name = f"{system}, {setting}"
                found[name] = float(per_query(results, dataset.qrels, ["nDCG@10"])["nDCG@10"].mean())
    for setting, changed in {NO_TITLES: replace(dataset, with_titles=False), SHORT: begun(dataset)}.items():
        found[f"dense, {setting}"] = float(compare(changed, ["dense"])["dense"].values["nDCG@10"].mean())
    return found


def begun(dataset: Dataset, tokens: int = 128) -> Dataset:
    """Return a dataset whose documents are the beginnings of what is embedded of them, as the dense model counts."""
    tokenizer = Tokenizer.from_file(str(model_folder(DENSE) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens)
    texts = dataset.passages
    ends = [max(end for _, end in read.offsets) for read in tokenizer.encode_batch(texts)]
    cut = [text[:end] for text, end in zip(texts, ends, strict=True)]
    return replace(dataset, documents=dataset.documents.assign(text=cut), with_titles=False)


def measure() -> None:
    """Compare on the movies, SciFact's subset and all of SciFact, and store the runs."""
    (DOCS / "results").mkdir(exist_ok=True)
    for name, load in DATASETS.items():
        comparison = compare(load(), SYSTEMS)
        _write(f"{name}.json", comparison.to_dict())
        print(tables.headline(comparison), tables.evidence(comparison), tables.cost(comparison), sep="\n", end="\n\n")
    _write("drift.json", drift())


@dataclass(frozen=True)
class Stored(Comparison):
    """A comparison out of its JSON: every query's value, and the rows of costs as they were measured.

    The rankings and each query's milliseconds are not in the JSON.
    """

    rows: tuple[dict, ...] = ()

    def table(self) -> pd.DataFrame:
        frame = pd.DataFrame(self.rows).drop(columns=["evidence", "per_query"])
        return frame.set_index("system").astype(float).reset_index()


def stored(result: dict) -> Stored:
    """Return the comparison of one committed run."""
    systems = []
    for row in result["systems"]:
        values = pd.DataFrame(row["per_query"])
        systems.append(SystemResult(row["system"], values, pd.DataFrame(), pd.Series(float("nan"), values.index)))
    head = (result[name] for name in ("dataset", "documents", "queries", "config"))
    return Stored(*head, systems, notes=tuple(result["notes"]), rows=tuple(result["systems"]))


def draw() -> None:
    """Draw the README's picture of the committed run on all of SciFact."""
    result = _read("scifact-full.json")
    result["systems"] = [row for row in result["systems"] if row["system"] in IN_README]
    shown = stored(result)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained", sharey=True)
    plots.quality_cost(shown, cost="p50_ms", ax=axes[0])
    plots.quality_cost(shown, cost="bytes_per_document", ax=axes[1])
    axes[1].set_ylabel("")
    figure.suptitle(f"SciFact, all {shown.documents:,} documents, {shown.queries} queries, Qdrant Edge")
    with whole(DOCS / "img" / "results.png") as stage:
        figure.savefig(stage, dpi=150)


def _write(name: str, value: dict) -> None:
    write_text(DOCS / "results" / name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _read(name: str) -> dict:
    text = (DOCS / "results" / name).read_text("utf8")
    return json.loads(text.replace('"collection": ', '"dataset": '))  # the key's name before


def readme_table(result: dict) -> str:
    """Return the table of one committed run for the README."""
    columns = {"nDCG@10": "{:.3f}", "R@100": "{:.3f}", "RR@10": "{:.3f}"}
    columns |= {"with_encoding_ms": "{:.1f}", "p50_ms": "{:.1f}", "bytes_per_document": "{:,.0f}"}
    columns = {name: form for name, form in columns.items() if name in result["systems"][0]}
    headings = {"with_encoding_ms": "ms a query, with encoding", "p50_ms": "ms, engine alone"}
    headings |= {"bytes_per_document": "bytes a document"}
    lines = ["| system | " + " | ".join(headings.get(name, name) for name in columns) + " |"]
    lines.append("| --- |" + " ---: |" * len(columns))
    for row in result["systems"]:
        if row["system"] in IN_README:
            cells = (form.format(row[name]) for name, form in columns.items())
            lines.append(f"| `{row['system']}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def readme(text: str) -> str:
    """Return the README's text with the tables of docs/results/*.json between their marks."""
    for name in DATASETS:
        table = readme_table(_read(f"{name}.json"))
        pattern = rf"(<!-- results:{name} -->\n).*?(<!-- /results -->)"
        text = re.sub(pattern, lambda m, table=table: f"{m[1]}{table}\n{m[2]}", text, flags=re.DOTALL)
    return text


def card(text: str) -> str:
    """Return a model card with, between its marks, what its system scores beside the dense model's."""

    def render(mark: re.Match) -> str:
        rows = []
        for name, title in CARD_DATASETS.items():
            result = _read(f"{name}.json")
            of = {system["system"]: system["evidence"]["nDCG@10"] for system in result["systems"]}
            row = [title, f"{result['documents']:,}", result["queries"]]
            for e in (of[mark[2]], of["dense"]):
                row.append(f"{e['mean']:.3f} ({e['low']:.3f} to {e['high']:.3f})")
            e = of[mark[2]]
            interval = f"{tables.signed(e['difference_low'])} to {tables.signed(e['difference_high'])}"
            rows.append((*row, f"{tables.signed(e['difference'])} ({interval})"))
        head = ("dataset", "documents", "queries", f"nDCG@10 of `{mark[2]}`", "of `dense`", "difference")
        return f"{mark[1]}\n{_rows(head, rows)}\n{mark[3]}"

    return re.sub(r"(<!-- card:(\S+) -->).*?(<!-- /card -->)", render, text, flags=re.DOTALL)


def ledger() -> str:
    """Return docs/results.md: every system on every dataset, and beside the published figures."""
    parts = [LEDGER_HEAD]
    titles = {
        "scifact-full": "All of SciFact",
        "cranfield": "Cranfield, 1,400 abstracts of aerodynamics, judged in grades of 1 to 4",
        "scifact": "SciFact, the subset of 1,000 documents (scores are higher)",
        "movies": "The 20 movies",
    }
    for name, title in titles.items():
        result = _read(f"{name}.json")
        parts += [f"## {title}", _evidence(result), _cost(result), "Verdicts, by nDCG@10:"]
        parts.append("\n".join(f"- {sentence}" for sentence in verdicts(stored(result))))
        parts.append(_config(result))
    found = _read("drift.json")
    parts += ["## Beside published figures (all of SciFact, nDCG@10)", _beside(_read("scifact-full.json"), found)]
    parts += [LEDGER_DRIFT, _rows(("setting", "nDCG@10"), [(name, f"{value:.4f}") for name, value in found.items()])]
    parts += ["## Not measured", LEDGER_NOT_MEASURED]
    rows = [
        (f"`{model}`", dim, "not measured here", scifact, nano, f"`{_command(model, how)}`")
        for model, dim, scifact, nano, how in NOT_MEASURED
    ]
    head = ("model", "dimensions", "here", "published, SciFact", "published, NanoBEIR", "command that fills the row")
    parts.append(_rows(head, rows))
    return "\n\n".join(parts) + "\n"


def _command(model: str, how: str) -> str:
    """Return the command that measures a model where its hub is reached."""
    compare = "python -m ragkit compare scifact --docs all"
    if how == FASTEMBED:
        return f"RAGKIT_COLBERT_MODEL={model} {compare}"
    folder = f"models/{model.partition('/')[2]}"
    return f"pylate-onnx-export {model} -o models && RAGKIT_COLBERT_MODEL={folder} {compare}"


def _rows(head: tuple[str, ...], rows: list[tuple]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def _evidence(result: dict) -> str:
    rows = []
    for system in result["systems"]:
        e = system["evidence"]["nDCG@10"]
        row = [f"`{system['system']}`", f"{e['mean']:.4f}", f"{e['low']:.3f} to {e['high']:.3f}"]
        if e.get("difference") is None:
            row += ["baseline", "", "", "", ""]
        else:
            p_holm = "" if e["p_holm"] is None else tables.p_value(e["p_holm"])
            interval = f"{tables.signed(e['difference_low'])} to {tables.signed(e['difference_high'])}"
            queries = f"{e['wins']:.0f}/{e['ties']:.0f}/{e['losses']:.0f}"
            row += [tables.signed(e["difference"]), interval, tables.p_value(e["p"]), p_holm, queries]
        rows.append((*row, f"{system['R@100']:.3f}", f"{system['RR@10']:.3f}"))
    head = ("system", "nDCG@10", "95 %", "difference", "95 %", "p", "p (Holm)", "wins/ties/losses", "R@100", "RR@10")
    family = tables.family(pd.DataFrame(system["evidence"]["nDCG@10"] for system in result["systems"]))
    return "\n\n".join([_rows(head, rows), *(f"{line}." for line in family)])


def _cost(result: dict) -> str:
    columns = {"index_s": "{:.2f}", "with_encoding_ms": "{:.2f}", "p50_ms": "{:.2f}", "p95_ms": "{:.2f}"}
    columns |= {"queries_per_s": "{:,.0f}"}
    columns |= {n: "{:,.0f}" for n in ("bytes_per_document", "disk_bytes_per_document", "memory_bytes")}
    rows = [
        (f"`{s['system']}`", *("–" if s.get(n) is None else form.format(s[n]) for n, form in columns.items()))
        for s in result["systems"]
    ]
    return _rows(("system", *columns), rows)


def _config(result: dict) -> str:
    c = result["config"]
    return (
        f"{result['documents']:,} documents, {result['queries']} queries; {c['embedded_text']}, {c['truncation']}; "
        f"{c['engine']}, {c['search']} search, {tables.depths(c)}; {c['times']}; {c['machine']}; "
        + ", ".join(f"{name} {version}" for name, version in c["versions"].items())
        + "."
    )


def _beside(result: dict, found: dict[str, float]) -> str:
    measured = {s["system"]: s["nDCG@10"] for s in result["systems"]}
    rows = []
    for name, references in PUBLISHED.items():
        for value, source, setting in references:
            gap = measured[name] - value
            cause = "–"
            if abs(gap) > CAUSE_FROM:
                cause = f"with {setting}: {found[f'{name}, {setting}']:.4f}"
            rows.append((f"`{name}`", f"{measured[name]:.4f}", f"{value:.4f}", f"{gap:+.4f}", cause, source))
    return _rows(("system", "here", "published", "difference", "cause, shown by a run", "source"), rows)


LEDGER_HEAD = """# Results

Generated by `make results` from the runs in [results/](results), which hold every query's value and the whole
configuration. Measures are ir-measures'; intervals are 95 % bootstrap intervals over queries; differences are to
`dense`, with a paired randomization test, and its p corrected by Holm's method for the family that each table names,
near-copies of a system included. Costs: seconds to store the vectors, milliseconds a query with encoding and of
the engine alone, bytes a document of the float32 vectors and on disk, and by how much the process grew while indexing
and searching. Times are those of one run on shared cores."""
LEDGER_DRIFT = """A difference past 0.005 has its cause in the table: our run with the one setting that is known to
differ at the source. BM25's mean document length is the dataset's own here, while Qdrant assumes 256
words unless told and Anserini sets k to 0.9 and b to 0.4. How much of a document the dense model read
for Search Tuning is not known here: 128 tokens, to which the model's tokenizer.json cuts, give its figure within 0.001,
and 256 without titles do not. All settings that were run (`drift` in make_results.py):"""
LEDGER_NOT_MEASURED = """These models come from a hub, which the authors could not reach. FastEmbed knows some by name;
of the others, `pylate-onnx-export` (a package of that name) makes a folder that ragkit reads, and the command has the
name that this folder should have. NanoBEIR's figures are those of sentence-transformers' documentation."""


def main() -> None:
    """Measure (unless only asked to render), then write the ledger and the README's tables."""
    if "--render" in sys.argv[1:]:
        for name in DATASETS:
            _write(f"{name}.json", stored(_read(f"{name}.json")).to_dict())
    else:
        measure()
    draw()
    write_text(DOCS / "results.md", ledger())
    path = DOCS.parent / "README.md"
    write_text(path, readme(path.read_text("utf8")))
    for path in CARDS:
        write_text(path, card(path.read_text("utf8")))


if __name__ == "__main__":
    main()
