"""A late-interaction score to look into: every query token, the document token that answers it, their sum."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ragkit.boundary import public
from ragkit.display import tables
from ragkit.display.pages import page
from ragkit.errors import RagkitError, shorten
from ragkit.files import write_text
from ragkit.maxsim import MaxSim, maxsim

if TYPE_CHECKING:
    from ragkit.encoders.encoder import Encoder, Token

TOLERANCE = 1e-3  # between a given score and the sum: above float32 rounding, below any change of model or text
_KINDS = ("word", "special", "marker", "mask", "skipped")  # the page names a kind by its place
_GROUPS = {"word": "words", "special": "special", "marker": "special", "mask": "masks"}
_SHOWN = 5  # rows of the text form


@dataclass(frozen=True)
class Explained:
    """One document of an Explorer: its title, tokens, MaxSim with the query, and the score given for it, if any."""

    title: str
    tokens: list[Token]
    result: MaxSim
    given: float | None


@dataclass(frozen=True, eq=False, repr=False)
class Explorer:
    """A query and its documents, token by token: an interactive page, in a notebook or a file.

    query, model: the query's text and the encoder's name; tokens: the query's, one a row;
    documents: what is known of each. As text it is the scores and the words that tell most.
    """

    query: str
    model: str
    tokens: list[Token]
    documents: list[Explained]

    @property
    def scores(self) -> list[float]:
        """The MaxSim of each document: the sum of its contributions."""
        return [document.result.score for document in self.documents]

    @property
    def contributions(self) -> pd.DataFrame:
        """One row a document and query token: document (its title), query token, kind, best document token,
        similarity. The similarities of a document sum to its score."""
        rows = []
        for document in self.documents:
            labels = _labels(document)
            for token, best, similarity in zip(
                self.tokens, document.result.best, document.result.contributions, strict=True
            ):
                rows.append((document.title, token.label, token.kind, labels[best], float(similarity)))
        return pd.DataFrame(rows, columns=["document", "query token", "kind", "best document token", "similarity"])

    @property
    def html(self) -> str:
        """A complete page: it makes no request, and holds whatever a query or document says as text."""
        return page("explorer.html", self._data(), query=self.query, text=repr(self))

    @public("The page cannot be written")
    def save(self, path: str | Path) -> None:
        """Write the page to a file, whole or not at all. Raises RagkitError if it cannot be written."""
        write_text(path, self.html)

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that neither side's styles and scripts reach the other.

        Where frames are not shown (GitHub, a notebook that is not trusted), the text form below it remains.
        """
        look = f"height:{self._height()}px;width:100%;border:1px solid #8888;border-radius:10px;resize:vertical"
        frame = (
            f'<iframe class="ragkit-explorer" title="{html.escape(f"MaxSim explorer: {self.query}")}" '
            f'style="{look}" sandbox="allow-scripts" srcdoc="{html.escape(self.html)}"></iframe>'
        )
        summary = "<summary>The same as text (nothing above? Run the cell)</summary>"
        return f"{frame}<details>{summary}<pre>{html.escape(repr(self))}</pre></details>"

    def __repr__(self) -> str:
        head = f"MaxSim explorer: {json.dumps(self.query, ensure_ascii=False)}, {len(self.tokens)} rows of {self.model}"
        groups = [_GROUPS[token.kind] for token in self.tokens]
        rows = []
        for document in self.documents:
            sums = pd.Series(document.result.contributions.astype(float)).groupby(groups).sum()
            parts = {group: sums[group] for group in dict.fromkeys(_GROUPS.values()) if group in groups}
            rows.append({"document": document.title, **parts, "score": document.result.score})
        if len(rows) == 2:
            rows = [{"": side, **row} for side, row in zip("AB", rows, strict=True)]
        below = [tables.table(rows), self._top()] if len(rows) < 3 else [tables.table(rows)]
        return "\n\n".join([head, *below])

    def _top(self) -> str:
        """Return the words of the query that add most to the score, or to the difference of two."""
        sides = ["A ", "B "] if len(self.documents) == 2 else [""]
        rows = []
        for i, token in enumerate(self.tokens):
            if token.kind != "word":
                continue
            row: dict[str, Any] = {"query token": token.label}
            for side, document in zip(sides, self.documents, strict=True):
                row[f"{side}best match"] = _labels(document)[document.result.best[i]]
                row[f"{side}similarity"] = float(document.result.contributions[i])
            if len(sides) == 2:
                row["A − B"] = row["A similarity"] - row["B similarity"]
            rows.append(row)
        # By what is printed, so that equal lines keep the query's order on every machine.
        rows.sort(key=lambda row: -abs(round(list(row.values())[-1], 3)))
        return tables.table(rows[:_SHOWN]) if rows else "no word in the query"

    def _data(self) -> dict[str, Any]:
        """Return what the page's script shows; similarities in thousandths, contributions in full."""
        return {
            "model": self.model,
            "text": self.query,
            "query": _tokens(self.tokens),
            "documents": [
                {
                    "title": document.title,
                    "tokens": _tokens(document.tokens),
                    "similarities": (document.result.similarities * 1000).round().astype(int).tolist(),
                    "best": document.result.best.tolist(),
                    "contributions": [round(float(value), 7) for value in document.result.contributions],
                    "given": document.given,
                }
                for document in self.documents
            ],
        }

    def _height(self) -> int:
        """Return the pixels that the page needs in a frame about 900 wide."""
        shown = self.documents[:2]
        width = 900 / len(shown) - 40
        lines = _lines(self.tokens, 890) + max(_lines(document.tokens, width) for document in shown)
        return 735 + 41 * lines


@public("The scores cannot be explained")
def explore(
    encoder: Encoder,
    query: str,
    documents: str | Sequence[str],
    scores: float | Sequence[float] | None = None,
    titles: str | Sequence[str] | None = None,
) -> Explorer:
    """Return a view of why a query and a document, or two or more documents, have their late-interaction scores.

    encoder: a late-interaction model; documents: one text or several; scores: what Qdrant returned for each,
    shown beside the sum; titles: what to call each (default: how its text begins). Raises RagkitError for a
    dense model, for none or differently many documents, scores and titles, and for a score that differs from
    the sum by more than 0.001: then the rows, and the labels with them, are not those that were searched.

    >>> from ragkit import load_encoder
    >>> view = explore(load_encoder("colbert"), "a film", ["A film.", "A play."])
    >>> view.contributions.query("`query token` == 'film'")["best document token"].tolist()
    ['film', 'play']
    """
    texts = _several(documents)
    names = [_beginning(text) for text in texts] if titles is None else [str(title) for title in _several(titles)]
    given = [None] * len(texts) if scores is None else [float(score) for score in _several(scores)]
    if not texts or not len(texts) == len(names) == len(given):
        raise RagkitError(
            f"{len(texts)} documents, {len(given)} scores and {len(names)} titles were given; expected at least one "
            "document, and a score and a title for each, or none at all."
        )
    tokens = encoder.tokens(query, query=True)
    rows = encoder.encode_queries([query])[0]
    _check_rows(tokens, len(rows), encoder, query)
    explained = []
    for text, title, score, matrix in zip(texts, names, given, encoder.encode_documents(texts), strict=True):
        labelled, result = encoder.tokens(text), maxsim(rows, matrix)
        _check_rows(labelled, len(matrix), encoder, text)
        if score is not None and not math.isclose(score, result.score, rel_tol=0, abs_tol=TOLERANCE):
            raise RagkitError(
                f"{title!r}: the score given is {tables.number(score)}, but the rows of {encoder.name} sum to "
                f"{tables.number(result.score)}. They are not the rows that were searched: check that model, query and "
                "text are the ones in the index, and that it stores vectors without loss."
            )
        explained.append(Explained(title, labelled, result, score))
    return Explorer(query, encoder.name, tokens, explained)


def _several(values: Any) -> list:
    return [values] if isinstance(values, str | Real) else list(values)


def _beginning(text: str, length: int = 48) -> str:
    return shorten(" ".join(str(text).split()), length)


def _check_rows(tokens: list[Token], rows: int, encoder: Encoder, text: str) -> None:
    if [token.row for token in tokens if token.row is not None] != list(range(rows)):
        named = sum(token.row is not None for token in tokens)
        raise RagkitError(
            f"{encoder.name} gave {rows} rows for {_beginning(text)!r}, and names for {named}: its rows cannot be "
            "labelled. The embedded models' can."
        )


def _labels(document: Explained) -> list[str]:
    return [token.label for token in document.tokens if token.row is not None]


def _tokens(tokens: list[Token]) -> list[list]:
    """Return [label, kind, 1 if it continues the word before it] of each token.

    WordPiece marks what continues a word ("##bo"), byte-level and SentencePiece models what begins one.
    """
    begins = any(token.label[:1] in "Ġ▁" for token in tokens if token.kind == "word" and len(token.label) > 1)
    rows, before = [], ""
    for token in tokens:
        joined = token.label.startswith("##") or (begins and token.label[:1] not in "Ġ▁")
        rows.append([token.label, _KINDS.index(token.kind), int(joined and token.kind == before == "word")])
        before = token.kind
    return rows


def _lines(tokens: list[Token], width: float) -> int:
    pixels = {"special": 62, "marker": 54, "mask": 63, "skipped": 28}
    return math.ceil(sum(pixels.get(token.kind, 9.3 * len(token.label) + 20) for token in tokens) / (0.96 * width))
