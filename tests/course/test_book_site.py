"""The book in a browser, from the disk: nothing is missing, broken, too wide, or from elsewhere.

MINILLM_BOOK=FOLDER tests a book that `make book` has built. Without it, the chapters are rendered
here, as they stand and without running them.
"""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

NEEDED = ["playwright.sync_api", "sphinx", "myst_nb", "sphinx_book_theme", "nbformat",
          "sphinx-mathjax-offline"]
for module in NEEDED:
    pytest.importorskip(module, reason=f"{module} is missing: pip install 'minillm[book,test]'")

from explorer_pages import CHROMIUM
from made_once import made_once
from playwright.sync_api import sync_playwright

from minillm.course.book.explorer_pages import pages_in
from minillm.course.chapters import list_chapters
from minillm.explorer.page import static_files

BUILT = os.environ.get("MINILLM_BOOK")
if CHROMIUM is None:
    pytest.skip("no Chromium, which these tests open the book in: apt install chromium",
                allow_module_level=True)

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
CHAPTERS = list_chapters()
PAGES = ["index", *(chapter.path.stem for chapter in CHAPTERS)]

# What is wrong with a page, as a list of sentences. Formulas and code are left out of its text.
FIND_PROBLEMS = r"""async () => {
  if (window.MathJax) await MathJax.startup.promise;
  const problems = [];
  const name = element => element.outerHTML.slice(0, 120);
  for (const image of document.querySelectorAll("article img")) {
    if (!image.complete || !image.naturalWidth) problems.push("missing image: " + name(image));
    if (!image.alt || image.alt.length < 10) problems.push("no alt text: " + name(image));
  }
  for (const formula of document.querySelectorAll(".math"))
    if (!formula.querySelector("mjx-container svg")) problems.push("no formula: " + name(formula));
  for (const error of document.querySelectorAll("mjx-merror, [data-mml-node=merror]"))
    problems.push("TeX error: " + (error.dataset.mjxError || name(error.closest("mjx-container"))));
  for (const unknown of document.querySelectorAll("mjx-container [data-mml-node=mtext][fill=red]"))
    problems.push("unknown macro: " + unknown.closest(".math").textContent);
  const text = document.querySelector("article").cloneNode(true);
  for (const part of text.querySelectorAll("pre, code, mjx-container, script")) part.remove();
  const unrendered = /\\[([].{0,40}|\$\$.{0,40}|\$[^\s$][^$\n]{0,40}\$|<!--.{0,40}/g;
  for (const raw of text.textContent.match(unrendered) || [])
    problems.push("unrendered: " + raw);
  return problems;
}"""
TOO_WIDE = """() => {
  const excess = document.documentElement.scrollWidth - innerWidth;
  if (excess <= 0) return [];
  const scrolls = element => element.tagName !== "ARTICLE" &&
    (getComputedStyle(element).overflowX !== "visible" || scrolls(element.parentElement));
  const wide = [...document.querySelectorAll("article *")].filter(
    element => element.getBoundingClientRect().right > innerWidth + 1 && !scrolls(element));
  const names = wide.map(element => element.outerHTML).join(" ");
  return [`${excess} pixels too wide: ${names.slice(0, 200)}`];
}"""
# The contrast that the Web Content Accessibility Guidelines ask for is 4.5.
TOO_DIM = """() => {
  const luminance = color => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map(value => value / 255).map(
      value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = element => {
    const color = element ? getComputedStyle(element).backgroundColor : "rgb(255, 255, 255)";
    return /, 0\\)$/.test(color) ? paper(element.parentElement) : color;
  };
  const found = new Map();
  for (const element of document.querySelectorAll("article *:not(svg *, .headerlink)")) {
    const nodes = [...element.childNodes].filter(node => node.nodeType === Node.TEXT_NODE);
    const text = nodes.map(node => node.data).join("").trim();
    if (!text || !element.checkVisibility()) continue;
    const [ink, background] = [getComputedStyle(element).color, paper(element)];
    const [dark, light] = [luminance(ink), luminance(background)].sort((a, b) => a - b);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5)
      found.set(ink + background, `contrast ${contrast}: ${ink} on ${background}: ${text}`);
  }
  return [...found.values()];
}"""
FOLDED_PARTS_SHOW = """() => [...document.querySelectorAll("article details > :not(summary)")].map(
    part => part.checkVisibility())"""


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    if BUILT:
        return Path(BUILT).resolve()

    def render(folder):
        command = [sys.executable, "-m", "minillm.course.book", "--no-run", "--output", str(folder)]
        subprocess.run(command, check=True)

    return made_once(tmp_path_factory, "book", render)


@pytest.fixture(scope="module")  # not longer: Playwright's event loop would be in others' way
def browser():
    with sync_playwright() as playwright:
        # No sandbox: it needs rights that containers don't give, and the pages are our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that records what goes wrong in `page.problems`"""
    context = browser.new_context(viewport=DESKTOP)
    page = context.new_page()
    page.problems = []
    report = page.problems.append
    page.on("console", lambda message: report(f"console: {message.text}")
            if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: report(f"script error: {error}"))
    page.on("requestfailed", lambda request: report(f"missing: {request.url}"))
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:"))
            else report(f"leaves the machine: {request.url}"))
    yield page
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_page(name, site, page):
    page.goto((site / f"{name}.html").as_uri())
    page.problems += page.evaluate(FIND_PROBLEMS)
    for viewport in (DESKTOP, PHONE):
        page.set_viewport_size(viewport)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
            page.problems += page.evaluate(TOO_WIDE) + page.evaluate(TOO_DIM)
    assert not any(page.evaluate(FOLDED_PARTS_SHOW))
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert all(page.evaluate(FOLDED_PARTS_SHOW))
    assert page.locator("article h1").is_visible()
    assert not page.locator(".bd-sidebar-primary").is_visible()
    assert page.problems == []


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name, site):
    for source, target in links(site / f"{name}.html"):
        path, anchor = urldefrag(target)
        file = (source.parent / unquote(path)).resolve() if path else source
        assert file.is_file(), f"{source.name} links to {target}"
        assert file.is_relative_to(site), f"{source.name} links out of the book, to {target}"
        if anchor and file.suffix == ".html":
            assert unquote(anchor) in ids(file), f"{source.name} links to {target}"


@cache
def ids(file):
    return frozenset(re.findall(r'\bid="([^"]*)"', file.read_text(encoding="utf-8")))


def links(file):
    """-> (file, target) of everything on a page that refers to another file or place"""
    for target in re.findall(r'(?:href|src)="([^"]+)"', file.read_text(encoding="utf-8")):
        if target != "#" and not re.match(r"[a-z]+:", target):
            yield file, re.sub(r"\?[^#]*", "", target)


FRAMES = [(chapter.path.stem, number, each) for chapter in CHAPTERS
          for number, each in enumerate(pages_in(chapter.text))]


@pytest.mark.parametrize("name, number, explored", FRAMES, ids=lambda value: str(value)[:40])
def test_pages_of_the_explorer(name, number, explored, site, page):
    """Each frame shows its text in its view, and fits a phone."""
    page.set_viewport_size(PHONE)
    page.goto((site / f"{name}.html").as_uri())
    frame = page.locator(".explorer iframe").nth(number)
    frame.scroll_into_view_if_needed()
    inside = frame.content_frame
    inside.locator(f"[role=tab][data-view={explored.view}][aria-selected=true]").wait_for()
    assert inside.locator("main textarea").first.input_value() == explored.text
    inside.locator("main").get_by_text("GPT2LMHeadModel").first.wait_for()
    assert not "".join(inside.locator("[role=alert]").all_inner_texts())
    assert frame.get_attribute("title").startswith(frame_title(explored.view))
    assert frame.bounding_box()["width"] <= PHONE["width"]
    assert page.locator(".explorer a").nth(number).get_attribute("href") == explored.file
    assert page.problems == []


def frame_title(view):
    return json.loads(static_files()["messages.json"])[view]["title"]["en"]


def test_navigation(site, page):
    page.goto((site / "index.html").as_uri())
    titles = page.locator("nav.bd-links a.reference.internal").all_text_contents()
    assert [title.strip() for title in titles][1:] == [f"{c.number}. {c.title}" for c in CHAPTERS]
    following = {name: re.findall(r'class="right-next"\s+href="([^"]+)\.html"',
                                  (site / f"{name}.html").read_text(encoding="utf-8"))
                 for name in PAGES}
    assert following == {name: PAGES[i + 1 : i + 2] for i, name in enumerate(PAGES)}


def test_phone_menus(site, page):
    page.set_viewport_size(PHONE)
    page.goto((site / f"{PAGES[1]}.html").as_uri())
    for button, entry in ((".primary-toggle", "nav.bd-links a"),
                          (".secondary-toggle", "nav.page-toc a")):
        assert not page.locator(entry).first.is_visible()
        page.locator(button).click()
        page.locator(entry).first.wait_for()
        page.keyboard.press("Escape")
    page.locator(".search-button").click()
    page.keyboard.type(CHAPTERS[-1].title)
    page.keyboard.press("Enter")
    page.locator(f"#search-results a[href^='{PAGES[-1]}.html']").first.wait_for()
    assert page.problems == []


def test_search_finds_each_chapter(site, page):
    for chapter in CHAPTERS:
        # Sphinx's search leaves out numbers and words such as "from"; then the whole title is found.
        query = max(re.findall(r"\w{5,}", chapter.title), key=len, default=chapter.title)
        page.goto((site / "search.html").as_uri() + f"?q={query}")
        page.locator(f"#search-results a[href^='{chapter.path.stem}.html']").first.wait_for()
    assert page.problems == []


def test_search_field(site, page):
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Control+k")
    page.keyboard.type(CHAPTERS[0].title)
    page.keyboard.press("Enter")
    page.locator(f"#search-results a[href^='{CHAPTERS[0].path.stem}.html']").first.wait_for()


@pytest.mark.skipif(not BUILT, reason="only a book whose chapters were run has outputs")
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.path.stem)
def test_outputs_are_there(chapter, site, page):
    page.goto((site / f"{chapter.path.stem}.html").as_uri())
    assert page.locator("div.cell").count() == len(chapter.cells)
    assert page.locator("div.cell div.cell_output").count() > 0
    assert page.get_by_text("[figure: ").count() == 0
