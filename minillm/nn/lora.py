"""LoRA: a frozen linear map learns a correction of low rank.

Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang and Chen 2021, "LoRA: Low-Rank Adaptation of Large
Language Models", section 4.1:

    y = x W + b + s · dropout(x) A B           W: (d_in, d_out), A: (d_in, r), B: (r, d_out)

W and b are frozen. A and B have r (d_in + d_out) numbers instead of d_in · d_out, so they have few
gradients and few moments in the optimizer. B starts at zero: at first the model is the old one. And
W + s A B is a matrix like W, so after training nothing is left to compute.
"""

import numpy as np

from minillm.nn.layers import Dropout, Linear, linear_layer_backward
from minillm.nn.module import Module, Parameter
from minillm.ops.linear import linear
from minillm.ops.quantized import QuantizedWeights


class LoRA(Module):
    """Δy = s · dropout(x) A B, with `A`: (d_in, r) and `B`: (r, d_out)

    rank:    r, from 1 on
    alpha:   s = α / r: with it, another r needs no other learning rate (section 4.1)
    rslora:  s = α / √r instead, which keeps Δy's size for a large r (Kalajdzievski 2023, eq. 4)
    dropout: the probability of dropping a number of x in training
    rng:     the Generator of A's initial values and of dropout
    init:    "uniform": A from U(-1/√d_in, 1/√d_in), Kaiming's for √5, as in the paper's program;
             "gaussian": A from N(0, 1/r²). B is zero in either case.
    """

    def __init__(self, d_in, d_out, rank, *, alpha, dropout=0.0, rslora=False, rng,
                 init="uniform", dtype=np.float32):
        if rank < 1:
            raise ValueError(f"rank is {rank}, wanted at least 1")
        if init not in ("uniform", "gaussian"):
            raise ValueError(f"init is {init!r}, wanted 'uniform' or 'gaussian'")
        if init == "uniform":
            A = rng.uniform(-(d_in**-0.5), d_in**-0.5, (d_in, rank))
        else:
            A = rng.normal(0, 1 / rank, (d_in, rank))
        self.A = Parameter(A.astype(dtype))
        self.B = Parameter(np.zeros((rank, d_out), dtype))
        self.dropout = Dropout(dropout, rng)
        self.rank, self.alpha, self.rslora = rank, alpha, rslora

    @property
    def scale(self):
        """s"""
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)

    def delta(self):
        """-> s A B: (d_in, d_out), what training has added to W"""
        return self.scale * (self.A.data @ self.B.data)

    def forward(self, x):
        """x: (..., d_in) -> Δy: (..., d_out)"""
        h, cache_A = linear(self.dropout(x), self.A.data)
        h *= self.scale  # r numbers a row: the cheapest place for s
        update, cache_B = linear(h, self.B.data)
        self.remember((cache_A, cache_B))
        return update

    # With u = dropout(x), h = s u A and Δy = h B, all of shape (N, ·), and dy = ∂L/∂Δy:
    #   dB = hᵀ dy = s Aᵀ uᵀ dy         dh = dy Bᵀ
    #   dA = s uᵀ dh = s uᵀ dy Bᵀ       du = s dh Aᵀ
    # Never is there a matrix of W's size. While B = 0, dA = 0: the first step moves B only.
    def backward(self, dy):
        """dy: (..., d_out) -> dx: (..., d_in)"""
        cache_A, cache_B = self.recall()
        dh = _product_backward(dy, cache_B, self.B)
        dh *= self.scale
        return self.dropout.backward(_product_backward(dh, cache_A, self.A))


def _product_backward(dy, cache, matrix):
    """The backward of y = x M for the Parameter M -> dx"""
    return linear_layer_backward(dy, cache, matrix, None)


class LoRALinear(Linear):
    """A Linear with updates: y = x W + b + [Δy_0 | Δy_1 | …]

    linear: the Linear to extend. Its `weight` and `bias` are this layer's, and frozen.
    updates: list of (start, stop, LoRA): what the LoRA computes is added to the columns start …
        stop - 1 of y. Several ones serve a layer such as `qkv`, of which some parts may have none.

    The LoRAs are the list `lora`; a trace sees each one's Δy as "lora.0", "lora.1", …
    """

    def __init__(self, linear, updates):
        self.weight, self.bias = linear.weight, linear.bias
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                parameter.trainable = False
                parameter.zero_grad()
        self.columns = [slice(start, stop) for start, stop, _ in updates]
        self.lora = [update for _, _, update in updates]
        self._unmerged = None  # W itself while `weight` holds the sum

    def forward(self, x):
        """x: (..., d_in) -> y: (..., d_out)"""
        y = super().forward(x)
        if not self.is_merged:
            for update, columns in zip(self.lora, self.columns):
                y[..., columns] += update(x)
        return y

    def backward(self, dy):
        """dy: (..., d_out) -> dx: (..., d_in)"""
        if self.is_merged:
            raise ValueError("the LoRA updates are merged into the weights, wanted them apart to "
                             "train: call unmerge first")
        dx = linear_layer_backward(dy, self.recall(), self.weight, self.bias)
        for update, columns in zip(self.lora, self.columns):
            dx += update.backward(dy[..., columns])
        return dx

    # ---- merging: x W + s x A B = x (W + s A B)                              (section 4.1)

    @property
    def is_merged(self):
        return self._unmerged is not None

    def merged_weight(self):
        """-> W + [s A B of each part]: (d_in, d_out), an array that you mustn't change"""
        if self.is_merged:
            return self.weight.data
        W = self._plain_weight("merge").copy()
        for update, columns in zip(self.lora, self.columns):
            W[:, columns] += update.delta()
        return W

    def merge(self):
        """Add the updates to the weight, for inference. W is kept: `unmerge` restores it exactly.

        Raises ValueError for quantized weights, which aren't exact enough to add to.
        """
        if not self.is_merged:
            W = self.weight.data
            self.weight.data, self._unmerged = self.merged_weight(), W

    def unmerge(self):
        """Undo `merge`. Raises ValueError if the merged weights have been quantized since."""
        if self.is_merged:
            dtype = self._plain_weight("unmerge").dtype
            self.weight.data, self._unmerged = self._unmerged.astype(dtype, copy=False), None

    def without_lora(self):
        """-> a Linear with the merged weights"""
        plain = Linear(*self.weight.shape, bias=False, rng=None, std=0)
        plain.weight, plain.bias = self.weight, self.bias
        plain.weight.data = self.merged_weight()
        return plain

    def _plain_weight(self, purpose):
        W = self.weight.data
        if isinstance(W, QuantizedWeights):
            raise ValueError(f"the weights are stored as {W.dtype} for inference, wanted plain ones "
                             f"to {purpose}")
        return W
