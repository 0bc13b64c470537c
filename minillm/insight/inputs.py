"""A text as the arguments of a model's forward."""

import numpy as np


def forward_inputs(text):
    """-> dict: model(**inputs), a batch of one text

    text: integers (T,), or such a dict, as an encoder-decoder needs it and `Reading.inputs` is
    """
    return dict(text) if isinstance(text, dict) else {"input_ids": np.asarray(text)[None]}


def read_ids(inputs):
    """-> the ids (B, T) that the last stack of blocks reads: in an encoder-decoder the decoder's"""
    return np.asarray(inputs.get("decoder_input_ids", inputs["input_ids"]))


def repeated(inputs, n):
    """-> inputs with every array repeated n times along the batch, for n variants of one text"""
    return {name: np.repeat(value, n, axis=0) if isinstance(value, np.ndarray) else value
            for name, value in inputs.items()}
