"""Logits processors: changes to the scores of the next token that depend on the tokens so far.

Each takes scores (B, V), logits or log-probabilities, and returns new ones; a token that must not
come next gets -inf, which is probability 0. ids (B, T) are the tokens so far, the prompt included.
"""

import numpy as np


def sequence_bias(scores, ids, biases):
    """score + bias for the last token of every sequence in `biases` whose others came just before

    biases: {tuple of ids: number}; a sequence of one token always gets its bias.
    """
    total = np.zeros_like(scores)
    for sequence, bias in biases.items():
        prefix, last = sequence[:-1], sequence[-1]
        if len(prefix) <= ids.shape[1]:
            follows = (ids[:, ids.shape[1] - len(prefix) :] == prefix).all(axis=1)
            total[follows, last] += bias
    return scores + total


def bad_words(scores, ids, words):
    """-inf for the token that would complete one of `words`, lists of ids"""
    return sequence_bias(scores, ids, {tuple(word): -np.inf for word in words})


def repetition_penalty(scores, ids, penalty, start=None):
    """s / penalty where s > 0, else s * penalty, for every token that occurs in ids
                                                        (Keskar et al. 2019, "CTRL", sec. 4.1)
    penalty > 1 makes repeating less likely, < 1 more likely; 1 changes nothing.
    start: (B,), the first column of each row that counts (padding before it doesn't); default 0.
    The paper divides always; for a negative score that would make repeating more likely.
    """
    penalized = scores.copy()
    for row, tokens in enumerate(ids):
        seen = np.unique(tokens if start is None else tokens[start[row] :])
        s = scores[row, seen]
        penalized[row, seen] = np.where(s < 0, s * penalty, s / penalty)
    return penalized


def no_repeat_ngram(scores, ids, n):
    """-inf for every token that would end an n-gram which is in ids already
                                                        (Paulus et al. 2017, sec. 2.5, for n = 3)
    The last n - 1 tokens are the start of the n-gram to come. Wherever they stood before, what
    followed them is forbidden. With n = 1 no token may come twice.
    """
    T = ids.shape[1]
    allowed = scores.copy()
    if T < n:
        return allowed
    starts = np.lib.stride_tricks.sliding_window_view(ids, n, axis=1)  # (B, T - n + 1, n)
    prefix = ids[:, None, T - n + 1 :]  # (B, 1, n - 1)
    repeats = (starts[:, :, : n - 1] == prefix).all(axis=2)
    rows, columns = np.nonzero(repeats)
    allowed[rows, ids[rows, columns + n - 1]] = -np.inf
    return allowed


def min_length(scores, length, minimum, eos_token_ids):
    """-inf for the tokens that end a text, as long as its `length` is below `minimum`."""
    scores = scores.copy()
    if length < minimum:
        scores[:, list(eos_token_ids)] = -np.inf
    return scores


def no_ngram_of(scores, ids, source_ids, n):
    """-inf for every token that would end an n-gram which is in source_ids (B, S)

    The encoder's n-grams, for a summary that must not copy. With n = 1 no token of the source.
    """
    allowed = scores.copy()
    for row, source in enumerate(source_ids):
        if n > len(source) or ids.shape[1] < n - 1:
            continue
        ngrams = np.lib.stride_tricks.sliding_window_view(source, n)
        prefix = ids[row, ids.shape[1] - n + 1 :]
        allowed[row, ngrams[(ngrams[:, : n - 1] == prefix).all(axis=1), n - 1]] = -np.inf
    return allowed


def forced(scores, tokens):
    """0 for `tokens`, -inf for all others: one of them comes next"""
    certain = np.full_like(scores, -np.inf)
    certain[:, tokens] = 0
    return certain


def suppressed(scores, tokens):
    """-inf for `tokens`"""
    scores = scores.copy()
    scores[:, tokens] = -np.inf
    return scores


def without_invalid_values(scores):
    """0 for NaN, the largest and the smallest finite number for inf and -inf"""
    return np.nan_to_num(scores, nan=0.0)


def exponential_decay_length_penalty(scores, length, start, factor, eos_token_ids):
    """s + |s| (factor^(length - start) - 1) for the tokens that end a text, from `start` on

    factor > 1 makes an end more and more likely. The absolute value serves negative scores.
    """
    if length <= start:
        return scores.copy()
    scores = scores.copy()
    s = scores[:, eos_token_ids]
    # Python's power of floats raises OverflowError where NumPy's is inf.
    growth = np.float64(factor) ** (length - start) - 1
    finite = np.where(np.isfinite(s), s, 0)
    scores[:, eos_token_ids] = s + np.abs(finite) * growth
    return scores


def allowed_by(function, scores, ids, copies):
    """-inf for all tokens but those that function(batch index, ids (T,)) lists

    copies: how many rows in a row belong to one prompt, the same batch index. Where all allowed
    tokens of all these rows have -inf already, they get 0.
    """
    mask = np.full_like(scores, -np.inf)
    for row, tokens in enumerate(ids):
        allowed = list(function(row // copies, tokens))
        if not allowed:
            raise ValueError("prefix_allowed_tokens_fn gives no token for prompt "
                             f"{row // copies}, wanted at least one")
        mask[row, allowed] = 0
    result = scores + mask
    impossible = (result == -np.inf).all(axis=1).reshape(-1, copies).all(axis=1)
    return np.where(np.repeat(impossible, copies)[:, None], mask, result)
