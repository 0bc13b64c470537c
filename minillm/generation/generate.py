"""Generating text: choose one token, append it to what the model reads, repeat."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from minillm.checks import require_memory
from minillm.generation.beam_search import Beams, beam_search, search_steps
from minillm.generation.drafts import DraftCounts, DraftModel, PromptLookup
from minillm.generation.options import check_speculation, complete_options
from minillm.generation.processors import LogitsProcessorList, build_processors
from minillm.generation.prompts import checked_past, find_prompts, output_vocab_size
from minillm.generation.sampling import greedy, sample
from minillm.generation.speculative import speculate
from minillm.generation.stopping import build_criteria, is_done
from minillm.nn.outputs import ModelOutput


def generate(model, inputs=None, generation_config=None, logits_processor=None,
             stopping_criteria=None, prefix_allowed_tokens_fn=None, *, streamer=None, **options):
    """Continue each prompt -> int64 array (B * num_return_sequences, T_out), prompts included

    inputs, or input_ids: integers (B, T); None starts from bos_token_id. Pad shorter prompts of a
        batch on the left, and pass an attention_mask (B, T) that is 0 there. Without a mask, every
        pad_token_id is padding, unless it is also an eos_token_id. An encoder-decoder reads these
        with its encoder; its decoder starts from decoder_start_token_id (default: bos_token_id)
        and decoder_input_ids, and the result holds the decoder's tokens only.
    inputs_embeds: (B, T, d_model) instead of input_ids, if the model takes them; the result then
        holds the new tokens only
    past_key_values: a KVCache that already holds the first tokens of input_ids; it grows
    seed, generator: an integer, or a numpy Generator, as the source of all randomness; without
        either, every call samples anew
    generation_config: a GenerationConfig with any of the options below

    How long:
        max_new_tokens, or max_length (which counts the prompt); 20 new tokens by default. No
        sequence grows beyond the model's max_positions; a request for more is a warning.
        min_new_tokens, or min_length: exclude the end-of-text tokens before that length
        eos_token_id: an id or a list of ids; a sequence ends with one of them, and is padded with
        pad_token_id (default: eos_token_id) to the longest. None: no end.
        stop_strings (with tokenizer=): a sequence ends as soon as its text contains one of them
        max_time: seconds after which no further token is started
        stopping_criteria: a list of functions (ids, scores) -> bool or (B,), see stopping.py
    Which token:
        do_sample: draw from the distribution instead of taking the best token (greedy)
        temperature, top_h, top_k, top_p, min_p, typical_p, epsilon_cutoff, eta_cutoff: shape the
        distribution first; see warpers.py. top_k is 50 by default; 0 switches it off.
        repetition_penalty, no_repeat_ngram_size, encoder_repetition_penalty,
        encoder_no_repeat_ngram_size, bad_words_ids, sequence_bias, suppress_tokens,
        begin_suppress_tokens, forced_bos_token_id, forced_eos_token_id,
        exponential_decay_length_penalty, remove_invalid_values: change the scores in all modes; see
        logits_processors.py
        logits_processor: a list of functions (ids, scores) -> scores, applied after these
        prefix_allowed_tokens_fn: a function (index of the prompt, ids (T,)) -> list of tokens that
        may come next
        renormalize_logits: take the log-softmax after all of them
    How many:
        num_return_sequences: per prompt; row b * num_return_sequences + i is sequence i of prompt b
        num_beams, length_penalty, early_stopping (True, False, "never"): see beam_search.py
    How fast, for one prompt and one sequence, with the same distribution (see speculative.py):
        prompt_lookup_num_tokens, max_matching_ngram_size (2 by default): copy this many tokens from
        where the last ones occurred before, and verify them together
        assistant_model: a small model with the same vocabulary, which drafts num_assistant_tokens
        (20), or fewer if one has a probability below assistant_confidence_threshold (0.4);
        num_assistant_tokens_schedule "heuristic" adapts the number, "constant" is the default.
        logits_processor isn't applied to its drafts.
    What to return:
        return_dict_in_generate: a GenerateOutput; with output_scores and output_logits it holds
        those of every step
        streamer: its put() receives the prompt and then the new tokens (B,) of each step; its end()
        is called at the end

    If neither the call nor a configuration sets do_sample, a call without num_beams samples if it
    sets an option that shapes the distribution, or num_return_sequences > 1. `transformers` ignores
    the former and refuses the latter, but many programs are written as if both implied sampling.

    Options come from the call, then from generation_config, then from model.generation_config, then
    from the defaults of `transformers`. None in the call unsets the model's value. use_cache is
    accepted and has no effect: the cache is always used. Dropout is off, even if the model is in
    training mode.

    Raises TypeError for an unknown option or one of a wrong type; ValueError for a value out of
    range or an option that isn't implemented, for a prompt that is empty, padded on the right or
    too long, and for several sequences without sampling or beams.
    """
    decoding = prepare(model, "generate", inputs, generation_config, logits_processor,
                       stopping_criteria, prefix_allowed_tokens_fn, **options)
    options = decoding.options
    if streamer is not None:
        if options.num_beams > 1:
            raise ValueError("a streamer can't follow several beams, wanted num_beams=1")
        streamer.put(decoding.ids)
    found = {}
    if options.num_beams > 1:
        found = beam_search(decoding)
        # As in `transformers`, which takes a pad_token_id of 0 for none in beam search only.
        filling = options.pad_token_id or next(iter(options.eos_token_id), 0)
        sequences = _padded(found.pop("sequences"), filling)
    else:
        columns = [np.repeat(decoding.ids, options.num_return_sequences, axis=0)]
        for tokens in _new_tokens(decoding):
            columns.append(tokens[:, None])
            if streamer is not None:
                streamer.put(tokens)
        sequences = np.concatenate(columns, axis=1)
    if streamer is not None:
        streamer.end()
    if not options.return_dict_in_generate:
        return sequences
    return GenerateOutput(sequences, decoding.recorded_scores(), decoding.recorded_logits(),
                          **found, past_key_values=getattr(decoding.state, "cache", None),
                          drafts=decoding.drafts)


def stream(model, inputs=None, generation_config=None, logits_processor=None,
           stopping_criteria=None, prefix_allowed_tokens_fn=None, **options):
    """Generate for one prompt (1, T) -> iterator of the new tokens, int, one at a time

    Takes the arguments of `generate`, but returns one sequence and has no beams. An end-of-text
    token is the last one yielded. Errors are raised by the call, not by the first step.
    """
    decoding = prepare(model, "stream", inputs, generation_config, logits_processor,
                       stopping_criteria, prefix_allowed_tokens_fn, **options)
    options = decoding.options
    if len(decoding.ids) != 1 or options.num_return_sequences != 1 or options.num_beams != 1:
        raise ValueError(
            "stream gives one sequence, wanted one prompt, num_return_sequences=1 and "
            f"num_beams=1, got {len(decoding.ids)}, {options.num_return_sequences} and "
            f"{options.num_beams}")
    return TokenStream(decoding)


class TokenStream:
    """The iterator that `stream` returns.

    n_tokens: how many it has yielded;  drafts: a DraftCounts, or None without drafts
    """

    def __init__(self, decoding):
        self.n_tokens, self.drafts = 0, decoding.drafts
        self._tokens = _new_tokens(decoding)

    def __iter__(self):
        return self

    def __next__(self):
        token = int(next(self._tokens)[0])
        self.n_tokens += 1
        return token

    def close(self):
        """End it early."""
        self._tokens.close()


def follow_beams(model, inputs=None, generation_config=None, logits_processor=None,
                 stopping_criteria=None, prefix_allowed_tokens_fn=None, **options):
    """Search with beams for one prompt (1, T) -> iterator of the BeamSteps of `generate`

    Takes the arguments of `generate`, with num_beams > 1. The sequences that `generate` returns are
    the first of the last step's `finished`. Errors are raised by the call, not by the first step.
    """
    decoding = prepare(model, "follow_beams", inputs, generation_config, logits_processor,
                       stopping_criteria, prefix_allowed_tokens_fn, **options)
    if len(decoding.ids) != 1 or decoding.options.num_beams < 2:
        raise ValueError("follow_beams follows one search, wanted one prompt and num_beams > 1, "
                         f"got {len(decoding.ids)} and {decoding.options.num_beams}")
    search = Beams(decoding.ids[0], decoding.options)
    return (search.last_step for _ in search_steps([search], decoding))


@dataclass
class GenerateOutput(ModelOutput):
    """The result of `generate` with return_dict_in_generate=True. Fields not requested are None."""

    sequences: np.ndarray  # int64 (B * num_return_sequences, T_out)
    scores: tuple | None = None  # per step (rows, V): the processed scores
    logits: tuple | None = None  # per step (rows, V): the model's output
    sequences_scores: np.ndarray | None = None  # with beams: the score of each sequence
    beam_indices: np.ndarray | None = None  # with beams: the row of each new token in `scores`, -1
    past_key_values: Any = None  # the KVCache, which lacks the last token
    drafts: DraftCounts | None = None  # with drafts: how many tokens of them were accepted


@dataclass
class Decoding:
    """One prepared call of `generate`: everything that its steps need."""

    model: Any
    ids: np.ndarray  # the prompts (B, T)
    inputs: dict  # for the model's prefill
    options: Any  # the complete GenerationConfig
    processors: list  # functions (ids, scores) -> scores
    criteria: list  # functions (ids, scores) -> bool or (B,)
    rng: np.random.Generator
    drafter: Any = None  # see drafts.py; None for plain decoding
    drafts: DraftCounts | None = None
    state: Any = None  # the model's, after `begin`
    scores: list = field(default_factory=list)
    logits: list = field(default_factory=list)

    def begin(self, copies):
        """-> logits (B * copies, V) after the prompts, each repeated `copies` times in a row

        Each prompt runs through the model once, for any number of copies.
        """
        logits, self.state = self.model.prefill(**self.inputs)
        if copies == 1:
            return logits
        _require_memory(len(logits) * copies, copies * getattr(self.state, "nbytes", 0))
        rows = np.repeat(np.arange(len(logits)), copies)
        self.state.select(rows)
        return logits[rows]

    def process(self, ids, logits, scores):
        """Apply all processors in order -> scores. Record scores and logits if requested."""
        for processor in self.processors:
            scores = processor(ids, scores)
        if self.options.return_dict_in_generate:
            if self.options.output_scores:
                self.scores.append(np.array(scores))
            if self.options.output_logits:
                self.logits.append(np.array(logits))
        return scores

    def recorded_scores(self):
        return tuple(self.scores) if self.options.output_scores else None

    def recorded_logits(self):
        return tuple(self.logits) if self.options.output_logits else None


def _new_tokens(decoding):
    """-> iterator of the next token of every sequence: (B * copies,)"""
    return _decode(decoding) if decoding.drafter is None else speculate(decoding)


def _decode(decoding):
    """Greedy decoding and sampling. Yield the next token of every sequence: (B * copies,) each."""
    options, prompts = decoding.options, decoding.ids
    copies, length = options.num_return_sequences, prompts.shape[1]
    sequences = np.empty((len(prompts) * copies, options.max_length), np.int64)
    sequences[:, :length] = np.repeat(prompts, copies, axis=0)
    ends = np.array(options.eos_token_id, np.int64)
    unfinished = np.ones(len(sequences), bool)

    logits = decoding.begin(copies)
    while True:
        scores = decoding.process(sequences[:, :length], logits, logits)
        tokens = sample(scores, decoding.rng) if options.do_sample else greedy(scores)
        if len(ends):
            tokens = np.where(unfinished, tokens, options.pad_token_id)
            unfinished &= (tokens[:, None] != ends).all(axis=1)
        sequences[:, length] = tokens
        length += 1
        if decoding.criteria:
            so_far = sequences[:, :length]
            unfinished &= ~is_done(decoding.criteria, so_far, decoding.recorded_scores())
        yield tokens
        if length == options.max_length or not unfinished.any():
            return
        logits = decoding.model.step(tokens, decoding.state)


def prepare(model, function, inputs, generation_config=None, logits_processor=None,
            stopping_criteria=None, prefix_allowed_tokens_fn=None, *, input_ids=None,
            attention_mask=None, inputs_embeds=None, past_key_values=None, decoder_input_ids=None,
            tokenizer=None, seed=None, generator=None, assistant_model=None, **options):
    """Check and complete every argument of `generate` -> Decoding

    function: the name of the caller, for errors
    """
    if inputs is not None and input_ids is not None:
        raise ValueError("inputs and input_ids are both given, wanted one of them")
    prompts = find_prompts(model, inputs if input_ids is None else input_ids, inputs_embeds,
                           decoder_input_ids, [options, generation_config])
    ids = prompts.ids
    options = complete_options(model, options, generation_config, ids.shape[1],
                               prompts.n_embedded, function)
    mask = prompts.mask(attention_mask, options)
    inputs = {**prompts.inputs, "attention_mask": mask,
              "max_length": options.max_length + prompts.n_embedded}
    if past_key_values is not None:
        inputs["past_key_values"] = checked_past(past_key_values, ids)

    vocab_size = output_vocab_size(model.config)
    copies = max(options.num_beams, options.num_return_sequences)
    rows = len(ids) * copies
    _require_memory(rows, rows * (8 * options.max_length + 4 * vocab_size))
    start = None  # the column of the first real token of each sequence
    if mask is not None and mask.shape == ids.shape and not prompts.of_encoder_decoder:
        start = np.repeat(mask.argmax(axis=1), copies)
    build = partial(build_processors, options, ids, vocab_size=vocab_size,
                    source_ids=prompts.source_ids, start=start,
                    allowed_tokens=prefix_allowed_tokens_fn)
    processors = build(
        more=_checked_processors(_list_of_functions("logits_processor", logits_processor)))
    criteria = build_criteria(options, tokenizer,
                              _list_of_functions("stopping_criteria", stopping_criteria))
    decoding = Decoding(model, ids, inputs, options, processors, criteria,
                        _random_generator(seed, generator))
    if assistant_model is not None or options.prompt_lookup_num_tokens is not None:
        check_speculation(model, assistant_model, options, inputs, len(ids))
        decoding.drafter = _drafter(assistant_model, decoding, LogitsProcessorList(build()))
        decoding.drafts = DraftCounts()
    return decoding


def _drafter(assistant_model, decoding, processors):
    options = decoding.options
    if assistant_model is None:
        return PromptLookup(options.prompt_lookup_num_tokens, options.max_matching_ngram_size)
    inputs = {name: value for name, value in decoding.inputs.items() if name != "past_key_values"}
    return DraftModel(
        assistant_model, inputs, processors, decoding.rng if options.do_sample else None,
        n_tokens=options.num_assistant_tokens, ends=options.eos_token_id,
        adapts=options.num_assistant_tokens_schedule != "constant",
        threshold=options.assistant_confidence_threshold)


def _list_of_functions(name, functions):
    functions = [] if functions is None else functions
    if not isinstance(functions, (list, tuple)) or not all(map(callable, functions)):
        raise TypeError(f"{name} is {functions!r:.60}, wanted a list of functions")
    return list(functions)


def _checked_processors(functions):
    """-> the caller's logits processors, each wrapped in a check of the shape that it returns"""
    def checked(function, index):
        def call(ids, scores):
            changed = np.asarray(function(ids, scores))
            if changed.shape != scores.shape:
                raise ValueError(f"logits_processor[{index}] returns shape {changed.shape}, wanted "
                                 f"that of its scores, {scores.shape}")
            return changed
        return call

    return [checked(function, index) for index, function in enumerate(functions)]


def _require_memory(rows, n_bytes):
    """Raise MemoryError for more sequences than fit in this machine's memory."""
    require_memory(f"generating {rows} sequences at once", n_bytes)


def _padded(sequences, pad_token_id):
    """list of (T_i,) -> (B, longest T), padded on the right"""
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
