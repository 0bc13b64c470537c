"""Exact search for the most similar vectors: one matrix product, a piece of it at a time."""

import numpy as np

from minillm.checks import require_float, require_shape
from minillm.ops.l2_normalize import l2_normalize
from minillm.ops.matmul import matmul


def cosine_similarity(A, B):
    """cos(a_i, b_j) = a_i · b_j / (‖a_i‖ ‖b_j‖)

    A: (n, d), B: (m, d), of one dtype  ->  (n, m), from -1 to 1; 0 for a vector of zeros
    """
    for name, array in (("A", A), ("B", B)):
        require_float(name, array)
        require_shape(name, array, (None, None))
    return matmul(l2_normalize(A)[0], l2_normalize(B)[0], transpose_B=True)


def cosine_search(queries, vectors, k=10, chunk=8192):
    """-> scores (n, k), falling; indices (n, k) of the k vectors with the highest cosine

    queries: (n, d);  vectors: (N, d); fewer than k vectors give that many columns. Of equal scores,
    the lower index comes first.
    chunk: how many vectors are compared at a time: memory for n (k + chunk) scores, not n N

    Raises TypeError and ValueError for arrays that don't fit, and for k or chunk below 1.
    """
    for name, number in (("k", k), ("chunk", chunk)):
        if number < 1:
            raise ValueError(f"{name} is {number}, wanted at least 1")
    require_float("queries", queries)
    require_shape("queries", queries, (None, None))
    require_float("vectors", vectors)
    require_shape("vectors", vectors, (None, queries.shape[1]))
    n = len(queries)
    scores, indices = np.empty((n, 0), queries.dtype), np.empty((n, 0), np.int64)
    for start in range(0, len(vectors), chunk):
        here = cosine_similarity(queries, vectors[start : start + chunk])
        here_indices = np.broadcast_to(start + np.arange(here.shape[1]), here.shape)
        scores = np.concatenate([scores, here], axis=1)
        indices = np.concatenate([indices, here_indices], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # stable: lower indices first
        scores, indices = (np.take_along_axis(array, best, axis=1) for array in (scores, indices))
    return scores, indices
