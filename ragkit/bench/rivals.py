"""The engines that `bench peers` runs, each in its own way: an index of multivectors, and a ranking from it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ragkit.datasets.dataset import Dataset
from ragkit.encoders.encoder import load_encoder
from ragkit.encoders.variants import Variant, load_encoders, vector_spec
from ragkit.engines.index import Prefetch
from ragkit.engines.opening import open_index
from ragkit.evaluation.systems import System
from ragkit.maxsim import maxsim_scores

# Documents by their number in the dataset, and their scores, best first.
Ranking = list[tuple[int, float]]
_BRUTE = "brute force"


class Rival(ABC):
    """An engine as it is called: build once, then search with one setting after another.

    name: in a table; family: those that have a colour together; package, module: what is installed and imported for
    it; exact: whether its ranking claims to be that of MaxSim; reads: which encodings of a query it needs; settings:
    keywords of a search, the engine's own default first.
    """

    name: str
    family: str
    package: str
    module: str
    exact: bool = False
    reads: tuple[str, ...] = ("colbert",)
    settings: tuple[dict[str, Any], ...] = ({},)

    def prepare(self, dataset: Dataset) -> None:  # noqa: B027
        """Make what the engine is given beside the rows, if anything; that is no part of building."""

    @abstractmethod
    def build(self, dataset: Dataset, rows: Sequence[np.ndarray], folder: Path) -> None:
        """Make the index, and leave in the folder what would be kept of it.

        rows: (rows, dim) float32 of unit length, for each document.
        """

    @abstractmethod
    def search(self, query: Mapping[str, np.ndarray], limit: int, **setting: Any) -> Ranking:
        """Return at most `limit` documents; query: (rows, dim) float32 by "colbert", (dim,) by "dense"."""


class Kit(Rival):
    """A system of the kit, over Qdrant Edge or in local mode; what is pooled or made by MUVERA is made in building."""

    def __init__(self, system: str, depth: int = 0, local: bool = False):
        self.system, self.depth, self.local = System.parse(system), depth, local
        self.name = self.system.name + (f" @{depth}" if depth else "") + (", local mode" if local else "")
        self.family = "Qdrant's local mode" if local else "Qdrant Edge, by the kit"
        self.package, self.module = ("qdrant-client", "qdrant_client") if local else ("qdrant-edge-py", "qdrant_edge")
        self.exact = system == "colbert"
        bases = {name: Variant.parse(name).base for name in self.system.vectors}
        self._from = {name: "dense" if base == "dense" else "colbert" for name, base in bases.items()}
        self.reads = tuple(sorted(set(self._from.values())))

    def prepare(self, dataset: Dataset) -> None:
        self._encoders = load_encoders(self.system.vectors)
        self._doc_ids = dataset.documents["doc_id"].tolist()
        self._number = {doc_id: i for i, doc_id in enumerate(self._doc_ids)}
        self._dense = load_encoder("dense").encode_documents(dataset.passages) if "dense" in self.reads else []

    def build(self, dataset, rows, folder):
        specs = {name: vector_spec(name, encoder) for name, encoder in self._encoders.items()}
        self._index = open_index(":memory:" if self.local else folder / "edge", specs)
        given = {"colbert": rows, "dense": self._dense}
        self._index.stream(
            self._doc_ids,
            (
                {name: self._encoders[name].document_from(given[base][i]) for name, base in self._from.items()}
                for i in range(len(rows))
            ),
        )

    def search(self, query, limit):
        made = {name: self._encoders[name].query_from(query[base]) for name, base in self._from.items()}
        first, rerank = self.system.first, self.system.rerank
        if rerank is None:
            hits = self._index.search(made[first], first, limit)
        else:
            stage = Prefetch(made[first], first, self.depth)
            hits = self._index.search(made[rerank], rerank, min(limit, self.depth), [stage])
        return [(self._number[doc_id], score) for doc_id, score in hits]


class NumPy(Rival):
    """One matrix product over all rows, and the maximum by document."""

    name, family, package, module, exact = "NumPy product", _BRUTE, "numpy", "numpy", True

    def build(self, dataset, rows, folder):
        self._rows = np.concatenate(rows)
        self._starts = np.cumsum([0, *map(len, rows)])[:-1]
        np.save(folder / "rows.npy", self._rows)

    def search(self, query, limit):
        return _best(maxsim_scores(query["colbert"] @ self._rows.T, self._starts), limit)


class MaxsimCpu(Rival):
    """maxsim-cpu: a kernel that scores documents, and no index."""

    name, family, package, module, exact = "maxsim-cpu", _BRUTE, "maxsim-cpu", "maxsim_cpu", True

    def build(self, dataset, rows, folder):
        import maxsim_cpu

        self._scores, self._rows = maxsim_cpu.maxsim_scores_variable, list(rows)
        np.save(folder / "rows.npy", np.concatenate(rows))

    def search(self, query, limit):
        return _best(np.asarray(self._scores(query["colbert"], self._rows)), limit)


class Tachiom(Rival):
    """TACHIOM: centroids by token, a graph over them, product quantization of what is left.

    Source: Martinico and others, Efficient multivector retrieval with token-aware clustering and hierarchical indexing
    (2026), arXiv 2604.28142.
    """

    name, family, package, module = "TACHIOM", "TACHIOM", "tachiom", "tachiom"
    settings = (
        {},
        *({"k_centroids": c, "k_docs_to_score": d} for c in (5, 10, 20) for d in (100, 200)),
        {"k_centroids": 40, "ef_search": 60, "k_docs_to_score": 1000},
    )

    def prepare(self, dataset: Dataset) -> None:
        encoder = load_encoder("colbert")
        numbers: dict[str, int] = {}
        labels = (token.label for text in dataset.passages for token in encoder.tokens(text) if token.row is not None)
        self._tokens = np.array([numbers.setdefault(label, len(numbers)) for label in labels], np.uint32)

    def build(self, dataset, rows, folder):
        from tachiom import Tachiom as Index

        halves = np.concatenate(rows).astype(np.float16).view(np.uint16)  # it takes the bits of float16
        self._index = Index.build_from_arrays(halves, self._tokens, np.array([*map(len, rows)], np.int32))
        self._index.save(str(folder / "index.bin"))

    def search(self, query, limit, **setting):
        scores, documents = self._index.search(np.ascontiguousarray(query["colbert"]), limit, **setting)
        found = np.isfinite(scores)  # it fills up what it did not find
        return list(zip(documents[found].tolist(), scores[found].tolist(), strict=True))


class FastPlaid(Rival):
    """fast-plaid on the processor, which is also the index of PyLate: PLAID's centroids and residuals."""

    name, family, package, module = "fast-plaid", "PLAID", "fast-plaid", "fast_plaid"
    settings = (
        {},
        *({"n_ivf_probe": p, "n_full_scores": n} for p, n in ((2, 256), (4, 256), (4, 1024), (32, 8192))),
    )

    def build(self, dataset, rows, folder):
        import torch
        from fast_plaid.search import FastPlaid as Index

        self._torch = torch
        self._index = Index(index=str(folder / "index"), device="cpu")
        self._index.create(documents_embeddings=[torch.from_numpy(part) for part in rows])

    def search(self, query, limit, **setting):
        rows = self._torch.from_numpy(query["colbert"])[None]
        return self._index.search(rows, top_k=limit, show_progress=False, **setting)[0]


class XtrWarp(Rival):
    """xtr-warp-rs on the processor: WARP's centroids and residuals, missing similarities filled in as in XTR."""

    name, family, package, module = "xtr-warp-rs", "WARP", "xtr-warp-rs", "xtr_warp"
    settings = (
        {},
        *({"nprobe": n, "num_threads": 2} for n in (4, 8, 16, 32, 64)),
        {"nprobe": 64, "bound": 1024, "max_candidates": 20_000, "num_threads": 2},
    )

    def build(self, dataset, rows, folder):
        import torch
        from xtr_warp.search import XTRWarp as Index

        self._torch = torch
        self._index = Index(str(folder / "index"))
        self._index.create([torch.from_numpy(part) for part in rows], device="cpu", show_progress=False)
        self._index.load("cpu")

    def search(self, query, limit, **setting):
        rows = self._torch.from_numpy(query["colbert"])[None]
        return self._index.search(rows, top_k=limit, show_progress=False, **setting)[0]


class Means(Rival):
    """The cosine of a query's mean row with a document's in a graph; the nearest are ranked by MaxSim with NumPy."""

    family = "one vector a document, then MaxSim"
    settings = ({}, {"candidates": 200}, {"candidates": 500}, {"candidates": 1000})

    def build(self, dataset, rows, folder):
        self._rows = rows
        self._make(np.stack([part.mean(axis=0) for part in rows]), folder)
        np.save(folder / "rows.npy", np.concatenate(rows))

    def search(self, query, limit, candidates=100):
        count = min(candidates, len(self._rows))
        documents = np.asarray(self._nearest(query["colbert"].mean(axis=0), count)).tolist()
        scores = np.array([(query["colbert"] @ self._rows[i].T).max(axis=1).sum() for i in documents])
        return [(documents[i], score) for i, score in _best(scores, limit)]

    @abstractmethod
    def _make(self, means: np.ndarray, folder: Path) -> None:
        """Make the graph of (documents, dim), and leave it in the folder."""

    @abstractmethod
    def _nearest(self, mean: np.ndarray, count: int) -> np.ndarray:
        """Return the numbers of so many documents."""


class Voyager(Means):
    """Voyager's graph."""

    name, package, module = "means in Voyager→MaxSim", "voyager", "voyager"

    def _make(self, means, folder):
        from voyager import Index, Space

        self._index = Index(Space.Cosine, means.shape[1])
        self._index.add_items(means)
        self._index.save(str(folder / "index.voy"))

    def _nearest(self, mean, count):
        return self._index.query(mean, count, query_ef=count)[0]


class Hnswlib(Means):
    """hnswlib's graph."""

    name, package, module = "means in hnswlib→MaxSim", "hnswlib", "hnswlib"

    def _make(self, means, folder):
        import hnswlib

        self._index = hnswlib.Index("cosine", means.shape[1])
        self._index.init_index(len(means))
        self._index.add_items(means)
        self._index.save_index(str(folder / "index.bin"))

    def _nearest(self, mean, count):
        self._index.set_ef(count)
        return self._index.knn_query(mean, count)[0][0]


def _best(scores: np.ndarray, limit: int) -> Ranking:
    """Return the places of the largest scores, and these.

    >>> _best(np.array([0.5, 2.0, 1.0]), 2)
    [(1, 2.0), (2, 1.0)]
    """
    order = np.argsort(-scores, kind="stable")[:limit]
    return list(zip(order.tolist(), scores[order].tolist(), strict=True))


# The kit's systems, and the depth of their rerank.
SYSTEMS = (
    ("colbert", 0),
    ("dense+colbert", 100),
    ("colbert-pool3-turbo8", 0),
    ("colbert-pool3-turbo4", 0),
    ("dense-turbo4+colbert-pool3-turbo4", 100),
    ("muvera-turbo4+colbert-pool3-turbo4", 100),
    ("dense-small+colbert-small", 100),
)
# The first is what quality is told against.
RIVALS: tuple[Rival, ...] = (
    NumPy(),
    *(Kit(system, depth) for system, depth in SYSTEMS),
    Kit("colbert", local=True),
    MaxsimCpu(),
    Tachiom(),
    FastPlaid(),
    XtrWarp(),
    Voyager(),
    Hnswlib(),
)
