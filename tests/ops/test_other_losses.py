"""Mean squared error and binary cross-entropy."""

import numpy as np
import pytest
from gradcheck import check_gradients
from hypothesis import given
from strategies import generators, leading_shapes, scales

from minillm.ops.binary_cross_entropy import binary_cross_entropy, binary_cross_entropy_backward
from minillm.ops.cross_entropy import cross_entropy
from minillm.ops.mean_squared_error import mean_squared_error, mean_squared_error_backward


@pytest.mark.parametrize("loss, backward", [
    (mean_squared_error, mean_squared_error_backward),
    (binary_cross_entropy, binary_cross_entropy_backward),
])
@given(rng=generators, shape=leading_shapes, scale=scales)
def test_gradients(loss, backward, rng, shape, scale):
    y, t = scale * rng.standard_normal((*shape, 3)), rng.random((*shape, 3))
    _, cache = loss(y, t)
    check_gradients(lambda: 1.5 * loss(y, t)[0], {"y": y}, {"y": backward(1.5, cache)}, rng)


@given(rng=generators, shape=leading_shapes, scale=scales)
def test_binary_cross_entropy_is_the_cross_entropy_of_two_classes(rng, shape, scale):
    z, t = scale * rng.standard_normal((*shape, 2)), rng.integers(0, 2, (*shape, 2))
    loss, _ = binary_cross_entropy(z, t.astype(float))
    wanted, _ = cross_entropy(np.stack([np.zeros_like(z), z], axis=-1), t)
    assert loss == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("z, t, loss", [(1e4, 1, 0), (-1e4, 0, 0), (1e4, 0, 1e4), (-1e4, 1, 1e4)])
def test_logits_of_any_size(z, t, loss):
    z, t = np.array([z], np.float32), np.array([t], np.float32)
    value, cache = binary_cross_entropy(z, t)
    assert value == loss
    assert binary_cross_entropy_backward(1, cache)[0] == np.sign(loss) * np.sign(z[0])


@given(rng=generators, shape=leading_shapes)
def test_mean_squared_error_is_the_mean_of_the_squares(rng, shape):
    y, t = rng.standard_normal((2, *shape, 3))
    assert mean_squared_error(y, t)[0] == pytest.approx(np.mean((y - t) ** 2))


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"t has shape \(2, 1\), wanted \(2,\)"):
        mean_squared_error(np.zeros(2), np.zeros((2, 1)))
