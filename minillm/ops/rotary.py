"""Rotary positions: rotate each query and key by an angle that grows with its position."""

from typing import NamedTuple

import numpy as np

from minillm.kernels import kernel
from minillm.kernels.rotary import Rotate


def rotary_frequencies(D, base=10000.0, dtype=np.float64, *, stretch=1):
    """θ_i = base^(-2i / D), the angle per position of each pair i     (Su et al. 2021, sec. 3.2.2)

    -> (D / 2,)

    D: the number of elements of a head to rotate, even. Like the hands of a clock, pair 0 turns by
    1 radian per position, and the last pair by nearly 1 / base.
    stretch: (D / 2,) of this dtype, divides the frequency of each pair
    dtype: float32 rounds each step as PyTorch does. At position 10,000 the angles are then wrong by
    up to 0.001, and a model that was trained with them gives the same logits only with them.
    """
    if D < 2 or D % 2:
        raise ValueError(f"D is {D}, wanted an even number of at least 2")
    exponent = (np.arange(0, D, 2) / D).astype(dtype).astype(np.float64)
    return 1 / (stretch * (base**exponent).astype(dtype))


def rotary_angles(n_positions, D, base=10000.0, dtype=np.float32):
    """The cosines and sines of the angles m θ_i

    ->  cos, sin: (n_positions, D / 2), a row for each position m, a column for each pair i
    """
    angle = np.arange(n_positions)[:, None] * rotary_frequencies(D, base)
    return np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)


class RotaryCache(NamedTuple):
    cos: np.ndarray
    sin: np.ndarray
    interleaved: bool


# R(θ) rotates a pair (a, b), a point of the plane, by the angle θ. Rotate the query at position m
# by m θ and the key at position n by n θ. Because R(m θ)ᵀ R(n θ) = R((n - m) θ), their product
# depends on the distance n - m alone:
#
#   (R(m θ) q) · (R(n θ) k) = qᵀ R((n - m) θ) k
def rotary(x, cos, sin, *, interleaved=False):
    """Rotate each pair of elements of x by its angle: y = R(θ) x

    x: (B, H, T, D), queries or keys;  cos, sin: the rows of `rotary_angles` for the T positions,
    (T, r / 2), or broadcastable to (B, H, T, r / 2) where sequences begin at different positions
    ->  y: (B, H, T, D), cache for `rotary_backward`

    The first r <= D elements of each head are rotated; the others are unchanged (partial rotary).
    interleaved: pair element 2i with 2i + 1, as in Su et al. 2021, instead of i with i + r / 2, as
    in LLaMA checkpoints in Hugging Face's format. The two differ by a permutation of the elements.

    Raises TypeError for a wrong dtype and ValueError for shapes that don't match.
    """
    return rotate(x, cos, sin, interleaved), RotaryCache(cos, sin, interleaved)


# y = R(θ) x is linear, so dx = R(θ)ᵀ dy. The transpose of a rotation rotates back: R(θ)ᵀ = R(-θ),
# with cos(-θ) = cos θ and sin(-θ) = -sin θ.
def rotary_backward(dy, cache, *, out=None):
    """dy: (B, H, T, D)  ->  dx: (B, H, T, D)

    out: the array to write dx to; dy itself, if you no longer need it
    """
    cos, sin, interleaved = cache
    return rotate(dy, cos, -sin, interleaved, out)


@kernel(Rotate())
def rotate(x, cos, sin, interleaved=False, out=None):
    """(a, b) -> (a cos θ - b sin θ, a sin θ + b cos θ) for each pair of elements of x"""
    a, b = _pairs(x, cos.shape[-1], interleaved)
    turned = a * cos - b * sin, a * sin + b * cos
    if out is not x:
        out[...] = x  # the elements that aren't rotated
    for half, part in zip(_pairs(out, cos.shape[-1], interleaved), turned):
        half[...] = part
    return out


def _pairs(x, n_pairs, interleaved):
    """-> views of the first and of the second element of each pair, (..., n_pairs)"""
    if interleaved:
        return x[..., 0 : 2 * n_pairs : 2], x[..., 1 : 2 * n_pairs : 2]
    return x[..., :n_pairs], x[..., n_pairs : 2 * n_pairs]
