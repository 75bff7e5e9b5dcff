"""Token pooling, against Ward's method written out."""

import warnings
from math import ceil

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from ragkit import RagkitError, load_encoders
from ragkit.encoders import token_pooling
from ragkit.encoders._threads import one_thread
from ragkit.encoders.token_pooling import TokenPooledEncoder, pool_tokens


def ward(points, groups):
    """Join the two groups that add least to the squared distances from the groups' means, until so many are left."""
    parts = [[i] for i in range(len(points))]

    def spread(part):
        return ((points[part] - points[part].mean(0)) ** 2).sum()

    while len(parts) > groups:
        pairs = [(a, b) for i, a in enumerate(parts) for b in parts[:i]]
        a, b = min(pairs, key=lambda pair: spread(pair[0] + pair[1]) - spread(pair[0]) - spread(pair[1]))
        parts = [part for part in parts if part not in (a, b)] + [a + b]
    return parts


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("rows", [4, 9, 16, 31])
def test_groups_are_those_of_wards_method(rows, factor, rng):
    array = rng.standard_normal((rows, 6)).astype(np.float32)
    units = array[1:] / np.linalg.norm(array[1:], axis=1, keepdims=True)
    means = {tuple(units[part].mean(0).round(5)) for part in ward(units.astype(np.float64), ceil((rows - 1) / factor))}
    pooled = pool_tokens(array, factor)
    assert pooled.dtype == np.float32
    np.testing.assert_array_equal(pooled[0], array[0])
    expected = np.array(sorted(means))
    np.testing.assert_allclose(pooled[1:][np.lexsort(pooled[1:].T[::-1].round(5))], expected, atol=2e-5)


def test_four_rows_by_hand():
    """East and nearly east are joined, as are north and long north: directions count, lengths do not."""
    rows = np.array([[5, 5], [1, 0], [0, 1], [0, 9], [3, 0.03]], np.float32)
    pooled = pool_tokens(rows, 2)
    np.testing.assert_allclose(sorted(pooled.tolist()), [[0, 1], [0.99998, 0.005], [5, 5]], atol=1e-4)


@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_factor_one_is_the_identity(rows, rng):
    array = rng.standard_normal((rows, 3))
    pooled = pool_tokens(array, 1)
    assert pooled.dtype == np.float32
    np.testing.assert_array_equal(pooled, array.astype(np.float32))


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 9])
def test_a_factor_th_of_the_rows_is_left_and_the_first(factor, rng):
    for rows in range(1, 40):
        assert len(pool_tokens(rng.standard_normal((rows, 5)), factor)) == 1 + ceil((rows - 1) / factor)


def test_equal_rows_become_their_mean_and_nothing_is_invented():
    row = np.array([3.0, 4.0], np.float32)
    pooled = pool_tokens(np.stack([row] * 9), 2)
    assert 2 <= len(pooled) <= 5
    np.testing.assert_allclose(pooled, [row, *[row / 5] * (len(pooled) - 1)], rtol=1e-6)


@pytest.mark.parametrize("zeros", [[1], [0], [2, 5], range(8)])
def test_rows_of_zeros_make_no_nan(zeros, rng):
    array = rng.standard_normal((8, 4))
    array[list(zeros)] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(pool_tokens(array, 2)).all()


def test_pooling_changes_nothing_of_its_input(rng):
    array = rng.standard_normal((9, 4)).astype(np.float32)
    before = array.copy()
    pool_tokens(array, 3)
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("factor", [0, -2])
def test_a_factor_below_one_is_refused(factor):
    with pytest.raises(RagkitError, match=f"pooling factor is {factor}; expected 1"):
        pool_tokens(np.ones((3, 2)), factor)


@pytest.mark.slow
def test_documents_are_pooled_and_queries_are_not(movies, colbert, own_cache):
    encoder = TokenPooledEncoder(colbert, 3)
    for pooled, rows in zip(
        encoder.encode_documents(movies.passages), colbert.encode_documents(movies.passages), strict=True
    ):
        np.testing.assert_array_equal(pooled, pool_tokens(rows, 3))
        assert len(pooled) == 1 + ceil((len(rows) - 1) / 3)
    queries = movies.queries["text"].tolist()[:4]
    for a, b in zip(encoder.encode_queries(queries), colbert.encode_queries(queries), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_rows_are_predicted_at_most_and_then_known(movies, own_cache, monkeypatch):
    monkeypatch.delenv("RAGKIT_MIRROR", raising=False)
    (encoder,) = load_encoders(["colbert-pool2"]).values()
    predicted, absent = encoder.rows(movies.passages)
    assert absent == movies.passages
    real = [len(rows) for rows in encoder.encode_documents(movies.passages)]
    assert all(at_most >= count for at_most, count in zip(predicted, real, strict=True))
    assert encoder.rows(movies.passages) == (real, [])


@pytest.mark.slow
def test_what_is_pooled_otherwise_is_kept_apart(movies, colbert, own_cache):
    two, four = TokenPooledEncoder(colbert, 2), TokenPooledEncoder(colbert, 4)
    assert len({encoder.fingerprint for encoder in (colbert, two, four)}) == 3
    a, b = (encoder.encode_documents(movies.passages[:1])[0] for encoder in (two, four))
    assert len(a) > len(b)


def threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_small_products_take_one_thread_and_leave_the_others_as_they_were(rng, monkeypatch):
    """Threads of a BLAS would wait for one another ten times as long as a document's rows take."""
    seen = []
    muvera = load_encoders(["muvera"])["muvera"]
    for module, name in ((token_pooling, "linkage"), (muvera._muvera, "_sorted")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, real=real: seen.append(threads()) or real(*a))
    rows = rng.standard_normal((20, 128)).astype(np.float32)
    with threadpool_limits(2, "blas"):
        for make in (lambda: pool_tokens(rows, 2), lambda: muvera.document_from(rows), lambda: muvera.query_from(rows)):
            make()
            assert threads() == {2}
    assert seen == [{1}] * 3


def test_the_last_of_two_that_pool_at_once_gives_the_threads_back():
    with threadpool_limits(2, "blas"):
        first, second = one_thread(), one_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert threads() == {1}
        second.__exit__(None, None, None)
        assert threads() == {2}
