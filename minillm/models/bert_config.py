"""The configuration of a BERT, with the names of Hugging Face's config.json."""

from dataclasses import dataclass
from typing import ClassVar

from minillm.checks import shown
from minillm.models.config import (
    require_activation,
    require_divisor,
    require_number,
    require_positive,
)
from minillm.models.positions import PositionConfig

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")


@dataclass
class BertConfig(PositionConfig):
    """The sizes of a BERT. The defaults are the paper's BERT-base, 110M parameters.

    vocab_size: V;  hidden_size: d_model;  num_hidden_layers;  num_attention_heads
    intermediate_size: d_ff
    hidden_act: "gelu" (the paper's, exact) or another activation
    hidden_dropout_prob, attention_probs_dropout_prob: dropout of the embeddings and the sub-layers'
        outputs, and of the attention weights
    classifier_dropout: dropout in front of a classifier; default: hidden_dropout_prob
    max_position_embeddings: the maximum length of a sequence
    position_embedding: "learned" (the paper's) or another kind: see models/positions.py
    type_vocab_size: the number of token types (the paper's segments A and B)
    initializer_range: the std of the initial weights
    pad_token_id: the embedding of this id learns nothing from where it is read
    tie_word_embeddings: True if the output head shares the embedding table
    problem_type: the loss of a sequence classifier: "regression", "single_label_classification" or
        "multi_label_classification"; default: as num_labels and the labels' dtype say
    use_cache: no effect

    Raises ValueError for values out of range.
    """

    model_type: ClassVar[str] = "bert"
    refused: ClassVar[dict] = {
        "is_decoder": (False, None),
        "position_embedding_type": ("absolute", None),
    }

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = None
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    tie_word_embeddings: bool = True
    problem_type: str | None = None
    use_cache: bool = True

    def __post_init__(self):
        for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                     "intermediate_size", "max_position_embeddings", "type_vocab_size"):
            require_positive(name, getattr(self, name))
        require_divisor("num_attention_heads", self.num_attention_heads,
                        "hidden_size", self.hidden_size)
        require_activation("hidden_act", self.hidden_act)
        self.require_positions(self.hidden_size // self.num_attention_heads)
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            require_number(name, getattr(self, name), 0, 1)
        if self.classifier_dropout is not None:
            require_number("classifier_dropout", self.classifier_dropout, 0, 1)
        for name in ("layer_norm_eps", "initializer_range"):
            require_number(name, getattr(self, name), 0)
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(f"pad_token_id is {self.pad_token_id}, wanted an id from 0 to "
                             f"{self.vocab_size - 1}, or None")
        if self.problem_type not in (None, *PROBLEM_TYPES):
            raise ValueError(f"problem_type is {shown(self.problem_type)}, wanted one of "
                             f"{', '.join(PROBLEM_TYPES)}")

    @classmethod
    def from_sizes(cls, **sizes):
        """-> the configuration of a new model; intermediate_size is 4 hidden_size by default"""
        return super().from_sizes(**{"intermediate_size": 4 * sizes["hidden_size"], **sizes})

    @property
    def classifier_dropout_prob(self):
        """The dropout in front of a classifier."""
        given = self.classifier_dropout
        return self.hidden_dropout_prob if given is None else given
