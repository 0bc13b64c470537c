import numpy as np
import pytest
from gradcheck import check_module
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import generators

from minillm.nn import (
    DecoderBlock,
    EncoderBlock,
    FeedForward,
    FeedForward,
    KVCache,
    LayerNorm,
    RMSNorm,
    no_grad,
    trace,
)

norms = st.sampled_from(["pre", "post"])
lengths = st.integers(1, 4)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def blocks(draw, kind, **options):
    """-> rng, a float64 block whose parameters are all random, x: (B, T, d_model)"""
    rng = draw(generators)
    H, D = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    options.setdefault("norm", draw(norms))
    # The finite differences of the gradient check need a smooth function: no ReLU, and a layer
    # norm whose derivative is bounded.
    options.setdefault("activation", draw(st.sampled_from(["gelu", "gelu_tanh"])))
    options.setdefault("make_norm", draw(st.sampled_from([LayerNorm, RMSNorm])))
    options.setdefault("bias", draw(st.booleans()))
    block = kind(H * D, H, draw(st.integers(1, 6)), eps=1e-2, rng=rng, **options)
    for parameter in block.parameters():
        parameter.data = 0.6 * rng.standard_normal(parameter.shape)
    x = rng.standard_normal((draw(st.integers(1, 3)), draw(lengths), H * D))
    return rng, block, x


def reseeded(block, seed, call):
    """`call`, but every layer of the block draws the same random numbers each time"""

    def forward(*inputs):
        for module in block.modules():
            if hasattr(module, "rng"):
                module.rng = np.random.default_rng(seed)
        return call(*inputs)

    return forward


def memory_and_masks(rng, x, S, masked):
    B, T, d_model = x.shape
    memory = rng.standard_normal((B, S, d_model))
    if not masked:
        return memory, None, None
    return memory, rng.random((B, T)) < 0.8, rng.random((B, S)) < 0.8


@given(blocks(EncoderBlock), st.booleans())
def test_encoder_gradients(case, masked):
    rng, block, x = case
    key_mask = rng.random(x.shape[:2]) < 0.8 if masked else None
    check_module(block, {"x": x}, rng, forward=lambda x: block(x, key_mask=key_mask))


@given(blocks(DecoderBlock, cross_attention=False), st.booleans())
def test_decoder_gradients(case, masked):
    rng, block, x = case
    key_mask = rng.random(x.shape[:2]) < 0.8 if masked else None
    check_module(block, {"x": x}, rng, forward=lambda x: block(x, key_mask=key_mask))


@settings(max_examples=30)
@given(blocks(DecoderBlock), lengths, st.booleans())
def test_cross_decoder_gradients(case, S, masked):
    rng, block, x = case
    memory, key_mask, memory_key_mask = memory_and_masks(rng, x, S, masked)
    check_module(
        block,
        {"x": x, "memory": memory},
        rng,
        forward=lambda x, memory: block(
            x, memory, key_mask=key_mask, memory_key_mask=memory_key_mask
        ),
    )


@settings(max_examples=15)
@given(st.data(), seeds, st.sampled_from([EncoderBlock, DecoderBlock]))
def test_gradients_with_dropout(data, seed, kind):
    rng, block, x = data.draw(blocks(kind, dropout=0.3, attention_dropout=0.2))
    inputs = {"x": x}
    if kind is DecoderBlock:
        inputs["memory"] = rng.standard_normal(x.shape)
    check_module(block, inputs, rng, forward=reseeded(block, seed, block))


@given(blocks(EncoderBlock))
def test_an_encoder_without_positions_does_not_see_the_order(case):
    rng, block, x = case
    order = rng.permutation(x.shape[1])
    key_mask = rng.random(x.shape[:2]) < 0.8
    with trace(block) as t:
        y = block(x, key_mask=key_mask)
        shuffled = block(x[:, order], key_mask=key_mask[:, order])
    weights, shuffled_weights = t.all("attention.weights")
    np.testing.assert_allclose(shuffled, y[:, order], atol=1e-9)
    np.testing.assert_allclose(shuffled_weights, weights[:, :, order][..., order], atol=1e-9)


@given(st.data(), st.booleans())
def test_a_decoder_does_not_see_the_future(data, cross):
    rng, block, x = data.draw(blocks(DecoderBlock, cross_attention=cross))
    memory = rng.standard_normal((len(x), 3, x.shape[-1])) if cross else None
    y = block(x, memory)
    position = rng.integers(x.shape[1])
    x[:, position:] = rng.standard_normal(x[:, position:].shape)
    np.testing.assert_allclose(block(x, memory)[:, :position], y[:, :position], atol=1e-9)


@given(blocks(DecoderBlock), lengths)
def test_weights_of_a_decoder(case, S):
    rng, block, x = case
    B, T, _ = x.shape
    memory = rng.standard_normal((B, S, x.shape[-1]))
    with trace(block) as t:
        y = block(x, memory)
    weights, cross_weights = t["attention.weights"], t["cross_attention.weights"]
    np.testing.assert_allclose(y, block(x, memory), atol=1e-9)
    assert weights.shape == (B, block.attention.n_heads, T, T)
    assert cross_weights.shape == (B, block.attention.n_heads, T, S)
    assert (weights[..., ~np.tri(T, dtype=bool)] == 0).all()


@given(st.data(), st.booleans())
def test_a_kv_cache_gives_the_same(data, cross):
    rng, block, x = data.draw(blocks(DecoderBlock, cross_attention=cross))
    memory = rng.standard_normal((len(x), 3, x.shape[-1])) if cross else None
    with no_grad():
        whole = block(x, memory)
        caches = {"kv_cache": KVCache().layer(0)}
        if cross:
            caches["memory_kv_cache"] = KVCache().layer(0)
        for t in range(x.shape[1]):
            part = block(x[:, t : t + 1], memory if t == 0 else None, **caches)
            np.testing.assert_allclose(part[:, 0], whole[:, t], atol=1e-9)


@pytest.mark.parametrize("kind", [EncoderBlock, DecoderBlock])
def test_inputs_and_gradients_that_come_in_are_left_alone(kind):
    rng = np.random.default_rng(0)
    for norm in ("pre", "post"):
        for dropout in (0.0, 0.5):
            block = kind(4, 2, 8, norm=norm, dropout=dropout, rng=rng)
            inputs = [rng.standard_normal((2, 3, 4), dtype=np.float32)]
            if kind is DecoderBlock:
                inputs.append(rng.standard_normal((2, 3, 4), dtype=np.float32))
            dy = rng.standard_normal((2, 3, 4), dtype=np.float32)
            before = [array.copy() for array in (*inputs, dy)]
            y = block(*inputs)
            y_before = y.copy()
            block.backward(dy)
            for array, copy in zip((*inputs, dy, y), (*before, y_before), strict=True):
                np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("kind", [EncoderBlock, DecoderBlock])
def test_the_same_in_evaluation_and_by_seed_in_training(kind):
    x = np.random.default_rng(1).standard_normal((2, 3, 4), dtype=np.float32)
    inputs = (x, x) if kind is DecoderBlock else (x,)
    options = {"dropout": 0.5, "attention_dropout": 0.5, "std": 0.5}
    first, second = (kind(4, 2, 8, rng=np.random.default_rng(0), **options) for _ in range(2))
    np.testing.assert_array_equal(first(*inputs), second(*inputs))
    assert (first(*inputs) != first(*inputs)).any()
    first.eval()
    np.testing.assert_array_equal(first(*inputs), first(*inputs))


def test_a_layer_that_takes_the_place_of_another_counts():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 3, 4), dtype=np.float32)
    block = EncoderBlock(4, 2, 8, rng=rng)
    before = block(x)
    block.feed_forward = FeedForward(4, 8, rng=rng, std=1.0)
    assert (block(x) != before).any()
    block.backward(x)
    assert block.feed_forward.expand.weight.grad is not None


def test_errors_name_the_argument():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="^norm is 'middle', wanted 'pre' or 'post'"):
        EncoderBlock(4, 2, 8, norm="middle", rng=rng)
    x = np.ones((1, 2, 4), np.float32)
    with pytest.raises(ValueError, match="^memory is None, wanted an array"):
        DecoderBlock(4, 2, 8, rng=rng)(x)
    with pytest.raises(ValueError, match="^memory is a ndarray, wanted None"):
        DecoderBlock(4, 2, 8, cross_attention=False, rng=rng)(x, x)


class Doubled(FeedForward):
    """A feed-forward network from outside minillm"""

    def forward(self, x):
        return 2 * super().forward(x)


@given(generators, st.sampled_from([EncoderBlock, DecoderBlock]))
def test_another_feed_forward_network(rng, kind):
    options = {"cross_attention": False} if kind is DecoderBlock else {}
    block = kind(4, 2, 3, make_feed_forward=Doubled, bias=False, rng=rng, **options)
    assert isinstance(block.feed_forward, Doubled)
    names = [name for name, _ in block.named_parameters() if "norm" not in name]
    assert names == [f"{layer}.weight" for layer in (
        "attention.qkv", "attention.output", "feed_forward.expand", "feed_forward.contract")]
