"""Matmul and attention in steps, from loops in Python to the kernels that the models use.

`MATMUL_RUNGS` lists them from slowest to fastest as (name, function). Each function takes float32
matrices A (M, K) and B (K, N) and returns C = A B (M, N). Each rung in C changes one thing in the
one before it. The steps in Python are below; those in C are in csrc/matmul_ladder.c and
csrc/matmul.c. The order is that of large matrices (n = 1,500), with smaller ones for the Python.

    for name, matmul in MATMUL_RUNGS:
        C = matmul(A, B)

`ATTENTION_RUNGS` does the same for causal attention. Each function takes float32 arrays Q, K, V
(B, H, T, D) and returns out (B, H, T, D). The steps in C are in csrc/attention_ladder.c and
csrc/attention.c. The rungs differ in how much of the T × T matrix of weights exists at a time: all
of it for all heads, all of it for one head, one row, one number, one tile.
"""

import functools

import numpy as np

from minillm.kernels import attention as attention_kernel
from minillm.kernels import c_library, get_num_threads, naive_attention, set_num_threads
from minillm.kernels.arguments import contiguous, require_array
from minillm.kernels.matmul import Matmul


def _matmul_rung(function):
    """Check the arguments of a rung, and make them contiguous: the C rungs read plain memory."""

    @functools.wraps(function)
    def checked(A, B):
        for name, matrix in (("A", A), ("B", B)):
            require_array(name, matrix, np.float32)
            if matrix.ndim != 2:
                raise ValueError(f"{name} has shape {matrix.shape}, wanted 2 axes")
        if len(B) != A.shape[1]:
            raise ValueError(f"B has shape {B.shape}, wanted ({A.shape[1]}, N) to match A")
        if 0 in (*A.shape, *B.shape):
            return np.zeros((len(A), B.shape[1]), np.float32)
        return function(contiguous(A), contiguous(B))

    return checked


@_matmul_rung
def python_loops(A, B):
    """The definition, in the interpreter: 50 to 100 ns for each multiply-add. Nearly all of it goes
    into finding out what `*` and `+` mean for two objects."""
    A, B = A.tolist(), B.tolist()
    M, N, K = len(A), len(B[0]), len(B)
    C = [[0.0] * N for _ in range(M)]
    for i in range(M):
        for j in range(N):
            total = 0.0
            for k in range(K):
                total += A[i][k] * B[k][j]
            C[i][j] = total
    return np.array(C, np.float32)


@_matmul_rung
def numpy_rows(A, B):
    """C[i] += A[i, k] B[k]: whole rows, without an array of K N products.

    The traffic is one row of C for each k, and a row stays in the cache. But there are two calls of
    NumPy for every N multiply-adds, and a call costs as much as some thousand of them.
    """
    C = np.zeros((len(A), B.shape[1]), np.float32)
    for i, row in enumerate(A):
        for k, a in enumerate(row):
            C[i] += a * B[k]
    return C


@_matmul_rung
def numpy_broadcast(A, B):
    """The products of a row of A and all of B at once, as an array (K, N), then their sum over k.

    One call of NumPy for K N multiply-adds, in loops that use vectors. But each product is written
    to memory and read again for the sum: 8 bytes of traffic for one multiply-add. So this rung is
    fast while the array of products, K N floats, fits into the cache.
    """
    return np.stack([(row[:, None] * B).sum(axis=0) for row in A])


@_matmul_rung
def numpy_blas(A, B):
    """`A @ B`: NumPy calls the BLAS library that it was built with (usually OpenBLAS)."""
    return A @ B


def _rung(number):
    """Rung 1 to 5 of csrc/matmul_ladder.c as a function of A and B."""

    @_matmul_rung
    def matmul(A, B):
        (M, K), (_, N) = A.shape, B.shape
        C = np.empty((M, N), np.float32)
        c_library.lib.minillm_matmul_rung(
            number, M, N, K, c_library.pointer(A), c_library.pointer(B), c_library.pointer(C)
        )
        return C

    return matmul


def _on_one_thread(function, *arguments):
    threads = get_num_threads()
    set_num_threads(1)
    try:
        return function(*arguments)
    finally:
        set_num_threads(threads)


@_matmul_rung
def c_vectors(A, B):
    """csrc/matmul.c on one thread: packed panels of B, and register tiles of full vectors."""
    return _on_one_thread(c_threads, A, B)


@_matmul_rung
def c_threads(A, B):
    """csrc/matmul.c on all threads: each computes other rectangles of C."""
    binding = Matmul()
    return binding.c(**binding.check(A, B))


def _without_missing_c(rungs):
    """-> the rungs, only those in Python if the C extension isn't built"""
    return [rung for rung in rungs if not (rung[0].startswith("C:") and c_library.why_missing())]


MATMUL_RUNGS = _without_missing_c([
    ("Python loops", python_loops),
    ("NumPy row by row", numpy_rows),
    ("C: three loops", _rung(1)),
    ("NumPy broadcasting", numpy_broadcast),
    ("C: loops reordered", _rung(2)),
    ("C: cache-blocked", _rung(3)),
    ("C: register-tiled", _rung(4)),
    ("C: packed", _rung(5)),
    ("NumPy BLAS", numpy_blas),
    ("C: vector width", c_vectors),
    ("C: threads", c_threads),
])


def _checked_attention(Q, K, V):
    """-> the checked arguments of causal attention: float32, as many keys as queries"""
    require_array("Q", Q, np.float32)
    checked = attention_kernel.forward.check(Q, K, V, (True, None, None))
    if K.shape != Q.shape:
        raise ValueError(f"K has shape {K.shape}, wanted {Q.shape} as Q has")
    return checked


def python_attention(Q, K, V):
    """The definition, in the interpreter: about 50 ns for each multiply-add."""
    return naive_attention.fused_attention(**_checked_attention(Q, K, V))[0]


def numpy_attention(Q, K, V):
    """Whole arrays at a time: the scores and the weights of all heads, B H T² numbers each."""
    T, D = Q.shape[2:]
    S = Q @ K.swapaxes(-1, -2) / np.float32(np.sqrt(D))
    S[..., np.arange(T) > np.arange(T)[:, None]] = -np.inf
    P = np.exp(S - S.max(axis=-1, keepdims=True))
    P /= P.sum(axis=-1, keepdims=True)
    return P @ V


def _attention_rung(number):
    """Rung 1 to 3 of csrc/attention_ladder.c as a function of Q, K and V."""

    def attention(Q, K, V):
        checked = _checked_attention(Q, K, V)
        Q, K, V = (contiguous(checked[name]) for name in "QKV")
        out = np.empty(Q.shape, np.float32)
        B, H, T, D = Q.shape
        S = np.empty(T * T if number == 1 else T, np.float32)  # a workspace for scores
        if out.size:
            c_library.lib.minillm_attention_rung(
                number, B * H, T, D, *map(c_library.pointer, (Q, K, V, out, S))
            )
        return out

    return attention


def c_attention_tiles(Q, K, V):
    """csrc/attention.c on one thread: the online softmax on tiles of queries and keys. A tile of K
    and V serves the queries in two vectors, and the matrix products use register tiles."""
    return _on_one_thread(c_attention_threads, Q, K, V)


def c_attention_threads(Q, K, V):
    """csrc/attention.c on all threads: each takes the next strip of queries when it is free."""
    return attention_kernel.forward.c(**_checked_attention(Q, K, V))[0]


ATTENTION_RUNGS = _without_missing_c([
    ("Python loops", python_attention),
    ("NumPy", numpy_attention),
    ("C: three passes", _attention_rung(1)),
    ("C: a row at a time", _attention_rung(2)),
    ("C: online softmax", _attention_rung(3)),
    ("C: streaming tiles", c_attention_tiles),
    ("C: streaming tiles, threads", c_attention_threads),
])
