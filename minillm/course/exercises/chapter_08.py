"""Exercises of chapter 8: generating."""

import numpy as np

from minillm.course.checking import Exercise, Mistake


def _softmax(S, axis=-1):
    with np.errstate(invalid="ignore"):  # a row of only -inf: one of the mistakes
        e = np.exp(S - S.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


# ---- 8.1 draw_token


def _draw_token(p, u):
    return int(np.sum(np.cumsum(p) <= u))


def _draw_from_sorted(p, u):
    order = np.argsort(-p, kind="stable")
    return int(order[np.sum(np.cumsum(p[order]) <= u)])


def _rank_in_sorted(p, u):
    return int(np.sum(np.cumsum(np.sort(p)[::-1]) <= u))


def _draw_cases(rng):
    p = np.array([0.5, 0.125, 0.0, 0.25, 0.125])
    cases = [(p, u) for u in (0.0, 0.3, 0.5, 0.55, 0.625, 0.7, 0.875, 0.99)]
    cases += [(np.array([0.0, 0.25, 0.75]), u) for u in (0.0, 0.2, 0.25)]
    q = rng.dirichlet(np.ones(9))
    return cases + [(q, u) for u in rng.random(12)]


DRAW = Exercise(
    "8.1", "draw_token", _draw_token, cases=_draw_cases,
    mistakes=[
        Mistake("That is greedy decoding: u has no influence. Which piece of the interval does it "
                "fall into?", wrong=lambda p, u: int(np.argmax(p))),
        Mistake("A u exactly on a boundary belongs to the piece on its right, because a piece includes "
                "its left end (in searchsorted: side=\"right\"). Yours could draw a token of "
                "probability 0.", wrong=lambda p, u: int(np.sum(np.cumsum(p) < u))),
        Mistake("Return one token, not all whose pieces end behind u: the first of them.",
                when=lambda got, want, p, u: np.ndim(got) == 1
                and np.asarray(got).dtype.kind in "iu"),
        Mistake("You return a probability. Return the token, its index.",
                when=lambda got, want, p, u: np.ndim(got) == 0 and float(got) in p.tolist()
                and float(got) != int(got)),
        Mistake("You count the pieces that end *behind* u. Those that end at or before it are the ones "
                "to its left, and their number is the token.",
                wrong=lambda p, u: int(np.sum(np.cumsum(p) > u))),
        Mistake("You search among the probabilities themselves. Add them up first: the pieces lie end "
                "to end.", wrong=lambda p, u: int(np.searchsorted(p, u))),
        Mistake("You search among the probabilities themselves. Add them up first: the pieces lie end "
                "to end.", wrong=lambda p, u: int(np.searchsorted(p, u, side="right"))),
        Mistake("You return the position in the sorted list. Sorting isn't needed; if you sort, "
                "translate the position back into a token.", wrong=_rank_in_sorted),
        Mistake("The pieces lie in the order of the tokens, not sorted. (Sorted pieces would be a "
                "right sampler as well, but the check compares single draws.)",
                wrong=_draw_from_sorted),
        Mistake("The token is one too large: the *number* of pieces that end at or before u is "
                "already the index of the next one.",
                wrong=lambda p, u: int(np.sum(np.cumsum(p) <= u)) + 1),
        Mistake("The token is one too small: you return the last piece that ends before u, not the "
                "piece that holds it.", wrong=lambda p, u: int(np.sum(np.cumsum(p) <= u)) - 1),
        Mistake("You look for the token whose own probability exceeds u. Add up the probabilities "
                "first: the pieces lie end to end.",
                wrong=lambda p, u: int(np.argmax(p > u))),
        Mistake("You look for the token whose own probability is nearest to u. Add up the "
                "probabilities first: the pieces lie end to end.",
                wrong=lambda p, u: int(np.argmin(np.abs(p - u)))),
        Mistake("You take the nearest boundary instead of the piece around u.",
                wrong=lambda p, u: int(np.argmin(np.abs(np.cumsum(p) - u)))),
        Mistake("If u lies in the first piece, no piece ends before it, and there is no last one to "
                "take. Count the pieces that end at or before u; there may be none.",
                wrong=lambda p, u: int(np.flatnonzero(np.cumsum(p) <= u)[-1]) + 1),
        Mistake("You measure u from the right: the first token's piece begins at 0.",
                wrong=lambda p, u: int(np.sum(np.cumsum(p) <= 1 - u))),
        Mistake("You draw uniformly: each token gets a piece of the same length. The pieces are as "
                "long as the probabilities.", wrong=lambda p, u: int(u * len(p))),
        Mistake("Return the token, an integer; this is a truth value for every token. Where is the "
                "first True?",
                when=lambda got, want, p, u: np.shape(got) == p.shape
                and np.asarray(got).dtype == bool),
    ],
)


# ---- 8.2 nucleus


def _nucleus(p, mass):
    order = np.argsort(-p)
    before = np.cumsum(p[order]) - p[order]
    return _keep(p, order[before < mass])


def _keep(p, tokens, normalize=True):
    q = np.zeros_like(p)
    q[tokens] = p[tokens]
    total = q.sum()
    return q / total if normalize and total > 0 else q


def _without_the_crossing_one(p, mass):
    order = np.argsort(-p)
    return _keep(p, order[np.cumsum(p[order]) <= mass])


def _divided_by_sum(q):
    with np.errstate(invalid="ignore"):  # 0 / 0, where nothing is kept
        return q / q.sum()


def _without_the_crossing_one_nan(p, mass):
    order = np.argsort(-p)
    q = _keep(p, order[np.cumsum(p[order]) <= mass], normalize=False)
    return _divided_by_sum(q)


def _short_result(p, mass):
    q = np.sort(_nucleus(p, mass))[::-1]
    return q[q > 0]


def _tokens_only(p, mass):
    order = np.argsort(-p)
    return order[np.cumsum(p[order]) - p[order] < mass]


def _share_of_tokens(p, mass):
    return _keep(p, np.argsort(-p)[: int(mass * len(p))])


def _above_mass(p, mass):
    return _divided_by_sum(np.where(p > mass, p, 0))


def _at_least_one(p, mass):
    order = np.argsort(-p)
    return _keep(p, order[: max(1, np.sum(np.cumsum(p[order]) <= mass))])


def _one_more(p, mass):
    order = np.argsort(-p)
    before = np.cumsum(p[order]) - p[order]
    return _keep(p, order[: np.sum(before < mass) + 1])


def _not_normalized(p, mass):
    order = np.argsort(-p)
    return _keep(p, order[np.cumsum(p[order]) - p[order] < mass], normalize=False)


def _unlikeliest(p, mass):
    order = np.argsort(p)
    return _keep(p, order[np.cumsum(p[order]) - p[order] < mass])


def _unsorted(p, mass):
    return _keep(p, np.flatnonzero(np.cumsum(p) - p < mass))


def _mask_in_sorted_order(p, mass):
    descending = np.sort(p)[::-1]
    return _keep(p, np.flatnonzero(np.cumsum(descending) - descending < mass))


def _sorted_result(p, mass):
    descending = np.sort(p)[::-1]
    return _keep(descending, np.flatnonzero(np.cumsum(descending) - descending < mass))


def _softmax_again(p, mass):
    kept = _nucleus(p, mass) > 0
    return _softmax(np.where(kept, p, -np.inf))


def _with_zeros(p, mass):
    return _softmax(np.where(_nucleus(p, mass) > 0, p, 0))


def _min_p(p, mass):
    return _keep(p, np.flatnonzero(p >= (1 - mass) * p.max()))


def _threshold(p, mass):
    return _keep(p, np.flatnonzero(p >= 1 - mass))


NUCLEUS = Exercise(
    "8.2", "nucleus", _nucleus,
    cases=lambda rng: [
        (np.array([0.1, 0.55, 0.05, 0.3]), 0.8),
        (np.array([0.1, 0.55, 0.05, 0.3]), 0.5),
        (np.array([0.02, 0.9, 0.08]), 0.7),
        *[(rng.dirichlet(np.full(12, 0.5)), mass) for mass in (0.3, 0.6, 0.9, 0.95)],
    ],
    mistakes=[
        Mistake("The kept probabilities don't add up to 1: divide them by their sum.",
                wrong=_not_normalized),
        Mistake("The token that crosses the mark is missing, so that the nucleus adds up to less "
                "than `mass`; if the first token alone exceeds it, nothing is left.",
                wrong=_without_the_crossing_one),
        Mistake("The token that crosses the mark is missing, so that the nucleus adds up to less "
                "than `mass`; if the first token alone exceeds it, nothing is left.",
                wrong=_without_the_crossing_one_nan),
        Mistake("You return only the kept probabilities. Return one number for each of the V tokens, "
                "0 for those outside.", wrong=_short_result),
        Mistake("You return the tokens. Return their probabilities, in an array of V numbers, 0 for "
                "those outside.", wrong=_tokens_only),
        Mistake("You return which tokens are in the nucleus. Return their probabilities, divided by "
                "their sum.", when=lambda got, want, p, mass: np.asarray(got).dtype == bool),
        Mistake("A value of -inf is a score, not a probability: a token outside the nucleus has "
                "probability 0.",
                when=lambda got, want, p, mass: np.array_equal(np.isfinite(got), want > 0)),
        Mistake("You divide by `mass`. The kept probabilities add up to `mass` or more: divide by their "
                "own sum.", wrong=lambda p, mass: _not_normalized(p, mass) / mass),
        Mistake("You keep a share of the *number* of tokens. `mass` is a share of the probability.",
                wrong=_share_of_tokens),
        Mistake("You keep the first token, but the one that crosses the mark is missing in the other "
                "cases: the nucleus must add up to `mass` or more.", wrong=_at_least_one),
        Mistake("One token too many: the nucleus had reached `mass` before it.", wrong=_one_more),
        Mistake("You begin with the least likely tokens. np.argsort is ascending; sort -p.",
                wrong=_unlikeliest),
        Mistake("You add up the probabilities in the order of the ids. The *likeliest* tokens come "
                "first: sort them.", wrong=_unsorted),
        Mistake("The mask belongs to the sorted probabilities, but you apply it to the unsorted ones. "
                "Use the order to find the tokens again.", wrong=_mask_in_sorted_order),
        Mistake("The result is sorted. Put each probability back to its token's place.",
                wrong=_sorted_result),
        Mistake("You take a softmax of probabilities, which flattens them. They only have to be "
                "divided by their sum.", wrong=_softmax_again),
        Mistake("A score of 0 isn't probability 0: a softmax over zeros gives every token a part. "
                "Divide the kept probabilities by their sum; no softmax is needed.",
                wrong=_with_zeros),
        Mistake("That is min-p, a share of the best token's probability. Top-p adds probabilities "
                "up.", wrong=_min_p),
        Mistake("That is min-p, a share of the best token's probability. Top-p adds probabilities "
                "up.", wrong=lambda p, mass: _keep(p, np.flatnonzero(p >= mass * p.max()))),
        Mistake("You compare each single probability with `mass`. Top-p adds them up, from the "
                "likeliest on.", wrong=_above_mass),
        Mistake("You compare each single probability with a threshold. Top-p adds them up, from the "
                "likeliest on.", wrong=_threshold),
    ],
)


# ---- 8.3 attend_with_cache (a planted bug)


def _attend(Q, K, V, offset=None, scale=None, axis=-1, hidden=-np.inf, strict=0):
    S = Q @ K.T / np.sqrt(Q.shape[1] if scale is None else scale)
    offset = K.shape[0] - Q.shape[0] if offset is None else offset
    visible = np.tril(np.ones(S.shape, bool), k=offset + strict)
    return _softmax(np.where(visible, S, hidden), axis) @ V


def _attend_with_cache(Q, K, V):
    return _attend(Q, K, V)


def _mask_after_softmax(Q, K, V):
    P = _softmax(Q @ K.T / np.sqrt(Q.shape[1]))
    return np.tril(P, k=K.shape[0] - Q.shape[0]) @ V


def _upper(Q, K, V):
    S = Q @ K.T / np.sqrt(Q.shape[1])
    visible = np.triu(np.ones(S.shape, bool), k=K.shape[0] - Q.shape[0])
    return _softmax(np.where(visible, S, -np.inf)) @ V


def _no_softmax(Q, K, V):
    return np.tril(Q @ K.T / np.sqrt(Q.shape[1]), k=K.shape[0] - Q.shape[0]) @ V


def _weights(Q, K, V):
    return _attend(Q, K, np.eye(K.shape[0]))


def _inverted(Q, K, V):
    S = Q @ K.T / np.sqrt(Q.shape[1])
    visible = np.tril(np.ones(S.shape, bool), k=K.shape[0] - Q.shape[0])
    return _softmax(np.where(visible, -np.inf, S)) @ V


def _hides_the_cache(Q, K, V):
    new = Q.shape[0]
    return _attend(Q, K[-new:], V[-new:])


def _cases_of_attention(rng):
    def one(Tq, Tk, D):
        return rng.normal(size=(Tq, D)), rng.normal(size=(Tk, D)), rng.normal(size=(Tk, D))
    return [one(3, 5, 4), one(4, 4, 2), one(1, 6, 4), one(2, 7, 8)]


CACHE_MASK = Exercise(
    "8.3", "attend_with_cache", _attend_with_cache, cases=_cases_of_attention,
    mistakes=[
        Mistake("The function still has its bug: new token 0 sees only key 0, though the whole cache "
                "lies to its left. Which position does new token i have?",
                wrong=lambda Q, K, V: _attend(Q, K, V, offset=0)),
        Mistake("Without a mask, the new tokens see each other's future. With more than one of them, "
                "that is wrong.", wrong=lambda Q, K, V: _attend(Q, K, V, offset=K.shape[0])),
        Mistake("The diagonal is one too far to the right: each token sees the one after it.",
                wrong=lambda Q, K, V: _attend(Q, K, V, strict=1)),
        Mistake("The diagonal is one too far to the left: a token must see itself.",
                wrong=lambda Q, K, V: _attend(Q, K, V, strict=-1)),
        Mistake("The diagonal is moved to the left. The sign of k: the cache lies to the left of the "
                "new tokens, so the diagonal moves to the right.",
                wrong=lambda Q, K, V: _attend(Q, K, V, offset=Q.shape[0] - K.shape[0])),
        Mistake("The offset is the length of the cache, Tk - Tq; you moved the diagonal by Tq.",
                wrong=lambda Q, K, V: _attend(Q, K, V, offset=Q.shape[0])),
        Mistake("That mask is upside down: it shows the future and hides the past.", wrong=_upper),
        Mistake("The scores are hidden after the softmax, so the weights of a row don't add up to 1. "
                "Mask before it.", wrong=_mask_after_softmax),
        Mistake("A score of 0 hides nothing: e^0 is 1. Hidden scores are -inf.",
                wrong=lambda Q, K, V: _attend(Q, K, V, hidden=0.0)),
        Mistake("You softmaxed over the queries, axis 0. The weights of one query sum to 1, over the "
                "keys.", wrong=lambda Q, K, V: _attend(Q, K, V, axis=0)),
        Mistake("The scores are divided by the square root of the number of keys. It is that of the "
                "width D.", wrong=lambda Q, K, V: _attend(Q, K, V, scale=K.shape[0])),
        Mistake("The scores aren't scaled: divide them by the square root of D, as before.",
                wrong=lambda Q, K, V: _attend(Q, K, V, scale=1)),
        Mistake("The scores are divided by D instead of its square root.",
                wrong=lambda Q, K, V: _attend(Q, K, V, scale=Q.shape[1] ** 2)),
        Mistake("The scores are multiplied by the square root of D. Divide.",
                wrong=lambda Q, K, V: _attend(Q, K, V, scale=1 / Q.shape[1])),
        Mistake("There is no softmax: scores may be negative, and their sum isn't 1.",
                wrong=_no_softmax),
        Mistake("You return the weights. Multiply them by V.", wrong=_weights),
        Mistake("The weights are scaled after the softmax, so that they don't add up to 1. Scale the "
                "scores.", wrong=lambda Q, K, V: _attend(Q, K, V, scale=1) / np.sqrt(Q.shape[1])),
        Mistake("You return the last new token only. There is a row for each of them.",
                wrong=lambda Q, K, V: _attend(Q, K, V)[-1]),
        Mistake("A hidden score must be -inf, or so low that its exponential is 0; yours still gets "
                "some weight.", wrong=lambda Q, K, V: _attend(Q, K, V, hidden=-10.0)),
        Mistake("The arguments of np.where are swapped: the visible scores stay, the others become -inf.",
                wrong=_inverted),
        Mistake("You attend to the new keys only. The cached ones are the past, and visible to all.",
                wrong=_hides_the_cache),
    ],
)


# ---- 8.4 bytes_of_cache (a prediction)

_BYTES = 2 * 48 * 1024 * 1600 * 2 * 8

CACHE_BYTES = Exercise(
    "8.4", "bytes_of_cache", _BYTES,
    mistakes=[
        Mistake("That is half of it. Two things count twice: keys *and* values are kept, and a float16 "
                "number has two bytes.", wrong=_BYTES // 2),
        Mistake("That is a quarter of it: keys *and* values are kept, and a float16 number has two "
                "bytes.", wrong=_BYTES // 4),
        Mistake("That is with four bytes a number. float16 takes two.", wrong=_BYTES * 2),
        Mistake("That is for one sequence. Eight are generated at once, each with its own cache.",
                wrong=_BYTES // 8),
        Mistake("That is for one layer. Each of the 48 has its own keys and values.",
                wrong=_BYTES // 48),
        Mistake("You multiplied by the 25 heads. They divide the 1600 numbers among themselves: "
                "25 heads of 64.", wrong=_BYTES * 25),
        Mistake("You took the width of one head, 64. There are 25 of them, 1600 numbers together.",
                wrong=_BYTES // 25),
        Mistake("You counted bits. A byte has eight.", wrong=_BYTES * 8),
        Mistake("You squared the length: that is the matrix of weights, which no cache holds. Keys and "
                "values have one row for each token.", wrong=_BYTES * 1024),
        Mistake("That is one token's share. The cache holds 1024 of them for each sequence.",
                wrong=_BYTES // 1024),
        Mistake("That is four times as much: eight bytes a number? float16 takes two.",
                wrong=_BYTES * 4),
        Mistake("Only one of keys and values, and only one layer. Both are kept, in all 48.",
                wrong=_BYTES // 96),
        Mistake("Also the queries? They aren't kept: an old query is needed by no later token.",
                wrong=_BYTES // 2 * 3),
        Mistake("The number is right in gigabytes, but the question asks for bytes.",
                when=lambda got, want: 2.3 < got < 2.6),
        Mistake("The number is right in megabytes, but the question asks for bytes.",
                when=lambda got, want: 2390 < got < 2530),
    ],
)


# ---- 8.5 beam_step


def _beam_step(scores, log_probs, width):
    return _best_of(scores[:, None] + log_probs, width)


def _best_of(totals, width):
    best = np.argsort(-totals, axis=None, kind="stable")[:width]
    beams, tokens = np.divmod(best, totals.shape[1])
    return beams, tokens, totals[beams, tokens]


def _without_old_scores(scores, log_probs, width):
    return _best_of(log_probs, width)


def _last_score_only(scores, log_probs, width):
    beams, tokens, _ = _beam_step(scores, log_probs, width)
    return beams, tokens, log_probs[beams, tokens]


def _products(scores, log_probs, width):
    return _best_of(scores[:, None] * log_probs, width)


def _probabilities(scores, log_probs, width):
    return _best_of(scores[:, None] + np.exp(log_probs), width)


def _worst(scores, log_probs, width):
    totals = scores[:, None] + log_probs
    best = np.argsort(totals, axis=None, kind="stable")[:width]
    beams, tokens = np.divmod(best, totals.shape[1])
    return beams, tokens, totals[beams, tokens]


def _worst_first(scores, log_probs, width):
    return tuple(part[::-1] for part in _beam_step(scores, log_probs, width))


def _one_each(scores, log_probs, width):
    tokens = log_probs.argmax(axis=1)
    totals = scores + log_probs.max(axis=1)
    order = np.argsort(-totals, kind="stable")[:width]
    return order, tokens[order], totals[order]


def _divided_by_beams(scores, log_probs, width):
    totals = scores[:, None] + log_probs
    best = np.argsort(-totals, axis=None, kind="stable")[:width]
    tokens, beams = np.divmod(best, totals.shape[0])
    return beams, tokens, np.sort(totals, axis=None)[::-1][:width]


def _swapped(scores, log_probs, width):
    beams, tokens, totals = _beam_step(scores, log_probs, width)
    return tokens, beams, totals


def _best_beam_only(scores, log_probs, width):
    beam = int(np.argmax(scores))
    tokens = np.argsort(-log_probs[beam], kind="stable")[:width]
    return np.full(width, beam), tokens, scores[beam] + log_probs[beam, tokens]


def _flat_index(scores, log_probs, width):
    totals = scores[:, None] + log_probs
    best = np.argsort(-totals, axis=None, kind="stable")[:width]
    return best // totals.shape[1], best, np.sort(totals, axis=None)[::-1][:width]


def _as_probabilities(scores, log_probs, width):
    beams, tokens, totals = _beam_step(scores, log_probs, width)
    return beams, tokens, np.exp(totals)


def _divided_by_width(scores, log_probs, width):
    totals = (scores[:, None] + log_probs).ravel()
    best = np.argsort(-totals, kind="stable")[:width]
    return best // width, best % width, totals[best]


def _transposed(scores, log_probs, width):
    totals = (scores + log_probs.T).ravel()
    best = np.argsort(-totals, kind="stable")[:width]
    return *np.divmod(best, log_probs.shape[1]), totals[best]


def _means(scores, log_probs, width):
    return _best_of((scores[:, None] + log_probs) / 2, width)


def _cases_of_beams(rng):
    cases = []
    for k, V, width in ((2, 5, 2), (3, 7, 4), (1, 6, 3), (4, 9, 4)):
        scores = -np.sort(rng.exponential(1.0, size=k))
        log_probs = np.log(_softmax(rng.normal(size=(k, V)) * 2))
        cases.append((scores, log_probs, width))
    cases.append((np.array([-0.1, -8.0]), np.log(_softmax(rng.normal(size=(2, 6)))), 2))
    cases.append((np.array([-5.0, -0.2, -3.0]), np.log(_softmax(rng.normal(size=(3, 5)))), 2))
    return cases


BEAM = Exercise(
    "8.5", "beam_step", _beam_step, cases=_cases_of_beams,
    mistakes=[
        Mistake("The scores of the beams are missing: a candidate's score is that of its beam plus "
                "the log probability of its token.", wrong=_without_old_scores),
        Mistake("The right beams and tokens, but their scores lack what the beams had before: return "
                "the sums.", wrong=_last_score_only),
        Mistake("You multiply log probabilities. Probabilities multiply, so their logarithms add.",
                wrong=_products),
        Mistake("You add probabilities to log probabilities. Leave log_probs as they are.",
                wrong=_probabilities),
        Mistake("Those are the worst candidates. np.argsort is ascending; sort the negative totals.",
                wrong=_worst),
        Mistake("The right candidates, worst first. The order is best first.", wrong=_worst_first),
        Mistake("You keep the best token of each beam. The candidates of all beams compete together: "
                "one beam may get several places, another none.", wrong=_one_each),
        Mistake("You keep the best token of each beam. The candidates of all beams compete together: "
                "one beam may get several places, another none.",
                wrong=lambda scores, log_probs, width: (
                    np.arange(len(scores)), log_probs.argmax(axis=1),
                    scores + log_probs.max(axis=1))),
        Mistake("You extend the best beam only. The others are kept because they may overtake it.",
                wrong=_best_beam_only),
        Mistake("The flat index is divided by the number of beams. A row of the table has V entries: "
                "divide by V.", wrong=_divided_by_beams),
        Mistake("The tokens are indices into the flattened table. The remainder of the division by V "
                "is the token.", wrong=_flat_index),
        Mistake("Beams and tokens are swapped: first the beams, then the tokens, then the scores.",
                wrong=_swapped),
        Mistake("You take means of the scores. Within a step all candidates are equally long: the sum "
                "decides, and the next step needs it.", wrong=_means),
        Mistake("The scores are probabilities. Return their logarithms: the next step adds to them.",
                wrong=_as_probabilities),
        Mistake("You return one triple for each beam. Return three arrays: all beams, all tokens, all "
                "scores.", when=lambda got, want, scores, log_probs, width: len(got) == width
                and all(np.shape(one) == (3,) for one in got)),
        Mistake("The flat index is divided by the width. A row of the table has V entries: divide by "
                "V.", wrong=_divided_by_width),
        Mistake("The table is transposed before it is flattened, so that the division by V finds other "
                "beams and tokens. Its rows are the beams.", wrong=_transposed),
        Mistake("You return more or fewer than `width` candidates.",
                when=lambda got, want, scores, log_probs, width: len(got) == 3
                and len({len(part) for part in got}) == 1 and len(got[0]) != width),
        Mistake("Return three things: the beams, the tokens and the scores.",
                when=lambda got, want, *arguments: not (isinstance(got, (tuple, list))
                                                        and len(got) == 3)),
    ],
)


# ---- 8.6 perplexity


def _perplexity(log_p, mask):
    return float(np.exp(-log_p[mask].mean()))


def _row_means(log_p, mask):
    return np.array([-row[real].mean() for row, real in zip(log_p, mask)])


def _two_logarithms(log_p, mask):
    with np.errstate(invalid="ignore"):
        return np.exp(-np.log(log_p[mask]).mean())


PERPLEXITY = Exercise(
    "8.6", "perplexity", _perplexity,
    cases=lambda rng: [
        (np.log(rng.uniform(0.05, 0.9, size=(2, 4))),
         np.array([[True] * 4, [False, False, True, True]])),
        (np.log(rng.uniform(0.05, 0.9, size=(3, 6))),
         np.array([[True] * 6, [False] * 5 + [True], [False] * 2 + [True] * 4])),
        (np.log(rng.uniform(0.2, 0.9, size=(1, 5))), np.array([[False, True, True, True, True]])),
    ],
    mistakes=[
        Mistake("The padding counts, too. Take only the places where mask is True.",
                wrong=lambda log_p, mask: np.exp(-log_p.mean())),
        Mistake("You set the padding to 0, but divide by all places. Divide the sum by the number of "
                "real tokens.", wrong=lambda log_p, mask: np.exp(-np.where(mask, log_p, 0).mean())),
        Mistake("The sign: log probabilities are negative, the loss is their mean with the other sign, "
                "and a perplexity is at least 1.",
                wrong=lambda log_p, mask: np.exp(log_p[mask].mean())),
        Mistake("You took the sum: that is 1 / p of the whole text, and grows with its length. The "
                "perplexity is that of one token: take the mean.",
                wrong=lambda log_p, mask: np.exp(-log_p[mask].sum())),
        Mistake("You took the mean of each row first. A token of a short row then counts more: take "
                "one mean over all real tokens.",
                wrong=lambda log_p, mask: np.exp(_row_means(log_p, mask).mean())),
        Mistake("A mean of perplexities. Average the logarithms, and exponentiate once, at the end.",
                wrong=lambda log_p, mask: np.exp(_row_means(log_p, mask)).mean()),
        Mistake("You averaged 1 / p. Average the logarithms, and exponentiate at the end.",
                wrong=lambda log_p, mask: np.exp(-log_p[mask]).mean()),
        Mistake("You averaged the probabilities. Average their logarithms: the probability of a text "
                "is a product.", wrong=lambda log_p, mask: 1 / np.exp(log_p[mask]).mean()),
        Mistake("That is the loss. The perplexity is e to the power of it.",
                wrong=lambda log_p, mask: -log_p[mask].mean()),
        Mistake("The logarithms are natural ones, so the base is e, not 2.",
                wrong=lambda log_p, mask: 2 ** (-log_p[mask].mean())),
        Mistake("You return one number for each token. Take their mean before you exponentiate.",
                wrong=lambda log_p, mask: np.exp(-log_p[mask])),
        Mistake("You divide the sum by the number of rows. Divide it by the number of real tokens.",
                wrong=lambda log_p, mask: np.exp(-log_p[mask].sum() / len(log_p))),
        Mistake("You divide the sum by the length of a row. Divide it by the number of real tokens.",
                wrong=lambda log_p, mask: np.exp(-log_p[mask].sum() / mask.shape[1])),
        Mistake("You exponentiate twice. log_p holds logarithms: take their mean first.",
                wrong=lambda log_p, mask: np.exp(-np.exp(log_p[mask]).mean())),
        Mistake("You take a logarithm again, and of negative numbers. log_p holds logarithms already.",
                wrong=_two_logarithms),
        Mistake("One number for all real tokens together, not one for each row.",
                when=lambda got, want, log_p, mask: np.shape(got) == (len(log_p),)
                and len(log_p) > 0),
        Mistake("The mask is the wrong way round: it is True at real tokens.",
                wrong=lambda log_p, mask: np.exp(-log_p[~mask].mean())),
    ],
)

EXERCISES = [DRAW, NUCLEUS, CACHE_MASK, CACHE_BYTES, BEAM, PERPLEXITY]
