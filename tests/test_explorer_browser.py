"""The explorer in a real browser: skipped where there is no Chromium or no Playwright, as test_browser.py is."""

import re

import numpy as np
import pytest

import ragkit
from ragkit.display.explorer import explore
from ragkit.maxsim import maxsim
from tests.test_report import BAD

QUERY = "A movie for kids with fantasy elements and wonders"
KUBO, TOYS = "4", "12"  # of load_movies()


@pytest.fixture(scope="module")
def hits(movies, colbert):
    """What Qdrant returns for the query, by document."""
    ids = movies.documents["doc_id"].tolist()
    with ragkit.open_index(":memory:", {"colbert": ragkit.VectorSpec(colbert.dim, True)}, "explorer") as index:
        index.add(ids, {"colbert": colbert.encode_documents(movies.passages)})
        return dict(index.search(colbert.encode_queries([QUERY])[0], "colbert", limit=len(ids)))


@pytest.fixture(scope="module")
def films(movies, colbert, hits):
    """A function from document ids to their explorer, with Qdrant's scores."""
    frame = movies.documents.set_index("doc_id")

    def explorer(*ids):
        texts, titles = frame.loc[list(ids), "text"].tolist(), frame.loc[list(ids), "title"].tolist()
        return explore(colbert, QUERY, texts, scores=[hits[doc_id] for doc_id in ids], titles=titles)

    return explorer


@pytest.fixture(scope="module")
def expected(movies, colbert):
    """A function from a document id to its MaxSim, and to the place among its tokens of each query row's best."""
    texts = movies.documents.set_index("doc_id")["text"]
    query = colbert.encode_queries([QUERY])[0]

    def result(doc_id):
        found = maxsim(query, colbert.encode_documents([texts[doc_id]])[0])
        places = [place for place, token in enumerate(colbert.tokens(texts[doc_id])) if token.row is not None]
        return found, [places[row] for row in found.best]

    return result


@pytest.fixture()
def open_page(browser, tmp_path):
    """A function that opens a page; when the test ends there must have been no message, error or request."""
    opened = []

    def start(html, width=1200, height=900, **media):
        file = tmp_path / f"{len(opened)}.html"
        file.write_text(html, "utf8")
        page, seen = browser.new_page(viewport={"width": width, "height": height}), []
        opened.append((page, seen, file.as_uri()))
        page.set_default_timeout(10_000)
        page.emulate_media(**media)
        page.on("console", lambda message: seen.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("request", lambda request: seen.append(request.url[:200]))
        page.goto(file.as_uri())
        return page

    yield start
    for page, seen, address in opened:
        page.close()
        assert [line for line in seen if not line.startswith(("data:", "about:srcdoc"))] == [address]


@pytest.fixture()
def page(open_page, films):
    """Kubo (A) beside Toy Story 3 (B)."""
    return open_page(films(KUBO, TOYS).html)


def asked(page):
    return page.locator(".query .t")


def best(page, side):
    """The places of the framed tokens of a document, and the similarities written on them."""
    script = """(buttons) => buttons.flatMap((button, place) =>
        button.classList.contains("best") ? [[place, button.querySelector("b").textContent]] : [])"""
    return page.locator(".document").nth(side).locator(".t").evaluate_all(script)


def exact(locator):
    return float(locator.get_attribute("value"))


def test_pointing_at_a_query_token_frames_the_best_token_of_both_documents(page, expected):
    results = [expected(KUBO), expected(TOYS)]
    for i in range(32):
        asked(page).nth(i).hover()
        for side, (result, places) in enumerate(results):
            assert best(page, side) == [[places[i], f"{result.contributions[i]:.3f}"]]
    assert asked(page).nth(7).inner_text() == "fantasy"
    asked(page).nth(7).hover()
    said = page.get_by_role("status").inner_text()
    assert "fantasy meets A magical 0.574" in said and "B day 0.145" in said and "A − B +0.430" in said


def test_every_token_is_shaded_by_its_similarity(page, expected):
    asked(page).nth(5).hover()
    shades = page.locator(".document").first.locator(".t:not(.skipped)")
    values = shades.evaluate_all("(all) => all.map((each) => Number(each.style.getPropertyValue('--s')))")
    assert np.allclose(values, expected(KUBO)[0].similarities[5].clip(0, 1), atol=0.00051)
    colours = shades.evaluate_all("(all) => all.map((each) => getComputedStyle(each).backgroundColor)")
    assert len(set(colours)) > 10


def test_the_keyboard_moves_the_highlight(page, expected):
    result, places = expected(KUBO)
    focused = "() => [...document.querySelectorAll('.query .t')].indexOf(document.activeElement)"
    page.keyboard.press("Tab")
    for key, at in (
        ("ArrowRight", 1),
        ("ArrowRight", 2),
        ("End", 31),
        ("ArrowLeft", 30),
        ("Home", 0),
        ("ArrowLeft", 0),
    ):
        page.keyboard.press(key)
        assert page.evaluate(focused) == at and best(page, 0)[0][0] == places[at], key
    page.keyboard.press("ArrowDown")  # to the second line, of masks
    below = page.evaluate(focused)
    tops = asked(page).evaluate_all("(all) => all.map((each) => each.getBoundingClientRect().top)")
    assert tops[below] > tops[0] + 12 and best(page, 0)[0][0] == places[below]
    page.keyboard.press("ArrowUp")
    assert tops[page.evaluate(focused)] < tops[below] - 12
    page.keyboard.press("Tab")  # one stop a text: on to the first document
    assert page.evaluate("document.activeElement.closest('.document') === document.querySelector('.document')")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(focused) >= 0


def test_focus_is_visible(page):
    for _ in range(5):
        page.keyboard.press("Tab")
        outline = page.evaluate("(({ outlineStyle, outlineWidth }) => [outlineStyle, outlineWidth])"
                                "(getComputedStyle(document.activeElement))")  # fmt: skip
        assert outline == ["solid", "3px"]


def test_a_click_or_enter_pins_until_escape(page, expected):
    result, places = expected(KUBO)
    asked(page).nth(5).click()
    asked(page).nth(7).hover()
    assert best(page, 0)[0][0] == places[5] and asked(page).nth(5).get_attribute("aria-pressed") == "true"
    assert "pinned" in page.get_by_role("status").inner_text()
    page.keyboard.press("Escape")
    asked(page).nth(8).hover()
    assert best(page, 0)[0][0] == places[8] and page.locator("[aria-pressed=true]").count() == 0
    asked(page).nth(10).focus()
    page.keyboard.press("Enter")
    asked(page).nth(3).hover()
    assert best(page, 0)[0][0] == places[10]
    page.keyboard.press("Enter")
    asked(page).nth(4).hover()
    assert best(page, 0)[0][0] == places[4]


def test_a_document_token_shows_whom_it_serves(page, expected):
    result, places = expected(KUBO)
    magical = page.locator(".document").first.get_by_role("button", name=re.compile("^token magical,"))
    magical.focus()
    place = (
        page.locator(".document")
        .first.locator(".t")
        .evaluate_all("(all) => all.findIndex((each) => each === document.activeElement)")
    )
    served = [i for i, each in enumerate(places) if each == place]
    assert served == asked(page).evaluate_all(
        "(all) => all.flatMap((each, i) => each.classList.contains('best') ? [i] : [])"
    )
    said = page.get_by_role("status").inner_text()
    assert "magical is the best match of fantasy, wonders, [MASK] × 2" in said
    assert f"{result.contributions[served].sum():.3f}" in said
    suit = page.locator(".document").first.get_by_role("button", name=re.compile("^token suit,"))
    suit.hover()
    assert "best match of no query token" in page.get_by_role("status").inner_text()


def test_the_sum_shown_is_maxsims_and_qdrants(page, expected, hits):
    for side, doc_id in enumerate((KUBO, TOYS)):
        section = page.locator(".document").nth(side)
        score = expected(doc_id)[0].score
        for name in (".score", ".total", ".given"):
            assert exact(section.locator(name)) == pytest.approx(score, abs=1e-4)
            assert exact(section.locator(name)) == pytest.approx(hits[doc_id], abs=1e-4)
            assert section.locator(name).inner_text() == f"{hits[doc_id]:.3f}"
        parts = re.findall(r"\d+\.\d{3}", section.locator(".parts").inner_text())
        assert sum(map(float, parts[:3])) == pytest.approx(score, abs=0.0016)  # three roundings
    difference = exact(page.locator(".rows .total"))
    assert difference == pytest.approx(hits[KUBO] - hits[TOYS], abs=2e-4)


def test_the_bars_stand_end_to_end_and_end_at_the_score(page, expected):
    scores = [expected(KUBO)[0].score, expected(TOYS)[0].score]
    for side, score in enumerate(scores):
        stack = page.locator(".stack").nth(side)
        script = "(all) => all.map((each) => [parseFloat(each.style.left), parseFloat(each.style.width)])"
        bars = stack.locator("i").evaluate_all(script)
        assert len(bars) == 32
        for (left, width), (following, _) in zip(bars, bars[1:], strict=False):
            assert left + width == pytest.approx(following, abs=1e-3)
        assert sum(bars[-1]) == pytest.approx(100 * score / max(scores), abs=1e-3)


def test_the_differences_can_be_sorted_and_the_running_sums_end_at_the_scores(page, expected):
    a, b = expected(KUBO)[0], expected(TOYS)[0]
    differences = a.contributions - b.contributions
    page.get_by_text("Every row as a table").click()
    cells = "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent.replace('−', '-')))"
    rows = page.locator(".ledger tbody tr")
    places = [int(row[0]) for row in rows.evaluate_all(cells)]
    assert places == list(range(32))
    page.locator("#order").select_option("by difference")
    table = rows.evaluate_all(cells)
    places = [int(row[0]) for row in table]
    assert sorted(places) == list(range(32)) and (np.diff(differences[places]) <= 1e-6).all()
    assert np.allclose([float(row[-1]) for row in table], differences[places], atol=0.00051)
    assert table[-1][6] == f"{a.score:.3f}" and table[-1][10] == f"{b.score:.3f}"
    ends = page.locator(".ledger tfoot tr").evaluate_all(cells)
    assert [row[1] for row in ends] == ["sum", "Qdrant"]
    assert [float(row[-1]) for row in ends] == pytest.approx([a.score - b.score] * 2, abs=0.0011)
    columns = page.locator(".strip > div").evaluate_all("(all) => all.map((each) => Number(each.dataset.place))")
    assert columns == places


def test_what_a_token_is_shows_without_colour(page, colbert, movies):
    kinds = [token.kind for token in colbert.tokens(movies.documents.set_index("doc_id")["text"][TOYS])]
    buttons = page.locator(".document").nth(1).locator(".t")
    script = """(all) => all.map((each) => {
        const { borderTopStyle, borderTopWidth, borderRadius } = getComputedStyle(each);
        const kind = [...each.classList].find((name) => name !== "t" && name !== "best");
        return `${kind} ${borderTopStyle} ${borderTopWidth} ${borderRadius}`;
    })"""
    looks = {}
    for kind, look in zip(kinds, buttons.evaluate_all(script), strict=True):
        assert look.split()[0] == kind
        looks[kind] = look.removeprefix(kind)
    looks["mask"] = page.locator(".query .t:nth-child(1)").evaluate_all(script)[-1].removeprefix("mask")
    assert len(set(looks.values())) == len(looks) == 5, looks
    skipped = buttons.nth(kinds.index("skipped"))
    assert skipped.get_attribute("aria-label") == "skipped punctuation -, has no row and cannot be a match"
    skipped.hover()
    assert "has no row" in page.get_by_role("status").inner_text() and page.locator(".tokens .best").count() == 0


def test_everything_that_can_be_used_has_a_name(page, films, open_page):
    names = """(all) => all.filter((each) => !each.closest("[hidden], [aria-hidden=true]")).map((each) => {
        const by = (each.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id));
        const own = each.matches("summary, h1, h2") ? each.textContent : each.closest("label")?.firstChild.textContent;
        return each.ariaLabel || by.map((other) => other?.textContent ?? "").join("") || own || "";
    })"""
    usable = "button, select, summary, [tabindex], [role=toolbar], [role=region], section, h1, h2"
    for each in (page, open_page(films(*(str(i) for i in range(5))).html)):
        found = each.locator(f"main :is({usable})").evaluate_all(names)
        assert len(found) > 100 and all(name.strip() for name in found)
    kids = asked(page).nth(5).get_attribute("aria-label")
    assert kids == (
        "token kids, in A: best match boy, 0.472, contributes 2.6 % of the score; "
        "in B: best match toys, 0.360, contributes 2.3 % of the score"
    )
    assert page.get_by_role("status").get_attribute("aria-live") == "polite"
    assert page.locator("[aria-hidden=true] :is(button, select, summary, [tabindex])").count() == 0


def test_text_that_looks_like_html_stays_text(open_page, colbert):
    page = open_page(explore(colbert, BAD, [BAD, f"{BAD} שלום עולם"], titles=[BAD, "other"]).html)
    assert page.evaluate("window.hit") is None and page.locator("img").count() == 0
    assert page.locator(".document h2").first.inner_text() == BAD
    assert "script" in asked(page).all_inner_texts()
    asked(page).nth(4).hover()
    assert page.locator(".document .best").count() == 2


# The luminance contrast of every visible text with what lies behind it (WCAG 2, 1.4.3), the lowest first.
CONTRAST = """() => {
    const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const blend = (colours) => {
        context.clearRect(0, 0, 1, 1);
        for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
        return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map((each) => each / 255);
    };
    const luminance = (colour) => colour.map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
        .reduce((sum, each, i) => sum + each * [0.2126, 0.7152, 0.0722][i], 0);
    const found = [];
    for (const element of document.querySelectorAll("main *")) {
        if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
        if (!element.checkVisibility() || element.closest("select")) continue;
        const grounds = [];
        for (let each = element; each; each = each.parentElement) {
            grounds.unshift(getComputedStyle(each).backgroundColor);
        }
        const behind = luminance(blend(["white", ...grounds]));
        const text = luminance(blend(["white", ...grounds, getComputedStyle(element).color]));
        const ratio = (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
        found.push([ratio, element.className, element.textContent.slice(0, 20)]);
    }
    return found.sort((a, b) => a[0] - b[0]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(open_page, films, scheme):
    page = open_page(films(KUBO, TOYS).html, color_scheme=scheme, reduced_motion="reduce")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")
    page.get_by_text("Every row as a table").click()
    for token in (asked(page).first, asked(page).nth(7), page.locator(".document .t").nth(1)):
        token.hover()
        ratios = page.evaluate(CONTRAST)
        assert len(ratios) > 300 and ratios[0][0] >= 4.5, ratios[:5]


def test_nothing_moves_for_who_asks_for_less_motion(open_page, films):
    html = films(KUBO).html
    duration = "getComputedStyle(document.querySelector('.t')).transitionDuration"
    assert open_page(html, reduced_motion="no-preference").evaluate(duration) != "0s"
    assert open_page(html, reduced_motion="reduce").evaluate(duration) == "0s"


def test_print_is_a_labelled_heat_map(open_page, films, expected):
    page = open_page(films(KUBO, TOYS).html, media="print", color_scheme="dark")
    assert not page.locator("main").is_visible()
    assert page.locator("body").evaluate("(body) => getComputedStyle(body).backgroundColor") == "rgb(255, 255, 255)"
    result, _ = expected(KUBO)
    table = page.locator(".map").first
    assert table.is_visible()
    assert table.locator("thead th").all_inner_texts()[:3] == ["[CLS]", "[D]", "a"]
    assert table.locator("tbody th").all_inner_texts()[5] == "kids"
    cells = table.locator("tbody tr").evaluate_all(
        """(rows) => rows.slice(0, -1).map((row) => [...row.querySelectorAll("td:not(.flat)")].map((cell) =>
            [cell.textContent.replace("−", "-"), cell.className, getComputedStyle(cell).backgroundColor]))"""
    )
    assert np.allclose([[float(cell[0]) for cell in row] for row in cells], result.similarities, atol=0.0056)
    assert [[cell[1] for cell in row].index("best") for row in cells] == result.best.tolist()
    assert cells[7][result.best[7]][2] != cells[7][4][2]
    assert table.locator("tbody tr").last.inner_text().split()[-1] == f"{result.score:.3f}"
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 1200


def test_a_narrow_page_and_long_texts_do_not_overflow(open_page, films, colbert, movies):
    for width in (400, 1200):
        assert open_page(films(KUBO, TOYS).html, width).evaluate("document.documentElement.scrollWidth") <= width
    everything = " ".join(movies.passages)
    long = explore(colbert, f"{QUERY} " * 8, [everything[:1500], everything[-1500:]])
    for width in (400, 1200):
        page = open_page(long.html, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        asked(page).nth(20).hover()
        for label in page.locator(".tokens b").all():
            box = label.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width


def test_of_more_than_two_documents_two_can_be_picked(open_page, films, hits):
    ids = list(hits)[:5]
    page = open_page(films(*ids).html)
    pickers = page.locator(".document select")
    assert pickers.count() == 2 and pickers.first.locator("option").count() == 5
    pickers.nth(1).select_option("4")
    assert exact(page.locator(".score").nth(1)) == pytest.approx(hits[ids[4]], abs=1e-4)
    assert page.evaluate("document.activeElement") is not None
    assert exact(page.locator(".rows .total")) == pytest.approx(hits[ids[0]] - hits[ids[4]], abs=2e-4)
    asked(page).nth(5).hover()
    assert page.locator(".document .best").count() == 2


def test_one_document_has_no_sides(open_page, films, hits):
    page = open_page(films(KUBO).html)
    assert page.locator(".document").count() == 1 and page.locator(".side").count() == 0
    asked(page).nth(7).hover()
    assert "fantasy meets magical 0.574" in page.get_by_role("status").inner_text()
    assert exact(page.locator(".rows .total")) == pytest.approx(hits[KUBO], abs=1e-4)
    assert asked(page).nth(5).get_attribute("aria-label").startswith("token kids, best match boy, 0.472, contributes")


def test_it_works_in_a_notebooks_frame_and_stays_there(open_page, films, expected):
    cell = films(KUBO, TOYS)._repr_html_()
    page = open_page(
        f"<!doctype html><style>.t {{ color: red }}</style><div style='width: 920px'>{cell}</div><p class=t>out"
    )
    frame = page.frame_locator("iframe")
    frame.locator(".query .t").nth(7).hover()
    place = (
        frame.locator(".document")
        .first.locator(".t")
        .evaluate_all("(all) => all.findIndex((each) => each.classList.contains('best'))")
    )
    assert place == expected(KUBO)[1][7]
    assert (
        frame.locator("body").evaluate("() => { try { return parent.document.title } catch { return 'kept apart' } }")
        == "kept apart"
    )
    assert page.locator("p.t").evaluate("(each) => getComputedStyle(each).borderTopStyle") == "none"
    root = frame.locator("html")
    width, height, inner = root.evaluate("(html) => [html.scrollWidth - innerWidth, html.scrollHeight, innerHeight]")
    assert width <= 0 and inner - 120 < height <= inner  # all of it, and not much air
    page.get_by_text("The same as text").click()
    assert "fantasy      magical" in page.locator("pre").inner_text()
