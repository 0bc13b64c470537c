"""The Transformer in files: Hugging Face's names for its weights, those of Marian checkpoints."""

from dataclasses import replace

import numpy as np

from minillm.models.positions import position_sizes
from minillm.models.pretrained import PreTrainedModel
from minillm.models.transformer_config import TransformerConfig
from minillm.models.weight_table import Count, Size, WeightTable, fuse, rename

# Parameters here -> tensors in a file, which stores matrices as (d_out, d_in). The first star is
# encoder or decoder.
RULES = [
    rename("*.layers.*.norm1.*", "*.layers.*.self_attn_layer_norm.*"),
    fuse("*.layers.*.attention.qkv.*",
         [f"*.layers.*.self_attn.{name}_proj.*" for name in "qkv"], transpose=True),
    rename("*.layers.*.attention.output.*", "*.layers.*.self_attn.out_proj.*", transpose=True),
    rename("*.layers.*.norm_cross.*", "*.layers.*.encoder_attn_layer_norm.*"),
    rename("*.layers.*.cross_attention.query.*", "*.layers.*.encoder_attn.q_proj.*",
           transpose=True),
    fuse("*.layers.*.cross_attention.key_value.*",
         [f"*.layers.*.encoder_attn.{name}_proj.*" for name in "kv"], transpose=True),
    rename("*.layers.*.cross_attention.output.*", "*.layers.*.encoder_attn.out_proj.*",
           transpose=True),
    rename("*.layers.*.norm2.*", "*.layers.*.final_layer_norm.*"),
    rename("*.layers.*.feed_forward.expand.*", "*.layers.*.fc1.*", transpose=True),
    rename("*.layers.*.feed_forward.contract.*", "*.layers.*.fc2.*", transpose=True),
]
SIZES = [size for stack in ("encoder", "decoder") for size in (
    Count(f"{stack}_layers", f"{stack}.layers.*.fc1.weight", "layer"),
    Size(f"{stack}_ffn_dim", f"{stack}.layers.*.fc1.weight", 0),
    *position_sizes(f"{stack}.embed_positions.weight", f"{stack}.positions.weight"),
)]
# Sinusoids are computed; some files store them.
IGNORED = ["*.embed_positions.weight"]
HEADS = ("final_logits_bias",)
SHARED = WeightTable(
    RULES,
    [Size("vocab_size", "shared.weight", 0), Size("d_model", "shared.weight", 1), *SIZES],
    IGNORED, HEADS, optional=HEADS,
    other_names={f"{stack}.embed_tokens.weight": "shared.weight"
                 for stack in ("encoder", "decoder")},
)
SEPARATE = WeightTable(
    RULES,
    [size for stack, field in (("encoder", "vocab_size"), ("decoder", "decoder_vocab_size"))
     for size in (Size(field, f"{stack}.embed_tokens.weight", 0),
                  Size("d_model", f"{stack}.embed_tokens.weight", 1))] + SIZES,
    [*IGNORED, "shared.weight"], HEADS, optional=HEADS,
)


class TransformerPreTrainedModel(PreTrainedModel):
    """The base of the Transformer with and without a head: its files, and its token embeddings."""

    config_class = TransformerConfig
    base_prefix = "model"

    @classmethod
    def layout(cls, config):
        table, embedding = ((SHARED, "shared.weight") if config.shares_embeddings
                            else (SEPARATE, "decoder.embed_tokens.weight"))
        if config.position_embedding == "learned":
            ignored = [name for name in table.ignored if name not in IGNORED]
            table = replace(table, ignored=ignored)
        return table, embedding

    def get_input_embeddings(self):
        base = self.base_model
        return base.shared if self.config.shares_embeddings else base.encoder.embed_tokens

    def get_encoder(self):
        return self.base_model.encoder

    def get_decoder(self):
        return self.base_model.decoder

    def has_tied_head(self):
        head = self.get_output_embeddings()
        return head is not None and head.weight is self.get_decoder().embed_tokens.weight

    def token_tables(self):
        tables = [self.get_input_embeddings()]
        if not self.config.shares_embeddings:
            tables.append(self.get_decoder().embed_tokens)
        return tables

    def resize_token_embeddings(self, new_num_tokens=None, pad_to_multiple_of=None,
                                mean_resizing=True):
        """See PreTrainedModel. ValueError if encoder and decoder don't share their embeddings."""
        if not self.config.shares_embeddings:
            raise ValueError("encoder and decoder have separate vocabularies, wanted shared "
                             "embeddings to resize")
        table = super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        self.base_model._share()
        self.config.decoder_vocab_size = self.config.vocab_size
        return table

    @property
    def max_positions(self):
        """The maximum length of a sequence."""
        return self.config.position_limit

    def num_parameters(self, only_trainable=False):
        """See PreTrainedModel. Marian's final_logits_bias isn't learned, and doesn't count."""
        bias = getattr(self, "final_logits_bias", np.zeros(0))
        return super().num_parameters(only_trainable) - (0 if only_trainable else bias.size)
