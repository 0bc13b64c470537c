"""The work that all competitors get: random inputs with fixed seeds, and GPT-2's sizes."""

import numpy as np

# (label, options of the model): T is the length of the training sequences.
TRAINING_SHAPES = {
    "4 layers, d=128": {"n_layer": 4, "n_embd": 128, "n_head": 4, "B": 12, "T": 64, "V": 65},
    "6 layers, d=384": {"n_layer": 6, "n_embd": 384, "n_head": 6, "B": 12, "T": 256, "V": 65},
    "GPT-2 124M": {"n_layer": 12, "n_embd": 768, "n_head": 12, "B": 4, "T": 64, "V": 50257},
}
GPT2_124M = {"n_layer": 12, "n_embd": 768, "n_head": 12, "V": 50257, "n_positions": 1024}


def step_operations(n_layer, n_embd, B, T, V, **_):
    """-> the multiplications and additions of a training step's matrix products and attention

    Each weight takes part in a product with every token, forward and twice backward. Attention has
    two products over the pairs of a query and a key before it, and five in the backward.
    """
    weights = n_layer * 12 * n_embd**2 + V * n_embd
    pairs = B * T * (T + 1) / 2
    return 2 * (3 * B * T * weights + 7 * n_layer * pairs * n_embd)


def prefill_operations(T):
    """-> the same for a forward pass of T prompt tokens, with the scores of the next token"""
    d, L, V = GPT2_124M["n_embd"], GPT2_124M["n_layer"], GPT2_124M["V"]
    return 2 * (T * L * 12 * d**2 + V * d + 2 * L * T * (T + 1) / 2 * d)


def bytes_per_token(bytes_per_weight=4):
    """The number of weights that one token's forward reads: all except the position table."""
    d, L, V = GPT2_124M["n_embd"], GPT2_124M["n_layer"], GPT2_124M["V"]
    block = 12 * d * d + 13 * d  # four matrices (d, 3d), (d, d), (d, 4d), (4d, d), biases, norms
    return bytes_per_weight * (L * block + 2 * d + V * d)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def token_batch(B, T, V):
    """-> inputs, targets: int64 (B, T)"""
    ids = np.random.default_rng(0).integers(V, size=(B, T + 1))
    return ids[:, :-1].copy(), ids[:, 1:].copy()


def stored_shape(rows, columns, transposed):
    return (columns, rows) if transposed else (rows, columns)
