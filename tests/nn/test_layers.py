"""The layers that wrap one op, and the feed-forward network."""

import numpy as np
import pytest
from gradcheck import check_gradients, check_module
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import generators, leading_shapes, sizes

from minillm.nn import (
    Activation,
    Dropout,
    Embedding,
    FeedForward,
    GatedActivation,
    GatedFeedForward,
    LayerNorm,
    LearnedPositions,
    Linear,
    OutputHead,
    Parameter,
    RMSNorm,
    SinusoidalPositions,
)
from minillm.nn.layers import ACTIVATIONS
from minillm.ops.positions import sinusoidal_positions
from minillm.ops.quantized import quantize


@given(generators, leading_shapes, sizes, sizes, st.booleans())
def test_linear_gradients(rng, leading, d_in, d_out, bias):
    layer = Linear(d_in, d_out, bias, rng=rng, std=1.0)
    check_module(layer, {"x": rng.standard_normal((*leading, d_in))}, rng)


@given(generators, leading_shapes, sizes, sizes)
def test_a_bias_learns_beside_a_frozen_weight(rng, leading, d_in, d_out):
    layer = Linear(d_in, d_out, rng=rng, std=1.0).astype(np.float64)
    layer.weight.trainable = False
    dy = rng.standard_normal((*leading, d_out))
    layer(rng.standard_normal((*leading, d_in)))
    np.testing.assert_allclose(layer.backward(dy), dy @ layer.weight.data.T)
    assert layer.weight.grad is None
    np.testing.assert_allclose(layer.bias.grad, dy.reshape(-1, d_out).sum(axis=0))


@given(generators, leading_shapes, sizes, sizes, st.booleans())
def test_output_head_gradients(rng, leading, d, n, bias):
    bias = Parameter(rng.standard_normal(n)) if bias else None
    head = OutputHead(Embedding(n, d, rng=rng, std=1.0).weight, bias)
    check_module(head, {"x": rng.standard_normal((*leading, d))}, rng)


def test_quantized_weights_have_no_backward():
    rng = np.random.default_rng(0)
    layers = Linear(4, 3, rng=rng), OutputHead(Parameter(np.ones((3, 4), np.float32)))
    for layer, transposed in zip(layers, (True, False)):
        weight = layer.weight.data.T if transposed else layer.weight.data
        layer.weight.data = quantize(weight, "int8")
        y = layer(np.ones((2, 4), np.float32))
        with pytest.raises(ValueError, match="^the weights are quantized for inference, wanted"):
            layer.backward(np.ones_like(y))
    embedding = Embedding(5, 4, rng=rng)
    embedding.weight.data = quantize(embedding.weight.data, "int8")
    with pytest.raises(ValueError, match="^the weights are quantized for inference, wanted"):
        embedding.backward(embedding(np.array([1, 2])))


@given(generators, leading_shapes, sizes, st.sampled_from([LayerNorm, RMSNorm]))
def test_norm_gradients(rng, leading, d, kind):
    layer = kind(d, eps=1e-3)
    for parameter in layer.parameters():
        parameter.data = rng.standard_normal(d)
    check_module(layer, {"x": rng.standard_normal((*leading, d))}, rng)


@given(generators, leading_shapes, sizes, sizes)
def test_padding_learns_nothing(rng, shape, n, d):
    ids, dy = rng.integers(n, size=shape), rng.standard_normal((*shape, d))
    plain, padded = Embedding(n, d, rng=rng), Embedding(n, d, padding_id=n - 1, rng=rng)
    for layer in (plain, padded):
        layer.astype(np.float64)(ids)
        layer.backward(dy)
    np.testing.assert_array_equal(padded.weight.grad[:-1], plain.weight.grad[:-1])
    assert not padded.weight.grad[-1].any()


@given(generators, leading_shapes, sizes, sizes)
def test_embedding_gradients(rng, shape, n, d):
    layer = Embedding(n, d, rng=rng).astype(np.float64)
    ids = rng.integers(n, size=shape)
    dy = rng.standard_normal((*shape, d))
    layer(ids)
    assert layer.backward(dy) is None
    check_gradients(
        lambda: np.sum(layer(ids) * dy),
        {"weight": layer.weight.data},
        {"weight": layer.weight.grad},
        rng,
    )


@given(generators, st.lists(st.integers(1, 3), max_size=2), sizes, sizes, st.integers(0, 3))
def test_learned_positions_gradients(rng, leading, T, d, start):
    layer = LearnedPositions(start + T + 1, d, rng=rng)
    x = rng.standard_normal((*leading, T, d))
    check_module(layer, {"x": x}, rng, forward=lambda x: layer(x, start))


@given(generators, sizes, sizes)
def test_learned_positions_add_up_over_backwards(rng, T, d):
    layer = LearnedPositions(T + 2, d, rng=rng).astype(np.float64)
    dy = rng.standard_normal((2, T, d))
    for start in (0, 2):
        layer(np.zeros((2, T, d)), start)
        layer.backward(dy)
    wanted = np.zeros((T + 2, d))
    wanted[:T] += dy.sum(axis=0)
    wanted[2:] += dy.sum(axis=0)
    np.testing.assert_allclose(layer.weight.grad, wanted, atol=1e-12)


@given(generators, sizes, sizes, st.integers(0, 3))
def test_sinusoidal_positions(rng, T, d, start):
    layer = SinusoidalPositions(20, d)
    x = rng.standard_normal((2, T, d), dtype=np.float32)
    y = layer(x, start)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, x + sinusoidal_positions(20, d)[start : start + T])
    assert layer.backward(x) is x
    assert layer.parameters() == []


@pytest.mark.parametrize(
    "layer",
    [SinusoidalPositions(4, 2), LearnedPositions(4, 2, rng=np.random.default_rng(0))],
)
def test_a_sequence_beyond_the_last_position_is_refused(layer):
    with pytest.raises(ValueError, match="^x has positions 2 to 4, wanted .* 0 to 3"):
        layer(np.ones((1, 3, 2), np.float32), 2)
    with pytest.raises(ValueError, match="^x has shape"):
        layer(np.ones((1, 3, 4), np.float32))


@given(generators, leading_shapes, st.sampled_from(sorted(ACTIVATIONS)))
def test_activation_gradients(rng, shape, name):
    x = rng.standard_normal((*shape, 3))
    assume(np.abs(x).min() > 1e-3)
    check_module(Activation(name), {"x": x}, rng)


@given(generators, leading_shapes, st.sampled_from(sorted(ACTIVATIONS)))
def test_gated_activation_gradients(rng, shape, name):
    g, u = rng.standard_normal((2, *shape, 3))
    assume(np.abs(g).min() > 1e-3)
    check_module(GatedActivation(name), {"g": g, "u": u}, rng)
    h = GatedActivation(name)(g, u)
    np.testing.assert_allclose(h, Activation(name)(g) * u, rtol=1e-12)


@given(generators, leading_shapes, sizes, sizes, st.sampled_from(["relu", "gelu", "gelu_tanh"]))
def test_feed_forward_gradients(rng, leading, d_model, d_ff, activation):
    layer = FeedForward(d_model, d_ff, activation=activation, rng=rng, std=1.0).astype(np.float64)
    for linear in (layer.expand, layer.contract):
        linear.bias.data = rng.standard_normal(linear.bias.shape)
    x = rng.standard_normal((*leading, d_model))
    assume(np.abs(layer.expand(x)).min() > 1e-2)  # ReLU has no derivative at 0
    check_module(layer, {"x": x}, rng)


@given(generators, leading_shapes, sizes, sizes, st.sampled_from(["silu", "gelu"]), st.booleans())
def test_gated_feed_forward_gradients(rng, leading, d_model, d_ff, activation, bias):
    layer = GatedFeedForward(d_model, d_ff, activation=activation, bias=bias, rng=rng, std=1.0)
    layer.astype(np.float64)
    for name, parameter in layer.named_parameters():
        if name.endswith("bias"):
            parameter.data = rng.standard_normal(parameter.shape)
    check_module(layer, {"x": rng.standard_normal((*leading, d_model))}, rng)


def test_a_gated_feed_forward_is_its_formula():
    rng = np.random.default_rng(0)
    layer = GatedFeedForward(3, 5, bias=False, rng=rng, std=1.0)
    x = rng.standard_normal((2, 3)).astype(np.float32)
    g = x @ layer.gate.weight.data
    hidden = g / (1 + np.exp(-g)) * (x @ layer.expand.weight.data)
    np.testing.assert_allclose(layer(x), hidden @ layer.contract.weight.data, rtol=1e-5)


@given(generators, st.integers(0, 2**32 - 1))
def test_dropout_gradients(rng, seed):
    layer = Dropout(0.5, rng)

    def forward(x):
        layer.rng = np.random.default_rng(seed)
        return layer(x)

    check_module(layer, {"x": rng.standard_normal((2, 3))}, rng, forward=forward)


@given(generators, st.integers(0, 2**32 - 1))
def test_feed_forward_gradients_with_dropout(rng, seed):
    make = FeedForward if seed % 2 else GatedFeedForward
    layer = make(3, 5, activation="gelu", dropout=0.5, rng=rng, std=1.0)

    def forward(x):
        layer.dropout.rng = np.random.default_rng(seed)
        return layer(x)

    check_module(layer, {"x": rng.standard_normal((2, 3))}, rng, forward=forward)


def test_dropout_only_in_training():
    layer = Dropout(0.5, np.random.default_rng(0))
    x = np.ones(100, np.float32)
    assert (layer(x) == 0).any()
    assert np.shares_memory(layer.eval()(x), x)
    assert layer.backward(x) is x


def test_the_seed_decides_the_initial_weights():
    first, second = (Linear(50, 60, rng=np.random.default_rng(7), std=0.1) for _ in range(2))
    np.testing.assert_array_equal(first.weight.data, second.weight.data)
    assert abs(first.weight.data.std() - 0.1) < 0.01
    assert first.weight.data.dtype == np.float32
    assert (first.bias.data == 0).all()


def test_an_unknown_activation_is_named():
    with pytest.raises(ValueError, match="^activation is 'swish', wanted one of 'relu', 'gelu'"):
        FeedForward(2, 4, activation="swish", rng=np.random.default_rng(0))
