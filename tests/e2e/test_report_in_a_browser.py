"""The demo's report as a reader opens it: in a browser, on a phone, a tablet and a screen, light
and dark."""

import re
import shutil

import pytest
from playwright.sync_api import sync_playwright

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = {"phone": 390, "tablet": 820, "screen": 1440}
FIGURES = {
    *("comparison", "ranks", "bits_per_byte", "bits_per_byte_by_kind", "benchmarks"),
    *("loss", "costs"),
    *("divergence", "reliability", "audit", "information"),
}


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("no chromium on this machine: Debian has it in a package of that name")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(demo):
    return demo.folder / "results/report/index.html"


@pytest.fixture
def open_page(browser, report):
    """Opens the report; `said` are messages and errors of the console, `asked` all that was
    requested."""
    contexts = []

    def opened(width, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(report.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_the_page_stands_by_itself_and_fits_its_window(open_page, report, width, scheme):
    page = open_page(width, scheme)
    assert page.said == []
    assert page.asked == [report.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawings = page.locator(".drawing svg").all()
    assert len(drawings) == len(FIGURES)
    for drawing in drawings:
        box = drawing.bounding_box()
        assert box["width"] > 250 and box["height"] > 60
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    ids = {one.get_attribute("id") for one in page.locator("figure h3").all()}
    assert ids == {f"figure-{name}" for name in FIGURES}


def test_the_four_questions_are_answered_before_anything_else(open_page):
    page = open_page(WIDTHS["screen"])
    questions = page.locator(".glance h3").all_inner_texts()
    assert questions == [
        "Is the teacher better than the student?",
        "What did distillation add over SFT?",
        "At what cost?",
        "How sure is that?",
    ]
    short = page.locator(".glance .short").all_inner_texts()
    assert short[0] == "Yes"
    assert re.search(r"\d.* (fewer|more) bits per byte|No difference|depends", short[1])
    assert "times the training time" in short[2]
    assert re.fullmatch(r"Documents: \d+, groups: \d+, seeds: 1", short[3])
    last = page.locator(".glance article").last.bounding_box()
    assert last["y"] + last["height"] < 1000


def test_every_table_can_be_sorted_by_every_column_with_mouse_and_keys(open_page):
    page = open_page(WIDTHS["screen"])
    tables = page.locator("table").all()
    assert len(tables) >= 8
    for table in tables:
        headings = table.locator("thead th")
        before = sorted(table.locator("tbody tr").all_inner_texts())
        for column in range(headings.count()):
            heading = headings.nth(column)
            is_number = "number" in (heading.get_attribute("class") or "")
            orders = {}
            heading.locator("button").click()
            orders[heading.get_attribute("aria-sort")] = keys(table, column)
            heading.locator("button").press("Enter")
            orders[heading.get_attribute("aria-sort")] = keys(table, column)
            assert orders.keys() == {"ascending", "descending"}
            for direction, found in orders.items():
                # What has no value stays below.
                values = [key for key in found if key != ""]
                assert found == values + [""] * (len(found) - len(values))
                if is_number:
                    in_order = sorted(map(float, values), reverse=direction == "descending")
                    assert list(map(float, values)) == in_order
        assert sorted(table.locator("tbody tr").all_inner_texts()) == before
    assert page.said == []


def keys(table, column):
    return [
        row.locator("th, td").nth(column).get_attribute("data-key")
        for row in table.locator("tbody tr").all()
    ]


def test_every_link_leads_somewhere(open_page, report):
    page = open_page(WIDTHS["tablet"])
    targets = {one.get_attribute("href") for one in page.locator("a").all()}
    assert len(targets) > 20
    for target in targets:
        if target.startswith("#"):
            assert page.locator(f'[id="{target[1:]}"]').count() == 1, target
        else:
            assert (report.parent / target).is_file(), target


def test_what_models_write_is_on_the_page_and_the_surprising_is_coloured(open_page):
    page = open_page(WIDTHS["screen"])
    answers = page.locator("#texts ~ .texts").all()
    # Three prompts and a passage; the teacher, the student before and three runs.
    assert [one.locator("figure").count() for one in answers] == [5, 5, 5, 5]
    passages = page.locator(".passage").all()
    texts = {one.inner_text() for one in passages}
    assert len(texts) == 1 and len(texts.pop()) > 200
    assert all(one.locator("i[class^=s]").count() > 20 for one in passages)
