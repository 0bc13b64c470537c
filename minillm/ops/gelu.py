"""GELU: x times the probability that a standard normal variable is smaller than x.

There are three forms, because checkpoints differ: BERT was trained with the exact form, GPT-2 with
the tanh approximation, CLIP with the quick, sigmoid approximation.
"""

import math
from typing import NamedTuple

import numpy as np

from minillm.checks import require_float
from minillm.kernels import kernel
from minillm.ops.erf import erf
from minillm.ops.silu import sigmoid


class GeluCache(NamedTuple):
    x: np.ndarray  # the backward recomputes Φ(x): that is cheaper than caching it


@kernel("x (...) -> y (...)", cache=GeluCache)
def gelu(x):
    """y = x Φ(x),   Φ(x) = (1 + erf(x / √2)) / 2          (Hendrycks and Gimpel 2016, sec. 2)

    x: any shape  ->  y: the same shape, cache for `gelu_backward`
    """
    return x * ((1 + erf(x / math.sqrt(2))) / 2), GeluCache(x)


# Φ' is the normal density φ(x) = exp(-x²/2) / √(2π), so by the product rule
#   dy/dx = Φ(x) + x φ(x)
@kernel("dy (...), x (...) -> dx (...)")
def gelu_backward(dy, cache):
    """-> dx: the shape of dy"""
    (x,) = cache
    cdf = (1 + erf(x / math.sqrt(2))) / 2
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return dy * (cdf + x * density)


class GeluTanhCache(NamedTuple):
    x: np.ndarray  # the backward recomputes tanh(u): that is cheaper than caching it


A, B = math.sqrt(2 / math.pi), 0.044715


@kernel("x (...) -> y (...)", cache=GeluTanhCache)
def gelu_tanh(x):
    """y = x (1 + tanh(u)) / 2,   u = √(2/π) (x + 0.044715 x³)      (Hendrycks and Gimpel, sec. 2)

    x: any shape  ->  y: the same shape, cache for `gelu_tanh_backward`
    """
    u = A * (x + B * x * x * x)
    return x * (1 + np.tanh(u)) / 2, GeluTanhCache(x)


# With T = tanh(u), T' = (1 - T²) u' and u' = √(2/π) (1 + 3 * 0.044715 x²), by the product rule
#   dy/dx = (1 + T) / 2 + x (1 - T²) u' / 2
@kernel("dy (...), x (...) -> dx (...)")
def gelu_tanh_backward(dy, cache):
    """-> dx: the shape of dy"""
    (x,) = cache
    T = np.tanh(A * (x + B * x * x * x))
    du = A * (1 + 3 * B * x**2)
    return dy * ((1 + T) / 2 + x * (1 - T**2) * du / 2)


class QuickGeluCache(NamedTuple):
    x: np.ndarray
    s: np.ndarray  # σ(1.702 x)


def quick_gelu(x):
    """y = x σ(1.702 x),   σ(x) = 1 / (1 + exp(-x))      (Hendrycks and Gimpel 2016, sec. 2)

    x: any shape  ->  y: the same shape, cache for `quick_gelu_backward`
    """
    require_float("x", x)
    s = sigmoid(1.702 * x)
    return x * s, QuickGeluCache(x, s)


# As for SiLU (ops/silu.py), with the inner derivative 1.702:
#   dy/dx = s + 1.702 x s (1 - s)
def quick_gelu_backward(dy, cache):
    """-> dx: the shape of dy"""
    x, s = cache
    return dy * (s + 1.702 * x * s * (1 - s))
