"""Which input tokens made the model say this? Four answers, and a measurement that judges them.

    gradient × input       Σ_i e_i ∂m/∂e_i                                  (Shrikumar et al. 2016)
    integrated gradients   Σ_i (e - e0)_i ∫ ∂m/∂e_i (e0 + α (e - e0)) dα    (Sundararajan et al. 2017)
    attention × gradient   the rollout of I + mean over heads of (W ⊙ ∂m/∂W)⁺  (Chefer et al. 2021)
    occlusion              m(all tokens) - m(without this one)              (Zeiler and Fergus 2014)

e: a token's embedding (d_model,), m: a target.Logit, e0: a baseline, what "no token" looks like.
Occlusion is the measured effect of taking a token away. `deletion_curve` takes away the most
important tokens first, according to each answer: the sooner m falls, the more faithful it is.
"""

import numpy as np

from minillm.figures import new_figure, plain
from minillm.insight.anatomy import Anatomy
from minillm.nn.module import no_grad
from minillm.nn.trace import trace

POINTS = 25  # of a deletion curve whose orders are compared
ROWS = 32  # variants of a text in one forward


def embeddings(model, ids):
    """ids: integers (T,) -> e: (1, T, d_model), the rows of the token table"""
    return model.get_input_embeddings().weight.data[np.asarray(ids)][None]


def baseline(model, ids):
    """-> e0: (1, T, d_model): the mean of all token embeddings, at each position

    It is as far from every token as from the others. Zero is no neutral choice: a norm turns it
    into something that no text contains.
    """
    e = embeddings(model, ids)
    mean = model.get_input_embeddings().weight.data.mean(axis=0, dtype=np.float64)
    return np.broadcast_to(mean.astype(e.dtype), e.shape)


def _value_and_gradient(model, e, target):
    """-> m: (B,), ∂m/∂e: (B, T, d_model)"""
    logits = model(inputs_embeds=np.ascontiguousarray(e)).logits
    de = model.backward(target.gradient(logits))
    model.zero_grad()
    return target.value(logits), de.astype(np.float64)


def gradient_times_input(model, ids, target):
    """-> float64 (T,): what each token adds to m, if m were linear"""
    e = embeddings(model, ids)
    _, de = _value_and_gradient(model, e, target)
    return (e * de).sum(axis=-1)[0]


def integrated_gradients(model, ids, target, *, e0=None, steps=64, batch_size=16):
    """-> float64 (T,), which add up to m(e) - m(e0), up to the error of the sum

    The integral is a sum at the middles of `steps` parts of the way from e0 to e.
    e0: (1, T, d_model), by default `baseline`
    """
    e = embeddings(model, ids)
    e0 = baseline(model, ids) if e0 is None else e0
    total = np.zeros(e.shape[1:])
    alphas = (np.arange(steps) + 0.5) / steps
    for start in range(0, steps, batch_size):
        part = alphas[start : start + batch_size, None, None].astype(e.dtype)
        _, de = _value_and_gradient(model, e0 + part * (e - e0), target)
        total += de.sum(axis=0)
    return ((e - e0)[0] * total / steps).sum(axis=-1)


def attention_times_gradient(model, ids, target):
    """-> float64 (T,), not negative

        R_l = (I + mean over heads of (W_l ⊙ ∂m/∂W_l)⁺) R_{l-1}         (Chefer et al. 2021, eq. 5-6)

    and the answer is the row of R_L for the target's position, without what it has from the start.
    """
    names = [block.weights for block in Anatomy(model).blocks]
    with trace(model, names) as t:
        logits = model(np.asarray(ids)[None]).logits
        model.backward(target.gradient(logits))
    model.zero_grad()
    T = logits.shape[1]
    R = np.eye(T)
    for name in names:
        W, dW = t[name][0].astype(np.float64), t.grad[name][0]
        R = R + np.maximum(W * dW, 0).mean(axis=0) @ R
    return R[target.position] - np.eye(T)[target.position]


def occlusion(model, ids, target, *, e0=None):
    """-> float64 (T,): how much m falls without each token, whose embedding becomes e0"""
    e = embeddings(model, ids)
    e0 = baseline(model, ids) if e0 is None else e0
    T = e.shape[1]
    found = np.empty(T)
    with no_grad():
        whole = target.value(model(inputs_embeds=e).logits)[0]
        for start in range(0, T, ROWS):
            gone = np.arange(start, min(start + ROWS, T))
            without = np.repeat(e, len(gone), axis=0)
            without[np.arange(len(gone)), gone] = e0[0, gone]
            found[gone] = whole - target.value(model(inputs_embeds=without).logits)
    return found


METHODS = {
    "gradient × input": gradient_times_input,
    "integrated gradients": integrated_gradients,
    "attention × gradient": attention_times_gradient,
    "occlusion": occlusion,
}


def attributions(model, ids, target):
    """-> {name: float64 (T,)} by each of METHODS"""
    return {name: method(model, ids, target) for name, method in METHODS.items()}


def deletion_curve(model, ids, target, scores, *, e0=None, n_deleted=None):
    """-> float64 (T + 1,): m without the 0, 1, …, T tokens of the highest scores (Samek et al. 2017)

    scores: (T,), an attribution;  n_deleted: integers, only these points of the curve
    """
    e = embeddings(model, ids)
    e0 = baseline(model, ids) if e0 is None else e0
    T = e.shape[1]
    n_deleted = np.arange(T + 1) if n_deleted is None else np.asarray(n_deleted)
    rank = np.empty(T, np.int64)
    rank[np.argsort(-np.asarray(scores), kind="stable")] = np.arange(T)
    curve = np.empty(len(n_deleted))
    with no_grad():
        for start in range(0, len(curve), ROWS):
            deleted = rank[None] < n_deleted[start : start + ROWS, None]
            x = np.where(deleted[..., None], e0, e)
            curve[start : start + ROWS] = target.value(model(inputs_embeds=x).logits)
    return curve


def faithfulness(model, ids, target, scores, *, n_random=20, seed=0, report=None):
    """-> {name: float}: how far each deletion curve is below that of a random order, as a mean over
    its points, in units of m's whole fall; 0: no better than chance

    scores: {name: (T,)}, of which only the order counts
    report(done, total): called after each curve

    A long text's curves are measured at POINTS places.
    """
    T, rng = len(ids), np.random.default_rng(seed)
    n_deleted = np.unique(np.linspace(0, T, min(T + 1, POINTS)).round().astype(int))
    orders = [*(rng.random(T) for _ in range(n_random)), *scores.values()]
    curves = []
    for order in orders:
        curves.append(deletion_curve(model, ids, target, order, n_deleted=n_deleted))
        if report is not None:
            report(len(curves), len(orders))
    chance = np.mean(curves[:n_random], axis=0)
    fall = abs(chance[0] - chance[-1])
    return {name: float((chance - curve).mean() / fall) if fall else 0.0
            for name, curve in zip(scores, curves[n_random:])}


def plot_attributions(scores, tokens):
    """-> matplotlib Figure: a row of bars for each method; scaled to its largest value

    scores: {name: (T,)};  tokens: T strings
    """
    figure, grid = new_figure(max(4, 0.4 * len(tokens)), 1 + 0.9 * len(scores), rows=len(scores),
                              sharex=True, squeeze=False)
    for axes, (name, values) in zip(grid[:, 0], scores.items()):
        axes.bar(range(len(tokens)), values / (np.abs(values).max() or 1))
        axes.axhline(0, color="black", linewidth=0.6)
        axes.set_ylim(-1.05, 1.05)
        axes.set_title(name)
    axes.set_xticks(range(len(tokens)), [plain(token) for token in tokens], rotation=90)
    return figure
