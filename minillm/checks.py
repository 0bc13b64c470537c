"""Checks of arguments. An error is one line: the argument, what it is, and what was wanted."""

import os
import reprlib

import numpy as np


def require_shape(name, array, shape):
    """Raise ValueError unless `array.shape` matches `shape`; None in `shape` matches any size."""
    if array.shape == shape:
        return  # the usual case, which every layer runs in every step
    wanted = tuple("any" if size is None else size for size in shape)
    matches = array.ndim == len(shape) and all(
        size is None or size == actual for size, actual in zip(shape, array.shape)
    )
    if not matches:
        raise ValueError(f"{name} has shape {array.shape}, wanted {wanted}")


_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def require_float(name, array):
    """Raise TypeError unless `array` is a NumPy array of float32 or float64."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} is a {type(array).__name__}, wanted a NumPy array")
    if array.dtype not in _FLOATS:
        raise TypeError(f"{name} has dtype {array.dtype}, wanted float32 or float64")


def require_axes(name, array, n=1):
    """Raise ValueError unless the NumPy array has at least `n` axes."""
    if array.ndim < n:
        axes = "1 axis" if n == 1 else f"{n} axes"
        raise ValueError(f"{name} has shape {array.shape}, wanted at least {axes}")


def require_number(name, value):
    """-> `value` as a float. Raises TypeError for anything but an integer or a float, ValueError
    for an integer beyond the range of float64."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} is a {type(value).__name__}, wanted a number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is an integer beyond 1.8e308, wanted a smaller number") from None


def require_flag(name, value):
    """-> `value` as a bool. Raises TypeError for anything but True and False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is a {type(value).__name__}, wanted True or False")
    return bool(value)


def require_ids(name, ids, size, ignored=None):
    """-> `ids` as an array of integers of any dtype, all of them from 0 to size - 1

    ignored: another id that is allowed; the result is then int64
    Raises TypeError for anything but integers and ValueError for an id out of range.
    """
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {ids.dtype}, wanted integers")
    used = ids if ignored is None else ids[ids != ignored]
    if used.size and (used.min() < 0 or used.max() >= size):
        wrong = int(used[(used < 0) | (used >= size)].flat[0])
        raise ValueError(f"{name} contains {wrong}, wanted ids from 0 to {size - 1}")
    return ids if ignored is None else ids.astype(np.int64)


def require_memory(what, n_bytes):
    """Raise MemoryError if `what` takes more memory than this machine has.

    Without this check the system grants the memory and provides it page by page. When none is left,
    it kills this program, or another one, without a message.
    """
    try:
        available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return  # this system doesn't report its memory
    if n_bytes > available > 0:
        raise MemoryError(f"{what} takes {n_bytes / 1e9:,.0f} GB of memory, but this machine has "
                          f"{available / 1e9:,.0f} GB")


class _Abbreviation(reprlib.Repr):
    """A repr() that visits only a few items of a container, however large it is."""

    def __init__(self):
        super().__init__()
        self.maxlevel, self.maxlist, self.maxdict, self.maxtuple = 2, 4, 3, 6
        self.maxstring = self.maxother = self.maxlong = 60


_abbreviation = _Abbreviation()


def shown(value, limit=72):
    """-> str: `value` for an error message, at most `limit` characters, on one line

    Values and names from a foreign file can be megabytes long, and can hold control characters that
    a terminal obeys. Control characters become escapes (\\x1b).
    """
    text = _abbreviation.repr(value)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
