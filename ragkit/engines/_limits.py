"""What one request to a collection may hold: by its strict mode, and by what was too large before."""

from collections.abc import Callable, Sequence
from typing import Any

from qdrant_client.models import StrictModeConfigOutput

from ragkit.engines._retries import TooLarge
from ragkit.errors import RagkitError

# Where nothing says less: documents whose ids are read, or deleted, in one request; conditions or searches in one.
_PAGE = 10_000


class Limits:
    """The limits of one collection; `place` is what messages call it.

    strict: its strict mode, None or one that is not enabled if it has none.

    >>> Limits("Here", StrictModeConfigOutput(enabled=True, max_query_limit=50)).page
    50
    >>> Limits("Here", None).batch is None
    True
    """

    def __init__(self, place: str, strict: StrictModeConfigOutput | None):
        self._place = place
        self._strict = strict if strict and strict.enabled else StrictModeConfigOutput()
        self._most: dict[str, int] = {}  # of what one request takes, as was learned

    @property
    def exact(self) -> bool:
        """Whether an exact search is allowed."""
        return self._strict.search_allow_exact is not False

    @property
    def batch(self) -> int | None:
        """Documents that may be stored in one request; None: any number."""
        limits = [n for n in (self._strict.upsert_max_batchsize, self._strict.write_rate_limit) if n]
        return min(limits, default=None)

    @property
    def page(self) -> int:
        """Documents whose ids are read, or deleted, in one request."""
        return min(_PAGE, self._strict.max_query_limit or _PAGE)

    @property
    def ids(self) -> int | None:
        """Ids in one condition; None: any number."""
        return self._strict.condition_max_size

    @property
    def searches(self) -> int:
        """Searches in one request."""
        return self._strict.search_max_batchsize or _PAGE

    def timeout(self, seconds: int) -> int:
        """Return so many seconds, or as many as a request may ask for."""
        return min(seconds, self._strict.max_timeout or seconds)

    def conditions(self, rows: int) -> int:
        """Return how many conditions a query of so many rows may have: in a read rate, each counts as a row does."""
        rate, most = self._strict.read_rate_limit, self._strict.filter_max_conditions
        limits = [max(1, rate - rows)] if rate else []
        return min([*limits, most] if most else limits, default=_PAGE)

    def allow(self, *limits: int) -> None:
        """Raise RagkitError if a query asks for more documents than it may."""
        most = self._strict.max_query_limit
        if most and max(limits) > most:
            raise RagkitError(
                f"{self._place} gives a query at most {most:,} documents (max_query_limit in its strict mode), and "
                f"{max(limits):,} are asked for: raise it, or ask for fewer (--depth of a rerank, --limit of a search)."
            )

    def in_parts(self, what: str, items: Sequence, most: int, ask: Callable[[Any], list]) -> list:
        """Return what is answered for items, `most` in a request, and half as many from then on if that is too large.

        what: the items' name, by which it is remembered. Raises TooLarge for an item alone.
        """
        answers: list = []
        start = 0
        while start < len(items):
            part = items[start : start + min(most, self._most.get(what, most))]
            try:
                answers += ask(part)
                start += len(part)
            except TooLarge:
                if len(part) == 1:
                    raise
                self._most[what] = len(part) // 2
        return answers
