"""The sum of squares: the squared norm of a gradient."""

import numpy as np

from minillm.kernels import kernel


@kernel("x (...) -> total")
def sum_of_squares(x):
    """Σ x² over all elements, in double precision, because squares overflow float32 early

    x: any shape  ->  float
    """
    return float((x.astype(np.float64) ** 2).sum())
