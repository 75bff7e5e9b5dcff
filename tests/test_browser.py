"""The report in a real browser: skipped where there is no Chromium or no Playwright.

RAGKIT_CHROMIUM names the browser (default: chromium or google-chrome on the PATH); none is downloaded.
"""

import pytest

from ragkit.display.report import render
from tests.test_report import BAD, made_up

SYSTEMS = ("dense", "colbert", "bm25", "dense→oracle", f"my run {BAD}")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    pair = made_up(SYSTEMS, queries=40, documents=60, bad=BAD)
    path.write_text(render([pair, made_up(["dense", "colbert"], queries=12, documents=30)]), "utf8")
    return path


@pytest.fixture()
def page(browser, file):
    """The open report; when the test ends there must have been no message, error or request."""
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    opened.set_default_timeout(10_000)
    seen = []
    opened.on("console", lambda message: seen.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: seen.append(str(error)))
    opened.on("request", lambda request: seen.append(request.url[:200]))
    opened.goto(file.as_uri())
    yield opened
    opened.close()
    assert [line for line in seen if not line.startswith("data:")] == [file.as_uri()]


def column(page, heading):
    """The values of a column of the first table, as it is ordered now; None for what was not measured."""
    script = """(heading) => {
        const table = document.querySelector(".systems");
        const place = [...table.tHead.rows[1].cells].findIndex((cell) => cell.textContent.trim() === heading);
        return [...table.tBodies[0].rows].map((row) => row.cells[place].dataset.value);
    }"""
    return [float(value) if value else None for value in page.evaluate(script, heading)]


def heading(page, name):
    return page.locator(".systems").first.get_by_role("columnheader", name=name, exact=True)


def test_a_click_on_a_heading_sorts_by_number_with_the_unmeasured_last(page):
    before = column(page, "engine p50, ms")
    assert before[3] is None
    measured = sorted(value for value in before if value is not None)
    assert sorted(map(str, measured)) != list(map(str, measured))  # as text the order would be another
    title = heading(page, "engine p50, ms")
    for order, expected in (("ascending", measured), ("descending", measured[::-1])):
        title.get_by_role("button").click()
        assert title.get_attribute("aria-sort") == order
        assert column(page, "engine p50, ms") == [*expected, None]


def test_a_table_sorts_by_keyboard_and_one_heading_at_a_time(page):
    heading(page, "system").get_by_role("button").click()
    button = heading(page, "R@100").get_by_role("button")
    button.focus()
    page.keyboard.press("Enter")
    values = column(page, "R@100")
    assert values == sorted(values, reverse=True)
    assert page.locator(".systems").first.locator("[aria-sort]").count() == 1
    assert button.evaluate("(element) => element === document.activeElement")


def test_a_query_is_found_by_typing_and_opened_by_keyboard(page):
    section = page.locator(".browser").first
    section.get_by_label("Order").select_option("id")
    items = section.locator(".queries > li:visible")
    section.get_by_label("Find").fill("window.hit")
    assert items.count() == 1 and section.locator("output").inner_text() == "1 of 40 queries"
    items.locator("summary").first.focus()
    page.keyboard.press("Enter")
    sides = items.locator(".sides > div")
    assert sides.locator("h4").all_inner_texts() == [
        page.locator(".systems tbody th").nth(i).inner_text() for i in range(len(SYSTEMS))
    ]
    assert [side.locator("ol > li").count() for side in sides.all()] == [10] * len(SYSTEMS)
    assert "✓ 1" in sides.first.locator("li.yes").inner_text()


def test_queries_are_ordered_by_disagreement_by_gain_and_by_id(page):
    section = page.locator(".browser").nth(1)
    ids = section.locator(".queries > li .id")
    section.get_by_label("Order").select_option("id")
    assert ids.all_inner_texts() == [str(i) for i in range(1, 13)]
    gains = {}
    for query in section.locator(".queries > li").all():
        query.locator("summary").first.click()
        query.locator(".sides b").first.wait_for()  # drawn when it opens
        dense, colbert = map(float, query.locator(".sides b").all_inner_texts())
        gains[query.locator(".id").inner_text()] = colbert - dense
    for choice, key in (("spread", lambda gain: -abs(gain)), ("best:1", lambda gain: -gain), ("worst:1", float)):
        section.get_by_label("Order").select_option(choice)
        shown = [key(gains[query_id]) for query_id in ids.all_inner_texts()]
        assert shown == sorted(gains_key for gains_key in map(key, gains.values()))


def test_text_that_looks_like_html_stays_text(page):
    section = page.locator(".browser").first
    section.get_by_label("Find").fill("window.hit")
    section.locator(".queries > li:visible summary").first.click()
    assert BAD in section.locator(".queries > li:visible").inner_text()
    assert BAD in section.locator(".sides li.yes").first.text_content()  # the document
    assert page.evaluate("window.hit") is None
    assert page.locator("img:not([src^='data:'])").count() == 0
