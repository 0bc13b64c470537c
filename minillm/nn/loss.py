"""Loss: a number that can start the backward pass.

Inside `per_example_gradients` (per_example.py), a backward starts from Σ_i ℓ_i in place of the mean
over the batch: ℓ_i is the mean over the targets of example i alone. The value stays the mean.
"""

import numpy as np

from minillm.nn.layers import OutputHead
from minillm.nn.module import no_grad
from minillm.nn.per_example import n_examples
from minillm.nn.trace import active_traces
from minillm.ops.binary_cross_entropy import binary_cross_entropy, binary_cross_entropy_backward
from minillm.ops import linear_cross_entropy
from minillm.ops.cross_entropy import cross_entropy, cross_entropy_backward
from minillm.ops.mean_squared_error import mean_squared_error, mean_squared_error_backward


class Loss:
    """A scalar with a backward.

    value:    the number
    backward: a function of dloss, the gradient with respect to the scalar. It runs the backward of
              everything that the scalar was computed from.

    `loss.backward()` adds the gradient to the `grad` of every parameter. `loss.item()` and
    `float(loss)` return the number. Losses can be added and scaled: `loss_a + 0.5 * loss_b` is a
    Loss, and `(loss / n).backward()` for each of n batches accumulates the gradient of their mean.
    """

    def __init__(self, value, backward):
        self._value = float(value)
        self._backward = backward

    def item(self):
        return self._value

    def backward(self):
        """Run the backward with dloss = 1.

        Raises RuntimeError if it has run already, or if the forward ran inside `no_grad()`.
        """
        self._backward(1.0)

    def __float__(self):
        return self._value

    def __add__(self, other):
        if not isinstance(other, Loss):  # a constant: sum() starts with 0
            return Loss(self._value + other, self._backward)

        # d(a + b)/da = d(a + b)/db = 1. The last forward has the first backward.
        def backward(dloss):
            other._backward(dloss)
            self._backward(dloss)

        return Loss(self._value + other._value, backward)

    __radd__ = __add__

    def __mul__(self, factor):
        factor = float(factor)
        return Loss(self._value * factor, lambda dloss: self._backward(dloss * factor))

    __rmul__ = __mul__

    def __truediv__(self, divisor):
        return self * (1 / float(divisor))

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -other

    def __format__(self, spec):
        return format(self._value, spec)

    def __repr__(self):
        return f"Loss({self._value:.6g})"


def cross_entropy_loss(model, logits, targets, *, label_smoothing=0.0, overwrite_logits=False):
    """-> the Loss of the mean cross-entropy of `logits`          (minillm/ops/cross_entropy.py)

    model: the Module whose last forward returned `logits`: (..., V), and whose `backward` takes
        dlogits
    targets: integers (...), -100 where there is nothing to predict
    overwrite_logits: write dlogits over the logits, the largest array of a step, when you no longer
        need them
    """
    value, cache = cross_entropy(logits, targets, label_smoothing=label_smoothing)
    model_backward = model.deferred_backward()
    out = logits if overwrite_logits and not active_traces() else None
    return Loss(value, lambda dloss: model_backward(_dlogits(dloss, cache, out=out)))


def _dlogits(dloss, cache, out=None):
    """`cross_entropy_backward`; inside `per_example_gradients`, that of Σ_i ℓ_i

    The batch's mean divides by the number N of all targets, ℓ_i by that of example i, n_i: so the
    rows of example i are multiplied by N / n_i.
    """
    if n_examples() is None:
        return cross_entropy_backward(dloss, cache, out=out)
    N = cache.n_targets
    counts = (cache.targets >= 0).reshape(n_examples(), -1).sum(axis=1)
    if counts.size and (counts == counts[0]).all():  # as in language modeling: one factor for all
        return cross_entropy_backward(dloss * N / max(counts[0], 1), cache, out=out)
    dlogits = cross_entropy_backward(dloss * N, cache, out=out)
    shape = (len(counts),) + (1,) * (dlogits.ndim - 1)
    dlogits /= np.maximum(counts, 1).astype(dlogits.dtype).reshape(shape)
    return dlogits


def _sum_of_means(dloss):
    """dloss of the mean over the examples, which have equal numbers of targets -> that of Σ_i ℓ_i"""
    return dloss if n_examples() is None else dloss * n_examples()


def head_loss(model, head, x, targets, *, label_smoothing=0.0, return_logits=None):
    """-> the Loss of the mean cross-entropy of head(x), and the logits head(x)

    model: the Module that runs the head; its `backward` takes dlogits, and gives it to the head's
    x: (..., d);  targets, label_smoothing: see `cross_entropy_loss`
    return_logits: True: they are a matrix. False: they are None. None: they are a matrix, unless it
        would be large: then they are a function that computes it, until the backward of the loss.

    Unless the matrix is wanted, one of more than LARGE bytes never exists: the head computes its
    loss in chunks of rows (ops/linear_cross_entropy.py), with the same value and gradients.
    """
    if return_logits is True or not _is_better_in_chunks(head, x):
        logits = head(x)
        loss = cross_entropy_loss(model, logits, targets, label_smoothing=label_smoothing,
                                  overwrite_logits=return_logits is False)
        return loss, None if return_logits is False else logits
    value = head(x, targets, label_smoothing)
    model_backward, has_run = model.deferred_backward(), []

    def backward(dloss):
        has_run.append(True)
        model_backward(dloss)

    def logits():
        if has_run:
            raise RuntimeError("the logits were not kept, and after a backward the weights may "
                               "have changed: read them before it, or pass return_logits=True")
        with no_grad():
            return head(x)

    return Loss(value, backward), None if return_logits is False else logits


def _is_better_in_chunks(head, x):
    """-> whether the logits take more than LARGE bytes, and nothing else needs the matrix

    A trace does; and per-example gradients, which log a head's factors for each example.
    """
    return (type(head) is OutputHead and isinstance(head.weight.data, np.ndarray)
            and not active_traces() and n_examples() is None
            and x.size // x.shape[-1] * len(head.weight.data) * x.itemsize
            > linear_cross_entropy.LARGE)


def next_targets(labels):
    """-> the targets (B, T) for predicting each label from those before it

    labels: integers (B, T), the input ids themselves, with -100 where there is nothing to predict

    The logits at position t predict label t + 1 (Radford et al. 2018, eq. 1). So the labels are
    shifted one position to the left, and the last position has no target.
    """
    targets = np.full(labels.shape, -100, np.int64)
    targets[:, :-1] = labels[:, 1:]
    return targets


def joint_cross_entropy_loss(model, *pairs):
    """-> the Loss of the sum of the cross-entropies of several logits of one forward

    pairs: (logits, targets) as in cross_entropy_loss; `model.backward` takes all dlogits, in order
    """
    values, caches = zip(*[cross_entropy(logits, targets) for logits, targets in pairs])
    model_backward = model.deferred_backward()
    return Loss(sum(values), lambda dloss: model_backward(
        *[_dlogits(dloss, cache) for cache in caches]))


def binary_cross_entropy_loss(model, logits, targets):
    """-> the Loss of yes-or-no questions: logits and targets (from 0 to 1) of the same shape"""
    value, cache = binary_cross_entropy(logits, targets)
    model_backward = model.deferred_backward()
    return Loss(value, lambda dloss: model_backward(
        binary_cross_entropy_backward(_sum_of_means(dloss), cache)))


def mean_squared_error_loss(model, predictions, targets):
    """-> the Loss of numbers to predict: predictions and targets of the same shape"""
    value, cache = mean_squared_error(predictions, targets)
    model_backward = model.deferred_backward()
    return Loss(value, lambda dloss: model_backward(
        mean_squared_error_backward(_sum_of_means(dloss), cache)))
