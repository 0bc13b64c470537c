"""The order of a model's layers, freezing the lowest, and a learning rate for each."""

import numpy as np
import pytest
from bag_of_words import BagConfig, BagForSequenceClassification
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import MODELS, base_model

from minillm import BertConfig, BertForSequenceClassification
from minillm.models.layer_order import freeze_lowest, layer_order, learning_rate_groups
from minillm.models.lora import LoraConfig, inject
from minillm.models.transformer import TransformerForConditionalGeneration
from minillm.models.transformer_config import TransformerConfig

BLOCKS = {
    "gpt2": ["transformer.h.0", "transformer.h.1"],
    "llama": ["model.layers.0", "model.layers.1"],
    "qwen2": ["model.layers.0", "model.layers.1"],
    "apertus": ["model.layers.0", "model.layers.1"],
    "bert": ["bert.layers.0", "bert.layers.1"],
    "marian": ["model.encoder.layers.0", "model.encoder.layers.1", "model.decoder.layers.0"],
}


def names_by_layer(model):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {layer: [names[id(parameter)] for parameter in parameters]
            for layer, parameters in layer_order(model).items()}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("with_lora", [False, True])
def test_every_parameter_is_in_one_layer(name, with_lora):
    model = base_model(name)
    if with_lora:
        inject(model, LoraConfig(target_modules="all-linear"))
    order = names_by_layer(model)
    assert list(order) == ["embeddings", *BLOCKS[name], "head"]
    found = [each for names in order.values() for each in names]
    assert sorted(found) == sorted(each for each, _ in model.named_parameters())
    for block in BLOCKS[name]:
        assert all(each.startswith(f"{block}.") for each in order[block])


def test_what_belongs_to_no_block():
    assert names_by_layer(base_model("gpt2"))["embeddings"] == ["transformer.wte.weight",
                                                               "transformer.wpe.weight"]
    assert names_by_layer(base_model("gpt2"))["head"] == ["transformer.ln_f.weight",
                                                         "transformer.ln_f.bias"]
    order = names_by_layer(base_model("qwen2"))
    assert order["head"] == ["model.norm.weight", "lm_head.weight"]  # untied
    order = names_by_layer(inject(base_model("bert"), LoraConfig(target_modules="all-linear")))
    assert "bert.embeddings.norm.weight" in order["embeddings"]
    assert {"bert.pooler.dense.weight", "bert.pooler.dense.lora.0.A", "classifier.bias"} <= set(
        order["head"])
    separate = TransformerForConditionalGeneration(TransformerConfig(
        vocab_size=9, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, normalize_before=True,
        share_encoder_decoder_embeddings=False))
    order = names_by_layer(separate)
    assert order["embeddings"] == ["model.encoder.embed_tokens.weight",
                                   "model.decoder.embed_tokens.weight"]
    assert "model.encoder.layer_norm.weight" in order["model.encoder.layers.0"]
    assert "model.decoder.layer_norm.weight" in order["head"]
    bag = names_by_layer(BagForSequenceClassification(BagConfig()))
    assert bag == {"embeddings": ["bag.words.weight"],
                   "head": ["classifier.weight", "classifier.bias"]}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("lowest, n", [("embeddings", 0), ("0", 0), (1, 1), ("2", 2)])
def test_frozen_layers_get_no_gradient(name, lowest, n):
    model = freeze_lowest(base_model(name), lowest)
    labels = np.array([1, 0]) if name == "bert" else np.array([[3, 4, 5], [6, 7, 8]])
    model(np.array([[3, 4, 5], [6, 7, 8]]), labels=labels).loss.backward()
    layers = list(layer_order(model).values())
    for parameters in layers[: n + 1]:
        assert all(parameter.grad is None and not parameter.trainable for parameter in parameters)
    for parameters in layers[n + 1 :]:
        assert all(parameter.grad is not None for parameter in parameters if parameter.trainable)


@pytest.mark.parametrize("lowest", ["head", "3", "-1", "1.5", "", 9])
def test_layers_that_there_are_not(lowest):
    with pytest.raises(ValueError, match="wanted 'embeddings' or a number from 0 to 2, the blocks"):
        freeze_lowest(base_model("gpt2"), lowest)


@settings(max_examples=15)
@given(st.floats(0.1, 1), st.sampled_from(["gpt2", "marian"]))
def test_the_rate_falls_with_the_depth(decay, name):
    model = base_model(name)
    groups = learning_rate_groups(model, decay)
    n = len(BLOCKS[name])
    shares = [group["lr_scale"] for group in groups]
    np.testing.assert_allclose(shares[: n + 1], [decay**(n + 1 - i) for i in range(n + 1)])
    assert groups[0]["params"][0] is model.get_input_embeddings().weight
    assert sum(len(group["params"]) for group in groups) == sum(
        parameter.trainable for parameter in model.parameters())


def test_frozen_parameters_are_in_no_group():
    model = freeze_lowest(BertForSequenceClassification(BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=8)), 1)
    groups = learning_rate_groups(model, 0.5)
    assert [group["lr_scale"] for group in groups] == [0.5, 1.0]
