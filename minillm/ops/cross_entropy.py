"""Cross-entropy: how surprised the model is by the token that really came next."""

from typing import NamedTuple

import numpy as np

from minillm import kernels
from minillm.checks import require_float, require_ids
from minillm.ops.dropout import require_probability


class CrossEntropyCache(NamedTuple):
    logits: np.ndarray  # (..., V)
    log_total: np.ndarray  # (...): log Σ_j exp(z_j)
    targets: np.ndarray  # (...): -1 where the target is to be ignored
    n_counted: int
    label_smoothing: float


def cross_entropy(logits, targets, ignore_index=-100, label_smoothing=0.0):
    """The mean over the counted positions of  L = - Σ_j q_j log p_j,   p = softmax(logits)

    where q is the wanted distribution: 1 at the target, or, with label smoothing ε,
    q_j = (1 - ε) δ_j,target + ε / V          (Szegedy et al. 2016, sec. 7; PyTorch's convention).
    With log p_j = z_j - log Σ_k exp(z_k) and Σ_j q_j = 1 that is

        L = log Σ_j exp(z_j) - (1 - ε) z_target - ε mean_j(z_j)

    logits: (..., V), targets: (...) integers from 0 to V - 1, or `ignore_index`: not counted
    ->  loss: float, in nats; cache for `cross_entropy_backward`

    With no position to count the loss is 0 and so are the gradients (PyTorch gives nan, which
    would spoil every weight for the sake of one batch that has nothing to teach).
    """
    require_float("logits", logits)
    require_probability("label_smoothing", label_smoothing)
    targets = np.asarray(targets)
    if targets.shape != logits.shape[:-1]:
        raise ValueError(f"targets has shape {targets.shape}, wanted {logits.shape[:-1]}")
    counted = targets != ignore_index
    require_ids("targets", targets[counted], logits.shape[-1])
    targets = np.where(counted, targets, -1)  # what the kernel doesn't count

    losses, log_total = kernels.cross_entropy(logits, targets, label_smoothing)
    n_counted = int(counted.sum())
    # Summed as float64: the loss of thousands of tokens is then as good as that of each.
    loss = float(losses.sum(dtype=np.float64)) / max(n_counted, 1)
    return loss, CrossEntropyCache(logits, log_total, targets, n_counted, label_smoothing)


# ∂/∂z_j of log Σ_k exp(z_k) is exp(z_j) / Σ_k exp(z_k) = p_j, and of the rest it is -q_j:
#   dL/dz_j = p_j - q_j          what the model said minus what it should have said
# times dloss / (number of counted positions) for the mean; 0 at the ignored positions.
# p is computed again here rather than kept: it is as large as the logits.
def cross_entropy_backward(dloss, cache, *, out=None):
    """dloss: float, the gradient of what the loss is used for (1.0)  ->  dlogits: (..., V)

    out: where dlogits is written; `cache.logits`, where nobody needs the logits any more.
    """
    logits, log_total, targets, n_counted, label_smoothing = cache
    weight = float(dloss) / max(n_counted, 1)
    return kernels.cross_entropy_backward(
        weight, logits, targets, log_total, label_smoothing, out
    )
