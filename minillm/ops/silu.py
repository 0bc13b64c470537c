"""SiLU, also called swish: x times its sigmoid. LLaMA's nonlinearity."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float


class SiluCache(NamedTuple):
    x: np.ndarray
    s: np.ndarray  # σ(x)


def silu(x):
    """y = x σ(x),   σ(x) = 1 / (1 + exp(-x))      (Hendrycks and Gimpel 2016; Elfwing et al. 2018)

    x: any shape  ->  y: the same shape, cache for `silu_backward`
    """
    require_float("x", x)
    s = sigmoid(x)
    return x * s, SiluCache(x, s)


# With s = σ(x), s' = s (1 - s), so by the product rule
#   dy/dx = s + x s (1 - s)
def silu_backward(dy, cache):
    """-> dx: the shape of dy"""
    x, s = cache
    return dy * (s + x * s * (1 - s))


def sigmoid(x):
    """σ(x) = 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2; the second form cannot overflow"""
    return (1 + np.tanh(x / 2)) / 2
