"""Continuous batching: every text is the one that its request would get alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.generation import generate
from minillm.generation.continuous_batching import ContinuousBatch, Request
from minillm.kernels import use
from minillm.models.family import FamilyConfig, FamilyForCausalLM
from minillm.models.gpt2 import GPT2LMHeadModel
from minillm.models.gpt2_config import GPT2Config
from minillm.models.llama import LlamaForCausalLM, MistralForCausalLM, Qwen3ForCausalLM
from minillm.models.llama_config import LlamaConfig, MistralConfig, Qwen3Config

V = 60
CHUNKS = (8, 20)  # short ones, and those that are read as products of large matrices
SMALL = dict(vocab_size=V, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
MODELS = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(V, 64, 36, 2, 3)),
    "gpt2, alibi": lambda: GPT2LMHeadModel(GPT2Config(V, 64, 32, 2, 4, position_embedding="alibi")),
    "gpt2, t5": lambda: GPT2LMHeadModel(GPT2Config(V, 64, 32, 2, 4, position_embedding="t5")),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL)),
    "llama, dynamic": lambda: LlamaForCausalLM(LlamaConfig(
        **{**SMALL, "max_position_embeddings": 12}, rope_parameters=DYNAMIC)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SMALL, sliding_window=5)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SMALL)),
    "2017": lambda: FamilyForCausalLM(FamilyConfig(**SMALL)),
}
KINDS = [(name, "float32") for name in MODELS] + [("llama", "bfloat16"), ("gpt2", "int8")]


def make(name, dtype):
    """A model with weights so large that its texts differ"""
    model = MODELS[name]().eval()
    rng = np.random.default_rng(3)
    for parameter in model.parameters():
        parameter.data += rng.normal(size=parameter.shape, scale=0.2).astype(np.float32)
    return model.quantize(dtype) if dtype else model


@pytest.fixture(scope="module")
def models():
    return {kind: make(*kind) for kind in KINDS}


REQUESTS = st.lists(st.fixed_dictionaries({
    "arrives": st.integers(0, 6), "length": st.integers(1, 20), "seed": st.integers(0, 9),
    "begin": st.integers(0, 2), "max_new_tokens": st.integers(1, 12),
    "options": st.sampled_from([
        {}, {"do_sample": True, "temperature": 1.5}, {"do_sample": True, "top_p": 0.8, "top_k": 9},
        {"repetition_penalty": 1.3}, {"eos_token_id": list(range(12))}]),
    "leaves": st.none() | st.integers(1, 6),
}), min_size=1, max_size=7)


def request_of(model, drawn, seen):
    ids = np.random.default_rng(drawn["begin"]).integers(V, size=20)[: drawn["length"]]
    options = {"eos_token_id": None, "max_new_tokens": drawn["max_new_tokens"],
               "seed": drawn["seed"], **drawn["options"]}
    request = Request(model, ids, on_token=lambda token, logits: seen.append(logits.copy()),
                      **options)
    return request, ids, options


def run_alone(model, drawn, chunk):
    seen = []
    request, _, _ = request_of(model, drawn, seen)
    batch = ContinuousBatch(model, n_slots=1, chunk=chunk)
    batch.submit(request)
    while batch.step():
        pass
    return request, seen


@settings(deadline=None)
@given(st.sampled_from(KINDS), REQUESTS, st.integers(1, 5), st.sampled_from(CHUNKS))
def test_every_text_is_what_it_would_be_alone(models, kind, drawn, n_slots, chunk):
    model = models[kind]
    batch = ContinuousBatch(model, n_slots, chunk=chunk)
    made = [(each, seen := [], *request_of(model, each, seen)) for each in drawn]
    step = 0
    while True:
        for each, _, request, _, _ in made:
            if each["arrives"] == step:
                batch.submit(request)
            if each["leaves"] is not None and each["arrives"] + each["leaves"] == step:
                batch.cancel(request)
        if not batch.step() and step > 12:
            break
        step += 1
    for each, seen, request, ids, options in made:
        alone, alone_seen = run_alone(model, each, chunk)
        assert request.error is None
        if request.finish_reason == "cancelled":
            assert np.array_equal(request.ids, alone.ids[: len(request.ids)])
        else:
            assert request.finish_reason == alone.finish_reason
            assert np.array_equal(request.ids, alone.ids)
            if len(ids) <= chunk:
                assert np.array_equal(request.ids, generate(model, ids[None], **options)[0])
        for ours, theirs in zip(seen, alone_seen):
            assert np.array_equal(ours, theirs)
    assert batch.slots == [None] * n_slots and not batch.waiting


def test_the_other_kernels_and_plain_weights_agree_too():
    model = make("llama", None)
    for kernels in ("numpy", "c"):
        with use(kernels):
            batch = ContinuousBatch(model, 3)
            prompts = [np.arange(n) for n in (1, 5, 30, 3)]
            requests = [Request(model, ids, max_new_tokens=6, eos_token_id=None) for ids in prompts]
            for request in requests:
                batch.submit(request)
            while batch.step():
                pass
            for request, ids in zip(requests, prompts):
                want = generate(model, ids[None], max_new_tokens=6, eos_token_id=None)[0]
                assert np.array_equal(request.ids, want)


def test_a_long_prompt_doesnt_stall_the_others(models):
    model = models["llama", "float32"]
    batch = ContinuousBatch(model, 2, chunk=4)
    short = Request(model, [1, 2], max_new_tokens=30, eos_token_id=None)
    long = Request(model, np.arange(40), max_new_tokens=3, eos_token_id=None)
    batch.submit(short)
    batch.step()
    batch.submit(long)
    for n in range(1, 10):
        batch.step()
        assert len(short.new_ids) == 2 + n and long.state.length == 4 * n and long.is_reading
    while batch.step():
        pass
    assert len(long.new_ids) == 3


def test_equal_prompts_are_read_once(models, monkeypatch):
    model = models["gpt2", "float32"]
    read, extend_each = [], model.extend_each
    monkeypatch.setattr(model, "extend_each", lambda tokens, states: (
        read.append([len(each) for each in tokens]), extend_each(tokens, states))[1])
    batch = ContinuousBatch(model, 5, chunk=8)
    prompt = np.arange(20)
    requests = [Request(model, prompt, max_new_tokens=4, do_sample=True, seed=i) for i in range(3)]
    requests.append(Request(model, np.append(prompt[:17], 3), max_new_tokens=4, do_sample=True))
    for request in requests:
        batch.submit(request)
    while batch.step():
        pass
    assert read == [[8], [8], [4], [2]]
    assert not any(request.error for request in requests)


def test_a_prompt_can_be_scored_without_a_new_token(models):
    model, rows = models["gpt2", "float32"], []
    request = Request(model, np.arange(20), only_reads=True,
                      on_prompt=lambda first, logits: rows.extend(logits))
    batch = ContinuousBatch(model, 1, chunk=8)
    batch.submit(request)
    while batch.step():
        pass
    assert len(request.new_ids) == 0 and request.finish_reason == "length"
    assert np.allclose(rows, model(np.arange(20)[None]).logits[0], atol=1e-4)


def test_an_error_ends_only_its_request(models):
    model, ended = models["gpt2", "float32"], []
    batch = ContinuousBatch(model, 4)

    def fails(token, logits):
        raise RuntimeError("no place to put it")

    bad = Request(model, [1, 2], on_token=fails, on_end=lambda: ended.append(bad))
    nothing_left = Request(model, [3], suppress_tokens=list(range(V)))
    good = Request(model, [1, 2, 3], max_new_tokens=5, on_end=lambda: ended.append(good))
    for request in (bad, nothing_left, good):
        batch.submit(request)
    while batch.step():
        pass
    assert bad.finish_reason == nothing_left.finish_reason == "error"
    assert "no place" in str(bad.error) and "every token is excluded" in str(nothing_left.error)
    assert good.finish_reason == "length" and ended == [bad, good]


def test_refuses_what_isnt_one_text_of_a_decoder(models):
    model = models["gpt2", "float32"]
    for ids, options, message in [
            ([[1], [2]], {}, "one prompt"), ([1], {"num_beams": 2}, "beams"), ([], {}, "empty"),
            ([V], {}, "input_ids"), (np.arange(60), {"max_new_tokens": 0}, "max_new_tokens")]:
        with pytest.raises(ValueError, match=message):
            request = Request(model, ids, **options)
            batch = ContinuousBatch(model)
            batch.submit(request)
            batch.step()
            raise request.error
    with pytest.raises(ValueError, match="n_slots is 0"):
        ContinuousBatch(model, 0)
