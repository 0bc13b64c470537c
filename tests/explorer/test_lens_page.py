"""The lens in the browser: the numbers that the page shows are the library's."""

import numpy as np
import pytest
from explorer_pages import serving, watched_page
from tests.explorer.test_attention import subject as small
from tests.explorer.test_attention_page import TEXT, numbers

from minillm.insight.contributions import logit_contributions
from minillm.insight.lens import logit_lens, ranks
from minillm.insight.streams import residual_streams
from minillm.nn.module import no_grad
from minillm.ops.softmax import softmax


def test_every_cell_its_top_tokens_and_their_way(page, served, open_view, saved):
    model, reading = served.subject.model, served.subject.read(TEXT)
    found = logit_lens(model, k=10, **reading.inputs)
    root = open_view(page, "lens", TEXT, {"row": 2, "position": 4})
    figure = root.locator("[data-name=lens]")
    np.testing.assert_allclose(saved(page, figure)["values"], found.probabilities[::-1, 0, :, 0],
                               rtol=1e-5)
    for choice, want in (("entropy", found.entropy[:, 0]), ("final", found.of_final[:, 0])):
        root.get_by_label("Color").select_option(value=choice)
        np.testing.assert_allclose(saved(page, figure)["values"], want[::-1], rtol=1e-4, atol=1e-6)
    root.get_by_label("Color").select_option(value="actual_rank")
    with no_grad():
        logits = np.stack([model.unembed(x) for x in residual_streams(model, [reading.inputs])])
    follows = np.broadcast_to(reading.ids[1:, None], (*logits[:, :-1].shape[:2], 1))
    want = ranks(logits[:, :-1], follows)[..., 0]
    shown = np.array(saved(page, figure)["values"], float)
    np.testing.assert_allclose(10 ** shown[::-1, :-1] - 1, want, atol=0.01)

    top = saved(page, root.locator("[data-name=lens-top]"))
    np.testing.assert_allclose([each["value"] for each in top], found.probabilities[2, 0, 4],
                               rtol=1e-5)
    P, _ = softmax(logits)
    through = saved(page, root.locator("[data-name=lens-through]"))
    final = found.ids[-1, 0, 4, 0]
    np.testing.assert_allclose(through[0]["y"], P[:, 4, final], rtol=1e-5)

    figure.locator(".heat-scroll").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert "lens.position=0" in page.url


def test_a_token_of_ones_own(page, served, open_view, saved):
    model, reading = served.subject.model, served.subject.read(TEXT)
    root = open_view(page, "lens", TEXT, {"by": "own"})
    field = root.get_by_label("Your token")
    field.fill(" the")
    field.press("Enter")
    page.wait_for_selector("[data-own=' the']")
    with no_grad():
        logits = np.stack([model.unembed(x) for x in residual_streams(model, [reading.inputs])])
    want = softmax(logits)[0][..., served.subject.token("token", " the")]
    np.testing.assert_allclose(saved(page, root.locator("[data-name=lens]"))["values"], want[::-1],
                               rtol=1e-5)


def test_shares_add_up_and_lead_to_the_head(page, served, open_view, saved):
    model, reading = served.subject.model, served.subject.read(TEXT)
    root = open_view(page, "lens", TEXT)
    page.wait_for_selector("[data-name=lens-sum]")
    said = served.subject.said(reading)
    shares = logit_contributions(model, reading.inputs, said, position=reading.position)
    table = numbers(saved(page, root.locator("[data-name=lens-sum]")))
    with no_grad():
        logit = model(**reading.inputs).logits[0, reading.position, said]
    assert table["logit, by the model"] == pytest.approx(float(logit), abs=1e-5)
    assert table["sum of the shares"] == pytest.approx(float(logit), abs=1e-4)
    bars = {each["label"]: each["value"] for each in
            saved(page, root.locator("[data-name=lens-shares]"))}
    assert sum(bars.values()) == pytest.approx(float(logit), abs=1e-4)
    heads = {key: value for key, value in shares.items() if "head" in key}
    key = max(heads, key=lambda name: abs(heads[name]))
    layer, h = key.split(".head ")
    assert bars[f"layer {layer}, head {h}"] == pytest.approx(heads[key], abs=1e-5)
    root.get_by_role("button", name=f"layer {layer}, head {h}:").click()
    page.wait_for_selector(".view[data-ready=attention]")
    assert f"attention.layer={layer}" in page.url
    page.get_by_role("heading", name=f"Layer {layer}, head {h}").wait_for()


def test_the_tuned_lens_beside_it(page, served, open_view, saved, monkeypatch):
    from minillm.explorer.views import lens
    from minillm.insight.tuned_lens import TunedLens

    monkeypatch.setattr(lens, "TUNING", {"steps": 20, "batch_size": 32, "lr": 5e-3})
    monkeypatch.setattr(lens, "TUNING_TOKENS", 512)
    root = open_view(page, "lens", TEXT)
    root.get_by_role("button", name="Train a tuned lens").click()
    root.get_by_role("button", name="Tuned lens", pressed=True).wait_for()
    tuned = served.explorer.kept["tuned lenses"][served.subject]
    assert isinstance(tuned, TunedLens)
    rows = tuned.logits(residual_streams(served.subject.model, [served.subject.read(TEXT).inputs]))
    want = softmax(np.stack(rows))[0].max(axis=-1)
    np.testing.assert_allclose(saved(page, root.locator("[data-name=lens]"))["values"], want[::-1],
                               rtol=1e-5)
    root.get_by_role("button", name="Logit lens").click()
    root.get_by_role("button", name="Logit lens", pressed=True).wait_for()
    plain = logit_lens(served.subject.model, **served.subject.read(TEXT).inputs)
    np.testing.assert_allclose(saved(page, root.locator("[data-name=lens]"))["values"],
                               plain.probabilities[::-1, 0, :, 0], rtol=1e-5)


def test_a_masked_model_has_no_shares_and_says_so(browser, open_view, saved):
    one = small("bert")
    found = logit_lens(one.model, **one.read("a cat [MASK] the dog").inputs)
    with serving(one) as served, watched_page(browser, served.url) as page:
        root = open_view(page, "lens", "a cat [MASK] the dog")
        np.testing.assert_allclose(saved(page, root.locator("[data-name=lens]"))["values"],
                                   found.probabilities[::-1, 0, :, 0], rtol=1e-5)
        assert root.get_by_text("(post-norm)").count() == 1
