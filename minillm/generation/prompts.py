"""The prompts: from the inputs of `generate` to the checked inputs of a model's prefill."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Prompts:
    """The checked prompts of one call."""

    ids: np.ndarray  # (B, T), the tokens that the result begins with; T is 0 for inputs_embeds
    inputs: dict  # for the model's prefill
    source_ids: np.ndarray | None  # (B, S): ids, or the tokens that the encoder reads
    of_encoder_decoder: bool

    @property
    def n_embedded(self):
        """The number of positions that inputs_embeds take beyond those in `ids`."""
        if self.of_encoder_decoder or "inputs_embeds" not in self.inputs:
            return 0
        return self.inputs["inputs_embeds"].shape[1] - self.ids.shape[1]

    def mask(self, attention_mask, options):
        """-> bool (B, T), False at padding, or None if there is none

        Without an attention_mask, padding is found by pad_token_id.
        """
        source = self.source_ids
        shape = self.inputs["inputs_embeds"].shape[:2] if source is None else source.shape
        if attention_mask is None:
            pad = options.pad_token_id
            is_padding = source is not None and source == pad
            if self.of_encoder_decoder or pad in options.eos_token_id or not np.any(is_padding):
                return None
            attention_mask = ~is_padding
        mask = np.asarray(attention_mask)
        if mask.shape != shape:
            raise ValueError(f"attention_mask has shape {mask.shape}, wanted {shape} as input_ids")
        mask = mask.astype(bool)
        if not self.of_encoder_decoder and not mask[:, -1].all():
            raise ValueError("attention_mask is 0 at the end of a prompt, where its continuation "
                             "starts: pad on the left (tokenizer.padding_side = 'left')")
        return None if mask.all() else mask


def output_vocab_size(config):
    """-> V, the number of tokens that can be generated; an encoder may read another vocabulary"""
    return getattr(config, "decoder_vocab_size", None) or config.vocab_size


def is_encoder_decoder(model):
    return bool(getattr(model.config, "is_encoder_decoder", False))


def find_prompts(model, input_ids, inputs_embeds, decoder_input_ids, sources):
    """-> Prompts. sources: options that may set special tokens, before model.generation_config"""
    sources = [*sources, model.generation_config]
    if is_encoder_decoder(model):
        start = _option("decoder_start_token_id", sources)
        if start is None:
            start = _option("bos_token_id", sources)
        return _of_an_encoder_decoder(input_ids, inputs_embeds, decoder_input_ids, start)
    if decoder_input_ids is not None:
        raise ValueError("decoder_input_ids is for encoder-decoder models, wanted input_ids")
    if input_ids is None and inputs_embeds is None:
        bos = _option("bos_token_id", sources)
        if bos is None:
            raise ValueError("input_ids is None, and there is no bos_token_id to start from")
        input_ids = [[bos]]
    return _of_a_decoder(input_ids, inputs_embeds)


def _of_a_decoder(input_ids, inputs_embeds):
    if inputs_embeds is None:
        ids = _checked_ids("input_ids", input_ids)
        return Prompts(ids, {"input_ids": ids}, ids, False)
    embeds = _checked_embeds(inputs_embeds)
    if input_ids is None:
        return Prompts(np.zeros((len(embeds), 0), np.int64), {"inputs_embeds": embeds}, None, False)
    ids = _checked_ids("input_ids", input_ids)
    if ids.shape != embeds.shape[:2]:
        raise ValueError(f"inputs_embeds has shape {embeds.shape}, wanted {ids.shape} as input_ids "
                         "first, or no input_ids")
    return Prompts(ids, {"inputs_embeds": embeds}, ids, False)


def _of_an_encoder_decoder(input_ids, inputs_embeds, decoder_input_ids, start):
    if (input_ids is None) == (inputs_embeds is None):
        raise ValueError("an encoder reads either input_ids or inputs_embeds, wanted one of them")
    if start is None:
        raise ValueError("an encoder-decoder needs a decoder_start_token_id (or bos_token_id)")
    source_ids = None
    if input_ids is not None:
        source_ids = _checked_ids("input_ids", input_ids)
        inputs, B = {"input_ids": source_ids}, len(source_ids)
    else:
        embeds = _checked_embeds(inputs_embeds)
        inputs, B = {"inputs_embeds": embeds}, len(embeds)
    if np.ndim(start) == 1 and len(start) != B:
        raise ValueError(f"decoder_start_token_id has {len(start)} ids, wanted one, or {B}")
    ids = first = np.broadcast_to(np.reshape(start, (-1, 1)), (B, 1)).astype(np.int64)
    if decoder_input_ids is not None:
        ids = _checked_ids("decoder_input_ids", decoder_input_ids)
        if len(ids) != B:
            raise ValueError(f"decoder_input_ids has {len(ids)} rows, wanted {B} as input_ids")
        if (ids[:, :1] != first).all():
            ids = np.concatenate([first, ids], axis=1)
    return Prompts(ids, {**inputs, "decoder_input_ids": ids}, source_ids, True)


def checked_past(past_key_values, ids):
    """-> past_key_values, once it is known to be a KVCache with fewer tokens than ids (B, T)"""
    length = getattr(past_key_values, "length", None)
    if length is None:
        raise TypeError(f"past_key_values is a {type(past_key_values).__name__}, wanted a KVCache")
    if length >= ids.shape[1]:
        raise ValueError(f"past_key_values holds {length} tokens and input_ids has {ids.shape[1]}, "
                         "wanted all tokens in input_ids, those in the cache too, and a new one")
    return past_key_values


def _option(name, sources):
    """-> the option from the first source, a dict or a GenerationConfig, that sets it; or None"""
    for source in sources:
        value = source.get(name) if isinstance(source, dict) else getattr(source, name, None)
        if value is not None:
            return value
    return None


def _checked_ids(name, ids):
    ids = np.asarray(ids)
    if ids.ndim != 2:
        raise ValueError(f"{name} has shape {ids.shape}, wanted (B, T): a batch of prompts")
    if ids.size == 0:
        raise ValueError(f"{name} is empty, wanted at least one token (None starts from "
                         "bos_token_id)")
    return ids


def _checked_embeds(inputs_embeds):
    embeds = np.asarray(inputs_embeds)
    if embeds.ndim != 3 or embeds.size == 0:
        raise ValueError(f"inputs_embeds has shape {embeds.shape}, wanted (B, T, d_model)")
    return embeds
