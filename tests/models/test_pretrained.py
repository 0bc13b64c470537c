import inspect
import json
import re
import shutil
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.gradcheck import check_gradients

from minillm import GPT2Config, GPT2LMHeadModel, GPT2Model, hub
from minillm.hub import find_pretrained
from minillm.models.loading_options import ACCEPTED, PLACES
from minillm.nn import Parameter

TINY = Path(__file__).parents[1] / "fixtures" / "gpt2_tiny"
IDS = np.array([[3, 1, 4, 1, 5, 9, 2, 6]])


@pytest.fixture
def folder(tmp_path):
    """A copy of the tiny checkpoint, to be changed."""
    return Path(shutil.copytree(TINY, tmp_path / "model"))


def weights_of(folder):
    return safetensors.numpy.load_file(folder / "model.safetensors")


def rewrite(folder, arrays):
    safetensors.numpy.save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})


def set_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def logits(folder):
    return GPT2LMHeadModel.from_pretrained(folder)(IDS).logits


# ---- variants of checkpoints


def test_names_without_prefix_a_stored_head_and_masks_of_old_checkpoints(folder):
    expected = logits(folder)
    arrays = {name.removeprefix("transformer."): array
              for name, array in weights_of(folder).items()}
    arrays["lm_head.weight"] = arrays["wte.weight"].copy()
    arrays["h.0.attn.bias"] = np.tri(64, dtype=bool)[None, None]
    arrays["h.1.attn.masked_bias"] = np.array(-1e4, np.float32)
    rewrite(folder, arrays)
    np.testing.assert_array_equal(logits(folder), expected)
    hidden = GPT2Model.from_pretrained(folder)(IDS).last_hidden_state
    np.testing.assert_allclose(hidden @ arrays["wte.weight"].T, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("stored, tolerance", [("F16", 2e-2), ("BF16", 0.2), ("F64", 0)])
def test_other_types_become_float32(folder, stored, tolerance):
    expected = logits(folder)
    store_as(folder, stored)
    model = GPT2LMHeadModel.from_pretrained(folder)
    assert {parameter.data.dtype for parameter in model.parameters()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(model(IDS).logits, expected, rtol=0, atol=tolerance)


def store_as(folder, stored):
    arrays = weights_of(folder)
    if stored == "BF16":  # NumPy has no such type: round to the upper 16 bits by hand
        write_bfloat16(folder / "model.safetensors", arrays)
    else:
        rewrite(folder, {name: array.astype({"F16": "f2", "F64": "f8"}[stored])
                         for name, array in arrays.items()})


def write_bfloat16(path, arrays):
    header, data = {}, b""
    for name, array in arrays.items():
        upper = (array.view(np.uint32) + 0x8000 >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "BF16", "shape": array.shape,
                        "data_offsets": [len(data), len(data) + len(upper)]}
        data += upper
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_weights_in_parts(folder):
    expected = logits(folder)
    arrays = weights_of(folder)
    names = sorted(arrays)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for part, half in halves.items():
        safetensors.numpy.save_file({name: arrays[name] for name in half}, folder / part)
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {name: part for part, half in halves.items() for name in half}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    np.testing.assert_array_equal(logits(folder), expected)
    (folder / "b.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="lacks .b.safetensors."):
        logits(folder)


def test_options_overrule_the_configuration():
    model = GPT2LMHeadModel.from_pretrained(TINY, pad_token_id=7)
    assert model.config.pad_token_id == model.generation_config.pad_token_id == 7
    assert model.generation_config.eos_token_id == 0
    with pytest.raises(TypeError, match="pad_id"):
        GPT2LMHeadModel.from_pretrained(TINY, pad_id=7)


def test_a_loaded_model_is_in_eval_mode_and_can_train():
    model = GPT2LMHeadModel.from_pretrained(TINY)
    assert not any(module.training for module in model.modules())
    assert model.train() is model and all(module.training for module in model.modules())


# ---- saving


@pytest.mark.parametrize("dtype, tolerance", [("float32", 0), ("float16", 2e-2)])
@pytest.mark.parametrize("model_class", [GPT2LMHeadModel, GPT2Model])
def test_what_is_saved_can_be_loaded(tmp_path, dtype, tolerance, model_class):
    model = model_class.from_pretrained(TINY)
    model.generation_config.top_k = 5
    model.save_pretrained(tmp_path / "new", dtype=dtype)
    again = model_class.from_pretrained(tmp_path / "new")
    assert again.config == model.config
    assert again.generation_config == model.generation_config
    np.testing.assert_allclose(again(IDS)[0], model(IDS)[0], rtol=0, atol=tolerance)
    if dtype == "float16":
        size = (tmp_path / "new" / "model.safetensors").stat().st_size
        assert size < 0.6 * (TINY / "model.safetensors").stat().st_size


def test_numbers_too_large_for_float16_are_not_saved_as_infinity(folder):
    model = GPT2LMHeadModel.from_pretrained(folder)
    before = (folder / "model.safetensors").read_bytes()
    model.transformer.h[1].feed_forward.expand.weight.data[0, 0] = 1e5
    with pytest.raises(ValueError, match="h.1.mlp.c_fc.weight holds numbers over 65504"):
        model.save_pretrained(folder, dtype="float16")
    assert (folder / "model.safetensors").read_bytes() == before
    with pytest.raises(ValueError, match="dtype is int8"):
        model.save_pretrained(folder, dtype="int8")


# ---- damage


CONFIG_ERRORS = [
    (dict(n_layer=3), "n_layer is 3, but model.safetensors has 2 layers"),
    (dict(n_layer=1_000_000), "n_layer is 1000000, but model.safetensors has 2 layers"),
    (dict(n_layer=10**30), "n_layer is 1000000000000000000000000000000, but .* has 2 layers"),
    (dict(vocab_size=10**9), "vocab_size is 1000000000, but .* has wte.weight of shape .400, 24."),
    (dict(n_positions=65), "n_positions is 65, but .* has wpe.weight of shape .64, 24."),
    (dict(n_embd=30), "n_embd is 30, but model.safetensors has wte.weight of shape .400, 24."),
    (dict(n_inner=95), "n_inner is 95, but .* has h.0.mlp.c_fc.weight of shape .24, 96."),
    (dict(n_layer=0), "n_layer is 0, wanted an integer of at least 1"),
    (dict(n_layer="2"), "n_layer is '2', wanted an integer"),
    (dict(n_layer=True), "n_layer is True, wanted an integer"),
    (dict(n_layer=2.0), "n_layer is 2.0, wanted an integer"),
    (dict(n_layer=None), "n_layer is None, wanted an integer"),
    (dict(n_head=5), "n_head is 5, wanted a divisor of n_embd = 24"),
    (dict(layer_norm_epsilon="1e-5"), "layer_norm_epsilon is '1e-5', wanted a number"),
    (dict(layer_norm_epsilon=-1), "layer_norm_epsilon is -1, wanted a number of at least 0"),
    (dict(attn_pdrop=1), "attn_pdrop is 1, wanted a number of at least 0 and below 1"),
    (dict(eos_token_id=[1, "2"]), r"eos_token_id\[1\] is '2', wanted an integer"),
    (dict(activation_function="prelu"), "activation_function is 'prelu', wanted one of gelu_new"),
    (dict(activation_function=["\x1b[2J" * 1000]), r"activation_function is \['\\x1b"),
    (dict(tie_word_embeddings=False), "tie_word_embeddings is False, but .* has no lm_head.weight"),
    (dict(tie_word_embeddings="yes"), "tie_word_embeddings is 'yes', wanted true or false"),
    (dict(add_cross_attention=True), "add_cross_attention is True, but only False is implemented"),
    (dict(is_encoder_decoder=True), "is_encoder_decoder is True, but only False"),
    (dict(quantization_config={"bits": 4}), "quantization_config is {'bits': 4}, but only None"),
    (dict(pruned_heads={"0": [1]}), "pruned_heads is {'0': .1.}, but only"),
    (dict(per_layer_config={"0": {}}), "per_layer_config is"),
    (dict(tie_last_hidden_states=False), "tie_last_hidden_states is False"),
    (dict(return_dict=False), "return_dict is False, but only True"),
    (dict(model_type="bert"), "model_type is 'bert', wanted 'gpt2'"),
    (dict(model_type=None), "model_type is None, wanted 'gpt2'"),
    (dict(hidden_size=30), "n_embd is 30"),
]


@pytest.mark.parametrize("changes, match", CONFIG_ERRORS, ids=lambda value: str(value)[:60])
def test_a_wrong_configuration_names_its_file_and_field(folder, changes, match):
    set_config(folder, **changes)
    with pytest.raises(ValueError, match=match) as caught:
        logits(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'config.json'}: ")
    assert message.isprintable() and len(message) < 300 + len(str(folder))


@pytest.mark.parametrize("change, match", [
    ({"transformer.h.1.ln_2.bias": None}, "has no h.1.ln_2.bias, which GPT2LMHeadModel needs"),
    ({"transformer.wte.weight": None}, "vocab_size is 400, but .* has no wte.weight"),
    ({"extra.weight": np.ones((2, 24), "f4")}, "has 'extra.weight', for which GPT2LMHeadMod"),
    ({"\x1b[2J": np.ones(1, "f4")}, r"has '\\x1b\[2J', for which"),
    ({"transformer.ln_f.bias": np.ones(25, "f4")}, r"ln_f.bias has shape \(25,\), wanted \(24,\)"),
    ({"transformer.ln_f.bias": np.ones(24, "i4")}, "ln_f.bias has dtype I32, wanted one of F64"),
    ({"transformer.ln_f.bias": np.ones(24, "c8")}, "ln_f.bias has dtype C64"),
    ({"transformer.ln_f.bias": np.ones(24, "?")}, "ln_f.bias has dtype BOOL"),
    ({"ln_f.bias": np.ones(24, "f4")}, "has both 'ln_f.bias' and 'transformer.ln_f.bias'"),
    ({"lm_head.weight": np.ones((401, 24), "f4")}, "lm_head.weight has shape .401, 24., wanted"),
])
def test_wrong_tensors_name_their_file(folder, change, match):
    arrays = {name: array for name, array in {**weights_of(folder), **change}.items()
              if array is not None}
    rewrite(folder, arrays)
    with pytest.raises(ValueError, match=match) as caught:
        logits(folder)
    assert "model.safetensors" in str(caught.value) and str(caught.value).isprintable()


def test_a_checkpoint_of_another_architecture(folder):
    rewrite(folder, {"bert.encoder.layer.0.output.dense.weight": np.ones((4, 4), np.float32)})
    with pytest.raises(ValueError, match="n_layer is 2, but model.safetensors has 0 layers"):
        logits(folder)


def test_a_weight_that_is_not_a_number_is_loaded(folder):
    arrays = weights_of(folder)
    arrays["transformer.ln_f.bias"][3] = np.nan
    rewrite(folder, arrays)
    bias = GPT2Model.from_pretrained(folder).ln_f.bias.data
    assert np.isnan(bias).tolist() == [index == 3 for index in range(24)]


def test_other_names_of_the_same_options(folder):
    config = GPT2Config.from_dict({"hidden_size": 8, "num_attention_heads": 2,
                                   "num_hidden_layers": 3, "max_position_embeddings": 5})
    assert (config.n_embd, config.n_head, config.n_layer, config.n_positions) == (8, 2, 3, 5)
    assert (config.hidden_size, config.num_hidden_layers) == (8, 3)
    config.hidden_size = 16
    assert config.n_embd == 16


# ---- what transformers computes, frozen by fixtures/make_gpt2_variants.py


VARIANTS = np.load(TINY / "variants.npz")
CASES = json.loads(str(VARIANTS["cases"]))


@pytest.mark.parametrize("case", CASES)
def test_what_a_configuration_says_is_computed(folder, case):
    set_config(folder, **CASES[case]["changes"])
    if CASES[case]["has_head"]:
        arrays = weights_of(folder)
        arrays["lm_head.weight"] = arrays["transformer.wte.weight"][::-1].copy()
        rewrite(folder, arrays)
    model = GPT2LMHeadModel.from_pretrained(folder)
    found = model(VARIANTS["ids"]).logits[:, :, ::10]
    np.testing.assert_allclose(found, VARIANTS[case], rtol=0, atol=1e-4)
    model.save_pretrained(folder / "again")
    again = GPT2LMHeadModel.from_pretrained(folder / "again")
    np.testing.assert_array_equal(again(VARIANTS["ids"]).logits[:, :, ::10], found)


def test_fields_that_nothing_reads_are_kept(folder, tmp_path):
    labels = {"0": "no", "1": "yes"}
    set_config(folder, id2label=labels, task_specific_params={"a": {"b": 1}}, something_new=[1])
    config = GPT2LMHeadModel.from_pretrained(folder).config
    assert config.id2label == labels and config.something_new == [1]
    config.save_pretrained(tmp_path / "again")
    assert GPT2Config.from_pretrained(tmp_path / "again") == config
    with pytest.raises(AttributeError, match="GPT2Config has no field 'something_else'"):
        config.something_else


def test_generation_options_in_config_json_count_without_a_generation_config_json(folder):
    set_config(folder, num_beams=4, max_length=12, pad_token_id=7)
    before = GPT2LMHeadModel.from_pretrained(folder).generation_config
    assert (before.num_beams, before.max_length) == (None, None)
    (folder / "generation_config.json").unlink()
    found = GPT2LMHeadModel.from_pretrained(folder).generation_config
    assert (found.num_beams, found.max_length, found.pad_token_id) == (4, 12, 7)


# ---- the output head


@pytest.mark.parametrize("tie", [True, False])
def test_a_head_of_its_own_is_trained_and_saved(folder, tie):
    arrays = weights_of(folder)
    arrays["lm_head.weight"] = arrays["transformer.wte.weight"][::-1].copy()
    rewrite(folder, arrays)
    set_config(folder, tie_word_embeddings=tie)
    model = GPT2LMHeadModel.from_pretrained(folder)
    assert not model.has_tied_head() and not model.config.tie_word_embeddings
    assert model.num_parameters() == sum(array.size for array in arrays.values())
    model(IDS, labels=IDS).loss.backward()
    head, table = model.lm_head.weight, model.transformer.wte.weight
    assert (head.grad != 0).all(axis=1).all()  # every token's score has a gradient,
    used = np.isin(np.arange(400), IDS[0, :-1])  # but only the tokens of the input are looked up
    assert ((table.grad != 0).any(axis=1) == used).all()
    model.save_pretrained(folder / "again")
    saved = weights_of(folder / "again")
    np.testing.assert_array_equal(saved["lm_head.weight"], arrays["lm_head.weight"])
    assert saved.keys() == arrays.keys()


def test_gradients_of_a_head_of_its_own_are_slopes():
    config = GPT2Config(vocab_size=11, n_positions=6, n_embd=4, n_layer=1, n_head=2,
                        tie_word_embeddings=False, initializer_range=0.3)
    model = GPT2LMHeadModel(config, seed=1).astype(np.float64).eval()
    ids = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    model(ids, labels=ids).loss.backward()
    parameters = dict(model.named_parameters())
    assert "lm_head.weight" in parameters
    check_gradients(
        lambda: float(model(ids, labels=ids).loss),
        {name: parameter.data for name, parameter in parameters.items()},
        {name: parameter.grad.copy() for name, parameter in parameters.items()},
        np.random.default_rng(0),
    )


def test_a_tied_table_may_be_stored_as_the_head(folder):
    expected = logits(folder)
    arrays = weights_of(folder)
    arrays["lm_head.weight"] = arrays.pop("transformer.wte.weight")
    rewrite(folder, arrays)
    np.testing.assert_array_equal(logits(folder), expected)
    assert GPT2LMHeadModel.from_pretrained(folder).has_tied_head()


def test_a_head_of_its_own_is_not_taken_for_missing_embeddings(folder):
    arrays = weights_of(folder)
    arrays["lm_head.weight"] = arrays.pop("transformer.wte.weight")
    rewrite(folder, arrays)
    set_config(folder, tie_word_embeddings=False)
    with pytest.raises(ValueError, match="tie_word_embeddings is False, but .* has no wte.weight"):
        logits(folder)


def test_an_untied_head_is_quantized_as_well(folder):
    arrays = weights_of(folder)
    arrays["lm_head.weight"] = arrays["transformer.wte.weight"][::-1].copy()
    rewrite(folder, arrays)
    expected = logits(folder)
    model = GPT2LMHeadModel.from_pretrained(folder, dtype="bfloat16")
    assert np.abs(model(IDS).logits - expected).max() <= 0.02 * np.abs(expected).max()
    assert model.lm_head.weight.data.dtype == "bfloat16"


# ---- the vocabulary


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("n, multiple, rows", [(403, None, 403), (390, None, 390), (401, 64, 448),
                                               (None, 64, 448), (None, None, 400)])
def test_resizing_keeps_old_rows_and_adds_their_mean(tie, n, multiple, rows):
    model = GPT2LMHeadModel.from_pretrained(TINY)
    if not tie:
        model.lm_head.weight = Parameter(model.lm_head.weight.data[::-1].copy())
    old = model.transformer.wte.weight.data.copy()
    embedding = model.resize_token_embeddings(n, pad_to_multiple_of=multiple)
    assert embedding is model.get_input_embeddings() and model.config.vocab_size == rows
    for table, before in ((embedding.weight.data, old),
                          (model.lm_head.weight.data, old if tie else old[::-1])):
        assert table.shape == (rows, 24) and table.dtype == np.float32
        np.testing.assert_array_equal(table[:400], before[:rows])
        np.testing.assert_allclose(table[400:], np.broadcast_to(before.mean(0), table[400:].shape),
                                   rtol=1e-5, atol=1e-6)
    assert model.has_tied_head() == tie
    assert model(IDS).logits.shape == (1, 8, rows)
    model(IDS, labels=IDS).loss.backward()


def test_resized_models_are_saved(tmp_path):
    model = GPT2LMHeadModel.from_pretrained(TINY)
    model.resize_token_embeddings(410)
    model.save_pretrained(tmp_path)
    np.testing.assert_array_equal(logits(tmp_path), model(IDS).logits)


def test_resizing_by_random_rows_and_wrong_sizes():
    model = GPT2LMHeadModel.from_pretrained(TINY)
    new = model.resize_token_embeddings(500, mean_resizing=False).weight.data[400:]
    assert 0.015 < new.std() < 0.025
    for n in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="new_num_tokens is .*, wanted an integer of at"):
            model.resize_token_embeddings(n)
    with pytest.raises(ValueError, match="isn't quantized to resize"):
        model.quantize("int8").resize_token_embeddings(5)


# ---- the options of from_pretrained


def test_dtypes_of_the_weights(folder):
    expected = logits(folder)
    plain = GPT2LMHeadModel.from_pretrained(folder, torch_dtype="auto")
    np.testing.assert_array_equal(plain(IDS).logits, expected)
    for dtype in ("float32", np.float32, np.dtype("float32")):
        plain = GPT2LMHeadModel.from_pretrained(folder, dtype=dtype).train()
        plain(IDS, labels=IDS).loss.backward()
    half = GPT2LMHeadModel.from_pretrained(folder, dtype="float16").train()
    for one, other in zip(half.parameters(), plain.parameters()):
        np.testing.assert_array_equal(one.data, other.data.astype(np.float16).astype(np.float32))
        assert one.data.dtype == np.float32
    for dtype in ("bfloat16", "int8"):
        model = GPT2LMHeadModel.from_pretrained(folder, torch_dtype=dtype)
        assert model.transformer.wte.weight.data.dtype == dtype
    with pytest.raises(ValueError, match="dtype is 'float8', wanted one of auto, float32, float16"):
        GPT2LMHeadModel.from_pretrained(folder, dtype="float8")


def test_the_dtypes_of_torch(folder):
    torch = pytest.importorskip("torch")
    assert GPT2LMHeadModel.from_pretrained(folder, torch_dtype=torch.float32).train()
    with pytest.raises(ValueError, match="dtype is 'float64'"):
        GPT2LMHeadModel.from_pretrained(folder, torch_dtype=torch.float64)


def test_outputs_that_the_configuration_asks_for(folder):
    model = GPT2LMHeadModel.from_pretrained(folder, output_attentions=True)
    assert "attentions" in model(IDS) and "hidden_states" not in model(IDS)
    assert "attentions" not in model(IDS, output_attentions=False)
    set_config(folder, output_hidden_states=True)
    assert "hidden_states" in GPT2Model.from_pretrained(folder)(IDS)


def test_the_options_of_saving(tmp_path):
    model = GPT2LMHeadModel.from_pretrained(TINY)
    model.save_pretrained(tmp_path / "a", safe_serialization=True, max_shard_size="5GB")
    np.testing.assert_array_equal(logits(tmp_path / "a"), model(IDS).logits)
    for option in (dict(safe_serialization=False), dict(push_to_hub=True), dict(variant="fp16")):
        with pytest.raises(ValueError, match="which minillm can't follow"):
            model.save_pretrained(tmp_path / "b", **option)
    with pytest.raises(TypeError, match="save_pretrained has no option format"):
        model.save_pretrained(tmp_path / "b", format="onnx")
    assert not (tmp_path / "b").exists()


def test_a_pickle_is_converted_by_the_line_that_the_error_tells(folder):
    torch = pytest.importorskip("torch")
    import safetensors.torch

    expected = logits(folder)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"]
    torch.save(tensors, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="a pickle") as caught:
        logits(folder)
    exec(str(caught.value).split("convert it once: ")[1])
    np.testing.assert_array_equal(logits(folder), expected)


def test_options_that_change_nothing(folder):
    options = dict(attn_implementation="eager", use_safetensors=True, low_cpu_mem_usage=True,
                   trust_remote_code=False, device_map=None, local_files_only=True, revision="main",
                   load_in_8bit=False, cache_dir="/nowhere", output_loading_info=False)
    np.testing.assert_array_equal(
        GPT2LMHeadModel.from_pretrained(folder, **options)(IDS).logits, logits(folder))


@pytest.mark.parametrize("option", [
    dict(device_map="auto"), dict(load_in_8bit=True), dict(load_in_4bit=1),
    dict(quantization_config={"bits": 4}), dict(trust_remote_code=True), dict(gguf_file="x.gguf"),
    dict(attn_implementation="flash_attention_2"), dict(use_safetensors=False), dict(from_tf=True),
    dict(state_dict={}), dict(max_memory={0: "1GB"}),
])
def test_options_that_cannot_be_followed_are_refused_by_name(folder, option):
    (name,) = option
    with pytest.raises(ValueError, match=f"^{name} is .*, which minillm can't follow: ") as caught:
        GPT2LMHeadModel.from_pretrained(folder, **option)
    assert "\n" not in str(caught.value)


def test_every_option_of_transformers_is_known():
    """Each keyword that its from_pretrained takes is followed, accepted or refused."""
    transformers = pytest.importorskip("transformers")
    function = transformers.PreTrainedModel.from_pretrained
    source = inspect.getsource(function)
    names = set(re.findall(r"kwargs\.pop\(\"(\w+)\"", source))
    names |= {name for name, parameter in inspect.signature(function).parameters.items()
              if parameter.kind is inspect.Parameter.KEYWORD_ONLY or parameter.default is not
              inspect.Parameter.empty}
    ours = {*ACCEPTED, *PLACES, "config", "dtype", "torch_dtype", "generation_config", "variant",
            "ignore_mismatched_sizes"}
    internal = {"_commit_hash", "_from_pipeline", "_from_auto", "adapter_name", "tqdm_class"}
    assert names - ours - internal == set()


def test_a_configuration_instead_of_the_file(folder):
    config = GPT2Config.from_pretrained(folder, activation_function="relu")
    given = GPT2LMHeadModel.from_pretrained(folder, config=config)
    assert given.config == config and given.config is not config
    set_config(folder, activation_function="relu")
    np.testing.assert_array_equal(given(IDS).logits, logits(folder))
    np.testing.assert_array_equal(
        GPT2LMHeadModel.from_pretrained(TINY, config=str(folder))(IDS).logits, logits(folder))
    with pytest.raises(TypeError, match="config is a dict, wanted a GPT2Config or a directory"):
        GPT2LMHeadModel.from_pretrained(folder, config={})


def test_a_wrong_size_that_is_given_is_not_blamed_on_the_file():
    with pytest.raises(ValueError, match="^from_pretrained: n_layer is 5, but .* has 2 layers"):
        GPT2LMHeadModel.from_pretrained(TINY, n_layer=5)


def test_a_subfolder_and_the_home_folder(folder, monkeypatch):
    shutil.copytree(TINY, folder / "inner" / "model")
    expected = logits(folder)
    monkeypatch.setenv("HOME", str(folder))
    for name, options in (("~/inner/model", {}), ("~/inner", {"subfolder": "model"})):
        model = GPT2LMHeadModel.from_pretrained(name, **options)
        np.testing.assert_array_equal(model(IDS).logits, expected)
    model.save_pretrained("~/saved")
    assert (folder / "saved" / "config.json").is_file()
    for wrong in ("~nosuchuser", "~nosuchuser/model", "~/nothing"):
        with pytest.raises(FileNotFoundError, match="not a directory") as caught:
            GPT2LMHeadModel.from_pretrained(wrong)
        assert "\n" not in str(caught.value)


# ---- files that are mutated at random


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10**20) | st.floats() | st.text(max_size=9)
    | st.sampled_from([1e400, -1, 0, 10**400, "\x1b[2J", "x" * 100_000]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def mutated(draw, content):
    """`content`, a JSON object, with a few values replaced, removed, nested or added at random"""
    content = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 3))):
        place = content
        while True:
            key = draw(st.sampled_from(sorted(place)) if isinstance(place, dict)
                       else st.integers(0, len(place) - 1))
            inner = place[key]
            if not (isinstance(inner, (dict, list)) and inner and draw(st.booleans())):
                break
            place = inner
        change = draw(st.sampled_from(["replace", "remove", "nest", "add"]))
        if change == "replace":
            place[key] = draw(json_values)
        elif change == "nest":
            for _ in range(draw(st.sampled_from([1, 3, 250]))):
                place[key] = [place[key]]
        elif change == "add" and isinstance(place, dict):
            place[draw(st.text(max_size=5))] = draw(json_values)
        elif len(place) > 1:
            del place[key]
    return content


def require_model_or_one_line(folder):
    """The folder loads and computes, or is refused in one line; and takes no large memory."""
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NaN and infinite weights are allowed
            assert logits(folder).shape[:2] == IDS.shape
    except (ValueError, FileNotFoundError) as error:
        message = str(error).replace(str(folder), "")
        assert message.isprintable() and len(message) < 400
        assert "config" in message or "model.safetensors" in message
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 20e6


@given(st.data())
def test_a_mutated_configuration_loads_or_is_refused_in_one_line(tmp_path_factory, data):
    folder = Path(shutil.copytree(TINY, tmp_path_factory.mktemp("mutated") / "model"))
    path = folder / "config.json"
    path.write_text(json.dumps(mutated(data.draw, json.loads(path.read_text()))))
    require_model_or_one_line(folder)


@given(st.data())
def test_a_mutated_header_loads_or_is_refused_in_one_line(tmp_path_factory, data):
    folder = Path(shutil.copytree(TINY, tmp_path_factory.mktemp("mutated") / "model"))
    path = folder / "model.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(mutated(data.draw, json.loads(content[8 : 8 + length]))).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    require_model_or_one_line(folder)


@given(st.data())
def test_a_mutated_index_loads_or_is_refused_in_one_line(tmp_path_factory, data):
    folder = Path(shutil.copytree(TINY, tmp_path_factory.mktemp("mutated") / "model"))
    (folder / "model.safetensors").rename(folder / "1.safetensors")
    names = safetensors.numpy.load_file(folder / "1.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "1.safetensors")}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(mutated(data.draw, index)))
    require_model_or_one_line(folder)


# ---- files that are missing


def test_missing_and_unreadable_files(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="pytorch_model.bin, a pickle.*convert it once: ") as caught:
        logits(folder)
    assert "\n" not in str(caught.value)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(FileNotFoundError, match="has no model.safetensors"):
        logits(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json is not valid JSON"):
        logits(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="has no config.json"):
        logits(folder)


# ---- names


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "_download", lambda *arguments: None)
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf" / "hub"


def test_an_unknown_name_says_which_are_known(no_hub, monkeypatch, tmp_path):
    shutil.copytree(TINY, tmp_path / "shipped" / "tiny-one")
    monkeypatch.setattr(hub, "PACKAGED", tmp_path / "shipped")
    assert find_pretrained("tiny-one") == tmp_path / "shipped" / "tiny-one"
    with pytest.raises(FileNotFoundError, match=r"'gpt3'.*tiny-one.*minillm\[hub\]") as caught:
        find_pretrained("gpt3")
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="not a name of the form"):
        find_pretrained("./not/here")
    with pytest.raises(FileNotFoundError, match="is a file"):
        find_pretrained(TINY / "config.json")


@pytest.mark.parametrize("cached", ["gpt2", "openai-community--gpt2"])
def test_a_name_in_the_hub_cache(no_hub, cached):
    model = no_hub / f"models--{cached}"
    for revision in ("old", "new"):
        shutil.copytree(TINY, model / "snapshots" / revision)
    (model / "refs").mkdir()
    for revision in ("old", "new"):
        (model / "refs" / "main").write_text(revision)
        assert find_pretrained("gpt2") == model / "snapshots" / revision
    assert GPT2LMHeadModel.from_pretrained("gpt2").config.n_embd == 24


def test_a_failed_download_is_one_line(monkeypatch, tmp_path):
    huggingface_hub = pytest.importorskip("huggingface_hub")

    def no_network(*arguments, **options):
        raise ConnectionError("no route to host\nmore about it")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_network)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="download failed .*no route to host") as caught:
        find_pretrained("someone/something")
    assert "\n" not in str(caught.value)
