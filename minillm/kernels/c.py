"""The kernels in C: checks, then one call into csrc through cffi, which releases the GIL.

float64 arrays (gradient checks) go to the NumPy implementation: the C knows float32 only.
"""

from minillm.kernels import numpy_kernels
from minillm.kernels.c_library import FLOAT32, check, lib, pointer
from minillm.kernels.matmul_arguments import matmul_arguments


def matmul(A, B, out=None, *, transpose_A=False, transpose_B=False, accumulate=False):
    """C = op(A) @ op(B) (+ C): see `minillm.kernels.matmul`."""
    A, B, out = matmul_arguments(A, B, out, transpose_A, transpose_B, accumulate)
    if A.dtype != FLOAT32:
        return numpy_kernels.matmul(
            A, B, out, transpose_A=transpose_A, transpose_B=transpose_B, accumulate=accumulate
        )
    _matmul(A, B, out, transpose_A, transpose_B, accumulate)
    return out


def _matmul(A, B, C, transpose_A, transpose_B, accumulate):
    """One call of minillm_matmul if one step for the whole batch is enough, otherwise several."""
    M, N = C.shape[-2:]
    K = A.shape[-2] if transpose_A else A.shape[-1]
    batch, (step_A, step_B, step_C) = 1, (0, 0, 0)
    if C.ndim > 2:
        steps = [_batch_step(array) for array in (A, B, C)]
        if None in steps:  # e.g. the heads of a fused Q K V buffer: a loop over the first axis
            for b in range(C.shape[0]):
                _matmul(A[b] if A.ndim > 2 else A, B[b] if B.ndim > 2 else B, C[b],
                        transpose_A, transpose_B, accumulate)
            return
        step_A, step_B, step_C = steps
        batch = C.size // (M * N) if M * N else 0
    lda, ldb, ldc = A.strides[-2] // 4, B.strides[-2] // 4, C.strides[-2] // 4
    if step_B == 0 and step_A == M * lda and step_C == M * ldc and not transpose_A:
        batch, M = 1, batch * M  # all share B: one tall matrix A, so that B is packed only once
    check(lib.minillm_matmul(
        batch, M, N, K, pointer(A), lda, step_A, transpose_A,
        pointer(B), ldb, step_B, transpose_B, pointer(C), ldc, step_C, accumulate,
    ))


def _batch_step(array):
    """The distance, in floats, between two matrices of a stack; None if it isn't always the same.

    The leading axes count as one axis when each stride is the next one's times its length.
    """
    if array.ndim == 2:
        return 0  # the same matrix for the whole batch
    shape, strides = array.shape[:-2], array.strides[:-2]
    for axis in range(len(shape) - 1):
        if shape[axis] != 1 and strides[axis] != strides[axis + 1] * shape[axis + 1]:
            return None
    return strides[-1] // 4
