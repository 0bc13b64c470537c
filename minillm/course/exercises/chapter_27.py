"""The exercises of chapter 27, Whom the model treats how."""

from itertools import combinations

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 27.1 effect_size


def _unit(V):
    return V / np.linalg.norm(V, axis=1, keepdims=True)


def _effect(X, Y, A, B, *, unit=_unit, ddof=1, divide=True, sign=1, inner=1, spread=None):
    W = unit(np.concatenate([X, Y]))
    s = (W @ unit(A).T).mean(axis=1) - inner * (W @ unit(B).T).mean(axis=1)
    difference = sign * (s[: len(X)].mean() - s[len(X) :].mean())
    if not divide:
        return difference
    return difference / (s.std(ddof=ddof) if spread is None else spread(s, len(X)))


def _effect_with(**changes):
    return lambda X, Y, A, B: _effect(X, Y, A, B, **changes)


_EFFECT_MISTAKES = [
    Mistake("Your standard deviation divides by n. The one with n - 1 is wanted: ddof=1.",
            wrong=_effect_with(ddof=0)),
    Mistake("You take products of vectors where cosines are wanted: divide by the lengths.",
            wrong=_effect_with(unit=lambda V: V)),
    Mistake("That is the difference of the means. Divide it by the standard deviation of s over X "
            "and Y together.", wrong=_effect_with(divide=False)),
    Mistake("Your sign is turned: X minus Y, and A minus B.", wrong=_effect_with(sign=-1)),
    Mistake("You add the cosines with B. Subtract them.", wrong=_effect_with(inner=-1)),
    Mistake("You leave out B: s(w) is the difference of two mean cosines.",
            wrong=_effect_with(inner=0)),
    Mistake("Take the standard deviation of X and Y together, not of X alone.",
            wrong=_effect_with(spread=lambda s, n: s[:n].std(ddof=1))),
    Mistake("Take the standard deviation of X and Y together, not the mean of the two.",
            wrong=_effect_with(spread=lambda s, n: (s[:n].std(ddof=1) + s[n:].std(ddof=1)) / 2)),
    Mistake("You divide by the variance. Take its root.",
            wrong=_effect_with(spread=lambda s, n: s.var(ddof=1))),
    Mistake("You sum over the targets. The effect compares means.",
            wrong=lambda X, Y, A, B: len(X) * _effect(X, Y, A, B)),
]

# ---- 27.2 p_value


def _p(s, n, *, hit=lambda d, o: d >= o - 1e-12, of=lambda hits, total: hits / total):
    observed = s[:n].mean() - s[n:].mean()
    hits = total = 0
    for chosen in combinations(range(len(s)), n):
        rest = [i for i in range(len(s)) if i not in chosen]
        hits += bool(hit(s[list(chosen)].mean() - s[rest].mean(), observed))
        total += 1
    return of(hits, total)


def _p_with(**changes):
    return lambda s, n: _p(s, n, **changes)


_P_MISTAKES = [
    Mistake("The bug is still there: the partition that was observed is itself one of those with "
            "at least this difference.", wrong=_p_with(hit=lambda d, o: d > o + 1e-12)),
    Mistake("You count the partitions with at most this difference. At least is wanted.",
            wrong=_p_with(hit=lambda d, o: d <= o + 1e-12)),
    Mistake("You count the partitions with a smaller difference, and it should be those with at "
            "least the observed one.", wrong=_p_with(hit=lambda d, o: d < o - 1e-12)),
    Mistake("You compare sizes without sign. The test is one-sided.",
            wrong=_p_with(hit=lambda d, o: abs(d) >= abs(o) - 1e-12)),
    Mistake("You add 1 above and below. That is for random partitions; here all are tried, and the "
            "observed one is among them.",
            wrong=_p_with(of=lambda hits, total: (hits + 1) / (total + 1))),
    Mistake("That is the number of partitions. Divide it by how many there are.",
            wrong=_p_with(of=lambda hits, total: hits)),
    Mistake("You added 1 to the hits without looking for the reason: ties are still lost.",
            wrong=lambda s, n: _p(s, n, hit=lambda d, o: d > o + 1e-12,
                                  of=lambda hits, total: (hits + 1) / total)),
]
_P_CASES = [([3.0, 2.0, 1.0, 0.0], 2), ([0.0, 1.0, 2.0, 3.0], 2), ([1.0, 1.0, 2.0, 2.0, 0.0], 2),
            ([0.5, -1.0, 0.25, 0.0, 2.0, 1.0], 3), ([1.0, 1.0, 1.0], 1)]

# ---- 27.4 without


def _without(W, D):
    Q, _ = np.linalg.qr(D.T)
    return W - W @ Q @ Q.T


def _one_after_another(W, D):
    for d in D:
        W = W - np.outer(W @ d, d) / (d @ d)
    return W


def _rows(D):
    return D / np.linalg.norm(D, axis=1, keepdims=True)


_WITHOUT_MISTAKES = [
    Mistake("D isn't orthonormal, so DᵀD is no projection. Make an orthonormal basis of its span "
            "first, such as by np.linalg.qr.", wrong=lambda W, D: W - W @ D.T @ D),
    Mistake("The rows have length 1 now, but they aren't orthogonal to each other.",
            wrong=lambda W, D: W - W @ _rows(D).T @ _rows(D)),
    Mistake("You take out one direction after another. The second brings some of the first back, "
            "unless they are orthogonal.", wrong=_one_after_another),
    Mistake("That is what lies along the directions. Take it away from W.",
            wrong=lambda W, D: W - _without(W, D)),
    Mistake("You add what should be taken away.", wrong=lambda W, D: 2 * W - _without(W, D)),
    Mistake("You take out the first direction alone.", wrong=lambda W, D: _without(W, D[:1])),
    Mistake("You take out what W has twice: the sign of it is turned.",
            wrong=lambda W, D: 2 * _without(W, D) - W),
    Mistake("The vectors are without the directions, and then normalized. Return them as they are.",
            wrong=lambda W, D: _unit(_without(W, D))),
    Mistake("You take the mean of W away as well. Only the directions.",
            wrong=lambda W, D: _without(W - W.mean(axis=0), D)),
]

# ---- 27.5 accuracy_of_neighbors


def _neighbors(V, groups, *, unit=_unit, own=-np.inf, best=np.argmax, axis=1, same=True, of=np.mean):
    S = unit(V) @ unit(V).T
    if own is not None:
        np.fill_diagonal(S, own)
    groups = np.asarray(groups)
    return float(of((groups[best(S, axis=axis)] == groups) == same))


def _neighbors_with(**changes):
    return lambda V, groups: _neighbors(V, groups, **changes)


def _by_distance(V, groups):
    D = np.linalg.norm(V[:, None] - V[None], axis=-1)
    np.fill_diagonal(D, np.inf)
    return float(np.mean(np.asarray(groups)[D.argmin(axis=1)] == groups))


_NEIGHBOR_MISTAKES = [
    Mistake("Every vector is its own nearest. Leave it out: fill the diagonal with -inf.",
            wrong=_neighbors_with(own=None)),
    Mistake("That is by the product, not by the cosine: divide by the lengths.",
            wrong=_neighbors_with(unit=lambda V: V)),
    Mistake("You take the most distant vector. The nearest has the largest cosine.",
            wrong=_neighbors_with(own=np.inf, best=np.argmin)),
    Mistake("That is the share with a neighbor of the other group.",
            wrong=_neighbors_with(same=False)),
    Mistake("That is how many. Divide by the number of vectors.", wrong=_neighbors_with(of=np.sum)),
    Mistake("That is by distance. By cosine, a vector's length doesn't count.", wrong=_by_distance),
]


def _neighbor_cases(rng):
    return [(rng.normal(size=(n, 3)) * rng.uniform(0.1, 5, size=(n, 1)), rng.integers(2, size=n))
            for n in (5, 8, 9, 12)]


EXERCISES = [
    Exercise("27.1", "effect_size", reference=_effect, mistakes=_EFFECT_MISTAKES,
             cases=lambda rng: [tuple(rng.normal(size=(4, n, 5))) for n in (3, 4, 6)]),
    Exercise("27.2", "p_value", reference=_p, mistakes=_P_MISTAKES,
             cases=lambda rng: [(np.array(s), n) for s, n in _P_CASES]),
    Exercise("27.3", "rare_weight", reference=5.0, mistakes=[
        Mistake("That is the weight of the frequent case. The second group has the rare one.",
                wrong=0.25 / 0.45),
        Mistake("That is the share of the rare case, P(g, y). It stands below the line.", wrong=0.05),
        Mistake("The fraction is upside down.", wrong=0.2),
        Mistake("That is P(g) P(y). Divide it by the share that the case has.", wrong=0.25),
        Mistake("That is how many there should be. Divide by how many there are.", wrong=25.0),
        Mistake("You divide by P(y | g) or P(g | y), 0.1. Divide by P(g, y), the share of all 100.",
                wrong=2.5),
        Mistake("You forget P(y): P(g) / P(g, y) isn't enough.", wrong=10.0),
        Mistake("That is how much rarer it is than the other case. The weight compares it with what "
                "independence wants.", wrong=9.0),
    ]),
    Exercise("27.4", "without", reference=_without, mistakes=_WITHOUT_MISTAKES,
             cases=lambda rng: [(rng.normal(size=(n, 5)), rng.normal(size=(k, 5)))
                                for n, k in ((4, 2), (3, 3), (6, 2))]),
    Exercise("27.5", "accuracy_of_neighbors", reference=_neighbors, mistakes=_NEIGHBOR_MISTAKES,
             cases=_neighbor_cases),
]
