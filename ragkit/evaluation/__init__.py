"""Systems, their runs, measures of these, and what a difference is worth."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ragkit.evaluation.comparing import compare as compare
    from ragkit.evaluation.comparison import Comparison as Comparison
    from ragkit.evaluation.comparison import Cost as Cost
    from ragkit.evaluation.comparison import SystemResult as SystemResult
    from ragkit.evaluation.inspecting import inspect as inspect
    from ragkit.evaluation.measures import per_query as per_query
    from ragkit.evaluation.retriever import Retriever as Retriever
    from ragkit.evaluation.systems import Run as Run
    from ragkit.evaluation.systems import System as System

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "comparing": ["compare"],
        "comparison": ["Comparison", "Cost", "SystemResult"],
        "inspecting": ["inspect"],
        "measures": ["per_query"],
        "retriever": ["Retriever"],
        "systems": ["Run", "System"],
    },
)
