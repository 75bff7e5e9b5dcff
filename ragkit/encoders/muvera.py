"""MUVERA: a multivector as one long vector whose product approximates MaxSim, by FastEmbed's post-processor."""

import functools
import hashlib
from collections.abc import Iterator
from importlib.metadata import version

import numpy as np
from fastembed.postprocess import Muvera

from ragkit.encoders.cached_encoder import CachedEncoder, Role
from ragkit.errors import RagkitError

# 2**K_SIM buckets of PROJECTED numbers, REPETITIONS times: 10,240 numbers a document.
K_SIM, PROJECTED, REPETITIONS = 4, 16, 40
_BATCH = 64


class MuveraEncoder(CachedEncoder):
    """Fixed-dimensional encodings of a late-interaction encoder's multivectors.

    encoder: the late-interaction encoder; k_sim, dim_proj, r_reps: as in FastEmbed's Muvera, and the vector has
    2**k_sim × dim_proj × r_reps numbers. Raises RagkitError for a dense encoder.

    Source: Dhulipala and others, MUVERA: multi-vector retrieval via fixed dimensional encodings (2024),
    arXiv 2405.19504.
    """

    multivector = False
    source: CachedEncoder

    def __init__(
        self, encoder: CachedEncoder, k_sim: int = K_SIM, dim_proj: int = PROJECTED, r_reps: int = REPETITIONS
    ):
        if not encoder.multivector:
            raise RagkitError(f"{encoder.name} has one vector a text; MUVERA makes one of several rows.")
        self.source: CachedEncoder = encoder
        self.settings = {"k_sim": k_sim, "dim_proj": dim_proj, "r_reps": r_reps}
        self.name, self.cache = f"{encoder.name} muvera", encoder.cache
        self.dim = 2**k_sim * dim_proj * r_reps

    @functools.cached_property
    def _muvera(self) -> Muvera:
        return Muvera(self.source.dim, **self.settings)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the encoder's fingerprint, the settings, and FastEmbed's version."""
        decided_by = f"{self.source.fingerprint} {self.settings} {version('fastembed')}"
        return hashlib.sha256(decided_by.encode()).hexdigest()

    @property
    def checksums(self) -> dict[str, str]:
        return self.source.checksums

    def token_counts(self, texts):
        return self.source.token_counts(texts)

    def encode_query(self, text):
        return self.query_from(self.source.encode_query(text))

    def query_from(self, array):
        return self._muvera.process_query(array)

    def _compute(self, texts: list[str], role: Role) -> Iterator[tuple[list[str], list[np.ndarray]]]:
        if role == "document":
            self.source.prepare(texts)  # all at once, so that batches are of equal length
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            if role == "document":
                yield batch, [self._muvera.process_document(rows) for rows in self.source.encode_documents(batch)]
            else:
                yield batch, [self._muvera.process_query(rows) for rows in self.source.encode_queries(batch)]
