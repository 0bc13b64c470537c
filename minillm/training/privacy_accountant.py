"""The Rényi accountant: how much privacy the steps of DP-SGD have spent.

A mechanism M is (ε, δ)-differentially private if for all data sets D, D' that differ in one example
(one of them has it, the other doesn't) and all sets S of outcomes        (Dwork and Roth 2014)

    P[M(D) ∈ S] <= e^ε P[M(D') ∈ S] + δ

and it is (α, ρ)-Rényi private if D_α(M(D) ‖ M(D')) <= ρ, with             (Mironov 2017, def. 4)

    D_α(P ‖ Q) = log E_{x~Q} [(P(x) / Q(x))^α] / (α - 1)

Why this detour: T steps, each (α, ρ), are together (α, T ρ)    (proposition 1). Adding the ε of the
steps would be far too pessimistic.

One step of DP-SGD, in units of the clipping norm, is a Gaussian at 0 without the example. With it
the example is drawn with probability q, which moves the Gaussian by 1:

    Q = N(0, σ²),   P = (1 - q) N(0, σ²) + q N(1, σ²)           (Mironov, Talwar, Zhang 2019, sec. 3)
    P(x) / Q(x) = 1 - q + q exp((2x - 1) / 2σ²)
    ρ(α) = log A_α / (α - 1),   A_α = E_{x~Q} [(P(x) / Q(x))^α]

For an integer α, expand the power; E_Q exp(k (2x - 1) / 2σ²) = exp((k² - k) / 2σ²), so

    A_α = Σ_k C(α, k) (1 - q)^(α-k) q^k exp((k² - k) / 2σ²)                      (section 3.3)

For a tiny q this is 1 + 1e-17, and 1 is all that a float64 keeps. But the binomial probabilities
C(α, k) (1 - q)^(α-k) q^k sum to 1, so subtract them, and take log(1 + x) of what remains:

    A_α - 1 = Σ_k C(α, k) (1 - q)^(α-k) q^k (exp((k² - k) / 2σ²) - 1)

For another α the binomial series converges only where one term is the smaller one, so the integral
is cut at z = σ² log(1/q - 1) + 1/2, where q exp((2z - 1) / 2σ²) = 1 - q, and each half expanded in
powers of the smaller term:                                                        (section 3.3)

    A_α <= Σ_k |C(α, k)| { (1 - q)^(α-k) q^k exp((k² - k) / 2σ²) Φ((z - k) / σ)
                         + (1 - q)^k q^(α-k) exp((j² - j) / 2σ²) Φ((j - z) / σ) },   j = α - k

All sums are of logarithms. Where A_α is close to 1, the integral itself is computed, of the little
that remains: with u = P(x) / Q(x) - 1, whose mean is 0,

    A_α - 1 = E_{x~Q} [(1 + u)^α - 1 - α u]

Every α gives a valid ε; the smallest one counts:

    ε = ρ + log(1 - 1/α) - log(δ α) / (α - 1)            (Canonne, Kamath, Steinke 2020, prop. 12)
"""

import math
from functools import lru_cache

import numpy as np

# Those of the library dp-accounting: close together where the best ones mostly are.
ORDERS = (*(1 + k / 10 for k in range(1, 100)), *range(11, 64), 128, 256, 512, 1024)
TERMS = (64, 250, 1000)  # of the series: more if these aren't enough
LEAST_LOG_A = 1e-6  # of the series: less than this has too few digits
LARGEST_NOISE = 1e6


def epsilon_spent(q, noise, steps, delta):
    """-> the ε of `steps` steps of DP-SGD

    q: the probability of an example to be drawn in a step;  noise: σ, in units of the clipping
    norm;  delta: δ.  Raises ValueError for numbers out of range.
    """
    _require("q", q, 0 <= q <= 1, "0 to 1")
    _require("noise", noise, noise >= 0, "at least 0")
    _require("steps", steps, steps >= 0, "at least 0")
    _require("delta", delta, 0 < delta < 1, "a number between 0 and 1")
    if q == 0 or steps == 0:
        return 0.0
    if noise == 0:
        return math.inf
    return min(epsilon_of_order(order, steps * renyi_divergence(q, noise, order), delta)
               for order in ORDERS)


def noise_for(epsilon, q, steps, delta):
    """-> the smallest σ, to four digits, with which `steps` steps spend at most `epsilon`

    Found by bisection: more noise spends less. Raises ValueError if no σ up to a million is enough.
    """
    _require("epsilon", epsilon, epsilon > 0, "a number over 0")
    low, high = 0.0, 1.0
    while epsilon_spent(q, high, steps, delta) > epsilon:
        low, high = high, 2 * high
        if high > LARGEST_NOISE:
            raise ValueError(f"epsilon is {epsilon}, which no noise reaches in {steps} steps with "
                             f"delta {delta}: wanted a larger epsilon, or fewer steps")
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        if epsilon_spent(q, middle, steps, delta) > epsilon:
            low = middle
        else:
            high = middle
    digits = 10 ** (3 - math.floor(math.log10(high)))
    return math.ceil(high * digits) / digits


def epsilon_of_order(order, divergence, delta):
    """-> the ε of a mechanism whose Rényi divergence of this order α is `divergence`"""
    # δ² > 1 - exp(-ρ): ρ, which is at least the KL divergence, is so small that already ε = 0 holds
    # with this δ                                              (Bretagnolle and Huber 1979)
    if delta**2 + math.expm1(-divergence) > 0:
        return 0.0
    if order <= 1.01:
        return math.inf
    epsilon = divergence + math.log1p(-1 / order) - math.log(delta * order) / (order - 1)
    return max(0.0, epsilon)


@lru_cache(4096)
def renyi_divergence(q, noise, order):
    """-> ρ(α) of one step, for α = `order` over 1"""
    if q == 0:
        return 0.0
    if noise == 0:
        return math.inf
    if q == 1:
        return order / (2 * noise**2)  # no sampling: the Gaussian mechanism  (Mironov 2017, prop. 7)
    if order == int(order):
        return _log_A_of_integer(q, noise, int(order)) / (order - 1)
    log_A = _log_A_of_fraction(q, noise, order)
    if log_A < LEAST_LOG_A:
        log_A = _log_A_near_0(q, noise, order)
    return log_A / (order - 1)


def _log_A_of_integer(q, noise, order):
    k = np.arange(2, order + 1)  # the terms of 0 and 1 are 0
    exponent = (k * k - k) / (2 * noise**2)
    # log(exp(x) - 1) = x + log(1 - exp(-x))
    logs = (_log_binomials(order, 2, order + 1) + k * math.log(q) + (order - k) * math.log1p(-q)
            + exponent + np.log(-np.expm1(-exponent)))
    log_excess = _log_sum(logs)
    return math.log1p(math.exp(log_excess)) if log_excess < 0 else float(
        np.logaddexp(0.0, log_excess))


def _log_A_of_fraction(q, noise, order):
    for n_terms in TERMS:
        total, last = _series_of_fraction(q, noise, order, n_terms)
        if last < total - 30:
            return total
    return math.inf  # the series hasn't converged: leave this order out


def _series_of_fraction(q, noise, order, n_terms):
    """-> log of the sum of the first terms of both halves, log of the last term"""
    k = np.arange(n_terms)
    z = noise**2 * math.log(1 / q - 1) + 0.5
    log_q, log_rest = math.log(q), math.log1p(-q)
    j = order - k
    log_binomial = _log_binomials(order, 0, n_terms)
    below = (log_binomial + k * log_q + j * log_rest + (k * k - k) / (2 * noise**2)
             + _log_normal_cdf((z - k) / noise))
    above = (log_binomial + j * log_q + k * log_rest + (j * j - j) / (2 * noise**2)
             + _log_normal_cdf((j - z) / noise))
    return _log_sum(np.concatenate([below, above])), max(below[-1], above[-1])


def _log_A_near_0(q, noise, order):
    """log A_α by the trapezoidal rule, which for such an integrand has nearly all digits"""
    step = min(noise / 16, noise**2 / 4)
    x = np.arange(-12 * noise, order + 12 * noise, step)
    Q = np.exp(-x**2 / (2 * noise**2)) / (noise * math.sqrt(2 * math.pi))
    u = q * np.expm1((2 * x - 1) / (2 * noise**2))
    series = order * (order - 1) * u**2 * (1 / 2 + (order - 2) * u / 6)
    excess = np.where(np.abs(u) < 1e-5, series, np.expm1(order * np.log1p(u)) - order * u)
    return math.log1p(float((Q * excess).sum()) * step)


@lru_cache(1024)
def _log_binomials(n, first, stop):
    """-> log |C(n, k)| for the integers k from `first` to stop - 1; n may be a fraction"""
    k = np.arange(first, stop)
    lgamma = np.vectorize(math.lgamma, otypes=[float])
    return math.lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _log_normal_cdf(x):
    """-> log Φ(x): (K,), also far below 0, where Φ underflows"""
    return np.array([_log_normal_cdf_of(value) for value in x.tolist()])


# Φ(x) = erfc(-x / √2) / 2, and for x -> -∞ by repeated integration by parts
#   Φ(x) = exp(-x²/2) / (|x| √2π) * (1 - 1/x² + 3/x⁴ - 15/x⁶ + 105/x⁸ - …)
# From x = -20 on, five terms of it have all digits of a float64.
def _log_normal_cdf_of(x):
    if x > -20:
        return math.log(math.erfc(-x / math.sqrt(2)) / 2)
    s = 1 / x**2
    series = 1 - s * (1 - 3 * s * (1 - 5 * s * (1 - 7 * s * (1 - 9 * s))))
    return -x**2 / 2 - math.log(-x * math.sqrt(2 * math.pi)) + math.log(series)


def _log_sum(logs):
    """-> log Σ exp(logs)"""
    largest = logs.max()
    if not math.isfinite(largest):
        return float(largest)
    return float(largest + math.log(np.exp(logs - largest).sum()))


def _require(name, value, holds, wanted):
    if not holds:  # also refuses nan
        raise ValueError(f"{name} is {value}, wanted {wanted}")
