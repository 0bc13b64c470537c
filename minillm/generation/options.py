"""From the options of a call to `generate` to one complete, checked GenerationConfig."""

import difflib
import warnings
from dataclasses import asdict, fields

import numpy as np

from minillm.generation.generation_config import GenerationConfig

# What an option is if neither the call nor the checkpoint says it (as in `transformers`).
DEFAULTS = {
    "min_length": 0, "min_new_tokens": 0, "do_sample": False, "temperature": 1.0, "top_k": 50,
    "top_p": 1.0, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "num_return_sequences": 1,
    "num_beams": 1, "length_penalty": 1.0, "early_stopping": False,
}
NEW_TOKENS = 20  # if no length is given at all
NO_PADDING = -1  # the pad_token_id when nothing ends early, so that nothing is padded
# What None switches off, when the call says so: options that have no other way of being absent.
OFF = {"top_k": 0, "top_p": 1.0, "temperature": 1.0, "eos_token_id": []}
LOWEST_TEMPERATURE = 1e-30  # scores divided by less are infinite in float32
SHAPES_THE_SAMPLE = ("temperature", "top_k", "top_p")


def complete_options(model, options, prompt_length, function="generate"):
    """-> GenerationConfig in which every option is set, and eos_token_id is a list

    options: dict of what the caller gave; then come model.generation_config, then the defaults.
    The lengths in it count the prompt.
    Raises TypeError for an unknown option, ValueError for a value that makes no sense.
    """
    _require_known(options, function)
    given = {name: value for name, value in options.items() if value is not None}
    off = {name: value for name, value in OFF.items() if name in options and options[name] is None}
    stored = {name: value for name, value in asdict(model.generation_config).items()
              if value is not None}
    merged = GenerationConfig(**{**DEFAULTS, **stored, **given, **off})
    merged.do_sample = _whether_to_sample(merged, given)
    merged.eos_token_id = [] if merged.eos_token_id is None else list(np.ravel(merged.eos_token_id))
    if "eos_token_id" not in given:  # the default of GPT2Config lies outside a small vocabulary
        merged.eos_token_id = [id for id in merged.eos_token_id if id < model.config.vocab_size]
    if merged.pad_token_id is None:
        merged.pad_token_id = merged.eos_token_id[0] if merged.eos_token_id else NO_PADDING
    _check(merged, model.config.vocab_size)
    merged.max_length = _max_length(given, stored, prompt_length, model.config.n_positions)
    merged.min_length = max(merged.min_length, prompt_length + merged.min_new_tokens)
    return merged


def _require_known(options, function):
    known = [field.name for field in fields(GenerationConfig)]
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"{function}() has no option {name!r}{hint}")


def _whether_to_sample(merged, given):
    """do_sample as it was said, or as the other options of the call imply."""
    shaping = [name for name in SHAPES_THE_SAMPLE if name in given]
    if "do_sample" not in given and merged.num_beams == 1:
        if shaping or merged.num_return_sequences > 1:
            return True
    if not merged.do_sample and shaping:
        warnings.warn(f"{shaping[0]} has no effect without sampling: pass do_sample=True",
                      stacklevel=6)
    return merged.do_sample


def _max_length(given, stored, prompt_length, n_positions):
    """How long a sequence may become, with its prompt, and never more than n_positions."""
    if prompt_length >= n_positions:
        raise ValueError(f"input_ids has {prompt_length} tokens, which leaves nothing of the "
                         f"model's n_positions = {n_positions} to generate: shorten the prompt")
    for source in (given, stored, {"max_new_tokens": NEW_TOKENS}):
        if "max_new_tokens" in source or "max_length" in source:
            break
    if "max_new_tokens" in source:
        _require_at_least("max_new_tokens", source["max_new_tokens"], 1)
        max_length = prompt_length + source["max_new_tokens"]
    else:
        max_length = source["max_length"]
        _require_at_least("max_length", max_length, 1)
        if max_length <= prompt_length:
            raise ValueError(f"max_length is {max_length}, but input_ids has {prompt_length} "
                             "tokens already, which it counts: raise it or pass max_new_tokens")
    if max_length > n_positions and source is given:
        warnings.warn(f"a length of {max_length} was asked for, but the model has only n_positions "
                      f"= {n_positions}: stopping there", stacklevel=6)
    return min(max_length, n_positions)


def _check(options, vocab_size):
    for name, least in (("min_length", 0), ("min_new_tokens", 0), ("top_k", 0), ("num_beams", 1),
                        ("no_repeat_ngram_size", 0), ("num_return_sequences", 1)):
        _require_at_least(name, getattr(options, name), least)
    for name in ("temperature", "repetition_penalty"):
        if not 0 < getattr(options, name) < np.inf:
            raise ValueError(f"{name} is {getattr(options, name)}, wanted a number > 0")
    if options.temperature < LOWEST_TEMPERATURE:
        raise ValueError(f"temperature is {options.temperature}, wanted at least "
                         f"{LOWEST_TEMPERATURE}, or greedy decoding, which is its limit")
    if not 0 < options.top_p <= 1:
        raise ValueError(f"top_p is {options.top_p}, wanted a number over 0 and up to 1")
    if not np.isfinite(options.length_penalty):
        raise ValueError(f"length_penalty is {options.length_penalty}, wanted a finite number")
    if options.early_stopping not in (True, False, "never"):
        raise ValueError(f"early_stopping is {options.early_stopping!r}, wanted True, False or "
                         "'never'")
    for name in ("eos_token_id", "pad_token_id"):
        for id in np.ravel(getattr(options, name)):
            if not 0 <= id < vocab_size and id != NO_PADDING:
                raise ValueError(f"{name} is {id}, wanted an id from 0 to {vocab_size - 1}")
    _check_number_of_sequences(options)


def _check_number_of_sequences(options):
    wanted = options.num_return_sequences
    if options.num_beams > 1 and wanted > options.num_beams:
        raise ValueError(f"num_return_sequences is {wanted}, wanted at most num_beams = "
                         f"{options.num_beams}")
    if options.num_beams == 1 and not options.do_sample and wanted > 1:
        raise ValueError(f"num_return_sequences is {wanted}, but greedy decoding (do_sample=False) "
                         f"finds only one: pass do_sample=True, or num_beams={wanted} or more")


def _require_at_least(name, value, least):
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is a {type(value).__name__}, wanted an integer")
    if value < least:
        raise ValueError(f"{name} is {value}, wanted an integer of at least {least}")
