"""Softmax turns any numbers into probabilities; log-softmax gives their logarithms."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_axes, require_float


class SoftmaxCache(NamedTuple):
    p: np.ndarray


def softmax(x):
    """p_i = exp(x_i) / Σ_j exp(x_j), over the last axis

    x: (..., n)  ->  p: (..., n), cache for `softmax_backward`

    The largest x of the row is subtracted first. That divides numerator and denominator by the same
    number, and keeps exp from overflowing. x_i = -inf gives p_i = 0; a row of only -inf (a query
    that may attend to no key) gives zeros.
    """
    _require_rows(x)
    e = np.exp(x - _finite_max(x))
    total = e.sum(axis=-1, keepdims=True)
    p = e / np.where(total == 0, 1, total)
    return p, SoftmaxCache(p)


# ∂p_i/∂x_j = p_i (δ_ij - p_j), so dx_j = Σ_i dp_i p_i (δ_ij - p_j):
#   dx = p * (dp - Σ_i dp_i p_i)
# The sum is one number for the row. Adding a constant to all dp_i doesn't change dx, because the
# p_i always sum to 1.
def softmax_backward(dp, cache):
    """-> dx: (..., n)"""
    (p,) = cache
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))


class LogSoftmaxCache(NamedTuple):
    log_p: np.ndarray


def log_softmax(x):
    """log p_i = x_i - log Σ_j exp(x_j), over the last axis, without computing p

    x: (..., n), with a finite number in every row  ->  log_p: (..., n), cache for
    `log_softmax_backward`
    """
    _require_rows(x)
    log_p = x - logsumexp(x)
    return log_p, LogSoftmaxCache(log_p)


# ∂log p_i/∂x_j = δ_ij - p_j, so dx_j = dlog_p_j - p_j Σ_i dlog_p_i:
#   dx = dlog_p - p * Σ_i dlog_p_i
def log_softmax_backward(dlog_p, cache):
    """-> dx: (..., n)"""
    (log_p,) = cache
    return dlog_p - np.exp(log_p) * dlog_p.sum(axis=-1, keepdims=True)


def logsumexp(x):
    """log Σ_j exp(x_j) over the last axis: (..., n) -> (..., 1). A row of only -inf gives -inf.

    The largest x is subtracted first, as in `softmax`, and added back at the end.
    """
    largest = _finite_max(x)
    with np.errstate(divide="ignore"):  # log 0 = -inf
        return largest + np.log(np.exp(x - largest).sum(axis=-1, keepdims=True))


def _require_rows(x):
    require_float("x", x)
    require_axes("x", x)


def _finite_max(x):
    """The largest x of each row, (..., 1), or 0 where that is -inf (-inf - -inf is nan)."""
    largest = x.max(axis=-1, keepdims=True, initial=-np.inf)
    return np.where(largest == -np.inf, 0, largest)
