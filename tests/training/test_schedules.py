import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.training.schedules import (
    constant,
    inverse_square_root,
    warmup_cosine,
    warmup_linear,
    warmup_trapezoid,
)


@st.composite
def plans(draw):
    total = draw(st.integers(2, 500))
    peak = draw(st.floats(1e-5, 1.0))
    return dict(
        peak_lr=peak,
        warmup_steps=draw(st.integers(0, total - 2)),
        total_steps=total,
        final_lr=peak * draw(st.floats(0, 1)),
    )


@pytest.mark.parametrize("schedule", [warmup_cosine, warmup_linear, warmup_trapezoid])
@given(plan=plans())
def test_up_then_down(schedule, plan):
    rates = [schedule(step, **plan) for step in range(plan["total_steps"])]
    warmup = plan["warmup_steps"]
    top = max(warmup - 1, 0)
    assert rates[top] == pytest.approx(plan["peak_lr"])
    assert rates[-1] == pytest.approx(plan["final_lr"], abs=1e-12)
    assert all(a < b for a, b in zip(rates[:top], rates[1 : top + 1]))
    assert all(a >= b - 1e-12 for a, b in zip(rates[top:], rates[top + 1 :]))
    assert schedule(plan["total_steps"] + 10, **plan) == pytest.approx(plan["final_lr"], abs=1e-12)


def test_cosine_is_half_way_in_the_middle():
    plan = dict(peak_lr=1.0, warmup_steps=10, total_steps=111, final_lr=0.2)
    assert warmup_cosine(60, **plan) == pytest.approx(0.6)


def test_a_trapezoid_stays_at_its_peak():
    plan = dict(peak_lr=1.0, warmup_steps=10, total_steps=111, final_lr=0.2)
    assert {warmup_trapezoid(step, **plan) for step in range(9, 51)} == {1.0}
    assert warmup_trapezoid(80, **plan) == pytest.approx(0.6)


@given(d_model=st.integers(1, 1024), warmup=st.integers(1, 200))
def test_inverse_square_root_peaks_at_the_end_of_the_warmup(d_model, warmup):
    rates = [inverse_square_root(s, d_model=d_model, warmup_steps=warmup) for s in range(400)]
    assert max(rates) == pytest.approx(rates[warmup - 1])
    assert rates[warmup - 1] == pytest.approx((d_model * warmup) ** -0.5)


def test_constant():
    assert {constant(step, peak_lr=0.3) for step in range(5)} == {0.3}


@pytest.mark.parametrize("schedule", [warmup_cosine, warmup_linear, warmup_trapezoid])
@pytest.mark.parametrize("warmup", [-1, 11])
def test_warmup_out_of_range(schedule, warmup):
    with pytest.raises(ValueError, match="warmup_steps"):
        schedule(0, peak_lr=1.0, warmup_steps=warmup, total_steps=10)
