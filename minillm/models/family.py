"""The decoders of 2017 to 2025 as one model, in which every change is a field of its configuration.

    2017    Vaswani et al., "Attention Is All You Need": its decoder, without an encoder
    2018    Devlin et al., BERT, and Radford et al., GPT: GELU, learned positions
    2019    Radford et al., GPT-2: pre-norm with one more norm at the end; weights that write into
            the residual stream start smaller
    2023    Touvron et al., Llama, and Llama 2: RMSNorm, rotary positions, SwiGLU, no biases,
            grouped-query attention
    2025    what makes small models learn fast: QK-norm (Henry et al. 2020), squared ReLU (So et al.
            2021), outputs that start at zero (Zhang et al. 2019, "Fixup"); Apertus has the first two

`minillm experiment family` measures each change up to 2023, `minillm experiment speedrun` those of
2025. With the fields of 2019 this model computes what gpt2.py computes, and with those of 2023 what
llama.py computes, as Llama, and with those of 2025, as Apertus; tests hold them together.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from minillm.checks import shown
from minillm.generation import GenerationConfig
from minillm.models.config import (
    ACTIVATIONS,
    require_activation,
    require_divisor,
    require_number,
    require_positive,
)
from minillm.models.llama import FEED_FORWARDS, LlamaForCausalLM, LlamaModel
from minillm.models.positions import (
    PositionConfig,
    attention_positions,
    position_sizes,
    position_vectors,
)
from minillm.models.weight_table import Count, Size, WeightTable
from minillm.nn import (
    DecoderBlock,
    Dropout,
    Embedding,
    LayerNorm,
    Module,
    RMSNorm,
)


class Unchanged(Module):
    """y = x: in the place of a norm, where there is none."""

    def __init__(self, d_model=None, eps=None):
        pass

    def forward(self, x):
        return x

    def backward(self, dy):
        return dy


NORMS = {"layer_norm": LayerNorm, "rms_norm": RMSNorm, "none": Unchanged}
PLACEMENTS = ("pre", "post")
# What a paper changed, in the terms of the one before.
YEARS = {
    2017: dict(norm="layer_norm", norm_placement="post", feed_forward="plain",
               activation_function="relu", position_embedding="sinusoidal", bias=True,
               scale_output_init=False, zero_output_init=False, qk_norm=False,
               num_key_value_heads=None),
    2018: dict(activation_function="gelu_new", position_embedding="learned"),
    2019: dict(norm_placement="pre", scale_output_init=True),
    2023: dict(norm="rms_norm", position_embedding="rotary", feed_forward="gated",
               activation_function="silu", bias=False),
    2025: dict(feed_forward="plain", activation_function="relu2", qk_norm=True,
               zero_output_init=True),
}


@dataclass
class FamilyConfig(PositionConfig):
    """vocab_size: V;  hidden_size: d_model;  intermediate_size: d_ff
    num_hidden_layers, num_attention_heads;  num_key_value_heads: a divisor of the latter, by
        default the same
    norm: "layer_norm", "rms_norm" or "none";  norm_placement: "pre" or "post", see nn/blocks.py;
        with "pre" one more norm follows the last block
    feed_forward: "plain" or "gated", with activation_function; bias: whether linear maps have one
    scale_output_init: whether the weights that write into the residual stream start smaller, by a
        factor of √(2 L);  zero_output_init: whether they start at zero, so that every block returns
        its input at first
    qk_norm: whether attention normalizes every query and key
    position_embedding: see models/positions.py. Embeddings are scaled by √d_model if it is
        "sinusoidal".

    The defaults are the decoder of 2017 (its paper's base model). Raises ValueError for values out
    of range.
    """

    model_type: ClassVar[str] = "family"

    vocab_size: int = 37000
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 6
    num_attention_heads: int = 8
    num_key_value_heads: int | None = None
    max_position_embeddings: int = 1024
    norm: str = "layer_norm"
    norm_placement: str = "post"
    feed_forward: str = "plain"
    activation_function: str = "relu"
    bias: bool = True
    scale_output_init: bool = False
    zero_output_init: bool = False
    qk_norm: bool = False
    hidden_dropout_prob: float = 0.0
    initializer_range: float = 0.02
    norm_eps: float = 1e-5
    tie_word_embeddings: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    position_embedding: str = field(default="sinusoidal", kw_only=True)

    def __post_init__(self):
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        for name in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                     "num_attention_heads", "num_key_value_heads", "max_position_embeddings"):
            require_positive(name, getattr(self, name))
        require_divisor("num_attention_heads", self.num_attention_heads,
                        "hidden_size", self.hidden_size)
        require_divisor("num_key_value_heads", self.num_key_value_heads,
                        "num_attention_heads", self.num_attention_heads)
        self.require_positions(self.head_dim)
        for name, choices in (("norm", NORMS), ("norm_placement", PLACEMENTS),
                              ("feed_forward", FEED_FORWARDS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {shown(getattr(self, name))}, wanted "
                                 f"{' or '.join(choices)}")
        require_activation("activation_function", self.activation_function)
        require_number("hidden_dropout_prob", self.hidden_dropout_prob, 0, 1)
        for name in ("norm_eps", "initializer_range"):
            require_number(name, getattr(self, name), 0)

    @classmethod
    def from_sizes(cls, **sizes):
        """d_ff is 4 d_model by default."""
        return super().from_sizes(**{"intermediate_size": 4 * sizes["hidden_size"], **sizes})

    @property
    def head_dim(self):
        return self.hidden_size // self.num_attention_heads


class FamilyFiles:
    """What the models below have in files: the names of their parameters."""

    config_class = FamilyConfig
    weight_table = WeightTable([], [
        Count("num_hidden_layers", "layers.*.attention.output.weight", "layer"),
        Size("vocab_size", "embed_tokens.weight", 0),
        Size("hidden_size", "embed_tokens.weight", 1),
        Size("intermediate_size", "layers.*.feed_forward.expand.weight", 1),
        *position_sizes("embed_positions.weight", "positions.weight"),
    ])


class FamilyModel(FamilyFiles, LlamaModel):
    """The decoder without an output head; forward and backward are Llama's.

    For the arguments see LlamaModel.
    """

    def __init__(self, config=None, seed=0, draw_weights=True):
        self.config = config = config or FamilyConfig()
        self.generation_config = GenerationConfig.from_model_config(config.to_dict())
        self.rng = rng = np.random.default_rng(seed)
        std = config.initializer_range if draw_weights else 0.0
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size,
                                      padding_id=config.pad_token_id, rng=rng, std=std)
        self.embed_positions = position_vectors(config, rng=rng, std=std)
        self.drop = Dropout(config.hidden_dropout_prob, rng)
        self.positions = attention_positions(config, config.num_attention_heads, config.head_dim,
                                             rng=rng, std=std)
        output_std = std
        if config.scale_output_init:
            output_std = std / math.sqrt(2 * config.num_hidden_layers)
        if config.zero_output_init:
            output_std = 0.0
        self.layers = [
            DecoderBlock(
                config.hidden_size,
                config.num_attention_heads,
                config.intermediate_size,
                cross_attention=False,
                norm=config.norm_placement,
                make_norm=NORMS[config.norm],
                eps=config.norm_eps,
                n_kv_heads=config.num_key_value_heads,
                positions=self.positions,
                make_feed_forward=FEED_FORWARDS[config.feed_forward],
                activation=ACTIVATIONS[config.activation_function],
                bias=config.bias,
                dropout=config.hidden_dropout_prob,
                rng=rng,
                std=std,
                output_std=output_std,
                qk_norm=config.qk_norm,
                norm_eps=config.norm_eps,
            )
            for _ in range(config.num_hidden_layers)
        ]
        self.norm = Unchanged()
        if config.norm_placement == "pre":
            self.norm = NORMS[config.norm](config.hidden_size, config.norm_eps)


class FamilyForCausalLM(FamilyFiles, LlamaForCausalLM):
    """The decoder with an output head."""

    base_class = FamilyModel
