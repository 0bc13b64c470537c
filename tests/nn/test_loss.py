import numpy as np
import pytest
from hypothesis import given
from strategies import generators, sizes

from minillm.nn import Linear, Loss, cross_entropy_loss, no_grad
from minillm.nn.loss import next_targets


def make(rng, n):
    """-> a layer that scores 5 tokens, inputs and targets of n texts"""
    layer = Linear(3, 5, rng=rng, std=1.0).astype(np.float64)
    return layer, rng.standard_normal((n, 4, 3)), rng.integers(5, size=(n, 4))


def gradient(layer, loss):
    layer.zero_grad()
    loss.backward()
    return layer.weight.grad.copy()


@given(generators, sizes)
def test_losses_add_up_and_scale_in_value_and_gradient(rng, n):
    layer, x, targets = make(rng, n)

    def loss(i):
        return cross_entropy_loss(layer, layer(x[i]), targets[i])

    values = [loss(i).item() for i in range(n)]
    gradients = [gradient(layer, loss(i)) for i in range(n)]
    factors = rng.standard_normal(n)
    total = sum(factor * loss(i) for i, factor in enumerate(factors)) / 2 - loss(0)
    assert total.item() == pytest.approx(np.dot(factors, values) / 2 - values[0])
    expected = sum(f * g for f, g in zip(factors, gradients)) / 2 - gradients[0]
    np.testing.assert_allclose(gradient(layer, total), expected, atol=1e-12)


@given(generators)
def test_the_order_of_backwards_does_not_matter(rng):
    layer, x, targets = make(rng, 3)
    expected = sum(gradient(layer, cross_entropy_loss(layer, layer(x[i]), targets[i]))
                   for i in range(3))
    layer.zero_grad()
    losses = [cross_entropy_loss(layer, layer(x[i]), targets[i]) for i in range(3)]
    for i in rng.permutation(3):
        losses[i].backward()
    np.testing.assert_allclose(layer.weight.grad, expected, atol=1e-12)


def test_overwriting_the_logits_gives_the_same_gradient():
    layer, x, targets = make(np.random.default_rng(0), 1)
    expected = gradient(layer, cross_entropy_loss(layer, layer(x), targets))
    loss = cross_entropy_loss(layer, layer(x), targets, overwrite_logits=True)
    np.testing.assert_array_equal(gradient(layer, loss), expected)


def test_a_loss_runs_once_and_not_after_no_grad():
    layer, x, targets = make(np.random.default_rng(0), 1)
    loss = cross_entropy_loss(layer, layer(x), targets)
    loss.backward()
    with pytest.raises(RuntimeError, match="called already"):
        loss.backward()
    with no_grad():
        loss = cross_entropy_loss(layer, layer(x), targets)
    with pytest.raises(RuntimeError, match=r"inside no_grad\(\)"):
        loss.backward()


def test_a_number_that_looks_like_one():
    loss = Loss(np.float32(0.5), lambda dloss: None)
    assert (float(loss), f"{loss:.2f}", repr(loss)) == (0.5, "0.50", "Loss(0.5)")
    assert loss.item() == 0.5


def test_labels_move_one_step_to_the_left():
    np.testing.assert_array_equal(next_targets(np.array([[3, 1, 2]], np.uint8)), [[1, 2, -100]])
