"""L2 normalization: vectors of length 1, whose inner products are cosines."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_axes, require_float

SMALLEST = 1e-12  # a shorter vector is divided by this, as in PyTorch


class L2NormalizeCache(NamedTuple):
    y: np.ndarray  # (..., d)
    norm: np.ndarray  # (..., 1): max(‖x‖, SMALLEST)
    is_short: np.ndarray  # (..., 1): where the norm is SMALLEST


def l2_normalize(x):
    """y = x / ‖x‖,  ‖x‖ = sqrt(Σ_i x_i²), over the last axis

    x: (..., d)  ->  y: (..., d), cache for `l2_normalize_backward`. Zeros stay zeros.
    """
    require_float("x", x)
    require_axes("x", x)
    norm = np.sqrt((x**2).sum(axis=-1, keepdims=True))
    is_short = norm < SMALLEST
    norm = np.maximum(norm, SMALLEST)
    y = x / norm
    return y, L2NormalizeCache(y, norm, is_short)


# ∂‖x‖/∂x_j = x_j / ‖x‖ = y_j, so by the quotient rule ∂y_i/∂x_j = (δ_ij - y_i y_j) / ‖x‖, and
#   dx = (dy - y (y · dy)) / ‖x‖
# That is dy without its part along y: moving x along itself doesn't change y. The longer x, the
# less y turns. Where ‖x‖ was replaced by a constant, the second term is absent.
def l2_normalize_backward(dy, cache):
    """-> dx: (..., d)"""
    y, norm, is_short = cache
    along = (y * dy).sum(axis=-1, keepdims=True)
    return (dy - y * np.where(is_short, 0, along)) / norm
