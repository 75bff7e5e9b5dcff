"""What a learner works in and with: a copy of the lessons, a playground, and the checks of their exercises."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ragkit.course.checking import Feedback as Feedback
    from ragkit.course.checking import check as check
    from ragkit.course.lessons import copy_lessons as copy_lessons
    from ragkit.course.playground import Playground as Playground
    from ragkit.course.playground import playground as playground

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checking": ["Feedback", "check"],
        "lessons": ["copy_lessons"],
        "playground": ["Playground", "playground"],
    },
)
