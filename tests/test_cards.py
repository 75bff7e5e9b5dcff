"""What the project says of itself in others' forms: cards of models and data, the citation, the changes."""

import importlib.util
import re
from pathlib import Path

import huggingface_hub
import pytest
import yaml

import ragkit
from ragkit.encoders import embedded

ROOT = Path(__file__).resolve().parent.parent
CARDS = sorted((ROOT / "data" / "models").glob("*/README.md"))
SYSTEMS = {embedded.DENSE: "dense", embedded.COLBERT: "colbert", embedded.TOKENS: "tokens"}
each_card = pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parent.name)


@pytest.fixture(scope="module")
def results():
    spec = importlib.util.spec_from_file_location("make_results", ROOT / "docs" / "make_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_embedded_model_has_a_card():
    assert [path.parent.name for path in CARDS] == sorted(set(embedded.FOLDERS.values()))


@each_card
def test_a_hub_reads_the_card_and_its_figures_are_those_of_the_committed_run(path, results):
    card = huggingface_hub.ModelCard(path.read_text("utf8"))
    assert (card.data.language, card.data.license, card.data.base_model) == ("en", "apache-2.0", embedded.DENSE)
    run = {row["system"]: row for row in results._read("scifact-full.json")["systems"]}
    header = yaml.safe_load(path.read_text("utf8").split("---\n")[1])
    told = {entry["name"]: entry["results"][0]["metrics"] for entry in header["model-index"]}
    assert told.keys() == {model for model, folder in embedded.FOLDERS.items() if folder == path.parent.name}
    for model, metrics in told.items():
        for metric in metrics:
            assert f"{run[SYSTEMS[model]][metric['name']]:.3f}" == f"{metric['value']:.3f}", (model, metric)


@each_card
def test_the_card_says_what_a_reader_looks_for_and_its_table_is_the_committed_runs(path, results):
    text = path.read_text("utf8")
    headings = re.findall("^## (.+)$", text, re.MULTILINE)
    assert {"Intended use", "Limits", "Evaluation", "How it was made"} <= set(headings)
    assert results.card(text) == text and text.count("| SciFact | 5,183 | 300 |") == 1


@pytest.mark.slow
def test_the_cards_python_runs():
    (code,) = re.findall("```python\n(.*?)```", (CARDS[-1]).read_text("utf8"), re.DOTALL)
    known: dict = {}
    exec(compile(code, "card", "exec"), known)
    assert known["rows"].shape == (5, 128)


def test_a_hub_reads_the_card_of_the_movies(movies):
    text = (ROOT / "data" / "MOVIES.md").read_text("utf8")
    card = huggingface_hub.DatasetCard(text)
    assert card.data.task_categories == ["text-retrieval"] and card.data.language == "en"
    counts = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", text, re.MULTILINE))
    assert counts == {kind: str(n) for kind, n in movies.queries["kind"].value_counts().items()}
    for grade in (0, 1, 2):
        assert re.search(rf"\b{(movies.qrels['relevance'] == grade).sum()} (pairs )?are graded {grade}\b", text)


def test_the_citation_is_one_and_names_no_version_of_its_own():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf8"))
    assert cited.keys() >= {"cff-version", "message", "title", "authors", "license"} and "version" not in cited


def test_the_changes_have_a_heading_for_the_version_and_it_stands_in_one_place():
    changes = (ROOT / "CHANGELOG.md").read_text("utf8")
    assert f"\n## {ragkit.__version__}\n" in changes and "\n## Unreleased\n" in changes
    assert ragkit.__version__ not in (ROOT / "pyproject.toml").read_text("utf8").split("[dependency-groups]")[0]
