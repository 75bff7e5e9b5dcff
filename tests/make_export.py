"""Write folders as PyLate, sentence-transformers and Stanford's ColBERT save their models, with random weights.

They have the sizes of real models (vocabulary, width, dimensions) and one layer of attention, and are for testing how
folders are read, never for a result: `python -m tests.make_export FOLDER FORM`. Needs onnx. The files are those that
PyLate 1.6.0, pylate-onnx-export 0.1.0 and sentence-transformers 6.2.0 write, with what they leave out.
"""

import json
import shutil
import string
import sys
from pathlib import Path

import numpy as np

from ragkit.encoders.embedded import COLBERT, model_folder

SIZES = {"pylate": (384, 96), "pylate, exported": (256, 64), "sentence-transformers": (256, 48), "stanford": (768, 128)}
PUNCTUATION = list(string.punctuation)
FORMS = tuple(SIZES)


def write_export(folder: Path, form: str, **changes) -> Path:
    """Write a folder in one of the FORMS and return it; changes: of what its configuration says."""
    width, dim = SIZES[form]
    folder.mkdir(parents=True)
    added = {"pylate": ["[Q] ", "[D] "], "pylate, exported": ["[Q] ", "[D] "], "sentence-transformers": ["[Q]", "[D]"]}
    vocabulary = _tokenizer(folder, added.get(form, []))
    file = folder / ("onnx/model.onnx" if form == "sentence-transformers" else "model.onnx")
    write_network(file, vocabulary, width, dim, single=form == "pylate, exported")
    flat = {"query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 32, "document_length": 180}
    flat |= {"attend_to_expansion_tokens": False, "skiplist_words": PUNCTUATION, "do_query_expansion": True}
    if form == "pylate":
        _write(folder / "config_sentence_transformers.json", {"model_type": "ColBERT", "prompts": {}} | flat | changes)
        dense = {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"}
        _write(folder / "modules.json", [_transformer("sentence_transformers.models.Transformer"), dense])
        _write(folder / "1_Dense" / "config.json", {"in_features": width, "out_features": dim, "bias": False})
    elif form == "pylate, exported":
        told = flat | {"query_length": 48, "document_length": 512, "do_query_expansion": False, "embedding_dim": dim}
        told |= {"model_type": "ColBERT", "model_class": "BertModel", "mask_token_id": 103, "pad_token_id": 103}
        _write(folder / "config_sentence_transformers.json", told | changes)
        for name in ("config.json", "tokenizer_config.json"):  # it writes neither
            (folder / name).unlink()
    elif form == "sentence-transformers":
        prompts = {"model_type": "MultiVectorEncoder", "prompts": {"query": "[Q] ", "document": "[D] "}}
        _write(folder / "config_sentence_transformers.json", prompts)
        expansion = {"strategy": "min", "length": 32, "attend": True, "token": None}
        told = {"query_length": 64, "document_length": 128, "query_expansion": expansion}
        _write(folder / "sentence_bert_config.json", told | changes)
        kind = "sentence_transformers.multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask"
        mask = {"idx": 1, "name": "1", "path": "1_MultiVectorMask", "type": kind}
        _write(
            folder / "modules.json", [_transformer("sentence_transformers.base.modules.transformer.Transformer"), mask]
        )
        masked = {"skiplist_words": [".", ","], "skiplist_tasks": ["document"], "keep_only_token_ids": None}
        _write(folder / "1_MultiVectorMask" / "config.json", masked)
    else:
        told = {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 32, "doc_maxlen": 220}
        told |= {"dim": dim, "mask_punctuation": True, "attend_to_mask_tokens": False}
        _write(folder / "artifact.metadata", told | changes)
    return folder


def _transformer(kind: str) -> dict:
    return {"idx": 0, "name": "0", "path": "", "type": kind}


def _write(path: Path, value) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1), "utf8")


def _tokenizer(folder: Path, added: list[str]) -> int:
    """Write the embedded models' tokenizer with tokens added to it; return the size of its vocabulary."""
    from tokenizers import AddedToken, Tokenizer

    source = model_folder(COLBERT)
    shutil.copyfile(source / "config.json", folder / "config.json")
    # transformers 5 writes no special_tokens_map.json, and what the tokenizer once truncated to as max_length
    config = json.loads((source / "tokenizer_config.json").read_text("utf8"))
    _write(folder / "tokenizer_config.json", config | {"max_length": 128, "pad_token": "[MASK]"})
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added])
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer.get_vocab_size()


def write_network(file: Path, vocabulary: int, width: int, dim: int, rank: int = 3, single: bool = False) -> None:
    """Write a network of random weights: embedding, one attention over what is attended to, a projection, unit rows.

    rank: of its output; 2 for one vector per text, as of a dense model. single: made for one text at a time, as
    pylate-onnx-export makes it with PyTorch 2.11.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(7)
    ids, shape = TensorProto.INT64, ["batch", "tokens"]
    given = [helper.make_tensor_value_info(name, ids, shape) for name in ("input_ids", "attention_mask")]
    weights = {
        "table": rng.standard_normal((vocabulary, width)).astype(np.float16),
        "projection": rng.standard_normal((width, dim)).astype(np.float32),
        "scale": np.float32(4 / width),
        "far": np.float32(-1e4),
        "one": np.float32(1),
        "axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["half"]),
        helper.make_node("Cast", ["half"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["x"], ["xt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "xt"], ["products"]),
        helper.make_node("Mul", ["products", "scale"], ["scaled"]),
        helper.make_node("Cast", ["attention_mask"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "seen"], ["unseen"]),
        helper.make_node("Unsqueeze", ["unseen", "axis"], ["row"]),
        helper.make_node("Mul", ["row", "far"], ["bias"]),
        helper.make_node("Add", ["scaled", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["attention"], axis=-1),
        helper.make_node("MatMul", ["attention", "x"], ["mixed"]),
        helper.make_node("Add", ["x", "mixed"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "projection"], ["rows"]),
        helper.make_node("LpNormalization", ["rows"], ["unit"], axis=-1, p=2),
    ]
    output = "unit"
    if rank == 2:
        nodes.append(helper.make_node("ReduceMean", ["unit"], ["pooled"], axes=[1], keepdims=0))
        output = "pooled"
    if single:
        weights["shape"] = np.array([1, -1, dim], np.int64)
        nodes.append(helper.make_node("Reshape", ["unit", "shape"], ["one text's"]))
        output = "one text's"
    sizes = [1 if single else "batch", "tokens", dim][: rank - 1] + [dim]
    made = helper.make_tensor_value_info(output, TensorProto.FLOAT, sizes)
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "random", given, [made], constants)
    file.parent.mkdir(parents=True, exist_ok=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(file))


if __name__ == "__main__":
    print(write_export(Path(sys.argv[1]), sys.argv[2]))
