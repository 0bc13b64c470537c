"""The bias subspace of word vectors, and how to take it out: Bolukbasi et al. 2016, "Man is to
computer programmer as woman is to homemaker?", section 6.

Defining sets D_1 … D_n, such as {he, she}, {man, woman}, differ in what is to be taken out alone.
With μ_i the mean of D_i, the subspace B is spanned by the first k eigenvectors of

    C = Σ_i Σ_{w in D_i} (w - μ_i)(w - μ_i)ᵀ / |D_i|

The rows of B are orthonormal, so the part of w within the subspace is  w_B = (w Bᵀ) B.

    neutralize:   w' = w - w_B                         then, of unit length,  w' / ‖w'‖
    equalize:     ν = μ - μ_B,   w' = ν + sqrt(1 - ‖ν‖²) (w_B - μ_B) / ‖w_B - μ_B‖

A neutral word has nothing of the subspace. The words of an equality set share all but that, and
have length 1; so every neutral word is as near to *he* as to *she*:

    ‖u - w'‖² = ‖u‖² + 1 - 2 u·ν       the same for all w of the set, since u·(w_B - μ_B) = 0

What is taken out is a linear direction of these vectors. What other directions say about the
group stays, and a model can learn it from there (Gonen and Goldberg 2019, "Lipstick on a pig").
"""

import numpy as np


def bias_subspace(sets, k=1):
    """sets: list of float arrays (m_i, d), m_i at least 2 -> B: (k, d), orthonormal rows

    Raises ValueError for a k that is more than the differences between the words can span.
    """
    if not len(sets):
        raise ValueError("sets is empty, wanted at least one defining set")
    rows = []
    for number, D in enumerate(sets):
        D = np.asarray(D, np.float64)
        if D.ndim != 2 or len(D) < 2:
            raise ValueError(f"sets[{number}] has shape {D.shape}, wanted (m, d) with m at least 2")
        rows.append((D - D.mean(axis=0)) / np.sqrt(len(D)))
    # C = RᵀR for the matrix R of these rows: its eigenvectors are R's right singular vectors.
    _, sizes, directions = np.linalg.svd(np.concatenate(rows), full_matrices=False)
    most = int(np.sum(sizes > 1e-9 * max(sizes[0], 1e-300)))
    if not 1 <= k <= most:
        raise ValueError(f"k is {k}, wanted 1 … {most}, the dimensions of what the defining sets "
                         "differ in")
    return directions[:k]


def within(W, B):
    """W: (…, d), B: (k, d) -> w_B, the part of each vector within the subspace"""
    return W @ B.T @ B


def neutralize(W, B, unit=False):
    """W: (…, d), B: (k, d) -> W without the subspace; unit: each vector then gets length 1"""
    W = W - within(W, B)
    return _unit(W) if unit else W


def equalize(E, B):
    """E: (m, d), an equality set, B: (k, d) -> (m, d), unit vectors that differ in B alone

    The vectors are taken at unit length. One without a part of its own within the subspace, which
    has no side to go to, becomes ν alone.
    """
    E = _unit(np.asarray(E, np.float64))
    mean = E.mean(axis=0)
    rest = mean - within(mean, B)
    sides = _unit(within(E - mean, B))
    return rest + np.sqrt(max(0.0, 1 - rest @ rest)) * sides


def _unit(W):
    """-> each vector at length 1; zeros stay"""
    length = np.linalg.norm(W, axis=-1, keepdims=True)
    return W / np.where(length > 1e-12, length, 1.0)
