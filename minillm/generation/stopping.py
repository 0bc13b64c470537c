"""Stopping criteria: what ends a sequence besides its end-of-text token and its maximum length.

A stopping criterion is a function (ids (B, T), scores) -> bool, or bool (B,) for each sequence.
`scores` are the scores of all steps so far, a tuple of (B, V), or None if they aren't recorded.
"""

import time

import numpy as np


class StoppingCriteria:
    """Base class for your own stopping criteria, as in `transformers`.

    Any function (ids (B, T), scores) -> bool or (B,) works, too.
    """

    def __call__(self, input_ids, scores):
        raise NotImplementedError(f"{type(self).__name__} has no __call__(input_ids, scores)")


class StoppingCriteriaList(list):
    """A list of stopping criteria; any one of them ends a sequence."""

    def __call__(self, input_ids, scores):
        return is_done(self, input_ids, scores)


def build_criteria(options, tokenizer, more=()):
    """-> list of the criteria that the options of a call request

    options: a complete GenerationConfig;  tokenizer: for stop_strings;  more: the caller's own
    """
    criteria = list(more)
    if options.max_time is not None:
        criteria.append(time_is_up(options.max_time))
    if options.stop_strings is not None:
        if tokenizer is None:
            raise ValueError("stop_strings needs the tokenizer: pass tokenizer=")
        criteria.append(ends_in(options.stop_strings, tokenizer))
    return criteria


def time_is_up(seconds):
    """True once `seconds` have passed since this call."""
    start = time.monotonic()
    return lambda ids, scores: time.monotonic() - start > seconds


def ends_in(stop_strings, tokenizer):
    """True for a sequence whose last token completes one of `stop_strings`.

    The same token may go on after the stop string. A stop string that was complete before the last
    token has no effect, so one inside the prompt is harmless.
    """
    if isinstance(stop_strings, str):
        stop_strings = [stop_strings]
    if not stop_strings or not all(stop_strings):
        raise ValueError(f"stop_strings is {stop_strings!r}, wanted one or more non-empty strings")
    # A token holds at least one byte, so a stop string spans no more tokens than it has bytes.
    span = 1 + max(len(stop.encode("utf-8", "surrogatepass")) for stop in stop_strings)

    def complete(tokens):
        # The bytes of a character that isn't complete yet decode to U+FFFD.
        before = tokenizer.decode(tokens[:-1]).rstrip("\ufffd")
        text = tokenizer.decode(tokens)
        return any(text.find(stop, max(0, len(before) + 1 - len(stop))) >= 0
                   for stop in stop_strings)

    return lambda ids, scores: np.array([complete(row[-span:]) for row in ids])


def is_done(criteria, ids, scores):
    """-> bool (B,): which of the sequences ids (B, T) have ended by one of `criteria`"""
    done = np.zeros(len(ids), bool)
    for criterion in criteria:
        done |= np.asarray(criterion(ids, scores), bool)
    return done
