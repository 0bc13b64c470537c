import gc
import weakref

import numpy as np
import pytest
from gradcheck import check_module
from hypothesis import given
from strategies import generators, sizes

from minillm.nn import DecoderBlock, Dropout, FeedForward, Linear, Module, Parameter, no_grad


class Tied(Module):
    """Two layers in a list, the second sharing the first one's weight."""

    def __init__(self, rng):
        self.layers = [Linear(3, 3, rng=rng), Linear(3, 3, rng=rng)]
        self.layers[1].weight = self.layers[0].weight
        self.scale = Parameter(np.ones(2, np.float32))


@pytest.fixture
def tied():
    return Tied(np.random.default_rng(0))


def test_names_follow_attributes_and_list_positions_and_come_once(tied):
    assert [name for name, _ in tied.named_parameters()] == [
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.bias",
        "scale",
    ]


def test_a_shared_parameter_counts_once(tied):
    assert len(tied.parameters()) == 4
    assert tied.parameters()[0] is tied.layers[1].weight


def test_a_shared_weight_collects_both_gradients(tied):
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((2, 4, 3)).astype(np.float32)
    first, second = tied.layers
    first(x), second(dy)
    first.backward(dy)
    alone = first.weight.grad.copy()
    second.backward(x)
    np.testing.assert_allclose(first.weight.grad, alone + dy.T @ x, rtol=1e-5)


@given(generators, sizes, sizes, sizes)
def test_two_backwards_without_zero_grad_add_up(rng, n, d_in, d_out):
    layer = Linear(d_in, d_out, rng=rng).astype(np.float64)
    x, dy = rng.standard_normal((n, d_in)), rng.standard_normal((n, d_out))
    layer(x)
    layer.backward(dy)
    once = [parameter.grad.copy() for parameter in layer.parameters()]
    layer(x)
    layer.backward(dy)
    for parameter, gradient in zip(layer.parameters(), once, strict=True):
        np.testing.assert_allclose(parameter.grad, 2 * gradient)
    layer.zero_grad()
    assert all(parameter.grad is None for parameter in layer.parameters())
    layer(x)
    layer.backward(dy)
    for parameter, gradient in zip(layer.parameters(), once, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)


def test_a_backward_needs_its_own_forward():
    layer = Linear(2, 2, rng=np.random.default_rng(0))
    dy = np.ones((1, 2), np.float32)
    with pytest.raises(RuntimeError, match=r"^Linear.backward\(\) needs a forward\(\)"):
        layer.backward(dy)
    layer(dy)
    layer.backward(dy)
    with pytest.raises(RuntimeError, match="needs a forward"):
        layer.backward(dy)


def test_a_backward_without_forward_leaves_gradients_alone():
    layer = Linear(2, 2, rng=np.random.default_rng(0))
    with pytest.raises(RuntimeError):
        layer.backward(np.ones((1, 2), np.float32))
    assert layer.weight.grad is None


def test_no_grad_keeps_nothing_and_ends():
    layer = Linear(2, 2, rng=np.random.default_rng(0))
    x = np.ones((1, 2), np.float32)
    with no_grad():
        y = layer(x)
    with pytest.raises(RuntimeError, match="needs a forward"):
        layer.backward(y)
    np.testing.assert_array_equal(layer(x), y)
    layer.backward(y)


def test_train_and_eval_reach_every_layer():
    rng = np.random.default_rng(0)
    module = FeedForward(4, 8, dropout=0.5, rng=rng)
    x = rng.standard_normal((3, 4), dtype=np.float32)
    assert module.eval() is module
    np.testing.assert_array_equal(module(x), module(x))
    assert module.train() is module
    assert (module(x) != module(x)).any()


def test_state_dict_goes_round(tied):
    other = Tied(np.random.default_rng(1))
    state = {name: array.copy() for name, array in tied.state_dict().items()}
    other.load_state_dict(state)
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(array, state[name])


def test_a_state_dict_that_does_not_fit_changes_nothing(tied):
    before = {name: array.copy() for name, array in tied.state_dict().items()}
    state = {name: array + 1 for name, array in before.items()}
    with pytest.raises(ValueError, match=r"missing \['scale'\], unexpected \['extra'\]"):
        renamed = {name.replace("scale", "extra"): array for name, array in state.items()}
        tied.load_state_dict(renamed)
    with pytest.raises(ValueError, match=r"scale has shape \(3,\), wanted \(2,\)"):
        tied.load_state_dict(state | {"scale": np.ones(3)})
    for name, array in tied.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_astype_converts_every_parameter(tied):
    assert {parameter.data.dtype for parameter in tied.astype(np.float64).parameters()} == {
        np.dtype(np.float64)
    }
    assert tied.layers[0].weight is tied.layers[1].weight


def test_layers_without_parameters_have_none():
    assert Dropout(0.1, np.random.default_rng(0)).parameters() == []


# ---- several forwards before their backwards


def gradients_one_by_one(layer, inputs, dys):
    """-> [dx for each input], [the sum of the gradients for each parameter], one call at a time"""
    layer.zero_grad()
    dxs = []
    for x, dy in zip(inputs, dys):
        layer(x)
        dxs.append(layer.backward(dy))
    return dxs, [parameter.grad.copy() for parameter in layer.parameters()]


@given(generators, sizes)
def test_several_forwards_then_their_backwards_in_reverse_order(rng, n):
    block = DecoderBlock(4, 2, 6, cross_attention=False, rng=rng, std=0.5).astype(np.float64)
    inputs, dys = rng.standard_normal((2, n, 2, 3, 4))
    dxs, gradients = gradients_one_by_one(block, inputs, dys)
    block.zero_grad()
    outputs = [block(x) for x in inputs]
    for x, dy, expected in reversed(list(zip(inputs, dys, dxs))):
        np.testing.assert_allclose(block.backward(dy), expected, atol=1e-10)
    for parameter, expected in zip(block.parameters(), gradients, strict=True):
        np.testing.assert_allclose(parameter.grad, expected, atol=1e-10)
    assert len(outputs) == n


class Siamese(Module):
    """y = f(a) * f(b), with one layer f that runs twice in a forward."""

    def __init__(self, rng):
        self.f = FeedForward(3, 5, rng=rng, std=0.7)

    def forward(self, a, b):
        fa, fb = self.f(a), self.f(b)
        self.remember((fa, fb))
        return fa * fb

    def backward(self, dy):
        fa, fb = self.recall()
        db = self.f.backward(dy * fa)
        return self.f.backward(dy * fb), db


@given(generators)
def test_a_layer_that_runs_twice_in_a_forward(rng):
    a, b = rng.standard_normal((2, 4, 3))
    check_module(Siamese(rng), {"a": a, "b": b}, rng)


def test_two_results_that_nobody_kept_still_have_their_backwards():
    layer = Linear(2, 2, rng=np.random.default_rng(0))
    a, b = np.random.default_rng(1).standard_normal((2, 1, 2)).astype(np.float32)
    dxs, gradients = gradients_one_by_one(layer, (a, b), (b, a))
    layer.zero_grad()
    layer(a)
    layer(b)
    np.testing.assert_array_equal(layer.backward(a), dxs[1])
    np.testing.assert_array_equal(layer.backward(b), dxs[0])
    np.testing.assert_allclose(layer.weight.grad, gradients[0], rtol=1e-6)


def test_no_grad_between_disturbs_no_pending_backward():
    block = DecoderBlock(4, 2, 8, cross_attention=False, rng=np.random.default_rng(0))
    x, other, dy = np.random.default_rng(1).standard_normal((3, 1, 3, 4)).astype(np.float32)
    block(x)
    expected = block.backward(dy)
    block(x)
    with no_grad():
        block(other)
    np.testing.assert_array_equal(block.backward(dy), expected)


class Watched:
    """An object in a cache; a weak reference shows whether it is alive."""


class Keeper(Module):
    """A layer whose cache holds its own result, which must not keep the cache alive."""

    def __init__(self):
        self.inner = Linear(2, 2, rng=np.random.default_rng(0))
        self.alive = []

    def forward(self, x):
        watched, y = Watched(), self.inner(x)
        self.alive.append(weakref.ref(watched))
        self.remember((watched, y))
        return y

    def backward(self, dy):
        self.recall()
        return self.inner.backward(dy)

    def count(self):
        gc.collect()
        return sum(reference() is not None for reference in self.alive)


def test_forwards_without_backwards_do_not_pile_up():
    keeper = Keeper()
    x = np.ones((1, 2), np.float32)
    for _ in range(20):
        y = keeper(x)
    assert keeper.count() <= 2
    views = [keeper(x)[:, :1] for _ in range(20)]  # results in use keep their backward
    assert keeper.count() >= 20
    for _ in views:
        keeper.backward(y)
    assert keeper.count() <= 2


def test_a_forgotten_forward_says_so():
    layer = Linear(2, 2, rng=np.random.default_rng(0))
    x = np.ones((1, 2), np.float32)
    for _ in range(5):
        layer(x)
    with pytest.raises(RuntimeError, match="all but the last two lose theirs"):
        for _ in range(5):
            layer.backward(x)


def test_a_part_of_a_model_can_run_backward_alone():
    block = DecoderBlock(4, 2, 8, cross_attention=False, rng=np.random.default_rng(0))
    x, dy = np.random.default_rng(1).standard_normal((2, 1, 3, 4)).astype(np.float32)
    block(x)
    expected = block.backward(dy)
    block(x)
    np.testing.assert_array_equal(
        block.residual1.backward(block.residual2.backward(dy)), expected
    )


def test_forward_is_not_called_directly():
    layer = Linear(2, 2, rng=np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="wanted a call of the Linear"):
        layer.forward(np.ones((1, 2), np.float32))


# ---- frozen parameters


@given(generators)
def test_frozen_parameters_get_no_gradient_and_the_others_the_same(rng):
    block = DecoderBlock(4, 2, 6, cross_attention=False, rng=rng, std=0.5).astype(np.float64)
    x, dy = rng.standard_normal((2, 2, 3, 4))
    block(x)
    dx = block.backward(dy)
    full = {name: parameter.grad.copy() for name, parameter in block.named_parameters()}
    block.zero_grad()
    block.attention.freeze()
    block.norm2.weight.trainable = False
    block(x)
    np.testing.assert_allclose(block.backward(dy), dx, atol=1e-12)
    for name, parameter in block.named_parameters():
        if name.startswith("attention.") or name == "norm2.weight":
            assert parameter.grad is None
        else:
            np.testing.assert_allclose(parameter.grad, full[name], atol=1e-12)
