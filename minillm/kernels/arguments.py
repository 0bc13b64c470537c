"""Checks of the kernels' arguments: the same checks and errors for all implementations."""

import numpy as np


def rows_contiguous(array):
    """-> `array`, or a copy if its last axis isn't contiguous.

    The other axes may have any strides that are whole elements, so views of a fused buffer stay
    views.
    """
    if array.flags.c_contiguous and array.flags.aligned:
        return array  # a quick test for most arrays
    size, strides = array.itemsize, array.strides
    side_by_side = array.size == 0 or array.shape[-1] <= 1 or strides[-1] == size
    whole_elements = array.flags.aligned and not any([stride % size for stride in strides])
    return array if side_by_side and whole_elements else array.copy(order="C")


# NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED of NumPy's C API: one test instead of two.
C_CONTIGUOUS_AND_ALIGNED = 0x0001 | 0x0100


def is_plain(array, dtype):
    """-> whether `array` is contiguous, aligned and has this dtype object: a quick test"""
    return (type(array) is np.ndarray and array.dtype is dtype and
            array.flags.num & C_CONTIGUOUS_AND_ALIGNED == C_CONTIGUOUS_AND_ALIGNED)


def contiguous(array):
    """-> the array as a plain `np.ndarray`, or a copy if it has gaps or isn't aligned."""
    array = np.asarray(array)
    return array if array.flags.c_contiguous and array.flags.aligned else array.copy(order="C")


def require_array(name, array, dtype):
    """Raise TypeError unless `array` is a NumPy array of exactly this dtype."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} is a {type(array).__name__}, wanted a NumPy array")
    if array.dtype != dtype:
        raise TypeError(f"{name} has dtype {array.dtype}, wanted {np.dtype(dtype)}")


def require_output(name, array, shape, dtype):
    """Raise unless `array` has this shape and dtype, a contiguous last axis, and is writable."""
    require_array(name, array, dtype)
    if array.shape != tuple(shape):
        raise ValueError(f"{name} has shape {array.shape}, wanted {tuple(shape)}")
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only, wanted a writable array")
    if rows_contiguous(array) is not array:
        raise ValueError(f"{name} has strides {array.strides}, wanted a contiguous last axis")
    if array.size and not _are_elements_apart(array):
        raise ValueError(f"{name} has strides {array.strides}: its elements share memory")


def _are_elements_apart(array):
    """-> whether each stride is at least as long as the span of all shorter strides

    That holds for every view that slicing, transposing and reshaping make. Some arrays made by
    `as_strided` fail this test although their elements share no memory.
    """
    reach = array.itemsize
    for stride, size in sorted(zip(map(abs, array.strides), array.shape)):
        if size > 1:
            if stride < reach:
                return False
            reach += stride * (size - 1)
    return True


def require_apart(name, array, other_name, other):
    """Raise ValueError if the two arrays share memory (`other` may be None).

    Interleaved views, like the three thirds of a (B, T, 3, H, D) buffer, share none.
    """
    if other is None or are_apart((array,), (other,)):
        return
    # Comparing the bounds is quick and nearly always enough. The exact test solves a Diophantine
    # equation over the strides.
    if np.may_share_memory(array, other) and np.shares_memory(array, other):
        raise ValueError(f"{name} overlaps {other_name}, wanted separate memory")


def are_apart(outputs, inputs):
    """-> True if certainly no output shares memory with an input: a quick test

    Each array must have memory of its own, or be a view of an array that has. (The base of a view is
    that array, even for a view of a view.)
    """
    owners = set()
    for array in outputs:
        owner = array if array.base is None else array.base
        if type(owner) is not np.ndarray or owner.base is not None:
            return False
        owners.add(id(owner))
    for array in inputs:
        owner = array if array.base is None else array.base
        if type(owner) is not np.ndarray or owner.base is not None or id(owner) in owners:
            return False
    return True
