"""Short texts, all different, and what an index of them answers: alike after each way of making it."""

from pathlib import Path

import pandas as pd

from ragkit import Dataset, Prefetch, load_encoders
from ragkit.engines.index import Index
from ragkit.engines.ingest import build_index


def windows(movies: Dataset, count: int = 220) -> Dataset:
    """Return so many texts of eight words: every window of the films' descriptions, until they are enough."""
    words = [text.split() for text in movies.passages]
    return collection(sorted({" ".join(w[i : i + 8]) for w in words for i in range(len(w) - 7)})[:count], movies)


def collection(texts: list[str], movies: Dataset | None = None) -> Dataset:
    """Return texts as documents d0, d1, …; with the films' queries, if those are given."""
    documents = pd.DataFrame({"doc_id": [f"d{i}" for i in range(len(texts))], "title": "", "text": texts})
    queries, qrels = (movies.queries, movies.qrels) if movies else (pd.DataFrame(), pd.DataFrame())
    return Dataset("windows", documents, queries, qrels, with_titles=False)


def answers(dataset: Dataset, names: list[str], folder: Path) -> list:
    """Return what the index in a folder answers, made or continued first: see `found`."""
    with build_index(dataset, load_encoders(names), folder)[0] as index:
        return found(index, dataset, names)


def found(index: Index, dataset: Dataset, names: list[str]) -> list:
    """Return what an open index answers to ten queries: each first stage, and each reranked by each other."""
    encoders, hits = load_encoders(names), []
    for text in dataset.queries["text"][::4]:
        vectors = {name: encoder.encode_queries([text])[0] for name, encoder in encoders.items()}
        for first in names:
            hits.append(index.search(vectors[first], first, 30))
            stage = [Prefetch(vectors[first], first, 40)]
            hits += [index.search(vectors[last], last, 20, stage) for last in names if last != first]
    return hits
