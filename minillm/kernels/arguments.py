"""The checks of the kernels' arguments: the same, and the same errors, in all implementations."""

import math

import numpy as np

from minillm.checks import require_float


def attention_arguments(Q, K, V, key_mask, scale, out):
    """Check the arguments of `attention` and fill in the defaults -> Q, K, V, scale, out.

    The inputs come back with a contiguous last axis (copied only if it wasn't), `out` as given
    or newly made. Raises TypeError and ValueError: one line that names the argument.
    """
    B, H, Tq, D = _require_same_dtype_4d(Q, K, V)
    scale = _scale(scale, D)
    _require_key_mask(key_mask, B, K.shape[2])
    if out is None:
        out = empty_heads(B, H, Tq, D, Q.dtype)
    else:
        require_output("out", out, (B, H, Tq, D), Q.dtype)
        for name, array in (("Q", Q), ("K", K), ("V", V), ("key_mask", key_mask)):
            require_apart("out", out, name, array)
    return rows_contiguous(Q), rows_contiguous(K), rows_contiguous(V), scale, out


def attention_backward_arguments(dout, Q, K, V, out, lse, key_mask, scale, grads):
    """The same for `attention_backward` -> dout, Q, K, V, out, lse, scale, (dQ, dK, dV)."""
    B, H, Tq, D = _require_same_dtype_4d(Q, K, V)
    Tk = K.shape[2]
    for name, array, shape in (
        ("dout", dout, (B, H, Tq, D)), ("out", out, (B, H, Tq, D)), ("lse", lse, (B, H, Tq))
    ):
        require_array(name, array, Q.dtype)
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}, wanted {shape}")
    scale = _scale(scale, D)
    _require_key_mask(key_mask, B, Tk)
    if grads is None:
        grads = tuple(empty_heads(B, H, T, D, Q.dtype) for T in (Tq, Tk, Tk))
    else:
        inputs = {"dout": dout, "Q": Q, "K": K, "V": V, "out": out, "lse": lse,
                  "key_mask": key_mask}
        _require_grads(grads, ((B, H, Tq, D), (B, H, Tk, D), (B, H, Tk, D)), Q.dtype, inputs)
        grads = tuple(grads)
    dout, Q, K, V, out = (rows_contiguous(array) for array in (dout, Q, K, V, out))
    return dout, Q, K, V, out, contiguous(lse), scale, grads


def empty_heads(B, H, T, D, dtype):
    """A new (B, H, T, D) array whose memory lies as (B, T, H, D).

    Merging the heads, (B, H, T, D) -> (B, T, H * D), is then a reshape that copies nothing.
    """
    return np.empty((B, T, H, D), dtype).transpose(0, 2, 1, 3)


def rows_contiguous(array):
    """`array`, or a copy of it if the elements of its last axis don't lie side by side.

    The strides of all other axes are free (views into a fused buffer stay views), as long as
    they are whole elements.
    """
    size = array.itemsize
    side_by_side = array.size == 0 or array.shape[-1] <= 1 or array.strides[-1] == size
    whole_elements = array.flags.aligned and all(stride % size == 0 for stride in array.strides)
    return array if side_by_side and whole_elements else array.copy(order="C")


# NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED of NumPy's C API: one question instead of two.
_C_CONTIGUOUS_AND_ALIGNED = 0x0001 | 0x0100


def is_plain(array, dtype):
    """Is it a contiguous, aligned array of this very dtype object? A quick test for the usual case."""
    return (type(array) is np.ndarray and array.dtype is dtype and
            array.flags.num & _C_CONTIGUOUS_AND_ALIGNED == _C_CONTIGUOUS_AND_ALIGNED)


def contiguous(array):
    """The array as a plain `np.ndarray`; copied if it has gaps or isn't aligned."""
    array = np.asarray(array)
    return array if array.flags.c_contiguous and array.flags.aligned else array.copy(order="C")


def require_array(name, array, dtype):
    """Raise TypeError unless `array` is a NumPy array of exactly this dtype."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} is a {type(array).__name__}, wanted a NumPy array")
    if array.dtype != dtype:
        raise TypeError(f"{name} has dtype {array.dtype}, wanted {dtype}")


def require_output(name, array, shape, dtype):
    """Raise unless `array` can be written into: type, shape, writable, rows without gaps."""
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
    """Is each stride at least as long as everything that the shorter strides reach?

    True of every view that slicing, transposing and reshaping make. `as_strided` can also interleave
    elements so that they are apart and this says no.
    """
    reach = array.itemsize
    for stride, size in sorted(zip(map(abs, array.strides), array.shape)):
        if size > 1:
            if stride < reach:
                return False
            reach += stride * (size - 1)
    return True


def require_apart(name, array, other_name, other):
    """Raise ValueError if the two arrays have a byte in common (`other` may be None).

    Views that interleave, like the three thirds of a (B, T, 3, H, D) buffer, are apart.
    """
    if other is None or (array.base is None and other.base is None and array is not other):
        return  # two arrays that own their memory
    # The comparison of bounds is quick and nearly always enough; the exact one solves a
    # Diophantine equation over the strides.
    if np.may_share_memory(array, other) and np.shares_memory(array, other):
        raise ValueError(f"{name} overlaps {other_name}, wanted separate memory")


def _require_same_dtype_4d(Q, K, V):
    for name, array in (("Q", Q), ("K", K), ("V", V)):
        require_float(name, array)
        if array.dtype != Q.dtype:
            raise TypeError(f"{name} has dtype {array.dtype}, wanted {Q.dtype} as Q has")
        if array.ndim != 4:
            raise ValueError(f"{name} has shape {array.shape}, wanted 4 axes: (B, H, T, D)")
    B, H, _, D = Q.shape
    if D == 0:
        raise ValueError(f"Q has shape {Q.shape}, wanted at least one element in the last axis")
    if K.shape != (B, H, K.shape[2], D):
        raise ValueError(f"K has shape {K.shape}, wanted {(B, H, 'any', D)} to match Q")
    if V.shape != K.shape:
        raise ValueError(f"V has shape {V.shape}, wanted {K.shape} as K has")
    return Q.shape


def _require_key_mask(key_mask, B, Tk):
    if key_mask is None:
        return
    require_array("key_mask", key_mask, np.bool_)
    if key_mask.shape != (B, Tk):
        raise ValueError(f"key_mask has shape {key_mask.shape}, wanted {(B, Tk)}: (B, Tk)")


def _require_grads(grads, shapes, dtype, inputs):
    if not isinstance(grads, (tuple, list)):
        raise TypeError(f"grads is a {type(grads).__name__}, wanted a tuple (dQ, dK, dV)")
    if len(grads) != 3:
        raise ValueError(f"grads has {len(grads)} arrays, wanted three: dQ, dK, dV")
    names = ("grads[0]", "grads[1]", "grads[2]")
    for name, grad, shape in zip(names, grads, shapes):
        require_output(name, grad, shape, dtype)
        for input_name, array in inputs.items():
            require_apart(name, grad, input_name, array)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        require_apart(names[first], grads[first], names[second], grads[second])


def _scale(scale, D):
    """The default of Vaswani et al. 2017, sec. 3.2.1: scores of unit variance for unit Q and K."""
    if scale is None:
        return 1.0 / math.sqrt(D)
    if not isinstance(scale, (int, float, np.integer, np.floating)):
        raise TypeError(f"scale is a {type(scale).__name__}, wanted a number")
    if not math.isfinite(scale):
        raise ValueError(f"scale is {scale}, wanted a finite number")
    return float(scale)
