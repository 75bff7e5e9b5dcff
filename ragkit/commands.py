"""What each command of `python -m ragkit` does with its options; returns the exit status.

Results are written before they are printed, so that nothing is lost to a terminal.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ragkit.addresses import is_address
from ragkit.errors import RagkitError, shown
from ragkit.files import expanded, write_text

STDOUT = Path("-")  # of --json: standard output in place of a file
DEMO_SYSTEMS = ("dense", "colbert", "dense+colbert", "tokens")  # the last one, of three times the size, on the movies


def doctor(options: argparse.Namespace) -> int:
    """Print what is installed and in reach; 1 if a lesson cannot run."""
    from ragkit.workshop.doctor import LAB, can_run, examine

    findings = examine()
    for finding in findings:
        print(f"{finding.status:<8} {finding.what:<40} {finding.detail}")
    if not can_run(findings):
        print("Something is missing: see above.")
    elif any(finding.what in LAB and finding.status == "note" for finding in findings):
        print("The kit can run; the lessons need Jupyter: see above.")
    else:
        print("The lessons can run.")
    if any(finding.status == "note" for finding in findings):
        print("A note says what is skipped, slower, or fetched on first use.")
    return 0 if can_run(findings) else 1


def _to_search(options: argparse.Namespace):
    """Return the dataset; a folder is searched whole unless told."""
    from ragkit.datasets import readers
    from ragkit.datasets.importing import load_unjudged

    if options.docs is None and readers.find(expanded(options.dataset), "corpus"):
        return load_unjudged(options.dataset)
    return _judged_or_not(options)


def _judged_or_not(options: argparse.Namespace):
    """Return the dataset, of a folder in which nothing is judged yet too."""
    from ragkit.datasets import readers
    from ragkit.datasets.dataset import load_dataset
    from ragkit.datasets.importing import load_unjudged

    folder = expanded(options.dataset)
    if readers.find(folder, "corpus") and not readers.splits(folder):
        return load_unjudged(options.dataset, options.docs)
    return load_dataset(options.dataset, options.docs, options.split)


def search(options: argparse.Namespace) -> int:
    """Print what one query finds, and write it as JSON if asked."""
    import pandas as pd

    from ragkit.display import tables
    from ragkit.encoders.variants import load_encoders
    from ragkit.engines.ingest import build_index
    from ragkit.evaluation.retriever import Retriever
    from ragkit.evaluation.systems import System

    system = System.parse(options.system)
    dataset = _to_search(options)
    encoders = load_encoders(system.vectors)
    index, _ = build_index(dataset, encoders, options.where)
    passage_of = dataset.passage_of
    with index:
        retriever = Retriever(index, encoders, system, options.depth, options.limit, passage_of=passage_of)
        found = retriever.search_passages(options.query)
    known, rows = dataset.documents.set_index("doc_id"), []
    for rank, (row, score) in enumerate(found, 1):  # a document has the text of its best passage
        names = {"doc_id": passage_of[row], "passage": row} if passage_of else {"doc_id": row}
        rows.append({"rank": rank, **names, **known.loc[row, ["title", "text"]], "score": score})
    if options.json:
        result = {"dataset": dataset.name, "query": options.query, "system": system.name, "results": rows}
        _write_json(options, result)
    if not rows and options.json != "-":
        print("No document has a word of the query.")
        return 0
    shown = pd.DataFrame(rows, columns=["doc_id", "title", "text", "score"])
    print(tables.hits(list(zip(shown["doc_id"], shown["score"], strict=True)), shown))
    return 0


def inspect(options: argparse.Namespace) -> int:
    """Print what is found in a dataset before anything is compared, and write it as JSON if asked."""
    from ragkit.display.verdicts import inspection_in_full
    from ragkit.evaluation.inspecting import inspect

    _refuse_folders(options.json)
    dataset = _judged_or_not(options)
    inspection = inspect(dataset, options.vectors.split(","))
    if options.json:
        _write_json(options, inspection.to_dict())
    print(inspection_in_full(inspection))
    return 0


def compare(options: argparse.Namespace) -> int:
    """Print systems side by side on a judged dataset, and write what was asked for."""
    from ragkit.datasets import trec
    from ragkit.datasets.dataset import load_dataset
    from ragkit.datasets.fitting import Unanswerable
    from ragkit.datasets.json_runs import note_beside, read_mteb_result
    from ragkit.display.report import render
    from ragkit.display.verdicts import inspection_in_short
    from ragkit.engines.opening import chosen_place
    from ragkit.evaluation.comparing import check_distinct, compare
    from ragkit.evaluation.inspecting import corrected
    from ragkit.evaluation.systems import System

    systems = options.systems.split(",")
    _refuse_folders(options.json, options.html)
    chosen_place(options.where)
    runs = _named_runs(options.run, options.order, options.split)
    beside = _named_files(options.beside, "--beside", "lateon=SciFact.json")
    published = [note_beside(name, read_mteb_result(path, options.split)) for name, path in beside.items()]
    names = check_distinct([System.parse(text).name for text in systems], runs)
    if options.export:
        trec.check_names(names)
    unanswerable: Unanswerable = "zero" if options.unanswerable == "zero" else "leave out"
    dataset = load_dataset(options.dataset, options.docs, options.split, unanswerable)
    if options.export:
        try:
            trec.check_all_ids(dataset, runs, options.export)
        except RagkitError as error:
            if not (options.json or options.html):
                raise
            print(f"ragkit: nothing will be exported, since {error}", file=sys.stderr)
    inspection = _inspected(dataset, systems)
    with suppress(OSError):  # whoever does not listen gets the files all the same
        command = f"python -m ragkit inspect {shlex.quote(options.dataset)}"
        print(inspection_in_short(inspection, command) + "\n", flush=True)
    comparison = compare(dataset, systems, options.depth, options.where, runs=runs, as_deployed=options.as_deployed)
    comparison = replace(
        comparison, inspection=corrected(inspection, comparison), notes=(*comparison.notes, *published)
    )
    comparison.config["command"] = "python -m ragkit " + shlex.join(map(shown, options.arguments))
    writes: list[Callable[[], Any]] = []
    if options.html:
        writes.append(lambda: write_text(options.html, render([(dataset, comparison)]) + "\n"))
    if options.export:
        writes.append(lambda: trec.export(dataset, {s.system: s.results for s in comparison.systems}, options.export))
    if options.json:
        writes.append(lambda: _write_json(options, comparison.to_dict()))
    failures = _failures(writes)
    _print(comparison)
    if failures:
        raise RagkitError(" ".join(map(str, failures)))
    if options.html:
        print(f"Report: {options.html}")
    return 0


def _inspected(dataset, systems: Sequence[str]):
    """Return what is found in the dataset, before anything is encoded."""
    from ragkit.evaluation.inspecting import inspect
    from ragkit.evaluation.systems import System, is_oracle

    parsed = [System.parse(text) for text in systems]
    vectors = dict.fromkeys(name for system in parsed for name in system.vectors)
    others = sum(not is_oracle(system.name) for system in parsed[1:])
    return inspect(dataset, list(vectors), max(1, others))


def _refuse_folders(*paths: Path | None) -> None:
    """Raise RagkitError, before any work, for a folder where a file is to be written."""
    for path in paths:
        if path is not None and path.is_dir():
            raise RagkitError(f"{path} is a folder; expected the name of a file to write.")


def _failures(writes: Sequence[Callable[[], Any]]) -> list[RagkitError | OSError]:
    """Call each, whether others fail or not, and return what failed."""
    failures: list[RagkitError | OSError] = []
    for write in writes:
        try:
            write()
        except BrokenPipeError:  # nobody reads standard output any more
            raise
        except (RagkitError, OSError) as error:
            failures.append(error)
    return failures


def _named_files(texts: Sequence[str], option: str, example: str) -> dict[str, str]:
    """Return the files of NAME=FILE by name."""
    paths: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise RagkitError(f"{option} {text!r}: expected NAME=FILE, such as {option} {example}.")
        if name in paths:
            raise RagkitError(f"{option} {text!r}: another run is called {name!r} already; give one another name.")
        paths[name] = path
    return paths


def _named_runs(texts: Sequence[str], order: str, split: str) -> dict[str, Any]:
    """Return the runs of NAME=FILE by name."""
    paths = _named_files(texts, "--run", "bm25-anserini=run.txt")
    return {name: _run_of(path, order, split) for name, path in paths.items()}


def _run_of(path: str, order: str, split: str) -> Any:
    from ragkit.datasets import json_runs, trec

    if not path.lower().endswith((".json", ".json.gz")):
        return trec.read_run(path, order)
    if order == "rank":
        raise RagkitError(f"{path} has no ranks, being JSON: leave --order out.")
    return json_runs.read_json_run(path, split)


def ingest(options: argparse.Namespace) -> int:
    """Plan and fill a kept index, or continue it."""
    from ragkit.encoders.variants import load_encoders
    from ragkit.engines.ingest import build_index, plan
    from ragkit.engines.opening import chosen_place
    from ragkit.engines.server_options import ServerOptions

    where = chosen_place(options.where)
    if where in (":memory:", None):
        raise RagkitError(f"{options.where!r} keeps nothing; name a folder or the URL of a server.")
    if options.recreate and not is_address(options.where):
        raise RagkitError(
            f"--recreate deletes a collection on a server, and {options.where} is a folder: delete it yourself, or "
            "choose another."
        )
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
        print(f"{len(index.doc_ids):,} documents in {shown(options.where)} ({index.engine}); a search reads of each:")
        for name, bytes_ in size.items():
            print(f"  {name}: {bytes_:,.0f} bytes")
    return 0


def collections(options: argparse.Namespace) -> int:
    """Print what ragkit made on a server, or delete one of it after asking."""
    from ragkit.display.tables import table
    from ragkit.engines.inventory import delete, survey
    from ragkit.engines.opening import chosen_place

    where = chosen_place(options.where)
    if where is None or not is_address(where):
        raise RagkitError("collections is about a server: name its address (--where, or QDRANT_URL).")
    found = survey(where)
    kept = {one.name: one for one in found.kept}
    if options.delete is not None:
        one = kept.get(options.delete)
        what = f"{one.documents:,} documents" if one else "which does not answer, and is ragkit's by its name alone"
        told = f"Delete {options.delete} at {shown(where)}, {what}? [y/N] "
        if (one or options.delete in found.silent) and not _agreed(told):
            print("Nothing was deleted.")
            return 0
        delete(where, options.delete)  # says why not, where it is none of ragkit's
        print(f"Deleted {options.delete}.")
        return 0
    rows = [
        {
            "collection": one.name,
            "dataset": one.dataset,
            "vectors": ", ".join(one.vectors),
            "documents": f"{one.documents:,}",
            "bytes (planned)": "-" if one.bytes is None else f"{one.bytes:,}",
            "made": one.made,
            "by": one.version,
        }
        for one in kept.values()
    ]
    if rows:
        print(table(rows))
    elif not found.silent:
        print(f"ragkit has no collection at {shown(where)}.")
    for name in found.silent:
        print(f"{name} does not answer: what it is cannot be told. Is a node gone?")
    return 0


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def import_(options: argparse.Namespace) -> int:
    """Make a dataset of a file of rows or a folder of texts."""
    from ragkit.datasets.importing import read_documents, write_dataset

    source, text = _source_and_columns(options.source, options.text)
    documents, notes = read_documents(
        source, text, options.title, options.id, options.delimiter, options.encoding, options.quoting
    )
    count = len(documents)
    if options.passages:
        documents = _cut(documents, options.passages)
        notes = (*notes, f"{len(documents):,} passages; a document counts by its best one")
    write_dataset(documents, options.to)
    print(f"{count:,} documents in {options.to}", *(f"Note: {note}." for note in notes), sep="\n")
    print("Next: queries and judgments, as in notebooks/08_your_own_data.ipynb.")
    return 0


def _cut(documents, size: int):
    """Return the documents as passages that both models read whole."""
    from ragkit.datasets.passages import cut
    from ragkit.encoders.variants import load_readers

    readers = load_readers(["dense", "colbert"])
    return cut(documents, size, readers["dense"], max(reader.markers for reader in readers.values()))


def _source_and_columns(source: str | None, groups: Sequence[Sequence[str]]) -> tuple[str, list[str]]:
    """Return what to import, and the columns of the text, of what stood after each --text.

    --text takes as many columns as follow it, and so the file too, where that comes last: it is given back.

    >>> _source_and_columns(None, [["title", "body", "faq.csv"]])
    ('faq.csv', ['title', 'body'])
    >>> _source_and_columns("faq.csv", [["title"], ["body"]])
    ('faq.csv', ['title', 'body'])
    """
    columns = [list(group) for group in groups]
    if source is None:
        longer = [group for group in columns if len(group) > 1]
        if len(longer) != 1:
            raise RagkitError("import: which file or folder? Name it before --text.")
        source = longer[0].pop()
    return source, [column for group in columns for column in group]


def lessons(options: argparse.Namespace) -> int:
    """Make a working copy of the lessons, or say that there is one."""
    from ragkit.course.lessons import copy_lessons

    made = copy_lessons(options.to)
    print(f"{'The lessons are in' if made else 'Left as it is, a copy of the lessons:'} {options.to}")
    print(f"Next: jupyter lab {shlex.quote(str(options.to))}")
    return 0


def bench(options: argparse.Namespace) -> int:
    """Print a bench's table, and write it as JSON if asked."""
    from datetime import date
    from importlib import import_module

    from ragkit.bench.race import machine
    from ragkit.datasets.dataset import load_dataset
    from ragkit.display.tables import table

    _refuse_folders(options.json)
    if options.rounds and options.what in ("peers", "proof"):
        raise RagkitError(f"--rounds is for the other benches; bench {options.what} takes every query once.")
    if options.sizes and options.what != "scale":
        raise RagkitError("--sizes is for bench scale; elsewhere --docs says how many documents.")
    module = import_module(f"ragkit.bench.{options.what}")
    bench, told = getattr(module, f"bench_{options.what}"), getattr(module, "told", table)
    dataset = load_dataset(options.dataset, options.docs, options.split)
    asked = {"rounds": options.rounds, "sizes": options.sizes}
    rows = bench(dataset, **{name: value for name, value in asked.items() if value})
    on = machine()
    for row in rows:
        if "engine" in row:  # the same in all
            on["engine"] = row.pop("engine")
    if options.json:
        command = "python -m ragkit " + shlex.join(map(shown, options.arguments))
        result = {"command": command, "date": date.today().isoformat(), "dataset": dataset.name}
        _write_json(options, result | {"documents": len(dataset.documents), "machine": on, "rows": rows})
    print(f"{dataset.name}: {len(dataset.documents):,} documents; " + ", ".join(f"{k} {v}" for k, v in on.items()))
    print(told(rows))
    return 0


def prefetch(options: argparse.Namespace) -> int:
    """Fill or check a folder; 1 if something is damaged or missing."""
    from ragkit.workshop.stick import fill_stick
    from ragkit.workshop.verify import problems

    if options.check:
        found = problems(options.check)
        bad = f"{len(found)} files are damaged, missing or not listed"
        print("\n".join([*found, bad if found else "every file is intact"]))
        return 1 if found else 0
    lacking = fill_stick(
        options.to,
        options.datasets.split(","),
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
    """Compare on the movies and on SciFact, each shown as soon as it is done, and write the report."""
    from ragkit.datasets.dataset import load_dataset
    from ragkit.display.report import render
    from ragkit.evaluation.comparing import compare
    from ragkit.evaluation.inspecting import corrected

    pairs = []
    for name in options.datasets.split(","):
        systems = DEMO_SYSTEMS if name == "movies" else DEMO_SYSTEMS[:3]
        print(f"Comparing {', '.join(systems)} on {name} …\n", flush=True)
        dataset = load_dataset(name)  # only now: the movies come along, SciFact may not be in reach
        inspection = _inspected(dataset, systems)
        comparison = compare(dataset, systems, separate=False)  # one index: quicker
        pairs.append((dataset, replace(comparison, inspection=corrected(inspection, comparison))))
        _print(comparison)
        write_text(options.html, render(pairs) + "\n")
        print(flush=True)
    print(f"Report: {options.html}")
    return 0


def _write_json(options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Write a result to the file that --json names, or to standard output."""
    from ragkit.evaluation.comparison import without_nan

    if options.json == STDOUT:
        # Plain ASCII, which no terminal's encoding can refuse.
        print(json.dumps(without_nan(result), indent=1, allow_nan=False), file=options.stdout)
    else:
        write_text(options.json, json.dumps(without_nan(result), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _print(comparison) -> None:
    from ragkit.display import tables
    from ragkit.display.verdicts import verdicts

    print(tables.headline(comparison))
    print(tables.quality(comparison), tables.evidence(comparison), tables.cost(comparison), sep="\n\n")
    print("\n" + "\n".join(verdicts(comparison)))
    if comparison.inspection and len(comparison.systems) > 1:
        print(f"Power: {comparison.inspection['power'].what}.")
