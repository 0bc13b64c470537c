"""The configuration of a GPT-2, with the names of Hugging Face's config.json."""

import math
from dataclasses import dataclass
from typing import ClassVar

from minillm.models.config import (
    require_activation,
    require_divisor,
    require_number,
    require_positive,
)
from minillm.models.positions import PositionConfig


@dataclass
class GPT2Config(PositionConfig):
    """The sizes of a GPT-2. The defaults are the paper's smallest model, 124M parameters.

    vocab_size: V;  n_embd: d_model;  n_layer;  n_head
    n_positions: the maximum length of a sequence, for learned positions
    n_inner: d_ff; default: 4 n_embd
    activation_function: "gelu_new" (the paper's, with tanh) or another of models/config.py
    resid_pdrop, embd_pdrop, attn_pdrop: dropout of the sub-layers' outputs, of the embeddings and
        of the attention weights
    initializer_range: the std of the initial weights
    scale_attn_weights, scale_attn_by_inverse_layer_idx: see `attention_scale`
    tie_word_embeddings: True if the output head shares the embedding table
    position_embedding: "learned" (the paper's), "sinusoidal", "rotary", "alibi", "t5" or "none": see
        models/positions.py. With any other than "learned", sequences may become longer than
        n_positions. A file names this field only if it isn't "learned"; `transformers` doesn't know
        it and can't run such a model.
    relative_attention_num_buckets, relative_attention_max_distance: those of "t5", as in T5's files

    Two fields have no effect: reorder_and_upcast_attn (everything is float32 anyway) and use_cache
    (`generate` always uses a cache; `forward` takes use_cache as an argument).

    Raises ValueError for values out of range.
    """

    model_type: ClassVar[str] = "gpt2"
    aliases: ClassVar[dict] = {
        "hidden_size": "n_embd", "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head", "num_hidden_layers": "n_layer",
    }

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    reorder_and_upcast_attn: bool = False
    tie_word_embeddings: bool = True
    use_cache: bool = True
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    pad_token_id: int | None = None

    def __post_init__(self):
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
            require_positive(name, getattr(self, name))
        if self.n_inner is not None:
            require_positive("n_inner", self.n_inner)
        require_divisor("n_head", self.n_head, "n_embd", self.n_embd)
        require_activation("activation_function", self.activation_function)
        self.require_positions(self.n_embd // self.n_head)
        for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
            require_number(name, getattr(self, name), 0, 1)
        for name in ("layer_norm_epsilon", "initializer_range"):
            require_number(name, getattr(self, name), 0)

    @property
    def d_ff(self):
        """The width of the feed-forward network's hidden layer."""
        return 4 * self.n_embd if self.n_inner is None else self.n_inner

    def attention_scale(self, layer):
        """-> the factor of the attention scores in block `layer`: by default 1 / √D

        scale_attn_weights = False replaces 1 / √D by 1; scale_attn_by_inverse_layer_idx divides by
        layer + 1.
        """
        scale = 1 / math.sqrt(self.n_embd // self.n_head) if self.scale_attn_weights else 1.0
        return scale / (layer + 1) if self.scale_attn_by_inverse_layer_idx else scale
