"""The nonlinearities as layers without parameters."""

from minillm.nn.module import Module
from minillm.ops.gelu import gelu, gelu_backward, gelu_tanh, gelu_tanh_backward
from minillm.ops.relu import relu, relu_backward


class Relu(Module):
    """y = max(0, x): Vaswani et al. 2017."""

    def forward(self, x):
        y, cache = relu(x)
        self.remember(cache)
        return y

    def backward(self, dy):
        return relu_backward(dy, self.recall())


class Gelu(Module):
    """y = x Φ(x): BERT."""

    def forward(self, x):
        y, cache = gelu(x)
        self.remember(cache)
        return y

    def backward(self, dy):
        return gelu_backward(dy, self.recall())


class GeluTanh(Module):
    """y = x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2: GPT-2."""

    def forward(self, x):
        y, cache = gelu_tanh(x)
        self.remember(cache)
        return y

    def backward(self, dy):
        return gelu_tanh_backward(dy, self.recall())


def make_activation(name):
    """-> a new layer for `name`: "relu", "gelu" or "gelu_tanh"; ValueError for another name"""
    layers = {"relu": Relu, "gelu": Gelu, "gelu_tanh": GeluTanh}
    if name not in layers:
        raise ValueError(f"activation is {name!r}, wanted one of {', '.join(map(repr, layers))}")
    return layers[name]()
