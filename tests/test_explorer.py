import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import ragkit
from ragkit import RagkitError
from ragkit.display import explorer, tables
from ragkit.display.explorer import Explained, Explorer, explore
from ragkit.encoders.encoder import Token
from ragkit.maxsim import maxsim
from tests.test_report import BAD

QUERY = "A movie for kids with fantasy elements and wonders"


@pytest.fixture(scope="module")
def texts(movies):
    return movies.documents.set_index("doc_id")["text"]


@pytest.fixture(scope="module")
def view(colbert, texts):
    return explore(colbert, QUERY, [texts["4"], texts["12"]], titles=["Kubo", "Toy Story 3"])


def embedded(page):
    """The data that a page holds for its script."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def made_up(query, document, given=None):
    """An explorer over given rows, each with a name of its own."""
    tokens = [Token(f"q{i}", "word", i) for i in range(len(query))]
    names = [Token(f"d{i}", "word", i) for i in range(len(document))]
    return Explorer("made up", "none", tokens, [Explained("rows", names, maxsim(query, document), given)])


def test_contributions_are_the_row_maxima_and_sum_to_the_score(colbert, view, texts):
    query = colbert.encode_queries([QUERY])[0]
    for title, doc_id, score in zip(["Kubo", "Toy Story 3"], ["4", "12"], view.scores, strict=True):
        document = colbert.encode_documents([texts[doc_id]])[0]
        frame = view.contributions[view.contributions["document"] == title]
        # Each row of both is a unit vector, so that the dot product is the cosine.
        assert np.allclose(frame["similarity"], (query @ document.T).max(axis=1), atol=1e-5)
        assert frame["similarity"].sum() == pytest.approx(score, abs=1e-4)


def test_the_named_token_is_the_one_whose_row_is_best(colbert, view, texts):
    frame = view.contributions.query("document == 'Kubo'").set_index("query token")
    met = frame.loc[["kids", "fantasy", "wonders"], "best document token"]
    assert met.tolist() == ["boy", "magical", "magical"]  # as lesson 02 finds them with maxsim and tokens alone
    labels = [token.label for token in colbert.tokens(texts["4"]) if token.row is not None]
    result = maxsim(colbert.encode_queries([QUERY])[0], colbert.encode_documents([texts["4"]])[0])
    assert frame["best document token"].tolist() == [labels[column] for column in result.best]


def test_a_score_of_qdrant_is_accepted_and_another_one_is_refused(colbert, movies):
    index = ragkit.open_index(":memory:", {"colbert": ragkit.VectorSpec(colbert.dim, True)}, "explorer")
    ids = movies.documents["doc_id"].tolist()
    index.add(ids, {"colbert": colbert.encode_documents(movies.passages)})
    hits = dict(index.search(colbert.encode_queries([QUERY])[0], "colbert", limit=20))
    index.close()
    texts = list(movies.passages)
    view = explore(colbert, QUERY, texts, scores=[hits[doc_id] for doc_id in ids])
    assert np.allclose(view.scores, [hits[doc_id] for doc_id in ids], atol=1e-4)
    with pytest.raises(RagkitError, match=r"'rows of another'.*given is 18\.\d+, but the rows of ragkit/colbert"):
        explore(colbert, QUERY, texts[0], scores=hits[ids[0]] + 2.4, titles="rows of another")


def test_a_score_may_be_off_by_a_thousandth_and_no_more(colbert):
    score = explore(colbert, "film", "A film.").scores[0]
    explore(colbert, "film", "A film.", scores=score + 0.0009)
    with pytest.raises(RagkitError, match="sum to"):
        explore(colbert, "film", "A film.", scores=score + 0.0011)
    with pytest.raises(RagkitError, match="sum to"):
        explore(colbert, "film", "A film.", scores=float("nan"))


@pytest.mark.parametrize(
    "given", [{"scores": [1.0]}, {"titles": ["one"]}, {"scores": [1.0, 2.0, 3.0]}, {"titles": "one"}]
)
def test_scores_and_titles_must_be_as_many_as_documents(colbert, given):
    with pytest.raises(RagkitError, match="2 documents, .* were given"):
        explore(colbert, "film", ["A film.", "A play."], **given)


def test_no_document_and_a_dense_model_are_refused(colbert):
    with pytest.raises(RagkitError, match="0 documents"):
        explore(colbert, "film", [])
    with pytest.raises(RagkitError, match="dense model"):
        explore(ragkit.load_encoder("dense"), "film", "A film.")


def test_rows_that_the_tokens_do_not_name_are_refused(colbert, monkeypatch):
    tokens = colbert.tokens("A film.")
    monkeypatch.setattr(colbert, "tokens", lambda text, query=False: tokens[:-1] if not query else tokens[:-2])
    with pytest.raises(RagkitError, match="gave 32 rows for 'film', and names for 4"):
        explore(colbert, "film", "A film.")


def test_the_embedded_numbers_are_maxsims_own(view, colbert, texts):
    data = embedded(view.html)
    result = maxsim(colbert.encode_queries([QUERY])[0], colbert.encode_documents([texts["12"]])[0])
    second = data["documents"][1]
    assert second["best"] == result.best.tolist()
    assert sum(second["contributions"]) == pytest.approx(result.score, abs=1e-5)
    assert np.abs(np.array(second["similarities"]) / 1000 - result.similarities).max() <= 0.0005001
    assert [label for label, kind, _ in data["query"] if explorer._KINDS[kind] == "mask"] == ["[MASK]"] * 20


def test_pieces_are_joined_to_their_word_and_to_nothing_else():
    word = [Token(label, "word", i) for i, label in enumerate(["a", "ku", "##bo", "film"])]
    assert [joined for _, _, joined in explorer._tokens(word)] == [0, 0, 1, 0]
    pieces = [Token("[CLS]", "special", 0)]
    pieces += [Token(label, "word", i + 1) for i, label in enumerate(["A", "Ġku", "bo", "Ġfilm"])]
    assert [joined for _, _, joined in explorer._tokens(pieces)] == [0, 0, 0, 1, 0]
    after = [Token("-", "skipped", None), Token("##bo", "word", 0)]
    assert [joined for _, _, joined in explorer._tokens(after)] == [0, 0]


def test_text_is_escaped_in_every_form(colbert):
    view = explore(colbert, BAD, [BAD, f"<!-- {BAD} שלום"], titles=[BAD, BAD])
    tags = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append((tag, dict(attrs)))

    Reader().feed(view.html)
    names = [tag for tag, _ in tags]
    assert names.count("script") == 2 and "img" not in names and names.count("title") == 1
    data = embedded(view.html)
    assert data["text"] == BAD and data["documents"][0]["title"] == BAD
    tags.clear()
    Reader().feed(view._repr_html_())
    assert [tag for tag, _ in tags] == ["iframe", "details", "summary", "pre"]
    frame = tags[0][1]
    assert frame["srcdoc"] == view.html and frame["sandbox"] == "allow-scripts"


def test_the_text_form_shows_scores_and_the_words_that_tell_them_apart(view):
    lines = repr(view).splitlines()
    assert lines[0] == f'MaxSim explorer: "{QUERY}", 32 rows of ragkit/colbert-minilm-l6'
    assert lines[3].split()[-1] == tables.number(view.scores[0])
    assert " ".join(lines[6].split()) == "query token A best match A similarity B best match B similarity A − B"
    assert lines[7].split()[:2] == ["fantasy", "magical"]
    differences = [abs(float(line.split()[-1])) for line in lines[7:]]
    assert len(differences) == 5 and differences == sorted(differences, reverse=True)
    assert "[MASK]" not in repr(view)


def test_the_text_form_of_one_document_and_of_many(colbert):
    one = repr(explore(colbert, "fantasy film", "A film.", titles="T"))
    assert re.search(r"^query token  best match  similarity\nfilm         film ", one, re.MULTILINE)
    many = repr(explore(colbert, "film", ["A film.", "A play.", "A book."]))
    assert many.count("\n") == 5 and "best match" not in many


def test_negative_and_equal_similarities_keep_their_order():
    view = made_up(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), np.array([[-1.0, 0.0], [-0.6, -0.8]]))
    assert view.contributions["similarity"].tolist() == pytest.approx([-0.6, 0.0, 0.0])
    assert repr(view).splitlines()[-3:] == [
        "q0           d1              -0.600",
        "q1           d0               0.000",
        "q2           d0               0.000",
    ]


@pytest.mark.slow
def test_a_page_of_two_long_documents_stays_small(colbert, movies):
    everything = " ".join(movies.passages)
    view = explore(colbert, QUERY, [everything[:1500], everything[-1500:]])
    assert min(len(document.tokens) for document in view.documents) == 256
    assert len(view.html.encode()) < 300_000 and len(view._repr_html_().encode()) < 300_000


def test_a_file_is_written_whole_or_not_at_all(view, tmp_path, monkeypatch):
    path = tmp_path / "new" / "page.html"
    view.save(path)
    assert path.read_text("utf8") == view.html and [p.name for p in path.parent.iterdir()] == ["page.html"]

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RagkitError, match="no space left"):
        made_up(np.eye(2), np.eye(2)).save(path)
    assert path.read_text("utf8") == view.html and [p.name for p in path.parent.iterdir()] == ["page.html"]


def test_two_explorers_of_the_same_are_the_same_page(colbert, view, texts):
    again = explore(colbert, QUERY, [texts["4"], texts["12"]], titles=["Kubo", "Toy Story 3"])
    assert again.html == view.html and again._repr_html_() == view._repr_html_() and repr(again) == repr(view)


@pytest.mark.slow
def test_it_is_a_name_of_the_package():
    code = "import ragkit; print(ragkit.explore.__module__, ragkit.Explorer.__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["ragkit.display.explorer"] * 2, done.stderr
