"""The exercises of chapter 21, Opening the box."""

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 21.1 attention_rollout


def _attention_rollout(weights, *, heads=np.mean, own=0.5, later_left=True, layers=slice(None)):
    R = np.eye(weights.shape[-1])
    for W in weights[layers]:
        A = (1 - own) * heads(W, axis=0) + own * np.eye(len(R))
        R = A @ R if later_left else R @ A
    return R


def _rollout_with(**changes):
    return lambda weights: _attention_rollout(weights, **changes)


def _not_halved(weights):
    R = np.eye(weights.shape[-1])
    for W in weights:
        R = (W.mean(axis=0) + np.eye(len(R))) @ R
    return R


def _elementwise(weights):
    R = np.ones(weights.shape[-2:])
    for W in weights:
        R = R * (W.mean(axis=0) / 2 + np.eye(len(R)) / 2)
    return R


def _added(weights):
    return np.mean([W.mean(axis=0) / 2 + np.eye(W.shape[-1]) / 2 for W in weights], axis=0)


_ROLLOUT_MISTAKES = [
    Mistake("The identity is missing: each layer mixes half of what it attends to with half of "
            "what the position has.", wrong=_rollout_with(own=0.0)),
    Mistake("You add the identity without halving. The rows of each layer's mixture must sum to 1.",
            wrong=_not_halved),
    Mistake("You multiply in the wrong order. A later layer mixes what the earlier ones have "
            "mixed, so it stands at the left.", wrong=_rollout_with(later_left=False)),
    Mistake("You add up the heads. Average them, or the rows no longer sum to 1.",
            wrong=_rollout_with(heads=np.sum)),
    Mistake("You take the largest weight of the heads. Average them.",
            wrong=_rollout_with(heads=np.max)),
    Mistake("You multiply number by number. The mixing of two layers is a product of matrices, @.",
            wrong=_elementwise),
    Mistake("You average the layers. They come one after the other: multiply their matrices.",
            wrong=_added),
    Mistake("Only the last layer is in the result. Multiply all of them.",
            wrong=_rollout_with(layers=slice(-1, None))),
    Mistake("Only the first layer is in the result. Multiply all of them.",
            wrong=_rollout_with(layers=slice(0, 1))),
    Mistake("The first layer is missing: begin with the identity, not with its weights' successor.",
            wrong=_rollout_with(layers=slice(1, None))),
    Mistake("You use only head 0. Average the heads of each layer.",
            wrong=lambda weights: _attention_rollout(weights[:, :1])),
    Mistake("It is transposed. Row t must say what is in output t.",
            wrong=lambda weights: _attention_rollout(weights).T),
]

# ---- 21.2 direct_shares


def _direct_shares(parts, gamma, w, eps=1e-5, *, center=True, sigma=None, gain=True):
    x = parts.sum(axis=0)
    scale = np.sqrt(x.var() + eps) if sigma is None else sigma(parts, eps)
    shown = parts - parts.mean(axis=1, keepdims=True) if center else parts
    return shown / scale * (gamma if gain else 1) @ w


def _shares_with(**changes):
    return lambda parts, gamma, w, eps=1e-5: _direct_shares(parts, gamma, w, eps, **changes)


def _centered_by_the_sum(parts, gamma, w, eps=1e-5):
    x = parts.sum(axis=0)
    return (parts - x.mean()) / np.sqrt(x.var() + eps) * gamma @ w


_SHARES_MISTAKES = [
    Mistake("You divide each part by its own σ. All parts share that of their sum x, or the shares "
            "don't add up.",
            wrong=_shares_with(sigma=lambda parts, eps: np.sqrt(parts.var(axis=1, keepdims=True)
                                                              + eps))),
    Mistake("The mean isn't subtracted. Layer norm subtracts it, and each part has one of its own.",
            wrong=_shares_with(center=False)),
    Mistake("You subtract the mean of the sum from every part, so it is subtracted n times. Each "
            "part loses its own mean.", wrong=_centered_by_the_sum),
    Mistake("The gain γ is missing.", wrong=_shares_with(gain=False)),
    Mistake("You don't divide by σ.", wrong=_shares_with(sigma=lambda parts, eps: 1.0)),
    Mistake("You divide by the variance. σ is its root.",
            wrong=_shares_with(sigma=lambda parts, eps: parts.sum(axis=0).var() + eps)),
    Mistake("You divide by the root mean square of x. That is RMS norm; layer norm takes the "
            "standard deviation.",
            wrong=_shares_with(sigma=lambda parts, eps: np.sqrt((parts.sum(axis=0) ** 2).mean()
                                                              + eps))),
    Mistake("Your variance divides by d - 1 (ddof=1). Layer norm's divides by d.",
            wrong=_shares_with(
                sigma=lambda parts, eps: np.sqrt(parts.sum(axis=0).var(ddof=1) + eps))),
    Mistake("You take the σ of all numbers of all parts. It is that of their sum, x.",
            wrong=_shares_with(sigma=lambda parts, eps: np.sqrt(parts.var() + eps))),
    Mistake("You take the σ of the mean of the parts. It is that of their sum.",
            wrong=_shares_with(sigma=lambda parts, eps: np.sqrt(parts.mean(axis=0).var() + eps))),
    Mistake("You return the logit. Its n shares are wanted.",
            wrong=lambda parts, gamma, w, eps=1e-5: _direct_shares(parts, gamma, w, eps).sum()),
    Mistake("You return the share of every number of every part. Sum over d: that is the product "
            "with w.", wrong=lambda parts, gamma, w, eps=1e-5: (
                (parts - parts.mean(axis=1, keepdims=True))
                / np.sqrt(parts.sum(axis=0).var() + eps) * gamma * w)),
]

# ---- 21.3 estimated_effects


def _estimated_effects(clean, corrupt, gradient, m_clean, m_corrupt):
    return ((clean - corrupt) * gradient).sum(axis=1) / (m_clean - m_corrupt)


_ESTIMATE_MISTAKES = [
    Mistake("The sign is wrong in one of the two differences: both go from corrupt to clean.",
            wrong=lambda *arguments: -_estimated_effects(*arguments)),
    Mistake("You don't divide by m(clean) - m(corrupt): the effect is a share.",
            wrong=lambda c, d, g, m, n: ((c - d) * g).sum(axis=1)),
    Mistake("You divide by m(clean). The whole effect is m(clean) - m(corrupt).",
            wrong=lambda c, d, g, m, n: ((c - d) * g).sum(axis=1) / m),
    Mistake("You divide by m(corrupt). The whole effect is m(clean) - m(corrupt).",
            wrong=lambda c, d, g, m, n: ((c - d) * g).sum(axis=1) / n),
    Mistake("You take the clean value alone. What changes is the difference of the two values.",
            wrong=lambda c, d, g, m, n: (c * g).sum(axis=1) / (m - n)),
    Mistake("You take the corrupt value alone: that is gradient × input. What changes is the "
            "difference of the two values.",
            wrong=lambda c, d, g, m, n: (d * g).sum(axis=1) / (m - n)),
    Mistake("You take the mean over d. A scalar product is a sum.",
            wrong=lambda c, d, g, m, n: ((c - d) * g).mean(axis=1) / (m - n)),
    Mistake("You sum over the positions, axis 0. The effect of each position is wanted: sum over "
            "d, axis 1.", wrong=lambda c, d, g, m, n: ((c - d) * g).sum(axis=0) / (m - n)),
    Mistake("You sum over everything. Each position has an effect of its own.",
            wrong=lambda c, d, g, m, n: ((c - d) * g).sum() / (m - n)),
    Mistake("You take absolute values. An effect may be negative: away from the clean answer.",
            wrong=lambda *arguments: np.abs(_estimated_effects(*arguments))),
    Mistake("You return a number for each dimension. Sum them: a scalar product for each position.",
            wrong=lambda c, d, g, m, n: (c - d) * g / (m - n)),
    Mistake("The gradient is missing: how far a value moves says nothing about how much m does.",
            wrong=lambda c, d, g, m, n: (c - d).sum(axis=1) / (m - n)),
]

# ---- 21.4 curve_score


def _curve_score(curve, random_curves):
    chance = random_curves.mean(axis=0)
    return float((chance - curve).mean() / abs(chance[0] - chance[-1]))


def _unit(function):
    def wrong(curve, random_curves):
        chance = random_curves.mean(axis=0)
        return float((chance - curve).mean() / function(curve, chance))
    return wrong


_SCORE_MISTAKES = [
    Mistake("A curve that falls sooner than chance gets a negative score. Which of the two is "
            "lower for a good ranking?",
            wrong=lambda curve, random_curves: float(
                (curve - random_curves.mean(axis=0)).mean() / abs(curve[0] - curve[-1]))),
    Mistake("The difference is still the wrong way around: a good ranking's curve lies below "
            "chance.",
            wrong=lambda curve, random_curves: -_curve_score(curve, random_curves)),
    Mistake("The unit is the fall of the mean of the random curves, not of this curve.",
            wrong=_unit(lambda curve, chance: abs(curve[0] - curve[-1]))),
    Mistake("You don't divide by the whole fall.", wrong=_unit(lambda curve, chance: 1.0)),
    Mistake("The fall may be negative, if m rises when all tokens are gone. Take its absolute "
            "value, or the sign of the score turns.",
            wrong=_unit(lambda curve, chance: chance[0] - chance[-1])),
    Mistake("You divide by the range of the curve. Its whole fall is from the first point to the "
            "last.",
            wrong=_unit(lambda curve, chance: np.ptp(chance))),
    Mistake("You divide by the first value. The unit is the whole fall, from the first to the "
            "last.",
            wrong=_unit(lambda curve, chance: abs(chance[0]))),
    Mistake("You add up the points. The score is their mean, so that it doesn't depend on the "
            "length.",
            wrong=lambda curve, random_curves: _curve_score(curve, random_curves) * len(curve)),
    Mistake("You compare with the best random curve. Chance is their mean.",
            wrong=lambda curve, random_curves: float(
                (random_curves.min(axis=0) - curve).mean()
                / abs(random_curves.mean(axis=0)[0] - random_curves.mean(axis=0)[-1]))),
    Mistake("You take the absolute difference. A ranking that is worse than chance has a negative "
            "score.",
            wrong=lambda curve, random_curves: float(
                np.abs(random_curves.mean(axis=0) - curve).mean()
                / abs(random_curves.mean(axis=0)[0] - random_curves.mean(axis=0)[-1]))),
    Mistake("You average over the points of each random curve, axis 1. Average over the curves, "
            "axis 0.", when=lambda got, *rest: np.ndim(got) > 0),
]

# ---- 21.5 n_forwards

_FORWARDS = 4 * 4 * 13 + 2
_FORWARDS_MISTAKES = [
    Mistake("Each head is patched at each position, on its own.", wrong=4 * 4 + 2),
    Mistake("The clean and the corrupt run are missing.", wrong=4 * 4 * 13),
    Mistake("One run is missing: the clean and the corrupt text need one each.",
            wrong=4 * 4 * 13 + 1),
    Mistake("There are 4 heads in each of 4 layers.", wrong=4 * 13 + 2),
    Mistake("There are 4 heads in each of 4 layers: 16, not 8.", wrong=8 * 13 + 2),
    Mistake("The clean and the corrupt run are needed once, not for each head.",
            wrong=4 * 4 * (13 + 2)),
    Mistake("The clean and the corrupt run are needed once, not for each patch.",
            wrong=3 * 4 * 4 * 13),
    Mistake("Only the corrupt text is patched.", wrong=2 * 4 * 4 * 13),
    Mistake("Only the corrupt text is patched.", wrong=2 * 4 * 4 * 13 + 2),
    Mistake("That is the gradient's estimate. The exact effects need a forward for each patch.",
            wrong=3),
    Mistake("All 13 positions are patched, the last one, too.", wrong=4 * 4 * 12 + 2),
]


def _weights(rng, L, H, T):
    W = np.where(np.tri(T, dtype=bool), rng.random((L, H, T, T)), 0)
    return W / W.sum(axis=-1, keepdims=True)


EXERCISES = [
    Exercise("21.1", "attention_rollout", reference=_attention_rollout,
             cases=lambda rng: [(_weights(rng, 3, 2, 4),), (_weights(rng, 2, 3, 5),)],
             mistakes=_ROLLOUT_MISTAKES),
    Exercise("21.2", "direct_shares", reference=_direct_shares,
             cases=lambda rng: [(rng.normal(size=(n, d)) + 1, 1 + rng.random(d), rng.normal(size=d))
                                for n, d in ((3, 6), (5, 8))],
             mistakes=_SHARES_MISTAKES),
    Exercise("21.3", "estimated_effects", reference=_estimated_effects,
             cases=lambda rng: [(*rng.normal(size=(3, T, d)), 1.5, -0.75)
                                for T, d in ((4, 3), (2, 5))],
             mistakes=_ESTIMATE_MISTAKES),
    Exercise("21.4", "curve_score", reference=_curve_score,
             cases=lambda rng: [
                 (np.array([3.0, 1.0, 0.5, 1.0]),
                  np.array([[3.1, 2.5, 2.0, 1.2], [3.0, 2.0, 1.0, 0.9]])),
                 (np.array([1.0, 2.0, 5.0]), np.array([[1.0, 1.5, 4.5], [1.0, 2.1, 5.3]])),
                 (np.array([2.0, 4.0, 2.0, 0.5]), np.array([[2.0, 2.5, 1.0, 0.6]]))],
             mistakes=_SCORE_MISTAKES),
    Exercise("21.5", "n_forwards", reference=_FORWARDS, mistakes=_FORWARDS_MISTAKES, tolerance=0),
]
