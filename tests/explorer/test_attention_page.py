"""Attention in the browser: the numbers that the page shows are the library's."""

import numpy as np
import pytest
from explorer_pages import serving, watched_page
from tests.explorer.test_attention import subject as small
from tests.explorer.test_attention import thousand, thousand_weights, weights_of

from minillm.insight import attention as library
from minillm.insight.scores import attention_scores

TEXT = "The for statement is used to iterate over the elements"
NAME = "transformer.h.attention"


def numbers(saved_rows):
    """What a table saved as JSON holds -> {first cell: second cell}"""
    return {next(iter(row.values())): list(row.values())[1] for row in saved_rows}


def test_all_heads_one_head_and_one_dimension(page, served, open_view, saved):
    W = weights_of(served.subject, TEXT, NAME)
    inputs = served.subject.read(TEXT).inputs
    root = open_view(page, "attention", TEXT)
    heads = root.locator(".att-cell")
    assert heads.count() == W.shape[0] * W.shape[1]
    kinds = saved(page, root.locator("[data-name=attention-heads]"))
    summaries = library.summarize_heads([w[None] for w in W])
    induction = library.induction_scores(served.subject.model)
    for each in kinds:
        key = each["layer"], each["head"]
        assert each["previous"] == pytest.approx(summaries[key].previous, abs=1e-5)
        assert each["entropy"] == pytest.approx(summaries[key].entropy, abs=1e-5)
        assert each["induction"] == pytest.approx(induction[key], abs=1e-5)

    heads.nth(4 * 2 + 1).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")  # layer 2, head 2
    assert "attention.layer=2" in page.url and "attention.head=2" in page.url
    matrix = saved(page, root.locator("[data-name=attention-2-2]"))
    np.testing.assert_allclose(matrix["values"], W[2, 2], atol=1e-6)

    lines = root.get_by_role("region", name="Lines from queries")
    lines.focus()
    page.keyboard.press("Home")
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    row = saved(page, root.locator("[data-name=attention-row]"))
    order = np.argsort(-W[2, 2, 5])[:6]
    assert [int(each["label"].split()[0]) for each in row] == list(order)
    np.testing.assert_allclose([each["value"] for each in row], W[2, 2, 5, order], atol=1e-6)

    scores = attention_scores(served.subject.model, **inputs)[2]
    products = scores.products(2, 5)[order[0]]
    steps = numbers(saved(page, root.locator("[data-name=attention-score]")))
    assert steps["Σᵢ qᵢ kᵢ"] == pytest.approx(products.sum(), abs=1e-5)
    assert steps["= score"] == pytest.approx(products.sum() * scores.scale, abs=1e-5)
    own = steps["the model's own weight"]
    assert own == pytest.approx(W[2, 2, 5, order[0]], abs=1e-6)
    assert steps["softmax over the keys = weight"] == pytest.approx(own, abs=1e-5)
    shown = saved(page, root.locator("[data-name=attention-dimensions]"))
    found = {int(each["label"]): each["value"] for each in shown}
    np.testing.assert_allclose([found[d] for d in range(len(products))], products, atol=1e-6)


def test_rollout_and_flow(page, served, open_view, saved):
    W = weights_of(served.subject, TEXT, NAME)
    root = open_view(page, "attention", TEXT, {"query": 6, "rollout": 1})
    rollout = library.rollout([w[None] for w in W])[1][0]
    matrix = saved(page, root.locator("[data-name=rollout-1]"))
    np.testing.assert_allclose(matrix["values"], rollout, atol=1e-6)
    reaches = saved(page, root.locator("[data-name=rollout-row]"))
    np.testing.assert_allclose([each["value"] for each in reaches], np.sort(rollout[6])[:-8:-1],
                               atol=1e-6)
    root.get_by_role("button", name="Compute the flow, too").click()
    page.wait_for_selector("[data-name=attention-flow]")
    flows = saved(page, root.locator("[data-name=attention-flow]"))
    want = library.flow(list(W), 6)
    for each in flows:
        assert each["value"] == pytest.approx(want[int(each["label"].split()[0])], abs=1e-6)


def test_weights_times_the_lengths_of_the_values(page, served, open_view, saved):
    inputs = served.subject.read(TEXT).inputs
    scores = attention_scores(served.subject.model, **inputs)[1]
    want = scores.weights()[0, 3] * scores.value_norms()[0, 3]
    root = open_view(page, "attention", TEXT, {"by": "norms", "layer": 1, "head": 3})
    matrix = saved(page, root.locator("[data-name=attention-1-3]"))
    np.testing.assert_allclose(matrix["values"], want, rtol=1e-5, atol=1e-7)


def test_attention_of_a_decoder_to_its_encoder(browser, open_view, saved):
    one = small("pre-norm transformer")
    name = "model.decoder.layers.cross_attention"
    W = weights_of(one, "a cat", name)
    with serving(one) as served, watched_page(browser, served.url) as page:
        root = open_view(page, "attention", "a cat")
        root.get_by_label("Attention", exact=True).select_option("decoder to encoder")
        page.wait_for_url(lambda url: name in url)
        root.locator("[data-name=attention-0-0]").wait_for()
        root.locator(".att-cell").nth(3).click()
        matrix = saved(page, root.locator("[data-name=attention-1-1]"))
        np.testing.assert_allclose(matrix["values"], W[1, 1], atol=1e-6)


def test_a_thousand_tokens(browser, open_view, saved):
    """Zoom from the whole to single weights; no answer is large, and the page stays usable."""
    one, text = thousand()
    W = thousand_weights()
    sizes = []
    with serving(one) as served, watched_page(browser, served.url) as page:
        page.on("requestfinished", lambda request: "/api/" in request.url
                and sizes.append(request.sizes()["responseBodySize"]))
        root = open_view(page, "attention", text, {"layer": 1, "head": 1, "query": 1000})
        zoom = root.locator(".att-zoom").first
        page.wait_for_selector(".att-zoom[data-level='3']")
        figure = zoom.locator("figure").first
        matrix = saved(page, figure)
        np.testing.assert_allclose(
            matrix["values"], W[1, 1].reshape(128, 8, 128, 8).max(axis=(1, 3)), atol=1e-6)
        for level in "210":
            zoom.get_by_role("button", name="Zoom in").first.click()
            page.wait_for_selector(f".att-zoom[data-level='{level}']")
        row, column = (int(zoom.get_attribute(f"data-{name}")) for name in ("row", "column"))
        matrix = saved(page, zoom.locator("figure").first)
        np.testing.assert_allclose(matrix["values"], W[1, 1, row:row + 128, column:column + 128],
                                   atol=1e-6)
        shown = saved(page, root.locator("[data-name=attention-row]"))
        np.testing.assert_allclose([each["value"] for each in shown],
                                   np.sort(W[1, 1, 1000])[:-len(shown) - 1:-1], atol=1e-5)
        page.wait_for_timeout(50)
    assert sizes and max(sizes) < 1_500_000
