"""Llama and its relatives: equality with transformers, gradients, caches, configurations."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.gradcheck import check_gradients

import minillm
from minillm import LlamaConfig, LlamaForCausalLM, LlamaModel, MistralConfig, Qwen2Config
from minillm.models.auto import AutoModelForCausalLM
from minillm.nn import KVCache, no_grad

TINY = Path(__file__).parents[1] / "fixtures" / "llama_tiny"
MODELS = ("llama", "llama_biased", "mistral", "qwen2", "qwen3", "apertus")
SMALL = dict(vocab_size=29, hidden_size=8, intermediate_size=11, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=12,
             initializer_range=0.4)
# Different families, with everything that a configuration can change.
FAMILIES = {
    "Llama": dict(),
    "Llama with biases and a tied head": dict(
        attention_bias=True, mlp_bias=True, tie_word_embeddings=True, head_dim=6,
        hidden_act="gelu_new"),
    "Mistral": dict(sliding_window=3, num_key_value_heads=1),
    "Qwen2": dict(use_sliding_window=True, sliding_window=2, max_window_layers=1, pad_token_id=5),
    "Qwen3": dict(head_dim=6, tie_word_embeddings=True),
    "Apertus": dict(hidden_act="silu", pad_token_id=None),
    "Llama yarn": dict(rope_parameters=dict(rope_type="yarn", factor=4.0, rope_theta=20.0)),
}


def small_model(family="Llama", **changes):
    name = family.split()[0]
    config = getattr(minillm, f"{name}Config")(**{**SMALL, **FAMILIES[family], **changes})
    model = getattr(minillm, f"{name}ForCausalLM")(config, seed=1).eval()
    rng = np.random.default_rng(2)
    for parameter in model.parameters():
        parameter.data += 0.1 * rng.standard_normal(parameter.shape).astype(np.float32)
    return model


def random_ids(rng, B, T, vocab_size=29):
    return rng.integers(0, vocab_size, (B, T))


# ---- agreement with transformers, frozen and live


@pytest.mark.parametrize("name", MODELS)
def test_logits_loss_and_gradients_of_transformers(name):
    frozen = np.load(TINY / name / "expected.npz")
    model = AutoModelForCausalLM.from_pretrained(TINY / name)
    outputs = model(frozen["ids"], attention_mask=frozen["mask"], labels=frozen["labels"])
    real = frozen["mask"] == 1
    np.testing.assert_allclose(outputs.logits[real], frozen["logits"][real], rtol=0, atol=1e-4)
    assert outputs.loss.item() == pytest.approx(float(frozen["loss"]), rel=1e-5)
    outputs.loss.backward()
    gradients = gradients_by_file_name(model)
    assert {f"grad.{tensor}" for tensor in gradients} == {
        tensor for tensor in frozen.files if tensor.startswith("grad.")}
    for tensor, gradient in gradients.items():
        assert_close_gradient(tensor, gradient, frozen[f"grad.{tensor}"])


def gradients_by_file_name(model):
    """-> {tensor of a file: gradient}"""
    found = {}
    for inside in ("model.", ""):
        ours = {name.removeprefix("model."): parameter.grad
                for name, parameter in model.named_parameters()
                if name.startswith("model.") == bool(inside)}
        found.update({inside + tensor: gradient for tensor, gradient
                      in model.weight_table.save(ours, model.config).items()})
    return found


def assert_close_gradient(name, actual, expected):
    scale = max(np.abs(expected).max(), 1e-5)  # a key's bias has no gradient without rotation
    assert np.abs(actual - expected).max() / scale < 1e-3, name


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("case", ["greedy", "beams"])
def test_generation_of_transformers(name, case):
    frozen = json.loads((TINY / name / "generation.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(TINY / name)
    output = model.generate(frozen["prompt"], attention_mask=frozen["mask"], do_sample=False,
                            pad_token_id=0, **frozen[case]["options"])
    np.testing.assert_array_equal(output, frozen[case]["output"])


ROPE = np.load(TINY / "rope.npz")


@pytest.mark.parametrize("style", ["rope_parameters", "rope_scaling"])
@pytest.mark.parametrize("case", json.loads(str(ROPE["cases"])))
def test_the_scalings_of_rotary_positions(case, style, tmp_path):
    rope = json.loads(str(ROPE["cases"]))[case]
    folder = Path(shutil.copytree(TINY / "llama", tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    if style == "rope_scaling":  # as older files name it
        del config["rope_parameters"]
        rope["type"] = rope.pop("rope_type")
        config["rope_theta"] = rope.pop("rope_theta")
    config.update({style: rope, "max_position_embeddings": 16})
    (folder / "config.json").write_text(json.dumps(config))
    model = LlamaForCausalLM.from_pretrained(folder)
    logits = model(ROPE["ids"]).logits
    np.testing.assert_allclose(logits, ROPE[case], rtol=0, atol=1e-4)
    generated = model.generate(ROPE["ids"][:1, :10], do_sample=False, max_new_tokens=20,
                               pad_token_id=0)
    np.testing.assert_array_equal(generated, ROPE[f"{case}.generated"])
    # What is saved says the same.
    model.save_pretrained(tmp_path / "again")
    again = LlamaForCausalLM.from_pretrained(tmp_path / "again")
    np.testing.assert_array_equal(again(ROPE["ids"]).logits, logits)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("B, T", [(2, 20), (1, 1)])
def test_any_checkpoint_of_transformers(family, B, T, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.set_num_threads(1)  # small models: threads only wait for each other
    ours = small_model(family)
    ours.save_pretrained(tmp_path / "ours")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    theirs.save_pretrained(tmp_path / "theirs")
    ours = type(ours).from_pretrained(tmp_path / "theirs")
    ids = random_ids(np.random.default_rng(T), B, T)
    labels = ids if T > 1 else None
    outputs = ours(ids, labels=labels, output_hidden_states=True, output_attentions=True)
    expected = theirs(torch.tensor(ids), output_hidden_states=True,
                      labels=None if labels is None else torch.tensor(labels))
    np.testing.assert_allclose(outputs.logits, expected.logits.detach(), rtol=0, atol=1e-4)
    for state, their_state in zip(outputs.hidden_states, expected.hidden_states, strict=True):
        np.testing.assert_allclose(state, their_state.detach(), rtol=0, atol=1e-4)
    assert [weights.shape for weights in outputs.attentions] == 2 * [(B, 4, T, T)]
    if labels is not None:
        outputs.loss.backward()
        expected.loss.backward()
        gradients = gradients_by_file_name(ours)
        for name, parameter in theirs.named_parameters():
            assert_close_gradient(name, gradients[name], parameter.grad.numpy())


# ---- the backward


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_the_whole_model_are_its_slopes(family):
    model = small_model(family).astype(np.float64)
    rng = np.random.default_rng(0)
    ids = random_ids(rng, 2, 7)
    ids[ids == model.config.pad_token_id] = 6  # the embedding of padding has no gradient
    labels = ids.copy()
    labels[0, 3] = labels[1, :2] = -100
    mask = np.array([[1] * 7, [0, 0, 1, 1, 1, 1, 1]])
    positions = np.array([range(7), [0, 0, 0, 1, 2, 3, 4]])
    inputs = dict(attention_mask=mask, position_ids=positions, labels=labels)
    model(ids, **inputs).loss.backward()
    parameters = dict(model.named_parameters())
    check_gradients(
        lambda: float(model(ids, **inputs).loss),
        {name: parameter.data for name, parameter in parameters.items()},
        {name: parameter.grad.copy() for name, parameter in parameters.items()},
        rng,
    )


def test_gradients_with_dropout_are_slopes_for_the_same_randomness():
    model = small_model(hidden_dropout_prob=0.3, attention_dropout=0.2).astype(np.float64).train()
    rng = np.random.default_rng(0)
    ids = random_ids(rng, 2, 5)
    start = model.rng.bit_generator.state

    def loss():
        model.rng.bit_generator.state = start
        return model(ids, labels=ids).loss

    loss().backward()
    parameters = dict(model.named_parameters())
    check_gradients(
        lambda: float(loss()),
        {name: parameter.data for name, parameter in parameters.items()},
        {name: parameter.grad.copy() for name, parameter in parameters.items()},
        rng,
    )


def test_the_gradient_of_inputs_embeds():
    model = small_model("Mistral").model.astype(np.float64)
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 2, 6, 8))
    model(inputs_embeds=x)
    dx = model.backward(dy)
    check_gradients(lambda: np.sum(model(inputs_embeds=x).last_hidden_state * dy), {"x": x},
                    {"x": dx}, rng)


def test_frozen_layers_cost_no_gradient_and_stop_it():
    model = small_model()
    model.model.embed_tokens.freeze()
    model.model.layers[0].freeze()
    ids = random_ids(np.random.default_rng(0), 2, 5)
    model(ids, labels=ids).loss.backward()
    assert all(parameter.grad is None for parameter in model.model.layers[0].parameters())
    assert all(parameter.grad is not None for parameter in model.model.layers[1].parameters())


# ---- properties


@pytest.mark.parametrize("family", FAMILIES)
@given(T=st.integers(2, 30), cut=st.integers(1, 29), seed=st.integers(0, 99))
def test_later_tokens_change_nothing(family, T, cut, seed):
    model, cut = small_model(family), min(cut, T - 1)
    ids = random_ids(np.random.default_rng(seed), 1, T)
    other = ids.copy()
    other[:, cut:] = (other[:, cut:] + 1) % 29
    np.testing.assert_allclose(model(ids).logits[:, :cut], model(other).logits[:, :cut], atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@given(pieces=st.lists(st.integers(1, 5), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_the_cache_gives_the_logits_of_the_whole_sequence(family, pieces, seed):
    """Also beyond the sliding window, and beyond max_position_embeddings."""
    model = small_model(family)
    ids = random_ids(np.random.default_rng(seed), 2, sum(pieces))
    whole, cache, logits = model(ids).logits, KVCache(), []
    for n in pieces:
        start = cache.length
        logits.append(model(ids[:, start : start + n], past_key_values=cache).logits)
    np.testing.assert_allclose(np.concatenate(logits, axis=1), whole, atol=2e-5)


@pytest.mark.parametrize("family", FAMILIES)
@given(n=st.integers(1, 6), seed=st.integers(0, 99))
def test_padding_on_the_left_changes_nothing(family, n, seed):
    model = small_model(family)
    ids = random_ids(np.random.default_rng(seed), 1, 6)
    padded = np.concatenate([np.full((1, n), 3), ids], axis=1)
    mask = np.array([[0] * n + [1] * 6])
    wanted = model(ids).logits
    # Rotary positions: shifted or not, the distances are the same.
    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
    for options in (dict(), dict(position_ids=positions)):
        logits = model(padded, attention_mask=mask, **options).logits[:, n:]
        np.testing.assert_allclose(logits, wanted, atol=2e-5)


def test_a_window_sees_only_its_last_keys():
    model = small_model("Mistral", num_hidden_layers=1)
    ids = random_ids(np.random.default_rng(0), 1, 9)
    other = ids.copy()
    other[0, :6] = (other[0, :6] + 1) % 29
    with no_grad():
        one, two = model(ids).logits, model(other).logits
    np.testing.assert_allclose(one[0, 8], two[0, 8], atol=1e-6)  # 6, 7 and 8
    assert np.abs(one[0, 7] - two[0, 7]).max() > 1e-3  # 5, 6 and 7


@pytest.mark.parametrize("dtype, tolerance", [("bfloat16", 0.2), ("int8", 0.2)])
def test_weights_of_one_and_two_bytes(dtype, tolerance):
    ids = np.load(TINY / "llama" / "expected.npz")["ids"]
    for name in MODELS:
        exact = AutoModelForCausalLM.from_pretrained(TINY / name)
        stored = AutoModelForCausalLM.from_pretrained(TINY / name, dtype=dtype)
        difference = np.abs(stored(ids).logits - exact(ids).logits)
        assert 0 < difference.max() < tolerance * np.abs(exact(ids).logits).max()
        assert stored.generate(ids[:, :3], max_new_tokens=12).shape[1] > 3


@pytest.mark.parametrize("name", MODELS)
def test_more_rows_for_more_tokens(name, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(TINY / name)
    ids = np.load(TINY / name / "expected.npz")["ids"]
    before = model(ids).logits
    model.resize_token_embeddings(70)
    np.testing.assert_allclose(model(ids).logits[..., :61], before, atol=1e-5)
    model.save_pretrained(tmp_path)
    assert AutoModelForCausalLM.from_pretrained(tmp_path)(ids).logits.shape[-1] == 70


def test_the_bare_model_and_the_one_with_a_head_open_each_other(tmp_path):
    ids = np.load(TINY / "llama" / "expected.npz")["ids"]
    model = LlamaForCausalLM.from_pretrained(TINY / "llama")
    bare = LlamaModel.from_pretrained(TINY / "llama")
    wanted = bare(ids).last_hidden_state
    np.testing.assert_array_equal(model.model(ids).last_hidden_state, wanted)
    bare.save_pretrained(tmp_path)
    np.testing.assert_array_equal(LlamaModel.from_pretrained(tmp_path)(ids).last_hidden_state,
                                  wanted)


# ---- configurations


def test_sizes_of_a_new_model():
    config = LlamaConfig.from_sizes(vocab_size=50, hidden_size=128, num_hidden_layers=1,
                                    num_attention_heads=4, max_position_embeddings=32)
    assert config.intermediate_size == 352 and config.head_dim == 32
    assert config.num_key_value_heads == 4 and config.position_limit is None


def test_old_and_new_names_of_the_base():
    for config in (LlamaConfig(rope_theta=5e5),
                   LlamaConfig(rope_parameters={"rope_theta": 5e5}),
                   LlamaConfig.from_dict({"rope_theta": 5e5}),
                   LlamaConfig().replace(rope_theta=5e5)):
        assert config.rope_parameters == {"rope_theta": 5e5, "rope_type": "default"}
        assert config.rope_theta == 5e5 and "rope_theta" not in config.to_dict()
    config = Qwen2Config.from_dict({"rope_scaling": {"type": "yarn", "factor": 4.0},
                                    "max_position_embeddings": 64, "rope_theta": 1e6})
    assert config.rope_parameters == {
        "rope_type": "yarn", "factor": 4.0, "rope_theta": 1e6,
        "original_max_position_embeddings": 64}
    assert config.replace(rope_theta=7.0).rope_parameters["factor"] == 4.0


@pytest.mark.parametrize("cls, options, match", [
    (LlamaConfig, dict(num_key_value_heads=3), "num_key_value_heads is 3, wanted a divisor of num"),
    (LlamaConfig, dict(num_attention_heads=3, num_key_value_heads=1),
     "num_attention_heads is 3, wanted a divisor of hid"),
    (LlamaConfig, dict(head_dim=5), "head_dim is 5, wanted an even number"),
    (LlamaConfig, dict(hidden_act="prelu"), "hidden_act is 'prelu', wanted one of gelu_new"),
    (LlamaConfig, dict(attention_dropout=1.0), "attention_dropout is 1.0"),
    (LlamaConfig, dict(rope_scaling={"type": "mrope", "mrope_section": [1, 1]}),
     "rope_type is 'mrope', but only default, linear, dynamic, llama3, yarn, longrope are impl"),
    (LlamaConfig, dict(rope_scaling={"type": "longrope", "short_factor": 1.0}),
     "rope_parameters.short_factor is 1.0, wanted head_dim / 2 = "),
    (LlamaConfig, dict(head_dim=2, rope_scaling={"type": "longrope", "short_factor": [1.0],
                                                 "long_factor": ["2"]}),
     r"rope_parameters.long_factor\[0\] is '2'"),
    (LlamaConfig, dict(rope_scaling={"type": "linear"}), "rope_parameters has no factor, which rope"),
    (LlamaConfig, dict(rope_scaling={"type": "linear", "factor": "2"}),
     "rope_parameters.factor is '2'"),
    (LlamaConfig, dict(rope_scaling={"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 4.0,
                                     "high_freq_factor": 4.0}), "high_freq_factor is 4.0, wanted m"),
    (LlamaConfig, dict(rope_parameters={"partial_rotary_factor": 0.5}),
     "partial_rotary_factor is 0.5, but only 1.0 is implemented"),
    (MistralConfig, dict(sliding_window=0), "sliding_window is 0, wanted an integer of at least 1"),
    (Qwen2Config, dict(layer_types=["full_attention"]), "layer_types has 1 items, wanted num_hid"),
    (Qwen2Config, dict(num_hidden_layers=1, layer_types=["chunked"]), "layer_types has 'chunked'"),
    (Qwen2Config, dict(num_hidden_layers=1, layer_types=["sliding_attention"]),
     "layer_types has sliding_attention, but there is no sliding_window"),
])
def test_bad_configurations_are_named(cls, options, match):
    options = {**{**SMALL, "num_hidden_layers": 2}, **options}
    with pytest.raises(ValueError, match=match) as caught:
        cls(**options)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=f"^config.json: {match}"):
        cls.from_dict(options)


@pytest.mark.parametrize("field, value, match", [
    ("intermediate_size", 24, "intermediate_size is 24, but model.safetensors has layers.0.mlp.up"),
    ("num_hidden_layers", 3, "num_hidden_layers is 3, but model.safetensors has 2 layers"),
    ("num_key_value_heads", 3, r"num_key_value_heads \* head_dim is 18, but model.safetensors has "),
    ("head_dim", 8, r"num_attention_heads \* head_dim is 24, but model.safetensors has "),
    ("attention_bias", True, "has no layers.0.self_attn.q_proj.bias, which LlamaForCausalLM needs"),
    ("partial_rotary_factor", 0.5, "partial_rotary_factor is 0.5, but only 1.0 is implemented"),
])
def test_files_that_contradict_their_configuration(field, value, match, tmp_path):
    folder = Path(shutil.copytree(TINY / "llama", tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, field: value}))
    with pytest.raises(ValueError, match=match) as caught:
        LlamaForCausalLM.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_fields_of_rope_parameters_without_effect_are_named():
    with pytest.warns(UserWarning, match="rope_parameters.beta is not known for rope_type 'linear'"):
        LlamaConfig(rope_parameters={"rope_type": "linear", "factor": 2.0, "beta": 1})
