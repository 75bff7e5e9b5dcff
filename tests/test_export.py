"""Models of folders: what their configuration says is what FastEmbed does then.

Written folders have random weights and real sizes: they show shapes, and which tokens are read. See tests/make_export.
"""

import json
import os
import shutil
import string
import subprocess
import sys

import numpy as np
import pytest
from fastembed import LateInteractionTextEmbedding
from qdrant_client import QdrantClient, models
from tokenizers import Tokenizer

import ragkit
from ragkit import RagkitError
from ragkit.encoders import Encoder, _fastembed, embedded
from ragkit.encoders.embedded import model_folder
from tests import make_export

SHORT, LONG = "A film about toys, and a boy.", "toys " * 600


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(_fastembed.ExportedColbert, "EXPORTS", {})


@pytest.fixture()
def written(tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed: make extras")
    return lambda form, **changes: make_export.write_export(tmp_path / "model", form, **changes)


def rows(model, text, query=False):
    encoder = Encoder(model, cache=False)
    return (encoder.encode_queries if query else encoder.encode_documents)([text])[0]


def labels(model, text, query=False):
    return [token.label for token in Encoder(model, cache=False).tokens(text, query)]


@pytest.mark.slow
@pytest.mark.parametrize("model", [embedded.COLBERT, embedded.TOKENS])
def test_an_embedded_model_registered_from_its_folder_is_the_embedded_model(model):
    assert ragkit.register(model_folder(model), name="mine/model") == "mine/model"
    mine, theirs = Encoder("Mine/Model", cache=False), Encoder(model, cache=False)  # names are in any case
    assert (mine.name, mine.dim, mine.multivector) == ("mine/model", theirs.dim, True)
    for text in (SHORT, LONG, "."):
        np.testing.assert_allclose(rows("mine/model", text), rows(model, text), atol=1e-6)
        np.testing.assert_allclose(rows("mine/model", text, True), rows(model, text, True), atol=1e-6)
        assert mine.tokens(text, query=True) == theirs.tokens(text, query=True)
    assert mine.tokens(SHORT) == theirs.tokens(SHORT)


@pytest.mark.slow
def test_it_is_a_model_of_qdrants_client_too():
    ragkit.register(model_folder(embedded.COLBERT), name="mine/model")
    vector = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    found = []
    for model in ("mine/model", embedded.COLBERT):
        client = QdrantClient(":memory:")
        config = models.VectorParams(size=128, distance=models.Distance.COSINE, multivector_config=vector)
        client.create_collection("films", {"colbert": config})
        points = [models.PointStruct(id=i, vector={"colbert": models.Document(text=t, model=model)}) for i, t in FILMS]
        client.upsert("films", points)
        hits = client.query_points("films", query=models.Document(text="a toy", model=model), using="colbert").points
        found.append([(hit.id, round(hit.score, 4)) for hit in hits])
    assert found[0] == found[1] and len(found[0]) == 2


FILMS = [(0, "A samurai and his double."), (1, "A toy that is lost.")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "document", "query", "read", "asked"),
    [  # rows of SHORT, 8 words and 2 marks of punctuation, and of LONG; labels that a query begins with
        ("pylate", 10, 32, (180, 32), ["[CLS]", "[Q]", "a"]),
        ("pylate, exported", 10, 12, (512, 48), ["[CLS]", "[Q]", "a"]),
        ("sentence-transformers", 10, 32, (128, 64), ["[CLS]", "[Q]", "a"]),
        ("stanford", 10, 32, (220, 32), ["[CLS]", "[Q]", "a"]),
    ],
)
def test_what_the_configuration_says_is_what_is_read(form, document, query, read, asked, written):
    name = ragkit.register(written(form), name="random/model")
    dim = make_export.SIZES[form][1]
    short = "A film about toys, and a boy."
    assert rows(name, short).shape == (document, dim) and rows(name, short, True).shape == (query, dim)
    assert (len(rows(name, LONG)), len(rows(name, LONG, True))) == read
    assert labels(name, short, True)[:3] == asked and labels(name, short)[1] == "[D]"
    np.testing.assert_allclose(np.linalg.norm(rows(name, short, True), axis=1), 1, atol=1e-6)
    kinds = [token.kind for token in Encoder(name, cache=False).tokens(short, query=True)]
    assert kinds.count("mask") == (0 if form == "pylate, exported" else 20)


def by_hand(folder, ids, attended):
    """What the network gives for tokens, without FastEmbed."""
    import onnxruntime

    (file,) = folder.rglob("*.onnx")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    given = {"input_ids": np.array([ids], np.int64), "attention_mask": np.array([attended], np.int64)}
    return session.run(None, given)[0][0]


@pytest.mark.slow
@pytest.mark.parametrize("attend", [False, True])
def test_a_query_is_what_its_tokens_give_by_hand(attend, written):
    folder = written("pylate", attend_to_expansion_tokens=attend)
    name = ragkit.register(folder, name="random/model")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    first, *others = tokenizer.encode("a toy").ids
    ids = [first, tokenizer.token_to_id("[Q] "), *others]
    attended = [1] * len(ids) + [int(attend)] * (32 - len(ids))
    expected = by_hand(folder, ids + [tokenizer.token_to_id("[MASK]")] * (32 - len(ids)), attended)
    np.testing.assert_allclose(rows(name, "a toy", True), expected, atol=1e-5)


@pytest.mark.slow
def test_a_document_is_what_its_tokens_give_by_hand_less_what_is_skipped(written):
    folder = written("pylate")
    name = ragkit.register(folder, name="random/model")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    first, *others = tokenizer.encode("a toy, lost").ids
    ids = [first, tokenizer.token_to_id("[D] "), *others]
    expected = by_hand(folder, ids, [1] * len(ids))
    kept = [i for i, token in enumerate(ids) if tokenizer.id_to_token(token) not in string.punctuation]
    assert len(kept) == len(ids) - 1
    np.testing.assert_allclose(rows(name, "a toy, lost"), expected[kept], atol=1e-5)


@pytest.mark.slow
def test_a_prompt_stands_before_the_text(written):
    folder = written("pylate", prompts={"query": "find: ", "document": ""})
    name = ragkit.register(folder, name="random/model")
    assert labels(name, "toys", True)[:5] == ["[CLS]", "[Q]", "find", ":", "toys"]
    assert labels(name, "toys")[:3] == ["[CLS]", "[D]", "toys"]


@pytest.mark.slow
def test_the_prompt_by_default_stands_before_queries_and_documents(written):
    folder = written("pylate", prompts={"query": "", "document": "", "all": "read "}, default_prompt_name="all")
    name = ragkit.register(folder, name="random/model")
    for query, marker in ((True, "[Q]"), (False, "[D]")):
        assert labels(name, "toys", query)[:4] == ["[CLS]", marker, "read", "toys"]


@pytest.mark.slow
def test_a_model_without_a_mask_pads_queries_with_its_end(written):
    folder = written("pylate")
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text("utf8")) | {"mask_token": None, "eos_token": {"content": "[SEP]"}}
    path.write_text(json.dumps(config), "utf8")
    assert labels(ragkit.register(folder, name="random/model"), "a toy", True)[4:] == ["[SEP]"] * 28


@pytest.mark.slow
def test_lengths_are_what_is_said_and_not_what_the_tokenizer_once_truncated_to(written):
    folder = written("sentence-transformers", query_length=None, document_length=None, query_expansion=None)
    name = ragkit.register(
        folder, name="random/model"
    )  # its tokenizer_config.json: model_max_length 256, max_length 128
    assert len(rows(name, LONG)) == len(rows(name, LONG, True)) == 256
    _fastembed.ExportedColbert.EXPORTS.clear()
    config = json.loads((folder / "config.json").read_text("utf8"))
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 100}), "utf8")
    assert len(rows(ragkit.register(folder, name="random/model"), LONG)) == 100


@pytest.mark.slow
def test_a_network_for_one_text_at_a_time_gets_one_at_a_time(written):
    name = ragkit.register(written("pylate, exported"), name="random/model")
    texts = [SHORT, "a toy", "a longer film about toys, and their boys", "a boy"]
    together = Encoder(name, cache=False).encode_documents(texts)
    for text, vectors in zip(texts, together, strict=True):
        np.testing.assert_allclose(vectors, rows(name, text), atol=1e-6)


@pytest.mark.slow
def test_a_texts_own_padding_token_is_a_token_of_it(written):
    name = ragkit.register(written("pylate"), name="random/model")
    assert len(rows(name, "a [PAD] toy [MASK]")) == len(rows(name, "a film toy boy"))


@pytest.mark.slow
def test_pylate_skips_unknown_words_where_a_word_to_skip_is_unknown(written):
    text = "a toy \N{SNOWMAN} lost"
    folder = written("pylate")
    assert len(rows(ragkit.register(folder, name="random/model"), text)) == 7
    config = folder / "config_sentence_transformers.json"
    config.write_text(json.dumps(json.loads(config.read_text("utf8")) | {"skiplist_words": ["nosuchword"]}), "utf8")
    _fastembed.ExportedColbert.EXPORTS.clear()
    assert len(rows(ragkit.register(folder, name="random/model"), text)) == 6


@pytest.mark.slow
@pytest.mark.parametrize(("form", "read"), [("pylate", 6), ("sentence-transformers", 10)])
def test_pylate_drops_white_space_around_a_text(form, read, written):
    folder = written(form)
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf8"))
    each = {"type": "Split", "pattern": {"Regex": " "}, "behavior": "Isolated", "invert": False}
    tokenizer["pre_tokenizer"] = each  # every space is a token, unknown, as it is one of a tokenizer of bytes
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), "utf8")
    assert len(labels(ragkit.register(folder, name="random/model"), "  a toy ")) == read


@pytest.mark.slow
def test_an_explicit_end_of_padding_is_one(written):
    name = ragkit.register(written("pylate", query_expansion=None), name="random/model")
    assert len(rows(name, "toys", True)) == 4


@pytest.mark.slow
def test_vectors_of_another_reading_are_other_vectors_to_the_cache(written):
    folder = written("pylate")
    before = Encoder(ragkit.register(folder, name="random/one")).fingerprint
    path = folder / "config_sentence_transformers.json"
    path.write_text(path.read_text("utf8").replace("180", "90"), "utf8")
    assert Encoder(ragkit.register(folder, name="random/two")).fingerprint != before
    _fastembed.ExportedColbert.EXPORTS.clear()
    assert Encoder(ragkit.register(folder, name="random/one")).fingerprint != before


@pytest.mark.thorough
def test_processes_of_fastembeds_own_read_it_alike():
    code = """
import numpy as np, ragkit
from fastembed import LateInteractionTextEmbedding
from ragkit.encoders.embedded import COLBERT, model_folder
if __name__ == "__main__":
    model = LateInteractionTextEmbedding(ragkit.register(model_folder(COLBERT), name="mine/model"))
    texts = [f"film {i}" for i in range(6)]
    alone, shared = list(model.embed(texts)), list(model.embed(texts, batch_size=3, parallel=2))
    print(all(np.allclose(a, b, atol=1e-5) for a, b in zip(alone, shared, strict=True)), len(shared))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.stdout.split() == ["True", "6"], done.stderr


def test_a_folder_may_stand_in_place_of_a_models_name(monkeypatch, movies):
    monkeypatch.setenv("RAGKIT_COLBERT_MODEL", str(model_folder(embedded.COLBERT)))
    assert ragkit.load_encoder("colbert").name == "local/colbert-minilm-l6"


@pytest.mark.slow
def test_the_same_again_changes_nothing_and_another_of_that_name_is_refused():
    ragkit.register(model_folder(embedded.COLBERT), name="mine/model")
    ragkit.register(model_folder(embedded.COLBERT), name="mine/model")
    listed = [known["model"] for known in LateInteractionTextEmbedding.list_supported_models()]
    assert listed.count("mine/model") == 1
    for name in ("mine/model", "Mine/MODEL", "colbert-ir/colbertv2.0", embedded.DENSE):
        with pytest.raises(RagkitError, match="FastEmbed has a model .* already; give .* another name"):
            ragkit.register(model_folder(embedded.TOKENS), name=name)


@pytest.fixture()
def folder(tmp_path):
    shutil.copytree(model_folder(embedded.COLBERT), tmp_path / "model")
    return tmp_path / "model"


def say(folder, **changes):
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf8")) | changes), "utf8")


def silent(folder):
    """Have a folder say nothing of lengths."""
    (folder / "config_sentence_transformers.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1e30, "max_length": 128}', "utf8")
    (folder / "config.json").unlink()


def masked(folder, **changes):
    """Have a folder be one of sentence-transformers' with a mask."""
    (folder / "config_sentence_transformers.json").write_text('{"model_type": "MultiVectorEncoder"}', "utf8")
    (folder / "mask").mkdir()
    (folder / "mask" / "config.json").write_text(json.dumps({"skiplist_words": []} | changes), "utf8")
    modules = [{"idx": 0, "name": "0", "path": "mask", "type": "x.MultiVectorMask"}]
    (folder / "modules.json").write_text(json.dumps(modules), "utf8")


def of_modules(folder, text):
    """Have a folder be one of sentence-transformers' with this text as its list of modules."""
    masked(folder)
    (folder / "modules.json").write_text(text, "utf8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "model.onnx").unlink(), "holds no model.onnx, but no .onnx file; name one with file="),
        (lambda f: (f / "model.onnx").write_bytes(b"not a network"), "cannot be loaded by ONNX Runtime"),
        (lambda f: (f / "tokenizer.json").unlink(), "its tokenizer.json cannot be read .*No such file"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "its tokenizer.json cannot be read"),
        (lambda f: (f / "tokenizer_config.json").write_text("{"), "tokenizer_config.json is no JSON"),
        (silent, "does not say how many tokens are read: neither a length"),
        (lambda f: masked(f, keep_only_token_ids=[1037]), "keeps only some tokens of a document, or skips tokens of"),
        (lambda f: masked(f, skiplist_tasks=["query", "document"]), "keeps only some tokens of a document, or skips"),
        (lambda f: say(f, query_prefix="[Query]"), r"a query is marked by '\[Query\]', which is no token of its"),
        (lambda f: say(f, embedding_dim=96), "gives 128 numbers a token, and its configuration says 96"),
        (lambda f: say(f, query_expansion={"strategy": "min", "length": 32, "token": "[PADDED]"}), "is no token to do"),
        (lambda f: (f / "config_sentence_transformers.json").write_text("[]"), "holds list; expected an object"),
        (lambda f: (f / "config_sentence_transformers.json").write_text("{"), "is no JSON"),
        (lambda f: of_modules(f, "[{"), "modules.json is no JSON"),
        (lambda f: of_modules(f, '{"0": {}}'), "modules.json is no list of modules, each with the texts type and path"),
        (lambda f: of_modules(f, '[{"type": "x.MultiVectorMask"}]'), "modules.json is no list of modules"),
        (lambda f: of_modules(f, '[{"type": 1, "path": "mask"}]'), "modules.json is no list of modules"),
    ],
    ids=[
        *("no network", "damaged", "no tokenizer", "bad tokenizer", "bad configuration", "no length", "kept tokens"),
        *("queries' tokens", "marker", "dimensions", "mask", "list", "no json"),
        *("bad modules", "no list of modules", "no path", "no type"),
    ],
)
def test_what_does_not_fit_together_is_named(spoil, message, folder):
    spoil(folder)
    with pytest.raises(RagkitError, match=message):
        ragkit.register(folder, name="mine/model")
    assert _fastembed.registered("mine/model") is None


def test_one_vector_per_text_is_no_late_interaction(folder):
    pytest.importorskip("onnx", reason="onnx is not installed: make extras")
    make_export.write_network(folder / "model.onnx", 30522, 16, 128, rank=2)
    with pytest.raises(RagkitError, match=r"gives an array of shape .*; expected \(batch, tokens, numbers\)"):
        ragkit.register(folder, name="mine/model")


@pytest.mark.slow
def test_of_several_networks_one_is_named(folder):
    shutil.copyfile(folder / "model.onnx", folder / "other.onnx")
    (folder / "model.onnx").rename(folder / "model_int8.onnx")
    with pytest.raises(RagkitError, match="model_int8.onnx, other.onnx; name one with file="):
        ragkit.register(folder, name="mine/model")
    assert len(rows(ragkit.register(folder, name="mine/model", file="other.onnx"), "toys", True)) == 32


@pytest.mark.parametrize("name", ["", "a b", "a/b/c", "/a", "../a"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(RagkitError, match="The name is .*; expected letters"):
        ragkit.register(model_folder(embedded.COLBERT), name=name)


def test_what_is_no_folder_is_named(tmp_path):
    with pytest.raises(RagkitError, match="nowhere is no folder"):
        ragkit.register(tmp_path / "nowhere")
