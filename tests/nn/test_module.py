import numpy as np
import pytest
from hypothesis import given
from strategies import generators, sizes

from minillm.nn import Dropout, FeedForward, Linear, Module, Parameter, no_grad


class Tied(Module):
    """Two layers in a list, the second sharing the first one's weight."""

    def __init__(self, rng):
        self.layers = [Linear(3, 3, rng=rng), Linear(3, 3, rng=rng)]
        self.layers[1].weight = self.layers[0].weight
        self.scale = Parameter(np.ones(2, np.float32))


@pytest.fixture
def tied():
    return Tied(np.random.default_rng(0))


def test_names_follow_attributes_and_list_positions(tied):
    assert [name for name, _ in tied.named_parameters()] == [
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
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
    layer(x)
    with no_grad():
        y = layer(x)
        assert layer.cache is None
    np.testing.assert_array_equal(layer(x), y)
    assert layer.cache is not None


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
