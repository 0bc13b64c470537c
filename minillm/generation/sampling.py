"""Choosing the next token from its scores: the best one, or one drawn at random."""

import numpy as np

from minillm.ops.softmax import softmax


def greedy(scores):
    """scores: (B, V) -> (B,) the token with the highest score of each row"""
    require_choice(scores)
    return scores.argmax(axis=-1)


def sample(scores, rng):
    """scores: (B, V), logits; rng: numpy Generator -> (B,), token i with probability softmax_i

    The numbers from 0 to 1 are divided among the tokens in stretches as long as their
    probabilities, and a uniform number is drawn: token i if it falls into stretch i.
    """
    require_choice(scores)
    probabilities, _ = softmax(scores)
    ends = np.cumsum(probabilities, axis=-1, dtype=np.float64)
    total = ends[:, -1]  # 1 only up to rounding
    u = np.minimum(rng.random(len(scores)) * total, np.nextafter(total, 0))
    return np.array([np.searchsorted(end, x, side="right") for end, x in zip(ends, u)])


def sample_without_replacement(scores, k, rng):
    """scores: (n,), logits -> (k,) different indices, each drawn from softmax of those left over

    Instead of k draws, one for all: add Gumbel noise, -log(-log u), to each score; the indices of
    the k highest sums, in order, are such a sample        (Kool, van Hoof, Welling 2019, sec. 2.3)
    """
    noisy = scores + rng.gumbel(size=scores.shape)
    return highest(noisy, k)


def highest(scores, k):
    """scores: (n,) -> (k,) the indices of the k highest, the highest first"""
    candidates = np.argpartition(-scores, k - 1)[:k] if k < len(scores) else np.arange(len(scores))
    return candidates[np.argsort(-scores[candidates], kind="stable")]


def require_choice(scores):
    """Raise ValueError if a row has no token left, or scores that aren't numbers."""
    best = scores.max(axis=-1)
    if np.isnan(best).any():
        raise ValueError("the scores of the next token contain NaN: the model's weights are damaged")
    if (best == -np.inf).any():
        raise ValueError("every token is excluded from being the next: loosen no_repeat_ngram_size "
                         "or min_length")
