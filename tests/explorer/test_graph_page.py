"""The page of the model itself: what it shows is what the library computes."""

import numpy as np
import pytest

from minillm.explorer.views.graph import graph_difference, graph_number, graph_value
from minillm.kernels import use
from minillm.nn.module import no_grad
from minillm.nn.trace import trace

TEXT = "The class statement defines"
WEIGHTS = "transformer.h.2.attention/attend/_attend_with_weights/attention_weights/softmax:p"


def shown(locator):
    """-> the number that an element shows"""
    return float(locator.inner_text().replace("−", "-").replace(",", ""))


def node(page, name):
    return page.locator(f".node-head:has(.node-label:text-is('{name}'))").first


def rows_of(table):
    return {row[0]: row[1:] for row in (line.locator("td").all_inner_texts()
                                        for line in table.locator("tbody tr").all())}


def test_zoom_from_the_model_to_an_operation(page, open_view, saved, served):
    """Feature 1: the graph is drawn from the model, and opens down to single operations."""
    root = open_view(page, "graph", TEXT)
    ids = served.subject.encode(TEXT)[None]
    loss = served.subject.model(ids, labels=ids).loss.item()
    assert shown(root.locator(".the-loss")) == pytest.approx(loss, abs=1e-5)
    names = root.locator(".node-label").all_text_contents()
    assert [f"h.{layer}" in names for layer in range(5)] == [True] * 4 + [False]
    node(page, "h.1").click()
    node(page, "attention").click()
    assert node(page, "qkv").get_attribute("aria-expanded") == "false"
    with use("numpy"), no_grad(), trace(served.subject.model) as t:
        served.subject.model(ids)
    listed = {each["node"]: each for each in saved(page, root.locator(".graph-place"))}
    for path in ("transformer.h.0", "transformer.h.1.norm1", "transformer.h.1.attention.qkv"):
        assert listed[path]["norm"] == pytest.approx(np.linalg.norm(t[path]), rel=1e-5)
        assert listed[path]["shape"] == " × ".join(map(str, t[path].shape))
    # along the edges with the keyboard: qkv -> the heads -> …; Enter opens, Escape goes up
    node(page, "qkv").focus()
    page.keyboard.press("ArrowDown")
    assert "_split_heads" in page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert node(page, "qkv").get_attribute("aria-expanded") == "true"
    node(page, "linear").click()
    assert node(page, "matmul").count() == 1
    node(page, "linear").focus()
    page.keyboard.press("Escape")
    assert node(page, "matmul").count() == 0
    assert "graph.open=" in page.url and "transformer.h.1.attention.qkv" in page.url
    root.locator("button:text-is('Zoom in')").click()
    assert root.locator(".crumbs").inner_text().replace("\n", " ").endswith("linear")


def test_any_value_its_line_and_its_equation(page, open_view, served):
    """Feature 2: shape, values, statistics, the NumPy line and the equation of a value."""
    state = {"path": WEIGHTS, "index": "0,3,2,1", "matrix": 3}
    root = open_view(page, "graph", TEXT, state)
    with use("numpy"), no_grad(), trace(served.subject.model, ["*weights"]) as t:
        served.subject.model(served.subject.encode(TEXT)[None])
    weights = t["transformer.h.2.attention.weights"]
    assert shown(root.locator(".the-number")) == pytest.approx(weights[0, 3, 2, 1], rel=1e-4)
    assert f"(1, 4, {weights.shape[2]}, {weights.shape[3]})" in root.locator(".path").inner_text()
    statistics = root.locator("figure[data-name=statistics] tbody tr").first.locator("td")
    numbers = [float(text.replace("−", "-").rstrip(" %"))
               for text in statistics.all_inner_texts()[1:]]
    assert numbers[:3] == pytest.approx([weights.min(), weights.max(), weights.mean()], abs=1e-4)
    assert numbers[5] == pytest.approx(100 * (weights == 0).mean(), abs=0.05)
    assert root.locator(".source-line.here").inner_text().strip().endswith(
        "p = e / np.where(total == 0, 1, total)")
    assert "exp(x_i) / Σ_j exp(x_j)" in root.locator(".equation").first.inner_text()
    number = graph_number(served.subject, TEXT, WEIGHTS, [0, 3, 2, 1])
    root.locator(".operand").first.wait_for()
    for operand, line in zip(number["operands"], root.locator(".operand").all_inner_texts()):
        assert float(line.rsplit("= ", 1)[1]) == pytest.approx(float(operand.values), rel=1e-4)
    # the same number by the name that the attention has for it, found by the search
    root.locator(".graph-search").fill("h.2.attention.qkv:returned")
    page.keyboard.press("Enter")
    root.locator(".path >> text=qkv/linear:returned").wait_for()
    root.locator(".value-map [role=application]").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    whole = graph_value(served.subject, TEXT, "transformer.h.2.attention.qkv:returned")
    root.locator(".product").wait_for()
    assert shown(root.locator(".the-number")) == pytest.approx(whole["values"][0, 1], rel=1e-4)
    assert float(root.locator(".product p").inner_text().rsplit("= ", 1)[1].replace("−", "-")) == (
        pytest.approx(whole["values"][0, 1], rel=1e-3))


def test_the_backward_as_a_twin_and_a_finite_difference(page, open_view, served):
    """Feature 3: gradients, the derivation beside them, and a live finite difference."""
    index = [0, 1, 2, 0]
    state = {"path": WEIGHTS, "index": "0,1,2,0", "matrix": 1, "mode": "both"}
    root = open_view(page, "graph", TEXT, state)
    forward, backward = (root.locator(f".side-{side} .node-label").all_text_contents()
                         for side in ("forward", "backward"))
    assert all(f"h.{layer}" in names for layer in range(4) for names in (forward, backward))
    assert "softmax" in forward and "dp" in backward  # the twin of softmax, with its own lines
    number = graph_number(served.subject, TEXT, WEIGHTS, index)
    assert shown(root.locator(".the-gradient")) == pytest.approx(number["gradient"], rel=1e-3)
    assert "dx_i = Σ_j" in root.locator(".derivation").inner_text() or (
        "dx" in root.locator(".derivation").inner_text())
    root.locator("[data-action=difference]").click()
    root.locator("figure[data-name=finite-difference]").wait_for()
    rows = rows_of(root.locator("figure[data-name=finite-difference]"))
    wanted = graph_difference(served.subject, TEXT, WEIGHTS, index)
    assert float(rows["by the backward, in float64"][0]) == pytest.approx(wanted["analytic"])
    assert float(rows["by finite differences, extrapolated"][0]) == pytest.approx(
        wanted["numeric"], rel=1e-7)
    assert float(rows["relative error"][0]) < 1e-6
    assert root.locator(".difference .good").inner_text() == "They agree."
    # opened, a function of the twin shows the lines of its backward
    page.goto(page.url.replace("graph.mode=both", "graph.mode=backward"))
    node(page, "ln_f").click()
    node(page, "layer_norm").click()
    labels = root.page.locator(".side-backward .node-label").all_text_contents()
    assert {"dy", "sum", "mean"} <= set(labels)
