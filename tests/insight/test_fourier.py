"""Waves modulo p: an orthonormal basis; neurons and logits made by hand; the task and its texts."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.insight import fourier
from minillm.insight.modular_addition import (
    ModularAddition,
    answer_loss,
    answers,
    new_model,
    number_tokenizer,
    score,
)
from minillm.ops.cross_entropy import cross_entropy
from minillm.text.auto import AutoTokenizer
from minillm.training.optimizers import AdamW

odd = st.integers(1, 11).map(lambda n: 2 * n + 1)


def angles(p, k):
    return 2 * np.pi * k * np.arange(p) / p


def logits_of(p, alphas):
    """-> (p², p): Σ α_k cos w_k(a + b - c)"""
    a, b = np.divmod(np.arange(p * p), p)
    difference = (a + b)[:, None] - np.arange(p)
    return sum(alpha * np.cos(2 * np.pi * k * difference / p) for k, alpha in alphas.items())


@given(odd)
def test_waves_are_orthonormal(p):
    F = fourier.waves(p)
    np.testing.assert_allclose(F @ F.T, np.eye(p), atol=1e-12)
    for k in range(1, (p + 1) // 2):
        np.testing.assert_allclose(F[2 * k - 1] * np.sqrt(p / 2), np.cos(angles(p, k)), atol=1e-12)
        np.testing.assert_allclose(F[2 * k] * np.sqrt(p / 2), np.sin(angles(p, k)), atol=1e-12)


@given(odd, st.integers(0, 100))
def test_power_is_that_of_the_fast_fourier_transform(p, seed):
    W = np.random.default_rng(seed).normal(size=(p, 3))
    found = fourier.power(W)
    assert found.sum() == pytest.approx((W**2).sum())
    fast = (np.abs(np.fft.rfft(W, axis=0)) ** 2).sum(axis=1) / p
    np.testing.assert_allclose(found, fast * np.array([1] + [2] * (len(fast) - 1)))


@given(odd, st.integers(0, 100), st.data())
def test_keep_and_remove_are_projections_that_share_nothing(p, seed, data):
    ks = data.draw(st.lists(st.integers(1, (p - 1) // 2), unique=True))
    W = np.random.default_rng(seed).normal(size=(p, 2, 2))
    kept, removed = fourier.keep(W, ks), fourier.remove(W, ks)
    np.testing.assert_allclose(fourier.keep(kept, ks), kept, atol=1e-12)
    np.testing.assert_allclose(kept + removed - W.mean(axis=0), W, atol=1e-12)
    flat = removed.reshape(p, -1)
    assert np.abs(fourier.power(flat)[ks]).sum() < 1e-12
    everything = range(1, (p + 1) // 2)
    np.testing.assert_allclose(fourier.keep(W, everything), W, atol=1e-12)


def test_key_frequencies_are_the_fewest_that_hold_the_share():
    n = angles(13, 1)
    W = np.stack([3 * np.cos(2 * n), 2 * np.sin(5 * n), 0.1 * np.cos(n)], axis=1) + 7
    assert fourier.key_frequencies(W, 0.6) == [2]
    assert fourier.key_frequencies(W, 0.9) == [2, 5]
    assert fourier.key_frequencies(W, 1 - 1e-9) == [1, 2, 5]


def test_tuning_of_neurons_made_by_hand():
    p = 11
    a, b = angles(p, 1)[:, None], angles(p, 1)
    neurons = np.stack([
        5 + np.cos(3 * a) * np.ones(p) + 2 * np.sin(3 * b) - np.cos(3 * a) * np.cos(3 * b),
        np.cos(2 * a) + np.cos(4 * b),
        np.zeros((p, p)),
    ], axis=2)
    k, share = fourier.tuning(neurons)
    assert k[0] == 3 and share[0] == pytest.approx(1)
    assert k[1] in (2, 4) and share[1] == pytest.approx(0.5)
    assert share[2] == 0


@given(odd, st.integers(0, 100))
@settings(max_examples=30)
def test_cosines_are_the_least_squares_fit(p, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(p * p, p))
    found = fourier.cosines(logits)
    x = logits - logits.mean(axis=1, keepdims=True)
    table = np.stack([logits_of(p, {k: 1.0}).ravel() for k in range(1, (p + 1) // 2)], axis=1)
    want, error, *_ = np.linalg.lstsq(table, x.ravel(), rcond=None)
    np.testing.assert_allclose(found.alpha, want, atol=1e-9)
    assert 1 - found.explained.sum() == pytest.approx(error[0] / (x**2).sum())


def test_a_perfect_adder_is_all_cosines():
    p = 13
    alphas = {2: 4.0, 5: 3.0}
    logits = logits_of(p, alphas) + np.random.default_rng(0).normal(size=(p * p, 1))
    found = fourier.cosines(logits)
    assert found.alpha[[1, 4]] == pytest.approx([4, 3])
    assert found.explained[[1, 4]].sum() == pytest.approx(1)
    data = ModularAddition(p, 0.5)
    assert score(logits.astype(np.float32), data).test_accuracy == 1
    measured = fourier.progress(logits, data, [2, 5])
    assert measured.restricted < 1 and measured.excluded == pytest.approx(np.log(p))


@given(odd, st.integers(0, 100))
@settings(max_examples=20)
def test_restricted_and_excluded_add_up(p, seed):
    rng = np.random.default_rng(seed)
    logits, ks = rng.normal(size=(p * p, p)), [1]
    mean = logits.mean(axis=0)
    np.testing.assert_allclose(
        fourier.restricted(logits, ks) + fourier.excluded(logits, ks) - mean, logits, atol=1e-9)
    # Only a + b decides about what is kept.
    a, b = np.divmod(np.arange(p * p), p)
    same = fourier.restricted(logits, ks)
    np.testing.assert_allclose(same, same[(a + b) % p], atol=1e-9)  # row s is the question 0 + s


def test_waves_are_those_of_pytorch():
    """fixtures/make_circuits.py"""
    want = np.load(Path(__file__).parents[1] / "fixtures" / "circuits.npz")
    np.testing.assert_allclose(fourier.power(want["W"]), want["power"])
    k, share = fourier.tuning(want["neurons"])
    assert (k == want["k"]).all()
    np.testing.assert_allclose(share, want["share"])
    np.testing.assert_allclose(fourier.cosines(want["logits"]).alpha, want["alpha"])
    np.testing.assert_allclose(fourier.restricted(want["logits"], [2]), want["restricted"],
                               atol=1e-12)


def test_plot_power():
    figure = fourier.plot_power({"before": np.ones(6), "after": np.eye(6)[2]})
    assert [axes.get_title() for axes in figure.axes] == ["before", "after"]


# ---- the task


@pytest.mark.parametrize("p, share, seed", [(5, 0.4, 0), (7, 0.3, 1)])
def test_questions(p, share, seed):
    data = ModularAddition(p, share, seed)
    assert (data.ids[:, 2] == p).all()
    assert ((data.ids[:, 0] + data.ids[:, 1]) % p == data.sums).all()
    assert len({tuple(row) for row in data.ids}) == p * p
    assert sorted([*data.train, *data.test]) == list(range(p * p))
    assert len(data.train) == round(share * p * p)
    assert (ModularAddition(p, share, seed).train == data.train).all()


@pytest.mark.parametrize("p, share, message", [
    (8, 0.3, "p is 8, wanted an odd number"), (1, 0.3, "p is 1"), (5, 0, "share is 0, wanted"),
    (5, 1, "share is 1, wanted")])
def test_refusals(p, share, message):
    with pytest.raises(ValueError, match=message):
        ModularAddition(p, share)


def test_a_model_learns_its_questions():
    data = ModularAddition(5, 0.6)
    model = new_model(5, 16, 2)
    optimizer = AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        answer_loss(model, data.ids[data.train], data.sums[data.train]).backward()
        optimizer.step()
    logits = answers(model, data.ids)
    assert logits.shape == (25, 5)
    found = score(logits, data)
    assert found.train_accuracy == 1 and found.test_loss > found.train_loss
    assert found.train_loss == pytest.approx(
        cross_entropy(logits[data.train], data.sums[data.train])[0])


@pytest.mark.parametrize("p", [7, 59, 113])
def test_the_tokenizer_reads_what_a_question_is(p, tmp_path):
    tokenizer, data = number_tokenizer(p), ModularAddition(p, 0.5)
    tokenizer.save_pretrained(tmp_path)
    for read in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        assert len(read) == p + 1
        for a, b, equals in data.ids[:: p + 3]:
            assert read.encode(f"{a} {b} =") == read.encode(f" {a}  {b}=") == [a, b, equals]
            assert [read.decode([id]) for id in (a, b, equals)] == [str(a), str(b), "="]
