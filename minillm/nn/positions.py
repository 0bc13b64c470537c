"""Positions: how a transformer knows the order of its tokens.

Attention alone can't see order: it treats its keys as a set. There are two kinds of remedies:

  - Add a vector for each position to the embedding, before the first block:
    LearnedPositions (GPT, BERT), SinusoidalPositions (Vaswani et al. 2017).
  - Make attention depend on the distance between query and key, through the argument `positions` of
    an attention layer: Rotary rotates queries and keys; Alibi and RelativeBias add a number to the
    scores.
"""

import numpy as np

from minillm.nn.layers import normal
from minillm.nn.module import Module, Parameter
from minillm.ops.positions import sinusoidal_positions
from minillm.ops.rotary import rotary, rotary_backward, rotary_frequencies


class LearnedPositions(Module):
    """y_t = x_t + weight[start + t]: positions have an embedding table, as tokens have."""

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
        """dy: (..., T, d_model) -> dx: dy itself, because a sum passes its gradient unchanged"""
        rows = self.recall()
        if self.weight.trainable:
            dtable, accumulate = self.weight.gradient_target()
            if not accumulate:
                dtable[...] = 0
            dtable[rows] += dy.reshape(-1, *dy.shape[-2:]).sum(axis=0)
        return dy


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
        rows = _rows(x, start, self.table)
        return x + self.table[rows].astype(x.dtype, copy=False)

    def backward(self, dy):
        """dy: (..., T, d_model) -> dx: dy itself"""
        return dy


def _rows(x, start, table):
    """-> the slice of the T rows of `table` for the tokens of x: (..., T, d_model)"""
    n_positions, d_model = table.shape
    if x.ndim < 2 or x.shape[-1] != d_model:
        raise ValueError(f"x has shape {x.shape}, wanted (..., T, {d_model})")
    end = start + x.shape[-2]
    if not 0 <= start <= end <= n_positions:
        raise ValueError(
            f"x has positions {start} to {end - 1}, wanted positions from 0 to {n_positions - 1}"
        )
    return slice(start, end)


class AttentionPositions(Module):
    """The interface of the `positions` of an attention layer. This base class changes nothing."""

    def rotate(self, Q, K, position_ids):
        """Q, K: (B, H, T, D) at the positions (T,) or (B, T) -> the rotated Q, K"""
        return Q, K

    def rotate_backward(self, dQ, dK):
        return dQ, dK

    def distance_bias(self, Tq, Tk):
        """-> (H, Tq + Tk - 1) to add to the scores, or None: see `ops.attention.AttentionBias`"""
        return None

    def distance_bias_backward(self, dbias):
        """dbias: (H, Tq + Tk - 1), from the backward of attention -> None"""


class Rotary(AttentionPositions):
    """Rotary positions: rotate the pairs of numbers of queries and keys by an angle that grows with
    the position, so their product depends on the distance alone       (Su et al. 2021, sec. 3.2)

    head_dim: D; n_positions: the maximum number of positions, None for no limit
    base: 10,000 in the paper
    rotary_dim: rotate only the first rotary_dim numbers of a head, by default all
    interleaved: pair element 2i with 2i + 1, as in the paper, instead of i with i + rotary_dim / 2,
        as in LLaMA checkpoints in Hugging Face's format
    frequencies: the angle per position of each pair, instead of those that `base` implies; or a
        function that returns them for the length of the sequence so far (ops/rotary_scaling.py).
        The angles are computed in their dtype.
    amplitude: multiplies all rotated queries and keys

    All layers of a model share one Rotary.
    """

    def __init__(self, head_dim, n_positions=None, *, base=10000.0, rotary_dim=None,
                 interleaved=False, frequencies=None, amplitude=1.0):
        if frequencies is None:
            frequencies = rotary_frequencies(rotary_dim or head_dim, base)
        self.frequencies = frequencies
        self.amplitude = amplitude
        self.n_positions = n_positions
        self.interleaved = interleaved
        self._last = None  # positions, dtype, and their cos and sin: the next layer asks for them

    def rotate(self, Q, K, position_ids):
        cos, sin = self._cos_and_sin(position_ids, Q.dtype)
        Q, query_cache = rotary(Q, cos, sin, interleaved=self.interleaved)
        K, key_cache = rotary(K, cos, sin, interleaved=self.interleaved)
        self.remember((query_cache, key_cache))
        return Q, K

    def rotate_backward(self, dQ, dK):
        query_cache, key_cache = self.recall()
        return rotary_backward(dQ, query_cache), rotary_backward(dK, key_cache)

    def _cos_and_sin(self, position_ids, dtype):
        """-> cos, sin: (T, r / 2) for positions (T,), (B, 1, T, r / 2) for (B, T)"""
        last = self._last
        if last is not None and last[1] == dtype and np.array_equal(last[0], position_ids):
            return last[2]
        length = int(position_ids.max(initial=-1)) + 1
        if self.n_positions is not None and length > self.n_positions:
            raise ValueError(f"the sequence has {length} positions, wanted at most "
                             f"{self.n_positions}")
        theta = self.frequencies
        theta = theta(length) if callable(theta) else theta
        angle = position_ids[..., None].astype(theta.dtype) * theta
        angle = angle if angle.ndim == 2 else angle[:, None]
        tables = [(self.amplitude * table(angle)).astype(dtype) for table in (np.cos, np.sin)]
        self._last = np.array(position_ids), dtype, tables
        return tables


class Alibi(AttentionPositions):
    """Attention with linear biases: head h adds - slope_h * distance to the score, with fixed
    slopes                                                     (Press, Smith, Lewis 2022, sec. 3)

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


class RelativeBias(AttentionPositions):
    """A learned number for each head and each bucket of distances    (Raffel et al. 2020, sec. 2.1)

    `weight`: (n_buckets, n_heads). In the first half of the buckets, each distance has its own. The
    other buckets widen logarithmically up to max_distance; all larger distances share the last one.
    bidirectional: half of the buckets serve keys after the query (an encoder)

    All layers of a model share one RelativeBias.
    """

    def __init__(self, n_heads, *, n_buckets=32, max_distance=128, bidirectional=True, rng,
                 std=0.02):
        self.weight = Parameter(normal(rng, (n_buckets, n_heads), std))
        self.max_distance = max_distance
        self.bidirectional = bidirectional

    def buckets(self, Tq, Tk):
        """-> (Tq + Tk - 1,): the bucket of each distance key - query, from -(Tk - 1) to Tq - 1"""
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


class SlidingWindow(AttentionPositions):
    """A query sees only the last `window` keys up to its own position: the score of every key that
    is further back is -inf                                           (Child et al. 2019, sec. 4.2)

    n_heads: H; positions: what else the layer knows of positions, such as a Rotary
    """

    def __init__(self, n_heads, window, positions=None):
        self.n_heads = n_heads
        self.window = window
        self.positions = AttentionPositions() if positions is None else positions

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

    # The score of a hidden key is a constant, so dbias is 0 there.
    def distance_bias_backward(self, dbias):
        self.positions.distance_bias_backward(dbias)
