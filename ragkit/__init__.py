"""ragkit: late-interaction retrieval with FastEmbed and Qdrant, compared honestly.

Names are loaded when they are first used, so that `import ragkit` is quick and changes nothing.
"""

import importlib

_HOME = {
    "RagkitError": "errors",
    "Dataset": "datasets",
    "load_movies": "datasets",
    "load_beir": "datasets",
    "load_collection": "datasets",
    "register_models": "embedded",
    "Encoder": "encoders",
    "load_encoder": "encoders",
    "open_index": "index",
    "Prefetch": "index",
    "ServerOptions": "index",
    "Storage": "index",
    "VectorSpec": "index",
    "Retriever": "retrieve",
    "System": "retrieve",
    "per_query": "evaluate",
    "compare": "experiment",
    "build_index": "ingest",
    "load_encoders": "variants",
    "import_collection": "importing",
    "load_unjudged": "importing",
    "pool": "judging",
    "Judgments": "judging",
    "write_queries": "judging",
    "judge": "assess",
    "explore": "explorer",
    "Explorer": "explorer",
    "check": "exercises",
}

__all__ = sorted(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'ragkit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ragkit.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
