"""Attention and blocks: the same outputs, weights and gradients as PyTorch, in both dtypes."""

import numpy as np
import pytest
from torch_cases import assert_close, load_case

from minillm.nn import CrossAttention, DecoderBlock, EncoderBlock, SelfAttention, trace

D_MODEL, N_HEADS, D_FF = 8, 2, 12
RNG = np.random.default_rng(0)
MASKS = load_case("masks", np.float64)["in"]
KEY_MASK = {"key_mask": MASKS["key_mask"]}

# Case of make_ops.py: how to make the layer, and the options of its forward.
LAYERS = {
    "mha": (lambda: SelfAttention(D_MODEL, N_HEADS, rng=RNG), {}),
    "mha_causal": (lambda: SelfAttention(D_MODEL, N_HEADS, causal=True, rng=RNG), {}),
    "mha_masked": (lambda: SelfAttention(D_MODEL, N_HEADS, rng=RNG), KEY_MASK),
    "mha_cross": (
        lambda: CrossAttention(D_MODEL, N_HEADS, rng=RNG),
        {"key_mask": MASKS["memory_key_mask"]},
    ),
}
for norm, encoder, decoder in [("pre", "relu", "gelu"), ("post", "gelu", "relu")]:
    LAYERS[f"encoder_{norm}_{encoder}"] = (
        lambda norm=norm, activation=encoder: EncoderBlock(
            D_MODEL, N_HEADS, D_FF, norm=norm, activation=activation, rng=RNG
        ),
        KEY_MASK,
    )
    LAYERS[f"decoder_{norm}_{decoder}"] = (
        lambda norm=norm, activation=decoder: DecoderBlock(
            D_MODEL, N_HEADS, D_FF, norm=norm, activation=activation, rng=RNG
        ),
        {"memory_key_mask": MASKS["memory_key_mask"]},
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, dtype):
    make, options = LAYERS[name]
    case = load_case(name, dtype)
    layer = make().astype(dtype)
    layer.load_state_dict(case["state"])
    inputs = [case["in"][key] for key in ("x", "memory") if key in case["in"]]

    assert_close(layer(*inputs, **options), case["out"]["y"], dtype, "y")
    gradients = layer.backward(case["dout"]["dy"])
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    for key, gradient in zip(("x", "memory"), gradients):
        assert_close(gradient, case["grad"].pop(key), dtype, key)
    parameters = dict(layer.named_parameters())
    assert parameters.keys() == case["grad"].keys()
    for key, parameter in parameters.items():
        assert_close(parameter.grad, case["grad"][key], dtype, key)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [name for name in LAYERS if name.startswith("mha")])
def test_attention_weights(name, dtype):
    make, options = LAYERS[name]
    case = load_case(name, dtype)
    layer = make().astype(dtype)
    layer.load_state_dict(case["state"])
    inputs = [case["in"][key] for key in ("x", "memory") if key in case["in"]]
    with trace(layer) as t:
        y = layer(*inputs, **options)
    assert_close(y, case["out"]["y"], dtype, "y")
    assert_close(t["weights"], case["out"]["weights"], dtype, "weights")
