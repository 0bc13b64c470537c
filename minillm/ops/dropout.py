"""Dropout: in training, set each number to zero with probability p."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float, require_number


class DropoutCache(NamedTuple):
    keep: np.ndarray | None  # bool, True where x is kept; None if p = 0
    scale: float


def dropout(x, p, rng):
    """y = x * keep / (1 - p),   keep ~ Bernoulli(1 - p)          (Srivastava et al. 2014, sec. 4)

    The numbers that are kept are scaled up ("inverted dropout"), so E[y] = x and evaluation needs
    no scaling. With p = 0, y is x itself, not a copy.

    x: any shape, p: 0 <= p < 1, rng: a NumPy Generator, the only source of randomness
    ->  y: the shape of x, cache for `dropout_backward`
    """
    require_float("x", x)
    require_probability("p", p)
    if p == 0:
        return x, DropoutCache(None, 1.0)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is a {type(rng).__name__}, wanted a NumPy Generator")
    keep = rng.random(x.shape, dtype=np.float32) >= p
    cache = DropoutCache(keep, 1 / (1 - p))
    return _masked(x, cache), cache


# y = x * (keep * scale) multiplies x by a diagonal matrix, which is its own transpose, so
#   dx = dy * (keep * scale)
def dropout_backward(dy, cache):
    """-> dx: the shape of dy (dy itself if p was 0)"""
    return dy if cache.keep is None else _masked(dy, cache)


def _masked(x, cache):
    y = x * cache.keep
    y *= cache.scale
    return y


def require_probability(name, p):
    """Raise TypeError unless `p` is a number, and ValueError unless 0 <= p < 1."""
    if not 0 <= require_number(name, p) < 1:
        raise ValueError(f"{name} is {p}, wanted a probability with 0 <= {name} < 1")
