"""Decoders with a classifier, beside transformers' (fixtures/make_classifiers.py)."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from tests.helpers.gradcheck import check_gradients

import minillm
from minillm.models.auto import model_class

FIXTURE = np.load(Path(__file__).parents[1] / "fixtures" / "classifiers.npz")
TYPES = ("gpt2", "llama", "mistral", "qwen2")
KINDS = {"texts": "sequence_classification", "tokens": "token_classification"}


def load(folder, model_type, kind):
    prefix = f"{model_type}.{kind}"
    weights = {name.removeprefix(f"{prefix}.weight."): FIXTURE[name] for name in FIXTURE
               if name.startswith(f"{prefix}.weight.")}
    safetensors.numpy.save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(str(FIXTURE[f"{prefix}.config"]))
    return model_class(model_type, KINDS[kind]).from_pretrained(folder)


def run(model, kind):
    return model(FIXTURE["ids"], attention_mask=FIXTURE["mask"], labels=FIXTURE[f"{kind}.labels"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model_type", TYPES)
def test_as_transformers(tmp_path, model_type, kind):
    model = load(tmp_path, model_type, kind)
    out = run(model, kind)
    logits = FIXTURE[f"{model_type}.{kind}.logits"]
    seen = FIXTURE["mask"].astype(bool) if kind == "tokens" else slice(None)
    np.testing.assert_allclose(out.logits[seen], logits[seen], atol=1e-4)
    assert out.loss.item() == pytest.approx(float(FIXTURE[f"{model_type}.{kind}.loss"]), abs=1e-4)

    out.loss.backward()
    for parameter in model.parameters():  # the gradients, named and laid out as in a file
        parameter.data = parameter.grad
    model.save_pretrained(tmp_path / "gradients")
    found = safetensors.numpy.load_file(tmp_path / "gradients" / "model.safetensors")
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, FIXTURE[f"{model_type}.{kind}.grad.{name}"],
                                   atol=1e-3, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model_type", TYPES)
def test_saved_and_loaded(tmp_path, model_type, kind):
    model = load(tmp_path, model_type, kind)
    model.save_pretrained(tmp_path / "again")
    other = type(model).from_pretrained(tmp_path / "again")
    np.testing.assert_array_equal(run(other, kind).logits, run(model, kind).logits)
    content = json.loads((tmp_path / "again" / "config.json").read_text())
    assert content["architectures"] == [type(model).__name__]


def small(kind, **changes):
    name = {"texts": "Sequence", "tokens": "Token"}[kind]
    config = minillm.GPT2Config(vocab_size=9, n_embd=4, n_layer=1, n_head=2, n_positions=6,
                                resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, pad_token_id=8)
    return getattr(minillm, f"GPT2For{name}Classification")(config.replace(**changes)).eval()


def check(model, loss):
    """The gradients in float64 are those that central differences give."""
    loss().backward()
    parameters = dict(model.named_parameters())
    check_gradients(lambda: loss().item(), {n: p.data for n, p in parameters.items()},
                    {n: p.grad for n, p in parameters.items()}, np.random.default_rng(0))


def test_padding_changes_no_text():
    model = small("texts")
    ids = np.array([[1, 2, 3]])
    padded = np.array([[1, 2, 3, 8, 8]])
    left = np.array([[8, 8, 1, 2, 3]])
    want = model(ids).logits
    np.testing.assert_allclose(model(padded, attention_mask=padded != 8).logits, want, atol=1e-6)
    positions = np.array([[0, 0, 0, 1, 2]])
    np.testing.assert_allclose(model(left, attention_mask=left != 8, position_ids=positions).logits,
                               want, atol=1e-6)


@pytest.mark.parametrize("problem, labels", [
    (None, np.array([1, 0])),
    (None, np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])),
    ("regression", np.array([[1.5, 0.0, 1.0], [0.2, -1.0, 1.0]])),
])
def test_gradients(problem, labels):
    model = small("texts", num_labels=3).astype(np.float64)
    model.config.extra["problem_type"] = problem
    ids = np.array([[1, 2, 3, 8], [4, 5, 6, 7]])
    check(model, lambda: model(ids, labels=labels).loss)


def test_gradients_of_tokens():
    model = small("tokens", num_labels=3).astype(np.float64)
    labels = np.array([[0, 2, -100], [1, 1, 0]])
    check(model, lambda: model(np.array([[1, 2, 3], [4, 5, 6]]), labels=labels).loss)


def test_errors():
    model = small("texts", pad_token_id=None)
    with pytest.raises(ValueError, match="^pad_token_id is None, wanted the id of the padding: the "
                                         "batch has 2 texts$"):
        model(np.array([[1], [2]]))
    assert model(np.array([[1]])).logits.shape == (1, 2)
    with pytest.raises(ValueError, match=r"labels has shape \(2,\), wanted \(1,\)"):
        model(np.array([[1]]), labels=np.array([0, 1]))
