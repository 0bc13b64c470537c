"""Layer normalization: every token's vector gets mean 0 and variance 1, then a learned scale."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float, require_shape


class LayerNormCache(NamedTuple):
    x_hat: np.ndarray  # (..., d): the normalized input
    inverse_std: np.ndarray  # (..., 1)
    gain: np.ndarray


def layer_norm(x, gain, bias, eps=1e-5):
    """y = gain * x̂ + bias,   x̂ = (x - mean) / sqrt(var + eps)          (Ba et al. 2016, eq. 4)

    Mean and variance are those of the last axis.
    x: (..., d), gain and bias: (d,)  ->  y: (..., d), cache for `layer_norm_backward`
    """
    require_float("x", x)
    require_shape("gain", gain, x.shape[-1:])
    require_shape("bias", bias, x.shape[-1:])
    x_hat = x - x.mean(axis=-1, keepdims=True)
    variance = _mean_of_product(x_hat, x_hat)
    inverse_std = 1 / np.sqrt(variance + x.dtype.type(eps))
    x_hat *= inverse_std
    y = x_hat * gain
    y += bias
    return y, LayerNormCache(x_hat, inverse_std, gain)


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
    x_hat, inverse_std, gain = cache
    rows = dy.reshape(-1, dy.shape[-1])
    dgain = np.einsum("ni,ni->i", rows, x_hat.reshape(rows.shape))
    dbias = rows.sum(axis=0)
    dx = dy * gain  # dx̂ so far
    projection = _mean_of_product(dx, x_hat)
    dx -= dx.mean(axis=-1, keepdims=True)
    dx -= x_hat * projection
    dx *= inverse_std
    return dx, dgain, dbias


def _mean_of_product(a, b):
    """mean(a * b) of the last axis, (..., 1), without an array for a * b."""
    return np.einsum("...i,...i->...", a, b)[..., None] / a.dtype.type(a.shape[-1])
