"""Every view beside PyTorch's autograd and hooks (fixtures/make_insight.py)."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from minillm import GPT2Config, GPT2LMHeadModel
from minillm.insight import attribution, importance, lens, patching
from minillm.insight.target import Logit

FIXTURE = np.load(Path(__file__).parents[1] / "fixtures" / "insight.npz")
FIXTURE_OF_PATCHES = Path(__file__).parents[1] / "fixtures" / "insight_patches.npz"
CLEAN, CORRUPT = np.array([3, 1, 4, 1, 5, 9]), np.array([3, 8, 4, 1, 5, 9])
TARGET = Logit(7, 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    weights = {name.removeprefix("weight."): FIXTURE[name] for name in FIXTURE
               if name.startswith("weight.")}
    safetensors.numpy.save_file(weights, folder / "model.safetensors")
    GPT2Config(vocab_size=11, n_embd=8, n_layer=2, n_head=2, n_positions=16).save_pretrained(folder)
    return GPT2LMHeadModel.from_pretrained(folder)


def test_the_lens(model):
    found = lens.logit_lens(model, CLEAN[None], k=11)
    for layer, P in enumerate(FIXTURE["lens"]):
        np.testing.assert_allclose(
            np.take_along_axis(P, found.ids[layer, 0], axis=-1), found.probabilities[layer, 0],
            atol=1e-5)


def test_patching(model):
    found = patching.patching(model, CLEAN, CORRUPT, TARGET, patching.sites(model, "residual"))
    np.testing.assert_allclose(found.exact, FIXTURE["exact"], atol=1e-4)
    np.testing.assert_allclose(found.estimate, FIXTURE["estimate"], atol=1e-4)


def test_heads_patched_and_moved(model):
    """fixtures/make_insight_patches.py"""
    wanted = np.load(FIXTURE_OF_PATCHES)
    heads = patching.sites(model, "head")
    found = patching.patching(model, CLEAN, CORRUPT, TARGET, heads)
    np.testing.assert_allclose(found.exact, wanted["sweep"], atol=1e-4)
    corrupt = {"input_ids": CORRUPT[None]}
    _, clean = patching.record(model, {"input_ids": CLEAN[None]}, TARGET, heads)
    patch = patching.Patch(heads[2], clean[heads[1]], [2], [5])
    logits = patching.run_patched(model, corrupt, [patch])
    moved = (TARGET.value(logits)[0] - found.corrupt) / (found.clean - found.corrupt)
    assert moved == pytest.approx(wanted["moved"], abs=1e-4)


def test_importance(model):
    ids = np.stack([CLEAN, CORRUPT])

    def loss():
        return model(ids, labels=ids).loss

    np.testing.assert_allclose(importance.importance_by_gradient(model, loss),
                               FIXTURE["by_gradient"], atol=1e-5)
    np.testing.assert_allclose(importance.importance_by_ablation(model, loss),
                               FIXTURE["by_ablation"], atol=1e-5)


@pytest.mark.parametrize("name", attribution.METHODS)
def test_attributions(model, name):
    found = attribution.METHODS[name](model, CLEAN, TARGET)
    np.testing.assert_allclose(found, FIXTURE[f"input.{name}"], atol=1e-4)
