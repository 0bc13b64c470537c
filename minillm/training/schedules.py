"""Learning-rate schedules: pure functions from the number of a step to a learning rate.

The first step has number 0. A schedule has no state: a run that is resumed at step s evaluates it
at step s.
"""

import math


def constant(step, *, peak_lr):
    """η(s) = η_peak"""
    return peak_lr


def warmup_cosine(step, *, peak_lr, warmup_steps, total_steps, final_lr=0.0):
    """Linear warm-up, then half a cosine wave down to `final_lr` (Loshchilov & Hutter 2017, eq. 5).

        η(s) = η_peak (s + 1) / warmup                                  for s < warmup
        η(s) = η_final + (η_peak - η_final) (1 + cos(π progress)) / 2   after, where progress goes
                                                                        from 0 to 1 at `total_steps`
    The warm-up is there because Adam's first estimates, from few gradients, are too noisy for full
    steps.
    """
    _check(warmup_steps, total_steps)
    if step < warmup_steps:
        return peak_lr * (step + 1) / warmup_steps
    progress = _progress(step, warmup_steps, total_steps)
    return final_lr + (peak_lr - final_lr) * (1 + math.cos(math.pi * progress)) / 2


def warmup_linear(step, *, peak_lr, warmup_steps, total_steps, final_lr=0.0):
    """Linear warm-up, then a straight line down to `final_lr` (Devlin et al. 2018, sec. A.2)."""
    _check(warmup_steps, total_steps)
    if step < warmup_steps:
        return peak_lr * (step + 1) / warmup_steps
    return peak_lr + (final_lr - peak_lr) * _progress(step, warmup_steps, total_steps)


def warmup_trapezoid(step, *, peak_lr, warmup_steps, total_steps, final_lr=0.0, cooldown=0.6):
    """Linear warm-up, the peak, then a straight line down to `final_lr` (Zhai et al. 2022, sec. 3.5;
    Hägele et al. 2024).

    cooldown: the share of the steps after the warm-up in which the rate falls. As long as the rate
    is at its peak, the end may still be put off.
    """
    _check(warmup_steps, total_steps)
    if step < warmup_steps:
        return peak_lr * (step + 1) / warmup_steps
    progress = _progress(step, warmup_steps, total_steps)
    falling = max(0.0, progress - (1 - cooldown)) / cooldown
    return peak_lr + (final_lr - peak_lr) * falling


def inverse_square_root(step, *, d_model, warmup_steps, factor=1.0):
    """The schedule of the first Transformer (Vaswani et al. 2017, eq. 3), whose steps count from 1.

        η(s) = factor · d_model^-½ · min(s^-½, s · warmup^-³ᐟ²)
    """
    if warmup_steps < 1:
        raise ValueError(f"warmup_steps is {warmup_steps}, wanted at least 1")
    s = step + 1
    return factor * d_model**-0.5 * min(s**-0.5, s * warmup_steps**-1.5)


def _progress(step, warmup_steps, total_steps):
    """The fraction of the way from the end of the warm-up to the last step: 0 … 1."""
    return min(1.0, (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps))


def _check(warmup_steps, total_steps):
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(
            f"warmup_steps is {warmup_steps}, wanted 0 … total_steps, which is {total_steps}"
        )


# The names of schedules in Settings: all take peak_lr, warmup_steps, total_steps, final_lr.
SCHEDULES = {"cosine": warmup_cosine, "linear": warmup_linear, "trapezoid": warmup_trapezoid}
