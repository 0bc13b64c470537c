"""Drafts: cheap guesses of the next few tokens, for speculative.py to verify.

A drafter is a function (ids (T,), n) -> Draft of at most n tokens that may follow `ids`. A bad
draft costs time, never correctness: whatever it guesses, the distribution of the text is the same.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minillm.generation.sampling import greedy, sample
from minillm.ops.softmax import softmax


class Draft(NamedTuple):
    """tokens: int (n,);  probabilities: float64 (n, V), row i the distribution q that token i was
    drawn from; None if nothing was drawn: the same text always gets the same draft
    """

    tokens: np.ndarray
    probabilities: np.ndarray | None = None


NO_DRAFT = Draft(np.empty(0, np.int64))


@dataclass
class DraftCounts:
    """How much drafting helped: without it, every new token takes one forward of the model."""

    drafted: int = 0  # tokens
    accepted: int = 0  # tokens that became part of the text
    forwards: int = 0  # of the model whose text it is, the prompt's included


class PromptLookup:
    """Guess that the text repeats itself                  (Saxena 2023, "Prompt Lookup Decoding")

    Where the last m tokens occurred before, copy the n tokens that followed them there. Try m =
    max_ngram first, then fewer. Of several places take the latest that n tokens follow, as the
    text is likelier to go on as it went on lately; if none has so many, the first, which has most.
    """

    def __init__(self, n_tokens, max_ngram):
        self.n_tokens, self.max_ngram = n_tokens, max_ngram

    def __call__(self, ids, n):
        n, T = min(n, self.n_tokens), len(ids)
        for m in range(min(self.max_ngram, T - 1), 0, -1):
            is_there = np.ones(T - m, bool)  # the last m tokens, from this place on
            for i in range(m):
                is_there &= ids[i : T - m + i] == ids[T - m + i]
            starts = m + np.flatnonzero(is_there)  # of what followed
            if len(starts):
                long_enough = starts[starts + n <= T]
                start = long_enough[-1] if len(long_enough) else starts[0]
                return Draft(ids[start : start + n].copy())
        return NO_DRAFT

    def learn(self, draft, n_accepted):
        """The length of the drafts stays as it is."""


class DraftModel:
    """Let a small model continue the text  (Leviathan, Kalman, Matias 2023; Chen et al. 2023)

    model: with the vocabulary of the large one;  inputs: for its prefill
    process: a function (ids (1, T), scores (1, V)) -> scores, as for the large model. The closer
        the draft's distribution is to the large model's, the more tokens are accepted.
    rng: a numpy Generator to draw with, or None for greedy drafts
    n_tokens: of a draft;  adapts: make drafts longer by 2 after one that was accepted as a whole,
        shorter by 1 after another
    threshold: end a draft after a token with less than this probability, and after those of `ends`

    The decision to stop may depend on a token that is part of the draft, since that token is
    verified. Leaving a token out *because* of its value would distort the distribution.
    """

    def __init__(self, model, inputs, process, rng, *, n_tokens, adapts, threshold, ends):
        self.model, self.inputs, self.process, self.rng = model, inputs, process, rng
        self.n_tokens, self.adapts = n_tokens, adapts
        self.threshold, self.ends = threshold, ends
        self.state = None

    def __call__(self, ids, n):
        room = np.inf if self.model.max_positions is None else self.model.max_positions - len(ids)
        n = min(n, self.n_tokens, room)
        if n < 1:
            return NO_DRAFT
        if self.state is None:
            _, self.state = self.model.prefill(**self.inputs)
        # All tokens but the last were accepted. What the model read beyond them was rejected.
        self.state.crop(len(ids) - 1)
        ids = ids[None]
        logits = self.model.extend(ids[:, self.state.length :], self.state)[:, -1]
        tokens, probabilities = [], []
        while True:
            scores = self.process(ids, logits)
            if not scores.max() > -np.inf:  # nothing may follow, or NaN: no draft
                break
            token = (greedy(scores) if self.rng is None else sample(scores, self.rng))[0]
            q = softmax(scores[0].astype(np.float64))[0]
            tokens.append(token)
            probabilities.append(q)
            if len(tokens) == n or q[token] < self.threshold or token in self.ends:
                break
            ids = np.append(ids, [[token]], axis=1)
            logits = self.model.step(np.array([token]), self.state)
        if not tokens:
            return NO_DRAFT
        return Draft(np.array(tokens), None if self.rng is None else np.array(probabilities))

    def learn(self, draft, n_accepted):
        """Adapt the length of the drafts to how many tokens of the last one were accepted."""
        if self.adapts and len(draft.tokens):
            all_of_it = n_accepted == len(draft.tokens)
            self.n_tokens = self.n_tokens + 2 if all_of_it else max(1, self.n_tokens - 1)
