"""Random models: those of tests/fixtures, one of each architecture of Hugging Face; new ones."""

from pathlib import Path

import numpy as np

from minillm.models.auto import AutoConfig, config_class, model_class
from minillm.training.architecture import ATTENTION_DROPOUT, DROPOUT

FIXTURES = Path(__file__).parents[1] / "fixtures"
MODELS = {  # name -> (folder, head)
    "gpt2": ("gpt2_tiny", "causal_lm"),
    "llama": ("llama_tiny/llama", "causal_lm"),
    "qwen2": ("llama_tiny/qwen2", "causal_lm"),
    "apertus": ("llama_tiny/apertus", "causal_lm"),
    "bert": ("bert_tiny", "sequence_classification"),
    "marian": ("marian_tiny", "seq2seq_lm"),
}


def base_model(name):
    folder, head = MODELS[name]
    model_type = AutoConfig.from_pretrained(FIXTURES / folder).model_type
    return model_class(model_type, head).from_pretrained(FIXTURES / folder)


NEW = [("gpt2", "causal_lm"), ("llama", "causal_lm"), ("mistral", "causal_lm"),
       ("qwen2", "causal_lm"), ("qwen3", "causal_lm"), ("apertus", "causal_lm"),
       ("family", "causal_lm"), ("bert", "masked_lm"), ("transformer", "seq2seq_lm"),
       ("marian", "seq2seq_lm")]


def new_model(model_type, head, dropout=0.0, seed=0, vocab_size=301):
    """-> a new model of two blocks in training mode, with dropout wherever it may have one"""
    cls = config_class(model_type)
    names = set(DROPOUT + ATTENTION_DROPOUT) & set(cls.field_names())
    config = cls.from_sizes(
        vocab_size=vocab_size, max_position_embeddings=128, hidden_size=32, num_hidden_layers=2,
        num_attention_heads=2, initializer_range=0.1).replace(**dict.fromkeys(names, dropout))
    return model_class(model_type, head)(config, seed=seed).train()


def labelled(model, ids):
    """ids: (B, T) -> the arguments of a call that computes a loss"""
    return {"input_ids": ids, "labels": np.where(ids % 5 == 0, -100, ids)}
