import numpy as np
import pytest
from gradcheck import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators, leading_shapes, sizes

from minillm.ops.embedding import embedding, embedding_backward


@given(generators, leading_shapes, sizes, sizes)
def test_gradients(rng, shape, n, d):
    table = rng.standard_normal((n, d))
    ids = rng.integers(n, size=shape)  # with few rows, ids repeat
    y, cache = embedding(ids, table)
    dy = rng.standard_normal(y.shape)
    check_gradients(
        lambda: np.sum(embedding(ids, table)[0] * dy),
        {"table": table},
        {"table": embedding_backward(dy, cache)},
        rng,
    )


@given(generators, leading_shapes, sizes, sizes)
def test_is_multiplication_by_a_one_hot_matrix(rng, shape, n, d):
    table = rng.standard_normal((n, d))
    ids = rng.integers(n, size=shape)
    one_hot = np.eye(n)[ids]
    y, cache = embedding(ids, table)
    np.testing.assert_allclose(y, one_hot @ table)
    dy = rng.standard_normal(y.shape)
    expected = one_hot.reshape(-1, n).T @ dy.reshape(-1, d)
    np.testing.assert_allclose(embedding_backward(dy, cache), expected, atol=1e-12)


@given(generators, st.booleans())
def test_writes_into_a_buffer(rng, accumulate):
    table = rng.standard_normal((4, 3))
    _, cache = embedding(np.array([[1, 1, 3]]), table)
    dy = rng.standard_normal((1, 3, 3))
    buffer = rng.standard_normal((4, 3))
    before = buffer.copy() if accumulate else np.zeros((4, 3))
    result = embedding_backward(dy, cache, dtable=buffer, accumulate=accumulate)
    assert result is buffer
    np.testing.assert_allclose(buffer, before + embedding_backward(dy, cache))


@pytest.mark.parametrize("wrong", [-1, 4])
def test_an_id_outside_the_table_is_named(wrong):
    with pytest.raises(ValueError, match=f"^ids contains {wrong}, wanted ids from 0 to 3"):
        embedding(np.array([0, wrong]), np.ones((4, 2)))


def test_ids_must_be_integers():
    with pytest.raises(TypeError, match="^ids has dtype float64"):
        embedding(np.array([0.0]), np.ones((4, 2)))


def test_an_example_by_hand():
    table = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    y, cache = embedding(np.array([2, 0, 2]), table)
    assert y.tolist() == [[5, 6], [1, 2], [5, 6]]
    dy = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    assert embedding_backward(dy, cache).tolist() == [[2, 20], [0, 0], [1 + 3, 10 + 30]]


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_ids_of_any_integer_dtype(dtype):
    table = np.arange(8.0).reshape(4, 2)
    y, cache = embedding(np.array([3, 0], dtype), table)
    assert y.tolist() == [[6, 7], [0, 1]]
    assert embedding_backward(np.ones((2, 2)), cache).sum() == 4
