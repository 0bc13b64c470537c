"""The two ways to train in less memory: the same numbers, bit for bit."""

import copy
import gc
import tracemalloc
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import NEW, labelled, new_model

from minillm.models.auto import model_class
from minillm.models.lora import LoraConfig, inject
from minillm.nn import EncoderBlock, no_grad, trace
from minillm.nn.module import generators, without_gradients
from minillm.nn.per_example import per_example_gradients
from minillm.nn.recompute import recompute, recompute_blocks, recomputes
from minillm.ops import linear_cross_entropy

WAYS = [(False, False), (True, False), (False, True), (True, True)]


def large_logits(are_large):
    """A context in which all logits are computed in chunks"""
    return patch.multiple(linear_cross_entropy, LARGE=1 if are_large else 1 << 28, CHUNK=1)


def gradients(model):
    return {name: parameter.grad.copy() for name, parameter in model.named_parameters()
            if parameter.grad is not None}


def train(model, batches):
    """Two forwards before two backwards, then one more, added to the gradients -> all numbers"""
    model.zero_grad()
    first, second, third = (labelled(model, ids) for ids in batches)
    losses = [model(**first).loss, model(**second).loss]
    (losses[0] + 0.3 * losses[1]).backward()
    losses.append(model(**third).loss)
    (losses[2] / 3).backward()
    return [loss.item() for loss in losses], gradients(model), [
        generator.random() for generator in generators(model)]


def require_equal(found, expected):
    assert found[0] == expected[0] and found[2] == expected[2]
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        np.testing.assert_array_equal(found[1][name], gradient, name)


@settings(max_examples=16, deadline=None)
@given(kind=st.sampled_from(NEW), dropout=st.sampled_from([0.0, 0.1]),
       way=st.sampled_from(WAYS[1:]),
       shapes=st.lists(st.tuples(st.integers(1, 7), st.integers(2, 120)), min_size=3, max_size=3),
       seed=st.integers(0, 9))
def test_losses_gradients_and_randomness_are_the_same(kind, dropout, way, shapes, seed):
    rng = np.random.default_rng(seed)
    batches = [rng.integers(1, 301, size=shape) for shape in shapes]
    expected = train(new_model(*kind, dropout), batches)
    model = new_model(*kind, dropout)
    recompute_blocks(model, way[0])
    with large_logits(way[1]):
        require_equal(train(model, batches), expected)


@pytest.mark.parametrize("change", ["lora", "frozen", "vectors alone"])
def test_what_learns_only_in_part(change):
    ids = np.random.default_rng(0).integers(1, 301, size=(3, 9, 60))
    found = []
    for way in WAYS:
        model = new_model("gpt2", "causal_lm", 0.1)
        if change == "lora":
            inject(model, LoraConfig(r=2, lora_dropout=0.1, target_modules="all-linear"))
        elif change == "frozen":
            model.transformer.wte.freeze()
            model.transformer.h[0].freeze()
        recompute_blocks(model, way[0])
        with large_logits(way[1]):
            if change == "vectors alone":
                x = np.random.default_rng(1).standard_normal((9, 60, 32)).astype(np.float32)
                with without_gradients(model):
                    model(inputs_embeds=x, labels=ids[0]).loss.backward()
                assert gradients(model) == {}
            found.append(train(model, ids))
    for each in found[1:]:
        require_equal(each, found[0])


def test_private_gradients_are_the_same():
    ids = np.random.default_rng(0).integers(1, 301, size=(3, 20))
    norms = []
    for way in WAYS:
        model = new_model("gpt2", "causal_lm")
        recompute_blocks(model, way[0])
        with large_logits(way[1]), per_example_gradients(model, 3) as examples:
            model(**labelled(model, ids)).loss.backward()
        norms.append(examples.norms())
    np.testing.assert_array_equal(norms, [norms[0]] * 4)


def test_a_trace_sees_and_patches_the_same():
    ids = np.random.default_rng(0).integers(1, 301, size=(2, 20))
    found = []
    for way in WAYS:
        model = new_model("gpt2", "causal_lm", 0.1)
        recompute_blocks(model, way[0])
        with large_logits(way[1]), trace(model) as t:
            t.patch("transformer.h.0.feed_forward", lambda x: 2 * x)
            t.patch("transformer.h.1.attention.head_0", 0)
            output = model(ids, labels=ids, output_attentions=True)
            output.loss.backward()
        assert len(output.attentions) == 2 and len(t.all("lm_head")) == 1
        found.append((t, gradients(model)))
    for t, grads in found[1:]:
        assert t.names() == found[0][0].names()
        for name in t.names():
            np.testing.assert_array_equal(t[name], found[0][0][name])
            np.testing.assert_array_equal(t.grad[name], found[0][0].grad[name])
        for name, gradient in found[0][1].items():
            np.testing.assert_array_equal(grads[name], gradient)


def test_a_trace_around_the_backward_alone_sees_no_values():
    model = new_model("gpt2", "causal_lm")
    recompute_blocks(model)
    ids = np.ones((1, 5), int)
    loss = model(ids, labels=ids).loss
    with trace(model) as t:
        loss.backward()
    assert t.names() == []


def kept(model, ids):
    """-> the bytes that a forward keeps"""
    model(**labelled(model, ids))
    gc.collect()
    tracemalloc.start()
    try:
        output = model(**labelled(model, ids))
        assert output.loss.item() > 0
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_blocks_keep_their_inputs_alone_and_nothing_inside_no_grad():
    model = new_model("gpt2", "causal_lm", 0.1)
    ids = np.random.default_rng(0).integers(1, 301, size=(8, 120))
    x = 4 * 960 * 32
    with large_logits(True):
        assert kept(model, ids) > 2 * 14 * x
        model.gradient_checkpointing_enable()
        assert kept(model, ids) < 6 * x
        with no_grad():
            assert kept(model, ids) < 1.5 * x  # what the logits can be computed from


def test_a_block_alone_and_a_copy_of_a_model():
    rng = np.random.default_rng(0)
    block = EncoderBlock(8, 2, 16, dropout=0.2, rng=rng).train()
    x, dy = np.random.default_rng(1).standard_normal((2, 3, 5, 8)).astype(np.float32)
    state = rng.bit_generator.state
    expected = block(x), block.backward(dy)
    rng.bit_generator.state = state
    recompute(block)
    other = copy.deepcopy(block)
    for each in (block, other):
        np.testing.assert_array_equal((each(x), each.backward(dy)), expected)
        assert recomputes(each)
    recompute(block, False)
    assert not recomputes(block) and recomputes(other)


def test_the_names_of_transformers():
    model = new_model("llama", "causal_lm")
    assert not model.is_gradient_checkpointing
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing and model.model.is_gradient_checkpointing
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing


def test_large_logits_are_there_when_they_are_read():
    model = new_model("gpt2", "causal_lm").eval()
    ids = np.random.default_rng(0).integers(1, 301, size=(9, 60))
    expected = model(ids, labels=ids)
    with large_logits(True):
        output = model(ids, labels=ids)
        assert output.loss.item() == expected.loss.item()
        assert output.keys() == expected.keys()
        np.testing.assert_array_equal(output[1], expected.logits)
        np.testing.assert_array_equal(output.logits, model(ids).logits)
        loss, logits = model(ids, labels=ids, return_dict=False)
        np.testing.assert_array_equal(logits, expected.logits)
        assert model(ids, labels=ids, return_logits=False).logits is None
        output = model(ids, labels=ids)
        output.loss.backward()
        with pytest.raises(RuntimeError, match="return_logits=True"):
            output.logits
        output = model(ids, labels=ids, return_logits=True)
        output.loss.backward()
        np.testing.assert_array_equal(output.logits, expected.logits)


def test_targets_that_are_shifted_already():
    model = new_model("gpt2", "causal_lm").eval()
    ids = np.random.default_rng(0).integers(1, 301, size=(2, 6))
    targets = np.concatenate([ids[:, 1:], np.full((2, 1), -100)], axis=1)
    assert (model(ids, shift_labels=targets).loss.item() == model(ids, labels=ids).loss.item())
    assert model(ids, shift_labels=targets, return_logits=False).logits is None
    with pytest.raises(ValueError, match="both given"):
        model(ids, labels=ids, shift_labels=targets)
    with pytest.raises(ValueError, match="shift_labels has shape"):
        model(ids, shift_labels=targets[:, 1:])


def test_rounded_weights_have_a_loss_too():
    model = new_model("gpt2", "causal_lm").eval()
    model.quantize("int8")
    ids = np.ones((2, 6), int)
    with large_logits(True), no_grad():
        assert model(ids, labels=ids).logits.shape == (2, 6, 301)
    assert model_class("gpt2", "causal_lm") is type(model)
