"""Have MTEB measure the dense model on the movies, and keep the two files that it writes: `python -m tests.make_mteb`.

In an environment with ragkit, mteb and torch; no hub is asked. The files are in tests/mteb/, and test_bridges.py reads
them as `compare` does.
"""

import gzip
import os
import sys
import tempfile
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

import mteb
import numpy as np
import torch
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models.model_meta import ModelMeta

import ragkit

HERE = Path(__file__).resolve().parent / "mteb"
UNTOLD = ("date", "domains", "task_subtypes", "license", "annotations_creators", "dialect", "sample_creation")


class Movies(AbsTaskRetrieval):
    """The 20 movies and their queries as a task of MTEB's."""

    metadata = TaskMetadata(
        name="Movies",
        description="20 films and queries about them",
        reference=None,
        dataset={"path": "local/movies", "revision": "1"},
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
        bibtex_citation=None,
        **dict.fromkeys(UNTOLD),
    )

    def load_data(self, num_proc=None, **kwargs) -> None:
        movies = ragkit.load_movies()
        documents = {"id": movies.document_ids, "text": movies.passages}
        queries = {"id": movies.queries["query_id"].tolist(), "text": movies.queries["text"].tolist()}
        relevant: dict[str, dict[str, int]] = {}
        for judged in movies.qrels.itertuples():
            relevant.setdefault(judged.query_id, {})[judged.doc_id] = int(judged.relevance)
        corpus, asked = Dataset.from_dict(documents), Dataset.from_dict(queries)
        split = {"corpus": corpus, "queries": asked, "relevant_docs": relevant, "top_ranked": None}
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


class Dense:
    """ragkit's dense encoder as a model of MTEB's."""

    mteb_model_meta = ModelMeta.create_empty(overwrites={"name": "ragkit/dense", "revision": "1"})

    def __init__(self):
        self.encoder = ragkit.load_encoder("dense")

    def encode(self, inputs, *, prompt_type=None, **kwargs) -> np.ndarray:
        texts = [text for batch in inputs for text in batch["text"]]
        query = prompt_type is not None and prompt_type.value == "query"
        return np.asarray((self.encoder.encode_queries if query else self.encoder.encode_documents)(texts))

    def similarity(self, a, b) -> torch.Tensor:
        return torch.as_tensor(np.asarray(a) @ np.asarray(b).T)

    def similarity_pairwise(self, a, b) -> torch.Tensor:
        return torch.as_tensor((np.asarray(a) * np.asarray(b)).sum(axis=1))


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        cache = mteb.ResultCache(cache_path=f"{folder}/cache")
        mteb.evaluate(Dense(), Movies(), prediction_folder=folder, cache=cache, co2_tracker=False)
        (result,) = Path(folder, "cache").rglob("Movies.json")
        HERE.mkdir(exist_ok=True)
        (HERE / "Movies.json").write_bytes(result.read_bytes())
        predictions = Path(folder, "Movies_predictions.json").read_bytes()
        (HERE / "Movies_predictions.json.gz").write_bytes(gzip.compress(predictions, mtime=0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
