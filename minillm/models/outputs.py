"""What a language model's forward gives back: the outputs, and a loss that can run the backward."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm.nn.outputs import ModelOutput
from minillm.ops.cross_entropy import cross_entropy, cross_entropy_backward


class Loss:
    """The mean cross-entropy of one forward: a number that knows which backward it starts.

    `loss.item()` or `float(loss)` is the number, in nats; `loss.backward()` adds the gradient to
    every parameter's `grad`. `loss / n` and `loss * c` scale number and gradient alike: with
    `(loss / n).backward()`, n small batches add up to the gradient of their mean.
    """

    def __init__(self, value, model, cache, scale=1.0, *, owns_logits=False):
        self._value = value  # not yet scaled
        self._model = model
        self._cache = cache  # of `cross_entropy`
        self._forward = model.cache  # what the model keeps of this very forward
        self._scale = scale
        self._owns_logits = owns_logits  # nobody else has them: their gradient may replace them

    def item(self):
        return self._value * self._scale

    def backward(self):
        """dloss = 1 (times the scale), and from there through the model. Once per forward.

        Raises RuntimeError after an earlier backward, after a later forward of the same model
        (which overwrote what this backward needs), and for a forward inside `no_grad()`.
        """
        if self._forward is None:
            raise RuntimeError("this loss has no backward: its forward ran inside no_grad(), with "
                               "past_key_values, with logits_to_keep or with weights stored for "
                               "inference")
        if self._model.cache is not self._forward:
            raise RuntimeError("this loss has no backward any more: backward() was called already, "
                               "or the model ran again after the forward of this loss")
        out = self._cache.logits if self._owns_logits else None
        self._model.backward(cross_entropy_backward(self._scale, self._cache, out=out))

    def __float__(self):
        return self.item()

    def __mul__(self, factor):
        scaled = Loss(self._value, self._model, self._cache, self._scale * float(factor),
                      owns_logits=self._owns_logits)
        scaled._forward = self._forward
        return scaled

    __rmul__ = __mul__

    def __truediv__(self, divisor):
        return self * (1 / float(divisor))

    def __format__(self, spec):
        return format(self.item(), spec)

    def __repr__(self):
        return f"Loss({self.item():.6g})"


def next_token_loss(model, logits, labels):
    """The Loss of predicting each label from what stands before it     (Radford et al. 2018, eq. 1)

    logits: (B, T, V); labels: (B, T), the input ids themselves, with -100 where nothing is to be
    predicted. Position t is held against label t + 1: the labels move one step to the left, and
    nothing follows the last position.
    """
    targets = np.full_like(labels, -100)
    targets[:, :-1] = labels[:, 1:]
    value, cache = cross_entropy(logits, targets, ignore_index=-100)
    return Loss(value, model, cache)


@dataclass
class BaseOutput(ModelOutput):
    """What a model without a head returns."""

    last_hidden_state: np.ndarray  # (B, T, d_model)
    past_key_values: Any = None  # the KVCache that was given, now longer by T
    hidden_states: tuple | None = None  # the residual stream before each block, and the last state
    attentions: tuple | None = None  # per block (B, H, T, keys): weights, each row adds up to 1


@dataclass
class CausalLMOutput(ModelOutput):
    """What a language model returns."""

    loss: Loss | None = None  # None without labels
    logits: np.ndarray | None = None  # (B, T, V): position t scores what comes at t + 1
    past_key_values: Any = None
    hidden_states: tuple | None = None
    attentions: tuple | None = None
