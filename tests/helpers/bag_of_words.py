"""The smallest architecture that isn't GPT-2, and isn't in minillm: the mean of a text's word
vectors, and on top of it a classifier. It stands for what a program brings of its own."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minillm.models.config import PreTrainedConfig
from minillm.models.pretrained import PreTrainedModel
from minillm.models.weight_table import Size, WeightTable, rename
from minillm.nn import Embedding, Linear


@dataclass
class BagConfig(PreTrainedConfig):
    model_type: ClassVar[str] = "bag_of_words"

    vocab_size: int = 11
    hidden_size: int = 4
    num_hidden_layers: int = 1
    num_attention_heads: int = 1
    max_position_embeddings: int = 16
    initializer_range: float = 0.1
    bos_token_id: int | None = None
    eos_token_id: int | None = None


class BagPreTrainedModel(PreTrainedModel):
    config_class = BagConfig
    base_prefix = "bag"
    embedding_tensor = "words"
    weight_table = WeightTable(
        rules=[rename("words.weight", "words"), rename("classifier.*", "score.*", transpose=True)],
        sizes=[Size("vocab_size", "words", 0), Size("hidden_size", "words", 1)],
        heads=("score.",),
    )

    def get_input_embeddings(self):
        return self.base_model.words


class BagModel(BagPreTrainedModel):
    def __init__(self, config=None, seed=0, draw_weights=True):
        self.config = config or BagConfig()
        self.rng = np.random.default_rng(seed)
        std = self.config.initializer_range if draw_weights else 0.0
        self.words = Embedding(self.config.vocab_size, self.config.hidden_size, rng=self.rng,
                               std=std)

    def forward(self, ids):
        """ids: (B, T) -> (B, d)"""
        self.remember(np.shape(ids))
        return self.words(ids).mean(axis=1)

    def backward(self, dx):
        B, T = self.recall()
        self.words.backward(np.broadcast_to(dx[:, None] / T, (B, T, dx.shape[-1])).copy())


class BagForSequenceClassification(BagPreTrainedModel):
    def __init__(self, config=None, seed=0, draw_weights=True):
        self.bag = BagModel(config, seed, draw_weights)
        self.config = config = self.bag.config
        std = config.initializer_range if draw_weights else 0.0
        self.classifier = Linear(config.hidden_size, config.num_labels, rng=self.bag.rng, std=std)

    def forward(self, ids):
        """ids: (B, T) -> logits: (B, num_labels)"""
        return self.classifier(self.bag(ids))

    def backward(self, dlogits):
        self.bag.backward(self.classifier.backward(dlogits))
