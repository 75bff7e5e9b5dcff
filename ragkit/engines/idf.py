"""In how many documents each word is, and what a query's words weigh by that: the same in every engine."""

from collections import Counter

import numpy as np

from ragkit.vectors import Sparse


class DocumentFrequencies:
    """Counts of the documents that hold each index of a sparse vector, and of those that hold any.

    Qdrant's modifier counts a shard, with what was deleted there and is not yet gone; these count the documents.

    >>> two = Sparse(np.array([7, 9], np.uint32), np.ones(2, np.float32))
    >>> frequencies = DocumentFrequencies()
    >>> frequencies.count(two)
    >>> [round(weight, 3) for weight in frequencies.weighted(two).values.tolist()]
    [0.288, 0.288]
    """

    def __init__(self):
        self.documents = 0
        self.holding: Counter[int] = Counter()

    def count(self, document: Sparse) -> None:
        """Count a document; one without any word is none, as for Qdrant."""
        if document.size:
            self.documents += 1
            self.holding.update(document.indices.tolist())

    def weighted(self, query: Sparse) -> Sparse:
        """Return the query with each value times ln(1 + (n − df + 0.5) / (df + 0.5)), in float32 as Qdrant reckons."""
        holding = np.array([self.holding[index] for index in query.indices.tolist()], np.float32)
        half, one = np.float32(0.5), np.float32(1)
        idf = np.log((np.float32(self.documents) - holding + half) / (holding + half) + one)
        return Sparse(query.indices, (query.values * idf).astype(np.float32))
