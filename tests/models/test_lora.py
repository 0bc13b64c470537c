"""LoRA in whole models: equality with peft, files, merging, what learns."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from bag_of_words import BagConfig, BagForSequenceClassification
from gradcheck import check_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import FIXTURES, MODELS, base_model

import minillm
from minillm.models.lora import (
    LoraConfig,
    heads_in_files,
    inject,
    lora_layers,
    merge,
    merge_and_unload,
    unload,
    unmerge,
)
from minillm.models.lora_files import load_adapter, read_adapter_config, save_adapter
from minillm.models.safetensors_file import read_safetensors, write_safetensors
from minillm.nn import LoRALinear, no_grad, trace

PEFT = FIXTURES / "lora_tiny"


def random_updates(model, seed=0, std=0.3):
    """Let all B differ from zero; return the model."""
    rng = np.random.default_rng(seed)
    for _, layer in lora_layers(model):
        for update in layer.lora:
            update.B.data += std * rng.standard_normal(update.B.shape).astype(update.B.data.dtype)
    return model


def tensors_of_adapter(model, folder):
    save_adapter(model, folder)
    return read_safetensors(Path(folder) / "adapter_model.safetensors")


# ---- agreement with peft


@pytest.mark.parametrize("name", MODELS)
def test_logits_loss_and_gradients_of_peft(name, tmp_path):
    frozen = np.load(PEFT / name / "expected.npz")
    model = load_adapter(base_model(name), PEFT / name, trainable=True)
    outputs = model(frozen["ids"], labels=frozen["labels"])
    np.testing.assert_allclose(outputs.logits, frozen["logits"], rtol=1e-5, atol=1e-5)
    assert outputs.loss.item() == pytest.approx(float(frozen["loss"]), rel=1e-5)
    outputs.loss.backward()
    # Gradients in the layout of the file, by saving them in place of the parameters.
    for parameter in model.parameters():
        if parameter.trainable:
            parameter.data = parameter.grad
        else:
            assert parameter.grad is None
    gradients = tensors_of_adapter(model, tmp_path)
    wanted = {tensor[5:]: frozen[tensor] for tensor in frozen.files if tensor.startswith("grad.")}
    assert gradients.keys() == wanted.keys()
    for tensor, gradient in gradients.items():
        scale = max(np.abs(wanted[tensor]).max(), 1e-5)
        assert np.abs(gradient - wanted[tensor]).max() / scale < 1e-4, tensor


@pytest.mark.parametrize("name", MODELS)
def test_merged_logits_of_peft(name):
    frozen = np.load(PEFT / name / "expected.npz")
    model = merge_and_unload(load_adapter(base_model(name), PEFT / name))
    with no_grad():
        logits = model(frozen["ids"], labels=frozen["labels"]).logits
    np.testing.assert_allclose(logits, frozen["merged_logits"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", MODELS)
def test_what_peft_wrote_is_written_again(name, tmp_path):
    model = load_adapter(base_model(name), PEFT / name)
    again = tensors_of_adapter(model, tmp_path)
    theirs = read_safetensors(PEFT / name / "adapter_model.safetensors")
    assert again.keys() == theirs.keys()
    for tensor, array in again.items():
        np.testing.assert_array_equal(array, theirs[tensor])
    # And the options choose the same modules, with the same scale.
    twice = load_adapter(base_model(name), tmp_path)
    frozen = np.load(PEFT / name / "expected.npz")
    with no_grad():
        np.testing.assert_allclose(twice(frozen["ids"], labels=frozen["labels"]).logits,
                                   frozen["logits"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "bert", "marian"])
def test_peft_opens_what_minillm_writes(name, tmp_path):
    """Runs where peft is installed."""
    peft = pytest.importorskip("peft")
    import torch
    import transformers

    family = {"bert": "BertForSequenceClassification", "marian": "MarianMTModel"}.get(
        name, "AutoModelForCausalLM")
    frozen = np.load(PEFT / name / "expected.npz")
    model = base_model(name)
    inject(model, LoraConfig(
        r=3, lora_alpha=5, target_modules="all-linear", alpha_pattern={"o_proj|output.dense": 9},
        modules_to_save=heads_in_files(model)))
    random_updates(model)
    save_adapter(model, tmp_path)
    base = getattr(transformers, family).from_pretrained(FIXTURES / MODELS[name][0])
    theirs = peft.PeftModel.from_pretrained(base, tmp_path).eval()
    ids, labels = frozen["ids"], frozen["labels"]
    with no_grad(), torch.no_grad():
        logits = theirs(input_ids=torch.tensor(ids), labels=torch.tensor(labels)).logits.numpy()
        np.testing.assert_allclose(model(ids, labels=labels).logits, logits, rtol=0, atol=2e-5)


# ---- properties

CONFIGS = st.builds(
    LoraConfig, r=st.integers(1, 5), lora_alpha=st.integers(1, 20), use_rslora=st.booleans(),
    target_modules=st.sampled_from(["all-linear", ["attention.qkv"], ["feed_forward.expand",
                                                                     "feed_forward.contract"]]),
    init_lora_weights=st.sampled_from([True, "gaussian"]),
)


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(list(MODELS)), config=CONFIGS)
def test_injecting_merging_and_unmerging(name, config):
    model = base_model(name)
    frozen = np.load(PEFT / name / "expected.npz")

    def logits():
        with no_grad():
            return model(frozen["ids"], labels=frozen["labels"]).logits

    before, parameters = logits(), [parameter.data for parameter in model.parameters()]
    inject(model, config)
    np.testing.assert_array_equal(logits(), before)  # B is zero
    random_updates(model)
    apart = logits()
    assert not np.allclose(apart, before)
    merge(model)
    np.testing.assert_allclose(logits(), apart, rtol=1e-4, atol=3e-4)
    unmerge(model)
    np.testing.assert_array_equal(logits(), apart)
    unload(model)
    for parameter, original in zip(model.parameters(), parameters):
        np.testing.assert_array_equal(parameter.data, original)
    np.testing.assert_array_equal(logits(), before)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_differences(name):
    rng = np.random.default_rng(1)
    model = inject(base_model(name), LoraConfig(r=2, target_modules="all-linear"))
    random_updates(model).astype(np.float64)
    frozen = np.load(PEFT / name / "expected.npz")

    def outputs():
        return model(frozen["ids"], labels=frozen["labels"])

    outputs().loss.backward()
    learning = {each: parameter for each, parameter in model.named_parameters()
                if parameter.trainable}
    chosen = rng.choice(sorted(learning), 6, replace=False)
    check_gradients(lambda: outputs().loss.item(),
                    {each: learning[each].data for each in chosen},
                    {each: learning[each].grad for each in chosen}, rng, tolerance=1e-5)


def test_only_updates_and_saved_modules_get_gradients():
    model = inject(base_model("bert"), LoraConfig(r=2, modules_to_save=["classifier"]))
    model(np.array([[3, 4, 5]]), labels=np.array([1])).loss.backward()
    with_gradient = {name for name, parameter in model.named_parameters()
                     if parameter.grad is not None}
    assert with_gradient == {name for name, parameter in model.named_parameters()
                             if parameter.trainable}
    assert {name for name in with_gradient if ".lora." not in name} == {
        "classifier.weight", "classifier.bias"}
    # Queries and values of two layers of width 12, and the head of four classes.
    assert model.num_parameters(only_trainable=True) == 2 * 2 * (12 * 2 + 2 * 12) + 12 * 4 + 4


@pytest.mark.parametrize("saved", [["wte"], ["lm_head"], ["wte", "lm_head"]])
def test_a_tied_head_that_learns_gets_its_own_matrix(saved, tmp_path):
    model = inject(base_model("gpt2"), LoraConfig(modules_to_save=saved))
    table, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert table is not head and [table.trainable, head.trainable] == [
        "wte" in saved, "lm_head" in saved]
    head.data[:] += 1 if head.trainable else 0
    tensors = tensors_of_adapter(model, tmp_path / "adapter")
    assert {f"base_model.model.{prefix}" in tensors for prefix in (
        ["transformer.wte.weight"] if "wte" in saved else []) + (
        ["lm_head.weight"] if "lm_head" in saved else [])} == {True}
    again = load_adapter(base_model("gpt2"), tmp_path / "adapter")
    model.save_pretrained(tmp_path / "model")
    whole = minillm.GPT2LMHeadModel.from_pretrained(tmp_path / "model")
    ids = np.array([[5, 6, 7]])
    with no_grad():
        np.testing.assert_array_equal(again(ids).logits, model(ids).logits)
        np.testing.assert_allclose(whole(ids).logits, model(ids).logits, rtol=0, atol=1e-5)


def test_saving_the_model_writes_what_it_computes(tmp_path):
    model = random_updates(inject(base_model("gpt2"), LoraConfig(target_modules="all-linear")))
    model.save_pretrained(tmp_path)
    again = minillm.GPT2LMHeadModel.from_pretrained(tmp_path)
    ids = np.array([[5, 6, 7]])
    with no_grad():
        np.testing.assert_allclose(again(ids).logits, model(ids).logits, rtol=0, atol=1e-5)
    assert model.num_parameters(only_trainable=True) < model.num_parameters() / 2


def test_generation_with_a_cache_and_after_quantizing():
    prompt = np.array([[5, 6, 7, 8]])
    options = dict(max_new_tokens=6, do_sample=False)
    model = random_updates(inject(base_model("llama"), LoraConfig(r=2)), std=0.1)
    apart = model.generate(prompt, **options)
    longer = apart[:, :-1]
    with no_grad():
        assert model(longer).logits[0, -1].argmax() == apart[0, -1]  # without a cache
    merge_and_unload(model)
    assert not any(isinstance(module, LoRALinear) for module in model.modules())
    np.testing.assert_array_equal(model.generate(prompt, **options), apart)
    np.testing.assert_array_equal(model.quantize("float32").generate(prompt, **options), apart)


def test_updates_beside_quantized_weights():
    model = random_updates(inject(base_model("llama"), LoraConfig(r=2)))
    ids = np.array([[5, 6, 7, 8]])
    with no_grad():
        before = model(ids).logits
        after = model.quantize("float32")(ids).logits
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="stored as float32 for inference"):
        merge(model)


def test_a_trace_sees_and_patches_the_updates():
    model = random_updates(inject(base_model("llama"), LoraConfig(r=2)))
    ids = np.array([[5, 6, 7]])
    with trace(model) as seen:
        model(ids, labels=ids).loss.backward()
    assert seen["model.layers.0.attention.qkv.lora.0"].shape == (1, 3, 18)  # of the queries
    assert seen["model.layers.0.attention.qkv.lora.1"].shape == (1, 3, 6)  # of the one value head
    gradient = seen.grad["model.layers.0.attention.qkv.lora.0"]
    np.testing.assert_array_equal(
        gradient, seen.grad["model.layers.0.attention.qkv"][..., :18])
    with no_grad(), trace(model) as patched:
        for layer in range(2):
            for part in range(2):
                patched.patch(f"model.layers.{layer}.attention.qkv.lora.{part}", 0)
        logits = model(ids).logits
    with no_grad():
        np.testing.assert_allclose(logits, base_model("llama")(ids).logits, rtol=0, atol=1e-5)


def test_after_unloading_everything_learns_again():
    model = base_model("marian")
    before = [parameter.trainable for parameter in model.parameters()]
    inject(model, LoraConfig())
    merge_and_unload(model)
    assert [parameter.trainable for parameter in model.parameters()] == before


def test_the_names_of_peft(tmp_path, capsys):
    """A program as in peft's documentation; the numbers are those that peft prints."""
    ids = np.array([[5, 6, 7]])
    with no_grad():
        before = base_model("gpt2")(ids).logits
    model = minillm.get_peft_model(base_model("gpt2"), LoraConfig(r=4, lora_alpha=8))
    model.print_trainable_parameters()
    base = base_model("gpt2").num_parameters()
    n = 2 * 4 * (24 + 72)
    assert capsys.readouterr().out == (
        f"trainable params: {n:,} || all params: {base + n:,} || trainable%: "
        f"{100 * n / (base + n):.4f}\n")
    random_updates(model.base_model)
    model.train()
    assert model.base_model.training
    model.eval()
    with no_grad():
        apart = model(ids).logits
        with model.disable_adapter():
            np.testing.assert_array_equal(model(ids).logits, before)
        model.merge_adapter()
        with model.disable_adapter():
            np.testing.assert_array_equal(model(ids).logits, before)
        np.testing.assert_allclose(model(ids).logits, apart, rtol=0, atol=1e-4)
        model.unmerge_adapter()
        np.testing.assert_array_equal(model(ids).logits, apart)
    assert model.generate(ids, max_new_tokens=2, do_sample=False).shape == (1, 5)
    model.save_pretrained(tmp_path)
    again = minillm.PeftModel.from_pretrained(base_model("gpt2"), tmp_path)
    assert again.get_nb_trainable_parameters() == (0, base + n)
    assert again.peft_config["default"].r == 4 and again.get_base_model() is again.base_model
    with no_grad():
        np.testing.assert_array_equal(again(ids).logits, apart)
        np.testing.assert_allclose(again.merge_and_unload()(ids).logits, apart, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(model.unload()(ids).logits, before)
    with pytest.raises(AttributeError, match="nothing"):
        model.nothing


def test_an_architecture_that_minillm_does_not_know(tmp_path):
    model = BagForSequenceClassification(BagConfig())
    with pytest.raises(ValueError, match="wanted Linears of BagForSequenceClassification: score"):
        inject(model, LoraConfig())
    random_updates(inject(model, LoraConfig(target_modules=["score"])))
    ids = np.array([[1, 2, 3]])
    logits = model(ids)
    save_adapter(model, tmp_path)
    other = BagForSequenceClassification(BagConfig())  # the same seed
    np.testing.assert_array_equal(load_adapter(other, tmp_path)(ids), logits)
    names = read_safetensors(tmp_path / "adapter_model.safetensors")
    assert list(names) == [f"base_model.model.score.lora_{letter}.weight" for letter in "AB"]


# ---- files and errors


def test_the_adapter_is_small_and_names_its_modules(tmp_path):
    model = inject(base_model("llama"), LoraConfig(r=2, target_modules=["attention.qkv"],
                                                   base_model_name_or_path="somewhere"))
    save_adapter(model, tmp_path, dtype="float16")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_modules"] == ["k_proj", "q_proj", "v_proj"]
    assert (config["r"], config["base_model_name_or_path"]) == (2, "somewhere")
    load_adapter(base_model("llama"), tmp_path)
    # The ends of these names fit other modules too, so the file has whole names.
    model = inject(base_model("llama"), LoraConfig(target_modules=["q_proj"],
                                                   layers_to_transform=[1]))
    save_adapter(model, tmp_path / "one")
    assert read_adapter_config(tmp_path / "one").target_modules == [
        "model.layers.1.self_attn.q_proj"]


@pytest.fixture
def adapter(tmp_path):
    return Path(shutil.copytree(PEFT / "llama", tmp_path / "adapter"))


@pytest.mark.parametrize("change, message", [
    ({"use_dora": True}, "use_dora is True, but only False is implemented"),
    ({"peft_type": "IA3"}, "peft_type is 'IA3', but only 'LORA'"),
    ({"bias": "all"}, "bias is 'all', but only 'none'"),
    ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which changes"),
    ({"brand_new": 3}, "'brand_new' is a field that minillm doesn't know"),
    ({"r": "8"}, "r is '8', wanted an integer"),
    ({"r": 0}, "r is 0, wanted a rank of at least 1"),
    ({"r": 5}, "lora_A.weight has shape \\(4, 18\\), wanted \\(5, 18\\)"),
    ({"target_modules": ["q_proj"]}, "for which adapter_config.json has no place"),
    ({"target_modules": ["q_proj", "v_proj", "down_proj", "up_proj"]}, "has no base_model.model"),
    ({"target_modules": ["nothing"]}, "target_modules is \\['nothing'\\], wanted Linears of"),
    ({"target_modules": ["q_proj", "embed_tokens"]}, "'embed_tokens', wanted Linears: embeddings"),
    ({"target_modules": "q_proj("}, "'q_proj\\(' is not a regular expression"),
    ({"modules_to_save": ["self_attn.q_proj"]}, "which is one layer with"),
])
def test_adapters_that_are_refused(change, message, adapter):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    model = base_model("llama")
    before = model.state_dict()
    with pytest.raises(ValueError, match=message) as error:
        load_adapter(model, adapter)
    assert "\n" not in str(error.value)
    assert model.state_dict().keys() == before.keys()  # as it was


def test_an_adapter_of_another_model_or_a_damaged_one(adapter):
    with pytest.raises(ValueError, match="wanted Linears of GPT2LMHeadModel"):
        load_adapter(base_model("gpt2"), adapter)
    path = adapter / "adapter_model.safetensors"
    tensors = read_safetensors(path)
    write_safetensors(path, {**tensors, "more": np.zeros(2)})
    with pytest.raises(ValueError, match="'more', for which"):
        load_adapter(base_model("llama"), adapter)
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="cut off"):
        load_adapter(base_model("llama"), adapter)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="adapter_model.safetensors doesn't exist"):
        load_adapter(base_model("llama"), adapter)


def test_an_adapter_is_not_a_model():
    with pytest.raises(FileNotFoundError, match="it is a LoRA adapter; load its base model"):
        minillm.LlamaForCausalLM.from_pretrained(PEFT / "llama")


def test_models_that_are_refused():
    model = base_model("gpt2")
    for function in (merge, unmerge, merge_and_unload, unload):
        with pytest.raises(ValueError, match="has no LoRA updates"):
            function(model)
    with pytest.raises(ValueError, match="embeddings and the output head are one matrix here"):
        inject(base_model("marian"), LoraConfig(modules_to_save=["shared"]))
    inject(model, LoraConfig())
    with pytest.raises(ValueError, match="has LoRA updates already"):
        inject(model, LoraConfig())
    ids = np.array([[1, 2]])
    loss = merge(model)(ids, labels=ids).loss
    with pytest.raises(ValueError, match="wanted them apart to train"):
        loss.backward()
    with pytest.raises(ValueError, match="wanted a model that isn't quantized to add LoRA"):
        inject(base_model("gpt2").quantize("int8"), LoraConfig())


@pytest.mark.parametrize("options, message", [
    (dict(r=0), "r is 0"), (dict(lora_dropout=1.0), "lora_dropout is 1.0"),
    (dict(rank_pattern={"x": 0}), "x is 0"), (dict(init_lora_weights="pissa"), "'pissa'"),
])
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        LoraConfig(**options)
