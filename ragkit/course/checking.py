"""The check that a student runs: right, or what is off."""

from dataclasses import dataclass
from typing import Any

from ragkit.boundary import public
from ragkit.course import checks_basics, checks_compare, checks_practice
from ragkit.course.answers import NotYet
from ragkit.errors import RagkitError

CHECKS = {**checks_basics.CHECKS, **checks_compare.CHECKS, **checks_practice.CHECKS}


@dataclass(frozen=True, repr=False)
class Feedback:
    """What a check says: whether the answer is right, and why or what is off."""

    right: bool
    message: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return f"{'Right.' if self.right else 'Not yet.'} {self.message}"


@public("The answer cannot be checked")
def check(exercise: str, answer: Any) -> Feedback:
    """Return whether an answer to an exercise of the lessons is right, or what is off.

    exercise: lesson and letter, as the notebooks in notebooks/exercises name them. answer: what the exercise asks for;
    another type is no error, the feedback says what was expected. The right answer is computed anew, from the same
    films and models, and so fits the models in use. Raises RagkitError for an exercise that does not exist, and as
    load_beir does where an exercise needs SciFact.

    >>> check("02-a", [0])
    Not yet. b with 1 more row reaches 1.766; a has 1.970.
    >>> check("02-a", "zero").right
    False
    """
    if exercise not in CHECKS:
        raise RagkitError(f"There is no exercise {exercise!r}; expected one of {', '.join(CHECKS)}.")
    if answer is ...:
        return Feedback(False, "Put your answer in the place of the three dots, run the cell, and check again.")
    try:
        return Feedback(True, CHECKS[exercise](answer))
    except NotYet as reason:
        return Feedback(False, str(reason))
