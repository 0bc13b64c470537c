"""The feed-forward network, at each position: two linear maps with a nonlinearity between them; or
three, of which one is a gate.
"""

from minillm.nn.layers import Activation, Dropout, GatedActivation, Linear
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
        self.expand = Linear(d_model, d_ff, bias, rng=rng, std=std)
        self.activation = GatedActivation(activation)
        self.dropout = Dropout(dropout, rng)
        output_std = std if output_std is None else output_std
        self.contract = Linear(d_ff, d_model, bias, rng=rng, std=output_std)

    def forward(self, x):
        """x: (..., d_model) -> y: (..., d_model)"""
        return self.contract(self.dropout(self.activation(self.gate(x), self.expand(x))))

    # Both the gate and `expand` read x, so dx is the sum of their gradients.
    def backward(self, dy):
        """dy: (..., d_model) -> dx: (..., d_model)"""
        dg, du = self.activation.backward(self.dropout.backward(self.contract.backward(dy)))
        dx = self.expand.backward(du)
        dx += self.gate.backward(dg)
        return dx
