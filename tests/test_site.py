"""The site: built once of what is in the repository, then read from a server and from its folder.

Skipped where Sphinx is missing (`make extras`); what needs a browser also where there is no Chromium.
"""

import base64
import doctest
import functools
import importlib.util
import json
import re
import subprocess
import sys
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

import ragkit
from tests.serving import Serving

pytest.importorskip("sphinx", reason="Sphinx is not installed; make extras installs it")
html = pytest.importorskip("lxml.html", reason="lxml is not installed; make extras installs it")
nodes = pytest.importorskip("docutils.nodes")
pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parent.parent
MAKE = ROOT / "docs" / "make_site.py"
NOTEBOOKS = sorted(
    path for part in ("", "appendix", "exercises") for path in (ROOT / "notebooks" / part).glob("*.ipynb")
)


def script(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_of_the_repository_become_links_of_the_site(tmp_path):
    text = (
        "[up](../README.md#results), [folder](results), [code](../a.ipynb), ![plot](img/scale.png), "
        "[![badge](https://example.org/badge.svg)](https://example.org/run), [license](../LICENSE)\n"
        "```sh\n[left](../README.md)\n```\n"
    )
    made = script(MAKE)
    assert made.linked(text, ROOT / "docs", tmp_path) == (
        "[up](../index.md#results), folder, [code](../a.ipynb), ![plot](img/scale.png), "
        "[badge](https://example.org/run), [license](../LICENSE)\n"
        "```sh\n[left](../README.md)\n```\n"
    )
    assert (tmp_path / "docs" / "img" / "scale.png").is_file() and (tmp_path / "LICENSE").is_file()
    assert doctest.testmod(made).failed == 0


def test_a_formula_is_mathml_and_needs_no_script():
    translator = SimpleNamespace(body=[])
    visit, _ = script(ROOT / "docs" / "site" / "conf.py").show_math(display=False)
    with pytest.raises(nodes.SkipNode):
        visit(translator, nodes.math("", r"\sum_i \max_j q_i \cdot d_j"))
    assert translator.body[0].startswith("<math") and ">∑</mo>" in translator.body[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site."""
    to = tmp_path_factory.mktemp("site") / "site"
    done = subprocess.run([sys.executable, MAKE, to], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    return to


@pytest.fixture(scope="module")
def pages(site):
    """Every page as a tree, by its path."""
    return {path: html.fromstring(path.read_text("utf8")) for path in sorted(site.rglob("*.html"))}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module", params=["folder", "server"])
def address(request, site):
    """Where the site begins: in its folder, and at a plain file server."""
    if request.param == "folder":
        yield site.as_uri()
    else:
        with Serving(functools.partial(Quiet, directory=str(site))) as server:
            yield server.url


@pytest.fixture()
def page(browser, address):
    """A page to open; when the test ends there must have been no message, error or request to another host."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(20_000)
    faults, requests = [], []
    opened.on("console", lambda message: faults.append(f"{message.type}: {message.text}, on {opened.url}"))
    opened.on("pageerror", lambda error: faults.append(f"{error}, on {opened.url}"))
    opened.on("requestfailed", lambda request: faults.append(f"{request.failure}: {request.url}, on {opened.url}"))
    opened.on("request", lambda request: requests.append(request.url[:200]))
    yield opened
    opened.close()
    faults = [fault for fault in faults if "ERR_ABORTED" not in fault]  # an icon that the next page overtook
    elsewhere = [url for url in requests if not url.startswith((f"{address}/", "data:", "about:srcdoc"))]
    assert not faults and not elsewhere


def test_every_page_opens_without_an_error_or_a_request_elsewhere(page, address, site, pages):
    page.set_viewport_size({"width": 400, "height": 300})  # less to paint
    for path in pages:
        answer = page.goto(f"{address}/{path.relative_to(site).as_posix()}")
        assert answer is None or answer.status in (0, 200), path


def test_no_link_inside_is_broken_and_nothing_is_loaded_from_elsewhere(site, pages):
    anchors = {path: {e.get("id") for e in tree.iter() if e.get("id")} for path, tree in pages.items()}
    wrong = []
    for path, tree in pages.items():
        for element, attribute, link, _ in tree.iterlinks():
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if element.tag != "a" and parts.scheme != "data":
                    wrong.append(f"{path.name} loads {link}")
                continue
            address, anchor = urldefrag(link)
            target = (path.parent / unquote(urlsplit(address).path)).resolve() if address else path
            if not target.is_file() or not target.is_relative_to(site):
                wrong.append(f"{path.relative_to(site)}: {attribute}={link}")
            elif anchor and unquote(anchor) not in anchors[target]:
                wrong.append(f"{path.relative_to(site)}: no place {link}")
    assert not wrong, "\n".join(wrong)


def test_every_notebook_and_document_is_a_page_in_the_sidebar(site, pages):
    sidebar = {a.get("href") for a in pages[site / "index.html"].xpath("//div[@class='sidebar-tree']//a")}
    documents = [*NOTEBOOKS, *(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md"]
    expected = {path.relative_to(ROOT).with_suffix(".html").as_posix() for path in documents}
    assert expected <= sidebar and {"notebooks/index.html", "data/models/index.html", "api/shared.html"} <= sidebar


def test_every_picture_has_words(pages):
    pictures = [(path, img) for path, tree in pages.items() for img in tree.iter("img")]
    assert len(pictures) > 10
    for path, img in pictures:
        enough = 1 if img.getparent().tag == "a" else 4  # a badge is one word
        assert len((img.get("alt") or "").split()) >= enough, (path.name, img.get("src"))


def outputs_of(path):
    """Return what a notebook stores, in order: texts, HTML, and the bytes of pictures."""
    found = []
    for cell in json.loads(path.read_text("utf8"))["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if output["output_type"] == "stream":
                found.append(("text", "".join(output["text"])))
            elif "text/html" in data:
                found.append(("html", "".join(data["text/html"])))
            elif "image/png" in data:
                found.append(("picture", base64.b64decode("".join(data["image/png"]))))
            elif "text/plain" in data:
                found.append(("text", "".join(data["text/plain"])))
    return found


def outputs_on(path, tree):
    """Return what a page shows under its cells, as outputs_of does."""
    found = []
    for output in (child for cell in tree.find_class("cell_output") for child in cell):
        if "text_html" in (output.get("class") or ""):
            found.append(("html", output))
        elif output.tag == "img":
            found.append(("picture", (path.parent / output.get("src")).resolve().read_bytes()))
        else:
            found.append(("text", output.text_content()))
    return found


def frames(tree):
    return [frame.get("srcdoc") for frame in tree.iter("iframe")]


def lines(text):
    """Return the lines of a text, without the empty ones around it and blanks at their ends."""
    return [line.rstrip() for line in text.strip("\n").split("\n")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_pages_outputs_are_the_notebooks(path, site, pages):
    place = site / path.relative_to(ROOT).with_suffix(".html")
    stored, shown = outputs_of(path), outputs_on(place, pages[place])
    assert [kind for kind, _ in shown] == [kind for kind, _ in stored]
    for (kind, theirs), (_, ours) in zip(stored, shown, strict=True):
        if kind == "text":
            assert lines(ours) == lines(theirs)
        elif kind == "picture":
            assert ours == theirs
        else:
            tree = html.fragment_fromstring(theirs, create_parent=True)
            assert ours.text_content().split() == tree.text_content().split()
            assert [frame.get("srcdoc") for frame in ours.iter("iframe")] == [
                f.get("srcdoc") for f in tree.iter("iframe")
            ]


def test_every_public_name_has_its_place_in_the_api(site, pages):
    places = {e.get("id") for path, tree in pages.items() if path.parent.name == "api" for e in tree.iter("dt")}
    missing = [name for name in ragkit.__all__ if f"ragkit.{name}" not in places]
    for init in (ROOT / "ragkit").glob("*/__init__.py"):
        package = importlib.import_module(f"ragkit.{init.parent.name}")
        for name in package.__all__:
            own = getattr(ragkit, name, None) is getattr(package, name)
            if (f"ragkit.{name}" if own else f"{package.__name__}.{name}") not in places:
                missing.append(f"{package.__name__}.{name}")
    assert not missing


def test_what_a_lesson_imports_has_its_place_in_the_api(pages):
    places = {e.get("id") for path, tree in pages.items() if path.parent.name == "api" for e in tree.iter("dt")}
    code = "".join(path.read_text("utf8") for path in NOTEBOOKS)
    imported = re.findall(r"from (ragkit[\w.]*) import ([\w, ]+)", code)
    found = [(module, name.strip()) for module, names in imported for name in names.split(",")]
    assert {("ragkit.display", "tables"), ("ragkit.maxsim", "maxsim")} <= set(found)
    for module, name in found:  # by its own name, by ragkit's, by its room's, or as a module
        room = module.rpartition(".")[0]
        names = (f"{module}.{name}", f"ragkit.{name}", f"{room}.{name}")
        assert any(place in names or (place or "").startswith(f"{module}.{name}.") for place in places), (module, name)


def test_a_lessons_code_leads_to_the_api_and_the_api_back(site, pages):
    lesson = pages[site / "notebooks" / "01_movies.html"]
    assert "../api/datasets.html#ragkit.load_movies" in {a.get("href") for a in lesson.xpath("//pre//a")}
    entry = pages[site / "api" / "datasets.html"].get_element_by_id("ragkit.load_movies").getparent()
    assert any(a.get("href").startswith("../notebooks/01_movies.html") for a in entry.iter("a") if a.get("href"))


def test_search_finds_a_word_and_leads_to_it(page, address):
    page.goto(f"{address}/search.html?q=oversampling")
    found = page.locator("#search-results li a")
    found.first.wait_for()
    found.first.click()
    page.wait_for_url(re.compile("highlight|html"))
    assert "oversampling" in page.locator("article").inner_text().lower()


def test_the_explorer_answers_a_click(page, address, site, pages):
    with_explorer = [path for path, tree in pages.items() if tree.find_class("ragkit-explorer")]
    assert with_explorer
    page.goto(f"{address}/{with_explorer[0].relative_to(site).as_posix()}")
    frame = page.frame_locator("iframe.ragkit-explorer").first
    before = frame.get_by_role("status").inner_text()
    token = frame.locator(".query .t").nth(5)
    token.click()
    assert frame.get_by_role("status").inner_text() != before
    assert frame.locator(".document .t.best").count() >= 1


def grounds(page, selector):
    return page.locator(selector).first.evaluate("(element) => getComputedStyle(element).backgroundColor")


in_the_folder = pytest.mark.parametrize("address", ["folder"], indirect=True)


@in_the_folder
def test_dark_pages_keep_a_light_ground_under_plots(page, address):
    page.emulate_media(color_scheme="dark")
    page.goto(f"{address}/notebooks/02_maxsim_and_tokens.html")
    red, green, blue = map(int, re.findall(r"\d+", grounds(page, "body"))[:3])
    assert max(red, green, blue) < 60
    assert grounds(page, ".cell_output img") == "rgb(255, 255, 255)"


@in_the_folder
def test_paper_has_the_lesson_alone_on_white_whatever_the_screen(page, address):
    page.emulate_media(color_scheme="dark", media="print")
    page.goto(f"{address}/notebooks/02_maxsim_and_tokens.html")
    assert grounds(page, "body") == "rgb(255, 255, 255)"
    assert not page.locator(".sidebar-drawer").is_visible() and not page.locator(".toc-drawer").is_visible()
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
