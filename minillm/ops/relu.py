"""ReLU: the nonlinearity of the original transformer."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float


class ReluCache(NamedTuple):
    positive: np.ndarray  # bool: where x > 0


def relu(x):
    """y = max(0, x)          (Vaswani et al. 2017, eq. 2)

    x: any shape  ->  y: the same shape, cache for `relu_backward`
    """
    require_float("x", x)
    return np.maximum(x, 0), ReluCache(x > 0)


# dy/dx is 1 where x > 0 and 0 where x < 0. At x = 0 it doesn't exist; by convention it is 0.
def relu_backward(dy, cache):
    """-> dx: the shape of dy"""
    return dy * cache.positive
