"""The sum of squares: the squared norm of a gradient."""

import numpy as np

from minillm.kernels import kernel
from minillm.kernels.together import SumsOfSquares


@kernel("x (...) -> total")
def sum_of_squares(x):
    """Σ x² over all elements, in double precision, because squares overflow float32 early

    x: any shape  ->  float
    """
    return float((x.astype(np.float64) ** 2).sum())


@kernel(SumsOfSquares())
def sums_of_squares(arrays):
    """-> list of `sum_of_squares` of each array; in float32, in one call of the C library"""
    return list(map(sum_of_squares, arrays))
