"""Documents embedded a second: the kit's batches beside FastEmbed's own `embed()`, the same vectors."""

from collections.abc import Callable, Sequence

import numpy as np
from fastembed import LateInteractionTextEmbedding

from ragkit.bench.race import race, refuse_passages
from ragkit.boundary import public
from ragkit.datasets.dataset import Dataset
from ragkit.encoders.encoder import load_encoder
from ragkit.encoders.models import register_models
from ragkit.machine import peak_growth

_WORDS = (8, 8, 8, 24, 8, 60, 8, 10_000)  # of eight documents in a mixed dataset; most are short


def mixed_lengths(texts: Sequence[str]) -> list[str]:
    """Return the texts cut to lengths that alternate: most to 8 words, some to 24 or 60, every eighth whole.

    >>> [len(text.split()) for text in mixed_lengths(["w " * 100] * 8)]
    [8, 8, 8, 24, 8, 60, 8, 100]
    """
    return [" ".join(text.split()[: _WORDS[i % len(_WORDS)]]) for i, text in enumerate(texts)]


@public("The bench cannot be run")
def bench_embed(dataset: Dataset, rounds: int = 3, documents: int = 256) -> list[dict]:
    """Return documents a second of the kit and of FastEmbed's default, on the dataset and on mixed lengths.

    documents: how many of the dataset's are embedded, spread over it evenly. Every row has the memory that the
    process grew by at most in a round of its own. Raises AssertionError if the vectors differ by more than 1e-4.
    """
    refuse_passages(dataset)
    register_models()
    encoder = load_encoder("colbert")
    ours = type(encoder)(encoder.name, cache=False)
    theirs = LateInteractionTextEmbedding(encoder.name)
    step = max(1, len(dataset.passages) // documents)
    sample = dataset.passages[::step][:documents]
    rows = []
    for sampled, texts in ((dataset.name, sample), (f"{dataset.name}, mixed lengths", mixed_lengths(sample))):
        contestants: dict[str, Callable] = {
            "FastEmbed embed()": lambda i, texts=texts: list(theirs.embed(texts)),
            "ragkit": lambda i, texts=texts: ours.encode_documents(texts),
        }
        grown = {}
        for name in ("ragkit", "FastEmbed embed()"):  # what needs less first: memory once taken is not given back
            with peak_growth() as growth:
                made = contestants[name](0)
            grown[name] = (growth(), made)
        for a, b in zip(grown["ragkit"][1], grown["FastEmbed embed()"][1], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
        for row in race(contestants, rounds, "FastEmbed embed()", warm_up=0):
            speed = {"documents_per_s": 1000 * len(texts) / row["ms"], "memory_mb": grown[row["what"]][0] / 1e6}
            rows.append({"dataset": sampled, "documents": len(texts)} | row | speed)
    return rows
