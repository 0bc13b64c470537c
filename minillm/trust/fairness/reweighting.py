"""Reweighting: weights of the training examples that make label and group independent.

    w(g, y) = P(g) P(y) / P(g, y)           (Kamiran and Calders 2012, section 5.3, algorithm 3)

with the shares of the training examples. Of a group that has too few positive examples, these count
more. Under the weights,  P_w(g, y) = P(g) P(y): who learns from them learns nothing from the group.

A model learns from weights by its loss, Σ_i w_i L_i / n, whose gradient is the weighted one.
"""

from collections import Counter


def reweighted(groups, labels):
    """groups, labels: n each, hashable; None: an example of no group -> list of n weights

    Weights sum to n. Examples of no group keep weight 1, and count nowhere.
    """
    if len(groups) != len(labels):
        raise ValueError(f"labels has {len(labels)} items, wanted {len(groups)}, as many "
                         "as groups")
    known = [(g, y) for g, y in zip(groups, labels) if g is not None]
    n, both = len(known), Counter(known)
    of_group, of_label = (Counter(part) for part in zip(*known)) if known else ({}, {})
    return [1.0 if g is None else of_group[g] * of_label[y] / (n * both[g, y])
            for g, y in zip(groups, labels)]
