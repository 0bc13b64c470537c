"""Gaps between groups in a classifier's predictions ŷ, with labels y and groups g.

    demographic parity gap = max over labels c  of  max_g - min_g  P(ŷ = c | g)
    equalized odds gap     = max over c and y   of  max_g - min_g  P(ŷ = c | y, g)

The first asks whether all groups get each answer equally often; if their true labels differ, a
perfect classifier has a gap. The second compares only cases with the same true label: it is 0 for a
perfect classifier. (Hardt, Price and Srebro 2016, definitions 2.1 and 2.2; for two labels these are
`demographic_parity_difference` and `equalized_odds_difference` of fairlearn.) A gap is never
negative, so by accident alone it is above 0: that is what the interval is for.
"""

from typing import NamedTuple

import numpy as np

from minillm.tasks.intervals import Score, bootstrap


class GroupGaps(NamedTuple):
    """demographic_parity, equalized_odds, accuracy: intervals.Score each

    accuracy: the gap between the best and the worst group's;  sizes: {group: its texts}
    """

    demographic_parity: Score
    equalized_odds: Score
    accuracy: Score
    sizes: dict


def demographic_parity_gap(counts):
    """counts: (G, Y, C), of each group, label and prediction -> float"""
    return _largest_gap(counts.sum(axis=1))


def equalized_odds_gap(counts):
    """counts: (G, Y, C) -> float; a label that one group lacks can't be compared: left out"""
    return _largest_gap(counts)


def accuracy_gap(counts):
    """counts: (G, Y, C), with C = Y -> float"""
    right = np.trace(counts, axis1=1, axis2=2)
    wrong = counts.sum(axis=(1, 2)) - right
    return _largest_gap(np.stack([right, wrong], axis=1))


def _largest_gap(counts):
    """counts: (G, …, C) -> the largest  max_g - min_g  of the shares of the last axis"""
    sizes = counts.sum(axis=-1, keepdims=True)
    shares = counts / np.maximum(sizes, 1e-300)
    gaps = (shares.max(axis=0) - shares.min(axis=0)) * (sizes.min(axis=0) > 0)
    return float(gaps.max())


def group_gaps(predicted, wanted, groups, units=None, seed=0):
    """predicted, wanted, groups: n each, of any hashable kind -> GroupGaps

    units: n integers, equal for what belongs together, such as one text about each group; a
        resample takes or leaves a unit as a whole. Default: each case is its own.

    Raises ValueError for lists of different lengths, and for fewer than two groups.
    """
    n = len(predicted)
    for name, given in (("wanted", wanted), ("groups", groups)):
        if len(given) != n:
            raise ValueError(f"{name} has {len(given)} items, wanted {n}, one for each prediction")
    names = sorted(set(groups), key=str)
    if len(names) < 2:
        raise ValueError(f"groups holds only {names}, wanted at least two groups")
    labels = sorted({*predicted, *wanted}, key=str)
    shape = len(names), len(labels), len(labels)
    cells = np.ravel_multi_index(
        ([names.index(g) for g in groups], [labels.index(y) for y in wanted],
         [labels.index(c) for c in predicted]), shape)
    units = np.arange(n) if units is None else np.unique(units, return_inverse=True)[1]
    rows = np.zeros((units.max() + 1, int(np.prod(shape))))
    np.add.at(rows, (units, cells), 1)

    def score(gap):
        def of_sum(sums):
            return gap(np.reshape(sums, shape))

        value = of_sum(rows.sum(axis=0))
        low, high = bootstrap(rows, of_sum, seed)
        return Score(value, min(low, value), max(high, value))  # resamples' maxima lie higher

    return GroupGaps(score(demographic_parity_gap), score(equalized_odds_gap), score(accuracy_gap),
                     {name: int(sum(g == name for g in groups)) for name in names})
