"""Checks of the exercises of lessons 00 to 02: tokens, rows and scores, on the 20 films."""

import functools

import numpy as np
import pandas as pd

from ragkit.course import answers
from ragkit.course.answers import NotYet
from ragkit.datasets.dataset import Dataset, load_movies
from ragkit.encoders.encoder import Encoder, load_encoder
from ragkit.maxsim import maxsim

KUBO, NEFES = "4", "17"


@functools.cache
def films() -> Dataset:
    return load_movies()


@functools.cache
def encoder(name: str) -> Encoder:
    return load_encoder(name)


@functools.cache
def _documents(name: str) -> list[np.ndarray]:
    return encoder(name).encode_documents(films().passages)


def titles() -> pd.Series:
    return films().documents.set_index("doc_id")["title"]


def queries() -> pd.Series:
    return films().queries.set_index("query_id")["text"]


def grades(query_id: str) -> dict[str, int]:
    """Return each film's relevance for a query."""
    qrels = films().qrels
    return qrels[qrels["query_id"] == query_id].set_index("doc_id")["relevance"].to_dict()


def ranking(name: str, query: np.ndarray) -> list[tuple[str, float]]:
    """Return every film with its score, best first, by arithmetic alone: no engine, so nothing shared with a lesson."""
    if encoder(name).multivector:
        scores = [maxsim(query, document).score for document in _documents(name)]
    else:
        scores = (np.stack(_documents(name)) @ query).tolist()
    return sorted(zip(films().documents["doc_id"], scores, strict=True), key=lambda hit: (-hit[1], hit[0]))


def ask(name: str, text: str) -> list[str]:
    """Return the films' ids for a query text, best first."""
    return [doc_id for doc_id, _ in ranking(name, encoder(name).encode_queries([text])[0])]


def _description(doc_id: str) -> str:
    return films().documents.set_index("doc_id").loc[doc_id, "text"]


def _multivector(doc_id: str) -> np.ndarray:
    return _documents("colbert")[films().documents["doc_id"].tolist().index(doc_id)]


def long_word(answer) -> str:
    """00-a: one word that becomes ten rows or more."""
    word = answers.text(answer, "one word")
    if " " in word:
        raise NotYet(f"{word!r} has a space in it: one word is enough.")
    tokens = encoder("colbert").tokens(word)
    rows = sum(token.row is not None for token in tokens)
    seen = " ".join(token.label for token in tokens if token.row is not None)
    if rows < 10:
        raise NotYet(f"{word!r} has {rows} row{'s' if rows > 1 else ''}: {seen}. Ten are asked for.")
    return f"{rows} rows for one word: {seen}."


def one_more_word(answer) -> str:
    """01-a: the tutorial's query and one more word, so that Kubo comes first."""
    text, base = answers.text(answer, "the query with one more word"), queries()["q01"]
    added = text.removeprefix(base).split()
    if not text.startswith(f"{base} ") or len(added) != 1:
        raise NotYet(f"Keep the query as it is, {base!r}, and add one word at its end; got {text!r}.")
    if "kubo" in added[0].lower():
        raise NotYet("With his name it is too easy. Which other words does his story call for?")
    found = ask("colbert", text)
    if found[0] != KUBO:
        raise NotYet(f"With {added[0]!r}, {titles()[found[0]]} is first, and Kubo is number {found.index(KUBO) + 1}.")
    return f"With {added[0]!r}, Kubo is first and {titles()[found[1]]} second."


def against_itself(answer) -> str:
    """01-b: the share of its maximum that a description reaches with itself as the query."""
    share = answers.number(answer, "the score divided by the number of query rows")
    rows = encoder("colbert").encode_queries([_description(NEFES)])[0]
    score = dict(ranking("colbert", rows))[NEFES]
    if abs(share - score / len(rows)) < 0.001:
        return "A text is not even its own perfect match: it was encoded in two ways."
    if abs(share - score) < 0.1:
        raise NotYet("That is the whole score. Divide it by the number of terms that it sums.")
    if abs(share - score / len(_multivector(NEFES))) < 0.01:
        raise NotYet("You divided by the rows of the document. MaxSim has one term for each row of the query.")
    if abs(share - 1) < 0.001:
        raise NotYet("1 is what every row would reach by finding itself. Is the text encoded as a query?")
    raise NotYet(f"{share:.3f} is not it. Which text, encoded by which method, against which film?")


def right_and_wrong_method(answer) -> str:
    """01-c: for how many of the 40 queries the first film is a full answer, with query_embed and with embed."""
    what = "two counts of queries, first with query_embed, then with embed"
    given = [answers.whole(item, what) for item in answers.items(answer, what, 2)]
    colbert = encoder("colbert")
    texts = queries().tolist()
    true = []
    for encode in (colbert.encode_queries, colbert.encode_documents):
        first = [ranking("colbert", rows)[0][0] for rows in encode(texts)]
        true.append(sum(grades(q)[doc_id] == 2 for q, doc_id in zip(queries().index, first, strict=True)))
    if given == true:
        return f"{true[0]} and {true[1]} of {len(texts)}: nothing in the results would have warned you."
    if given == true[::-1]:
        raise NotYet("The right two numbers, in the wrong order: query_embed first.")
    off = [name for name, a, b in zip(("query_embed", "embed"), given, true, strict=True) if a != b]
    raise NotYet(f"The count for {' and the one for '.join(off)} is off. Count queries whose first film has grade 2.")


def more_rows(answer) -> str:
    """02-a: the fewest rows to add to the toy document b so that it beats a."""
    what = "the angles to add to b, in degrees"
    angles = [answers.number(item, what) for item in answers.items(answer, what)]
    score, goal = _toy(30, 50, *angles), _toy(10, 80, 170)
    if score <= goal:
        raise NotYet(f"b with {len(angles)} more row{'s' * (len(angles) != 1)} reaches {score:.3f}; a has {goal:.3f}.")
    if len(angles) > 2:  # one row alone reaches 1.866 at most
        raise NotYet(f"b wins with {score:.3f}, but fewer than {len(angles)} more rows are enough.")
    return f"{score:.3f} against {goal:.3f}. Its old rows are still there; they only ceased to matter."


def _toy(*degrees: float) -> float:
    def unit(*angles):
        return np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], axis=1)

    return maxsim(unit(0, 90), unit(*degrees)).score


def true_label(answer) -> str:
    """02-b: the token that `soldiers` of q13 really meets in the film that comes first."""
    label = answers.text(answer, "the label of one token").lower()
    colbert, query = encoder("colbert"), queries()["q13"]
    doc_id = ask("colbert", query)[0]
    tokens = colbert.tokens(_description(doc_id))
    row = [token.label for token in colbert.tokens(query, query=True)].index("soldiers")
    met = maxsim(colbert.encode_queries([query])[0], _multivector(doc_id)).best[row]
    if label == next(token.label for token in tokens if token.row == met):
        return f"`soldiers` meets `{label}`: no word of the film is nearer, and no label is off by one now."
    if label == tokens[met].label:
        raise NotYet(f"`{label}` is what the wrong zip says. Which tokens have no row, and so no place in the list?")
    if label not in [token.label for token in tokens]:
        raise NotYet(f"`{label}` is no token of that film's description.")
    raise NotYet(f"`{label}` is a token of that film, but another one is nearer to `soldiers`.")


def full_stop(answer) -> str:
    """02-c: the query whose first film becomes a full answer when a full stop is added."""
    query_id = answers.text(answer, "the id of one query, such as 'q01'").lower()
    if query_id not in queries().index:
        raise NotYet(f"There is no query {query_id!r}; they are q01 to q40.")
    before, after = (ask("colbert", queries()[query_id] + end)[0] for end in ("", "."))
    old, new = (grades(query_id)[doc_id] for doc_id in (before, after))
    if old < 2 and new == 2:
        return f"{titles()[before]} ({old}) gives way to {titles()[after]} ({new}), for a full stop."
    if before == after:
        raise NotYet(f"{query_id}: {titles()[before]} is first with and without a full stop.")
    raise NotYet(f"{query_id}: the first film changes, but from grade {old} to grade {new}.")


CHECKS = {
    "00-a": long_word,
    "01-a": one_more_word,
    "01-b": against_itself,
    "01-c": right_and_wrong_method,
    "02-a": more_rows,
    "02-b": true_label,
    "02-c": full_stop,
}
