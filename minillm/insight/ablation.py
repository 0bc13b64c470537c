"""Ablation: take away what a part of the model says, and see what is lost.

    zero       its value becomes 0
    mean       its mean over reference texts: what it says on average   (Wang et al. 2022, sec. 2.1)
    resample   its value in another text, drawn at random                 (Chan et al. 2022)

A part that never says 0 doesn't fall silent at 0: it says something that later layers have never
heard. The mean keeps what the part says about every text, and takes away what it says about this
one; but a mean needn't be a value that occurs. Another text's value occurs, so resampling asks
exactly one question: does it matter *which* text the part has read?

The names of the parts are those of a trace: `patching.sites` lists residual streams, attention and
feed-forward layers and heads.
"""

from contextlib import contextmanager

import numpy as np

from minillm.figures import COLORS, new_figure
from minillm.insight.inputs import forward_inputs
from minillm.insight.patching import Slopes
from minillm.nn.module import no_grad
from minillm.nn.trace import trace

KINDS = ("zero", "mean", "resample")


def ablate(model, inputs, names, kind="zero", references=None, **options):
    """-> the forward's output with all of the parts ablated at once

    inputs: integers (T,) or (B, T), or a dict of the forward's arguments
    names, kind, references, options: see `replacements`
    """
    changes = replacements(model, names, kind, references, **options)
    with no_grad(), replaced(model, changes):
        return model(**forward_inputs(inputs))


def ablation_effects(model, inputs, target, names, kind="zero", references=None, *, report=None,
                     **options):
    """Ablate one part at a time -> float64 (n,): how much the target falls without each

    target: such as a `Logit`;  report(done, total): called after each forward
    names, kind, references, options: see `replacements`
    """
    changes = replacements(model, names, kind, references, **options)
    return effects_of(model, inputs, target, changes, report)


def effects_of(model, inputs, target, changes, report=None):
    """-> float64 (n,): how much the target falls by each of `changes` alone

    changes: {name: replacement}
    """
    inputs, found = forward_inputs(inputs), np.zeros(len(changes))
    with no_grad():
        whole = target.value(model(**inputs).logits)
        for n, (name, change) in enumerate(changes.items()):
            with replaced(model, {name: change}):
                found[n] = (whole - target.value(model(**inputs).logits)).mean()
            if report is not None:
                report(n + 1, len(changes))
    return found


def ablation_estimates(model, inputs, target, changes):
    """-> float64 (n,): the effects of each of `changes` alone, as the gradient foretells them

        m - m(ablated) ≈ Σ (value - replacement) · ∂m/∂value          (as in attribution patching)

    changes: {name: replacement}, from `replacements`. One backward for all of them.
    """
    slopes = Slopes(model, forward_inputs(inputs), target, list(changes))
    found = np.zeros(len(changes))
    for n, (name, change) in enumerate(changes.items()):
        value = slopes[name]
        value = np.broadcast_to(change(value) if callable(change) else change, value.shape)
        found[n] = -slopes.change(name, value).sum()
    return found


def replacements(model, names, kind="zero", references=None, *, by_position=False, places=None,
                 seed=0):
    """-> {name: what a trace puts in the place of its value, see `trace.patch`}

    names: list of names of values (B, …, T, D), such as (B, T, d_model) or a head's (B, T, D)
    kind: one of KINDS; or what replaces each value: a number, an array, a function of the value
    references: for "mean" and "resample", a list of texts, each as `inputs` of `ablate`
    by_position: for "mean", whether each position has a mean of its own; else it is one vector
    places: the positions to replace, a list of integers or a slice; None: all
    seed: for "resample", of the draws: one text for each part and each text of the batch. A text
        is replaced by one of at least its length, position by position.

    Raises ValueError for an unknown kind, for missing references and for references all of which
    are too short.
    """
    if not isinstance(kind, str):
        found = dict.fromkeys(names, kind)
    elif kind == "zero":
        found = dict.fromkeys(names, 0)
    elif kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, wanted one of {', '.join(KINDS)}")
    elif not references:
        raise ValueError(f"references is empty, wanted texts: kind is {kind!r}")
    else:
        rng = np.random.default_rng(seed)
        found = {name: _mean_of(name, values, by_position) if kind == "mean"
                 else _resampled_from(name, values, rng)
                 for name, values in values_in(model, references, names).items()}
    if places is None:
        return found
    return {name: _only_at(places, change) for name, change in found.items()}


@contextmanager
def replaced(model, changes):
    """A context in which each value in `changes`, {name: replacement}, is replaced."""
    with trace(model, []) as t:
        for name, change in changes.items():
            t.patch(name, change)
        yield


def values_in(model, references, names):
    """-> {name: list of arrays (…, T, D), one for each reference text}"""
    found = {name: [] for name in names}
    with no_grad():
        for inputs in references:
            with trace(model, list(names)) as t:
                model(**forward_inputs(inputs))
            for name in names:
                found[name].extend(t[name])
    return found


def _mean_of(name, values, by_position):
    """values: list of (…, T, D) -> (…, 1, D); by position, a function of the value"""
    if not by_position:
        return np.concatenate(values, axis=-2).mean(axis=-2, keepdims=True, dtype=np.float64)
    means = np.stack([np.mean([value[..., t, :] for value in values if value.shape[-2] > t], axis=0,
                              dtype=np.float64)
                      for t in range(max(value.shape[-2] for value in values))], axis=-2)
    return lambda x: np.broadcast_to(_first(name, means, x.shape[-2]), x.shape)


def _first(name, means, T):
    """-> the means of the first T positions"""
    if means.shape[-2] < T:
        raise ValueError(f"references have at most {means.shape[-2]} tokens, wanted {T}, as many "
                         f"as the text: {name} has no mean at the last positions")
    return means[..., :T, :]


def _resampled_from(name, values, rng):
    """-> function of a value (B, …, T, D): for each text of the batch another one's value"""

    def another(x):
        T = x.shape[-2]
        long_enough = [value for value in values if value.shape[-2] >= T]
        if not long_enough:
            longest = max(value.shape[-2] for value in values)
            raise ValueError(f"references have at most {longest} tokens, wanted {T}, as many as "
                             f"the text: nothing can take the place of {name}")
        drawn = rng.integers(len(long_enough), size=len(x))
        return np.stack([long_enough[i][..., :T, :] for i in drawn])

    return another


def _only_at(places, change):
    """-> a replacement that leaves all other positions as they are"""

    def some(x):
        value = np.broadcast_to(change(x) if callable(change) else change, x.shape)
        x = x.copy()
        x[..., places, :] = value[..., places, :]
        return x

    return some


def plot_ablation(names, effects, estimates=None):
    """-> matplotlib Figure: a panel for each way to ablate, its estimate by the gradient beside it

    names: n strings;  effects: {kind: (n,)};  estimates: {kind: (n,)}, of some of the kinds
    """
    estimates = estimates or {}
    figure, grid = new_figure(2 + 2.6 * len(effects), 1 + 0.2 * len(names), columns=len(effects),
                              sharey=True, squeeze=False)
    places = np.arange(len(names))
    for axes, (kind, values) in zip(grid[0], effects.items()):
        axes.barh(places, values, color=COLORS[1], label="exact")
        if kind in estimates:
            axes.plot(estimates[kind], places, "|", color=COLORS[2], markersize=8,
                      markeredgewidth=2, label="by the gradient")
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set(title=kind, xlabel="lost without it")
    grid[0, 0].set_yticks(places, names)
    grid[0, 0].invert_yaxis()
    grid[0, 0].legend()
    return figure
