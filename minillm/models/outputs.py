"""What the forward of a model returns."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm.nn.loss import Loss
from minillm.nn.outputs import ModelOutput


@dataclass
class BaseOutput(ModelOutput):
    """What a model without a head returns."""

    last_hidden_state: np.ndarray  # (B, T, d_model)
    past_key_values: Any = None  # the KVCache that was given, now longer by T
    hidden_states: tuple | None = None  # the residual stream before each block, and the last state
    attentions: tuple | None = None  # per block (B, H, T, keys): weights, each row adds up to 1


@dataclass
class CausalLMOutput(ModelOutput):
    """What a language model returns."""

    loss: Loss | None = None  # None without labels
    logits: np.ndarray | None = None  # (B, T, V): position t scores what comes at t + 1
    past_key_values: Any = None
    hidden_states: tuple | None = None
    attentions: tuple | None = None
