"""The command line, `ragkit` or `python -m ragkit`: doctor, search, inspect, compare, ingest, import, …"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout, suppress
from pathlib import Path
from typing import Literal, NoReturn

from ragkit import __version__, commands
from ragkit.boundary import OUTSIDE, reason
from ragkit.datasets.contents import checked_text
from ragkit.errors import RagkitError, given, legible
from ragkit.files import expanded


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 if the doctor or prefetch finds something missing, or 2 for bad input."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):  # a terminal of cp1252 lacks the arrow of dense→colbert
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        for argument in arguments:
            checked_text(argument, f"the argument {given(argument)}")
            if argument.endswith("=--"):  # argparse takes the dashes away, and gives an option nothing
                raise RagkitError(f"The argument {given(argument)} has no value behind its =; expected one.")
        options = _parser().parse_args(arguments, argparse.Namespace(arguments=arguments, stdout=sys.stdout))
        # Where the result itself goes to standard output, everything else that is printed stands aside.
        aside = redirect_stdout(sys.stderr) if getattr(options, "json", None) == commands.STDOUT else nullcontext()
        with aside:
            status = options.command(options)
        sys.stdout.flush()
        return status
    except RagkitError as error:
        return _refused(str(error))
    except BrokenPipeError:  # whoever read what was printed, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        return 141
    except OUTSIDE as error:  # what no function that was called expected
        return _refused(legible(reason(error)))


def _refused(why: str) -> int:
    with suppress(OSError):  # nobody reads standard error any more, or its disk is full
        print(f"ragkit: error: {why}", file=sys.stderr, flush=True)
    return 2


class _Parser(argparse.ArgumentParser):
    """A parser whose refusals are legible, whatever they quote."""

    def error(self, message: str) -> NoReturn:
        super().error(legible(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="ragkit", description="Late-interaction retrieval, compared honestly.")
    parser.add_argument("--version", action="version", version=f"ragkit {__version__}")
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")

    doctor = parsers.add_parser("doctor", help="what is installed, which models and data are in reach")
    doctor.set_defaults(command=commands.doctor)

    search = parsers.add_parser("search", help="one query against a dataset")
    _dataset(search)
    search.add_argument("query", type=_something, metavar="QUERY")
    search.add_argument(
        "--system", default="colbert", metavar="S", help="dense, colbert, dense+colbert, … (default: colbert)"
    )
    search.add_argument("--limit", type=_positive, default=10, metavar="K", help="documents to show (default: 10)")
    search.set_defaults(command=commands.search)

    inspect = parsers.add_parser("inspect", help="whether a dataset is what you think it is, before it is compared")
    _dataset(inspect, searched=False)
    inspect.add_argument(
        "--vectors", default="dense,colbert", metavar="V,V,…", help="whose models read it (default: dense,colbert)"
    )
    _json(inspect)
    inspect.set_defaults(command=commands.inspect)

    compare = parsers.add_parser("compare", help="systems side by side on a judged dataset")
    _dataset(compare)
    compare.add_argument(
        "--systems",
        default="dense,colbert,dense+colbert",
        metavar="S,S,…",
        help="of dense, colbert, tokens, bm25, hybrid, hybrid-dbsf, and reranks such as dense+colbert or dense+oracle",
    )
    compare.add_argument(
        "--run",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="another's run, in the same table: TREC's form, or JSON",
    )
    compare.add_argument(
        "--beside", action="append", default=[], metavar="NAME=FILE", help="MTEB's result of a model, in a note"
    )
    compare.add_argument(
        "--order", choices=["score", "rank"], default="score", help="what orders another's run (default: score)"
    )
    compare.add_argument("--export", type=_path, metavar="DIR", help="write every run, and the qrels, as TREC files")
    compare.add_argument("--html", type=_path, metavar="F", help="write a self-contained report")
    compare.add_argument(
        "--unanswerable",
        choices=["zero", "leave-out"],
        default="zero",
        help="queries whose relevant documents are not in the dataset: count as 0 (default), or are left out",
    )
    compare.add_argument(
        "--as-deployed",
        action="store_true",
        help="on a server of several shards: each system also as one request has it, with depth and IDF per shard",
    )
    compare.set_defaults(command=commands.compare)

    ingest = parsers.add_parser("ingest", help="index a dataset in a place that is kept")
    _dataset(ingest, searched=False)
    ingest.add_argument(
        "--where", type=_place, required=True, metavar="WHERE", help="a folder (Qdrant Edge) or the URL of a server"
    )
    ingest.add_argument(
        "--vectors", default="dense,colbert", metavar="V,V,…", help="such as dense,colbert-pool3-turbo8,muvera-binary"
    )
    ingest.add_argument("--shards", type=_positive, metavar="N", help="of the collection on a server")
    ingest.add_argument("--replicas", type=_positive, metavar="N", help="of each shard on a cluster")
    ingest.add_argument("--recreate", action="store_true", help="delete a collection of that name on the server first")
    ingest.set_defaults(command=commands.ingest)

    kept = parsers.add_parser("collections", help="what ragkit made on a server; one of it deleted")
    kept.add_argument("--where", type=_place, metavar="URL", help="the server (default: QDRANT_URL)")
    kept.add_argument("--delete", type=_something, metavar="NAME", help="delete that collection, after asking")
    kept.set_defaults(command=commands.collections)

    imports = parsers.add_parser("import", help="a file of rows, or a folder of texts, as a dataset to be judged")
    source = imports.add_argument(
        "source",
        type=_place,
        metavar="FILE|FOLDER",
        help="rows (CSV, TSV, JSON Lines, these perhaps as .gz; Parquet), or .txt and .md files: one document each",
    )
    source.required = False  # after `--text COL` it is taken for another column: see commands.import_
    imports.add_argument(
        "--text", nargs="+", action="append", default=[], metavar="COL", help="a column of the text; as often as needed"
    )
    imports.add_argument("--title", metavar="COL", help="the column of titles (default: none)")
    imports.add_argument("--id", metavar="COL", help="the column of ids (default: rows are numbered)")
    imports.add_argument("--to", type=_path, required=True, metavar="DIR", help="the folder to make")
    imports.add_argument("--delimiter", metavar="C", help="between fields, such as ; or tab (default: by the header)")
    imports.add_argument("--encoding", metavar="E", help="such as cp1252 (default: by the file's mark, else UTF-8)")
    imports.add_argument(
        "--quoting",
        choices=["csv", "none"],
        help="csv: a field in quotes may hold delimiters and line breaks; none: quotes are characters, as in MS "
        "MARCO's files (default: csv, if no stray quote swallows rows)",
    )
    imports.add_argument(
        "--passages",
        type=_positive,
        metavar="N",
        help="cut documents of more than N tokens into overlapping passages (256: what the embedded models read)",
    )
    imports.set_defaults(command=commands.import_)

    bench = parsers.add_parser("bench", help="speed beside its rivals, in one run")
    bench.add_argument("what", choices=["embed", "search", "index", "scale", "server", "proof", "peers"])
    bench.add_argument(
        "dataset", nargs="?", type=_place, default="scifact", metavar="DATASET", help="default: scifact, whole"
    )
    bench.add_argument("--docs", type=_docs, default="all", metavar="N", help="documents (default: all)")
    bench.add_argument("--split", default="test", help="qrels to use (default: test)")
    bench.add_argument("--rounds", type=_positive, metavar="N", help="interleaved repeats (default: the bench's own)")
    bench.add_argument("--sizes", type=_sizes, metavar="N,N,…", help="scale: numbers of documents")
    _json(bench)
    bench.set_defaults(command=commands.bench)

    prefetch = parsers.add_parser("prefetch", help="fill a folder with all that works without a network; or check one")
    prefetch.set_defaults(command=commands.prefetch)
    to = prefetch.add_mutually_exclusive_group(required=True)
    to.add_argument("--to", type=_path, metavar="DIR", help="the folder; later: RAGKIT_MIRROR=DIR make lab")
    to.add_argument(
        "--check", type=_path, metavar="DIR", help="say which of its files are missing, damaged or not listed"
    )
    prefetch.add_argument("--datasets", default="movies,scifact", metavar="D,D,…", help="default: movies,scifact")
    prefetch.add_argument("--collections", dest="datasets", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
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

    lessons = parsers.add_parser("lessons", help="a copy of the lessons to work in, without outputs")
    lessons.add_argument("--to", type=_path, required=True, metavar="DIR", help="the folder to make; never overwritten")
    lessons.set_defaults(command=commands.lessons)

    demo = parsers.add_parser("demo", help="the comparison on the movies and on SciFact, as one report")
    demo.add_argument("--datasets", default="movies,scifact", metavar="D,D,…", help="default: movies,scifact")
    demo.add_argument("--html", type=_path, default=Path("build/report.html"), metavar="F")
    demo.set_defaults(command=commands.demo)
    return parser


def _dataset(parser: argparse.ArgumentParser, searched: bool = True) -> None:
    parser.add_argument(
        "dataset",
        type=_place,
        metavar="DATASET",
        help="movies, scifact or another name of BEIR's, irds:NAME, or a folder with BEIR's layout",
    )
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
            type=_place,
            metavar="WHERE",
            help="':memory:', a folder or ':temporary:' (Qdrant Edge), a URL (default: QDRANT_URL, else ':temporary:')",
        )
        _json(parser)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=_path, metavar="F", help="write the result as JSON; - to standard output")


def _place(text: str) -> str:
    """Return a name, an address or a path, where a path may begin with ~."""
    return str(_path(text)) if text.startswith("~") else _something(text)


def _something(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected something, got {text!r}; is a variable empty?")
    return text


def _path(text: str) -> Path:
    try:
        return expanded(text)
    except RagkitError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(text: str) -> int:
    # Python reads no number of more than 4,300 digits, and nothing is counted in more than a few.
    if not text.isdecimal() or len(text) > 4_000 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{given(text)} is not a whole number from 1")
    return int(text)


def _docs(text: str) -> int | Literal["all"]:
    return "all" if text == "all" else _positive(text)


def _sizes(text: str) -> list[int]:
    return [_positive(part) for part in text.split(",")]
