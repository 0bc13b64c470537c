"""What is trained to look inside: probes, the tuned lens, the sparse autoencoder; and geometry."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.gradcheck import check_gradients
from tests.insight.test_insight import DECODERS, IDS, bert, gpt2

from minillm.insight import geometry, probes
from minillm.insight.lens import logit_lens
from minillm.insight.sparse_autoencoder import (
    SparseAutoencoder,
    describe,
    explained_variance,
    plot_features,
    strongest,
)
from minillm.insight.streams import residual_streams
from minillm.insight.tuned_lens import TunedLens
from minillm.nn.module import no_grad


# ---- probes


@pytest.mark.parametrize("make", [*DECODERS.values(), bert])
def test_streams_are_the_models_own(make):
    model = make()
    streams = residual_streams(model, [IDS, IDS[:1]])
    assert len(streams) == (2 if make is bert else 3)
    assert all(X.shape == (18, 8) for X in streams)
    with no_grad():
        np.testing.assert_allclose(model.unembed(streams[-1][:12]).reshape(2, 6, -1),
                                   model(IDS).logits, atol=1e-4)


def test_a_probe_finds_what_is_written_and_the_control_what_words_allow():
    rng = np.random.default_rng(0)
    words = rng.integers(40, size=3000)
    labels = rng.integers(3, size=3000)  # not a property of the word
    X = rng.normal(size=(3000, 20))
    X[:, :3] += 3 * np.eye(3)[labels]
    found = probes.probe(X, labels, words)
    assert found.accuracy > 0.9 and found.control < 0.5 and found.selectivity > 0.4
    table = rng.normal(size=(40, 60))  # vectors that tell words apart, and no more
    found = probes.probe(table[words] + 0.1 * X[:, 5:6], labels, words)
    assert found.accuracy < 0.5 and found.control > 0.95


def test_probes_of_all_layers():
    model, rng = gpt2(), np.random.default_rng(0)
    ids = [rng.integers(11, size=(20, 8)) for _ in range(4)]
    labels = [batch % 2 for batch in ids]  # of the token itself: in the embedding
    labels[0] = np.full_like(labels[0], -100)
    found = probes.probe_layers(model, ids, labels)
    assert len(found) == 3 and found[0].accuracy > found[0].majority + 0.1
    assert probes.plot_probes(found).axes
    with pytest.raises(ValueError, match="^labels has 160 tokens, wanted 640"):
        probes.probe_layers(model, ids, labels[:1])


# ---- the tuned lens


def test_the_tuned_lens_starts_as_the_logit_lens_and_comes_closer_to_the_end():
    model, rng = gpt2(), np.random.default_rng(0)
    batches = [rng.integers(11, size=(8, 12)) for _ in range(6)]
    before = {name: value.copy() for name, value in model.state_dict().items()}
    tuned = TunedLens(model)
    losses = tuned.fit(batches, steps=150, lr=1e-2)
    assert len(losses) == 2
    for history in losses:
        assert np.mean(history[-20:]) < 0.5 * np.mean(history[:5])
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert all(p.grad is None and p.trainable for p in model.parameters())
    streams = residual_streams(model, [IDS])
    assert tuned.logits(streams)[-1].shape == (12, 11)
    untrained = TunedLens(model)
    untrained.fit([IDS], steps=0)
    np.testing.assert_array_equal(untrained.logits(streams)[0].argmax(axis=-1).reshape(2, 6),
                                  logit_lens(model, IDS).ids[0, ..., 0])


def test_its_gradient():
    model = gpt2().astype(np.float64)
    tuned = TunedLens(model)
    rng = np.random.default_rng(0)
    x, final = rng.normal(size=(5, 8)), model.unembed(rng.normal(size=(5, 8)))
    from minillm.nn import Linear

    translator = Linear(8, 8, rng=rng, std=0.1).astype(np.float64)

    def loss():
        return tuned._step(translator, x, final)

    loss()
    gradients = {name: p.grad.copy() for name, p in translator.named_parameters()}

    def value():
        translator.zero_grad()
        return loss()

    check_gradients(value, {name: p.data for name, p in translator.named_parameters()}, gradients,
                    rng)


# ---- the sparse autoencoder


def test_gradients_of_the_autoencoder():
    rng = np.random.default_rng(0)
    sae = SparseAutoencoder(4, 7, sparsity=0.3).astype(np.float64)
    for parameter in sae.parameters():
        parameter.data += 0.2 * rng.normal(size=parameter.shape)
    x = rng.normal(size=(6, 4))
    sae.loss_and_gradients(x)
    gradients = {name: p.grad.copy() for name, p in sae.named_parameters()}

    def value():
        sae.zero_grad()
        return sae.loss_and_gradients(x).total

    check_gradients(value, {name: p.data for name, p in sae.named_parameters()}, gradients, rng)


def test_it_finds_directions_that_were_put_in():
    """Vectors that are sums of one or two of 12 directions in 8 dimensions."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(12, 8))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    on = rng.random((4000, 12)) < 0.08
    X = (on * rng.uniform(0.5, 1.5, size=on.shape) @ directions).astype(np.float32)
    sae = SparseAutoencoder(8, 24, sparsity=0.08)
    history = sae.fit(X, steps=1500, lr=3e-3)
    assert history[-1].total < 0.3 * history[0].total
    assert explained_variance(sae, X) > 0.85
    np.testing.assert_allclose(np.linalg.norm(sae.W_d.data, axis=1), 1, rtol=1e-5)
    best = np.abs(directions @ sae.W_d.data.T).max(axis=1)
    assert (best > 0.9).mean() > 0.8
    feature = int((directions @ sae.W_d.data.T)[0].argmax())
    rows, values = strongest(sae, X, feature)
    assert (np.diff(values) <= 0).all() and on[rows, 0].mean() > 0.7


# ---- geometry


@given(st.integers(0, 2**31), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_pca(seed, k):
    X = np.random.default_rng(seed).normal(size=(9, 4)) * [3, 2, 1, 0.5]
    found = geometry.pca(X, k)
    np.testing.assert_allclose(found.axes @ found.axes.T, np.eye(k), atol=1e-9)
    np.testing.assert_allclose(found.coordinates, (X - found.mean) @ found.axes.T, atol=1e-9)
    assert (np.diff(found.explained) <= 1e-12).all() and found.explained.sum() <= 1 + 1e-12
    if k == 4:
        np.testing.assert_allclose(found.mean + found.coordinates @ found.axes, X, atol=1e-9)
    turned = geometry.pca(X[:, ::-1], k)  # another order of the dimensions: the same plane
    np.testing.assert_allclose(np.abs(turned.coordinates), np.abs(found.coordinates), atol=1e-7)
    if k > 1:
        assert geometry.plot_plane(found, range(9)).axes


def test_neighbors():
    table = np.array([[1.0, 0], [2, 0.1], [0, 1], [-1, 0]])
    indices, cosines = geometry.nearest(table, 0, k=2)
    assert list(indices) == [1, 2] and cosines[0] > 0.99
    indices, cosines = geometry.nearest(table, np.array([-3.0, 0]), k=1)
    assert list(indices) == [3] and cosines[0] == pytest.approx(1)
