"""Cross-entropy: how surprised the model is by the token that really came next."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float, require_ids
from minillm.ops.dropout import require_probability
from minillm.ops.softmax import log_sum_exp


class CrossEntropyCache(NamedTuple):
    logits: np.ndarray  # (N, V)
    log_total: np.ndarray  # (N, 1): log Σ_j exp(z_j)
    targets: np.ndarray  # (N,)
    counted: np.ndarray  # (N,) bool: False where the target is to be ignored
    label_smoothing: float
    shape: tuple  # of the logits that came in


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
    z = logits.reshape(-1, logits.shape[-1])
    targets = targets.reshape(-1)
    counted = targets != ignore_index
    targets = require_ids("targets", np.where(counted, targets, 0), z.shape[1])

    log_total = log_sum_exp(z)
    losses = log_total[:, 0] - (1 - label_smoothing) * z[np.arange(len(z)), targets]
    if label_smoothing:
        losses -= label_smoothing * z.mean(axis=1)
    # Summed as float64: the loss of thousands of tokens is then as good as that of each.
    loss = float(losses[counted].sum(dtype=np.float64)) / max(int(counted.sum()), 1)
    cache = CrossEntropyCache(z, log_total, targets, counted, label_smoothing, logits.shape)
    return loss, cache


# ∂/∂z_j of log Σ_k exp(z_k) is exp(z_j) / Σ_k exp(z_k) = p_j, and of the rest it is -q_j:
#   dL/dz_j = p_j - q_j          what the model said minus what it should have said
# times dloss / (number of counted positions) for the mean; 0 at the ignored positions.
# p is computed again here rather than kept: it is as large as the logits.
def cross_entropy_backward(dloss, cache):
    """dloss: float, the gradient of what the loss is used for (1.0)  ->  dlogits: (..., V)"""
    z, log_total, targets, counted, label_smoothing, shape = cache
    dz = z - log_total
    np.exp(dz, out=dz)  # p
    if label_smoothing:
        dz -= label_smoothing / z.shape[1]
    dz[np.arange(len(z)), targets] -= 1 - label_smoothing
    weight = counted.astype(z.dtype) * (float(dloss) / max(int(counted.sum()), 1))
    dz *= weight[:, None]
    return dz.reshape(shape)
