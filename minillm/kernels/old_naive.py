"""The kernels as nested Python loops: the definitions that the other implementations must equal.

Nothing here is fast. Sums are Python floats (53 bits), rounded once when they are stored.
"""

import numpy as np

from minillm.kernels.matmul_arguments import matmul_arguments
from minillm.kernels.naive_rows import (
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
    """C[i, j] = sum_k A[i, k] B[k, j] + bias[j]: see `minillm.kernels.matmul`."""
    A, B, out, bias = matmul_arguments(A, B, out, transpose_A, transpose_B, accumulate, bias)
    if not accumulate:
        out[...] = 0 if bias is None else bias
    for batch in np.ndindex(out.shape[:-2]):
        A_b = A[batch] if A.ndim > 2 else A
        B_b = B[batch] if B.ndim > 2 else B
        _add_product(A_b.T if transpose_A else A_b, B_b.T if transpose_B else B_b, out[batch])
    return out


def _add_product(A, B, C):
    M, N = C.shape
    K = A.shape[1]
    for i in range(M):
        for j in range(N):
            total = float(C[i, j])
            for k in range(K):
                total += float(A[i, k]) * float(B[k, j])
            C[i, j] = total


def matmul_stored(x, weights, scale=None, bias=None):
    """y[i, j] = sum_k x[i, k] W[j, k] + bias[j]: see `minillm.kernels.matmul_stored`."""
    rows, weights, scale, bias = stored_arguments(x, weights, scale, bias)
    y = np.empty((len(rows), len(weights)), x.dtype)
    y[...] = 0 if bias is None else bias
    _add_product(rows, to_float32(weights, scale).T, y)
    return y.reshape(*x.shape[:-1], len(weights))
