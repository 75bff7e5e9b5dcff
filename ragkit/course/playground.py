"""A panel to try queries in: systems side by side, the tokens behind a result, and a depth that moves ranks."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ragkit.boundary import public, whole_number
from ragkit.datasets.dataset import Dataset
from ragkit.display import tables
from ragkit.display.explorer import Explorer, explore
from ragkit.display.plots import colour
from ragkit.display.widgets import AsWidget
from ragkit.encoders.encoder import Encoder
from ragkit.encoders.variants import load_encoders, vector_spec
from ragkit.engines.ingest import build_index
from ragkit.errors import RagkitError, shorten
from ragkit.evaluation.retriever import Retriever
from ragkit.evaluation.systems import RESCORERS, System
from ragkit.vectors import Hits, Storage

SYSTEMS = ("dense", "colbert", "dense+colbert")
SHOWN = 5  # results of a system
DEPTHS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500)
_TITLE = 30  # characters of a title, so that three systems stand side by side


@public("The playground cannot be opened")
def playground(
    dataset: Dataset,
    systems: Sequence[str] = SYSTEMS,
    query: str | None = None,
    depth: int = 10,
    where: str | Path | None = None,
) -> "Playground":
    """Return a panel to type queries into, shown at the end of a notebook cell: see Playground.

    query: the first one (default: the dataset's first); depth: how many candidates are reranked at first; where: see
    build_index. Raises RagkitError as build_index does, and for a system that it cannot show.
    """
    return Playground(dataset, systems, query, depth, where)


class Playground(AsWidget):
    """Systems over one index that stays open: their first results side by side, for one query at a time.

    In a notebook it has a field for the query, a slider for the depth, and a button for each result that shows its
    tokens. Without ipywidgets, and as text, it is a table; `ask` and `explain` do what field, slider and buttons do.
    Beside a reranked result stands its rank in the first stage.
    """

    @public("The playground cannot be opened")
    def __init__(
        self,
        dataset: Dataset,
        systems: Sequence[str] = SYSTEMS,
        query: str | None = None,
        depth: int = 10,
        where: str | Path | None = None,
    ):
        self.systems = {system.name: system for system in map(System.parse, systems)}
        if not self.systems or any(system.rerank in RESCORERS for system in self.systems.values()):
            raise RagkitError(
                f"The playground shows systems of vectors, at least one; it was given {', '.join(systems) or 'none'}."
            )
        if query is None and dataset.queries.empty:
            raise RagkitError(f"{dataset.name} has no queries to begin with; pass query=, a text to search for.")
        self.query = query if query is not None else str(dataset.queries["text"].iloc[0])
        self.depth = whole_number("depth", depth)
        known = zip(dataset.documents["doc_id"], dataset.documents["title"], dataset.passages, strict=True)
        self._texts = {row: (title, text) for row, title, text in known}
        self._passage_of = dataset.passage_of
        self.encoders = load_encoders(list(dict.fromkeys(v for s in self.systems.values() for v in s.vectors)))
        for model in {getattr(encoder, "source", None) or encoder for encoder in self.encoders.values()}:
            model.encode_query(self.query)  # so that whoever types the first query does not wait for a model to load
        self.index, _ = build_index(dataset, self.encoders, where)
        self.name = dataset.name
        # What was asked before is not searched again: the rows that documents count by, so their best passages.
        self._found: dict[tuple[str, System, int], Hits] = {}
        self._before: dict[str, dict[str, int]] = {}  # ranks at the depth before

    @public("The query cannot be answered")
    def ask(self, query: str | None = None, depth: int | None = None) -> "Playground":
        """Change the query, the depth or both, and return the playground. Raises RagkitError for an empty query."""
        query = self.query if query is None else query
        depth = self.depth if depth is None else whole_number("depth", depth)
        for system in self.systems.values():  # an error leaves everything as it was
            self._rows(query, system, depth)
        same = query == self.query and depth != self.depth
        self._before = {name: _ranks(hits) for name, hits in self.results.items()} if same else {}
        self.query, self.depth = query, depth
        return self

    @property
    def results(self) -> dict[str, Hits]:
        """The first SHOWN (doc_id, score) of each system, by its name."""
        return {name: self._documents(self._shown(name)) for name in self.systems}

    @public("The result cannot be explained")
    def explain(self, system: str, rank: int = 1) -> Explorer:
        """Return the explorer of the document at a rank of a system: its tokens, and which query token they answer.

        Where the system's score is no MaxSim, the tokens are still those of the late-interaction model. Of a document
        that is cut into passages they are those of the one that it was found by. Raises RagkitError for a rank or a
        system that is not shown, and where no system has such a model.
        """
        chosen, place = System.parse(system).name, whole_number("rank", rank)
        hits = self._shown(chosen) if chosen in self.systems else []
        if place > len(hits):
            raise RagkitError(
                f"{chosen} has no result at rank {place} here; shown are "
                f"{', '.join(f'{name} ({len(found)} results)' for name, found in self.results.items())}."
            )
        row, score = hits[place - 1]
        name, reader = self._reader()
        own = self.encoders[name]
        exact = own is reader and vector_spec(name, own).storage == Storage()
        last = self.systems[chosen].rerank or self.systems[chosen].first
        given = score if exact and last == name else None
        return explore(reader, self.query, self._texts[row][1], given, self._title(row, 60))

    def close(self) -> None:
        """Close the index; a temporary one is removed."""
        self.index.close()

    def _reader(self) -> tuple[str, Encoder]:
        """Return a late-interaction model of the systems, and the name of the vectors that it makes."""
        for name, encoder in self.encoders.items():
            model = getattr(encoder, "source", None) or encoder
            if isinstance(model, Encoder) and model.multivector:
                return name, model
        raise RagkitError(
            f"None of {', '.join(self.systems)} has a vector per token; add colbert or tokens to look into a score."
        )

    def _rows(self, query: str, system: System, depth: int) -> Hits:
        depth = depth if system.rerank else DEPTHS[-1]
        key = (query, system, depth)
        if key not in self._found:
            limit = SHOWN if system.rerank else DEPTHS[-1]  # of a first stage all ranks that a rerank may name
            retriever = Retriever(self.index, self.encoders, system, depth, limit, passage_of=self._passage_of)
            self._found[key] = retriever.search_passages(query)
        return self._found[key]

    def _shown(self, name: str) -> Hits:
        return self._rows(self.query, self.systems[name], self.depth)[:SHOWN]

    def _documents(self, rows: Hits) -> Hits:
        return [(self._passage_of[row], score) for row, score in rows] if self._passage_of else rows

    def _title(self, row: str, length: int = _TITLE) -> str:
        title, text = self._texts[row]
        return shorten(" ".join((title or text).split()), length)

    def _cell(self, name: str, rank: int) -> str:
        """Return what is shown of the result at a rank, "" if there is none."""
        system, rows = self.systems[name], self._shown(name)
        if rank > len(rows):
            return ""
        title = self._title(rows[rank - 1][0])
        if not system.rerank:
            return title
        before = _ranks(self._documents(self._rows(self.query, System(system.first), self.depth)))
        was = before.get(self._documents(rows)[rank - 1][0])
        return title + (f" ({was})" if was else "")

    def _about(self) -> str:
        reranks = [system for system in self.systems.values() if system.rerank]
        told = [f"{s.name} reorders the first {self.depth} of {s.first}; in brackets, the rank there" for s in reranks]
        return "; ".join(told)

    def __repr__(self) -> str:
        ranks = range(1, SHOWN + 1)
        rows = [{"rank": rank} | {name: self._cell(name, rank) for name in self.systems} for rank in ranks]
        lines = [f"{self.name}: {self.query!r}", tables.table(rows), self._about()]
        return "\n".join(filter(None, lines))

    def _moved(self, name: str, rank: int) -> str:
        """Return how far a result came up or went down when the depth was changed, "" if it stayed or none was."""
        if name not in self._before:
            return ""
        was = self._before[name].get(self.results[name][rank - 1][0])
        if was is None:
            return "  new"
        return f"  {'▲' if was > rank else '▼'}{abs(was - rank)}" if was != rank else ""

    def widget(self) -> Any:
        """Return the ipywidgets box: the query, the depth, a column of buttons a system, and the tokens below."""
        import ipywidgets

        wide = {"width": "auto", "margin": "2px 8px 2px 2px"}
        field = ipywidgets.Text(self.query, description="query", continuous_update=False, layout=wide)
        depths = sorted({*DEPTHS, self.depth})
        depths = [d for d in depths if d < len(self._texts)] + [d for d in depths if d >= len(self._texts)][:1]
        slider = ipywidgets.SelectionSlider(options=depths, value=min(self.depth, depths[-1]), description="depth")
        slider.layout.display = None if self._about() else "none"
        said, below = ipywidgets.HTML(), ipywidgets.HTML(layout=wide)
        columns = {name: [ipywidgets.Button() for _ in range(SHOWN)] for name in self.systems}

        def refresh() -> None:
            said.value = html.escape(self._about())
            for name, buttons in columns.items():
                for rank, button in enumerate(buttons, 1):
                    cell = self._cell(name, rank)
                    button.description = f"{rank}  {cell}{self._moved(name, rank)}" if cell else ""
                    button.tooltip, button.disabled = f"{cell}: look into its score", not cell

        def changed(_: Any) -> None:
            try:
                asked_anew = field.value != self.query
                self.ask(field.value, slider.value)
            except RagkitError as error:
                said.value = html.escape(str(error))
                return
            if asked_anew:
                below.value = ""
            refresh()

        def show(name: str, rank: int) -> None:
            try:
                found = self.explain(name, rank)
            except RagkitError as error:
                below.value = html.escape(str(error))
                return
            own = found.documents[0].given is not None
            other = f"{name} has a score of another kind; these are the tokens of {found.model}"
            note = f"The score of {name} is this sum" if own else other
            below.value = f"<p>{html.escape(note)}.</p>{found._repr_html_()}"

        for name, buttons in columns.items():
            for rank, button in enumerate(buttons, 1):
                button.layout.width = "auto"
                button.on_click(lambda _, name=name, rank=rank: show(name, rank))
        field.observe(changed, "value")
        slider.observe(changed, "value")
        refresh()
        heads = {
            name: ipywidgets.HTML(f'<b style="border-left: .8em solid {colour(name)}; padding-left: .4em">{name}</b>')
            for name in columns
        }
        shown = [ipywidgets.VBox([heads[n], *columns[n]], layout={"flex": "1 1 0", "min_width": "0"}) for n in columns]
        style = ipywidgets.HTML("<style>.ragkit-playground button { text-align: left }</style>")
        box = ipywidgets.VBox([field, slider, ipywidgets.HBox(shown, layout=wide), said, below, style])
        box.add_class("ragkit-playground")
        return box


def _ranks(hits: Hits) -> dict[str, int]:
    return {doc_id: rank for rank, (doc_id, _) in enumerate(hits, 1)}
