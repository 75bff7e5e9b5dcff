"""What a folder with an exported late-interaction model says of itself: markers, lengths, padding, dimensions.

Written for what PyLate, sentence-transformers and Stanford's ColBERT save beside a model; docs/bridges.md says which
versions of them it was compared with, vector by vector.
"""

import json
import string
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
from tokenizers import Tokenizer

from ragkit.errors import RagkitError, plain

PYLATE = ("onnx_config.json", "config_sentence_transformers.json")
STANFORD, MODULES, TOKENIZER = "artifact.metadata", "modules.json", "tokenizer_config.json"
FILES = ("model.onnx", "onnx/model.onnx")
_PYLATE_KEYS = {"query_prefix", "document_prefix", "do_query_expansion", "query_expansion", "skiplist_words"}


@dataclass(frozen=True)
class Export:
    """A late-interaction model in a folder, and how it reads texts.

    file: the network, by its path in the folder; dim: numbers a row; query_marker, document_marker: the token that is
    put in after the first one, if any; query_prompt, document_prompt: what a text begins with; query_limit,
    document_limit: tokens that are read, markers included; query_length: to how many tokens a query is padded with
    `mask`, None for not at all; attend: whether the model attends to that padding; skipped: tokens of a document that
    become no row; single: whether the network takes one text at a time; strip: whether white space around a text is
    dropped; configs: the files that said so.
    """

    folder: Path
    file: str
    dim: int
    query_marker: int | None
    document_marker: int | None
    query_prompt: str
    document_prompt: str
    query_limit: int
    document_limit: int
    query_length: int | None
    mask: str | None
    attend: bool
    skipped: frozenset[int]
    single: bool
    strip: bool
    configs: tuple[str, ...]


def read_export(folder: Path, file: str | None = None) -> Export:
    """Return what a folder says of its model; file: the network's, if it is not called model.onnx.

    A folder that says nothing of late interaction is read as a model of token rows: no markers, no padding of queries,
    punctuation of documents dropped. Raises RagkitError for a folder without a network, for what does not fit together,
    for what is not read here, and for a network whose output is no row per token.
    """
    told, configs = _told(folder)
    tokenizer = tokenizer_of(folder)
    file = _file(folder, file)
    dim, single = _rows(folder / file)
    expected = told.get("embedding_dim") or told.get("dim") or _projected(folder)
    if expected and expected != dim:
        raise RagkitError(
            f"{folder / file} gives {dim} numbers a token, and its configuration says {expected}: it lacks the "
            "projection that follows the transformer. Export the whole model, for example with pylate-onnx-export."
        )
    expansion: Any = told.get("query_expansion")
    padded = expansion["length"] if expansion else None
    mask = (expansion or {}).get("token") or _token(tokenizer, told.get("mask_token_id")) or _mask(folder)
    if padded and (mask is None or tokenizer.token_to_id(mask) is None):
        raise RagkitError(f"{folder}: queries are padded to {padded} tokens, and {mask!r} is no token to do it with.")
    positions = _settings(folder / "config.json").get("max_position_embeddings") or sys.maxsize
    documents = told.get("document_length") or _limit(folder, told, positions)
    queries = told.get("query_length") or _limit(folder, told, positions)
    if padded:
        queries = padded if expansion["strategy"] == "fixed" else max(queries, padded)
    return Export(
        folder,
        file,
        dim,
        _marker(folder, tokenizer, told, "query"),
        _marker(folder, tokenizer, told, "document"),
        _prompt(told, "query"),
        _prompt(told, "document"),
        min(queries, positions),
        min(documents, positions),
        min(padded, positions) if padded else None,
        mask if padded else None,
        bool(expansion and expansion.get("attend")),
        _skipped(folder, tokenizer, told),
        single,
        "query_prefix" in told,  # PyLate does so; what hangs on it are tokenizers of bytes, not BERT's
        configs,
    )


def tokenizer_of(folder: Path) -> Tokenizer:
    """Return a folder's tokenizer, which pads on the right to the longest text.

    FastEmbed's own reading wants tokenizer_config.json, which pylate-onnx-export does not write, and a length from
    it, which PyLate and sentence-transformers do not take from there. Raises RagkitError if it cannot be read.
    """
    side = _settings(folder / TOKENIZER).get("truncation_side")
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # tokenizers raises no class of its own
        raise RagkitError(f"{folder}: its tokenizer.json cannot be read ({plain(str(error), 300)}).") from error
    tokenizer.enable_truncation(sys.maxsize, direction=side or "right")
    tokenizer.enable_padding()
    return tokenizer


def _told(folder: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what the configuration says, in the words of sentence-transformers, and the files that said it."""
    read = [name for name in PYLATE if (folder / name).is_file()]
    told: dict[str, Any] = {}
    for name in reversed(read):
        told |= {key: value for key, value in _json(folder / name).items() if value is not None or "expansion" in key}
    if _PYLATE_KEYS & told.keys():
        if "query_expansion" not in told and told.get("do_query_expansion", True):
            length = told.get("query_length") or 32
            told["query_expansion"] = {"strategy": "fixed", "length": length}
            told["query_expansion"]["attend"] = bool(told.get("attend_to_expansion_tokens"))
        return {"document_length": 180, "query_length": 32} | told, tuple(read)
    if (folder / STANFORD).is_file():
        theirs = _json(folder / STANFORD)
        expansion = {"strategy": "fixed", "length": theirs.get("query_maxlen") or 32}
        expansion["attend"] = bool(theirs.get("attend_to_mask_tokens"))
        told = {
            "query_prefix": theirs.get("query_token_id") or "[unused0]",
            "document_prefix": theirs.get("doc_token_id") or "[unused1]",
            "document_length": theirs.get("doc_maxlen"),
            "query_expansion": expansion,
            "skiplist_words": list(string.punctuation) if theirs.get("mask_punctuation", True) else [],
            "dim": theirs.get("dim"),
        }
        return told, (STANFORD,)
    for module in _modules(folder):
        kind = module["type"].rpartition(".")[2]
        name = "sentence_bert_config.json" if kind == "Transformer" else "config.json"
        path = folder / module["path"] / name
        if kind in ("Transformer", "MultiVectorMask") and path.is_file():
            told |= _json(path)
            read.append(path.relative_to(folder).as_posix())
    if told.get("keep_only_token_ids") or told.get("skiplist_tasks") not in (None, ["document"]):
        raise RagkitError(
            f"{folder} keeps only some tokens of a document, or skips tokens of queries too (keep_only_token_ids and "
            "skiplist_tasks of its MultiVectorMask), which FastEmbed has no way to do."
        )
    return told, tuple(read)


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf8"))
    except (OSError, ValueError) as error:
        raise RagkitError(f"{path} is no JSON ({plain(str(error), 200)}).") from error


def _json(path: Path) -> dict[str, Any]:
    found = _parsed(path)
    if not isinstance(found, dict):
        raise RagkitError(f"{path} holds {type(found).__name__}; expected an object of settings.")
    return found


def _settings(path: Path) -> dict[str, Any]:
    """Return what a file of settings says; nothing if it is not there."""
    return _json(path) if path.is_file() else {}


def _limit(folder: Path, told: dict[str, Any], positions: int) -> int:
    """Return how many tokens are read where the configuration of late interaction does not say.

    Not what tokenizer.json truncates to, nor max_length, which is left from what the tokenizer was once used for.
    """
    named = told.get("max_seq_length") or _settings(folder / TOKENIZER).get("model_max_length")
    limit = min(named or sys.maxsize, positions)
    if limit >= sys.maxsize:  # transformers writes 1e30 where it does not know
        raise RagkitError(
            f"{folder} does not say how many tokens are read: neither a length of queries and documents, nor "
            "model_max_length in tokenizer_config.json, nor max_position_embeddings in config.json."
        )
    return limit


def _modules(folder: Path) -> list[dict[str, Any]]:
    path = folder / MODULES
    found = _parsed(path) if path.is_file() else []
    if not isinstance(found, list) or not all(map(_is_module, found)):
        raise RagkitError(f"{path} is no list of modules, each with the texts type and path; fetch or export it again.")
    return found


def _is_module(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("type", "path"))


def _projected(folder: Path) -> int | None:
    """Return how many numbers the last projection gives, by its own configuration."""
    dense = [module for module in _modules(folder) if module["type"].endswith("Dense")]
    path = folder / dense[-1]["path"] / "config.json" if dense else None
    return _json(path).get("out_features") if path and path.is_file() else None


def _file(folder: Path, file: str | None) -> str:
    there = [name for name in ([file] if file else FILES) if (folder / name).is_file()]
    if there:
        return there[0]
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.onnx"))
    if file or len(found) != 1:
        raise RagkitError(
            f"{folder} holds no {file or FILES[0]}, but {', '.join(found) or 'no .onnx file'}; name one with file=…."
        )
    return found[0]


def _rows(path: Path) -> tuple[int, bool]:
    """Return how many numbers a network gives a token, and whether it was exported for one text at a time."""
    try:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise RagkitError(f"{path} cannot be loaded by ONNX Runtime ({plain(str(error), 300)}).") from error
    shape = session.get_outputs()[0].shape
    if len(shape) != 3 or not isinstance(shape[2], int):
        raise RagkitError(
            f"{path} gives an array of shape {shape}; expected (batch, tokens, numbers), a row per token."
        )
    return shape[2], shape[0] == 1


def _token(tokenizer: Tokenizer, token_id: int | None) -> str | None:
    return None if token_id is None else tokenizer.id_to_token(token_id)


def _mask(folder: Path) -> str | None:
    config = _settings(folder / TOKENIZER)
    named = config.get("mask_token") or config.get("eos_token") or "[MASK]"
    return named["content"] if isinstance(named, dict) else named


def _marker(folder: Path, tokenizer: Tokenizer, told: dict[str, Any], role: str) -> int | None:
    """Return the token that marks a query or a document; None if there is none, or it is part of the prompt."""
    prefix = told.get(f"{role}_prefix")
    if not prefix:
        return None
    for text in (prefix, prefix.strip()):
        if (found := tokenizer.token_to_id(text)) is not None:
            return found
    raise RagkitError(
        f"{folder}: a {role} is marked by {prefix!r}, which is no token of its tokenizer.json; take the tokenizer that "
        "was exported with the model, whose vocabulary has it."
    )


def _prompt(told: dict[str, Any], role: str) -> str:
    prompts, prefix = told.get("prompts") or {}, told.get(f"{role}_prefix") or ""
    prompt = prompts.get(role) or prompts.get(told.get("default_prompt_name")) or ""
    return prompt.removeprefix(prefix)


def _skipped(folder: Path, tokenizer: Tokenizer, told: dict[str, Any]) -> frozenset[int]:
    """Return the tokens that become no row: those that are told, else punctuation, as FastEmbed has it."""
    words = told.get("skiplist_words")
    found = [tokenizer.token_to_id(word) for word in (string.punctuation if words is None else words)]
    if None in found and "query_prefix" in told:
        # PyLate looks a word up that is no token and finds the unknown token, whose rows it then skips.
        unknown = _settings(folder / TOKENIZER).get("unk_token") or "[UNK]"
        found.append(tokenizer.token_to_id(unknown["content"] if isinstance(unknown, dict) else unknown))
    return frozenset(token for token in found if token is not None)
