"""The exercises of chapter 9: what circuits form."""

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 9.1


def _guess(ids, earlier, offset=1):
    """The token `offset` after one of the earlier copies of the last token, or -1"""
    copies = [j for j in range(len(ids) - 1) if ids[j] == ids[-1]]
    return int(ids[earlier(copies) + offset]) if copies else -1


def _followers(ids):
    return [int(ids[j + 1]) for j in range(len(ids) - 1) if ids[j] == ids[-1]]


def _induction_guess(ids):
    return _guess(ids, max)


def _first_copy(ids):
    return _guess(ids, min)


def _copy_itself(ids):
    return _guess(ids, max, offset=0)


def _before_copy(ids):
    return _guess(ids, max, offset=-1)


def _two_after(ids):
    copies = [j for j in range(len(ids) - 1) if ids[j] == ids[-1]]
    return int(ids[min(max(copies) + 2, len(ids) - 1)]) if copies else -1


def _position(ids):
    copies = [j for j in range(len(ids) - 1) if ids[j] == ids[-1]]
    return max(copies) + 1 if copies else -1


def _most_frequent(ids):
    following = [int(ids[j + 1]) for j in range(len(ids) - 1) if ids[j] == ids[-1]]
    return max(following, key=following.count) if following else -1


def _last_token_when_missing(ids):
    guess = _induction_guess(ids)
    return int(ids[-1]) if guess == -1 else guess


def _zero_when_missing(ids):
    return max(_induction_guess(ids), 0)


def _stops_too_early(ids):
    """The copy right before the last token is never found."""
    copies = [j for j in range(len(ids) - 2) if ids[j] == ids[-1]]
    return int(ids[max(copies) + 1]) if copies else -1


def _guess_cases(rng):
    return [(np.array(ids),) for ids in (
        [7, 3, 9, 7], [5, 1, 5, 2, 8, 5, 2, 4, 5], [1, 2, 3, 4], [6, 9, 6, 3, 6, 9, 6, 1, 6],
        [3, 8, 8], [4, 2, 4, 2, 4, 5, 6, 1, 0, 4], [2])]


# ---- 9.2


def _duplicate(P, ids, copies=None, mean=True):
    if copies is None:
        copies = (ids[:, None] == ids) & np.tri(len(ids), k=-1, dtype=bool)
    weight = np.where(copies, P, 0).sum(axis=2)
    return weight[:, copies.any(axis=1)].mean(axis=1) if mean else weight


def _duplicate_score(P, ids):
    return _duplicate(P, ids)


def _with_diagonal(P, ids):
    return _duplicate(P, ids, (ids[:, None] == ids) & np.tri(len(ids), dtype=bool))


def _diagonal_in_the_weight(P, ids):
    """The diagonal counts, but the queries are those with an earlier copy."""
    copies = (ids[:, None] == ids) & np.tri(len(ids), k=-1, dtype=bool)
    with_itself = (ids[:, None] == ids) & np.tri(len(ids), dtype=bool)
    return np.where(with_itself, P, 0).sum(axis=2)[:, copies.any(axis=1)].mean(axis=1)


def _over_all_queries(P, ids):
    return _duplicate(P, ids, mean=False).mean(axis=1)


def _over_all_keys(P, ids):
    copies = (ids[:, None] == ids) & np.tri(len(ids), k=-1, dtype=bool)
    return P[:, copies].mean(axis=1)


def _sum_of_weights(P, ids):
    return _duplicate(P, ids, mean=False).sum(axis=1)


def _after_the_copy(P, ids):
    follows = np.zeros((len(ids), len(ids)), bool)
    follows[:, 1:] = ids[:, None] == ids[:-1]
    return _duplicate(P, ids, follows & np.tri(len(ids), dtype=bool))


def _queries_and_keys_exchanged(P, ids):
    return _duplicate(P.swapaxes(1, 2), ids)


def _mean_over_heads(P, ids):
    return np.full(len(P), _duplicate(P, ids).mean())


def _largest_weight(P, ids):
    copies = (ids[:, None] == ids) & np.tri(len(ids), k=-1, dtype=bool)
    return np.where(copies, P, 0).max(axis=2)[:, copies.any(axis=1)].mean(axis=1)


def _last_copy_only(P, ids):
    weights = []
    for t in range(len(ids)):
        earlier = np.flatnonzero(ids[:t] == ids[t])
        if len(earlier):
            weights.append(P[:, t, earlier[-1]])
    return np.mean(weights, axis=0)


def _duplicate_cases(rng):
    cases = []
    for H, ids in ((2, [3, 1, 4, 1, 5, 3, 1]), (3, [0, 0, 2, 0, 1, 2])):
        T = len(ids)
        P = rng.random((H, T, T)) * np.tri(T)
        cases.append((P / P.sum(axis=2, keepdims=True), np.array(ids)))
    return cases


# ---- 9.4


def _scores(query, key, W_Q2):
    return query @ key.T / np.sqrt(W_Q2.shape[1])


def _composed_scores(E, W_Q2, W_K2, W_V1, W_O1):
    return _scores(E @ W_Q2, E @ W_V1 @ W_O1 @ W_K2, W_Q2)


def _on_the_query(E, W_Q2, W_K2, W_V1, W_O1):
    return _scores(E @ W_V1 @ W_O1 @ W_Q2, E @ W_K2, W_Q2)


def _on_both(E, W_Q2, W_K2, W_V1, W_O1):
    moved = E @ W_V1 @ W_O1
    return _scores(moved @ W_Q2, moved @ W_K2, W_Q2)


def _on_neither(E, W_Q2, W_K2, W_V1, W_O1):
    return _scores(E @ W_Q2, E @ W_K2, W_Q2)


def _with_itself(E, W_Q2, W_K2, W_V1, W_O1):
    return _scores(E @ W_Q2, (E + E @ W_V1 @ W_O1) @ W_K2, W_Q2)


def _exchanged(E, W_Q2, W_K2, W_V1, W_O1):
    return _scores(E @ W_K2, E @ W_V1 @ W_O1 @ W_Q2, W_Q2)


def _query_with_both(E, W_Q2, W_K2, W_V1, W_O1):
    moved = E @ W_V1 @ W_O1
    return _scores((E + moved) @ W_Q2, moved @ W_K2, W_Q2)


def _output_first(E, W_Q2, W_K2, W_V1, W_O1):
    return _scores(E @ W_Q2, E @ W_O1.T @ W_V1.T @ W_K2, W_Q2)


def _circuit_cases(rng):
    return [(rng.normal(size=(V, d)), *rng.normal(size=(3, d, D)), rng.normal(size=(D, d)))
            for V, d, D in ((7, 6, 3), (5, 8, 4))]


# ---- 9.5


def _mean_ablation(head):
    return np.broadcast_to(head.mean(axis=(0, 1)), head.shape)


def _spread(axis):
    return lambda head: np.broadcast_to(head.mean(axis=axis, keepdims=True), head.shape)


# ---- 9.6


def _norm(matrix):
    return np.sqrt((matrix**2).sum())


def _k_composition(W_Q2, W_K2, W_V1, W_O1):
    W_QK, W_OV = W_Q2 @ W_K2.T, W_V1 @ W_O1
    return _norm(W_QK @ W_OV.T) / (_norm(W_QK) * _norm(W_OV))


def _q_composition(W_Q2, W_K2, W_V1, W_O1):
    return _k_composition(W_K2, W_Q2, W_V1, W_O1)


def _ov_not_transposed(W_Q2, W_K2, W_V1, W_O1):
    W_QK, W_OV = W_Q2 @ W_K2.T, W_V1 @ W_O1
    return _norm(W_QK @ W_OV) / (_norm(W_QK) * _norm(W_OV))


def _ov_first(W_Q2, W_K2, W_V1, W_O1):
    W_QK, W_OV = W_Q2 @ W_K2.T, W_V1 @ W_O1
    return _norm(W_OV.T @ W_QK) / (_norm(W_QK) * _norm(W_OV))


def _not_normalized(W_Q2, W_K2, W_V1, W_O1):
    return _norm(W_Q2 @ W_K2.T @ (W_V1 @ W_O1).T)


def _spectral(W_Q2, W_K2, W_V1, W_O1):
    W_QK, W_OV = W_Q2 @ W_K2.T, W_V1 @ W_O1
    return (np.linalg.norm(W_QK @ W_OV.T, 2)
            / (np.linalg.norm(W_QK, 2) * np.linalg.norm(W_OV, 2)))


def _one_norm_missing(W_Q2, W_K2, W_V1, W_O1):
    W_QK, W_OV = W_Q2 @ W_K2.T, W_V1 @ W_O1
    return _norm(W_QK @ W_OV.T) / _norm(W_QK)


def _four_norms(W_Q2, W_K2, W_V1, W_O1):
    return (_norm(W_Q2 @ W_K2.T @ (W_V1 @ W_O1).T)
            / (_norm(W_Q2) * _norm(W_K2) * _norm(W_V1) * _norm(W_O1)))


def _square(W_Q2, W_K2, W_V1, W_O1):
    return _k_composition(W_Q2, W_K2, W_V1, W_O1) ** 2


def _sum_of_norms(W_Q2, W_K2, W_V1, W_O1):
    W_QK, W_OV = W_Q2 @ W_K2.T, W_V1 @ W_O1
    return _norm(W_QK @ W_OV.T) / (_norm(W_QK) + _norm(W_OV))


def _with_norm(norm, W_Q2, W_K2, W_V1, W_O1, top=None):
    W_QK, W_OV = W_Q2 @ W_K2.T, W_V1 @ W_O1
    return (top or norm)(W_QK @ W_OV.T) / (norm(W_QK) * norm(W_OV))


def _weight_cases(rng):
    return [(*rng.normal(size=(3, d, D)), rng.normal(size=(D, d))) for d, D in ((6, 3), (8, 2))]


EXERCISES = [
    Exercise(
        "9.1", "induction_guess", _induction_guess, cases=_guess_cases,
        mistakes=[
            Mistake("You took the first copy. Take the last one: it is the closest to what comes "
                    "now.", wrong=_first_copy),
            Mistake("You return the copy itself, which is the current token. Return the token that "
                    "followed it.", wrong=_copy_itself),
            Mistake("You return the token before the copy. The pattern goes on with the one after "
                    "it.", wrong=_before_copy),
            Mistake("You went two positions beyond the copy. The next token is one position "
                    "beyond it.", wrong=_two_after),
            Mistake("You return the position of the next token. Return the token there.",
                    wrong=_position),
            Mistake("You return the most frequent follower of all copies. The rule takes the "
                    "follower of the last copy.", wrong=_most_frequent),
            Mistake("Where there is no earlier copy, return -1. Your search finds the last token "
                    "itself: a token is no copy of itself.", wrong=_last_token_when_missing),
            Mistake("Where there is no earlier copy, return -1, not 0: 0 is a token.",
                    wrong=_zero_when_missing),
            Mistake("You always return the last token: the search finds it first. Begin one "
                    "position before it.", wrong=lambda ids: int(ids[-1])),
            Mistake("Your search begins too early in the sequence: the copy may stand right before "
                    "the last token.", wrong=_stops_too_early),
            Mistake("Where there is no earlier copy, return the number -1.",
                    when=lambda got, want, ids: want == -1),
            Mistake("You return -1 although there is an earlier copy of the last token, ids[-1].",
                    when=lambda got, want, ids: np.ndim(got) == 0 and got == -1),
            Mistake("The result is one token, an int.",
                    when=lambda got, want, ids: np.ndim(got) > 0),
            Mistake("The token that you return doesn't follow a copy of the last token. Look for "
                    "ids[-1] among the earlier ones, and return what stands right after it.",
                    when=lambda got, want, ids: got not in _followers(ids)),
            Mistake("You return what followed one of the copies, but not the last of them.",
                    when=lambda got, want, ids: got in _followers(ids)),
        ],
    ),
    Exercise(
        "9.2", "duplicate_score", _duplicate_score, cases=_duplicate_cases,
        mistakes=[
            Mistake("You count the weight of a token on itself, and all queries. Only keys "
                    "j < t are earlier.", wrong=_with_diagonal),
            Mistake("The right queries, but you also count the weight of a token on itself. Only "
                    "keys j < t are earlier.", wrong=_diagonal_in_the_weight),
            Mistake("You average over all queries. Those without an earlier copy have nothing to "
                    "attend to: leave them out of the mean.", wrong=_over_all_queries),
            Mistake("You average over pairs. First sum the weight over the copies of each query, "
                    "then average over the queries.", wrong=_over_all_keys),
            Mistake("You sum over the queries. Take the mean.", wrong=_sum_of_weights),
            Mistake("That is the score of an induction head: the weight on what follows a copy. "
                    "Here the copy itself counts.", wrong=_after_the_copy),
            Mistake("Queries and keys are exchanged. P[h, t, j] is the weight that query t gives "
                    "to key j, and the keys are the last axis.", wrong=_queries_and_keys_exchanged),
            Mistake("You average over the heads too. The result has one number for each head.",
                    wrong=_mean_over_heads),
            Mistake("You count the last copy alone. All earlier copies count.",
                    wrong=_last_copy_only),
            Mistake("The result has one number for each head, shape (H,).",
                    when=lambda got, want, P, ids: np.shape(got) != want.shape),
            Mistake("You take the largest weight of each query. The weights on all its copies "
                    "count: sum them.", wrong=_largest_weight),
            Mistake("You average over all pairs of positions. First sum over the copies of a "
                    "query, then average over the queries that have one.",
                    wrong=lambda P, ids: P.mean(axis=(1, 2))),
            Mistake("You average over pairs, those on the diagonal included. Leave out the "
                    "diagonal, sum over the copies, then average over the queries.",
                    wrong=lambda P, ids: P[:, ids[:, None] == ids].mean(axis=1)),
            Mistake("That is the score of a previous-token head. A copy can be anywhere before.",
                    wrong=lambda P, ids: np.diagonal(P, -1, 1, 2).mean(axis=1)),
            Mistake("A score is a share of the weight, so it is between 0 and 1.",
                    when=lambda got, want, P, ids: np.max(got) > 1 or np.min(got) < 0),
            Mistake("You count all pairs of equal tokens, later keys too. With a causal mask their "
                    "weight is 0, but they decide which queries have a copy: use j < t.",
                    wrong=lambda P, ids: _duplicate(P, ids, (ids[:, None] == ids)
                                                    & ~np.eye(len(ids), dtype=bool))),
        ],
    ),
    Exercise(
        "9.3", "loss_of_guessing", float(np.log(11)), tolerance=7e-4,
        mistakes=[
            Mistake("The current token is one of the 12, and it doesn't follow itself: that leaves "
                    "11.", wrong=float(np.log(12))),
            Mistake("That is the loss of a model that knows nothing at all, ln 32.",
                    wrong=float(np.log(32))),
            Mistake("You left out two tokens. Only the current one is excluded.",
                    wrong=float(np.log(10))),
            Mistake("That is in bits. A nat is 1 / ln 2 bits: take the natural logarithm.",
                    wrong=float(np.log2(11))),
            Mistake("That is the decimal logarithm. The loss is in nats: take the natural one.",
                    wrong=float(np.log10(11))),
            Mistake("The loss is minus the logarithm of the probability, so it is positive.",
                    wrong=-float(np.log(11))),
            Mistake("That is the probability of the right token. The loss is minus its logarithm.",
                    wrong=1 / 11),
            Mistake("That is the perplexity, the number of candidates. The loss is its logarithm.",
                    wrong=11.0),
            Mistake("That is the number of tokens in the block. The loss is the logarithm of the "
                    "number of candidates.", wrong=12.0),
            Mistake("That is how much better the model is than one that knows nothing. The loss "
                    "itself is asked for.", wrong=float(np.log(32 / 11))),
            Mistake("That is the probability of a wrong token, or of a token to be in the block. "
                    "The loss is minus the logarithm of the probability of the right one.",
                    when=lambda got, want: any(abs(got - p) < 1e-3 for p in
                                               (10 / 11, 11 / 12, 12 / 32, 11 / 32, 1 / 12))),
            Mistake("Not quite: give three digits.", when=lambda got, want: abs(got - want) < 0.02),
            Mistake("You excluded the block: 32 - 12 tokens. The next token is in the block.",
                    wrong=float(np.log(20))),
            Mistake("The current token is excluded from the block of 12, not from all 32.",
                    wrong=float(np.log(31))),
            Mistake("You multiplied by the probability. The loss is the mean of minus the "
                    "logarithm over what happens, and each case has the same: ln 11.",
                    wrong=float(np.log(11) / 11)),
        ],
    ),
    Exercise(
        "9.4", "composed_scores", _composed_scores, cases=_circuit_cases,
        mistakes=[
            Mistake("The bug is still there. Which side has moved information: the query, which is "
                    "about the current token, or the key, which should say what came before it?",
                    wrong=_on_the_query),
            Mistake("Now both sides have passed through the first layer. The query is made "
                    "from the current token itself.", wrong=_on_both),
            Mistake("No side has passed through the first layer: that is the direct score, by "
                    "the key's own token.", wrong=_on_neither),
            Mistake("You added the key's own token to what was moved. The question is the part of "
                    "the score that the previous token makes.", wrong=_with_itself),
            Mistake("The result is transposed: rows are the token of the query.",
                    wrong=lambda *a: _composed_scores(*a).T),
            Mistake("The moved information goes through W_Q2. Keys are made with W_K2.",
                    wrong=_exchanged),
            Mistake("The scaling is missing: divide by the root of the width of a head.",
                    wrong=lambda E, W_Q2, *a: _composed_scores(E, W_Q2, *a)
                    * np.sqrt(W_Q2.shape[1])),
            Mistake("You divide by the root of d, the width of the stream. The score of a head is "
                    "divided by the root of D, its own width.",
                    wrong=lambda E, W_Q2, *a: _composed_scores(E, W_Q2, *a)
                    * np.sqrt(W_Q2.shape[1] / W_Q2.shape[0])),
            Mistake("You divide by D, not by its root.",
                    wrong=lambda E, W_Q2, *a: _composed_scores(E, W_Q2, *a)
                    / np.sqrt(W_Q2.shape[1])),
            Mistake("You return the softmax. The exercise asks for the scores.",
                    when=lambda got, want, *a: np.allclose(got.sum(axis=1), 1)),
            Mistake("Scores can be negative, and yours can't. Return them without exp.",
                    when=lambda got, want, *a: (np.asarray(got) > 0).all()),
            Mistake("No side has passed through the first layer, and the scaling is missing.",
                    wrong=lambda E, W_Q2, W_K2, *a: E @ W_Q2 @ W_K2.T @ E.T),
            Mistake("The query side has passed through the first layer in addition to its own "
                    "token. It is made from the current token alone.", wrong=_query_with_both),
            Mistake("The matrix W_V1 comes first: it reads the stream, and W_O1 writes back to "
                    "it.", wrong=_output_first),
        ],
    ),
    Exercise(
        "9.5", "mean_ablation", _mean_ablation,
        cases=lambda rng: [(rng.normal(size=(4, 5, 3)) + 1,), (rng.normal(size=(2, 6, 6)),)],
        mistakes=[
            Mistake("That is zero ablation. The head should say its mean.", wrong=np.zeros_like),
            Mistake("You average over the sequences, and each position keeps its own mean. Average "
                    "over both.", wrong=_spread(0)),
            Mistake("You average over the positions, and each sequence keeps its own mean. Average "
                    "over both.", wrong=_spread(1)),
            Mistake("You average over D. Each of the D numbers keeps its own mean; average over "
                    "sequences and positions.", wrong=_spread(2)),
            Mistake("You average over positions and D. The axes of the mean are 0 and 1.",
                    wrong=_spread((1, 2))),
            Mistake("You average over sequences and D. The axes of the mean are 0 and 1.",
                    wrong=_spread((0, 2))),
            Mistake("You average over everything: one number. Each of the D numbers has its own "
                    "mean.", wrong=_spread((0, 1, 2))),
            Mistake("You subtract the mean. Replace the output by it.",
                    wrong=lambda head: head - head.mean(axis=(0, 1))),
            Mistake("You take the sum. Divide it by the number of sequences times positions.",
                    wrong=lambda head: np.broadcast_to(head.sum(axis=(0, 1)), head.shape)),
            Mistake("You take the median. The mean was asked for.",
                    wrong=lambda head: np.broadcast_to(np.median(head, axis=(0, 1)), head.shape)),
            Mistake("That is the mean vector, shape (D,). Repeat it at every position, to the "
                    "shape of `head`.",
                    when=lambda got, want, head: np.size(got) == head.shape[-1]),
            Mistake("You return the output unchanged.", wrong=lambda head: head),
            Mistake("You took the output at one position. The mean runs over all of them.",
                    wrong=lambda head: np.broadcast_to(head[0, 0], head.shape)),
            Mistake("The first axis, the sequences, is lost. The patch needs the shape of `head`.",
                    when=lambda got, want, head: np.shape(got) == head.shape[1:]),
        ],
    ),
    Exercise(
        "9.6", "k_composition", _k_composition, cases=_weight_cases,
        mistakes=[
            Mistake("That is Q-composition: W_OV met the queries. For K-composition it multiplies "
                    "W_QK from the right, on the side of the keys.", wrong=_q_composition),
            Mistake("The matrix W_OV isn't transposed. A key is x W_OV W_K, and W_QK = W_Q W_Kᵀ has the keys "
                    "on the right.", wrong=_ov_not_transposed),
            Mistake("The order is wrong: W_OVᵀ stands to the right of W_QK.", wrong=_ov_first),
            Mistake("You didn't divide by the norms of the factors.", wrong=_not_normalized),
            Mistake("That is the spectral norm, the largest singular value. The Frobenius norm is "
                    "the root of the sum of all squares.", wrong=_spectral),
            Mistake("You divided by the norm of W_QK alone. Divide by that of W_OV too.",
                    wrong=_one_norm_missing),
            Mistake("You divided by the norms of the four matrices. The factors are the two "
                    "circuits: take the norms of W_QK and W_OV.", wrong=_four_norms),
            Mistake("You left out the root: the Frobenius norm is the root of the sum of the "
                    "squares.", wrong=_square),
            Mistake("You divided by the sum of the two norms. Divide by their product.",
                    wrong=_sum_of_norms),
            Mistake("The result is one number, the ratio of norms.",
                    when=lambda got, want, *a: np.ndim(got) > 0),
            Mistake("You summed the absolute values. The Frobenius norm is the root of the sum of "
                    "the squares.", wrong=lambda *a: _with_norm(lambda X: np.abs(X).sum(), *a)),
            Mistake("That is the nuclear norm, the sum of the singular values. The Frobenius norm "
                    "is the root of the sum of the squares.",
                    wrong=lambda *a: _with_norm(lambda X: np.linalg.norm(X, "nuc"), *a)),
            Mistake("You took the trace of the product. Take its norm.",
                    wrong=lambda *a: _with_norm(_norm, *a, top=np.trace)),
            Mistake("You multiplied W_K2 and W_V1 alone. The circuits are W_Q2 W_K2ᵀ and "
                    "W_V1 W_O1.",
                    wrong=lambda W_Q2, W_K2, W_V1, W_O1: _norm(W_K2.T @ W_V1)
                    / (_norm(W_K2) * _norm(W_V1))),
            Mistake("A norm is never negative, and the ratio is at most 1.",
                    when=lambda got, want, *a: got < 0 or got > 1),
        ],
    ),
]
