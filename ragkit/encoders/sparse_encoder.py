"""What every encoder of sparse vectors does alike: encode anew each time, since words are soon counted."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal

from ragkit.boundary import public
from ragkit.encoders.cached_encoder import TextEncoder
from ragkit.vectors import Sparse


class SparseEncoder(TextEncoder):
    """Texts to sparse vectors, without a cache; the index multiplies the IDF of its documents into a query's.

    name: the model's.
    """

    name: str
    dim = 0
    multivector = False
    sparse: Literal[True] = True
    source = None

    @property
    @abstractmethod
    def depends_on_others(self) -> bool:
        """Whether a document's vector depends on the others that are encoded with it."""

    @abstractmethod
    def encode_documents(self, texts: Sequence[str]) -> list[Sparse]:
        """Return a Sparse for each text."""

    @abstractmethod
    def encode_queries(self, texts: Sequence[str]) -> list[Sparse]:
        """Return a Sparse for each query."""

    @public("The query cannot be encoded")
    def encode_query(self, text: str) -> Sparse:
        """Return one query's vector; there is no cache, so it is made anew."""
        return self.encode_queries([text])[0]

    def prepare(self, texts: Sequence[str]) -> None:
        """Do nothing: there is no cache to fill."""

    def stream(self, texts: Sequence[str]) -> Iterator[Sparse]:
        """Yield what `encode_documents` returns, in order."""
        yield from self.encode_documents(texts)
