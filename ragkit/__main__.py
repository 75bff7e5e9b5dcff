"""`python -m ragkit`: doctor, search, compare, ingest, import, bench, prefetch, demo."""

import argparse
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ragkit.errors import RagkitError

DEMO_MOVIES = ("dense", "colbert", "dense+colbert", "tokens")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 if the doctor or prefetch finds something missing, or 2 for bad input."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments, argparse.Namespace(arguments=arguments))
    try:
        return options.command(options)
    except RagkitError as error:
        print(f"ragkit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ragkit: interrupted; what was encoded so far is in the cache", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ragkit", description="Late-interaction retrieval, compared honestly."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    doctor = commands.add_parser("doctor", help="what is installed, which models and data are in reach")
    doctor.set_defaults(command=_doctor)

    search = commands.add_parser("search", help="one query against a collection")
    _collection(search)
    search.add_argument("query", metavar="QUERY")
    search.add_argument(
        "--system", default="colbert", metavar="S", help="dense, colbert, dense+colbert, … (default: colbert)"
    )
    search.add_argument("--limit", type=_positive, default=10, metavar="K", help="documents to show (default: 10)")
    search.set_defaults(command=_search)

    compare = commands.add_parser("compare", help="systems side by side on a judged collection")
    _collection(compare)
    compare.add_argument(
        "--systems",
        default="dense,colbert,dense+colbert",
        metavar="S,S,…",
        help="of dense, colbert, tokens, bm25, hybrid, hybrid-dbsf, and reranks such as dense+colbert or dense+oracle",
    )
    compare.add_argument(
        "--run", action="append", default=[], metavar="NAME=FILE", help="another's TREC run, in the same table"
    )
    compare.add_argument("--export", type=Path, metavar="DIR", help="write every run, and the qrels, as TREC files")
    compare.add_argument("--html", type=Path, metavar="F", help="write a self-contained report")
    compare.set_defaults(command=_compare)

    ingest = commands.add_parser("ingest", help="index a collection in a place that is kept")
    _collection(ingest, searched=False)
    ingest.add_argument("--where", required=True, metavar="WHERE", help="a folder (Qdrant Edge) or the URL of a server")
    ingest.add_argument(
        "--vectors", default="dense,colbert", metavar="V,V,…", help="such as dense,colbert-pool3-turbo8,muvera-binary"
    )
    ingest.add_argument("--shards", type=_positive, metavar="N", help="of the collection on a server")
    ingest.add_argument("--replicas", type=_positive, metavar="N", help="of each shard on a cluster")
    ingest.add_argument("--recreate", action="store_true", help="delete a collection of that name on the server first")
    ingest.set_defaults(command=_ingest)

    imports = commands.add_parser("import", help="a CSV file, or a folder of texts, as a collection to be judged")
    imports.add_argument("source", metavar="FILE.csv|FOLDER", help="rows, or .txt and .md files: one document each")
    imports.add_argument("--text", nargs="+", default=[], metavar="COL", help="the columns that hold the text")
    imports.add_argument("--title", metavar="COL", help="the column of titles (default: none)")
    imports.add_argument("--id", metavar="COL", help="the column of ids (default: rows are numbered)")
    imports.add_argument("--to", type=Path, required=True, metavar="DIR", help="the folder to make")
    imports.add_argument("--delimiter", metavar="C", help="between fields, such as ; or tab (default: by the header)")
    imports.add_argument("--encoding", metavar="E", help="such as cp1252 (default: by the file's mark, else UTF-8)")
    imports.set_defaults(command=_import)

    bench = commands.add_parser("bench", help="speed beside its rivals, in one run")
    bench.add_argument("what", choices=["embed", "search", "index", "scale"])
    bench.add_argument("collection", nargs="?", default="scifact", metavar="COLLECTION", help="default: scifact, whole")
    bench.add_argument("--docs", type=_docs, default="all", metavar="N", help="documents (default: all)")
    bench.add_argument("--split", default="test", help="qrels to use (default: test)")
    bench.add_argument("--rounds", type=_positive, metavar="N", help="interleaved repeats (default: the bench's own)")
    bench.add_argument("--sizes", type=_sizes, metavar="N,N,…", help="scale: numbers of documents")
    bench.add_argument("--json", type=Path, metavar="F", help="write the result as JSON")
    bench.set_defaults(command=_bench)

    prefetch = commands.add_parser("prefetch", help="fill a folder with all that works without a network; or check one")
    prefetch.set_defaults(command=_prefetch)
    to = prefetch.add_mutually_exclusive_group(required=True)
    to.add_argument("--to", type=Path, metavar="DIR", help="the folder; later: RAGKIT_MIRROR=DIR make lab")
    to.add_argument("--check", type=Path, metavar="DIR", help="say which of its files are missing or damaged")
    prefetch.add_argument("--collections", default="movies,scifact", metavar="C,C,…", help="default: movies,scifact")
    prefetch.add_argument("--docs", type=_docs, metavar="N", help="documents whose embeddings come along, or 'all'")
    prefetch.add_argument("--vectors", default="dense,colbert", metavar="V,V,…", help="whose embeddings come along")
    prefetch.add_argument("--models", default="", metavar="M,M,…", help="FastEmbed models beside the embedded ones")
    prefetch.add_argument(
        "--platform",
        action="append",
        metavar="P",
        help="wheels for: this (default), linux, linux-arm, macos, macos-intel, windows; windows-3.12 names a Python; "
        "none for no wheels; may be given several times",
    )

    demo = commands.add_parser("demo", help="the comparison on the movies and on SciFact, as one report")
    demo.add_argument("--html", type=Path, default=Path("build/report.html"), metavar="F")
    demo.set_defaults(command=_demo)
    return parser


def _collection(parser: argparse.ArgumentParser, searched: bool = True) -> None:
    parser.add_argument("collection", metavar="COLLECTION", help="movies, scifact, or a folder with BEIR's layout")
    parser.add_argument(
        "--docs", type=_docs, metavar="N", help="documents: a number or 'all' (default: 1000 for scifact, else all)"
    )
    parser.add_argument("--split", default="test", help="qrels to use (default: test)")
    if searched:
        parser.add_argument(
            "--depth", type=_positive, default=100, metavar="N", help="candidates of a rerank (default: 100)"
        )
        parser.add_argument(
            "--where",
            metavar="WHERE",
            help="':memory:', a folder (Qdrant Edge) or a URL (default: QDRANT_URL, else Edge)",
        )
        parser.add_argument("--json", type=Path, metavar="F", help="write the result as JSON")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _docs(text: str) -> int | Literal["all"]:
    return "all" if text == "all" else _positive(text)


def _sizes(text: str) -> list[int]:
    return [_positive(part) for part in text.split(",")]


def _doctor(options: argparse.Namespace) -> int:
    from ragkit.doctor import can_run, examine

    findings = examine()
    for finding in findings:
        print(f"{finding.status:<8} {finding.what:<40} {finding.detail}")
    print("The lessons can run." if can_run(findings) else "Something is missing: see above.")
    return 0 if can_run(findings) else 1


def _to_search(options: argparse.Namespace):
    """Return the collection; a whole folder is searched before anything in it is judged, too."""
    from ragkit import load_collection, load_unjudged

    folder = Path(options.collection)
    if options.docs is None and (folder / "corpus.jsonl").is_file():
        return load_unjudged(folder)
    return load_collection(options.collection, options.docs, options.split)


def _search(options: argparse.Namespace) -> int:
    from ragkit import Retriever, System, build_index, load_encoders, show

    system = System.parse(options.system)
    dataset = _to_search(options)
    encoders = load_encoders(system.vectors)
    index, _ = build_index(dataset, encoders, options.where)
    with index:
        hits = Retriever(index, encoders, system, options.depth, options.limit).search(options.query)
    print(show.hits(hits, dataset.documents))
    if options.json:
        titles = dict(zip(dataset.documents["doc_id"], dataset.documents["title"], strict=True))
        rows = [{"rank": i, "doc_id": d, "title": titles[d], "score": score} for i, (d, score) in enumerate(hits, 1)]
        result = {"collection": dataset.name, "query": options.query, "system": system.name, "results": rows}
        _write(options.json, json.dumps(result, indent=1, ensure_ascii=False))
    return 0


def _compare(options: argparse.Namespace) -> int:
    from ragkit import compare, load_collection, trec

    dataset = load_collection(options.collection, options.docs, options.split)
    runs = dict(_named_run(text) for text in options.run)
    comparison = compare(dataset, options.systems.split(","), options.depth, options.where, runs=runs)
    comparison.config["command"] = "python -m ragkit " + shlex.join(options.arguments)
    _print(comparison)
    if options.export:
        for system in comparison.systems:
            name = system.system.replace("→", "+")
            trec.write_run(system.results, options.export / f"{name}.run", name)
        trec.write_qrels(dataset.qrels, options.export / "qrels.txt")
    if options.json:
        _write(options.json, json.dumps(comparison.to_dict(), indent=1, ensure_ascii=False))
    if options.html:
        from ragkit.report import render

        _write(options.html, render([(dataset, comparison)]))
        print(f"Report: {options.html}")
    return 0


def _named_run(text: str):
    from ragkit import trec

    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise RagkitError(f"--run {text!r}: expected NAME=FILE, such as --run bm25-anserini=run.txt.")
    return name, trec.read_run(Path(path))


def _ingest(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from ragkit import build_index, load_encoders
    from ragkit.ingest import plan
    from ragkit.options import ServerOptions

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


def _import(options: argparse.Namespace) -> int:
    from ragkit.importing import read_documents, write_collection

    documents, notes = read_documents(
        options.source, options.text, options.title, options.id, options.delimiter, options.encoding
    )
    write_collection(documents, options.to)
    print(f"{len(documents):,} documents in {options.to}", *(f"Note: {note}." for note in notes), sep="\n")
    print("Next: queries and judgments, as in notebooks/07_your_own_data.ipynb.")
    return 0


def _bench(options: argparse.Namespace) -> int:
    from importlib import import_module

    from ragkit import load_collection
    from ragkit.race import machine
    from ragkit.show import table

    bench = getattr(import_module(f"ragkit.bench_{options.what}"), f"bench_{options.what}")
    dataset = load_collection(options.collection, options.docs, options.split)
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
        _write(options.json, json.dumps(result | {"rows": rows}, indent=1, ensure_ascii=False))
    return 0


def _prefetch(options: argparse.Namespace) -> int:
    from ragkit.mirror import damage
    from ragkit.prefetch import prefetch

    if options.check:
        found = damage(options.check)
        print("\n".join([*found, f"{len(found)} files are damaged or missing" if found else "every file is intact"]))
        return 1 if found else 0
    lacking = prefetch(
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


def _demo(options: argparse.Namespace) -> int:
    from ragkit import compare, load_beir, load_movies
    from ragkit.report import render

    pairs = []
    for dataset, systems in ((load_movies(), DEMO_MOVIES), (load_beir("scifact"), DEMO_MOVIES[:3])):
        print(f"Comparing {', '.join(systems)} on {dataset.name} …", flush=True)
        pairs.append((dataset, compare(dataset, systems, separate=False)))  # one index: quicker
    for _, comparison in pairs:
        print()
        _print(comparison)
    _write(options.html, render(pairs))
    print(f"\nReport: {options.html}")
    return 0


def _print(comparison) -> None:
    from ragkit import show

    print(show.headline(comparison))
    print(show.quality(comparison), show.evidence(comparison), show.cost(comparison), sep="\n\n")
    print("\n" + "\n".join(show.verdicts(comparison)))


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(handle, "w", encoding="utf8") as file:
            file.write(text + "\n")
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise RagkitError(f"{path} cannot be written ({error}); choose another place.") from error


if __name__ == "__main__":
    sys.exit(main())
