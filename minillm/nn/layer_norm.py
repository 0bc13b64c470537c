"""The layer-normalization layer."""

import numpy as np

from minillm.nn.module import Module, Parameter
from minillm.ops.layer_norm import layer_norm, layer_norm_backward


class LayerNorm(Module):
    """y = gain * x̂ + bias, with `gain` (d,), at first ones, and `bias` (d,), at first zeros."""

    def __init__(self, d, eps=1e-5):
        self.gain = Parameter(np.ones(d, np.float32))
        self.bias = Parameter(np.zeros(d, np.float32))
        self.eps = eps

    def forward(self, x):
        """x: (..., d) -> y: (..., d)"""
        y, cache = layer_norm(x, self.gain.data, self.bias.data, self.eps)
        self.remember(cache)
        return y

    def backward(self, dy):
        """dy: (..., d) -> dx: (..., d)"""
        dx, dgain, dbias = layer_norm_backward(dy, self.recall())
        self.gain.add_grad(dgain)
        self.bias.add_grad(dbias)
        return dx
