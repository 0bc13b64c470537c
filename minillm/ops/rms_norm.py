"""RMS normalization: layer norm without the mean. Scale every token's vector to the length √d."""

from typing import NamedTuple

import numpy as np

from minillm.kernels import kernel


class RMSNormCache(NamedTuple):
    x: np.ndarray  # (..., d)
    inverse_rms: np.ndarray  # (..., 1)
    weight: np.ndarray  # (d,)


@kernel("x (..., d), weight (d,), 0 <= eps -> y (..., d), inverse_rms (..., 1)", cache=RMSNormCache)
def rms_norm(x, weight, eps=1e-6):
    """y = weight * x̂,   x̂ = x / sqrt(mean(x²) + eps)          (Zhang and Sennrich 2019, eq. 4)

    x: (..., d), weight: (d,)  ->  y: (..., d), cache for `rms_norm_backward`
    """
    mean_square = (x**2).mean(axis=-1, keepdims=True)
    inverse_rms = 1 / np.sqrt(mean_square + eps)
    return weight * x * inverse_rms, RMSNormCache(x, inverse_rms, weight)


# As for layer norm, dweight = Σ dy * x̂ and dx̂ = dy * weight. With r = sqrt(mean(x²) + eps),
#   ∂r/∂x_j = (1 / 2r) * 2 x_j / d = x̂_j / d
#   ∂x̂_i/∂x_j = δ_ij / r - x_i / r² * ∂r/∂x_j = (δ_ij - x̂_i x̂_j / d) / r
#   dx = (dx̂ - x̂ * mean(dx̂ * x̂)) / r
@kernel("dy (..., d), x (..., d), inverse_rms (..., 1), weight (d,) -> dx (..., d), dweight (d,)")
def rms_norm_backward(dy, cache):
    """dy: (..., d)  ->  dx: (..., d), dweight: (d,)"""
    x, inverse_rms, weight = cache
    x_hat = x * inverse_rms
    dweight = (dy * x_hat).sum(axis=tuple(range(x.ndim - 1)))
    dx_hat = dy * weight
    dx = (dx_hat - x_hat * (dx_hat * x_hat).mean(axis=-1, keepdims=True)) * inverse_rms
    return dx, dweight
