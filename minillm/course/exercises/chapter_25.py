"""The exercises of chapter 25, What a model remembers."""

import math

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 25.1 exposure


def _exposure(P, number, *, below=np.less_equal, add=0, log=math.log2, size=len, sign=1):
    rank = below(P, P[number]).sum() + add
    return sign * (log(size(P)) - log(rank))


def _exposure_with(**changes):
    return lambda P, number: _exposure(P, number, **changes)


def _secrets(rng):
    flat = np.round(rng.normal(40, 3, size=30))
    best = rng.normal(40, 3, size=64)
    best[7] = 1.0
    last = rng.normal(40, 3, size=50)
    last[3] = 99.0
    return [(rng.normal(40, 3, size=100), 17), (flat, 4), (best, 7), (last, 3),
            (rng.normal(40, 3, size=1000), 0), (np.array([2.0, 1.0, 3.0, 1.0]), 3)]


_EXPOSURE_MISTAKES = [
    Mistake("You count from the wrong side: a *small* log-perplexity is a likely secret.",
            wrong=_exposure_with(below=np.greater_equal)),
    Mistake("You leave out the secret itself and those that are as likely: the rank counts P(s') "
            "≤ P(s).", wrong=_exposure_with(below=np.less)),
    Mistake("You count the secret itself, but not the others that are as likely as it.",
            wrong=_exposure_with(below=np.less, add=1)),
    Mistake("You add 1 to a count that has the secret itself in it already.",
            wrong=_exposure_with(add=1)),
    Mistake("Bits are logarithms to the base 2; you take natural ones.",
            wrong=_exposure_with(log=math.log)),
    Mistake("Bits are logarithms to the base 2, not to the base 10.",
            wrong=_exposure_with(log=math.log10)),
    Mistake("The sign: a rank of 1 is the *largest* exposure.", wrong=_exposure_with(sign=-1)),
    Mistake("That is log2 of the rank. Subtract it from log2 |R|.",
            wrong=lambda P, number: math.log2((P <= P[number]).sum())),
    Mistake("That is the rank. The exposure is log2 |R| - log2 rank.",
            wrong=lambda P, number: (P <= P[number]).sum()),
    Mistake("R holds all secrets, the true one too: len(P), not len(P) - 1.",
            wrong=_exposure_with(size=lambda P: len(P) - 1)),
    Mistake("You return the log-perplexity of the secret. Ask how many secrets have a smaller one.",
            wrong=lambda P, number: P[number]),
]

# ---- 25.2 area


def _area(members, others, *, tie=0.5, strict=1.0):
    difference = members[:, None] - others
    return float((strict * (difference > 0) + tie * (difference == 0)).mean())


def _area_with(**changes):
    return lambda members, others: _area(members, others, **changes)


def _groups(rng):
    return [(rng.normal(1, 1, size=9), rng.normal(size=7)),
            (np.round(rng.normal(1, 1, size=12)), np.round(rng.normal(size=8))),
            (np.array([1.0, 2.0, 2.0]), np.array([2.0, 0.0])),
            (np.array([0.0]), np.array([0.0])),
            (np.round(rng.normal(0.3, 2, size=20)), np.round(rng.normal(size=30)))]


_AREA_MISTAKES = [
    Mistake("The other way round: count the pairs in which the *member* scores higher.",
            wrong=lambda members, others: _area(others, members)),
    Mistake("A tie counts half. You count it as nothing.", wrong=_area_with(tie=0.0)),
    Mistake("A tie counts half. You count it as a win.", wrong=_area_with(tie=1.0)),
    Mistake("You count the wins and don't divide by the number of pairs.",
            wrong=lambda members, others: _area(members, others) * len(members) * len(others)),
    Mistake("You divide by the number of members only. There are n · m pairs.",
            wrong=lambda members, others: _area(members, others) * len(others)),
    Mistake("You divide by the number of the others only. There are n · m pairs.",
            wrong=lambda members, others: _area(members, others) * len(members)),
    Mistake("You compare the means of the two groups. Compare every member with every other.",
            wrong=lambda members, others: float(members.mean() > others.mean())),
    Mistake("That is the difference of the means, not a share of pairs.",
            wrong=lambda members, others: float(members.mean() - others.mean())),
    Mistake("You compare each member with the best of the others only.",
            wrong=lambda members, others: float((members > others.max()).mean())),
    Mistake("You compare each member with the mean of the others.",
            wrong=lambda members, others: float((members > others.mean()).mean())),
]

# ---- 25.3 tpr_at


def _tpr_at(members, others, level, *, at=np.greater_equal, allowed=np.less_equal, best=max,
            thresholds=lambda m, o: [*m, *o, np.inf]):
    found = [float(at(members, t).mean()) for t in thresholds(members, others)
             if allowed(at(others, t).mean(), level)]
    return best(found) if found else 0.0


def _tpr_with(**changes):
    return lambda members, others, level: _tpr_at(members, others, level, **changes)


def _level_of_members(members, others, level):
    return _tpr_at(others, members, level)


def _quantile(members, others, level):
    return float((members >= np.quantile(others, 1 - level)).mean())


def _levels(rng):
    one, other = np.round(rng.normal(1, 1, size=20), 1), np.round(rng.normal(size=25), 1)
    return [(one, other, 0.1), (one, other, 0.0), (one, other, 0.04), (one, other, 0.5),
            (np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0]), 0.0),
            (np.array([0.0, 1.0]), np.array([3.0]), 0.5), (one, other, 1.0),
            (np.array([3.0, 1.0]), np.array([3.0, 0.0, -1.0]), 0.3),
            (np.array([5.0, 4.0, 2.0]), np.array([1.0, 3.0, 1.0, 0.0]), 0.25)]


_TPR_MISTAKES = [
    Mistake("You exchange the groups: the *others* may have at most `level`.",
            wrong=_level_of_members),
    Mistake("You take the lowest of the rates that are allowed. The best threshold is the one that "
            "finds the most members.", wrong=_tpr_with(best=min)),
    Mistake("A false positive rate equal to `level` is allowed: at most, not less than.",
            wrong=_tpr_with(allowed=np.less)),
    Mistake("You bound the wrong way: the false positive rate has to be at *most* `level`.",
            wrong=_tpr_with(allowed=np.greater_equal)),
    Mistake("A score equal to the threshold says member: ≥, not >.",
            wrong=_tpr_with(at=np.greater, thresholds=lambda m, o: [*m, *o])),
    Mistake("A higher score says member. You count the scores below the threshold.",
            wrong=_tpr_with(at=np.less_equal)),
    Mistake("You take a quantile of the others, which interpolates between scores. Try the scores "
            "themselves as thresholds.", wrong=_quantile),
    Mistake("Scores of the members are thresholds too, not only those of the others.",
            wrong=_tpr_with(thresholds=lambda m, o: [*o, np.inf])),
    Mistake("That is the false positive rate of the threshold. Return the share of the members.",
            wrong=lambda members, others, level: max(
                float((others >= t).mean()) for t in [*members, *others, np.inf]
                if (others >= t).mean() <= level)),
]

# ---- 25.4 matched


def _matched(said, truth):
    return np.cumprod(said == truth, axis=1).sum(axis=1)


def _continuations(rng):
    truth = rng.integers(5, size=(6, 8))
    said = np.where(rng.random((6, 8)) < 0.6, truth, (truth + 1) % 5)
    said[0], said[1, 0] = truth[0], (truth[1, 0] + 1) % 5
    return [(said, truth), (truth[:2, :3] + np.array([[0, 0, 1], [1, 0, 0]]), truth[:2, :3]),
            (truth[:3, :1] + np.array([[1], [0], [0]]), truth[:3, :1])]


_MATCHED_MISTAKES = [
    Mistake("That is the function as it was. It also counts tokens after the first mistake that "
            "are right by coincidence.", wrong=lambda said, truth: (said == truth).sum(axis=1)),
    Mistake("You take the product over the rows. Time runs along axis 1.",
            wrong=lambda said, truth: np.cumprod(said == truth, axis=0).sum(axis=1)),
    Mistake("You sum over the rows. One number for each row is wanted: axis 1.",
            wrong=lambda said, truth: np.cumprod(said == truth, axis=1).sum(axis=0)),
    Mistake("That says whether all is right. How many are, before the first mistake?",
            wrong=lambda said, truth: np.cumprod(said == truth, axis=1)[:, -1]),
    Mistake("The index of the first mistake is 0 for rows without one, with argmin or argmax. "
            "These have all S right.", wrong=lambda said, truth: (said != truth).argmax(axis=1)),
    Mistake("You count from the end: the mistake that ends the count is the *first* one.",
            wrong=lambda said, truth: np.cumprod((said == truth)[:, ::-1], axis=1).sum(axis=1)),
    Mistake("You count the first mistake itself, too.",
            wrong=lambda said, truth: np.minimum(_matched(said, truth) + 1, said.shape[1])),
    Mistake("You return the matrix of zeros and ones. Sum along axis 1.",
            wrong=lambda said, truth: np.cumprod(said == truth, axis=1)),
    Mistake("You add all rows together. One number for each row is wanted.",
            wrong=lambda said, truth: _matched(said, truth).sum()),
    Mistake("You return shares. A count of tokens is wanted.",
            wrong=lambda said, truth: _matched(said, truth) / said.shape[1]),
]

# ---- 25.5 expected

_EXPECTED_MISTAKES = [
    Mistake("That is the probability of one. How many of 40 is that?", wrong=0.125),
    Mistake("Three bits are a factor of 2³ = 8, not of 3.", wrong=40 / 3),
    Mistake("A rank in the first eighth, not in the first quarter: 2^-3.", wrong=10.0),
    Mistake("Exposure is in bits, to the base 2, not to the base e.", wrong=40 * math.exp(-3)),
    Mistake("To the base 2, not to the base 10.", wrong=0.04),
    Mistake("That is how many have *less* than 3 bits.", wrong=35.0),
    Mistake("That is the mean exposure, 1 / ln 2. How many have 3 bits or more?",
            wrong=1 / math.log(2)),
    Mistake("A random rank is no rarity: one secret in eight is in the first eighth.", wrong=0.0),
]

EXERCISES = [
    Exercise("25.1", "exposure", reference=_exposure, cases=_secrets, mistakes=_EXPOSURE_MISTAKES),
    Exercise("25.2", "area", reference=_area, cases=_groups, mistakes=_AREA_MISTAKES),
    Exercise("25.3", "tpr_at", reference=_tpr_at, cases=_levels, mistakes=_TPR_MISTAKES),
    Exercise("25.4", "matched", reference=_matched, cases=_continuations,
             mistakes=_MATCHED_MISTAKES),
    Exercise("25.5", "expected", reference=5.0, mistakes=_EXPECTED_MISTAKES),
]
