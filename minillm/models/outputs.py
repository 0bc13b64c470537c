"""The results of a model's forward."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm.nn.loss import Loss
from minillm.nn.outputs import ModelOutput


@dataclass
class BaseOutput(ModelOutput):
    """The result of a model without a head."""

    last_hidden_state: np.ndarray  # (B, T, d_model)
    past_key_values: Any = None  # the KVCache, longer by T
    hidden_states: tuple | None = None  # the residual stream before each block, and the last state
    attentions: tuple | None = None  # per block (B, H, T, keys); each row of weights sums to 1


@dataclass
class CausalLMOutput(ModelOutput):
    """The result of a language model."""

    loss: Loss | None = None  # None without labels
    logits: np.ndarray | None = None  # (B, T, V): position t scores the token at t + 1
    past_key_values: Any = None
    hidden_states: tuple | None = None
    attentions: tuple | None = None
