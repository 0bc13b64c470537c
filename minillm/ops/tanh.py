"""tanh: the nonlinearity of networks before ReLU, and of BERT's pooler."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float


class TanhCache(NamedTuple):
    y: np.ndarray  # tanh(x)


def tanh(x):
    """y = tanh(x) = (exp(x) - exp(-x)) / (exp(x) + exp(-x))

    x: any shape  ->  y: the same shape, cache for `tanh_backward`
    """
    require_float("x", x)
    y = np.tanh(x)
    return y, TanhCache(y)


# By the quotient rule, with numerator a and denominator b, so that a' = b and b' = a:
#   dy/dx = (b² - a²) / b² = 1 - y²
def tanh_backward(dy, cache):
    """-> dx: the shape of dy"""
    (y,) = cache
    return dy * (1 - y**2)
