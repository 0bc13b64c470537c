"""Checks of what goes into a model: ids, masks, positions and labels, each with its own message."""

import numpy as np

from minillm.checks import require_ids


def checked_ids(input_ids, config, n_past):
    input_ids = np.asarray(input_ids)
    if input_ids.ndim != 2:
        raise ValueError(f"input_ids has shape {input_ids.shape}, wanted (B, T): a batch of "
                         "sequences")
    if input_ids.size == 0:
        raise ValueError(f"input_ids has shape {input_ids.shape}: there is no token in it")
    end = n_past + input_ids.shape[1]
    if end > config.n_positions:
        raise ValueError(f"input_ids reaches {end} tokens, wanted at most n_positions = "
                         f"{config.n_positions}")
    return require_ids("input_ids", input_ids, config.vocab_size)


def checked_mask(attention_mask, shape):
    """-> bool array, or None if there is nothing to hide"""
    if attention_mask is None:
        return None
    mask = np.asarray(attention_mask)
    if mask.shape != shape:
        raise ValueError(f"attention_mask has shape {mask.shape}, wanted {shape}")
    if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
        raise ValueError("attention_mask contains other numbers than 0 (padding) and 1 (token)")
    mask = mask.astype(bool, copy=False)
    return None if mask.all() else mask


def checked_positions(position_ids, B, T, n_past, n_positions):
    """-> (1, T) or (B, T)"""
    if position_ids is None:
        return np.arange(n_past, n_past + T)[None]
    position_ids = np.asarray(position_ids)
    if position_ids.shape not in ((1, T), (B, T)):
        raise ValueError(f"position_ids has shape {position_ids.shape}, wanted {(B, T)}")
    return require_ids("position_ids", position_ids, n_positions)


def checked_labels(labels, shape, vocab_size):
    labels = np.asarray(labels)
    if labels.shape != shape:
        raise ValueError(f"labels has shape {labels.shape}, wanted {shape} as input_ids")
    require_ids("labels", np.where(labels == -100, 0, labels), vocab_size)
    return labels
