"""Multi-head attention: several attentions side by side, each in a subspace of its own."""

from typing import Any, NamedTuple

import numpy as np

from minillm.checks import require_float, require_shape
from minillm.nn.linear import Linear
from minillm.nn.module import Module
from minillm.ops.attention import (
    AttentionCache,
    attention,
    attention_backward,
    streaming_attention,
    streaming_attention_backward,
)
from minillm.ops.dropout import require_probability
from minillm.ops.linear import linear, linear_backward


class CrossProjectionCache(NamedTuple):
    query: Any  # the two caches of `linear`
    key_value: Any


class MultiHeadAttention(Module):
    """Concat(head_1, …, head_h) W_O,   head_i = Attention(Q_i, K_i, V_i)

    (Vaswani et al. 2017, sec. 3.2.2)

    `qkv`:    Linear(d_model, 3 d_model), the projections of all heads side by side in one matrix
              with the columns [W_Q | W_K | W_V], each of them [head_1 | … | head_h]
    `output`: Linear(d_model, d_model), W_O; initial std `output_std` if other than `std`

    causal:  each position sees only itself and what is before it
    dropout: probability of dropping an attention weight while training, with chance from `rng`
    """

    def __init__(
        self,
        d_model,
        n_heads,
        *,
        causal=False,
        dropout=0.0,
        bias=True,
        rng,
        std=0.02,
        output_std=None,
    ):
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(f"n_heads is {n_heads}, wanted a divisor of d_model = {d_model}")
        require_probability("dropout", dropout)
        self.qkv = Linear(d_model, 3 * d_model, bias, rng=rng, std=std)
        output_std = std if output_std is None else output_std
        self.output = Linear(d_model, d_model, bias, rng=rng, std=output_std)
        self.d_model = d_model
        self.n_heads = n_heads
        self.causal = causal
        self.dropout = dropout
        self.rng = rng

    def forward(self, x, memory=None, *, key_mask=None, kv_cache=None, return_weights=False):
        """Self-attention; given `memory`, cross-attention: queries from x, the rest from memory.

        x: (B, T, d_model), memory: (B, S, d_model)  ->  y: (B, T, d_model)

        key_mask:       bool (B, number of keys), True where a key may be attended to
        kv_cache:       an object whose `append(K, V)` takes the new keys and values, (B, H, T, D),
                        and returns those of all positions so far; no backward follows
        return_weights: return (y, weights), weights: (B, H, T, number of keys) before dropout
        """
        self._check(x, memory, kv_cache)
        if memory is None:
            Q, K, V = self._split_heads(self.qkv(x), 3)
            projection_cache = None
        else:
            Q, K, V, projection_cache = self._project_cross(x, memory)
        if kv_cache is not None:
            K, V = kv_cache.append(K, V)

        masks = {"causal": self.causal, "key_mask": key_mask}
        dropout = self.dropout if self.training else 0.0
        weights = None
        if return_weights or dropout:
            heads, weights, cache = attention(Q, K, V, **masks, dropout_p=dropout, rng=self.rng)
        else:
            heads, cache = streaming_attention(Q, K, V, **masks)
        y = self.output(self._merge_heads(heads))

        self.remember((cache, projection_cache) if kv_cache is None else None)
        return (y, weights) if return_weights else y

    def backward(self, dy):
        """dy: (B, T, d_model) -> dx: (B, T, d_model); after cross-attention dx, dmemory"""
        cache, projection_cache = self.recall()
        dheads = self._split_heads(self.output.backward(dy), 1)[0]
        materialized = isinstance(cache, AttentionCache)
        backward = attention_backward if materialized else streaming_attention_backward

        # dQ, dK, dV are written where the gradient of the projection is wanted: side by side.
        B, T, d_model = dy.shape
        if projection_cache is None:
            dqkv = np.empty((B, T, 3 * d_model), dy.dtype)
            backward(dheads, cache, grads=self._split_heads(dqkv, 3))
            return self.qkv.backward(dqkv)
        S = cache.K.shape[2]
        dq = np.empty((B, T, d_model), dy.dtype)
        dkv = np.empty((B, S, 2 * d_model), dy.dtype)
        backward(dheads, cache, grads=self._split_heads(dq, 1) + self._split_heads(dkv, 2))
        return self._project_cross_backward(dq, dkv, projection_cache)

    # Cross-attention multiplies x by the columns W_Q of `qkv`, and memory by [W_K | W_V]:
    # views of the one matrix, and in the backward of its one gradient.

    def _project_cross(self, x, memory):
        d, W, b = self.d_model, self.qkv.weight.data, self.qkv.bias
        b_q, b_kv = (None, None) if b is None else (b.data[:d], b.data[d:])
        q, query_cache = linear(x, W[:, :d], b_q)
        kv, key_value_cache = linear(memory, W[:, d:], b_kv)
        (Q,) = self._split_heads(q, 1)
        K, V = self._split_heads(kv, 2)
        return Q, K, V, CrossProjectionCache(query_cache, key_value_cache)

    def _project_cross_backward(self, dq, dkv, cache):
        d = self.d_model
        dW, add = self.qkv.weight.gradient_target()
        dx, _, db_q = linear_backward(dq, cache.query, dW=dW[:, :d], accumulate=add)
        dmemory, _, db_kv = linear_backward(dkv, cache.key_value, dW=dW[:, d:], accumulate=add)
        if self.qkv.bias is not None:
            self.qkv.bias.add_grad(np.concatenate([db_q, db_kv]))
        return dx, dmemory

    # Heads are split and merged by looking at the same memory with other axes; nothing moves.

    def _split_heads(self, x, n):
        """(B, T, n d_model) -> a tuple of n views (B, H, T, D), for example Q, K, V"""
        B, T, _ = x.shape
        x = x.reshape(B, T, n, self.n_heads, self.d_model // self.n_heads)
        return tuple(x[:, :, i].transpose(0, 2, 1, 3) for i in range(n))

    def _merge_heads(self, heads):
        """(B, H, T, D) -> (B, T, d_model)"""
        B, H, T, D = heads.shape
        return heads.transpose(0, 2, 1, 3).reshape(B, T, H * D)

    def _check(self, x, memory, kv_cache):
        require_float("x", x)
        require_shape("x", x, (None, None, self.d_model))
        if memory is not None:
            require_float("memory", memory)
            require_shape("memory", memory, (x.shape[0], None, self.d_model))
            if kv_cache is not None:
                raise ValueError("kv_cache is for self-attention, wanted None with a memory")
