import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from fastembed import LateInteractionTextEmbedding, TextEmbedding
from fastembed.late_interaction.colbert import Colbert
from fastembed.text.pooled_normalized_embedding import PooledNormalizedEmbedding
from qdrant_client import QdrantClient, models

import ragkit
from ragkit import RagkitError
from ragkit.encoders import _fastembed, embedded
from ragkit.encoders import encoder as encoder_module
from ragkit.encoders.encoder import Encoder
from ragkit.encoders.token_pooling import TokenPooledEncoder
from ragkit.paths import data_dir

MIXED = ["A film.", "", "Naïve café — 日本語, “quotes”!", "word " * 400, "x", "one two three four five six seven"]


def fastembed_model(name):
    ragkit.register_models()
    return (TextEmbedding if name == embedded.DENSE else LateInteractionTextEmbedding)(name)


@pytest.mark.thorough
@pytest.mark.parametrize("name", [embedded.DENSE, embedded.COLBERT, embedded.TOKENS])
def test_document_vectors_equal_fastembeds_own(name, movies, own_cache):
    texts = movies.passages + MIXED
    theirs = list(fastembed_model(name).embed(texts))
    ours = Encoder(name).encode_documents(texts)
    for mine, their in zip(ours, theirs, strict=True):
        assert mine.shape == their.shape
        np.testing.assert_allclose(mine, their, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", [embedded.DENSE, embedded.COLBERT, embedded.TOKENS])
def test_query_vectors_equal_fastembeds_own(name, movies, own_cache):
    texts = movies.queries["text"].tolist()[::5]
    theirs = list(fastembed_model(name).query_embed(texts))
    for mine, their in zip(Encoder(name).encode_queries(texts), theirs, strict=True):
        np.testing.assert_allclose(mine, their, atol=2e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("name", [embedded.DENSE, embedded.COLBERT, embedded.TOKENS])
def test_workers_of_fastembed_know_the_embedded_models(name, movies):
    model = fastembed_model(name)
    one = list(model.embed(movies.passages))
    many = list(model.embed(movies.passages, batch_size=5, parallel=2))
    for a, b in zip(one, many, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


def test_fastembed_lists_every_model_once():
    ragkit.register_models()
    ragkit.register_models()
    for cls in (TextEmbedding, LateInteractionTextEmbedding):
        names = [model["model"] for model in cls.list_supported_models()]
        assert len(names) == len(set(names))
    assert {embedded.COLBERT, embedded.TOKENS} <= set(names)


@pytest.mark.slow
def test_importing_ragkit_registers_nothing_and_loads_nothing_heavy():
    code = (
        "import sys, ragkit; assert not {'fastembed', 'qdrant_client', 'qdrant_edge', 'pandas'} & set(sys.modules);"
        "from fastembed import LateInteractionTextEmbedding as L;"
        "assert not [m for m in L.list_supported_models() if 'ragkit' in m['model']]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_implicit_embedding_gives_the_same_scores(movies):
    ragkit.register_models()
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_encoded_texts_come_from_the_cache(own_cache, monkeypatch):
    first = Encoder(embedded.COLBERT).encode_documents(MIXED)
    again = Encoder(embedded.COLBERT)
    monkeypatch.setattr(again, "_embed", lambda *_: pytest.fail("encoded twice"))
    for a, b in zip(first, again.encode_documents(MIXED + MIXED[:1]), strict=False):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
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


@pytest.mark.slow
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
        (lambda: Encoder(embedded.COLBERT).encode_documents(["a", None]), "texts\\[1\\] is None"),
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


def copied(root, name):
    """A copy of a model's data, as RAGKIT_DATA may name it: its files, the models' checksums, and the list above."""
    source = data_dir()
    for path in (f"models/{embedded.FOLDERS[name]}", "models/SHA256SUMS", "SHA256SUMS"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (source / path).is_dir() else shutil.copyfile
        copy(source / path, root / path)
    return root


@pytest.fixture()
def own_data(tmp_path, monkeypatch):
    """A copy of the data of the embedded ColBERT model, in place of the checkout's."""
    monkeypatch.setenv("RAGKIT_DATA", str(copied(tmp_path / "data", embedded.COLBERT)))
    embedded.checksums.cache_clear(), embedded.model_folder.cache_clear()
    yield tmp_path / "data"
    embedded.checksums.cache_clear(), embedded.model_folder.cache_clear()


def test_a_changed_model_file_is_refused(own_data):
    assert Encoder(embedded.COLBERT, cache=False).dim == 128
    embedded.model_folder.cache_clear()
    (own_data / "models/colbert-minilm-l6/model.onnx").write_bytes(b"not the model")
    with pytest.raises(RagkitError, match="l6/model.onnx is damaged by SHA256SUMS.* git checkout -- data/models"):
        Encoder(embedded.COLBERT)


@pytest.mark.parametrize("keep", [0, 3, 200], ids=["empty", "cut between lines", "cut in a line"])
@pytest.mark.parametrize("which", ["models/SHA256SUMS", "SHA256SUMS"])
def test_a_damaged_list_of_checksums_does_not_switch_the_check_off(which, keep, own_data):
    """The model is damaged too, which a list without its line would not notice."""
    (own_data / "models/colbert-minilm-l6/model.onnx").write_bytes(b"not the model")
    text = (own_data / which).read_text("utf8")
    lines = text.splitlines(keepends=True)
    (own_data / which).write_text(text[:keep] if keep > 9 else "".join(lines[:keep]), "utf8")
    with pytest.raises(RagkitError, match=f"{which} (is damaged|does not list|cannot be read).*git checkout") as error:
        Encoder(embedded.COLBERT)
    assert "hub" not in str(error.value)
    (own_data / which).unlink()
    with pytest.raises(RagkitError, match="SHA256SUMS.*git checkout"):
        Encoder(embedded.COLBERT)


# What is FastEmbed's own.


def test_fastembeds_private_names_are_those_of_the_version_at_hand():
    """They may change with any version: look at `_fastembed`, run this file, then change WRITTEN_FOR."""
    assert version("fastembed") == _fastembed.WRITTEN_FOR == "0.9.1"
    for model in (TextEmbedding, LateInteractionTextEmbedding):
        assert isinstance(model.EMBEDDINGS_REGISTRY, list)
    for cls, worker in ((Colbert, "ColbertEmbeddingWorker"), (PooledNormalizedEmbedding, None)):
        assert callable(cls.download_model) and callable(cls.load_onnx_model) and callable(cls.tokenize)
        assert callable(cls._list_supported_models) and cls._get_worker_class().__name__ == (
            worker or "PooledNormalizedEmbeddingWorker"
        )
        assert {"model", "cache_dir", "retries"} <= set(signature(cls.download_model).parameters)
        assert "threads" in signature(cls).parameters and "providers" in signature(cls).parameters
    assert (Colbert.RESERVED_MARKER_TOKENS, Colbert.MIN_QUERY_LENGTH, Colbert.MASK_TOKEN) == (1, 31, "[MASK]")
    assert (Colbert.QUERY_MARKER_TOKEN_ID, Colbert.DOCUMENT_MARKER_TOKEN_ID) == (1, 2)
    assert list(signature(Colbert._preprocess_onnx_input).parameters) == ["self", "onnx_input", "is_doc", "kwargs"]
    assert list(signature(Colbert._post_process_onnx_output).parameters) == ["self", "output", "is_doc", "kwargs"]
    model = Encoder(embedded.COLBERT)._model.model
    assert Path(model._model_dir).name == "colbert-minilm-l6" and model.skip_list == set()
    model._ensure_tokenizer()
    assert model.tokenizer and model.skip_list and model.special_token_to_id and model.pad_token_id == 0
    assert {"model_file", "additional_files"} <= set(vars(model.model_description))


def test_fastembeds_private_names_are_used_in_one_place():
    names = "_model_dir|_ensure_tokenizer|_preprocess_onnx_input|_post_process_onnx_output|skip_list|pad_token_id"
    names += "|EMBEDDINGS_REGISTRY|special_token_to_id|_get_worker_class|_list_supported_models|load_onnx_model"
    private = re.compile(rf"\b({names})\b|(from|import) fastembed\.(?!postprocess\b|rerank)")
    package = Path(ragkit.__file__).parent
    users = {path.name for path in package.rglob("*.py") if private.search(path.read_text("utf8"))}
    assert users == {"_fastembed.py"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [embedded.DENSE, embedded.COLBERT, embedded.TOKENS])
def test_no_document_has_more_rows_than_the_model_reads_tokens(name, movies, own_cache, monkeypatch):
    monkeypatch.delenv("RAGKIT_MIRROR", raising=False)
    encoder, texts = Encoder(name), [*MIXED, "no stop at the end", *movies.passages[:3]]
    at_most = encoder.token_counts(texts)
    rows = [len(np.atleast_2d(array)) for array in encoder.encode_documents(texts)]
    assert all(count >= real for count, real in zip(at_most, rows, strict=True))
    if encoder.multivector:
        assert at_most[-4] == rows[-4]  # nothing of it is skipped


# Where a model runs.

AZURE = "AzureExecutionProvider"  # comes with ONNX Runtime for a processor, and leaves everything to it


def session(encoder):
    assert _fastembed.providers_got(encoder._model)
    return encoder._model.model.model


@pytest.mark.slow
def test_threads_and_providers_are_passed_on():
    encoder = Encoder(embedded.DENSE, threads=1, providers=["CPUExecutionProvider"])
    assert session(encoder).get_session_options().intra_op_num_threads == 1
    assert session(encoder).get_providers() == ["CPUExecutionProvider"] and encoder.provider == ""
    assert session(Encoder(embedded.DENSE, cuda=False)).get_providers() == ["CPUExecutionProvider"]


@pytest.mark.slow
@pytest.mark.skipif(AZURE not in _fastembed.providers_there(), reason=f"this ONNX Runtime has no {AZURE}")
def test_each_provider_has_its_own_files_in_the_cache_and_the_model_is_the_same(own_cache, monkeypatch):
    monkeypatch.delenv("RAGKIT_MIRROR", raising=False)
    plain, other = Encoder(embedded.DENSE), Encoder(embedded.DENSE, providers=[(AZURE, {}), "CPUExecutionProvider"])
    assert session(other).get_providers()[0] == AZURE
    assert (plain.provider, other.provider) == ("", "azure") and plain.fingerprint == other.fingerprint
    for encoder in (plain, other):
        encoder.encode_documents(["a film"])
    start = f"sentence-transformers--all-MiniLM-L6-v2-{plain.fingerprint[:16]}"
    names = {path.name for path in (own_cache / "embeddings").iterdir()}
    assert names == {f"{start}-document.sqlite", f"{start}-azure-document.sqlite"}
    colbert = Encoder(embedded.COLBERT, providers=[AZURE, "CPUExecutionProvider"])
    assert TokenPooledEncoder(colbert, 2).provider == "azure"


def test_a_provider_that_falls_back_to_the_processor_is_told_where_it_was_asked_for(monkeypatch):
    """As CUDA does without its driver: ONNX Runtime has it, and runs the model on the processor."""
    monkeypatch.setattr(_fastembed, "providers_there", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(_fastembed, "providers_got", lambda embedding: ["CPUExecutionProvider"])
    assert Encoder(embedded.DENSE).provider == ""
    with pytest.raises(RagkitError, match="was to run on CUDAExecutionProvider.*cuda=False"):
        Encoder(embedded.DENSE, cuda=True).provider  # noqa: B018


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"providers": ["NoExecutionProvider"]}, "ONNX Runtime has no NoExecutionProvider here; it has .*CPU"),
        ({"providers": []}, "ONNX Runtime has no provider"),
        ({"providers": ["CPUExecutionProvider"], "cuda": True}, "providers and cuda exclude each other"),
        ({"cuda": "gpu"}, "cuda is 'gpu' .str.; expected"),
        ({"threads": 0}, "threads is 0; expected a whole number from 1"),
    ],
)
def test_where_a_model_cannot_run_is_told_before_it_is_loaded(options, message):
    with pytest.raises(RagkitError, match=message):
        Encoder(embedded.DENSE, **options)


@pytest.mark.skipif("CUDAExecutionProvider" in _fastembed.providers_there(), reason="this ONNX Runtime has CUDA")
def test_cuda_that_is_not_there_is_told():
    with pytest.raises(RagkitError, match="no CUDAExecutionProvider here.*install onnxruntime-gpu"):
        Encoder(embedded.DENSE, cuda=True)


# What decides a vector is in the fingerprint, and an encoder says what it is.


@pytest.mark.slow
def test_another_version_of_fastembed_is_another_fingerprint(own_cache, monkeypatch):
    before = Encoder(embedded.DENSE)
    before.encode_documents(["a film"])
    monkeypatch.setattr(encoder_module, "version", lambda name: "9.9.9" if name == "fastembed" else version(name))
    after = Encoder(embedded.DENSE)
    assert before.fingerprint != after.fingerprint
    assert after.rows(["a film"])[1] == ["a film"]  # what the other version made is not read


def test_another_model_file_is_another_fingerprint(monkeypatch, tmp_path):
    before = Encoder(embedded.DENSE).fingerprint
    (tmp_path / "model.onnx").write_bytes(b"another")
    files = _fastembed.model_files
    monkeypatch.setattr(_fastembed, "model_files", lambda e: files(e) | {"model.onnx": tmp_path / "model.onnx"})
    assert Encoder(embedded.DENSE).fingerprint != before


def test_an_encoder_says_what_it_is():
    encoders = ragkit.load_encoders(["dense", "colbert", "colbert-pool2", "muvera", "bm25"])
    assert [repr(encoder) for encoder in encoders.values()] == [
        "<Encoder sentence-transformers/all-MiniLM-L6-v2: dense, dim 384>",
        "<Encoder ragkit/colbert-minilm-l6: late interaction, dim 128>",
        "<TokenPooledEncoder ragkit/colbert-minilm-l6 pool2: late interaction, dim 128>",
        "<MuveraEncoder ragkit/colbert-minilm-l6 muvera: dense, dim 10240>",
        "<Bm25Encoder Qdrant/bm25: sparse, k 1.2, b 0.75, mean length of the documents>",
    ]
