"""The decoders of 2017 to 2023 as one: equal to GPT-2 and Llama, gradients, caches, files."""

import numpy as np
import pytest
from tests.helpers.gradcheck import check_gradients

from minillm import (
    ApertusConfig,
    ApertusForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)
from minillm.models.auto import AutoModelForCausalLM
from minillm.models.family import YEARS, FamilyConfig, FamilyForCausalLM
from minillm.nn import KVCache

SIZES = dict(vocab_size=29, hidden_size=8, intermediate_size=13, num_hidden_layers=2,
             num_attention_heads=4, max_position_embeddings=12, initializer_range=0.3)
UNUSUAL = dict(norm="rms_norm", norm_placement="post", feed_forward="gated",
               position_embedding="t5", num_key_value_heads=2, tie_word_embeddings=False)
BARE = dict(norm="none", norm_placement="pre", bias=False, position_embedding="learned")


def fields_of(year):
    """-> the fields of a year's decoder: those of all years up to it"""
    fields = {}
    for other, changes in YEARS.items():
        fields.update(changes if other <= year else {})
    return fields


def small_model(changes):
    model = FamilyForCausalLM(FamilyConfig(**{**SIZES, **changes}), seed=1).eval()
    rng = np.random.default_rng(2)
    for parameter in model.parameters():
        parameter.data += 0.1 * rng.standard_normal(parameter.shape).astype(np.float32)
    return model


def random_ids(seed, *shape):
    return np.random.default_rng(seed).integers(0, 29, shape)


each_model = pytest.mark.parametrize("changes", [*map(fields_of, YEARS), UNUSUAL, BARE],
                                     ids=[*map(str, YEARS), "unusual", "bare"])


def same(family, other, rename):
    """Both, with the same weights, must have the same logits, loss and gradients."""
    ours = {rename(name): parameter for name, parameter in family.named_parameters()}
    theirs = dict(other.named_parameters())
    assert ours.keys() == theirs.keys()
    for name, parameter in theirs.items():
        parameter.data = ours[name].data.copy()
    ids = random_ids(0, 2, 9)
    outputs = [model(ids, labels=ids) for model in (family, other)]
    np.testing.assert_allclose(outputs[0].logits, outputs[1].logits, rtol=0, atol=1e-5)
    for output in outputs:
        output.loss.backward()
    for name, parameter in theirs.items():
        np.testing.assert_allclose(ours[name].grad, parameter.grad, rtol=1e-4, atol=1e-5)


def test_2019_is_gpt2():
    theirs = GPT2LMHeadModel(GPT2Config(
        vocab_size=29, n_embd=8, n_inner=13, n_layer=2, n_head=4, n_positions=12, bos_token_id=1,
        eos_token_id=1)).eval()
    names = {"model.embed_tokens": "transformer.wte", "model.embed_positions": "transformer.wpe",
             "model.layers": "transformer.h", "model.norm": "transformer.ln_f"}

    def rename(name):
        for ours, others in names.items():
            name = name.replace(ours, others)
        return name

    same(small_model(fields_of(2019)), theirs, rename)


def test_2023_is_llama():
    theirs = LlamaForCausalLM(LlamaConfig(
        **SIZES, num_key_value_heads=2, tie_word_embeddings=True, rms_norm_eps=1e-5)).eval()
    same(small_model({**fields_of(2023), "num_key_value_heads": 2}), theirs, lambda name: name)


def test_2025_is_apertus():
    theirs = ApertusForCausalLM(ApertusConfig(
        **SIZES, tie_word_embeddings=True, rms_norm_eps=1e-5, pad_token_id=None)).eval()
    same(small_model(fields_of(2025)), theirs, lambda name: name)


def test_blocks_that_start_at_zero_return_their_input():
    model = FamilyForCausalLM(FamilyConfig(**SIZES, **fields_of(2025)), seed=1).eval()
    states = model(random_ids(0, 1, 7), output_hidden_states=True).hidden_states
    np.testing.assert_array_equal(states[0], states[1])


@each_model
def test_gradients_are_slopes(changes):
    model, ids = small_model({**changes, "num_hidden_layers": 1}).astype(np.float64), random_ids(
        0, 2, 6)
    model(ids, labels=ids).loss.backward()
    parameters = dict(model.named_parameters())
    check_gradients(
        lambda: float(model(ids, labels=ids).loss),
        {name: parameter.data for name, parameter in parameters.items()},
        {name: parameter.grad.copy() for name, parameter in parameters.items()},
        np.random.default_rng(1))


@each_model
def test_the_cache_gives_the_logits_of_the_full_forward(changes):
    model, ids, cache = small_model(changes), random_ids(0, 2, 9), KVCache()
    expected = model(ids).logits
    for start, end in ((0, 4), (4, 5), (5, 9)):
        logits = model(ids[:, start:end], past_key_values=cache).logits
        np.testing.assert_allclose(logits, expected[:, start:end], rtol=0, atol=2e-5)


@each_model
def test_a_saved_model_is_the_same_model(changes, tmp_path):
    model, ids = small_model(changes), random_ids(0, 1, 9)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.config == model.config
    np.testing.assert_array_equal(again(ids).logits, model(ids).logits)


@pytest.mark.parametrize("changes, message", [
    (dict(norm="batch_norm"), "norm is 'batch_norm', wanted layer_norm or rms_norm"),
    (dict(norm_placement="none"), "norm_placement is 'none', wanted pre or post"),
    (dict(feed_forward="relu"), "feed_forward is 'relu', wanted plain or gated"),
    (dict(num_key_value_heads=3), "num_key_value_heads is 3, wanted a divisor of"),
    (dict(intermediate_size=0), "intermediate_size is 0, wanted"),
])
def test_refusals(changes, message):
    with pytest.raises(ValueError, match=message):
        small_model(changes)
