"""From the options of a call to its list of logits processors and warpers.

The order is that of `transformers`. Temperature comes before top-p, so it affects how many tokens
the nucleus holds.
"""

from functools import partial

import numpy as np

from minillm.generation import logits_processors as processors
from minillm.generation import warpers
from minillm.ops.softmax import log_softmax


class LogitsProcessor:
    """Base class for your own logits processors, as in `transformers`.

    Any function (ids (B, T), scores (B, V)) -> scores works, too.
    """

    def __call__(self, input_ids, scores):
        raise NotImplementedError(f"{type(self).__name__} has no __call__(input_ids, scores)")


class LogitsProcessorList(list):
    """A list of logits processors; calling it applies them in order."""

    def __call__(self, input_ids, scores):
        for processor in self:
            scores = processor(input_ids, scores)
        return scores


def build_processors(options, ids, *, vocab_size, source_ids=None, start=None,
                     allowed_tokens=None, more=()):
    """-> list of functions (ids, scores) -> scores, to be applied in order

    options: a complete GenerationConfig;  ids: the decoder's prompts (B, T)
    source_ids: the tokens for encoder_repetition_penalty and encoder_no_repeat_ngram_size: the
        encoder's input (B, S), or the prompts of a decoder-only model
    start: (B * copies,), the first column of each sequence that isn't padding, or None
    allowed_tokens: prefix_allowed_tokens_fn
    more: the caller's processors, which come before the warpers
    """
    found = [
        *_of_the_tokens_so_far(options, source_ids, start),
        *_of_the_length(options, ids.shape[1], vocab_size, allowed_tokens),
        *more,
    ]
    if options.do_sample:
        found += [lambda ids, scores, warp=warp: warp(scores) for warp in _warpers(options)]
    if options.renormalize_logits:
        found.append(lambda ids, scores: log_softmax(scores)[0])
    return found


def _of_the_tokens_so_far(options, source_ids, start):
    if options.sequence_bias:
        yield lambda ids, scores: processors.sequence_bias(scores, ids, options.sequence_bias)
    if options.encoder_repetition_penalty != 1 and source_ids is not None:
        # A penalty below 1 favors the tokens of the source.
        yield lambda ids, scores: processors.repetition_penalty(
            scores, _spread(source_ids, len(scores)), 1 / options.encoder_repetition_penalty)
    if options.repetition_penalty != 1:
        yield lambda ids, scores: processors.repetition_penalty(
            scores, ids, options.repetition_penalty, start)
    if options.no_repeat_ngram_size:
        yield lambda ids, scores: processors.no_repeat_ngram(
            scores, ids, options.no_repeat_ngram_size)
    if options.encoder_no_repeat_ngram_size and source_ids is not None:
        yield lambda ids, scores: processors.no_ngram_of(
            scores, ids, _spread(source_ids, len(scores)), options.encoder_no_repeat_ngram_size)
    # As in `transformers`, an end-of-text token can't be a bad word.
    words = [word for word in options.bad_words_ids or []
             if word not in [[eos] for eos in options.eos_token_id]]
    if words:
        yield lambda ids, scores: processors.bad_words(scores, ids, words)


def _of_the_length(options, prompt_length, vocab_size, allowed_tokens):
    ends = options.eos_token_id
    if options.min_length > prompt_length and ends:
        yield lambda ids, scores: processors.min_length(
            scores, ids.shape[1], options.min_length, ends)
    if allowed_tokens is not None:
        copies = max(options.num_beams, options.num_return_sequences)
        yield lambda ids, scores: processors.allowed_by(allowed_tokens, scores, ids, copies)
    if options.forced_bos_token_id is not None:
        yield _when(1, partial(processors.forced, tokens=[options.forced_bos_token_id]))
    if options.forced_eos_token_id is not None:
        last = list(np.ravel(options.forced_eos_token_id))
        yield _when(options.max_length - 1, partial(processors.forced, tokens=last))
    if options.remove_invalid_values:
        yield lambda ids, scores: processors.without_invalid_values(scores)
    if options.exponential_decay_length_penalty is not None and ends:
        first, factor = options.exponential_decay_length_penalty
        yield lambda ids, scores: processors.exponential_decay_length_penalty(
            scores, ids.shape[1], prompt_length + first, factor, ends)
    if options.suppress_tokens:
        never = _inside(options.suppress_tokens, vocab_size)
        yield lambda ids, scores: processors.suppressed(scores, never)
    if options.begin_suppress_tokens:
        not_first = _inside(options.begin_suppress_tokens, vocab_size)
        first_is_forced = prompt_length == 1 and options.forced_bos_token_id is not None
        yield _when(prompt_length + first_is_forced,
                    partial(processors.suppressed, tokens=not_first))


def _warpers(options):
    # Each beam needs at least one token that doesn't end the text.
    at_least = 1 if options.num_beams == 1 else max(2, len(options.eos_token_id) + 1)
    if options.temperature != 1:
        yield partial(warpers.temperature, t=options.temperature)
    if options.top_h is not None:
        yield partial(warpers.top_h, h=options.top_h)
    if options.top_k:
        yield partial(warpers.top_k, k=max(options.top_k, at_least))
    if options.top_p < 1:
        yield partial(warpers.top_p, p=options.top_p, at_least=at_least)
    if options.min_p is not None:
        yield partial(warpers.min_p, p=options.min_p, at_least=at_least)
    if options.typical_p < 1:
        yield partial(warpers.typical_p, p=options.typical_p, at_least=at_least)
    if 0 < options.epsilon_cutoff < 1:
        yield partial(warpers.epsilon_cutoff, epsilon=options.epsilon_cutoff, at_least=at_least)
    if 0 < options.eta_cutoff < 1:
        yield partial(warpers.eta_cutoff, epsilon=options.eta_cutoff, at_least=at_least)


def _when(length, change):
    """-> a processor that applies `change` when there are exactly `length` tokens"""
    return lambda ids, scores: change(scores) if ids.shape[1] == length else scores


def _spread(source_ids, rows):
    """Repeat the source of each prompt for every sequence that starts from it."""
    return np.repeat(source_ids, rows // len(source_ids), axis=0)


def _inside(tokens, vocab_size):
    return [token for token in tokens if 0 <= token < vocab_size]
