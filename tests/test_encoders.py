import subprocess
import sys

import numpy as np
import pytest
from fastembed import LateInteractionTextEmbedding, TextEmbedding
from qdrant_client import QdrantClient, models

import ragkit
from ragkit import RagkitError
from ragkit.encoders import embedded
from ragkit.encoders.encoder import Encoder

MIXED = ["A film.", "", "Naïve café — 日本語, “quotes”!", "word " * 400, "x", "one two three four five six seven"]


def fastembed_model(name):
    embedded.register_models()
    return (TextEmbedding if name == embedded.DENSE else LateInteractionTextEmbedding)(name)


@pytest.mark.parametrize("name", [embedded.DENSE, embedded.COLBERT, embedded.TOKENS])
def test_document_vectors_equal_fastembeds_own(name, movies, own_cache):
    texts = movies.passages + MIXED
    theirs = list(fastembed_model(name).embed(texts))
    ours = Encoder(name).encode_documents(texts)
    for mine, their in zip(ours, theirs, strict=True):
        assert mine.shape == their.shape
        np.testing.assert_allclose(mine, their, atol=2e-6)


@pytest.mark.parametrize("name", [embedded.DENSE, embedded.COLBERT, embedded.TOKENS])
def test_query_vectors_equal_fastembeds_own(name, movies, own_cache):
    texts = movies.queries["text"].tolist()[::5]
    theirs = list(fastembed_model(name).query_embed(texts))
    for mine, their in zip(Encoder(name).encode_queries(texts), theirs, strict=True):
        np.testing.assert_allclose(mine, their, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", [embedded.DENSE, embedded.COLBERT, embedded.TOKENS])
def test_workers_of_fastembed_know_the_embedded_models(name, movies):
    model = fastembed_model(name)
    one = list(model.embed(movies.passages))
    many = list(model.embed(movies.passages, batch_size=5, parallel=2))
    for a, b in zip(one, many, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


def test_fastembed_lists_every_model_once():
    embedded.register_models()
    embedded.register_models()
    for cls in (TextEmbedding, LateInteractionTextEmbedding):
        names = [model["model"] for model in cls.list_supported_models()]
        assert len(names) == len(set(names))
    assert {embedded.COLBERT, embedded.TOKENS} <= set(names)


def test_importing_ragkit_registers_nothing_and_loads_nothing_heavy():
    code = (
        "import sys, ragkit; assert not {'fastembed', 'qdrant_client', 'qdrant_edge', 'pandas'} & set(sys.modules);"
        "from fastembed import LateInteractionTextEmbedding as L;"
        "assert not [m for m in L.list_supported_models() if 'ragkit' in m['model']]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_implicit_embedding_gives_the_same_scores(movies):
    embedded.register_models()
    client = QdrantClient(":memory:")
    multivector = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    client.create_collection(
        "movies",
        vectors_config=models.VectorParams(size=128, distance=models.Distance.COSINE, multivector_config=multivector),
    )
    documents = [models.Document(text=text, model=embedded.COLBERT) for text in movies.passages]
    client.upsert("movies", [models.PointStruct(id=i, vector=d) for i, d in enumerate(documents)])
    text = movies.queries["text"][0]
    implicit = client.query_points("movies", query=models.Document(text=text, model=embedded.COLBERT), limit=20).points
    encoder = Encoder(embedded.COLBERT)
    with ragkit.open_index(":memory:", {"colbert": ragkit.VectorSpec(128, True)}) as index:
        index.add(movies.documents["doc_id"], {"colbert": encoder.encode_documents(movies.passages)})
        explicit = index.search(encoder.encode_queries([text])[0], "colbert", 20)
    assert [str(point.id) for point in implicit] == [doc_id for doc_id, _ in explicit]
    np.testing.assert_allclose([p.score for p in implicit], [score for _, score in explicit], atol=1e-4)


@pytest.mark.parametrize("name", [embedded.COLBERT, embedded.TOKENS])
def test_every_row_has_its_token(name, movies, own_cache):
    encoder = Encoder(name)
    texts = movies.passages + MIXED
    for text, vectors in zip(texts, encoder.encode_documents(texts), strict=True):
        rows = [token.row for token in encoder.tokens(text) if token.row is not None]
        assert rows == list(range(len(vectors)))
    queries = movies.queries["text"].tolist()
    for text, vectors in zip(queries, encoder.encode_queries(queries), strict=True):
        assert [token.row for token in encoder.tokens(text, query=True)] == list(range(len(vectors)))


def test_a_token_label_belongs_to_its_row(colbert):
    """Two texts that differ in one word: the row that changes most is the one labelled with that word."""
    a, b = "The king ate bread in winter.", "The king ate bread in summer."
    changed = np.linalg.norm(np.subtract(*colbert.encode_documents([a, b])), axis=1)
    labels = [token.label for token in colbert.tokens(a) if token.row is not None]
    assert labels[int(changed.argmax())] == "winter"


def test_tokens_are_shown_for_what_they_are(colbert):
    assert [(t.label, t.kind, t.row) for t in colbert.tokens("Hi, you.")] == [
        ("[CLS]", "special", 0),
        ("[D]", "marker", 1),
        ("hi", "word", 2),
        (",", "skipped", None),
        ("you", "word", 3),
        (".", "skipped", None),
        ("[SEP]", "special", 4),
    ]
    query = colbert.tokens("Hi, you.", query=True)
    assert [t.label for t in query[:2]] == ["[CLS]", "[Q]"]
    assert [t.kind for t in query].count("mask") == 32 - 7 and len(query) == 32


def test_a_long_query_is_not_cut(movies, colbert):
    long = movies.queries[movies.queries["kind"] == "long"]["text"].tolist()
    assert len(long) >= 3
    for text, vectors in zip(long, colbert.encode_queries(long), strict=True):
        assert len(vectors) > 32
        assert not [t for t in colbert.tokens(text, query=True) if t.kind == "mask"]


def test_encoded_texts_come_from_the_cache(own_cache, monkeypatch):
    first = Encoder(embedded.COLBERT).encode_documents(MIXED)
    again = Encoder(embedded.COLBERT)
    monkeypatch.setattr(again, "_embed", lambda *_: pytest.fail("encoded twice"))
    for a, b in zip(first, again.encode_documents(MIXED + MIXED[:1]), strict=False):
        np.testing.assert_array_equal(a, b)


def test_an_interrupted_call_resumes_where_it_stopped(own_cache, monkeypatch):
    texts = [f"text number {i} " * 60 for i in range(40)]
    encoder, calls = Encoder(embedded.DENSE), []

    def stop_at_the_third(batch, role, embed=encoder._embed):
        calls.append(len(batch))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed(batch, role)

    monkeypatch.setattr(encoder, "_embed", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        encoder.encode_documents(texts)
    again, rest = Encoder(embedded.DENSE), []
    monkeypatch.setattr(again, "_embed", lambda b, r, embed=again._embed: rest.extend(b) or embed(b, r))
    again.encode_documents(texts)
    assert len(rest) == 40 - sum(calls[:2])


def test_models_and_roles_do_not_share_a_cache_entry(own_cache):
    text = ["The same words."]
    document, query = (
        Encoder(embedded.COLBERT).encode_documents(text)[0],
        Encoder(embedded.COLBERT).encode_queries(text)[0],
    )
    tokens = Encoder(embedded.TOKENS).encode_documents(text)[0]
    assert (document.shape, query.shape, tokens.shape) == ((6, 128), (32, 128), (5, 384))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Encoder("colbert-ir/colbertv3"), "knows no model 'colbert-ir/colbertv3'"),
        (lambda: Encoder(embedded.COLBERT).encode_documents("one text"), r"pass \[text\]"),
        (lambda: Encoder(embedded.COLBERT).encode_documents(["a", None]), "Text 1 is NoneType"),
        (lambda: Encoder(embedded.DENSE).tokens("a"), "is a dense model"),
        (lambda: ragkit.load_encoder("sparse"), "no vectors named 'sparse'"),
    ],
)
def test_bad_input_is_named(call, message, own_cache):
    with pytest.raises(RagkitError, match=message):
        call()


def test_the_models_are_chosen_by_one_variable(monkeypatch):
    monkeypatch.setenv("RAGKIT_COLBERT_MODEL", embedded.TOKENS)
    assert ragkit.load_encoder("colbert").dim == 384
    monkeypatch.setenv("RAGKIT_DENSE_MODEL", embedded.COLBERT)
    with pytest.raises(RagkitError, match="late-interaction model and cannot serve as 'dense'"):
        ragkit.load_encoder("dense")


def test_a_changed_model_file_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "models" / "colbert-minilm-l6"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"not the model")
    (tmp_path / "models" / "SHA256SUMS").write_text("0" * 64 + "  colbert-minilm-l6/model.onnx\n")
    monkeypatch.setenv("RAGKIT_DATA", str(tmp_path))
    embedded.checksums.cache_clear(), embedded.model_folder.cache_clear()
    try:
        with pytest.raises(RagkitError, match="git checkout -- data/models"):
            Encoder(embedded.COLBERT)
    finally:
        embedded.checksums.cache_clear(), embedded.model_folder.cache_clear()
