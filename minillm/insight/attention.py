"""Where the heads look: attention weights, what kind of head each one is, rollout and flow.

A weight says how much of another position's value a head takes in, in one layer. It doesn't say
how much the answer depends on that position: positions already hold a mixture of others, and a
large weight may carry a small value. Rollout and flow follow the mixing through the layers;
importance.py and patching measure what the weights can't say.
"""

import math
from typing import NamedTuple

import numpy as np

from minillm.figures import COLORS, heat_map, new_figure, plain
from minillm.insight.anatomy import Anatomy, stacks_of
from minillm.nn.module import no_grad
from minillm.nn.trace import trace


def attention_weights(model, *inputs, stack=None, **options):
    """-> list of float arrays, one for each block: (B, H, T, T), row t: where position t looks

    inputs, options: the arguments of the model's forward;  stack: see `Anatomy`
    """
    names = [block.weights for block in Anatomy(model, stack).blocks]
    with trace(model, names) as t, no_grad():
        model(*inputs, **options)
    return [t[name] for name in names]


def cross_attention_weights(model, **inputs):
    """-> list of float arrays, one for each block of the decoder: (B, H, T, S), row t: where
    position t of the target looks in the source

    inputs: the arguments of the forward. Raises ValueError for a model without cross-attention.
    """
    names = [f"{block.cross_attention}.weights" for block in Anatomy(model).blocks
             if block.cross_attention is not None]
    if not names:
        raise ValueError(f"model is a {type(model).__name__}, wanted one with cross-attention")
    with trace(model, names) as t, no_grad():
        model(**inputs)
    return [t[name] for name in names]


# ---- what kind of head?


class HeadSummary(NamedTuple):
    """How much a head looks at certain positions, means over all queries that have such a key.

    previous: at the position before;  first: at position 0;  itself: at its own position
    entropy: of its weights, as a share of the largest possible; 0: one position, 1: all alike
    induction: in a text that repeats itself, at the token after the last occurrence of the
        query's token (Olsson et al. 2022); None unless the text is a repetition
    """

    previous: float
    first: float
    itself: float
    entropy: float
    induction: float | None = None


def summarize_heads(weights, period=None):
    """-> {(layer, head): HeadSummary}

    weights: as from `attention_weights`, causal or not;  period: the text is a repetition of its
        first `period` tokens, as `repeated_tokens` makes it
    """
    return {(layer, h): _summary(W[:, h].astype(np.float64), period)
            for layer, W in enumerate(weights) for h in range(W.shape[1])}


def _summary(W, period):
    """W: (B, T, T)"""
    def diagonal(offset):
        """The mean weight on the key at distance `offset`, of all queries that have one"""
        return float(np.diagonal(W, offset, axis1=1, axis2=2).mean())

    T = W.shape[-1]
    p_log_p = W * np.log(np.where(W > 0, W, 1))
    n_keys = (W > 0).sum(axis=-1)  # of a causal head: t + 1
    largest = np.log(np.maximum(n_keys, 2))
    entropy = (-p_log_p.sum(axis=-1) / largest)[n_keys > 1]
    return HeadSummary(
        previous=diagonal(-1) if T > 1 else 0.0, first=float(W[:, 1:, 0].mean()) if T > 1 else 1.0,
        itself=diagonal(0), entropy=float(entropy.mean()) if entropy.size else 0.0,
        induction=diagonal(1 - period) if period else None,
    )


def repeated_tokens(vocab_size, period, n_times=2, batch_size=4, seed=0):
    """-> int64 (B, n_times · period): random ids, repeated: only induction can know them"""
    once = np.random.default_rng(seed).integers(vocab_size, size=(batch_size, period))
    return np.tile(once, n_times)


def induction_scores(model, stack=None):
    """-> {(layer, head): how much it looks, on random tokens that are repeated, at the token that
    followed the query's token the first time}

    stack: see `Anatomy`; an encoder-decoder reads the same tokens in both stacks
    """
    config = model.config
    limit = 48 if config.position_limit is None else min(48, config.position_limit)
    period = max(1, limit // 2)
    inputs = {"input_ids": repeated_tokens(config.vocab_size, period)}
    if len(stacks_of(model)) > 1:
        inputs["decoder_input_ids"] = inputs["input_ids"]
    found = summarize_heads(attention_weights(model, stack=stack, **inputs), period)
    return {head: summary.induction for head, summary in found.items()}


# ---- through the layers                                     (Abnar and Zuidema 2020)


def with_residual(W):
    """A = ½ mean over the heads of W + ½ I: a position also keeps what it has          (eq. 1)

    W: (..., H, T, T) -> (..., T, T)
    """
    mean = W.astype(np.float64).mean(axis=-3)
    return 0.5 * mean + 0.5 * np.eye(W.shape[-1])


def rollout(weights):
    """Attention rollout: how much of each input token is in each position after each layer

        R_l = A_l R_{l-1},  R_0 = I                                                     (eq. 1)

    weights: list of (B, H, T, T) -> list of float64 (B, T, T), each row sums to 1
    """
    found, R = [], np.eye(weights[0].shape[-1])
    for W in weights:
        R = with_residual(W) @ R
        found.append(R)
    return found


def rollout_across(encoder, decoder, cross):
    """Attention rollout of an encoder-decoder: what is in each position of the target, in shares of
    the source's tokens and of the target's

    encoder: list of (B, H, S, S);  decoder: list of (B, H, T, T);  cross: list of (B, H, T, S)
    -> list of float64 (B, T, S + T), one for each block of the decoder; each row sums to 1

    Eq. 1 for each of a block's two attentions, the second of which takes in the encoder's output M:

        R' = A_l R_{l-1},    R_l = ½ R' + ½ C_l [M 0],    R_0 = [0 I]       C: mean over the heads
    """
    B, _, T, S = cross[0].shape
    M = np.concatenate([rollout(encoder)[-1], np.zeros((B, S, T))], axis=-1)
    R = np.concatenate([np.zeros((B, T, S)), np.broadcast_to(np.eye(T), (B, T, T))], axis=-1)
    found = []
    for W, C in zip(decoder, cross):
        R = 0.5 * with_residual(W) @ R + 0.5 * C.astype(np.float64).mean(axis=1) @ M
        found.append(R)
    return found


def flow(weights, position, report=None):
    """Attention flow: how much could flow from each input token to a position after the last layer,
    if each A_l(t, s) were the capacity of a pipe from s in layer l - 1 to t in layer l

    weights: list of (H, T, T), of one text -> float64 (T,)
    report(done, total): called after each token

    Each token's flow is a maximum flow of its own, by augmenting shortest paths (Edmonds and Karp
    1972). A rollout multiplies weights, so it loses what a narrow place would still let through.
    """
    capacities = [with_residual(W) for W in weights]
    T = capacities[0].shape[-1]
    found = np.zeros(T)
    for token in range(T):
        found[token] = _max_flow(capacities, position, token)
        if report is not None:
            report(token + 1, T)
    return found


def _max_flow(capacities, top, bottom):
    """-> the maximum flow between position `top` above the last layer and `bottom` below the first

    Nodes are (level, position), level L at the top. What is left of a pipe, and what has flowed
    through it and can be taken back, are two arrays for each layer.
    """
    left = [A.copy() for A in capacities]
    taken = [np.zeros_like(A) for A in capacities]
    L, total = len(capacities), 0.0
    while (path := _shortest_path(left, taken, (L, top), (0, bottom))) is not None:
        steps = []
        for (level, t), (below, s) in zip(path, path[1:]):
            if below < level:
                steps.append((left[below], taken[below], (t, s)))
            else:
                steps.append((taken[level], left[level], (s, t)))
        amount = min(pipe[place] for pipe, _, place in steps)
        for pipe, other, place in steps:
            pipe[place] -= amount
            other[place] += amount
        total += amount
    return total


def _shortest_path(left, taken, start, goal, least=1e-12):
    """-> list of nodes, by breadth-first search through pipes with something left; or None

    A step of the search takes all nodes that are equally far from the start: for each level, the
    positions of its new nodes.
    """
    L, T = len(left), len(left[0])
    seen = np.zeros((L + 1, T), bool)
    seen[start] = True
    parents = np.zeros((L + 1, T, 2), int)  # the node before each one, on a shortest path
    front = {start[0]: np.array([start[1]])}
    while front and not seen[goal]:
        reached = {}
        for level, positions in front.items():
            pipes = [(level - 1, left[level - 1][positions])] if level > 0 else []
            pipes += [(level + 1, taken[level][:, positions].T)] if level < L else []
            for other, capacity in pipes:  # capacity: (positions, T)
                is_open = (capacity > least) & ~seen[other]
                new = np.flatnonzero(is_open.any(axis=0))
                parents[other, new, 0] = level
                parents[other, new, 1] = positions[is_open[:, new].argmax(axis=0)]
                seen[other, new] = True
                if new.size:
                    reached.setdefault(other, []).append(new)
        front = {level: np.concatenate(parts) for level, parts in reached.items()}
    if not seen[goal]:
        return None
    path = [goal]
    while path[-1] != start:
        path.append(tuple(parents[path[-1]].tolist()))
    return path[::-1]


# ---- pictures


def plot_attention(weights, tokens, keys=None, size=1.5):
    """-> matplotlib Figure: a row for each layer, a column for each head

    weights: list of (H, T, T), of one text;  tokens: T strings
    keys: S strings, the source, for the weights (H, T, S) of cross-attention
    """
    keys = tokens if keys is None else keys
    n_layers, n_heads = len(weights), len(weights[0])
    side = max(size, 0.12 * max(len(tokens), len(keys)))
    figure, grid = new_figure(0.8 + side * n_heads, 0.8 + side * n_layers, rows=n_layers,
                              columns=n_heads, squeeze=False)
    for layer, W in enumerate(weights):
        for h in range(n_heads):
            heat_map(grid[layer, h], W[h], rows=tokens if h == 0 else None,
                     columns=keys if layer == n_layers - 1 else None, limits=(0, 1),
                     title=f"layer {layer}, head {h}")
    return figure


def plot_rollout(matrix, tokens, keys=None):
    """-> matplotlib Figure of a (T, T) matrix such as rollout's: rows are positions of the output

    keys: S strings, the columns of a (T, S) matrix
    """
    keys = tokens if keys is None else keys
    figure, axes = new_figure(max(2.5, 0.2 * len(keys)) + 1, max(2.5, 0.2 * len(tokens)))
    heat_map(axes, matrix, rows=tokens, columns=keys, limits=(0, math.ceil(matrix.max() * 10) / 10),
             label="share of the input token")
    axes.set_xlabel("input token")
    axes.set_ylabel("position")
    return figure


def plot_reach(rollout, flow, tokens):
    """-> matplotlib Figure: what reaches one position from each token, by both measures

    rollout, flow: (T,), of one position; flow: None if it wasn't computed;  tokens: T strings
    """
    rows = {"rollout": rollout} if flow is None else {"rollout": rollout, "flow": flow}
    figure, grid = new_figure(max(4, 0.3 * len(tokens)), 0.8 + 1.2 * len(rows), rows=len(rows),
                              sharex=True, squeeze=False)
    for axes, (name, values) in zip(grid[:, 0], rows.items()):
        axes.bar(range(len(tokens)), values, color=COLORS[1])
        axes.set_title(name)
    axes.set_xticks(range(len(tokens)), [plain(token) for token in tokens], rotation=90)
    return figure


def plot_summaries(summaries):
    """-> matplotlib Figure: what kind of head each one is, a row for each

    summaries: {(layer, head): HeadSummary}
    """
    columns = [name for name in HeadSummary._fields
               if all(getattr(each, name) is not None for each in summaries.values())]
    values = np.array([[getattr(each, name) for name in columns] for each in summaries.values()])
    figure, axes = new_figure(2 + 0.6 * len(columns), 0.9 + 0.22 * len(values))
    heat_map(axes, values, rows=[f"{layer}.{h}" for layer, h in summaries], columns=columns,
             limits=(0, 1), numbers=".2f" if len(values) <= 32 else False, label="share")
    axes.set_aspect("auto")
    return figure
