"""Folders with small random models of every kind that can be looked into, with tokenizers."""

from functools import cache
from pathlib import Path

import numpy as np

import minillm
from minillm.tasks.base import label_fields
from minillm.tasks.seq2seq import token_ids, train_tokenizer

FIXTURES = Path(__file__).parents[1] / "fixtures"
WORDS = ["a cat and a dog saw the owl in a garden", "the dog sat on the old mat and saw a cat"] * 3
SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8,
         "intermediate_size": 12}
LABELS = label_fields(["no", "yes", "perhaps"])
TEXT = "a cat and the dog"


@cache
def _byte_tokenizer():
    return minillm.GPT2Tokenizer.train(WORDS, 270)


@cache
def _word_tokenizer():
    return minillm.BertTokenizer.train(WORDS, 60)


@cache
def _pair_tokenizer():
    return train_tokenizer(WORDS, WORDS, 280)


def _gpt2(head="LMHeadModel", **changes):
    tokenizer = _byte_tokenizer()
    config = minillm.GPT2Config(vocab_size=len(tokenizer), n_embd=8, n_layer=2, n_head=2,
                                n_positions=48, eos_token_id=0, pad_token_id=0)
    return getattr(minillm, f"GPT2{head}")(config.replace(**changes)), tokenizer


def _llama(name="Llama", **changes):
    tokenizer = _byte_tokenizer()
    config = getattr(minillm, f"{name}Config")(**{
        **SIZES, "vocab_size": len(tokenizer), "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 48, **changes})
    return getattr(minillm, f"{name}ForCausalLM")(config), tokenizer


def _bert(head="ForMaskedLM", **changes):
    tokenizer = _word_tokenizer()
    config = minillm.BertConfig(**SIZES, vocab_size=len(tokenizer), max_position_embeddings=48)
    return getattr(minillm, f"Bert{head}")(config.replace(**changes)), tokenizer


def _transformer(**changes):
    tokenizer = _pair_tokenizer()
    config = minillm.TransformerConfig(
        vocab_size=len(tokenizer), d_model=8, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=12,
        decoder_ffn_dim=12, max_position_embeddings=48, **token_ids(tokenizer), **changes)
    return minillm.TransformerForConditionalGeneration(config), tokenizer


def _marian():
    folder = FIXTURES / "marian_tokenizer"
    tokenizer = minillm.MarianTokenizer.from_pretrained(folder)
    pad = tokenizer.pad_token_id
    config = minillm.MarianConfig(
        vocab_size=len(tokenizer), d_model=8, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=12,
        decoder_ffn_dim=12, max_position_embeddings=48, pad_token_id=pad,
        decoder_start_token_id=pad, eos_token_id=tokenizer.eos_token_id, forced_eos_token_id=None)
    return minillm.MarianMTModel(config), tokenizer


MAKERS = {
    "gpt2": _gpt2,
    "llama": _llama,
    "mistral": lambda: _llama("Mistral", sliding_window=3),
    "qwen2": lambda: _llama("Qwen2"),
    "apertus": lambda: _llama("Apertus", pad_token_id=None),
    "bert": _bert,
    "transformer": _transformer,
    "pre-norm transformer": lambda: _transformer(normalize_before=True),
    "marian": _marian,
    "gpt2 texts": lambda: _gpt2("ForSequenceClassification", **LABELS),
    "gpt2 tokens": lambda: _gpt2("ForTokenClassification", **LABELS),
    "bert texts": lambda: _bert("ForSequenceClassification", **LABELS),
    "bert tokens": lambda: _bert("ForTokenClassification", **LABELS),
    "bert spans": lambda: _bert("ForQuestionAnswering", type_vocab_size=3),
    "bert alone": lambda: _bert("Model"),
}


def shaken(model, seed=0):
    """Biases and gains that aren't 0 and 1, in eval mode."""
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.data += 0.3 * rng.standard_normal(parameter.shape, dtype=np.float32)
    return model.eval()


def write_subject(kind, folder):
    """Write the model of this kind, one of MAKERS, and its tokenizer -> the folder as a string"""
    model, tokenizer = MAKERS[kind]()
    shaken(model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
