"""LoRA on one Linear: its formula, its gradients, merging."""

import numpy as np
import pytest
from gradcheck import check_module
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import generators, leading_shapes, sizes

from minillm.nn import Linear, LoRA, LoRALinear
from minillm.ops.quantized import quantize


def make_layer(rng, d_in, widths, ranks, dtype=np.float64, **options):
    """-> a LoRALinear whose columns are in parts of these widths; rank 0: without an update"""
    base = Linear(d_in, sum(widths), rng=rng, std=1.0)
    base.bias.data += rng.standard_normal(base.bias.shape).astype(np.float32)
    updates, start = [], 0
    for width, rank in zip(widths, ranks):
        if rank:
            update = LoRA(d_in, width, rank, **{"alpha": 3.0, "rng": rng, **options})
            update.B.data += rng.standard_normal(update.B.shape).astype(np.float32)
            updates.append((start, start + width, update))
        start += width
    return LoRALinear(base, updates).astype(dtype)


parts = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=3)


@given(generators, leading_shapes, sizes, parts, st.booleans())
def test_the_formula(rng, leading, d_in, parts, rslora):
    widths, ranks = zip(*parts)
    layer = make_layer(rng, d_in, widths, ranks, rslora=rslora)
    x = rng.standard_normal((*leading, d_in))
    expected, updates, start = x @ layer.weight.data + layer.bias.data, iter(layer.lora), 0
    for width, rank in parts:
        if rank:
            update = next(updates)
            s = 3 / (np.sqrt(rank) if rslora else rank)
            expected[..., start : start + width] += s * (x @ update.A.data @ update.B.data)
        start += width
    np.testing.assert_allclose(layer(x), expected, atol=1e-9)
    W = layer.weight.data
    layer.merge()
    np.testing.assert_allclose(layer(x), expected, atol=1e-9)
    layer.merge()  # a second time changes nothing
    plain = layer.without_lora()
    assert type(plain) is Linear
    np.testing.assert_allclose(plain(x), expected, atol=1e-9)
    layer.weight.data = layer.merged_weight()
    layer.unmerge()
    np.testing.assert_array_equal(layer.weight.data, W)


@settings(max_examples=30)
@given(generators, leading_shapes, sizes, parts)
def test_gradients(rng, leading, d_in, parts):
    layer = make_layer(rng, d_in, *zip(*parts))
    assert not layer.weight.trainable and not layer.bias.trainable
    x = rng.standard_normal((*leading, d_in))
    for update in layer.lora:
        check_module(update, {"x": x}, rng)
    layer.zero_grad()
    dy = rng.standard_normal((*leading, layer.weight.shape[1]))
    layer(x)
    dx = layer.backward(dy)
    assert layer.weight.grad is None and layer.bias.grad is None
    expected = dy @ layer.weight.data.T
    for update, columns in zip(layer.lora, layer.columns):
        expected += update.scale * (dy[..., columns] @ update.B.data.T @ update.A.data.T)
        rows, drows = x.reshape(-1, d_in), dy[..., columns].reshape(-1, update.B.shape[1])
        full = rows.T @ drows  # the gradient of a matrix of W's size
        np.testing.assert_allclose(update.B.grad, update.scale * update.A.data.T @ full, atol=1e-9)
        np.testing.assert_allclose(update.A.grad, update.scale * full @ update.B.data.T, atol=1e-9)
    np.testing.assert_allclose(dx, expected, atol=1e-9)


def test_initial_values():
    rng = np.random.default_rng(0)
    update = LoRA(400, 50, 20, alpha=10, rng=rng)
    assert np.abs(update.A.data).max() <= 1 / np.sqrt(400)
    assert update.A.data.std() == pytest.approx(1 / np.sqrt(3 * 400), rel=0.05)
    assert not update.B.data.any() and update.scale == 0.5
    gaussian = LoRA(400, 50, 20, alpha=10, rng=rng, init="gaussian")
    assert gaussian.A.data.std() == pytest.approx(1 / 20, rel=0.05)


def test_dropout_acts_on_the_update_alone():
    rng = np.random.default_rng(0)
    layer = make_layer(rng, 6, [4], [2], dropout=0.5)
    x = rng.standard_normal((3, 6))
    train, dy = layer.train()(x), rng.standard_normal((3, 4))
    dx = layer.backward(dy)
    (update,) = layer.lora
    base = x @ layer.weight.data + layer.bias.data
    assert not np.allclose(train, layer.eval()(x)) and not np.allclose(train, base)
    # Linear in x for given draws: their mask is where the update's part of dx is zero.
    mask = ~np.isclose(dx - dy @ layer.weight.data.T, 0)
    dropped = 2 * x * mask
    np.testing.assert_allclose(train, base + update.scale * dropped @ update.A.data @ update.B.data)


def test_errors():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="rank is 0, wanted at least 1"):
        LoRA(3, 3, 0, alpha=1, rng=rng)
    with pytest.raises(ValueError, match="init is 'zeros', wanted 'uniform' or 'gaussian'"):
        LoRA(3, 3, 1, alpha=1, rng=rng, init="zeros")
    layer = make_layer(rng, 3, [2], [1], np.float32)
    layer.merge()
    x = np.ones((1, 3), np.float32)
    layer(x)
    with pytest.raises(ValueError, match="wanted them apart to train: call unmerge first"):
        layer.backward(np.ones((1, 2), np.float32))
    layer.weight.data = quantize(layer.weight.data.T, "int8")
    with pytest.raises(ValueError, match="stored as int8 for inference, wanted plain ones to unm"):
        layer.unmerge()
