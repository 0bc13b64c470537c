"""One step of decoding: new tokens into the model, the scores of the next token out of it."""

from contextlib import contextmanager

import numpy as np

from minillm.nn.kv_cache import KVCache
from minillm.nn.module import no_grad


class Stepper:
    """Runs a model over growing sequences, with a KV cache: each token goes in only once.

    ids: prompts (B, T), padded on the left where they are shorter;  mask: bool (B, T), False at
    padding, or None without any;  max_length: the most tokens that a sequence may grow to
    """

    def __init__(self, model, ids, mask, max_length):
        B, T = ids.shape
        self.model = model
        self.ids = ids
        self.cache = KVCache(capacity=max_length)
        self.mask = None
        if mask is not None:
            self.mask = np.ones((B, max_length), bool)
            self.mask[:, :T] = mask

    def prompt(self, copies=1):
        """-> logits (B * copies, V) after the prompts, each repeated `copies` times in a row

        Each prompt runs through the model once, however many sequences will grow from it.
        """
        positions = None
        if self.mask is not None:  # the first real token of each row has position 0
            positions = np.maximum(np.cumsum(self.mask[:, : self.ids.shape[1]], axis=1) - 1, 0)
        logits = self._forward(self.ids, positions)
        if copies == 1:
            return logits
        rows = np.repeat(np.arange(len(logits)), copies)
        self.select(rows)
        return logits[rows]

    def next(self, tokens):
        """tokens: (B,), one more for each sequence -> logits (B, V) after it"""
        positions = None
        if self.mask is not None:
            positions = self.mask[:, : self.cache.length].sum(axis=1, keepdims=True)
        return self._forward(tokens[:, None], positions)

    def select(self, rows):
        """Let sequence b be what sequence rows[b] was. rows: (B_new,) integers"""
        self.cache.select(rows)
        if self.mask is not None:
            self.mask = self.mask[rows]

    def _forward(self, ids, positions):
        mask = None if self.mask is None else self.mask[:, : self.cache.length + ids.shape[1]]
        with inference(self.model):
            output = self.model(ids, mask, positions, past_key_values=self.cache, logits_to_keep=1)
        return output.logits[:, -1]


@contextmanager
def inference(model):
    """Inside: no dropout, and nothing kept for a backward. Afterwards the model is as it was."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        with no_grad():
            yield
    finally:
        if was_training:
            model.train()
