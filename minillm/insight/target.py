"""The number that an explanation is about: a logit, the difference of two, or a likeness."""

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


@dataclass(frozen=True, eq=False)
class Likeness:
    """The part of a text's vector along the direction of another vector: the cosine of the two if
    the model's vectors have length 1

    direction: (width,), of length 1;  position: that of no token, as all have a share
    """

    direction: np.ndarray
    position: int = 0

    def value(self, logits):
        """logits: (B, width), the texts' vectors -> float64 (B,)"""
        return logits.astype(np.float64) @ self.direction

    def gradient(self, logits):
        """-> the derivative of the sum of the values with respect to the vectors: (B, width)"""
        return np.broadcast_to(self.direction, logits.shape).astype(logits.dtype)
