import math

import numpy as np
import pytest
from gradcheck import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators, leading_shapes, scales, sizes

from minillm.ops.cross_entropy import cross_entropy, cross_entropy_backward
from minillm.ops.softmax import log_softmax

smoothings = st.sampled_from([0.0, 0.1, 0.7])


def draw(rng, shape, vocab_size, scale, ignored=0.0):
    logits = scale * rng.standard_normal((*shape, vocab_size))
    targets = rng.integers(vocab_size, size=shape)
    return logits, np.where(rng.random(shape) < ignored, -100, targets)


@given(generators, leading_shapes, sizes, scales, smoothings, st.sampled_from([0.0, 0.4, 1.0]))
def test_gradients(rng, shape, vocab_size, scale, smoothing, ignored):
    logits, targets = draw(rng, shape, vocab_size, scale, ignored)
    dloss = rng.standard_normal()

    def loss():
        return dloss * cross_entropy(logits, targets, label_smoothing=smoothing)[0]

    _, cache = cross_entropy(logits, targets, label_smoothing=smoothing)
    check_gradients(loss, {"x": logits}, {"x": cross_entropy_backward(dloss, cache)}, rng)


@given(generators, leading_shapes, sizes, scales, smoothings)
def test_is_the_definition(rng, shape, vocab_size, scale, smoothing):
    logits, targets = draw(rng, shape, vocab_size, scale)
    loss, _ = cross_entropy(logits, targets, label_smoothing=smoothing)
    wanted = (1 - smoothing) * np.eye(vocab_size)[targets] + smoothing / vocab_size
    log_p, _ = log_softmax(logits)
    assert loss == pytest.approx(-np.mean(np.sum(wanted * log_p, axis=-1)))


@given(generators, leading_shapes, sizes, scales)
def test_smoothing_0_is_plain(rng, shape, vocab_size, scale):
    logits, targets = draw(rng, shape, vocab_size, scale)
    plain, plain_cache = cross_entropy(logits, targets)
    smooth, smooth_cache = cross_entropy(logits, targets, label_smoothing=0.0)
    assert plain == smooth
    np.testing.assert_array_equal(
        cross_entropy_backward(1.0, plain_cache), cross_entropy_backward(1.0, smooth_cache)
    )


@given(generators, st.integers(1, 8), sizes, smoothings, st.sampled_from([-100, -1, 0]))
def test_ignored_positions_count_for_nothing(rng, n, vocab_size, smoothing, ignore_index):
    logits, targets = draw(rng, (n,), vocab_size, 1.0)
    ignored = rng.random(n) < 0.5
    ignored |= targets == ignore_index
    targets[ignored] = ignore_index
    loss, cache = cross_entropy(logits, targets, ignore_index, smoothing)
    only, only_cache = cross_entropy(logits[~ignored], targets[~ignored], ignore_index, smoothing)
    assert loss == pytest.approx(only)
    dlogits = cross_entropy_backward(1.0, cache)
    assert (dlogits[ignored] == 0).all()
    np.testing.assert_allclose(dlogits[~ignored], cross_entropy_backward(1.0, only_cache))


@given(st.integers(1, 1000))
def test_of_a_model_that_knows_nothing(vocab_size):
    loss, _ = cross_entropy(np.zeros((2, 3, vocab_size)), np.zeros((2, 3), int))
    assert loss == pytest.approx(math.log(vocab_size))


def test_nothing_counted_is_loss_0_and_gradient_0():
    loss, cache = cross_entropy(np.ones((2, 3)), np.array([-100, -100]))
    assert loss == 0
    assert (cross_entropy_backward(1.0, cache) == 0).all()


def test_float32_stays_float32_and_loss_is_a_float():
    loss, cache = cross_entropy(np.ones((2, 3), np.float32), np.array([0, 1]), label_smoothing=0.1)
    assert type(loss) is float
    assert cross_entropy_backward(np.float64(1.0), cache).dtype == np.float32


def test_errors_name_the_argument():
    logits = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"^targets has shape \(3,\), wanted \(2,\)"):
        cross_entropy(logits, np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="^targets contains 3"):
        cross_entropy(logits, np.array([0, 3]))
    with pytest.raises(ValueError, match="^targets contains -1"):
        cross_entropy(logits, np.array([0, -1]))
    with pytest.raises(TypeError, match="^targets has dtype float64"):
        cross_entropy(logits, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="^label_smoothing is 1"):
        cross_entropy(logits, np.array([0, 1]), label_smoothing=1)
    with pytest.raises(TypeError, match="^logits has dtype int64"):
        cross_entropy(np.ones((2, 3), np.int64), np.array([0, 1]))


def test_an_example_by_hand():
    """p = 1/4, 3/4: the loss of the first token is log 4, of the second log 4/3; the third is ignored."""
    logits = np.array([[0.0, math.log(3)]] * 3)
    loss, cache = cross_entropy(logits, np.array([0, 1, -100]))
    assert loss == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)
    wanted = [[(1 / 4 - 1) / 2, 3 / 8], [1 / 8, (3 / 4 - 1) / 2], [0, 0]]
    np.testing.assert_allclose(cross_entropy_backward(1.0, cache), wanted, atol=1e-15)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_targets_of_any_integer_dtype(dtype):
    logits = np.arange(6.0).reshape(2, 3)
    wanted = cross_entropy(logits, np.array([2, 0]))[0]
    assert cross_entropy(logits, np.array([2, 0], dtype))[0] == wanted
    assert cross_entropy(logits, np.array([2, 0], dtype), ignore_index=0)[0] == \
        cross_entropy(logits[:1], np.array([2]))[0]


def test_the_gradient_may_take_the_place_of_the_logits():
    logits = np.arange(6, dtype=np.float32).reshape(2, 3)
    loss, cache = cross_entropy(logits, np.array([2, 0]))
    wanted = cross_entropy_backward(1.0, cache)
    assert cross_entropy_backward(1.0, cache, out=logits) is logits
    np.testing.assert_array_equal(logits, wanted)
