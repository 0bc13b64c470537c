"""Sinusoidal positions: a fixed vector for every position, without parameters."""

import numpy as np


def sinusoidal_positions(n_positions, d_model, dtype=np.float32, *, interleaved=True):
    """The vectors of the positions 0 … n_positions - 1  ->  PE: (n_positions, d_model)"""
    return sinusoidal_vectors(np.arange(n_positions), d_model, dtype, interleaved=interleaved)


def sinusoidal_vectors(positions, d_model, dtype=np.float32, *, interleaved=True):
    """Vaswani et al. 2017, sec. 3.5:

        PE[pos, 2i]     = sin(pos / 10000^(2i / d_model))
        PE[pos, 2i + 1] = cos(pos / 10000^(2i / d_model))

    positions: integers (...)  ->  PE: (..., d_model)

    interleaved: False puts all sines before all cosines, as the paper's code (tensor2tensor) and
        Marian do

    Each pair of columns is a clock hand that turns at its own speed, from 1 radian per position
    (i = 0) to nearly 1/10000. The vector of pos + k is the vector of pos with every hand turned by
    a fixed angle. That is a linear map, so attention can learn to look "k tokens back".
    """
    even = np.arange(0, d_model, 2)  # 2i
    angle = np.asarray(positions)[..., None] / 10000 ** (even / d_model)
    sin, cos = np.sin(angle), np.cos(angle)[..., : d_model // 2]
    if not interleaved:
        return np.concatenate([sin, cos], axis=-1).astype(dtype)
    table = np.empty((*angle.shape[:-1], d_model), dtype)
    table[..., 0::2], table[..., 1::2] = sin, cos
    return table
