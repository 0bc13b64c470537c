import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm import GPT2Config, GPT2LMHeadModel, GPT2Model
from minillm.models import pretrained
from minillm.models.pretrained import find_pretrained
from minillm.models.safetensors_file import read_safetensors, write_safetensors

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


# ---- the ways in which checkpoints differ


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


def test_bfloat16_as_torch_reads_it(tmp_path):
    torch = pytest.importorskip("torch")
    import safetensors.torch

    tensor = torch.randn(50, 7).to(torch.bfloat16)
    safetensors.torch.save_file({"w": tensor}, tmp_path / "w.safetensors")
    read = read_safetensors(tmp_path / "w.safetensors")["w"]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, tensor.float().numpy())


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


arrays_to_store = st.dictionaries(
    st.text(min_size=1, max_size=20).filter(lambda name: name != "__metadata__"),
    st.tuples(st.lists(st.integers(0, 4), max_size=3), st.integers(0, 2**32 - 1)),
    max_size=5,
)


@given(arrays_to_store)
def test_the_library_safetensors_reads_what_we_write_and_we_what_it_writes(tmp_path_factory, made):
    path = tmp_path_factory.mktemp("safetensors") / "x.safetensors"
    arrays = {name: np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
              for name, (shape, seed) in made.items()}
    write_safetensors(path, arrays)
    assert_same_arrays(safetensors.numpy.load_file(path), arrays)
    assert_same_arrays(read_safetensors(path), arrays)
    safetensors.numpy.save_file(arrays, path)
    assert_same_arrays(read_safetensors(path), arrays)


def assert_same_arrays(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].shape == array.shape
        np.testing.assert_array_equal(actual[name], array)


# ---- damage


@given(st.data())
@settings(max_examples=40)
def test_a_file_that_is_cut_off_anywhere_is_an_error_of_one_line(tmp_path_factory, data):
    whole = (TINY / "model.safetensors").read_bytes()
    path = tmp_path_factory.mktemp("cut") / "model.safetensors"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ValueError, match="cut off|damaged") as caught:
        read_safetensors(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@given(st.data())
@settings(max_examples=100)
def test_a_damaged_header_never_gives_anything_but_arrays_or_an_error(tmp_path_factory, data):
    content = bytearray((TINY / "model.safetensors").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 2000))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "model.safetensors"
    path.write_bytes(content)
    try:
        arrays = read_safetensors(path)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(array, np.ndarray) for array in arrays.values())


def test_files_that_do_not_fit_each_other(folder):
    set_config(folder, n_layer=3)
    with pytest.raises(ValueError, match="the weights have no h.2.ln_1.weight"):
        logits(folder)
    set_config(folder, n_layer=1)
    with pytest.raises(ValueError, match="the weights have h.1.attn.c_attn.bias"):
        logits(folder)
    set_config(folder, n_layer=2, n_embd=30)
    with pytest.raises(ValueError, match=r"wte.weight has shape \(400, 24\), wanted \(400, 30\)"):
        logits(folder)


@pytest.mark.parametrize("changes, match", [
    (dict(model_type="bert"), "model_type is .bert., wanted .gpt2."),
    (dict(scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx = True"),
    (dict(tie_word_embeddings=False), "tie_word_embeddings = False"),
    (dict(activation_function="silu"), "activation_function is 'silu'"),
    (dict(n_head="three"), "n_head is 'three'"),
])
def test_configurations_of_other_models(folder, changes, match):
    set_config(folder, **changes)
    with pytest.raises(ValueError, match=match):
        logits(folder)


def test_other_names_of_the_same_options():
    config = GPT2Config.from_dict({"hidden_size": 8, "num_attention_heads": 2,
                                   "num_hidden_layers": 3, "max_position_embeddings": 5})
    assert (config.n_embd, config.n_head, config.n_layer, config.n_positions) == (8, 2, 3, 5)


def test_missing_and_unreadable_files(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="pickle.*save_pretrained"):
        logits(folder)
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
    monkeypatch.setattr(pretrained, "_download", lambda name: None)
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf" / "hub"


def test_an_unknown_name_says_which_are_known(no_hub, monkeypatch, tmp_path):
    shutil.copytree(TINY, tmp_path / "shipped" / "tiny-one")
    monkeypatch.setattr(pretrained, "PACKAGED", tmp_path / "shipped")
    assert find_pretrained("tiny-one") == tmp_path / "shipped" / "tiny-one"
    with pytest.raises(FileNotFoundError, match=r"'gpt3'.*tiny-one.*minillm\[hub\]") as caught:
        find_pretrained("gpt3")
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="no name of the form"):
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
    hub = pytest.importorskip("huggingface_hub")

    def no_network(*arguments, **options):
        raise ConnectionError("no route to host\nmore about it")

    monkeypatch.setattr(hub, "snapshot_download", no_network)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="download failed .*no route to host") as caught:
        find_pretrained("someone/something")
    assert "\n" not in str(caught.value)
