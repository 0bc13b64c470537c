"""Exposure: how much a model gives away of a secret that it was trained on.

(Carlini et al. 2019, "The Secret Sharer", section 4.) Let R be all secrets that fit a format, and

    P(s) = - log2 p(s) = Σ_t - log2 p(s_t | s_1 … s_{t-1})       the log-perplexity of a text, eq. 1

    rank(s) = |{s' in R: P(s') <= P(s)}|                          1: no other secret is likelier
    exposure(s) = log2 |R| - log2 rank(s)                         Definition 3, in bits

By guessing secrets in the model's order, one finds s after rank(s) guesses, instead of |R| / 2 on
average. A secret that the model has never seen has a random rank, so its exposure is n bits or more
with probability 2^-n: 1 / ln 2 = 1.44 bits on average. log2 |R| bits: the model says it first.

R is too large to rank as a whole, so section 4.3 estimates. `sampled` ranks among some secrets, and
ends at the logarithm of their number. `extrapolated` fits a skew-normal distribution to their
log-perplexities, and goes on into its tail.
"""

import math
from typing import NamedTuple

import numpy as np

ALL = 4096  # a format with at most so many secrets is ranked as a whole
FEW = 10  # samples below the secret; with fewer of them the extrapolation is the better estimate


class Exposure(NamedTuple):
    """bits: the best of the estimates below
    exact: by all secrets, else None;  sampled, extrapolated: None if there is an exact one
    most: log2 |R|, which nothing exceeds;  log_perplexity: of the text, in bits
    n: secrets that it was compared with
    """

    bits: float
    exact: float | None
    sampled: float | None
    extrapolated: float | None
    most: float
    log_perplexity: float
    n: int


def exposure(canary, reader, rng, n_samples=1000, report=lambda done, total: None):
    """-> Exposure of a Canary (minillm/text/canaries.py) in the model of `reader` (likelihood.py)

    rng: numpy Generator of the secrets to compare with;  n_samples: how many
    """
    form, number = canary.format, canary.number
    is_whole = form.size <= max(ALL, n_samples)
    others = (set(range(form.size)) if is_whole
              else {form.draw(rng) for _ in range(n_samples)}) - {number}
    rows = reader.rows_of([form.fill(each) for each in (number, *sorted(others))])
    bits = np.array([losses.sum() for losses in reader.losses(rows, report)]) / math.log(2)
    return estimates(bits[0], bits[1:], form.size)


def estimates(secret, others, size):
    """-> Exposure of a secret of log-perplexity `secret`, from those of other secrets

    others: float (n,), of all other secrets if n = size - 1, else of a sample;  size: |R|
    """
    most, n = math.log2(size), len(others)
    below = int((others <= secret).sum())
    if n == size - 1:
        exact = most - math.log2(1 + below)
        return Exposure(exact, exact, None, None, most, float(secret), n)
    tail = extrapolated(secret, others)
    drawn = sampled(secret, others)
    bits = drawn if below >= FEW else min(max(drawn, tail), most)
    return Exposure(bits, None, drawn, tail, most, float(secret), n)


def sampled(secret, others):
    """-> - log2 of the share of secrets that are at least as likely, this one among them

    (Section 4.3, "approximation by sampling".) At most log2(n + 1).
    """
    return math.log2(len(others) + 1) - math.log2(1 + int((others <= secret).sum()))


def extrapolated(secret, others):
    """-> - log2 ∫_{-∞}^{P(s)} ρ(x) dx, ρ the skew-normal density with the moments of `others`

    (Section 4.3, "approximation by distribution modeling".)
    """
    location, scale, shape = fit_skew_normal(others)
    if scale == 0:  # all others are alike
        return math.log2(len(others) + 1) if secret < location else 0.0
    return -log2_skew_normal_cdf((secret - location) / scale, shape)


def fit_skew_normal(values):
    """-> (location ξ, scale ω, shape α) by the method of moments        (Azzalini 1985)

    With δ = α / sqrt(1 + α²) and b = sqrt(2/π), the density 2/ω φ(z) Φ(α z), z = (x - ξ) / ω, has
    mean ξ + ω b δ,  variance ω² (1 - b² δ²),  skewness (4 - π)/2 (b δ)³ / (1 - b² δ²)^(3/2).
    Solving the last for δ, with g = |skewness|^(2/3):  δ² = π/2 g / (g + ((4 - π) / 2)^(2/3)).
    The skewness of a sample may be more than a skew-normal has; it is cut at 0.99.
    """
    mean, deviation = float(np.mean(values)), float(np.std(values))
    if deviation == 0:
        return mean, 0.0, 0.0
    skewness = float(np.clip(np.mean(((values - mean) / deviation) ** 3), -0.99, 0.99))
    g = abs(skewness) ** (2 / 3)
    delta = math.copysign(math.sqrt(math.pi / 2 * g / (g + ((4 - math.pi) / 2) ** (2 / 3))),
                          skewness)
    scale = deviation / math.sqrt(1 - 2 / math.pi * delta**2)
    location = mean - scale * math.sqrt(2 / math.pi) * delta
    return location, scale, delta / math.sqrt(1 - delta**2)


def log2_skew_normal_cdf(z, shape):
    """-> log2 ∫_{-∞}^z 2 φ(u) Φ(α u) du, also where the integral itself is below any float

    By Simpson's rule, on a stretch at whose far end the density is below e^-40 of that at z.
    """
    top = min(z, 12.0)
    if top > 0:
        step = (top + 12.0) / 2000
    else:  # it falls at least like e^(-a u²/2): solve a (w²/2 + |z| w) = 40 for the width w
        a = 1 + max(shape, 0.0) ** 2
        step = (math.sqrt(top * top + 80 / a) + top) / 2000
    u = top - step * np.arange(2001)
    log_density = np.log(2) - u**2 / 2 - math.log(2 * math.pi) / 2 + _log_normal_cdf(shape * u)
    weights = np.where(np.arange(2001) % 2, 4.0, 2.0)
    weights[[0, -1]] = 1.0
    highest = log_density.max()
    area = float((weights * np.exp(log_density - highest)).sum()) * step / 3
    return float(min(0.0, (highest + math.log(area)) / math.log(2)))


def _log_normal_cdf(x):
    """-> ln Φ(x), float (n,); below -10 by the asymptotic series φ(x)/|x| (1 - 1/x² + 3/x⁴)"""
    near = np.array([0.5 * math.erfc(-each / math.sqrt(2)) for each in np.maximum(x, -10)])
    far = np.minimum(x, -10.0)
    tail = (-far**2 / 2 - np.log(-far) - math.log(2 * math.pi) / 2
            + np.log1p(-(far**-2) + 3 * far**-4))
    return np.where(x > -10, np.log(near), tail)
