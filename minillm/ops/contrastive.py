"""The contrastive loss with in-batch negatives: each query picks its partner out of the batch."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float, require_number, require_shape
from minillm.ops.cross_entropy import CrossEntropyCache, cross_entropy, cross_entropy_backward
from minillm.ops.matmul import matmul


class ContrastiveCache(NamedTuple):
    Q: np.ndarray  # (n, d)
    C: np.ndarray  # (m, d)
    temperature: float
    forth: CrossEntropyCache  # of the queries that pick candidates
    back: CrossEntropyCache | None  # of the candidates that pick queries


def contrastive(Q, C, temperature=0.05, symmetric=False):
    """L = - 1/n Σ_i log( exp(S_ii) / Σ_j exp(S_ij) ),   S = Q Cᵀ / τ

    Row i of S holds the scores of query i for all m candidates. Candidate i is its partner, and the
    others, the partners of other queries, are the negatives: the loss is the cross-entropy of S
    with the target i in row i. (InfoNCE: van den Oord et al. 2018, eq. 4. With sentences in a
    batch: Henderson et al. 2017, sec. 4.4; "MultipleNegativesRankingLoss" of Reimers and Gurevych's
    library. With normalized vectors and a temperature: Chen et al. 2020, eq. 1.)

    Q: (n, d), the queries;  C: (m, d), the candidates, m >= n: those after the first n are
        additional negatives for all queries. Normalized vectors make S cosines over τ.
    temperature: τ > 0. The smaller, the more the nearest negatives count.
    symmetric: average this with the loss of the candidates 1 … n that pick their queries, the
        columns of S (Radford et al. 2021, fig. 3)
    ->  loss: float, in nats, log m for scores that are all equal; cache for `contrastive_backward`
    """
    for name, array in (("Q", Q), ("C", C)):
        require_float(name, array)
        require_shape(name, array, (None, None))
    if C.shape[1] != Q.shape[1] or len(C) < len(Q) or not len(Q):
        raise ValueError(f"C has shape {C.shape}, wanted at least {max(len(Q), 1)} candidates of "
                         f"width {Q.shape[1]} for Q of shape {Q.shape}")
    temperature = require_number("temperature", temperature)
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, wanted a number over 0")
    n = len(Q)
    S = matmul(Q, C, transpose_B=True) / Q.dtype.type(temperature)
    loss, forth = cross_entropy(S, np.arange(n))
    back = None
    if symmetric:
        other, back = cross_entropy(S[:, :n].T.copy(), np.arange(n))
        loss = (loss + other) / 2
    return loss, ContrastiveCache(Q, C, temperature, forth, back)


# With P = softmax of the rows of S, the cross-entropy gives dS_ij = (P_ij - δ_ij) / n: pull the
# partner, push each negative in proportion to its probability. S = Q Cᵀ / τ is a product, so
#   dQ = dS C / τ        dC = dSᵀ Q / τ
# Row i of the first says: query i moves towards its partner C_i and away from Σ_j P_ij C_j, where
# the model now expects it. With `symmetric`, dS is the mean of both directions, where the columns'
# part is transposed back and touches only the first n candidates.
def contrastive_backward(dloss, cache):
    """dloss: float -> dQ: (n, d), dC: (m, d)"""
    Q, C, temperature, forth, back = cache
    n = len(Q)
    dS = cross_entropy_backward(dloss, forth)
    if back is not None:
        dS = dS / 2
        dS[:, :n] += cross_entropy_backward(dloss, back).T / 2
    dS = dS / Q.dtype.type(temperature)
    return matmul(dS, C), matmul(dS, Q, transpose_A=True)
