"""Where the kit finds its own data and keeps what it downloads or computes."""

import os
from pathlib import Path

import platformdirs


def data_dir() -> Path:
    """Return the folder with the movies, the manifests and the embedded models.

    It is `data/` of the checkout that ragkit was installed from, or `RAGKIT_DATA`.
    """
    return Path(os.environ.get("RAGKIT_DATA") or Path(__file__).resolve().parent.parent / "data")


def cache_dir() -> Path:
    """Return the folder for downloads, embeddings and Edge folders, created if absent.

    It is `RAGKIT_CACHE`, or the platform's user cache folder.
    """
    path = Path(os.environ.get("RAGKIT_CACHE") or platformdirs.user_cache_dir("ragkit"))
    path.mkdir(parents=True, exist_ok=True)
    return path
