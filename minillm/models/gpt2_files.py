"""GPT-2 in Hugging Face's files: the names of its weights there, and the sizes that they imply."""

from minillm.models.gpt2_config import GPT2Config
from minillm.models.positions import position_sizes
from minillm.models.pretrained import PreTrainedModel
from minillm.models.weight_table import Count, Size, WeightTable, rename

# Parameters here -> tensors in a file. Both store weights as (d_in, d_out), so none is transposed.
RULES = [
    rename("h.*.norm1.*", "h.*.ln_1.*"),
    rename("h.*.attention.qkv.*", "h.*.attn.c_attn.*"),
    rename("h.*.attention.output.*", "h.*.attn.c_proj.*"),
    rename("h.*.norm2.*", "h.*.ln_2.*"),
    rename("h.*.feed_forward.expand.*", "h.*.mlp.c_fc.*"),
    rename("h.*.feed_forward.contract.*", "h.*.mlp.c_proj.*"),
]
# The classifiers are stored as (d_out, d_in).
HEADS = [rename(f"{name}.*", f"{name}.*", transpose=True) for name in ("score", "classifier")]
SIZES = [
    Count("n_layer", "h.*.mlp.c_fc.weight", "layer"),
    *(Count("n_layer", tensor) for rule in RULES for tensor in rule.theirs),
    Size("vocab_size", "wte.weight", 0),
    Size("n_embd", "wte.weight", 1),
    *position_sizes("wpe.weight", "positions.weight", "n_positions"),
    Size("n_embd", "h.*.mlp.c_fc.weight", 0),
    Size("n_inner", "h.*.mlp.c_fc.weight", 1, lambda config: config.d_ff),
]
# Old checkpoints store the causal mask of each layer.
IGNORED = ["h.*.attn.bias", "h.*.attn.masked_bias"]


class GPT2PreTrainedModel(PreTrainedModel):
    """The base of GPT-2 with and without a head: their files, and their token embeddings."""

    config_class = GPT2Config
    weight_table = WeightTable(RULES + HEADS, SIZES, IGNORED, ("score.", "classifier."))
    base_prefix = "transformer"
    embedding_tensor = "wte.weight"

    def get_input_embeddings(self):
        return self.base_model.wte
