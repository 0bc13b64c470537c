"""A sliding window: no query sees further back than a fixed number of positions."""

import numpy as np

from minillm.nn.positions.base import AttentionPositions


class SlidingWindow(AttentionPositions):
    """A query sees only the last `window` keys up to its own position: the score of every key that
    is further back is -inf                                           (Child et al. 2019, sec. 4.2)

    n_heads: H; positions: what else the layer knows of positions, such as a Rotary
    """

    def __init__(self, n_heads, window, positions=None):
        self.n_heads = n_heads
        self.window = window
        self.positions = AttentionPositions() if positions is None else positions

    @property
    def depends_on_length(self):
        return self.positions.depends_on_length

    def rotate(self, Q, K, position_ids):
        return self.positions.rotate(Q, K, position_ids)

    def rotate_backward(self, dQ, dK):
        return self.positions.rotate_backward(dQ, dK)

    def distance_bias(self, Tq, Tk):
        bias = self.positions.distance_bias(Tq, Tk)
        if Tk <= self.window:  # the window holds all keys
            return bias
        if bias is None:
            bias = np.zeros((self.n_heads, Tq + Tk - 1), np.float32)
        distance = np.arange(Tq + Tk - 1) - (Tk - 1)
        return np.where(distance > -self.window, bias, -np.inf).astype(bias.dtype)

    def learns_bias(self):
        return self.positions.learns_bias()

    # The score of a hidden key is a constant, so dbias is 0 there.
    def distance_bias_backward(self, dbias):
        self.positions.distance_bias_backward(dbias)
