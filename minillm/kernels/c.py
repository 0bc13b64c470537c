"""The kernels in C: checks, then one call into csrc through cffi, which releases the GIL.

float64 arrays (gradient checks) go to the NumPy implementation: the C knows float32 only.
"""

import math

import numpy as np

from minillm.kernels import numpy_kernels
from minillm.kernels.c_library import (
    FLOAT32,
    FLOATS,
    check,
    ffi,
    lib,
    pointer,
)
from minillm.kernels.c_rows import (
    adam,
    add_to_rows,
    cross_entropy,
    cross_entropy_backward,
    gelu_tanh,
    gelu_tanh_backward,
    layer_norm,
    layer_norm_backward,
    sum_of_squares,
)
from minillm.kernels.matmul_arguments import matmul_arguments
from minillm.kernels.stored_weights import TYPES, stored_arguments, to_float32

from_buffer = ffi.from_buffer

__all__ = [
    "adam",
    "add_to_rows",
    "cross_entropy",
    "cross_entropy_backward",
    "gelu_tanh",
    "gelu_tanh_backward",
    "layer_norm",
    "layer_norm_backward",
    "matmul",
    "matmul_stored",
    "sum_of_squares",
]


def matmul(A, B, out=None, *, transpose_A=False, transpose_B=False, accumulate=False, bias=None):
    """C = op(A) @ op(B) (+ C, + bias): see `minillm.kernels.matmul`."""
    # Two small matrices are multiplied in less time than it takes to look at them carefully. So
    # the plain case, contiguous float32 matrices that own their memory, is recognized here by a few
    # quick questions. Everything else, also whatever is wrong, goes the careful way.
    if _is_plain(A) and _is_plain(B) and A.ndim == B.ndim == 2:
        rows_A, lda = A.shape
        rows_B, ldb = B.shape
        M, K = (lda, rows_A) if transpose_A else (rows_A, lda)
        N, K_of_B = (rows_B, ldb) if transpose_B else (ldb, rows_B)
        if out is None and not accumulate:
            C = np.empty((M, N), FLOAT32)
        else:
            C = out if bias is None and _is_plain_out(out, (M, N), A, B) else None
        if C is not None and K == K_of_B and (bias is None or _is_plain_bias(bias, N)):
            error = lib.minillm_matmul(
                1, M, N, K, from_buffer(FLOATS, A), lda, 0, transpose_A,
                from_buffer(FLOATS, B), ldb, 0, transpose_B, from_buffer(FLOATS, C), N, 0,
                accumulate, ffi.NULL if bias is None else from_buffer(FLOATS, bias),
            )
            if error:
                check(error)
            return C
    return _matmul_checked(A, B, out, transpose_A, transpose_B, accumulate, bias)


# NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED of NumPy's C API: one question instead of two.
_C_CONTIGUOUS_AND_ALIGNED = 0x0001 | 0x0100


def _is_plain(array):
    return (type(array) is np.ndarray and array.dtype is FLOAT32 and
            array.flags.num & _C_CONTIGUOUS_AND_ALIGNED == _C_CONTIGUOUS_AND_ALIGNED)


def _is_plain_bias(bias, N):
    return _is_plain(bias) and bias.shape == (N,)


def _is_plain_out(out, shape, A, B):
    return (type(out) is np.ndarray and out.dtype is FLOAT32 and out.shape == shape and
            out.flags.carray and  # contiguous, aligned and writeable
            # Arrays that own their memory share none of it, unless they are the same.
            out.base is None and A.base is None and B.base is None and
            out is not A and out is not B)


def _matmul_checked(A, B, out, transpose_A, transpose_B, accumulate, bias):
    A, B, out, bias = matmul_arguments(A, B, out, transpose_A, transpose_B, accumulate, bias)
    if A.dtype == FLOAT32:
        _matmul_batch(A, B, out, transpose_A, transpose_B, accumulate, bias)
        return out
    return numpy_kernels.matmul(
        A, B, out, transpose_A=transpose_A, transpose_B=transpose_B, accumulate=accumulate,
        bias=bias,
    )


def _matmul_batch(A, B, C, transpose_A, transpose_B, accumulate, bias):
    """One call of minillm_matmul if one step for the whole batch is enough, otherwise several."""
    M, N = C.shape[-2:]
    K = A.shape[-2] if transpose_A else A.shape[-1]
    lda, ldb, ldc = A.strides[-2] // 4, B.strides[-2] // 4, C.strides[-2] // 4
    batch = step_A = step_B = step_C = 0
    if C.ndim == 2:
        batch = 1
    elif C.size:
        step_A, step_B, step_C = _batch_step(A), _batch_step(B), _batch_step(C)
        if None in (step_A, step_B, step_C):
            # E.g. the heads of a fused Q K V buffer: a loop over the first axis.
            for b in range(C.shape[0]):
                _matmul_batch(A[b] if A.ndim > 2 else A, B[b] if B.ndim > 2 else B, C[b],
                              transpose_A, transpose_B, accumulate, bias)
            return
        batch = C.size // (M * N)
        if B.ndim == 2 and step_A == M * lda and step_C == M * ldc and not transpose_A:
            batch, M = 1, batch * M  # all share B: one tall matrix A, and B is packed only once
    check(lib.minillm_matmul(
        batch, M, N, K, pointer(A), lda, step_A, transpose_A,
        pointer(B), ldb, step_B, transpose_B, pointer(C), ldc, step_C, accumulate,
        ffi.NULL if bias is None else pointer(bias),
    ))


def _batch_step(array):
    """The distance, in floats, between two matrices of a stack; None if it isn't always the same.

    The leading axes count as one axis when each stride is the next one's times its length.
    """
    axes = [(size, stride) for size, stride in zip(array.shape[:-2], array.strides[:-2]) if size != 1]
    for (_, stride), (inner_size, inner_stride) in zip(axes, axes[1:]):
        if stride != inner_stride * inner_size:
            return None
    return axes[-1][1] // 4 if axes else 0  # 0: the same matrix for the whole batch


_STORED_TYPES = {dtype: getattr(lib, f"MINILLM_{name.upper()}") for dtype, name in TYPES.items()}

# Up to so many rows the weights are unpacked again for every few of them; above, once for all.
_MOST_ROWS_STORED = 32


def matmul_stored(x, weights, scale=None, bias=None):
    """y = x Wᵀ + bias: see `minillm.kernels.matmul_stored`."""
    if _is_plain(x) and _is_plain_stored(x, weights, scale, bias):
        rows = x  # as in matmul: the usual case is recognized quickly
    else:
        rows, weights, scale, bias = stored_arguments(x, weights, scale, bias)
        if x.dtype != FLOAT32:
            return numpy_kernels.matmul_stored(x, weights, scale, bias)
    N, K = weights.shape
    M = math.prod(x.shape[:-1])
    if M > _MOST_ROWS_STORED:
        rows = rows.reshape(M, K)
        y = matmul(rows, to_float32(weights, scale), transpose_B=True, bias=bias)
        return y.reshape(*x.shape[:-1], N)
    y = np.empty((*x.shape[:-1], N), FLOAT32)
    error = lib.minillm_few_rows(
        M, N, K, from_buffer(FLOATS, rows), K, _STORED_TYPES[weights.dtype], from_buffer(weights), K,
        True, ffi.NULL if scale is None else from_buffer(FLOATS, scale),
        ffi.NULL if bias is None else from_buffer(FLOATS, bias), from_buffer(FLOATS, y), N,
    )
    if error:
        check(error)
    return y


def _is_plain_stored(x, weights, scale, bias):
    return (type(weights) is np.ndarray and weights.ndim == 2 and weights.flags.c_contiguous and
            weights.flags.aligned and weights.dtype in _STORED_TYPES and x.ndim > 0 and
            x.shape[-1] == weights.shape[1] and (scale is None) == (weights.dtype != np.int8) and
            (scale is None or _is_plain_bias(scale, len(weights))) and
            (bias is None or _is_plain_bias(bias, len(weights))))
