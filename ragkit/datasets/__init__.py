"""Documents, queries and judgments, from anywhere: what is searched, what is asked, what is relevant."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ragkit.datasets.dataset import Dataset as Dataset
    from ragkit.datasets.dataset import load_beir as load_beir
    from ragkit.datasets.dataset import load_dataset as load_dataset
    from ragkit.datasets.dataset import load_movies as load_movies
    from ragkit.datasets.importing import import_dataset as import_dataset
    from ragkit.datasets.importing import load_unjudged as load_unjudged
    from ragkit.datasets.inspecting import Check as Check
    from ragkit.datasets.inspecting import Inspection as Inspection
    from ragkit.datasets.judging import Judgments as Judgments
    from ragkit.datasets.judging import judging_pool as judging_pool
    from ragkit.datasets.judging import write_queries as write_queries

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "dataset": ["Dataset", "load_beir", "load_dataset", "load_movies"],
        "importing": ["import_dataset", "load_unjudged"],
        "inspecting": ["Check", "Inspection"],
        "judging": ["Judgments", "judging_pool", "write_queries"],
    },
)
