"""The options of `generate`, and generation_config.json, the file with a model's defaults for them.

`transformers` writes and reads about eighty names in that file. Each belongs to one of four groups:

    obeyed     the fields below up to "not implemented"; `generate` documents them
    refused    "not implemented": `generate` raises ValueError if one has a value that would change
               the result. The file still loads, and saving writes the value back.
    harmless   changes time or memory, never the result: caches, compilation
    unknown    kept and ignored, as in `transformers`, but with a warning
"""

import difflib
import warnings
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from typing import get_args

import numpy as np

from minillm.checks import shown
from minillm.files import expand
from minillm.json_files import fields, read_json, write_json


@dataclass(repr=False)
class GenerationConfig:
    """Options of `generate`. None means "not set": the next source of options decides.

    Every model has one as `model.generation_config`, with attributes that you may set. Pass another
    one to `generate` as generation_config=. `minillm.generation.generate` documents each option and
    the order of the sources.

    Raises TypeError for an unknown name.
    """

    # how long
    max_length: int | None = None
    max_new_tokens: int | None = None
    min_length: int | None = None
    min_new_tokens: int | None = None
    max_time: float | None = None
    stop_strings: str | list[str] | None = None
    early_stopping: bool | str | None = None
    # which token
    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    top_h: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    epsilon_cutoff: float | None = None
    eta_cutoff: float | None = None
    repetition_penalty: float | None = None
    encoder_repetition_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    encoder_no_repeat_ngram_size: int | None = None
    bad_words_ids: list[list[int]] | None = None
    sequence_bias: dict | list | None = None
    suppress_tokens: list[int] | None = None
    begin_suppress_tokens: list[int] | None = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | list[int] | None = None
    exponential_decay_length_penalty: list[float] | None = None
    remove_invalid_values: bool | None = None
    renormalize_logits: bool | None = None
    # how many
    num_return_sequences: int | None = None
    num_beams: int | None = None
    length_penalty: float | None = None
    # how fast
    prompt_lookup_num_tokens: int | None = None
    max_matching_ngram_size: int | None = None
    num_assistant_tokens: int | None = None
    num_assistant_tokens_schedule: str | None = None
    assistant_confidence_threshold: float | None = None
    # special tokens
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    decoder_start_token_id: int | list[int] | None = None
    # what to return
    return_dict_in_generate: bool | None = None
    output_scores: bool | None = None
    output_logits: bool | None = None

    # not implemented: see REFUSED for the values that change nothing
    output_attentions: bool | None = None
    output_hidden_states: bool | None = None
    num_beam_groups: int | None = None
    diversity_penalty: float | None = None
    penalty_alpha: float | None = None
    dola_layers: str | list | None = None
    guidance_scale: float | None = None
    token_healing: bool | None = None
    watermarking_config: dict | None = None
    constraints: list | None = None
    force_words_ids: list | None = None
    assistant_early_exit: int | None = None
    assistant_ensemble_weight: float | None = None
    use_mtp: bool | None = None
    low_memory: bool | None = None
    cache_implementation: str | None = None

    # harmless: they change time or memory, never the result
    use_cache: bool | None = None
    cache_config: dict | None = None
    max_cache_len: int | None = None
    prefill_chunk_size: int | None = None
    is_assistant: bool | None = None
    assistant_lookbehind: int | None = None
    target_lookbehind: int | None = None
    speculation_type: str | None = None
    compile_config: dict | None = None
    disable_compile: bool | None = None
    continuous_batching_config: dict | None = None

    unknown: dict = field(default_factory=dict)  # kept, ignored, written back

    @classmethod
    def from_pretrained(cls, folder):
        """From the generation_config.json of a directory, or its config.json if there is none.

        Raises FileNotFoundError, and ValueError for a file that is damaged.
        """
        path = expand(folder) / "generation_config.json"
        if path.is_file():
            return cls.read(path)
        path = path.with_name("config.json")
        return cls.from_model_config(read_json(path), path)

    @classmethod
    def read(cls, path):
        """From the file generation_config.json; see `from_dict`."""
        return cls.from_dict(read_json(path), path)

    @classmethod
    def from_dict(cls, stored, source="generation_config.json"):
        """From the contents of a generation_config.json.

        Warns about unknown names. Raises ValueError for a value of a wrong type.
        """
        unknown = {name: value for name, value in stored.items()
                   if name not in KINDS and name not in METADATA}
        if unknown:
            names = ", ".join(sorted(map(shown, unknown)))
            warnings.warn(f"{source} has {names}: not an option of generate, without effect",
                          stacklevel=3)
        return cls(**_known(stored, source), unknown=unknown)

    @classmethod
    def from_model_config(cls, config, source="config.json"):
        """From the options of generation in the contents of a config.json.

        For checkpoints without a generation_config.json. Raises ValueError for a value of a wrong
        type.
        """
        # In config.json, these two are options of `forward`.
        stored = {name: value for name, value in config.items()
                  if name not in ("output_attentions", "output_hidden_states")}
        return cls(**_known(stored, source))

    def save_pretrained(self, folder):
        """Write generation_config.json into `folder`; create the folder if necessary."""
        folder = expand(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.write(folder / "generation_config.json")

    def write(self, path):
        """Write the options that are set as a generation_config.json."""
        stored = self.to_dict()
        if isinstance(self.sequence_bias, dict):  # JSON has no tuples as names
            stored["sequence_bias"] = [[list(ids), bias]
                                       for ids, bias in self.sequence_bias.items()]
        write_json(path, stored)

    def __repr__(self):
        return f"GenerationConfig({', '.join(f'{k}={v!r}' for k, v in self.to_dict().items())})"

    def to_dict(self):
        """-> dict of the options that are set"""
        stored = {name: getattr(self, name) for name in KINDS}
        return {**{name: value for name, value in stored.items() if value is not None},
                **self.unknown}


# name -> its kinds, in the form that `minillm.json_files.fields` takes
KINDS = {option.name: option.type for option in dataclass_fields(GenerationConfig)
         if option.name != "unknown"}
METADATA = {"_from_model_config", "transformers_version", "_commit_hash", "_original_object_hash"}

# Not implemented: name -> the values, besides None, that change nothing.
REFUSED = {
    "output_attentions": (False,), "output_hidden_states": (False,), "num_beam_groups": (1,),
    "diversity_penalty": (0,), "penalty_alpha": (0,), "dola_layers": (), "guidance_scale": (1,),
    "token_healing": (False,), "watermarking_config": (), "constraints": (), "force_words_ids": (),
    "assistant_early_exit": (), "assistant_ensemble_weight": (), "use_mtp": (False,),
    "low_memory": (False,),
    "cache_implementation": ("dynamic", "static", "offloaded", "offloaded_static", "hybrid",
                             "sliding_window", "hybrid_chunked", "offloaded_hybrid",
                             "offloaded_hybrid_chunked"),
}


def option_value(name, value):
    """-> `value` in plain Python numbers and lists; TypeError if the option `name` can't take it"""
    value = _plain(value)
    if isinstance(value, float) and float in get_args(KINDS[name]):
        return value  # inf and NaN too: the check of each option's range comes later
    try:
        fields("generate", {name: value}, {name: KINDS[name]})
    except ValueError as error:
        raise TypeError(str(error).removeprefix("generate: ").replace(" or null", "")) from None
    return value


def closest(name, names):
    """-> "; did you mean 'top_k'?" if one of `names` resembles `name`, else the empty string"""
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _plain(value):
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _known(stored, source):
    return fields(source, {name: value for name, value in stored.items() if value is not None},
                  KINDS)
