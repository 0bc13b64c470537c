"""Heads, paths, ablations, contributions, and all that is trained, beside PyTorch
(fixtures/make_insight_heads.py and make_insight_learned.py)."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from minillm import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from minillm.insight import attention, contributions, importance, lens, patching
from minillm.insight.ablation import ablation_effects, effects_of, replacements, values_in
from minillm.insight.sparse_autoencoder import SparseAutoencoder
from minillm.insight.streams import residual_streams
from minillm.insight.target import Logit
from minillm.insight.tuned_lens import TunedLens
from minillm.nn.module import no_grad
from minillm.ops.softmax import softmax
from minillm.tasks.logistic_regression import fit_softmax

FIXTURES = Path(__file__).parents[1] / "fixtures"
HEADS, LEARNED = (np.load(FIXTURES / f"insight_{name}.npz") for name in ("heads", "learned"))
CLEAN, CORRUPT = np.array([3, 1, 4, 1, 5, 9]), np.array([3, 8, 4, 1, 5, 9])
REFERENCES = [np.array([[2, 7, 1, 8, 2, 8], [1, 6, 1, 8, 0, 3], [5, 7, 7, 2, 1, 5]])]
DRAWN = 1
TARGET = Logit(7, 2)
ATOL = 2e-5


def from_fixture(folder, fixture, config, cls):
    weights = {name.removeprefix("weight."): fixture[name] for name in fixture
               if name.startswith("weight.")}
    safetensors.numpy.save_file(weights, folder / "model.safetensors")
    config.save_pretrained(folder)
    return cls.from_pretrained(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    make = tmp_path_factory.mktemp
    return {
        "gpt2": from_fixture(make("gpt2"), np.load(FIXTURES / "insight.npz"), GPT2Config(
            vocab_size=11, n_embd=8, n_layer=2, n_head=2, n_positions=16), GPT2LMHeadModel),
        "llama": from_fixture(make("llama"), HEADS, LlamaConfig(
            vocab_size=11, hidden_size=8, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, intermediate_size=12, max_position_embeddings=16,
            tie_word_embeddings=False), LlamaForCausalLM),
    }


names = pytest.mark.parametrize("name", ["gpt2", "llama"])


@names
def test_importance_by_gradient(name, models):
    model, ids = models[name], np.stack([CLEAN, CORRUPT])
    found = importance.importance_by_gradient(model, lambda: model(ids, labels=ids).loss)
    np.testing.assert_allclose(found, HEADS[f"{name}.by_gradient"], atol=ATOL)


@names
@pytest.mark.parametrize("kind", ["zero", "mean", "mean by position", "resample"])
def test_ablation(name, kind, models):
    model, heads = models[name], patching.sites(models[name], "head")
    want = HEADS[f"{name}.ablation.{kind}"]
    if kind == "resample":  # the draw of the fixture
        values = values_in(model, REFERENCES, heads)
        changes = {head: values[head][DRAWN] for head in heads}
        found = effects_of(model, CLEAN, TARGET, changes)
    else:
        options = {"by_position": True} if " " in kind else {}
        kind_of = kind.split()[0]
        found = ablation_effects(model, CLEAN, TARGET, heads, kind_of, REFERENCES, **options)
        by_loss = importance.importance_by_ablation(
            model, lambda: model(CLEAN[None], labels=CLEAN[None]).loss, kind_of, REFERENCES,
            **options)
        np.testing.assert_allclose(by_loss, HEADS[f"{name}.ablation.loss.{kind}"], atol=ATOL)
    np.testing.assert_allclose(found, want.ravel(), atol=ATOL)


@names
def test_ablation_of_layers(name, models):
    model = models[name]
    changes = replacements(model, patching.sites(model, "feed_forward"), "mean", REFERENCES)
    np.testing.assert_allclose(effects_of(model, CLEAN, TARGET, changes),
                               HEADS[f"{name}.ablation.feed_forward"], atol=ATOL)


@names
def test_paths(name, models):
    model, want = models[name], HEADS[f"{name}.paths"]
    heads = patching.sites(model, "head")
    to_output = patching.path_effects(model, CLEAN, CORRUPT, TARGET)
    np.testing.assert_allclose([to_output[head] for head in heads], want[:, 0], atol=1e-4)
    H = len(heads) // 2
    for h in range(H):
        found = patching.path_effects(model, CLEAN, CORRUPT, TARGET, heads[H + h])
        assert list(found) == heads[:H]
        np.testing.assert_allclose(list(found.values()), want[:H, 1 + h], atol=1e-4)


@names
def test_contributions(name, models):
    shares = contributions.logit_contributions(models[name], CLEAN, TARGET.token, TARGET.other)
    parts = [share for part, share in shares.items() if "bias" not in part]
    np.testing.assert_allclose(parts, HEADS[f"{name}.contributions"], atol=ATOL)


@names
def test_rollout_and_flow(name, models):
    weights = attention.attention_weights(models[name], CLEAN[None])
    np.testing.assert_allclose(np.stack(attention.rollout(weights))[:, 0], HEADS[f"{name}.rollout"],
                               atol=1e-6)
    np.testing.assert_allclose(attention.flow([w[0] for w in weights], len(CLEAN) - 1),
                               HEADS[f"{name}.flow"], atol=1e-6)


def test_the_lens_of_an_rms_norm_model(models):
    found = lens.logit_lens(models["llama"], CLEAN[None], k=11)
    for layer, P in enumerate(HEADS["llama.lens"]):
        np.testing.assert_allclose(np.take_along_axis(P, found.ids[layer, 0], axis=-1),
                                   found.probabilities[layer, 0], atol=1e-5)


# ---- what is trained


def test_the_tuned_lens(models):
    ids = [np.array([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8], [9, 7, 9, 3, 2, 3]])]
    model = models["gpt2"]
    streams, steps = residual_streams(model, ids), LEARNED["lens.losses"].shape[1]
    tuned = TunedLens(model)
    losses = tuned.fit_streams(streams, steps=steps, batch_size=8, lr=1e-2)
    np.testing.assert_allclose(losses, LEARNED["lens.losses"], rtol=1e-3)
    for layer, translator in enumerate(tuned.translators):
        np.testing.assert_allclose(translator.weight.data, LEARNED[f"lens.{layer}.A"], atol=1e-3)
        np.testing.assert_allclose(translator.bias.data, LEARNED[f"lens.{layer}.b"], atol=1e-3)
    # the gradient of the first step
    tuned.fit_streams(streams, steps=0)
    rows = np.random.default_rng(0).integers(len(streams[-1]), size=8)
    with no_grad():
        final = model.unembed(streams[-1][rows])
    for layer, translator in enumerate(tuned.translators):
        tuned._step(translator, streams[layer][rows], final)
        np.testing.assert_allclose(translator.weight.grad, LEARNED[f"lens.{layer}.dA"], atol=1e-5)
        np.testing.assert_allclose(translator.bias.grad, LEARNED[f"lens.{layer}.db"], atol=1e-5)


def new_autoencoder():
    sae = SparseAutoencoder(5, 9, sparsity=0.3).astype(np.float64)
    sae.W_d.data, sae.W_e.data = LEARNED["sae.W"].copy(), LEARNED["sae.W"].T.copy()
    return sae


def test_the_autoencoder():
    X, sae = LEARNED["sae.X"], new_autoencoder()
    sae.b_d.data = X.mean(axis=0)
    x = X[np.random.default_rng(0).integers(len(X), size=8)]
    x_hat, f = sae(x)
    np.testing.assert_allclose(f, LEARNED["sae.f"], atol=1e-12)
    np.testing.assert_allclose(x_hat, LEARNED["sae.x_hat"], atol=1e-12)
    sae = new_autoencoder()
    sae.b_d.data = X.mean(axis=0)
    sae.loss_and_gradients(x)
    for name, parameter in sae.named_parameters():
        np.testing.assert_allclose(parameter.grad, LEARNED[f"sae.d{name}"], atol=1e-12)
    trained = new_autoencoder()
    history = trained.fit(X, steps=5, batch_size=8, lr=1e-2)
    np.testing.assert_allclose([each.total for each in history], LEARNED["sae.losses"], rtol=1e-9)
    for name, parameter in trained.named_parameters():
        np.testing.assert_allclose(parameter.data, LEARNED[f"sae.{name}"], atol=1e-8)


def test_a_probe_is_at_the_minimum_that_lbfgs_finds():
    X, labels = LEARNED["probe.X"], LEARNED["probe.labels"]
    W, b = fit_softmax(X, labels, 3, 1e-2, 200)
    np.testing.assert_allclose(W, LEARNED["probe.W"], atol=1e-3)
    np.testing.assert_allclose(softmax(X @ W + b)[0], LEARNED["probe.P"], atol=1e-3)


