"""The Rényi accountant: equal to dp-accounting, to closed forms, to an integral."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.training.privacy_accountant import (
    ORDERS,
    epsilon_of_order,
    epsilon_spent,
    noise_for,
    renyi_divergence,
)

FROZEN = json.loads((Path(__file__).parents[1] / "fixtures" / "privacy.json").read_text())


@pytest.mark.parametrize("noise", sorted({row[0] for row in FROZEN["rows"]}))
def test_epsilon_is_that_of_dp_accounting(noise):
    for sigma, q, steps, delta, epsilon in FROZEN["rows"]:
        if sigma == noise:
            assert epsilon_spent(q, sigma, steps, delta) == pytest.approx(
                epsilon, rel=1e-6, abs=1e-9), (q, steps, delta)


@given(q=st.floats(0.001, 0.999), noise=st.floats(0.5, 5), order=st.integers(2, 12))
@settings(deadline=None, max_examples=40)
def test_divergences_of_integers_are_the_integral(q, noise, order):
    x, dx = np.linspace(-20 * noise, order + 20 * noise, 40_001, retstep=True)
    log_Q = -x**2 / (2 * noise**2) - math.log(noise * math.sqrt(2 * math.pi))
    log_ratio = np.logaddexp(math.log1p(-q), math.log(q) + (2 * x - 1) / (2 * noise**2))
    A = np.exp(log_Q + order * log_ratio).sum() * dx
    assert renyi_divergence(q, noise, order) == pytest.approx(math.log(A) / (order - 1), rel=1e-6,
                                                              abs=1e-12)


@pytest.mark.parametrize("order", [1.5, 2.7, 5.1])
@pytest.mark.parametrize("q, noise", [(0.01, 1.0), (0.1, 2.0), (0.001, 0.6)])
def test_divergences_of_fractions_lie_between_those_of_the_integers(order, q, noise):
    values = [renyi_divergence(q, noise, each) for each in
              (max(1.1, math.floor(order)), order, math.ceil(order))]
    assert values == sorted(values) and values[0] > 0


def test_tiny_probabilities_keep_their_digits():
    # A₂ - 1 = q² (exp(1/σ²) - 1), far below the 1e-16 that remain beside 1
    assert renyi_divergence(1e-12, 1.0, 2) == pytest.approx(1e-24 * math.expm1(1), rel=1e-9)
    # and in general, where all u are tiny, A_α - 1 = α (α - 1) / 2 E[u²]
    assert renyi_divergence(1e-12, 1.0, 1.5) == pytest.approx(0.75e-24 * math.expm1(1), rel=1e-6)
    assert renyi_divergence(1e-12, 1.0, 1024) > 0


def test_without_sampling_it_is_the_gaussian_mechanism():
    for order in (1.5, 2, 64):
        assert renyi_divergence(1, 3.0, order) == pytest.approx(order / 18)


@given(q=st.floats(1e-6, 1), noise=st.floats(0.3, 20), steps=st.integers(1, 10**5))
@settings(deadline=None, max_examples=10)
def test_more_noise_fewer_steps_and_rarer_drawing_spend_less(q, noise, steps):
    spent = epsilon_spent(q, noise, steps, 1e-5)
    assert spent >= 0
    slack = 1e-9 + 1e-6 * spent
    assert epsilon_spent(q, 1.5 * noise, steps, 1e-5) <= spent + slack
    assert epsilon_spent(q / 2, noise, steps, 1e-5) <= spent + slack
    assert epsilon_spent(q, noise, 2 * steps, 1e-5) >= spent - slack
    assert epsilon_spent(q, noise, steps, 1e-7) >= spent - slack


@given(epsilon=st.floats(0.1, 50), q=st.floats(1e-4, 1), steps=st.integers(1, 5000))
@settings(deadline=None, max_examples=4)
def test_the_noise_found_spends_what_was_asked_for(epsilon, q, steps):
    noise = noise_for(epsilon, q, steps, 1e-5)
    assert epsilon_spent(q, noise, steps, 1e-5) <= epsilon
    assert epsilon_spent(q, 0.99 * noise, steps, 1e-5) > epsilon


def test_nothing_is_spent_without_steps_and_everything_without_noise():
    assert epsilon_spent(0.1, 1.0, 0, 1e-5) == 0 == epsilon_spent(0, 1.0, 100, 1e-5)
    assert epsilon_spent(0.1, 0, 1, 1e-5) == math.inf
    assert epsilon_of_order(2, math.inf, 1e-5) == math.inf
    assert len(ORDERS) == len(set(ORDERS)) and min(ORDERS) > 1


@pytest.mark.parametrize("arguments, name", [
    ((1.1, 1, 1, 1e-5), "q"), ((math.nan, 1, 1, 1e-5), "q"), ((0.1, -1, 1, 1e-5), "noise"),
    ((0.1, 1, -1, 1e-5), "steps"), ((0.1, 1, 1, 0), "delta"), ((0.1, 1, 1, 1), "delta")])
def test_numbers_out_of_range(arguments, name):
    with pytest.raises(ValueError, match=f"^{name} is"):
        epsilon_spent(*arguments)


def test_an_epsilon_that_no_noise_reaches():
    with pytest.raises(ValueError, match="^epsilon is 0"):
        noise_for(0, 0.1, 1, 1e-5)
    with pytest.raises(ValueError, match="no noise reaches"):
        noise_for(1e-9, 1.0, 10**9, 1e-30)
