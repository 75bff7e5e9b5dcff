"""What the lessons' exercises are checked with."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ragkit.course.checking import Feedback as Feedback
    from ragkit.course.checking import check as check

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checking": ["Feedback", "check"],
    },
)
