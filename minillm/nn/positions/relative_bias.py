"""T5's relative positions: a learned number for each distance is added to the score."""

import numpy as np

from minillm.nn.layers import normal
from minillm.nn.module import Parameter
from minillm.nn.positions.base import AttentionPositions


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

    def learns_bias(self):
        return self.weight.trainable

    # bias[h, n] = weight[bucket(n), h] reads the number of a bucket once for each of its distances n,
    # so its gradient is the sum of theirs: dweight[b, h] = Σ dbias[h, n] over bucket(n) = b.
    def distance_bias_backward(self, dbias):
        buckets = self.recall()
        dbias = dbias.astype(self.weight.data.dtype, copy=False)
        dweight = np.zeros((*dbias.shape[:-2], *self.weight.shape), dbias.dtype)
        np.add.at(dweight, (..., buckets, slice(None)), dbias.swapaxes(-1, -2))
        if self.weight.log is not None:
            self.weight.log.dense(dweight)
        else:
            self.weight.add_grad(dweight)
