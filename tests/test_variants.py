"""Names of vectors: what each stands for, and why others are refused; MUVERA against FastEmbed's own."""

from itertools import permutations

import numpy as np
import pytest
from fastembed.postprocess import Muvera

from ragkit import RagkitError, Storage, VectorSpec, load_encoder, load_encoders
from ragkit.encoders.muvera import MuveraEncoder
from ragkit.encoders.token_pooling import TokenPooledEncoder
from ragkit.encoders.variants import BASES, WORDS, Variant, vector_spec
from ragkit.vectors import DATATYPES, QUANTIZATIONS

VECTORS = [base for base in BASES if base != "bm25"]
MULTIVECTORS = ["colbert", "tokens"]
SINGLE = ["dense", "muvera"]


@pytest.mark.parametrize("base", BASES)
def test_a_base_alone_is_kept_as_it_is(base):
    assert Variant.parse(base) == Variant(base, 1, Storage())


@pytest.mark.parametrize("base", VECTORS)
@pytest.mark.parametrize(
    ("words", "storage"),
    [
        *((name, Storage(datatype=name)) for name in DATATYPES),
        *((name, Storage(quantization=name)) for name in QUANTIZATIONS),
        *((f"{name}-raw", Storage(quantization=name, rescore=False)) for name in QUANTIZATIONS),
        ("disk", Storage(on_disk=True)),
        ("turbo8-disk", Storage(datatype="turbo8", on_disk=True)),
        ("float16-int8-raw-disk", Storage("float16", "int8", rescore=False, on_disk=True)),
    ],
)
def test_words_say_how_vectors_are_kept(base, words, storage):
    assert Variant.parse(f"{base}-{words}") == Variant(base, 1, storage)


@pytest.mark.parametrize("base", SINGLE)
def test_single_vectors_may_have_a_graph(base):
    assert Variant.parse(f"{base}-hnsw") == Variant(base, 1, Storage(hnsw_m=16))
    assert Variant.parse(f"{base}-int8-hnsw").storage == Storage(quantization="int8", hnsw_m=16)


@pytest.mark.parametrize("base", MULTIVECTORS)
@pytest.mark.parametrize("factor", range(2, 10))
def test_multivectors_may_be_pooled(base, factor):
    assert Variant.parse(f"{base}-pool{factor}") == Variant(base, factor)


def test_the_order_of_words_does_not_matter():
    parsed = {
        Variant.parse("-".join(["colbert", *words])) for words in permutations(["pool2", "float16", "int8", "raw"])
    }
    assert parsed == {Variant("colbert", 2, Storage("float16", "int8", rescore=False))}


def test_small_is_short_for_the_recommended_way():
    assert Variant.parse("colbert-small") == Variant.parse("colbert-pool4-turbo4")
    assert Variant.parse("dense-small") == Variant.parse("dense-turbo4") == Variant("dense", 1, Storage("turbo4"))
    assert Variant.parse("colbert-small-disk").storage.on_disk


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "there are no vectors ''; expected one of dense, colbert, tokens, muvera, bm25"),
        ("lateon", "there are no vectors 'lateon'"),
        ("pool2", "there are no vectors 'pool2'"),
        ("Colbert", "there are no vectors 'Colbert'"),
        ("colbert-", "'' is none of pool2"),
        ("colbert-turbo3", "'turbo3' is none of pool2, .* turbo4copy, .* raw, hnsw, disk, small"),
        ("colbert-pool", "'pool' is none of"),
        ("colbert-pool1", "'pool1' is none of"),
        ("colbert-pool10", "'pool10' is none of"),
        ("colbert_pool2", "there are no vectors 'colbert_pool2'"),
        ("colbert-int8-int8", "a word is there twice"),
        ("colbert-pool2-pool4", "two poolings"),
        ("colbert-int8-turbo4copy", "two quantizations"),
        ("colbert-float16-turbo8", "two datatypes"),
        ("colbert-small-turbo8", "two datatypes.*small says all three"),
        ("colbert-pool2-small", "two poolings"),
        ("dense-small-int8", "two quantizations"),
        ("bm25-small", "bm25 is kept in one way only"),
        ("dense-pool2", "dense has one row a document, so there is nothing to pool"),
        ("muvera-pool2", "muvera has one row a document, so there is nothing to pool"),
        ("bm25-pool2", "bm25 has one row a document"),
        ("colbert-hnsw", r"a graph over multivectors costs tokens² comparisons an insertion; take muvera-hnsw first"),
        ("tokens-hnsw", "a graph over multivectors"),
        ("bm25-int8", "bm25 is kept in one way only"),
        ("bm25-disk", "bm25 is kept in one way only"),
        ("dense-raw", "raw needs a quantization"),
        ("colbert-turbo8-raw", "raw needs a quantization"),
        ("colbert-turbo8-int8", "turbo8 is rounded already, and cannot be quantized again"),
    ],
)
def test_other_names_are_refused_with_the_reason(name, reason):
    with pytest.raises(RagkitError, match=f"^{name!r} is no name of vectors: .*{reason}"):
        Variant.parse(name)
    with pytest.raises(RagkitError):
        load_encoders(["dense", name])


@pytest.mark.parametrize("word", [*(f"pool{i}" for i in range(2, 10)), *DATATYPES, *QUANTIZATIONS, "modifier"])
def test_whoever_writes_a_word_that_is_none_is_told_all_that_there_are(word):
    with pytest.raises(RagkitError, match=f" is none of .*\\b{word}\\b"):
        Variant.parse("colbert-none")


@pytest.mark.parametrize("word", WORDS)
def test_every_word_that_is_told_is_one(word):
    base = {"hnsw": "dense", "modifier": "bm25", "raw": "dense-int8"}.get(word, "colbert")
    assert Variant.parse(f"{base}-{word}") != Variant.parse(base) or word == "float32"


def test_a_model_that_several_names_need_is_loaded_once():
    encoders = load_encoders(
        ["colbert", "colbert-turbo4copy", "colbert-pool2", "colbert-pool3-int8", "muvera", "dense"]
    )
    colbert = encoders["colbert"]
    assert encoders["colbert-turbo4copy"] is colbert and encoders["dense"] is not colbert
    assert all(encoders[name].source is colbert for name in ("colbert-pool2", "colbert-pool3-int8", "muvera"))
    assert len({encoder.fingerprint for encoder in encoders.values()}) == 5


def test_a_spec_has_the_widths_of_the_encoder_and_the_storage_of_the_name():
    names = ["dense-int8", "colbert-pool2-turbo4copy", "tokens-float16", "muvera-hnsw", "bm25"]
    assert {name: vector_spec(name, encoder) for name, encoder in load_encoders(names).items()} == {
        "dense-int8": VectorSpec(384, storage=Storage(quantization="int8")),
        "colbert-pool2-turbo4copy": VectorSpec(128, True, storage=Storage(quantization="turbo4copy")),
        "tokens-float16": VectorSpec(384, True, storage=Storage("float16")),
        "muvera-hnsw": VectorSpec(10_240, storage=Storage(hnsw_m=16)),
        "bm25": VectorSpec(0, sparse=True),
    }


@pytest.mark.slow
@pytest.mark.parametrize("settings", [(4, 16, 40), (3, 8, 5), (2, 128, 3)])
def test_muvera_is_as_fastembed_makes_it(settings, movies, colbert, own_cache):
    k_sim, dim_proj, r_reps = settings
    encoder, theirs = MuveraEncoder(colbert, *settings), Muvera(128, k_sim=k_sim, dim_proj=dim_proj, r_reps=r_reps)
    queries = movies.queries["text"].tolist()
    ours = encoder.encode_documents(movies.passages), encoder.encode_queries(queries)
    assert ours[0][0].shape == (2**k_sim * dim_proj * r_reps,) == (encoder.dim,)
    for vector, rows in zip(ours[0], colbert.encode_documents(movies.passages), strict=True):
        np.testing.assert_allclose(vector, theirs.process_document(rows), rtol=2e-6, atol=2e-6)
    for vector, rows in zip(ours[1], colbert.encode_queries(queries), strict=True):
        np.testing.assert_allclose(vector, theirs.process_query(rows), rtol=2e-6, atol=2e-6)


@pytest.mark.slow
def test_a_product_of_muvera_is_near_maxsim(movies, colbert, own_cache):
    """Its promise: products of the long vectors order documents much as MaxSim does."""
    encoder = MuveraEncoder(colbert)
    documents, queries = movies.passages, movies.queries["text"].tolist()
    products = np.stack(encoder.encode_queries(queries)) @ np.stack(encoder.encode_documents(documents)).T
    rows = colbert.encode_documents(documents)
    scores = np.array([[(q @ d.T).max(1).sum() for d in rows] for q in colbert.encode_queries(queries)])
    correlations = [np.corrcoef(a, b)[0, 1] for a, b in zip(products, scores, strict=True)]
    assert np.mean(correlations) > 0.7


@pytest.mark.parametrize("wrap", [MuveraEncoder, lambda encoder: TokenPooledEncoder(encoder, 2)])
def test_a_dense_model_has_no_rows_to_make_one_of(wrap):
    with pytest.raises(RagkitError, match="all-MiniLM-L6-v2 has one vector a text"):
        wrap(load_encoder("dense"))
