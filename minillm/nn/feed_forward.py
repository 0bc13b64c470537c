"""The feed-forward network, at each position: two linear maps with a nonlinearity between them; or
three, of which one is a gate.
"""

from minillm.nn.layers import Activation, Dropout, Linear
from minillm.nn.module import Module


class FeedForward(Module):
    """y = f(x W1 + b1) W2 + b2          (Vaswani et al. 2017, eq. 2)

    `expand` maps d_model to d_ff, `contract` maps back.

    activation: a name in `minillm.nn.layers.ACTIVATIONS`
    dropout:    acts on the d_ff numbers between the two maps; the dropout of the paper, on the
                result, is part of the block
    bias:       whether there are b1 and b2
    output_std: the initial std of `contract`, by default `std`
    """

    def __init__(self, d_model, d_ff, *, activation="gelu_tanh", dropout=0.0, bias=True, rng,
                 std=0.02, output_std=None):
        self.expand = Linear(d_model, d_ff, bias, rng=rng, std=std)
        self.activation = Activation(activation)
        self.dropout = Dropout(dropout, rng)
        output_std = std if output_std is None else output_std
        self.contract = Linear(d_ff, d_model, bias, rng=rng, std=output_std)

    def forward(self, x):
        """x: (..., d_model) -> y: (..., d_model)"""
        return self.contract(self.dropout(self.activation(self.expand(x))))

    def backward(self, dy):
        """dy: (..., d_model) -> dx: (..., d_model)"""
        dhidden = self.dropout.backward(self.contract.backward(dy))
        return self.expand.backward(self.activation.backward(dhidden))


class GatedFeedForward(Module):
    """y = (f(x W_g + b_g) * (x W1 + b1)) W2 + b2                       (Shazeer 2020, eq. 6)

    `gate` (W_g) and `expand` (W1) map d_model to d_ff, `contract` (W2) maps back. With f = SiLU
    this is SwiGLU, LLaMA's network. For the arguments see FeedForward.
    """

    def __init__(self, d_model, d_ff, *, activation="silu", dropout=0.0, bias=True, rng, std=0.02,
                 output_std=None):
        self.gate = Linear(d_model, d_ff, bias, rng=rng, std=std)
        self.activation = Activation(activation)
        self.expand = Linear(d_model, d_ff, bias, rng=rng, std=std)
        self.dropout = Dropout(dropout, rng)
        output_std = std if output_std is None else output_std
        self.contract = Linear(d_ff, d_model, bias, rng=rng, std=output_std)

    def forward(self, x):
        """x: (..., d_model) -> y: (..., d_model)"""
        g = self.activation(self.gate(x))
        u = self.expand(x)
        self.remember((g, u))
        return self.contract(self.dropout(g * u))

    # h = g * u, so dg = dh * u and du = dh * g. Both g and u read x: dx is the sum.
    def backward(self, dy):
        """dy: (..., d_model) -> dx: (..., d_model)"""
        dh = self.dropout.backward(self.contract.backward(dy))
        g, u = self.recall()
        dx = self.expand.backward(dh * g)
        dx += self.gate.backward(self.activation.backward(dh * u))
        return dx
