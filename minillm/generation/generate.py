"""Generating text: one token after another, each put behind what the model reads next."""

import numpy as np

from minillm.checks import require_memory
from minillm.generation.beam_search import beam_search
from minillm.generation.logits_processors import process
from minillm.generation.options import complete_options
from minillm.generation.sampling import greedy, sample
from minillm.generation.stepper import Stepper


def generate(model, input_ids=None, attention_mask=None, *, seed=None, generator=None, **options):
    """Continue each prompt -> int64 array (B * num_return_sequences, T_out), prompts included

    input_ids: integers (B, T); None starts from bos_token_id. Shorter prompts of a batch are padded
        on the left, and attention_mask (B, T) is 0 there. Without a mask, a pad_token_id
        that isn't an eos_token_id too is taken for padding.
    seed, generator: an integer, or a numpy Generator, that all chance comes from; without them
        every call samples anew.

    How long:
        max_new_tokens, or max_length (with the prompt); 20 new tokens by default. No sequence grows
        beyond the model's n_positions (a warning says so if more was asked for).
        min_new_tokens, min_length: no end before that
        eos_token_id: an id or a list of ids; a sequence ends with one of them, and is filled up
        with pad_token_id (eos_token_id if there is none) to the longest. None: no end.
    Which token:
        do_sample: draw from the distribution, instead of taking the best token (greedy)
        temperature, top_k, top_p: how the distribution is shaped first; see logits_processors.py.
        top_k is 50 by default; 0 or None switches it off.
        repetition_penalty, no_repeat_ngram_size: against loops, in all modes
    How many:
        num_return_sequences: per prompt; row b * num_return_sequences + i is sequence i of prompt b
        num_beams, length_penalty, early_stopping (True, False, "never"): see beam_search.py

    Without num_beams and without an explicit do_sample, giving temperature, top_k, top_p or
    num_return_sequences > 1 means sampling. `transformers` would ignore the first three, and refuse
    the last; programs in tutorials are written as if they did something, so here they do.

    Options that aren't given come from model.generation_config, then from the defaults of
    `transformers`. Dropout is off, in whichever mode the model is.

    Raises TypeError for an unknown option; ValueError for a value out of range, for a prompt that
    is empty, has padding at its end or leaves no room, and for several sequences without sampling
    or beams.
    """
    ids, mask, options = _prepare(model, input_ids, attention_mask, options, "generate")
    rng = _random_generator(seed, generator)
    stepper = Stepper(model, ids, mask, options.max_length)
    start = None if mask is None else mask.argmax(axis=1)
    if options.num_beams > 1:
        return _padded(beam_search(stepper, ids, options, start, rng), options.pad_token_id)
    steps = list(_decode(stepper, ids, options, start, rng))
    prompts = np.repeat(ids, options.num_return_sequences, axis=0)
    return np.concatenate([prompts, np.stack(steps, axis=1)], axis=1)


def stream(model, input_ids=None, attention_mask=None, *, seed=None, generator=None, **options):
    """The new tokens of `generate` for one prompt (1, T), one at a time -> iterator of int

    Takes the same arguments, with one sequence to return and without beams. An end-of-text token
    is the last one that comes. Errors are raised by the call, not by the first step.
    """
    ids, mask, options = _prepare(model, input_ids, attention_mask, options, "stream")
    if len(ids) != 1 or options.num_return_sequences != 1 or options.num_beams != 1:
        raise ValueError(
            "stream gives one sequence, wanted one prompt, num_return_sequences=1 and "
            f"num_beams=1, got {len(ids)}, {options.num_return_sequences} and {options.num_beams}"
        )
    rng = _random_generator(seed, generator)
    stepper = Stepper(model, ids, mask, options.max_length)
    start = None if mask is None else mask.argmax(axis=1)
    return (int(tokens[0]) for tokens in _decode(stepper, ids, options, start, rng))


def _decode(stepper, ids, options, start, rng):
    """Greedy decoding and sampling. Yield the next token of every sequence: (B * copies,) each."""
    copies, length = options.num_return_sequences, ids.shape[1]
    sequences = np.empty((len(ids) * copies, options.max_length), np.int64)
    sequences[:, :length] = np.repeat(ids, copies, axis=0)
    start = None if start is None else np.repeat(start, copies)
    unfinished = np.ones(len(sequences), bool)

    logits = stepper.prompt(copies)
    while True:
        scores = process(logits, sequences[:, :length], options, start)
        tokens = sample(scores, rng) if options.do_sample else greedy(scores)
        tokens = np.where(unfinished, tokens, options.pad_token_id)
        yield tokens
        sequences[:, length] = tokens
        length += 1
        unfinished &= ~np.isin(tokens, options.eos_token_id)
        if length == options.max_length or not unfinished.any():
            return
        logits = stepper.next(tokens)


def _prepare(model, input_ids, attention_mask, options, function):
    """-> ids (B, T), mask (bool or None), the complete options"""
    if input_ids is None:
        bos = options.get("bos_token_id", model.generation_config.bos_token_id)
        if bos is None:
            raise ValueError("input_ids is None, and there is no bos_token_id to start from")
        input_ids = [[bos]]
    ids = np.asarray(input_ids)
    if ids.ndim != 2:
        raise ValueError(f"input_ids has shape {ids.shape}, wanted (B, T): a batch of prompts")
    if ids.size == 0:
        raise ValueError("input_ids is empty, wanted at least one token to go on from (None starts "
                         "from bos_token_id)")
    options = complete_options(model, options, ids.shape[1], function)
    _require_memory(model.config, len(ids), options)
    return ids, _prompt_mask(ids, attention_mask, options), options


def _require_memory(config, B, options):
    """MemoryError for more sequences than their keys, values and scores have room for."""
    rows = B * max(options.num_beams, options.num_return_sequences)
    numbers = 2 * config.n_layer * config.n_embd * options.max_length + config.vocab_size
    require_memory(f"generating {rows} sequences at once", 4 * rows * numbers)


def _prompt_mask(ids, attention_mask, options):
    if attention_mask is None:
        pad = options.pad_token_id
        if pad in options.eos_token_id or not (ids == pad).any():
            return None
        attention_mask = ids != pad
    mask = np.asarray(attention_mask)
    if mask.shape != ids.shape:
        raise ValueError(f"attention_mask has shape {mask.shape}, wanted {ids.shape} as input_ids")
    mask = mask.astype(bool)
    if not mask[:, -1].all():
        raise ValueError("attention_mask is 0 at the end of a prompt, where its continuation "
                         "starts: pad on the left (tokenizer.padding_side = 'left')")
    return None if mask.all() else mask


def _padded(sequences, pad_token_id):
    """list of (T_i,) -> (B, the longest T), filled up on the right"""
    padded = np.full((len(sequences), max(map(len, sequences))), pad_token_id, np.int64)
    for row, ids in zip(padded, sequences):
        row[: len(ids)] = ids
    return padded


def _random_generator(seed, generator):
    if seed is not None and generator is not None:
        raise ValueError("seed and generator are both given, wanted one of them")
    if generator is not None and not isinstance(generator, np.random.Generator):
        raise TypeError(f"generator is a {type(generator).__name__}, wanted a numpy Generator")
    return generator or np.random.default_rng(seed)
