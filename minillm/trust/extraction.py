"""Verbatim extraction: does the model go on with its training text, word for word?

A text is *extractable* with k tokens of context if the model, given the k tokens before it in the
training data, continues greedily with exactly its S tokens (Carlini et al. 2022, "Quantifying
memorization", Definition 3.1; there S = 50). The share grows with k: a longer prefix is a better
key.

Some continuations need no memory of *this* place: a license stands in a hundred files. So two
numbers stand beside the share. `held_out` is the same for text that the model hasn't seen.
`elsewhere` is the share of the suffixes that stand in the training text at another place too, word
for word: what a perfect copier of repeated text could get without this place.
"""

from typing import NamedTuple

import numpy as np

from minillm.generation import generate

ROWS = 16  # prefixes continued at once


class Extraction(NamedTuple):
    """For one length of the prefix. Each list has a number for each window.

    prefix, suffix: lengths in tokens
    matched: how many tokens of the continuation are right before the first wrong one
    elsewhere: whether the suffix stands in the training text at another place
    """

    prefix: int
    suffix: int
    matched: np.ndarray
    elsewhere: np.ndarray

    @property
    def exact(self):
        """-> bool (n,): whether the whole suffix is right"""
        return self.matched == self.suffix


def prefix_lengths(room, suffix):
    """-> the lengths of prefixes to try: 4, 8, 16, …, and the longest that leaves room"""
    longest = room - suffix
    found = [2**k for k in range(2, 20) if 2**k < longest]
    return [*found, longest] if longest > 0 else []


def extract(model, windows, prefix, suffix, training, is_training, report=lambda done, total: None):
    """-> Extraction of the last `suffix` tokens of each window by the `prefix` tokens before them

    model: a causal language model
    windows: int64 (n, W), W >= prefix + suffix
    training: ids (N,) of the training text;  is_training: whether the windows are from it
    report(done, total): called after each batch
    """
    matched = np.zeros(len(windows), np.int64)
    for start in range(0, len(windows), ROWS):
        rows = windows[start : start + ROWS, -(prefix + suffix):]
        said = continued(model, rows[:, :prefix], suffix)
        right = said == rows[:, prefix:]
        matched[start : start + len(rows)] = np.cumprod(right, axis=1).sum(axis=1)
        report(start + len(rows), len(windows))
    own = 1 if is_training else 0
    elsewhere = np.array([count(training, row, most=own + 1) > own for row in windows[:, -suffix:]])
    return Extraction(prefix, suffix, matched, elsewhere)


def continued(model, prefixes, n):
    """-> int64 (B, n): the greedy continuations of prefixes (B, k)"""
    return generate(model, prefixes, max_new_tokens=n, do_sample=False, eos_token_id=None,
                    attention_mask=np.ones_like(prefixes), repetition_penalty=1.0)[:, -n:]


def count(text, piece, most=2):
    """-> how often the ids `piece` stand in the ids `text` (N,), counted up to `most`"""
    data, wanted = text.tobytes(), np.asarray(piece, text.dtype).tobytes()
    found, place = 0, data.find(wanted)
    while place >= 0 and found < most:
        found += place % text.itemsize == 0  # else it begins in the middle of an id
        place = data.find(wanted, place + 1)
    return found
