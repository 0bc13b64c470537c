"""The exercises of chapter 5: backpropagation by hand."""

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 5.1


def _weight_gradient(x, dy):
    return np.einsum("bti,btj->ij", x, dy)


# ---- 5.3


def _rms_terms(dy, x, w, eps):
    r = np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    return r, x / r, dy * w


def _rms_norm_gradient(dy, x, w, eps=1e-6):
    r, x_hat, dx_hat = _rms_terms(dy, x, w, eps)
    return (dx_hat - x_hat * (dx_hat * x_hat).mean(axis=-1, keepdims=True)) / r


def _rms_direct(dy, x, w, eps=1e-6):
    r, _, dx_hat = _rms_terms(dy, x, w, eps)
    return dx_hat / r


def _rms_with_mean_term(dy, x, w, eps=1e-6):
    r, x_hat, dx_hat = _rms_terms(dy, x, w, eps)
    along = (dx_hat * x_hat).mean(axis=-1, keepdims=True)
    return (dx_hat - dx_hat.mean(axis=-1, keepdims=True) - x_hat * along) / r


def _rms_sum_for_mean(dy, x, w, eps=1e-6):
    r, x_hat, dx_hat = _rms_terms(dy, x, w, eps)
    return (dx_hat - x_hat * (dx_hat * x_hat).sum(axis=-1, keepdims=True)) / r


def _rms_without_weight(dy, x, w, eps=1e-6):
    return _rms_norm_gradient(dy, x, np.ones_like(w), eps)


def _rms_weight_at_the_end(dy, x, w, eps=1e-6):
    return w * _rms_norm_gradient(dy, x, np.ones_like(w), eps)


def _rms_not_divided(dy, x, w, eps=1e-6):
    r, x_hat, dx_hat = _rms_terms(dy, x, w, eps)
    return dx_hat - x_hat * (dx_hat * x_hat).mean(axis=-1, keepdims=True)


def _rms_direct_divided_only(dy, x, w, eps=1e-6):
    r, x_hat, dx_hat = _rms_terms(dy, x, w, eps)
    return dx_hat / r - x_hat * (dx_hat * x_hat).mean(axis=-1, keepdims=True)


def _rms_plus(dy, x, w, eps=1e-6):
    r, x_hat, dx_hat = _rms_terms(dy, x, w, eps)
    return (dx_hat + x_hat * (dx_hat * x_hat).mean(axis=-1, keepdims=True)) / r


def _rms_x_for_x_hat(dy, x, w, eps=1e-6):
    r, _, dx_hat = _rms_terms(dy, x, w, eps)
    return (dx_hat - x * (dx_hat * x).mean(axis=-1, keepdims=True)) / r


def _rms_over_the_batch(dy, x, w, eps=1e-6):
    r = np.sqrt((x**2).mean() + eps)
    x_hat, dx_hat = x / r, dy * w
    return (dx_hat - x_hat * (dx_hat * x_hat).mean()) / r


def _rms_as_layer_norm(dy, x, w, eps=1e-6):
    x = x - x.mean(axis=-1, keepdims=True)
    return _rms_with_mean_term(dy, x, w, eps)


def _rms_length(dy, x, w, eps=1e-6):
    r = np.sqrt((x**2).sum(axis=-1, keepdims=True) + eps)
    x_hat, dx_hat = x / r, dy * w
    return (dx_hat - x_hat * (dx_hat * x_hat).sum(axis=-1, keepdims=True)) / r


def _rms_forward(dy, x, w, eps=1e-6):
    r, x_hat, _ = _rms_terms(dy, x, w, eps)
    return w * x_hat


def _rms_means_down_the_columns(dy, x, w, eps=1e-6):
    r, x_hat, dx_hat = _rms_terms(dy, x, w, eps)
    return (dx_hat - x_hat * (dx_hat * x_hat).mean(axis=0, keepdims=True)) / r


# ---- 5.4


def _weights(Q, K):
    S = Q @ K.T / np.sqrt(Q.shape[1])
    e = np.exp(S - S.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _attention_case(rng, Tq, Tk, D):
    Q, K, V = rng.normal(size=(Tq, D)), rng.normal(size=(Tk, D)), rng.normal(size=(Tk, D))
    return rng.normal(size=(Tq, D)), _weights(Q, K), Q, K, V


def _from_dS(dS, dO, P, Q, K):
    scale = 1 / np.sqrt(Q.shape[1])
    return scale * dS @ K, scale * dS.T @ Q, P.T @ dO


def _attention_gradients(dO, P, Q, K, V):
    dP = dO @ V.T
    return _from_dS(P * (dP - (P * dP).sum(axis=1, keepdims=True)), dO, P, Q, K)


def _attention_planted(dO, P, Q, K, V):
    dP = dO @ V.T
    return _from_dS(P * (dP - dP.sum(axis=1, keepdims=True)), dO, P, Q, K)


def _attention_mean(dO, P, Q, K, V):
    dP = dO @ V.T
    return _from_dS(P * (dP - dP.mean(axis=1, keepdims=True)), dO, P, Q, K)


def _attention_no_delta(dO, P, Q, K, V):
    return _from_dS(P * (dO @ V.T), dO, P, Q, K)


def _attention_delta_over_queries(dO, P, Q, K, V):
    dP = dO @ V.T
    return _from_dS(P * (dP - (P * dP).sum(axis=0, keepdims=True)), dO, P, Q, K)


def _attention_delta_over_all(dO, P, Q, K, V):
    dP = dO @ V.T
    return _from_dS(P * (dP - (P * dP).sum()), dO, P, Q, K)


def _attention_weighted_mean(dO, P, Q, K, V):
    dP = dO @ V.T
    return _from_dS(P * (dP - (P * dP).mean(axis=1, keepdims=True)), dO, P, Q, K)


def _attention_P_inside_only(dO, P, Q, K, V):
    dP = dO @ V.T
    return _from_dS(dP - (P * dP).sum(axis=1, keepdims=True), dO, P, Q, K)


def _attention_bracket(dO, P, Q, K, V):
    dP = dO @ V.T
    return _from_dS(P * dP - (P * dP).sum(axis=1, keepdims=True), dO, P, Q, K)


def _attention_plus(dO, P, Q, K, V):
    dP = dO @ V.T
    return _from_dS(P * (dP + (P * dP).sum(axis=1, keepdims=True)), dO, P, Q, K)


def _attention_unscaled(dO, P, Q, K, V):
    dQ, dK, dV = _attention_gradients(dO, P, Q, K, V)
    return dQ * np.sqrt(Q.shape[1]), dK * np.sqrt(Q.shape[1]), dV


def _attention_softmax_derivative(dO, P, Q, K, V):
    return _from_dS(P * (1 - P) * (dO @ V.T), dO, P, Q, K)


def _reordered(first, second, third):
    """The right gradients, returned in another order"""

    def wrong(*arguments):
        gradients = _attention_gradients(*arguments)
        return gradients[first], gradients[second], gradients[third]

    return wrong


def _scaled(dQ_power, dK_power):
    """The right gradients, with dQ and dK times √D to some power"""

    def wrong(dO, P, Q, K, V):
        dQ, dK, dV = _attention_gradients(dO, P, Q, K, V)
        root = np.sqrt(Q.shape[1])
        return dQ * root**dQ_power, dK * root**dK_power, dV

    return wrong


def _only_dV(got, want, *arguments):
    same = [np.shape(g) == np.shape(w) and np.allclose(g, w) for g, w in zip(got, want)]
    return len(got) == 3 and same == [True, True, False]


# ---- 5.5


def _tied(ids, dx, h, dz, V):
    dE = dz.T @ h
    np.add.at(dE, ids, dx)
    return dE


def _scattered(ids, dx, V):
    dE = np.zeros((V, dx.shape[1]))
    np.add.at(dE, ids, dx)
    return dE


def _tied_lost(ids, dx, h, dz, V):
    dE = dz.T @ h
    dE[ids] += dx
    return dE


def _tied_assigned(ids, dx, h, dz, V):
    dE = dz.T @ h
    dE[ids] = dx
    return dE


def _tied_embedding_only(ids, dx, h, dz, V):
    return _scattered(ids, dx, V)


def _tied_head_only(ids, dx, h, dz, V):
    return dz.T @ h


def _tied_average(ids, dx, h, dz, V):
    return _tied(ids, dx, h, dz, V) / 2


def _tied_mean_of_occurrences(ids, dx, h, dz, V):
    count = np.maximum(np.bincount(ids, minlength=V), 1)[:, None]
    return _scattered(ids, dx, V) / count + dz.T @ h


def _tied_difference(ids, dx, h, dz, V):
    return dz.T @ h - _scattered(ids, dx, V)


def _tied_head_at_ids(ids, dx, h, dz, V):
    return _scattered(ids, dx, V) + _scattered(ids, h, V)


def _tied_dx_for_h(ids, dx, h, dz, V):
    return dz.T @ dx + _scattered(ids, dx, V)


def _tied_transposed(ids, dx, h, dz, V):
    return _tied(ids, dx, h, dz, V).T


def _tied_read_rows_only(ids, dx, h, dz, V):
    dE = _tied(ids, dx, h, dz, V)
    read = np.isin(np.arange(V), ids)
    return np.where(read[:, None], dE, 0)


def _tied_case(rng, ids, d, V):
    ids = np.array(ids)
    return (ids, rng.normal(size=(len(ids), d)), rng.normal(size=(len(ids), d)),
            rng.normal(size=(len(ids), V)), V)


# ---- 5.6


def _softmax(u):
    e = np.exp(u - u.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _du(dp, p):
    return p * (dp - (p * dp).sum(axis=-1, keepdims=True))


def _temperature_gradient(dp, x, tau):
    return -np.sum(_du(dp, _softmax(x / tau)) * x) / tau**2


def _temperature_sign(dp, x, tau):
    return -_temperature_gradient(dp, x, tau)


def _temperature_inner(dp, x, tau):
    return np.sum(_du(dp, _softmax(x / tau)) * x)


def _temperature_one_tau(dp, x, tau):
    return _temperature_gradient(dp, x, tau) * tau


def _temperature_wrong_softmax(dp, x, tau):
    return -np.sum(_du(dp, _softmax(x)) * x) / tau**2


def _temperature_no_softmax(dp, x, tau):
    return -np.sum(dp * x) / tau**2


def _temperature_no_delta(dp, x, tau):
    return -np.sum(_softmax(x / tau) * dp * x) / tau**2


def _temperature_mean(dp, x, tau):
    return -np.mean(_du(dp, _softmax(x / tau)) * x) / tau**2


def _temperature_row_mean(dp, x, tau):
    return _temperature_gradient(dp, x, tau) / len(x)


def _temperature_rows(dp, x, tau):
    return -np.sum(_du(dp, _softmax(x / tau)) * x, axis=-1) / tau**2


def _temperature_elements(dp, x, tau):
    return -_du(dp, _softmax(x / tau)) * x / tau**2


def _temperature_no_x(dp, x, tau):
    return -np.sum(_du(dp, _softmax(x / tau))) / tau**2


def _temperature_times(dp, x, tau):
    return np.sum(_du(dp, _softmax(x * tau)) * x)


def _temperature_dx(dp, x, tau):
    return _du(dp, _softmax(x / tau)) / tau


EXERCISES = [
    Exercise(
        "5.1", "weight_gradient",
        reference=_weight_gradient,
        cases=lambda rng: [(rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 5))),
                           (rng.normal(size=(3, 5, 4)), rng.normal(size=(3, 5, 4))),
                           (rng.normal(size=(1, 2, 3)), rng.normal(size=(1, 2, 6)))],
        mistakes=[
            Mistake("This is dW divided by the number of sequences. The loss may be a mean, but that "
                    "factor is in dy already: dW is the plain sum over batch and positions.",
                    wrong=lambda x, dy: _weight_gradient(x, dy) / len(x)),
            Mistake("This is dW divided by the number of positions. Sum over all of them; a mean in "
                    "the loss is in dy already.",
                    wrong=lambda x, dy: _weight_gradient(x, dy) / (x.shape[0] * x.shape[1])),
            Mistake("This is dW divided by the length T. Sum over the positions; a mean in the loss "
                    "is in dy already.",
                    wrong=lambda x, dy: _weight_gradient(x, dy) / x.shape[1]),
            Mistake("This is the gradient of the first sequence only. Every sequence of the batch "
                    "uses W, so sum over axis 0 too.",
                    wrong=lambda x, dy: x[0].T @ dy[0]),
            Mistake("This is the gradient of the last sequence only: a loop that overwrites dW. Add "
                    "to it in every turn.",
                    wrong=lambda x, dy: x[-1].T @ dy[-1]),
            Mistake("The result has a batch axis: one dW for each sequence. W is shared by all of "
                    "them, so sum over that axis.",
                    wrong=lambda x, dy: x.swapaxes(1, 2) @ dy),
            Mistake("The result is (d_out, d_in): dyᵀ x. W is (d_in, d_out), and dW has its shape.",
                    wrong=lambda x, dy: _weight_gradient(x, dy).T),
            Mistake("You summed x and dy over the positions first, and multiplied then. That pairs "
                    "the x of one token with the dy of another. Multiply at each position, then sum.",
                    wrong=lambda x, dy: np.outer(x.sum(axis=(0, 1)), dy.sum(axis=(0, 1)))),
            Mistake("You summed over the batch before you multiplied, which pairs the x of one "
                    "sequence with the dy of another. Multiply at each position, then sum.",
                    wrong=lambda x, dy: x.sum(axis=0).T @ dy.sum(axis=0)),
            Mistake("You multiply every position of x with every position of dy. Each token has its "
                    "own pair of x and dy: sum their products at the same position.",
                    wrong=lambda x, dy: np.einsum("bti,bsj->ij", x, dy)),
            Mistake("There is one dW for each position here. All positions share W, so sum over "
                    "axis 1 too.", wrong=lambda x, dy: np.einsum("bti,btj->tij", x, dy)),
            Mistake("This is db, the sum of dy over all positions. For dW each dy is multiplied by "
                    "its x.", wrong=lambda x, dy: dy.sum(axis=(0, 1))),
            Mistake("You averaged over the batch before the product, which pairs the x of one sequence "
                    "with the dy of another. Multiply first, then sum.",
                    wrong=lambda x, dy: x.mean(axis=0).T @ dy.mean(axis=0)),
            Mistake("The reshape mixes the axes: x.reshape(d_in, -1) isn't the transpose of "
                    "x.reshape(-1, d_in). Keep the last axis last while you flatten, then transpose.",
                    wrong=lambda x, dy: x.reshape(x.shape[-1], -1) @ dy.reshape(-1, dy.shape[-1])),
            Mistake("Every number has the wrong sign. dW is the gradient; the minus of gradient "
                    "descent belongs to the optimizer.",
                    wrong=lambda x, dy: -_weight_gradient(x, dy)),
        ],
    ),
    Exercise(
        "5.2", "gradient_of_right_logit",
        reference=-0.15,
        mistakes=[
            Mistake("That is p - y for the right word. The loss is a mean over 5 targets: what does "
                    "the mean do to each gradient?", wrong=-0.75),
            Mistake("The size is right, the sign isn't. Gradient descent must raise the right "
                    "word's logit, so is its gradient positive or negative?", wrong=0.15),
            Mistake("That is y - p: the sign is the other way round, and the mean over 5 targets is "
                    "missing.", wrong=0.75),
            Mistake("That is the gradient of a wrong word's logit, p / 5. For the right word, "
                    "subtract y first.", wrong=0.05),
            Mistake("That is -p / 5. For the right word the gradient is (p - y) / N, and y is 1.",
                    wrong=-0.05),
            Mistake("That is -1: y alone, and no mean. The gradient is (p - y) / N.", wrong=-1.0),
            Mistake("That is log 4 / 5, a part of the loss. The question is about its derivative.",
                    wrong=float(np.log(4)) / 5),
            Mistake("That is p, the probability. The gradient is (p - y) / N.", wrong=0.25),
            Mistake("That is -1 / (5 p), the gradient with respect to the probability of the right "
                    "word. The question is about its logit: go through the softmax too.", wrong=-0.8),
            Mistake("That is -1 / p, the gradient with respect to the probability, and the mean is "
                    "missing. Go through the softmax, and divide by the number of targets.",
                    wrong=-4.0),
            Mistake("That is log 4, the loss itself. The question is about its derivative.",
                    wrong=float(np.log(4))),
            Mistake("You divided by 4, the size of the vocabulary. The mean runs over the targets; "
                    "how many are there?", wrong=-0.1875),
            Mistake("You divided by 4 × 5. The mean runs over the targets only, not over the words "
                    "of the vocabulary.", wrong=-0.0375),
            Mistake("You took p = 1/5. Five is the number of targets; the probabilities are those of "
                    "a softmax over 4 words.", wrong=-0.16),
            Mistake("That is -1 / 5: y alone. The gradient is (p - y) / N, and p isn't 0 here.",
                    wrong=-0.2),
            Mistake("Equal logits don't mean that there is nothing to learn: the gradient is "
                    "(p - y) / N, and p differs from y.", wrong=0.0),
        ],
    ),
    Exercise(
        "5.3", "rms_norm_gradient",
        reference=_rms_norm_gradient,
        cases=lambda rng: [(rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), rng.normal(size=4)),
                           (rng.normal(size=(2, 7)), 3 * rng.normal(size=(2, 7)) + 1,
                            rng.normal(size=7)),
                           (rng.normal(size=(1, 5)), rng.normal(size=(1, 5)), rng.normal(size=5),
                            0.1)],
        mistakes=[
            Mistake("This treats r as a constant. Every x of a row also reaches the loss through r: "
                    "add that term.", wrong=_rms_direct),
            Mistake("There is a term for the mean in it, as in layer norm. RMS norm subtracts no "
                    "mean, so nothing flows through one.", wrong=_rms_with_mean_term),
            Mistake("This is layer norm's gradient: you subtract the mean of x. RMS norm doesn't.",
                    wrong=_rms_as_layer_norm),
            Mistake("The term through r sums over the row where a mean belongs. Look for the 1/d in "
                    "∂r/∂x_j.", wrong=_rms_sum_for_mean),
            Mistake("The weight w is missing. Start with dx̂ = dy * w.", wrong=_rms_without_weight),
            Mistake("You multiply by w at the end. It belongs to dx̂ = dy * w at the start: the mean "
                    "over the row must see it.", wrong=_rms_weight_at_the_end),
            Mistake("The division by r is missing: both terms have a factor 1 / r.",
                    wrong=_rms_not_divided),
            Mistake("Only the direct term is divided by r. The term through r has that factor too. "
                    "(The same result comes from x where x̂ belongs, in front of the mean.)",
                    wrong=_rms_direct_divided_only),
            Mistake("The sign of the term through r is wrong: a larger r makes every x̂ smaller.",
                    wrong=_rms_plus),
            Mistake("The term through r uses x where x̂ = x / r belongs, twice.",
                    wrong=_rms_x_for_x_hat),
            Mistake("Your means run over the whole array. Each row has its own r: use axis=-1 and "
                    "keepdims=True.", wrong=_rms_over_the_batch),
            Mistake("The mean of dx̂ * x̂ runs down the columns. Rows are independent: take it along "
                    "axis=-1.", wrong=_rms_means_down_the_columns),
            Mistake("You divide by the length of x, the root of the sum of squares. The r of RMS norm "
                    "is the root of their mean.", wrong=_rms_length),
            Mistake("This has the shape of w: you computed dw. The question is dx, the gradient of "
                    "the input.", when=lambda got, want, dy, x, w, *eps: np.shape(got) == w.shape),
            Mistake("This is dx̂ = dy * w, the first step. Now go through x̂ = x / r to x.",
                    wrong=lambda dy, x, w, eps=1e-6: dy * w),
            Mistake("This ignores the argument eps and uses 1e-6 always.",
                    wrong=lambda dy, x, w, eps=1e-6: _rms_norm_gradient(dy, x, w)),
            Mistake("This ignores eps. It belongs under the root, as in the forward.",
                    wrong=lambda dy, x, w, eps=1e-6: _rms_norm_gradient(dy, x, w, 0.0)),
            Mistake("This is the forward, w * x / r. The question is its backward, which needs dy.",
                    wrong=_rms_forward),
        ],
    ),
    Exercise(
        "5.4", "repaired_attention_gradients",
        reference=_attention_gradients,
        cases=lambda rng: [_attention_case(rng, 3, 3, 4), _attention_case(rng, 2, 5, 3),
                           _attention_case(rng, 4, 3, 8)],
        mistakes=[
            Mistake("The bug is still there. dV is right, dQ and dK are not, so look at what both "
                    "use: do the rows of dS sum to 0?", wrong=_attention_planted),
            Mistake("You subtract the plain mean of dP. The average must be weighted by P: the "
                    "softmax's Jacobian has p_j in it, not 1/n.", wrong=_attention_mean),
            Mistake("The weighted products are averaged; they must be summed. The weights P already "
                    "sum to 1.", wrong=_attention_weighted_mean),
            Mistake("Now δ is gone altogether. The weights of a query compete for a sum of 1, and δ "
                    "is what says so.", wrong=_attention_no_delta),
            Mistake("Your δ is summed over the queries, axis 0. The softmax runs over the keys: each "
                    "query has its own δ.", wrong=_attention_delta_over_queries),
            Mistake("Your δ is one number for the whole matrix. Each query has its own: axis=1, "
                    "keepdims=True.", wrong=_attention_delta_over_all),
            Mistake("The δ is right, but the factor P in front of the bracket is gone.",
                    wrong=_attention_P_inside_only),
            Mistake("The factor P belongs to both terms: P * (dP - δ), not P * dP - δ.",
                    wrong=_attention_bracket),
            Mistake("The δ has the wrong sign.", wrong=_attention_plus),
            Mistake("Now dS is right, but the scale 1/√D is gone. It stands in the forward's S, so "
                    "dQ and dK have it.", wrong=_attention_unscaled),
            Mistake("P (1 - P) is only the diagonal of the softmax's Jacobian. Each score also "
                    "reaches the other weights of its row.", wrong=_attention_softmax_derivative),
            Mistake("The scale 1/√D is gone from dK. S is symmetric in Q and K: both have it.",
                    wrong=_scaled(0, 1)),
            Mistake("The scale 1/√D is gone from dQ. S is symmetric in Q and K: both have it.",
                    wrong=_scaled(1, 0)),
            Mistake("You divide by √D twice: once is enough, either in dS or in dQ and dK.",
                    wrong=_scaled(-1, -1)),
            Mistake("The gradients are right, in another order: return dQ, dK, dV.",
                    wrong=_reordered(1, 0, 2)),
            Mistake("The gradients are right, in the order dV, dQ, dK: return dQ, dK, dV.",
                    wrong=_reordered(2, 0, 1)),
            Mistake("The gradients are right, in the order dV, dK, dQ: return dQ, dK, dV.",
                    wrong=_reordered(2, 1, 0)),
            Mistake("Now dQ and dK are right. But dV was right before you changed it.",
                    when=_only_dV),
        ],
    ),
    Exercise(
        "5.5", "tied_table_gradient",
        reference=_tied,
        cases=lambda rng: [_tied_case(rng, [0, 1, 2, 0], 5, 4), _tied_case(rng, [3, 3, 3], 2, 5),
                           _tied_case(rng, [1, 4, 1, 0, 4], 3, 6)],
        mistakes=[
            Mistake("Of a repeated id only the last occurrence counts: dE[ids] = dx and dE[ids] += dx "
                    "write each row once. Use an addition that counts every occurrence.",
                    wrong=_tied_lost),
            Mistake("The line dE[ids] = dx overwrites the head's gradient of the words that were "
                    "read. Both uses add, and so does every occurrence.",
                    wrong=_tied_assigned),
            Mistake("This is the embedding's part only. The head reads the table too, and has a "
                    "gradient for every word.", wrong=_tied_embedding_only),
            Mistake("This is the head's part only. The words that were read get dx on top.",
                    wrong=_tied_head_only),
            Mistake("You averaged the two uses. A value that is read twice gets the sum.",
                    wrong=_tied_average),
            Mistake("You averaged over the occurrences of a word. Each of them moves the loss: sum.",
                    wrong=_tied_mean_of_occurrences),
            Mistake("The two parts are subtracted. Where the forward copies, the backward adds.",
                    wrong=_tied_difference),
            Mistake("The head's part can't go to the rows that were read: the head compares h with "
                    "every word of the table. z = h Eᵀ is a linear map; which rule gives dE?",
                    wrong=_tied_head_at_ids),
            Mistake("The head's part multiplies dz with dx. The head's input is h.",
                    wrong=_tied_dx_for_h),
            Mistake("The head's part is counted twice, and the embedding's is missing: dx goes to the "
                    "rows of the words that were read.",
                    wrong=lambda ids, dx, h, dz, V: 2 * dz.T @ h),
            Mistake("The embedding's part isn't dzᵀ dx. The embedding picks rows: each dx goes to the "
                    "row of its id.", wrong=lambda ids, dx, h, dz, V: dz.T @ h + dz.T @ dx),
            Mistake("This is hᵀ dz, (d, V), and the embedding's part is missing. The head multiplies "
                    "with Eᵀ: transpose, and add dx to the rows that were read.",
                    wrong=lambda ids, dx, h, dz, V: h.T @ dz),
            Mistake("This is (d, V). E is (V, d), and its gradient has its shape.",
                    wrong=_tied_transposed),
            Mistake("Words that were never read have gradient 0 here. From the head they get one "
                    "all the same, as words that could have been predicted.",
                    wrong=_tied_read_rows_only),
        ],
    ),
    Exercise(
        "5.6", "temperature_gradient",
        reference=_temperature_gradient,
        cases=lambda rng: [(rng.normal(size=(1, 4)), rng.normal(size=(1, 4)), 0.7),
                           (rng.normal(size=(3, 5)), rng.normal(size=(3, 5)), 2.0),
                           (rng.normal(size=(2, 6)), 3 * rng.normal(size=(2, 6)), 1.5)],
        mistakes=[
            Mistake("The sign is wrong: the derivative of 1/τ is negative.", wrong=_temperature_sign),
            Mistake("The inner derivative is missing. u = x / τ, and ∂u/∂τ isn't x.",
                    wrong=_temperature_inner),
            Mistake("One factor 1/τ is missing: ∂(x/τ)/∂τ = -x / τ².", wrong=_temperature_one_tau),
            Mistake("Your p is the softmax of x. It must be that of x / τ, as in the forward.",
                    wrong=_temperature_wrong_softmax),
            Mistake("The softmax is skipped: first find du for u = x / τ, then go on to τ.",
                    wrong=_temperature_no_softmax),
            Mistake("The gradient through the softmax lacks its δ: du = p * (dp - Σ p dp).",
                    wrong=_temperature_no_delta),
            Mistake("You took the mean over all elements. A value that many elements share gets the "
                    "sum of their gradients.", wrong=_temperature_mean),
            Mistake("You divided by the number of rows. A mean in the loss is in dp already: sum.",
                    wrong=_temperature_row_mean),
            Mistake("The result has one number for each row. All rows share one τ: sum over them.",
                    wrong=_temperature_rows),
            Mistake("The result has one number for each element. They all share one τ: sum over "
                    "rows and columns.", wrong=_temperature_elements),
            Mistake("This is the gradient of x. It stops one step early: u = x / τ depends on τ too.",
                    wrong=_temperature_dx),
            Mistake("The result is 0, because the gradient of a softmax sums to 0. The factor x is "
                    "missing: how does u = x / τ change with τ?",
                    wrong=_temperature_no_x),
            Mistake("The softmax is skipped, and a factor 1/τ is missing: ∂(x/τ)/∂τ = -x / τ².",
                    wrong=lambda dp, x, tau: -np.sum(dp * x) / tau),
            Mistake("Here τ multiplies x. A temperature divides it.", wrong=_temperature_times),
        ],
    ),
]
