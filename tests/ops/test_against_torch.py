"""Every op: the same outputs and gradients as PyTorch, in both dtypes."""

import numpy as np
import pytest
from torch_cases import assert_close, load_case

from minillm.ops import cross_entropy, embedding, gelu, layer_norm, linear, relu, softmax



# Forward, backward, and the arguments whose gradients the backward returns, in order.
OPS = {
    "linear": (linear.linear, linear.linear_backward, ["x", "W", "b"]),
    "layer_norm": (layer_norm.layer_norm, layer_norm.layer_norm_backward, ["x", "weight", "bias"]),
    "gelu": (gelu.gelu, gelu.gelu_backward, ["x"]),
    "gelu_tanh": (gelu.gelu_tanh, gelu.gelu_tanh_backward, ["x"]),
    "relu": (relu.relu, relu.relu_backward, ["x"]),
    "softmax": (softmax.softmax, softmax.softmax_backward, ["x"]),
    "log_softmax": (softmax.log_softmax, softmax.log_softmax_backward, ["x"]),
    "embedding": (embedding.embedding, embedding.embedding_backward, ["table"]),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPS)
def test_op(name, dtype):
    forward, backward, arguments = OPS[name]
    case = load_case(name, dtype)
    y, cache = forward(**case["in"])
    assert_close(y, case["out"]["y"], dtype, "y")

    gradients = backward(case["dout"]["dy"], cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    assert set(arguments) == set(case["grad"])
    for argument, gradient in zip(arguments, gradients, strict=True):
        assert_close(gradient, case["grad"][argument], dtype, f"d{argument}")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "name, label_smoothing",
    [
        ("cross_entropy", 0.0),
        ("cross_entropy_ignore", 0.0),
        ("cross_entropy_smooth", 0.1),
        ("cross_entropy_both", 0.2),
    ],
)
def test_cross_entropy(name, label_smoothing, dtype):
    case = load_case(name, dtype)
    loss, cache = cross_entropy.cross_entropy(**case["in"], label_smoothing=label_smoothing)
    assert loss == pytest.approx(case["out"]["y"].item(), rel=1e-6)
    assert_close(cross_entropy.cross_entropy_backward(1.0, cache), case["grad"]["logits"], dtype, "dlogits")
