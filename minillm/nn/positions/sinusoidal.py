"""Sinusoidal positions: a fixed vector for each position. Its formula is in ops/positions.py."""

from minillm.nn.module import Module
from minillm.nn.positions.base import table_rows
from minillm.ops.positions import sinusoidal_positions, sinusoidal_vectors


class SinusoidalEmbedding(Module):
    """y = PE[position_ids]: what SinusoidalPositions adds, for positions without a limit."""

    def __init__(self, d_model, *, interleaved=True):
        self.d_model = d_model
        self.interleaved = interleaved

    def forward(self, position_ids):
        """position_ids: (...) integers -> y: float32 (..., d_model)"""
        return sinusoidal_vectors(position_ids, self.d_model, interleaved=self.interleaved)

    def backward(self, dy):
        """dy: (..., d_model) -> None: nothing is learned"""


class SinusoidalPositions(Module):
    """y_t = x_t + PE[start + t], with a fixed table PE (Vaswani et al. 2017, sec. 3.5).

    interleaved: see `ops.positions.sinusoidal_positions`
    """

    def __init__(self, n_positions, d_model, *, interleaved=True):
        self.table = sinusoidal_positions(n_positions, d_model, interleaved=interleaved)

    def forward(self, x, start=0):
        """x: (..., T, d_model) -> y: the same shape; `start` is the position of x's first token

        ValueError if there are fewer than start + T positions.
        """
        rows = table_rows(x, start, self.table)
        return x + self.table[rows].astype(x.dtype, copy=False)

    def backward(self, dy):
        """dy: (..., T, d_model) -> dx: dy itself"""
        return dy
