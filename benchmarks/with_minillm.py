"""The work of the benchmark in minillm."""

import json
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.cases import GPT2_124M, bytes_per_token, normal, stored_shape, token_batch
from minillm import AdamW, GPT2Config, GPT2LMHeadModel, kernels, nn
from minillm.nn.recompute import recompute_blocks
from minillm.ops import linear_cross_entropy
from minillm.ops.attention import (
    AttentionBias,
    streaming_attention,
    streaming_attention_backward,
)
from minillm.ops.cross_entropy import cross_entropy, cross_entropy_backward
from minillm.ops.matmul import matmul as multiply
from minillm.ops.sum_of_squares import sum_of_squares
from minillm.training.clipping import clip_factor, grad_norm

WINDOW = 64  # of the sliding window in `biased_attention`

# ---- kernels


def matmul(M, N, K, transpose_A=False, transpose_B=False):
    A = normal(*stored_shape(M, K, transpose_A))
    B = normal(*stored_shape(K, N, transpose_B))
    return lambda: multiply(A, B, transpose_A=transpose_A, transpose_B=transpose_B)


def matrix_vector(N, K, only_read=False):
    W, x = normal(N, K), normal(1, K)
    if only_read:
        return lambda: sum_of_squares(W)
    return lambda: multiply(x, W, transpose_B=True)


def matmul_after(n, after_numpy):
    """A matmul; with `after_numpy`, right after one of NumPy's, whose idle threads still spin."""
    A = normal(n, n)
    before = partial(np.matmul, A, A) if after_numpy else lambda: None
    return before, lambda: multiply(A, A)


def matmul_rung(rung, n):
    from minillm.kernels.ladder import MATMUL_RUNGS

    function = dict(MATMUL_RUNGS)[rung]
    A, B = normal(n, n), normal(n, n, seed=1)
    return lambda: function(A, B)


def matmul_rungs():
    from minillm.kernels.ladder import MATMUL_RUNGS

    return [name for name, _ in MATMUL_RUNGS]


def attention(B, H, T, D, backward=False):
    """Causal attention of views into a (B, T, 3, H, D) buffer, as the models call it."""
    Q, K, V = _heads(normal(B, T, 3, H, D))
    if not backward:
        return lambda: streaming_attention(Q, K, V, bias=AttentionBias(causal=True))
    dout = _heads(normal(B, T, 1, H, D, seed=1))[0]
    grads = _heads(np.empty((B, T, 3, H, D), np.float32))

    def run():
        _, cache = streaming_attention(Q, K, V, bias=AttentionBias(causal=True))
        streaming_attention_backward(dout, cache, grads=grads)

    return run


def biased_attention(B, H, T, D, backward, kind):
    """Causal attention with the distance_bias of one kind of positions; "none": without."""
    Q, K, V = _heads(normal(B, T, 3, H, D))
    positions = {
        "none": nn.positions.AttentionPositions,
        "alibi": lambda: nn.Alibi(H),
        "t5": lambda: nn.RelativeBias(H, bidirectional=False, rng=np.random.default_rng(0)),
        "window": lambda: nn.SlidingWindow(H, WINDOW),
    }[kind]()
    with nn.no_grad():
        bias = AttentionBias(causal=True, distance_bias=positions.distance_bias(T, T))
    if not backward:
        return lambda: streaming_attention(Q, K, V, bias=bias)
    _, cache = streaming_attention(Q, K, V, bias=bias)
    dout = _heads(normal(B, T, 1, H, D, seed=1))[0]
    grads = _heads(np.empty((B, T, 3, H, D), np.float32))
    return lambda: streaming_attention_backward(dout, cache, grads=grads,
                                                with_dbias=positions.learns_bias())


def attention_rung(rung, B, H, T, D):
    from minillm.kernels.ladder import ATTENTION_RUNGS

    function = dict(ATTENTION_RUNGS)[rung]
    Q, K, V = normal(B, H, T, D), normal(B, H, T, D, seed=1), normal(B, H, T, D, seed=2)
    return lambda: function(Q, K, V)


def attention_rungs():
    from minillm.kernels.ladder import ATTENTION_RUNGS

    return [name for name, _ in ATTENTION_RUNGS]


def _heads(buffer):
    return tuple(buffer[:, :, i].transpose(0, 2, 1, 3) for i in range(buffer.shape[2]))


# ---- the limits of the machine


def fma_peak(instruction_set=None, seconds=0.3):
    """-> GFLOP/s on the threads of this process"""
    from minillm.kernels import machine

    return machine.fma_peak(seconds=seconds, instruction_set=instruction_set)


def read_bandwidth(megabytes=256, seconds=0.5):
    """-> GB/s on the threads of this process"""
    from minillm.kernels import machine

    return machine.read_bandwidth(megabytes=megabytes, seconds=seconds)


def info():
    return kernels.info()


# ---- layers: forward and backward


def layer(kind, B, T, d, V=None, n_head=None):
    rng = np.random.default_rng(0)
    x, dy = normal(B, T, d), normal(B, T, d, seed=1)
    if kind == "cross_entropy":
        logits, targets = normal(B, T, V), token_batch(B, T, V)[1]
        return partial(_cross_entropy, logits, targets)
    if kind == "embedding":
        module = nn.Embedding(V, d, rng=rng)
        x = token_batch(B, T, V)[0]
    elif kind == "linear":
        module = nn.Linear(d, 4 * d, rng=rng)
        dy = normal(B, T, 4 * d, seed=1)
    elif kind == "gelu":
        module = nn.Activation("gelu_tanh")
    elif kind == "layer_norm":
        module = nn.LayerNorm(d)
    elif kind == "attention":
        module = nn.SelfAttention(d, n_head, causal=True, rng=rng)
    else:
        module = nn.DecoderBlock(d, n_head, 4 * d, cross_attention=False, rng=rng)

    def run():
        module.zero_grad()
        module(x)
        module.backward(dy)

    return run


def _cross_entropy(logits, targets):
    loss, cache = cross_entropy(logits, targets)
    return cross_entropy_backward(1.0, cache)


def adamw(size):
    parameter = nn.Parameter(normal(size))
    parameter.grad = normal(size, seed=1)
    return AdamW([parameter], lr=1e-4).step


# ---- models


def make_model(n_layer, n_embd, n_head, V, n_positions, **_):
    config = GPT2Config(vocab_size=V, n_positions=n_positions, n_embd=n_embd, n_layer=n_layer,
                        n_head=n_head, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    return GPT2LMHeadModel(config, seed=0)


def train_step(B, T, V, implementation=None, in_chunks=None, recompute=False, **shape):
    """zero_grad, forward, backward, clip, AdamW: everything except fetching the next batch.

    in_chunks: whether the loss is computed without the matrix of logits; None: if it is large
    recompute: whether the blocks keep their inputs alone
    """
    if implementation:
        kernels.use(implementation)
    if in_chunks is not None:
        linear_cross_entropy.LARGE = 0 if in_chunks else 1 << 62
    model = make_model(V=V, n_positions=T, **shape)
    recompute_blocks(model, recompute)
    parameters = model.parameters()
    optimizer = AdamW(parameters, lr=1e-4, weight_decay=0.1)
    inputs, targets = token_batch(B, T, V)

    def step():
        optimizer.zero_grad()
        loss = model(inputs, shift_labels=targets, return_logits=False).loss
        loss.backward()
        optimizer.step(grad_scale=clip_factor(grad_norm(parameters), 1.0))
        return loss.item()

    return step


def generate(n_tokens, prompt, implementation=None, dtype="float32", only_read=False,
             repeats=False, **options):
    """`n_tokens` new tokens after a prompt of `prompt` tokens, GPT-2 124M with random weights.

    dtype: how the weights are stored for it, as in `minillm generate --dtype`
    only_read: nothing but reading as many bytes as the weights for `n_tokens` tokens have, as fast as
    is known here: one matrix of that size times a vector, for each token
    repeats: without position embeddings, so that the model repeats the last token for ever
    """
    if only_read:
        d = GPT2_124M["n_embd"]
        read = matrix_vector(bytes_per_token() // 4 // d, d)
        return lambda: [read() for _ in range(n_tokens)]
    if implementation:
        kernels.use(implementation)
    model = make_model(**GPT2_124M)
    if repeats:
        model.transformer.wpe.weight.data[...] = 0
    model.quantize(dtype)
    ids = token_batch(1, prompt, GPT2_124M["V"])[0]
    return lambda: model.generate(ids, max_new_tokens=n_tokens, eos_token_id=None,
                                  pad_token_id=0, seed=0, **options)


def continue_text(text, n_tokens, **options):
    """`n_tokens` more tokens of a text, by the packaged model, greedily"""
    from minillm import GPT2Tokenizer

    model = GPT2LMHeadModel.from_pretrained("pydoc-tiny")
    ids = GPT2Tokenizer.from_pretrained("pydoc-tiny").encode(text, return_tensors="np")
    return lambda: model.generate(ids, max_new_tokens=n_tokens, eos_token_id=None, pad_token_id=0,
                                  do_sample=False, **options)


def prefill(T, dtype="float32"):
    from minillm.nn.module import no_grad

    model = make_model(**GPT2_124M).eval()
    if dtype != "float32":
        model.quantize(dtype)
    ids = token_batch(1, T, GPT2_124M["V"])[0]

    def run():
        with no_grad():
            model(ids, use_cache=True, logits_to_keep=1)

    return run


def perplexity(dtype):
    """The packaged model, its weights stored as `dtype`, on the test part of the text that it was
    trained on -> dict of what is measured"""
    from minillm import GPT2Tokenizer
    from minillm.cli.pretrained import RECIPES
    from minillm.text.cleaning import clean_documents
    from minillm.text.corpus import load_corpus, split_documents
    from minillm.text.dataset import TokenDataset, write_documents
    from minillm.training.evaluate import evaluate

    recipe = RECIPES["pydoc-tiny"].settings
    model = GPT2LMHeadModel.from_pretrained("pydoc-tiny").quantize(dtype)
    splits = split_documents(clean_documents(load_corpus()), recipe.valid, recipe.test, recipe.seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "test.bin")
        write_documents(path, splits.test, GPT2Tokenizer.from_pretrained("pydoc-tiny"))
        found = evaluate(model, TokenDataset(path), block_size=recipe.block_size)
    n_bytes = sum(parameter.data.nbytes for parameter in model.parameters())
    return {"perplexity": found.perplexity, "bits per byte": found.bits_per_byte,
            "MB": n_bytes / 1e6}


# ---- tokenizer


def encode(folder, file, cold=False):
    from minillm import GPT2Tokenizer

    texts = json.loads(Path(file).read_text(encoding="utf-8"))
    state = {}

    def load():
        state["tokenizer"] = GPT2Tokenizer.from_pretrained(folder)

    def run():
        return [state["tokenizer"].encode(text) for text in texts]

    load()
    return (load, run) if cold else run


def train_tokenizer(vocab_size, megabytes):
    """Write a tokenizer and texts for `encode` -> {"folder", "file", "bytes", "tokens"}"""
    from minillm import GPT2Tokenizer
    from minillm.text.corpus import load_corpus

    texts = []
    for document in load_corpus():
        if sum(map(len, texts)) < megabytes * 1e6:
            texts.append(document.text)
    tokenizer = GPT2Tokenizer.train(texts, vocab_size)
    folder = tempfile.mkdtemp(prefix="minillm-bench-")
    tokenizer.save_pretrained(folder)
    file = Path(folder, "texts.json")
    file.write_text(json.dumps(texts), encoding="utf-8")
    return {"folder": folder, "file": str(file), "bytes": sum(len(t.encode()) for t in texts),
            "tokens": sum(len(tokenizer.encode(text)) for text in texts)}


# ---- the time of a step by op


def step_profile(steps, **shape):
    from benchmarks.step_profile import profile

    return profile(train_step(**shape), steps)
