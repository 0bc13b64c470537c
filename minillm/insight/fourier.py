"""Waves in a model whose tokens are the numbers modulo p          (Nanda et al. 2023, sec. 4 and 5)

Every function of n = 0 … p - 1, p odd, is a sum of waves, which for different k are orthogonal:

    f(n) = c_0 + Σ_k (a_k cos w_k n + b_k sin w_k n),    w_k = 2πk/p,    k = 1 … (p - 1)/2

A model that adds modulo p can turn its numbers into angles w_k a and w_k b, add the angles by

    cos w(a + b) = cos wa cos wb - sin wa sin wb
    sin w(a + b) = sin wa cos wb + cos wa sin wb

and answer with the c whose angle fits: logit(c) = Σ_k α_k cos w_k(a + b - c), which is largest at
c = a + b (mod p), because there all waves are at their top. The functions here look for such waves
in the weights, the neurons and the logits of a model, keep them, and remove them.
"""

from typing import NamedTuple

import numpy as np

from minillm.figures import COLORS, new_figure
from minillm.ops.cross_entropy import cross_entropy


def waves(p):
    """-> float64 (p, p): rows 1, cos w_1 n, sin w_1 n, cos w_2 n, …, scaled to length 1

    The rows are orthonormal: waves(p) @ f are f's coefficients, and their squares add up to ‖f‖².
    """
    if p < 3 or p % 2 == 0:
        raise ValueError(f"p is {p}, wanted an odd number of at least 3")
    n = np.arange(p)
    angles = 2 * np.pi * np.arange(1, (p + 1) // 2)[:, None] * n / p  # ((p - 1)/2, p)
    rows = np.empty((p, p))
    rows[0] = np.sqrt(1 / p)
    rows[1::2] = np.sqrt(2 / p) * np.cos(angles)
    rows[2::2] = np.sqrt(2 / p) * np.sin(angles)
    return rows


def power(W):
    """W: (p, d), a function of n for each column -> float64 ((p + 1)/2,): ‖coefficients‖² by k

    power[0] belongs to the constant; all together are ‖W‖².
    """
    squares = ((waves(len(W)) @ W.astype(np.float64)) ** 2).reshape(len(W), -1).sum(axis=1)
    return np.concatenate([squares[:1], squares[1:].reshape(-1, 2).sum(axis=1)])


def key_frequencies(W, share=0.9):
    """W: (p, d) -> sorted list of the fewest k that hold `share` of the power of all waves"""
    found = power(W)[1:]
    order = np.argsort(-found, kind="stable")
    n = np.searchsorted(np.cumsum(found[order]), share * found.sum()) + 1
    return sorted(int(k) + 1 for k in order[:n])


def keep(W, ks, constant=True):
    """W: (p, …) -> the same shape: only the waves of the frequencies `ks`, and its mean over n

    constant: False removes the mean, too
    """
    rows = [0] * constant + [row for k in ks for row in (2 * k - 1, 2 * k)]
    F = waves(len(W))[rows]
    return (F.T @ (F @ W.astype(np.float64).reshape(len(W), -1))).reshape(W.shape)


def remove(W, ks):
    """W: (p, …) -> the same shape, without the waves of the frequencies `ks`"""
    return W - keep(W, ks, constant=False)


# ---- neurons


def tuning(neurons):
    """neurons: (p, p, m), the activations for each a and b -> k: int (m,), share: float64 (m,)

    k: the frequency that explains most of each neuron
    share: how much of its variance is the products of {1, cos w_k a, sin w_k a} and
        {1, cos w_k b, sin w_k b}: 1 for a neuron that knows nothing but the two angles

    A neuron that never changes has share 0.                           (Nanda et al. 2023, sec. 4.1)
    """
    p, _, m = neurons.shape
    F = waves(p)
    x = neurons.astype(np.float64)
    squares = np.einsum("ia,jb,abm->ijm", F, F, x, optimize=True) ** 2
    squares[0, 0] = 0  # the mean
    total = squares.sum(axis=(0, 1))
    shares = np.empty(((p - 1) // 2, m))
    for k in range(1, (p + 1) // 2):
        own = [0, 2 * k - 1, 2 * k]
        shares[k - 1] = squares[np.ix_(own, own)].sum(axis=(0, 1))
    shares /= np.where(total > 0, total, 1)
    return shares.argmax(axis=0) + 1, shares.max(axis=0)


# ---- logits


class Cosines(NamedTuple):
    """logit(a, b, c) ≈ Σ_k α_k cos w_k(a + b - c) + something that is the same for every c

    alpha: float64 ((p - 1)/2,), the best α_k by least squares, for k = 1, 2, …
    explained: float64 ((p - 1)/2,), the share of the logits' variance that each k explains; they
        add up, because the waves are orthogonal
    """

    alpha: np.ndarray
    explained: np.ndarray


def cosines(logits):
    """logits: (p², p), row a p + b, column c -> Cosines       (Nanda et al. 2023, sec. 4.2, eq. 1)

    What a softmax doesn't see, the mean over c, is subtracted first.
    """
    p = logits.shape[1]
    x = logits.astype(np.float64)
    x = x - x.mean(axis=1, keepdims=True)
    # Σ over all a, b, c of x cos w_k(a + b - c) needs only the mean of x for each a + b - c.
    by_sum = mean_by_sum(x)
    s, c = np.divmod(np.arange(p * p), p)
    by_difference = np.bincount((s - c) % p, by_sum.ravel(), minlength=p) / p
    n = np.arange(p)
    table = np.cos(2 * np.pi * np.arange(1, (p + 1) // 2)[:, None] * n / p)
    alpha = 2 / p * table @ by_difference
    variance = (x**2).sum()
    return Cosines(alpha, alpha**2 * p**3 / 2 / (variance or 1))


def mean_by_sum(logits):
    """logits: (p², p) -> float64 (p, p): row s is the mean over all questions with a + b = s"""
    p = logits.shape[1]
    a, b = np.divmod(np.arange(p * p), p)
    order = np.argsort((a + b) % p, kind="stable")  # p questions for each sum
    return logits[order].astype(np.float64).reshape(p, p, p).mean(axis=1)


# ---- measures of progress                                            (Nanda et al. 2023, sec. 5.1)


def restricted(logits, ks):
    """logits: (p², p) -> (p², p): only their mean and the waves cos w_k(a + b), sin w_k(a + b)"""
    return keep(mean_by_sum(logits), ks)[_sums(logits)]


def excluded(logits, ks):
    """logits: (p², p) -> (p², p): all but the waves cos w_k(a + b), sin w_k(a + b)"""
    return logits - keep(mean_by_sum(logits), ks, constant=False)[_sums(logits)]


def _sums(logits):
    p = logits.shape[1]
    a, b = np.divmod(np.arange(p * p), p)
    return (a + b) % p


class Progress(NamedTuple):
    """restricted: the loss on all questions of the logits with nothing but the key frequencies: it
        falls as soon as the rule is there, even if memories still drown it
    excluded: the loss on the questions of the training without them: it rises when the memories go
    """

    restricted: float
    excluded: float


def progress(logits, data, ks):
    """-> Progress;  logits: (p², p) of all questions of `data`, a ModularAddition;  ks: frequencies"""
    return Progress(
        float(cross_entropy(restricted(logits, ks), data.sums)[0]),
        float(cross_entropy(excluded(logits, ks)[data.train], data.sums[data.train])[0]))


# ---- pictures


def plot_power(powers):
    """powers: {name: (n,)}, as from `power` -> matplotlib Figure: a panel of bars for each"""
    figure, grid = new_figure(6, 0.6 + 1.2 * len(powers), rows=len(powers), sharex=True,
                              squeeze=False)
    for axes, (name, values) in zip(grid[:, 0], powers.items()):
        shares = values[1:] / (values[1:].sum() or 1)
        axes.bar(range(1, len(values)), shares, color=COLORS[1])
        axes.set(title=name, ylabel="share of the power")
    axes.set_xlabel("frequency k")
    return figure
