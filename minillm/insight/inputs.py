"""A text as the arguments of a model's forward."""

import numpy as np


def forward_inputs(text):
    """-> dict: model(**inputs), a batch of one text, or of several

    text: integers (T,) or (B, T), or such a dict, as an encoder-decoder needs it and
        `Reading.inputs` is
    """
    if isinstance(text, dict):
        return dict(text)
    ids = np.asarray(text)
    return {"input_ids": ids[None] if ids.ndim == 1 else ids}


def read_ids(inputs):
    """-> the ids (B, T) that the last stack of blocks reads: in an encoder-decoder the decoder's"""
    return np.asarray(inputs.get("decoder_input_ids", inputs["input_ids"]))


def repeated(inputs, n):
    """-> inputs with every array repeated n times along the batch, for n variants of one text"""
    return {name: np.repeat(value, n, axis=0) if isinstance(value, np.ndarray) else value
            for name, value in inputs.items()}


MOST_WORK = 5e8  # parameters × tokens of a forward of several variants: some milliseconds
ROWS = 32  # variants of a text in one forward


def variants_at_once(model, n_tokens):
    """-> how many variants of a text to run in one forward, which is faster than one by one

    A decoder that classifies texts takes several only if its configuration has a padding.
    """
    if not hasattr(model, "unembed") and model.config.pad_token_id is None:
        return 1
    return int(min(ROWS, max(1, MOST_WORK // (model.num_parameters() * n_tokens))))
