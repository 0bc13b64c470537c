"""Attribution in a browser: the numbers that the page shows, beside the library's."""

import numpy as np
import pytest
from tests.explorer.test_attribution import LIBRARY
from tests.explorer.test_patching import CLEAN

from minillm.insight import attribution
from minillm.insight.target import Logit
from minillm.nn.module import no_grad


def scores_of(subject, token, **options):
    target = Logit(subject.token("", token), **options)
    ids = subject.encode(CLEAN)
    found = {name: method(subject.model, ids, target) for name, method in
             attribution.METHODS.items() if name != "integrated gradients"}
    found["integrated gradients"] = attribution.integrated_gradients(subject.model, ids, target,
                                                                     steps=32)
    return target, found


def shown(page, saved):
    return saved(page, page.locator("figure[data-name=attribution]"))


def test_scores_trust_and_the_answer_without_a_token(page, open_view, saved, subject):
    open_view(page, "attribution", CLEAN)
    target, want = scores_of(subject, " class")
    found = shown(page, saved)
    for name, of_library in LIBRARY.items():
        np.testing.assert_allclose(found[name]["scores"], want[of_library], atol=1e-4)
    trust = attribution.faithfulness(subject.model, subject.encode(CLEAN), target, want)
    best = max((name for name in LIBRARY if name != "occlusion"), key=lambda n: trust[LIBRARY[n]])
    assert page.locator(".verdict").get_attribute("data-best") == best
    for method in page.locator(".method-head .facts").all():
        name = method.get_attribute("data-method")
        assert float(method.get_attribute("data-faithfulness")) == pytest.approx(
            trust[LIBRARY[name]], abs=1e-3)
    curves = saved(page, page.locator("figure[data-name=deletion-curves]"))
    np.testing.assert_allclose(curves[0]["y"], attribution.deletion_curve(
        subject.model, subject.encode(CLEAN), target, want["occlusion"]), atol=1e-4)
    # Where a method disagrees, the token says so in words and by a sign, not by color alone.
    marked = page.locator(".scored.disagrees")
    assert marked.count() == sum(bool(kind) for name in LIBRARY
                                 for kind in found[name]["disagrees"])
    assert all("≠" in each.inner_text() for each in marked.all())
    page.locator(".method-occlusion .scored").nth(1).click()
    with no_grad():
        whole = target.value(subject.model(subject.encode(CLEAN)[None]).logits)[0]
    left = whole - want["occlusion"][1]
    assert f"from {whole:.4f} to {left:.4f}" in page.locator(".picked-box h4").inner_text()


def test_another_answer_chosen_by_a_click(page, open_view, saved, subject):
    open_view(page, "attribution", CLEAN)
    new = subject.token("", " new")
    page.locator(f"[data-token='{new}']").click()
    page.locator(f"[data-token='{new}'][aria-pressed=true]").wait_for()
    page.locator(".verdict").wait_for()  # the server is done: one model, one pass at a time
    _, want = scores_of(subject, " new")
    np.testing.assert_allclose(shown(page, saved)["occlusion"]["scores"], want["occlusion"],
                               atol=1e-4)
    page.locator(".token.ask").nth(2).click()
    page.locator(".token.ask").nth(2).and_(page.locator("[aria-pressed=true]")).wait_for()
    page.locator(".verdict").wait_for()
    scores = np.array(shown(page, saved)["occlusion"]["scores"])
    np.testing.assert_allclose(scores[3:], 0, atol=1e-4)  # it can't see what comes later


def test_completeness_and_pairs(page, open_view, saved, subject):
    open_view(page, "attribution", CLEAN, {"steps": 4})
    target, _ = scores_of(subject, " class")
    ids = subject.encode(CLEAN)
    few = attribution.integrated_gradients(subject.model, ids, target, steps=4).sum()
    line = page.locator(".complete")
    assert float(line.get_attribute("data-sum")) == pytest.approx(few, abs=1e-3)
    page.locator("[data-steps=measure]").click()
    page.locator("figure[data-name=completeness] td", has_text="128").wait_for()
    errors = saved(page, page.locator("figure[data-name=completeness]").first)[0]["y"]
    assert len(errors) == 6 and errors[-1] < errors[0]
    page.locator("[data-pairs=measure]").click()
    page.locator("figure[data-name=token-pairs]").wait_for()
    pairs = saved(page, page.locator("figure[data-name=token-pairs]"))["values"]
    np.testing.assert_allclose(np.diag(pairs), attribution.occlusion(subject.model, ids, target),
                               atol=1e-4)
