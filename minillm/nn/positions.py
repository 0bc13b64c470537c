"""Where a token stands: added to its embedding, or known to attention.

Attention alone can't see order: it treats its keys as a set. Two families of remedies:

  - a vector for each position, added to the embedding before the first block:
    LearnedPositions (GPT, BERT), SinusoidalPositions (Vaswani et al. 2017)
  - a change inside attention that depends only on the distance between query and key, the argument
    `positions` of an attention layer: Rotary turns queries and keys; Alibi and RelativeBias add a
    number to the scores
"""

import numpy as np

from minillm.nn.layers import normal
from minillm.nn.module import Module, Parameter
from minillm.ops.positions import sinusoidal_positions
from minillm.ops.rotary import rotary, rotary_angles, rotary_backward


class LearnedPositions(Module):
    """y_t = x_t + weight[start + t]: a position is looked up like a token."""

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
        """dy: (..., T, d_model) -> dx: dy itself, because a sum passes its gradient on"""
        rows = self.recall()
        if self.weight.trainable:
            dtable, accumulate = self.weight.gradient_target()
            if not accumulate:
                dtable[...] = 0
            dtable[rows] += dy.reshape(-1, *dy.shape[-2:]).sum(axis=0)
        return dy


class SinusoidalPositions(Module):
    """y_t = x_t + PE[start + t], a table with nothing to learn (Vaswani et al. 2017, sec. 3.5).

    interleaved: see `ops.positions.sinusoidal_positions`
    """

    def __init__(self, n_positions, d_model, *, interleaved=True):
        self.table = sinusoidal_positions(n_positions, d_model, interleaved=interleaved)

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


class AttentionPositions(Module):
    """What an attention layer asks of its `positions`; here, the answers of one that does nothing."""

    def rotate(self, Q, K, start):
        """Q, K: (B, H, T, D) at the positions start, start + 1, … -> Q, K to compare instead"""
        return Q, K

    def rotate_backward(self, dQ, dK):
        return dQ, dK

    def distance_bias(self, Tq, Tk):
        """-> (H, Tq + Tk - 1) to add to the scores, or None: see `ops.attention.AttentionBias`"""
        return None

    def distance_bias_backward(self, dbias):
        """dbias: (H, Tq + Tk - 1), what attention's backward returned"""


class Rotary(AttentionPositions):
    """Rotary positions: turn each pair of a query's and a key's numbers by an angle that grows with
    the position, so that their product depends on the distance alone     (Su et al. 2021, sec. 3.2)

    head_dim: D; n_positions: how many there may be; base: 10,000 in the paper;
    rotary_dim: turn only the first numbers of D; interleaved: pair 2i with 2i + 1, as in the paper,
    instead of i with i + rotary_dim/2, as in the files of LLaMA.
    """

    def __init__(self, head_dim, n_positions, *, base=10000.0, rotary_dim=None, interleaved=False):
        self.cos, self.sin = rotary_angles(
            n_positions, rotary_dim or head_dim, base, np.float64
        )
        self.interleaved = interleaved

    def rotate(self, Q, K, start):
        end = start + Q.shape[2]
        if end > len(self.cos):
            raise ValueError(f"the sequence has {end} positions, wanted at most {len(self.cos)}")
        cos, sin = (table[start:end].astype(Q.dtype, copy=False) for table in (self.cos, self.sin))
        Q, query_cache = rotary(Q, cos, sin, interleaved=self.interleaved)
        K, key_cache = rotary(K, cos, sin, interleaved=self.interleaved)
        self.remember((query_cache, key_cache))
        return Q, K

    def rotate_backward(self, dQ, dK):
        query_cache, key_cache = self.recall()
        return rotary_backward(dQ, query_cache), rotary_backward(dK, key_cache)


class Alibi(AttentionPositions):
    """A penalty on the score that grows with the distance, with a slope for each head and nothing to
    learn:  - slope_h |i - j|                                   (Press, Smith, Lewis 2022, sec. 3)

    The slopes of n heads are 2^(-8/n), 2^(-16/n), …; if n is no power of two, those of the next
    lower power, and every other one of the next higher.
    """

    def __init__(self, n_heads):
        self.slopes = alibi_slopes(n_heads)

    def distance_bias(self, Tq, Tk):
        distance = np.abs(np.arange(Tq + Tk - 1) - (Tk - 1))
        return (-self.slopes[:, None] * distance).astype(np.float32)


def alibi_slopes(n_heads):
    """-> (n_heads,) float64"""
    power = 2 ** (n_heads.bit_length() - 1)
    slopes = 2.0 ** (-8 / power * np.arange(1, power + 1))
    between = 2.0 ** (-4 / power * np.arange(1, 2 * power, 2))
    return np.concatenate([slopes, between[: n_heads - power]])


class RelativeBias(AttentionPositions):
    """A learned number for each head and each bucket of distances    (Raffel et al. 2020, sec. 2.1)

    `weight`: (n_buckets, n_heads). Short distances have a bucket each; from half of the buckets on
    they widen logarithmically up to max_distance, and everything beyond shares the last one.
    bidirectional: half of the buckets is for keys after the query (an encoder). All layers of a
    model share one RelativeBias.
    """

    def __init__(self, n_heads, *, n_buckets=32, max_distance=128, bidirectional=True, rng,
                 std=0.02):
        self.weight = Parameter(normal(rng, (n_buckets, n_heads), std))
        self.max_distance = max_distance
        self.bidirectional = bidirectional

    def buckets(self, Tq, Tk):
        """-> (Tq + Tk - 1,) the bucket of each distance key - query, from -(Tk - 1) to Tq - 1"""
        distance = np.arange(Tq + Tk - 1) - (Tk - 1)
        n = len(self.weight.data)
        first = np.zeros_like(distance)
        if self.bidirectional:
            n //= 2
            first = np.where(distance > 0, n, 0)
            back = np.abs(distance)
        else:
            back = np.maximum(-distance, 0)
        exact = n // 2
        wide = np.log(np.maximum(back, 1) / exact) / np.log(self.max_distance / exact)
        wide = np.minimum(exact + (wide * (n - exact)).astype(int), n - 1)
        return first + np.where(back < exact, back, wide)

    def distance_bias(self, Tq, Tk):
        buckets = self.buckets(Tq, Tk)
        self.remember(buckets)
        return np.ascontiguousarray(self.weight.data[buckets].T)

    def distance_bias_backward(self, dbias):
        buckets = self.recall()
        dweight = np.zeros_like(self.weight.data)
        np.add.at(dweight, buckets, dbias.T)
        self.weight.add_grad(dweight)
