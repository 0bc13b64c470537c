"""The exercises of chapter 20, Small updates."""

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 20.1 lora_backward


def _lora_backward(dy, x, A, B, s):
    dh = s * dy @ B.T
    return dh @ A.T, x.T @ dh, s * (x @ A).T @ dy


def _times(dx=1.0, dA=1.0, dB=1.0):
    """The right gradients, each times a function of s or a number."""
    def wrong(dy, x, A, B, s):
        factors = [f(s) if callable(f) else f for f in (dx, dA, dB)]
        return tuple(f * g for f, g in zip(factors, _lora_backward(dy, x, A, B, s)))
    return wrong


def _one_over(s):
    return 1 / s


_BACKWARD_MISTAKES = [
    Mistake("The scale s is missing in all three gradients. Each is linear in s.",
            wrong=_times(_one_over, _one_over, _one_over)),
    Mistake("The scale s is missing in dx and dA. Only dB has it.", wrong=_times(_one_over, _one_over, 1)),
    Mistake("The scale s is missing in dB: h = s x A, and dB = hᵀ dy.", wrong=_times(dB=_one_over)),
    Mistake("The scale s is missing in dx.", wrong=_times(dx=_one_over)),
    Mistake("The scale s is missing in dA.", wrong=_times(dA=_one_over)),
    Mistake("The scale s is twice in dA: it is in dh already.", wrong=_times(dA=lambda s: s)),
    Mistake("The scale s is twice in dx: it is in dh already.", wrong=_times(dx=lambda s: s)),
    Mistake("The scale s is twice in dB: it is in h already.", wrong=_times(dB=lambda s: s)),
    Mistake("All gradients have the scale s twice.", wrong=_times(*3 * [lambda s: s])),
    Mistake("Your dA is transposed: it has the shape of A, (d_in, r).",
            wrong=lambda *a: (_lora_backward(*a)[0], _lora_backward(*a)[1].T,
                              _lora_backward(*a)[2])),
    Mistake("Your dB is transposed: it has the shape of B, (r, d_out).",
            wrong=lambda *a: (_lora_backward(*a)[0], _lora_backward(*a)[1],
                              _lora_backward(*a)[2].T)),
    Mistake("Your dA and dB are transposed: each gradient has the shape of its matrix.",
            wrong=lambda *a: (_lora_backward(*a)[0], _lora_backward(*a)[1].T,
                              _lora_backward(*a)[2].T)),
    Mistake("The order is dx, dA, dB. Yours is dA, dB, dx.",
            wrong=lambda *a: (*_lora_backward(*a)[1:], _lora_backward(*a)[0])),
    Mistake("The order is dx, dA, dB. Yours has dA and dB the other way around.",
            wrong=lambda *a: tuple(_lora_backward(*a)[i] for i in (0, 2, 1))),
    Mistake("You average dA and dB over the rows. Sum over them: dy holds each row's share of the "
            "loss already.",
            wrong=lambda dy, x, A, B, s: (_lora_backward(dy, x, A, B, s)[0],
                                          *(g / len(x) for g in _lora_backward(dy, x, A, B, s)[1:]))),
    Mistake("Your dx is that of the matrix product without the scale and with the sign turned.",
            wrong=_times(dx=lambda s: -1 / s)),
    Mistake("You add dy to dx. The update has no path around it; the frozen W has its own.",
            when=lambda got, want, dy, *rest: isinstance(got, tuple) and len(got) == 3
            and np.shape(got[0]) == dy.shape == want[0].shape
            and np.allclose(got[0] - want[0], dy)),
    Mistake("Three gradients are wanted: dx, dA, dB.",
            when=lambda got, want, *rest: isinstance(got, tuple) and len(got) != 3),
]

# ---- 20.2 lora_parameters

_D, _LAYERS, _R = 4096, 32, 8
_LORA = 2 * _LAYERS * _R * (_D + _D)

_COUNT_MISTAKES = [
    Mistake("You count half of it: A and B both learn, in W_Q and in W_V.", wrong=_LORA // 2),
    Mistake("You count a quarter of it: there are two matrices, W_Q and W_V, and an A and a B for "
            "each.", wrong=_LORA // 4),
    Mistake("That is one of the 32 layers.", wrong=_LORA // _LAYERS),
    Mistake("That is one matrix in one layer.", wrong=_R * 2 * _D),
    Mistake("That is A, or B, of one matrix in one layer.", wrong=_R * _D),
    Mistake("Those are the frozen matrices themselves: d · d numbers each. The updates have "
            "r (d_in + d_out).", wrong=2 * _LAYERS * _D * _D),
    Mistake("That is one matrix in each layer, with all its d · d numbers.",
            wrong=_LAYERS * _D * _D),
    Mistake("The rank is missing: each row and each column has r = 8 numbers.",
            wrong=2 * _LAYERS * 2 * _D),
    Mistake("You count three matrices a layer. W_K gets no update here.", wrong=_LORA // 2 * 3),
    Mistake("You count four matrices a layer. W_K and W_O get no updates here.", wrong=2 * _LORA),
    Mistake("You multiply d_in and d_out with the rank. A has d_in r numbers and B r d_out: their "
            "sum, not d_in d_out r.", wrong=2 * _LAYERS * _R * _D * _D),
    Mistake("You count the r · r product as well. A and B are all that learns.",
            wrong=2 * _LAYERS * (_R * 2 * _D + _R * _R)),
    Mistake("Those are bytes. The number of parameters is wanted.", wrong=4 * _LORA),
    Mistake("Those are the parameters with their gradients and moments. The parameters alone are "
            "wanted.", wrong=16 * _LORA),
    Mistake("You add the gradients or moments. The parameters alone are wanted.", wrong=3 * _LORA),
    Mistake("Give the exact number, not millions.", when=lambda got, *rest: 4.1 < float(got) < 4.3),
    Mistake("That is a share of the model. The number of parameters is wanted.",
            when=lambda got, *rest: 0 < float(got) < 1),
]

# ---- 20.3 merge_qkv


def _merge_qkv(W, updates, alpha, n_heads, n_kv_heads, head_dim, *, starts=None, scale=None,
               product=lambda A, B: A @ B, put=lambda old, new: old + new, of="qkv"):
    H, K, D = n_heads, n_kv_heads, head_dim
    start = {"q": 0, "k": H * D, "v": (H + K) * D}
    if starts is not None:
        start = {**start, **starts(H, K, D, W.shape[1])}
    merged = W.copy()
    for name, (A, B) in updates.items():
        if name in of:
            s = alpha / A.shape[1] if scale is None else scale(alpha, A.shape[1])
            columns = slice(start[name], start[name] + B.shape[1])
            update = s * product(A, B)
            merged[:, columns] = put(merged[:, columns], update[:, : merged[:, columns].shape[1]])
    return merged


def _merge_with(**changes):
    return lambda *arguments: _merge_qkv(*arguments, **changes)


def _merge_cases(rng):
    def case(H, K, D, names, r, alpha):
        d = 5
        widths = {"q": H * D, "k": K * D, "v": K * D}
        updates = {name: (rng.normal(size=(d, r)), rng.normal(size=(r, widths[name])))
                   for name in names}
        return rng.normal(size=(d, (H + 2 * K) * D)), updates, alpha, H, K, D

    return [case(4, 2, 3, "qv", 2, 6.0), case(6, 1, 2, "qkv", 3, 5.0), case(4, 4, 2, "qv", 2, 4.0),
            case(9, 3, 2, "kv", 2, 8.0)]


_MERGE_MISTAKES = [
    Mistake("The bug is still there. In grouped-query attention there are fewer key heads than "
            "query heads: how wide are the three parts then?",
            wrong=_merge_with(starts=lambda H, K, D, n: {"k": n // 3, "v": 2 * n // 3})),
    Mistake("The order of the parts is W_Q, W_K, W_V: you put the update of V where K is, and K's "
            "where V is.",
            wrong=_merge_with(starts=lambda H, K, D, n: {"k": (H + K) * D, "v": H * D})),
    Mistake("You put the update of V right behind Q. W_K is between them.",
            wrong=_merge_with(starts=lambda H, K, D, n: {"v": H * D})),
    Mistake("You put all updates into the first columns.",
            wrong=_merge_with(starts=lambda H, K, D, n: {"k": 0, "v": 0})),
    Mistake("Your starts count heads. A head has head_dim columns.",
            wrong=_merge_with(starts=lambda H, K, D, n: {"k": H, "v": H + K})),
    Mistake("You give W_K as many heads as W_Q. It has n_kv_heads.",
            wrong=_merge_with(starts=lambda H, K, D, n: {"v": min(2 * H * D, n)})),
    Mistake("You give W_Q as few heads as W_K. It has n_heads.",
            wrong=_merge_with(starts=lambda H, K, D, n: {"k": K * D, "v": 2 * K * D})),
    Mistake("The scale is missing: the update is α / r times A B.",
            wrong=_merge_with(scale=lambda alpha, r: 1)),
    Mistake("You scale by α. The scale is α / r.", wrong=_merge_with(scale=lambda alpha, r: alpha)),
    Mistake("You scale by 1 / r. The scale is α / r.",
            wrong=_merge_with(scale=lambda alpha, r: 1 / r)),
    Mistake("You scale by α / √r, as rsLoRA does. Here it is α / r.",
            wrong=_merge_with(scale=lambda alpha, r: alpha / np.sqrt(r))),
    Mistake("You scale by r / α. It is the other way around.",
            wrong=_merge_with(scale=lambda alpha, r: r / alpha)),
    Mistake("You subtract the update. That is unmerging.",
            wrong=_merge_with(put=lambda old, new: old - new)),
    Mistake("You replace the columns by the update. Add it to them.",
            wrong=_merge_with(put=lambda old, new: new)),
    Mistake("You merge the update of Q only.", wrong=_merge_with(of="q")),
    Mistake("You forget the update of Q.", wrong=_merge_with(of="kv")),
    Mistake("You return the update alone. The merged matrix is wanted.",
            wrong=lambda W, *rest: _merge_qkv(W, *rest) - W),
    Mistake("You return W unchanged.", wrong=lambda W, *rest: W.copy()),
]

# ---- 20.4 layer_rates


def _layer_rates(lr, decay, n_blocks):
    return [lr * decay**depth for depth in range(n_blocks + 1, -1, -1)]


def _powers(powers):
    """The rates with these exponents, a function of the number of blocks."""
    return lambda lr, decay, n: [lr * decay**power for power in powers(n)]


_RATE_MISTAKES = [
    Mistake("The order is turned: the embeddings come first, the head last.",
            wrong=_powers(lambda n: range(n + 2))),
    Mistake("You forget the head: n_blocks + 2 rates are wanted.",
            wrong=_powers(lambda n: range(n + 1, 0, -1))),
    Mistake("You forget the embeddings: n_blocks + 2 rates are wanted.",
            wrong=_powers(lambda n: range(n, -1, -1))),
    Mistake("You forget both the embeddings and the head.",
            wrong=_powers(lambda n: range(n, 0, -1))),
    Mistake("Those are the rates of the blocks alone, and the highest block has the full rate. The "
            "head has it.", wrong=_powers(lambda n: range(n - 1, -1, -1))),
    Mistake("The highest block gets the full rate here, as the head. It is one layer below the "
            "head.", wrong=_powers(lambda n: [*range(n, -1, -1), 0])),
    Mistake("The head's rate is lowered too. Depth 0 is the head: it gets lr itself.",
            wrong=_powers(lambda n: range(n + 2, 0, -1))),
    Mistake("The embeddings get the rate of the lowest block. They are one layer deeper.",
            wrong=_powers(lambda n: [n, *range(n, -1, -1)])),
    Mistake("You divide by the decay. Rates fall on the way down.",
            wrong=_powers(lambda n: range(-n - 1, 1))),
    Mistake("All layers below the head get the same rate. Each is decay times the one above.",
            wrong=_powers(lambda n: [*[1] * (n + 1), 0])),
    Mistake("All layers get the rate lr.", wrong=_powers(lambda n: [0] * (n + 2))),
    Mistake("You multiply by the depth. Take the decay to that power.",
            wrong=lambda lr, decay, n: [lr * decay * depth for depth in range(n + 1, -1, -1)]),
    Mistake("The rate lr is missing: these are the shares of it.",
            wrong=lambda lr, decay, n: _layer_rates(1.0, decay, n)),
    Mistake("You take lr to the power as well. Only the decay is.",
            wrong=lambda lr, decay, n: [(lr * decay) ** depth for depth in range(n + 1, -1, -1)]),
    Mistake("The decay is squared with each layer: the exponent grows by 1 a layer, not by 2.",
            wrong=_powers(lambda n: range(2 * n + 2, -1, -2))),
    Mistake("You return one rate. A list of n_blocks + 2 is wanted.",
            when=lambda got, *rest: np.ndim(got) == 0),
]

# ---- 20.5 rank_for


def _rank_for(delta, share, *, power=2, at_least=1, shift=0):
    values = np.linalg.svd(delta, compute_uv=False) ** power
    reached = np.cumsum(values) / values.sum() >= share
    return int(np.argmax(reached)) + at_least + shift


def _rank_with(**changes):
    return lambda delta, share: _rank_for(delta, share, **changes)


def _rank_cases(rng):
    def matrix(values, rows, columns):
        n = len(values)
        left = np.linalg.qr(rng.normal(size=(rows, n)))[0]
        right = np.linalg.qr(rng.normal(size=(columns, n)))[0]
        return left * np.array(values) @ right.T

    return [(matrix([9, 6, 5, 4, 3, 2, 2, 1, 1], 12, 10), 0.9),
            (matrix([8, 4, 2, 1, 0.5, 0.25], 6, 20), 0.99),
            (rng.normal(size=(14, 9)), 0.5), (matrix([5, 5, 4, 4, 3], 9, 5), 0.75)]


_RANK_MISTAKES = [
    Mistake("You add the singular values. A squared norm is the sum of their squares.",
            wrong=_rank_with(power=1)),
    Mistake("You add the fourth powers: squares of squares.", wrong=_rank_with(power=4)),
    Mistake("That is one too few: the index of the sum that reaches the share. The rank is the "
            "number of values in it.", wrong=_rank_with(shift=-1)),
    Mistake("That is one too many. The smallest rank that reaches the share is wanted.",
            wrong=_rank_with(shift=1)),
    Mistake("That is the rank of the whole matrix.",
            wrong=lambda delta, share: int(np.linalg.matrix_rank(delta))),
    Mistake("You return the smaller side of the matrix.", wrong=lambda delta, share: min(delta.shape)),
    Mistake("You take a share of the number of values. Take it of the sum of their squares.",
            wrong=lambda delta, share: int(np.ceil(share * min(delta.shape)))),
    Mistake("You count the values that are at least `share` times the largest.",
            wrong=lambda delta, share: int((_values(delta) >= share * _values(delta)[0]).sum())),
    Mistake("You count the values above 1 - share times the largest. Add up squares until they "
            "reach the share.",
            wrong=lambda delta, share: int((_values(delta) >= (1 - share) * _values(delta)[0]).sum())),
    Mistake("You begin with the smallest values. NumPy returns the largest first: keep those.",
            wrong=lambda delta, share: int(np.argmax(
                np.cumsum(_values(delta)[::-1] ** 2) / (_values(delta) ** 2).sum() >= share)) + 1),
    Mistake("You return what is cut off. The rank that is kept is wanted.",
            wrong=lambda delta, share: min(delta.shape) - _rank_for(delta, share)),
    Mistake("You return the share that is kept. The rank is wanted, an integer.",
            when=lambda got, want, *rest: np.ndim(got) == 0 and 0 < float(got) < 1),
    Mistake("You return a list. The rank is wanted, one integer.",
            when=lambda got, *rest: np.ndim(got) > 0),
]


def _values(delta):
    return np.linalg.svd(delta, compute_uv=False)


EXERCISES = [
    Exercise("20.1", "lora_backward", reference=_lora_backward,
             cases=lambda rng: [
                 (rng.normal(size=(n, d_out)), rng.normal(size=(n, d_in)),
                  rng.normal(size=(d_in, r)), rng.normal(size=(r, d_out)), s)
                 for n, d_in, d_out, r, s in ((5, 4, 3, 2, 1.5), (2, 6, 6, 1, 0.25))],
             mistakes=_BACKWARD_MISTAKES),
    Exercise("20.2", "lora_parameters", reference=_LORA, mistakes=_COUNT_MISTAKES, tolerance=0),
    Exercise("20.3", "merge_qkv", reference=_merge_qkv, cases=_merge_cases,
             mistakes=_MERGE_MISTAKES),
    Exercise("20.4", "layer_rates", reference=_layer_rates,
             cases=lambda rng: [(1e-3, 0.5, 4), (3.0, 0.9, 12), (0.2, 0.75, 1)],
             mistakes=_RATE_MISTAKES),
    Exercise("20.5", "rank_for", reference=_rank_for, cases=_rank_cases, mistakes=_RANK_MISTAKES),
]
