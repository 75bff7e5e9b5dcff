"""Judging, one pair at a time: buttons in a notebook, and the same as plain calls where there are none."""

import html
from typing import Any

import pandas as pd

from ragkit.boundary import public
from ragkit.datasets.dataset import Dataset
from ragkit.datasets.judging import GRADES, Judgments
from ragkit.display.widgets import AsWidget
from ragkit.errors import RagkitError

_BOX = "max-width: 46em; max-height: 20em; overflow: auto; white-space: pre-wrap; line-height: 1.4"


@public("The pairs cannot be judged")
def judge(pairs: pd.DataFrame, dataset: Dataset, judgments: Judgments) -> "Judge":
    """Return the pairs of a pool to be judged one after the other, shown with buttons at the end of a notebook cell.

    Each press is kept by `judgments` at once, so that a later call, in another kernel too, goes on where this one
    stopped. Without ipywidgets, or outside a notebook, it shows the next pair as text with the call that judges it.
    Raises RagkitError for a pair whose query or document is not in the dataset.
    """
    return Judge(pairs, dataset, judgments)


class Judge(AsWidget):
    """The pairs of a pool, one after the other, to be judged: as buttons in a notebook, else by `record`.

    pairs: query_id, doc_id. It begins at the first pair that is not judged yet; `back` returns to the one before.
    Of a dataset cut into passages whole documents are judged, and shown as they were before.
    """

    @public("The pairs cannot be judged")
    def __init__(self, pairs: pd.DataFrame, dataset: Dataset, judgments: Judgments):
        self.pairs = list(pairs[["query_id", "doc_id"]].itertuples(index=False, name=None))
        self.queries = dict(zip(dataset.queries["query_id"], dataset.queries["text"], strict=True))
        self.documents = {d.doc_id: (d.title, d.text) for d in dataset.whole.documents.itertuples()}
        self.judgments = judgments
        passage_of = dataset.passage_of or {}
        for query_id, doc_id in self.pairs:
            if doc_id in passage_of and doc_id not in self.documents:
                raise RagkitError(
                    f"{doc_id!r} in the pool is a passage of {passage_of[doc_id]!r}, and whole documents are judged: "
                    "pool runs of a Retriever with passage_of=dataset.passage_of."
                )
            if query_id not in self.queries or doc_id not in self.documents:
                raise RagkitError(f"{query_id!r} and {doc_id!r} are in the pool, but not both in {dataset.name}.")
        self.at = self._next(0)

    @property
    def current(self) -> tuple[str, str] | None:
        """The pair to judge now, or None if all are judged."""
        return self.pairs[self.at] if self.at < len(self.pairs) else None

    @public("The pair cannot be judged")
    def record(self, relevance: int) -> None:
        """Judge the current pair and go on to the next that is not judged. Raises RagkitError if there is none."""
        if self.current is None:
            raise RagkitError("Every pair is judged; Judgments.record replaces a judgment.")
        self.judgments.record(*self.current, relevance)
        self.at = self._next(self.at + 1)

    def back(self) -> None:
        """Return to the pair before; judging it again replaces its judgment."""
        self.at = max(self.at - 1, 0)

    def _next(self, start: int) -> int:
        """Return the place of the first pair from `start` on that is not judged, else of the first of all."""
        done = set(self.judgments.table()[["query_id", "doc_id"]].itertuples(index=False, name=None))
        left = [i for i, pair in enumerate(self.pairs) if pair not in done]
        return next((i for i in left if i >= start), left[0] if left else len(self.pairs))

    @property
    def progress(self) -> str:
        left = len(self.judgments.left(pd.DataFrame(self.pairs, columns=["query_id", "doc_id"])))
        return f"{len(self.pairs) - left} of {len(self.pairs)} pairs judged"

    def __repr__(self) -> str:
        if self.current is None:
            return f"{self.progress}."
        query_id, doc_id = self.current
        title, text = self.documents[doc_id]
        grades = "; ".join(f"{grade}: {meaning}" for grade, meaning in GRADES.items())
        call = f"judgments.record({query_id!r}, {doc_id!r}, 0)"
        shown = "\n".join(filter(None, (title, text)))
        return f"{self.progress}. Next:\n\nQuery: {self.queries[query_id]}\n\n{shown}\n\n{call}   # {grades}"

    def widget(self) -> Any:
        """Return the ipywidgets box: the query, the document, a button a grade, and one to go back.

        It says nothing of which system found the document, or at which rank.
        """
        import ipywidgets

        shown, progress = ipywidgets.HTML(), ipywidgets.Label()
        grades = [ipywidgets.Button(description=f"{g}  {meaning}", tooltip=meaning) for g, meaning in GRADES.items()]
        back = ipywidgets.Button(description="back", tooltip="return to the pair before")

        def refresh() -> None:
            shown.value, progress.value = self._html(), self.progress
            for button in grades:
                button.disabled = self.current is None
            back.disabled = self.at == 0

        def press(relevance: int | None) -> None:
            if relevance is None:
                self.back()
            else:
                self.record(relevance)
            refresh()

        for relevance, button in zip(GRADES, grades, strict=True):
            button.layout.width = "auto"
            button.on_click(lambda _, relevance=relevance: press(relevance))
        back.on_click(lambda _: press(None))
        refresh()
        return ipywidgets.VBox([shown, ipywidgets.HBox([*grades, back]), progress])

    def _html(self) -> str:
        if self.current is None:
            return "<p>Every pair is judged.</p>"
        title, text = self.documents[self.current[1]]
        query = html.escape(self.queries[self.current[0]])
        parts = [f"<b>{html.escape(title)}</b>" if title else "", html.escape(text)]
        return f'<p><i>Query:</i> <b>{query}</b></p><div style="{_BOX}">{"<br>".join(filter(None, parts))}</div>'
