"""How well a score separates two groups: the ROC curve, its area, and its far left end.

    call every x with score(x) >= threshold a member
    TPR = share of the members that are called so,   FPR = share of the others that are

The area under the curve (AUC) is the probability that a member scores higher than another, ties
counting half (Hanley and McNeil 1982). It is an average over all thresholds, and can hide what an
attacker wants: a few members that are *certain*. So Carlini et al. 2022 ("Membership inference
attacks from first principles", section III) ask for the TPR where the FPR is 1 % or 0.1 %.
"""

import numpy as np

SAMPLES = 1000


def roc(members, others):
    """-> FPR, TPR: float (k,), both rising from 0 to 1, a point for each threshold

    members, others: float (n,) and (m,), the scores; higher says "member"
    """
    scores = np.concatenate([members, others])
    thresholds = np.unique(scores)[::-1]
    rates = [(len(group) - np.searchsorted(np.sort(group), thresholds, side="left")) / len(group)
             for group in (others, members)]
    return tuple(np.concatenate([[0.0], rate]) for rate in rates)


def auc(members, others):
    """-> the area under the curve: P(member > other) + P(member = other) / 2"""
    ordered = np.sort(others)
    below, at_most = (np.searchsorted(ordered, members, side=side) for side in ("left", "right"))
    return float((below + at_most).sum() / (2 * len(members) * len(others)))


def tpr_at(fpr, tpr, level):
    """-> the highest TPR of a threshold whose FPR is at most `level`"""
    return float(tpr[fpr <= level].max())


def auc_interval(members, others, member_groups, other_groups, seed=0):
    """-> (low, high), 95 %, by drawing documents anew: windows of one document aren't independent

    member_groups, other_groups: int (n,) and (m,), the document of each score

    A bootstrap weighs the documents. With W[d, e] the wins of the windows of d over those of e, and
    n_d, m_e their numbers, the AUC of a draw with counts c and k is (c W k) / ((c n) (m k)).
    """
    first, second = (np.unique(groups, return_inverse=True)[1]
                     for groups in (member_groups, other_groups))
    n, m = np.bincount(first), np.bincount(second)
    wins = np.zeros((len(n), len(m)))
    order = np.argsort(others)
    ordered, columns = np.asarray(others)[order], second[order]
    for row, score in zip(first, members):
        low, high = (np.searchsorted(ordered, score, side) for side in ("left", "right"))
        wins[row] += np.bincount(columns[:low], minlength=len(m))
        wins[row] += np.bincount(columns[low:high], minlength=len(m)) / 2
    rng = np.random.default_rng(seed)
    c, k = (rng.multinomial(len(each), np.full(len(each), 1 / len(each)), size=SAMPLES)
            for each in (n, m))
    values = ((c @ wins) * k).sum(axis=1) / ((c @ n) * (k @ m))
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
