"""ragkit: late-interaction retrieval with FastEmbed and Qdrant, compared honestly.

Names are loaded when they are first used, so that `import ragkit` is quick and changes nothing.
"""

from typing import TYPE_CHECKING

import lazy_loader

# The function, and not its module, is `ragkit.maxsim`; so it is the one name that is not loaded later.
from ragkit.maxsim import MaxSim as MaxSim
from ragkit.maxsim import maxsim as maxsim

if TYPE_CHECKING:
    from ragkit.course.checking import check as check
    from ragkit.course.playground import playground as playground
    from ragkit.datasets.dataset import Dataset as Dataset
    from ragkit.datasets.dataset import load_beir as load_beir
    from ragkit.datasets.dataset import load_dataset as load_dataset
    from ragkit.datasets.dataset import load_movies as load_movies
    from ragkit.datasets.importing import import_dataset as import_dataset
    from ragkit.datasets.importing import load_unjudged as load_unjudged
    from ragkit.datasets.judging import Judgments as Judgments
    from ragkit.datasets.judging import judging_pool as judging_pool
    from ragkit.datasets.judging import write_queries as write_queries
    from ragkit.display.explorer import Explorer as Explorer
    from ragkit.display.explorer import explore as explore
    from ragkit.display.judge import judge as judge
    from ragkit.encoders.encoder import Encoder as Encoder
    from ragkit.encoders.encoder import load_encoder as load_encoder
    from ragkit.encoders.models import register as register
    from ragkit.encoders.models import register_models as register_models
    from ragkit.encoders.variants import load_encoders as load_encoders
    from ragkit.engines.index import Index as Index
    from ragkit.engines.index import Prefetch as Prefetch
    from ragkit.engines.ingest import build_index as build_index
    from ragkit.engines.opening import open_client as open_client
    from ragkit.engines.opening import open_index as open_index
    from ragkit.engines.server_options import ServerOptions as ServerOptions
    from ragkit.errors import RagkitError as RagkitError
    from ragkit.evaluation.comparing import compare as compare
    from ragkit.evaluation.comparison import Comparison as Comparison
    from ragkit.evaluation.inspecting import inspect as inspect
    from ragkit.evaluation.measures import per_query as per_query
    from ragkit.evaluation.retriever import Retriever as Retriever
    from ragkit.evaluation.systems import Run as Run
    from ragkit.evaluation.systems import System as System
    from ragkit.vectors import Storage as Storage
    from ragkit.vectors import VectorSpec as VectorSpec

__version__ = "0.1.0"
__getattr__, _, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "course.checking": ["check"],
        "course.playground": ["playground"],
        "datasets.dataset": ["Dataset", "load_beir", "load_dataset", "load_movies"],
        "datasets.importing": ["import_dataset", "load_unjudged"],
        "datasets.judging": ["Judgments", "judging_pool", "write_queries"],
        "display.explorer": ["Explorer", "explore"],
        "display.judge": ["judge"],
        "encoders.encoder": ["Encoder", "load_encoder"],
        "encoders.models": ["register", "register_models"],
        "encoders.variants": ["load_encoders"],
        "engines.index": ["Index", "Prefetch"],
        "engines.ingest": ["build_index"],
        "engines.opening": ["open_client", "open_index"],
        "engines.server_options": ["ServerOptions"],
        "errors": ["RagkitError"],
        "evaluation.comparing": ["compare"],
        "evaluation.comparison": ["Comparison"],
        "evaluation.inspecting": ["inspect"],
        "evaluation.measures": ["per_query"],
        "evaluation.retriever": ["Retriever"],
        "evaluation.systems": ["Run", "System"],
        "vectors": ["Storage", "VectorSpec"],
    },
)
__all__ += ["MaxSim", "maxsim"]


def __dir__() -> list[str]:
    """The public names, for whoever types `ragkit.` and a tab."""
    return sorted(__all__)
