"""Lessons as a student meets them: JupyterLab in a real browser. Skipped as test_browser.py is, and without JupyterLab.

Screenshots of what was seen go to build/.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
LESSONS = ("01_movies.ipynb", "02_maxsim_and_tokens.ipynb")
PLAYGROUND = "ragkit.playground(ragkit.load_movies(), query='A movie for kids with fantasy elements and wonders')"
BUILD = ROOT / "build"
# Milliseconds: no test asserts a time, and a busy machine needs ten times what a quiet one does.
START, RUN = 60_000, 100_000
# No question about news, and every cell in the page, seen or not.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    """The address of a JupyterLab whose folder holds the lessons without their outputs, and its token."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    home = tmp_path_factory.mktemp("lab")
    (home / "lessons").mkdir()
    for name in LESSONS:
        notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":  # what is seen later was computed here
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, home / "lessons" / name)
    cells = [nbformat.v4.new_code_cell("import ragkit"), nbformat.v4.new_code_cell(PLAYGROUND)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), home / "lessons" / "playground.ipynb")
    for name, values in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), "utf8")
    token = secrets.token_hex(16)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.root_dir={home / 'lessons'}"]
    own = {f"JUPYTER{n}_DIR": str(home / n) for n in ("_CONFIG", "_RUNTIME", "LAB_WORKSPACES")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "IPYTHONDIR": str(home / "ipython")}
    with open(home / "log", "w", encoding="utf8") as log:
        server = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield wait_for(server, f"http://127.0.0.1:{port}", token, home / "log"), token
    finally:
        server.terminate()  # the server ends its kernels
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for(server, address, token, log):
    """Return the address once the server answers."""
    deadline = time.monotonic() + START / 1000
    while True:
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"{address}/api/status?token={token}", timeout=5)
            break
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)  # between two questions to a server that is not there yet
    return address


@pytest.fixture()
def open_lesson(browser, lab):
    """A function that opens a lesson, runs all its cells, and returns the page when the last one has its number."""
    address, token = lab
    context = browser.new_context(viewport={"width": 1280, "height": 900}, device_scale_factor=2)
    context.set_default_timeout(START)

    def start(name):
        page = context.new_page()
        # A workspace of its own: the default one would open the other lesson again.
        page.goto(f"{address}/lab/workspaces/{Path(name).stem}/tree/{name}?token={token}")
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()  # sooner, JupyterLab would ask for a kernel
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator("[data-command='runmenu:run-all']").click()
        count = page.locator(".jp-CodeCell").count()
        last = page.locator(".jp-CodeCell").last.locator(".jp-InputPrompt", has_text=f"[{count}]:")
        failed = page.locator("[data-mime-type='application/vnd.jupyter.error']")
        last.or_(failed).first.wait_for(timeout=RUN)
        assert failed.count() == 0, failed.first.inner_text()
        return page

    yield start
    context.close()


def shown(page, text):
    """The outputs that hold a text."""
    return page.locator(".jp-OutputArea-output", has_text=text)


def picture(page, name):
    BUILD.mkdir(exist_ok=True)
    page.screenshot(path=BUILD / f"{name}.png")


def test_the_first_lesson_runs_and_finds_kubo(open_lesson):
    page = open_lesson("01_movies.ipynb")
    found = shown(page, "Kubo and the Two Strings")
    assert found.count() >= 3
    answer = shown(page, "QueryResponse(points=[ScoredPoint(id=15, version=0, score=19.053")
    assert answer.count() == 1  # one query, one best film
    page.get_by_role("tab", name="File Browser").click()  # it is open at first; a student closes it
    answer.evaluate("(element) => element.scrollIntoView({block: 'center'})")
    assert answer.is_visible()
    picture(page, "lab_movies")


def test_the_second_lesson_shows_its_figures_and_an_explorer_that_answers(open_lesson):
    page = open_lesson("02_maxsim_and_tokens.ipynb")
    notebook = nbformat.read(ROOT / "notebooks" / "02_maxsim_and_tokens.ipynb", as_version=4)
    stored = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    figures = page.locator(".jp-OutputArea-output img")
    assert figures.count() == len(stored) >= 3
    assert figures.evaluate_all("(all) => all.every((each) => each.naturalWidth > 100)")

    frame = page.frame_locator("iframe.ragkit-explorer")
    page.get_by_role("tab", name="File Browser").click()
    page.locator("iframe.ragkit-explorer").evaluate("(element) => element.scrollIntoView()")
    token = frame.locator(".query .t").nth(7)
    assert token.inner_text() == "fantasy"
    token.hover()
    best = frame.locator(".document .t.best")
    assert [each.inner_text().split()[0] for each in best.all()] == ["magical", "day"]
    said = frame.get_by_role("status").inner_text()
    assert "0.574" in said and "0.145" in said  # as the lesson's table has it
    picture(page, "lab_explorer")


def test_a_query_is_typed_a_depth_moved_and_a_result_clicked_in_the_playground(open_lesson):
    page = open_lesson("playground.ipynb")
    page.get_by_role("tab", name="File Browser").click()
    columns = page.locator(".jp-OutputArea-output .widget-hbox > .widget-vbox")
    reranked = columns.nth(2).locator("button")
    reranked.nth(0).get_by_text("1 Snow White and the Seven Dwar… (2)").wait_for()
    assert columns.count() == 3 and reranked.count() == 5

    field = page.locator(".widget-text input")
    field.fill("a man fights against robots and machines")
    field.press("Enter")
    reranked.nth(0).get_by_text("1 Edge of Tomorrow (2)").wait_for()
    reranked.nth(3).get_by_text("4 The Dirty Dozen (10)").wait_for()

    page.locator(".noUi-handle").press("ArrowLeft")  # to depth 5, which the tenth of dense does not reach
    page.get_by_text("reorders the first 5 of dense").wait_for()
    reranked.nth(3).get_by_text("▲1").wait_for()
    assert not any("Dirty Dozen" in text for text in reranked.all_inner_texts())

    columns.nth(1).locator("button").nth(0).click()
    frame = page.frame_locator("iframe.ragkit-explorer")
    token = frame.locator(".query .t", has_text="fights")
    token.hover()
    assert frame.locator(".document .t.best").count() == 1
    assert page.get_by_text("The score of colbert is this sum").is_visible()
    picture(page, "lab_playground")
