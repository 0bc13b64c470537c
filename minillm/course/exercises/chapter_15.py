"""The exercises of chapter 15, From 2017 to 2023."""

import math

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 15.1 rms_norm_gradients


def _rms(x):
    return np.sqrt((x**2).mean(axis=-1, keepdims=True))


def _rms_norm_gradients(dy, x, w):
    r = _rms(x)
    x_hat, dx_hat = x / r, dy * w
    dx = (dx_hat - x_hat * (dx_hat * x_hat).mean(axis=-1, keepdims=True)) / r
    return dx, (dy * x_hat).sum(axis=0)


def _with_dx(dx_of):
    """-> the answer with another dx, a function of dy, x, w"""
    return lambda dy, x, w: (dx_of(dy, x, w), _rms_norm_gradients(dy, x, w)[1])


def _with_dw(dw_of):
    return lambda dy, x, w: (_rms_norm_gradients(dy, x, w)[0], dw_of(dy, x, w))


def _projected(dy, x, w, *, mean=np.mean, r=None):
    r = _rms(x) if r is None else r
    x_hat, dx_hat = x / r, dy * w
    return (dx_hat - x_hat * mean(dx_hat * x_hat, axis=-1, keepdims=True)) / r


def _layer_norm_dx(dy, x, w):
    dx = _projected(dy, x, w)
    return dx - (dy * w).mean(axis=-1, keepdims=True) / _rms(x)


_NORM_MISTAKES = [
    Mistake("The two are the wrong way around: dx first, then dw.",
            wrong=lambda dy, x, w: _rms_norm_gradients(dy, x, w)[::-1]),
    Mistake("You treat r as a constant: dx lacks the part that comes through the mean square. "
            "Every number of x changes r, and r divides all of them.",
            wrong=_with_dx(lambda dy, x, w: dy * w / _rms(x))),
    Mistake("You sum dx̂ · x̂ over the token's numbers. ∂r/∂x_j = x̂_j / d, so it is a mean.",
            wrong=_with_dx(lambda dy, x, w: _projected(dy, x, w, mean=np.sum))),
    Mistake("The sign of the second term: a longer x makes r larger and the result smaller.",
            wrong=_with_dx(lambda dy, x, w: 2 * dy * w / _rms(x) - _projected(dy, x, w))),
    Mistake("You subtract the mean of dx̂ as well. That term belongs to layer norm, which "
            "subtracts a mean in the forward.", wrong=_with_dx(_layer_norm_dx)),
    Mistake("You forget w in dx: the gradient of x̂ is dy * w.",
            wrong=_with_dx(lambda dy, x, w: _projected(dy, x, np.ones_like(w)))),
    Mistake("You forget the last division by r.",
            wrong=_with_dx(lambda dy, x, w: _projected(dy, x, w) * _rms(x))),
    Mistake("You multiply by x where x̂ = x / r belongs.",
            wrong=_with_dx(lambda dy, x, w: (dy * w - x * (dy * w * x).mean(
                axis=-1, keepdims=True)) / _rms(x))),
    Mistake("Your dx is right. dw takes the normalized x̂, not x: w multiplies x̂ in the forward.",
            wrong=_with_dw(lambda dy, x, w: (dy * x).sum(axis=0))),
    Mistake("Your dx is right. dw is the sum over the tokens, not their mean: each token adds its "
            "part.",
            wrong=_with_dw(lambda dy, x, w: (dy * x / _rms(x)).mean(axis=0))),
    Mistake("Your dx is right. You keep a dw for each token. One w serves all of them, so their "
            "gradients add up.", when=lambda got, want, dy, x, w: np.shape(got[1]) == x.shape),
    Mistake("Your dx is right. dw doesn't contain w: the derivative of w * x̂ with respect to w is "
            "x̂.",
            wrong=_with_dw(lambda dy, x, w: (dy * w * x / _rms(x)).sum(axis=0))),
]

# ---- 15.2 gated_width


def _gated_width(plain, multiple):
    return -(-2 * plain // (3 * multiple)) * multiple


_WIDTH_MISTAKES = [
    Mistake("You keep the width. With three matrices instead of two the network then has half as "
            "many weights again.", wrong=lambda plain, multiple: plain),
    Mistake("The fraction is upside down: three matrices need narrower layers, 2/3 of the width.",
            wrong=lambda plain, multiple: -(-3 * plain // (2 * multiple)) * multiple),
    Mistake("You multiply by 8/3. That is the width in units of d_model; `plain` is already 4 "
            "times d_model.",
            wrong=lambda plain, multiple: -(-8 * plain // (3 * multiple)) * multiple),
    Mistake("You round down. The exercise rounds up to the next multiple.",
            wrong=lambda plain, multiple: 2 * plain // (3 * multiple) * multiple),
    Mistake("You round to the nearest multiple. The exercise rounds up.",
            wrong=lambda plain, multiple: round(2 * plain / (3 * multiple)) * multiple),
    Mistake("You add a multiple even where the width is one already.",
            wrong=lambda plain, multiple: (2 * plain // (3 * multiple) + 1) * multiple),
    Mistake("You return the number of multiples. Multiply by `multiple` again.",
            wrong=lambda plain, multiple: -(-2 * plain // (3 * multiple))),
    Mistake("You round up to an integer, but not to a multiple of `multiple`.",
            wrong=lambda plain, multiple: -(-2 * plain // 3)),
    Mistake("Half of the width is for a network with four matrices. It has three.",
            wrong=lambda plain, multiple: -(-plain // (2 * multiple)) * multiple),
    Mistake("The width must be an integer. Divide integers with //, rounding up as -(-a // b).",
            when=lambda got, want, plain, multiple: float(got) != int(got)),
]

# ---- 15.3 longest_context


def _tokens(per_token):
    return lambda memory, L, H, kv, d, b: memory // per_token(L, H, kv, d, b)


_longest_context = _tokens(lambda L, H, kv, d, b: 2 * L * kv * (d // H) * b)
_CONTEXT_MISTAKES = [
    Mistake("You count the keys alone. The values are kept as well: twice as much.",
            wrong=_tokens(lambda L, H, kv, d, b: L * kv * (d // H) * b)),
    Mistake("You count queries as well. No later token needs an old query.",
            wrong=_tokens(lambda L, H, kv, d, b: L * (2 * kv + H) * (d // H) * b)),
    Mistake("You count d_model numbers for the keys, as if each query head had a key head. A head "
            "has d_model / n_heads numbers, and there are n_kv_heads of them.",
            wrong=_tokens(lambda L, H, kv, d, b: 2 * L * d * b)),
    Mistake("You take d_model for the width of a head. It is d_model / n_heads.",
            wrong=_tokens(lambda L, H, kv, d, b: 2 * L * kv * d * b)),
    Mistake("You forget the blocks. Each one has a cache of its own.",
            wrong=_tokens(lambda L, H, kv, d, b: 2 * kv * (d // H) * b)),
    Mistake("You count numbers. Each takes number_bytes.",
            wrong=_tokens(lambda L, H, kv, d, b: 2 * L * kv * (d // H))),
    Mistake("You forget how many key heads there are.",
            wrong=_tokens(lambda L, H, kv, d, b: 2 * L * (d // H) * b)),
    Mistake("Half a token doesn't fit: round down, with //.",
            when=lambda got, want, *rest: float(got) != int(got)),
    Mistake("You round up. The last token doesn't fit any more.",
            wrong=lambda memory, L, H, kv, d, b: -(-memory // (2 * L * kv * (d // H) * b))),
    Mistake("That is the number of bytes of a token. How many tokens fit into the memory?",
            wrong=lambda memory, L, H, kv, d, b: 2 * L * kv * (d // H) * b),
]

# ---- 15.4 grouped_scores


def _scores_with(index, scale=lambda D, Q: 1 / np.sqrt(D)):
    def grouped_scores(Q, K):
        H, T, D = Q.shape
        S = np.empty((H, T, T))
        for h in range(H):
            S[h] = Q[h] @ K[index(h, H, len(K))].T * scale(D, Q)
        return S

    return grouped_scores


_grouped_scores = _scores_with(lambda h, H, kv: h // (H // kv))
_SCORES_MISTAKES = [
    Mistake("The bug is still there: h % H_kv deals the query heads out like cards. Neighbors "
            "should share a key head.", wrong=_scores_with(lambda h, H, kv: h % kv)),
    Mistake("You divide by the number of key heads. A group has H / H_kv query heads; divide by "
            "that.", wrong=_scores_with(lambda h, H, kv: min(h // kv, kv - 1))),
    Mistake("The groups are right, but in the reverse order: the first group reads the first key "
            "head.", wrong=_scores_with(lambda h, H, kv: kv - 1 - h // (H // kv))),
    Mistake("All query heads read the first key head. That is multi-query attention; here there "
            "are several.", wrong=_scores_with(lambda h, H, kv: 0)),
    Mistake("All query heads read the last key head.", wrong=_scores_with(lambda h, H, kv: kv - 1)),
    Mistake("Each query head takes its own number, and those beyond the last key head share that "
            "one. All groups have the same size.",
            wrong=_scores_with(lambda h, H, kv: min(h, kv - 1))),
    Mistake("The groups are right. The scale is 1 / √D, with the width of a head, not the number "
            "of heads.", wrong=_scores_with(lambda h, H, kv: h // (H // kv),
                                         lambda D, Q: 1 / np.sqrt(len(Q)))),
    Mistake("The groups are right, but you scale by √(H D), the width of the model. It is the "
            "width of a head that counts.", wrong=_scores_with(lambda h, H, kv: h // (H // kv),
                                                         lambda D, Q: 1 / np.sqrt(len(Q) * D))),
    Mistake("The groups are right. Keep the scale 1 / √D.",
            wrong=_scores_with(lambda h, H, kv: h // (H // kv), lambda D, Q: 1.0)),
    Mistake("The groups are right, but a score belongs to a query (row) and a key (column): yours "
            "are transposed.", wrong=lambda Q, K: _grouped_scores(Q, K).transpose(0, 2, 1)),
    Mistake("You return scores for each key head. Every query head has its own.",
            when=lambda got, want, Q, K: np.shape(got) == (len(K), *want.shape[1:])
            and len(K) != len(Q)),
]

# ---- 15.5 fewer_parameters

_L, _D = 12, 768
_LINEAR, _NORMS = _L * 9 * _D, (2 * _L + 1) * _D
_BIAS_MISTAKES = [
    Mistake("You count the linear maps alone. RMSNorm has no bias either, so each norm loses d "
            "numbers.", wrong=_LINEAR),
    Mistake("You count the norms alone. The four linear maps of each block lose theirs, too.",
            wrong=_NORMS),
    Mistake("You forget the last norm, after the blocks.", wrong=_LINEAR + 2 * _L * _D),
    Mistake("An RMSNorm keeps its weight. Only the bias goes: d numbers a norm, not 2 d.",
            wrong=_LINEAR + 2 * _NORMS),
    Mistake("You count one bias of d for queries, keys and values together. Each has its own, 3 d.",
            wrong=_L * 7 * _D + _NORMS),
    Mistake("The first map of the feed-forward network has 4 d outputs, so its bias has 4 d "
            "numbers.",
            wrong=_L * 6 * _D + _NORMS),
    Mistake("You are d numbers short in each block. Attention's output map has a bias as well as "
            "the map to queries, keys and values; and a block has two norms.",
            wrong=_L * 8 * _D + _NORMS),
    Mistake("A bias has one number for each output of a map. The second map of the feed-forward "
            "network has d outputs, not 4 d.", wrong=_L * 12 * _D + _NORMS),
    Mistake("You count one block. There are twelve.", wrong=9 * _D + 3 * _D),
    Mistake("The head has no bias in GPT-2: it is the token table.",
            wrong=_LINEAR + _NORMS + 50257),
    Mistake("You count the table of positions. It isn't a bias.",
            wrong=_LINEAR + _NORMS + 1024 * _D),
    Mistake("You count the weights of the linear maps as well.",
            wrong=_L * (12 * _D * _D + 9 * _D) + _NORMS),
    Mistake("Give the exact number.", when=lambda got, *rest: math.isclose(
        float(got), _LINEAR + _NORMS, rel_tol=0.03)),
]


def _norm_cases(rng):
    return [(rng.normal(size=shape), rng.normal(size=shape) + 0.5, rng.normal(size=shape[-1]) + 1)
            for shape in ((3, 5), (6, 4))]


EXERCISES = [
    Exercise("15.1", "rms_norm_gradients", reference=_rms_norm_gradients, cases=_norm_cases,
             mistakes=_NORM_MISTAKES),
    Exercise("15.2", "gated_width", reference=_gated_width,
             cases=lambda rng: [(16384, 256), (48, 16), (3072, 1), (500, 64), (3 * 352, 64)],
             mistakes=_WIDTH_MISTAKES, tolerance=0),
    Exercise("15.3", "longest_context", reference=_longest_context,
             cases=lambda rng: [(2**30 + 5, 32, 32, 8, 4096, 2), (10**6, 4, 6, 2, 96, 4),
                                (2**33, 80, 64, 8, 8192, 1)],
             mistakes=_CONTEXT_MISTAKES, tolerance=0),
    Exercise("15.4", "grouped_scores", reference=_grouped_scores,
             cases=lambda rng: [(rng.normal(size=(H, 3, 5)), rng.normal(size=(kv, 3, 5)))
                                for H, kv in ((6, 3), (4, 2), (8, 2), (4, 4))],
             mistakes=_SCORES_MISTAKES),
    Exercise("15.5", "fewer_parameters", reference=_LINEAR + _NORMS, mistakes=_BIAS_MISTAKES,
             tolerance=0),
]
