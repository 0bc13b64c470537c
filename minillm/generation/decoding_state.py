"""What a model keeps from one step of decoding to the next."""

from contextlib import contextmanager

import numpy as np

from minillm.nn.module import no_grad


class DecodingState:
    """The keys and values of all tokens so far, and which of the prompt's tokens are padding.

    cache: a KVCache;  mask: bool (B, T), False at the padding of the prompts, or None without any.
    Padding stands on the left. Every token after the prompts is a real one.
    """

    def __init__(self, cache, mask=None):
        self.cache = cache
        self.mask = mask

    @property
    def length(self):
        """How many tokens of each sequence the model has read, padding included."""
        return self.cache.length

    @property
    def nbytes(self):
        """How much memory it takes."""
        return self.cache.nbytes

    def select(self, rows):
        """Let sequence b be what sequence rows[b] was. rows: (B_new,) integers"""
        self.cache.select(rows)
        if self.mask is not None:
            self.mask = self.mask[rows]

    def mask_and_positions(self, n_new):
        """-> which keys are real tokens, (B, length + n_new), and the positions (B, n_new) of the
        next n_new tokens; or None, None without padding

        The first real token of each sequence has position 0.
        """
        if self.mask is None:
            return None, None
        B, T = self.mask.shape
        mask = np.ones((B, self.length + n_new), bool)
        mask[:, :T] = self.mask
        positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
        return mask, positions[:, self.length :]


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
