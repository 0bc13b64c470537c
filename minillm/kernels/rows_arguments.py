"""The checks of the row-wise kernels' arguments: the same in all implementations.

The inputs come back contiguous (copied only if they weren't). Whatever is wrong raises TypeError
or ValueError: one line that names the argument.
"""

import numpy as np

from minillm.checks import require_float
from minillm.kernels.arguments import contiguous, require_apart, require_array


def elementwise_arguments(**arrays):
    """Arrays of one float dtype and one shape -> the same, contiguous."""
    first_name, first = next(iter(arrays.items()))
    require_float(first_name, first)
    for name, array in arrays.items():
        _require(name, array, first.shape, first.dtype)
    return [contiguous(array) for array in arrays.values()]


def layer_norm_arguments(x, gain, bias):
    d = _row_length("x", x)
    _require("gain", gain, (d,), x.dtype)
    _require("bias", bias, (d,), x.dtype)
    return contiguous(x), contiguous(gain), contiguous(bias)


def layer_norm_backward_arguments(dy, x, mean, inverse_std, gain):
    d = _row_length("x", x)
    _require("dy", dy, x.shape, x.dtype)
    _require("mean", mean, x.shape[:-1], x.dtype)
    _require("inverse_std", inverse_std, x.shape[:-1], x.dtype)
    _require("gain", gain, (d,), x.dtype)
    return [contiguous(array) for array in (dy, x, mean, inverse_std, gain)]


def cross_entropy_arguments(logits, targets, label_smoothing):
    """-> logits, targets; targets as int64"""
    V = _row_length("logits", logits)
    _require_integers("targets", targets)
    if targets.shape != logits.shape[:-1]:
        raise ValueError(f"targets has shape {targets.shape}, wanted {logits.shape[:-1]}")
    if targets.size and targets.max() >= V:
        raise ValueError(f"targets contains {targets.max()}, wanted ids up to {V - 1}")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing is {label_smoothing}, wanted 0 <= label_smoothing < 1")
    return contiguous(logits), contiguous(np.asarray(targets, np.int64))


def cross_entropy_backward_arguments(logits, targets, log_total, label_smoothing, out):
    """-> logits, targets, log_total, out; a new `out` if it is None"""
    contiguous_logits, targets = cross_entropy_arguments(logits, targets, label_smoothing)
    _require("log_total", log_total, targets.shape, logits.dtype)
    if out is None:
        out = np.empty_like(contiguous_logits)
    else:
        _require("out", out, logits.shape, logits.dtype)
        _require_writable("out", out)
        require_apart("out", out, "log_total", log_total)
        require_apart("out", out, "logits", None if out is logits else logits)
    return contiguous_logits, targets, contiguous(log_total), out


def adam_arguments(w, g, m, v):
    """w, m and v are written to, so they must be contiguous as they are -> g, contiguous."""
    if _are_apart_for_certain(w, g, m, v):
        return g  # the usual case, for every parameter in every step
    require_float("w", w)
    arrays = {"w": w, "g": g, "m": m, "v": v}
    for name, array in arrays.items():
        _require(name, array, w.shape, w.dtype)
    for name in ("w", "m", "v"):
        _require_writable(name, arrays[name])
        for other in arrays:
            if other != name:
                require_apart(name, arrays[name], other, arrays[other])
    return contiguous(g)


def add_to_rows_arguments(table, ids, x):
    """`table` is written to, so it must be contiguous as it is -> ids as int64 (N,), x: (N, d)"""
    require_float("table", table)
    if table.ndim != 2:
        raise ValueError(f"table has shape {table.shape}, wanted 2 axes: (n, d)")
    _require_writable("table", table)
    _require_integers("ids", ids)
    n, d = table.shape
    _require("x", x, (*ids.shape, d), table.dtype)
    if ids.size and not 0 <= ids.min() <= ids.max() < n:
        wrong = ids.min() if ids.min() < 0 else ids.max()
        raise ValueError(f"ids contains {wrong}, wanted ids from 0 to {n - 1}")
    require_apart("table", table, "x", x)
    require_apart("table", table, "ids", ids)
    return contiguous(np.asarray(ids, np.int64)).ravel(), contiguous(x).reshape(ids.size, d)


def _are_apart_for_certain(w, *others):
    """Float arrays of one shape, writable and contiguous, that own their memory and so share none?"""
    arrays = (w, *others)
    return (all(type(array) is np.ndarray and array.base is None and array.dtype is w.dtype and
                array.shape == w.shape and array.flags.carray for array in arrays) and
            w.dtype.char in "fd" and len({id(array) for array in arrays}) == len(arrays))


def _require_integers(name, array):
    if not isinstance(array, np.ndarray) or not np.issubdtype(array.dtype, np.integer):
        kind = getattr(array, "dtype", type(array).__name__)
        raise TypeError(f"{name} is {kind}, wanted a NumPy array of integers")


def _require(name, array, shape, dtype):
    require_array(name, array, dtype)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, wanted {shape}")


def _require_writable(name, array):
    if not (array.flags.carray or array.size == 0):
        raise ValueError(f"{name} is read-only or has gaps, wanted a writable contiguous array")


def _row_length(name, array):
    require_float(name, array)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"{name} has shape {array.shape}, wanted rows of at least one number")
    return array.shape[-1]
