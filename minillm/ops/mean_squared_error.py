"""Mean squared error: the loss of predicting numbers instead of classes."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float, require_shape


class MeanSquaredErrorCache(NamedTuple):
    difference: np.ndarray  # y - t, the shape of both


def mean_squared_error(y, t):
    """L = mean((y - t)²)

    y: float array of any shape, the predictions;  t: the same shape, the targets
    ->  loss: float; cache for `mean_squared_error_backward`
    """
    require_float("y", y)
    require_float("t", t)
    require_shape("t", t, y.shape)
    difference = y - t
    loss = float(np.sum(np.square(difference), dtype=np.float64)) / max(difference.size, 1)
    return loss, MeanSquaredErrorCache(difference)


# With n numbers, dL/dy = 2 (y - t) / n.
def mean_squared_error_backward(dloss, cache):
    """dloss: float, the gradient with respect to the loss  ->  dy: the shape of y"""
    (difference,) = cache
    return difference * difference.dtype.type(2 * float(dloss) / max(difference.size, 1))
