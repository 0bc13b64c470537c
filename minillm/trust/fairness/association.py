"""Association tests of vectors: WEAT (Caliskan et al. 2017), of sentences SEAT (May et al. 2019).

X and Y are two sets of target vectors (science, arts), A and B two of attributes (male, female).

    s(w)   = mean_a cos(w, a) - mean_b cos(w, b)           w is nearer to A than to B
    effect = (mean_x s(x) - mean_y s(y)) / std_w s(w)      w in X and Y; std with n - 1

The effect is between -2 and 2; 0 is no association. Would it be as large if the targets were dealt
into two sets at random? With the null hypothesis that they are exchangeable,

    p = share of the partitions of X and Y into sets of these sizes whose  mean s - mean s  is at
        least that of (X, Y): one-sided                    (Caliskan et al. 2017, supplement)

All partitions are tried if there are at most `exact`; otherwise `samples` random ones and the given
one, p = (1 + hits) / (1 + samples), which is never 0 (Phipson and Smyth 2010).
"""

from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np

from minillm.ops.cosine_search import cosine_similarity

EXACT = 20_000  # partitions
SAMPLES = 10_000


class Association(NamedTuple):
    """effect: float;  p: one-sided;  partitions: how many were tried;  exact: whether all"""

    effect: float
    p: float
    partitions: int
    exact: bool


def associations(W, A, B):
    """s(w) of each row: W (n, d), A (a, d), B (b, d) -> float64 (n,)"""
    W, A, B = (np.asarray(vectors, np.float64) for vectors in (W, A, B))
    return cosine_similarity(W, A).mean(axis=1) - cosine_similarity(W, B).mean(axis=1)


def association_test(X, Y, A, B, exact=EXACT, samples=SAMPLES, seed=0):
    """X (n, d), Y (m, d): targets;  A (a, d), B (b, d): attributes -> Association

    Raises ValueError for a set with fewer than two vectors, where there is no spread.
    """
    for name, vectors in (("X", X), ("Y", Y), ("A", A), ("B", B)):
        if len(vectors) < 2:
            raise ValueError(f"{name} has {len(vectors)} vectors, wanted at least 2")
    s, n = associations(np.concatenate([X, Y]), A, B), len(X)
    spread = s.std(ddof=1)
    difference = s[:n].mean() - s[n:].mean()
    effect = float(difference / spread) if spread > 0 else 0.0
    return Association(effect, *permutation_p(s, n, exact, samples, seed))


def permutation_p(s, n, exact=EXACT, samples=SAMPLES, seed=0):
    """s: (N,), of which the first n are X's -> p, number of partitions, whether these are all

    The mean of Y's is determined by that of X's, so  mean_x s  alone decides.
    """
    s = np.asarray(s, np.float64)
    least = s[:n].sum() - 1e-12 * np.abs(s).sum()  # rounding must not lose the partition itself
    total = comb(len(s), n)
    if total <= exact:
        sums = s[np.array(list(combinations(range(len(s)), n)))].sum(axis=1)
        return float(np.mean(sums >= least)), total, True
    rng = np.random.default_rng(seed)
    sums = rng.permuted(np.tile(s, (samples, 1)), axis=1)[:, :n].sum(axis=1)
    return float((1 + np.sum(sums >= least)) / (1 + samples)), samples + 1, False
