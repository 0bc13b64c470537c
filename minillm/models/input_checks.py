"""Checks of a model's inputs: ids, masks, positions and labels."""

import numpy as np

from minillm.checks import require_float, require_ids, require_shape


class DecoderInputs:
    """The checked inputs of a decoder's forward, or of an encoder's, whose `past` is None.

    config: needs the names that all architectures share: vocab_size, hidden_size, position_limit
        and, if token types have a separate table, type_vocab_size

    ids: integers (B, T);  embeddings: float (B, T, d_model); one of the two is None
    prefix: of the arguments' names in errors;  vocab_size: default: the configuration's
    key_mask: bool (B, past + T), False at padding; None if no key is masked
    positions: integers (1, T) or (B, T);  token_types: integers (B, T) or None

    Raises TypeError and ValueError that name the argument.
    """

    def __init__(self, config, past, input_ids, attention_mask=None, position_ids=None,
                 token_type_ids=None, inputs_embeds=None, *, prefix="", vocab_size=None):
        n_past = 0 if past is None else past.length
        if (input_ids is None) == (inputs_embeds is None):
            count = "both" if inputs_embeds is not None else "neither"
            raise ValueError(f"{prefix}input_ids and {prefix}inputs_embeds: {count} given, wanted "
                             "one of them")
        self.ids, self.embeddings, self.token_types = input_ids, inputs_embeds, None
        if inputs_embeds is None:
            self.ids = checked_ids(input_ids, config, n_past, f"{prefix}input_ids", vocab_size)
            B, T = self.ids.shape
        else:
            name = f"{prefix}inputs_embeds"
            require_float(name, inputs_embeds)
            require_shape(name, inputs_embeds, (None, None, config.hidden_size))
            B, T, _ = inputs_embeds.shape
            _require_length(name, B * T, n_past + T, config)
        self.key_mask = checked_mask(attention_mask, (B, n_past + T), f"{prefix}attention_mask")
        self.positions = checked_positions(position_ids, B, T, n_past, config.position_limit)
        if token_type_ids is not None:
            require_shape("token_type_ids", np.asarray(token_type_ids), (B, T))
            n_types = getattr(config, "type_vocab_size", config.vocab_size)
            self.token_types = require_ids("token_type_ids", token_type_ids, n_types)


def checked_ids(input_ids, config, n_past, name="input_ids", vocab_size=None):
    input_ids = np.asarray(input_ids)
    if input_ids.ndim != 2:
        raise ValueError(f"{name} has shape {input_ids.shape}, wanted (B, T): a batch of "
                         "sequences")
    _require_length(name, input_ids.size, n_past + input_ids.shape[1], config)
    return require_ids(name, input_ids, vocab_size or config.vocab_size)


def _require_length(name, size, end, config):
    if size == 0:
        raise ValueError(f"{name} is empty, wanted at least one token")
    limit = config.position_limit
    if limit is not None and end > limit:
        field = config.aliases.get("max_position_embeddings", "max_position_embeddings")
        raise ValueError(f"{name} reaches {end} tokens, wanted at most {field} = {limit}")


def checked_mask(attention_mask, shape, name="attention_mask"):
    """-> bool array, or None if no key is masked"""
    if attention_mask is None:
        return None
    mask = np.asarray(attention_mask)
    if mask.shape != shape:
        raise ValueError(f"{name} has shape {mask.shape}, wanted {shape}")
    if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
        raise ValueError(f"{name} contains numbers other than 0 (padding) and 1 (token)")
    mask = mask.astype(bool, copy=False)
    return None if mask.all() else mask


def checked_positions(position_ids, B, T, n_past, n_positions):
    """-> (1, T) or (B, T); n_positions: None for no limit"""
    if position_ids is None:
        return np.arange(n_past, n_past + T)[None]
    position_ids = np.asarray(position_ids)
    if position_ids.shape not in ((1, T), (B, T)):
        raise ValueError(f"position_ids has shape {position_ids.shape}, wanted {(B, T)}")
    return require_ids("position_ids", position_ids, 2**31 if n_positions is None else n_positions)


def checked_labels(labels, shape, n, name="labels"):
    """-> int64 array of this shape, of ids from 0 to n - 1 and -100"""
    labels = np.asarray(labels)
    if np.issubdtype(labels.dtype, np.integer):
        labels = labels.astype(np.int64)  # -100 is outside the range of unsigned integers
    if labels.shape != shape:
        raise ValueError(f"{name} has shape {labels.shape}, wanted {shape}")
    return require_ids(name, labels, n, ignored=-100)


def checked_targets(labels, logits):
    """-> `labels`, numbers of the logits' shape, in the logits' dtype"""
    labels = np.asarray(labels)
    if labels.shape != logits.shape:
        raise ValueError(f"labels has shape {labels.shape}, wanted {logits.shape}")
    if labels.dtype.kind not in "fiub":
        raise TypeError(f"labels has dtype {labels.dtype}, wanted numbers")
    return labels.astype(logits.dtype)
