"""The exercises of chapter 26, Learning without remembering."""

import math

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 26.1 clipped_mean


def _norms(G):
    return np.sqrt((G**2).sum(axis=1, keepdims=True))


def _clipped_mean(G, C, L):
    return (G * np.minimum(1, C / _norms(G))).sum(axis=0) / L


def _clip_the_mean(G, C, L):
    mean = G.sum(axis=0) / L
    return mean * min(1, C / np.linalg.norm(mean))


def _clip_the_sum(G, C, L):
    total = G.sum(axis=0)
    return total * min(1, C / np.linalg.norm(total)) / L


_CLIP_CASES = [(np.array([[3.0, 4.0], [0.3, 0.4]]), 1.0, 4),
               (np.array([[1.0, 2.0, 2.0], [-6.0, 3.0, 2.0], [0.1, 0.0, 0.2]]), 2.0, 2),
               (np.array([[0.5, -0.1], [8.0, -6.0], [-1.0, 1.0]]), 5.0, 6)]
_CLIP_MISTAKES = [
    Mistake("You clip the mean. Then one example can still push all others aside: clip each row "
            "first, then add.", wrong=_clip_the_mean),
    Mistake("You clip the sum. Clip each row first, then add.", wrong=_clip_the_sum),
    Mistake("You divide by the number of rows. It tells how many examples were drawn: divide by "
            "the expected number L.", wrong=lambda G, C, L: _clipped_mean(G, C, len(G))),
    Mistake("You divide by nothing. The sum of the clipped rows is divided by L.",
            wrong=lambda G, C, L: _clipped_mean(G, C, 1)),
    Mistake("Every row gets the length C in your answer. A row that is shorter stays as it is.",
            wrong=lambda G, C, L: (G * C / _norms(G)).sum(axis=0) / L),
    Mistake("You clip each number between -C and C. It is the row's length that must not be more "
            "than C.", wrong=lambda G, C, L: np.clip(G, -C, C).sum(axis=0) / L),
    Mistake("Your factor is at least 1: it makes short rows long. It is the smaller one of 1 and "
            "C / ‖g‖.", wrong=lambda G, C, L: (G * np.maximum(1, C / _norms(G))).sum(axis=0) / L),
    Mistake("You forget the root: ‖g‖ is the root of the sum of squares.",
            wrong=lambda G, C, L: (G * np.minimum(1, C / _norms(G) ** 2)).sum(axis=0) / L),
    Mistake("You measure the columns. An example is a row.",
            wrong=lambda G, C, L: (G * np.minimum(
                1, C / np.sqrt((G**2).sum(axis=0, keepdims=True)))).sum(axis=0) / L),
    Mistake("You scale the rows to 1 in place of C.",
            wrong=lambda G, C, L: (G * np.minimum(1, 1 / _norms(G))).sum(axis=0) / L),
    Mistake("You leave out the rows that are too long. They are shortened, not dropped.",
            wrong=lambda G, C, L: (G * (_norms(G) <= C)).sum(axis=0) / L),
]

# ---- 26.2 ghost_norms


def _grams(X, D):
    return X @ X.swapaxes(1, 2), D @ D.swapaxes(1, 2)


def _ghost_norms(X, D):
    XX, DD = _grams(X, D)
    return np.sqrt((XX * DD).sum(axis=(1, 2)))


def _diagonal(X, D):
    return np.sqrt(((X**2).sum(axis=2) * (D**2).sum(axis=2)).sum(axis=1))


_GHOST_MISTAKES = [
    Mistake("That is the square. The norm is its root.", wrong=lambda X, D: _ghost_norms(X, D)**2),
    Mistake("You take t = s only. The gradient is a sum over the tokens, and the square of a sum "
            "has the products of different tokens too.", wrong=_diagonal),
    Mistake("You multiply the norms of X and D. The norm of a product of matrices is less.",
            wrong=lambda X, D: np.sqrt((X**2).sum(axis=(1, 2)) * (D**2).sum(axis=(1, 2)))),
    Mistake("You multiply the sums of the two Gram matrices. Multiply element by element, then "
            "sum.", wrong=lambda X, D: np.sqrt(np.abs(
                _grams(X, D)[0].sum(axis=(1, 2)) * _grams(X, D)[1].sum(axis=(1, 2))))),
    Mistake("You multiply the norms of the Gram matrices.", wrong=lambda X, D: np.sqrt(
        np.sqrt((_grams(X, D)[0]**2).sum(axis=(1, 2)) * (_grams(X, D)[1]**2).sum(axis=(1, 2))))),
    Mistake("You sum over the batch too. Every example has a norm of its own.",
            wrong=lambda X, D: float(np.sqrt((_ghost_norms(X, D)**2).sum()))),
    Mistake("That is the norm of the mean over the tokens. The gradient is their sum.",
            wrong=lambda X, D: _ghost_norms(X, D) / X.shape[1]),
    Mistake("You add the Gram matrices. Multiply them element by element.",
            wrong=lambda X, D: np.sqrt(np.abs(sum(_grams(X, D)).sum(axis=(1, 2))))),
    Mistake("You use X alone. The gradient has D as its other factor.",
            wrong=lambda X, D: np.sqrt((_grams(X, X)[0] * _grams(X, X)[1]).sum(axis=(1, 2)))),
    Mistake("That is half of it.", wrong=lambda X, D: _ghost_norms(X, D) / 2),
]

# ---- 26.3 epsilon_of_ten_steps


def _epsilon(steps=10, sigma=10.0, alpha=20, delta=1e-5, *, half=2, power=2, log=math.log):
    rho = steps * alpha / (half * sigma**power)
    return rho + log(1 - 1 / alpha) - log(delta * alpha) / (alpha - 1)


_EPSILON_MISTAKES = [
    Mistake("That is one step. The divergences of ten steps add up.", wrong=_epsilon(steps=1)),
    Mistake("You add up ε. Add up the divergences and convert once, at the end.",
            wrong=10 * _epsilon(steps=1)),
    Mistake("In the divergence, σ is squared.", wrong=_epsilon(power=1)),
    Mistake("The divergence is α / 2σ², with the 2.", wrong=_epsilon(half=1)),
    Mistake("Take the natural logarithm.", wrong=_epsilon(log=math.log10)),
    Mistake("You leave out log(1 - 1/α), which is negative.",
            wrong=_epsilon() - math.log(1 - 1 / 20)),
    Mistake("The last term is log(δ α), not log δ.",
            wrong=_epsilon() + math.log(20) / 19),
    Mistake("You divide the last logarithm by α, not by α - 1.",
            wrong=10 * 20 / 200 + math.log(1 - 1 / 20) - math.log(20e-5) / 20),
    Mistake("That is the divergence alone. The price of δ is still to be added.", wrong=1.0),
    Mistake("The logarithm of δ α is negative, and it is subtracted.",
            wrong=10 * 20 / 200 + math.log(1 - 1 / 20) + math.log(20e-5) / 19),
]

# ---- 26.4 private_mean


def _private_mean(G, C, sigma, L, z):
    return _clipped_mean(G, C, L) + sigma * C * z / L


_Z = (np.array([0.3, -1.2]), np.array([1.0, 0.5, -0.7]), np.array([-0.4, 2.0]))
_PRIVATE_CASES = [(G, C, sigma, L, z) for (G, C, L), sigma, z in
                  zip(_CLIP_CASES, (0.5, 1.5, 3.0), _Z)]
_PRIVATE_MISTAKES = [
    Mistake("Both bugs are still there. How far can one example move the sum? And what may the "
            "denominator know?", wrong=lambda G, C, sigma, L, z:
            (G * np.minimum(1, C / _norms(G))).sum(axis=0) / len(G) + sigma * z / len(G)),
    Mistake("One bug is left: the noise. One example moves the sum by up to C, so the noise has to "
            "be σ times as large as C.", wrong=lambda G, C, sigma, L, z:
            _clipped_mean(G, C, L) + sigma * z / L),
    Mistake("One bug is left: the denominator. The number of rows that were drawn is private "
            "itself.", wrong=lambda G, C, sigma, L, z: _private_mean(G, C, sigma, len(G), z)),
    Mistake("The noise is divided by L too: it is added to the sum.",
            wrong=lambda G, C, sigma, L, z: _clipped_mean(G, C, L) + sigma * C * z),
    Mistake("You forget the noise.", wrong=lambda G, C, sigma, L, z: _clipped_mean(G, C, L)),
    Mistake("You forget to clip.", wrong=lambda G, C, sigma, L, z:
            (G.sum(axis=0) + sigma * C * z) / L),
    Mistake("You clip after adding the noise. Then the noise is cut off again.",
            wrong=lambda G, C, sigma, L, z: _clip_the_sum(G + sigma * C * z / len(G), C, L)),
    Mistake("You add noise to every row. It is added once, to the sum.",
            wrong=lambda G, C, sigma, L, z: _private_mean(G, C, sigma * len(G), L, z)),
    Mistake("You subtract the noise.", wrong=lambda G, C, sigma, L, z:
            _private_mean(G, C, -sigma, L, z)),
    Mistake("The standard deviation is σ C, not its square.", wrong=lambda G, C, sigma, L, z:
            _clipped_mean(G, C, L) + (sigma * C) ** 2 * z / L),
]

EXERCISES = [
    Exercise("26.1", "clipped_mean", reference=_clipped_mean, cases=lambda rng: _CLIP_CASES,
             mistakes=_CLIP_MISTAKES),
    Exercise("26.2", "ghost_norms", reference=_ghost_norms,
             cases=lambda rng: [(rng.normal(size=(3, 4, 5)), rng.normal(size=(3, 4, 2))),
                                (rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 6, 7)))],
             mistakes=_GHOST_MISTAKES),
    Exercise("26.3", "epsilon_of_ten_steps", reference=_epsilon(), mistakes=_EPSILON_MISTAKES,
             tolerance=2e-3),
    Exercise("26.4", "private_mean", reference=_private_mean, cases=lambda rng: _PRIVATE_CASES,
             mistakes=_PRIVATE_MISTAKES),
]
