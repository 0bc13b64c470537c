"""Binary cross-entropy: the loss of labels that are each true or false, independently."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float, require_shape


class BinaryCrossEntropyCache(NamedTuple):
    z: np.ndarray  # the logits
    t: np.ndarray  # the targets


def binary_cross_entropy(z, t):
    """L = mean(- t log p - (1 - t) log(1 - p)),  p = 1 / (1 + exp(-z))

    z: float array of any shape, the logits;  t: the same shape, the targets, from 0 to 1
    ->  loss: float, in nats; cache for `binary_cross_entropy_backward`

    log p = -log(1 + exp(-z)) and log(1 - p) = log p - z, so the summand is
    (1 - t) z + log(1 + exp(-z)). For a large negative z the exponential would overflow; so write
    log(1 + exp(-z)) = max(-z, 0) + log(1 + exp(-|z|)).
    """
    require_float("z", z)
    require_float("t", t)
    require_shape("t", t, z.shape)
    losses = (1 - t) * z + np.maximum(-z, 0) + np.log1p(np.exp(-np.abs(z)))
    loss = float(losses.sum(dtype=np.float64)) / max(losses.size, 1)
    return loss, BinaryCrossEntropyCache(z, t)


# d/dz log(1 + exp(-z)) = -exp(-z) / (1 + exp(-z)) = p - 1, so with n numbers
#   dL/dz = ((1 - t) + p - 1) / n = (p - t) / n          as in cross-entropy
def binary_cross_entropy_backward(dloss, cache):
    """dloss: float, the gradient with respect to the loss  ->  dz: the shape of z"""
    z, t = cache
    e = np.exp(-np.abs(z))  # at most 1
    p = np.where(z >= 0, 1, e) / (1 + e)
    return (p - t) * z.dtype.type(float(dloss) / max(z.size, 1))
