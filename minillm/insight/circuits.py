"""What a head's weights say by themselves: its two circuits, and which heads read which others.

Of a head's four matrices only two products ever act        (Elhage et al. 2021, "Attention heads as
independent and additive" and "Three kinds of composition"):

    QK circuit   W_QK = W_Q W_Kᵀ     (d, d)    the score of query x and key y is x W_QK yᵀ / √D
    OV circuit   W_OV = W_V W_O      (d, d)    attending to y writes y W_OV

A later head may read what an earlier one with W_OV has written, through its queries, its keys or
its values. How well their matrices fit, from 0 to 1:

    Q-composition   ‖W_OV W_QK‖ / (‖W_OV‖ ‖W_QK‖)        x W_OV takes the place of x, the query
    K-composition   ‖W_QK W_OVᵀ‖ / (‖W_QK‖ ‖W_OV‖)       y W_OV takes the place of y, the key
    V-composition   ‖W_OV W'_OV‖ / (‖W_OV‖ ‖W'_OV‖)      y W_OV takes the place of y, the value

‖·‖ is the Frobenius norm. Vectors are rows here, so the products are the paper's, transposed.
Random matrices have about 1/√d; heads that use the same D directions evenly have 1/√D. A high score
says that a head could listen to another one; that it does, only an intervention shows: patching.py.
"""

from typing import NamedTuple

import numpy as np

from minillm.figures import heat_map, new_figure
from minillm.insight.anatomy import Anatomy
from minillm.nn import RMSNorm

KINDS = ("Q", "K", "V")


class HeadMatrices(NamedTuple):
    """float64: W_Q, W_K, W_V: (d, D);  W_O: (D, d)"""

    W_Q: np.ndarray
    W_K: np.ndarray
    W_V: np.ndarray
    W_O: np.ndarray

    @property
    def qk(self):
        """-> W_QK: (d, d)"""
        return self.W_Q @ self.W_K.T

    @property
    def ov(self):
        """-> W_OV: (d, d)"""
        return self.W_V @ self.W_O


def head_matrices(model, stack=None):
    """-> {(layer, head): HeadMatrices} of the self-attentions;  stack: see `Anatomy`

    In a pre-norm block the matrices include what its norm does to every vector alike: the gain γ
    and, for a layer norm, the subtraction of the mean. Its division by the vector's length is left
    out, and so are biases and rotations by the position.
    """
    found = {}
    for block in Anatomy(model, stack).blocks:
        attention, D = block.module.attention, block.head_dim
        reads = _norm_matrix(block) @ attention.qkv.weight.data.astype(np.float64)
        writes = attention.output.weight.data.astype(np.float64)
        n_kv = attention.n_kv_heads
        all_Q, all_K, all_V = np.split(reads, np.cumsum([block.n_heads * D, n_kv * D]), axis=1)
        for h in range(block.n_heads):
            own, shared = _columns(h, D), _columns(h * n_kv // block.n_heads, D)
            found[block.index, h] = HeadMatrices(all_Q[:, own], all_K[:, shared], all_V[:, shared],
                                                 writes[own])
    return found


def _columns(h, D):
    return slice(h * D, (h + 1) * D)


def _norm_matrix(block):
    """-> (d, d): what the norm in front of the attention does to every vector alike"""
    norm = block.module.norm1
    gain = getattr(norm, "weight", None)
    d = block.module.attention.d_model
    if not block.is_pre_norm or gain is None:
        return np.eye(d)
    centering = np.eye(d) - (0 if isinstance(norm, RMSNorm) else 1 / d)
    return centering * gain.data.astype(np.float64)


def composition(sender, receiver, kind):
    """-> float from 0 to 1: how well `receiver` reads what `sender` writes

    sender, receiver: HeadMatrices, the receiver of a later block;  kind: "Q", "K" or "V"

    The norms are computed without any (d, d) matrix: ‖A M Bᵀ‖ = ‖R_A M R_Bᵀ‖ with A = (columns of
    length 1, orthogonal) R_A, and so for B.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, wanted {', '.join(KINDS)}")
    W_V, W_O = sender.W_V, sender.W_O
    first, last = {"Q": (receiver.W_Q, receiver.W_K), "K": (receiver.W_K, receiver.W_Q),
                   "V": (receiver.W_V, receiver.W_O.T)}[kind]
    size = _norm(W_V, np.eye(W_O.shape[0]), W_O.T) * _norm(first, np.eye(first.shape[1]), last)
    return float(_norm(W_V, W_O @ first, last) / size) if size else 0.0


def _norm(A, M, B):
    """-> ‖A M Bᵀ‖;  A: (d, m), M: (m, n), B: (d, n)"""
    return np.linalg.norm(np.linalg.qr(A, mode="r") @ M @ np.linalg.qr(B, mode="r").T)


def composition_scores(model, kind, stack=None):
    """-> float64 (n, n), names: n strings such as "0.3"

    Row: the sender, column: the receiver, over all n heads; NaN where the sender is in no earlier
    block than the receiver.
    """
    heads = head_matrices(model, stack)
    scores = np.full((len(heads), len(heads)), np.nan)
    for i, (here, sender) in enumerate(heads.items()):
        for j, (there, receiver) in enumerate(heads.items()):
            if here[0] < there[0]:
                scores[i, j] = composition(sender, receiver, kind)
    return scores, [f"{layer}.{h}" for layer, h in heads]


def copying(head, E, U):
    """-> float from -1 to 1: whether attending to a token makes the same token likelier

        Σ λ / Σ |λ|,  λ: the eigenvalues of E W_OV U       (Elhage et al. 2021, "Detecting copying")

    E: (V, d), the embeddings;  U: (d, V), the output head
    """
    # E W_V W_O U has the nonzero eigenvalues of the small matrix W_O U E W_V.
    eigenvalues = np.linalg.eigvals(head.W_O @ (U.astype(np.float64) @ E) @ head.W_V)
    size = np.abs(eigenvalues).sum()
    return float(eigenvalues.sum().real / size) if size else 0.0


def plot_composition(scores, names, kind):
    """-> matplotlib Figure: the senders that have receivers as rows, the receivers as columns"""
    rows, columns = (~np.isnan(scores).all(axis=axis) for axis in (1, 0))
    pick = [[name for name, kept in zip(names, mask) if kept] for mask in (rows, columns)]
    figure, axes = new_figure(1.6 + 0.45 * len(pick[1]), 1.2 + 0.4 * len(pick[0]))
    heat_map(axes, scores[rows][:, columns], rows=pick[0], columns=pick[1], label="score",
             numbers=len(pick[1]) <= 12, limits=(0, np.nanmax(scores)))
    axes.set(title=f"{kind}-composition", ylabel="earlier head", xlabel="later head")
    return figure
