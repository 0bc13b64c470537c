"""The dropout layer."""

from minillm.nn.module import Module
from minillm.ops.dropout import dropout, dropout_backward, require_probability


class Dropout(Module):
    """In training, zeroes each number with probability p and scales the others by 1 / (1 - p).

    After `eval()` it hands on what it gets. `rng` is the Generator that every draw comes from.
    """

    def __init__(self, p, rng):
        require_probability("p", p)
        self.p = p
        self.rng = rng

    def forward(self, x):
        """x: any shape -> y: the same shape"""
        y, cache = dropout(x, self.p if self.training else 0, self.rng)
        self.remember(cache)
        return y

    def backward(self, dy):
        """dy: the shape of x -> dx: the same shape"""
        return dropout_backward(dy, self.recall())
