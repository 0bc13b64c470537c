"""csrc/decode.c, a whole decoder in one call: the same bits as its layers, or it isn't used; and
several tokens of a sequence get the bits of as many calls."""

import pickle
import sys

import numpy as np
import pytest

from minillm import (
    ApertusConfig,
    ApertusForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    kernels,
)
from minillm.generation.mixins import CausalLMMixin
from minillm.models import whole_step
from minillm.models.lora import LoraConfig, inject
from minillm.nn.trace import trace
from minillm.ops.quantized import DTYPES

SMALL = dict(hidden_size=36, intermediate_size=52, num_hidden_layers=2, num_attention_heads=6,
             num_key_value_heads=2, vocab_size=50, max_position_embeddings=40)


def gpt2(**options):
    return GPT2LMHeadModel(GPT2Config(**{**dict(vocab_size=50, n_positions=40, n_embd=36, n_layer=2,
                                                n_head=3), **options}), seed=1)


MODELS = {
    "gpt2": gpt2,
    "gpt2 gelu": lambda: gpt2(activation_function="gelu", scale_attn_by_inverse_layer_idx=True),
    "gpt2 untied": lambda: gpt2(tie_word_embeddings=False),
    "gpt2 rotary": lambda: gpt2(position_embedding="rotary"),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL), seed=1),
    "mistral": lambda: MistralForCausalLM(MistralConfig(sliding_window=30, **SMALL), seed=1),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(head_dim=8, **SMALL), seed=1),
    "apertus": lambda: ApertusForCausalLM(ApertusConfig(**SMALL), seed=1),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SMALL), seed=1),
}
SLOWER = {
    "gpt2 alibi": lambda: gpt2(position_embedding="alibi"),
    "gpt2 relu": lambda: gpt2(activation_function="relu"),
    "mistral": lambda: MistralForCausalLM(MistralConfig(sliding_window=4, **SMALL), seed=1),
    "lora": lambda: inject(gpt2(), LoraConfig()),
}


def randomized(model):
    """-> the model in eval mode, with biases and norms that aren't 0 and 1, no matrix of zeros"""
    rng = np.random.default_rng(2)
    for parameter in model.parameters():
        if parameter.ndim == 1 or not parameter.data.any():
            parameter.data += 0.1 * rng.standard_normal(parameter.shape, np.float32)
    return model.eval()


def steps(model, step, rows, masked=False, n=6):
    """-> the logits of n steps after a prompt, and the state after them"""
    rng = np.random.default_rng(3)
    prompt = rng.integers(0, 50, (rows, 4))
    mask = np.ones((rows, 4), bool)
    if masked:
        mask[0, :2] = False
    logits, state = model.prefill(prompt, mask if masked else None)
    found = [logits] + [step(rng.integers(0, 50, rows), state) for _ in range(n)]
    return np.stack(found), state


def by_layers(model):
    return lambda tokens, state: CausalLMMixin.step(model, tokens, state)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows, masked", [(1, False), (3, False), (2, True)])
def test_one_call_gives_the_bits_of_the_layers(name, rows, masked):
    model = randomized(MODELS[name]())
    wanted, state = steps(model, by_layers(model), rows, masked)
    found, other = steps(model, model.step, rows, masked)
    assert other.whole_step.decoder is not None
    assert np.array_equal(found, wanted)
    for layer, same in zip(state.cache.layers, other.cache.layers):
        assert layer.length == same.length == 10
        for one, two in zip(layer.views(), same.views()):
            assert np.array_equal(one, two)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows, masked, n", [(1, False, 5), (2, True, 4)])
def test_several_tokens_in_one_call_get_the_bits_of_single_steps(name, rows, masked, n):
    model = randomized(MODELS[name]())
    draft = np.random.default_rng(4).integers(0, 50, (rows, n))
    _, state = steps(model, model.step, rows, masked)
    wanted = np.stack([model.step(tokens, state) for tokens in draft.T], axis=1)
    _, other = steps(model, model.step, rows, masked)
    for drafted, accepted in ((draft ^ 1, 0), (draft, n)):  # the first draft is rejected
        found = model.extend(drafted, other)
        assert other.length == 10 + n and other.sequences.are_of(other.cache.layers, n)
        other.crop(10 + accepted)
    assert np.array_equal(found, wanted)
    assert np.array_equal(model.step(draft[:, 0], other), model.step(draft[:, 0], state))
    _, layers = steps(model, model.step, rows, masked)
    by_layers = CausalLMMixin.extend(model, draft, layers)
    assert np.allclose(found, by_layers, atol=1e-5)


@pytest.mark.parametrize("dtype", [None, "float32", "bfloat16", "int8"])
def test_a_draft_of_fifteen_tokens(dtype):
    model = randomized(gpt2(n_embd=48))
    model = model if dtype is None else model.quantize(dtype)
    draft = np.random.default_rng(4).integers(0, 50, (1, 16))
    _, state = steps(model, model.step, 1)
    wanted = np.stack([model.step(tokens, state) for tokens in draft.T], axis=1)
    _, other = steps(model, model.step, 1)
    assert np.array_equal(model.extend(draft, other), wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_with_stored_weights(name, dtype):
    model = randomized(MODELS[name]()).quantize(dtype)
    wanted, _ = steps(model, by_layers(model), 2)
    found, _ = steps(model, model.step, 2)
    assert np.array_equal(found, wanted)


def test_an_unpickled_model_takes_the_same_call():
    model = randomized(gpt2())
    for copied in (model, model.quantize("int4")):
        wanted, _ = steps(copied, copied.step, 2)
        again = pickle.loads(pickle.dumps(copied))
        found, state = steps(again, again.step, 2)
        assert state.whole_step.decoder is not None
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("name", SLOWER)
def test_what_c_does_not_know_runs_in_the_layers(name):
    model = randomized(SLOWER[name]())
    wanted, _ = steps(model, by_layers(model), 2)
    found, _ = steps(model, model.step, 2)
    assert np.array_equal(found, wanted)


def test_who_looks_inside_sees_the_layers_and_new_weights_count():
    model = randomized(gpt2())
    _, state = steps(model, model.step, 1)
    assert whole_step.extend_in_one_call(model, np.array([[3]]), [state]) is not None
    with trace(model) as t:
        model.step(np.array([3]), state)
    assert "transformer.h.1.attention.weights" in t
    seen = []
    with kernels.observe(lambda name, *_: seen.append(name)):
        model.step(np.array([3]), state)
    assert "layer_norm" in seen
    calls = []
    sys.setprofile(lambda frame, *_: calls.append(frame.f_code.co_name))
    try:
        model.step(np.array([3]), state)
    finally:
        sys.setprofile(None)
    assert "attend" in calls  # a debugger stops in the layers, too
    with kernels.use("numpy"):
        assert whole_step.extend_in_one_call(model, np.array([[3]]), [state]) is None
    model.lm_head.weight.data = np.zeros((50, 36), np.float32)
    assert not model.step(np.array([3]), state).any()


def test_beams_that_change_places():
    model = randomized(gpt2())
    options = dict(max_new_tokens=8, num_beams=3, eos_token_id=None, pad_token_id=0)
    ids = np.array([[1, 2, 3]])
    found = model.generate(ids, **options)
    with kernels.observe(lambda *_: None):
        assert np.array_equal(model.generate(ids, **options), found)


def test_the_same_bits_on_any_number_of_threads():
    model = randomized(gpt2(n_embd=384, vocab_size=3000)).quantize("int4")
    before, results = kernels.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            kernels.set_num_threads(threads)
            results.append(steps(model, model.step, 2, n=2)[0])
    finally:
        kernels.set_num_threads(before)
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])
