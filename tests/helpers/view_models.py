"""Small random models with the tokenizers of tests/fixtures, one of every kind of both."""

import json
from pathlib import Path

import pytest
from tiny_models import FIXTURES, base_model

from minillm.insight.subject import Subject
from minillm.models.bert import BertForMaskedLM
from minillm.models.bert_config import BertConfig
from minillm.text.auto import AutoTokenizer
from minillm.text.llama_tokenizer import LlamaTokenizer


def subjects_of_every_kind():
    """-> {"Llama": decoder, character BPE; "BERT": masked, WordPiece; "Marian": encoder-decoder,
    SentencePiece}"""
    llama = base_model("qwen2")
    tokenizer = llama_tokenizer()
    llama.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return {"Llama": Subject(llama, tokenizer, "llama"), "BERT": masked_subject(),
            "Marian": translating_subject()}


def llama_tokenizer():
    content = json.loads(Path(FIXTURES / "llama_tokenizer.json").read_text(encoding="utf-8"))
    model = content["configurations"]["Llama 2"]["model"]
    bpe = {name: model[name] for name in ("unk_token", "fuse_unk", "byte_fallback")}
    return LlamaTokenizer(content["vocab"], [tuple(merge) for merge in content["merges"]], bpe=bpe)


def masked_subject():
    tokenizer = AutoTokenizer.from_pretrained(FIXTURES / "bert_tokenizer" / "uncased")
    model = BertForMaskedLM(BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32), seed=1)
    model.eval()
    return Subject(model, tokenizer, "bert")


def translating_subject():
    pytest.importorskip("sentencepiece", reason="needs the optional library sentencepiece")
    tokenizer = AutoTokenizer.from_pretrained(FIXTURES / "marian_tokenizer")
    model = base_model("marian")
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    options = model.generation_config
    options.eos_token_id = options.forced_eos_token_id = tokenizer.eos_token_id
    options.pad_token_id = options.decoder_start_token_id = tokenizer.pad_token_id
    options.bad_words_ids = [[tokenizer.pad_token_id]]
    for name in ("pad_token_id", "decoder_start_token_id", "eos_token_id"):
        setattr(model.config, name, getattr(options, name))
    return Subject(model, tokenizer, "marian")


