"""Names of vectors, such as colbert-pool2-turbo4: what reads and encodes for them, how an engine keeps them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ragkit.boundary import public
from ragkit.encoders.bm25 import Bm25Encoder
from ragkit.encoders.cached_encoder import CachedEncoder
from ragkit.encoders.encoder import ModelReader, load_encoder
from ragkit.encoders.muvera import MuveraEncoder
from ragkit.encoders.sparse_encoder import SparseEncoder
from ragkit.encoders.token_pooling import TokenPooledEncoder
from ragkit.errors import RagkitError
from ragkit.vectors import DATATYPES, QUANTIZATIONS, Storage, VectorSpec

AnyEncoder = CachedEncoder | SparseEncoder
BASES = ("dense", "colbert", "tokens", "muvera", "bm25")
_MULTIVECTORS = ("colbert", "tokens")
_POOLS = tuple(f"pool{factor}" for factor in range(2, 10))
# All that may stand after a base.
WORDS = (*_POOLS, *DATATYPES, *QUANTIZATIONS, "raw", "hnsw", "disk", "small", "modifier")
_READ_BY = {"muvera": "colbert"}  # vectors made from another model's rows
# What "small" stands for: docs/scale.md has the choice, and both datasets that it was measured on.
_SMALL_POOL, _SMALL_DATATYPE = 4, "turbo4"
# Edges of a document in a graph that is asked for by "hnsw"; Qdrant's own default.
_HNSW_M = 16


@dataclass(frozen=True)
class Variant:
    """What a name of vectors stands for: one of BASES, pooled by a factor, kept in a Storage.

    modifier: whether the engine counts the IDF of bm25, a shard at a time, and not the kit.

    >>> variant = Variant.parse("colbert-pool2-turbo4")
    >>> variant.base, variant.pool, variant.storage.datatype
    ('colbert', 2, 'turbo4')
    """

    base: str
    pool: int = 1
    storage: Storage = Storage()
    modifier: bool = False

    @classmethod
    @public("The vectors cannot be told")
    def parse(cls, name: str) -> "Variant":
        """Return the variant of a name: a base, then any of pool2…pool9, a datatype, a quantization, raw, hnsw, disk.

        "raw" scores by the small copies alone; "hnsw" searches a graph; "disk" need not keep vectors in memory; "small"
        is pool4-turbo4, and turbo4 where there is one row; "bm25-modifier" has its IDF by Qdrant's modifier.
        Raises RagkitError for what cannot be: another word, two of a kind, rows to pool where there is one row.
        """
        base, *words = name.split("-")
        variant = cls(base)
        for word in words:
            variant = variant._with(word, name)
        storage = variant.storage
        multivector = base in _MULTIVECTORS
        kinds = (("small", *DATATYPES), ("small", *QUANTIZATIONS), ("small", *_POOLS))
        wrong = None
        if base not in BASES:
            wrong = f"there are no vectors {base!r}; expected one of {', '.join(BASES)}"
        elif len(set(words)) < len(words):
            wrong = "a word is there twice"
        elif any(sum(word in kind for word in words) > 1 for kind in kinds):
            wrong = "it has two datatypes, two quantizations or two poolings (small says all three)"
        elif variant.pool > 1 and not multivector:
            wrong = f"{base} has one row a document, so there is nothing to pool"
        elif storage.hnsw_m and multivector:
            wrong = "a graph over multivectors costs tokens² comparisons an insertion; take muvera-hnsw first"
        elif variant.modifier and base != "bm25":
            wrong = f"{base} has no IDF to modify; bm25-modifier has"
        elif words and base == "bm25" and words != ["modifier"]:
            wrong = "bm25 is kept in one way only"
        elif not storage.rescore and storage.quantization is None:
            wrong = "raw needs a quantization"
        elif storage.quantization and storage.datatype.startswith("turbo"):
            wrong = f"{storage.datatype} is rounded already, and cannot be quantized again"
        if wrong:
            raise RagkitError(f"{name!r} is no name of vectors: {wrong}.")
        return variant

    def _with(self, word: str, name: str) -> "Variant":
        storage = self.storage
        if word in _POOLS:
            return replace(self, pool=int(word.removeprefix("pool")))
        if word in DATATYPES:
            storage = replace(storage, datatype=word)
        elif word == "small":
            pool = _SMALL_POOL if self.base in _MULTIVECTORS else 1
            return replace(self, pool=pool, storage=replace(storage, datatype=_SMALL_DATATYPE))
        elif word in QUANTIZATIONS:
            storage = replace(storage, quantization=word)
        elif word == "raw":
            storage = replace(storage, rescore=False)
        elif word == "hnsw":
            storage = replace(storage, hnsw_m=_HNSW_M)
        elif word == "modifier":
            return replace(self, modifier=True)
        elif word == "disk":
            storage = replace(storage, on_disk=True)
        else:
            raise RagkitError(f"{name!r} is no name of vectors: {word!r} is none of {', '.join(WORDS)}.")
        return replace(self, storage=storage)


@public("The models cannot be loaded")
def load_encoders(names: Sequence[str]) -> dict[str, AnyEncoder]:
    """Return the encoder behind each name of vectors; a model that several need is loaded once.

    Raises RagkitError as Variant.parse and load_encoder do.

    >>> load_encoders(["colbert-pool2-turbo4"])["colbert-pool2-turbo4"].name
    'ragkit/colbert-minilm-l6 pool2'
    """
    loaded: dict[str, CachedEncoder] = {}

    def model(base: str) -> CachedEncoder:
        if base not in loaded:
            loaded[base] = load_encoder(base)
        return loaded[base]

    encoders: dict[str, AnyEncoder] = {}
    for name in names:
        variant = Variant.parse(name)
        if variant.base == "bm25":
            encoders[name] = Bm25Encoder()
        elif variant.base == "muvera":
            encoders[name] = MuveraEncoder(model("colbert"))
        elif variant.pool > 1:
            encoders[name] = TokenPooledEncoder(model(variant.base), variant.pool)
        else:
            encoders[name] = model(variant.base)
    return encoders


def vector_spec(name: str, encoder: AnyEncoder) -> VectorSpec:
    """Return the spec of the vectors of that name, made by that encoder.

    >>> vector_spec("bm25", Bm25Encoder()).sparse
    True
    """
    variant = Variant.parse(name)
    return VectorSpec(encoder.dim, encoder.multivector, encoder.sparse, variant.storage, variant.modifier)


def load_readers(vectors: Sequence[str]) -> dict[str, ModelReader]:
    """Return the reader of the model behind each name of vectors, by "dense", "colbert" or "tokens".

    What has no model (bm25), or a model without a tokenizer, has no reader.

    Raises RagkitError as Variant.parse and load_encoder do.

    >>> list(load_readers(["dense", "bm25", "colbert-pool2", "muvera"]))
    ['dense', 'colbert']
    """
    bases = (Variant.parse(name).base for name in vectors)
    models = dict.fromkeys(_READ_BY.get(base, base) for base in bases if base != "bm25")
    encoders = {name: load_encoder(name) for name in models}
    return {name: ModelReader(encoder) for name, encoder in encoders.items() if encoder.tokenizer is not None}
