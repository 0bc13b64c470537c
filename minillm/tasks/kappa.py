"""Cohen's weighted kappa: how much better than chance two graders agree.

Cohen 1968, "Weighted kappa: Nominal scale agreement with provision for scaled disagreement or
partial credit". O_ij counts the answers to which one grader gave grade i and the other j, and E_ij
what is expected if both draw their grades independently, each as often as before:

    E_ij = (Σ_k O_ik) (Σ_k O_kj) / n              w_ij = (i - j)²
    κ = 1 - Σ_ij w_ij O_ij / Σ_ij w_ij E_ij

1 is agreement everywhere, 0 what chance gives. With these weights, being two grades off costs four
times as much as being one off.
"""

import numpy as np

from minillm.tasks.metrics import Metric


def quadratic_kappa(O):
    """O: (K, K), row: the one grade, column: the other -> κ; 0 if chance can't disagree"""
    K = len(O)
    w = (np.arange(K)[:, None] - np.arange(K)) ** 2
    E = np.outer(O.sum(axis=1), O.sum(axis=0)) / max(O.sum(), 1)
    expected = np.sum(w * E)
    return float(1 - np.sum(w * O) / expected) if expected > 0 else 0.0


def kappa_metric(grades, wanted, predicted):
    """-> metrics.Metric: κ between wanted(example) and predicted(prediction), both of `grades`, a
    list in the order of the grades
    """
    index = {grade: number for number, grade in enumerate(grades)}
    K = len(grades)

    def cell(prediction, example):  # of O, flattened
        row = np.zeros(K * K)
        row[K * index[wanted(example)] + index[predicted(prediction)]] = 1
        return row

    return Metric(cell, lambda sums: quadratic_kappa(np.asarray(sums).reshape(K, K)))
