"""Token pooling: a document's multivector with fewer rows."""

import hashlib
from collections.abc import Iterator

import numpy as np
import scipy
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from ragkit.boundary import public
from ragkit.encoders._threads import one_thread
from ragkit.encoders.cached_encoder import CachedEncoder, Role
from ragkit.errors import RagkitError

# Documents that are pooled, and stored in the cache, at a time.
_BATCH = 64


def pool_tokens(rows: np.ndarray, factor: int) -> np.ndarray:
    """Return a multivector of about a `factor`-th of the rows: the means of rows that are alike.

    rows: (rows, dim), any float dtype; the result: (1 + ceil((rows - 1) / factor), dim) float32, or fewer rows where
    several are equally far from each other. The first row, [CLS], is kept; the others are grouped by Ward's method
    over their directions. The means are not scaled: Qdrant does that for COSINE. Raises RagkitError for a factor
    below 1.

    Source: Clavié, Chaffin and Adams, Reducing the footprint of multi-vector retrieval with minimal performance
    impact via token pooling (2024), arXiv 2409.14683.

    >>> pool_tokens(np.array([[1, 1], [1, 0], [0, 1], [1, 0]]), 2).tolist()
    [[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    if factor < 1:
        raise RagkitError(f"The pooling factor is {factor}; expected 1 (no pooling) or more.")
    rows = np.asarray(rows, np.float32)
    others = rows[1:]
    if -(-len(others) // factor) == len(others):
        return rows
    norms = np.linalg.norm(others, axis=1, keepdims=True)
    units = others / np.where(norms > 0, norms, 1)
    with one_thread():
        labels = grouped(units, factor)
        members = labels[None, :] == np.arange(labels.max() + 1)[:, None]
        means = members.astype(np.float64) @ units / members.sum(axis=1, keepdims=True)
    return np.concatenate([rows[:1], means.astype(np.float32)])


def grouped(units: np.ndarray, factor: float) -> np.ndarray:
    """Return the group of each row, from 0: about a `factor`-th as many groups as rows, by Ward's method.

    units: (rows, dim), each of length 1 (or 0).

    >>> grouped(np.array([[1, 0], [0, 1], [1, 0]]), 2).tolist()
    [0, 1, 0]
    """
    units = np.asarray(units, np.float64)
    if len(units) == 1:
        return np.zeros(1, int)
    # Distances follow from one matrix product, which takes half the time of comparing rows pair by pair.
    products = units @ units.T
    squares = np.diagonal(products)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * products, 0))
    tree = linkage(squareform(distances, checks=False), "ward")
    return fcluster(tree, int(np.ceil(len(units) / factor)), "maxclust") - 1


class TokenPooledEncoder(CachedEncoder):
    """A late-interaction encoder whose documents are pooled; queries are as they were.

    encoder: the late-interaction encoder; factor: see pool_tokens. Raises RagkitError for a dense encoder.
    """

    multivector = True
    source: CachedEncoder

    @public("The encoder cannot be made")
    def __init__(self, encoder: CachedEncoder, factor: int):
        if not encoder.multivector:
            raise RagkitError(f"{encoder.name} has one vector a text: there are no rows to pool.")
        self.source: CachedEncoder = encoder
        self.factor = factor
        self.name, self.dim, self.cache = f"{encoder.name} pool{factor}", encoder.dim, encoder.cache

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the encoder's fingerprint, the factor, and SciPy's version."""
        return hashlib.sha256(f"{self.source.fingerprint} {self.factor} {scipy.__version__}".encode()).hexdigest()

    @property
    def checksums(self) -> dict[str, str]:
        return self.source.checksums

    def encode_queries(self, texts):
        return self.source.encode_queries(texts)

    def encode_query(self, text):
        return self.source.encode_query(text)

    def document_from(self, array):
        return pool_tokens(array, self.factor)

    def file_name(self, role):
        return super().file_name(role) if role == "document" else self.source.file_name(role)

    def share(self, folder, texts, role):
        return super().share(folder, texts, role) if role == "document" else self.source.share(folder, texts, role)

    def token_counts(self, texts):
        """Return at most how many rows each text has."""
        return [1 + -(-(count - 1) // self.factor) for count in self.source.token_counts(texts)]

    def _compute(self, texts: list[str], role: Role) -> Iterator[tuple[list[str], list[np.ndarray]]]:
        self.source.prepare(texts)  # all at once, so that batches are of equal length
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            yield batch, [self.document_from(rows) for rows in self.source.encode_documents(batch)]
