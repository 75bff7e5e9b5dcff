"""Datasets of ir_datasets, by `irds:` and its name; ir_datasets itself is optional."""

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import pandas as pd

from ragkit.errors import RagkitError, shorten
from ragkit.progress import progress

PREFIX = "irds:"


def read(name: str, docs: int | Literal["all"] | None = None) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, int]:
    """Return documents, queries and qrels as Dataset has them, and how many documents there are in all.

    name: as https://ir-datasets.com has it, such as "cranfield" or "beir/nfcorpus/test". docs: None or "all" for every
    document; a number keeps the judged ones and, beside them, those whose id has the smallest SHA-256, while the
    documents stream by: no more than these are ever in memory. Raises RagkitError if ir_datasets is not installed,
    does not know the name, cannot get its files, or has no documents, queries or judgments under that name.
    """
    library = _library()
    try:
        source = library.load(name)
    except KeyError as error:
        near = [known for known in library.registry if name.rstrip("/") in known or known in name]
        told = f"; near it are {', '.join(sorted(near)[:8])}" if near else "; see https://ir-datasets.com"
        raise RagkitError(f"ir_datasets knows no {name!r}{told}.") from error
    lacking = [what for what in ("docs", "queries", "qrels") if not getattr(source, f"has_{what}")()]
    if lacking:
        below = sorted(known for known in library.registry if known.startswith(f"{name}/"))
        told = f" Perhaps {', '.join(below[:8])}." if below else ""
        raise RagkitError(f"ir_datasets has no {' and no '.join(lacking)} under {name!r}.{told}")
    try:
        qrels = [(q.query_id, q.doc_id, int(q.relevance)) for q in source.qrels_iter()]
        judged = {query_id for query_id, _, _ in qrels}
        queries = [(q.query_id, _text(q), "") for q in source.queries_iter() if q.query_id in judged]
        documents, count = _documents(source, {doc_id for _, doc_id, _ in qrels}, docs)
    except (RuntimeError, OSError) as error:  # what ir_datasets raises when no download works
        raise RagkitError(
            f"ir_datasets could not get the files of {name!r} ({shorten(str(error), 200)}). "
            "Connect once: they are kept."
        ) from error
    return (
        pd.DataFrame(documents, columns=["doc_id", "title", "text"]),
        pd.DataFrame(queries, columns=["query_id", "text", "kind"]),
        pd.DataFrame(qrels, columns=["query_id", "doc_id", "relevance"]),
        count,
    )


def _library() -> Any:
    try:
        import ir_datasets
    except ImportError as error:
        raise RagkitError(
            "Names that begin with irds: are read by ir_datasets, which is not installed. Run: pip install ir-datasets"
        ) from error
    return ir_datasets


def _documents(source: Any, judged: set[str], docs: int | Literal["all"] | None) -> tuple[list[tuple], int]:
    """Return the rows that are asked for, in the source's order, and the number of all documents."""
    with progress(source.docs_count() or 0, f"reading {source.dataset_id()}", "doc") as bar:
        if docs is None or docs == "all":
            everything = list(_rows(source.docs_iter(), bar))
            return everything, len(everything)
        if docs < len(judged):
            raise RagkitError(f"{len(judged)} documents are judged, so a subset has at least as many; got {docs}.")
        kept: list[tuple[int, tuple]] = []
        count = 0

        def others() -> Iterator[tuple[int, tuple]]:
            nonlocal count
            for place, row in enumerate(_rows(source.docs_iter(), bar)):
                count += 1
                if row[0] in judged:
                    kept.append((place, row))
                else:
                    yield place, row

        smallest = heapq.nsmallest(docs, others(), key=lambda row: hashlib.sha256(row[1][0].encode()).hexdigest())
    return [row for _, row in sorted([*kept, *smallest[: docs - len(kept)]])], count


def _rows(documents: Iterable[Any], bar: Any) -> Iterator[tuple[str, str, str]]:
    for document in documents:
        bar.update()
        title, text = getattr(document, "title", ""), getattr(document, "text", None)
        if isinstance(text, str):
            yield document.doc_id, title if isinstance(title, str) else "", text
        else:  # fields under other names: ir_datasets knows which of them are the text
            yield document.doc_id, "", document.default_text()


def _text(query: Any) -> str:
    text = getattr(query, "text", None)
    return text if isinstance(text, str) else query.default_text()
