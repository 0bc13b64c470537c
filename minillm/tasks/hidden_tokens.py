"""Hiding tokens in training, so that no single word of a pattern is needed.

Each token but the special ones becomes "unknown" with a fixed probability, another set in each step
(Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic Methods", section 3.1, leave words
out; here their places stay). A model that is trained on few patterns would learn them by heart.
"""

import numpy as np


def hide_tokens(arrays, tokenizer, share, rng):
    """-> the arrays of a batch, in which `share` of the ids are those of the unknown token

    rng: numpy Generator, such as the model's own, whose state a checkpoint has
    """
    ids = arrays["input_ids"]
    chosen = (rng.random(ids.shape) < share) & ~np.isin(ids, tokenizer.all_special_ids)
    return {**arrays, "input_ids": np.where(chosen, tokenizer.unk_token_id, ids)}
