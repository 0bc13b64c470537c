"""Pooling: from one vector for each token to one for the whole text.

Two ways: the mean over the tokens, or the vector at one of them (the first, BERT's [CLS]; or the
last, the only one that has seen the whole text in a decoder).  (Reimers and Gurevych 2019, sec. 3)
"""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float, require_shape


class MeanPoolingCache(NamedTuple):
    weights: np.ndarray  # (B, T): 1/n at each of the n tokens of a text, 0 at padding


def mean_pooling(x, mask=None):
    """y = Σ_t m_t x_t / Σ_t m_t

    x: (B, T, d), the vectors of the tokens;  mask: (B, T), 1 at tokens and 0 at padding; None: all
    ->  y: (B, d), cache for `mean_pooling_backward`. A text without tokens gives zeros.
    """
    mask = _checked_mask(x, mask).astype(x.dtype)
    weights = mask / np.maximum(mask.sum(axis=1, keepdims=True), 1)
    return (weights[:, :, None] * x).sum(axis=1), MeanPoolingCache(weights)


# With w_t = m_t / Σ_s m_s, y = Σ_t w_t x_t, so ∂y/∂x_t = w_t: every token of a text gets the same
# gradient, and padding none.
#   dx_t = w_t dy
def mean_pooling_backward(dy, cache):
    """dy: (B, d) -> dx: (B, T, d)"""
    (weights,) = cache
    return weights[:, :, None] * dy[:, None, :]


class TokenPoolingCache(NamedTuple):
    places: np.ndarray  # (B,)
    shape: tuple  # of x


def token_pooling(x, mask=None, *, last=False):
    """y = x_t, at the first token t of each text, or at the last one

    x, mask: as in `mean_pooling`; padding may stand on either side
    ->  y: (B, d), cache for `token_pooling_backward`
    """
    mask = _checked_mask(x, mask)
    T = mask.shape[1]
    # argmax finds the first 1; in the reversed mask, that of the last token.
    places = T - 1 - mask[:, ::-1].argmax(axis=1) if last else mask.argmax(axis=1)
    return x[np.arange(len(x)), places], TokenPoolingCache(places, x.shape)


# y is x at one place t: dx is dy there, and 0 everywhere else.
def token_pooling_backward(dy, cache):
    """dy: (B, d) -> dx: (B, T, d)"""
    places, shape = cache
    dx = np.zeros(shape, dy.dtype)
    dx[np.arange(len(dx)), places] = dy
    return dx


def _checked_mask(x, mask):
    """-> bool (B, T)"""
    require_float("x", x)
    require_shape("x", x, (None, None, None))
    if mask is None:
        return np.ones(x.shape[:2], bool)
    mask = np.asarray(mask)
    require_shape("mask", mask, x.shape[:2])
    if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
        raise ValueError("mask contains numbers other than 0 (padding) and 1 (token)")
    return mask.astype(bool)
