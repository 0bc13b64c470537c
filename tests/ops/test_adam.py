import numpy as np
import pytest

from minillm.ops.adam import adam


def test_a_first_step_by_hand():
    """m̂ = g and v̂ = g² whatever the betas, so each weight moves by lr against its gradient's sign."""
    w, g = np.array([1.0, 2.0]), np.array([0.5, -4.0])
    m, v = np.zeros(2), np.zeros(2)
    assert adam(w, g, m, v, t=1, lr=0.1, beta1=0.9, beta2=0.99, eps=0) is None
    np.testing.assert_allclose(w, [1 - 0.1, 2 + 0.1])
    np.testing.assert_allclose(m, [0.1 * 0.5, 0.1 * -4])
    np.testing.assert_allclose(v, [0.01 * 0.25, 0.01 * 16])
    assert g.tolist() == [0.5, -4]


def test_decay_acts_on_the_weight_and_l2_on_the_gradient():
    options = {"t": 1, "lr": 0.1, "beta1": 0.0, "beta2": 0.0, "eps": 0.0}
    w = np.array([2.0])
    adam(w, np.ones(1), np.zeros(1), np.zeros(1), decay=0.5, **options)
    np.testing.assert_allclose(w, [2 - 0.1 * 0.5 * 2 - 0.1])
    w, m = np.array([2.0]), np.zeros(1)
    adam(w, np.ones(1), m, np.zeros(1), l2=0.5, grad_scale=3.0, **options)
    np.testing.assert_allclose(m, [3 * 1 + 0.5 * 2])


@pytest.mark.parametrize("wrong", [{"t": 0}, {"beta1": 1.0}, {"beta2": -0.1}, {"eps": np.nan}])
def test_numbers_out_of_range_are_named(wrong):
    options = {"t": 1, "lr": 0.1, "beta1": 0.9, "beta2": 0.9, "eps": 1e-8} | wrong
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} is "):
        adam(*np.ones((4, 3)), **options)
