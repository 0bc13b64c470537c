"""Choosing the next token from its scores: the best one, or one drawn at random."""

import numpy as np

from minillm.ops.softmax import softmax


def greedy(scores):
    """scores: (B, V) -> (B,) the token with the highest score of each row"""
    tokens = scores.argmax(axis=-1)  # NaN counts as the highest of all
    _require_choices(scores[np.arange(len(scores)), tokens])
    return tokens


def sample(scores, rng):
    """scores: (B, V), logits; rng: numpy Generator -> (B,), token i with probability softmax_i

    Divide the interval from 0 to 1 into one piece per token, as long as its probability, and draw a
    uniform number: the piece that it falls into is the token.
    """
    require_choice(scores)
    chosen = np.empty(len(scores), np.int64)
    for row, u in enumerate(rng.random(len(scores))):
        tokens = np.flatnonzero(scores[row] > -np.inf)  # after top-k there are only a few
        probabilities, _ = softmax(scores[row, tokens].astype(np.float64))
        chosen[row] = tokens[piece_of(probabilities, u)]
    return chosen


def piece_of(probabilities, u):
    """-> the index of the piece that u falls into, 0 <= u < 1; probabilities: (n,), all over 0"""
    ends = np.cumsum(probabilities)  # ends[-1] is 1 only up to rounding
    return min(np.searchsorted(ends, u * ends[-1], side="right"), len(ends) - 1)


def sample_without_replacement(scores, k, rng):
    """scores: (n,), logits -> (k,) different indices, each drawn from the softmax of the rest

    One draw replaces k: add Gumbel noise, -log(-log u), to each score. The indices of the k highest
    sums, in order, are such a sample                      (Kool, van Hoof, Welling 2019, sec. 2.3)
    """
    noisy = scores + rng.gumbel(size=scores.shape)
    return highest(noisy, k)


def highest(scores, k):
    """scores: (n,) -> (k,) indices of the k highest, in descending order; first of equals first"""
    n = len(scores)
    kth_highest = np.partition(scores, n - k)[n - k] if k < n else -np.inf
    candidates = np.flatnonzero(scores >= kth_highest)
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]


def require_choice(scores):
    """Raise ValueError if a row of scores contains NaN or leaves no token to choose."""
    _require_choices(scores.max(axis=-1))


def _require_choices(best):
    """`require_choice`, given the highest score of each row"""
    if np.isnan(best).any():
        raise ValueError("the scores of the next token contain NaN: are the weights damaged?")
    if (best == -np.inf).any():
        raise ValueError("every token is excluded from being the next: loosen no_repeat_ngram_size "
                         "or min_length")
