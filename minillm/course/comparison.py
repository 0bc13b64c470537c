"""Compare an answer with the right one, and describe the first thing that differs."""

import numbers

import numpy as np


def same(got, want, tolerance):
    """-> whether two results agree"""
    return difference(got, want, tolerance) == ""


def difference(got, want, tolerance):
    """-> a sentence that says how `got` differs from `want`; "" if they agree

    Arrays and numbers agree within `tolerance`, relative and absolute; tuples, lists and dicts
    agree item by item; everything else must be equal.
    """
    if isinstance(want, dict):
        return _dict_difference(got, want, tolerance)
    if isinstance(want, (tuple, list)) and not _is_numeric(want):
        return _sequence_difference(got, want, tolerance)
    if isinstance(want, (np.ndarray, numbers.Number, np.generic)) or _is_numeric(want):
        if isinstance(want, (bool, np.bool_)) and not isinstance(got, (bool, np.bool_)):
            return f"The result is {short(got)}, wanted True or False."
        return _number_difference(got, want, tolerance)
    if isinstance(got, type(want)) or isinstance(want, type(got)):
        return "" if _equal(got, want) else f"The result is {short(got)}, which is not right."
    if got is None and want is None:
        return ""
    return f"The result is {_a(got)}, wanted {_a(want)}."


def _is_numeric(value):
    """-> whether it is a nonempty list or tuple of numbers only"""
    return (isinstance(value, (list, tuple)) and len(value) > 0
            and all(isinstance(item, (numbers.Number, np.generic)) for item in value))


def _dict_difference(got, want, tolerance):
    if not isinstance(got, dict):
        return f"The result is {_a(got)}, wanted a dict."
    if got.keys() != want.keys():
        missing, more = want.keys() - got.keys(), got.keys() - want.keys()
        return "The result " + " and ".join(
            part for part in (f"lacks the keys {sorted(map(str, missing))}" if missing else "",
                              f"has the keys {sorted(map(str, more))} too many" if more else "")
            if part) + "."
    for key in want:
        text = difference(got[key], want[key], tolerance)
        if text:
            return f"At {key!r}: {text}"
    return ""


def _sequence_difference(got, want, tolerance):
    if not isinstance(got, (tuple, list)):
        return f"The result is {_a(got)}, wanted {_a(want)} of {len(want)}."
    if len(got) != len(want):
        return f"The result has {len(got)} items, wanted {len(want)}."
    for index, (g, w) in enumerate(zip(got, want)):
        text = difference(g, w, tolerance)
        if text:
            return f"Item {index} of the result: {text}"
    return ""


def _number_difference(got, want, tolerance):
    try:
        a = np.asarray(got)
    except ValueError:  # rows of different lengths
        return "The result is a list with rows of different lengths, wanted an array."
    except Exception as error:  # a tensor of another library, such as one that needs its gradient
        return f"The result is {_a(got)}, wanted {_a(want)}: {text_of(error)}"
    b = np.asarray(want)
    if b.dtype.kind == "O" or (a.dtype.kind == "O" and _is_numeric([got])):  # integers beyond int64
        return "" if _equal(got, want) else "The result is not right."
    if a.dtype.kind not in "biufc":
        return f"The result is {_a(got)}, wanted {_a(want)}."
    if a.shape != b.shape:
        return _shape_difference(a, b, tolerance)
    if a.size == 0:
        return ""
    with np.errstate(all="ignore"):
        if np.isnan(a).any() and not np.isnan(b).any():
            where = tuple(map(int, np.argwhere(np.isnan(a))[0]))
            return f"The result has NaN{_at(where)}: 0 / 0, inf - inf or 0 * inf, somewhere."
        wrong = ~np.isclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
        if not wrong.any():
            return ""
        pattern = _pattern(a, b, tolerance)
    if pattern:
        return pattern
    where = tuple(map(int, np.argwhere(wrong)[0]))
    count = "" if a.size == 1 else f" {int(wrong.sum())} of {a.size} numbers differ."
    if a.size == 1:
        return f"The result is {a[where]:.6g}, which is not right."
    return f"The result{_at(where)} is {a[where]:.6g}, wanted {b[where]:.6g}.{count}"


def _shape_difference(a, b, tolerance):
    if a.ndim >= 2 and a.swapaxes(-1, -2).shape == b.shape:
        if np.allclose(a.swapaxes(-1, -2), b, rtol=tolerance, atol=tolerance):
            return (f"The result has shape {a.shape}, wanted {b.shape}: the numbers are right, but "
                    "transposed.")
    if a.size == b.size and np.allclose(a.ravel(), b.ravel(), rtol=tolerance, atol=tolerance):
        return f"The numbers are right, but the shape is {a.shape}, wanted {b.shape}."
    if a.ndim == 0:
        return f"The result is a single number, wanted an array of shape {b.shape}."
    return f"The result has shape {a.shape}, wanted {b.shape}."


def _pattern(a, b, tolerance):
    """-> the description of a simple relation between a wrong and the right array, or "\""""
    if a.size < 2 or a.dtype.kind == "b" or b.dtype.kind == "b":
        return ""
    close = {"rtol": max(tolerance, 1e-9), "atol": tolerance}
    if np.allclose(a, -b, **close):
        return "Every number has the wrong sign."
    if a.ndim >= 2 and a.shape[-1] == a.shape[-2] and np.allclose(a.swapaxes(-1, -2), b, **close):
        return "The result is transposed: rows and columns are swapped."
    nonzero = np.abs(b) > 1e-9
    if nonzero.sum() > 1 and np.allclose(a[~nonzero], 0, atol=1e-9):
        ratio = a[nonzero] / b[nonzero]
        if np.isfinite(ratio).all() and np.allclose(ratio, ratio.flat[0], rtol=1e-4):
            return f"Every number is {ratio.flat[0]:.4g} times the right one."
    offset = a - b
    if np.isfinite(offset).all() and np.allclose(offset, offset.flat[0], rtol=1e-4, atol=1e-9):
        return f"Every number is {_more_or_less(offset.flat[0])} than the right one."
    if a.ndim >= 1 and np.allclose(np.sort(a.ravel()), np.sort(b.ravel()), **close):
        return "The right numbers, in the wrong order."
    return ""


def _more_or_less(offset):
    return f"{abs(offset):.4g} {'more' if offset > 0 else 'less'}"


def _at(where):
    return f" at [{', '.join(map(str, where))}]" if where else ""


def _a(value):
    """-> "a list", "an array of shape (3, 4)\""""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if value is None:
        return "None"
    name = "function" if callable(value) else type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _equal(got, want):
    try:
        return bool(got == want)
    except Exception:  # the == of a class of the solution
        return False


def short(value):
    """-> repr(value), cut to one line"""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # the __repr__ of a class of the solution
        return _a(value)
    return text if len(text) < 60 else text[:57] + "..."


def text_of(error):
    """-> the message of an exception, in one line of at most 300 characters"""
    try:
        text = " ".join(str(error).split())
    except Exception:  # the __str__ of a class of the solution
        return ""
    return text if len(text) < 300 else text[:297] + "..."
