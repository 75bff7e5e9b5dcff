"""Vectors: dense, of several rows or sparse; how an engine keeps each, and what a search by one returns."""

import math
import numbers
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ragkit.boundary import whole_number
from ragkit.errors import RagkitError, given

# A multivector may hold this many floats a point (Qdrant refuses more).
MAX_FLOATS_PER_POINT = 1_048_576
# Numbers of a vector or a row, at most: Qdrant's own limit.
_WIDEST = 65_536
# What no search asks for: a number beyond these is a slip.
_MOST_EDGES, _MOST_CANDIDATES, _MOST_OVERSAMPLING = 10_000, 10_000_000, 1000

# What the engine keeps of a number, in bits; "turbo…" is rotated and rounded, and what was uploaded is gone.
DATATYPES = {"float32": 32, "float16": 16, "turbo16": 16, "turbo8": 8, "turbo4": 4}
# Smaller copies beside what is kept, which a search reads first, in bits a number. Qdrant calls some of them and some
# of the datatypes alike; here a copy says that it is one.
QUANTIZATIONS = {"int8": 8, "binary": 1, "turbo4copy": 4, "turbo2copy": 2, "turbo1.5copy": 1.5, "turbo1copy": 1}


@dataclass(frozen=True)
class Storage:
    """How an engine keeps one named vector, and how it finds the nearest.

    datatype: one of DATATYPES. quantization: one of QUANTIZATIONS, or None; a search finds `oversampling`
    times its limit among the small copies and scores those by what is kept (not, if `rescore` is False).
    hnsw_m: edges of a document in the graph, 0 for none: then a search compares every document.
    hnsw_ef: candidates of a search in the graph. on_disk: what is kept need not stay in memory.

    >>> Storage().exact, Storage(quantization="turbo4copy").exact
    (True, False)
    """

    datatype: str = "float32"
    quantization: str | None = None
    rescore: bool = True
    oversampling: float = 2.0
    hnsw_m: int = 0
    hnsw_ef: int = 128
    on_disk: bool = False

    def __post_init__(self):
        if self.datatype not in tuple(DATATYPES):
            raise RagkitError(f"Unknown datatype {given(self.datatype)}; expected one of {', '.join(DATATYPES)}.")
        if self.quantization is not None and self.quantization not in tuple(QUANTIZATIONS):
            raise RagkitError(
                f"Unknown quantization {given(self.quantization)}; expected one of {', '.join(QUANTIZATIONS)}."
            )
        whole_number("hnsw_m", self.hnsw_m, 0, _MOST_EDGES)
        whole_number("hnsw_ef", self.hnsw_ef, 1, _MOST_CANDIDATES)
        if not (isinstance(self.oversampling, numbers.Real) and 1 <= self.oversampling <= _MOST_OVERSAMPLING):
            raise RagkitError(
                f"oversampling is {given(self.oversampling)}; expected a number from 1 to {_MOST_OVERSAMPLING}."
            )

    @property
    def exact(self) -> bool:
        """Whether a search compares the query with every document by what is kept."""
        return self.quantization is None and self.hnsw_m == 0

    @property
    def by_chance(self) -> bool:
        """Whether a ranking hangs on the build: a turbo copy is rotated at random, and nothing rescores it.

        >>> Storage(quantization="turbo4copy", rescore=False).by_chance, Storage("turbo4").by_chance
        (True, False)
        """
        return (self.quantization or "").startswith("turbo") and not self.rescore

    def bytes_per_row(self, dim: int) -> int:
        """Return the bytes that a search reads of one row of `dim` numbers: of its small copy if there is one.

        Turbo keeps the length of a row beside it (4 bytes, in a copy 8), int8 an offset (4 bytes) and fills a row up
        to a multiple of 16 numbers, binary to one of 128.

        >>> [Storage(quantization=name).bytes_per_row(128) for name in (None, "int8", "turbo4copy", "binary")]
        [512, 132, 72, 16]
        """
        name = self.quantization or self.datatype
        bits = (QUANTIZATIONS | DATATYPES)[name]
        multiple = {"int8": 16, "binary": 128}.get(name, 1)
        filled = -(-dim // multiple) * multiple
        beside = 8 if name.endswith("copy") else 4 if name.startswith(("turbo", "int8")) else 0
        return math.ceil(filled * bits / 8) + beside


@dataclass(frozen=True)
class VectorSpec:
    """What one named vector of an index is: its width, whether it is a multivector or sparse (width 0), its storage.

    modifier: whether the engine multiplies IDF into a sparse query's weights as it counts it (Qdrant's modifier);
    otherwise the kit does, by the documents of the whole index.
    """

    dim: int
    multivector: bool = False
    sparse: bool = False
    storage: Storage = field(default=Storage())
    modifier: bool = False

    def __post_init__(self):
        whole_number("dim", self.dim, 0 if self.sparse else 1, _WIDEST)

    @property
    def shape(self) -> str:
        """Return in words what the vector of one document looks like.

        >>> VectorSpec(384).shape, VectorSpec(128, multivector=True).shape
        ('(384,)', '(rows, 128)')
        """
        return "sparse" if self.sparse else f"(rows, {self.dim})" if self.multivector else f"({self.dim},)"


@dataclass(frozen=True)
class Sparse:
    """A sparse vector: uint32 indices, each once, and their float32 values."""

    indices: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, vector: Any) -> "Sparse":
        """Return the sparse vector of an engine's or a client's object with `indices` and `values`."""
        return cls(np.array(vector.indices, np.uint32), np.array(vector.values, np.float32))

    @property
    def size(self) -> int:
        return self.values.size

    @property
    def nbytes(self) -> int:
        return self.indices.nbytes + self.values.nbytes


Vector = np.ndarray | Sparse

# What a search returns: doc_id and score, best first.
Hits = list[tuple[str, float]]
