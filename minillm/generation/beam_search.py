"""Beam search: keep the best few sequences at every step, instead of the best one.

Greedy decoding takes the best token now, even if every continuation of it is poor. Beam search
extends the `num_beams` most probable sequences: those with the highest sum of log-probabilities
                                                    (Sutskever, Vinyals, Le 2014, section 3.2).
A finished sequence is ranked by

    score = Σ_t log p(token_t) / n^length_penalty        n: the number of new tokens

because every further token lowers the sum. A penalty of 0 compares the sums, which favors short
texts; 1 compares the means; more favors long texts (cf. Wu et al. 2016, sec. 7, whose penalty
differs).

The details (the number of candidates, when a search ends) are those of `transformers`.
"""

from typing import NamedTuple

import numpy as np

from minillm.generation.sampling import highest, require_choice, sample_without_replacement
from minillm.generation.stopping import is_done
from minillm.ops.softmax import log_softmax

LOW = np.float32(-1e9)  # below the score of any real sequence: "not one of the beams"


class Beams:
    """The search for one prompt: the growing sequences (the beams), and the finished ones."""

    def __init__(self, prompt, options):
        self.options = options
        self.prompt_length = self.length = len(prompt)
        self.ids = np.empty((options.num_beams, options.max_length), np.int64)
        self.ids[:, : self.length] = prompt
        # The beam that each new token extended: column t for token t after the prompt.
        self.origins = np.empty((options.num_beams, options.max_length - self.length), np.int64)
        # All beams start alike. Scoring only the first makes the first step find different ones.
        self.scores = np.full(options.num_beams, LOW)
        self.scores[0] = 0
        self.finished = []  # (score, ids, origins), best first, at most num_beams
        self.closed = False  # True once no sequence can enter `finished` any more
        self.last_step = None  # a BeamStep

    def candidates(self, log_probs, rng):
        """Find the best continuations of all beams together. log_probs: (num_beams, V)

        -> their ids (count, length + 1): enough that num_beams remain after each end-of-text token
        is removed from every beam.
        """
        num_beams, V = log_probs.shape
        count = max(2, 1 + len(self.options.eos_token_id)) * num_beams
        totals = (self.scores[:, None] + log_probs).ravel()
        require_choice(totals[None])
        if self.options.do_sample:
            chosen = sample_without_replacement(totals, count, rng)
        else:
            chosen = highest(totals, count)
        self.candidate_scores = totals[chosen]
        self.candidate_beams, tokens = np.divmod(chosen, V)
        ids = self.ids[self.candidate_beams, : self.length]
        self.candidate_ids = np.concatenate([ids, tokens[:, None]], axis=1)
        return self.candidate_ids

    def advance(self, ends):
        """Make the best candidates the new beams. ends: bool (count,), True where one is complete

        -> (num_beams,), the old beam that each new beam extends
        """
        self.length += 1
        accepted = self._finish(ends)
        scores = np.where(ends, self.candidate_scores + LOW, self.candidate_scores)
        chosen = highest(scores, self.options.num_beams)
        self.scores = scores[chosen]
        beams = self.candidate_beams[chosen]
        self.ids[:, : self.length] = self.candidate_ids[chosen]
        self.origins = self.origins[beams]
        self.origins[:, self.length - self.prompt_length - 1] = beams
        self.closed = self.closed or self._cannot_improve()
        self.last_step = BeamStep(
            self.candidate_beams, self.candidate_ids[:, -1], self.candidate_scores, ends, chosen,
            accepted, [(float(score), ids) for score, ids, _ in self.finished], self.closed)
        return beams

    def _finish(self, ends):
        """Move the complete ones among the first num_beams candidates into `finished`.

        -> their indices
        """
        if self.closed:
            return np.empty(0, np.int64)
        n_new = self.length - self.prompt_length
        complete = np.flatnonzero(ends[: self.options.num_beams])
        for rank in complete:
            score = self.candidate_scores[rank] / n_new**self.options.length_penalty
            beam = self.candidate_beams[rank]
            origins = np.append(self.origins[beam, : n_new - 1], beam)
            self.finished.append((score, self.candidate_ids[rank], origins))
        self.finished.sort(key=lambda found: -found[0])
        del self.finished[self.options.num_beams :]
        return complete

    def _cannot_improve(self):
        """True if no growing sequence can still beat the worst finished one.

        early_stopping=True accepts the first num_beams finished sequences. False compares the best
        growing sequence by its score at its current length; "never" by the best score it could
        reach, which is the one at max_length if length_penalty > 0.
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


class BeamStep(NamedTuple):
    """What one step of a search did: its candidates, the best first, and what became of them.

    beams: (count,), the beam that each candidate extends;  tokens: (count,), by which token
    scores: (count,), their sums of log-probabilities;  ends: bool (count,), which are complete
    kept: (num_beams,), the candidates that are the next beams, in order
    accepted: the candidates that entered `finished`, though better ones may have left no room
    finished: list of (score, ids (T,)): the best complete sequences so far, prompt included
    closed: whether no sequence can enter `finished` any more, which ends the search
    """

    beams: np.ndarray
    tokens: np.ndarray
    scores: np.ndarray
    ends: np.ndarray
    kept: np.ndarray
    accepted: np.ndarray
    finished: list
    closed: bool


def beam_search(decoding):
    """The best sequences for each prompt -> dict of `sequences` (list of B * num_return_sequences
    arrays of ids), `sequences_scores` and `beam_indices` (see `GenerateOutput`)

    decoding: a `Decoding`, see generate.py. With do_sample the continuations are drawn without
    replacement instead of ranked.
    """
    searches = [Beams(prompt, decoding.options) for prompt in decoding.ids]
    for _ in search_steps(searches, decoding):
        pass
    return _best(searches, decoding.options)


def search_steps(searches, decoding):
    """Take all steps of the searches of a `Decoding`, and yield after each; see Beams.last_step."""
    num_beams = decoding.options.num_beams
    logits = decoding.begin(copies=num_beams)
    while True:
        sequences = np.concatenate([search.ids[:, : search.length] for search in searches])
        log_probs, _ = log_softmax(logits)
        log_probs = decoding.process(sequences, logits, log_probs)
        log_probs = log_probs.reshape(len(searches), num_beams, -1)
        candidates = [search.candidates(log_probs[i], decoding.rng)
                      for i, search in enumerate(searches)]
        ends = _ends(decoding, np.concatenate(candidates))
        rows = [search.advance(ends_of_one) + i * num_beams for i, (search, ends_of_one)
                in enumerate(zip(searches, np.split(ends, len(searches))))]
        yield
        if ends.all() or all(search.closed for search in searches):
            return
        decoding.state.select(np.concatenate(rows))
        tokens = np.concatenate([search.ids[:, search.length - 1] for search in searches])
        logits = decoding.model.step(tokens, decoding.state)


def _ends(decoding, sequences):
    """-> bool (N,): which of the sequences (N, T) are complete"""
    if sequences.shape[1] == decoding.options.max_length:
        return np.ones(len(sequences), bool)
    ends = np.isin(sequences[:, -1], decoding.options.eos_token_id)
    return ends | is_done(decoding.criteria, sequences, decoding.recorded_scores())


def _best(searches, options):
    """-> the result of `beam_search`: the best finished sequences of each search, best first"""
    found = [(*finished, i * options.num_beams) for i, search in enumerate(searches)
             for finished in search.finished[: options.num_return_sequences]]
    indices = np.full((len(found), max(len(origins) for _, _, origins, _ in found)), -1)
    for row, (_, _, origins, first) in zip(indices, found):
        row[: len(origins)] = origins + first
    scores = np.array([score for score, *_ in found], np.float32)
    return {"sequences": [ids for _, ids, *_ in found],
            "sequences_scores": scores if options.output_scores else None,
            "beam_indices": indices}
