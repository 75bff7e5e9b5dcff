"""Every run of a comparison, and its qrels, as TREC files in one folder; what cannot be is known beforehand."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from ragkit.datasets import trec
from ragkit.datasets.dataset import Dataset
from ragkit.errors import RagkitError
from ragkit.evaluation.comparison import Comparison
from ragkit.files import expanded

# What a file's name may not hold on Linux, macOS or Windows, and white space, which would end the run's tag.
_ODD = re.compile(r'[\s/\\<>:"|?*\x00-\x1f]')
_LONGEST = 200  # bytes of a name that every file system takes, with room for a temporary file's


def export(dataset: Dataset, comparison: Comparison, folder: str | Path) -> None:
    """Write each system's run and the qrels to a folder, each file whole or not at all.

    Raises RagkitError as check_names and check_ids do, before anything is written, and for a place that cannot be
    written to.
    """
    folder = expanded(folder)
    names = check_names([system.system for system in comparison.systems])
    check_ids(dataset, {system.system: system.results for system in comparison.systems}, folder)
    for system in comparison.systems:
        name = names[system.system]
        trec.write_run(system.results, folder / f"{name}.run", name)
    trec.write_qrels(dataset.qrels, folder / "qrels.txt")


def check_names(systems: Iterable[str]) -> dict[str, str]:
    """Return the name of each system's file, without its end, which is its tag too.

    Raises RagkitError for a name that is none of a file in the folder, or the name of another one's file.

    >>> check_names(["dense→colbert", "theirs"])
    {'dense→colbert': 'dense+colbert', 'theirs': 'theirs'}
    """
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for system in systems:
        name = system.replace("→", "+")
        if not name or _ODD.search(name) or len(name.encode("utf8", "replace")) > _LONGEST:
            raise RagkitError(
                f"The run {system!r} cannot be exported: its name becomes a file's, so it has at most {_LONGEST} bytes "
                'and no white space, nor any of / \\ < > : " | ? *. Give it another, such as bm25-anserini.'
            )
        other = taken.setdefault(unicodedata.normalize("NFC", name).casefold(), system)
        if other != system:
            raise RagkitError(
                f"The runs {other!r} and {system!r} would both be exported to {name}.run; give one another name."
            )
        found[system] = name
    return found


def check_ids(dataset: Dataset, runs: Mapping[str, pd.DataFrame], folder: str | Path) -> None:
    """Raise RagkitError for an id of the dataset or of a run that a TREC file cannot hold, since it has white space."""
    for table in (dataset.queries, dataset.documents, dataset.qrels, *runs.values()):
        for name in ("query_id", "doc_id"):
            if name in table:
                trec.check_ids(folder, name, table[name].unique())
