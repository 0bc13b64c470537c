"""Patching in a browser: the numbers that the page shows, beside the library's."""

import numpy as np
import pytest
from explorer_pages import serving, watched_page
from tests.explorer.test_patching import CLEAN, CORRUPT, small

from minillm.insight import patching
from minillm.insight.target import Logit
from minillm.nn.module import no_grad
from minillm.nn.trace import trace


def cell(page, side, row, column):
    """A cell of a grid; row 0 is the highest layer"""
    return page.locator(f".run-{side} .cell[data-r='{row}'][data-c='{column}']")


def measured(page, patches):
    """Wait until the page shows the effect of so many patches -> the effect"""
    ready = ".patch-effect:not([aria-busy]) .effect-number"
    page.locator(f"{ready}[data-patches='{patches}']").wait_for()
    return float(page.locator(ready).get_attribute("data-effect"))


@pytest.fixture(scope="module")
def exact(subject):
    """-> Effects of the residual streams, clean into corrupt"""
    target = Logit(subject.token("", " class"), subject.token("", " function"))
    return patching.patching(subject.model, subject.encode(CLEAN), subject.encode(CORRUPT), target,
                             patching.sites(subject.model, "residual"))


def test_drag_and_drop(page, open_view, saved, exact):
    open_view(page, "patching", CLEAN)
    assert page.locator(".corrupt-text").input_value() == CORRUPT
    cell(page, "clean", 3, 1).drag_to(cell(page, "corrupt", 3, 1))
    assert measured(page, 1) == pytest.approx(exact.exact[0, 1], abs=1e-4)
    gauge = saved(page, page.locator("figure[data-name=patch-effect]"))
    assert gauge["estimate"] == pytest.approx(exact.estimate[0, 1], abs=1e-4)
    assert gauge["patches"] == ["transformer.h.0@1"]
    numbers = saved(page, page.locator("figure[data-name=patch]"))[0]
    assert numbers["corrupt run"] == pytest.approx(exact.corrupt, abs=1e-4)
    assert numbers["clean run"] == pytest.approx(exact.clean, abs=1e-4)
    # The other direction, onto another position, and undo
    cell(page, "corrupt", 0, 4).drag_to(cell(page, "clean", 0, 4))
    assert measured(page, 1) == pytest.approx(1, abs=1e-4)
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Into corrupt (1)").click()
    assert measured(page, 1) == pytest.approx(exact.exact[0, 1], abs=1e-4)
    page.locator(".patches button").click()
    assert measured(page, 0) == 0


def test_by_keyboard(page, open_view, subject):
    open_view(page, "patching", CLEAN, {"kind": "feed_forward"})
    page.locator(".run-clean .cell[tabindex='0']").focus()
    for key in ("ArrowDown", "ArrowRight", "Shift+ArrowRight", "Enter"):
        page.keyboard.press(key)
    assert "Picked up: 2 cells" in page.locator(".hand").inner_text()
    assert page.evaluate("document.activeElement.closest('.run').className") == "run run-corrupt"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    effect = measured(page, 1)

    def run(text, *names, patch=None):
        with no_grad(), trace(subject.model, list(names)) as t:
            if patch is not None:
                t.patch(*patch)
            logits = subject.model(subject.encode(text)[None]).logits[0, -1]
        value = logits[subject.token("", " class")] - logits[subject.token("", " function")]
        return value, [t[name] for name in names]

    clean, (value,) = run(CLEAN, "transformer.h.2.feed_forward")
    corrupt, _ = run(CORRUPT)
    patched, _ = run(CORRUPT, patch=("transformer.h.1.feed_forward", lambda x: np.concatenate(
        [x[:, :1], value[:, 1:3], x[:, 3:]], axis=1)))
    assert effect == pytest.approx((patched - corrupt) / (clean - corrupt), abs=1e-4)
    page.keyboard.press("Delete")
    assert measured(page, 0) == 0


def hold_and_drag(page, source, target):
    """With a finger, which scrolls unless it rests first"""
    page.locator(".patch-grids").evaluate("e => { e.scrollIntoView(); scrollBy(0, -60); }")
    finger = page.context.new_cdp_session(page)

    def touch(kind, *places):
        points = [{"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
                  for box in (place.bounding_box() for place in places)]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", source)
    page.locator(".ghost").wait_for()
    touch("touchMove", target)
    touch("touchEnd")


def test_fingers_and_state_in_the_address(browser, served, open_view, exact):
    with watched_page(browser, served.url, has_touch=True, is_mobile=True,
                      viewport={"width": 360, "height": 800}) as page:
        open_view(page, "patching", CLEAN)
        cell(page, "clean", 3, 1).tap()
        cell(page, "corrupt", 3, 1).tap()
        assert measured(page, 1) == pytest.approx(exact.exact[0, 1], abs=1e-4)
        page.locator(".patches button").click()
        assert measured(page, 0) == 0
        hold_and_drag(page, cell(page, "clean", 2, 1), cell(page, "corrupt", 2, 1))
        assert measured(page, 1) == pytest.approx(exact.exact[1, 1], abs=1e-4)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.reload()
        assert measured(page, 1) == pytest.approx(exact.exact[1, 1], abs=1e-4)


def test_run_all(page, open_view, saved, exact):
    open_view(page, "patching", CLEAN)
    page.locator("[data-sweep=corrupt]").click()
    page.locator(".correlation:not([data-correlation=''])").wait_for()
    page.locator(".progress").wait_for(state="detached")
    heat = saved(page, page.locator("figure[data-name=patching-corrupt-exact]"))
    np.testing.assert_allclose(heat["values"], exact.exact[::-1], atol=1e-4)
    shown = float(page.locator(".correlation").get_attribute("data-correlation"))
    assert shown == pytest.approx(exact.correlation(), abs=1e-4)
    points = saved(page, page.locator("figure[data-name=patching-scatter]"))
    np.testing.assert_allclose([p["y"] for p in points], exact.estimate[::-1].ravel(), atol=1e-4)
    assert "exact" in cell(page, "corrupt", 0, 4).locator(".bubble").get_attribute("class")


def test_paths_between_heads(page, open_view, saved, subject):
    open_view(page, "patching", CLEAN)
    page.locator("[data-trace=all]").click()
    page.locator("figure[data-name=paths-all][data-done]").wait_for()
    values = saved(page, page.locator("figure[data-name=paths-all]"))["values"]
    target = Logit(subject.token("", " class"), subject.token("", " function"))
    want = patching.path_effects(subject.model, subject.encode(CLEAN), subject.encode(CORRUPT),
                                 target)
    np.testing.assert_allclose([row[-1] for row in values], list(want.values()), atol=1e-5)


def test_heads_switched_off(page, open_view, saved, subject):
    open_view(page, "patching", CLEAN, {"off": "0.1"})
    page.locator("[data-head='3.2']").click()
    page.locator("figure[data-name=heads-off]", has_text="2 off").wait_for()
    ids = subject.encode(CLEAN)[None]
    with no_grad(), trace(subject.model, []) as t:
        before = subject.model(ids, labels=ids)
        for name in ("transformer.h.0.attention.head_1", "transformer.h.3.attention.head_2"):
            t.patch(name, 0)
        after = subject.model(ids, labels=ids)
    loss, logit = saved(page, page.locator("figure[data-name=heads-off]"))[:2]
    assert [loss["all heads"], loss["2 off"]] == pytest.approx(
        [before.loss.item(), after.loss.item()], abs=1e-4)
    token = subject.token("", " class")
    assert logit["2 off"] == pytest.approx(after.logits[0, -1, token], abs=1e-3)


def test_texts_of_different_lengths_and_scripts(page, open_view):
    text = "<img src=x onerror=alert(1)> is"
    page.goto(page.url.partition("#")[0])
    open_view(page, "patching", CLEAN, {"corrupt": text})
    assert "has 5 tokens" in page.locator("[role=alert]").inner_text()
    assert page.locator("img").count() == 0
    page.locator(".panel:has([role=alert]) .button").first.click()
    page.locator(".patch-grids").wait_for()
    assert measured(page, 0) == 0


def test_an_encoder_decoder(browser, open_view):
    subject = small("marian")
    with serving(subject, text="the dog") as served, watched_page(browser, served.url) as page:
        open_view(page, "patching", "the dog", {"corrupt": "the cat", "kind": "cross_attention"})
        page.locator(".run-clean .row-grip").first.click()
        page.locator(".run-corrupt .row-grip").first.click()
        assert np.isfinite(measured(page, 1))


def test_another_text_is_another_question(page, open_view):
    open_view(page, "patching", CLEAN)
    page.locator(".ask-at").nth(3).click()
    page.locator(".ask-at[aria-pressed=true]").nth(0).wait_for()
    cell(page, "clean", 3, 1).click()
    cell(page, "corrupt", 3, 1).click()
    assert measured(page, 1) != 0
    assert "patching.position=3" in page.url
    page.locator("textarea").fill("The for")
    page.locator(".run-clean .column-head").nth(2).wait_for(state="detached")
    page.locator(".run-clean .column-head").nth(1).wait_for()
    assert measured(page, 0) == 0
    assert "position" not in page.url
