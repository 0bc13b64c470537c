"""Layers that turn the vectors of tokens into one vector for each text."""

from minillm.nn.module import Module
from minillm.ops.l2_normalize import l2_normalize, l2_normalize_backward
from minillm.ops.pooling import (
    mean_pooling,
    mean_pooling_backward,
    token_pooling,
    token_pooling_backward,
)

# how -> (forward, its options, backward)
POOLINGS = {
    "mean": (mean_pooling, {}, mean_pooling_backward),
    "cls": (token_pooling, {}, token_pooling_backward),
    "last": (token_pooling, {"last": True}, token_pooling_backward),
}


class Pooling(Module):
    """y = the mean over the tokens ("mean"), or the vector of the first ("cls") or "last" token"""

    def __init__(self, how="mean"):
        if how not in POOLINGS:
            raise ValueError(f"pooling is {how!r}, wanted one of {', '.join(map(repr, POOLINGS))}")
        self.how = how

    def forward(self, x, mask=None):
        """x: (B, T, d), mask: (B, T), 1 at tokens -> y: (B, d)"""
        forward, options, _ = POOLINGS[self.how]
        y, cache = forward(x, mask, **options)
        self.remember(cache)
        return y

    def backward(self, dy):
        """dy: (B, d) -> dx: (B, T, d)"""
        return POOLINGS[self.how][2](dy, self.recall())


class L2Normalize(Module):
    """y = x / ‖x‖"""

    def forward(self, x):
        """x: (..., d) -> y: (..., d), of length 1"""
        y, cache = l2_normalize(x)
        self.remember(cache)
        return y

    def backward(self, dy):
        """dy: (..., d) -> dx: (..., d)"""
        return l2_normalize_backward(dy, self.recall())
