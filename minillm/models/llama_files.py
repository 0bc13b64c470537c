"""Llama, Mistral and Qwen2 in Hugging Face's files: the names of their weights there, and the sizes
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


# Parameters here -> tensors in a file, which has weights as (d_out, d_in).
RULES = [
    rename("layers.*.norm1.*", "layers.*.input_layernorm.*"),
    fuse("layers.*.attention.qkv.*",
         [f"{ATTENTION}.{name}_proj.*" for name in "qkv"], transpose=True, sizes=qkv_widths),
    rename("layers.*.attention.output.*", f"{ATTENTION}.o_proj.*", transpose=True),
    rename("layers.*.norm2.*", "layers.*.post_attention_layernorm.*"),
    rename("layers.*.feed_forward.gate.*", f"{MLP}.gate_proj.*", transpose=True),
    rename("layers.*.feed_forward.expand.*", f"{MLP}.up_proj.*", transpose=True),
    rename("layers.*.feed_forward.contract.*", f"{MLP}.down_proj.*", transpose=True),
    rename("score.*", "score.*", transpose=True),
]
SIZES = [
    Count("num_hidden_layers", "layers.*.input_layernorm.weight", "layer"),
    Size("vocab_size", "embed_tokens.weight", 0),
    Size("hidden_size", "embed_tokens.weight", 1),
    Size("intermediate_size", f"{MLP}.up_proj.weight", 0),
    Size("num_attention_heads * head_dim", f"{ATTENTION}.q_proj.weight", 0,
         lambda config: qkv_widths(config)[0]),
    Size("num_key_value_heads * head_dim", f"{ATTENTION}.k_proj.weight", 0,
         lambda config: qkv_widths(config)[1]),
    *position_sizes("embed_positions.weight", "positions.weight"),
]
# Old checkpoints store the frequencies of the rotary positions.
IGNORED = ["layers.*.self_attn.rotary_emb.inv_freq", "rotary_emb.inv_freq"]


class LlamaPreTrainedModel(PreTrainedModel):
    """The base of the models with and without a head: their files, and their token embeddings."""

    config_class = LlamaConfig
    weight_table = WeightTable(RULES, SIZES, IGNORED, ("score.",))
    base_prefix = "model"
    embedding_tensor = "embed_tokens.weight"

    def get_input_embeddings(self):
        return self.base_model.embed_tokens
