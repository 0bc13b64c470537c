"""The message names the first thing that went wrong."""

import numpy as np
import pytest

from minillm.models.gpt2 import GPT2Config, GPT2LMHeadModel
from minillm.training.nonfinite import (
    find_nonfinite,
    find_nonfinite_gradient,
    find_nonfinite_parameter,
)

IDS = np.arange(6).reshape(1, 6)
HUGE = np.float32(3e38)


@pytest.fixture
def model():
    return GPT2LMHeadModel(GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=3, n_head=2))


@pytest.mark.parametrize("value, name", [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "inf")])
def test_every_parameter_is_looked_at(model, value, name):
    assert find_nonfinite_parameter(model) is None
    for parameter_name, parameter in model.named_parameters():
        old = parameter.data.flat[-1]
        parameter.data.flat[-1] = value
        wanted = f"the parameter {parameter_name} contains {name}"
        assert find_nonfinite_parameter(model) == find_nonfinite(model, lambda: model(IDS)) == wanted
        parameter.data.flat[-1] = old


@pytest.mark.parametrize("layer", [0, 1])
def test_the_first_layer_whose_output_overflows_is_named(model, layer):
    # All weights are finite, but their product isn't.
    contract = model.transformer.h[layer].feed_forward.contract
    contract.weight.data[:] = HUGE
    contract.bias.data[:] = HUGE
    model.transformer.h[layer].feed_forward.expand.bias.data[:] = 10
    assert find_nonfinite(model, lambda: model(IDS)).endswith(
        f"inf is transformer.h.{layer}.feed_forward.contract")


def test_embeddings_and_logits_are_layers_too(model):
    model.transformer.wte.weight.data[:, 0] = HUGE
    model.transformer.wpe.weight.data[:, 0] = HUGE
    assert find_nonfinite(model, lambda: model(IDS)) == (
        "the first layer whose output contains inf is transformer.drop")
    model.transformer.wte.weight.data[:] = model.transformer.wpe.weight.data[:] = 0
    model.transformer.wte.weight.data[8] = HUGE  # a token that isn't in the text
    model.transformer.ln_f.bias.data[:] = 100
    assert "inf is lm_head" in find_nonfinite(model, lambda: model(IDS))


def test_a_gradient_is_named_by_the_order_of_the_backward(model):
    for parameter in model.parameters():
        parameter.grad = np.zeros_like(parameter.data)
    assert "every gradient is finite" in find_nonfinite_gradient(model)
    blocks = model.transformer.h
    for block in blocks[:2]:  # the gradient of block 1 comes first
        block.norm1.weight.grad[0] = np.nan
    assert find_nonfinite_gradient(model).endswith("transformer.h.1.norm1.weight contains nan")
