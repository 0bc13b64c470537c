"""The work of the benchmark in Hugging Face's transformers (on PyTorch) and tokenizers."""

import json
from pathlib import Path

import tokenizers
import torch
import transformers

from benchmarks.cases import GPT2_124M, token_batch

transformers.logging.set_verbosity_error()


def versions():
    return {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}


def make_model():
    config = transformers.GPT2Config(
        vocab_size=GPT2_124M["V"], n_positions=GPT2_124M["n_positions"],
        n_embd=GPT2_124M["n_embd"], n_layer=GPT2_124M["n_layer"], n_head=GPT2_124M["n_head"],
    )
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(config).eval()


def generate(n_tokens, prompt, **options):
    model = make_model()
    ids = torch.from_numpy(token_batch(1, prompt, GPT2_124M["V"])[0])
    mask = torch.ones_like(ids)
    options.setdefault("do_sample", "top_k" in options)
    model.generation_config.eos_token_id = None  # otherwise a random token may end it early

    def run():
        return model.generate(ids, attention_mask=mask, max_new_tokens=n_tokens, pad_token_id=0,
                              **options)

    return run


def prefill(T):
    model = make_model()
    ids = torch.from_numpy(token_batch(1, T, GPT2_124M["V"])[0])

    @torch.inference_mode()
    def run():
        model(ids, use_cache=True, logits_to_keep=1)

    return run


def encode(folder, file, cold=False):
    """`encode_batch_fast` computes no offsets; neither does minillm."""
    texts = json.loads(Path(file).read_text(encoding="utf-8"))
    state = {}

    def load():
        state["tokenizer"] = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")

    def run():
        return [encoding.ids for encoding in state["tokenizer"].encode_batch_fast(texts)]

    load()
    return (load, run) if cold else run
