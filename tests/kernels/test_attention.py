"""The attention kernel: naive == NumPy == C == PyTorch, and properties of any input."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minillm import kernels
from minillm.ops.attention import AttentionBias, fused_attention, fused_attention_backward
from tests.helpers.gradcheck import check_gradients
from processes import every_instruction_set, run_python, worst_error

IMPLEMENTATIONS = ["naive", "numpy", "c"]
CAUSAL, NO_BIAS = AttentionBias(causal=True), AttentionBias()
every_implementation = pytest.mark.parametrize("name", IMPLEMENTATIONS)

# Small sizes, and sizes around those of vectors and tiles (4 … 64).
lengths = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100])
widths = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 31, 32, 33, 64])
seeds = st.integers(0, 2**32 - 1)
masks = st.sampled_from(["none", "some", "first", "all", "but one"])
biases = st.sampled_from(["none", "none", "random", "alibi", "window", "holes", "nothing"])
# (query heads, query heads per key head)
heads = st.sampled_from([(1, 1), (2, 1), (3, 1), (2, 2), (3, 3), (4, 2), (6, 3)])


@pytest.fixture(autouse=True)
def _restore():
    name, threads = kernels.current(), kernels.get_num_threads()
    yield
    kernels.use(name)
    kernels.set_num_threads(threads)


def inputs(rng, B, H, Tq, Tk, D, dtype=np.float32, scale=1.0, group=1):
    """-> Q, K, V, dout; `group` query heads read each key head, so H must be a multiple of it"""
    shapes = [(B, H, Tq, D), (B, H // group, Tk, D), (B, H // group, Tk, D), (B, H, Tq, D)]
    return [(scale * rng.standard_normal(shape)).astype(dtype) for shape in shapes]


def make_mask(rng, kind, B, Tk):
    """A key_mask that hides no keys (None), some, the first ones (padding on the left), …"""
    if kind == "none":
        return None
    mask = rng.random((B, Tk)) < 0.6
    if kind == "first":
        mask = np.arange(Tk) >= rng.integers(0, Tk + 1, (B, 1))
    if kind == "all":
        mask[:] = False
    if kind == "but one":
        mask = np.arange(Tk) == rng.integers(0, Tk, (B, 1))
    return mask


def make_distance_bias(rng, kind, H, Tq, Tk, dtype=np.float32):
    """A distance_bias (H, Tq + Tk - 1): random numbers, ALiBi, and in a sliding window, …"""
    distance = np.arange(Tq + Tk - 1) - (Tq - 1)
    bias = rng.standard_normal((H, Tq + Tk - 1)).astype(dtype)
    if kind == "none":
        return None
    if kind == "alibi":
        bias[...] = -np.abs(distance) / 2.0 ** np.arange(1, H + 1)[:, None]
    if kind == "window":  # another one for each head; some are empty
        middle = rng.integers(-Tq, Tk, (H, 1))
        bias[np.abs(distance - middle) > rng.integers(-1, 40, (H, 1))] = -np.inf
    if kind == "holes":
        bias[rng.random(bias.shape) < 0.4] = -np.inf
    if kind == "nothing":
        bias[...] = -np.inf
    return bias


def run(name, Q, K, V, dout, causal=False, key_mask=None, distance_bias=None, scale=None):
    """-> out, lse, dQ, dK, dV, and ddistance_bias if there is a distance_bias"""
    bias = AttentionBias(causal, key_mask, distance_bias)
    with kernels.use(name):
        out, lse = fused_attention(Q, K, V, bias, scale)
        *grads, ddistance_bias = fused_attention_backward(dout, Q, K, V, out, lse, bias, scale)
    assert (ddistance_bias is None) == (distance_bias is None)
    return out, lse, *grads, *([] if distance_bias is None else [ddistance_bias])


def doubles(arrays, options):
    """The same in float64."""
    bias = options.get("distance_bias")
    bias = None if bias is None else bias.astype(np.float64)
    return [x.astype(np.float64) for x in arrays], options | {"distance_bias": bias}


def assert_close(actual, expected, tolerance=2e-5):
    names = ("out", "lse", "dQ", "dK", "dV", "ddistance_bias")
    for which, a, e in zip(names[: len(expected)], actual, expected, strict=True):
        # dS = P (dP - delta): where a query has one key, two equal sums of D products cancel. Their
        # rounding errors remain, summed over all queries.
        atol = (10 if which in ("dQ", "dK", "ddistance_bias") else 1) * tolerance * (1 + _size(e))
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=atol, err_msg=which)


def _size(array):
    finite = array[np.isfinite(array)]
    return np.abs(finite).max(initial=0)


# ------------------------------------------------------------------ the implementations agree


@given(
    B=st.integers(1, 2), heads=heads, Tq=lengths, Tk=lengths, D=widths, causal=st.booleans(),
    mask=masks, bias=biases, scale=st.sampled_from([None, 0.0, 0.3, -1.0]), seed=seeds,
)
@example(B=1, heads=(1, 1), Tq=1, Tk=1, D=1, causal=True, mask="none", bias="none",
         scale=None, seed=0)
@example(B=1, heads=(2, 1), Tq=100, Tk=100, D=64, causal=True, mask="none", bias="none",
         scale=None, seed=0)
@example(B=2, heads=(1, 1), Tq=65, Tk=33, D=17, causal=True, mask="some", bias="random",
         scale=None, seed=0)
@example(B=2, heads=(6, 3), Tq=100, Tk=300, D=32, causal=True, mask="none", bias="window",
         scale=None, seed=1)
def test_c_equals_numpy(B, heads, Tq, Tk, D, causal, mask, bias, scale, seed):
    """Against NumPy in float64, so that the difference is the error of the C."""
    rng = np.random.default_rng(seed)
    H, group = heads
    arrays = inputs(rng, B, H, Tq, Tk, D, group=group)
    options = {"causal": causal, "key_mask": make_mask(rng, mask, B, Tk), "scale": scale,
               "distance_bias": make_distance_bias(rng, bias, H, Tq, Tk)}
    exact_arrays, exact_options = doubles(arrays, options)
    expected = run("numpy", *exact_arrays, **exact_options)
    for result in (run("c", *arrays, **options), run("numpy", *arrays, **options)):
        assert all(x.dtype == np.float32 for x in result)
        assert_close(result, expected)


@given(
    B=st.integers(1, 2), heads=heads, Tq=st.integers(1, 6), Tk=st.integers(1, 6),
    D=st.integers(1, 4), causal=st.booleans(), mask=masks, bias=biases,
    scale=st.sampled_from([None, 0.3, -2]), dtype=st.sampled_from([np.float32, np.float64]),
    seed=seeds,
)
def test_naive_is_the_definition(B, heads, Tq, Tk, D, causal, mask, bias, scale, dtype, seed):
    rng = np.random.default_rng(seed)
    H, group = heads
    arrays = inputs(rng, B, H, Tq, Tk, D, dtype, group=group)
    options = {"causal": causal, "key_mask": make_mask(rng, mask, B, Tk), "scale": scale,
               "distance_bias": make_distance_bias(rng, bias, H, Tq, Tk, dtype)}
    expected = run("naive", *arrays, **options)
    tolerance = 2e-5 if dtype == np.float32 else 1e-13
    for name in ("numpy", "c"):
        result = run(name, *arrays, **options)
        assert all(x.dtype == dtype for x in result)
        assert_close(result, expected, tolerance)


@given(
    heads=heads, Tq=st.integers(1, 7), Tk=st.integers(1, 7), D=st.integers(1, 4),
    causal=st.booleans(), mask=masks, bias=biases, scale=st.sampled_from([None, -0.3]), seed=seeds,
)
def test_gradients_are_the_slopes_of_the_forward(
    heads, Tq, Tk, D, causal, mask, bias, scale, seed
):
    rng = np.random.default_rng(seed)
    H, group = heads
    Q, K, V, dout = inputs(rng, 2, H, Tq, Tk, D, np.float64, group=group)
    distance_bias = make_distance_bias(rng, bias, H, Tq, Tk, np.float64)
    of = AttentionBias(causal, make_mask(rng, mask, 2, Tk), distance_bias)
    arrays = {"Q": Q, "K": K, "V": V}
    with kernels.use("numpy"):
        out, lse = fused_attention(Q, K, V, of, scale)
        *grads, ddistance_bias = fused_attention_backward(dout, Q, K, V, out, lse, of, scale)
        gradients = dict(zip(arrays, grads))
        if distance_bias is not None and np.all(np.isfinite(distance_bias)):
            arrays["distance_bias"] = distance_bias
            gradients["distance_bias"] = ddistance_bias
        check_gradients(
            lambda: np.sum(fused_attention(Q, K, V, of, scale)[0] * dout), arrays, gradients, rng,
        )


FROZEN = np.load(Path(__file__).parents[1] / "fixtures" / "attention.npz")


@every_implementation
@pytest.mark.parametrize("case", sorted({key.split("/")[0] for key in FROZEN}))
def test_same_as_pytorch(name, case):
    """Against the results of PyTorch that tests/fixtures/make_attention.py stored."""
    of = {key.split("/")[1]: FROZEN[key] for key in FROZEN if key.startswith(case + "/")}
    scale = None if np.isnan(of["scale"]) else float(of["scale"])
    result = run(name, of["Q"], of["K"], of["V"], of["dout"], scale=scale,
                 causal=bool(of["causal"]), key_mask=of["key_mask"],
                 distance_bias=of.get("distance_bias"))
    for which, array in zip(("out", "lse", "dQ", "dK", "dV", "ddistance_bias"), result):
        if which != "lse":
            np.testing.assert_allclose(array, of[which], rtol=2e-5, atol=2e-5, err_msg=which)


# ------------------------------------------------------------------ properties of any input


@every_implementation
@given(Tq=st.integers(1, 9), Tk=st.integers(1, 9), D=st.integers(1, 9), seed=seeds)
def test_rows_of_weights_sum_to_one(name, Tq, Tk, D, seed):
    """With all values 1 every output is 1; and lse is the logarithm of the sum of exp(scores)."""
    rng = np.random.default_rng(seed)
    Q, K, V, _ = inputs(rng, 1, 2, Tq, Tk, D)
    with kernels.use(name):
        out, lse = fused_attention(Q, K, np.ones_like(V), NO_BIAS)
    np.testing.assert_allclose(out, 1, rtol=1e-5)
    scores = Q.astype(float) @ K.astype(float).swapaxes(-1, -2) / np.sqrt(D)
    np.testing.assert_allclose(lse, np.log(np.exp(scores).sum(axis=-1)), rtol=1e-5, atol=1e-5)


@every_implementation
@given(Tq=st.integers(1, 9), Tk=st.integers(1, 9), D=st.integers(1, 9), seed=seeds)
def test_the_same_vector_added_to_all_keys_changes_nothing_but_lse(name, Tq, Tk, D, seed):
    """It adds the same number q·c to all scores of a query, and the softmax cancels it."""
    rng = np.random.default_rng(seed)
    Q, K, V, _ = inputs(rng, 1, 2, Tq, Tk, D)
    c = rng.standard_normal((1, 2, 1, D)).astype(np.float32)
    with kernels.use(name):
        out, lse = fused_attention(Q, K, V, NO_BIAS)
        shifted_out, shifted_lse = fused_attention(Q, K + c, V, NO_BIAS)
    np.testing.assert_allclose(shifted_out, out, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(shifted_lse - lse, (Q * c).sum(-1) / np.sqrt(D), atol=1e-4)


@given(Tq=lengths, Tk=lengths, D=widths, seed=seeds)
def test_the_order_of_the_keys_does_not_matter(Tq, Tk, D, seed):
    rng = np.random.default_rng(seed)
    Q, K, V, dout = inputs(rng, 1, 1, Tq, Tk, D)
    order = rng.permutation(Tk)
    mask = make_mask(rng, "some", 1, Tk)
    out, lse, dQ, dK, dV = run("c", Q, K, V, dout, key_mask=mask)
    permuted = run("c", Q, K[:, :, order], V[:, :, order], dout, key_mask=mask[:, order])
    assert_close(permuted, (out, lse, dQ, dK[:, :, order], dV[:, :, order]))


@given(Tq=lengths, older=st.integers(0, 70), D=widths, where=st.floats(0, 1), seed=seeds)
def test_causal_outputs_never_depend_on_later_keys(Tq, older, D, where, seed):
    """Bit for bit, even if the later keys and values are NaN."""
    rng = np.random.default_rng(seed)
    Q, K, V, dout = inputs(rng, 1, 2, Tq, Tq + older, D)
    i = int(where * (Tq - 1))  # the query; it sees the keys up to i + older
    changed_K, changed_V = K.copy(), V.copy()
    changed_K[:, :, i + older + 1 :] = rng.standard_normal(changed_K[:, :, i + older + 1 :].shape)
    changed_V[:, :, i + older + 1 :] = 1e30
    out, lse, dQ, _, _ = run("c", Q, K, V, dout, causal=True)
    with np.errstate(all="ignore"):
        changed = run("c", Q, changed_K, changed_V, dout, causal=True)
    for before, after in zip((out, lse, dQ), changed):
        np.testing.assert_array_equal(after[:, :, : i + 1], before[:, :, : i + 1])


@given(Tq=lengths, Tk=lengths, D=widths, seed=seeds)
def test_each_causal_query_equals_the_query_alone_with_the_keys_it_sees(Tq, Tk, D, seed):
    """As in generation: one query at a time, with the keys so far. Also if Tq > Tk."""
    rng = np.random.default_rng(seed)
    Q, K, V, _ = inputs(rng, 1, 1, Tq, Tk, D)
    with kernels.use("c"):
        out, lse = fused_attention(Q, K, V, CAUSAL)
        for i in {0, Tq // 2, Tq - 1}:
            seen = max(0, i + Tk - Tq + 1)
            alone = fused_attention(
                Q[:, :, i : i + 1], K[:, :, :seen], V[:, :, :seen], NO_BIAS
            )
            np.testing.assert_allclose(out[:, :, i : i + 1], alone[0], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(lse[:, :, i : i + 1], alone[1], rtol=1e-5, atol=1e-5)


@given(Tq=lengths, Tk=lengths, D=widths, seed=seeds)
def test_key_mask_is_the_same_as_leaving_the_keys_out(Tq, Tk, D, seed):
    rng = np.random.default_rng(seed)
    Q, K, V, dout = inputs(rng, 1, 2, Tq, Tk, D)
    mask = make_mask(rng, "some", 1, Tk)
    kept = np.flatnonzero(mask[0])
    out, lse, dQ, dK, dV = run("c", Q, K, V, dout, key_mask=mask)
    left_out = run("c", Q, K[:, :, kept], V[:, :, kept], dout)
    assert_close((out, lse, dQ, dK[:, :, kept], dV[:, :, kept]), left_out)
    assert not dK[:, :, ~mask[0]].any() and not dV[:, :, ~mask[0]].any()


@every_implementation
@pytest.mark.parametrize("Tq", [1, 3, 40])
def test_a_query_without_keys(name, Tq):
    """out = 0, lse = -inf and all gradients 0: through the mask, causality, or a lack of keys."""
    rng = np.random.default_rng(0)
    Q, K, V, dout = inputs(rng, 2, 1, Tq, 7, 5)
    mask = np.array([[False] * 7, [True] * 7])
    out, lse, *grads = run(name, Q, K, V, dout, key_mask=mask)
    assert not out[0].any() and np.all(lse[0] == -np.inf) and np.all(np.isfinite(lse[1]))
    for grad in grads:
        assert not grad[0].any() and grad[1].any()

    unseen = max(0, Tq - 7)  # these queries come before the first key
    out, lse, dQ, _, _ = run(name, Q, K, V, dout, causal=True)
    assert not out[:, :, :unseen].any() and not dQ[:, :, :unseen].any()
    assert np.all(np.isneginf(lse) == (np.arange(Tq) < unseen))

    out, lse, *grads = run(name, Q, K[:, :, :0], V[:, :, :0], dout)
    assert out.shape == Q.shape and not out.any() and np.all(lse == -np.inf)
    assert not grads[0].any() and grads[1].shape == grads[2].shape == (2, 1, 0, 5)


@every_implementation
@pytest.mark.parametrize("shape", [(0, 2, 3, 4, 5), (2, 0, 3, 4, 5), (2, 2, 0, 4, 5)])
def test_nothing_to_do(name, shape):
    arrays = inputs(np.random.default_rng(0), *shape)
    for array in run(name, *arrays, causal=True)[2:]:
        assert not array.any()


@every_implementation
@pytest.mark.parametrize("Tq", [1, 5, 40])
def test_large_scores_do_not_overflow(name, Tq):
    rng = np.random.default_rng(0)
    Q, K, V, dout = inputs(rng, 1, 1, Tq, 70, 8)
    Q *= 1e4
    result = run(name, Q, K, V, dout, causal=True)
    assert all(np.all(np.isfinite(x[:, :, max(0, Tq - 70) :])) for x in result)
    winner = np.argmax(Q[:, :, -1] @ K[0, 0].T)
    np.testing.assert_allclose(result[0][0, 0, -1], V[0, 0, winner], rtol=1e-3)


@pytest.mark.parametrize("name", ["numpy", "c"])  # `naive` computes in float64
@pytest.mark.parametrize("scale", [1, 1e3, 1e6, 1e9])
def test_the_backward_has_the_weights_of_the_forward_however_large_the_scores(name, scale):
    """With dout = 1 each row of dV is the sum of its key's weights; their total is 1 per query."""
    rng = np.random.default_rng(0)
    Q, K, V, _ = inputs(rng, 1, 2, 40, 150, 32)
    *_, dV = run(name, Q * np.float32(scale), K, V, np.ones_like(Q))
    np.testing.assert_allclose(dV.sum(axis=2, dtype=float), 40, rtol=1e-5)


@every_implementation
@pytest.mark.parametrize("where", ["Q", "K", "V"])
def test_nan_is_not_hidden(name, where):
    arrays = dict(zip("QKV", inputs(np.random.default_rng(0), 1, 1, 5, 5, 3)))
    arrays[where][0, 0, 2] = np.nan
    with kernels.use(name), np.errstate(invalid="ignore"):
        out, _ = fused_attention(**arrays, bias=NO_BIAS)
    assert np.all(np.isnan(out[0, 0, 2]))


# ------------------------------------------------------------------ memory: layouts, bounds, threads


def fused(rng, B, H, T, D, gap=3, group=1):
    """Q, K, V as views into one (B, T, (H + 2 Hkv) D) buffer with NaN around each row of it."""
    heads = H + 2 * (H // group)
    buffer = np.full((B, T, heads * D + 2 * gap), np.nan, np.float32)
    buffer[:, :, gap : gap + heads * D] = rng.standard_normal((B, T, heads * D))
    split = np.lib.stride_tricks.as_strided(
        buffer[:, :, gap:], (B, heads, T, D), (buffer.strides[0], 4 * D, buffer.strides[1], 4)
    )
    return buffer, np.split(split, [H, H + H // group], axis=1)


@every_implementation
@given(
    B=st.integers(1, 2), heads=heads, T=st.sampled_from([1, 2, 5, 33]),
    D=st.sampled_from([1, 3, 5, 8, 17, 32]), causal=st.booleans(), bias=biases, seed=seeds,
)
def test_views_into_a_fused_buffer(name, B, heads, T, D, causal, bias, seed):
    """The results equal those of contiguous copies; the rest of the buffers stays untouched."""
    rng = np.random.default_rng(seed)
    H, group = heads
    buffer, (Q, K, V) = fused(rng, B, H, T, D, group=group)
    before = buffer.copy()
    dout = rng.standard_normal((B, T, H, D)).astype(np.float32).transpose(0, 2, 1, 3)
    grad_buffer, grads = fused(rng, B, H, T, D, group=group)
    out_buffer, (out, _, _) = fused(rng, B, H, T, D)
    outside = [np.isnan(grad_buffer), np.isnan(out_buffer)]

    distance_bias = make_distance_bias(rng, bias, H, T, T)
    bias = AttentionBias(causal, None, distance_bias)
    copies = [array.copy() for array in (Q, K, V, dout)]
    expected = run(name, *copies, causal=causal, distance_bias=distance_bias)
    with kernels.use(name):
        out_result, lse = fused_attention(Q, K, V, bias, out=out)
        *result, _ = fused_attention_backward(dout, Q, K, V, out, lse, bias, grads=tuple(grads))
    assert out_result is out and all(a is b for a, b in zip(result, grads))
    assert_close((out, lse, *grads), expected[:5])
    np.testing.assert_array_equal(buffer, before)
    np.testing.assert_array_equal(np.isnan(grad_buffer), outside[0])
    np.testing.assert_array_equal(np.isnan(out_buffer), outside[1])


@pytest.mark.parametrize("Tq, Tk", [(170, 170), (290, 290), (270, 333), (300, 170), (600, 40)])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("group, bias", [(1, "none"), (3, "random"), (1, "window"), (3, "none")])
def test_many_tiles_of_heads_side_by_side(Tq, Tk, causal, group, bias):
    """With many queries, K and V are made contiguous, and several strips of tiles share them."""
    rng = np.random.default_rng(Tq + Tk)
    _, (Q, _, _) = fused(rng, 2, 3, Tq, 40)
    _, (_, K, V) = fused(rng, 2, 3, Tk, 40, group=group)
    dout = rng.standard_normal((2, Tq, 3, 40)).astype(np.float32).transpose(0, 2, 1, 3)
    options = {"causal": causal, "key_mask": rng.random((2, Tk)) < 0.8,
               "distance_bias": make_distance_bias(rng, bias, 3, Tq, Tk)}
    exact_arrays, exact_options = doubles((Q, K, V, dout), options)
    exact = run("numpy", *exact_arrays, **exact_options)
    assert_close(run("c", Q, K, V, dout, **options), exact)


@every_implementation
def test_other_layouts(name):
    """Last axis not contiguous, reversed axes, misaligned: copied if necessary, never wrong."""
    rng = np.random.default_rng(0)
    Q, K, V, dout = inputs(rng, 2, 2, 5, 6, 4)
    expected = run(name, Q, K, V, dout)
    raw = np.zeros(Q.nbytes + 1, np.uint8)
    misaligned = raw[1:].view(np.float32).reshape(Q.shape)
    misaligned[...] = Q
    variants = (
        (np.asfortranarray(Q), np.asfortranarray(K), np.asfortranarray(V), np.asfortranarray(dout)),
        (misaligned, K, V, dout),
        tuple(x[:, :, ::-1].copy()[:, :, ::-1] for x in (Q, K, V, dout)),
        tuple(x[:, ::-1].copy()[:, ::-1] for x in (Q, K, V, dout)),
        tuple(np.repeat(x, 2, axis=-1)[..., ::2] for x in (Q, K, V, dout)),
    )
    for variant in variants:
        assert_close(run(name, *variant), expected, 1e-6)
    one_head = np.broadcast_to(Q[:, :1], Q.shape)  # an input may use its memory several times
    assert_close(run(name, one_head, K, V, dout), run(name, one_head.copy(), K, V, dout), 1e-6)


def views(draw, memory, shape):
    """A view of this shape of `memory`: any offset, strides in any order, perhaps reversed."""
    order = draw(st.permutations(range(len(shape) - 1)))
    strides, step = [0] * (len(shape) - 1) + [1], shape[-1] + draw(st.sampled_from([0, 0, 3, -1]))
    for axis in order:
        strides[axis] = step
        step *= shape[axis]
    if draw(st.integers(0, 5)) == 0:  # elements that are far apart, or that share memory
        strides[draw(st.integers(0, len(shape) - 1))] = draw(st.integers(0, 5))
    reach = sum((size - 1) * stride for size, stride in zip(shape, strides))
    start = draw(st.integers(0, memory.size - 1 - reach))
    view = np.lib.stride_tricks.as_strided(
        memory[start:], shape, [memory.itemsize * stride for stride in strides]
    )
    flipped = tuple(slice(None, None, draw(st.sampled_from([1, 1, -1]))) for _ in shape[:-1])
    return view[flipped]


@every_implementation
@given(data=st.data())
def test_any_views_give_the_result_of_copies_or_a_named_error(name, data):
    """All arguments of the forward and the backward lie in one memory, or in two."""
    draw = data.draw
    B, Tq, Tk, D = (draw(st.integers(1, high)) for high in (2, 5, 4, 4))
    H, group = draw(st.sampled_from([(1, 1), (2, 1), (2, 2)]))
    rng = np.random.default_rng(draw(seeds))
    memories = rng.standard_normal((2, 1500)).astype(np.float32)
    query, key = (B, H, Tq, D), (B, H // group, Tk, D)
    shapes = {"Q": query, "K": key, "V": key, "distance_bias": (H, Tq + Tk - 1), "dout": query,
              "out": query, "dQ": query, "dK": key, "dV": key}
    written = ("out", "dQ", "dK", "dV")
    of = {which: views(draw, memories[draw(st.integers(0, 1)) if which in written else 0], shape)
          for which, shape in shapes.items()}
    key_mask = rng.random((B, Tk)) < 0.7 if draw(st.booleans()) else None
    bias = AttentionBias(draw(st.booleans()), key_mask, of["distance_bias"])
    copies = {which: array.copy() for which, array in of.items()}
    copied_bias = bias._replace(distance_bias=copies["distance_bias"])
    with kernels.use(name):
        expected, lse = fused_attention(copies["Q"], copies["K"], copies["V"], copied_bias)
        expected_grads = fused_attention_backward(
            copies["dout"], copies["Q"], copies["K"], copies["V"], expected, lse, copied_bias
        )
        before = memories.copy()
        try:
            out, lse = fused_attention(of["Q"], of["K"], of["V"], bias, out=of["out"])
        except ValueError as error:
            assert str(error).startswith("out ") and "\n" not in str(error)
            np.testing.assert_array_equal(memories, before)
            return
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
        before = memories.copy()
        try:
            grads = fused_attention_backward(
                of["dout"], of["Q"], of["K"], of["V"], out, lse, bias,
                grads=(of["dQ"], of["dK"], of["dV"]),
            )
        except ValueError as error:
            assert str(error).startswith("grads[") and "\n" not in str(error)
            np.testing.assert_array_equal(memories, before)
            return
    if not np.shares_memory(of["out"], of["dout"]):  # else the forward has changed dout
        for grad, right in zip(grads, expected_grads):
            np.testing.assert_allclose(grad, right, rtol=1e-3, atol=1e-4)


@every_implementation
def test_merging_the_heads_copies_nothing(name):
    arrays = inputs(np.random.default_rng(0), 2, 3, 4, 5, 6)
    out, _, *grads = run(name, *arrays)
    for array in (out, *grads):
        B, H, T, D = array.shape
        assert np.shares_memory(array, array.transpose(0, 2, 1, 3).reshape(B, T, H * D))


@given(
    B=st.integers(1, 3), heads=heads, Tq=lengths, Tk=lengths, D=st.sampled_from([1, 17, 64]),
    causal=st.booleans(), mask=masks, bias=biases, seed=seeds,
)
@example(B=2, heads=(3, 1), Tq=300, Tk=300, D=64, causal=True, mask="none", bias="none", seed=0)
@example(B=1, heads=(12, 1), Tq=1, Tk=2000, D=64, causal=True, mask="none", bias="none", seed=0)
@example(B=3, heads=(6, 3), Tq=200, Tk=300, D=64, causal=True, mask="none", bias="alibi", seed=0)
def test_bitwise_equal_for_any_number_of_threads(B, heads, Tq, Tk, D, causal, mask, bias, seed):
    rng = np.random.default_rng(seed)
    H, group = heads
    arrays = inputs(rng, B, H, Tq, Tk, D, group=group)
    options = {"causal": causal, "key_mask": make_mask(rng, mask, B, Tk),
               "distance_bias": make_distance_bias(rng, bias, H, Tq, Tk)}
    results = []
    for threads in (1, 2, 3, 8):
        kernels.set_num_threads(threads)
        results.append(run("c", *arrays, **options))
    for result in results[1:]:
        for array, first in zip(result, results[0]):
            np.testing.assert_array_equal(array.view(np.int32), first.view(np.int32))


def test_two_python_threads_at_once():
    rng = np.random.default_rng(0)
    problems = [inputs(rng, 2, 3, 50 + i, 50 + i, 16) for i in range(4)]
    expected = [run("c", *arrays, causal=True) for arrays in problems]
    wrong = []

    def work(Q, K, V, dout, right):
        for _ in range(30):
            out, lse = fused_attention(Q, K, V, CAUSAL)
            *grads, _ = fused_attention_backward(dout, Q, K, V, out, lse, CAUSAL)
            result = (out, lse, *grads)
            if not all(np.array_equal(a, b) for a, b in zip(result, right)):
                wrong.append(Q.shape)

    with kernels.use("c"):
        workers = [
            threading.Thread(target=work, args=(*arrays, right))
            for arrays, right in zip(problems, expected)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert wrong == []


FORCED = """
import json
import numpy as np
from minillm import kernels
from minillm.ops.attention import AttentionBias, streaming_attention, streaming_attention_backward
rng = np.random.default_rng(0)
worst = 0.0
for Tq, Tk, D in [(1, 1, 1), (1, 200, 64), (2, 70, 5), (33, 33, 17), (65, 130, 64), (40, 9, 33)]:
    shapes = [(2, 4, Tq, D), (2, 2, Tk, D), (2, 2, Tk, D), (2, 4, Tq, D), (4, Tq + Tk - 1)]
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    mask = rng.random((2, Tk)) < 0.7
    results = []
    for dtype in (np.float32, np.float64):        # float64 is computed by NumPy
        Q, K, V, dout, distance_bias = (x.astype(dtype) for x in arrays)
        out, cache = streaming_attention(Q, K, V, bias=AttentionBias(True, mask, distance_bias))
        results.append((out, np.exp(cache.lse), *streaming_attention_backward(dout, cache)))
    for single, double in zip(*results):
        worst = max(worst, np.abs(single - double).max() / (1 + np.abs(double).max()))
print(json.dumps([kernels.info()["instruction set"], float(worst)]))
"""


@every_instruction_set
def test_each_instruction_set(isa):
    assert 0 < worst_error(FORCED, isa) < 1e-5


MEMORY = """
import resource
import numpy as np
from minillm import kernels
from minillm.ops.attention import AttentionBias, streaming_attention, streaming_attention_backward
kernels.set_num_threads(2)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rng = np.random.default_rng(0)
def work(T):
    Q, K, V, dout = rng.standard_normal((4, 1, 2, T, 2), dtype=np.float32)
    bias = AttentionBias(True, None, np.zeros((2, 2 * T - 1), np.float32))
    _, cache = streaming_attention(Q, K, V, bias=bias)
    streaming_attention_backward(dout, cache)
work(100)
before = peak()
work(4000)                        # one T x T matrix would take 64 MB
print((peak() - before) / 1024)   # ru_maxrss is in KB on Linux
"""


def test_the_c_never_holds_the_matrix_of_weights():
    pytest.importorskip("resource")
    process = run_python(MEMORY, MINILLM_KERNELS="c")
    assert process.returncode == 0, process.stderr
    assert float(process.stdout) < 30
