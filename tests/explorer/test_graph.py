"""The view of the model itself: graph, values, numbers and finite differences, and its page."""

import numpy as np
import pytest

from minillm.explorer.encoding import decode, encode, to_json
from minillm.explorer.explorer import Explorer
from minillm.explorer.views.graph import (
    graph,
    graph_difference,
    graph_number,
    graph_value,
    graph_values,
    offline_graph,
)
from minillm.kernels import use
from minillm.nn.module import no_grad
from minillm.nn.trace import trace

TEXT = "The class statement defines a new class"


@pytest.fixture(scope="module")
def answer(subject):
    return graph(subject, TEXT)


def named(answer, name):
    id, _, variable = name.partition(":")
    call = next(call for call in answer["calls"] if call["id"] == id)
    return call["variables"][variable]


def test_the_graph_has_the_whole_run(subject, answer):
    ids = [call["id"] for call in answer["calls"]]
    assert len(set(ids)) == len(ids) and ids[0] == "loss" and "transformer.h.3.attention" in ids
    assert ids[answer["backward_root"]] == "backward/loss"
    paths, values = answer["values"]["path"], answer["values"]
    named_parameters = dict(subject.model.named_parameters())
    weights = {path for path, maker in zip(paths, values["maker"]) if maker < 0}
    assert weights == set(named_parameters)
    for call in answer["calls"]:
        n = len(call["nodes"])
        assert all(0 <= a < n and 0 <= b < n for a, b, _ in call["edges"])
        assert call["parent"] < 0 or answer["calls"][call["parent"]]["id"] != call["id"]
    x = named(answer, "transformer.h.0:x")
    assert values["shape"][x] == [1, len(answer["tokens"]), 128]
    assert values["axes"][x] == ["B", "T", "d_model"]
    ids = subject.encode(TEXT)[None]
    with use("numpy"):
        loss = subject.model(ids, labels=ids).loss
        loss.backward()
    assert answer["loss"] == pytest.approx(loss.item(), rel=1e-6)
    for name, parameter in named_parameters.items():
        assert values["gradient"][paths.index(name)] == pytest.approx(
            np.linalg.norm(parameter.grad), rel=1e-4)
    subject.model.zero_grad()
    function = answer["functions"][answer["calls"][next(
        place for place, call in enumerate(answer["calls"])
        if call["id"].endswith("norm1/layer_norm"))]["function"]]
    assert function["place"] == "minillm/ops/layer_norm.py"
    assert "(Ba et al. 2016, eq. 4)" in function["equation"][0]


def test_a_value_and_its_gradient(subject):
    name = "transformer.h.1.attention/attend/_attend_with_weights:weights"
    with use("numpy"), no_grad(), trace(subject.model, ["*weights"]) as t:
        subject.model(subject.encode(TEXT)[None])
    found = graph_value(subject, TEXT, name, matrix=2)
    weights = t["transformer.h.1.attention.weights"]
    np.testing.assert_array_equal(found["values"], weights[0, 2])
    assert found["matrices"] == [4, *weights.shape[2:]] and found["gradient"]["values"].any()
    assert found["statistics"]["max"] == 1 and found["statistics"]["nan"] == 0
    logits = graph_value(subject, TEXT, "lm_head:returned", column=300)
    assert logits["values"].shape == (weights.shape[2], 256) and logits["shape"][-1] == 2048
    with pytest.raises(ValueError, match="^column is 5000, wanted 0 to 2047$"):
        graph_value(subject, TEXT, "lm_head:returned", column=5000)
    with pytest.raises(ValueError, match="'here' is no value of this run"):
        graph_value(subject, TEXT, "here")


def test_a_number_and_its_finite_difference(subject):
    explorer = Explorer([subject], TEXT)
    name, index = "transformer.h.2.attention:K", [0, 1, 2, 5]
    number = graph_number(subject, TEXT, name, index, explorer)
    assert number["same"].index == (0, 2, 128 + 32 + 5)
    found = graph_difference(subject, TEXT, name, index, explorer=explorer)
    assert found["numeric"] == pytest.approx(number["gradient"], rel=1e-3)
    assert found["relative_error"] < 1e-6
    with pytest.raises(ValueError, match=r"index is \[0, 9\], wanted an index of the shape"):
        graph_number(subject, TEXT, name, [0, 9])
    with pytest.raises(ValueError, match="^eps is 5, wanted"):
        graph_difference(subject, TEXT, name, index, 5.0)


def test_what_is_kept_is_bounded_and_notices_new_weights(subject):
    explorer = Explorer([subject], TEXT)
    for text in "abcdef":
        graph(subject, f"the {text} class", explorer)
    assert len(explorer.kept["graph run"]) == 3
    first = graph(subject, TEXT, explorer)
    assert graph(subject, TEXT, explorer) is first
    weight = subject.model.transformer.h[0].norm1.weight.data
    weight += 0.5
    try:
        assert graph(subject, TEXT, explorer)["loss"] != first["loss"]
    finally:
        weight -= 0.5


def test_a_page_without_a_server_is_small_and_exact(subject, answer):
    questions = list(offline_graph(subject, TEXT))
    assert [name for name, _ in questions] == ["graph", "graph_values"]
    offline = graph_values(subject, TEXT)
    assert len(to_json(offline)) + len(to_json(answer)) < 600_000
    offline = decode(encode(offline))
    place = named(answer, "transformer.h.0.attention/attend/_attend_with_weights:weights")
    whole = graph_value(subject, TEXT, answer["values"]["path"][place])
    small = offline["small"][str(place)]
    np.testing.assert_array_equal(small["values"][0, 0], whole["values"])
    np.testing.assert_array_equal(small["gradient"][0, 0], whole["gradient"]["values"])
    assert offline["statistics"][place, 1] == np.float32(whole["statistics"]["max"])
