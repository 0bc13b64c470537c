"""Relatives of ReLU, from pieces of straight lines and parabolas."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float
from minillm.kernels import kernel


class PieceCache(NamedTuple):
    x: np.ndarray


# The backwards multiply dy by the derivative of the piece that x is in. Where two pieces meet with
# different slopes there is no derivative; by PyTorch's convention it is that of the piece below.


@kernel("x (...) -> y (...)", cache=PieceCache)
def relu2(x):
    """y = max(0, x)²                                     (So et al. 2021, "Primer", sec. 4.1)

    x: any shape  ->  y: the same shape, cache for `relu2_backward`; so in all functions here
    """
    return np.maximum(x, 0) ** 2, PieceCache(x)


@kernel("dy (...), x (...) -> dx (...)")
def relu2_backward(dy, cache):
    """dy/dx = 2 max(0, x)"""
    (x,) = cache
    return 2 * np.maximum(x, 0) * dy


def relu6(x):
    """y = min(max(0, x), 6)                                   (Howard et al. 2017, "MobileNets")"""
    require_float("x", x)
    return np.clip(x, 0, 6), PieceCache(x)


def relu6_backward(dy, cache):
    """dy/dx = 1 for 0 < x < 6, else 0"""
    return dy * ((cache.x > 0) & (cache.x < 6))


SLOPE = 0.01  # of leaky ReLU's left half


def leaky_relu(x):
    """y = x for x > 0, 0.01 x for x <= 0                               (Maas et al. 2013, sec. 2)"""
    require_float("x", x)
    return np.where(x > 0, x, x * x.dtype.type(SLOPE)), PieceCache(x)


def leaky_relu_backward(dy, cache):
    """dy/dx = 1 for x > 0, else 0.01"""
    return dy * np.where(cache.x > 0, 1, SLOPE).astype(dy.dtype)


def hardswish(x):
    """y = x min(max(0, x + 3), 6) / 6                  (Howard et al. 2019, "MobileNetV3", sec. 5.2)
    """
    require_float("x", x)
    return x * np.clip(x + 3, 0, 6) / 6, PieceCache(x)


def hardswish_backward(dy, cache):
    """dy/dx = (2 x + 3) / 6 for -3 < x < 3, 0 below, 1 above"""
    inside = (2 * cache.x + 3) / 6
    return dy * np.where(cache.x <= -3, 0, np.where(cache.x >= 3, 1, inside)).astype(dy.dtype)
