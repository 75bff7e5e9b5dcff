import numpy as np
import pytest

from ragkit import RagkitError, VectorSpec, open_index
from ragkit.maxsim import maxsim, maxsim_scores


def naive(query, document):
    """The definition, one pair of rows at a time."""
    total, best = 0.0, []
    for q in query:
        cosines = [float(q @ d) / (np.linalg.norm(q) * np.linalg.norm(d)) for d in document]
        total += max(cosines)
        best.append(cosines.index(max(cosines)))
    return total, best


def test_it_equals_a_naive_loop(rng):
    for rows, columns, dim in ((1, 1, 1), (3, 5, 4), (32, 200, 128)):
        query, document = rng.standard_normal((rows, dim)), rng.standard_normal((columns, dim))
        score, best = naive(query, document)
        result = maxsim(query, document)
        assert result.score == pytest.approx(score, abs=1e-4)
        assert result.best.tolist() == best
        assert result.contributions.sum() == pytest.approx(score, abs=1e-4)


def test_the_scores_of_many_documents_are_those_of_each(rng):
    query = rng.standard_normal((3, 8))
    documents = [rng.standard_normal((rows, 8)) for rows in (1, 4, 2, 1)]
    scores = maxsim_scores(query @ np.concatenate(documents).T, np.array([0, 1, 5, 7]))
    expected = [sum(max(float(q @ d) for d in rows) for q in query) for rows in documents]
    assert scores == pytest.approx(expected)


@pytest.mark.parametrize("where", [":memory:", None])
def test_it_equals_qdrants_score(where, rng, own_cache):
    documents = [rng.standard_normal((n, 16)).astype(np.float32) for n in (1, 4, 30)]
    query = 3 * rng.standard_normal((7, 16)).astype(np.float32)  # not of unit length: COSINE scales rows
    with open_index(where, {"colbert": VectorSpec(16, True)}) as index:
        index.add(["a", "b", "c"], {"colbert": documents})
        hits = dict(index.search(query, "colbert", limit=3))
    for doc_id, document in zip("abc", documents, strict=True):
        assert maxsim(query, document).score == pytest.approx(hits[doc_id], abs=1e-4)


def test_the_first_of_equal_maxima_is_the_aligned_one():
    assert maxsim(np.eye(2), np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])).best.tolist() == [0, 2]


def test_it_is_not_symmetric():
    a, b = np.eye(2), np.array([[1.0, 0.0]])
    assert (maxsim(a, b).score, maxsim(b, a).score) == (1.0, 1.0)
    assert maxsim(np.vstack([a, a]), b).score != maxsim(b, np.vstack([a, a])).score


def test_a_row_of_zeros_has_similarity_zero():
    assert maxsim(np.zeros((1, 2)), np.eye(2)).score == 0


@pytest.mark.parametrize(
    ("query", "document", "message"),
    [
        (np.ones(3), np.ones((1, 3)), r"query has shape \(3,\)"),
        (np.ones((1, 3)), np.ones((0, 3)), r"document has shape \(0, 3\)"),
        (np.ones((1, 3)), np.ones((1, 4)), "have 3 numbers and the document's 4"),
        (np.full((1, 3), np.nan), np.ones((1, 3)), "query holds a value that is not finite"),
    ],
)
def test_what_is_no_multivector_is_refused(query, document, message):
    with pytest.raises(RagkitError, match=message):
        maxsim(query, document)
