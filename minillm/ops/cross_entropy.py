"""Cross-entropy: how surprised the model is by the token that really came next."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float, require_ids
from minillm.kernels import kernel
from minillm.ops.dropout import require_probability
from minillm.ops.softmax import logsumexp


class CrossEntropyCache(NamedTuple):
    logits: np.ndarray  # (..., V)
    lse: np.ndarray  # (..., 1): log Σ_j exp(z_j)
    targets: np.ndarray  # (...): -1 where the target is ignored
    n_targets: int  # how many aren't
    label_smoothing: float


def cross_entropy(logits, targets, ignore_index=-100, label_smoothing=0.0):
    """The mean over all targets that aren't ignored of  L = - Σ_j q_j log p_j,  p = softmax(logits)

    where q is the wanted distribution: 1 at the target, or, with label smoothing ε,
    q_j = (1 - ε) δ_j,target + ε / V          (Szegedy et al. 2016, sec. 7; PyTorch's convention).

    logits: (..., V), targets: (...) integers from 0 to V - 1, or `ignore_index`
    ->  loss: float, in nats; cache for `cross_entropy_backward`

    If all targets are ignored, the loss is 0 and so are the gradients. (PyTorch gives nan, which
    would spoil every weight because of one batch with nothing to learn from.)
    """
    require_float("logits", logits)
    require_probability("label_smoothing", label_smoothing)
    targets = np.asarray(targets)
    if targets.shape != logits.shape[:-1]:
        raise ValueError(f"targets has shape {targets.shape}, wanted {logits.shape[:-1]}")
    targets = require_ids("targets", targets, logits.shape[-1], ignored=ignore_index)
    targets = np.where(targets == ignore_index, -1, targets)

    losses, lse = token_losses(logits, targets, label_smoothing)
    n_targets = int((targets >= 0).sum())
    # Summed as float64: the loss of thousands of tokens is then as good as that of each.
    loss = float(losses.sum(dtype=np.float64)) / max(n_targets, 1)
    return loss, CrossEntropyCache(logits, lse, targets, n_targets, label_smoothing)


# With z the logits, log p_j = z_j - log Σ_k exp(z_k), and Σ_j q_j = 1, so that
#   L = log Σ_k exp(z_k) - Σ_j q_j z_j = log Σ_k exp(z_k) - (1 - ε) z_target - ε mean_j(z_j)
@kernel("logits (..., V), targets (...) < V, 0 <= label_smoothing < 1 -> losses (...), lse (..., 1)")
def token_losses(logits, targets, label_smoothing):
    """logits: (..., V), targets: (...), negative: ignored  ->  L of each token: (...), lse: (..., 1)"""
    lse = logsumexp(logits)
    at_target = np.take_along_axis(logits, np.maximum(targets, 0)[..., None], axis=-1)
    losses = lse - (1 - label_smoothing) * at_target
    if label_smoothing > 0:  # 0 * -inf is not a number
        losses = losses - label_smoothing * logits.mean(axis=-1, keepdims=True)
    return np.where(targets < 0, 0, losses[..., 0]), lse


# ∂/∂z_j of log Σ_k exp(z_k) is exp(z_j) / Σ_k exp(z_k) = p_j, and of the rest it is -q_j:
#   dL/dz_j = p_j - q_j          what the model said minus what it should have said
# times dloss / n_targets for the mean; 0 where the target is ignored.
# p is computed again here rather than kept: it is as large as the logits.
def cross_entropy_backward(dloss, cache, *, out=None):
    """dloss: float, the gradient that arrives at the loss  ->  dlogits: (..., V)

    out: the array that takes dlogits. Pass `cache.logits` if the logits aren't needed any more.
    """
    logits, lse, targets, n_targets, label_smoothing = cache
    dlosses = float(dloss) / max(n_targets, 1)
    return token_losses_backward(dlosses, logits, targets, lse, label_smoothing, out=out)


@kernel("dlosses, logits (..., V), targets (...) < V, lse (..., 1), 0 <= label_smoothing < 1 -> "
        "dlogits (..., V) over logits")
def token_losses_backward(dlosses, logits, targets, lse, label_smoothing):
    """dlosses: the gradient that arrives at each token's loss, a number  ->  dlogits: (..., V)"""
    V = logits.shape[-1]
    is_target = (np.arange(V) == targets[..., None]).astype(logits.dtype)
    p = np.exp(logits - lse)
    q = (1 - label_smoothing) * is_target + label_smoothing / V
    return np.where(targets[..., None] < 0, 0, dlosses * (p - q))
