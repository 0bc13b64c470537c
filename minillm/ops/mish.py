"""Mish: x times the hyperbolic tangent of softplus(x), smooth like SiLU."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float
from minillm.ops.silu import sigmoid


class MishCache(NamedTuple):
    x: np.ndarray
    T: np.ndarray  # tanh(softplus(x))


def mish(x):
    """y = x tanh(softplus(x)),   softplus(x) = log(1 + exp(x))                     (Misra 2019)

    x: any shape  ->  y: the same shape, cache for `mish_backward`
    """
    require_float("x", x)
    T = np.tanh(np.logaddexp(x, 0)).astype(x.dtype)
    return x * T, MishCache(x, T)


# softplus' = σ(x) and tanh' = 1 - tanh², so by the product and the chain rule
#   dy/dx = T + x (1 - T²) σ(x)
def mish_backward(dy, cache):
    """-> dx: the shape of dy"""
    x, T = cache
    return dy * (T + x * (1 - T**2) * sigmoid(x))
