"""Llama and its relatives in Hugging Face's files: the names of their weights there, and the sizes
that they imply."""

from minillm.models.llama_config import LlamaConfig
from minillm.models.positions import position_sizes
from minillm.models.pretrained import PreTrainedModel
from minillm.models.weight_table import Count, Size, WeightTable, fuse, rename

ATTENTION, MLP = "layers.*.self_attn", "layers.*.mlp"


def qkv_widths(config):
    """-> the widths of the three parts of our qkv"""
    n_kv = config.num_key_value_heads
    return [heads * config.head_dim for heads in (config.num_attention_heads, n_kv, n_kv)]


# Old checkpoints store the frequencies of the rotary positions.
IGNORED = ["layers.*.self_attn.rotary_emb.inv_freq", "rotary_emb.inv_freq"]


def _table(norm1, norm2):
    """-> the WeightTable of a model that names the two norms of a block so

    Its rules: parameters here -> tensors in a file, which has weights as (d_out, d_in).
    """
    rules = [
        rename("layers.*.norm1.*", f"layers.*.{norm1}.*"),
        fuse("layers.*.attention.qkv.*",
             [f"{ATTENTION}.{name}_proj.*" for name in "qkv"], transpose=True, sizes=qkv_widths),
        rename("layers.*.attention.output.*", f"{ATTENTION}.o_proj.*", transpose=True),
        *[rename(f"layers.*.attention.{name}.*", f"{ATTENTION}.{name}.*")
          for name in ("q_norm", "k_norm")],
        rename("layers.*.norm2.*", f"layers.*.{norm2}.*"),
        rename("layers.*.feed_forward.gate.*", f"{MLP}.gate_proj.*", transpose=True),
        rename("layers.*.feed_forward.expand.*", f"{MLP}.up_proj.*", transpose=True),
        rename("layers.*.feed_forward.contract.*", f"{MLP}.down_proj.*", transpose=True),
        rename("score.*", "score.*", transpose=True),
    ]
    sizes = [
        Count("num_hidden_layers", f"layers.*.{norm1}.weight", "layer"),
        Size("vocab_size", "embed_tokens.weight", 0),
        Size("hidden_size", "embed_tokens.weight", 1),
        Size("intermediate_size", f"{MLP}.up_proj.weight", 0),
        Size("num_attention_heads * head_dim", f"{ATTENTION}.q_proj.weight", 0,
             lambda config: qkv_widths(config)[0]),
        Size("num_key_value_heads * head_dim", f"{ATTENTION}.k_proj.weight", 0,
             lambda config: qkv_widths(config)[1]),
        *position_sizes("embed_positions.weight", "positions.weight"),
    ]
    return WeightTable(rules, sizes, IGNORED, ("score.",))


TABLE = _table("input_layernorm", "post_attention_layernorm")
APERTUS_TABLE = _table("attention_layernorm", "feedforward_layernorm")


class LlamaPreTrainedModel(PreTrainedModel):
    """The base of the models with and without a head: their files, and their token embeddings."""

    config_class = LlamaConfig
    weight_table = TABLE
    base_prefix = "model"
    embedding_tensor = "embed_tokens.weight"

    def get_input_embeddings(self):
        return self.base_model.embed_tokens
