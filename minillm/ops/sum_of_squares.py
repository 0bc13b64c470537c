"""The sum of squares: the length of a gradient, squared."""

import numpy as np

from minillm.kernels import kernel


@kernel("x (...) -> total")
def sum_of_squares(x):
    """Σ x² over all elements, summed in double precision: the squares of float32 overflow early.

    x: any shape  ->  float
    """
    return float((x.astype(np.float64) ** 2).sum())
