"""What every encoder with a cache does: nothing twice, in order, and nothing of another model, role or text."""

import sqlite3
from unittest.mock import MagicMock, call

import numpy as np
import pytest

from ragkit import RagkitError
from ragkit.encoders.cached_encoder import CachedEncoder, checked
from ragkit.encoders.embedding_cache import EmbeddingCache


class Lengths(CachedEncoder):
    """Rows that say how long a text is and what its role is, two texts a batch; it keeps what it was asked for."""

    multivector, checksums = True, {}

    def __init__(self, name="of/lengths 2", fingerprint="f" * 64, cache=True, dim=3):
        self.name, self.cache, self.dim, self.asked, self.print = name, cache, dim, [], fingerprint

    fingerprint = property(lambda self: self.print)

    def token_counts(self, texts):
        return [100 + len(text) for text in texts]

    def _compute(self, texts, role):
        for start in range(0, len(texts), 2):
            batch = texts[start : start + 2]
            self.asked += batch
            yield batch, [array(text, role).astype(np.float64) for text in batch]


def array(text, role="document"):
    return np.full((len(text) % 4 + 1, 3), len(text) + {"document": 0, "query": 0.5}[role], np.float32)


def same(found, texts, role="document"):
    assert len(found) == len(texts)
    for one, text in zip(found, texts, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, array(text, role))


TEXTS = ["", "a", "bb", "ccc", "dddd", "a", "eeeee"]


def test_texts_come_in_order_each_encoded_once(own_cache):
    encoder = Lengths()
    same(encoder.encode_documents(TEXTS), TEXTS)
    assert encoder.asked == list(dict.fromkeys(TEXTS))
    same(encoder.encode_documents(TEXTS[::-1]), TEXTS[::-1])
    assert len(encoder.asked) == 6  # all were there
    same(encoder.encode_documents(["new", "a"]), ["new", "a"])
    assert encoder.asked[6:] == ["new"]


def test_documents_and_queries_models_and_fingerprints_are_kept_apart(own_cache):
    same(Lengths().encode_documents(TEXTS), TEXTS)
    for other, role in ((Lengths(), "query"), (Lengths("other"), "document"), (Lengths(fingerprint="e" * 64), "query")):
        encode = other.encode_queries if role == "query" else other.encode_documents
        same(encode(TEXTS), TEXTS, role)
        assert len(other.asked) == 6
    names = sorted(path.name for path in (own_cache / "embeddings").glob("*.sqlite"))
    kept = ["of--lengths-2-eeeeeeeeeeeeeeee-query", "of--lengths-2-ffffffffffffffff-document"]
    kept += ["of--lengths-2-ffffffffffffffff-query", "other-ffffffffffffffff-document"]
    assert names == [f"{name}.sqlite" for name in kept]


def test_what_an_encoder_is_made_from_says_what_it_runs_on(own_cache):
    class OnGpu(Lengths):
        provider = "cuda"

    made = Lengths("made")
    made.source = OnGpu()
    assert (Lengths().provider, made.provider) == ("", "cuda")
    assert made._store("query").path.name == "made-ffffffffffffffff-cuda-query.sqlite"


def test_without_a_cache_nothing_is_kept_and_nothing_encoded_twice_in_a_call(own_cache):
    encoder = Lengths(cache=False)
    same(encoder.encode_documents(TEXTS), TEXTS)
    assert encoder.asked == list(dict.fromkeys(TEXTS))
    same(encoder.encode_queries(["a"]), ["a"], "query")
    encoder.prepare(["b"])
    assert encoder.asked[6:] == ["a"]  # nothing can be prepared
    same(list(encoder.stream(["b", "a"])), ["b", "a"])
    assert encoder.rows(["a", "bb"]) == ([101, 102], ["a", "bb"])
    assert not (own_cache / "embeddings").exists()


def test_a_call_that_ends_early_has_kept_the_batches_before(own_cache):
    class Ending(Lengths):
        def _compute(self, texts, role):
            for batch, arrays in super()._compute(texts, role):
                if "dddd" in batch:
                    raise KeyboardInterrupt
                yield batch, arrays

    with pytest.raises(KeyboardInterrupt):
        Ending().encode_documents(["a", "bb", "ccc", "dddd", "eeeee"])
    encoder = Lengths()
    encoder.encode_documents(["a", "bb", "ccc", "dddd", "eeeee"])
    assert encoder.asked == ["ccc", "dddd", "eeeee"]


def test_one_query_is_made_anew_whatever_is_kept(own_cache):
    encoder = Lengths()
    encoder.encode_queries(["a"])
    found = encoder.encode_query("a")
    assert encoder.asked == ["a", "a"] and found.dtype == np.float32
    np.testing.assert_array_equal(found, array("a", "query"))


def test_a_stream_is_in_order_over_many_reads(own_cache):
    texts = [f"{'x' * (i % 9)}{i}" for i in range(150)]
    encoder = Lengths()
    same(list(encoder.stream(texts)), texts)
    assert encoder.asked == texts
    encoder.prepare(texts)
    assert len(encoder.asked) == 150


def test_rows_are_exact_where_they_are_kept_and_bounds_elsewhere(own_cache):
    encoder = Lengths()
    encoder.prepare(["a", "bb"])
    assert encoder.rows(["ccc", "a", "ccc", "bb"]) == ([103, 2, 103, 3], ["ccc"])
    assert encoder.rows(["a"]) == ([2], [])
    encoder.multivector = False
    assert encoder.rows(["ccc", "a"]) == ([1, 1], ["ccc"])
    assert encoder.asked == ["a", "bb"]


def test_rows_of_what_is_kept_are_found_at_the_first_asking_and_no_model_counts_tokens(own_cache, monkeypatch):
    encoder = Lengths()
    encoder.prepare(["a", "bb"])

    def fail(*_):
        raise AssertionError("all is kept")

    for name in ("_absent", "token_counts"):  # what looks in a mirror, and what loads a model
        monkeypatch.setattr(encoder, name, fail)
    assert encoder.rows(["bb", "a"]) == ([3, 2], [])


def test_an_encoder_without_a_cache_counts_nothing_as_kept_that_another_of_its_model_keeps(own_cache):
    Lengths().prepare(["a"])
    assert Lengths(cache=False).rows(["a"]) == ([101], ["a"])


@pytest.mark.parametrize("ask", ["encode_documents", "prepare", "rows"])
def test_what_a_mirror_holds_is_not_encoded(own_cache, tmp_path, monkeypatch, ask):
    mirror = tmp_path / "mirror"
    (mirror / "embeddings").mkdir(parents=True)
    Lengths().share(mirror / "embeddings", ["a", "bb"], "document")
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path / "another"))
    monkeypatch.setenv("RAGKIT_MIRROR", str(mirror))
    encoder = Lengths()
    found = getattr(encoder, ask)(["a", "bb"])
    assert encoder.asked == [] and (ask != "rows" or found == ([2, 3], []))
    monkeypatch.delenv("RAGKIT_MIRROR")
    same(encoder.encode_documents(["a", "bb", "ccc"]), ["a", "bb", "ccc"])  # it was copied
    assert encoder.asked == ["ccc"]


def test_what_is_shared_is_what_was_asked_for(own_cache, tmp_path):
    encoder = Lengths()
    encoder.prepare(["a", "bb", "ccc"])
    path = encoder.share(tmp_path, ["a", "dddd"], "document")
    assert path == tmp_path / "of--lengths-2-ffffffffffffffff-document.sqlite"
    same(EmbeddingCache(path).get(["a", "dddd"]), ["a", "dddd"])
    assert EmbeddingCache(path).get(["bb"]) == [None]
    assert encoder.asked == ["a", "bb", "ccc", "dddd"]
    encoder.share(tmp_path, ["a", "bb"], "document")  # into the same file
    same(EmbeddingCache(path).get(["a", "bb", "dddd"]), ["a", "bb", "dddd"])


@pytest.mark.parametrize("read", ["encode_documents", "encode_queries", "share"])
def test_a_row_that_a_disk_changed_is_encoded_again(own_cache, tmp_path, read):
    encoder, role = Lengths(), "query" if read == "encode_queries" else "document"
    encoder._encode(["a", "bb"], role)
    path = encoder._store(role).path
    with sqlite3.connect(path) as db:
        db.execute("UPDATE arrays SET data = zeroblob(length(data))")
    db.close()
    fresh = Lengths()
    with pytest.warns(UserWarning, match="damaged"):
        if read == "share":
            same(EmbeddingCache(fresh.share(tmp_path, ["a", "bb"], "document")).get(["a", "bb"]), ["a", "bb"])
        else:
            same(getattr(fresh, read)(["bb", "a"]), ["bb", "a"], role)
    assert sorted(fresh.asked) == ["a", "bb"]
    same(Lengths()._encode(["a", "bb"], role), ["a", "bb"], role)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_with_the_text_and_not_kept(own_cache, value):
    class Bad(Lengths):
        def _compute(self, texts, role):
            for batch, arrays in super()._compute(texts, role):
                yield batch, [one if text != "bad" else one * value for text, one in zip(batch, arrays, strict=True)]

    with pytest.raises(RagkitError) as caught:
        Bad().encode_documents(["a", "bb", "ccc", "bad"])
    assert str(caught.value) == (
        "of/lengths 2 gave numbers that are not finite for 'bad'; nothing can be compared with them. "
        "Leave that text out, or choose another model."
    )
    assert Lengths().rows(["a", "bb", "ccc", "bad"])[1] == ["ccc", "bad"]  # the whole batch


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one", "Expected a list of texts, got one string; pass [text]."),
        (["a", 3], "Text 1 is int, expected str; convert or drop it first."),
        (["a", "b", "\ud800"], "Text 2"),
    ],
)
def test_what_is_no_list_of_texts_is_refused_before_anything_is_encoded(own_cache, texts, message):
    encoder = Lengths()
    with pytest.raises(RagkitError) as caught:
        checked(texts)
    assert str(caught.value).startswith(message)
    for ask in (encoder.encode_documents, encoder.encode_queries, encoder.prepare, encoder.rows, encoder.stream):
        with pytest.raises(RagkitError):
            list(ask(texts))
    assert encoder.asked == []
    assert checked(iter(["a", "b"])) == ["a", "b"]


def test_it_says_what_it_makes(own_cache):
    encoder = Lengths()
    assert repr(encoder) == "<Lengths of/lengths 2: late interaction, dim 3>"
    encoder.multivector = False
    assert repr(encoder) == "<Lengths of/lengths 2: dense, dim 3>"


def test_progress_is_told_by_the_models_name_and_what_is_encoded(own_cache, monkeypatch):
    bar = MagicMock()
    monkeypatch.setattr("ragkit.encoders.cached_encoder.progress", bar)
    Lengths().encode_documents(["a", "bb", "ccc"])
    Lengths().encode_queries(["a"])
    what = [call(3, "lengths 2: encoding documents", "text"), call(1, "lengths 2: encoding queries", "text")]
    assert bar.call_args_list == what
    assert bar.return_value.__enter__.return_value.update.call_args_list == [call(2), call(1), call(1)]
