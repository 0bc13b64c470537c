"""Why does a head look there? A score taken apart by dimensions, and what the look brings.

    S_ij = scale Σ_d q_id k_jd + bias_ij,    P_i = softmax(S_i)       (Vaswani et al. 2017, eq. 1)

Each dimension d of a head has a share in the score of query i and key j, q_id k_jd. bias_ij is what
positions add (ALiBi, T5), and -inf where a key is hidden: in the future, or outside a window.

What the head writes for query i is Σ_j P_ij v_j W_O, a sum of vectors, one for each key. A large
weight on a short vector moves little, so the length of each summand says more than its weight:

    ‖P_ij v_j W_O‖ = P_ij ‖v_j W_O‖                              (Kobayashi et al. 2020, section 3)
"""

from dataclasses import dataclass

import numpy as np

from minillm.figures import COLORS, new_figure
from minillm.insight.anatomy import Anatomy
from minillm.nn.module import no_grad
from minillm.nn.trace import trace
from minillm.ops.attention import AttentionBias, attention_weights, repeat_heads


@dataclass(frozen=True)
class Scores:
    """What one attention computed for texts without padding.

    name: such as "transformer.h.3.attention";  module: that SelfAttention or CrossAttention
    queries: (B, H, T, D);  keys, values: (B, Hkv, S, D), queries and keys after rotation
    """

    name: str
    module: object
    queries: np.ndarray
    keys: np.ndarray
    values: np.ndarray

    @property
    def n_heads(self):
        return self.queries.shape[1]

    @property
    def scale(self):
        D = self.queries.shape[-1]
        return 1 / np.sqrt(D) if self.module.scale is None else self.module.scale

    def bias(self):
        """-> float64 (H, T + S - 1): [h, j - i + T - 1] is what the score of query i and key j gets
        besides the product, -inf if the key is hidden. It depends on the distance alone.
        """
        H, T = self.queries.shape[1:3]
        S = self.keys.shape[2]
        found = np.zeros((H, T + S - 1))
        with no_grad():
            of_distance = self.module.positions.distance_bias(T, S)
        if of_distance is not None:
            found += of_distance
        if self.module.causal:
            found[:, S:] = -np.inf  # j - i > S - T
        return found

    def products(self, head, query, row=0):
        """-> float64 (S, D): q_d k_jd of one query and each key j, by dimension d"""
        K = self.keys[row, head // (self.queries.shape[1] // self.keys.shape[1])]
        return self.queries[row, head, query].astype(np.float64) * K

    def weights(self, head=None):
        """-> P: (B, H, T, S); of one head (B, 1, T, S)"""
        Q, K = self.queries, self.keys
        with no_grad():
            bias = self.module.positions.distance_bias(Q.shape[2], K.shape[2])
            bias = None if bias is None else bias.astype(Q.dtype, copy=False)
            if head is not None:
                one, kv = slice(head, head + 1), head // (Q.shape[1] // K.shape[1])
                Q, K = Q[:, one], K[:, kv : kv + 1]
                bias = None if bias is None else bias[one]
            return attention_weights(Q, K, scale=self.module.scale,
                                     bias=AttentionBias(self.module.causal, None, bias))[0]

    def value_norms(self):
        """-> (B, H, S): ‖v_j W_O‖, the length of what each head would write if it looked only at j.
        The weights times these are the lengths of the head's summands.
        """
        V = repeat_heads(self.values, self.queries.shape[1])
        W_O = self.module.output.weight.data.reshape(V.shape[1], V.shape[3], -1)  # (H, D, d_model)
        return np.stack([np.linalg.norm(V[:, h] @ W, axis=-1) for h, W in enumerate(W_O)], axis=1)


def attention_scores(model, *inputs, stack=None, cross=False, **options):
    """-> list of Scores, one for each block

    inputs, options: the arguments of the model's forward, texts without padding
    stack: see `Anatomy`;  cross: the attention to the encoder's output instead of self-attention

    The weights themselves are computed by `Scores.weights`, one layer or head at a time, so that a
    long text fits in memory.
    """
    blocks = Anatomy(model, stack).blocks
    if cross and getattr(blocks[0].module, "residual_cross", None) is None:
        raise ValueError(f"cross is True, but {blocks[0].stack} has no attention to an encoder")
    kind = "cross_attention" if cross else "attention"
    names = [f"{block.name}.{kind}" for block in blocks]
    seen = ("queries", "keys", "values")
    with trace(model, [f"{name}.{each}" for name in names for each in seen]) as t, no_grad():
        model(*inputs, **options)
    return [Scores(name, getattr(block.module, kind), *(t[f"{name}.{each}"] for each in seen))
            for name, block in zip(names, blocks)]


def plot_score(products, title=None):
    """-> matplotlib Figure: the share of each dimension in one score, the largest on top

    products: (D,), a row of `Scores.products`
    """
    order = np.argsort(-np.abs(products), kind="stable")
    figure, axes = new_figure(5, 0.8 + 0.17 * len(order))
    axes.barh(range(len(order)), products[order],
              color=[COLORS[1] if value >= 0 else COLORS[2] for value in products[order]])
    axes.set_yticks(range(len(order)), order)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("query × key")
    axes.set_ylabel("dimension of the head")
    if title:
        axes.set_title(title)
    return figure
