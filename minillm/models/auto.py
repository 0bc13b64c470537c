"""From the `model_type` in a checkpoint's config.json to the classes of its architecture.

To add an architecture to minillm, add an entry to ARCHITECTURES; to add one from your own program,
call `register`. Modules are imported on first use.
"""

import importlib

from minillm.checks import shown
from minillm.hub import find_pretrained
from minillm.models.config import read_config
from minillm.models.loading_options import sort_options

# model_type -> {head: (module, class)}; "config" names the configuration, "base" the bare model.
# `register` adds the classes themselves.
ARCHITECTURES = {
    "gpt2": {
        "config": ("minillm.models.gpt2_config", "GPT2Config"),
        "base": ("minillm.models.gpt2", "GPT2Model"),
        "causal_lm": ("minillm.models.gpt2", "GPT2LMHeadModel"),
        "sequence_classification": ("minillm.models.gpt2", "GPT2ForSequenceClassification"),
        "token_classification": ("minillm.models.gpt2", "GPT2ForTokenClassification"),
    },
    "bert": {
        "config": ("minillm.models.bert_config", "BertConfig"),
        "base": ("minillm.models.bert", "BertModel"),
        "pretraining": ("minillm.models.bert", "BertForPreTraining"),
        "masked_lm": ("minillm.models.bert", "BertForMaskedLM"),
        "sequence_classification": ("minillm.models.bert", "BertForSequenceClassification"),
        "token_classification": ("minillm.models.bert", "BertForTokenClassification"),
        "question_answering": ("minillm.models.bert", "BertForQuestionAnswering"),
    },
    "transformer": {
        "config": ("minillm.models.transformer_config", "TransformerConfig"),
        "base": ("minillm.models.transformer", "TransformerModel"),
        "seq2seq_lm": ("minillm.models.transformer", "TransformerForConditionalGeneration"),
    },
    "marian": {
        "config": ("minillm.models.marian", "MarianConfig"),
        "base": ("minillm.models.marian", "MarianModel"),
        "seq2seq_lm": ("minillm.models.marian", "MarianMTModel"),
    },
    "family": {
        "config": ("minillm.models.family", "FamilyConfig"),
        "base": ("minillm.models.family", "FamilyModel"),
        "causal_lm": ("minillm.models.family", "FamilyForCausalLM"),
    },
    **{
        model_type: {
            "config": ("minillm.models.llama_config", f"{name}Config"),
            "base": ("minillm.models.llama", f"{name}Model"),
            "causal_lm": ("minillm.models.llama", f"{name}ForCausalLM"),
            "sequence_classification": ("minillm.models.llama", f"{name}ForSequenceClassification"),
            "token_classification": ("minillm.models.llama", f"{name}ForTokenClassification"),
        }
        for model_type, name in (("llama", "Llama"), ("mistral", "Mistral"), ("qwen2", "Qwen2"),
                                 ("qwen3", "Qwen3"))
    },
    "apertus": {
        "config": ("minillm.models.llama_config", "ApertusConfig"),
        "base": ("minillm.models.llama", "ApertusModel"),
        "causal_lm": ("minillm.models.llama", "ApertusForCausalLM"),
        "token_classification": ("minillm.models.llama", "ApertusForTokenClassification"),
    },
}


def register(config_class, **model_classes):
    """Add an architecture, under its config_class.model_type, for all that reads checkpoints

        register(MyConfig, base=MyModel, causal_lm=MyLMHeadModel)

    Raises ValueError for a model_type that is already known.
    """
    model_type = config_class.model_type
    if model_type in ARCHITECTURES:
        raise ValueError(f"model_type is {shown(model_type)}, which is known already")
    ARCHITECTURES[model_type] = {"config": config_class, **model_classes}


def heads_of(model_type):
    """-> the heads that `model_class` has for a known `model_type`, "base" and "config" among them"""
    return ARCHITECTURES[model_type].keys()


def with_head(*heads):
    """-> list of the model types that have one of the heads"""
    return [model_type for model_type in ARCHITECTURES if not heads_of(model_type).isdisjoint(heads)]


def config_class(model_type):
    """-> the configuration class of `model_type`, such as GPT2Config for "gpt2"

    Raises ValueError, in one line, for a type that minillm doesn't have.
    """
    return _load(model_type, "config")


def model_class(model_type, head="causal_lm"):
    """-> the model class of `model_type` with this head: "base" (none), "causal_lm" or another

    Raises ValueError, in one line, for a type or a head that minillm doesn't have.
    """
    return _load(model_type, head)


def head_of(model_type, architectures, default="causal_lm"):
    """-> the head whose class is in `architectures`, a list of names as in config.json

    Raises ValueError, in one line, for a type that minillm doesn't have.
    """
    config_class(model_type)
    for head in ARCHITECTURES[model_type]:
        if head != "config" and _load(model_type, head).__name__ in (architectures or ()):
            return head
    return default if default in ARCHITECTURES[model_type] else "base"


def _load(model_type, head):
    classes = ARCHITECTURES.get(model_type) if isinstance(model_type, str) else None
    if classes is None:
        raise ValueError(f"model_type is {shown(model_type)}, wanted one of "
                         f"{', '.join(map(repr, ARCHITECTURES))}")
    if head not in classes:
        heads = ", ".join(repr(name) for name in classes if name != "config")
        raise ValueError(f"head is {shown(head)}, wanted one of {heads} for {model_type!r}")
    if isinstance(classes[head], type):
        return classes[head]
    module, name = classes[head]
    return getattr(importlib.import_module(module), name)


class _Auto:
    """`AutoX.from_pretrained(name)` calls `from_pretrained` of the class that config.json names."""

    head = None

    @classmethod
    def from_pretrained(cls, name_or_path, **options):
        """Takes the options, and raises the errors, of `PreTrainedModel.from_pretrained`."""
        places, others = sort_options(options)
        folder = find_pretrained(name_or_path, **places)
        model_type = read_config(folder).get("model_type")
        try:
            found = _load(model_type, cls.head)
        except ValueError as error:
            raise ValueError(f"{folder / 'config.json'}: {error}") from None
        return found.from_pretrained(folder, **others)


class AutoConfig(_Auto):
    head = "config"


class AutoModel(_Auto):
    head = "base"


class AutoModelForCausalLM(_Auto):
    head = "causal_lm"


class AutoModelForMaskedLM(_Auto):
    head = "masked_lm"


class AutoModelForPreTraining(_Auto):
    head = "pretraining"


class AutoModelForSequenceClassification(_Auto):
    head = "sequence_classification"


class AutoModelForTokenClassification(_Auto):
    head = "token_classification"


class AutoModelForQuestionAnswering(_Auto):
    head = "question_answering"


class AutoModelForSeq2SeqLM(_Auto):
    head = "seq2seq_lm"
