"""From the options of a call to `generate` to one complete, checked GenerationConfig."""

import operator
import warnings

import numpy as np

from minillm.checks import shown
from minillm.generation.generation_config import (
    KINDS,
    REFUSED,
    GenerationConfig,
    closest,
    option_value,
)
from minillm.generation.prompts import is_encoder_decoder, output_vocab_size

# The values of options that no source sets (as in `transformers`). The others stay None.
DEFAULTS = {
    "min_length": 0, "do_sample": False, "temperature": 1.0, "top_k": 50, "top_p": 1.0,
    "typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0, "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0, "num_return_sequences": 1, "num_beams": 1,
    "length_penalty": 1.0, "early_stopping": False, "num_assistant_tokens": 20,
    "num_assistant_tokens_schedule": "constant", "assistant_confidence_threshold": 0.4,
}
MATCHING_NGRAM_SIZE = 2  # `transformers` has this default in another place
NEW_TOKENS = 20  # if no source sets a length
NO_PADDING = -1  # the pad_token_id when nothing ends early, so that nothing is padded
LOWEST_TEMPERATURE = 1e-30  # scores divided by less are infinite in float32
SHAPES_THE_SAMPLE = ("temperature", "top_k", "top_p", "top_h", "min_p", "typical_p",
                     "epsilon_cutoff", "eta_cutoff")
# Arguments of `generate` in `transformers` that aren't implemented, with the reason.
REFUSED_ARGUMENTS = {
    "custom_generate": "no code is loaded",
    "assistant_tokenizer": "assistant_model has the vocabulary of the model",
    "negative_prompt_ids": "there is no classifier-free guidance",
    "negative_prompt_attention_mask": "there is no classifier-free guidance",
    "synced_gpus": "everything runs on one CPU", "trust_remote_code": "no code is loaded",
    "position_ids": "they follow from attention_mask", "token_type_ids": "prompts have one type",
    "encoder_outputs": "pass input_ids", "head_mask": "no head can be masked here",
}


def complete_options(model, given, base, prompt_length, n_embedded, function="generate"):
    """-> GenerationConfig in which every option with a default is set, and eos_token_id is a list

    given: dict of the options of the call, which come first; None unsets the checkpoint's value
    base: the GenerationConfig of the call, or None; model.generation_config comes last
    prompt_length: tokens in the prompts;  n_embedded: positions that inputs_embeds add to them

    max_length and min_length of the result include the prompt. Raises TypeError for an unknown
    option, ValueError for a value that is out of range or not implemented.
    """
    _require_known(given, function)
    given = {name: value if value is None else option_value(name, value)
             for name, value in given.items()}
    stored = _merged(model.generation_config, base)
    merged = {**DEFAULTS, **stored, **_as_unset(given)}
    options = GenerationConfig(**merged)
    _refuse_what_is_not_implemented(options)
    options.do_sample = _whether_to_sample(options, given, stored.get("do_sample"))
    vocab_size = output_vocab_size(model.config)
    _complete_special_tokens(options, given, vocab_size)
    _complete_biases(options)
    _check(options, vocab_size)
    _complete_lengths(options, given, prompt_length, n_embedded, model.max_positions)
    if options.max_matching_ngram_size is None:
        options.max_matching_ngram_size = MATCHING_NGRAM_SIZE
    return options


def check_speculation(model, assistant_model, options, inputs, n_prompts):
    """Raise ValueError for what speculative decoding can't do.

    options: a complete GenerationConfig;  inputs: of the model's prefill;  n_prompts: B
    """
    if assistant_model is None:
        name, drafts = "prompt_lookup_num_tokens", options.prompt_lookup_num_tokens
    else:
        name, drafts = "assistant_model", type(assistant_model).__name__
    if (n_prompts, options.num_return_sequences, options.num_beams) != (1, 1, 1):
        raise ValueError(f"{name} is {drafts}, which speeds up one sequence, wanted one prompt, "
                         f"num_return_sequences=1 and num_beams=1, got {n_prompts}, "
                         f"{options.num_return_sequences} and {options.num_beams}")
    if not hasattr(model, "extend"):
        raise ValueError(f"{name} needs a model with the method extend, {type(model).__name__} has "
                         "none")
    if assistant_model is None:
        _require_at_least(name, options.prompt_lookup_num_tokens, 1)
        _require_at_least("max_matching_ngram_size", options.max_matching_ngram_size, 1)
    else:
        _check_assistant(model, assistant_model, options, inputs)


def _check_assistant(model, assistant, options, inputs):
    name = type(assistant).__name__
    if options.prompt_lookup_num_tokens is not None:
        raise ValueError("assistant_model and prompt_lookup_num_tokens are both given, wanted one "
                         "of them")
    if not hasattr(assistant, "extend"):
        raise TypeError(f"assistant_model is a {name}, wanted a model that generates")
    if is_encoder_decoder(assistant) != is_encoder_decoder(model):
        raise ValueError(f"assistant_model is a {name} and the model a {type(model).__name__}, "
                         "wanted two decoders, or two encoder-decoders")
    theirs, ours = output_vocab_size(assistant.config), output_vocab_size(model.config)
    if theirs != ours:
        raise ValueError(f"assistant_model has a vocabulary of {theirs} tokens, wanted the model's "
                         f"{ours}")
    if "inputs_embeds" in inputs:
        raise ValueError("assistant_model can't read the model's inputs_embeds, wanted input_ids")
    _require_at_least("num_assistant_tokens", options.num_assistant_tokens, 1)
    if not 0 <= options.assistant_confidence_threshold <= 1:
        raise ValueError("assistant_confidence_threshold is "
                         f"{options.assistant_confidence_threshold}, wanted a number from 0 to 1")
    schedules = ("constant", "heuristic", "heuristic_transient")
    if options.num_assistant_tokens_schedule not in schedules:
        raise ValueError("num_assistant_tokens_schedule is "
                         f"{options.num_assistant_tokens_schedule!r}, wanted one of {schedules}")


def _merged(of_the_model, of_the_call):
    """-> dict of the options that either configuration sets; the call's take precedence"""
    if of_the_call is not None and not isinstance(of_the_call, GenerationConfig):
        raise TypeError(f"generation_config is a {type(of_the_call).__name__}, wanted a minillm."
                        "generation.GenerationConfig (a mask is passed as attention_mask=)")
    stored = {}
    for config in (of_the_model, of_the_call):
        if config is not None:
            values = {name: getattr(config, name) for name in KINDS}
            stored |= {name: option_value(name, value) for name, value in values.items()
                       if value is not None}
    return stored


def _as_unset(given):
    """Replace None in a call by the option's default, and for top_k by 0, which switches it off."""
    unset = {**DEFAULTS, "top_k": 0}
    return {name: unset.get(name) if value is None else value for name, value in given.items()}


def _require_known(given, function):
    for name, value in given.items():
        if name in REFUSED_ARGUMENTS:
            if value is not None and value is not False:
                raise ValueError(f"{function}() has no {name}: {REFUSED_ARGUMENTS[name]}")
        elif name not in KINDS:
            raise TypeError(f"{function}() has no option {name!r}{closest(name, KINDS)}")
    for name in REFUSED_ARGUMENTS:
        given.pop(name, None)


def _refuse_what_is_not_implemented(options):
    for name, harmless in REFUSED.items():
        value = getattr(options, name)
        if name.startswith("output_") and not options.return_dict_in_generate:
            continue  # ignored, as in `transformers`
        if value is not None and value not in harmless:
            raise ValueError(f"{name} is {value!r} (in the call, or in the model's "
                             "generation_config), which is not implemented: wanted None")


def _whether_to_sample(options, given, stored):
    """-> do_sample as the call or a configuration sets it, or as the call's other options imply"""
    shaping = [name for name in SHAPES_THE_SAMPLE if given.get(name) is not None]
    if given.get("do_sample") is None and stored is None and options.num_beams == 1:
        if shaping or (given.get("num_return_sequences") or 1) > 1:
            return True
    useless = [name for name in shaping if given[name]]  # temperature=0.0 means greedy: no warning
    if not options.do_sample and useless:
        warnings.warn(f"{useless[0]} has no effect without sampling: pass do_sample=True",
                      stacklevel=6)
    return options.do_sample


def _complete_special_tokens(options, given, vocab_size):
    ends = [] if options.eos_token_id is None else [int(id) for id in
                                                    np.ravel(options.eos_token_id)]
    if given.get("eos_token_id") is None:  # the default GPT2Config's exceeds a small vocabulary
        ends = [id for id in ends if id < vocab_size]
    options.eos_token_id = ends
    if options.pad_token_id is None:
        options.pad_token_id = ends[0] if ends else NO_PADDING


def _complete_biases(options):
    """Turn sequence_bias into {tuple of ids: bias}; a JSON file stores it as a list of pairs."""
    biases = options.sequence_bias
    if biases is None:
        return
    pairs = list(biases.items()) if isinstance(biases, dict) else biases
    try:
        options.sequence_bias = {tuple(map(operator.index, ids)): float(bias)
                                 for ids, bias in pairs}
    except (TypeError, ValueError):
        raise ValueError(f"sequence_bias is {shown(biases)}, wanted {{tuple of ids: number}} or a "
                         "list of [list of ids, number]") from None


def _complete_lengths(options, given, prompt_length, n_embedded, max_positions):
    """Set max_length and min_length so that they include the prompt but not inputs_embeds."""
    limit = np.inf if max_positions is None else max_positions - n_embedded
    if prompt_length >= limit:
        raise ValueError(f"the prompt has {prompt_length + n_embedded} tokens, which leaves "
                         f"nothing of the model's max_positions = {max_positions} to generate: "
                         "shorten it")
    max_length = _max_length(options, given, prompt_length, n_embedded)
    was_asked_for = not (given.get("max_length") is None and given.get("max_new_tokens") is None)
    if max_length > limit and was_asked_for:
        warnings.warn(f"a length of {max_length + n_embedded} was asked for, but the model has "
                      f"only max_positions = {max_positions}: stopping there", stacklevel=6)
    options.max_length = min(max_length, limit)
    # As in `transformers`, min_new_tokens wins, whichever source it comes from.
    if options.min_new_tokens is not None:
        options.min_length = prompt_length + options.min_new_tokens
    else:
        options.min_length = max(0, options.min_length - n_embedded)


def _max_length(options, given, prompt_length, n_embedded):
    """As in `transformers`, max_new_tokens wins, whichever source it comes from."""
    if options.max_new_tokens is not None:
        _require_at_least("max_new_tokens", options.max_new_tokens, 1)
        if given.get("max_length") is not None and given.get("max_new_tokens") is None:
            warnings.warn("max_length has no effect: max_new_tokens wins, which the generation_"
                          f"config sets to {options.max_new_tokens}; pass max_new_tokens",
                          stacklevel=7)
        return prompt_length + options.max_new_tokens
    if options.max_length is None:
        return prompt_length + NEW_TOKENS
    _require_at_least("max_length", options.max_length, 1)
    if options.max_length <= prompt_length + n_embedded:
        raise ValueError(f"max_length is {options.max_length}, but the prompt, which it counts, "
                         f"has {prompt_length + n_embedded} tokens already: raise it or pass "
                         "max_new_tokens")
    return options.max_length - n_embedded


def _check(options, vocab_size):
    for name, least in (("min_length", 0), ("min_new_tokens", 0), ("num_beams", 1),
                        ("no_repeat_ngram_size", 0), ("encoder_no_repeat_ngram_size", 0),
                        ("num_return_sequences", 1)):
        if getattr(options, name) is not None:
            _require_at_least(name, getattr(options, name), least)
    for name in ("repetition_penalty", "encoder_repetition_penalty"):
        _require_between(name, getattr(options, name), 0, np.inf, "a finite number over 0")
    if options.do_sample:
        _check_sampling(options)
    if not np.isfinite(options.length_penalty):
        raise ValueError(f"length_penalty is {options.length_penalty}, wanted a finite number")
    if options.early_stopping not in (True, False, "never"):
        raise ValueError(f"early_stopping is {options.early_stopping!r}, wanted True, False or "
                         "'never'")
    if options.max_time is not None and not options.max_time > 0:
        raise ValueError(f"max_time is {options.max_time}, wanted seconds, over 0")
    decay = options.exponential_decay_length_penalty
    if decay is not None and (len(decay) != 2 or int(decay[0]) != decay[0]):
        raise ValueError(f"exponential_decay_length_penalty is {shown(decay)}, wanted (first new "
                         "token, factor)")
    _check_ids(options, vocab_size)
    _check_number_of_sequences(options)


def _check_sampling(options):
    _require_at_least("top_k", options.top_k, 0)
    _require_between("temperature", options.temperature, 0, np.inf, "a number > 0")
    if options.temperature < LOWEST_TEMPERATURE:
        raise ValueError(f"temperature is {options.temperature}, wanted at least "
                         f"{LOWEST_TEMPERATURE}, or greedy decoding, which is its limit")
    if not 0 <= options.top_p <= 1:
        raise ValueError(f"top_p is {options.top_p}, wanted a number from 0 to 1")
    if options.min_p is not None and not 0 <= options.min_p <= 1:
        raise ValueError(f"min_p is {options.min_p}, wanted a number from 0 to 1")
    if options.top_h is not None and not 0 < options.top_h <= 1:
        raise ValueError(f"top_h is {options.top_h}, wanted a number over 0 and up to 1")
    if not options.typical_p > 0:
        raise ValueError(f"typical_p is {options.typical_p}, wanted a number over 0; 1 is off")


def _check_ids(options, vocab_size):
    """Require every id to be in the vocabulary. A pad_token_id of NO_PADDING is allowed."""
    named = {"eos_token_id": options.eos_token_id, "pad_token_id": options.pad_token_id,
             "forced_bos_token_id": options.forced_bos_token_id,
             "forced_eos_token_id": options.forced_eos_token_id,
             "decoder_start_token_id": options.decoder_start_token_id}
    for name, ids in named.items():
        for id in [] if ids is None else np.ravel(ids):
            if not 0 <= id < vocab_size and (name, id) != ("pad_token_id", NO_PADDING):
                raise ValueError(f"{name} is {id}, wanted an id from 0 to {vocab_size - 1}")
    forced = set(np.ravel([] if options.forced_eos_token_id is None
                          else options.forced_eos_token_id).tolist())
    if forced and forced <= set(options.suppress_tokens or ()):
        raise ValueError(f"forced_eos_token_id is {options.forced_eos_token_id}, which "
                         "suppress_tokens exclude")
    sequences = {"bad_words_ids": options.bad_words_ids, "sequence_bias": options.sequence_bias}
    for name, ids in sequences.items():
        if ids is None:
            continue
        if not ids or not all(ids):
            raise ValueError(f"{name} is {shown(ids)}, wanted at least one sequence, none empty")
        for id in (id for sequence in ids for id in sequence):
            if not 0 <= id < vocab_size:
                raise ValueError(f"{name} contains {id}, wanted ids from 0 to {vocab_size - 1}")


def _check_number_of_sequences(options):
    wanted = options.num_return_sequences
    if options.num_beams > 1 and wanted > options.num_beams:
        raise ValueError(f"num_return_sequences is {wanted}, wanted at most num_beams = "
                         f"{options.num_beams}")
    if options.num_beams == 1 and not options.do_sample and wanted > 1:
        raise ValueError(f"num_return_sequences is {wanted}, but greedy decoding (do_sample=False) "
                         f"finds only one: pass do_sample=True, or num_beams={wanted} or more")


def _require_at_least(name, value, least):
    if value < least:
        raise ValueError(f"{name} is {value}, wanted an integer of at least {least}")


def _require_between(name, value, over, under, wanted):
    if not over < value < under:
        raise ValueError(f"{name} is {value}, wanted {wanted}")
