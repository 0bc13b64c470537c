"""position_embedding in every architecture: GPT-2, Llama, Mistral, Qwen2, the Transformer (BERT's
tests are in test_bert.py)."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.gradcheck import check_gradients

from minillm import GPT2Config, GPT2LMHeadModel, TransformerConfig
from minillm.models.auto import AutoModelForCausalLM, config_class, model_class
from minillm.models.positions import POSITION_EMBEDDINGS
from minillm.models.transformer import TransformerForConditionalGeneration
from minillm.nn import EncoderDecoderCache
from minillm.nn.kv_cache import KVCache

OWN = {"gpt2": "learned", "llama": "rotary", "mistral": "rotary", "qwen2": "rotary",
       "transformer": "sinusoidal"}  # the kinds of the papers
UNLIMITED = [kind for kind in POSITION_EMBEDDINGS if kind != "learned"]
OPTIONS = {
    "gpt2": dict(n_embd=8, n_layer=2, n_head=2),
    "llama": dict(hidden_size=8, intermediate_size=9, num_hidden_layers=2, num_attention_heads=2,
                  num_key_value_heads=1, tie_word_embeddings=True),
}
OPTIONS["mistral"] = {**OPTIONS["llama"], "sliding_window": 4}
OPTIONS["qwen2"] = {**OPTIONS["llama"], "use_sliding_window": True, "sliding_window": 3,
                    "max_window_layers": 1}
each_kind = pytest.mark.parametrize("kind", POSITION_EMBEDDINGS)
# GPT-2 with every kind; the others add groups, a table of their own, a window.
each_model = pytest.mark.parametrize("arch, kind", [
    *(("gpt2", kind) for kind in POSITION_EMBEDDINGS), ("llama", "sinusoidal"),
    ("llama", "learned"), ("llama", "alibi"), ("mistral", "alibi"), ("qwen2", "t5")])


def small_model(kind, arch="gpt2", **changes):
    options = dict(vocab_size=29, max_position_embeddings=12, bos_token_id=28, eos_token_id=28,
                   initializer_range=0.3, position_embedding=kind,
                   relative_attention_num_buckets=6, relative_attention_max_distance=7)
    config = config_class(arch)(**OPTIONS[arch]).replace(**{**options, **changes})
    return model_class(arch)(config, seed=1).eval()


def random_ids(rng, *shape):
    return rng.integers(0, 27, shape)


@each_model
def test_gradients_are_slopes(arch, kind):
    given_embeddings = kind == "t5" or (arch, kind) == ("llama", "sinusoidal")
    model, rng = small_model(kind, arch).astype(np.float64), np.random.default_rng(0)
    ids = random_ids(rng, 2, 7)
    inputs = dict(attention_mask=np.array([[1] * 7, [0, 0, 1, 1, 1, 1, 1]]), labels=ids,
                  position_ids=np.array([range(7), [0, 0, 0, 1, 2, 3, 4]]))
    if given_embeddings:
        inputs["inputs_embeds"] = rng.standard_normal((2, 7, 8))
        if arch == "gpt2":
            inputs["token_type_ids"] = random_ids(rng, 2, 7)
    else:
        inputs["input_ids"] = ids
    model(**inputs).loss.backward()
    parameters = dict(model.named_parameters())
    check_gradients(
        lambda: float(model(**inputs).loss),
        {name: parameter.data for name, parameter in parameters.items()},
        {name: parameter.grad.copy() for name, parameter in parameters.items()}, rng)


@each_model
@settings(max_examples=4)
@given(seed=st.integers(0, 2**32 - 1), B=st.integers(1, 3), T=st.integers(1, 30))
def test_the_kv_cache_gives_the_logits_of_the_full_forward(arch, kind, seed, B, T):
    model, rng = small_model(kind, arch), np.random.default_rng(seed)
    T = min(T, 12) if kind == "learned" else T  # beyond n_positions where the kind allows it
    ids = random_ids(rng, B, T)
    expected = model(ids).logits
    cuts = np.unique(np.append(rng.integers(0, T, 3), [0, T]))
    cache = KVCache()
    for start, end in zip(cuts, cuts[1:]):
        logits = model(ids[:, start:end], past_key_values=cache).logits
        np.testing.assert_allclose(logits, expected[:, start:end], rtol=0, atol=2e-5)


@each_model
@settings(max_examples=4)
@given(seed=st.integers(0, 2**32 - 1), T=st.integers(1, 8), pad=st.integers(1, 4))
def test_padding_and_later_tokens_change_nothing(arch, kind, seed, T, pad):
    model, rng = small_model(kind, arch), np.random.default_rng(seed)
    ids, noise = random_ids(rng, 2, T), random_ids(rng, 2, pad)
    expected = model(ids).logits
    mask = np.concatenate([np.zeros((2, pad), int), np.ones((2, T), int)], axis=1)
    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
    left = model(np.concatenate([noise, ids], axis=1), mask, positions).logits[:, pad:]
    right = model(np.concatenate([ids, noise], axis=1)).logits[:, :T]
    np.testing.assert_allclose(left, expected, rtol=0, atol=2e-5)
    np.testing.assert_allclose(right, expected, rtol=0, atol=2e-5)


@each_model
def test_generation_with_padded_prompts_and_beams(arch, kind):
    model, rng = small_model(kind, arch), np.random.default_rng(5)
    ids = 1 + random_ids(rng, 2, 5)  # without the padding's id
    mask = np.array([[0, 0, 1, 1, 1], [1] * 5])
    options = dict(max_length=11, do_sample=False, eos_token_id=None, pad_token_id=0)
    both = model.generate(ids, attention_mask=mask, **options)
    np.testing.assert_array_equal(both[1:], model.generate(ids[1:], **options))
    alone = model.generate(ids[:1, 2:], **{**options, "max_length": 9})
    np.testing.assert_array_equal(both[:1, 2:], alone)
    beams = model.generate(ids[:1], num_beams=3, **options)
    assert beams.shape == (1, 11)


@pytest.mark.parametrize("kind", UNLIMITED)
def test_generation_goes_on_beyond_n_positions(kind):
    model = small_model(kind)
    assert model.max_positions is None
    ids = random_ids(np.random.default_rng(0), 1, 4)
    sequence = model.generate(ids, max_length=40, do_sample=False, eos_token_id=None)
    assert sequence.shape == (1, 40)
    logits = model(sequence[:, :-1]).logits  # without a cache
    np.testing.assert_array_equal(logits.argmax(axis=-1)[0, 3:], sequence[0, 4:])


def test_learned_positions_end():
    with pytest.raises(ValueError, match="reaches 13 tokens, wanted at most n_positions = 12"):
        small_model("learned")(np.zeros((1, 13), int))


@pytest.mark.parametrize("kind", ["rotary", "alibi", "t5"])
def test_relative_positions_are_invariant_under_a_shift(kind):
    model, ids = small_model(kind), random_ids(np.random.default_rng(0), 2, 9)
    shifted = model(ids, position_ids=1000 + np.arange(9)[None]).logits
    np.testing.assert_allclose(shifted, model(ids).logits, rtol=0, atol=2e-4)


@pytest.mark.parametrize("kind", [kind for kind in POSITION_EMBEDDINGS if kind != "none"])
def test_the_order_of_the_earlier_tokens_matters(kind):
    model = small_model(kind, n_layer=1)
    first, second = (model(np.array([ids])).logits[0, -1] for ids in ([3, 4, 5], [4, 3, 5]))
    assert np.abs(first - second).max() > 1e-4


def test_one_layer_without_positions_sees_a_set():
    model = small_model("none", n_layer=1)
    first, second = (model(np.array([ids])).logits[0, -1] for ids in ([3, 4, 5], [4, 3, 5]))
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-5)


@each_model
def test_a_saved_model_is_the_same_model(arch, kind, tmp_path):
    model = small_model(kind, arch)
    model.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    assert ("position_embedding" in content) == (kind != OWN[arch])
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.config == model.config
    ids = random_ids(np.random.default_rng(0), 1, 9)
    np.testing.assert_array_equal(again(ids).logits, model(ids).logits)
    for dtype in ("bfloat16", "int8"):
        stored = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
        np.testing.assert_allclose(stored(ids).logits, model(ids).logits, rtol=0, atol=0.5)


@pytest.mark.parametrize("arch", ["gpt2", "llama", "qwen2"])
def test_the_files_of_the_default_have_only_fields_of_transformers(arch, tmp_path):
    small_model(OWN[arch], arch, relative_attention_num_buckets=32,
                relative_attention_max_distance=128).save_pretrained(tmp_path)
    names = json.loads((tmp_path / "config.json").read_text()).keys()
    assert not {name for name in names if name.startswith(("position_embedding", "relative"))}


@pytest.mark.parametrize("changes, message", [
    (dict(position_embedding="learnt"), "position_embedding is 'learnt', wanted one of learned, "),
    (dict(position_embedding="rotary", n_embd=10), "a head has 5 numbers, wanted an even number"),
    (dict(relative_attention_num_buckets=1), "relative_attention_num_buckets is 1, wanted"),
    (dict(relative_attention_num_buckets=32, relative_attention_max_distance=16),
     "relative_attention_max_distance is 16, wanted a number of at least 17"),
])
def test_refusals(changes, message):
    with pytest.raises(ValueError, match=message):
        small_model("learned", **changes)
    with pytest.raises(ValueError, match="somewhere: .*" + message):
        GPT2Config.from_dict({**small_model("learned").config.to_dict(), **changes}, "somewhere")


def test_files_that_contradict_their_config(tmp_path):
    small_model("learned").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="transformer.wpe.weight|wpe.weight.*no place"):
        GPT2LMHeadModel.from_pretrained(tmp_path, position_embedding="alibi")
    small_model("t5").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="n_positions is 12, but .* has no wpe.weight"):
        GPT2LMHeadModel.from_pretrained(tmp_path, position_embedding="learned")
    with pytest.raises(ValueError, match="relative_attention_num_buckets is 8, but"):
        GPT2LMHeadModel.from_pretrained(tmp_path, relative_attention_num_buckets=8)


def test_a_frozen_bias_gets_no_gradient():
    model = small_model("t5")
    ids = random_ids(np.random.default_rng(0), 1, 9)
    model.transformer.wte.freeze()
    for block in model.transformer.h:
        block.freeze()
    model.transformer.positions.freeze(False)  # shared by all blocks: they must go all the way down
    model(ids, labels=ids).loss.backward()
    alone = model.transformer.positions.weight.grad.copy()
    model.freeze(False)
    model(ids, labels=ids).loss.backward()
    np.testing.assert_allclose(model.transformer.positions.weight.grad, alone, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", UNLIMITED)
def test_transformers_would_not_mistake_them_for_rotary(kind, tmp_path):
    small_model(kind, "llama").save_pretrained(tmp_path)
    rope = json.loads((tmp_path / "config.json").read_text())["rope_parameters"]
    assert (rope["rope_type"] == "default") == (kind == "rotary")


# ---- the Transformer: positions in the self-attention of both stacks


def transformer(kind, **changes):
    return TransformerForConditionalGeneration(TransformerConfig(**{**dict(
        vocab_size=29, d_model=8, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=4, encoder_ffn_dim=9, decoder_ffn_dim=9, dropout=0.0,
        max_position_embeddings=12, init_std=0.4, position_embedding=kind,
        relative_attention_num_buckets=6, relative_attention_max_distance=7), **changes}),
        seed=1).eval()


@pytest.mark.parametrize("kind", ["learned", "sinusoidal", "rotary", "t5"])
def test_gradients_of_the_transformer(kind):
    model, rng = transformer(kind, decoder_layers=1).astype(np.float64), np.random.default_rng(0)
    source, target = 1 + random_ids(rng, 2, 6), 1 + random_ids(rng, 2, 5)  # no padding
    mask = np.array([[1] * 6, [1] * 4 + [0] * 2])

    def run():
        return model(source, mask, labels=target).loss

    run().backward()
    parameters = dict(model.named_parameters())
    check_gradients(
        lambda: float(run()), {name: parameter.data for name, parameter in parameters.items()},
        {name: parameter.grad.copy() for name, parameter in parameters.items()}, rng)


@each_kind
def test_the_transformer_sees_no_later_target_and_caches_the_earlier_ones(kind):
    model, rng = transformer(kind), np.random.default_rng(1)
    source, target = random_ids(rng, 2, 6), random_ids(rng, 2, 9)
    expected = model(source, decoder_input_ids=target).logits
    changed = target.copy()
    changed[:, 6:] = 28
    logits = model(source, decoder_input_ids=changed).logits
    np.testing.assert_allclose(logits[:, :6], expected[:, :6], rtol=0, atol=2e-5)
    cache = EncoderDecoderCache()
    for start, end in ((0, 4), (4, 5), (5, 9)):
        logits = model(source, decoder_input_ids=target[:, start:end],
                       past_key_values=cache).logits
        np.testing.assert_allclose(logits, expected[:, start:end], rtol=0, atol=2e-5)
    beams = model.generate(source, num_beams=3, max_length=9, eos_token_id=None)
    assert beams.shape == (2, 9)


@each_kind
def test_the_transformer_knows_the_order_of_the_source(kind):
    model, target = transformer(kind), [[1, 5, 6]]
    one, other = (model([ids], decoder_input_ids=target).logits
                  for ids in ([3, 4, 5, 6], [4, 5, 6, 3]))
    assert np.allclose(one, other, atol=1e-5) == (kind == "none")


@each_kind
def test_a_saved_transformer_is_the_same(kind, tmp_path):
    model, ids = transformer(kind), random_ids(np.random.default_rng(0), 1, 9)
    model.save_pretrained(tmp_path)
    again = TransformerForConditionalGeneration.from_pretrained(tmp_path)
    assert again.config == model.config
    np.testing.assert_array_equal(again(ids, decoder_input_ids=ids).logits,
                                  model(ids, decoder_input_ids=ids).logits)
    assert again.max_positions == (12 if kind in ("learned", "sinusoidal") else None)


def test_files_of_a_transformer_that_contradict_its_configuration(tmp_path):
    transformer("learned").save_pretrained(tmp_path)
    load = TransformerForConditionalGeneration.from_pretrained
    with pytest.raises(ValueError, match="max_position_embeddings is 13, but .* has encoder.embed"):
        load(tmp_path, max_position_embeddings=13)
    load(tmp_path, position_embedding="alibi")  # as sinusoids in files, the table is not read
    with pytest.raises(ValueError, match="relative_attention_num_buckets is 6, but .* has no enc"):
        load(tmp_path, position_embedding="t5")
