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
from minillm.insight.inputs import forward_inputs, read_ids, repeated, variants_at_once
from minillm.nn.module import no_grad, without_gradients
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


KINDS = ("residual", "attention", "cross_attention", "feed_forward", "head")


def sites(model, kind, stack=None):
    """-> list of names to patch

    kind: "residual" (in front of no block, after each one), "attention", "cross_attention" (in a
        decoder that reads an encoder), "feed_forward" or "head"
    """
    anatomy = Anatomy(model, stack)
    if kind == "head":
        return [block.head(h) for block, h in anatomy.heads()]
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, wanted {', '.join(map(repr, KINDS[:-1]))} or "
                         f"{KINDS[-1]!r}")
    names = [getattr(block, kind) for block in anatomy.blocks]
    return [name for name in names if name is not None]


def patching(model, clean, corrupt, target, names, *, by_position=True, report=None):
    """Patch each of the values `names` of the clean run into the corrupt one -> Effects

    model: in eval mode
    clean, corrupt: two texts of the same length: integers (T,), or the arguments of the forward as
        a dict
    target: a `Logit` or a `Label`;  names: such as `sites` gives
    by_position: patch one position at a time; False: the whole value
    report(done, total): called after each forward

    Raises ValueError for texts of different lengths, and if both runs give the same value.
    """
    clean, corrupt = _pair(clean, corrupt)
    m_clean, values = record(model, clean, target, names)
    slopes = Slopes(model, corrupt, target, names)
    span = _span(m_clean, slopes.value)

    changes = [slopes.change(name, values[name]) for name in names]
    n_places = values[names[0]].shape[1] if names and by_position else 1
    exact = np.zeros((len(names), n_places))
    for done, (row, column, value) in enumerate(
            sweep(model, corrupt, target, values, by_position=by_position), 1):
        exact[row, column] = (value - slopes.value) / span
        if report is not None:
            report(done, exact.size)
    estimate = np.array(changes) / span
    if not by_position:
        exact, estimate = exact[:, 0], estimate.sum(axis=1)
    return Effects(list(names), exact, estimate, m_clean, slopes.value)


def _pair(clean, corrupt):
    """-> the arguments of both forwards"""
    clean, corrupt = forward_inputs(clean), forward_inputs(corrupt)
    T, T_corrupt = read_ids(clean).shape[1], read_ids(corrupt).shape[1]
    if T_corrupt != T:
        raise ValueError(f"corrupt has {T_corrupt} tokens, wanted {T}, as many as clean")
    return clean, corrupt


def _span(m_clean, m_corrupt):
    """-> m(clean) - m(corrupt), the unit of effects; ValueError if it is 0"""
    if m_clean == m_corrupt:
        raise ValueError(f"clean and corrupt give the same value, {m_clean:g}: there is nothing to "
                         "bring back")
    return m_clean - m_corrupt


def record(model, inputs, target, names):
    """Run the model -> the target's value, {name: value (1, T, ·)}

    inputs: the arguments of the forward
    """
    with no_grad(), trace(model, names) as t:
        value = float(target.value(model(**inputs).logits)[0])
    return value, {name: t[name] for name in names}


# ---- the exact effect


class Patch(NamedTuple):
    """Some positions of a value that get what other positions had in another run.

    name: of the value;  value: (1, S, ·), that of the other run, of this name or another of the
        same width
    source, places: lists of integers, as many: value[:, source[i]] goes to position places[i].
        Both slice(None): all positions
    """

    name: str
    value: np.ndarray
    source: list | slice = slice(None)
    places: list | slice = slice(None)


def run_patched(model, inputs, patches):
    """-> the logits of a run with all patches; where two overlap, the later one holds"""
    by_name = {}
    for patch in patches:
        by_name.setdefault(patch.name, []).append(patch)

    def replacement(mine):
        def replace(x):
            x = x.copy()
            for patch in mine:
                x[:, patch.places] = patch.value[:, patch.source]
            return x

        return replace

    with no_grad(), trace(model, []) as t:
        for name, mine in by_name.items():
            t.patch(name, replacement(mine))
        return model(**inputs).logits


def sweep(model, inputs, target, values, *, by_position=True):
    """Patch each value at each position -> yield (row, column, the target's value), row by row

    target: its `value` takes logits (B, …) and returns (B,), or (B, n) for several numbers
    values: {name: (1, T, ·)}, from another run, such as `record` gives
    by_position: False: all positions of a value together, as column 0

    Variants of the text share a forward: row b of the batch is patched at position b.
    """
    most = variants_at_once(model, read_ids(inputs).shape[1])
    for row, (name, value) in enumerate(values.items()):
        places = list(range(value.shape[1])) if by_position else [slice(None)]
        for start in range(0, len(places), most):
            some = places[start : start + most]
            found = target.value(_run_variants(model, inputs, name, value, some))
            yield from ((row, start + i, m) for i, m in enumerate(found))


def _run_variants(model, inputs, name, value, places):
    """-> the logits (n, …) of n variants of the text, patched at one of `places` each"""

    def replace(x):
        x = x.copy()
        for b, place in enumerate(places):
            x[b, place] = value[0, place]
        return x

    with no_grad(), trace(model, []) as t:
        t.patch(name, replace)
        return model(**repeated(inputs, len(places))).logits


# ---- the gradient's estimate


class Slopes:
    """The values of one run, slopes[name], and the gradient of the target with respect to each.

    value: the target's;  logits: (1, …)
    """

    def __init__(self, model, inputs, target, names):
        with without_gradients(model), trace(model, list(names)) as t:
            self.logits = model(**inputs).logits
            model.backward(target.gradient(self.logits))
        self._trace = t
        self.value = float(target.value(self.logits)[0])

    def __getitem__(self, name):
        return self._trace[name]

    def change(self, name, value):
        """-> float64 (T,): the estimated change of the target if `name` had the value at a position

        value: (1, T, ·), or a number
        """
        at = self[name]
        if np.ndim(value) and np.shape(value) != at.shape:
            raise ValueError(f"corrupt has {at.shape[1]} tokens at {name}, wanted "
                             f"{np.shape(value)[1]}, as many as clean")
        return ((value - at).astype(np.float64) * self._trace.grad[name])[0].sum(axis=-1)

    def change_by(self, patches):
        """-> float: the estimated change by all patches together, which is the sum of theirs"""
        values = {}
        for patch in patches:
            value = values.setdefault(patch.name, self[patch.name].copy())
            value[:, patch.places] = patch.value[:, patch.source]
        return float(sum(self.change(name, value).sum() for name, value in values.items()))


# ---- paths


def path_patching(model, clean, corrupt, target, sender, receiver=None, stack=None):
    """Patch only what one part says to another, directly -> the effect, a float
    (Wang et al. 2022, section 3.1; Goldowsky-Dill et al. 2023)

    sender, receiver: names of heads, as from `sites(model, "head")`, the receiver in a later block;
        None: the output itself

    1. On the corrupt text, the sender gets its clean value. All other heads of the stack keep their
       corrupt values, so the change reaches the receiver only by the residual stream, and by
       feed-forward networks, which are computed anew.
    2. On the corrupt text, the receiver gets what it computed in step 1.
    """
    return path_effects(model, clean, corrupt, target, receiver, [sender], stack)[sender]


def path_effects(model, clean, corrupt, target, receiver=None, senders=None, stack=None,
                 report=None):
    """`path_patching` from several senders to one receiver -> {sender: effect}

    senders: names of heads; None: all of the blocks below the receiver's
    report(done, total): called after each sender
    """
    clean, corrupt = _pair(clean, corrupt)
    blocks = {block.head(h): block for block, h in Anatomy(model, stack).heads()}
    for name in filter(None, (receiver, *(senders or ()))):
        if name not in blocks:
            raise ValueError(f"{name!r} is no head of the model, wanted one like "
                             f"{next(iter(blocks))!r}")
    if senders is None:
        senders = [name for name, block in blocks.items()
                   if receiver is None or block.index < blocks[receiver].index]
    crossing = [f"{name}.heads" for block in dict.fromkeys(blocks.values())
                for name in block.attentions[1:]]
    m_clean, clean_values = record(model, clean, target, senders)
    m_corrupt, frozen = record(model, corrupt, target, [*blocks, *crossing])
    span, found = _span(m_clean, m_corrupt), {}
    for sender in senders:
        values = {**frozen, sender: clean_values[sender]}
        values.pop(receiver, None)
        with no_grad(), trace(model, [receiver] if receiver else []) as t:
            for name, value in values.items():
                t.patch(name, value)
            logits = model(**corrupt).logits
        if receiver is not None:
            logits = run_patched(model, corrupt, [Patch(receiver, t[receiver])])
        found[sender] = (float(target.value(logits)[0]) - m_corrupt) / span
        if report is not None:
            report(len(found), len(senders))
    return found


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
