"""BERT in Hugging Face's files: the names of its weights there, and the sizes that they imply."""

from minillm.models.bert_config import BertConfig
from minillm.models.positions import position_sizes
from minillm.models.pretrained import PreTrainedModel
from minillm.models.weight_table import Count, Size, WeightTable, fuse, rename

LAYER = "encoder.layer.*"
# Parameters here -> tensors in a file, which has weights as (d_out, d_in).
RULES = [
    rename("embeddings.words.*", "embeddings.word_embeddings.*"),
    rename("embeddings.positions.*", "embeddings.position_embeddings.*"),
    rename("embeddings.token_types.*", "embeddings.token_type_embeddings.*"),
    rename("embeddings.norm.*", "embeddings.LayerNorm.*"),
    fuse("layers.*.attention.qkv.*",
         [f"{LAYER}.attention.self.{name}.*" for name in ("query", "key", "value")],
         transpose=True),
    rename("layers.*.attention.output.*", f"{LAYER}.attention.output.dense.*", transpose=True),
    rename("layers.*.norm1.*", f"{LAYER}.attention.output.LayerNorm.*"),
    rename("layers.*.feed_forward.expand.*", f"{LAYER}.intermediate.dense.*", transpose=True),
    rename("layers.*.feed_forward.contract.*", f"{LAYER}.output.dense.*", transpose=True),
    rename("layers.*.norm2.*", f"{LAYER}.output.LayerNorm.*"),
    rename("pooler.dense.*", "pooler.dense.*", transpose=True),
    rename("predictions.dense.*", "cls.predictions.transform.dense.*", transpose=True),
    rename("predictions.norm.*", "cls.predictions.transform.LayerNorm.*"),
    rename("predictions.decoder.weight", "cls.predictions.decoder.weight"),
    rename("predictions.decoder.bias", "cls.predictions.bias"),
    rename("seq_relationship.*", "cls.seq_relationship.*", transpose=True),
    rename("classifier.*", "classifier.*", transpose=True),
    rename("qa_outputs.*", "qa_outputs.*", transpose=True),
]
SIZES = [
    Count("num_hidden_layers", f"{LAYER}.intermediate.dense.weight", "layer"),
    Size("vocab_size", "embeddings.word_embeddings.weight", 0),
    Size("hidden_size", "embeddings.word_embeddings.weight", 1),
    *position_sizes("embeddings.position_embeddings.weight", "positions.weight"),
    Size("type_vocab_size", "embeddings.token_type_embeddings.weight", 0),
    Size("intermediate_size", f"{LAYER}.intermediate.dense.weight", 0),
]
# Older checkpoints store these buffers.
IGNORED = ["embeddings.position_ids", "embeddings.token_type_ids"]
HEADS = ("pooler.", "cls.", "classifier.", "qa_outputs.")
OTHER_NAMES = {
    "LayerNorm.gamma": "LayerNorm.weight",  # checkpoints converted from TensorFlow
    "LayerNorm.beta": "LayerNorm.bias",
    "cls.predictions.decoder.bias": "cls.predictions.bias",  # one bias, often stored twice
}


class BertPreTrainedModel(PreTrainedModel):
    """The base of BERT with and without heads: their files, and their token embeddings."""

    config_class = BertConfig
    weight_table = WeightTable(RULES, SIZES, IGNORED, HEADS, OTHER_NAMES)
    base_prefix = "bert"
    embedding_tensor = "embeddings.word_embeddings.weight"
    head_tensor = "cls.predictions.decoder.weight"

    def get_input_embeddings(self):
        return self.base_model.embeddings.words

    def get_output_embeddings(self):
        return self.predictions.decoder if self.has_lm_head else None

    def _tensors(self):
        tensors = super()._tensors()
        if "cls.predictions.bias" in tensors and not self.config.tie_word_embeddings:
            # As `transformers` wants it: with an untied matrix the bias goes by both names.
            tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]
        return tensors
