"""The frame of the page in a browser: models, texts, languages, side by side, saving, safety."""

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from urllib.parse import parse_qs, urlsplit

import pytest
from explorer_pages import TEXT, serving, wait_until, watched_page

from minillm.explorer.export import export_page, page_views
from minillm.explorer.explorer import Explorer
from minillm.insight.subject import Subject

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>"\'&lt;\u202e{{7*7}}'
TOO_WIDE = "() => document.documentElement.scrollWidth - innerWidth"
VIEWS = page_views()


def state_of(page):
    return {key: values[0] for key, values in parse_qs(urlsplit(page.url).fragment).items()}


def tokens_shown(page, side=0):
    return page.locator(".strip").nth(side).locator(".token").all_inner_texts()


def test_a_new_text_is_read_and_is_in_the_address(page, served):
    page.wait_for_selector(".view[data-ready]")
    page.fill("textarea", "The")
    wait_until(page, "document.querySelector('.strip .facts')?.textContent == '1 token'")
    page.fill("textarea", "An iterator is")
    wait_until(page, "document.querySelectorAll('.strip .token').length == 3")
    names = served.subject.read("An iterator is").tokens
    assert tokens_shown(page) == [name.replace(" ", "␣") for name in names]
    assert state_of(page)["text"] == "An iterator is"
    assert page.locator(".strip .facts").inner_text() == "3 tokens"
    page.go_back()
    wait_until(page, "document.querySelector('textarea').value != 'An iterator is'")


def test_keys_open_views_and_the_text(page):
    page.wait_for_selector(".view[data-ready]")
    for i, view in enumerate(VIEWS[:3], 1):
        page.keyboard.press(str(i))
        page.wait_for_selector(f".view[data-ready={view}]")
        assert state_of(page)["view"] == view
    page.locator("[role=tab][aria-selected=true]").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(f".view[data-ready={VIEWS[3]}]")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
    page.keyboard.press("1")
    assert state_of(page)["view"] == VIEWS[3]
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    assert page.locator("dialog").is_visible()
    page.keyboard.press("Escape")
    wait_until(page, "!document.querySelector('dialog')")


def test_two_texts_and_two_models_side_by_side(browser, subject):
    second = Subject(subject.model, subject.tokenizer, "second")
    with serving(subject, second) as served, watched_page(browser, served.url) as page:
        page.wait_for_selector(".view[data-ready]")
        page.get_by_role("button", name="Side by side").click()
        wait_until(page, "document.querySelectorAll('.view[data-ready]').length == 2")
        page.locator("textarea").nth(1).fill("The class")
        wait_until(page, "document.querySelectorAll('.strip')[1].children.length == 3")
        assert tokens_shown(page, 0) == ["The", "␣assignment", "␣statement", "␣assign", "s"]
        assert tokens_shown(page, 1) == ["The", "␣class"]
        assert [each.input_value() for each in page.locator(".model-line select").all()] == ["a", "b"]
        address = page.url
        page.goto("about:blank")
        page.goto(address)
        wait_until(page, "document.querySelectorAll('.view[data-ready]').length == 2")
        assert tokens_shown(page, 1) == ["The", "␣class"]


@pytest.mark.parametrize("view", VIEWS)
def test_chinese_leaves_no_message_untranslated(page, open_view, view):
    open_view(page, view, lang="zh")
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    words = page.evaluate("""() => [...document.querySelectorAll('.top button, .tabs button, .lead')]
                             .map(each => each.textContent)""")
    assert all(any("\u4e00" <= c <= "\u9fff" for c in word) or word in ("?", "English")
               for word in words)


@pytest.mark.parametrize("view", VIEWS)
def test_a_hostile_text_stays_text(page, open_view, view):
    open_view(page, view, text=HOSTILE)
    page.wait_for_timeout(50)
    assert page.locator("img, #app script, iframe").count() == 0
    assert page.title().endswith("minillm explorer")


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_wider_than_the_page(page, open_view, view):
    open_view(page, view)
    for width in (1280, 800, 360):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(60)
        assert page.evaluate(TOO_WIDE) <= 0, f"at {width} pixels"


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_no_violation(page, open_view, view):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    for theme in ("light", "dark"):
        open_view(page, view, theme=theme)
        found = axe.Axe().run(page).response["violations"]
        found = [(theme, each["id"], each["help"], each["nodes"][0]["html"][:300]) for each in found]
        assert found == []


def test_errors_are_shown_in_place(page):
    page.wait_for_selector(".view[data-ready]")
    page.fill("textarea", "")
    page.wait_for_selector(".error")
    assert "the text is empty" in page.locator(".error").first.inner_text()
    page.fill("textarea", "x " * 500)
    wait_until(page, "document.querySelector('.error')?.textContent.includes('128')")


# ---- figures


FIGURE = """async values => {
  const base = location.pathname + "static/";
  const {heatMap} = await import(base + "heatmap.js");
  const figure = heatMap({rows: values.length, columns: values[0].length, value: (i, j) => values[i][j],
    rowLabels: values.map((_, i) => "row " + i), columnLabels: values[0].map((_, j) => j ? "c" + j : "=1+1"),
    label: "weight", name: "a heat map", onclick: (i, j) => { document.body.dataset.clicked = [i, j]; }});
  document.querySelector(".view-root").replaceChildren(figure);
}"""
VALUES = [[0.5, -1.25, 3e-7], [1, 2, 0.1]]


def test_a_heat_map_is_read_by_keyboard_and_saved(page, saved):
    page.wait_for_selector(".view[data-ready]")
    page.evaluate(FIGURE, VALUES)
    figure = page.locator(".heat-figure")
    scroller = figure.locator(".heat-scroll")
    scroller.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft"):
        scroller.press(key)
    assert figure.locator(".tip").inner_text().split("\n") == ["row 1 · c1", "weight 2"]
    wait_until(page, "document.querySelector('[aria-live]').textContent.includes('weight 2')")
    scroller.press("Enter")
    assert page.evaluate("document.body.dataset.clicked") == "1,1"

    assert saved(page, figure, "json")["values"] == VALUES
    rows = list(csv.reader(io.StringIO(saved(page, figure, "csv").decode())))
    assert rows[0] == ["", "'=1+1", "c1", "c2"]  # not a formula
    assert [[float(x) for x in row[1:]] for row in rows[1:]] == VALUES
    drawing = ElementTree.fromstring(saved(page, figure, "svg"))
    assert len(drawing.findall(".//{*}title")) == 6
    assert saved(page, figure, "png").startswith(b"\x89PNG")


def test_a_heat_map_of_a_million_cells_draws_what_is_in_sight(page):
    page.wait_for_selector(".view[data-ready]")
    page.evaluate("""async () => {
      const {heatMap} = await import(location.pathname + "static/heatmap.js");
      document.querySelector(".view-root").replaceChildren(heatMap({rows: 1000, columns: 1000,
        value: (i, j) => i * 1000 + j, label: "number"}));
    }""")
    scroller = page.locator(".heat-scroll")
    for _ in range(4):
        page.get_by_role("button", name="Zoom in").click()
    scroller.focus()
    scroller.press("End")
    scroller.press("PageDown")
    row = int(page.locator(".tip div").first.inner_text().split()[0])
    assert 0 < row < 1000
    assert page.locator(".tip div").nth(1).inner_text() == f"number {row * 1000 + 999:,}"
    assert page.evaluate("document.querySelector('.heat-scroll canvas').width") < 3000


# ---- a page without a server


@pytest.fixture(scope="module")
def exported(tmp_path_factory, subject):
    explorer = Explorer([subject], "A </script><script>document.title=3</script>")
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(export_page(explorer, compare="The class"), encoding="utf-8")
    return path


def test_the_exported_page_is_self_contained(exported):
    text = exported.read_text(encoding="utf-8")
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text
    assert text.count("</script>") == text.count("<script")
    assert len(text) < 6e6


@pytest.mark.parametrize("view", VIEWS)
def test_the_exported_page_opens_without_a_server(browser, exported, view):
    with watched_page(browser, f"{exported.as_uri()}#view={view}", offline=True) as page:
        page.wait_for_selector(f".view[data-ready={view}]")
        wait_until(page, "document.querySelectorAll('.view[data-ready]').length == 2")
        assert page.title().endswith("minillm explorer")
        assert tokens_shown(page, 1) == ["The", "␣class"]
        assert page.locator(".view-root").first.inner_text().strip()
        assert page.evaluate(TOO_WIDE) <= 0


def test_an_export_refuses_unknown_views_and_long_texts(subject):
    with pytest.raises(ValueError, match="^view is 'nothing'"):
        export_page(Explorer([subject], TEXT), views=["nothing"])
    with pytest.raises(ValueError, match="wanted at most 128"):
        export_page(Explorer([subject], "word " * 500))


def test_answers_are_found_by_the_same_text_in_both_languages(page):
    from minillm.explorer.export import canonical

    page.wait_for_selector(".view[data-ready]")
    question = ["x", {"b": [1, 2.5, 1e-7, -3.0], "a": 'é"\\\n\u2028', "c": {"z": None, "y": True}}]
    found = page.evaluate("""async question => {
      const {canonical} = await import(location.pathname + "static/api.js");
      return canonical(question);
    }""", question)
    assert json.loads(found) == json.loads(canonical(question))
    assert found == canonical(question).replace("1e-07", "1e-7")


def test_what_the_model_says_stands_above_every_view_and_continues_the_text(page, served):
    first = page.locator(".answer-line button").first
    first.wait_for()
    reading = served.subject.read(TEXT)
    name = served.subject.names([served.subject.said(reading)])[0]
    assert first.inner_text().startswith(name.replace(" ", "␣").replace("\n", "⏎"))
    first.press("Enter")
    wait_until(page, "document.querySelectorAll('.strip .token').length == 6")
    assert state_of(page)["text"] == TEXT + name


def test_the_focus_stays_where_a_keyboard_put_it(page):
    page.wait_for_selector(".view[data-ready]")
    page.get_by_role("button", name="Auto").press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Light"


class LongNames(Subject):
    def names(self, ids):
        return ["<b>" + "e" * 60 for _ in ids]


def test_long_tokens_break_on_a_phone(browser, subject):
    long = LongNames(subject.model, subject.tokenizer, "long " + "e" * 60)
    with serving(long) as served, watched_page(
            browser, served.url, viewport={"width": 360, "height": 800}) as page:
        page.locator(".answer-line button").first.wait_for()
        for view in ("lens", "attribution"):
            page.locator(f"#tab-{view}").click()
            page.wait_for_selector(f".view[data-ready={view}]")
            assert page.evaluate(TOO_WIDE) <= 0 and page.locator("main b").count() == 0, view
