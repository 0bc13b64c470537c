"""Every rung of a ladder computes the same product, or the same attention."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minillm import kernels
from minillm.ops.matmul import matmul
from minillm.kernels import machine
from minillm.kernels.ladder import ATTENTION_RUNGS, MATMUL_RUNGS
from minillm.ops.attention import AttentionBias, fused_attention

CAUSAL = AttentionBias(causal=True)


@pytest.mark.parametrize("rung", [name for name, _ in MATMUL_RUNGS])
@given(M=st.integers(1, 20), N=st.integers(1, 40), K=st.integers(1, 30),
       seed=st.integers(0, 2**32 - 1))
@example(M=9, N=531, K=517, seed=0)  # larger than the blocks, and not a multiple of any
def test_rung(rung, M, N, K, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((M, K)).astype(np.float32)
    B = rng.standard_normal((K, N)).astype(np.float32)
    C = dict(MATMUL_RUNGS)[rung](A, B)
    bound = 1e-6 * (1 + np.abs(A).astype(float) @ np.abs(B))
    assert C.dtype == np.float32 and C.shape == (M, N)
    assert np.all(np.abs(C - A.astype(float) @ B) <= bound)


def test_the_last_rung_is_what_the_models_use():
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((2, 130, 130)).astype(np.float32)
    with kernels.use("c"):
        np.testing.assert_array_equal(MATMUL_RUNGS[-1][1](A, B), matmul(A, B))


@pytest.mark.parametrize("rung", [name for name, _ in ATTENTION_RUNGS])
@given(B=st.integers(1, 2), H=st.integers(1, 2), T=st.integers(1, 12), D=st.integers(1, 6),
       scale=st.sampled_from([1, 100]), seed=st.integers(0, 2**32 - 1))
@example(B=1, H=2, T=70, D=5, scale=1, seed=0)
def test_attention_rung(rung, B, H, T, D, scale, seed):
    rng = np.random.default_rng(seed)
    Q, K, V = scale * rng.standard_normal((3, B, H, T, D)).astype(np.float32)
    out = dict(ATTENTION_RUNGS)[rung](Q, K, V)
    with kernels.use("numpy"):
        exact, _ = fused_attention(*(x.astype(float) for x in (Q, K, V)), CAUSAL)
    assert out.dtype == np.float32 and out.shape == Q.shape
    # An error of 1e-7 in a score of some 10,000 is one of 1e-3 in its exponential.
    np.testing.assert_allclose(out, exact, atol=1e-5 if scale == 1 else 0.5)


def test_the_last_attention_rung_is_what_the_models_use():
    rng = np.random.default_rng(0)
    Q, K, V = rng.standard_normal((3, 1, 2, 130, 16)).astype(np.float32)
    with kernels.use("c"):
        out, _ = fused_attention(Q, K, V, CAUSAL)
    np.testing.assert_array_equal(ATTENTION_RUNGS[-1][1](Q, K, V), out)


@pytest.mark.parametrize("rung", [name for name, _ in ATTENTION_RUNGS if name != "NumPy"])
def test_attention_rungs_take_views_and_refuse_what_does_not_fit(rung):
    rng = np.random.default_rng(0)
    attention = dict(ATTENTION_RUNGS)[rung]
    Q, K, V = rng.standard_normal((3, 1, 2, 9, 4)).astype(np.float32)
    views = (np.asfortranarray(Q), K[:, :, ::-1][:, :, ::-1], np.repeat(V, 2, axis=3)[..., ::2])
    np.testing.assert_allclose(attention(*views), attention(Q, K, V), rtol=1e-6)
    assert attention(Q[:, :, :0], K[:, :, :0], V[:, :, :0]).shape == (1, 2, 0, 4)
    with pytest.raises(ValueError, match="^K has shape"):
        attention(Q, K[:, :, :5], V[:, :, :5])
    with pytest.raises(ValueError, match="^V has shape"):
        attention(Q, K, V[..., :3])
    with pytest.raises(TypeError, match="^Q has dtype float64"):
        attention(Q.astype(float), K, V)


def test_one_thread_of_the_ladder_leaves_the_setting_alone():
    before = kernels.get_num_threads()
    dict(MATMUL_RUNGS)["C: vector width"](np.ones((2, 2), np.float32), np.ones((2, 2), np.float32))
    dict(ATTENTION_RUNGS)["C: streaming tiles"](*np.ones((3, 1, 1, 2, 2), np.float32))
    assert kernels.get_num_threads() == before


def test_the_limits_of_the_machine_are_positive_and_leave_the_setting_alone():
    before = kernels.get_num_threads()
    assert machine.fma_peak(threads=1, seconds=0.01) > 0
    assert machine.read_bandwidth(threads=2, seconds=0.01, megabytes=1) > 0
    assert kernels.get_num_threads() == before


@pytest.mark.parametrize("rung", [name for name, _ in MATMUL_RUNGS])
def test_a_matmul_rung_reads_only_what_it_is_given(rung):
    matmul = dict(MATMUL_RUNGS)[rung]
    A, B = np.ones((2, 10**7), np.float32), np.ones((3, 900), np.float32)
    for arguments, error, message in [
        ((A, B), ValueError, r"^B has shape \(3, 900\), wanted \(10000000, N\)"),
        ((A.astype(float), B), TypeError, "^A has dtype float64, wanted float32"),
        ((B, None), TypeError, "^B is a NoneType"),
        ((B[0], B), ValueError, r"^A has shape \(900,\), wanted 2 axes"),
    ]:
        with pytest.raises(error, match=message):
            matmul(*arguments)
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((2, 5, 5)).astype(np.float32)
    np.testing.assert_allclose(matmul(A.T, B[::-1].T), A.T @ B[::-1].T, atol=1e-5)
    assert matmul(A[:, :0], B[:0]).tolist() == np.zeros((5, 5)).tolist()
    assert matmul(A, B[:, :0]).shape == (5, 0)
