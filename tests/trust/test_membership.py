"""ROC curves and the scores of membership inference."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.trust.membership import BLIND, attack, min_k, scores, zlib_bits
from minillm.trust.roc import auc, auc_interval, roc, tpr_at

FIXTURE = Path(__file__).parents[1] / "fixtures" / "memorization.json"
CURVES = json.loads(FIXTURE.read_text())["curves"]
some = st.lists(st.integers(-20, 20), min_size=1, max_size=30).map(np.array)


@pytest.mark.parametrize("case", CURVES, ids=lambda case: f"{case['auc']:.2f}")
def test_as_in_scikit_learn(case):
    members, others = np.array(case["members"]), np.array(case["others"])
    fpr, tpr = roc(members, others)
    np.testing.assert_allclose(fpr, case["fpr"])
    np.testing.assert_allclose(tpr, case["tpr"])
    assert math.isclose(auc(members, others), case["auc"])


@given(some, some)
def test_the_area_is_what_two_loops_count(members, others):
    wins = sum((a > b) + (a == b) / 2 for a in members for b in others)
    assert math.isclose(auc(members, others), wins / (len(members) * len(others)))
    fpr, tpr = roc(members, others)
    assert math.isclose(np.trapezoid(tpr, fpr) if hasattr(np, "trapezoid") else np.trapz(tpr, fpr),
                        auc(members, others))
    assert (np.diff(fpr) >= 0).all() and (np.diff(tpr) >= 0).all()
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)


@given(some, some)
def test_only_the_order_of_the_scores_counts(members, others):
    for change in (lambda x: 3.0 * x - 7, np.exp, lambda x: x**3):
        np.testing.assert_array_equal(roc(members, others),
                                      roc(change(members * 1.0), change(others * 1.0)))
    assert math.isclose(auc(members, others) + auc(others, members), 1)


@given(some, some, st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]))
def test_tpr_at_is_the_best_threshold(members, others, level):
    best = max((np.mean(members >= t) for t in [*members, *others, np.inf]
                if np.mean(others >= t) <= level), default=0)
    assert math.isclose(tpr_at(*roc(members, others), level), best)


def test_random_scores_are_a_coin():
    rng = np.random.default_rng(0)
    found = [auc(rng.normal(size=100), rng.normal(size=100)) for _ in range(300)]
    # The standard deviation of one is sqrt((n + m + 1) / 12 n m) = 0.041.
    assert abs(np.mean(found) - 0.5) < 4 * 0.041 / math.sqrt(300)
    assert 0.8 * 0.041 < np.std(found) < 1.2 * 0.041


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    inside, groups = 0, np.repeat(np.arange(30), 2)
    for _ in range(40):
        members, others = (np.repeat(rng.normal(size=30), 2) + rng.normal(size=60)
                           for _ in range(2))
        low, high = auc_interval(members, others, groups, groups)
        inside += low <= 0.5 <= high
        narrow_low, narrow_high = auc_interval(members, others, np.arange(60), np.arange(60))
        assert high - low > narrow_high - narrow_low  # windows of one document are alike
    assert inside >= 34


@given(st.lists(st.floats(0, 20), min_size=1, max_size=40))
def test_min_k_is_the_mean_of_the_worst(losses):
    n = math.ceil(0.2 * len(losses))
    assert math.isclose(min_k(np.array(losses)), -np.mean(sorted(losses, reverse=True)[:n]),
                        abs_tol=1e-12)
    assert math.isclose(min_k(np.array(losses), 1.0), -np.mean(losses), abs_tol=1e-12)


def test_scores_say_member_for_low_losses():
    texts = ["a text of some length that says a little", "another of these, a bit longer"]
    low, high = ([np.full(9, loss), np.full(7, loss)] for loss in (1.0, 2.0))
    likely, unlikely = scores(low, texts, high), scores(high, texts, low)
    assert list(likely) == ["loss", "reference", "zlib", "min-k", BLIND]
    for name in likely:
        assert (likely[name] == unlikely[name]).all() if name == BLIND else (
            likely[name] > unlikely[name]).all()
    np.testing.assert_allclose(likely["reference"], 1)
    assert zlib_bits(texts[0]) == 8 * len(zlib.compress(texts[0].encode()))
    assert list(scores(low, texts)) == ["loss", "zlib", "min-k", BLIND]


def test_an_attack_has_everything_a_report_shows():
    found = attack(np.array([3.0, 2.0, 2.0]), np.array([1.0, 2.0]))
    assert found.auc == pytest.approx(5 / 6)
    assert found.tpr == {0.01: pytest.approx(1 / 3), 0.001: pytest.approx(1 / 3)}
    assert found.tpr_interval[0.01][0] < 1 / 3 < found.tpr_interval[0.01][1]
