"""Tables, sentences, pictures and pages of what was computed elsewhere."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ragkit.display.explorer import Explorer as Explorer
    from ragkit.display.explorer import explore as explore
    from ragkit.display.judge import Judge as Judge
    from ragkit.display.judge import judge as judge
    from ragkit.display.report import render as render
    from ragkit.display.verdicts import verdicts as verdicts

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "explorer": ["Explorer", "explore"],
        "judge": ["Judge", "judge"],
        "report": ["render"],
        "verdicts": ["verdicts"],
    },
)
