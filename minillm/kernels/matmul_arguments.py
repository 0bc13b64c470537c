"""The checks of matmul's arguments: the same, and the same errors, in all implementations."""

import numpy as np

from minillm.checks import require_float
from minillm.kernels.arguments import (
    require_apart,
    require_array,
    require_output,
    rows_contiguous,
)


def matmul_arguments(A, B, out, transpose_A, transpose_B, accumulate, bias):
    """Check the arguments of `matmul` and make `out` if it is None -> A, B, out, bias.

    The inputs come back with a contiguous last axis (copied only if it wasn't).
    Raises TypeError and ValueError: one line that names the argument.
    """
    for name, array in (("A", A), ("B", B)):
        require_float(name, array)
        if array.ndim < 2:
            raise ValueError(f"{name} has shape {array.shape}, wanted at least 2 axes")
    require_array("B", B, A.dtype)

    M, K = reversed(A.shape[-2:]) if transpose_A else A.shape[-2:]
    N, B_K = B.shape[-2:] if transpose_B else reversed(B.shape[-2:])
    if B_K != K:
        wanted = f"(..., N, {K})" if transpose_B else f"(..., {K}, N)"
        raise ValueError(f"B has shape {B.shape}, wanted {wanted} to match A")
    if A.ndim > 2 and B.ndim > 2 and A.shape[:-2] != B.shape[:-2]:
        raise ValueError(f"B has shape {B.shape}, wanted 2 axes or the leading {A.shape[:-2]} of A")

    if bias is not None:
        require_array("bias", bias, A.dtype)
        if bias.shape != (N,):
            raise ValueError(f"bias has shape {bias.shape}, wanted {(N,)}")
        if accumulate:
            raise ValueError("bias is an array, wanted None with accumulate=True")
        bias = rows_contiguous(bias)

    shape = (A.shape[:-2] if A.ndim > 2 else B.shape[:-2]) + (M, N)
    if out is None:
        if accumulate:
            raise ValueError("out is None, wanted the array to accumulate into")
        out = np.empty(shape, A.dtype)
    else:
        require_output("out", out, shape, A.dtype)
        require_apart("out", out, "A", A)
        require_apart("out", out, "B", B)
        require_apart("out", out, "bias", bias)
    return rows_contiguous(A), rows_contiguous(B), out, bias
