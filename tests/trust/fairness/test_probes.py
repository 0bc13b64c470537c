"""What is measured: against others' code, and what must hold whatever the numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.insight.subject import Subject
from minillm.trust.fairness.association import association_test, associations, permutation_p
from minillm.trust.fairness.counterfactual import Answers, counterfactual_gap, framed
from minillm.trust.fairness.group_gaps import group_gaps
from minillm.trust.fairness.pair_scores import (
    PairScores,
    pair_bias,
    reader_of,
    score_pairs,
    shared_places,
)
from minillm.trust.fairness.pairs import Pair
from tests.helpers.subjects import write_subject

FROZEN = json.loads((Path(__file__).parents[2] / "fixtures" / "fairness.json").read_text())
SEEDS = st.integers(0, 2**32 - 1)


def draw_sets(seed, n=4, d=5):
    return np.random.default_rng(seed).normal(size=(4, n, d))


# ---- minimal pairs

@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_scores_of_pairs_agree_with_transformers(kind, tmp_path):
    subject = Subject.open(write_subject(kind, tmp_path))
    pairs = [Pair(*texts) for texts in FROZEN["pairs"]]
    reader = reader_of(subject.model, subject.tokenizer)
    assert reader.kind == {"bert": "masked", "gpt2": "decoder"}[kind]
    scores = score_pairs(reader, pairs)
    np.testing.assert_allclose(np.transpose(scores), FROZEN[kind], rtol=2e-5)
    turned = score_pairs(reader, [pair.turned() for pair in pairs])
    np.testing.assert_allclose(turned.first, scores.second, rtol=1e-5)
    same = score_pairs(reader, [Pair("a cat", "a cat")])
    assert not same.told.any() and pair_bias(same) is None
    odd = score_pairs(reader, [Pair("a cat", "a \N{SNOWMAN}"), Pair("a " * 60, "the " * 60)])
    assert odd.told.tolist() == [kind == "gpt2", False]  # bytes aren't unknown; both are too long


@given(st.lists(st.integers(1, 9), max_size=8), st.lists(st.integers(1, 9), max_size=8))
def test_shared_tokens_are_the_same_and_turn_with_the_sides(one, other):
    one, other = [0, *one, 0], [0, *other, 0]
    places = shared_places(one, other)
    assert [one[t + 1] for t in places[0]] == [other[t + 1] for t in places[1]]
    assert all(np.all(np.diff(side) > 0) for side in places)


@settings(max_examples=6)
@given(SEEDS, st.integers(1, 30))
def test_turning_the_pairs_turns_the_bias(seed, n):
    rng = np.random.default_rng(seed)
    one, other = rng.integers(4, size=(2, n)).astype(float)  # with ties
    strata = rng.integers(3, size=n)
    bias, turned = (pair_bias(PairScores(*sides), strata) for sides in ((one, other), (other, one)))
    assert bias.preference.value == pytest.approx(1 - turned.preference.value)
    assert bias.difference.value == pytest.approx(-turned.difference.value)
    assert bias.difference.low == pytest.approx(-turned.difference.high)
    assert bias.preference.low - 1e-9 <= bias.preference.value <= bias.preference.high + 1e-9


def test_a_word_that_is_likely_everywhere_is_no_preference_and_widens_no_interval():
    strata = np.arange(40) % 2
    liked = np.where(strata == 0, 5.0, -5.0)  # the same group's word is 5 nats likelier
    bias = pair_bias(PairScores(liked, np.zeros(40)), strata)
    assert tuple(bias.difference) == (0, 0, 0) and tuple(bias.preference) == (0.5, 0.5, 0.5)


# ---- association

@pytest.mark.parametrize("case", FROZEN["weat"])
def test_effect_and_p_agree_with_loops_over_scipy(case):
    found = association_test(*np.array(case["sets"]))
    assert found.exact
    assert found.effect == pytest.approx(case["effect"])
    assert found.p == pytest.approx(case["p"])


@given(SEEDS, st.floats(1e-3, 1e3))
def test_effect_knows_no_scale_and_turns_with_the_sets(seed, factor):
    X, Y, A, B = draw_sets(seed)
    found = association_test(X, Y, A, B)
    assert -2 <= found.effect <= 2
    assert association_test(factor * X, Y, A, factor * B).effect == pytest.approx(found.effect)
    for turned in (association_test(Y, X, A, B), association_test(X, Y, B, A)):
        assert turned.effect == pytest.approx(-found.effect)
        assert turned.p + found.p >= 1 - 1e-9  # the given partition counts in both


def test_under_the_null_p_is_uniform_and_sampled_p_is_near_the_exact_one():
    p = np.sort([permutation_p(np.random.default_rng(seed).normal(size=10), 5)[0]
                 for seed in range(300)])
    steps = np.arange(1, 301) / 300
    assert np.abs(p - steps).max() < 1.36 / np.sqrt(300)  # Kolmogorov and Smirnov, 5 %
    s = np.random.default_rng(1).normal(size=12)
    exact, n, all_of_them = permutation_p(s, 6)
    sampled, m, not_all = permutation_p(s, 6, exact=10, samples=4000)
    assert (n, m, all_of_them, not_all) == (924, 4001, True, False)
    assert sampled == pytest.approx(exact, abs=0.03)
    assert permutation_p(s, 6, exact=10, samples=4000)[0] == sampled  # seeded


def test_equal_associations_are_no_effect_and_small_sets_are_refused():
    X = np.ones((3, 4))
    A = np.eye(4)[:2]
    assert association_test(X, X, A, A)[:2] == (0, 1)
    assert associations(X, A, A).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="Y has 1 vectors, wanted at least 2"):
        association_test(X, X[:1], A, A)


# ---- gaps

@pytest.mark.parametrize("case", FROZEN["groups"])
def test_gaps_of_groups_agree_with_fairlearn(case):
    found = group_gaps(case["predicted"], case["wanted"], case["groups"])
    assert found.demographic_parity.value == pytest.approx(case["demographic_parity"])
    assert found.equalized_odds.value == pytest.approx(case["equalized_odds"])
    assert sum(found.sizes.values()) == len(case["wanted"])


@settings(max_examples=5)
@given(SEEDS)
def test_gaps_know_no_order_of_groups_and_a_perfect_classifier_has_equal_odds(seed):
    rng = np.random.default_rng(seed)
    wanted, predicted = rng.choice(list("abc"), size=(2, 40)).tolist()
    groups = [0, 1, *rng.integers(2, size=38).tolist()]
    found = group_gaps(predicted, wanted, groups)
    turned = group_gaps(predicted, wanted, [1 - group for group in groups])
    for one, other in zip(found[:3], turned[:3]):
        assert 0 <= one.value == pytest.approx(other.value)
    perfect = group_gaps(wanted, wanted, groups)
    assert perfect.equalized_odds.value == perfect.accuracy.value == 0


def test_gaps_of_one_group_are_refused():
    with pytest.raises(ValueError, match="groups holds only .'x'., wanted at least two"):
        group_gaps([0, 1], [0, 1], ["x", "x"])


@given(SEEDS)
def test_a_counterfactual_gap_is_a_distance(seed):
    P, Q = np.random.default_rng(seed).dirichlet(np.ones(3), size=(2, 10))
    one, other = (Answers(each, each.argmax(axis=1)) for each in (P, Q))
    found, turned = counterfactual_gap(one, other), counterfactual_gap(other, one)
    assert found == turned and 0 <= found.gap.value <= 1
    assert found.changed.value == np.mean(one.labels != other.labels)
    assert counterfactual_gap(one, one).gap.value == 0
    # For two classes it is the change of either probability.
    two = [Answers(np.column_stack([p, 1 - p]), p > 0.5) for p in (P[:, 0], Q[:, 0])]
    assert counterfactual_gap(*two).gap.value == pytest.approx(np.abs(P - Q)[:, 0].mean())


def test_frames_stand_in_front_of_every_text_on_both_sides():
    one, other = framed(["a", "b"], "gender")
    assert one[:3] == ["He says: a", "He says: b", "My brother says: a"]
    assert other[:3] == ["She says: a", "She says: b", "My sister says: a"]
