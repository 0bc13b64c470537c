"""Cross-entropy: how much the true next token surprises the model."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_axes, require_float, require_ids
from minillm.kernels import kernel
from minillm.ops.dropout import require_probability
from minillm.ops.softmax import logsumexp


class CrossEntropyCache(NamedTuple):
    logits: np.ndarray  # (..., V)
    lse: np.ndarray  # (..., 1): log Σ_j exp(z_j)
    targets: np.ndarray  # (...): -1 where the target is ignored
    n_targets: int  # how many targets are not ignored
    label_smoothing: float


def cross_entropy(logits, targets, ignore_index=-100, label_smoothing=0.0):
    """L = - Σ_j q_j log p_j,  p = softmax(logits), averaged over the targets that are not ignored

    The target distribution q is 1 at the target. With label smoothing ε it is
    q_j = (1 - ε) δ_j,target + ε / V          (Szegedy et al. 2016, sec. 7; PyTorch's convention).

    logits: (..., V), targets: (...) integers from 0 to V - 1, or `ignore_index`
    ->  loss: float, in nats; cache for `cross_entropy_backward`

    If all targets are ignored, the loss and the gradients are 0. (PyTorch returns nan, and one such
    batch would turn every weight into nan.)
    """
    require_float("logits", logits)
    require_axes("logits", logits)
    require_probability("label_smoothing", label_smoothing)
    targets = checked_targets(targets, logits.shape[:-1], logits.shape[-1], ignore_index)

    losses, lse = token_losses(logits, targets, label_smoothing)
    n_targets = int((targets >= 0).sum())
    # Sum in float64: float32 would lose digits over thousands of tokens.
    loss = float(losses.sum(dtype=np.float64)) / max(n_targets, 1)
    return loss, CrossEntropyCache(logits, lse, targets, n_targets, label_smoothing)


def checked_targets(targets, shape, V, ignore_index):
    """-> integers of that shape, below V, -1 where the target is ignored; ValueError for others"""
    targets = np.asarray(targets)
    if targets.shape != shape:
        raise ValueError(f"targets has shape {targets.shape}, wanted {shape}")
    targets = require_ids("targets", targets, V, ignored=ignore_index)
    return np.where(targets == ignore_index, -1, targets)


# With z the logits, log p_j = z_j - log Σ_k exp(z_k), and Σ_j q_j = 1, so
#   L = log Σ_k exp(z_k) - Σ_j q_j z_j = log Σ_k exp(z_k) - (1 - ε) z_target - ε mean_j(z_j)
@kernel("logits (..., V), targets (...) < V, 0 <= label_smoothing < 1 -> "
        "losses (...), lse (..., 1)")
def token_losses(logits, targets, label_smoothing):
    """-> the loss L of each token: (...), lse: (..., 1)

    logits: (..., V);  targets: (...), negative where the target is ignored
    """
    lse = logsumexp(logits)
    at_target = np.take_along_axis(logits, np.maximum(targets, 0)[..., None], axis=-1)
    losses = lse - (1 - label_smoothing) * at_target
    if label_smoothing > 0:  # without the test, 0 * -inf would be nan
        losses = losses - label_smoothing * logits.mean(axis=-1, keepdims=True)
    return np.where(targets < 0, 0, losses[..., 0]), lse


# ∂/∂z_j of log Σ_k exp(z_k) is exp(z_j) / Σ_k exp(z_k) = p_j, and of the rest it is -q_j:
#   dL/dz_j = p_j - q_j          the prediction minus the target distribution
# The mean multiplies this by dloss / n_targets; where the target is ignored it is 0.
# p is recomputed here, not cached: it is as large as the logits.
def cross_entropy_backward(dloss, cache, *, out=None):
    """dloss: float, the gradient with respect to the loss  ->  dlogits: (..., V)

    out: the array to write dlogits to. Pass `cache.logits` to overwrite logits that you no longer
    need.
    """
    logits, lse, targets, n_targets, label_smoothing = cache
    dlosses = float(dloss) / max(n_targets, 1)
    return token_losses_backward(dlosses, logits, targets, lse, label_smoothing, out=out)


@kernel("dlosses, logits (..., V), targets (...) < V, lse (..., 1), 0 <= label_smoothing < 1 -> "
        "dlogits (..., V) over logits")
def token_losses_backward(dlosses, logits, targets, lse, label_smoothing):
    """dlosses: float, the gradient with respect to each token's loss  ->  dlogits: (..., V)"""
    V = logits.shape[-1]
    is_target = (np.arange(V) == targets[..., None]).astype(logits.dtype)
    p = np.exp(logits - lse)
    q = (1 - label_smoothing) * is_target + label_smoothing / V
    return np.where(targets[..., None] < 0, 0, dlosses * (p - q))
