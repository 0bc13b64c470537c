"""The number that an explanation is about: a logit, or the difference of two."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Logit:
    """logits[:, position, token], minus logits[:, position, other] if `other` is given

    The difference is the better question: it isn't moved by what makes all tokens likelier.
    """

    token: int
    other: int | None = None
    position: int = -1

    def value(self, logits):
        """logits: (B, T, V) -> float64 (B,)"""
        at = logits[:, self.position].astype(np.float64)
        return at[:, self.token] - (0 if self.other is None else at[:, self.other])

    def gradient(self, logits):
        """-> the derivative of the sum of the values with respect to the logits: (B, T, V)"""
        dlogits = np.zeros_like(logits)
        dlogits[:, self.position, self.token] += 1
        if self.other is not None:
            dlogits[:, self.position, self.other] -= 1
        return dlogits


@dataclass(frozen=True)
class Label:
    """logits[:, label], minus logits[:, other] if `other` is given, of a classifier of texts

    position: that of the vector which stands for the text: 0 for [CLS], -1 in a decoder
    """

    label: int
    other: int | None = None
    position: int = -1

    def value(self, logits):
        """logits: (B, C) -> float64 (B,)"""
        logits = logits.astype(np.float64)
        return logits[:, self.label] - (0 if self.other is None else logits[:, self.other])

    def gradient(self, logits):
        """-> the derivative of the sum of the values with respect to the logits: (B, C)"""
        dlogits = np.zeros_like(logits)
        dlogits[:, self.label] += 1
        if self.other is not None:
            dlogits[:, self.other] -= 1
        return dlogits
