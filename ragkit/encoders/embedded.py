"""The embedded models: their names, and their files, checked before they are used."""

import functools
from pathlib import Path

from ragkit.errors import RagkitError
from ragkit.files import SUMS, fault, read_sums
from ragkit.paths import data_dir, restoring, shipped

DENSE = "sentence-transformers/all-MiniLM-L6-v2"
COLBERT = "ragkit/colbert-minilm-l6"
TOKENS = "ragkit/all-minilm-l6-v2-tokens"

# Folder under data/models/ of each embedded model; TOKENS reads the dense model's file.
FOLDERS = {DENSE: "all-minilm-l6-v2", COLBERT: "colbert-minilm-l6", TOKENS: "all-minilm-l6-v2"}


@functools.cache
def checksums() -> dict[str, str]:
    """Return the SHA-256 (hex) of every file of the embedded models, by path under data/models/.

    Raises RagkitError if data/models/SHA256SUMS is missing or damaged: cut, it would leave files unchecked.
    """
    return read_sums(shipped(f"models/{SUMS}").parent)


@functools.cache
def model_folder(model: str) -> Path:
    """Return the folder of an embedded model, its files checked against SHA256SUMS once a process.

    Raises RagkitError if a file is missing or differs from its checksum.

    >>> model_folder("ragkit/colbert-minilm-l6").name
    'colbert-minilm-l6'
    """
    root = data_dir() / "models"
    for name, expected in checksums().items():
        if not name.startswith(FOLDERS[model] + "/"):
            continue
        if why := fault(root, name, expected):
            raise RagkitError(f"{root / name} is {why} by {SUMS}. Restore it with: {restoring('data/models')}")
    return root / FOLDERS[model]
