"""Logits processors: changes to the scores of the next token that depend on the tokens so far.

Each takes scores (B, V), logits or log-probabilities, and returns new ones. A token that must not
come next gets -inf, which is probability 0. ids (B, T) are the tokens so far, prompt included.
"""

import numpy as np


def sequence_bias(scores, ids, biases):
    """score + bias for the last token of each sequence in `biases` whose other tokens end `ids`

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
    """-inf for each token that would complete one of `words`, lists of ids"""
    return sequence_bias(scores, ids, {tuple(word): -np.inf for word in words})


def repetition_penalty(scores, ids, penalty, start=None):
    """s / penalty where s > 0, else s * penalty, for every token that occurs in ids
                                                        (Keskar et al. 2019, "CTRL", sec. 4.1)
    penalty > 1 makes repetition less likely, < 1 more likely; 1 changes nothing.
    start: (B,), the first column of each row that isn't padding; default 0.
    The paper always divides, which makes a token with a negative score more likely instead.
    """
    penalized = scores.copy()
    for row, tokens in enumerate(ids):
        seen = np.unique(tokens if start is None else tokens[start[row] :])
        s = scores[row, seen]
        penalized[row, seen] = np.where(s < 0, s * penalty, s / penalty)
    return penalized


def frequency_and_presence(scores, new_ids, frequency, presence):
    """s_j - frequency n_j - presence [n_j > 0], with n_j = how often token j occurs in new_ids
                                                  (the penalties of OpenAI's API; above 0: less often)
    new_ids: (B, T), the tokens so far without the prompt
    """
    penalized = scores.copy()
    for row, tokens in enumerate(new_ids):
        seen, n = np.unique(tokens, return_counts=True)
        penalized[row, seen] -= (frequency * n + presence).astype(scores.dtype)
    return penalized


def no_repeat_ngram(scores, ids, n):
    """-inf for every token that would complete an n-gram that already occurs in ids
                                                        (Paulus et al. 2017, sec. 2.5, for n = 3)
    The last n - 1 tokens begin the next n-gram. Wherever they occurred before, the token that
    followed them is excluded. With n = 1 no token may occur twice.
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
    """-inf for the end-of-text tokens while `length` is below `minimum`"""
    scores = scores.copy()
    if length < minimum:
        scores[:, list(eos_token_ids)] = -np.inf
    return scores


def no_ngram_of(scores, ids, source_ids, n):
    """-inf for every token that would complete an n-gram of source_ids (B, S)

    These are the encoder's n-grams, for a summary that must not copy. With n = 1 no token of the
    source may occur.
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
    """0 for `tokens`, -inf for all others, so one of `tokens` comes next"""
    certain = np.full_like(scores, -np.inf)
    certain[:, tokens] = 0
    return certain


def suppressed(scores, tokens):
    """-inf for `tokens`"""
    scores = scores.copy()
    scores[:, tokens] = -np.inf
    return scores


def without_invalid_values(scores):
    """0 for NaN, the largest finite number for inf, the lowest for -inf"""
    return np.nan_to_num(scores, nan=0.0)


def exponential_decay_length_penalty(scores, length, start, factor, eos_token_ids):
    """s + |s| (factor^(length - start) - 1) for the end-of-text tokens, from length `start` on

    factor > 1 makes an end more and more likely. The absolute value makes it so for negative
    scores, too.
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
    """-inf for all tokens except those that function(index of the prompt, ids (T,)) returns

    copies: the number of consecutive rows that belong to one prompt. If all allowed tokens of all
    these rows are already -inf, they become 0.
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
