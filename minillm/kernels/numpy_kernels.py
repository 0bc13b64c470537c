"""The kernels in NumPy: the same formulas as naive.py, a whole array at a time."""

import numpy as np

from minillm.kernels.matmul_arguments import matmul_arguments
from minillm.kernels.numpy_rows import (
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
from minillm.kernels.stored_weights import stored_arguments, to_float32

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
    A, B, out, bias = matmul_arguments(A, B, out, transpose_A, transpose_B, accumulate, bias)
    A = A.swapaxes(-1, -2) if transpose_A else A
    B = B.swapaxes(-1, -2) if transpose_B else B
    if accumulate:
        out += A @ B
        return out
    np.matmul(A, B, out=out)
    if bias is not None:
        out += bias
    return out


def matmul_stored(x, weights, scale=None, bias=None):
    """y = x Wᵀ + bias: see `minillm.kernels.matmul_stored`."""
    rows, weights, scale, bias = stored_arguments(x, weights, scale, bias)
    y = rows @ to_float32(weights, scale).T.astype(x.dtype, copy=False)
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], len(weights))
