import numpy as np
import pytest
from gradcheck import check_module
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators

from minillm.nn import MultiHeadAttention, no_grad

head_counts = st.integers(1, 3)
lengths = st.integers(1, 5)


class Cache:
    """The smallest cache of keys and values: it concatenates."""

    def __init__(self):
        self.K = self.V = None

    def append(self, K, V):
        self.K = K if self.K is None else np.concatenate([self.K, K], axis=2)
        self.V = V if self.V is None else np.concatenate([self.V, V], axis=2)
        return self.K, self.V


@st.composite
def layers(draw, **options):
    """-> rng, a float64 layer with random biases, B, T"""
    rng = draw(generators)
    H = draw(head_counts)
    layer = MultiHeadAttention(H * draw(st.integers(1, 3)), H, rng=rng, std=0.7, **options)
    layer.astype(np.float64)
    for linear in (layer.qkv, layer.output):
        if linear.bias is not None:
            linear.bias.data = rng.standard_normal(linear.bias.shape)
    return rng, layer, draw(st.integers(1, 3)), draw(lengths)


def mask(rng, B, T):
    return rng.random((B, T)) < 0.7


@given(st.data(), st.booleans(), st.booleans(), st.booleans())
def test_gradients(data, causal, masked, bias):
    rng, layer, B, T = data.draw(layers(causal=causal, bias=bias))
    key_mask = mask(rng, B, T) if masked else None
    x = rng.standard_normal((B, T, layer.d_model))
    check_module(layer, {"x": x}, rng, forward=lambda x: layer(x, key_mask=key_mask))


@given(st.data(), lengths, st.booleans(), st.booleans())
def test_gradients_of_cross_attention(data, S, masked, bias):
    rng, layer, B, T = data.draw(layers(bias=bias))
    key_mask = mask(rng, B, S) if masked else None
    inputs = {
        "x": rng.standard_normal((B, T, layer.d_model)),
        "memory": rng.standard_normal((B, S, layer.d_model)),
    }
    check_module(layer, inputs, rng, forward=lambda x, m: layer(x, m, key_mask=key_mask))


@given(st.data(), st.integers(0, 2**32 - 1), st.booleans())
def test_gradients_with_dropout(data, seed, cross):
    rng, layer, B, T = data.draw(layers(dropout=0.4))

    def forward(*inputs):
        layer.rng = np.random.default_rng(seed)
        return layer(*inputs)

    inputs = {"x": rng.standard_normal((B, T, layer.d_model))}
    if cross:
        inputs["memory"] = rng.standard_normal((B, 2, layer.d_model))
    check_module(layer, inputs, rng, forward=forward)


@given(layers())
def test_gradients_when_weights_are_asked_for(case):
    rng, layer, B, T = case
    x = rng.standard_normal((B, T, layer.d_model))
    check_module(layer, {"x": x}, rng, forward=lambda x: layer(x, return_weights=True)[0])


@given(st.data(), st.booleans(), st.booleans())
def test_weights_change_nothing_and_are_distributions(data, causal, cross):
    rng, layer, B, T = data.draw(layers(causal=causal))
    x = rng.standard_normal((B, T, layer.d_model))
    memory = rng.standard_normal((B, T + 1, layer.d_model)) if cross else None
    y, weights = layer(x, memory, return_weights=True)
    np.testing.assert_allclose(y, layer(x, memory), atol=1e-10)
    assert weights.shape == (B, layer.n_heads, T, T + cross)
    np.testing.assert_allclose(weights.sum(axis=-1), 1)


def test_dropout_acts_in_training_only_and_the_seed_decides():
    layer = MultiHeadAttention(8, 2, dropout=0.5, rng=np.random.default_rng(0), std=1.0)
    x = np.random.default_rng(1).standard_normal((2, 5, 8), dtype=np.float32)
    trained = []
    for _ in range(2):
        layer.rng = np.random.default_rng(2)
        trained.append(layer(x))
    np.testing.assert_array_equal(*trained)
    assert (layer(x) != trained[0]).any()

    # Dropout keeps the mean, and the output is linear in the weights that are dropped.
    mean = np.mean([layer(x) for _ in range(1000)], axis=0)
    evaluated = layer.eval()(x)
    assert (evaluated != trained[0]).any()
    np.testing.assert_array_equal(evaluated, layer(x))
    assert np.abs(mean - evaluated).max() < 0.2 * np.abs(trained[0] - evaluated).max()


@given(layers())
def test_attending_to_itself_as_memory_is_self_attention(case):
    rng, layer, B, T = case
    x = rng.standard_normal((B, T, layer.d_model))
    dy = rng.standard_normal(x.shape)
    y = layer(x)
    dx = layer.backward(dy)
    gradients = [parameter.grad.copy() for parameter in layer.parameters()]
    layer.zero_grad()
    np.testing.assert_allclose(layer(x, x), y, atol=1e-10)
    dquery, dmemory = layer.backward(dy)
    np.testing.assert_allclose(dquery + dmemory, dx, atol=1e-10)
    for parameter, gradient in zip(layer.parameters(), gradients, strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, atol=1e-9)


@given(layers(causal=True))
def test_causal_attention_does_not_see_the_future(case):
    rng, layer, B, T = case
    x = rng.standard_normal((B, T, layer.d_model))
    y = layer(x)
    position = rng.integers(T)
    x[:, position:] = rng.standard_normal(x[:, position:].shape)
    np.testing.assert_allclose(layer(x)[:, :position], y[:, :position], atol=1e-10)


@given(layers())
def test_a_masked_key_has_no_influence(case):
    rng, layer, B, T = case
    x = rng.standard_normal((B, T, layer.d_model))
    key_mask = mask(rng, B, T)
    memory = rng.standard_normal(x.shape)
    y = layer(x, memory, key_mask=key_mask)
    memory[~key_mask] = 1e3
    np.testing.assert_allclose(layer(x, memory, key_mask=key_mask), y, atol=1e-9)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-10)])
@given(case=layers(causal=True), chunk=st.integers(1, 3), data=st.data())
def test_a_kv_cache_gives_the_same(dtype, tolerance, case, chunk, data):
    rng, layer, B, T = case
    layer.astype(dtype).eval()
    x = rng.standard_normal((B, T, layer.d_model)).astype(dtype)
    key_mask = mask(rng, B, T) if data.draw(st.booleans()) else None
    with no_grad():
        whole = layer(x, key_mask=key_mask)
        cache = Cache()
        for start in range(0, T, chunk):
            end = min(start + chunk, T)
            seen = None if key_mask is None else key_mask[:, :end]
            part = layer(x[:, start:end], key_mask=seen, kv_cache=cache)
            np.testing.assert_allclose(
                part, whole[:, start:end], rtol=tolerance, atol=10 * tolerance
            )


def test_no_backward_after_a_kv_cache():
    layer = MultiHeadAttention(4, 2, causal=True, rng=np.random.default_rng(0))
    y = layer(np.ones((1, 2, 4), np.float32), kv_cache=Cache())
    with pytest.raises(RuntimeError, match="^MultiHeadAttention"):
        layer.backward(y)


@given(generators)
def test_two_cross_attentions_add_up(rng):
    layer = MultiHeadAttention(4, 2, rng=rng).astype(np.float64)
    x, memory, dy = rng.standard_normal((3, 2, 3, 4))
    layer(x, memory)
    layer.backward(dy)
    once = [parameter.grad.copy() for parameter in layer.parameters()]
    layer(x, memory)
    layer.backward(dy)
    for parameter, gradient in zip(layer.parameters(), once, strict=True):
        np.testing.assert_allclose(parameter.grad, 2 * gradient)


def test_errors_name_the_argument():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="^n_heads is 3, wanted a divisor of d_model = 4"):
        MultiHeadAttention(4, 3, rng=rng)
    with pytest.raises(ValueError, match="^n_heads is 0"):
        MultiHeadAttention(4, 0, rng=rng)
    with pytest.raises(ValueError, match="^dropout is 1"):
        MultiHeadAttention(4, 2, dropout=1.0, rng=rng)
    layer = MultiHeadAttention(4, 2, rng=rng)
    x = np.ones((2, 3, 4), np.float32)
    with pytest.raises(ValueError, match="^x has shape"):
        layer(x[0])
    with pytest.raises(ValueError, match="^memory has shape"):
        layer(x, x[:1])
    with pytest.raises(ValueError, match="^kv_cache is for self-attention"):
        layer(x, x, kv_cache=Cache())
    with pytest.raises(ValueError, match="^key_mask has shape"):
        layer(x, key_mask=np.ones((2, 4), bool))
    with pytest.raises(ValueError, match="^key_mask has shape"):
        layer(x, key_mask=np.ones((2, 4), bool), return_weights=True)
    with pytest.raises(TypeError, match="^x is a list"):
        layer([[[0.0] * 4]])
