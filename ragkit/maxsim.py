"""Exact MaxSim and its token alignment, from one computation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragkit.errors import RagkitError, given
from ragkit.html_table import html_table

if TYPE_CHECKING:  # else where it is used: ragkit imports this module at once, and is to be imported quickly
    import numpy as np

_SHOWN = 8  # query rows that a notebook shows, of the largest similarity


@dataclass(frozen=True, eq=False)
class MaxSim:
    """One query against one document.

    similarities: (query rows, document rows) float32, the cosine of every pair of rows;
    best: (query rows,) int, the document row that each query row is aligned with;
    contributions: (query rows,) float32, the similarity of each aligned pair;
    score: their sum, which is what Qdrant returns for COSINE and MAX_SIM.
    """

    similarities: np.ndarray
    best: np.ndarray
    contributions: np.ndarray
    score: float

    def __repr__(self) -> str:
        return f"MaxSim {self.score:.3f}: {self._shape()}"

    def _shape(self) -> str:
        return "{:,} query rows, {:,} document rows".format(*self.similarities.shape)

    def _repr_html_(self) -> str:
        import numpy as np

        shown = np.argsort(-self.contributions, kind="stable")[:_SHOWN]
        rows = [
            {"query row": str(i), "best document row": str(self.best[i]), "similarity": float(self.contributions[i])}
            for i in shown
        ]
        others = np.delete(self.contributions, shown)
        notes = [f"{len(others):,} more query rows add {others.sum():.3f}."] if others.size else []
        return html_table(f"MaxSim {self.score:.3f}", self._shape(), rows, notes)


def maxsim(query: np.ndarray, document: np.ndarray) -> MaxSim:
    """Return the late-interaction score of a document and the alignment that it is the sum of.

    query: (query rows, dim), document: (document rows, dim), any float dtype. Rows are scaled to
    unit length first, as Qdrant does for COSINE; a row of zeros has similarity 0 with every row.
    The first of equal maxima is the aligned one. Raises RagkitError if either is not a matrix
    with at least one row, the widths differ, or a value is not finite.

    Source: Khattab and Zaharia, ColBERT (SIGIR 2020), equation 3.

    >>> maxsim([[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [0.6, 0.8]]).best
    array([1, 0])
    >>> round(maxsim([[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [0.6, 0.8]]).score, 3)
    1.6
    """
    import numpy as np

    query, document = _unit_rows(query, "query"), _unit_rows(document, "document")
    if query.shape[1] != document.shape[1]:
        raise RagkitError(
            f"The query's rows have {query.shape[1]} numbers and the document's {document.shape[1]}: "
            "encode both with the same model."
        )
    similarities = query @ document.T
    best = similarities.argmax(axis=1)
    contributions = similarities[np.arange(len(query)), best]
    return MaxSim(similarities, best, contributions, float(contributions.sum()))


def maxsim_scores(similarities: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the score of every document from one product: (query rows, all documents' rows) to (documents,).

    starts: (documents,) int, where each document's rows begin; a document has at least one. Rows are not scaled here.

    >>> import numpy as np
    >>> maxsim_scores(np.array([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]]), np.array([0, 2])).round(3).tolist()
    [2.0, 1.4]
    """
    import numpy as np

    return np.maximum.reduceat(similarities, starts, axis=1).sum(axis=0)


def _unit_rows(matrix: np.ndarray, name: str) -> np.ndarray:
    import numpy as np

    try:
        numbers = np.asarray(matrix)
    except ValueError:  # rows of different lengths
        numbers = np.array(None)
    if numbers.dtype.kind not in "fiu":
        raise RagkitError(f"The {name} is {given(matrix)}; expected a matrix of numbers, (rows, dim).")
    matrix = numbers.astype(np.float32)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise RagkitError(
            f"The {name} has shape {matrix.shape}; a multivector is a matrix (rows, dim) of at least one row. "
            "A single vector v becomes one with v[None, :]."
        )
    if not np.isfinite(matrix).all():
        raise RagkitError(f"The {name} holds a value that is not finite; check what encoded it.")
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(norms > 0, norms, 1)
