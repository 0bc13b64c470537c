"""A siamese encoder: one module runs twice, and both backwards add to its gradients."""

import numpy as np
import pytest
from gradcheck import check_gradients, check_module
from hypothesis import given, settings
from strategies import generators, sizes

from minillm.nn import L2Normalize, Linear, Module, Pooling, contrastive_loss, no_grad


class Encoder(Module):
    """A linear map, the mean over the tokens, length 1"""

    def __init__(self, rng):
        self.linear = Linear(3, 4, rng=rng, std=1.0)
        self.pooling, self.normalize = Pooling("mean"), L2Normalize()

    def forward(self, x, mask):
        return self.normalize(self.pooling(self.linear(x), mask))

    def backward(self, dy):
        return self.linear.backward(self.pooling.backward(self.normalize.backward(dy)))


def batch(rng, n, T):
    mask = np.arange(T) < rng.integers(1, T + 1, n)[:, None]
    return {"x": rng.standard_normal((n, T, 3)), "mask": mask}


@pytest.mark.parametrize("how", ["mean", "cls", "last"])
@given(rng=generators, B=sizes, T=sizes)
def test_the_layers_pass_a_gradient_check(how, rng, B, T):
    check_module(Pooling(how), {"x": rng.standard_normal((B, T, 3))}, rng)
    check_module(L2Normalize(), {"x": 1 + rng.random((B, 3))}, rng)


def test_a_pooling_that_does_not_exist():
    with pytest.raises(ValueError, match="pooling is 'max', wanted one of 'mean', 'cls', 'last'"):
        Pooling("max")


@settings(max_examples=20)
@given(rng=generators, n=sizes, T=sizes)
def test_gradients_through_both_runs(rng, n, T):
    encoder = Encoder(rng).astype(np.float64)
    queries, candidates = batch(rng, n, T), batch(rng, n + 1, T + 1)

    def loss():
        return contrastive_loss(encoder, queries, candidates, temperature=0.5, symmetric=True)

    encoder.zero_grad()
    loss().backward()
    parameters = dict(encoder.named_parameters())
    check_gradients(lambda: loss().item(),
                    {name: parameter.data for name, parameter in parameters.items()},
                    {name: parameter.grad.copy() for name, parameter in parameters.items()}, rng)


def test_two_losses_before_their_backwards():
    rng = np.random.default_rng(0)
    encoder = Encoder(rng).astype(np.float64)
    pairs = [(batch(rng, 3, 4), batch(rng, 3, 2)) for _ in range(2)]

    def gradient(losses):
        encoder.zero_grad()
        sum(losses).backward()
        return encoder.linear.weight.grad.copy()

    apart = [gradient([contrastive_loss(encoder, *pair)]) for pair in pairs]
    together = gradient([contrastive_loss(encoder, *pair) for pair in pairs])
    np.testing.assert_allclose(together, sum(apart), atol=1e-12)


def test_a_loss_inside_no_grad_has_no_backward():
    rng = np.random.default_rng(0)
    encoder = Encoder(rng).astype(np.float64)
    with no_grad():
        loss = contrastive_loss(encoder, batch(rng, 2, 3), batch(rng, 2, 3))
    with pytest.raises(RuntimeError, match=r"inside no_grad\(\)"):
        loss.backward()
