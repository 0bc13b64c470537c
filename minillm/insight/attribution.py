"""Which input tokens made the model say this? Four answers, and a measurement that judges them.

    gradient × input       Σ_i e_i ∂m/∂e_i                                  (Shrikumar et al. 2016)
    integrated gradients   Σ_i (e - e0)_i ∫ ∂m/∂e_i (e0 + α (e - e0)) dα    (Sundararajan et al. 2017)
    attention × gradient   the rollout of I + mean over heads of (W ⊙ ∂m/∂W)⁺  (Chefer et al. 2021)
    occlusion              m(all tokens) - m(without this one)              (Zeiler and Fergus 2014)

e: a token's embedding (d_model,), m: a target.Logit, e0: a baseline, what "no token" looks like.
Occlusion is the measured effect of taking a token away. `deletion_curve` takes away the most
important tokens first, according to each answer: the sooner m falls, the more faithful it is.
"""

from typing import NamedTuple

import numpy as np

from minillm.figures import COLORS, LINES, new_figure, plain
from minillm.insight.anatomy import stacks_of
from minillm.insight.inputs import forward_inputs, repeated, variants_at_once
from minillm.nn.module import no_grad, without_gradients
from minillm.nn.trace import trace

POINTS = 25  # of a deletion curve whose orders are compared


# ---- a text as vectors
#
# In all functions `text` is integers (T,), or the arguments of the forward as a dict. An
# encoder-decoder reads two rows of tokens; here they are one, the source first, then the target.


def embeddings(model, text):
    """-> e: (1, T, d_model), the rows of the token tables, as the forward's `inputs_embeds` wants
    them: that of an encoder-decoder wants vectors that are scaled already
    """
    return np.concatenate([scale * table[ids]
                           for _, ids, table, scale in _rows(forward_inputs(text), model)], axis=1)


def baseline(model, text):
    """-> e0: (1, T, d_model): the mean of all token embeddings, at each position

    It is as far from every token as from the others. Zero is no neutral choice: a norm turns it
    into something that no text contains.
    """
    rows = []
    for _, ids, table, scale in _rows(forward_inputs(text), model):
        mean = (scale * table.mean(axis=0, dtype=np.float64)).astype(table.dtype)
        rows.append(np.broadcast_to(mean, (1, ids.shape[1], len(mean))))
    return np.concatenate(rows, axis=1)


def _rows(inputs, model):
    """-> list of (argument of the forward, ids (1, n), table (V, d_model), scale), a row of tokens
    each
    """
    tables = [table.weight.data for table in model.token_tables()]
    ids = np.asarray(inputs["input_ids"])
    if "decoder_input_ids" not in inputs:
        return [("input_ids", ids, tables[0], 1.0)]
    target = np.asarray(inputs["decoder_input_ids"])
    return [("input_ids", ids, tables[0], model.get_encoder().scale),
            ("decoder_input_ids", target, tables[-1], 1.0)]


def from_embeddings(model, text, e):
    """Run the model on vectors instead of tokens -> logits

    e: (B, T, d_model), B variants of the text
    """
    inputs = forward_inputs(text)
    vectors, start = {}, 0
    for name, ids, *_ in _rows(inputs, model):
        part = np.ascontiguousarray(e[:, start : start + ids.shape[1]])
        vectors[name.replace("input_ids", "inputs_embeds")] = part
        del inputs[name]
        start += ids.shape[1]
    return model(**repeated(inputs, len(e)), **vectors).logits


def _value_and_gradient(model, text, e, target):
    """-> m: (B,), ∂m/∂e: (B, T, d_model)"""
    with without_gradients(model):
        logits = from_embeddings(model, text, e)
        de = model.backward(target.gradient(logits))
    if isinstance(de, tuple):  # of the source and of the target
        de = np.concatenate(de, axis=1)
    return target.value(logits), de.astype(np.float64)


# ---- four answers


def gradient_times_input(model, text, target):
    """-> float64 (T,): what each token adds to m, if m were linear"""
    e = embeddings(model, text)
    _, de = _value_and_gradient(model, text, e, target)
    return (e * de).sum(axis=-1)[0]


def integrated_gradients(model, text, target, *, e0=None, steps=64, batch_size=16, report=None):
    """-> float64 (T,), which add up to m(e) - m(e0), up to the error of the sum

    The integral is a sum at the middles of `steps` parts of the way from e0 to e.
    e0: (1, T, d_model), by default `baseline`;  report(done, total): called after each forward
    """
    e = embeddings(model, text)
    e0 = baseline(model, text) if e0 is None else e0
    total = np.zeros(e.shape[1:])
    alphas = (np.arange(steps) + 0.5) / steps
    batch_size = min(batch_size, variants_at_once(model, e.shape[1]))
    for start in range(0, steps, batch_size):
        part = alphas[start : start + batch_size, None, None].astype(e.dtype)
        _, de = _value_and_gradient(model, text, e0 + part * (e - e0), target)
        total += de.sum(axis=0)
        if report is not None:
            report(min(steps, start + batch_size), steps)
    return ((e - e0)[0] * total / steps).sum(axis=-1)


def attention_times_gradient(model, text, target):
    """-> float64 (T,), not negative

        R_l = R_{l-1} + (mean over heads of (W_l ⊙ ∂m/∂W_l)⁺) R_{l-1}   (Chefer et al. 2021, eq. 5-6)

    and the answer is the row of R_L for the target's position, without what it has from the start.
    W_l are the weights of one attention. In an encoder-decoder, R has a row for each token of the
    source and of the target, and an attention of one to the other is a block of the matrix.
    """
    inputs = forward_inputs(text)
    rows = _rows(inputs, model)
    S, T = rows[0][1].shape[1], sum(ids.shape[1] for _, ids, *_ in rows)
    source, target_rows = slice(0, S), slice(T - rows[-1][1].shape[1], T)
    attentions = []  # (name of the weights, rows that look, rows that they look at)
    for number, stack in enumerate(stacks_of(model).values()):
        own = source if number == 0 else target_rows
        for block in stack:
            attentions.append((block.weights, own, own))
            if block.cross_attention is not None:
                attentions.append((f"{block.cross_attention}.weights", own, source))
    with without_gradients(model), trace(model, [name for name, *_ in attentions]) as t:
        logits = model(**inputs).logits
        model.backward(target.gradient(logits))
    R = np.eye(T)
    for name, looking, seen in attentions:
        W, dW = t[name][0].astype(np.float64), t.grad[name][0]
        R[looking] = R[looking] + np.maximum(W * dW, 0).mean(axis=0) @ R[seen]
    position = range(*target_rows.indices(T))[target.position]
    return R[position] - np.eye(T)[position]


def occlusion(model, text, target, *, e0=None, report=None):
    """-> float64 (T,): how much m falls without each token, whose embedding becomes e0

    report(done, total): called after each forward
    """
    T = embeddings(model, text).shape[1]
    deleted = np.concatenate([np.zeros((1, T), bool), np.eye(T, dtype=bool)])
    values = without(model, text, target, deleted, e0=e0, report=report)
    return values[0] - values[1:]


def without(model, text, target, deleted, *, e0=None, report=None):
    """-> float64 (n, …): m without some of the tokens, whose embeddings become e0

    deleted: bool (n, T), a row for each variant of the text
    """
    e = embeddings(model, text)
    e0 = baseline(model, text) if e0 is None else e0
    most, found = variants_at_once(model, e.shape[1]), []
    with no_grad():
        for start in range(0, len(deleted), most):
            x = np.where(deleted[start : start + most, :, None], e0, e)
            found.extend(target.value(from_embeddings(model, text, x)))
            if report is not None:
                report(len(found), len(deleted))
    return np.array(found)


METHODS = {
    "gradient × input": gradient_times_input,
    "integrated gradients": integrated_gradients,
    "attention × gradient": attention_times_gradient,
    "occlusion": occlusion,
}


def attributions(model, text, target):
    """-> {name: float64 (T,)} by each of METHODS"""
    return {name: method(model, text, target) for name, method in METHODS.items()}


# ---- the measurement that judges


def deletion_curve(model, text, target, scores, *, e0=None, n_deleted=None):
    """-> float64 (T + 1,): m without the 0, 1, …, T tokens of the highest scores (Samek et al. 2017)

    scores: (T,), an attribution;  n_deleted: integers, only these points of the curve
    """
    T = len(scores)
    n_deleted = np.arange(T + 1) if n_deleted is None else np.asarray(n_deleted)
    rank = np.empty(T, np.int64)
    rank[np.argsort(-np.asarray(scores), kind="stable")] = np.arange(T)
    return without(model, text, target, rank < n_deleted[:, None], e0=e0)


class Deletion(NamedTuple):
    """Deletion curves, at the same places.

    n_deleted: integers (n,);  curves: {name: float64 (n,)};  chance: (n,), the mean of random orders
    """

    n_deleted: np.ndarray
    curves: dict
    chance: np.ndarray

    def faithfulness(self):
        """-> {name: float} from -1 to 1: how far each curve is below chance, as a mean over its
        points, in units of the widest range of a curve; 0: no better than chance

        The whole fall, from all tokens to none, is no unit: a model may say the same thing to
        nothing, while every curve has a valley in between.
        """
        fall = max(np.ptp(curve) for curve in (self.chance, *self.curves.values()))
        return {name: float((self.chance - curve).mean() / fall) if fall else 0.0
                for name, curve in self.curves.items()}


def deletion(model, text, target, scores, *, n_random=20, seed=0, report=None):
    """-> Deletion

    scores: {name: (T,)}, of which only the order counts
    report(done, total): called after each curve

    A long text's curves are measured at POINTS places.
    """
    T, rng = embeddings(model, text).shape[1], np.random.default_rng(seed)
    n_deleted = np.unique(np.linspace(0, T, min(T + 1, POINTS)).round().astype(int))
    orders = [*(rng.random(T) for _ in range(n_random)), *scores.values()]
    curves = []
    for order in orders:
        curves.append(deletion_curve(model, text, target, order, n_deleted=n_deleted))
        if report is not None:
            report(len(curves), len(orders))
    return Deletion(n_deleted, dict(zip(scores, curves[n_random:])),
                    np.mean(curves[:n_random], axis=0))


def faithfulness(model, text, target, scores, **options):
    """-> {name: float}, see `Deletion.faithfulness`; the arguments are those of `deletion`"""
    return deletion(model, text, target, scores, **options).faithfulness()


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


def plot_deletion(found):
    """-> matplotlib Figure: the deletion curves of a Deletion, and that of random orders"""
    figure, axes = new_figure(5, 3.2)
    for (name, curve), color, line in zip(found.curves.items(), COLORS[1:], LINES):
        axes.plot(found.n_deleted, curve, label=name, color=color, linestyle=line)
    axes.plot(found.n_deleted, found.chance, label="random orders", color="#888888", linestyle=":")
    axes.set(xlabel="tokens taken away", ylabel="the explained number")
    axes.legend()
    return figure
