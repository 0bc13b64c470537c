"""The exercises of chapter 30, The speedrun."""

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 30.1 newton_schulz

A, B, C = 3.4445, -4.7750, 2.0315


def _newton_schulz(G, steps, *, norm=None, a=A, b=B, c=C, right=False):
    X = G / (np.sqrt((G**2).sum()) if norm is None else norm(G))
    for _ in range(steps):
        S = X.T @ X if right else X @ X.T
        P = b * S + c * S @ S
        X = a * X + (X @ P if right else P @ X)
    return X


def _step(G, steps, update):
    X = G / np.sqrt((G**2).sum())
    for _ in range(steps):
        X = update(X, X @ X.T)
    return X


_NEWTON_MISTAKES = [
    Mistake("You don't divide by the norm first. The polynomial needs singular values from 0 to 1.",
            wrong=lambda G, steps: _newton_schulz(G, steps, norm=lambda G: 1.0)),
    Mistake("You divide by the sum of squares. The norm is its square root.",
            wrong=lambda G, steps: _newton_schulz(G, steps, norm=lambda G: (G**2).sum())),
    Mistake("You divide by the largest number. Singular values can still be above 1: divide by the "
            "Frobenius norm.",
            wrong=lambda G, steps: _newton_schulz(G, steps, norm=lambda G: np.abs(G).max())),
    Mistake("You divide by the largest singular value. That is a good idea, but here it is the "
            "Frobenius norm, which needs no decomposition.",
            wrong=lambda G, steps: _newton_schulz(G, steps, norm=lambda G: np.linalg.norm(G, 2))),
    Mistake("That is one step. Repeat it.", wrong=lambda G, steps: _newton_schulz(G, 1)),
    Mistake("The term of fifth order is missing: c times the square of X Xᵀ.",
            wrong=lambda G, steps: _newton_schulz(G, steps, c=0.0)),
    Mistake("The first term is a times the identity, so it adds a X. You leave it out.",
            wrong=lambda G, steps: _newton_schulz(G, steps, a=0.0)),
    Mistake("You divide by the norm before every step. Only the first X needs it.",
            wrong=lambda G, steps: _step(G, steps, lambda X, S: (
                lambda Y: (A * Y + (B * (Y @ Y.T) + C * (Y @ Y.T) @ (Y @ Y.T)) @ Y))(
                    X / np.sqrt((X**2).sum())))),
    Mistake("You square the numbers of X Xᵀ one by one. A² is a product of matrices.",
            wrong=lambda G, steps: _step(G, steps, lambda X, S: A * X + (B * S + C * S**2) @ X)),
    Mistake("The sign of b is lost. It is negative: it holds back large singular values.",
            wrong=lambda G, steps: _newton_schulz(G, steps, b=-B)),
    Mistake("You exchanged b and c.", wrong=lambda G, steps: _newton_schulz(G, steps, b=C, c=B)),
    Mistake("That is the exact polar factor. Return what `steps` steps give, which is only near it.",
            wrong=lambda G, steps: (lambda U, S, V: U @ V)(
                *np.linalg.svd(G, full_matrices=False))),
]

# ---- 30.2 gain


def _gain(G, *, of=lambda S: S.sum()):
    return float(of(np.linalg.svd(G, compute_uv=False)))


_GAIN_MISTAKES = [
    Mistake("That is the Frobenius norm, which a step along the gradient itself would gain. U Vᵀ "
            "moves all directions by 1.",
            wrong=lambda G: _gain(G, of=lambda S: np.sqrt((S**2).sum()))),
    Mistake("That is the sum of the squares of the singular values: what G itself gains. Here each "
            "direction moves by 1.", wrong=lambda G: _gain(G, of=lambda S: (S**2).sum())),
    Mistake("That is the largest singular value: the gain of moving one direction only.",
            wrong=lambda G: _gain(G, of=lambda S: S.max())),
    Mistake("That is the number of directions. Each gains its own singular value.",
            wrong=lambda G: _gain(G, of=len)),
    Mistake("That is their mean. The gains of all directions add up.",
            wrong=lambda G: _gain(G, of=lambda S: S.mean())),
    Mistake("You add the numbers of G. Its singular values are asked for.",
            wrong=lambda G: float(np.abs(G).sum())),
    Mistake("That is the trace of G. For that, U and V would have to be equal.",
            wrong=lambda G: float(np.trace(G))),
    Mistake("The loss falls by this, so the gain is positive: ⟨G, O⟩.", wrong=lambda G: -_gain(G)),
    Mistake("That is the smallest singular value.",
            wrong=lambda G: _gain(G, of=lambda S: S.min())),
]

# ---- 30.3 qk_scores


def _rms(x, eps=0.0, axis=-1):
    return x / np.sqrt((x**2).mean(axis=axis, keepdims=True) + eps)


def _qk_scores(Q, K, *, q=_rms, k=_rms, scale=None):
    scale = 1 / np.sqrt(Q.shape[-1]) if scale is None else scale
    return scale * q(Q) @ k(K).T


def _unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


_QK_MISTAKES = [
    Mistake("You normalize to length 1. RMSNorm makes vectors of length √D.",
            wrong=lambda Q, K: _qk_scores(Q, K, q=_unit, k=_unit)),
    Mistake("You normalize the queries only. The keys too.",
            wrong=lambda Q, K: _qk_scores(Q, K, k=lambda x: x)),
    Mistake("You normalize the keys only. The queries too.",
            wrong=lambda Q, K: _qk_scores(Q, K, q=lambda x: x)),
    Mistake("You don't normalize at all.",
            wrong=lambda Q, K: _qk_scores(Q, K, q=lambda x: x, k=lambda x: x)),
    Mistake("The scale 1 / √D is missing. Two vectors of length √D have products up to D.",
            wrong=lambda Q, K: _qk_scores(Q, K, scale=1.0)),
    Mistake("You divide by D. The scale is 1 / √D.",
            wrong=lambda Q, K: _qk_scores(Q, K, scale=1 / Q.shape[-1])),
    Mistake("You take the mean over the tokens, axis 0. Each vector has its own length: axis -1.",
            wrong=lambda Q, K: _qk_scores(Q, K, q=lambda x: _rms(x, axis=0),
                                          k=lambda x: _rms(x, axis=0))),
    Mistake("One length for all vectors together is not enough. Each has its own: axis -1, with "
            "keepdims.", wrong=lambda Q, K: _qk_scores(Q, K, q=lambda x: _rms(x, axis=None),
                                                       k=lambda x: _rms(x, axis=None))),
    Mistake("You divide by the mean square. Its root is missing.",
            wrong=lambda Q, K: _qk_scores(Q, K, q=lambda x: x / (x**2).mean(-1, keepdims=True),
                                          k=lambda x: x / (x**2).mean(-1, keepdims=True))),
    Mistake("That is the transpose: rows are queries, columns are keys.",
            wrong=lambda Q, K: _qk_scores(Q, K).T),
]

# ---- 30.4 relu2_backward


def _relu2_backward(dy, x):
    return dy * 2 * np.maximum(x, 0)


_RELU2_MISTAKES = [
    Mistake("Both bugs are still there. At a negative x the function is 0 on both sides, and at a "
            "positive one its slope isn't 2.", wrong=lambda dy, x: dy * np.where(x > 0, 2, x)),
    Mistake("One bug is left: the slope of x² is 2x, not 2.", wrong=lambda dy, x: dy * 2 * (x > 0)),
    Mistake("One bug is left: where x is negative, nothing flows back.",
            wrong=lambda dy, x: dy * np.where(x > 0, 2 * x, x)),
    Mistake("That is the function, not its slope.",
            wrong=lambda dy, x: dy * np.maximum(x, 0) ** 2),
    Mistake("The factor 2 is missing.", wrong=lambda dy, x: dy * np.maximum(x, 0)),
    Mistake("You forgot dy: the chain rule multiplies by what comes from above.",
            wrong=lambda dy, x: 2 * np.maximum(x, 0)),
    Mistake("That is the slope of x² everywhere. Negative x were cut.",
            wrong=lambda dy, x: dy * 2 * x),
    Mistake("That is the slope of x |x|, which doesn't cut negative numbers.",
            wrong=lambda dy, x: dy * 2 * np.abs(x)),
    Mistake("You kept the negative side and cut the positive one.",
            wrong=lambda dy, x: dy * 2 * np.minimum(x, 0)),
]

# ---- 30.5 trapezoid


def _trapezoid(step, warmup, total, cooldown, *, shift=1, last=1):
    if step < warmup:
        return (step + shift) / warmup
    progress = (step - warmup) / (total - last - warmup)
    return 1 - max(0.0, progress - (1 - cooldown)) / cooldown


def _linear(step, warmup, total, cooldown):
    if step < warmup:
        return (step + 1) / warmup
    return 1 - (step - warmup) / (total - 1 - warmup)


_TRAPEZOID_CASES = [(step, 10, 111, 0.6) for step in (0, 4, 9, 10, 30, 50, 80, 110)] + [
    (70, 20, 101, 0.25), (95, 20, 101, 0.25)]
_TRAPEZOID_MISTAKES = [
    Mistake("The first step has a rate of 0 in your schedule, so it is wasted. It is 1 / warmup.",
            wrong=lambda *given: _trapezoid(*given, shift=0)),
    Mistake("The rate falls from the end of the warm-up on. It stays at 1 until the last "
            "`cooldown` of the way.", wrong=_linear),
    Mistake("The last step, number total - 1, has a rate above 0. The way has total - 1 - warmup "
            "steps.", wrong=lambda *given: _trapezoid(*given, last=0)),
    Mistake("There is no warm-up in your schedule.", wrong=lambda step, warmup, total, cooldown:
            1.0 if step < warmup else _trapezoid(step, warmup, total, cooldown)),
    Mistake("The cool-down is missing.", wrong=lambda step, warmup, total, cooldown:
            min(1.0, (step + 1) / warmup)),
    Mistake("You took `cooldown` for the share at the peak. It is the share in which the rate "
            "falls.", wrong=lambda step, warmup, total, cooldown:
            _trapezoid(step, warmup, total, 1 - cooldown)),
    Mistake("At the start of the cool-down the rate jumps: divide what is left of the way by "
            "`cooldown`.", wrong=lambda step, warmup, total, cooldown:
            (step + 1) / warmup if step < warmup else
            1 - max(0.0, (step - warmup) / (total - 1 - warmup) - (1 - cooldown))),
    Mistake("You measure the way from step 0 on. It begins where the warm-up ends.",
            wrong=lambda step, warmup, total, cooldown:
            (step + 1) / warmup if step < warmup else
            1 - max(0.0, step / (total - 1) - (1 - cooldown)) / cooldown),
]

EXERCISES = [
    Exercise("30.1", "newton_schulz", reference=_newton_schulz,
             cases=lambda rng: [(rng.normal(size=(3, 5)), 1), (0.25 * rng.normal(size=(4, 4)), 2),
                                (0.1 * rng.normal(size=(2, 7)), 3)],
             mistakes=_NEWTON_MISTAKES),
    Exercise("30.2", "gain", reference=_gain,
             cases=lambda rng: [(rng.normal(size=(3, 3)),), (rng.normal(size=(4, 6)),),
                                (rng.normal(size=(5, 2)),)],
             mistakes=_GAIN_MISTAKES),
    Exercise("30.3", "qk_scores", reference=_qk_scores,
             cases=lambda rng: [(rng.normal(size=(4, 4)), rng.normal(size=(4, 4))),
                                (3 * rng.normal(size=(3, 8)), rng.normal(size=(5, 8)))],
             mistakes=_QK_MISTAKES),
    Exercise("30.4", "relu2_backward", reference=_relu2_backward,
             cases=lambda rng: [(rng.normal(size=(3, 4)), rng.normal(size=(3, 4))),
                                (rng.normal(size=7), rng.normal(size=7))],
             mistakes=_RELU2_MISTAKES),
    Exercise("30.5", "trapezoid", reference=_trapezoid, cases=lambda rng: _TRAPEZOID_CASES,
             mistakes=_TRAPEZOID_MISTAKES),
]
