"""minillm: a transformer that you can read from end to end, in NumPy and a small C library."""

import importlib

__version__ = "0.1.0"

# The public names, and the modules that define them. A module is imported when one of its names is
# first used. That keeps `minillm --help` fast, and lets the command line report in one line a bad
# environment variable, which only surfaces when the kernels are loaded.
_HOMES = {
    "Adam": "minillm.training.optimizers",
    "AdamW": "minillm.training.optimizers",
    "ApertusConfig": "minillm.models.llama_config",
    "ApertusForCausalLM": "minillm.models.llama",
    "ApertusForTokenClassification": "minillm.models.llama",
    "ApertusModel": "minillm.models.llama",
    "BertConfig": "minillm.models.bert_config",
    "BertForMaskedLM": "minillm.models.bert",
    "BertForPreTraining": "minillm.models.bert",
    "BertForQuestionAnswering": "minillm.models.bert",
    "BertForSequenceClassification": "minillm.models.bert",
    "BertForTokenClassification": "minillm.models.bert",
    "BertModel": "minillm.models.bert",
    "BertTokenizer": "minillm.text.bert_tokenizer",
    "GPT2Config": "minillm.models.gpt2_config",
    "GPT2ForSequenceClassification": "minillm.models.gpt2",
    "GPT2ForTokenClassification": "minillm.models.gpt2",
    "GPT2LMHeadModel": "minillm.models.gpt2",
    "GPT2Model": "minillm.models.gpt2",
    "GPT2Tokenizer": "minillm.text.gpt2_tokenizer",
    "GenerationConfig": "minillm.generation",
    "LlamaConfig": "minillm.models.llama_config",
    "LlamaForCausalLM": "minillm.models.llama",
    "LlamaForSequenceClassification": "minillm.models.llama",
    "LlamaForTokenClassification": "minillm.models.llama",
    "LlamaModel": "minillm.models.llama",
    "LlamaTokenizer": "minillm.text.llama_tokenizer",
    "LogitsProcessor": "minillm.generation",
    "LogitsProcessorList": "minillm.generation",
    "LoraConfig": "minillm.models.lora",
    "MarianConfig": "minillm.models.marian",
    "MarianMTModel": "minillm.models.marian",
    "MarianModel": "minillm.models.marian",
    "MarianTokenizer": "minillm.text.marian_tokenizer",
    "MistralConfig": "minillm.models.llama_config",
    "MistralForCausalLM": "minillm.models.llama",
    "MistralForSequenceClassification": "minillm.models.llama",
    "MistralForTokenClassification": "minillm.models.llama",
    "MistralModel": "minillm.models.llama",
    "PeftModel": "minillm.models.peft_model",
    "Qwen2Config": "minillm.models.llama_config",
    "Qwen2ForCausalLM": "minillm.models.llama",
    "Qwen2ForSequenceClassification": "minillm.models.llama",
    "Qwen2ForTokenClassification": "minillm.models.llama",
    "Qwen2Model": "minillm.models.llama",
    "Qwen3Config": "minillm.models.llama_config",
    "Qwen3ForCausalLM": "minillm.models.llama",
    "Qwen3ForSequenceClassification": "minillm.models.llama",
    "Qwen3ForTokenClassification": "minillm.models.llama",
    "Qwen3Model": "minillm.models.llama",
    "SGD": "minillm.training.optimizers",
    "SentenceEncoder": "minillm.models.sentence_encoder",
    "StoppingCriteria": "minillm.generation",
    "StoppingCriteriaList": "minillm.generation",
    "TextIteratorStreamer": "minillm.generation",
    "TextStreamer": "minillm.generation",
    "TransformerConfig": "minillm.models.transformer_config",
    "TransformerForConditionalGeneration": "minillm.models.transformer",
    "TransformerModel": "minillm.models.transformer",
    "get_peft_model": "minillm.models.peft_model",
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    """Python calls this for a name that the module doesn't have yet (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'minillm' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__():
    return sorted([*globals(), *__all__])
