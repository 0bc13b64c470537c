"""Arrays as a program may pass them: strided, reversed, broadcast, read-only, overlapping, wrong.

`arguments` are {name: value}. `copied` gives the values that a kernel has to compute with; what
`spoiled` changes must lead to the same result as these, or to an error that names an argument.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

INTEGER_TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4"]


class Tagged(np.ndarray):
    """A subclass, as np.matrix and masked arrays are."""


def gaps(array, rng):
    """The same numbers, every second one of a larger array"""
    wide = np.full([2 * size for size in array.shape], 77, array.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in array.shape) + (...,)]
    view[...] = array
    return view


def backwards(array, rng):
    return np.flip(np.flip(array).copy())


def transposed(array, rng):
    return np.asfortranarray(array)


def odd_address(array, rng):
    copy = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def read_only(array, rng):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def subclass(array, rng):
    return array.copy().view(Tagged)


def repeated_rows(array, rng):
    """One row for all: a stride of 0"""
    if array.ndim == 0 or array.size == 0:
        return array
    return np.broadcast_to(array[:1].copy(), array.shape)


def overlapping_rows(array, rng):
    """Each row begins one number after the one before, so that they share memory"""
    if array.ndim < 2 or array.size == 0:
        return array
    flat = np.resize(array.ravel(), array.size + 2 * sum(array.shape)).copy()
    strides = [array.itemsize] * array.ndim
    return as_strided(flat, array.shape, strides)


def other_float(array, rng):
    return array.astype({4: np.float64, 8: np.float32}.get(array.itemsize, np.float32))


def half(array, rng):
    with np.errstate(over="ignore"):
        return array.astype(np.float16)


def swapped_bytes(array, rng):
    return array.astype(array.dtype.newbyteorder())


def one_more_axis(array, rng):
    return array[None]


def one_number_more(array, rng):
    return np.resize(array, (*array.shape[:-1], array.shape[-1] + 1)) if array.ndim else array


def one_row_less(array, rng):
    return array[1:] if array.ndim else array


def nothing_left(array, rng):
    return array[..., :0] if array.ndim else array


def a_list(array, rng):
    return array.tolist()


def none(array, rng):
    return None


def other_integers(array, rng):
    return array.astype(rng.choice(INTEGER_TYPES))


def too_large(array, rng):
    copy = array.astype(np.uint64)
    if copy.size:
        copy.flat[rng.integers(copy.size)] = rng.choice(np.array([200, 2**31, 2**63, 2**64 - 1], "u8"))
    return copy


def below_zero(array, rng):
    copy = array.astype(np.int64)
    if copy.size:
        copy.flat[rng.integers(copy.size)] = rng.choice([-1, -100, -(2**62)])
    return copy


HARMLESS = [gaps, backwards, transposed, odd_address, read_only, subclass, repeated_rows,
            overlapping_rows]
HARMFUL = [other_float, half, swapped_bytes, one_more_axis, one_number_more, one_row_less,
           nothing_left, a_list, none]
INTEGERS = [other_integers, too_large, below_zero]


def spoiled(array, rng):
    """`array` in another layout, or something that should have been such an array"""
    choices = HARMLESS + HARMFUL + (3 * INTEGERS if array.dtype.kind in "iu" else [])
    return choices[rng.integers(len(choices))](array, rng)


def inside(array, other, rng):
    """The numbers of `array` (its shape and dtype at least) in the memory of `other`"""
    raw = other.reshape(-1).view(np.uint8) if other.flags.c_contiguous else None
    if raw is None or not raw.flags.writeable or raw.size < array.nbytes:
        return array
    start = rng.integers((raw.size - array.nbytes) // array.itemsize + 1) * array.itemsize
    return raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)


def copied(values):
    """Copies of all arrays, also inside tuples, with nothing in common"""
    return [value.copy() if isinstance(value, np.ndarray) else value for value in values]
