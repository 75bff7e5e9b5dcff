"""MUVERA: a multivector as one long vector whose product approximates MaxSim, with FastEmbed's own numbers."""

import functools
import hashlib
from collections.abc import Iterator
from importlib.metadata import version

import numpy as np
from fastembed.postprocess import Muvera

from ragkit.boundary import public
from ragkit.encoders._threads import one_thread
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

    @public("The encoder cannot be made")
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
    def _muvera(self) -> "Regions":
        return Regions(Muvera(self.source.dim, **self.settings))

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
        with one_thread():
            return self._muvera.query(array)

    def document_from(self, array):
        with one_thread():
            return self._muvera.document(array)

    def _compute(self, texts: list[str], role: Role) -> Iterator[tuple[list[str], list[np.ndarray]]]:
        if role == "document":
            self.source.prepare(texts)  # all at once, so that batches are of equal length
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            if role == "document":
                yield batch, [self.document_from(rows) for rows in self.source.encode_documents(batch)]
            else:
                yield batch, [self.query_from(rows) for rows in self.source.encode_queries(batch)]


class Regions:
    """FastEmbed's MUVERA with all repetitions at once: the same numbers in a sixth of the time.

    muvera: whose planes and projections are taken. A plane says on which side of it a row lies; k_sim planes divide the
    space into 2**k_sim regions. `document` keeps the mean of the rows in each region (where there are none, the first
    row of the nearest region that has some), `query` their sum; both are projected to dim_proj numbers.
    """

    def __init__(self, muvera: Muvera):
        self.count, self._projected = 2**muvera.k_sim, muvera.dim_proj
        # (dim, r_reps × k_sim), in float64 as there: a row close to a plane must not change sides.
        self._planes = np.concatenate([p.simhash_vectors for p in muvera.simhash_projections], axis=1)
        self._bits = 1 << np.arange(muvera.k_sim)
        repetitions, dim, _ = muvera.dim_reduction_projections.shape
        projections = muvera.dim_reduction_projections / np.sqrt(muvera.dim_proj)
        if muvera.dim_proj == dim:  # nothing is projected then
            projections = np.broadcast_to(np.eye(dim), (repetitions, dim, dim))
        self._projections = projections.transpose(1, 0, 2).reshape(dim, -1).astype(np.float32)
        regions = np.arange(self.count)
        # (regions, regions): in how many planes two regions differ.
        self._apart = np.bitwise_count(regions[:, None] ^ regions[None, :])

    def document(self, rows: np.ndarray) -> np.ndarray:
        """Return what `process_document` does: rows (rows, dim) to (r_reps × 2**k_sim × dim_proj,), float32."""
        rows, inside = self._sorted(rows)
        counts = inside.sum(axis=2)  # (repetitions, regions)
        means = inside.astype(np.float32) @ rows / np.maximum(counts, 1)[:, :, None]
        apart = np.where(counts[:, None, :] > 0, self._apart, self.count)
        repetition, empty = np.nonzero(counts == 0)
        nearest = apart.argmin(axis=2)[repetition, empty]
        means[repetition, empty] = rows[repetition, inside.argmax(axis=2)[repetition, nearest]]
        return means.ravel()

    def query(self, rows: np.ndarray) -> np.ndarray:
        """Return what `process_query` does: rows (rows, dim) to (r_reps × 2**k_sim × dim_proj,), float32."""
        rows, inside = self._sorted(rows)
        return (inside.astype(np.float32) @ rows).ravel()

    def _sorted(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the projected rows, (r_reps, rows, dim_proj), and which are in a region, (r_reps, regions, rows)."""
        sides = (rows.astype(np.float64) @ self._planes > 0).reshape(len(rows), -1, len(self._bits))
        region = (sides @ self._bits).T
        projected = (rows.astype(np.float32) @ self._projections).reshape(len(rows), -1, self._projected)
        return projected.transpose(1, 0, 2), region[:, None, :] == np.arange(self.count)[None, :, None]
