"""Late-interaction engines side by side, on the same vectors: each in a process of its own, one after another."""

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing.connection import Connection
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from ragkit.bench.race import refuse_passages
from ragkit.bench.rivals import RIVALS, Ranking, Rival
from ragkit.boundary import public
from ragkit.datasets.dataset import Dataset
from ragkit.display.tables import table
from ragkit.encoders.encoder import Encoder, load_encoder
from ragkit.engines import disk
from ragkit.errors import RagkitError, shorten
from ragkit.evaluation.measures import per_query
from ragkit.files import beside
from ragkit.paths import cache_dir
from ragkit.progress import progress

LIMIT = 100
REACHED = 0.99  # of the exact nDCG@10, by the second row of a rival and by all that may win
BUILD_CPU_S = 300  # of building, after which a rival is stopped
SEARCH_S = 120  # of searching with one setting; what is left then is not searched
WALL_S = 600  # of a rival altogether: one that hangs takes no CPU time
_WARM_UP = 5
_EVERY_S = 0.05
_PATIENCE_S = 5  # with a process that has told everything, and whose threads may go on
_SAME = 1e-3  # scores that differ by less are the same
_HUGE = 1e300  # in place of a score that is not finite, which a wrong engine may give
# The columns that somebody can win, and how.
WINS: Mapping[str, Callable] = {
    "nDCG@10": max,
    "R@100": max,
    "p50_ms": min,
    "p95_ms": min,
    "p50_encoded_ms": min,
    "p95_encoded_ms": min,
    "disk_bytes_per_document": min,
    "build_cpu_s": min,
    "build_s": min,
    "memory_MB": min,
}
_OF_A_SETTING = tuple(WINS)[:6]  # the others are of an index, whatever the setting


@dataclass
class Lap:
    """What a rival returned with one setting, and the milliseconds of each query, as many as there was time for."""

    setting: Mapping[str, Any] = field(default_factory=dict)
    rankings: list[Ranking] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)


@public("The bench cannot be run")
def bench_peers(dataset: Dataset, rivals: Sequence[Rival] = RIVALS) -> list[dict]:
    """Return a row for each rival at its default, and one for its fastest setting with REACHED of the exact nDCG@10.

    rivals: the first is exact, and what the others are told against. ms are of a query from its vectors on, one at a
    time; …encoded_ms with the models' time for that query, the same for all that need the same models. build_s and
    build_cpu_s begin with the multivectors, so they include pooling and MUVERA; memory_MB is what the process grew by
    at most from then on. A rival that is not installed, fails or takes too long is a row with its reason. Raises
    RagkitError if the first one does.
    """
    refuse_passages(dataset)
    texts = dataset.queries["text"].tolist()
    encoders = {name: load_encoder(name) for name in sorted({"colbert", *(n for r in rivals for n in r.reads)})}
    for encoder in encoders.values():
        encoder.prepare(dataset.passages)
    lengths = [len(query) for query in encoders["colbert"].encode_queries(texts)]
    judge = _Judge(dataset, lengths, {name: _encoding_ms(encoder, texts) for name, encoder in encoders.items()})
    rows: list[dict] = []
    with progress(len(rivals), "peers", "rival") as bar:
        for rival in rivals:
            head = {"what": rival.name, "setting": "default", "family": rival.family}
            there = find_spec(rival.module) is not None
            found: dict[str, Any] = _alone(rival, dataset) if there else {"reason": "not installed"}
            if "reason" in found and not rows:
                raise RagkitError(f"{rival.name}, which the others are told against, is no rival: {found['reason']}.")
            if "reason" in found:
                rows.append(head | {"note": found["reason"]})
            else:
                made = [judge.row(rival, lap) for lap in found.pop("laps")]
                if not rows and made[0]["left"]:
                    raise RagkitError(
                        f"{rival.name} takes more than {SEARCH_S} s for all queries; take fewer documents."
                    )
                rows += [head | {"version": version(rival.package)} | found | row for row in chosen(made)]
            bar.update()
    return [row | {"note": row.pop("note")} for row in rows]


def chosen(rows: Sequence[dict]) -> list[dict]:
    """Return the first row, which is the default, and the fastest with REACHED of the exact nDCG@10, if it is another.

    Where none reaches that, the second is the best. Its note says that it was chosen on these queries.

    >>> rows = [{"of_exact": 1.0, "p50_ms": 9.0}, {"of_exact": 0.99, "p50_ms": 2.0}, {"of_exact": 0.8, "p50_ms": 1.0}]
    >>> [row["p50_ms"] for row in chosen(rows)]
    [9.0, 2.0]
    """
    if len(rows) == 1:
        return list(rows)
    reached = [row for row in rows if row["of_exact"] >= REACHED]
    best = min(reached, key=lambda row: row["p50_ms"]) if reached else max(rows, key=lambda row: row["of_exact"])
    if reached:
        note = f"chosen on these queries: the fastest of {len(rows)} settings with {REACHED:.0%} of exact nDCG@10"
    else:
        note = f"chosen on these queries: the best of {len(rows)} settings; none has {REACHED:.0%} of exact nDCG@10"
    return [rows[0], best | {"note": note}] if best is not rows[0] else [best | {"note": note}]


def winners(rows: Sequence[Mapping]) -> dict[str, list[str]]:
    """Return who is best in each column of WINS, all who are level, with their settings where these were chosen.

    Only who has REACHED of the exact nDCG@10 may win, on all queries, and whose ranking is what it claims to be.

    >>> row = {"setting": "default", "of_exact": 1.0, "wrong": 0, "left": 0}
    >>> winners([row | {"what": "a", "p50_ms": 2.0}, row | {"what": "b", "p50_ms": 1.0}])
    {'p50_ms': ['b']}
    """
    fit = [row for row in rows if row.get("of_exact", 0) >= REACHED and not row["wrong"] and not row["left"]]
    best = {}
    for column, choose in WINS.items():
        name = called if column in _OF_A_SETTING else itemgetter("what")
        values = {name(row): round(row[column], 4) for row in fit if row.get(column) is not None}
        if values:
            best[column] = [name for name, value in values.items() if value == choose(values.values())]
    return best


def told(rows: Sequence[Mapping]) -> str:
    """Return the rows as a table, what is to be said of them, and who wins."""
    shown = [{"what": called(row)} | {name: row.get(name) for name in ("of_exact", *WINS)} for row in rows]
    notes = [f"{called(row)}: {row['note']}" for row in rows if row["note"]]
    best = [f"best {column}: {', '.join(names)}" for column, names in winners(rows).items()]
    return "\n".join([table(shown), "", *notes, "", f"Of those with {REACHED:.0%} of the exact nDCG@10:", *best])


def called(row: Mapping) -> str:
    """Return a row's rival, with its setting where that is not the default.

    >>> called({"what": "a", "setting": "default"}), called({"what": "a", "setting": "probes 2"})
    ('a', 'a (probes 2)')
    """
    return row["what"] if row["setting"] == "default" else f"{row['what']} ({row['setting']})"


def _encoding_ms(encoder: Encoder, texts: list[str]) -> np.ndarray:
    for text in texts[:_WARM_UP]:
        encoder.encode_query(text)
    ms = []
    for text in texts:
        start = time.perf_counter()
        encoder.encode_query(text)
        ms.append(1000 * (time.perf_counter() - start))
    return np.array(ms)


@dataclass
class _Judge:
    """What rankings are judged by; lengths: rows of each query, encoding_ms: by model and query.

    The first rankings that are judged are the exact ones.
    """

    dataset: Dataset
    lengths: list[int]
    encoding_ms: dict[str, np.ndarray]
    exact: list[Ranking] = field(default_factory=list)

    def row(self, rival: Rival, lap: Lap) -> dict[str, Any]:
        """Return quality and times over the queries that there was time for."""
        self.exact = self.exact or lap.rankings
        count = len(lap.rankings)
        row: dict[str, Any] = {"setting": ", ".join(f"{k} {v}" for k, v in lap.setting.items()) or "default"}
        row |= self._quality(lap.rankings)
        row["of_exact"] = row["nDCG@10"] / self._quality(self.exact[:count])["nDCG@10"]
        alone = np.array(lap.ms)
        for name, ms in (("ms", alone), ("encoded_ms", alone + sum(self.encoding_ms[n][:count] for n in rival.reads))):
            row |= {f"p50_{name}": float(np.median(ms)), f"p95_{name}": float(np.percentile(ms, 95))}
        same = [_same(own, true) for own, true in zip(lap.rankings, self.exact, strict=False)]
        row |= {"same_top_10": f"{sum(same)} of {count}", "left": len(self.dataset.queries) - count}
        row["wrong"] = count - sum(same) if rival.exact else 0
        notes = [f"{SEARCH_S} s were up after {count} queries, and only those count"] if row["left"] else []
        if row["wrong"]:
            least = min(length for length, right in zip(self.lengths, same, strict=False) if not right)
            most = max((length for length, right in zip(self.lengths, same, strict=False) if right), default=0)
            words = f"of {least} rows or more; right in all others, of {most} at most" if most < least else ""
            notes.append(f"claims to be exact and is not: wrong in {row['wrong']} queries {words}".strip())
        return row | {"note": "; ".join(notes)}

    def _quality(self, rankings: Sequence[Ranking]) -> dict[str, float]:
        doc_ids = self.dataset.documents["doc_id"].tolist()
        query_ids = self.dataset.queries["query_id"].tolist()[: len(rankings)]
        hits = [
            (query_id, doc_ids[number], np.nan_to_num(score, nan=-_HUGE, posinf=_HUGE, neginf=-_HUGE))
            for query_id, ranking in zip(query_ids, rankings, strict=True)
            for number, score in ranking
        ]
        results = pd.DataFrame(hits, columns=["query_id", "doc_id", "score"])
        qrels = self.dataset.qrels[self.dataset.qrels["query_id"].isin(query_ids)]
        return per_query(results, qrels, ["nDCG@10", "R@100"]).mean().to_dict()


def _same(own: Ranking, true: Ranking) -> bool:
    """Return whether a ranking begins with ten documents as the exact one does, ties in any order.

    >>> _same([(1, 2.0), (0, 2.0)], [(0, 2.0), (1, 2.0)]), _same([(1, 2.0)], [(0, 2.0), (1, 2.0)])
    (True, False)
    """
    scores = dict(true)
    first = [scores.get(number, -np.inf) for number, _ in own[:10]]
    return len(first) == len(true[:10]) and bool(np.allclose(first, [score for _, score in true[:10]], atol=_SAME))


def _alone(rival: Rival, dataset: Dataset) -> dict[str, Any]:
    """Return what the rival did in a process of its own, or the reason why it did not.

    Its CPU time and its memory are looked at from outside, so one that never returns is stopped, too.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    with beside(cache_dir() / "peers") as room:
        (room / "index").mkdir()  # the room's lock is no part of it
        process = context.Process(target=_contend, args=(theirs, rival, dataset, room / "index"))
        process.start()
        theirs.close()
        watched = psutil.Process(process.pid)
        began = time.monotonic()
        building, cpu_before, before, peak = False, 0.0, 0, 0
        try:
            while time.monotonic() - began < WALL_S:
                said = ours.recv() if ours.poll(_EVERY_S) else None
                cpu, memory = _use(watched)
                peak = max(peak, memory)
                if said == "building":
                    building, cpu_before, before, peak = True, cpu, memory, memory
                elif said == "searching":
                    building = False
                elif said is not None:
                    process.join(_PATIENCE_S)
                    return said | {"memory_MB": (peak - before) / 1e6}
                if building and cpu - cpu_before > BUILD_CPU_S:
                    return {"reason": f"stopped after {BUILD_CPU_S} CPU seconds of building"}
            return {"reason": f"stopped after {WALL_S} seconds"}
        except EOFError:
            process.join()
            return {"reason": f"its process ended with {process.exitcode}"}
        finally:
            _end(watched)
            process.join()


def _use(process: psutil.Process) -> tuple[float, int]:
    """Return the CPU seconds and the resident bytes of a process, not of others: to find those takes time from it."""
    with suppress(psutil.Error), process.oneshot():
        times = process.cpu_times()
        return times.user + times.system, process.memory_info().rss
    return 0.0, 0


def _end(process: psutil.Process) -> None:
    with suppress(psutil.Error):
        for one in (*process.children(recursive=True), process):
            with suppress(psutil.Error):
                one.kill()


def _contend(pipe: Connection, rival: Rival, dataset: Dataset, folder: Path) -> None:
    """Tell through the pipe: "building", "searching", then what came of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what an engine prints is no result
    try:
        encoders = {name: load_encoder(name) for name in rival.reads}
        texts = dataset.queries["text"].tolist()
        vectors = {name: [_units(v) for v in encoder.encode_queries(texts)] for name, encoder in encoders.items()}
        queries = [dict(zip(vectors, row, strict=True)) for row in zip(*vectors.values(), strict=True)]
        rows = load_encoder("colbert").encode_documents(dataset.passages)
        for i, row in enumerate(rows):  # one by one: all of them are never there twice
            rows[i] = _units(row)
        rival.prepare(dataset)
        pipe.send("building")
        start, cpu = time.perf_counter(), _cpu_s()
        rival.build(dataset, rows, folder)
        found: dict[str, Any] = {"build_s": time.perf_counter() - start, "build_cpu_s": _cpu_s() - cpu}
        pipe.send("searching")
        found["laps"] = [_lap(rival, queries, setting) for setting in rival.settings]
        kept = disk.taken(folder)
        found["disk_bytes_per_document"] = kept / len(dataset.documents) if kept else None
        pipe.send(found)
    except BaseException as error:  # a panic in Rust is no Exception
        pipe.send({"reason": shorten(f"{type(error).__name__}: {' '.join(str(error).split())}", 200)})
    pipe.close()


def _units(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.ascontiguousarray(rows / np.where(lengths > 0, lengths, 1), np.float32)


def _cpu_s() -> float:
    return sum(os.times()[:4])  # with processes that were started and have ended


def _lap(rival: Rival, queries: Sequence[Mapping[str, np.ndarray]], setting: Mapping[str, Any]) -> Lap:
    lap = Lap(setting)
    for query in queries[:_WARM_UP]:
        rival.search(query, LIMIT, **setting)
    began = time.perf_counter()
    for query in queries:
        start = time.perf_counter()
        ranking = rival.search(query, LIMIT, **setting)
        end = time.perf_counter()
        lap.rankings.append(ranking)
        lap.ms.append(1000 * (end - start))
        if end - began > SEARCH_S:
            break
    return lap
