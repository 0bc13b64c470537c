"""The operations of Newton–Schulz in a step of Muon                      (ops/orthogonalize.py)

A product of (p, q) and (q, r) costs 2 p q r. For a matrix (n, m) with n ≤ m and K steps:

    m ≤ 2 n    A = X Xᵀ and P X, in each step                2 n² m · 2 K
               P = a I + A (b I + c A), in each step         2 n³ · K
    m > 2 n    the first A = X Xᵀ, and the last product X    2 n² m · 2
               P, in each step                               2 n³ · K
               P_k … P_1, in all but the first               2 n³ · (K - 1)
               A P P, in all but the last                    2 n³ · 2 (K - 1)

They don't depend on the batch: the larger it is, the smaller their share.
"""

from minillm.training.muon import muon_shapes


def newton_schulz_flops(model, steps):
    """-> operations of one update of all matrices of `model` that are Muon's"""
    return sum(matrix_flops(*sorted(shape), steps) for shape in muon_shapes(model))


def matrix_flops(n, m, K):
    """-> operations of K steps for one matrix (n, m), n ≤ m"""
    if m > 2 * n:
        return 2 * n**2 * m * 2 + 2 * n**3 * (K + (K - 1) + 2 * (K - 1))
    return 2 * n**2 * m * 2 * K + 2 * n**3 * K
