"""Reranks by something else than vectors: the judgments themselves, or a cross-encoder."""

import os
from collections.abc import Callable, Mapping

import pandas as pd
from fastembed.rerank.cross_encoder import TextCrossEncoder

from ragkit.errors import RagkitError
from ragkit.vectors import Hits

CROSS_ENCODER = "Xenova/ms-marco-MiniLM-L-6-v2"


def oracle(qrels: pd.DataFrame) -> Callable[[str, str, Hits], Hits]:
    """Return the rerank that knows the judgments: the ceiling of any reranker of the same candidates.

    >>> best = oracle(pd.DataFrame({"query_id": ["q"], "doc_id": ["b"], "relevance": [2]}))
    >>> best("q", "", [("a", 0.9), ("b", 0.1)])
    [('a', 0.0), ('b', 2.0)]
    """
    grades = {(row.query_id, row.doc_id): float(row.relevance) for row in qrels.itertuples()}
    return lambda query_id, _, hits: [(doc_id, grades.get((query_id, doc_id), 0.0)) for doc_id, _ in hits]


def cross_encoder(passages: Mapping[str, str]) -> Callable[[str, str, Hits], Hits]:
    """Return a rerank by FastEmbed's cross-encoder, which reads query and document together.

    passages: text by doc_id. The model is `RAGKIT_CROSS_ENCODER_MODEL`, by default CROSS_ENCODER, and is
    downloaded from its hub on first use. Raises RagkitError if it cannot be loaded.
    """
    name = os.environ.get("RAGKIT_CROSS_ENCODER_MODEL") or CROSS_ENCODER
    try:
        model = TextCrossEncoder(name)
    except Exception as error:
        raise RagkitError(
            f"The cross-encoder {name} could not be loaded ({type(error).__name__}). No cross-encoder is embedded: "
            "connect once to its hub, or leave it out."
        ) from None

    def rescore(query_id: str, text: str, hits: Hits) -> Hits:
        scores = model.rerank(text, [passages[doc_id] for doc_id, _ in hits])
        return [(doc_id, float(score)) for (doc_id, _), score in zip(hits, scores, strict=True)]

    return rescore
