"""Orthogonalization: the nearest matrix whose singular values are all 1, by products alone.

Muon (training/muon.py) takes its steps in this direction.
"""

import numpy as np

from minillm.checks import require_float
from minillm.ops.matmul import matmul

# Jordan et al. 2024. With these, p(1) ≠ 1: no singular value converges to 1, but all beyond 0.01
# come into 0.68 … 1.21, and small ones grow by a factor of 3.4445 in each step.
QUINTIC = (3.4445, -4.7750, 2.0315)
STEPS = 5


# The singular value decomposition G = U S Vᵀ has the nearest orthogonal matrix U Vᵀ (the "polar
# factor": of all with orthonormal rows it minimizes ‖G - O‖; Higham 2008, theorem 8.4). An odd
# polynomial in G acts on the singular values alone, because VᵀV = UᵀU = I:
#
#   X = U S Vᵀ   ⇒   X Xᵀ = U S² Uᵀ
#   (a I + b X Xᵀ + c (X Xᵀ)²) X = U (a S + b S³ + c S⁵) Vᵀ = U p(S) Vᵀ
#
# So apply p again and again until all singular values are near 1. They must begin in 0 … 1, hence
# the division by the Frobenius norm, which is at least the largest singular value.
def orthogonalize(G, steps=STEPS, quintic=QUINTIC):
    """≈ U Vᵀ of G = U S Vᵀ, by `steps` steps of Newton–Schulz         (Jordan et al. 2024, "Muon")

        X ← G / ‖G‖
        X ← (a I + b A + c A²) X,   A = X Xᵀ          `steps` times, with a, b, c = quintic

    G: (..., n, m), float32 or float64  ->  the same shape and dtype

    Every matrix of the leading axes is orthogonalized on its own. A matrix of zeros gives zeros.
    """
    require_float("G", G)
    if G.ndim < 2:
        raise ValueError(f"G has shape {G.shape}, wanted (..., n, m)")
    if G.shape[-2] > G.shape[-1]:  # (U S Vᵀ)ᵀ = V S Uᵀ: keep A as small as it can be
        return orthogonalize(G.swapaxes(-1, -2), steps, quintic).swapaxes(-1, -2)
    n, m = G.shape[-2:]
    norm = np.sqrt((G**2).sum(axis=(-2, -1), keepdims=True))
    X = np.divide(G, norm + np.finfo(G.dtype).tiny, order="C")
    return _on_gram(X, steps, quintic) if m > 2 * n else _on_matrix(X, steps, quintic)


def _on_matrix(X, steps, quintic):
    for _ in range(steps):
        A = matmul(X, X, transpose_B=True)
        X = matmul(_polynomial(A, quintic), X)
    return X


# All that the steps do to X is to multiply it from the left by P_1, then by P_2, …, polynomials in
# A_1 = X Xᵀ. So they commute with A, and A_2 = P_1 X Xᵀ P_1 = A_1 P_1². For wide matrices, that is
# cheaper: only the first A and the last product have m columns.
def _on_gram(X, steps, quintic):
    A = matmul(X, X, transpose_B=True)
    product = None
    for step in range(steps):
        P = _polynomial(A, quintic)
        product = P if product is None else matmul(P, product)
        if step < steps - 1:
            A = matmul(matmul(A, P), P)
    return X if product is None else matmul(product, X)


def _polynomial(A, quintic):
    """a I + b A + c A² = a I + A (b I + c A)"""
    a, b, c = quintic
    P = matmul(A, _plus_diagonal(c * A, b))
    return _plus_diagonal(P, a)


def _plus_diagonal(A, number):
    """Add `number` to the diagonal of A: (..., n, n), in place -> A"""
    n = A.shape[-1]
    A.reshape(*A.shape[:-2], n * n)[..., :: n + 1] += number
    return A
