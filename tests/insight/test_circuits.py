"""Circuits of heads: equal to their definitions with whole matrices, for every kind of block."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.insight.test_insight import IDS, gpt2, llama

from minillm import GPT2LMHeadModel
from minillm.insight.anatomy import Anatomy
from minillm.insight.circuits import (
    KINDS,
    HeadMatrices,
    composition,
    composition_scores,
    copying,
    head_matrices,
    plot_composition,
)
from minillm.nn.module import no_grad
from minillm.nn.trace import trace


def random_head(rng, d=7, D=3):
    return HeadMatrices(*rng.normal(size=(3, d, D)), rng.normal(size=(D, d)))


@given(st.integers(0, 1000), st.integers(1, 3))
@settings(max_examples=20)
def test_composition_is_its_formula_and_at_most_1(seed, D):
    rng = np.random.default_rng(seed)
    sender, receiver = random_head(rng, D=D), random_head(rng)
    norm = np.linalg.norm
    products = {"Q": (sender.ov @ receiver.qk, receiver.qk),
                "K": (receiver.qk @ sender.ov.T, receiver.qk),
                "V": (sender.ov @ receiver.ov, receiver.ov)}
    for kind, (product, other) in products.items():
        score = composition(sender, receiver, kind)
        assert score == pytest.approx(norm(product) / norm(sender.ov) / norm(other))
        assert 0 <= score <= 1


def test_random_matrices_score_about_one_over_the_root_of_d():
    rng, d = np.random.default_rng(0), 64
    pairs = [(random_head(rng, d, 8), random_head(rng, d, 8)) for _ in range(10)]
    for kind in KINDS:
        mean = np.mean([composition(*pair, kind) for pair in pairs])
        assert mean == pytest.approx(d**-0.5, rel=0.15)


@given(st.integers(0, 1000), st.integers(1, 3))
@settings(max_examples=10)
def test_a_head_that_reads_where_the_other_writes(seed, D):
    """With D directions evenly, the largest score is 1/√D."""
    rng = np.random.default_rng(seed)
    place, other = np.split(np.linalg.qr(rng.normal(size=(8, 2 * D)))[0], 2, axis=1)
    sender = HeadMatrices(place, place, place, place.T)
    deaf = HeadMatrices(other, other, other, other.T)
    for kind in KINDS:
        assert composition(sender, sender, kind) == pytest.approx(D**-0.5)
        assert composition(sender, deaf, kind) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("make", [lambda: gpt2(position_embedding="none"), llama],
                         ids=["gpt2", "llama"])
def test_matrices_are_those_of_the_attention(make):
    """A head's result times W_O is the weighted sum of normed inputs times W_OV, and the bias."""
    model = make()
    block = Anatomy(model).blocks[1]
    with trace(model) as t, no_grad():
        model(IDS)
    norm, attention = block.module.norm1, block.module.attention
    x = Anatomy(model).blocks[0].residual
    is_rms = not hasattr(norm, "bias")
    length = np.sqrt(((t[x] - (0 if is_rms else t[x].mean(-1, keepdims=True))) ** 2
                      ).mean(-1, keepdims=True) + norm.eps)
    for h in range(block.n_heads):
        head = head_matrices(model)[1, h]
        got = t[block.head(h)] @ head.W_O
        constant = np.zeros(block.head_dim)
        if not is_rms:
            qkv = attention.qkv
            b_V = np.split(qkv.bias.data + norm.bias.data @ qkv.weight.data, 3)[2]
            constant = b_V[h * block.head_dim : (h + 1) * block.head_dim]
        want = t[block.weights][:, h] @ (t[x] / length) @ head.ov + constant @ head.W_O
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


def test_scores_of_a_model():
    scores, names = composition_scores(gpt2(n_layer=3), "K")
    assert names == ["0.0", "0.1", "1.0", "1.1", "2.0", "2.1"]
    heads = head_matrices(gpt2(n_layer=3))
    assert scores[1, 4] == composition(heads[0, 1], heads[2, 0], "K")
    assert np.isnan(scores[np.tril_indices(6)]).all() and np.isnan(scores[2, 3])
    figure = plot_composition(scores, names, "K")
    assert len(figure.axes[0].get_xticks()) == 4  # heads of the first block receive nothing
    with pytest.raises(ValueError, match="kind is 'W', wanted Q, K, V"):
        composition(heads[0, 0], heads[1, 0], "W")


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_copying_is_the_share_of_positive_eigenvalues(seed):
    rng = np.random.default_rng(seed)
    head = random_head(rng)
    E, U = rng.normal(size=(5, 7)), rng.normal(size=(7, 5))
    values = np.linalg.eigvals(E @ head.ov @ U)
    assert copying(head, E, U) == pytest.approx(values.sum().real / np.abs(values).sum())
    same = HeadMatrices(head.W_Q, head.W_K, head.W_V, head.W_V.T)  # W_OV ≥ 0
    assert copying(same, E, E.T) == pytest.approx(1)
    assert copying(HeadMatrices(*same[:3], -same.W_O), E, E.T) == pytest.approx(-1)


# ---- beside PyTorch: fixtures/make_circuits.py

FIXTURES = Path(__file__).parents[1] / "fixtures"


def test_scores_of_gpt2_are_those_of_pytorch():
    want, model = np.load(FIXTURES / "circuits.npz"), GPT2LMHeadModel.from_pretrained(
        FIXTURES / "gpt2_tiny")
    for kind in KINDS:
        scores, _ = composition_scores(model, kind)
        np.testing.assert_allclose(scores[:3, 3:], want[kind], rtol=1e-6)
    heads, E = head_matrices(model), model.transformer.wte.weight.data.astype(np.float64)
    found = [copying(heads[1, h], E, E.T) for h in range(3)]
    np.testing.assert_allclose(found, want["copying"], rtol=1e-5, atol=1e-7)
