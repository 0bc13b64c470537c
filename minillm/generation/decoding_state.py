"""What a model keeps from one step of decoding to the next."""

import numpy as np


class DecodingState:
    """The keys and values of all tokens so far, and which of the prompts' tokens are padding.

    cache: a KVCache, or an EncoderDecoderCache
    mask: bool (B, T), False at padding, which is on the left; None if the prompts have none.
        Every token after the prompts is real. Of an encoder-decoder: (B, S), the mask of the source.
    """

    def __init__(self, cache, mask=None):
        self.cache = cache
        self.mask = mask
        self.whole_step = self.sequences = None  # prepared once for all steps: see whole_step.py

    @property
    def length(self):
        """The number of tokens of each sequence that the model has read, padding included."""
        return self.cache.length

    @property
    def nbytes(self):
        """The size in memory."""
        return self.cache.nbytes

    def crop(self, length):
        """Forget all tokens but the first `length` of each sequence."""
        self.cache.crop(length)

    def select(self, rows):
        """Replace sequence b by what sequence rows[b] was. rows: (B_new,) integers"""
        self.cache.select(rows)
        if self.mask is not None:
            self.mask = self.mask[rows]

    def mask_and_positions(self, n_new):
        """-> mask (B, length + n_new), True at real tokens, and the positions (B, n_new) of the
        next n_new tokens; (None, None) without padding

        The first real token of each sequence has position 0.
        """
        if self.mask is None:
            return None, None
        B, T = self.mask.shape
        mask = np.ones((B, self.length + n_new), bool)
        mask[:, :T] = self.mask
        positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
        return mask, positions[:, self.length :]
