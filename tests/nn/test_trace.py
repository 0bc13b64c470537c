import numpy as np
import pytest
from hypothesis import given
from strategies import generators

from minillm.models.gpt2 import GPT2Config, GPT2LMHeadModel
from minillm.nn import Alibi, DecoderBlock, Rotary, SelfAttention, no_grad, trace

SMALL = GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2, resid_pdrop=0,
                   embd_pdrop=0, attn_pdrop=0, initializer_range=0.5)


def make(rng):
    model = GPT2LMHeadModel(SMALL, seed=int(rng.integers(1000))).astype(np.float64)
    return model, rng.integers(11, size=(2, 5))


@given(generators)
def test_watching_changes_nothing(rng):
    model, ids = make(rng)
    plain = model(ids, labels=ids)
    plain.loss.backward()
    gradients = {name: p.grad.copy() for name, p in model.named_parameters()}
    model.zero_grad()
    with trace(model):
        watched = model(ids, labels=ids)
        watched.loss.backward()
    np.testing.assert_allclose(watched.logits, plain.logits, atol=1e-12)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.grad, gradients[name], atol=1e-12)


def test_what_is_seen():
    model, ids = make(np.random.default_rng(0))
    with trace(model) as t:
        output = model(ids, output_attentions=True, output_hidden_states=True)
    for layer in range(2):
        h = f"transformer.h.{layer}"
        np.testing.assert_array_equal(t[f"{h}.attention.weights"], output.attentions[layer])
        heads = t[f"{h}.attention.heads"]
        np.testing.assert_array_equal(t[f"{h}.attention.head_1"], heads[:, 1])
        merged = heads.transpose(0, 2, 1, 3).reshape(2, 5, 8)
        linear = model.transformer.h[layer].attention.output
        np.testing.assert_allclose(t[f"{h}.attention"], merged @ linear.weight.data
                                   + linear.bias.data)
        np.testing.assert_allclose(t[f"{h}.residual1"],
                                   output.hidden_states[layer] + t[f"{h}.attention"])
    np.testing.assert_array_equal(t["transformer.h.0"], output.hidden_states[1])
    np.testing.assert_array_equal(t["lm_head"], output.logits)
    assert t.names()[0] == "transformer.wte"


@pytest.mark.parametrize("make_positions", [lambda: None, lambda: Rotary(4), lambda: Alibi(4)])
def test_queries_keys_and_values_of_a_layer(make_positions):
    rng = np.random.default_rng(0)
    layer = SelfAttention(8, 4, head_dim=4, n_kv_heads=2, causal=True, std=0.5, rng=rng,
                          positions=make_positions()).astype(np.float64)
    x, names = rng.standard_normal((2, 5, 8)), ("queries", "keys", "values")
    with trace(layer) as t:
        y = layer(x)
        layer.backward(np.cos(y))  # the derivative of Σ sin y
    assert [t[name].shape for name in names] == [(2, 4, 5, 4), (2, 2, 5, 4), (2, 2, 5, 4)]
    for name in names:
        direction = rng.standard_normal(t[name].shape)

        def total(step):
            with trace(layer, []) as moved, no_grad():
                moved.patch(name, t[name] + step * direction)
                return np.sin(layer(x)).sum()

        slope = (total(1e-5) - total(-1e-5)) / 2e-5
        assert np.sum(t.grad[name] * direction) == pytest.approx(slope, rel=1e-6, abs=1e-7), name
    with trace(layer) as t:
        t.patch("keys", 0)
        layer(x)
        layer.backward(np.ones_like(y))
    assert not t.grad["keys"].any() and t.grad["values"].any()


def test_patterns_choose_what_is_kept():
    model, ids = make(np.random.default_rng(0))
    with trace(model, "transformer.h.*.attention.weights") as t:
        model(ids)
    assert t.names() == [f"transformer.h.{layer}.attention.weights" for layer in range(2)]
    with pytest.raises(KeyError, match="similar names: transformer.h.1.attention.weights"):
        t["transformer.h.1.attention.weight"]


@given(generators)
def test_gradients_are_those_of_differences(rng):
    model, ids = make(rng)
    names = ["transformer.h.0", "transformer.h.1.residual1", "transformer.h.1.attention.weights",
             "transformer.h.0.attention.head_0", "transformer.h.0.attention.heads",
             *(f"transformer.h.1.attention.{each}" for each in ("queries", "keys", "values"))]
    with trace(model) as t:
        model(ids, labels=ids).loss.backward()
    for name in names:
        direction = rng.standard_normal(t[name].shape)

        def loss(step):
            with trace(model, []) as moved, no_grad():
                moved.patch(name, t[name] + step * direction)
                return model(ids, labels=ids).loss.item()

        slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
        assert np.sum(t.grad[name] * direction) == pytest.approx(slope, rel=1e-6, abs=1e-7), name


@given(generators)
def test_a_patch_takes_effect_and_blocks_the_gradient(rng):
    model, ids = make(rng)
    with trace(model) as t:
        t.patch("transformer.h.0", np.arange(8.0))
        output = model(ids, labels=ids)
    assert (t["transformer.h.0"] == np.arange(8)).all()
    output.loss.backward()  # also outside the block
    assert (t.grad["transformer.h.0"] == 0).all()
    for name, parameter in model.named_parameters():
        below = name.startswith(("transformer.h.0", "transformer.wpe"))
        assert (not parameter.grad.any()) == below, name


@given(generators)
def test_one_head_is_patched_and_the_other_is_not(rng):
    model, ids = make(rng)
    name = "transformer.h.1.attention"
    with trace(model) as before:
        model(ids)
    with trace(model) as after:
        after.patch(f"{name}.head_1", lambda z: 2 * z)
        model(ids, labels=ids).loss.backward()
    expected = before[f"{name}.heads"].copy()
    expected[:, 1] *= 2
    linear = model.transformer.h[1].attention.output
    merged = expected.transpose(0, 2, 1, 3).reshape(2, 5, 8)
    np.testing.assert_allclose(after[name], merged @ linear.weight.data + linear.bias.data)
    assert (after.grad[f"{name}.head_1"] == 0).all()
    assert (after.grad[f"{name}.head_0"] != 0).any()
    dqkv = model.transformer.h[1].attention.qkv.weight.grad.reshape(8, 3, 2, 4)
    assert not dqkv[:, :, 1].any() and dqkv[:, :, 0].any()


def test_a_layer_that_runs_twice_is_seen_twice():
    block = DecoderBlock(4, 2, 8, cross_attention=False, rng=np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((1, 3, 4), dtype=np.float32)
    with trace(block) as t:
        y = block(x)
        block(y)
    first, second = t.all("feed_forward")
    assert (first != second).any()
    np.testing.assert_array_equal(t["feed_forward"], second)


def test_errors_name_the_patch():
    model, ids = make(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"the patch of transformer.h.0 has shape \(3,\)"):
        with trace(model) as t:
            t.patch("transformer.h.0", np.ones(3))
            model(ids)
    with pytest.raises(KeyError, match="'transformer.h.7' was computed"):
        with trace(model) as t:
            t.patch("transformer.h.7", 0)
            model(ids)
