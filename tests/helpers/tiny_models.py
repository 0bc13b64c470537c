"""The random models of tests/fixtures, one of each architecture that Hugging Face has."""

from pathlib import Path

from minillm.models.auto import AutoConfig, model_class

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
