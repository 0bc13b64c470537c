"""The configurations of Llama and its relatives, with the names of Hugging Face's config.json."""

from dataclasses import InitVar, dataclass, field
from typing import ClassVar

from minillm.checks import shown
from minillm.models.config import (
    require_activation,
    require_divisor,
    require_number,
    require_positive,
)
from minillm.models.positions import PositionConfig
from minillm.models.rope import complete_rope_parameters, with_rope_parameters


@dataclass
class LlamaFamilyConfig(PositionConfig):
    """The fields that all of them have.

    vocab_size: V;  hidden_size: d_model;  intermediate_size: d_ff
    num_hidden_layers, num_attention_heads;  num_key_value_heads: a divisor of the latter, by
        default the same; head_dim: by default hidden_size / num_attention_heads
    hidden_act: the nonlinearity of the gate: "silu" or another
    max_position_embeddings: the trained length. Rotary positions go on beyond it.
    rope_parameters: see minillm/models/rope.py. rope_theta and rope_scaling are older names.
    position_embedding: "rotary" (the paper's) or another kind: see models/positions.py
    attention_dropout: of the attention weights; hidden_dropout_prob: of the embeddings and of the
        sub-layers' outputs, for training with minillm: `transformers` ignores it
    tie_word_embeddings: True if the output head shares the embedding table
    use_cache has no effect: `generate` always uses a cache, and `forward` has it as an argument.

    Raises ValueError for values out of range.
    """

    refused: ClassVar[dict] = {"partial_rotary_factor": (1.0, None)}

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    rope_parameters: dict | None = None
    attention_dropout: float | None = 0.0
    hidden_dropout_prob: float = 0.0
    tie_word_embeddings: bool = False
    use_cache: bool = True
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    pad_token_id: int | None = None
    position_embedding: str = field(default="rotary", kw_only=True)
    rope_theta: InitVar[float | None] = None
    rope_scaling: InitVar[dict | None] = None

    # What differs between them: which linear maps have biases, whether queries and keys have norms,
    # whether the feed-forward network has a gate, and how far a layer looks back.
    qkv_bias: ClassVar[bool] = False
    output_bias: ClassVar[bool] = False
    feed_forward_bias: ClassVar[bool] = False
    qk_norm: ClassVar[bool] = False
    feed_forward: ClassVar[str] = "gated"
    zero_output_init: ClassVar[bool] = False  # the start of weights, which a file overwrites

    def __post_init__(self, rope_theta=None, rope_scaling=None):
        for name in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                     "num_attention_heads", "max_position_embeddings"):
            require_positive(name, getattr(self, name))
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        require_positive("num_key_value_heads", self.num_key_value_heads)
        require_divisor("num_key_value_heads", self.num_key_value_heads,
                        "num_attention_heads", self.num_attention_heads)
        if self.head_dim is None:
            require_divisor("num_attention_heads", self.num_attention_heads,
                            "hidden_size", self.hidden_size)
            self.head_dim = self.hidden_size // self.num_attention_heads
        require_positive("head_dim", self.head_dim)
        if self.position_embedding == "rotary" and self.head_dim % 2:
            raise ValueError(f"head_dim is {self.head_dim}, wanted an even number: rotary "
                             "positions rotate pairs")
        self.require_positions(self.head_dim)
        require_activation("hidden_act", self.hidden_act)
        if self.attention_dropout is None:
            self.attention_dropout = 0.0
        for name in ("attention_dropout", "hidden_dropout_prob"):
            require_number(name, getattr(self, name), 0, 1)
        for name in ("rms_norm_eps", "initializer_range"):
            require_number(name, getattr(self, name), 0)
        given = with_rope_parameters({"rope_parameters": self.rope_parameters,
                                      "rope_theta": rope_theta, "rope_scaling": rope_scaling})
        self.rope_parameters = complete_rope_parameters(
            given["rope_parameters"], self.max_position_embeddings, self.head_dim)
        self.rope_theta = self.rope_parameters["rope_theta"]

    @classmethod
    def from_dict(cls, content, path="config.json"):
        """See PreTrainedConfig.from_dict."""
        if content.get("position_embedding", "rotary") != "rotary":
            content = {name: value for name, value in content.items() if name != "rope_parameters"}
        try:
            content = with_rope_parameters(content)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return super().from_dict(content, path)

    @classmethod
    def from_sizes(cls, **sizes):
        """d_ff is 8/3 d_model, rounded up to a multiple of 16: the three matrices then have as many
        numbers as the two of a network with 4 d_model         (Touvron et al. 2023, sec. 2.2)

        The head is tied, as in the small models of the family.
        """
        derived = {
            "intermediate_size": -(-8 * sizes["hidden_size"] // 48) * 16,
            "num_key_value_heads": sizes["num_attention_heads"],
            "tie_word_embeddings": True,
        }
        return super().from_sizes(**{**derived, **sizes})

    def replace(self, **changes):
        """-> a copy with `changes`; rope_theta and rope_scaling change rope_parameters"""
        if changes.get("rope_theta") is not None and "rope_scaling" not in changes:
            rope = changes.get("rope_parameters") or self.rope_parameters
            changes["rope_parameters"] = {**rope, "rope_theta": changes["rope_theta"]}
        return super().replace(**with_rope_parameters(changes))

    def to_dict(self):
        """-> dict for config.json

        `transformers` would run a model with other positions as if they were rotary. It refuses a
        rope_type that it doesn't know.
        """
        content = super().to_dict()
        if self.position_embedding != "rotary":
            content["rope_parameters"] = {"rope_type": self.position_embedding}
        return content

    def window(self, layer):
        """-> how many keys a query of block `layer` sees, up to its own; None for all"""
        return None


class OneAttentionBias:
    """A mix-in: the field attention_bias says whether all linear maps of attention have biases."""

    @property
    def qkv_bias(self):
        return self.attention_bias

    @property
    def output_bias(self):
        return self.attention_bias


@dataclass
class LlamaConfig(OneAttentionBias, LlamaFamilyConfig):
    """Llama. attention_bias, mlp_bias: whether the linear maps of attention and of the feed-forward
    network have biases. pretraining_tp has no effect. For the other fields see LlamaFamilyConfig.
    """

    model_type: ClassVar[str] = "llama"

    attention_bias: bool = False
    mlp_bias: bool = False
    pretraining_tp: int | None = 1

    @property
    def feed_forward_bias(self):
        return self.mlp_bias


@dataclass
class MistralConfig(LlamaFamilyConfig):
    """Mistral: every query sees only the last `sliding_window` keys, or all of them if it is None.

    For the other fields see LlamaFamilyConfig.
    """

    model_type: ClassVar[str] = "mistral"

    intermediate_size: int = 14336
    num_key_value_heads: int | None = 8
    max_position_embeddings: int = 4096 * 32
    sliding_window: int | None = 4096

    def __post_init__(self, rope_theta=None, rope_scaling=None):
        super().__post_init__(rope_theta, rope_scaling)
        if self.sliding_window is not None:
            require_positive("sliding_window", self.sliding_window)

    def window(self, layer):
        return self.sliding_window


@dataclass
class Qwen2Config(LlamaFamilyConfig):
    """Qwen2: biases on queries, keys and values.

    use_sliding_window: whether the layers from max_window_layers on see only the last
        sliding_window keys
    layer_types: instead, "full_attention" or "sliding_attention" for each layer

    For the other fields see LlamaFamilyConfig.
    """

    model_type: ClassVar[str] = "qwen2"
    qkv_bias: ClassVar[bool] = True

    vocab_size: int = 151936
    intermediate_size: int = 22016
    num_key_value_heads: int | None = 32
    max_position_embeddings: int = 32768
    use_sliding_window: bool = False
    sliding_window: int | None = 4096
    max_window_layers: int = 28
    layer_types: list[str] | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    def __post_init__(self, rope_theta=None, rope_scaling=None):
        super().__post_init__(rope_theta, rope_scaling)
        if not self.use_sliding_window:
            self.sliding_window = None
        if self.sliding_window is not None:
            require_positive("sliding_window", self.sliding_window)
        kinds = ("full_attention", "sliding_attention")
        types = self.layer_types
        if types is not None:
            if len(types) != self.num_hidden_layers:
                raise ValueError(f"layer_types has {len(types)} items, wanted num_hidden_layers = "
                                 f"{self.num_hidden_layers}")
            for kind in types:
                if kind not in kinds:
                    raise ValueError(f"layer_types has {shown(kind)}, wanted {' or '.join(kinds)}")
            if kinds[1] in types and self.sliding_window is None:
                raise ValueError("layer_types has sliding_attention, but there is no "
                                 "sliding_window (or use_sliding_window is False)")

    def window(self, layer):
        if self.layer_types is not None:
            slides = self.layer_types[layer] == "sliding_attention"
        else:
            slides = layer >= self.max_window_layers
        return self.sliding_window if slides else None


@dataclass
class Qwen3Config(OneAttentionBias, Qwen2Config):
    """Qwen3: norms of queries and keys. attention_bias: whether the linear maps of attention have
    biases. For the other fields see Qwen2Config.
    """

    model_type: ClassVar[str] = "qwen3"
    qk_norm: ClassVar[bool] = True

    head_dim: int | None = 128
    attention_bias: bool = False

    @classmethod
    def from_sizes(cls, **sizes):
        """See LlamaFamilyConfig.from_sizes; head_dim is d_model / H."""
        return super().from_sizes(
            **{"head_dim": sizes["hidden_size"] // sizes["num_attention_heads"], **sizes})


@dataclass
class ApertusConfig(OneAttentionBias, LlamaFamilyConfig):
    """Apertus: norms of queries and keys, and a feed-forward network without a gate, of which
    hidden_act is the nonlinearity. attention_bias: whether the linear maps of attention have biases.

    Apertus's own hidden_act, "xielu", learns numbers and isn't implemented; a config.json without
    the field means it. For the other fields see LlamaFamilyConfig.
    """

    model_type: ClassVar[str] = "apertus"
    qk_norm: ClassVar[bool] = True
    feed_forward: ClassVar[str] = "plain"
    zero_output_init: ClassVar[bool] = True

    vocab_size: int = 131072
    intermediate_size: int = 14336
    hidden_act: str = "relu2"
    max_position_embeddings: int = 65536
    rms_norm_eps: float = 1e-5
    pad_token_id: int | None = 3
    attention_bias: bool = False

    @classmethod
    def from_dict(cls, content, path="config.json"):
        """See PreTrainedConfig.from_dict. Fields that are missing have the values of Apertus-8B."""
        if not any(content.get(name) for name in ("rope_parameters", "rope_theta", "rope_scaling")):
            content = {**content, "rope_parameters": APERTUS_ROPE}
        return super().from_dict({"hidden_act": "xielu", **content}, path)

    @classmethod
    def from_sizes(cls, **sizes):
        """d_ff is 4 d_model, and the nonlinearity squared ReLU. The head is tied."""
        derived = {"intermediate_size": 4 * sizes["hidden_size"], "hidden_act": "relu2",
                   "rope_parameters": {"rope_type": "default"}, "pad_token_id": None}
        return super().from_sizes(**{**derived, **sizes})


# Of a config.json without any: it isn't written where it is the default.
APERTUS_ROPE = {"rope_type": "llama3", "rope_theta": 12e6, "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
