"""Multi-head attention: several attentions side by side, each in its own subspace.

    MultiHead = Concat(head_1, …, head_h) W_O,   head_i = Attention(Q_i, K_i, V_i)
                                                          (Vaswani et al. 2017, sec. 3.2.2)
In self-attention Q, K and V all come from x. In cross-attention Q comes from x, and K and V come
from the memory, an encoder's output. Both are built on the core, `MultiHeadAttention`.
"""

from itertools import accumulate

import numpy as np

from minillm.checks import require_float, require_shape
from minillm.nn.layers import Linear, RMSNorm
from minillm.nn.module import Module
from minillm.nn.per_example import n_examples
from minillm.nn.positions import AttentionPositions
from minillm.nn.trace import active_traces
from minillm.ops.attention import (
    AttentionBias,
    AttentionCache,
    attention_weights,
    attention_weights_backward,
    cache_of_example,
    streaming_attention,
    streaming_attention_backward,
    streaming_attention_each,
    weighted_values,
    weighted_values_backward,
)
from minillm.ops.dropout import dropout, dropout_backward, require_probability


class MultiHeadAttention(Module):
    """The core: it takes the heads of Q, K and V, and returns the heads' outputs side by side.

    n_heads:     H, the number of query heads
    head_dim:    D, the width of a head, by default d_model / H
    n_kv_heads:  the number of key and value heads, a divisor of H, by default H. Groups of query
                 heads share a key head (grouped-query attention: Ainslie et al. 2023).
    causal:      each position sees only itself and earlier positions
    positions:   an AttentionPositions, such as Rotary, or None
    scale:       the factor of the scores, by default 1 / √D
    dropout:     the probability of dropping an attention weight in training; the Generator `rng`
                 decides which

    A trace sees "queries" (B, H, T, D), "keys" and "values" (B, n_kv_heads, keys, D), the queries
    and keys after rotation; "weights" (B, H, T, keys), before dropout; "heads" (B, H, T, D), the
    outputs of the heads before W_O mixes them; and each head's output as "head_0", "head_1", …
    """

    def __init__(self, d_model, n_heads, *, head_dim=None, n_kv_heads=None, causal=False,
                 positions=None, scale=None, dropout=0.0, rng):
        n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        if n_heads < 1 or (head_dim is None and d_model % n_heads):
            raise ValueError(f"n_heads is {n_heads}, wanted a divisor of d_model = {d_model}")
        if n_kv_heads < 1 or n_heads % n_kv_heads:
            raise ValueError(f"n_kv_heads is {n_kv_heads}, wanted a divisor of n_heads = {n_heads}")
        require_probability("dropout", dropout)
        self.d_model = d_model
        self.n_heads = n_heads
        self.n_kv_heads = n_kv_heads
        self.head_dim = d_model // n_heads if head_dim is None else head_dim
        self.causal = causal
        self.positions = AttentionPositions() if positions is None else positions
        self.scale = scale
        self.dropout = dropout
        self.rng = rng

    def attend(self, Q, K, V, key_mask):
        """Q: (B, H, T, D); K, V: (B, n_kv_heads, S, D); key_mask: bool (B, S) or None

        -> (B, T, H D), the heads side by side

        The streaming kernel computes the heads without the weights. Dropout and traces need the
        weights; only then they are computed.
        """
        Q, K, V = self.tap("queries", Q), self.tap("keys", K), self.tap("values", V)
        distance_bias = self.positions.distance_bias(Q.shape[2], K.shape[2])
        if distance_bias is not None:
            distance_bias = distance_bias.astype(Q.dtype, copy=False)
        bias = AttentionBias(self.causal, key_mask, distance_bias)
        dropout_p = self.dropout if self.training else 0.0
        if dropout_p or self.is_traced("weights"):
            heads, cache = self._attend_with_weights(Q, K, V, bias, dropout_p)
        else:
            heads, cache = streaming_attention(Q, K, V, bias=bias, scale=self.scale)
        self.remember(cache)
        return self._merge_heads(self._tap_heads(heads))

    def attend_backward(self, dmerged, grads):
        """dmerged: (B, T, H D); grads: three arrays to write dQ, dK and dV to"""
        (dheads,) = self._split_heads(dmerged, self.n_heads)
        dheads = self._tap_heads_gradient(dheads)
        cache = self.recall()
        if n_examples() is not None and self.positions.learns_bias():
            # dbias is a sum over the batch, so take one example after the other.
            dbias = np.stack([
                self._cached_backward(dheads[i : i + 1], cache_of_example(cache, i),
                                      [grad[i : i + 1] for grad in grads])
                for i in range(len(dheads))
            ])
        else:
            dbias = self._cached_backward(dheads, cache, grads)
        if dbias is not None:
            self.positions.distance_bias_backward(dbias)
        if self.has_traces():  # they get copies: what is written to is reused
            for name, grad in zip(("queries", "keys", "values"), grads):
                grad[...] = self.tap_gradient(name, grad.copy())

    def _cached_backward(self, dheads, cache, grads):
        """-> dbias, or None; writes dQ, dK and dV to `grads`"""
        if isinstance(cache, AttentionCache):
            return self._attend_with_weights_backward(dheads, cache, grads)
        *_, dbias = streaming_attention_backward(dheads, cache, grads=grads,
                                                 with_dbias=self.positions.learns_bias())
        return dbias

    def _attend_with_weights(self, Q, K, V, bias, dropout_p):
        """`ops.attention.attention`, with a tap on the weights"""
        weights, weights_cache = attention_weights(Q, K, bias=bias, scale=self.scale)
        weights = self.tap("weights", weights)
        dropped, dropout_cache = dropout(weights, dropout_p, self.rng)
        heads, values_cache = weighted_values(dropped, V)
        return heads, AttentionCache(weights_cache, dropout_cache, values_cache)

    def _attend_with_weights_backward(self, dheads, cache, grads):
        ddropped, dV = weighted_values_backward(dheads, cache.values)
        dweights = self.tap_gradient("weights", dropout_backward(ddropped, cache.dropout))
        dQ, dK, dbias = attention_weights_backward(dweights, cache.weights)
        for grad, computed in zip(grads, (dQ, dK, dV)):
            grad[...] = computed
        return dbias

    # Splitting and merging heads only changes the view of the memory; no data moves.

    def _split_heads(self, x, *counts):
        """(B, T, sum(counts) D) -> a tuple of views (B, count, T, D), such as Q, K, V"""
        B, T, _ = x.shape
        x = x.reshape(B, T, -1, self.head_dim).transpose(0, 2, 1, 3)
        if len(counts) == 1:
            return (x,)
        ends = accumulate(counts)
        return tuple([x[:, end - count : end] for end, count in zip(ends, counts)])

    def _merge_heads(self, heads):
        """(B, H, T, D) -> (B, T, H D)"""
        B, H, T, D = heads.shape
        return heads.transpose(0, 2, 1, 3).reshape(B, T, H * D)

    def _tap_heads(self, heads):
        """Show the heads to the traces: together, and separately those that a trace wants."""
        if not active_traces():
            return heads
        heads = self.tap("heads", heads)
        traced = [h for h in range(self.n_heads) if self.is_traced(f"head_{h}")]
        if traced:
            copies = list(heads.transpose(1, 0, 2, 3))
            for h in traced:
                copies[h] = self.tap(f"head_{h}", copies[h])
            heads = np.stack(copies, axis=2).transpose(0, 2, 1, 3)
        return heads

    def _tap_heads_gradient(self, dheads):
        if not self.has_traces():
            return dheads
        parts = [self.tap_gradient(f"head_{h}", dheads[:, h]) for h in range(self.n_heads)]
        return self.tap_gradient("heads", np.stack(parts, axis=2).transpose(0, 2, 1, 3))

    def _check(self, name, x, shape):
        require_float(name, x)
        require_shape(name, x, shape)


class SelfAttention(MultiHeadAttention):
    """Every position attends to the positions of its own sequence.

    `qkv`:    Linear(d_model, (H + 2 n_kv_heads) D), the projections of all heads side by side in
              one matrix with the columns [W_Q | W_K | W_V], each of them [head_1 | … | head_h]
    `output`: Linear(H D, d_model), W_O, with the initial std `output_std`, by default `std`

    bias:     whether both have a bias; qkv_bias, output_bias: whether one has it, by default `bias`
    qk_norm:  normalize every query and every key before its positions rotate it, with the layers
              `q_norm` and `k_norm`, RMSNorm(D, norm_eps)             (Henry et al. 2020, sec. 3)
    For the other arguments see MultiHeadAttention.

    With QK-norm a score is at most √D times the product of two weights: |q| = |k| = √D at first,
    so q · k / √D ≤ √D. No weight that grows in training can make a softmax that sees one key only.
    """

    def __init__(self, d_model, n_heads, *, bias=True, qkv_bias=None, output_bias=None, rng,
                 std=0.02, output_std=None, qk_norm=False, norm_eps=1e-6, **options):
        super().__init__(d_model, n_heads, rng=rng, **options)
        self._counts = (self.n_heads, self.n_kv_heads, self.n_kv_heads)
        qkv_bias = bias if qkv_bias is None else qkv_bias
        output_bias = bias if output_bias is None else output_bias
        self.qkv = Linear(d_model, sum(self._counts) * self.head_dim, qkv_bias, rng=rng, std=std)
        output_std = std if output_std is None else output_std
        self.output = Linear(self.n_heads * self.head_dim, d_model, output_bias, rng=rng,
                             std=output_std)
        self.q_norm = RMSNorm(self.head_dim, norm_eps) if qk_norm else None
        self.k_norm = RMSNorm(self.head_dim, norm_eps) if qk_norm else None

    def forward(self, x, *, position_ids=None, key_mask=None, kv_cache=None):
        """x: (B, T, d_model) -> y: (B, T, d_model)

        position_ids: integers (T,) or (B, T), by default those after the positions in the kv_cache
        key_mask: bool (B, number of keys), True at keys that may be attended to
        kv_cache: a LayerCache with the keys and values of earlier positions; those of x are
                  appended. For inference only: there is no backward. Or those of several sequences,
                  whose tokens x joins: see SlotCaches. Then position_ids are needed.
        """
        self._check("x", x, (None, None, self.d_model))
        if isinstance(kv_cache, list):
            return self._attend_each(x, position_ids, kv_cache)
        if position_ids is None:
            start = 0 if kv_cache is None else kv_cache.length
            position_ids = np.arange(start, start + x.shape[1])
        Q, K, V = self._split_heads(self.qkv(x), *self._counts)
        if self.q_norm is not None:
            Q, K = _of_vectors(self.q_norm, Q), _of_vectors(self.k_norm, K)
        Q, K = self.positions.rotate(Q, K, position_ids)
        if kv_cache is not None:
            K, V, key_mask = self._within_window(Q, *kv_cache.append(K, V), key_mask)
        return self.output(self.attend(Q, K, V, key_mask))

    def _attend_each(self, x, position_ids, caches):
        """Each part of x: (1, T, d_model) attends to the keys of its cache and its own. No trace."""
        Q, K, V = self._split_heads(self.qkv(x), *self._counts)
        if self.q_norm is not None:
            Q, K = _of_vectors(self.q_norm, Q), _of_vectors(self.k_norm, K)
        parts = [part for part, _ in caches]
        if self.positions.depends_on_length:  # of each sequence, not of the longest
            turned = [self.positions.rotate(Q[:, :, part], K[:, :, part], position_ids[:, part])
                      for part in parts]
            Q, K = (np.concatenate(arrays, axis=2) for arrays in zip(*turned))
        else:
            Q, K = self.positions.rotate(Q, K, position_ids)
        keys, values, biases = [], [], []
        for part, cache in caches:
            k, v = cache.append(K[:, :, part], V[:, :, part])
            k, v, _ = self._within_window(Q[:, :, part], k, v, None)
            bias = self.positions.distance_bias(part.stop - part.start, k.shape[2])
            biases.append(None if bias is None else bias.astype(Q.dtype, copy=False))
            keys.append(k)
            values.append(v)
        heads = streaming_attention_each(Q, parts, keys, values, biases, scale=self.scale)
        return self.output(self._merge_heads(heads))

    def _within_window(self, Q, K, V, key_mask):
        """-> K, V, key_mask without the first keys, which no query sees; a trace wants them all"""
        window = self.positions.window
        if window is None or self.is_traced("weights"):
            return K, V, key_mask
        n = window - 1 + Q.shape[2]  # the keys that the first and the last query see together
        return K[:, :, -n:], V[:, :, -n:], None if key_mask is None else key_mask[:, -n:]

    def backward(self, dy):
        """dy: (B, T, d_model) -> dx: (B, T, d_model)"""
        B, T, _ = dy.shape
        # Write dQ, dK and dV side by side: together they are the gradient of `qkv`'s output.
        dqkv = np.empty((B, T, sum(self._counts) * self.head_dim), dy.dtype)
        dQ, dK, dV = self._split_heads(dqkv, *self._counts)
        dq, dk = dQ, dK
        if self.q_norm is not None:  # dQ and dK are what the backward of the norms returns
            dq = np.empty_like(dQ)
            dk = np.empty_like(dK)
        self.attend_backward(self.output.backward(dy), (dq, dk, dV))
        turned = self.positions.rotate_backward(dq, dk)
        if self.q_norm is not None:
            turned = (_of_vectors(self.q_norm.backward, turned[0]),
                      _of_vectors(self.k_norm.backward, turned[1]))
        for grad, of_projection in zip((dQ, dK), turned):
            if of_projection is not grad:  # else it is in its place already
                grad[...] = of_projection
        return self.qkv.backward(dqkv)


def _of_vectors(function, x):
    """Apply a function of (..., D) to x: (B, H, T, D), which lies in memory as (B, T, H, D)."""
    return function(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)


class CrossAttention(MultiHeadAttention):
    """Every position attends to the positions of another sequence, the memory.

    `query`:     Linear(d_model, H D), W_Q, of x
    `key_value`: Linear(d_memory, 2 n_kv_heads D), [W_K | W_V], of the memory
    `output`:    Linear(H D, d_model), W_O, with the initial std `output_std`, by default `std`

    For the other arguments see MultiHeadAttention.
    """

    def __init__(self, d_model, n_heads, *, d_memory=None, bias=True, rng, std=0.02,
                 output_std=None, **options):
        super().__init__(d_model, n_heads, rng=rng, **options)
        self.d_memory = d_model if d_memory is None else d_memory
        d_query = self.n_heads * self.head_dim
        self.query = Linear(d_model, d_query, bias, rng=rng, std=std)
        self.key_value = Linear(self.d_memory, 2 * self.n_kv_heads * self.head_dim, bias, rng=rng,
                                std=std)
        output_std = std if output_std is None else output_std
        self.output = Linear(d_query, d_model, bias, rng=rng, std=output_std)

    def forward(self, x, memory, *, key_mask=None, kv_cache=None):
        """x: (B, T, d_model), memory: (B, S, d_memory) -> y: (B, T, d_model)

        key_mask: bool (B, S), True at positions of the memory that may be attended to
        kv_cache: a LayerCache. The first call stores the keys and values of the memory in it; later
                  calls read them, and `memory` may be None. For inference only.
        """
        self._check("x", x, (None, None, self.d_model))
        (Q,) = self._split_heads(self.query(x), self.n_heads)
        if kv_cache is not None and kv_cache.length:
            K, V = kv_cache.views()
        else:
            self._check("memory", memory, (x.shape[0], None, self.d_memory))
            K, V = self._split_heads(self.key_value(memory), self.n_kv_heads, self.n_kv_heads)
            if kv_cache is not None:
                K, V = kv_cache.append(K, V)
        merged = self.attend(Q, K, V, key_mask)
        self.remember(K.shape[2])
        return self.output(merged)

    def backward(self, dy):
        """dy: (B, T, d_model) -> dx: (B, T, d_model), dmemory: (B, S, d_memory)"""
        B, T, _ = dy.shape
        dmerged = self.output.backward(dy)
        S = self.recall()
        dq = np.empty((B, T, self.n_heads * self.head_dim), dy.dtype)
        dkv = np.empty((B, S, 2 * self.n_kv_heads * self.head_dim), dy.dtype)
        (dQ,) = self._split_heads(dq, self.n_heads)
        dK, dV = self._split_heads(dkv, self.n_kv_heads, self.n_kv_heads)
        self.attend_backward(dmerged, (dQ, dK, dV))
        return self.query.backward(dq), self.key_value.backward(dkv)
