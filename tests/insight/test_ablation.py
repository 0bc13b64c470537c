"""Ablation: each kind beside the definition written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.insight.test_insight import IDS, bert, gpt2, llama, transformer

from minillm.insight.ablation import KINDS, ablate, ablation_effects
from minillm.insight.anatomy import Anatomy
from minillm.insight.importance import importance_by_ablation
from minillm.insight.patching import sites
from minillm.insight.target import Logit
from minillm.nn.module import no_grad
from minillm.nn.trace import trace

REFERENCES = [np.array([2, 7, 1, 8, 2, 8, 1]), np.array([[1, 6, 1, 8, 0, 3], [5, 7, 7, 2, 1, 5]])]
SITE_KINDS = ("residual", "attention", "feed_forward", "head")


def logits_of(model, ids=IDS):
    with no_grad():
        return model(ids).logits


@pytest.mark.parametrize("make", [gpt2, llama, bert])
def test_a_head_at_zero_is_a_head_whose_rows_of_W_O_are_zero(make):
    model = make()
    block = Anatomy(model).blocks[0]
    D = block.head_dim
    found = ablate(model, IDS, [block.head(1)]).logits
    assert not np.allclose(found, logits_of(model))
    block.module.attention.output.weight.data[D : 2 * D] = 0
    np.testing.assert_allclose(found, logits_of(model), atol=1e-5)


@pytest.mark.parametrize("kind", ["mean", "resample"])
@pytest.mark.parametrize("what", SITE_KINDS)
def test_a_text_in_its_own_place_changes_nothing(what, kind):
    model = gpt2()
    found = ablate(model, IDS[:1], sites(model, what), kind, [IDS[0]], by_position=True)
    np.testing.assert_allclose(found.logits, logits_of(model, IDS[:1]), atol=1e-5)


@given(st.sampled_from(SITE_KINDS), st.integers(0, 1))
@settings(max_examples=8, deadline=None)
def test_the_mean_is_the_mean(what, layer):
    model = gpt2()
    name = sites(model, what)[layer]
    values = []
    for ids in REFERENCES:
        with trace(model, [name]) as t, no_grad():
            model(np.atleast_2d(ids))
        values += list(t[name])
    with trace(model, []) as t:
        t.patch(name, np.concatenate(values).mean(axis=0))
        want = logits_of(model)
    found = ablate(model, IDS, [name], "mean", REFERENCES).logits
    np.testing.assert_allclose(found, want, atol=1e-5)
    by_position = np.stack([sum(v[i] for v in values) / 3 for i in range(6)])
    with trace(model, []) as t:
        t.patch(name, by_position)
        want = logits_of(model)
    found = ablate(model, IDS, [name], "mean", REFERENCES, by_position=True).logits
    np.testing.assert_allclose(found, want, atol=1e-5)


def test_resampling_takes_another_texts_value_and_repeats_with_the_seed():
    model = gpt2()
    name = Anatomy(model).blocks[-1].residual  # the last stream is all that the head reads
    candidates = [logits_of(model, np.atleast_2d(ids)[:, :6]) for ids in REFERENCES]
    candidates = np.concatenate(candidates)  # causal: the first 6 tokens don't see the seventh
    drawn = set()
    for seed in range(12):
        found = ablate(model, IDS, [name], "resample", REFERENCES, seed=seed).logits
        again = ablate(model, IDS, [name], "resample", REFERENCES, seed=seed).logits
        np.testing.assert_array_equal(found, again)
        for row in found:
            near = np.abs(candidates - row).max(axis=(1, 2))
            assert near.min() < 1e-5
            drawn.add(int(near.argmin()))
    assert drawn == {0, 1, 2}


@pytest.mark.parametrize("kind", KINDS)
def test_only_at_some_places(kind):
    model = gpt2()
    names = sites(model, "residual")
    nowhere = ablate(model, IDS, names, kind, REFERENCES, places=[])
    np.testing.assert_allclose(nowhere.logits, logits_of(model), atol=1e-6)
    late = ablate(model, IDS, names, kind, REFERENCES, places=[4])
    np.testing.assert_allclose(late.logits[:, :4], logits_of(model)[:, :4], atol=1e-6)
    assert not np.allclose(late.logits[:, 4], logits_of(model)[:, 4])


@pytest.mark.parametrize("kind", KINDS)
def test_effects_are_what_the_target_loses(kind):
    model, target = gpt2(), Logit(7, 2)
    names = sites(model, "head")
    found = ablation_effects(model, IDS[:1], target, names, kind, REFERENCES[1:], seed=3)
    whole = target.value(logits_of(model, IDS[:1]))[0]
    one = ablate(model, IDS[:1], names[:1], kind, REFERENCES[1:], seed=3).logits
    assert found.shape == (4,)
    assert found[0] == pytest.approx(whole - target.value(one)[0], abs=1e-6)
    by_loss = importance_by_ablation(model, lambda: model(IDS, labels=IDS).loss, kind, REFERENCES)
    assert by_loss.shape == (2, 2) and np.abs(by_loss).min() > 0


def test_an_encoder_decoder_takes_all_arguments():
    model = transformer()
    inputs = {"input_ids": IDS[:1], "decoder_input_ids": IDS[1:, :4]}
    found = ablate(model, inputs, sites(model, "head"), "mean", [inputs], by_position=True)
    with no_grad():
        np.testing.assert_allclose(found.logits, model(**inputs).logits, atol=1e-5)


def test_errors():
    model = gpt2()
    names = sites(model, "head")
    with pytest.raises(ValueError, match="^kind is 'x', wanted one of zero, mean, resample$"):
        ablate(model, IDS, names, "x")
    with pytest.raises(ValueError, match="^references is empty, wanted texts: kind is 'mean'$"):
        ablate(model, IDS, names, "mean")
    for options in ({"kind": "resample"}, {"kind": "mean", "by_position": True}):
        with pytest.raises(ValueError, match="^references have at most 3 tokens, wanted 6, as"):
            ablate(model, IDS, names, references=[[1, 2, 3]], **options)
