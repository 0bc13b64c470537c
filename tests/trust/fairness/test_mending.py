"""What makes it better: the formulas, and that bias falls where it was put in."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.trust.fairness import biased_reviews, mending_text
from minillm.trust.fairness.mending import Mending, defining_sets, plot, project
from minillm.trust.fairness.reweighting import reweighted
from minillm.trust.fairness.subspace import bias_subspace, equalize, neutralize, within
from minillm.trust.fairness.swapping import group_of, swap

FROZEN = json.loads((Path(__file__).parents[2] / "fixtures" / "fairness.json").read_text())
SEEDS = st.integers(0, 2**32 - 1)


# ---- the subspace

def test_the_subspace_is_that_of_scikit_learn():
    case = FROZEN["subspace"]
    B = bias_subspace(case["sets"], 2)
    wanted = np.array(case["directions"])
    np.testing.assert_allclose(B.T @ B, wanted.T @ wanted, atol=1e-9)


@given(SEEDS, st.integers(1, 3))
def test_neutral_vectors_have_nothing_of_the_subspace_and_stay_as_they_are(seed, k):
    rng = np.random.default_rng(seed)
    B = bias_subspace(rng.normal(size=(4, 2, 6)), k)
    np.testing.assert_allclose(B @ B.T, np.eye(k), atol=1e-12)
    for unit in (False, True):
        W = neutralize(rng.normal(size=(5, 6)), B, unit)
        assert np.abs(W @ B.T).max() < 1e-12
        np.testing.assert_allclose(neutralize(W, B, unit), W, atol=1e-12)


@given(SEEDS, st.integers(1, 2), st.integers(2, 4))
def test_equal_words_are_as_far_from_every_neutral_word_and_differ_in_nothing_else(seed, k, m):
    rng = np.random.default_rng(seed)
    B = bias_subspace(rng.normal(size=(4, 2, 8)), k)
    E = equalize(rng.normal(size=(m, 8)), B)
    np.testing.assert_allclose(np.linalg.norm(E, axis=1), 1)
    for u in neutralize(rng.normal(size=(5, 8)), B, unit=True):
        distances = np.linalg.norm(E - u, axis=1)
        np.testing.assert_allclose(distances, distances[0])
    rest = E - within(E, B)
    np.testing.assert_allclose(rest, np.tile(rest[0], (m, 1)), atol=1e-12)
    if m == 2:  # of two words, the sides are opposite: what is equal stays so
        np.testing.assert_allclose(equalize(E, B), E, atol=1e-9)


def test_what_the_sets_do_not_span_is_refused():
    pairs = np.random.default_rng(0).normal(size=(2, 2, 5))
    with pytest.raises(ValueError, match="k is 3, wanted 1 … 2"):
        bias_subspace(pairs, 3)
    with pytest.raises(ValueError, match=r"sets\[0\] has shape \(1, 5\), wanted"):
        bias_subspace([pairs[0][:1]])


# ---- weights

@given(st.lists(st.tuples(st.sampled_from([0, 1, None]), st.sampled_from("abc")), min_size=1))
def test_under_the_weights_group_and_label_are_independent(cases):
    groups, labels = zip(*cases)
    weights = reweighted(groups, labels)
    known = [(g, y, w) for (g, y), w in zip(cases, weights) if g is not None]
    n = len(known)
    assert all(w == 1 for (g, _), w in zip(cases, weights) if g is None)
    for g, y in {(g, y) for g, y, _ in known}:
        together = sum(w for *gy, w in known if gy == [g, y])
        of_g = sum(1 for each in known if each[0] == g)
        of_y = sum(1 for each in known if each[1] == y)
        assert together == pytest.approx(of_g * of_y / n)


def test_independent_groups_need_no_weights():
    assert reweighted([0, 1, 0, 1], "aabb") == [1, 1, 1, 1]
    assert reweighted([0, 0, 0, 1], "aaba") == pytest.approx([9 / 8, 9 / 8, 3 / 4, 3 / 4])


# ---- before and after

def test_reviews_have_the_bias_that_is_asked_for():
    splits = biased_reviews.generate(400, bias=0.9)
    liked = [e["group"] for e in splits["train"] if e["label"] == "positive"]
    assert 0.82 < 1 - np.mean(liked) < 0.97
    test = splits["test"]
    assert [e["group"] for e in test] == [0, 1] * (len(test) // 2)
    assert all(one["label"] == other["label"] for one, other in zip(test[::2], test[1::2]))
    frames = [e["text"].split(": ")[0] for e in test]
    assert [group_of(frame) for frame in frames] == [e["group"] for e in test]
    with pytest.raises(ValueError, match="bias is 2, wanted 0 to 1"):
        biased_reviews.generate(10, bias=2)


def short_splits():
    """Texts in which the group tells the label in the training, mostly, and nothing in the test."""
    words = "lamp door mill boat well road".split()
    train = [{"text": f"{who} saw the {word}", "label": label}
             for word in words for who in ("he", "she")
             for label in 9 * ["yes" if who == "he" else "no"] + ["no" if who == "he" else "yes"]]
    test = [{"text": f"{who} saw the {word}", "label": "yes" if word < "n" else "no"}
            for word in words for who in ("he", "she")]
    return {"train": train, "test": test}


def test_remedies_lower_the_bias_that_was_learned():
    trial = Mending(short_splits(), steps=30, directions=1)
    found = trial.try_all()
    assert list(found) == ["before", "augment", "reweight", "project"]
    assert found["before"].gap.value > 0.1 and found["before"].changed.value == 1
    assert found["before"].equalized_odds.value == 1
    for name in ("augment", "reweight", "project"):
        assert found[name].gap.value < 0.5 * found["before"].gap.value, name
    assert len(plot(found).axes) == 2


def test_a_language_model_pays_for_losing_its_stereotype_where_the_stereotype_holds():
    splits = mending_text.generate(300, bias=1.0)
    assert all(swap(one["text"]) == other["text"]
               for one, other in zip(splits["test"][::2], splits["test"][1::2]))
    trial = mending_text.TextMending(splits, steps=110)
    found = trial.try_all(("project",))
    assert found["before"].preference.value > 0.7
    assert found["project"].preference.value == pytest.approx(0.5, abs=0.05)
    assert found["before"].loss_as_trained.value < found["before"].loss.value
    assert found["project"].loss_as_trained.value > found["before"].loss_as_trained.value
    assert len(mending_text.plot_text(found).axes) == 2


def test_projection_leaves_nothing_of_the_subspace_in_a_model():
    trial = Mending(short_splits(), steps=1)
    model = trial.mended("before")
    table = model.get_input_embeddings().weight.data
    assert len(sets := defining_sets(table, trial.tokenizer, "gender")) == 1
    B = bias_subspace(sets, 1)
    project(model, trial.tokenizer, k=1)
    assert np.abs(table @ B.T).max() < 1e-6
    with pytest.raises(ValueError, match="the tokenizer has 1 pairs of words of 'gender'"):
        project(model, trial.tokenizer, k=2)


@pytest.mark.parametrize("kind", ["names", "places", "ages"])
def test_other_groups_are_tried_alike(kind):
    trial = Mending(biased_reviews.generate(60, kind=kind), kind, steps=1)
    assert trial.try_all(("project",))["project"].gap.value >= 0


def test_examples_without_groups_are_refused():
    splits = {"train": [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]}
    with pytest.raises(ValueError, match="test examples are about one group of 'gender' alone"):
        Mending({**splits, "test": splits["train"]})
    mute = [{**each, "group": group} for group, each in enumerate(splits["train"])]
    with pytest.raises(ValueError, match="none of the 2 test examples has a word of 'gender'"):
        Mending({"train": mute, "test": mute})
    with pytest.raises(ValueError, match="only the label"):
        Mending({"train": splits["train"][:1], "test": splits["train"][:1]})
