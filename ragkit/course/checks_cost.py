"""Checks of the exercises of lesson 06: pooled rows, signs and a cheap first stage, on the 20 films."""

import functools
from typing import Any

import numpy as np

from ragkit.course import answers
from ragkit.course.answers import NotYet
from ragkit.course.checks_basics import KUBO, encoder, films, queries, ranking
from ragkit.encoders.variants import load_encoders
from ragkit.maxsim import maxsim

_FACTOR = 2  # of pooling, exercise 06-a
_TURBO8_BYTES = 132  # of a row of 128 numbers: one byte each, and four for its length
_QUERY = "q01"


def bytes_of_a_film(answer) -> str:
    """06-a: bytes that a search reads of a mean film, as colbert-pool2-turbo8."""
    value = answers.number(answer, "bytes a film")
    rows = np.array(encoder("colbert").rows(films().passages)[0])
    pooled = np.mean(1 + -(-(rows - 1) // _FACTOR))  # [CLS] stays alone; of an odd number one row is left over
    true = _TURBO8_BYTES * pooled
    if abs(value - true) < 1:
        return f"{true / (512 * rows.mean()):.3f} of what colbert reads."
    for other, why in (
        (512 * pooled, "That is with four bytes a number."),
        (_TURBO8_BYTES * rows.mean(), "That is with every row; pool2 keeps about a half."),
        (128 * pooled, "turbo8 keeps a little beside each row: see the lesson's table of bytes a row."),
        (true * len(rows), "That is of all films together."),
        (
            _TURBO8_BYTES * rows.mean() / _FACTOR,
            "Half of the rows, nearly: [CLS] is not pooled, and of an odd number one is left over.",
        ),
    ):
        if abs(value - other) < 1:
            raise NotYet(why)
    raise NotYet(f"{value:,.0f} is not it. Mean rows of pool_tokens(multivector, 2), times a row's bytes as turbo8.")


def score_by_signs(answer) -> str:
    """06-b: Kubo's MaxSim for q01 by the signs of all numbers."""
    value = answers.number(answer, "a score")
    query = encoder("colbert").encode_queries([queries()[_QUERY]])[0]
    place = films().documents["doc_id"].tolist().index(KUBO)
    document = encoder("colbert").encode_documents(films().passages)[place]
    products = np.sign(query) @ np.sign(document).T
    true = products.max(axis=1).sum()
    if abs(value - true) < 0.5:
        agree = (true / len(query) + 128) / 2
        return f"A query row and its best row agree in {agree:.0f} of 128 signs, on average. Two rows by chance: 64."
    for other, why in (
        (maxsim(query, document).score, "That is MaxSim of the numbers themselves; take their signs first."),
        (true / 128, "That is the score divided by 128. Signs are not of length 1; leave them as they are."),
        (products.max(axis=0).sum(), "You took the best query row of each film row. MaxSim goes the other way."),
        (products.sum(), "That adds every pair; each query row counts its best film row alone."),
        (true / len(query), "That is the mean over the query's rows. MaxSim is their sum."),
    ):
        if abs(value - other) < 0.005 * max(1, abs(other)):
            raise NotYet(why)
    raise NotYet(f"{value:g} is not it. np.sign of both, all products, the best of each query row, the sum.")


def depth_for_the_first(answer) -> str:
    """06-c: the smallest depth at which muvera's candidates hold colbert's first film of every query."""
    depth = answers.whole(answer, "a depth")
    if not 1 <= depth <= 20:
        raise NotYet(f"{depth} is no depth here: there are 20 films.")
    places = np.array(_places())
    if lost := int((places > depth).sum()):
        raise NotYet(f"At depth {depth}, {lost} of {len(places)} queries lose colbert's first film.")
    if depth > places.max():
        raise NotYet(f"At depth {depth} nothing is lost, but a smaller depth loses nothing either.")
    return f"Depth 1 would do for {(places == 1).sum()} of {len(places)} queries."


@functools.cache
def _places() -> list[int]:
    """Return for each query the rank that muvera gives to colbert's first film."""
    muvera: Any = load_encoders(["muvera"])["muvera"]
    texts, doc_ids = queries().tolist(), films().documents["doc_id"].tolist()
    documents = np.stack(muvera.encode_documents(films().passages))
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)  # as the engine does, which compares by the cosine
    products = np.stack(muvera.encode_queries(texts)) @ documents.T
    firsts = [ranking("colbert", query)[0][0] for query in encoder("colbert").encode_queries(texts)]
    own = products[np.arange(len(texts)), [doc_ids.index(doc_id) for doc_id in firsts]]
    return (1 + (products > own[:, None]).sum(axis=1)).tolist()


CHECKS = {"06-a": bytes_of_a_film, "06-b": score_by_signs, "06-c": depth_for_the_first}
