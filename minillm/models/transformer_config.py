"""The configuration of a Transformer, with the names that Hugging Face gives to such models."""

from dataclasses import dataclass, field
from typing import ClassVar

from minillm.models.config import (
    require_activation,
    require_divisor,
    require_number,
    require_positive,
)
from minillm.models.positions import PositionConfig


@dataclass
class TransformerConfig(PositionConfig):
    """The sizes of a Transformer. The defaults are the paper's base model (table 3).

    vocab_size: V;  decoder_vocab_size: that of the target language, if its embeddings are separate
    d_model;  encoder_layers, decoder_layers: N
    encoder_attention_heads, decoder_attention_heads: h
    encoder_ffn_dim, decoder_ffn_dim: d_ff
    activation_function: "relu" (the paper's), "gelu", "swish", …
    dropout: of the sub-layers' outputs and of the sums of embeddings and positions (sec. 5.4)
    attention_dropout, activation_dropout: of the attention weights, and inside the feed-forward
        network
    label_smoothing: ε_ls in the loss of a model in training mode (sec. 5.4)
    max_position_embeddings: the maximum length of a sequence with sinusoidal or learned positions
    position_embedding: "sinusoidal" (the paper's) or another kind, in both stacks: see
        models/positions.py. Cross-attention has no positions.
    scale_embedding: multiply embeddings by √d_model (sec. 3.4)
    share_encoder_decoder_embeddings, tie_word_embeddings: whether encoder and decoder share one
        table, and whether the output head is the decoder's table; both: the paper's single matrix
    normalize_before: pre-norm instead of the paper's post-norm, see nn/blocks.py
    add_final_layer_norm: a norm after the last block of each stack; default: only with pre-norm
    init_std: the std of the initial weights; default: 1 / √d_model
    decoder_start_token_id: the token that the decoder reads first
    pad_token_id: the embedding of this id learns nothing from where it is read

    Raises ValueError for values out of range.
    """

    model_type: ClassVar[str] = "transformer"
    aliases: ClassVar[dict] = {
        "hidden_size": "d_model", "num_hidden_layers": "encoder_layers",
        "num_attention_heads": "encoder_attention_heads",
    }
    refused: ClassVar[dict] = {
        "is_encoder_decoder": (True,), "is_decoder": (False, None),
        "encoder_layerdrop": (0, None), "decoder_layerdrop": (0, None),
    }
    interleaved_positions: ClassVar[bool] = True  # sin, cos, sin, cos, …: the formula of sec. 3.5

    vocab_size: int = 37000
    decoder_vocab_size: int | None = None
    d_model: int = 512
    encoder_layers: int = 6
    decoder_layers: int = 6
    encoder_attention_heads: int = 8
    decoder_attention_heads: int = 8
    encoder_ffn_dim: int = 2048
    decoder_ffn_dim: int = 2048
    activation_function: str = "relu"
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    label_smoothing: float = 0.1
    max_position_embeddings: int = 1024
    scale_embedding: bool = True
    share_encoder_decoder_embeddings: bool = True
    tie_word_embeddings: bool = True
    normalize_before: bool = False
    add_final_layer_norm: bool | None = None
    layer_norm_eps: float = 1e-6
    init_std: float | None = None
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int | None = 1
    forced_eos_token_id: int | list[int] | None = None
    is_encoder_decoder: bool = True
    position_embedding: str = field(default="sinusoidal", kw_only=True)

    def __post_init__(self):
        if self.decoder_vocab_size is None:
            self.decoder_vocab_size = self.vocab_size
        for name in ("vocab_size", "decoder_vocab_size", "d_model", "encoder_layers",
                     "decoder_layers", "encoder_attention_heads", "decoder_attention_heads",
                     "encoder_ffn_dim", "decoder_ffn_dim", "max_position_embeddings"):
            require_positive(name, getattr(self, name))
        for name in ("encoder_attention_heads", "decoder_attention_heads"):
            require_divisor(name, getattr(self, name), "d_model", self.d_model)
        for n_heads in (self.encoder_attention_heads, self.decoder_attention_heads):
            self.require_positions(self.d_model // n_heads)
        require_activation("activation_function", self.activation_function)
        for name in ("dropout", "attention_dropout", "activation_dropout", "label_smoothing"):
            require_number(name, getattr(self, name), 0, 1)
        require_number("layer_norm_eps", self.layer_norm_eps, 0)
        if self.init_std is not None:
            require_number("init_std", self.init_std, 0)
        if self.shares_embeddings and self.decoder_vocab_size != self.vocab_size:
            raise ValueError(f"decoder_vocab_size is {self.decoder_vocab_size}, wanted vocab_size "
                             f"= {self.vocab_size}: encoder and decoder share their embeddings")
        for name, n in (("pad_token_id", self.vocab_size),
                        ("decoder_start_token_id", self.decoder_vocab_size)):
            id = getattr(self, name)
            if id is not None and not 0 <= id < n:
                raise ValueError(f"{name} is {id}, wanted an id from 0 to {n - 1}")

    @classmethod
    def from_sizes(cls, *, num_hidden_layers, num_attention_heads, hidden_size, **sizes):
        """Both stacks get these sizes; d_ff is 4 d_model, as in the paper."""
        both = {f"{stack}_{name}": value for stack in ("encoder", "decoder") for name, value in (
            ("layers", num_hidden_layers), ("attention_heads", num_attention_heads),
            ("ffn_dim", 4 * hidden_size))}
        return super().from_sizes(**{"d_model": hidden_size, **both, **sizes})

    @property
    def shares_embeddings(self):
        """True if encoder and decoder share one table."""
        return self.share_encoder_decoder_embeddings

    @property
    def position_limit(self):
        """As in files of this architecture, sinusoids end, too."""
        ends = self.position_embedding in ("learned", "sinusoidal")
        return self.max_position_embeddings if ends else None

    @property
    def scales_embeddings(self):
        """A choice of its own here."""
        return self.scale_embedding

    @property
    def has_final_norm(self):
        final = self.add_final_layer_norm
        return self.normalize_before if final is None else final

    @property
    def initializer_range(self):
        """The std of the initial weights. Embeddings scaled by √d_model then start at size 1."""
        return self.d_model**-0.5 if self.init_std is None else self.init_std
