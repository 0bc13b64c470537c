"""Every op: the same outputs and gradients as PyTorch, in both dtypes."""

import numpy as np
import pytest
from torch_cases import assert_close, load_case

from minillm import ops



# Forward, backward, and the arguments whose gradients the backward returns, in order.
OPS = {
    "linear": (ops.linear, ops.linear_backward, ["x", "W", "b"]),
    "layer_norm": (ops.layer_norm, ops.layer_norm_backward, ["x", "weight", "bias"]),
    "gelu": (ops.gelu, ops.gelu_backward, ["x"]),
    "gelu_tanh": (ops.gelu_tanh, ops.gelu_tanh_backward, ["x"]),
    "relu": (ops.relu, ops.relu_backward, ["x"]),
    "softmax": (ops.softmax, ops.softmax_backward, ["x"]),
    "log_softmax": (ops.log_softmax, ops.log_softmax_backward, ["x"]),
    "embedding": (ops.embedding, ops.embedding_backward, ["table"]),
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
    loss, cache = ops.cross_entropy(**case["in"], label_smoothing=label_smoothing)
    assert loss == pytest.approx(case["out"]["y"].item(), rel=1e-6)
    assert_close(ops.cross_entropy_backward(1.0, cache), case["grad"]["logits"], dtype, "dlogits")
