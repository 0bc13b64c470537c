"""Bad input to attention: one clear line that names the argument, the same in all implementations."""

import numpy as np
import pytest

from minillm import kernels
from minillm.ops.attention import AttentionBias, fused_attention, fused_attention_backward

pytestmark = pytest.mark.parametrize("name", ["naive", "numpy", "c"])


def f32(*shape):
    return np.ones(shape, np.float32)


def read_only(*shape):
    array = f32(*shape)
    array.flags.writeable = False
    return array


Q, K, V = f32(2, 3, 4, 5), f32(2, 3, 6, 5), f32(2, 3, 6, 5)
ONE_ROW = np.lib.stride_tricks.as_strided(f32(5), (2, 3, 4, 5), (0, 0, 0, 4))
ROWS_OVERLAP = np.lib.stride_tricks.as_strided(f32(2000), (2, 3, 4, 5), (240, 80, 16, 4))
TRANSPOSED = f32(2, 3, 5, 4).swapaxes(-1, -2)
ENDLESS = float("inf")
NO_BIAS = AttentionBias()
OUT, LSE = f32(2, 3, 4, 5), f32(2, 3, 4)
MASK_IN_OUT = OUT.reshape(-1).view(bool)[:12].reshape(2, 6)
SPREAD_IN_OUT = OUT.reshape(-1)[20:74:2].reshape(3, 9)  # a copy is made to read it
BIAS_IN_OUT = OUT.reshape(-1)[20:47].reshape(3, 9)

BAD_FORWARD = {
    "Q is a list": (TypeError, "Q is a list", dict(Q=[1.0])),
    "K is None": (TypeError, "K is a NoneType", dict(K=None)),
    "integers": (TypeError, "Q has dtype int64", dict(Q=np.ones((2, 3, 4, 5), int))),
    "mixed": (TypeError, "V has dtype float64", dict(V=np.ones((2, 3, 6, 5)))),
    "float16": (TypeError, "K has dtype float16", dict(K=np.ones((2, 3, 6, 5), "f2"))),
    "byte-swapped": (TypeError, "Q has dtype >f4", dict(Q=np.ones((2, 3, 4, 5), ">f4"))),
    "Q is 3-D": (ValueError, "Q has shape (3, 4, 5)", dict(Q=f32(3, 4, 5))),
    "D of Q is 0": (ValueError, "Q has shape (2, 3, 4, 0)", dict(Q=f32(2, 3, 4, 0))),
    "B of K": (ValueError, "K has shape (1, 3, 6, 5)", dict(K=f32(1, 3, 6, 5))),
    "H of K": (ValueError, "K has shape (2, 2, 6, 5): 2 heads", dict(K=f32(2, 2, 6, 5))),
    "no heads of K": (ValueError, "K has shape (2, 0, 6, 5): 0 heads", dict(K=f32(2, 0, 6, 5))),
    "H of V": (ValueError, "V has shape (2, 1, 6, 5)", dict(V=f32(2, 1, 6, 5))),
    "D of K": (ValueError, "K has shape (2, 3, 6, 4)", dict(K=f32(2, 3, 6, 4))),
    "Tk of V": (ValueError, "V has shape (2, 3, 7, 5)", dict(V=f32(2, 3, 7, 5))),
    "D of V": (ValueError, "V has shape (2, 3, 6, 4)", dict(V=f32(2, 3, 6, 4))),
    "bias is True": (TypeError, "bias is a bool, wanted an AttentionBias", dict(bias=True)),
    "causal is 1": (TypeError, "causal is a int", dict(bias=AttentionBias(1))),
    "key_mask is a list": (TypeError, "key_mask is a list",
                           dict(bias=AttentionBias(key_mask=[[True] * 6] * 2))),
    "key_mask's dtype": (TypeError, "key_mask has dtype int64",
                         dict(bias=AttentionBias(key_mask=np.ones((2, 6), np.int64)))),
    "key_mask's shape": (ValueError, "key_mask has shape (2, 4)",
                         dict(bias=AttentionBias(key_mask=np.ones((2, 4), bool)))),
    "distance_bias is a list": (TypeError, "distance_bias is a list",
                                dict(bias=AttentionBias(distance_bias=[[0.0] * 9] * 3))),
    "distance_bias' dtype": (TypeError, "distance_bias has dtype float64",
                             dict(bias=AttentionBias(distance_bias=np.ones((3, 9))))),
    "distance_bias' shape": (ValueError, "distance_bias has shape (3, 6), wanted (3, 9)",
                             dict(bias=AttentionBias(distance_bias=f32(3, 6)))),
    "scale is nan": (ValueError, "scale is nan", dict(scale=float("nan"))),
    "scale is infinite": (ValueError, "scale is inf", dict(scale=ENDLESS)),
    "scale is text": (TypeError, "scale is a str", dict(scale="1")),
    "out is a list": (TypeError, "out is a list", dict(out=[1.0])),
    "out's dtype": (TypeError, "out has dtype float64", dict(out=np.ones((2, 3, 4, 5)))),
    "out's shape": (ValueError, "out has shape (2, 3, 6, 5)", dict(out=f32(2, 3, 6, 5))),
    "out is read-only": (ValueError, "out is read-only", dict(out=read_only(2, 3, 4, 5))),
    "out's last axis": (ValueError, "out has strides", dict(out=TRANSPOSED)),
    "out's rows are one": (ValueError, "out has strides", dict(out=ONE_ROW)),
    "out's rows overlap": (ValueError, "out has strides", dict(out=ROWS_OVERLAP)),
    "out is Q": (ValueError, "out overlaps Q", dict(out=Q)),
    "key_mask in out": (ValueError, "out overlaps key_mask",
                        dict(out=OUT, bias=AttentionBias(key_mask=MASK_IN_OUT))),
    "spread distance_bias in out": (ValueError, "out overlaps distance_bias",
                                    dict(out=OUT, bias=AttentionBias(distance_bias=SPREAD_IN_OUT))),
    "distance_bias in out": (ValueError, "out overlaps distance_bias",
                             dict(out=OUT, bias=AttentionBias(distance_bias=BIAS_IN_OUT))),
}


@pytest.mark.parametrize("case", BAD_FORWARD)
def test_bad_arguments(name, case):
    error, message, wrong = BAD_FORWARD[case]
    with kernels.use(name), pytest.raises(error) as caught:
        fused_attention(**{"Q": Q, "K": K, "V": V, "bias": NO_BIAS, **wrong})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


GOOD_GRADS = (f32(2, 3, 4, 5), f32(2, 3, 6, 5), f32(2, 3, 6, 5))

BAD_BACKWARD = {
    "Q is a list": (TypeError, "Q is a list", dict(Q=[1.0])),
    "V's shape": (ValueError, "V has shape (2, 3, 5, 5)", dict(V=f32(2, 3, 5, 5))),
    "dout's shape": (ValueError, "dout has shape (2, 3, 6, 5)", dict(dout=f32(2, 3, 6, 5))),
    "dout's dtype": (TypeError, "dout has dtype float64", dict(dout=np.ones((2, 3, 4, 5)))),
    "out's shape": (ValueError, "out has shape (2, 3, 5)", dict(out=f32(2, 3, 5))),
    "lse's shape": (ValueError, "lse has shape (2, 3, 6)", dict(lse=f32(2, 3, 6))),
    "lse's dtype": (TypeError, "lse has dtype float64", dict(lse=np.ones((2, 3, 4)))),
    "key_mask's shape": (ValueError, "key_mask has shape",
                         dict(bias=AttentionBias(key_mask=np.ones(6, bool)))),
    "grads is an array": (TypeError, "grads is a ndarray", dict(grads=f32(3, 2, 3, 4, 5))),
    "two grads": (ValueError, "grads has 2 arrays", dict(grads=GOOD_GRADS[:2])),
    "shape of dK": (ValueError, "grads[1] has shape (2, 3, 4, 5)",
                    dict(grads=(GOOD_GRADS[0], f32(2, 3, 4, 5), GOOD_GRADS[2]))),
    "dQ is read-only": (ValueError, "grads[0] is read-only",
                        dict(grads=(read_only(2, 3, 4, 5), *GOOD_GRADS[1:]))),
    "dV is dK": (ValueError, "grads[1] overlaps grads[2]",
                 dict(grads=(GOOD_GRADS[0], GOOD_GRADS[1], GOOD_GRADS[1]))),
    "dK is K": (ValueError, "grads[1] overlaps K", dict(grads=(GOOD_GRADS[0], K, GOOD_GRADS[2]))),
    "dQ is out": (ValueError, "grads[0] overlaps out", dict(grads=(OUT, *GOOD_GRADS[1:]))),
    "lse in dQ": (ValueError, "grads[0] overlaps lse",
                  dict(lse=GOOD_GRADS[0].reshape(-1)[:24].reshape(2, 3, 4), grads=GOOD_GRADS)),
    "distance_bias in dV": (
        ValueError, "grads[2] overlaps distance_bias",
        dict(bias=AttentionBias(distance_bias=GOOD_GRADS[2].reshape(-1)[:27].reshape(3, 9)),
             grads=GOOD_GRADS)),
    "a list among grads": (TypeError, "grads[1] is a list",
                           dict(grads=(GOOD_GRADS[0], [1.0], GOOD_GRADS[2]))),
}


@pytest.mark.parametrize("case", BAD_BACKWARD)
def test_bad_arguments_of_the_backward(name, case):
    error, message, wrong = BAD_BACKWARD[case]
    good = {"dout": f32(2, 3, 4, 5), "Q": Q, "K": K, "V": V, "out": OUT, "lse": LSE,
            "bias": NO_BIAS}
    with kernels.use(name), pytest.raises(error) as caught:
        fused_attention_backward(**{**good, **wrong})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_inputs_may_overlap_and_be_read_only(name):
    x = read_only(2, 3, 4, 5)
    with kernels.use(name):
        out, lse = fused_attention(x, x, x, NO_BIAS)
        fused_attention_backward(x, x, x, x, out, lse, NO_BIAS)
    np.testing.assert_allclose(out, 1, rtol=1e-6)


def test_huge_sizes_without_elements_take_no_time(name):
    """Strides of 0 make a batch of 2⁴⁰ from no memory; with no queries there is nothing to do."""
    empty = np.broadcast_to(f32(1, 1, 0, 5), (2**40, 1, 0, 5))
    with kernels.use(name):
        out, lse = fused_attention(empty, empty, empty, NO_BIAS)
        grads = fused_attention_backward(out, empty, empty, empty, out, lse, NO_BIAS)
    assert out.shape == empty.shape and lse.shape == (2**40, 1, 0)
    assert all(grad.shape == empty.shape for grad in grads[:3])
