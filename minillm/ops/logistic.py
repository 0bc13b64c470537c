"""The logistic function, the sigmoid as a nonlinearity of its own."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float
from minillm.ops.silu import sigmoid


class LogisticCache(NamedTuple):
    y: np.ndarray


def logistic(x):
    """y = σ(x) = 1 / (1 + exp(-x))

    x: any shape  ->  y: the same shape, cache for `logistic_backward`
    """
    require_float("x", x)
    y = sigmoid(x)
    return y, LogisticCache(y)


# y = 1 / (1 + e) with e = exp(-x) has dy/dx = e / (1 + e)² = y (1 - y).
def logistic_backward(dy, cache):
    """-> dx: the shape of dy"""
    (y,) = cache
    return dy * (y * (1 - y))
