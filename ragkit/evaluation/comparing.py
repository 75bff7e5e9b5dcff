"""The main job: one dataset, several systems, one comparison of their quality and cost."""

import gc
import os
import platform
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from ragkit.addresses import is_address
from ragkit.boundary import public, whole_number
from ragkit.datasets import fitting, trec
from ragkit.datasets.dataset import Dataset
from ragkit.encoders.variants import Variant, load_encoders
from ragkit.engines.index import WHOLE, Index
from ragkit.engines.ingest import build_index, check_place
from ragkit.engines.opening import chosen_place
from ragkit.engines.server_options import ServerOptions
from ragkit.errors import RagkitError, given
from ragkit.evaluation import statistics
from ragkit.evaluation.comparison import Comparison, Cost, SystemResult, system_result
from ragkit.evaluation.measures import MEASURES, check_results, parsed_measures, per_query
from ragkit.evaluation.retriever import ENCODED, WARM_UP, Retriever, cross_encoder, oracle
from ragkit.evaluation.systems import HYBRIDS, Run, System
from ragkit.machine import cores, peak_growth

SYSTEMS = ("dense", "colbert", "dense+colbert")
_PASSAGES = "a document's score is its best passage's (MaxP), depth counts passages and limit documents"
# A first stage returns this many documents, so that R@100 can be computed.
LIMIT = 100

# Of an index whose small copies are made by chance, so many are built.
_BUILDS = 5
_ALL_BUILDS = f"{_BUILDS} were built, and the row is the first"
_ONE_BUILD = (
    f"of one there is no interval, no p and no verdict: compare without a place (where, QDRANT_URL) and with an index "
    f"for each set of vectors, as by default, and {_BUILDS} are built"
)
# The share of queries sent again from which times say little of an undisturbed server.
_FEW_AGAIN = 0.03


@public("The systems cannot be compared")
def compare(
    dataset: Dataset,
    systems: Sequence[str | System] = SYSTEMS,
    depth: int = 100,
    where: str | Path | None = None,
    measures: Sequence[str] = MEASURES,
    runs: Mapping[str, pd.DataFrame] | None = None,
    separate: bool = True,
    as_deployed: bool = False,
) -> Comparison:
    """Return the systems' quality and cost on one dataset, on the same engine and queries.

    systems: as System.parse reads them, or Systems; the first is the baseline. depth: the candidates that a rerank
    gets. where: see open_index. separate: give every set of vectors an index of its own, so that its
    seconds, disk and memory are a system's own; otherwise, and always if `where` is given, all share one
    index, and those costs are told only of a system that needs all its vectors. runs: others' runs by
    name (query_id, doc_id, score), to stand in the same table. as_deployed: on a server whose collection has several
    shards, show each system that they change a second time, as one request has it ("dense→colbert @10 per shard").
    Searches are exact unless a name says otherwise. Raises RagkitError for a system named twice or unknown, and for
    bad runs.

    >>> from ragkit.datasets import load_movies
    >>> compare(load_movies(), ["dense"], where=":memory:").queries
    40
    """
    whole_number("depth", depth)
    parsed_measures(measures)
    parsed = [system if isinstance(system, System) else System.parse(system) for system in systems]
    names = check_distinct([system.name for system in parsed], runs or {})
    for name, frame in (runs or {}).items():
        check_results(frame, f"The run {given(name)}")
    changes = as_deployed and _may_have_shards(dataset, where)
    twins = {system.name: system.as_deployed(depth) for system in parsed} if changes else {}
    needed_by = [*parsed, *(twin for twin in twins.values() if twin)]
    encoders = load_encoders(list(dict.fromkeys(name for system in needed_by for name in system.vectors)))
    shared = not separate or where is not None or bool(os.environ.get("QDRANT_URL"))
    groups: dict[tuple[str, ...], list[System]] = {}
    for system in parsed:
        groups.setdefault(tuple(encoders) if shared else tuple(sorted(system.vectors)), []).append(system)
    own, notes = fitting.own_documents(dataset.whole.documents, dataset.queries)
    found: dict[str, SystemResult] = {}
    again: list[str] = []
    engine = {"engine": "no engine: runs made elsewhere", "engine_times_are_qdrants": True}
    for group, members in groups.items():
        needed = {name: encoders[name] for name in group}
        results, engine, told = _measure(dataset, needed, members, twins, depth, where, measures, own)
        again += told
        found |= {result.system: result for result in results}
        for system in members:
            if chance := [name for name in system.vectors if Variant.parse(name).storage.by_chance]:
                why = f"{system.name}: Qdrant rotates {chance[0]} at random, and no two builds rank alike"
                if not shared:
                    builds = _builds(dataset, needed, system, depth, own, found[system.name])
                    found[system.name] = replace(found[system.name], builds=builds)
                again.append(f"{why}; {_ONE_BUILD if shared else _ALL_BUILDS}")
    notes = [*dataset.notes, *notes]
    for name, frame in (runs or {}).items():
        found[name], note = _external(name, frame, dataset, measures, own)
        notes += note
    config = (
        _config(dataset, encoders, parsed, depth, "shared by all systems" if shared else "one a set of vectors")
        | engine
    )
    twin_of = {name: twin.name for name, twin in twins.items() if twin and twin.name in found}
    results = [found[row] for name in names for row in (name, twin_of.get(name)) if row]
    notes += _twins(found, twin_of) + again
    notes += _unanswered(dataset, results)
    documents = len(set(dataset.document_ids))
    return Comparison(dataset.name, documents, len(dataset.queries), config, results, tuple(notes))


def check_distinct(systems: Sequence[str], runs: Iterable[str]) -> list[str]:
    """Return the names of all rows. Raises RagkitError if there is none, or if two have one name.

    >>> check_distinct(["dense"], ["theirs"])
    ['dense', 'theirs']
    """
    names = [*systems, *runs]
    if taken := [name for name in runs if name in systems]:
        raise RagkitError(f"The run {given(taken[0])} has the name of a system beside it; give it another.")
    if not names or len(set(names)) < len(names):
        raise RagkitError(f"Expected at least one system, each once; got {', '.join(names) or 'none'}.")
    return names


def _measure(
    dataset, encoders, systems: list[System], twins, depth, where, measures, own: set[str]
) -> tuple[list[SystemResult], dict, list[str]]:
    """Return the results of systems that share an index, of their twins too if it has shards; what answered, and notes
    on what was sent again."""
    check_place(dataset, encoders, where, _most_asked(systems, depth, len(dataset.documents)))
    for encoder in encoders.values():  # so that a model's own time and memory are not counted as the engine's
        encoder.prepare(dataset.passages)
        encoder.encode_queries(dataset.queries["text"].tolist())
    gc.collect()
    with peak_growth() as grown:
        start = time.perf_counter()
        index, size = build_index(dataset, encoders, where)
        index_s = time.perf_counter() - start if not index.reopened else float("nan")
        with index:
            if index.shards > 1:
                systems = [one for system in systems for one in (system, twins.get(system.name)) if one]
            runs = [_run(index, encoders, system, depth, dataset, own) for system in systems]
            disk, held = index.bytes_on_disk(), set(index.vectors)
            theirs = index.memory_growth()
            memory = float(grown()) if theirs is None else float("nan") if index.reopened else theirs
            whose = WHOLE + "; of rows per shard each shard's, as deployed" * any(one.shard_depth for one in systems)
            engine = {"engine": index.engine.replace(WHOLE, whose), "engine_times_are_qdrants": index.measurable}
            if index.layout:  # with one shard depth and IDF are the same, and told nowhere
                engine["server"] = index.layout | ({"depth_and_idf": whose} if index.shards > 1 else {})
    count = len(set(dataset.document_ids))
    rows = len(dataset.documents) / count  # passages of a document, else 1
    results = []
    for system, run in zip(systems, runs, strict=True):
        cost = Cost(rows * sum(size[name] for name in system.vectors))
        if set(system.vectors) == held:  # else the index holds more than this system needs
            on_disk = float("nan") if disk is None else disk / count
            cost = replace(cost, disk_bytes_per_document=on_disk)
            if engine["engine_times_are_qdrants"]:
                cost = replace(cost, index_s=index_s, memory_bytes=memory)
        result = system_result(run, dataset.qrels, cost, measures)
        if any(Variant.parse(name).storage.by_chance for name in system.vectors):
            result = replace(result, builds=result.means.to_frame().T)
        results.append(result)
    return results, engine, [note for run in runs if (note := sent_again_note(run.system, len(run.ms), run.sent_again))]


def _most_asked(systems: list[System], depth: int, documents: int) -> int:
    """Return how many documents a query asks for at most: a fusion for all that its sides find.

    >>> [_most_asked([System("dense"), System("hybrid")], 10, documents) for documents in (5_000, 150, 20)]
    [200, 200, 40]
    >>> _most_asked([System("dense", "colbert")], 30, 5_000), _most_asked([System("dense")], 30, 5_000)
    (30, 100)
    """
    fused = [2 * min(system.of_each_side(depth), documents) for system in systems if system.first in HYBRIDS]
    return max([*fused, *(min(depth if system.rerank else LIMIT, documents) for system in systems)], default=0)


def _may_have_shards(dataset: Dataset, where: str | Path | None) -> bool:
    """Return whether a server's collection may have several; where it is known to have one, no more is stored for that.

    Raises RagkitError where there is no server.
    """
    place = chosen_place(where)
    if place is None or not is_address(place):
        raise RagkitError("as_deployed is for a server: name its address. Elsewhere there are no shards.")
    from ragkit.engines.inventory import most_shards  # half a second to import, and Edge does without

    return most_shards(place, f"ragkit-{dataset.name}", ServerOptions.from_environment()) != 1


def _builds(dataset, encoders, system: System, depth: int, own: set[str], first: SystemResult) -> pd.DataFrame:
    """Return the means of a system in several builds of its index, one row each, that of `first` first."""
    measures = list(first.values.columns)
    means = [first.means]
    for _ in range(_BUILDS - 1):
        with build_index(dataset, encoders)[0] as index:
            run = _run(index, encoders, system, depth, dataset, own)
        means.append(per_query(run.results, dataset.qrels, measures).mean())
    return pd.DataFrame(means, index=range(_BUILDS))


def _twins(found: Mapping[str, SystemResult], twin_of: Mapping[str, str]) -> list[str]:
    """Return what each system loses or gains as deployed: its paired difference."""
    notes = []
    for name, twin in twin_of.items():
        measure = found[name].values.columns[0]
        one, other = found[twin].values[measure], found[name].values[measure]
        pair = statistics.paired(one, other)
        change = pair.difference
        ends = "" if found[name].of_one_build else f" ({change.low:+.3f} to {change.high:+.3f})"
        told = f"{twin} − {name}: {change.value:+.3f} {measure}{ends}"
        notes.append(f"{told}, {pair.wins} queries better, {pair.losses} worse")
    return notes


def sent_again_note(what: str, queries: int, sent_again: Mapping[str, int]) -> str:
    """Return a note on the queries that a server had to be asked again; "" if there are none.

    sent_again: how many, by the reason.

    >>> sent_again_note("dense", 4, {"429": 1})
    'Warning: dense: of 4 queries 1 sent again for 429; times are those of the last sending'
    """
    if not sent_again:
        return ""
    why = ", ".join(f"{count:,} sent again for {reason}" for reason, count in sent_again.items())
    many = "Warning: " if sum(sent_again.values()) > _FEW_AGAIN * queries else ""
    return f"{many}{what}: of {queries:,} queries {why}; times are those of the last sending"


def _run(index: Index, encoders, system: System, depth: int, dataset: Dataset, own: set[str]) -> Run:
    rescore = None
    if system.rerank == "oracle":
        rescore = oracle(_of_passages(dataset))
    elif system.rerank == "cross-encoder":
        rescore = cross_encoder(dict(zip(dataset.documents["doc_id"], dataset.passages, strict=True)))
    more = int(bool(own) and own >= set(dataset.queries["query_id"]))  # the place that its own document takes
    rows = more and max(count for doc_id, count in Counter(dataset.document_ids).items() if doc_id in own)
    retriever = Retriever(index, encoders, system, depth + rows, LIMIT + more, rescore, dataset.passage_of)
    run = retriever.run(dataset.queries)
    limit = min(LIMIT, depth) if system.rerank else LIMIT
    results = _without_own(run.results, own, limit)
    # An oracle has no price: it knows the judgments. And local mode's time is not Qdrant's: better none than that.
    if system.rerank == "oracle" or not index.measurable:
        return Run(run.system, results, run.ms * float("nan"))
    return replace(run, results=results, encoding_ms=retriever.encoding_ms(dataset.queries))


def _of_passages(dataset: Dataset) -> pd.DataFrame:
    """Return the judgments, each for every passage of its document where there are passages."""
    if not dataset.has_passages:
        return dataset.qrels
    passages = dataset.documents[["doc_id", "document"]]
    judged = dataset.qrels.rename(columns={"doc_id": "document"})
    return judged.merge(passages, on="document")[["query_id", "doc_id", "relevance"]]


def _without_own(results: pd.DataFrame, own: set[str], limit: int | None = None) -> pd.DataFrame:
    """Return a run's results less each query's own document, and at most `limit` a query.

    >>> results = pd.DataFrame({"query_id": ["q", "q"], "doc_id": ["q", "a"], "score": [2.0, 1.0], "rank": [1, 2]})
    >>> _without_own(results, {"q"}).values.tolist()
    [['q', 'a', 1.0, 1]]
    """
    if not own:
        return results
    kept = results[~(results["query_id"].isin(own) & (results["query_id"] == results["doc_id"]))]
    kept = kept.assign(rank=kept.groupby("query_id").cumcount() + 1)
    return (kept if limit is None else kept[kept["rank"] <= limit]).reset_index(drop=True)


def _unanswered(dataset: Dataset, results: list[SystemResult]) -> list[str]:
    """Return a note on the queries that no system can answer, with the means that the others alone would have."""
    hopeless = fitting.without_answer(dataset.qrels, dataset.document_ids)
    if not hopeless:
        return []
    relevant = set(dataset.qrels.loc[dataset.qrels["relevance"] > 0, "query_id"])
    gone = sum(query_id in relevant for query_id in hopeless)
    why = [f"of {gone:,} no relevant document is in the dataset"] * bool(gone)
    why += [f"of {len(hopeless) - gone:,} all judgments are 0"] * (len(hopeless) > gone)
    note = f"{len(hopeless):,} of {len(dataset.queries):,} queries count as 0 for every system ({', '.join(why)})"
    measure = results[0].values.columns[0]
    rest = [(r.system, r.values[measure].drop(hopeless, errors="ignore").mean()) for r in results]
    if any(mean > 0 for _, mean in rest):
        note += f"; without them {measure} is " + ", ".join(f"{system} {mean:.3f}" for system, mean in rest)
    return [note]


def _external(
    name: str, frame: pd.DataFrame, dataset: Dataset, measures, own: set[str]
) -> tuple[SystemResult, list[str]]:
    """Return the result of a run made elsewhere, and notes that count what does not fit the dataset."""
    if passage_of := dataset.passage_of:  # a run of passages counts as ours do
        frame = frame.assign(doc_id=frame["doc_id"].map(lambda name: passage_of.get(name, name)))
        frame = frame.groupby(["query_id", "doc_id"], as_index=False)["score"].max()
    queries = set(dataset.queries["query_id"])
    notes = [f"run {name}: {note}" for note in trec.order_notes(frame)]
    for count, what in (
        ((~frame["query_id"].isin(queries)).sum(), "results are for queries without judgments here and are ignored"),
        ((~frame["doc_id"].isin(set(dataset.document_ids))).sum(), "results name documents that are not here"),
        (len(queries - set(frame["query_id"])), "judged queries have no result and count as 0"),
    ):
        if count:
            notes.append(f"run {name}: {count:,} {what}")
    frame = frame.sort_values(["query_id", "score", "doc_id"], ascending=[True, False, True])
    frame = frame.assign(rank=frame.groupby("query_id").cumcount() + 1)[["query_id", "doc_id", "score", "rank"]]
    frame = _without_own(frame.reset_index(drop=True), own)
    untimed = pd.Series(float("nan"), dataset.queries["query_id"])
    return system_result(Run(name, frame, untimed), dataset.qrels, Cost(), measures), notes


def _search(names: Sequence[str]) -> str:
    """Return how the vectors are searched, in words.

    >>> _search(["dense", "colbert-int8", "muvera-hnsw"])
    'exact, but colbert-int8 (int8, 2 × oversampled, rescored) and muvera-hnsw (graph, m 16, ef 128)'
    """
    others = []
    for name in names:
        storage = Variant.parse(name).storage
        how = [f"graph, m {storage.hnsw_m}, ef {storage.hnsw_ef}"] if storage.hnsw_m else []
        if storage.quantization:
            scored = f"{storage.oversampling:g} × oversampled, rescored" if storage.rescore else "not rescored"
            how = [storage.quantization, scored, *how]
        others += [f"{name} ({', '.join(how)})"] if how else []
    return f"exact, but {' and '.join(others)}" if others else "exact"


def _config(dataset: Dataset, encoders: Mapping, systems: Sequence[System], depth: int, indexes: str) -> dict:
    packages = ("fastembed", "qdrant-client", "qdrant-edge-py", "onnxruntime", "ir-measures", "scipy", "numpy")
    return {
        "models": {
            name: {"model": encoder.name, "dim": encoder.dim, "sha256": encoder.checksums}
            for name, encoder in encoders.items()
        },
        "embedded_text": "title + text" if dataset.with_titles else "text",
        "truncation": "256 tokens for the embedded models, else the model's own; bm25 reads the whole text",
        "search": _search(list(encoders)),
        "depth": depth,
        "limit": LIMIT,
        "hybrid": "dense and bm25; rrf with k = 2, or dbsf",
        "candidates_per_side": {s.name: s.of_each_side(depth) for s in systems if s.first in HYBRIDS},
        "indexes": indexes,
        "times": f"per query, one at a time, {WARM_UP} to warm up: the engine alone, and (at most {ENCODED} queries) "
        "with encoding the query by the same model",
        **({"passages": _PASSAGES} if dataset.has_passages else {}),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": f"{platform.system()} {platform.machine()}, {cores()} cores",
    }
