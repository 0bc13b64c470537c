"""rotate: the naive loops, NumPy and C agree, for views of fused buffers, in place, and partly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators

from minillm import kernels
from minillm.kernels import c_library
from minillm.ops.rotary import rotate

needs_c = pytest.mark.skipif(c_library.why_missing() is not None,
                             reason="needs the C extension")


@st.composite
def cases(draw):
    """-> x (B, H, T, D), a view of a buffer (B, T, n, D); cos, sin: shared, or of each sequence"""
    rng = draw(generators)
    B, H, T, D = (draw(st.integers(1, high)) for high in (3, 4, 6, 70))
    pairs = draw(st.integers(0, D // 2))
    buffer = rng.standard_normal((B, T, H + 2, D), dtype=np.float32)
    x = buffer.transpose(0, 2, 1, 3)[:, 1 : H + 1]
    shape = draw(st.sampled_from([(T, pairs), (B, 1, T, pairs), (1, H, T, pairs)]))
    angle = rng.uniform(0, 7, shape)
    return x, np.cos(angle, dtype=np.float32), np.sin(angle, dtype=np.float32)


@needs_c
@given(cases(), st.booleans())
def test_the_three_implementations_agree(case, interleaved):
    x, cos, sin = case
    results = []
    for name in ("naive", "numpy", "c"):
        with kernels.use(name):
            results.append(rotate(x, cos, sin, interleaved))
            in_place = x.copy(order="K")
            assert rotate(in_place, cos, sin, interleaved, out=in_place) is in_place
            np.testing.assert_array_equal(in_place, results[-1])
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-6, atol=1e-6)


@needs_c
@given(cases(), st.booleans())
def test_writing_into_a_part_of_a_buffer_leaves_the_rest(case, interleaved):
    x, cos, sin = case
    whole = np.full((x.shape[0], x.shape[2], x.shape[1] + 1, x.shape[3]), 7, np.float32)
    out = whole.transpose(0, 2, 1, 3)[:, :-1]
    with kernels.use("c"):
        rotate(x, cos, sin, interleaved, out)
        np.testing.assert_array_equal(out, rotate(x, cos, sin, interleaved))
    assert (whole[:, :, -1] == 7).all()


@needs_c
def test_any_number_of_threads_gives_the_same_bits():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4, 400, 64), dtype=np.float32)
    cos, sin = rng.standard_normal((2, 400, 32), dtype=np.float32)
    before, found = kernels.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            kernels.set_num_threads(threads)
            found.append(rotate(x, cos, sin))
    finally:
        kernels.set_num_threads(before)
    for result in found[1:]:
        np.testing.assert_array_equal(result, found[0])


def test_no_positions_and_no_heads():
    for shape in ((0, 2, 3, 4), (1, 0, 3, 4), (1, 2, 0, 4)):
        table = np.ones((shape[2], 2), np.float32)
        assert rotate(np.ones(shape, np.float32), table, table).shape == shape


def test_errors_name_the_argument():
    x, table = np.ones((1, 2, 3, 4), np.float32), np.ones((3, 2), np.float32)
    with pytest.raises(ValueError, match=r"^out has shape \(1, 2, 3, 5\)"):
        rotate(x, table, table, out=np.ones((1, 2, 3, 5), np.float32))
    with pytest.raises(ValueError, match="^out overlaps x, wanted separate memory"):
        buffer = np.ones((1, 3, 3, 4), np.float32)
        rotate(buffer[:, :2], table, table, out=buffer[:, 1:])
    with pytest.raises(ValueError, match="^out is read-only"):
        frozen = x.copy()
        frozen.flags.writeable = False
        rotate(frozen, table, table, out=frozen)
    with pytest.raises(TypeError, match="^interleaved is "):
        rotate(x, table, table, "yes")
