"""BM25 as sparse vectors: Qdrant's own tokenizer and weights, which Edge ships."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import qdrant_edge as qe

from ragkit.boundary import public
from ragkit.encoders.cached_encoder import checked
from ragkit.encoders.sparse_encoder import SparseEncoder
from ragkit.vectors import Sparse

K, B = 1.2, 0.75


class Bm25Encoder(SparseEncoder):
    """BM25's document and query weights; the index multiplies in the IDF of its documents.

    Words are lower-cased, stemmed (Snowball, English) and stripped of stop words. The mean length of a
    document is that of the dataset at hand, so every dataset is encoded anew; that takes seconds.

    k, b: saturation and length normalisation; mean_length: words of a mean document, None for the
    dataset's own (Qdrant assumes 256 unless told).

    Source: Robertson and Zaragoza, The probabilistic relevance framework: BM25 and beyond (2009).

    >>> len(Bm25Encoder().encode_documents(["Foxes are running, foxes!"])[0].indices)
    2
    """

    name = "Qdrant/bm25"

    @public("The encoder cannot be made")
    def __init__(self, k: float = K, b: float = B, mean_length: float | None = None):
        self.k, self.b, self.mean_length = k, b, mean_length

    def __repr__(self) -> str:
        """Say which encoder this is, and what it was told.

        >>> Bm25Encoder(mean_length=20)
        <Bm25Encoder Qdrant/bm25: sparse, k 1.2, b 0.75, mean length 20>
        """
        length = "of the documents" if self.mean_length is None else self.mean_length
        return f"<Bm25Encoder {self.name}: sparse, k {self.k}, b {self.b}, mean length {length}>"

    @property
    def depends_on_others(self) -> bool:
        """Whether a document's vector depends on the others: by their mean length, unless one was told.

        >>> Bm25Encoder().depends_on_others, Bm25Encoder(mean_length=20).depends_on_others
        (True, False)
        """
        return not self.mean_length

    @property
    def checksums(self) -> dict[str, str]:
        return {}

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over what decides the vectors: Qdrant Edge's version and the parameters."""
        return hashlib.sha256(
            f"{self.name} {self.k} {self.b} {self.mean_length} {version('qdrant-edge-py')}".encode()
        ).hexdigest()

    @public("The documents cannot be encoded")
    def encode_documents(self, texts: Sequence[str]) -> list[Sparse]:
        """Return a Sparse for each text: the saturated term frequency of each of its words."""
        texts = checked(texts)
        mean = self.mean_length or self._mean_length(texts)
        model = qe.Bm25(qe.Bm25Config(k=self.k, b=self.b, avg_len=mean))
        return [Sparse.of(model.embed_document(text)) for text in texts]

    def _mean_length(self, texts: Sequence[str]) -> float:
        # Without length normalisation a weight tells its term frequency, and so a text's length.
        counts = qe.Bm25(qe.Bm25Config(k=K, b=0.0, avg_len=1.0))
        lengths = [sum(w * K / (K + 1 - w) for w in counts.embed_document(text).values) for text in texts]
        return float(np.mean(lengths)) if any(lengths) else 1.0

    @public("The queries cannot be encoded")
    def encode_queries(self, texts: Sequence[str]) -> list[Sparse]:
        """Return a Sparse for each query: 1 for each of its words."""
        model = qe.Bm25(qe.Bm25Config(k=self.k, b=self.b))
        return [Sparse.of(model.embed_query(text)) for text in checked(texts)]
