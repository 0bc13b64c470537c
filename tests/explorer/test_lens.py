"""The lens view, asked directly: its numbers are the library's."""

from types import SimpleNamespace

import numpy as np
import pytest
from tests.explorer.test_attention import subject
from tests.helpers.subjects import TEXT

from minillm.explorer.encoding import to_json
from minillm.explorer.views import OFFLINE, VIEWS, lens
from minillm.insight.anatomy import Anatomy
from minillm.insight.contributions import logit_contributions
from minillm.insight.lens import logit_lens
from minillm.insight.streams import residual_streams
from minillm.nn.module import no_grad
from minillm.ops.softmax import softmax

SPEAKING = ("gpt2", "llama", "mistral", "qwen2", "bert", "transformer", "pre-norm transformer",
            "marian")


@pytest.mark.parametrize("kind", SPEAKING)
def test_every_cell_is_the_librarys(kind):
    one = subject(kind)
    reading = one.read(TEXT)
    found, wanted = lens.lens(one, TEXT), logit_lens(one.model, k=10, **reading.inputs)
    np.testing.assert_array_equal(found["ids"], wanted.ids[:, 0])
    np.testing.assert_allclose(found["probabilities"], wanted.probabilities[:, 0], rtol=1e-4)
    np.testing.assert_allclose(found["entropy"], wanted.entropy[:, 0], rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(found["tracked"][:, 0], wanted.ids[-1, 0, :, 0])
    np.testing.assert_allclose(found["tracked_probabilities"][..., 0], wanted.of_final[:, 0],
                               rtol=1e-4)
    assert not found["tracked_ranks"][-1, :, 0].any()
    np.testing.assert_allclose(found["divergence"][-1], 0, atol=1e-5)
    assert found["embedding"] == (len(wanted.ids) > len(Anatomy(one.model)))
    assert all(int(id) in found["names"] for id in found["ids"].ravel())
    if found["actual"][0] >= 0:
        place = list(found["tracked"][0]).index(found["actual"][0])
        p, _ = softmax(one.model.unembed(residual_streams(one.model, [reading.inputs])[0][:1]))
        assert found["tracked_probabilities"][0, 0, place] == pytest.approx(
            p[0, found["actual"][0]], rel=1e-4)


def test_a_token_of_ones_own_and_a_long_text(monkeypatch):
    one = subject("gpt2")
    whole = lens.lens(one, TEXT)
    monkeypatch.setattr(lens, "CHUNK", 1000)  # one position at a time
    monkeypatch.setattr(lens, "MOST_AT_ONCE", 1000)
    calls = []
    parts = lens.lens_long(one, TEXT, lambda *call: calls.append(call))
    assert lens.lens(one, TEXT) == {"long": True} and len(calls) == len(whole["tokens"])
    np.testing.assert_array_equal(parts["ids"], whole["ids"])
    np.testing.assert_allclose(parts["tracked_probabilities"], whole["tracked_probabilities"],
                               atol=1e-6)
    token = lens.lens_token(one, TEXT, "a", lambda *call: None)
    streams = residual_streams(one.model, [one.read(TEXT).inputs])
    with no_grad():
        logits = np.stack([one.model.unembed(x) for x in streams])
    np.testing.assert_allclose(token["probabilities"], softmax(logits)[0][..., token["id"]],
                               atol=1e-6)
    np.testing.assert_array_equal(token["ranks"],
                                  (logits > logits[..., token["id"], None]).sum(axis=-1))
    with pytest.raises(ValueError, match="^token is 'a cat saw', which is "):
        lens.lens_token(one, TEXT, "a cat saw", lambda *call: None)


@pytest.mark.parametrize("kind", ["bert", "marian", "pre-norm transformer"])
def test_every_model_with_a_head_can_have_a_tuned_lens(kind, monkeypatch):
    monkeypatch.setattr(lens, "TUNING", {"steps": 10, "batch_size": 16, "lr": 1e-2})
    monkeypatch.setattr(lens, "TUNING_TOKENS", 256)
    monkeypatch.setattr(lens, "SPOKEN_TOKENS", 16)
    explorer = SimpleNamespace(kept={})
    found = lens.lens_tune(subject(kind), explorer, lambda *call: None)
    assert np.isfinite(found["losses"]).all()
    assert lens.lens(subject(kind), TEXT, explorer, tuned=True)["tuned"]


def test_the_tuned_lens_is_trained_and_kept(monkeypatch):
    monkeypatch.setattr(lens, "TUNING", {"steps": 60, "batch_size": 32, "lr": 1e-2})
    monkeypatch.setattr(lens, "TUNING_TOKENS", 512)
    one, explorer, calls = subject("gpt2"), SimpleNamespace(kept={}), []
    with pytest.raises(ValueError, match="no translators are trained"):
        lens.lens(one, TEXT, explorer, tuned=True)
    plain = lens.lens(one, TEXT, explorer)
    assert not plain["has_tuned"]
    found = lens.lens_tune(one, explorer, lambda *call: calls.append(call))
    assert found["losses"].shape == (2, 60)
    assert calls[-1] == (len(calls), len(calls))
    assert (found["losses"][:, -10:].mean(axis=1) < found["losses"][:, :3].mean(axis=1)).all()
    tuned = lens.lens(one, TEXT, explorer, tuned=True)
    assert tuned["has_tuned"] and tuned["tuned"]
    np.testing.assert_allclose(tuned["probabilities"][-1], plain["probabilities"][-1], atol=1e-6)
    assert np.abs(tuned["entropy"][0] - plain["entropy"][0]).max() > 1e-3
    assert not lens.lens(subject("llama"), TEXT, explorer)["has_tuned"]


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mistral", "qwen2", "pre-norm transformer"])
def test_shares_add_up_to_the_logit(kind):
    one = subject(kind)
    inputs = one.read(TEXT).inputs
    for other in (-1, 3):
        found = lens.lens_contributions(one, TEXT, 4, 7, other)
        assert found["sum"] == pytest.approx(found["logit"], abs=1e-4)
        wanted = logit_contributions(one.model, inputs, 7, None if other < 0 else other, 4)
        assert {each["part"]: each["share"] for each in found["parts"]} == wanted
    heads = [(each["layer"], each["head"]) for each in found["parts"] if each["kind"] == "head"]
    H = Anatomy(one.model).blocks[0].n_heads
    assert heads == [(layer, h) for layer in range(2) for h in range(H)]
    crossed = sum(each["kind"] == "cross head" for each in found["parts"])
    assert crossed == (4 if "transformer" in kind else 0)
    with pytest.raises(ValueError, match="^position is 99, wanted 0 to "):
        lens.lens_contributions(one, TEXT, 99, 7)


def test_models_without_a_lens_say_so():
    with pytest.raises(ValueError, match=", wanted one that predicts tokens: "):
        lens.lens(subject("bert alone"), TEXT)
    with pytest.raises(ValueError, match="in a post-norm one the residual stream isn't a sum$"):
        lens.lens_contributions(subject("bert"), TEXT, 0, 7)
    assert list(OFFLINE["lens"](subject("bert alone"), TEXT)) == []


def test_what_a_page_without_a_server_needs():
    one = subject("gpt2")
    answers = [to_json(VIEWS[name].function(one, TEXT, **fields))
               for name, fields in OFFLINE["lens"](one, TEXT)]
    assert len(answers) == 1 + len(one.encode(TEXT)) and sum(map(len, answers)) < 300_000
