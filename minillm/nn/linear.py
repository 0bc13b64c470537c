"""The linear layer."""

import numpy as np

from minillm.nn.module import Module, Parameter
from minillm.ops.linear import linear, linear_backward


class Linear(Module):
    """y = x W + b, with `weight` W: (d_in, d_out) and `bias` b: (d_out,), or None without bias.

    W starts as N(0, std²) drawn from `rng`, b as zeros (GPT-2's initialization).
    """

    def __init__(self, d_in, d_out, bias=True, *, rng, std=0.02):
        self.weight = Parameter(normal(rng, (d_in, d_out), std))
        self.bias = Parameter(np.zeros(d_out, np.float32)) if bias else None

    def forward(self, x):
        """x: (..., d_in) -> y: (..., d_out)"""
        y, cache = linear(x, self.weight.data, None if self.bias is None else self.bias.data)
        self.remember(cache)
        return y

    def backward(self, dy):
        """dy: (..., d_out) -> dx: (..., d_in)"""
        cache = self.recall()
        dW, accumulate = self.weight.gradient_target()
        dx, _, db = linear_backward(dy, cache, dW=dW, accumulate=accumulate)
        if self.bias is not None:
            self.bias.add_grad(db)
        return dx


def normal(rng, shape, std):
    """-> float32 array of `shape`, drawn from N(0, std²) by the Generator `rng`; std 0: zeros"""
    if std == 0:
        return np.zeros(shape, np.float32)  # nothing is drawn, which takes long for large models
    values = rng.standard_normal(shape, dtype=np.float32)
    values *= std
    return values
