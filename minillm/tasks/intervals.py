"""95 % intervals: how far would a score move with other test examples of the same kind?

An interval says nothing about examples of another kind, nor about another training run.
"""

import math
from typing import NamedTuple

import numpy as np

SAMPLES = 1000
Z = 1.959963984540054  # 95 % of a normal distribution is within ± Z


class Score(NamedTuple):
    """A metric's value and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self):
        return f"{self.value:.3f} ({self.low:.3f} – {self.high:.3f})"


def score(metric, predictions, examples, seed=0):
    """-> Score of a metrics.Metric

    Raises ValueError for no examples.
    """
    if not examples:
        raise ValueError("examples is empty: there is nothing to score")
    rows = metric.rows(predictions, examples)
    sums = rows.sum(axis=0)
    value = float(metric.of_sum(sums))
    if metric.is_proportion:
        return Score(value, *wilson(sums[0], sums[1]))
    return Score(value, *bootstrap(rows, metric.of_sum, seed))


def bootstrap(rows, of_sum, seed=0):
    """-> (low, high): percentiles of the metric of resampled examples   (Efron 1979; Efron and
    Tibshirani 1993, ch. 13)

    rows: (n, k), each example's part of the sums

    A resample draws n examples with replacement. That only weighs the rows, with counts that have
    a multinomial distribution; so all sums are one product of matrices.
    """
    n = len(rows)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=SAMPLES)
    values = [of_sum(sums) for sums in counts.astype(np.float64) @ rows]
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def wilson(right, n):
    """-> (low, high) for the proportion right / n                       (Wilson 1927)

    These are the p with  |right/n - p| = Z sqrt(p (1 - p) / n): what the true proportion can be.
    The bootstrap knows no doubt when all answers are right; this does: 100 of 100 says 96.3 % to
    100 %.
    """
    if n == 0:
        return 0.0, 1.0
    p = right / n
    center = p + Z**2 / (2 * n)
    width = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    # Rounding may leave 0 and 1 by a few bits.
    return max((center - width) / scale, 0.0), min((center + width) / scale, 1.0)
