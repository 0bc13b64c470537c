"""Activation patching: put a value of one run into another, and see what becomes of the answer.

    clean:    "The Eiffel Tower is in the city of"   ->  Paris
    corrupt:  "The Colosseum is in the city of"      ->  Rome

Run the model on the corrupt text, but give one part of it the value that it had on the clean text.
If the answer turns to the clean one, that part carries what makes the difference (Vig et al. 2020;
Meng et al. 2022, section 2). Both texts have the same number of tokens.

An effect is a share: 0 leaves the corrupt answer, 1 brings back the clean one.

    effect = (m(patched) - m(corrupt)) / (m(clean) - m(corrupt)),   m: target.Logit

The exact effects of all parts cost a forward for each. The gradient estimates all of them with one
backward (attribution patching: Nanda 2023; Syed et al. 2023), as the first term of a Taylor series:

    m(patched) - m(corrupt) ≈ Σ (clean value - corrupt value) · ∂m/∂value
"""

from typing import NamedTuple

import numpy as np

from minillm.figures import heat_map, new_figure
from minillm.insight.anatomy import Anatomy
from minillm.nn.module import no_grad
from minillm.nn.trace import trace


class Effects(NamedTuple):
    """The effects of patching.

    sites: the names of what was patched, n of them
    exact: float64 (n, T) by position, or (n,) for all positions together
    estimate: of the same shape, by the gradient; None if it wasn't asked for
    clean, corrupt: the target's value in the two runs
    """

    sites: list
    exact: np.ndarray
    estimate: np.ndarray | None
    clean: float
    corrupt: float

    def correlation(self):
        """-> that of the estimate with the exact effect"""
        return float(np.corrcoef(self.exact.ravel(), self.estimate.ravel())[0, 1])


def sites(model, kind, stack=None):
    """-> list of names to patch

    kind: "residual" (in front of no block, after each one), "attention", "feed_forward" or "head"
    """
    anatomy = Anatomy(model, stack)
    if kind == "head":
        return [block.head(h) for block, h in anatomy.heads()]
    if kind not in ("residual", "attention", "feed_forward"):
        raise ValueError(f"kind is {kind!r}, wanted 'residual', 'attention', 'feed_forward' or "
                         "'head'")
    return [getattr(block, kind) for block in anatomy.blocks]


def patching(model, clean, corrupt, target, names, *, by_position=True, report=None):
    """Patch each of the values `names` of the clean run into the corrupt one -> Effects

    model: in eval mode;  clean, corrupt: integers (T,), two texts of the same length
    target: a `Logit`;  names: such as `sites` gives
    by_position: patch one position at a time; False: the whole value
    report(done, total): called after each forward

    Raises ValueError for texts of different lengths, and if both runs give the same value.
    """
    clean, corrupt = _pair(clean, corrupt)
    T = clean.shape[1]
    with no_grad():
        with trace(model, names) as t:
            m_clean = float(target.value(model(clean).logits)[0])
        values = {name: t[name] for name in names}
    estimates, m_corrupt = _estimates(model, corrupt, target, values)
    span = _span(m_clean, m_corrupt)

    places = range(T) if by_position else [slice(None)]
    exact = np.zeros((len(names), len(places)))
    with no_grad():
        for row, name in enumerate(names):
            for column, place in enumerate(places):
                value = float(target.value(_patched(model, corrupt, name, values[name], place))[0])
                exact[row, column] = (value - m_corrupt) / span
                if report is not None:
                    report(row * len(places) + column + 1, exact.size)
    estimate = np.array([estimates[name] for name in names]) / span
    if not by_position:
        exact, estimate = exact[:, 0], estimate.sum(axis=1)
    return Effects(list(names), exact, estimate, m_clean, m_corrupt)


def _pair(clean, corrupt):
    clean, corrupt = np.asarray(clean)[None], np.asarray(corrupt)[None]
    if clean.shape != corrupt.shape:
        raise ValueError(f"corrupt has {corrupt.shape[1]} tokens, wanted {clean.shape[1]}, as many "
                         "as clean")
    return clean, corrupt


def _span(m_clean, m_corrupt):
    """-> m(clean) - m(corrupt), the unit of effects; ValueError if it is 0"""
    if m_clean == m_corrupt:
        raise ValueError(f"clean and corrupt give the same value, {m_clean:g}: there is nothing to "
                         "bring back")
    return m_clean - m_corrupt


def _patched(model, ids, name, value, place):
    """-> the logits of `ids` with value[:, place] in place of that of this run"""

    def replacement(x):
        x = x.copy()
        x[:, place] = value[:, place]
        return x

    with trace(model, []) as t:
        t.patch(name, replacement)
        return model(ids).logits


def _estimates(model, corrupt, target, values):
    """-> {name: float64 (T,)}, the estimated change of the target; the target's value"""
    with trace(model, list(values)) as t:
        logits = model(corrupt).logits
        model.backward(target.gradient(logits))
    model.zero_grad()
    changes = {name: ((value - t[name]).astype(np.float64) * t.grad[name])[0].sum(axis=-1)
               for name, value in values.items()}
    return changes, float(target.value(logits)[0])


def path_patching(model, clean, corrupt, target, sender, receiver=None, stack=None):
    """Patch only what one part says to another, directly -> the effect, a float
    (Wang et al. 2022, section 3.1; Goldowsky-Dill et al. 2023)

    sender, receiver: names of heads, as from `sites(model, "head")`, the receiver in a later block;
        None: the output itself

    1. On the corrupt text, the sender gets its clean value. All other heads keep their corrupt
       values, so the change reaches the receiver only by the residual stream, and by feed-forward
       networks, which are computed anew.
    2. On the corrupt text, the receiver gets what it computed in step 1.
    """
    clean, corrupt = _pair(clean, corrupt)
    heads = sites(model, "head", stack)
    for name in filter(None, (sender, receiver)):
        if name not in heads:
            raise ValueError(f"{name!r} is no head of the model, wanted one like {heads[0]!r}")
    with no_grad():
        with trace(model, [sender]) as t:
            m_clean = float(target.value(model(clean).logits)[0])
            clean_value = t[sender]
        with trace(model, heads) as t:
            m_corrupt = float(target.value(model(corrupt).logits)[0])
            frozen = {name: t[name] for name in heads}
        with trace(model, [receiver] if receiver else []) as t:
            for name in heads:
                if name != receiver:
                    t.patch(name, clean_value if name == sender else frozen[name])
            logits = model(corrupt).logits
        if receiver is not None:
            logits = _patched(model, corrupt, receiver, t[receiver], slice(None))
    return (float(target.value(logits)[0]) - m_corrupt) / _span(m_clean, m_corrupt)


def plot_effects(effects, tokens=None):
    """-> matplotlib Figure: exact effects, estimates, and one over the other

    tokens: T strings, for effects by position
    """
    exact, estimate = (np.atleast_2d(each.T).T for each in (effects.exact, effects.estimate))
    n, T = exact.shape
    figure, axes = new_figure(9, 1 + 0.25 * max(n, 6), columns=3)
    top = max(np.abs(exact).max(), 1e-9)
    for panel, values, title in ((axes[0], exact, "exact"), (axes[1], estimate, "by the gradient")):
        heat_map(panel, values, rows=effects.sites if panel is axes[0] else None, columns=tokens,
                 limits=(-top, top), signed=True, title=title)
        panel.set_aspect("auto")
    axes[2].plot(exact.ravel(), estimate.ravel(), "o", markersize=3)
    axes[2].set_xlabel("exact effect")
    axes[2].set_ylabel("estimate")
    axes[2].set_title(f"correlation {effects.correlation():.2f}")
    return figure
