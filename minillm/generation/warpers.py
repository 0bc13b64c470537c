"""Warpers: functions that shape the distribution before a token is drawn from it.

Each takes scores (B, V), logits or log-probabilities, and returns new ones. All but temperature cut
off the tail of unlikely tokens, which get -inf, probability 0. They differ in where the tail
begins. Each keeps the `at_least` likeliest tokens of a row.
"""

import numpy as np

from minillm.ops.softmax import log_softmax, softmax


def temperature(scores, t):
    """s / t: softmax(s / t) ∝ p^(1/t)                           (Ackley, Hinton, Sejnowski 1985)

    t < 1 sharpens the distribution, t > 1 flattens it; t → 0 is greedy decoding.
    """
    return scores / np.asarray(t, scores.dtype)


def top_k(scores, k):
    """-inf for all but the k highest scores of each row, and those equal to the k-th
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

    Cut the row into k parts. Their maxima are k scores, so the k-th highest score of the row is at
    least the lowest of them. Only scores from there up have to be sorted.
    """
    parts = row[: len(row) // k * k].reshape(k, -1)
    bound = parts.max(axis=1).min()
    return np.flatnonzero(~(row < bound))  # if there is a NaN, all: `sampling` reports it later


def top_p(scores, p, at_least=1):
    """-inf for all but the fewest tokens whose probabilities add up to p or more: the nucleus
                                                        (Holtzman et al. 2020, sec. 3.1, eq. 2)
    In descending order, a token belongs to the nucleus if those before it add up to less than p, or
    if it is equal to the last such token. The likeliest token always belongs to it.
    """
    nucleus = scores.copy()
    for row in nucleus:
        # Sort the scores, not the tokens: all we need is a threshold. After top_k, few are left.
        tokens = np.flatnonzero(row > -np.inf)
        if len(tokens) == 0:
            continue  # nothing to choose from: `sampling` reports it
        descending = np.sort(row[tokens])[::-1]
        probabilities, _ = softmax(descending.astype(np.float64))
        mass_before = np.cumsum(probabilities) - probabilities
        size = max(np.count_nonzero(mass_before < p), min(at_least, len(descending)))
        row[tokens[row[tokens] < descending[size - 1]]] = -np.inf
    return nucleus


def min_p(scores, p, at_least=1):
    """-inf for every token with less than p times the probability of the likeliest one
                                                        (Nguyen et al. 2024, "min-p", sec. 3)
    Few tokens remain where the model is confident, many where it isn't.
    """
    probability, _ = softmax(scores)
    best = probability.max(axis=-1, keepdims=True)
    return _cut(scores, probability < p * best, at_least)


def typical_p(scores, p, at_least=1):
    """-inf for all but the most typical tokens whose probabilities add up to p or more
                                                        (Meister et al. 2023, eq. 10 and 11)
    A token is typical if its information -log p is near its expected value, the entropy H of the
    distribution: its distance is |-log p - H|. So even the likeliest token may be cut.
    """
    log_p, _ = log_softmax(scores.astype(np.float64))
    probability = np.exp(log_p)
    distance = np.abs(-log_p - _entropy(probability)[:, None])
    order = np.argsort(distance, axis=-1, kind="stable")  # the most typical first
    mass = np.cumsum(np.take_along_axis(probability, order, axis=-1), axis=-1)
    last = np.minimum((mass < p).sum(axis=-1), scores.shape[-1] - 1)[:, None]
    sorted_distance = np.take_along_axis(distance, order, axis=-1)
    outside = sorted_distance > np.take_along_axis(sorted_distance, last, axis=-1)
    outside[:, :at_least] = False
    kept = scores.copy()
    rows, columns = np.nonzero(outside)
    kept[rows, order[rows, columns]] = -np.inf
    return kept


def epsilon_cutoff(scores, epsilon, at_least=1):
    """-inf for every token with a probability below epsilon   (Hewitt et al. 2022, sec. 3.2)"""
    probability, _ = softmax(scores)
    return _cut(scores, probability < epsilon, at_least)


def eta_cutoff(scores, epsilon, at_least=1):
    """-inf for every token with a probability below eta = min(epsilon, √epsilon exp(-H))
                                                        (Hewitt et al. 2022, sec. 3.3)
    H is the entropy of the row: where many tokens are plausible, the bound is lower.
    """
    probability, _ = softmax(scores)
    eta = np.minimum(epsilon, np.sqrt(epsilon) * np.exp(-_entropy(probability)))
    return _cut(scores, probability < eta[:, None], at_least)


TOP_H_CANDIDATES = 100  # as in `transformers`


def top_h(scores, h):
    """-inf for all but the likeliest tokens whose share of the entropy H is at most h
                                                        (Baghaei Potraghloo et al. 2025, alg. 1)
    In descending order, a token stays if the terms -p log p up to and including it add up to h H
    at most; the likeliest always stays. p and H are those of the 100 likeliest tokens.
    """
    n = min(TOP_H_CANDIDATES, scores.shape[-1])
    order = np.argsort(-scores, axis=-1, kind="stable")[:, :n]
    likeliest = np.take_along_axis(scores, order, axis=-1)
    probability, _ = softmax(likeliest.astype(np.float64))
    terms = _entropy_terms(probability)
    inside = np.cumsum(terms, axis=-1) <= h * terms.sum(axis=-1, keepdims=True)
    inside[:, 0] = True
    kept = np.full_like(scores, -np.inf)
    rows, columns = np.nonzero(inside)
    kept[rows, order[rows, columns]] = likeliest[rows, columns]
    return kept


def _cut(scores, outside, at_least):
    """-inf where `outside`, except for the at_least highest scores of each row and their equals"""
    n = min(at_least, scores.shape[-1])
    lowest_kept = np.partition(scores, -n, axis=-1)[:, -n, None]
    return np.where(outside & (scores < lowest_kept), -np.inf, scores).astype(scores.dtype)


def _entropy(probability):
    """H = -Σ p log p of each row, in nats"""
    return _entropy_terms(probability).sum(axis=-1)


def _entropy_terms(probability):
    """-p log p, which is 0 where p is 0"""
    return -probability * np.log(np.where(probability > 0, probability, 1))
