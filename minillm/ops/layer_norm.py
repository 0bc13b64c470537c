"""Layer normalization: shift and scale every token's vector to mean 0 and variance 1."""

from typing import NamedTuple

import numpy as np

from minillm.kernels import kernel


class LayerNormCache(NamedTuple):
    x: np.ndarray  # (..., d); the backward recomputes x̂ from it
    mean: np.ndarray  # (..., 1)
    inverse_std: np.ndarray  # (..., 1)
    weight: np.ndarray  # (d,)


@kernel("x (..., d), weight (d,), bias (d,), 0 <= eps -> "
        "y (..., d), mean (..., 1), inverse_std (..., 1)", cache=LayerNormCache)
def layer_norm(x, weight, bias, eps=1e-5):
    """y = weight * x̂ + bias,   x̂ = (x - mean) / sqrt(var + eps)          (Ba et al. 2016, eq. 4)

    x: (..., d), weight and bias: (d,)  ->  y: (..., d), cache for `layer_norm_backward`

    Mean and variance run over the last axis. The cache holds x itself, so x must not change before
    the backward.
    """
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    inverse_std = 1 / np.sqrt(variance + eps)
    y = weight * (x - mean) * inverse_std + bias
    return y, LayerNormCache(x, mean, inverse_std, weight)


# Through weight and bias, with sums over the rows, which share them:
#   dweight = Σ dy * x̂      dbias = Σ dy      dx̂ = dy * weight
#
# Through x̂_i = (x_i - m) / s of one row, with m = mean(x) and s = sqrt(mean((x - m)²) + eps):
#   ∂m/∂x_j = 1/d
#   ∂s/∂x_j = (1 / 2s) * 2 (x_j - m) / d = x̂_j / d      (through m: 0, as Σ_i (x_i - m) = 0)
#   ∂x̂_i/∂x_j = (δ_ij - 1/d) / s - (x_i - m) / s² * ∂s/∂x_j = (δ_ij - 1/d - x̂_i x̂_j / d) / s
# so dx_j = Σ_i dx̂_i ∂x̂_i/∂x_j is
#   dx = (dx̂ - mean(dx̂) - x̂ * mean(dx̂ * x̂)) / s
# The two means appear because m and s depend on every x of the row.
@kernel("dy (..., d), x (..., d), mean (..., 1), inverse_std (..., 1), weight (d,) -> "
        "dx (..., d), dweight (d,), dbias (d,)")
def layer_norm_backward(dy, cache):
    """dy: (..., d)  ->  dx: (..., d), dweight: (d,), dbias: (d,)"""
    x, mean, inverse_std, weight = cache
    rows = tuple(range(x.ndim - 1))  # all axes but the last
    x_hat = (x - mean) * inverse_std
    dweight = (dy * x_hat).sum(axis=rows)
    dbias = dy.sum(axis=rows)
    dx_hat = dy * weight
    along_x_hat = (dx_hat * x_hat).mean(axis=-1, keepdims=True)
    dx = (dx_hat - dx_hat.mean(axis=-1, keepdims=True) - x_hat * along_x_hat) * inverse_std
    return dx, dweight, dbias
