"""A server under load: clients that each ask the next query as soon as the last one is answered."""

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ragkit.addresses import is_address
from ragkit.bench.race import refuse_passages
from ragkit.boundary import public
from ragkit.datasets.dataset import Dataset
from ragkit.display.tables import table
from ragkit.encoders.variants import AnyEncoder, load_encoders
from ragkit.engines.index import Index
from ragkit.engines.ingest import build_index
from ragkit.engines.opening import chosen_place
from ragkit.engines.server import ServerIndex
from ragkit.errors import RagkitError
from ragkit.evaluation.comparing import sent_again_note
from ragkit.evaluation.retriever import Retriever
from ragkit.evaluation.systems import System
from ragkit.progress import progress
from ragkit.vectors import Hits, Vector

SYSTEMS = ("dense", "colbert", "dense+colbert", "muvera+colbert", "bm25")
CLIENTS = (1, 2, 4, 8, 16)
_DEPTH, _LIMIT = 100, 10
# Of one system with so many clients, or with one alone before: seconds at most.
_SECONDS = 20.0
_WARM_UP = 5


@dataclass
class _Load:
    """What clients share: the queries still to be asked, and what came of them."""

    work: list[int]
    ends: float
    ms: list[float] = field(default_factory=list)
    errors: int = 0
    equal: int = 0
    sent_again: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> int | None:
        with self.lock:
            return self.work.pop() if self.work and time.perf_counter() < self.ends else None

    def note(self, ms: float, equal: bool | None, again: Counter[str]) -> None:
        with self.lock:
            self.sent_again.update(again.keys())
            self.ms.append(ms)
            self.errors += equal is None
            self.equal += equal is True


@public("The bench cannot be run")
def bench_server(dataset: Dataset, rounds: int = 300, clients: Sequence[int] = CLIENTS) -> list[dict]:
    """Return by engine, system and number of clients at once: queries a second, milliseconds, errors, equal answers.

    The server is the one at QDRANT_URL. rounds: queries of all clients together, in at most 20 seconds; each client has
    a connection of its own and asks its next query when the last is answered. equal: how many answers are those of one
    client alone, document by document, who has 20 seconds too: what it does not come to is not asked. sent_again: by
    the reason, how many queries had to be; their milliseconds are those of the last sending, and queries a second count
    the waits. Queries are encoded before. Raises RagkitError if QDRANT_URL names no server, before anything is stored.
    """
    refuse_passages(dataset)
    place = chosen_place(None)
    if place is None or not is_address(place):
        raise RagkitError("bench server is about a server: set QDRANT_URL to its address.")
    systems = [System.parse(text) for text in SYSTEMS]
    encoders = load_encoders(list(dict.fromkeys(name for system in systems for name in system.vectors)))
    texts = dataset.queries["text"].tolist()
    with build_index(dataset, encoders)[0] as index:
        assert isinstance(index, ServerIndex)
        others = [index.another() for _ in range(max(clients) - 1)]
        try:
            indexes = [index, *others]
            return [row for system in systems for row in _under_load(indexes, encoders, system, texts, rounds, clients)]
        finally:
            for other in others:
                other.close()


def told(rows: Sequence[Mapping]) -> str:
    """Return the rows as a table, and a note on each with queries that were sent again, a warning if they were many."""
    shown, notes = [], []
    for row in rows:
        again = row["sent_again"]
        shown.append({**row, "sent_again": ", ".join(f"{count} for {why}" for why, count in again.items()) or "0"})
        notes.append(sent_again_note(f"{row['system']}, {row['clients']} at once", row["queries"], again))
    return "\n".join([table(shown), *filter(None, notes)])


def _under_load(
    indexes: Sequence[Index], encoders: Mapping[str, AnyEncoder], system: System, texts: list[str], rounds: int, clients
) -> list[dict]:
    columns = {name: encoders[name].encode_queries(texts) for name in system.vectors}
    queries = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    retrievers = [Retriever(index, encoders, system, _DEPTH, _LIMIT) for index in indexes]
    alone = _alone(retrievers[0], queries)  # also what warms the server up
    queries = queries[: len(alone)]
    rows = []
    with progress(len(clients), system.name, "load") as bar:
        for count in clients:
            for retriever in retrievers[:count]:  # each connection, and the server's threads
                for query in queries[:_WARM_UP]:
                    retriever.answer(query)
            work = [i % len(queries) for i in range(rounds)][::-1]
            start = time.perf_counter()
            load = _Load(work, start + _SECONDS)
            threads = [threading.Thread(target=_ask, args=(r, queries, alone, load)) for r in retrievers[:count]]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            seconds = time.perf_counter() - start
            p50, p95, p99 = np.percentile(load.ms, [50, 95, 99])
            row = {"engine": indexes[0].engine, "system": system.name, "clients": count, "queries": len(load.ms)}
            row |= {"queries_per_s": (len(load.ms) - load.errors) / seconds, "p50_ms": p50, "p95_ms": p95}
            row |= {"p99_ms": p99, "errors": load.errors, "equal": load.equal, "sent_again": dict(load.sent_again)}
            rows.append(row)
            bar.update()
    return rows


def _alone(retriever: Retriever, queries: list[dict[str, Vector]]) -> list[Hits]:
    """Return the answers to the first queries, as many as there is time for; at least one."""
    answers: list[Hits] = []
    ends = time.perf_counter() + _SECONDS
    for query in queries:
        answers.append(retriever.answer(query))
        if time.perf_counter() > ends:
            break
    return answers


def _ask(retriever: Retriever, queries: list[dict[str, Vector]], alone: list[Hits], load: _Load) -> None:
    while (i := load.next()) is not None:
        lost, again = retriever.index.lost_s, retriever.index.again.copy()
        start = time.perf_counter()
        try:
            equal = [doc_id for doc_id, _ in retriever.answer(queries[i])] == [doc_id for doc_id, _ in alone[i]]
        except RagkitError:
            equal = None
        seconds = time.perf_counter() - start - (retriever.index.lost_s - lost)
        load.note(1000 * seconds, equal, retriever.index.again - again)
