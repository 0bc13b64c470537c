"""Checks of the kernels' arguments: the same checks and errors for all implementations."""

import functools

import numpy as np


def rows_contiguous(array):
    """-> `array`, or a copy if its last axis isn't contiguous.

    The other axes may have any strides that are whole elements, so views of a fused buffer stay
    views.
    """
    if array.flags.c_contiguous and array.flags.aligned:
        return array  # a quick test for most arrays
    if array.flags.aligned and _has_whole_rows(array.shape, array.strides, array.itemsize):
        return array
    return array.copy(order="C")


@functools.lru_cache(1000)  # training repeats the same layouts in every step
def _has_whole_rows(shape, strides, itemsize):
    side_by_side = 0 in shape or shape[-1] <= 1 or strides[-1] == itemsize
    return side_by_side and not any(stride % itemsize for stride in strides)


# NPY_ARRAY_C_CONTIGUOUS and other flags of NumPy's C API: one test instead of several.
C_CONTIGUOUS_AND_ALIGNED = 0x0001 | 0x0100
OWNED_AND_WRITEABLE = C_CONTIGUOUS_AND_ALIGNED | 0x0004 | 0x0400


def is_plain(array, dtype, flags=C_CONTIGUOUS_AND_ALIGNED):
    """-> whether `array` has this dtype object and these flags: a quick test"""
    return (type(array) is np.ndarray and array.dtype is dtype and
            array.flags.num & flags == flags)


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
    if array.size and not _are_elements_apart(array.shape, array.strides, array.itemsize):
        raise ValueError(f"{name} has strides {array.strides}: its elements share memory")


@functools.lru_cache(1000)
def _are_elements_apart(shape, strides, itemsize):
    """-> whether each stride is at least as long as the span of all shorter strides

    That holds for every view that slicing, transposing and reshaping make. Some arrays made by
    `as_strided` fail this test although their elements share no memory.
    """
    reach = itemsize
    for stride, size in sorted(zip(map(abs, strides), shape)):
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
