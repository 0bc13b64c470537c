"""SwiGLU: a gate. SiLU of one vector says how much of another passes. LLaMA's feed-forward network."""

from typing import NamedTuple

import numpy as np

from minillm.kernels import kernel
from minillm.ops.silu import sigmoid


class SwigluCache(NamedTuple):
    g: np.ndarray
    u: np.ndarray


@kernel("g (...), u (...) -> h (...)", cache=SwigluCache)
def swiglu(g, u):
    """h = SiLU(g) u = g σ(g) u,   σ(g) = 1 / (1 + exp(-g))             (Shazeer 2020, eq. 5)

    g, u: the same shape, any  ->  h: that shape, cache for `swiglu_backward`
    """
    return g * sigmoid(g) * u, SwigluCache(g, u)


# With s = σ(g), dSiLU/dg = s + g s (1 - s) (ops/silu.py), so by the product rule
#   dg = dh u (s + g s (1 - s))
#   du = dh g s
@kernel("dh (...), g (...), u (...) -> dg (...), du (...)")
def swiglu_backward(dh, cache):
    """dh: the shape of g  ->  dg, du: the same shape"""
    g, u = cache
    s = sigmoid(g)
    return dh * u * (s + g * s * (1 - s)), dh * g * s
