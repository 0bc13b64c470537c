"""Matrix multiplication: nearly all the work of a transformer."""

from minillm.kernels import kernel
from minillm.kernels.matmul import Matmul


@kernel(Matmul())
def matmul(A, B, out=None, *, transpose_A=False, transpose_B=False, accumulate=False, bias=None):
    """C = op(A) @ op(B) [+ bias], or C += op(A) @ op(B) with `accumulate`.

        C_ij = Σ_k op(A)_ik op(B)_kj

    A: (..., M, K), or (..., K, M) with `transpose_A`;  B: (..., K, N), or (..., N, K) with
    `transpose_B`;  both float32 or both float64  ->  C: (..., M, N)
    The leading axes are equal, or one of A and B is 2-D and serves the whole batch. Rows may be
    strided views (columns of a wider matrix, heads of a fused buffer): nothing is copied as long
    as the last axis is contiguous. The C twin is csrc/matmul.c.

    out: the array to write C to, or, with `accumulate`, to add it to: any view with a contiguous
        last axis that shares no memory with A, B and bias
    bias: (N,), added to every row of C

    Raises TypeError for a wrong type or dtype; ValueError for shapes that don't match, an `out`
    that is read-only or overlaps an input, and `accumulate` without `out` or with a bias.
    """
    C = (A.swapaxes(-1, -2) if transpose_A else A) @ (B.swapaxes(-1, -2) if transpose_B else B)
    if bias is not None:
        C = C + bias
    out[...] = out + C if accumulate else C
    return out
