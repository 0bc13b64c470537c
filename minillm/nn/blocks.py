"""The blocks that a transformer stacks: attention and a feed-forward network, with residuals.

Every sub-layer f of a block stands in a residual connection with a layer normalization, and there
are two places for the normalization:

    post-norm   y = norm(x + dropout(f(x)))        Vaswani et al. 2017, sec. 5.4; GPT, BERT
    pre-norm    y = x + dropout(f(norm(x)))        GPT-2; Xiong et al. 2020: trains without warm-up

In a pre-norm stack the sum of all sub-layers runs through untouched from the embedding to the end,
and the gradient back; the model normalizes once more after the last block.
"""

from minillm.nn.attention import MultiHeadAttention
from minillm.nn.dropout import Dropout
from minillm.nn.feed_forward import FeedForward
from minillm.nn.layer_norm import LayerNorm
from minillm.nn.module import Module


class ResidualBlock(Module):
    """What encoder and decoder blocks share: the way into and out of a sub-layer.

    `_enter` and `_leave` are the two formulas above, cut open where f stands:
    y = _leave(x, dropout(f(_enter(x, norm))), norm).
    """

    def __init__(self, norm):
        if norm not in ("pre", "post"):
            raise ValueError(f"norm is {norm!r}, wanted 'pre' or 'post'")
        self.pre_norm = norm == "pre"

    def _enter(self, x, norm):
        return norm(x) if self.pre_norm else x

    def _leave(self, x, branch, norm):
        branch += x  # the sub-layer's result is a new array that nothing else refers to
        return branch if self.pre_norm else norm(branch)

    # A sum hands its gradient to both summands, so the residual's gradient is kept, and what
    # comes back through the sub-layer is added to it where x forked.

    def _leave_backward(self, dy, norm):
        """-> the gradient of the sum x + branch, and so of both"""
        return dy if self.pre_norm else norm.backward(dy)

    def _enter_backward(self, dbranch, dresidual, norm):
        """-> dx, from the gradient of what entered the sub-layer and that of the residual"""
        dx = norm.backward(dbranch) if self.pre_norm else dbranch
        dx += dresidual
        return dx


class EncoderBlock(ResidualBlock):
    """Self-attention in both directions, then a feed-forward network (Vaswani et al. 2017, 3.1).

    dropout acts on the result of each sub-layer, attention_dropout on the attention weights.
    The sub-layers: `norm1`, `attention`, `dropout1`, `norm2`, `feed_forward`, `dropout2`.
    """

    def __init__(
        self,
        d_model,
        n_heads,
        d_ff,
        *,
        norm="pre",
        activation="gelu_tanh",
        dropout=0.0,
        attention_dropout=0.0,
        eps=1e-5,
        rng,
        std=0.02,
        output_std=None,
    ):
        super().__init__(norm)
        init = {"rng": rng, "std": std, "output_std": output_std}
        self.norm1 = LayerNorm(d_model, eps)
        self.attention = MultiHeadAttention(d_model, n_heads, dropout=attention_dropout, **init)
        self.dropout1 = Dropout(dropout, rng)
        self.norm2 = LayerNorm(d_model, eps)
        self.feed_forward = FeedForward(d_model, d_ff, activation=activation, **init)
        self.dropout2 = Dropout(dropout, rng)

    def forward(self, x, *, key_mask=None, return_weights=False):
        """x: (B, T, d_model) -> y: (B, T, d_model); with return_weights (y, weights (B, H, T, T))

        key_mask: bool (B, T), True at real tokens, False at padding
        """
        attended = self.attention(
            self._enter(x, self.norm1), key_mask=key_mask, return_weights=return_weights
        )
        attended, weights = attended if return_weights else (attended, None)
        x = self._leave(x, self.dropout1(attended), self.norm1)

        transformed = self.feed_forward(self._enter(x, self.norm2))
        y = self._leave(x, self.dropout2(transformed), self.norm2)
        return (y, weights) if return_weights else y

    def backward(self, dy):
        """dy: (B, T, d_model) -> dx: (B, T, d_model)"""
        dsum = self._leave_backward(dy, self.norm2)
        dtransformed = self.feed_forward.backward(self.dropout2.backward(dsum))
        dx = self._enter_backward(dtransformed, dsum, self.norm2)

        dsum = self._leave_backward(dx, self.norm1)
        dattended = self.attention.backward(self.dropout1.backward(dsum))
        return self._enter_backward(dattended, dsum, self.norm1)


class DecoderBlock(ResidualBlock):
    """Causal self-attention, [attention to an encoder's output,] then a feed-forward network.

    With `cross_attention` it is the decoder block of Vaswani et al. 2017, sec. 3.1; without, the
    block of GPT (norm="post") and GPT-2 (norm="pre").
    The sub-layers: `norm1`, `attention`, `dropout1`, [`norm_cross`, `cross_attention`,
    `dropout_cross`,] `norm2`, `feed_forward`, `dropout2`.
    """

    def __init__(
        self,
        d_model,
        n_heads,
        d_ff,
        *,
        cross_attention=True,
        norm="pre",
        activation="gelu_tanh",
        dropout=0.0,
        attention_dropout=0.0,
        eps=1e-5,
        rng,
        std=0.02,
        output_std=None,
    ):
        super().__init__(norm)
        init = {"rng": rng, "std": std, "output_std": output_std}
        self.norm1 = LayerNorm(d_model, eps)
        self.attention = MultiHeadAttention(
            d_model, n_heads, causal=True, dropout=attention_dropout, **init
        )
        self.dropout1 = Dropout(dropout, rng)
        self.cross_attention = None
        if cross_attention:
            self.norm_cross = LayerNorm(d_model, eps)
            self.cross_attention = MultiHeadAttention(
                d_model, n_heads, dropout=attention_dropout, **init
            )
            self.dropout_cross = Dropout(dropout, rng)
        self.norm2 = LayerNorm(d_model, eps)
        self.feed_forward = FeedForward(d_model, d_ff, activation=activation, **init)
        self.dropout2 = Dropout(dropout, rng)

    def forward(
        self,
        x,
        memory=None,
        *,
        key_mask=None,
        memory_key_mask=None,
        kv_cache=None,
        return_weights=False,
    ):
        """x: (B, T, d_model), memory: (B, S, d_model) with cross-attention -> y: (B, T, d_model)

        key_mask: bool (B, T), or (B, all positions so far) with a kv_cache; memory_key_mask: bool
        (B, S); True where a key may be attended to. kv_cache: see `MultiHeadAttention`.
        return_weights: return (y, weights), and with cross-attention (y, weights, cross_weights).
        """
        if (memory is None) != (self.cross_attention is None):
            wanted = "None without" if self.cross_attention is None else "an array with"
            raise ValueError(f"memory is {type(memory).__name__}, wanted {wanted} cross-attention")
        attended = self.attention(
            self._enter(x, self.norm1),
            key_mask=key_mask,
            kv_cache=kv_cache,
            return_weights=return_weights,
        )
        attended, *weights = attended if return_weights else (attended,)
        x = self._leave(x, self.dropout1(attended), self.norm1)

        if self.cross_attention is not None:
            attended = self.cross_attention(
                self._enter(x, self.norm_cross),
                memory,
                key_mask=memory_key_mask,
                return_weights=return_weights,
            )
            attended, *cross_weights = attended if return_weights else (attended,)
            weights += cross_weights
            x = self._leave(x, self.dropout_cross(attended), self.norm_cross)

        transformed = self.feed_forward(self._enter(x, self.norm2))
        y = self._leave(x, self.dropout2(transformed), self.norm2)
        return (y, *weights) if return_weights else y

    def backward(self, dy):
        """dy: (B, T, d_model) -> dx: (B, T, d_model); with cross-attention dx, dmemory"""
        dsum = self._leave_backward(dy, self.norm2)
        dtransformed = self.feed_forward.backward(self.dropout2.backward(dsum))
        dx = self._enter_backward(dtransformed, dsum, self.norm2)

        if self.cross_attention is not None:
            dsum = self._leave_backward(dx, self.norm_cross)
            dattended, dmemory = self.cross_attention.backward(self.dropout_cross.backward(dsum))
            dx = self._enter_backward(dattended, dsum, self.norm_cross)

        dsum = self._leave_backward(dx, self.norm1)
        dattended = self.attention.backward(self.dropout1.backward(dsum))
        dx = self._enter_backward(dattended, dsum, self.norm1)
        return dx if self.cross_attention is None else (dx, dmemory)
