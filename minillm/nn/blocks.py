"""The blocks that a transformer stacks: sub-layers in residual connections.

A residual connection surrounds every sub-layer f. There are two places for the normalization:

    post-norm   y = norm(x + dropout(f(x)))        Vaswani et al. 2017, sec. 3.1, 5.4; GPT, BERT
    pre-norm    y = x + dropout(f(norm(x)))        GPT-2; Xiong et al. 2020: trains without warm-up

In a pre-norm stack the path from the embedding to the end consists of sums only, so the gradient
flows back along it unchanged. The model adds one more normalization after the last block.
"""

from operator import attrgetter

from minillm.nn.attention import CrossAttention, SelfAttention
from minillm.nn.feed_forward import FeedForward
from minillm.nn.layers import Dropout, LayerNorm
from minillm.nn.module import Module
from minillm.ops.add import add


class Residual(Module):
    """One of the two formulas above, around a sub-layer f; `placement` is "pre" or "post".

    block: the Module that owns f, its normalization and its dropout; the other arguments are their
    names in it. Each call looks them up, so a layer of the block can be replaced.
    """

    def __init__(self, block, sublayer, norm, dropout, placement):
        if placement not in ("pre", "post"):
            raise ValueError(f"norm is {placement!r}, wanted 'pre' or 'post'")
        self._block, self._layers = block, attrgetter(sublayer, norm, dropout)
        self.is_pre_norm = placement == "pre"

    def forward(self, x, *others, **options):
        """x: (B, T, d_model), with the sub-layer's other arguments -> y: (B, T, d_model)"""
        f, norm, dropout = self._layers(self._block)
        if self.is_pre_norm:
            return add(x, dropout(f(norm(x), *others, **options)))
        return norm(add(x, dropout(f(x, *others, **options))))

    # A sum passes its gradient to both summands, so dx is the gradient of the sum plus the gradient
    # that comes back through the sub-layer.
    def backward(self, dy):
        """dy: (B, T, d_model) -> dx: (B, T, d_model), and the sub-layer's other gradients if any"""
        f, norm, dropout = self._layers(self._block)
        dsum = dy if self.is_pre_norm else norm.backward(dy)
        dbranch = f.backward(dropout.backward(dsum))
        dbranch, *others = dbranch if isinstance(dbranch, tuple) else (dbranch,)
        dx = add(dsum, norm.backward(dbranch) if self.is_pre_norm else dbranch)
        return (dx, *others) if others else dx


class EncoderBlock(Module):
    """Bidirectional self-attention, then a feed-forward network (Vaswani et al. 2017, sec. 3.1).

    norm: "pre" or "post"
    make_norm: the class of the normalization, LayerNorm or RMSNorm
    make_feed_forward: the class of the feed-forward network, with the arguments of FeedForward
    bias: whether the linear maps have a bias
    dropout: the probability of dropping a number of a sub-layer's result
    attention_dropout: the probability of dropping an attention weight
    attention_options: other arguments of SelfAttention, such as positions and n_kv_heads

    Its layers: `norm1`, `attention`, `dropout1`, `norm2`, `feed_forward`, `dropout2`. A trace sees
    the residual stream after each sub-layer as `residual1` and `residual2`.
    """

    def __init__(self, d_model, n_heads, d_ff, *, norm="pre", make_norm=LayerNorm,
                 make_feed_forward=FeedForward, activation="gelu_tanh", bias=True, dropout=0.0,
                 attention_dropout=0.0, eps=1e-5, rng, std=0.02, output_std=None,
                 **attention_options):
        init = {"bias": bias, "rng": rng, "std": std, "output_std": output_std}
        self.norm1 = make_norm(d_model, eps)
        self.attention = SelfAttention(
            d_model, n_heads, dropout=attention_dropout, **init, **attention_options
        )
        self.dropout1 = Dropout(dropout, rng)
        self.residual1 = Residual(self, "attention", "norm1", "dropout1", norm)
        self.norm2 = make_norm(d_model, eps)
        self.feed_forward = make_feed_forward(d_model, d_ff, activation=activation, **init)
        self.dropout2 = Dropout(dropout, rng)
        self.residual2 = Residual(self, "feed_forward", "norm2", "dropout2", norm)

    def forward(self, x, *, position_ids=None, key_mask=None):
        """x: (B, T, d_model) -> y: (B, T, d_model)

        position_ids: integers (T,) or (B, T), for rotary positions: see SelfAttention
        key_mask: bool (B, T), True at real tokens, False at padding
        """
        x = self.residual1(x, position_ids=position_ids, key_mask=key_mask)
        return self.residual2(x)

    def backward(self, dy):
        """dy: (B, T, d_model) -> dx: (B, T, d_model)"""
        dx = self.residual2.backward(dy)
        return self.residual1.backward(dx)


class DecoderBlock(Module):
    """Causal self-attention, [attention to an encoder's output,] then a feed-forward network.

    With `cross_attention` it is the decoder block of Vaswani et al. 2017, sec. 3.1. Without, it is
    the block of GPT (norm="post") and GPT-2 (norm="pre"). For the arguments see EncoderBlock.

    Its layers: `norm1`, `attention`, `dropout1`, [`norm_cross`, `cross_attention`,
    `dropout_cross`,] `norm2`, `feed_forward`, `dropout2`. A trace sees the residual stream after
    each sub-layer as `residual1`, [`residual_cross`] and `residual2`.
    """

    def __init__(self, d_model, n_heads, d_ff, *, cross_attention=True, norm="pre",
                 make_norm=LayerNorm, make_feed_forward=FeedForward, activation="gelu_tanh",
                 bias=True, dropout=0.0, attention_dropout=0.0, eps=1e-5, rng, std=0.02,
                 output_std=None, **attention_options):
        init = {"bias": bias, "rng": rng, "std": std, "output_std": output_std}
        self.norm1 = make_norm(d_model, eps)
        self.attention = SelfAttention(
            d_model, n_heads, causal=True, dropout=attention_dropout, **init, **attention_options
        )
        self.dropout1 = Dropout(dropout, rng)
        self.residual1 = Residual(self, "attention", "norm1", "dropout1", norm)
        self.residual_cross = None
        if cross_attention:
            self.norm_cross = make_norm(d_model, eps)
            self.cross_attention = CrossAttention(
                d_model, n_heads, dropout=attention_dropout, **init
            )
            self.dropout_cross = Dropout(dropout, rng)
            self.residual_cross = Residual(
                self, "cross_attention", "norm_cross", "dropout_cross", norm
            )
        self.norm2 = make_norm(d_model, eps)
        self.feed_forward = make_feed_forward(d_model, d_ff, activation=activation, **init)
        self.dropout2 = Dropout(dropout, rng)
        self.residual2 = Residual(self, "feed_forward", "norm2", "dropout2", norm)

    def forward(self, x, memory=None, *, position_ids=None, key_mask=None, memory_key_mask=None,
                kv_cache=None, memory_kv_cache=None):
        """x: (B, T, d_model), memory: (B, S, d_model) with cross-attention -> y: (B, T, d_model)

        position_ids: integers (T,) or (B, T), for rotary positions: see SelfAttention
        key_mask: bool (B, T), or (B, all positions so far) with a kv_cache, True at keys that may
            be attended to; memory_key_mask: the same for the memory, (B, S)
        kv_cache, memory_kv_cache: see SelfAttention and CrossAttention. `memory` may be None once
            its keys and values are cached.
        """
        self._check_memory(memory, memory_kv_cache)
        x = self.residual1(x, position_ids=position_ids, key_mask=key_mask, kv_cache=kv_cache)
        if self.residual_cross is not None:
            x = self.residual_cross(x, memory, key_mask=memory_key_mask, kv_cache=memory_kv_cache)
        return self.residual2(x)

    def backward(self, dy):
        """dy: (B, T, d_model) -> dx: (B, T, d_model); with cross-attention dx, dmemory"""
        dx = self.residual2.backward(dy)
        if self.residual_cross is None:
            return self.residual1.backward(dx)
        dx, dmemory = self.residual_cross.backward(dx)
        return self.residual1.backward(dx), dmemory

    def _check_memory(self, memory, memory_kv_cache):
        if self.residual_cross is None and memory is not None:
            raise ValueError(f"memory is a {type(memory).__name__}, wanted None: this block has no "
                             "cross-attention")
        cached = memory_kv_cache is not None and memory_kv_cache.length
        if self.residual_cross is not None and memory is None and not cached:
            raise ValueError("memory is None, wanted an array for cross-attention")
