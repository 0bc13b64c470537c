"""Scores and ids drawn at random, for the tests of logits processors and warpers."""

import numpy as np


def draw(rng, B=None, V=None, T=None, kinds=None):
    """-> scores (B, V) and ids (B, T) of few kinds, so that they repeat"""
    B, V = B or rng.integers(1, 4), V or rng.integers(2, 40)
    T = T or rng.integers(1, 30)
    scores = (rng.standard_normal((B, V)) * rng.choice([0.1, 1, 5])).astype(np.float32)
    return scores, rng.integers(0, min(V, kinds or V), (B, T))


def kept(scores):
    return scores > -np.inf
