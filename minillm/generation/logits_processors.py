"""Logits processors: small changes to the scores of the next token before one is chosen.

Each takes scores (B, V), logits or log-probabilities, and returns new ones; a token that must not
come next gets -inf, which is probability 0. The first three judge by the tokens so far, `ids`
(B, T); the others (temperature, top-k, top-p) shape the distribution that a sample is drawn from.
"""

import numpy as np

from minillm.ops.softmax import softmax


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


def temperature(scores, t):
    """s / t: softmax(s / t) ∝ p^(1/t)                           (Ackley, Hinton, Sejnowski 1985)

    t < 1 makes the likely likelier still, t > 1 evens things out; t → 0 is greedy decoding.
    """
    return scores / np.asarray(t, scores.dtype)


def top_k(scores, k):
    """-inf for all but the k highest scores of each row (and what is equal to the k-th)
                                                        (Fan, Lewis, Dauphin 2018)
    """
    if k >= scores.shape[-1]:
        return scores.copy()
    kept = np.full_like(scores, -np.inf)
    for row, kept_row in zip(scores, kept):
        tokens = _some_highest(row, k)
        candidates = row[tokens]
        kth_highest = np.partition(candidates, len(tokens) - k)[len(tokens) - k]
        tokens = tokens[~(candidates < kth_highest)]
        kept_row[tokens] = row[tokens]
    return kept


def _some_highest(row, k):
    """scores: (V,), k < V -> tokens with the k highest of them, and a few hundred others

    Cut the row into k parts. The highest of each part are k scores, so the k-th highest of all is
    not below the lowest of these: only what isn't below it has to be sorted.
    """
    parts = row[: len(row) // k * k].reshape(k, -1)
    bound = parts.max(axis=1).min()
    return np.flatnonzero(~(row < bound))  # if there is a NaN, everything: it is reported later


def top_p(scores, p, at_least=1):
    """-inf for all but the fewest tokens whose probabilities add up to p or more: the nucleus
                                                        (Holtzman et al. 2020, sec. 3.1, eq. 2)
    From the likeliest down, a token is in as long as those before it hold less than p (and what
    is equal to the last one is in, too). So the likeliest always is; `at_least` keeps more in.
    """
    nucleus = scores.copy()
    for row in nucleus:
        # Sorted are the scores, not the tokens: finding a threshold is all that it is for. After
        # top_k only a few of them are left.
        tokens = np.flatnonzero(row > -np.inf)
        if len(tokens) == 0:
            continue  # nothing to choose from: `sampling` will say so
        descending = np.sort(row[tokens])[::-1]
        probabilities, _ = softmax(descending.astype(np.float64))
        mass_before = np.cumsum(probabilities) - probabilities
        size = max(np.count_nonzero(mass_before < p), min(at_least, len(descending)))
        row[tokens[row[tokens] < descending[size - 1]]] = -np.inf
    return nucleus


def process(scores, ids, options, start=None):
    """All that `options` (a GenerationConfig with every option set) ask for, in this order.

    The order is that of `transformers`. Temperature comes before top-p, so it decides how many
    tokens the nucleus holds.
    """
    if options.repetition_penalty != 1:
        scores = repetition_penalty(scores, ids, options.repetition_penalty, start)
    if options.no_repeat_ngram_size:
        scores = no_repeat_ngram(scores, ids, options.no_repeat_ngram_size)
    if ids.shape[1] < options.min_length:
        scores = min_length(scores, ids.shape[1], options.min_length, options.eos_token_id)
    if not options.do_sample:
        return scores
    # With beams there must be a token left that doesn't end the text, for something to go on from.
    at_least = 1 if options.num_beams == 1 else len(options.eos_token_id) + 1
    if options.temperature != 1:
        scores = temperature(scores, options.temperature)
    if options.top_k:
        scores = top_k(scores, max(options.top_k, at_least))
    if options.top_p < 1:
        scores = top_p(scores, options.top_p, at_least)
    return scores
