"""Compare what ragkit reads of exported folders with the packages that wrote them, vector by vector.

`python -m tests.compare_exports`, in an environment with ragkit, torch, onnx, onnxscript and either pylate with
pylate-onnx-export or sentence-transformers from 6.0 on (they want different versions of transformers). The models are
small and random, their tokenizer is the embedded models': they show how folders are read, and are never for a result.
"""

import importlib.util
import json
import string
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

import ragkit
from ragkit.encoders import Encoder
from ragkit.encoders.embedded import COLBERT, model_folder

TEXTS = ["toys", "", ".", "?! ... --", "A film about toys, and a boy.", 'Who directed "Kagemusha" (1980)?']
TEXTS += ["Ünïcödé: Amélie, 東京物語 – ☃ \u200b zero\u00adwidth", "  spaces\t and\nlines  ", "[MASK], [PAD] and [Q]"]
TEXTS += ["toys, toys; toys. " * 10 + "and more", "long words and, punctuation " * 150]
Vectors = list[np.ndarray]
ATOL = 1e-5


def of_bytes() -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes, to which a space is something, and which says no length."""
    special = {f"{name.lower()}_token": f"[{name}]" for name in ("UNK", "CLS", "SEP", "PAD", "MASK")}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=[*special.values()], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXTS, trainer)
    ends = [(text, tokenizer.token_to_id(text)) for text in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=names, **special)


def base(folder: Path, architecture: str | None = None, words: PreTrainedTokenizerFast | None = None) -> str:
    """Write a small BERT with random weights, or a ColBERT of Stanford's architecture, and return its folder."""
    torch.manual_seed(3)
    words = words or AutoTokenizer.from_pretrained(model_folder(COLBERT))
    size = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    model = BertModel(BertConfig(vocab_size=len(words), initializer_range=0.2, **size))
    words.save_pretrained(folder)
    if architecture is None:
        model.save_pretrained(folder)
        return str(folder)
    from safetensors.torch import save_file  # Stanford's own form: BERT and the projection in one file

    weights = {f"bert.{name}": value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights | {"linear.weight": torch.randn(48, 64)}, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(model.config.to_dict() | {"architectures": [architecture]}))
    told = {
        "query_token_id": "[unused0]",
        "doc_token_id": "[unused1]",
        "query_maxlen": 32,
        "doc_maxlen": 220,
        "dim": 48,
        "mask_punctuation": True,
    }
    (folder / "artifact.metadata").write_text(json.dumps(told))
    return str(folder)


class Network(torch.nn.Module):
    """The transformer of a model, its projections, and unit length: what an export is to hold."""

    def __init__(self, model):
        super().__init__()
        modules = list(model)
        self.transformer = modules[0].auto_model if hasattr(modules[0], "auto_model") else modules[0].model
        self.projections = torch.nn.ModuleList(module for module in modules if hasattr(module, "linear"))

    def forward(self, input_ids, attention_mask, token_type_ids):
        given = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
        rows = self.transformer(input_ids=input_ids, **given).last_hidden_state
        for projection in self.projections:
            rows = projection({"token_embeddings": rows})["token_embeddings"]
        return torch.nn.functional.normalize(rows, dim=-1)


def export(model, folder: Path) -> None:
    """Write a model's network as ONNX."""
    ids = torch.ones((2, 7), dtype=torch.long)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch", 1: "tokens"} for name in [*names, "rows"]}
    given = {"input_names": names, "output_names": ["rows"], "dynamic_axes": axes, "opset_version": 17}
    with torch.no_grad():
        torch.onnx.export(Network(model).eval(), (ids, ids, ids * 0), str(folder / "model.onnx"), dynamo=False, **given)


def pylate(root: Path) -> Iterator[tuple[Path, Vectors, Vectors]]:
    """Yield folders of PyLate's, saved and as pylate-onnx-export has it, and its vectors of documents and queries."""
    from colbert_export.export import export_model
    from pylate.models import ColBERT

    plain, stanford = base(root / "base"), base(root / "stanford", "HF_ColBERT")
    cases = {
        "default": {},
        "no-expansion": {"do_query_expansion": False, "query_length": 20, "document_length": 50},
        "attended": {"attend_to_expansion_tokens": True, "query_length": 24, "document_length": 512},
        "prompts": {"prompts": {"query": "find: ", "document": "read: "}},
        "default-prompt": {"prompts": {"all": "read: "}, "default_prompt_name": "all"},
        "no-marker": {"query_prefix": "", "document_prefix": ""},
        "unknown-word": {"query_prefix": "[unused0]", "skiplist_words": [".", "toys", "nosuchword"]},
        "no-skipping": {"skiplist_words": [], "embedding_size": 48, "bias": True},
        "stanford-saved": {"model_name_or_path": stanford},
        "of-bytes": {"model_name_or_path": base(root / "bytes", words=of_bytes())},
    }

    def vectors(model: ColBERT) -> tuple[Vectors, Vectors]:
        def of(role: str) -> Vectors:
            named = {"prompt_name": role} if model.prompts.get(role) else {}
            return model.encode(TEXTS, is_query=role == "query", batch_size=3, show_progress_bar=False, **named)

        return of("document"), of("query")

    model = ColBERT(stanford, device="cpu")
    export(model, Path(stanford))
    yield Path(stanford), *vectors(model)
    for name, settings in cases.items():
        folder, exported = root / name, root / f"{name}-exported"
        ColBERT(**({"model_name_or_path": plain} | settings), device="cpu").save_pretrained(str(folder))
        model = ColBERT(str(folder), device="cpu")
        export(model, folder)
        yield folder, *vectors(model)
        if name not in ("no-marker", "prompts", "default-prompt"):  # the first it cannot do; it leaves out prompts
            export_model(str(folder), exported, verbose=False)
            yield exported, *vectors(ColBERT(str(folder), device="cpu", do_query_expansion=False))


def multi_vector_encoders(root: Path) -> Iterator[tuple[Path, Vectors, Vectors]]:
    """Yield folders of sentence-transformers' with its vectors of documents and queries."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from transformers import AddedToken

    plain, stanford = base(root / "base"), base(root / "stanford", "HF_ColBERT")
    rows = {"module_input_name": "token_embeddings"}

    def built(prompts: dict[str, str], skipped: list[str], **settings) -> Callable[[], MultiVectorEncoder]:
        def build() -> MultiVectorEncoder:
            transformer = Transformer(plain, **settings)
            added = [AddedToken(text, normalized=False) for text in prompts.values() if text.startswith("[")]
            transformer.tokenizer.add_tokens(added)
            network = transformer.auto_model if hasattr(transformer, "auto_model") else transformer.model
            network.resize_token_embeddings(len(transformer.tokenizer))
            linear = {
                "bias": False,
                "activation_function": torch.nn.Identity(),
                "module_output_name": "token_embeddings",
            }
            dense = Dense(in_features=64, out_features=48, **linear, **rows)
            modules = [transformer, dense, MultiVectorMask(skiplist_words=skipped), Normalize(**rows)]
            return MultiVectorEncoder(modules=modules, prompts=prompts, device="cpu")

        return build

    marked, lengths = {"query": "[Q] ", "document": "[D] "}, {"query_length": 40, "document_length": 60}
    fixed = {"strategy": "fixed", "length": 24, "attend": True}
    shortest = {"strategy": "min", "length": 16, "attend": False}
    cases = {
        "default": lambda: MultiVectorEncoder(plain, device="cpu"),
        "stanford-saved": lambda: MultiVectorEncoder(stanford, device="cpu"),
        "fixed": built(marked, list(string.punctuation), query_expansion=fixed, document_length=60),
        "min": built(marked, [".", ",", "nosuchword"], query_expansion=shortest, **lengths),
        "no-limit": built(marked, [], query_expansion=shortest | {"token": "[PAD]"}),
        "text-prompts": built({"query": "find: ", "document": "read: "}, [], **lengths),
        "of-bytes": lambda: MultiVectorEncoder(base(root / "bytes", words=of_bytes()), device="cpu"),
    }
    for name, make in cases.items():
        torch.manual_seed(5)
        make().save_pretrained(str(root / name))
        model = MultiVectorEncoder(str(root / name), device="cpu")
        export(model, root / name)
        asked = {"batch_size": 3, "convert_to_numpy": True, "show_progress_bar": False}
        yield root / name, model.encode_document(TEXTS, **asked), model.encode_query(TEXTS, **asked)


def differences(folder: Path, documents: Vectors, queries: Vectors) -> list[str]:
    """Return in which texts ragkit's vectors of a folder's model are not these."""
    encoder = Encoder(ragkit.register(folder, name=f"compared/{folder.name}"), cache=False)
    found = []
    for role, ours, theirs in (
        ("document", encoder.encode_documents(TEXTS), documents),
        ("query", encoder.encode_queries(TEXTS), queries),
    ):
        for text, a, b in zip(TEXTS, ours, map(np.asarray, theirs), strict=True):
            if a.shape != b.shape or not np.allclose(a, b, atol=ATOL):
                found.append(f"{role} {text[:30]!r}: {a.shape}, {b.shape}")
    return found


def main() -> int:
    folders = pylate if importlib.util.find_spec("pylate") else multi_vector_encoders
    failed = 0
    with tempfile.TemporaryDirectory() as root:
        for folder, documents, queries in folders(Path(root)):
            wrong = differences(folder, documents, queries)
            failed += bool(wrong)
            print(f"{folder.name}: {2 * len(TEXTS) - len(wrong)} of {2 * len(TEXTS)} texts alike", *wrong, sep="\n  ")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
