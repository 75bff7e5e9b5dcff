"""What an index costs: time, memory and bytes of each way to keep ColBERT's vectors, beside local mode."""

import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from ragkit.bench.race import refuse_passages
from ragkit.boundary import public
from ragkit.datasets.dataset import Dataset
from ragkit.encoders.cached_encoder import CachedEncoder
from ragkit.encoders.variants import load_encoders
from ragkit.engines.ingest import build_index
from ragkit.engines.opening import TEMPORARY
from ragkit.evaluation.measures import per_query
from ragkit.evaluation.retriever import Retriever
from ragkit.evaluation.systems import System
from ragkit.progress import progress

VARIANTS = (
    "colbert",
    "colbert-float16",
    "colbert-turbo8",
    "colbert-turbo4",
    "colbert-int8",
    "colbert-turbo4copy",
    "colbert-binary",
    "colbert-pool2",
    "colbert-pool3",
    "colbert-pool4",
    "colbert-pool3-turbo8",
    "colbert-pool3-turbo4",
    "colbert-small",
    "muvera-binary",
    "muvera-turbo4",
    "dense-small",
    "dense-small-hnsw",
)
_LOCAL = "local mode"


@public("The bench cannot be run")
def bench_index(dataset: Dataset, rounds: int = 3, variants: Sequence[str] = VARIANTS) -> list[dict]:
    """Return for each variant, and for local mode, the seconds to index, memory, bytes per document and nDCG@10.

    Every round indexes the cached vectors of plain ColBERT on Edge and in local mode, each in a process of its own,
    so that peak memory is its own; the variants are indexed once, and searched with all queries. Models' vectors come
    from the cache; pooling and MUVERA are done anew and counted, in `seconds` and in `cpu_seconds`, those of all cores.
    `bytes` are those that a search reads, `disk_bytes` those in the folder; ratios are to plain ColBERT's. Raises
    RagkitError as build_index does.
    """
    refuse_passages(dataset)
    encoders = load_encoders(variants)
    for encoder in encoders.values():
        encoder.prepare(dataset.passages)
        encoder.encode_queries(dataset.queries["text"].tolist())
    laps: dict[str, list[dict]] = {"colbert": [], _LOCAL: []}
    with progress(2 * rounds + len(variants), "indexing", "index") as bar:
        for i in range(rounds):
            for name in ("colbert", _LOCAL)[:: 1 if i % 2 else -1]:
                laps[name].append(_alone(dataset, "colbert", ":memory:" if name == _LOCAL else TEMPORARY, False))
                bar.update()
        for name in variants:
            lap = _alone(dataset, name, TEMPORARY, True)
            laps[name] = [lap | own for own in laps[name]] if name in laps else [lap]
            bar.update()
    plain = laps["colbert"][0]
    rows = []
    for name in (_LOCAL, *variants):
        seconds = [lap["seconds"] for lap in laps[name]]
        row = {"what": "colbert, local mode" if name == _LOCAL else name, "rounds": len(seconds)}
        row |= {"seconds_min": min(seconds), "seconds": float(np.median(seconds)), "seconds_max": max(seconds)}
        row["cpu_seconds"] = float(np.median([lap["cpu"] for lap in laps[name]]))
        row["peak_memory_mb"] = max(lap["peak"] for lap in laps[name]) / 1e6
        lap = laps[name][0]
        if "ndcg" in lap:
            row |= {"bytes": lap["bytes"], "bytes_ratio": plain["bytes"] / lap["bytes"]}
            row |= {"disk_bytes": lap["disk"], "disk_ratio": plain["disk"] / lap["disk"]}
            row |= {"nDCG@10": lap["ndcg"], "of_exact": lap["ndcg"] / plain["ndcg"], "p50_ms": lap["p50"]}
        rows.append(row)
    return rows


def _alone(dataset: Dataset, name: str, where: str, searched: bool) -> dict:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_index, dataset, name, where, searched).result()


def _index(dataset: Dataset, name: str, where: str, searched: bool) -> dict:
    encoders = load_encoders([name])
    start, cpu = time.perf_counter(), time.process_time()
    encoder = encoders[name]
    if isinstance(encoder, CachedEncoder) and encoder.source:
        encoder.cache = False
        for _ in encoder.stream(dataset.passages):  # made anew, for the clock alone
            pass
        encoder.cache = True
    index, size = build_index(dataset, encoders, where)
    lap = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "peak": _peak()}
    lap["bytes"] = size[name]
    with index:
        if searched:
            disk = index.bytes_on_disk()
            run = Retriever(index, encoders, System.parse(name)).run(dataset.queries)
            values = per_query(run.results, dataset.qrels, ["nDCG@10"])["nDCG@10"]
            lap |= {"ndcg": float(values.mean()), "p50": float(run.ms.median())}
            lap["disk"] = float("nan") if disk is None else disk / len(dataset.documents)
    return lap


def _peak() -> int:
    """Return the most bytes that this process has had resident."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource  # is not there on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
