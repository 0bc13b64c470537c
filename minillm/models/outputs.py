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
class BaseOutputWithCrossAttentions(BaseOutput):
    """The result of a decoder that reads an encoder's output."""

    cross_attentions: tuple | None = None  # per block (B, H, T, S)


@dataclass
class CausalLMOutput(ModelOutput):
    """The result of a language model."""

    loss: Loss | None = None  # None without labels
    logits: np.ndarray | None = None  # (B, T, V): position t scores the token at t + 1
    past_key_values: Any = None
    hidden_states: tuple | None = None
    attentions: tuple | None = None


class _LogitsLater:
    """A mix-in of an output whose `logits` are computed when they are read for the first time."""

    @property
    def logits(self):
        if callable(self._logits):
            self._logits = self._logits()
        return self._logits

    @logits.setter
    def logits(self, value):
        self._logits = value


def with_logits(output_class, loss, logits, *others, **named):
    """-> an output with these fields; `logits` may be a function that computes them when needed"""
    if callable(logits):
        output_class = type(output_class.__name__, (_LogitsLater, output_class), {})
    return output_class(loss, logits, *others, **named)


@dataclass
class BaseOutputWithPooling(ModelOutput):
    """The result of an encoder without a head."""

    last_hidden_state: np.ndarray  # (B, T, d_model)
    pooler_output: np.ndarray | None = None  # (B, d_model): the vector of the whole text
    hidden_states: tuple | None = None
    attentions: tuple | None = None


@dataclass
class ClassifierOutput(ModelOutput):
    """The result of a model that classifies texts or tokens, or predicts masked tokens."""

    loss: Loss | None = None  # None without labels
    logits: np.ndarray | None = None  # (B, classes) or (B, T, classes)
    hidden_states: tuple | None = None
    attentions: tuple | None = None


@dataclass
class BertForPreTrainingOutput(ModelOutput):
    """The result of BERT's two heads of pre-training."""

    loss: Loss | None = None
    prediction_logits: np.ndarray | None = None  # (B, T, V) or (n, V): scores of masked tokens
    seq_relationship_logits: np.ndarray | None = None  # (B, 2): B follows A, or not
    hidden_states: tuple | None = None
    attentions: tuple | None = None


@dataclass
class QuestionAnsweringOutput(ModelOutput):
    """The result of a model that marks an answer in a text."""

    loss: Loss | None = None
    start_logits: np.ndarray | None = None  # (B, T)
    end_logits: np.ndarray | None = None  # (B, T)
    hidden_states: tuple | None = None
    attentions: tuple | None = None

    @property
    def logits(self):
        """(B, T, 2): both, as for a classifier of tokens with the labels start and end"""
        return np.stack([self.start_logits, self.end_logits], axis=-1)


@dataclass
class Seq2SeqModelOutput(ModelOutput):
    """The result of an encoder-decoder without a head."""

    last_hidden_state: np.ndarray  # (B, T, d_model), the decoder's
    past_key_values: Any = None  # the EncoderDecoderCache, longer by T
    decoder_hidden_states: tuple | None = None
    decoder_attentions: tuple | None = None  # per block (B, H, T, keys)
    cross_attentions: tuple | None = None  # per block (B, H, T, S)
    encoder_last_hidden_state: np.ndarray | None = None  # (B, S, d_model): the memory
    encoder_hidden_states: tuple | None = None
    encoder_attentions: tuple | None = None  # per block (B, H, S, S)


@dataclass
class Seq2SeqLMOutput(ModelOutput):
    """The result of an encoder-decoder with an output head."""

    loss: Loss | None = None  # None without labels
    logits: np.ndarray | None = None  # (B, T, V): position t scores the token at t + 1
    past_key_values: Any = None
    decoder_hidden_states: tuple | None = None
    decoder_attentions: tuple | None = None
    cross_attentions: tuple | None = None
    encoder_last_hidden_state: np.ndarray | None = None
    encoder_hidden_states: tuple | None = None
    encoder_attentions: tuple | None = None
