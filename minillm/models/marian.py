"""Marian: Junczys-Dowmunt et al. 2018, "Marian: Fast Neural Machine Translation in C++".

The Transformer of transformer.py as the toolkit Marian trains it, with one addition: a fixed bias
of the logits. Hundreds of such models translate between pairs of languages (Helsinki-NLP/opus-mt).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minillm.models.transformer import TransformerForConditionalGeneration, TransformerModel
from minillm.models.transformer_config import TransformerConfig
from minillm.nn import OutputHead
from minillm.nn.module import Parameter


@dataclass
class MarianConfig(TransformerConfig):
    """The sizes of a Marian model, with the defaults of `transformers`; see TransformerConfig.

    use_cache has no effect: `generate` always uses a cache.
    """

    model_type: ClassVar[str] = "marian"
    # What is a choice in the Transformer and isn't one here.
    position_embedding: ClassVar[str] = "sinusoidal"
    interleaved_positions: ClassVar[bool] = False  # all sines, then all cosines
    normalize_before: ClassVar[bool] = False
    add_final_layer_norm: ClassVar[bool] = False
    layer_norm_eps: ClassVar[float] = 1e-5
    label_smoothing: ClassVar[float] = 0.0

    vocab_size: int = 58101
    d_model: int = 1024
    encoder_layers: int = 12
    decoder_layers: int = 12
    encoder_attention_heads: int = 16
    decoder_attention_heads: int = 16
    encoder_ffn_dim: int = 4096
    decoder_ffn_dim: int = 4096
    activation_function: str = "gelu"
    scale_embedding: bool = False
    init_std: float | None = 0.02
    pad_token_id: int | None = 58100
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = 0
    decoder_start_token_id: int | None = 58100
    forced_eos_token_id: int | list[int] | None = 0
    use_cache: bool = True

    @classmethod
    def from_sizes(cls, **sizes):
        """A new model has the sizes' vocabulary, not that of the checkpoints."""
        return super().from_sizes(**{"pad_token_id": 0, "decoder_start_token_id": 0,
                                     "eos_token_id": 0, "forced_eos_token_id": None, **sizes})

    @property
    def shares_embeddings(self):
        """As in `transformers`, tie_word_embeddings = False separates all three tables."""
        return self.share_encoder_decoder_embeddings and self.tie_word_embeddings


class MarianModel(TransformerModel):
    config_class = MarianConfig


class MarianMTModel(TransformerForConditionalGeneration):
    """logits = decoder(target, encoder(source)) Eᵀ + final_logits_bias"""

    config_class = MarianConfig
    base_class = MarianModel

    def __init__(self, config=None, seed=0, draw_weights=True):
        super().__init__(config, seed, draw_weights)
        n = self.config.decoder_vocab_size
        self.final_logits_bias = Parameter(np.zeros((1, n), np.float32), trainable=False)
        self.lm_head = OutputHead(self.lm_head.weight, fixed_bias=self.final_logits_bias)

    def resize_token_embeddings(self, *arguments, **options):
        """See PreTrainedModel. The bias of new tokens is 0."""
        table = super().resize_token_embeddings(*arguments, **options)
        bias, n = self.final_logits_bias.data[:, : self.config.vocab_size], self.config.vocab_size
        self.final_logits_bias.data = np.pad(bias, ((0, 0), (0, n - bias.shape[1])))
        return table
