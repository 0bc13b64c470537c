"""Positions: how a transformer knows the order of its tokens.

Attention alone can't see order: it treats its keys as a set. There are two kinds of remedies:

  - Add a vector for each position to the embedding, before the first block:
    LearnedPositions (GPT, BERT), SinusoidalPositions (Vaswani et al. 2017).
  - Make attention depend on the distance between query and key, through the argument `positions` of
    an attention layer: Rotary rotates queries and keys; Alibi and RelativeBias add a number to the
    scores; a SlidingWindow hides the keys that are far away.

A table of learned vectors ends, and with it the model's sequences. All other kinds go on. Whether
the model still predicts well beyond the length that it was trained on is a question for an
experiment: `minillm experiment length`.
"""

from minillm.nn.positions.alibi import Alibi, alibi_slopes
from minillm.nn.positions.base import AttentionPositions
from minillm.nn.positions.learned import LearnedPositions
from minillm.nn.positions.relative_bias import RelativeBias
from minillm.nn.positions.rotary import Rotary
from minillm.nn.positions.sinusoidal import SinusoidalEmbedding, SinusoidalPositions
from minillm.nn.positions.sliding_window import SlidingWindow

__all__ = [
    "Alibi",
    "AttentionPositions",
    "LearnedPositions",
    "RelativeBias",
    "Rotary",
    "SinusoidalEmbedding",
    "SinusoidalPositions",
    "SlidingWindow",
    "alibi_slopes",
]
