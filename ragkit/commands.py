"""What each command of `python -m ragkit` does with its options; returns the exit status."""

import argparse
import json
import shlex

from ragkit.errors import RagkitError
from ragkit.files import write_text

DEMO_MOVIES = ("dense", "colbert", "dense+colbert", "tokens")


def doctor(options: argparse.Namespace) -> int:
    """Print what is installed and in reach; 1 if a lesson cannot run."""
    from ragkit.workshop.doctor import can_run, examine

    findings = examine()
    for finding in findings:
        print(f"{finding.status:<8} {finding.what:<40} {finding.detail}")
    print("The lessons can run." if can_run(findings) else "Something is missing: see above.")
    return 0 if can_run(findings) else 1


def _to_search(options: argparse.Namespace):
    """Return the collection; a whole folder is searched before anything in it is judged, too."""
    from ragkit import load_dataset, load_unjudged
    from ragkit.datasets import layout

    if options.docs is None and layout.find(options.collection, "corpus"):
        return load_unjudged(options.collection)
    return load_dataset(options.collection, options.docs, options.split)


def search(options: argparse.Namespace) -> int:
    """Print what one query finds, and write it as JSON if asked."""
    from ragkit import Retriever, System, build_index, load_encoders
    from ragkit.display import tables

    system = System.parse(options.system)
    dataset = _to_search(options)
    encoders = load_encoders(system.vectors)
    index, _ = build_index(dataset, encoders, options.where)
    with index:
        hits = Retriever(index, encoders, system, options.depth, options.limit).search(options.query)
    print(tables.hits(hits, dataset.documents))
    if options.json:
        titles = dict(zip(dataset.documents["doc_id"], dataset.documents["title"], strict=True))
        rows = [{"rank": i, "doc_id": d, "title": titles[d], "score": score} for i, (d, score) in enumerate(hits, 1)]
        result = {"collection": dataset.name, "query": options.query, "system": system.name, "results": rows}
        write_text(options.json, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return 0


def compare(options: argparse.Namespace) -> int:
    """Print systems side by side on a judged collection, and write what was asked for."""
    from ragkit import compare, load_dataset
    from ragkit.datasets import trec

    dataset = load_dataset(options.collection, options.docs, options.split)
    runs = dict(_named_run(text, options.order) for text in options.run)
    comparison = compare(dataset, options.systems.split(","), options.depth, options.where, runs=runs)
    comparison.config["command"] = "python -m ragkit " + shlex.join(options.arguments)
    _print(comparison)
    if options.export:
        for system in comparison.systems:
            name = system.system.replace("→", "+")
            trec.write_run(system.results, options.export / f"{name}.run", name)
        trec.write_qrels(dataset.qrels, options.export / "qrels.txt")
    if options.json:
        write_text(options.json, json.dumps(comparison.to_dict(), indent=1, ensure_ascii=False) + "\n")
    if options.html:
        from ragkit.display.report import render

        write_text(options.html, render([(dataset, comparison)]) + "\n")
        print(f"Report: {options.html}")
    return 0


def _named_run(text: str, order: str):
    from ragkit.datasets import trec

    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise RagkitError(f"--run {text!r}: expected NAME=FILE, such as --run bm25-anserini=run.txt.")
    return name, trec.read_run(path, order)


def ingest(options: argparse.Namespace) -> int:
    """Plan and fill a kept index, or continue it."""
    from dataclasses import replace

    from ragkit import build_index, load_encoders
    from ragkit.engines.ingest import plan
    from ragkit.engines.server_options import ServerOptions

    if options.where == ":memory:":
        raise RagkitError("':memory:' keeps nothing; name a folder or the URL of a server.")
    dataset = _to_search(options)
    encoders = load_encoders(options.vectors.split(","))
    print(plan(dataset, encoders, options.where), flush=True)
    server = ServerOptions.from_environment()
    server = replace(
        server,
        shards=options.shards or server.shards,
        replicas=options.replicas or server.replicas,
        recreate=options.recreate,
    )
    index, size = build_index(dataset, encoders, options.where, server)
    with index:
        print(f"{len(index.doc_ids):,} documents in {options.where} ({index.engine}); a search reads of each:")
        for name, bytes_ in size.items():
            print(f"  {name}: {bytes_:,.0f} bytes")
    return 0


def import_(options: argparse.Namespace) -> int:
    """Make a collection of a file of rows or a folder of texts."""
    from ragkit.datasets.importing import read_documents, write_dataset

    documents, notes = read_documents(
        options.source, options.text, options.title, options.id, options.delimiter, options.encoding, options.quoting
    )
    write_dataset(documents, options.to)
    print(f"{len(documents):,} documents in {options.to}", *(f"Note: {note}." for note in notes), sep="\n")
    print("Next: queries and judgments, as in notebooks/07_your_own_data.ipynb.")
    return 0


def bench(options: argparse.Namespace) -> int:
    """Print a bench's table, and write it as JSON if asked."""
    from importlib import import_module

    from ragkit import load_dataset
    from ragkit.bench.race import machine
    from ragkit.display.tables import table

    bench = getattr(import_module(f"ragkit.bench.{options.what}"), f"bench_{options.what}")
    dataset = load_dataset(options.collection, options.docs, options.split)
    settings = {"rounds": options.rounds} if options.rounds else {}
    if options.sizes:
        if options.what != "scale":
            raise RagkitError("--sizes is for bench scale; elsewhere --docs says how many documents.")
        settings["sizes"] = options.sizes
    rows = bench(dataset, **settings)
    on = machine()
    print(f"{dataset.name}: {len(dataset.documents):,} documents; " + ", ".join(f"{k} {v}" for k, v in on.items()))
    print(table(rows))
    if options.json:
        command = "python -m ragkit " + shlex.join(options.arguments)
        result = {"command": command, "collection": dataset.name, "documents": len(dataset.documents), "machine": on}
        write_text(options.json, json.dumps(result | {"rows": rows}, indent=1, ensure_ascii=False) + "\n")
    return 0


def prefetch(options: argparse.Namespace) -> int:
    """Fill or check a folder; 1 if something is damaged or missing."""
    from ragkit.files import damaged
    from ragkit.workshop.stick import fill_stick

    if options.check:
        found = damaged(options.check)
        print("\n".join([*found, f"{len(found)} files are damaged or missing" if found else "every file is intact"]))
        return 1 if found else 0
    lacking = fill_stick(
        options.to,
        options.collections.split(","),
        [model for model in options.models.split(",") if model],
        [name for name in options.platform or ["this"] if name != "none"],
        options.vectors.split(","),
        options.docs,
        say=lambda line: print(line, flush=True),
    )
    for line in lacking:
        print(f"no wheel: {line}")
    return 1 if lacking else 0


def demo(options: argparse.Namespace) -> int:
    """Compare on the movies and on SciFact, and write the report."""
    from ragkit import compare, load_beir, load_movies
    from ragkit.display.report import render

    pairs = []
    for dataset, systems in ((load_movies(), DEMO_MOVIES), (load_beir("scifact"), DEMO_MOVIES[:3])):
        print(f"Comparing {', '.join(systems)} on {dataset.name} …", flush=True)
        pairs.append((dataset, compare(dataset, systems, separate=False)))  # one index: quicker
    for _, comparison in pairs:
        print()
        _print(comparison)
    write_text(options.html, render(pairs) + "\n")
    print(f"\nReport: {options.html}")
    return 0


def _print(comparison) -> None:
    from ragkit.display import tables
    from ragkit.display.verdicts import verdicts

    print(tables.headline(comparison))
    print(tables.quality(comparison), tables.evidence(comparison), tables.cost(comparison), sep="\n\n")
    print("\n" + "\n".join(verdicts(comparison)))
