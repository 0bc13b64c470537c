"""Rotary positions: queries and keys are rotated by angles that grow with their positions.

The derivation and its backward are in ops/rotary.py.
"""

import numpy as np

from minillm.nn.positions.base import AttentionPositions
from minillm.ops.rotary import rotary, rotary_backward, rotary_frequencies


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

    @property
    def depends_on_length(self):
        return callable(self.frequencies)

    def rotate(self, Q, K, position_ids):
        cos, sin = self.cos_and_sin(position_ids, Q.dtype)
        Q, query_cache = rotary(Q, cos, sin, interleaved=self.interleaved)
        K, key_cache = rotary(K, cos, sin, interleaved=self.interleaved)
        self.remember((query_cache, key_cache))
        return Q, K

    def rotate_backward(self, dQ, dK):
        query_cache, key_cache = self.recall()
        return rotary_backward(dQ, query_cache, out=dQ), rotary_backward(dK, key_cache, out=dK)

    def cos_and_sin(self, position_ids, dtype):
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
