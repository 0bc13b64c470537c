"""Beam search: keep the best few sequences at every step, instead of the best one.

Greedy decoding takes the best token now, even where it leads to nothing good later. Beam search
goes on from the `num_beams` sequences whose tokens are together the most probable, that is, which
have the highest sum of log-probabilities           (Sutskever, Vinyals, Le 2014, section 3.2).
A finished sequence is judged by

    score = Σ_t log p(token_t) / n^length_penalty        n: the number of new tokens

because every further token lowers the sum: 0 compares the plain sums, which prefers short texts;
1 compares means; more prefers long ones (cf. Wu et al. 2016, sec. 7, with another penalty).

The details (how many candidates are looked at, when a search ends) are those of `transformers`.
"""

import numpy as np

from minillm.generation.logits_processors import process
from minillm.generation.sampling import highest, require_choice, sample_without_replacement
from minillm.ops.softmax import log_softmax

LOW = np.float32(-1e9)  # a score that no sequence has: "not yet one of the beams"


class Beams:
    """The search for one prompt: the sequences that are growing, and the finished ones."""

    def __init__(self, prompt, options):
        self.options = options
        self.prompt_length = self.length = len(prompt)
        self.ids = np.empty((options.num_beams, options.max_length), np.int64)
        self.ids[:, : self.length] = prompt
        # All beams start alike. Only the first counts, so that the first step finds different ones.
        self.scores = np.full(options.num_beams, LOW)
        self.scores[0] = 0
        self.finished = []  # (score, ids), the best first, at most num_beams
        self.closed = False  # True when nothing can get into `finished` any more

    def advance(self, log_probs, rng):
        """One more token for every beam. log_probs: (num_beams, V)

        -> (num_beams,), the beam that each beam goes on from
        """
        scores, beams, tokens = self._candidates(log_probs, rng)
        self.length += 1
        ends = np.isin(tokens, self.options.eos_token_id)
        if self.length == self.options.max_length:
            ends[:] = True
        self._finish(scores, beams, tokens, ends)
        return self._go_on(scores, beams, tokens, ends)

    def best(self, n):
        """-> the ids of the n best finished sequences, the best first"""
        return [ids for _, ids in self.finished[:n]]

    def _candidates(self, log_probs, rng):
        """The best continuations of all beams together: their scores, beams and tokens.

        There are enough of them that num_beams are left when each ending token has been taken out
        of every beam.
        """
        num_beams, V = log_probs.shape
        count = max(2, 1 + len(self.options.eos_token_id)) * num_beams
        totals = (self.scores[:, None] + log_probs).ravel()
        require_choice(totals[None])
        if self.options.do_sample:
            chosen = sample_without_replacement(totals, count, rng)
        else:
            chosen = highest(totals, count)
        return totals[chosen], chosen // V, chosen % V

    def _finish(self, scores, beams, tokens, ends):
        """Move candidates that ended into `finished`, if they are among the first num_beams."""
        if self.closed:
            return
        penalty = (self.length - self.prompt_length) ** self.options.length_penalty
        for rank in np.flatnonzero(ends[: self.options.num_beams]):
            ids = np.append(self.ids[beams[rank], : self.length - 1], tokens[rank])
            self.finished.append((scores[rank] / penalty, ids))
        self.finished.sort(key=lambda pair: -pair[0])
        del self.finished[self.options.num_beams :]

    def _go_on(self, scores, beams, tokens, ends):
        """Make the best candidates that didn't end the new beams -> the beams they come from."""
        scores = np.where(ends, scores + LOW, scores)
        chosen = highest(scores, self.options.num_beams)
        self.scores = scores[chosen]
        self.ids = self.ids[beams[chosen]]
        self.ids[:, self.length - 1] = tokens[chosen]
        self.closed = self.closed or self._cannot_improve()
        return beams[chosen]

    def _cannot_improve(self):
        """Whether no growing sequence can still beat the worst finished one.

        early_stopping=True takes the first num_beams finished ones for good enough. False judges
        the best growing sequence by its score at its present length. "never" by the best score it
        could reach: with a length_penalty > 0 the one at max_length.
        """
        options = self.options
        if len(self.finished) < options.num_beams:
            return False
        if options.early_stopping is True:
            return True
        length = self.length
        if options.early_stopping == "never" and options.length_penalty > 0:
            length = options.max_length
        best_possible = self.scores[0] / (length - self.prompt_length) ** options.length_penalty
        return best_possible <= self.finished[-1][0]


def beam_search(stepper, ids, options, start=None, rng=None):
    """The best sequences for each prompt -> list of B * num_return_sequences arrays of ids

    stepper: a Stepper for the prompts ids (B, T); start: (B,), the column of the first real token
    of each; options: a GenerationConfig with every option set; rng: for do_sample, which draws the
    continuations (without replacement) instead of taking the best ones.
    """
    num_beams = options.num_beams
    searches = [Beams(prompt, options) for prompt in ids]
    if start is not None:
        start = np.repeat(start, num_beams)
    logits = stepper.prompt(copies=num_beams)
    while True:
        sequences = np.concatenate([search.ids[:, : search.length] for search in searches])
        log_probs, _ = log_softmax(logits)
        log_probs = process(log_probs, sequences, options, start)
        log_probs = log_probs.reshape(len(ids), num_beams, -1)
        rows = [search.advance(log_probs[i], rng) + i * num_beams
                for i, search in enumerate(searches)]
        if all(search.closed or search.length == options.max_length for search in searches):
            break
        stepper.select(np.concatenate(rows))
        tokens = np.concatenate([search.ids[:, search.length - 1] for search in searches])
        logits = stepper.next(tokens)
    return [ids for search in searches for ids in search.best(options.num_return_sequences)]
