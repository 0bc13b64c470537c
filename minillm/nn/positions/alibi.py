"""ALiBi: the further back a key is, the lower is its score."""

import numpy as np

from minillm.nn.positions.base import AttentionPositions


class Alibi(AttentionPositions):
    """Attention with linear biases: head h adds - slope_h * distance to the score, with fixed
    slopes                                                     (Press, Smith, Lewis 2022, sec. 3)

    A constant that is added to all scores of a query leaves its softmax unchanged. With a causal
    mask, - slope (i - j) therefore does the same as slope * j, the form in BLOOM's code. The slopes
    aren't learned, so there is no backward: a steep head looks at near keys, a flat one far back.

    The slopes of n heads are 2^(-8/n), 2^(-16/n), … If n isn't a power of two, they are those of
    the next lower power of two, and then every other one of the next higher power.
    """

    def __init__(self, n_heads):
        self.slopes = alibi_slopes(n_heads)

    def distance_bias(self, Tq, Tk):
        distance = np.abs(np.arange(Tq + Tk - 1) - (Tk - 1))
        return (-self.slopes[:, None] * distance).astype(np.float32)


def alibi_slopes(n_heads):
    """-> the slope of each head: float64 (n_heads,)"""
    power = 2 ** (n_heads.bit_length() - 1)
    slopes = 2.0 ** (-8 / power * np.arange(1, power + 1))
    between = 2.0 ** (-4 / power * np.arange(1, 2 * power, 2))
    return np.concatenate([slopes, between[: n_heads - power]])
