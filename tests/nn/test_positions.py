"""Each kind of positions agrees with the implementation in transformers (make_positions.py)."""

from pathlib import Path

import numpy as np
import pytest
from gradcheck import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators

from minillm.nn import (
    Alibi,
    RelativeBias,
    Rotary,
    SelfAttention,
    SinusoidalEmbedding,
    SinusoidalPositions,
    SlidingWindow,
    no_grad,
)

FROZEN = np.load(Path(__file__).parents[1] / "fixtures" / "positions.npz")


def names(begin):
    return [name for name in FROZEN.files if name.startswith(begin)]


@pytest.mark.parametrize("name", names("t5/"))
def test_buckets_of_t5(name):
    _, n_buckets, max_distance, bidirectional = name.split("/")
    bias = RelativeBias(2, n_buckets=int(n_buckets), max_distance=int(max_distance),
                        bidirectional=bidirectional == "1", rng=np.random.default_rng(0))
    np.testing.assert_array_equal(bias.buckets(300, 300), FROZEN[name])


@pytest.mark.parametrize("name", names("alibi/"))
def test_slopes_of_bloom(name):
    frozen = FROZEN[name]  # (H, keys): slope * position of the key, with position 0 at key 0
    bias = Alibi(len(frozen)).distance_bias(1, 9)  # of the last query
    np.testing.assert_allclose(bias - bias[:, :1], frozen, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model, options", [
    ("llama", {}), ("gpt_neox", {"rotary_dim": 4}), ("gptj", {"interleaved": True}),
])
def test_rotary_of_three_models(model, options):
    layer = SelfAttention(30, 3, positions=Rotary(10, **options), rng=np.random.default_rng(0))
    rotated = _rotated(layer.positions, FROZEN["Q"], FROZEN["K"], FROZEN["positions"])
    for name, x in zip("QK", rotated):
        # transformers rounds the angles to float32: at position 2,000 they are off by 1e-4.
        np.testing.assert_allclose(x, FROZEN[f"{model}/{name}"], rtol=0, atol=1e-3)


def _rotated(positions, Q, K, position_ids):
    with no_grad():
        return positions.rotate(Q, K, position_ids)


@pytest.mark.parametrize("d", [8, 9])
def test_sinusoids_of_marian(d):
    table = SinusoidalPositions(50, d, interleaved=False).table
    np.testing.assert_allclose(table, FROZEN[f"marian/{d}"], rtol=0, atol=1e-6)


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5), st.integers(1, 9), st.booleans())
def test_sinusoids_without_a_limit_are_those_of_the_table(start, B, T, d, interleaved):
    position_ids = start + np.arange(B * T).reshape(B, T)
    vectors = SinusoidalEmbedding(d, interleaved=interleaved)(position_ids)
    assert vectors.shape == (B, T, d) and vectors.dtype == np.float32
    if start < 1000:
        table = SinusoidalPositions(start + B * T, d, interleaved=interleaved).table
        np.testing.assert_array_equal(vectors, table[position_ids])


IN_ATTENTION = {
    "rotary": lambda rng: Rotary(4),
    "interleaved rotary": lambda rng: Rotary(4, interleaved=True),
    "partial rotary": lambda rng: Rotary(4, rotary_dim=2),
    "alibi": lambda rng: Alibi(3),
    "t5": lambda rng: RelativeBias(3, n_buckets=8, max_distance=6, rng=rng, std=1.0),
    "window of alibi": lambda rng: SlidingWindow(3, 2, Alibi(3)),
}


@pytest.mark.parametrize("kind", IN_ATTENTION)
@given(rng=generators, shift=st.integers(0, 500), T=st.integers(1, 7), causal=st.booleans())
def test_a_shift_of_all_positions_changes_nothing(kind, rng, shift, T, causal):
    layer = SelfAttention(12, 3, positions=IN_ATTENTION[kind](rng), causal=causal, rng=rng, std=0.7)
    layer.astype(np.float64)
    x = rng.standard_normal((2, T, 12))
    shifted = layer(x, position_ids=np.arange(shift, shift + T))
    np.testing.assert_allclose(shifted, layer(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", IN_ATTENTION)
@given(rng=generators, T=st.integers(1, 6))
def test_the_bias_depends_on_the_distance_only(kind, rng, T):
    """The bias of the last query is the end of the bias of all: decoding sees the same numbers."""
    positions = IN_ATTENTION[kind](rng)
    with no_grad():
        whole, last = positions.distance_bias(T, T), positions.distance_bias(1, T)
    if whole is None:
        assert last is None
    else:
        np.testing.assert_array_equal(whole[:, :T], last)
        assert whole.shape == (3, 2 * T - 1)


@given(rng=generators, T=st.integers(1, 6), bidirectional=st.booleans())
def test_layers_that_share_a_relative_bias_add_their_gradients(rng, T, bidirectional):
    shared = RelativeBias(2, n_buckets=8, max_distance=6, bidirectional=bidirectional, rng=rng,
                          std=1.0)
    layers = [SelfAttention(4, 2, positions=shared, causal=True, rng=rng, std=0.7).astype(np.float64)
              for _ in range(2)]
    x, dy = rng.standard_normal((2, 2, T, 4))

    def forward():
        return layers[1](layers[0](x))

    forward()
    layers[0].backward(layers[1].backward(dy))
    check_gradients(lambda: float(np.sum(forward() * dy)), {"weight": shared.weight.data},
                    {"weight": shared.weight.grad.copy()}, rng)
