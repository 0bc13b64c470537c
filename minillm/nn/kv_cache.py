"""The key-value cache: a new token costs the work of one token, not of the whole sequence.

Attention at a new position needs its own query, but the keys and values of every position. With a
causal mask, those of earlier positions don't depend on later tokens, so they can be kept. Each step
then computes the query, the key and the value of the new token only.
"""

import numpy as np


class LayerCache:
    """Keys and values of one attention layer, (B, H, T, D) each, in buffers with room to grow."""

    def __init__(self, capacity):
        self.capacity = capacity
        self.length = 0
        self.K = self.V = None  # (B, H, capacity, D)

    def append(self, K, V):
        """K, V: (B, H, T_new, D) -> views of all keys and values so far: (B, H, T, D)"""
        start, end = self.length, self.length + K.shape[2]
        if self.K is None:
            self._allocate(K, end)
        self.make_room(K.shape[2])
        self.K[:, :, start:end] = K
        self.V[:, :, start:end] = V
        self.length = end
        return self.views()

    def views(self):
        """-> views of all keys and values so far: (B, H, T, D) each"""
        return self.K[:, :, : self.length], self.V[:, :, : self.length]

    def crop(self, length):
        """Forget the positions from `length` on; the buffers keep their room."""
        self.length = min(self.length, length)

    def select(self, rows):
        """Row b becomes a copy of row rows[b]: beams that continue others, repeated prompts."""
        if len(rows) != len(self.K):
            self.K, self.V = self.K[rows], self.V[rows]
            return
        moved = np.flatnonzero(rows != np.arange(len(rows)))
        for buffer in (self.K, self.V):
            # The right side is a copy, so the order in which rows move doesn't matter.
            buffer[moved, :, : self.length] = buffer[rows[moved], :, : self.length]

    def copy(self, length):
        """-> a LayerCache with the first `length` positions and the same room"""
        copied = LayerCache(max(self.capacity, length))
        if self.length:
            copied.append(self.K[:, :, :length], self.V[:, :, :length])
        return copied

    def make_room(self, n):
        """Make the buffers, which exist already, long enough for n more positions."""
        if self.length + n > self.K.shape[2]:
            self._allocate(self.K, self.length + n)

    def _allocate(self, like, end):
        """Allocate buffers for at least `end` positions, and at least twice the old capacity."""
        B, H, _, D = like.shape
        old, previous = (0, None) if self.K is None else (self.K.shape[2], (self.K, self.V))
        shape = (B, H, max(end, self.capacity, 2 * old), D)
        self.K, self.V = np.empty(shape, like.dtype), np.empty(shape, like.dtype)
        if previous is not None:
            self.K[:, :, : self.length] = previous[0][:, :, : self.length]
            self.V[:, :, : self.length] = previous[1][:, :, : self.length]


class KVCache:
    """The LayerCaches of a model, created when its layers first use them.

        cache = KVCache()
        model(ids[:, :5], past_key_values=cache)
        model(ids[:, 5:], past_key_values=cache)      # the logits of model(ids), from position 5 on

    capacity: the initial number of positions to allocate; the buffers grow when they are full
    """

    def __init__(self, capacity=0):
        self.capacity = capacity
        self.layers = []

    @property
    def length(self):
        """The number of positions in the cache."""
        return self.layers[0].length if self.layers else 0

    @property
    def nbytes(self):
        """The size of the keys and values in bytes, including room to grow."""
        return sum(layer.K.nbytes + layer.V.nbytes for layer in self.layers if layer.length)

    def layer(self, index):
        """-> the LayerCache of layer `index`, for its attention to append to"""
        if index == len(self.layers):
            self.layers.append(LayerCache(self.capacity))
        return self.layers[index]

    def copy(self, length):
        """-> a KVCache with the first `length` positions of this one"""
        copied = KVCache(self.capacity)
        copied.layers = [layer.copy(length) for layer in self.layers]
        return copied

    def crop(self, length):
        """Forget the positions from `length` on, in every layer."""
        for layer in self.layers:
            layer.crop(length)

    def select(self, rows):
        """In every layer, row b becomes a copy of row rows[b]. rows: integers (B_new,)"""
        rows = np.asarray(rows)
        for layer in self.layers:
            layer.select(rows)


class SlotCaches:
    """The KVCaches of several sequences of different lengths, for a forward of more tokens of each.

        caches = SlotCaches(caches, counts)
        model(ids, position_ids=caches.positions(), past_key_values=caches)    # ids: (1, sum(counts))

    The next counts[b] tokens of sequence b read and extend caches[b], whose batch size is 1; all
    tokens stand one after the other in one row. Linear maps and norms work on all of them together;
    attention takes one sequence after the other, each with its own numbers of queries and keys
                                          (selective batching: Yu et al. 2022, "Orca", sec. 4.2)
    """

    def __init__(self, caches, counts):
        ends = np.cumsum(counts).tolist()
        self.caches = caches
        self.parts = [slice(end - count, end) for end, count in zip(ends, counts)]

    @property
    def length(self):
        """What a forward takes for the number of positions before the row: the row then ends where
        the longest sequence does."""
        ends = [cache.length + part.stop - part.start
                for cache, part in zip(self.caches, self.parts)]
        return max(ends) - self.parts[-1].stop

    def positions(self):
        """-> the positions of the new tokens, integers (1, sum(counts))"""
        return np.concatenate([np.arange(cache.length, cache.length + part.stop - part.start)
                               for cache, part in zip(self.caches, self.parts)])[None]

    def layer(self, index):
        """-> the part of the row and the LayerCache of layer `index`, for each sequence"""
        return [(part, cache.layer(index)) for part, cache in zip(self.parts, self.caches)]


class EncoderDecoderCache:
    """The caches of a decoder with cross-attention: those of its own tokens, which grow, and those
    of the memory, which the first forward fills.

    capacity: the initial number of the decoder's positions to allocate
    """

    def __init__(self, capacity=0):
        self.self_attention = KVCache(capacity)
        self.cross_attention = KVCache()
        self._sources = None  # (B,): the row of the first memory that each row is a copy of

    @property
    def length(self):
        """The number of the decoder's positions in the cache."""
        return self.self_attention.length

    @property
    def memory_length(self):
        """The number of positions of the memory; 0 before the first forward."""
        return self.cross_attention.length

    @property
    def nbytes(self):
        return self.self_attention.nbytes + self.cross_attention.nbytes

    def layer(self, index):
        """-> the two LayerCaches of decoder block `index`, as the arguments that it takes"""
        return {"kv_cache": self.self_attention.layer(index),
                "memory_kv_cache": self.cross_attention.layer(index)}

    def crop(self, length):
        """Forget the decoder's positions from `length` on, in every layer; the memory stays."""
        self.self_attention.crop(length)

    def select(self, rows):
        """In every layer, row b becomes a copy of row rows[b]. rows: integers (B_new,)

        The beams of one source have the same memory, so when they change places it stays.
        """
        rows = np.asarray(rows)
        self.self_attention.select(rows)
        old = np.arange(rows.max() + 1) if self._sources is None else self._sources
        new = old[rows]
        if not np.array_equal(old, new):
            self.cross_attention.select(rows)
        self._sources = new
