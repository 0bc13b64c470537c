"""Layer normalization: every token's vector gets mean 0 and variance 1, then a learned scale."""

from typing import NamedTuple

import numpy as np

from minillm import kernels


class LayerNormCache(NamedTuple):
    x: np.ndarray  # (..., d); x̂ is quickly computed again from it
    mean: np.ndarray  # (...)
    inverse_std: np.ndarray  # (...)
    gain: np.ndarray


def layer_norm(x, gain, bias, eps=1e-5):
    """y = gain * x̂ + bias,   x̂ = (x - mean) / sqrt(var + eps)          (Ba et al. 2016, eq. 4)

    Mean and variance are those of the last axis.
    x: (..., d), gain and bias: (d,)  ->  y: (..., d), cache for `layer_norm_backward`
    The cache refers to x, which must not be changed before the backward.
    """
    y, mean, inverse_std = kernels.layer_norm(x, gain, bias, eps)
    return y, LayerNormCache(x, mean, inverse_std, gain)


# Through gain and bias, for each element, summed over the rows that share them:
#   dgain = Σ dy * x̂      dbias = Σ dy      dx̂ = dy * gain
#
# Through x̂_i = (x_i - m) / s of one row, with m = mean(x) and s = sqrt(mean((x - m)²) + eps):
#   ∂m/∂x_j = 1/d
#   ∂s/∂x_j = (1 / 2s) * 2 (x_j - m) / d = x̂_j / d      (the part through m is Σ(x - m) = 0)
#   ∂x̂_i/∂x_j = (δ_ij - 1/d) / s - (x_i - m) / s² * ∂s/∂x_j = (δ_ij - 1/d - x̂_i x̂_j / d) / s
# and dx_j = Σ_i dx̂_i ∂x̂_i/∂x_j, which is
#   dx = (dx̂ - mean(dx̂) - x̂ * mean(dx̂ * x̂)) / s
# The two means are there because m and s depend on every x of the row.
def layer_norm_backward(dy, cache):
    """-> dx: (..., d), dgain: (d,), dbias: (d,)"""
    return kernels.layer_norm_backward(dy, cache.x, cache.mean, cache.inverse_std, cache.gain)
