"""The explorer in a browser: the packaged model, served from this process to Debian's Chromium.

`served` has .url, .explorer and .subject. `page` is a Playwright page on it; after the test it must
have had no errors and no requests to anywhere else. `open_view` opens a view with a state. Other
models: explorer_pages.serving and watched_page.
"""

import json
from urllib.parse import urlencode

import pytest
from explorer_pages import CHROMIUM, TEXT, serving, watched_page
from small_runs import small_run

from minillm.insight.subject import Subject


@pytest.fixture(scope="session")
def subject():
    return Subject.open("pydoc-tiny")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that has kept snapshots. Tests only read it."""
    run = small_run(tmp_path_factory.mktemp("run"), n_layer=2, snapshots=5, block_size=24)
    run.trainer().train()
    return run


@pytest.fixture(scope="session")
def served(subject):
    with serving(subject) as found:
        yield found


@pytest.fixture(scope="module")  # not longer: while Playwright runs, other tests have no asyncio.run
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing")
    if CHROMIUM is None:
        pytest.skip("no Chromium, which these tests open the explorer in: apt install chromium")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, served):
    with watched_page(browser, served.url) as found:
        yield found


@pytest.fixture
def open_view():
    """open_view(page, "attention", text="…", state={"layer": 2}) -> locator of the view's root"""
    def open(page, view, text=TEXT, state=None, **others):
        fields = {"view": view, "text": text, **others,
                  **{f"{view}.{key}": value for key, value in (state or {}).items()}}
        url = f"{page.url.partition('#')[0]}#{urlencode(fields)}"
        if url == page.url:
            page.goto("about:blank")
        page.evaluate("document.querySelectorAll('.view').forEach(e => delete e.dataset.ready)")
        page.goto(url)
        page.wait_for_selector(f".view[data-ready={view}]")
        assert page.locator(".error").count() == 0, page.locator(".error").all_inner_texts()
        return page.locator(".view-root").first
    return open


@pytest.fixture
def saved():
    """saved(page, figure, "json") -> what the "save as" menu of a figure's locator downloads"""
    def save(page, figure, kind="json"):
        menu = figure.locator("xpath=descendant-or-self::figure[contains(@class,'saveable')]").first
        menu.locator("summary").click()
        with page.expect_download() as download:
            menu.locator(f"[data-save={'rows' if kind == 'csv' else kind}]").click()
        menu.locator("summary").click()
        data = download.value.path().read_bytes()
        return json.loads(data) if kind == "json" else data
    return save
