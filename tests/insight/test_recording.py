"""The recording of a run: its values, its gradients, what flows where, where numbers come from."""

import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.helpers.bag_of_words import BagConfig, BagForSequenceClassification, BagModel
from tests.helpers.subjects import MAKERS, TEXT, shaken
from tests.helpers.tiny_models import FIXTURES

from minillm import GPT2LMHeadModel, LoraConfig, get_peft_model
from minillm.insight.axes import name_axes, shapes_in
from minillm.insight.computation import computation
from minillm.insight.dataflow import Flow
from minillm.insight.finite_difference import Differences
from minillm.insight.objective import Objective, text_loss, text_loss_backward
from minillm.insight.recording import evaluated, record
from minillm.insight.subject import Subject
from minillm.insight.twins import Twins
from minillm.kernels import use
from minillm.models import auto
from minillm.nn import Linear, Module
from minillm.nn.trace import trace

TEXTS = {"marian": "Bonjour.", "bert spans": "who sat? [SEP] the dog sat on the mat"}


def lora():
    model, tokenizer = MAKERS["llama"]()
    get_peft_model(model, LoraConfig(r=2, lora_alpha=3))
    return model, tokenizer


MODELS = {**MAKERS, "lora": lora}


def subject_of(kind):
    model, tokenizer = MODELS[kind]()
    return Subject(shaken(model), tokenizer, kind)


@pytest.fixture(scope="module")
def recorded():
    """recorded(kind) -> (Subject, its Recording, Twins), made once"""
    made = {}

    def get(kind):
        if kind not in made:
            subject = subject_of(kind)
            recording = record(subject, TEXTS.get(kind, TEXT))
            made[kind] = subject, recording, Twins(recording)
        return made[kind]

    return get


@pytest.mark.parametrize("kind", MODELS)
def test_values_and_gradients_are_those_of_a_trace(kind, recorded):
    subject, recording, twins = recorded(kind)
    model, asked = subject.model, recording.objective
    paths = [path for path, _ in model.named_modules() if path]
    with use("numpy"), evaluated(model), trace(model, [*paths, "*weights"]) as t:
        loss, caches = text_loss(model, asked.inputs, asked.targets)
        text_loss_backward(model, caches)
        grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert recording.loss == loss
    seen = [path for path in paths if path in t and path in recording.calls]
    assert len(seen) > len(model.parameters()) / 3
    for path in seen:
        value = list(recording.calls[path].outputs.values())[-1]
        np.testing.assert_array_equal(value.array, t.all(path)[0])
        is_passed_on = value in recording.calls[path].arguments.values()  # dropout in eval mode
        if path in t.grad and len(t.all(path)) == 1 and not is_passed_on:
            np.testing.assert_array_equal(twins.gradient(value), t.grad[path], err_msg=path)
    for name, grad in grads.items():
        np.testing.assert_array_equal(recording.gradients[name], grad)


@pytest.mark.parametrize("kind", MODELS)
def test_every_parameter_is_in_the_calls_of_its_modules(kind, recorded):
    subject, recording, _ = recorded(kind)
    named = dict(subject.model.named_parameters())
    used = set()
    for call in recording.calls.values():
        reads = [value for step in call.steps for value in step.reads.values()]
        for value in [*call.arguments.values(), *reads]:
            if value.parameter and not call.id.startswith("backward/"):
                used.add(value.parameter)
                around = [each.module for each in [call, *call.callers] if each.module is not None]
                assert any(child is named[value.parameter] for module in around
                           for _, child in module.named_children()), call
    assert used == named.keys() - {"final_logits_bias"} or used == named.keys()
    for call in recording.calls.values():  # a tree: each call is in the list of the one around it
        assert call.parent is None or call in call.parent.calls
        assert (call.twin is None) or call.twin.twin is call


@pytest.mark.parametrize("kind", MODELS)
def test_finite_differences_agree_with_the_backward(kind):
    subject = subject_of(kind)
    differences = Differences(subject, TEXTS.get(kind, TEXT))
    twins, rng = differences.twins, np.random.default_rng(sum(map(ord, kind)))
    values = [value for value in differences.recording.values.values()
              if value.array.dtype == np.float64 and twins.gradient(value) is not None]
    assert len(values) > 2 * len(subject.model.parameters()) / 3
    for value in rng.choice(values, 9, replace=False):
        gradient = twins.gradient(value)
        places = np.abs(np.where(np.isfinite(value.array), gradient, 0)).ravel().argsort()
        place = rng.choice(places[-max(1, len(places) // 2):])
        found = differences.difference(value.path, np.unravel_index(place, gradient.shape))
        assert found.analytic == gradient.ravel()[place]
        assert found.numeric == pytest.approx(found.analytic, rel=1e-6, abs=1e-10), value


def test_nothing_is_changed():
    subject = subject_of("llama")
    model = subject.model
    weights = {name: array.copy() for name, array in model.state_dict().items()}
    model.train()
    ids = np.array([[1, 2, 3]])
    model(ids, labels=ids).loss.backward()
    grads = [parameter.grad.copy() for parameter in model.parameters()]
    loss = model(ids, labels=ids).loss  # its backward is still to come
    before = sys.gettrace()
    record(subject, TEXT)
    differences = Differences(subject, TEXT)
    for path in ("model.layers.0.attention.qkv.weight", "model.layers.0:x"):
        differences.difference(differences.recording.value(path).path, (0, 0, 0)[: 3 - (
            "weight" in path)])
    assert sys.gettrace() is before and model.training and model.model.layers[0].training
    for parameter, grad in zip(model.parameters(), grads):
        np.testing.assert_array_equal(parameter.grad, grad)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, weights[name])
    loss.backward()


def test_an_error_leaves_no_trace_function(monkeypatch):
    subject = subject_of("gpt2")
    before = sys.gettrace()

    def broken(self, x):
        raise ZeroDivisionError

    block = subject.model.transformer.h[1]
    monkeypatch.setattr(type(block.norm2), "forward", broken)
    ids = subject.read(TEXT).ids[None]
    with pytest.raises(ZeroDivisionError):
        record(subject, TEXT, objective=Objective({"input_ids": ids}, [ids], "next token"))
    assert sys.gettrace() is before
    assert subject.model.training is False and subject.model.parameters()[0].grad is None


def test_values_and_gradients_agree_with_pytorch():
    fixture = np.load(FIXTURES / "recording.npz")
    model = GPT2LMHeadModel.from_pretrained(FIXTURES / "gpt2_tiny")
    tokenizer = MAKERS["gpt2"]()[1]
    subject = Subject(model.astype(np.float64), tokenizer)
    ids = fixture["ids"][None]
    targets = np.where(np.arange(ids.shape[1]) < ids.shape[1] - 1, np.roll(ids, -1), -100)
    recording = record(subject, TEXT, objective=Objective({"input_ids": ids}, [targets], "next"))
    twins = Twins(recording)
    assert recording.loss == pytest.approx(float(fixture["loss"]), rel=1e-12)
    attention = "transformer.h.0.attention"
    weights = f"{attention}/attend/_attend_with_weights"
    names = {"x": "transformer.drop:returned", "Q": f"{attention}:Q", "K": f"{attention}:K",
             "V": f"{attention}:V", "S": f"{weights}/attention_weights:S",
             "P": f"{weights}:weights", "heads": f"{weights}:heads",
             "residual1": "transformer.h.0.residual1:returned"}
    for name, path in names.items():
        value = recording.value(path)
        gradient = twins.gradient(value)
        if name == "S":  # the fixture's are the scores before the mask
            value = recording.values[path]
        wanted = fixture[name].reshape(value.array.shape)
        np.testing.assert_allclose(value.array, wanted, rtol=1e-9, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(gradient, fixture[f"d{name}"].reshape(gradient.shape),
                                   rtol=1e-8, atol=1e-12, err_msg=name)
    x_hat = recording.value("backward/transformer.h.0.norm1/layer_norm_backward:x_hat")
    np.testing.assert_allclose(x_hat.array[0], fixture["x_hat"], rtol=1e-9, atol=1e-12)
    dx_hat = recording.value("backward/transformer.h.0.norm1/layer_norm_backward:dx_hat")
    np.testing.assert_allclose(dx_hat.array[0], fixture["dx_hat"], rtol=1e-8, atol=1e-12)


# ---- what flows where


def picture(flow):
    """-> set of (from, to, name of the value's variable) with the labels of nodes"""
    return {(a.label, b.label) for a, b, _ in flow.edges}


def test_the_flow_of_blocks_and_formulas(recorded):
    _, recording, _ = recorded("gpt2")
    block = recording.calls["transformer.h.0.residual1"]
    assert picture(Flow(block)) == {
        ("x", "norm1"), ("norm1", "attention"), ("options.position_ids", "attention"),
        ("attention", "dropout1"), ("dropout1", "+"), ("x", "+"), ("+", "returned")}
    formula = recording.calls["transformer.h.0.norm1/layer_norm"]
    assert picture(Flow(formula)) >= {("x", "mean"), ("mean", "mean"), ("mean", "÷"), ("÷", "+"),
                                      ("transformer.h.0.norm1.weight", "+"), ("x", "+")}
    back = picture(Flow(block.twin))
    assert back == {("dy", "dropout1"), ("dropout1", "attention"), ("attention", "norm1"),
                    ("norm1", "+"), ("dropout1", "+"), ("+", "returned")}
    _, recording, _ = recorded("llama")
    assert picture(Flow(recording.calls["model.layers.0.feed_forward"])) == {
        ("x", "gate"), ("x", "expand"), ("gate", "activation"), ("expand", "activation"),
        ("activation", "dropout"), ("dropout", "contract"), ("contract", "returned")}


@pytest.mark.parametrize("kind", MODELS)
def test_flows_are_connected(kind, recorded):
    """What a call returns comes from what it was given: no node hangs in the air."""
    _, recording, _ = recorded(kind)
    for call in recording.calls.values():
        flow = Flow(call)
        targets = {b for _, b, _ in flow.edges}
        for node in flow.nodes:
            if (node.kind in ("output", "statement") and node.values[0].array.dtype.kind == "f"
                    and not node.values[0].is_unwritten):
                text = call.function.text(node.statement) if node.statement else ""
                is_constant = text.endswith("= 0") or "np.zeros" in text
                assert node in targets or is_constant, (call, node)


class Mixer(Module):
    """An architecture that nobody has seen: it mixes positions by their mean."""

    def __init__(self, d, rng):
        self.inner = Linear(d, d, rng=rng, std=0.5)

    def forward(self, x):
        """x: (B, T, d) -> y: (B, T, d)"""
        mean = x.mean(axis=1, keepdims=True)
        centered = x - mean
        return centered * 2 + self.inner(x)

    def backward(self, dy):
        dcentered = 2 * dy
        dx = dcentered - dcentered.mean(axis=1, keepdims=True)
        return dx + self.inner.backward(dy)


class MixedBag(BagForSequenceClassification):
    def __init__(self, config=None, seed=0, draw_weights=True):
        super().__init__(config, seed, draw_weights)
        self.mixer = Mixer(self.config.hidden_size, self.bag.rng)

    def forward(self, ids):
        x = self.mixer(self.bag.words(ids))
        self.remember(x.shape)
        return self.classifier(x.sum(axis=1))

    def backward(self, dlogits):
        dx = self.classifier.backward(dlogits)
        dx = np.broadcast_to(dx[:, None], self.recall()).copy()
        self.bag.words.backward(self.mixer.backward(dx))


def test_an_architecture_of_ones_own(monkeypatch):
    monkeypatch.setattr(auto, "ARCHITECTURES", dict(auto.ARCHITECTURES))
    auto.register(BagConfig, base=BagModel, sequence_classification=MixedBag)
    tokenizer = MAKERS["gpt2"]()[1]
    subject = Subject(MixedBag(BagConfig(vocab_size=len(tokenizer))).eval(), tokenizer, "mine")
    differences = Differences(subject, TEXT)
    recording = differences.recording
    assert picture(Flow(recording.calls["mixer"])) == {
        ("x", "mean"), ("x", "−"), ("mean", "−"), ("x", "inner"), ("inner", "+"), ("−", "+"),
        ("+", "returned")}
    for path, index in (("mixer:centered", (0, 2, 1)), ("mixer:returned", (0, 1, 3)),
                        ("mixer.inner.weight", (1, 2)), ("bag.words:returned", (0, 3, 0))):
        found = differences.difference(recording.value(path).path, index)
        assert found.numeric == pytest.approx(found.analytic, rel=1e-6, abs=1e-10), path
    mean = differences.difference(recording.value("mixer:mean").path, (0, 0, 1))
    assert np.isnan(mean.analytic) and np.isfinite(mean.numeric)  # no backward has computed it
    assert "centered = x - mean" in recording.calls["mixer"].function.lines()[3]


# ---- where a number comes from


def test_a_number_is_computed_from_its_operands(recorded):
    _, recording, _ = recorded("gpt2")

    def of(path, index):
        value = recording.value(path)
        return float(value.array[index]), computation(recording, value, index)

    number, found = of("transformer.h.0.attention.qkv:returned", (0, 2, 7))
    row, column = found.product
    assert row.index == (2, None) and column.path == "transformer.h.0.attention.qkv.weight"
    assert row.values @ column.values + found.bias.values == pytest.approx(number, rel=1e-5)

    number, found = of("transformer.h.0.attention:Q", (0, 1, 2, 3))
    assert found.same.index == (0, 2, 7) and found.same.values == number and found.product

    number, found = of("transformer.h.1.residual1:returned", (0, 1, 3))
    assert [each.name for each in found.operands] == ["x", "y"]
    assert sum(each.values for each in found.operands) == pytest.approx(number, rel=1e-5)

    number, found = of("transformer.h.0.norm1/layer_norm:mean", (0, 4, 0))
    assert found.operands[0].values.mean() == pytest.approx(number, rel=1e-5)
    assert found.statement == "mean = x.mean(axis=-1, keepdims=True)"

    number, found = of("lm_head:returned", (0, 1, 77))
    assert found.product[1].path == "transformer.wte.weight"
    assert found.product[0].values @ found.product[1].values == pytest.approx(number, rel=1e-4)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_every_number_is_what_it_is_said_to_come_from(recorded, data):
    _, recording, _ = recorded(data.draw(st.sampled_from(["gpt2", "llama", "bert", "transformer"])))
    values = [value for value in recording.values.values() if value.array.dtype.kind == "f"
              and not value.is_unwritten]
    value = data.draw(st.sampled_from(values))
    index = tuple(data.draw(st.integers(0, size - 1)) for size in value.array.shape)
    number, found = float(value.array[index]), computation(recording, value, index)
    if found.same is not None:
        there = recording.values[found.same.path].array[found.same.index]
        assert found.same.values == there == number or np.isnan(number)
    if found.product is not None:
        row, column = found.product
        size = np.abs(row.values) @ np.abs(column.values)
        total = row.values @ column.values + (found.bias.values if found.bias else 0)
        assert total == pytest.approx(number, abs=1e-4 * size + 1e-12)
    for each in [*found.operands, *(found.product or ())]:
        at = tuple(slice(None) if k is None else k for k in each.index)
        np.testing.assert_array_equal(recording.values[each.path].array[at], each.values)


def test_the_meaning_of_axes(recorded):
    assert shapes_in("Q: (B, H, T, D); K, V: (B, n, S, D)")["V"] == ("B", "n", "S", "D")
    _, recording, _ = recorded("gpt2")
    axes = name_axes(recording)
    assert axes[recording.value("transformer.h.0:x")] == ["B", "T", "d_model"]
    weights = "transformer.h.0.attention/attend/_attend_with_weights:weights"
    assert axes[recording.value(weights)] == ["B", "H", "Tq", "Tk"]


def test_a_layer_without_a_source_is_passed_over():
    subject = subject_of("gpt2")
    names = {"Module": Module, "__name__": "typed_in"}
    exec("class Doubled(Module):\n"
         "    def forward(self, x):\n        return 2 * x\n"
         "    def backward(self, dy):\n        return 2 * dy\n", names)
    subject.model.transformer.drop = names["Doubled"]()
    recording = record(subject, TEXT)
    x = recording.value("transformer.h.0:x")
    gradient = Twins(recording).gradient(x)
    assert "transformer.drop" not in recording.calls and gradient.shape == x.array.shape
    embedded = recording.value("transformer.wte:returned")
    np.testing.assert_array_equal(Twins(recording).gradient(embedded).shape, gradient.shape)


def test_quantized_weights_have_a_forward_only(tmp_path):
    model, tokenizer = MAKERS["gpt2"]()
    shaken(model).save_pretrained(tmp_path)
    subject = Subject(GPT2LMHeadModel.from_pretrained(tmp_path, dtype="int8"), tokenizer)
    recording = record(subject, TEXT)
    assert recording.backward_root is None and np.isfinite(recording.loss)
    weight = recording.value("transformer.h.0.attention.qkv.weight").array
    assert weight.dtype == np.float32
    assert Twins(recording).gradient(recording.value("transformer.h.0:returned")) is None
    with pytest.raises(ValueError, match="stored in few bits, which can't change a little"):
        Differences(subject, TEXT)


def test_what_cant_change_a_little():
    differences = Differences(subject_of("gpt2"), TEXT)
    scores = "transformer.h.0.attention/attend/_attend_with_weights/attention_weights/add_bias:S"
    for path, index, message in (("loss:inputs.input_ids", (0, 0), "holds int64 numbers"),
                                 (scores, (0, 0, 0, 1), "the number is -inf")):
        with pytest.raises(ValueError, match=message):
            differences.difference(path, index)
    with pytest.raises(ValueError, match="'nothing' is no value of this run"):
        differences.recording.value("nothing")
