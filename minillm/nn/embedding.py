"""The token embedding and two ways of saying where in the sequence a token stands."""

from minillm.nn.linear import normal
from minillm.nn.module import Module, Parameter
from minillm.ops.embedding import embedding, embedding_backward
from minillm.ops.positions import sinusoidal_positions


class Embedding(Module):
    """y = weight[ids], with `weight`: (n, d), a row for each of the ids 0 … n - 1."""

    def __init__(self, n, d, *, rng, std=0.02):
        self.weight = Parameter(normal(rng, (n, d), std))

    def forward(self, ids):
        """ids: (...) integers -> y: (..., d)"""
        y, cache = embedding(ids, self.weight.data)
        self.remember(cache)
        return y

    def backward(self, dy):
        """dy: (..., d). Nothing comes back: ids have no gradient."""
        cache = self.recall()
        dtable, accumulate = self.weight.gradient_target()
        embedding_backward(dy, cache, dtable=dtable, accumulate=accumulate)


class LearnedPositions(Module):
    """y_t = x_t + weight[start + t]: a position is looked up like a token (GPT, BERT)."""

    def __init__(self, n_positions, d_model, *, rng, std=0.02):
        self.weight = Parameter(normal(rng, (n_positions, d_model), std))

    def forward(self, x, start=0):
        """x: (..., T, d_model) -> y: the same shape; `start` is the position of x's first token

        ValueError if there are fewer than start + T positions.
        """
        rows = _rows(x, start, self.weight.data)
        self.remember(rows)
        return x + self.weight.data[rows]

    def backward(self, dy):
        """dy: (..., T, d_model) -> dx: dy itself, for the sum passes every gradient on"""
        rows = self.recall()
        dtable, accumulate = self.weight.gradient_target()
        if not accumulate:
            dtable[...] = 0
        dtable[rows] += dy.reshape(-1, *dy.shape[-2:]).sum(axis=0)
        return dy


class SinusoidalPositions(Module):
    """y_t = x_t + PE[start + t], a table with nothing to learn (Vaswani et al. 2017, sec. 3.5)."""

    def __init__(self, n_positions, d_model):
        self.table = sinusoidal_positions(n_positions, d_model)

    def forward(self, x, start=0):
        """x: (..., T, d_model) -> y: the same shape; `start` is the position of x's first token

        ValueError if there are fewer than start + T positions.
        """
        rows = _rows(x, start, self.table)
        return x + self.table[rows].astype(x.dtype, copy=False)

    def backward(self, dy):
        """dy: (..., T, d_model) -> dx: dy itself"""
        return dy


def _rows(x, start, table):
    """-> the slice of the rows of `table` that belong to the T tokens of x: (..., T, d_model)"""
    n_positions, d_model = table.shape
    if x.ndim < 2 or x.shape[-1] != d_model:
        raise ValueError(f"x has shape {x.shape}, wanted (..., T, {d_model})")
    end = start + x.shape[-2]
    if not 0 <= start <= end <= n_positions:
        raise ValueError(
            f"x stands at positions {start} to {end - 1}, wanted them from 0 to {n_positions - 1}"
        )
    return slice(start, end)
