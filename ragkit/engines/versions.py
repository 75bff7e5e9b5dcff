"""What each version of a Qdrant server knows of what the kit asks for, so that nothing is encoded in vain."""

from collections.abc import Mapping

from ragkit.errors import RagkitError
from ragkit.vectors import DATATYPES, QUANTIZATIONS, VectorSpec

# The first version that knows it, by Qdrant's OpenAPI descriptions of 1.16 to 1.20. Older servers lack rrf with k, and
# notes on a collection.
LEAST = (1, 16)
SINCE = dict.fromkeys((*DATATYPES, *QUANTIZATIONS), LEAST) | {
    "turbo4copy": (1, 18),
    "turbo2copy": (1, 18),
    "turbo1.5copy": (1, 18),
    "turbo1copy": (1, 18),
    "turbo4": (1, 19),
    "turbo8": (1, 20),
    "turbo16": (1, 20),
}
# "memory" of a vector and of a small copy; before, on_disk and always_ram said the same.
MEMORY = (1, 19)


def numbers(version: str) -> tuple[int, int]:
    """Return major and minor of a version.

    >>> numbers("1.19.0-dev")
    (1, 19)
    """
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def require(version: str, vectors: Mapping[str, VectorSpec]) -> None:
    """Raise RagkitError if a server of that version cannot keep vectors so, in words with what works instead.

    >>> from ragkit.vectors import Storage
    >>> require("1.19.0", {"colbert-turbo8": VectorSpec(128, True, storage=Storage("turbo8"))})
    Traceback (most recent call last):
        ...
    ragkit.errors.RagkitError: turbo8 needs Qdrant 1.20; this is 1.19.0: float16 or turbo4.
    """
    here = numbers(version)
    if here < LEAST:
        raise RagkitError(f"This is Qdrant {version}, and the kit needs {_written(LEAST)} at least: update the server.")
    for spec in vectors.values():
        for name, kinds in ((spec.storage.datatype, DATATYPES), (spec.storage.quantization, QUANTIZATIONS)):
            if name is not None and SINCE[name] > here:
                known = [kind for kind in kinds if SINCE[kind] <= here and kind != "float32"]
                raise RagkitError(
                    f"{name} needs Qdrant {_written(SINCE[name])}; this is {version}: {' or '.join(known)}."
                )


def _written(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
