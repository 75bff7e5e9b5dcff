"""Runs and results in JSON: runs of ranx and BEIR, prediction files and task results of MTEB."""

import json
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ragkit.boundary import public
from ragkit.datasets.contents import checked_id, read_text
from ragkit.errors import RagkitError, given

# MTEB's names of the kit's measures. Its recall_at_100 and mrr_at_10 are R@100 and RR@10.
MEASURES = {"nDCG@10": "ndcg_at_10", "R@100": "recall_at_100", "RR@10": "mrr_at_10"}
_META = "mteb_model_meta"


@public("The run cannot be read")
def read_json_run(path: str | Path, split: str = "test") -> pd.DataFrame:
    """Return a run in JSON, perhaps packed as .gz, as query_id, doc_id (str), score (float64), rank (int64, from 1).

    It is {query: {document: score}}, as ranx and BEIR write it, or a prediction file of MTEB, which holds such a
    run per subset and split: the one of `split` is taken, or the only one. Queries are in the file's order, their
    documents by falling score, equal ones by doc_id. Raises RagkitError for anything else, a score that is not a finite
    number, and a prediction file with several subsets.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(f"{folder}/run.json").write_text('{"q": {"a": 0.5, "b": 2}}')
    ...     read_json_run(f"{folder}/run.json").values.tolist()
    [['q', 'b', 2.0, 1], ['q', 'a', 0.5, 2]]
    """
    run = _read(path)
    if _META in run:
        run = _prediction(path, run, split)
    rows = []
    for query, documents in run.items():
        if not isinstance(documents, dict):
            raise RagkitError(f"{path}: query {given(query)} has {given(documents)}; expected {{document: score}}.")
        scored = sorted(documents.items(), key=lambda item: (-_score(path, query, *item), item[0]))
        rows += [(query, doc, float(score), rank) for rank, (doc, score) in enumerate(scored, 1)]
    if not rows:
        raise RagkitError(f"{path}: the run is empty; expected {{query: {{document: score}}}}.")
    for query, doc, *_ in rows:
        checked_id(query, f"{path}: the query id {given(query)}")
        checked_id(doc, f"{path}: the document id {given(doc)}")
    return pd.DataFrame(rows, columns=["query_id", "doc_id", "score", "rank"])


@public("The result cannot be read")
def read_mteb_result(path: str | Path, split: str = "test") -> dict[str, float]:
    """Return what a task result of MTEB says of nDCG@10, R@100 and RR@10, as far as it does; means, without queries.

    Raises RagkitError for another file, a split that it has not, and several subsets.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(f"{folder}/SciFact.json")
    ...     _ = path.write_text('{"task_name": "SciFact", "scores": {"test": [{"ndcg_at_10": 0.7, "map": 0.6}]}}')
    ...     read_mteb_result(path)
    {'nDCG@10': 0.7}
    """
    scores = _read(path).get("scores")
    if not isinstance(scores, dict) or not all(isinstance(rows, list) for rows in scores.values()):
        raise RagkitError(f"{path} is no task result of MTEB: it has no scores by split.")
    rows = scores.get(split, [])
    if len(rows) != 1 or not isinstance(rows[0], dict):
        raise RagkitError(
            f"{path}: {len(rows)} subsets of {split!r}; expected one. It has {', '.join(scores) or 'none'}."
        )
    found = {name: rows[0][theirs] for name, theirs in MEASURES.items() if theirs in rows[0]}
    for name, value in found.items():
        if not _is_number(value) or not 0 <= value <= 1:
            raise RagkitError(f"{path}: {MEASURES[name]} is {given(value)}; expected a number from 0 to 1.")
    if not found:
        raise RagkitError(f"{path} says nothing of {', '.join(MEASURES.values())}: is it a retrieval task?")
    return {name: float(value) for name, value in found.items()}


def note_beside(name: str, result: Mapping[str, float]) -> str:
    """Return a comparison's note on means that somebody else measured.

    >>> note_beside("LateOn", {"nDCG@10": 0.7661})
    'LateOn has nDCG@10 0.766 by its own result file: not measured here, and with no interval or test'
    """
    told = ", ".join(f"{measure} {value:.3f}" for measure, value in result.items())
    return f"{name} has {told} by its own result file: not measured here, and with no interval or test"


def _read(path: str | Path) -> dict[str, Any]:
    try:
        found = json.loads(read_text(path), object_pairs_hook=partial(_once, path))
    except RagkitError:
        raise
    except ValueError as error:
        raise RagkitError(f"{path} is no JSON ({error}).") from error
    if not isinstance(found, dict):
        raise RagkitError(f"{path} holds {type(found).__name__}; expected an object.")
    return found


def _once(path: str | Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RagkitError(f"{path}: the name {given(twice)} is there twice in one object; keep one of the two.")
    return found


def _prediction(path: str | Path, file: dict[str, Any], split: str) -> dict[str, Any]:
    parts = dict(_parts(path, file))
    chosen = [part for part in parts if part[1] == split] or list(parts)
    if len(chosen) != 1:
        there = ", ".join("/".join(part) for part in parts) or "none"
        raise RagkitError(f"{path} has predictions of {there}; expected one subset of the split {split!r}.")
    return parts[chosen[0]]


def _parts(path: str | Path, file: dict[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for subset, splits in file.items():
        if subset != _META:
            if not isinstance(splits, dict) or not all(isinstance(run, dict) for run in splits.values()):
                raise RagkitError(f"{path}: {given(subset)} holds no runs; is it a retrieval task's prediction file?")
            yield from (((subset, name), run) for name, run in splits.items())


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _score(path: str | Path, query: str, document: str, score: Any) -> float:
    if not _is_number(score):
        raise RagkitError(
            f"{path}: document {given(document)} for query {given(query)} has the score {given(score)}; expected a "
            "number that a float can hold."
        )
    return score
