"""Rotary positions beyond the trained length: other frequencies θ for a model that exists.

Some pairs of a head turn many times within the trained length N, so training has shown every angle.
Others turn only a part of a circle, and at positions beyond N they reach angles that the model has
never seen. Each of these functions slows the slow pairs down, so that a sequence `factor` times as
long stays within the seen angles.
"""

import math

import numpy as np


def linear_scaling(theta, factor):
    """θ' = θ / factor: position m takes the angles of m / factor        (Chen et al. 2023, eq. 4)

    Fast pairs suffer: neighboring positions come closer to each other than in training.
    """
    return theta / factor


def dynamic_base(base, D, factor, N, length):
    """base' = base s^(D / (D - 2)),  s = factor length / N - (factor - 1): a larger base for
    sequences longer than N slows the slowest pair down most, the fastest not at all
                                                       (Peng et al. 2023, sec. 3.1 and 3.4)

    N: the trained length; length: of the sequence so far. Up to N nothing changes.
    """
    stretch = factor * max(length, N) / N - (factor - 1)
    return base * stretch ** (D / (D - 2))


def llama3_scaling(theta, factor, low_freq_factor, high_freq_factor, N):
    """θ / factor for pairs with fewer than low_freq_factor turns within N, θ for those with more
    than high_freq_factor, and a mixture between             (Grattafiori et al. 2024, Llama 3.1)
    """
    turns = N * theta / (2 * math.pi)
    fast = np.clip((turns - low_freq_factor) / (high_freq_factor - low_freq_factor), 0, 1)
    return (1 - fast) * theta / factor + fast * theta


def yarn_scaling(theta, base, factor, N, beta_fast=32, beta_slow=1, truncate=True):
    """The same with a mixture that is linear in the index of the pair, from the pair with beta_fast
    turns within N to the one with beta_slow                    (Peng et al. 2023, sec. 3.2)

    truncate: round the two indices outward to whole ones
    """
    D = 2 * len(theta)

    def pair_with(turns):  # N base^(-2i / D) / 2π = turns, solved for i
        return D * math.log(N / (turns * 2 * math.pi)) / (2 * math.log(base))

    first, last = pair_with(beta_fast), pair_with(beta_slow)
    if truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, D - 1)
    if first == last:
        last += 0.001
    slow = np.clip((np.arange(D // 2) - first) / (last - first), 0, 1)
    return slow * theta / factor + (1 - slow) * theta


def longrope_amplitude(factor, N):
    """√(1 + ln(factor) / ln(N)), the factor of rotated queries and keys where each pair i has its
    own θ_i / stretch_i, found by a search                     (Ding et al. 2024, "LongRoPE", sec. 3)
    """
    return math.sqrt(1 + math.log(factor) / math.log(N)) if factor > 1 else 1.0


def yarn_amplitude(factor, mscale=1.0):
    """The factor of rotated queries and keys: longer sequences need sharper attention
    (Peng et al. 2023, eq. 22)
    """
    return 0.1 * mscale * math.log(factor) + 1 if factor > 1 else 1.0
