"""A query to a ranking: encoded, searched, reranked by vectors or by something else, each query's time taken."""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from fastembed.rerank.cross_encoder import TextCrossEncoder

from ragkit.boundary import public, whole_number
from ragkit.encoders.models import load_model
from ragkit.encoders.variants import AnyEncoder
from ragkit.engines.index import Fusion, Index, Prefetch
from ragkit.errors import RagkitError, given
from ragkit.evaluation.systems import HYBRIDS, RESCORERS, Run, System
from ragkit.progress import progress
from ragkit.vectors import Hits, Vector

# Queries answered before the clock counts, so that caches and lazily loaded parts are warm.
WARM_UP = 5
# Queries whose encoding is timed.
ENCODED = 50

Rescore = Callable[[str, str, Hits], Hits]

CROSS_ENCODER = "Xenova/ms-marco-MiniLM-L-6-v2"


class Retriever:
    """Answers queries with one system over one index.

    depth: how many candidates are reranked; a hybrid shares them between its sides (System.of_each_side). limit:
    how many documents a query gets at most, the first of a ranking that is the same for every limit; a rerank
    cannot return more than its depth, and a hybrid no more than its candidates. rescore: for an oracle or a
    cross-encoder, called with a query's id, its text and the candidates. passage_of: the document of each passage,
    where the index holds passages: then limit counts documents, depth and candidates are passages, and a document's
    score is that of its best passage.
    """

    @public("The queries cannot be answered", kinds=False)
    def __init__(
        self,
        index: Index,
        encoders: Mapping[str, AnyEncoder],
        system: System,
        depth: int = 100,
        limit: int = 100,
        rescore: Rescore | None = None,
        passage_of: Mapping[str, str] | None = None,
    ):
        for name, argument, kind in (("encoders", encoders, Mapping), ("system", system, System)):
            if not isinstance(argument, kind):  # an index may be anything that searches
                raise RagkitError(f"{name} is {given(argument)}; expected a {kind.__name__}.")
        for name, value in (("depth", depth), ("limit", limit), ("per_side", system.per_side)):
            whole_number(name, value)
        missing = [name for name in system.vectors if name not in encoders]
        if missing:
            raise RagkitError(f"{system.name} needs an encoder for {', '.join(missing)}.")
        if (system.rerank in RESCORERS) != (rescore is not None):
            raise RagkitError(
                f"{system.name}: `rescore` goes with a rerank by {' or '.join(RESCORERS)}, and only there."
            )
        self.index, self.encoders, self.system = index, encoders, system
        self.depth, self.limit, self.rescore, self.passage_of = depth, limit, rescore, passage_of
        self._documents = len(set(passage_of.values())) if passage_of else 0  # counted here, in no query's time

    def __repr__(self) -> str:
        depth = "" if self.system.rerank is None else f", depth {self.depth}"
        return f"<Retriever of {self.system.name}{depth}, limit {self.limit}, over {self.index!r}>"

    @public("The query cannot be answered")
    def search(self, text: str) -> Hits:
        """Return (doc_id, score) for one query text, best first. Raises RagkitError for a text that is empty."""
        return self._whole(self.search_passages(text))

    @public("The query cannot be answered")
    def search_passages(self, text: str) -> Hits:
        """Return what `search` does, with a document's best passage in the document's place, where there are passages.

        Raises RagkitError for a text that is empty.
        """
        if not text.strip():
            raise RagkitError(f"The query is {text!r}; expected words to search for.")
        return self._best("", text, *self._encode([text]))

    @public("The query cannot be answered", kinds=False)
    def answer(self, vectors: dict[str, Vector]) -> Hits:
        """Return (doc_id, score) for one query that is encoded already, by name of vectors, best first."""
        return self._search("", "", vectors)

    @public("The queries cannot be answered")
    def run(self, queries: pd.DataFrame) -> Run:
        """Return the run over `queries` (query_id, text): encoded first, then searched one by one.

        The first WARM_UP queries are searched once before the clock counts; what a server had to be asked again is
        timed by its last sending.
        """
        work = list(zip(queries["query_id"], queries["text"], self._encode(queries["text"].tolist()), strict=True))
        rows, ms, sent_again = [], {}, Counter[str]()
        with progress(len(work), f"{self.system.name}: searching", "query") as bar:
            for item in work[:WARM_UP]:
                self._search(*item)
            for query_id, text, vectors in work:
                lost, again = self.index.lost_s, self.index.again.copy()
                start = time.perf_counter()
                hits = self._search(query_id, text, vectors)
                ms[query_id] = 1000 * (time.perf_counter() - start - (self.index.lost_s - lost))
                sent_again.update((self.index.again - again).keys())
                rows += [(query_id, doc_id, score, rank) for rank, (doc_id, score) in enumerate(hits, 1)]
                bar.update()
        results = pd.DataFrame(rows, columns=["query_id", "doc_id", "score", "rank"])
        return Run(self.system.name, results, pd.Series(ms, name="ms", dtype=float), sent_again=sent_again)

    @public("The queries cannot be answered")
    def encoding_ms(self, queries: pd.DataFrame) -> pd.Series:
        """Return the milliseconds that the models take for a query, one at a time, by query_id.

        queries: query_id, text, of which at most ENCODED are timed, spread evenly. The cache is not used; a model that
        several of the system's vectors come from reads a query once. The first WARM_UP are encoded once before.
        """
        sample = queries.iloc[:: -(-len(queries) // ENCODED)] if len(queries) else queries
        for text in sample["text"].iloc[:WARM_UP]:
            self._encode_anew(text)
        ms = {}
        for query_id, text in zip(sample["query_id"], sample["text"], strict=True):
            start = time.perf_counter()
            self._encode_anew(text)
            ms[query_id] = 1000 * (time.perf_counter() - start)
        return pd.Series(ms, name="encoding_ms", dtype=float)

    def _encode_anew(self, text: str) -> dict[str, Vector]:
        read: dict[AnyEncoder, Any] = {}
        found: dict[str, Vector] = {}
        for name in self.system.vectors:
            encoder = self.encoders[name]
            model = encoder.source or encoder
            if model not in read:
                read[model] = model.encode_query(text)
            found[name] = encoder.query_from(read[model]) if encoder.source else read[model]
        return found

    def _encode(self, texts: list[str]) -> list[dict[str, Vector]]:
        columns = {name: self.encoders[name].encode_queries(texts) for name in self.system.vectors}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _search(self, query_id: str, text: str, vectors: dict[str, Vector]) -> Hits:
        return self._whole(self._best(query_id, text, vectors))

    def _whole(self, hits: Hits) -> Hits:
        """Return the documents of rows."""
        return hits if not self.passage_of else [(self.passage_of[row], score) for row, score in hits]

    def _best(self, query_id: str, text: str, vectors: dict[str, Vector]) -> Hits:
        """Return the best row of each document, of as many documents as the limit says."""
        if not self.passage_of:
            return self._hits(query_id, text, vectors, self.limit)
        asked = -(-self.limit * len(self.passage_of) // self._documents)  # what so many documents have on average
        while True:  # until there are enough documents, however many passages of each come first
            passages = self._hits(query_id, text, vectors, asked)
            best = best_passages(passages, self.passage_of)
            if len(best) >= min(self.limit, self._documents) or len(passages) < asked:
                return best[: self.limit]
            asked *= 2

    def _hits(self, query_id: str, text: str, vectors: dict[str, Vector], limit: int) -> Hits:
        first, rerank = self.system.first, self.system.rerank
        if rerank is None:
            if first in HYBRIDS:
                return self.index.fuse(Fusion(tuple(self._first_stages(vectors)), HYBRIDS[first]), limit)
            (name,) = self.system.first_vectors
            return self.index.search(vectors[name], name, limit)
        limit = min(limit, self.depth)
        if self.rescore is None:
            per_shard = self.system.shard_depth is not None
            using = self.system.vectors[-1]
            return self.index.search(vectors[using], using, limit, self._first_stages(vectors), per_shard)
        found = [self.index.search(stage.vector, stage.using, stage.depth) for stage in self._first_stages(vectors)]
        candidates = list(dict(hit for hits in found for hit in hits).items())
        return sorted(self.rescore(query_id, text, candidates), key=lambda hit: (-hit[1], hit[0]))[:limit]

    def _first_stages(self, vectors: dict[str, Vector]) -> list[Prefetch]:
        hybrid = self.system.first in HYBRIDS
        depth = self.system.of_each_side(self.depth) if hybrid else self.depth
        return [Prefetch(vectors[name], name, depth) for name in self.system.first_vectors]


def best_passages(hits: Hits, passage_of: Mapping[str, str]) -> Hits:
    """Return the best passage of each document, by whose score it counts: best first, ties by the document's id.

    Source: Dai and Callan, Deeper text understanding for IR with contextual neural language modeling (SIGIR 2019).

    >>> best_passages([("b#2", 0.9), ("a", 0.8), ("b#1", 0.7)], {"a": "a", "b#1": "b", "b#2": "b"})
    [('b#2', 0.9), ('a', 0.8)]
    """
    best: dict[str, tuple[str, float]] = {}
    for passage, score in hits:
        document = passage_of[passage]
        if document not in best or score > best[document][1]:
            best[document] = passage, score
    return [best[document] for document in sorted(best, key=lambda document: (-best[document][1], document))]


def oracle(qrels: pd.DataFrame) -> Rescore:
    """Return the rerank that knows the judgments: the ceiling of any reranker of the same candidates.

    >>> best = oracle(pd.DataFrame({"query_id": ["q"], "doc_id": ["b"], "relevance": [2]}))
    >>> best("q", "", [("a", 0.9), ("b", 0.1)])
    [('a', 0.0), ('b', 2.0)]
    """
    grades = {(row.query_id, row.doc_id): float(row.relevance) for row in qrels.itertuples()}
    return lambda query_id, _, hits: [(doc_id, grades.get((query_id, doc_id), 0.0)) for doc_id, _ in hits]


def cross_encoder(passages: Mapping[str, str]) -> Rescore:
    """Return a rerank by FastEmbed's cross-encoder, which reads query and document together.

    passages: text by doc_id. The model is `RAGKIT_CROSS_ENCODER_MODEL`, by default CROSS_ENCODER, and is
    downloaded from its hub on first use. Raises RagkitError if it cannot be loaded.
    """
    name = os.environ.get("RAGKIT_CROSS_ENCODER_MODEL") or CROSS_ENCODER
    advice = "No cross-encoder is embedded: connect once to its hub, or leave it out."
    model = load_model(TextCrossEncoder, name, advice)

    def rescore(query_id: str, text: str, hits: Hits) -> Hits:
        scores = model.rerank(text, [passages[doc_id] for doc_id, _ in hits])
        return [(doc_id, float(score)) for (doc_id, _), score in zip(hits, scores, strict=True)]

    return rescore
