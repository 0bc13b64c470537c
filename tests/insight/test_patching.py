"""Patching and attribution: properties, and autograd's answers where they can be written out."""

import numpy as np
import pytest
from tests.insight.test_insight import DECODERS, bert, gpt2, shaken, transformer

import minillm
from minillm.insight import attribution, inputs, patching
from minillm.insight.target import Label, Logit
from minillm.nn.module import no_grad
from minillm.nn.trace import trace

CLEAN, CORRUPT = np.array([3, 1, 4, 1, 5, 9]), np.array([3, 8, 4, 1, 5, 9])
TARGET = Logit(7, 2)


@pytest.mark.parametrize("make", DECODERS.values())
def test_the_last_residual_at_the_last_position_is_everything(make):
    model = make()
    found = patching.patching(model, CLEAN, CORRUPT, TARGET, patching.sites(model, "residual"))
    assert found.exact.shape == found.estimate.shape == (2, 6)
    assert found.exact[-1, -1] == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(found.exact[-1, :-1], 0, atol=1e-5)  # nobody reads them any more
    np.testing.assert_allclose(found.exact[:, 0], 0, atol=1e-5)  # both texts begin alike
    assert patching.plot_effects(found, list("abcdef")).axes


@pytest.mark.parametrize("kind", ["residual", "attention", "feed_forward", "head"])
def test_the_estimate_is_exact_for_small_changes(kind):
    """The clean text is the corrupt one with an embedding that differs by very little."""
    model = gpt2().astype(np.float64)
    table = model.get_input_embeddings().weight.data
    table[8] = table[1] + 1e-6 * np.random.default_rng(0).standard_normal(8)
    found = patching.patching(model, CLEAN, CORRUPT, Logit(7), patching.sites(model, kind))
    np.testing.assert_allclose(found.estimate, found.exact, atol=2e-4)
    assert found.correlation() > 0.999


def test_all_positions_together():
    model = gpt2()
    names = patching.sites(model, "residual")
    found = patching.patching(model, CLEAN, CORRUPT, TARGET, names, by_position=False)
    np.testing.assert_allclose(found.exact, 1, atol=1e-4)  # the whole stream decides
    parts = patching.patching(model, CLEAN, CORRUPT, TARGET, names)
    np.testing.assert_allclose(found.estimate, parts.estimate.sum(axis=1))


def test_an_encoder_decoder_takes_the_arguments_of_its_forward():
    model, target = transformer(), Logit(7, 2)
    clean, corrupt = ({"input_ids": np.array([source]), "decoder_input_ids": np.array([[1, 4, 5]])}
                      for source in ([3, 1, 4, 1], [3, 8]))  # sources may differ in length
    found = patching.patching(model, clean, corrupt, target, patching.sites(model, "residual"))
    assert found.exact.shape == (2, 3)
    assert found.exact[-1, -1] == pytest.approx(1, abs=1e-4)
    crossing = patching.sites(model, "cross_attention")
    assert len(crossing) == 2 and not patching.sites(gpt2(), "cross_attention")
    # The decoders read the same ids: all that differs comes through the cross-attentions.
    with no_grad(), trace(model, crossing) as t:
        m = target.value(model(**clean).logits)[0]
    patches = [patching.Patch(name, t[name]) for name in crossing]
    logits = patching.run_patched(model, corrupt, patches)
    assert target.value(logits)[0] == pytest.approx(m, abs=1e-4)
    with pytest.raises(ValueError, match="^corrupt has 2 tokens at model.encoder.layers.0, want"):
        patching.patching(model, clean, corrupt, target,
                          patching.sites(model, "residual", "model.encoder.layers"))


def test_a_classifier_is_asked_about_its_labels():
    config = gpt2().config.replace(num_labels=3)
    model = shaken(minillm.GPT2ForSequenceClassification(config))
    target = Label(1, 2)
    found = patching.patching(model, CLEAN, CORRUPT, target, patching.sites(model, "residual"))
    np.testing.assert_allclose(found.exact[-1], [0, 0, 0, 0, 0, 1], atol=1e-4)
    np.testing.assert_allclose(found.estimate[-1, :-1], 0, atol=1e-5)
    with no_grad():
        logits = model(CORRUPT[None]).logits[0]
    assert found.corrupt == pytest.approx(logits[1] - logits[2], abs=1e-5)


@pytest.mark.parametrize("make", [gpt2, bert])
def test_patches_together_and_across_positions(make):
    model = make()
    names = [*patching.sites(model, "feed_forward"), *patching.sites(model, "head")]
    ids = {"input_ids": CORRUPT[None]}
    _, clean = patching.record(model, {"input_ids": CLEAN[None]}, TARGET, names)
    patches = [patching.Patch(names[0], clean[names[1]], [1, 5], [0, 2]),
               patching.Patch(names[0], clean[names[0]], [2], [2]),  # the later one holds
               patching.Patch(names[2], clean[names[2]])]

    def by_hand(x):
        x = x.copy()
        x[:, 0], x[:, 2] = clean[names[1]][:, 1], clean[names[0]][:, 2]
        return x

    with no_grad(), trace(model, []) as t:
        t.patch(names[0], by_hand)
        t.patch(names[2], clean[names[2]])
        wanted = model(**ids).logits
    np.testing.assert_allclose(patching.run_patched(model, ids, patches), wanted)
    slopes = patching.Slopes(model, ids, TARGET, names)
    change = slopes.change_by(patches)
    alone = slopes.change(names[2], clean[names[2]]).sum()
    assert change == pytest.approx(slopes.change_by(patches[:2]) + alone, abs=1e-5)
    assert slopes.change_by([patching.Patch(names[2], clean[names[2]])]) == pytest.approx(alone)


def test_explaining_leaves_the_parameters_alone():
    model = gpt2()
    frozen = model.parameters()[2]
    frozen.trainable = False
    for parameter in model.parameters()[:2]:
        parameter.add_grad(np.ones_like(parameter.data))
    patching.patching(model, CLEAN, CORRUPT, TARGET, patching.sites(model, "head"))
    attribution.attributions(model, CLEAN, TARGET)
    assert [p.trainable for p in model.parameters()].count(False) == 1 and not frozen.trainable
    for number, parameter in enumerate(model.parameters()):
        assert (parameter.grad is None) == (number > 1)


def test_a_sweep_in_batches_is_one_by_one(monkeypatch):
    model = gpt2()
    names = patching.sites(model, "head")
    together = patching.patching(model, CLEAN, CORRUPT, TARGET, names)
    monkeypatch.setattr(inputs, "ROWS", 1)
    alone = patching.patching(model, CLEAN, CORRUPT, TARGET, names)
    np.testing.assert_allclose(together.exact, alone.exact, atol=1e-5)


def test_paths():
    model = gpt2()
    heads = patching.sites(model, "head")

    def direct(sender, receiver=None):
        return patching.path_patching(model, CLEAN, CORRUPT, TARGET, sender, receiver)

    # A head of the last block speaks to the output only: its direct effect is its whole effect.
    whole = patching.patching(model, CLEAN, CORRUPT, TARGET, heads[2:], by_position=False).exact
    np.testing.assert_allclose([direct(heads[2]), direct(heads[3])], whole, atol=1e-5)
    # It says nothing to a head below it, or beside it.
    assert direct(heads[2], heads[0]) == pytest.approx(0, abs=1e-6)
    assert direct(heads[2], heads[3]) == pytest.approx(0, abs=1e-6)
    assert abs(direct(heads[0], heads[2])) > 1e-6


def test_errors():
    model = gpt2()
    with pytest.raises(ValueError, match="^corrupt has 2 tokens, wanted 6, as many as clean$"):
        patching.patching(model, CLEAN, CORRUPT[:2], TARGET, [])
    with pytest.raises(ValueError, match="give the same value"):
        patching.patching(model, CLEAN, CLEAN, TARGET, patching.sites(model, "head"))
    with pytest.raises(ValueError, match="^kind is 'x', wanted 'residual'"):
        patching.sites(model, "x")
    with pytest.raises(ValueError, match="^'x' is no head of the model, wanted one like "):
        patching.path_patching(model, CLEAN, CORRUPT, TARGET, "x")


# ---- attribution of inputs


@pytest.mark.parametrize("make", DECODERS.values())
def test_integrated_gradients_are_complete(make):
    model = make().astype(np.float64)
    e, e0 = attribution.embeddings(model, CLEAN), attribution.baseline(model, CLEAN)
    with no_grad():
        fall = [TARGET.value(model(inputs_embeds=np.array(x)).logits)[0] for x in (e, e0)]
    # The norms of queries and keys bend the path near its beginning.
    steps = 4000 if model.config.model_type == "apertus" else 400
    shares = attribution.integrated_gradients(model, CLEAN, TARGET, steps=steps, batch_size=400)
    assert shares.sum() == pytest.approx(fall[0] - fall[1], abs=2e-3)


def test_gradient_times_input_is_the_slope_of_scaling_a_token():
    model = gpt2().astype(np.float64)
    found = attribution.gradient_times_input(model, CLEAN, TARGET)
    e = attribution.embeddings(model, CLEAN)
    for t in range(6):
        def value(scale):
            changed = e.copy()
            changed[0, t] *= scale
            with no_grad():
                return TARGET.value(model(inputs_embeds=changed).logits)[0]

        assert found[t] == pytest.approx((value(1 + 1e-5) - value(1 - 1e-5)) / 2e-5, abs=1e-6)


def test_tokens_after_the_position_have_no_part():
    model, target = gpt2(), Logit(7, 2, position=2)
    for name, scores in attribution.attributions(model, CLEAN, target).items():
        assert scores.shape == (6,)
        np.testing.assert_allclose(scores[3:], 0, atol=1e-5, err_msg=name)
        assert np.abs(scores[:3]).max() > 1e-4


def test_an_encoder_decoder_is_explained_by_source_and_target():
    model, target = transformer().astype(np.float64), Logit(7, 2, position=1)
    text = {"input_ids": np.array([[3, 1, 4, 1]]), "decoder_input_ids": np.array([[1, 4, 5]])}
    e, e0 = attribution.embeddings(model, text), attribution.baseline(model, text)
    assert e.shape == e0.shape == (1, 7, 8)
    with no_grad():
        whole = target.value(model(**text).logits)[0]
    deleted = np.array([np.zeros(7, bool), np.ones(7, bool)])
    both = attribution.without(model, text, target, deleted)
    assert both[0] == pytest.approx(whole)
    shares = attribution.integrated_gradients(model, text, target, steps=400)
    assert shares.sum() == pytest.approx(both[0] - both[1], abs=1e-2)  # relu has corners
    for name, scores in attribution.attributions(model, text, target).items():
        assert scores.shape == (7,)
        assert scores[-1] == pytest.approx(0, abs=1e-9), name  # after the position
        assert np.abs(scores[:-1]).min() > 1e-9, name


def test_occlusion_is_the_first_step_of_the_deletion_curve():
    model = gpt2()
    scores = attribution.occlusion(model, CLEAN, TARGET)
    curve = attribution.deletion_curve(model, CLEAN, TARGET, scores)
    assert len(curve) == 7
    assert curve[0] - curve[1] == pytest.approx(scores.max(), abs=1e-5)
    other = attribution.deletion_curve(model, CLEAN, TARGET, -scores)
    np.testing.assert_allclose(curve[[0, -1]], other[[0, -1]], atol=1e-5)  # all and no tokens
    same = attribution.faithfulness(model, CLEAN, TARGET, {"a": scores, "b": 3 * scores + 1})
    assert same["a"] == same["b"]  # only the order counts
    points = attribution.deletion_curve(model, CLEAN, TARGET, scores, n_deleted=[0, 3, 6])
    np.testing.assert_allclose(points, curve[[0, 3, 6]], atol=1e-5)
    assert attribution.plot_attributions({"occlusion": scores}, list("abcdef")).axes


def test_faithful_scores_are_those_of_the_tokens_that_matter():
    """A model whose logit is a sum over the tokens: embeddings through nothing but a mean."""
    model = gpt2(position_embedding="none")
    for block in model.base_model.h:
        block.feed_forward.contract.weight.data[:] = 0
        block.attention.qkv.weight.data[:, :16] = 0  # all scores are 0: every head takes the mean
        block.attention.qkv.bias.data[:16] = 0
    scores = attribution.occlusion(model, CLEAN, TARGET)
    found = attribution.faithfulness(model, CLEAN, TARGET, {"best": scores, "worst": -scores})
    assert 1 >= found["best"] > 0.02 > -0.02 > found["worst"] >= -1
    valley = attribution.Deletion(np.arange(3), {"a": np.array([5.0, 1, 5])}, np.array([5.0, 4, 5]))
    assert valley.faithfulness() == {"a": 0.25}  # though nothing is left of the whole fall
