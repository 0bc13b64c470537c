"""Learned positions: a vector for each position, in a table that is trained."""

import numpy as np

from minillm.nn.layers import normal
from minillm.nn.module import Module, Parameter
from minillm.nn.positions.base import table_rows


class LearnedPositions(Module):
    """y_t = x_t + weight[start + t]: positions have an embedding table, as tokens have."""

    def __init__(self, n_positions, d_model, *, rng, std=0.02):
        self.weight = Parameter(normal(rng, (n_positions, d_model), std))

    def forward(self, x, start=0):
        """x: (..., T, d_model) -> y: the same shape; `start` is the position of x's first token

        ValueError if there are fewer than start + T positions.
        """
        rows = table_rows(x, start, self.weight.data)
        self.remember(rows)
        return x + self.weight.data[rows]

    # Each row of the table is added to one position of every sequence: its gradient is their sum.
    def backward(self, dy):
        """dy: (..., T, d_model) -> dx: dy itself, because a sum passes its gradient unchanged"""
        rows = self.recall()
        if self.weight.log is not None:
            self.weight.log.rows(np.arange(rows.start, rows.stop), dy)
        elif self.weight.trainable:
            dtable, accumulate = self.weight.gradient_target()
            if not accumulate:
                dtable[...] = 0
            dtable[rows] += dy.reshape(-1, *dy.shape[-2:]).sum(axis=0)
        return dy
