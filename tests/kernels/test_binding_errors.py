"""Bad input to matmul: one clear line that names the argument, the same in all implementations."""

import numpy as np
import pytest

from minillm import kernels
from minillm.ops.matmul import matmul

pytestmark = pytest.mark.parametrize("name", ["naive", "numpy", "c"])


def f32(*shape):
    return np.ones(shape, np.float32)


def read_only(*shape):
    array = f32(*shape)
    array.flags.writeable = False
    return array


BUFFER = f32(8, 12)

BAD = {
    "A is a list": (TypeError, "A is a list", lambda: ([[1.0]], f32(1, 1))),
    "B is None": (TypeError, "B is a NoneType", lambda: (f32(1, 1), None)),
    "integers": (TypeError, "A has dtype int64", lambda: (np.ones((2, 2), int), f32(2, 2))),
    "float16": (TypeError, "B has dtype float16", lambda: (f32(2, 2), np.ones((2, 2), "f2"))),
    "byte-swapped": (TypeError, "A has dtype >f4", lambda: (np.ones((2, 2), ">f4"), f32(2, 2))),
    "mixed": (TypeError, "B has dtype float64", lambda: (f32(2, 2), np.ones((2, 2)))),
    "A is 1-D": (ValueError, "A has shape (2,)", lambda: (f32(2), f32(2, 2))),
    "B is 0-D": (ValueError, "B has shape ()", lambda: (f32(2, 2), f32())),
    "inner sizes": (ValueError, "B has shape (4, 2)", lambda: (f32(2, 3), f32(4, 2))),
    "batches": (ValueError, "B has shape (3, 2, 2)", lambda: (f32(2, 2, 2), f32(3, 2, 2))),
    "batch of one": (ValueError, "B has shape (1, 2, 2)", lambda: (f32(2, 2, 2), f32(1, 2, 2))),
    "out's shape": (ValueError, "out has shape (2, 3)",
                    lambda: (f32(2, 2), f32(2, 2), f32(2, 3))),
    "out's number of axes": (ValueError, "out has shape (1, 2, 2)",
                             lambda: (f32(2, 2), f32(2, 2), f32(1, 2, 2))),
    "out's dtype": (TypeError, "out has dtype float64",
                    lambda: (f32(2, 2), f32(2, 2), np.ones((2, 2)))),
    "out is a list": (TypeError, "out is a list", lambda: (f32(1, 1), f32(1, 1), [[1.0]])),
    "out is read-only": (ValueError, "out is read-only",
                         lambda: (f32(2, 2), f32(2, 2), read_only(2, 2))),
    "out's last axis": (ValueError, "out has strides",
                        lambda: (f32(2, 2), f32(2, 2), f32(2, 4)[:, ::2])),
    "out's rows are one": (ValueError, "out has strides",
                           lambda: (f32(2, 2), f32(2, 2),
                                    np.lib.stride_tricks.as_strided(f32(2, 2), (2, 2), (0, 4)))),
    "out is A": (ValueError, "out overlaps A", lambda: (BUFFER[:4, :4], f32(4, 4), BUFFER[:4, :4])),
    "out shares with B": (ValueError, "out overlaps B",
                          lambda: (f32(4, 4), BUFFER[:4, :4], BUFFER[3:7, 3:7])),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(name, case):
    error, message, arguments = BAD[case]
    with kernels.use(name), pytest.raises(error) as caught:
        matmul(*arguments())
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_transposes_count_in_the_shapes(name):
    with kernels.use(name):
        assert matmul(f32(3, 2), f32(3, 5), transpose_A=True).shape == (2, 5)
        assert matmul(f32(2, 3), f32(5, 3), transpose_B=True).shape == (2, 5)
        with pytest.raises(ValueError, match="B has shape"):
            matmul(f32(3, 2), f32(3, 5))
        with pytest.raises(ValueError, match="B has shape"):
            matmul(f32(3, 2), f32(3, 5), transpose_A=True, transpose_B=True)


def test_accumulate_needs_out(name):
    with kernels.use(name), pytest.raises(ValueError, match="out is None"):
        matmul(f32(2, 2), f32(2, 2), accumulate=True)


BAD_BIAS = {
    "a list": (TypeError, "bias is a list", {"bias": [0.0, 0.0]}),
    "dtype": (TypeError, "bias has dtype float64", {"bias": np.ones(2)}),
    "shape": (ValueError, "bias has shape (3,)", {"bias": f32(3)}),
    "one row": (ValueError, "bias has shape (1, 2)", {"bias": f32(1, 2)}),
    "accumulate": (ValueError, "bias is an array",
                   {"bias": f32(2), "accumulate": True, "out": f32(4, 2)}),
    "part of out": (ValueError, "out overlaps bias",
                    {"bias": BUFFER[1, 2:4], "out": BUFFER[:4, 2:4]}),
}


@pytest.mark.parametrize("case", BAD_BIAS)
def test_bad_bias(name, case):
    error, message, options = BAD_BIAS[case]
    with kernels.use(name), pytest.raises(error) as caught:
        matmul(f32(4, 3), f32(3, 2), **options)
    assert str(caught.value).startswith(message)


def test_disjoint_views_of_one_buffer_are_accepted(name):
    buffer = np.arange(96, dtype=np.float32).reshape(8, 12)
    A, B, out = buffer[:4, :4], buffer[4:, :4], buffer[:4, 4:8]
    expected = A.copy() @ B.copy()
    with kernels.use(name):
        matmul(A, B, out)
    np.testing.assert_array_equal(buffer[:4, 4:8], expected)


def test_an_input_may_be_used_twice(name):
    A = np.arange(6, dtype=np.float32).reshape(2, 3)
    with kernels.use(name):
        np.testing.assert_array_equal(matmul(A, A, transpose_B=True), A @ A.T)


def test_misaligned_inputs_are_copied_and_a_misaligned_out_is_refused(name):
    raw = np.zeros(4 * 6 + 1, np.uint8)
    misaligned = raw[1:].view(np.float32).reshape(2, 3)
    misaligned[...] = np.arange(6).reshape(2, 3)
    with kernels.use(name):
        result = matmul(misaligned, np.eye(3, dtype=np.float32))
        np.testing.assert_array_equal(result, misaligned)
        with pytest.raises(ValueError, match="out has strides|out is not aligned"):
            matmul(f32(2, 2), f32(2, 3), misaligned)


def test_read_only_inputs_are_fine(name):
    with kernels.use(name):
        assert np.all(matmul(read_only(2, 3), read_only(3, 2)) == 3)
