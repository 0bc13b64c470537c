"""The ops that are no kernels themselves: whatever is passed gives the right result, or an error of
one line that names an argument; and no error leaves an array half changed."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from views import copied, inside, spoiled

from minillm.ops.attention import AttentionBias, attention, attention_backward, fused_attention
from minillm.ops.cross_entropy import cross_entropy
from minillm.ops.dropout import dropout
from minillm.ops.embedding import embedding, embedding_backward
from minillm.ops.linear import linear, linear_backward
from minillm.ops.matmul import matmul
from minillm.ops.softmax import log_softmax, softmax

NAMES = {"x", "W", "b", "dy", "dW", "A", "B", "out", "bias", "ids", "table", "dtable", "logits",
         "targets", "Q", "K", "V", "dout", "grads", "key_mask", "distance_bias", "cache"}


def numbers(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def _linear_backward(x, W, b, dy, dW):
    return linear_backward(dy, linear(x, W, b)[1], dW=dW)


def _embedding_backward(ids, table, dy, dtable):
    return embedding_backward(dy, embedding(ids, table)[1], dtable=dtable)


def _attention_backward(Q, K, V, dout, dQ, dK, dV):
    cache = attention(Q, K, V, bias=AttentionBias(causal=True))[2]
    return attention_backward(dout, cache, grads=(dQ, dK, dV))[:3]


# What is called, and its arguments as shapes; "ids" stands for integers from 0 to 4.
OPS = {
    "softmax": (lambda x: softmax(x)[0], [(3, 5)]),
    "log_softmax": (lambda x: log_softmax(x)[0], [(3, 5)]),
    "dropout": (lambda x: dropout(x, 0.5, np.random.default_rng(0))[0], [(3, 5)]),
    "cross_entropy": (lambda logits, targets: cross_entropy(logits, targets)[0], [(6, 5), "ids"]),
    "linear": (lambda x, W, b: linear(x, W, b)[0], [(6, 4), (4, 5), (5,)]),
    "linear without inputs": (lambda x, W, b: linear(x, W, b)[0], [(6, 0), (0, 5), (5,)]),
    "linear_backward": (_linear_backward, [(6, 4), (4, 5), (5,), (6, 5), (4, 5)]),
    "embedding": (lambda ids, table: embedding(ids, table)[0], ["ids", (5, 3)]),
    "embedding_backward": (_embedding_backward, ["ids", (5, 3), (6, 3), (5, 3)]),
    "attention_backward": (_attention_backward, [(2, 2, 3, 4), (2, 1, 5, 4), (2, 1, 5, 4),
                                                 (2, 2, 3, 4), (2, 2, 3, 4), (2, 1, 5, 4),
                                                 (2, 1, 5, 4)]),
}


@pytest.mark.parametrize("name", OPS)
@given(rng=st.integers(0, 2**32 - 1).map(np.random.default_rng))
def test_any_argument_gives_the_right_result_or_an_error_that_names_it(name, rng):
    op, shapes = OPS[name]
    values = [rng.integers(0, 5, 6) if shape == "ids" else numbers(rng, *shape)
              for shape in shapes]
    for _ in range(rng.integers(1, 3)):
        index = rng.integers(len(values))
        if isinstance(values[index], np.ndarray):
            others = [value for value in values if isinstance(value, np.ndarray)]
            values[index] = (inside(values[index], others[rng.integers(len(others))], rng)
                             if rng.random() < 0.3 else spoiled(values[index], rng))
    with np.errstate(all="ignore"):
        wanted = error = None
        try:
            wanted = op(*copied(values))
        except (TypeError, ValueError) as caught:
            error = caught
        before = copied(values)
        try:
            results = op(*values)
        except (TypeError, ValueError) as caught:
            line = str(caught)
            assert re.split(r"\W", line)[0] in NAMES and "\n" not in line, line
            for value, unchanged in zip(values, before):
                np.testing.assert_array_equal(value, unchanged)
        else:
            assert error is None, error
            for result, right in zip(*(r if isinstance(r, tuple) else (r,)
                                       for r in (results, wanted))):
                if right is None:  # no bias, no gradient of one
                    assert result is None
                else:
                    np.testing.assert_allclose(result, right, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("call, message", [
    (lambda x: softmax(x[0, 0]), r"^x is a float32, wanted a NumPy array"),
    (lambda x: softmax(np.array(1, np.float32)), r"^x has shape \(\), wanted at least 1 axis"),
    (lambda x: dropout(x, None, None), "^p is a NoneType, wanted a number"),
    (lambda x: dropout(x, 0.5, None), "^rng is a NoneType, wanted a NumPy Generator"),
    (lambda x: matmul(x, x, transpose_A=np.array([1, 2])), "^transpose_A is a ndarray, wanted True"),
    (lambda x: matmul(x, x, transpose_B="yes"), "^transpose_B is a str, wanted True or False"),
    (lambda x: matmul(x, x, x.copy(), accumulate=2), "^accumulate is a int, wanted True or False"),
    (lambda x: fused_attention(*[x[None, None]] * 3, AttentionBias(), 10**400, None),
     "^scale is an integer beyond 1.8e308"),
    (lambda x: cross_entropy(x, np.array([0, 1]), label_smoothing="x"),
     "^label_smoothing is a str, wanted a number"),
    (lambda x: linear(x, x[0]), r"^W has shape \(2,\), wanted \('any', 'any'\)"),
])
def test_examples(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(np.ones((2, 2), np.float32))
