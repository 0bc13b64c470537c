"""The exercises of chapter 1: attention by hand."""

import numpy as np

from minillm.course.checking import Exercise, Mistake
from minillm.course.running_example import X as RUNNING_X


def _softmax(S, axis=-1, shift=True):
    E = np.exp(S - S.max(axis=axis, keepdims=True) if shift else S)
    return E / E.sum(axis=axis, keepdims=True)


# ---- 1.1


def _whole(S):
    E = np.exp(S - S.max())
    return E / E.sum()


def _largest_is_one(S):
    return np.exp(S - S.max(axis=-1, keepdims=True))


def _shares_of_scores(S):
    return S / S.sum(axis=-1, keepdims=True)


def _shares_of_sizes(S):
    return np.abs(S) / np.abs(S).sum(axis=-1, keepdims=True)


def _hard(S):
    return (S == S.max(axis=-1, keepdims=True)).astype(float)


def _base_two(S):
    E = np.exp2(S - S.max(axis=-1, keepdims=True))
    return E / E.sum(axis=-1, keepdims=True)


def _small_wins(S):
    return _softmax(-S)


def _log_softmax(S):
    return np.log(_softmax(S))


def _unit_length(S):
    E = np.exp(S - S.max(axis=-1, keepdims=True))
    return E / np.linalg.norm(E, axis=-1, keepdims=True)


def _largest_of_column(S):
    E = np.exp(S - S.max(axis=0))
    with np.errstate(invalid="ignore"):  # 0 / 0 where all of a row is far below its columns
        return E / E.sum(axis=-1, keepdims=True)


def _scaled_twice(S):
    return _softmax(S / np.sqrt(S.shape[1]))


def _is_pair(got, want, *arguments):
    """The result is what the library's softmax returns: the weights and a cache."""
    return isinstance(got, tuple) and len(got) == 2


def _overflows(got, want, S):
    """The small cases are right and the one with large scores is NaN."""
    return np.abs(S).max() > 500 and np.isnan(np.asarray(got, dtype=float)).any()


# ---- 1.2


def _attend(Q, K, V):
    return _softmax(Q @ K.T / np.sqrt(Q.shape[1])) @ V


def _attend_with(scale=lambda Q, K, V: np.sqrt(Q.shape[1]), weights=_softmax):
    return lambda Q, K, V: weights(Q @ K.T / scale(Q, K, V)) @ V


def _scaled_after(Q, K, V):
    return _softmax(Q @ K.T) / np.sqrt(Q.shape[1]) @ V


def _no_softmax(Q, K, V):
    return Q @ K.T / np.sqrt(Q.shape[1]) @ V


def _weights_only(Q, K, V):
    return _softmax(Q @ K.T / np.sqrt(Q.shape[1]))


def _multiplied(Q, K, V):
    return _softmax(Q @ K.T * np.sqrt(Q.shape[1])) @ V


def _exponentials_only(Q, K, V):
    S = Q @ K.T / np.sqrt(Q.shape[1])
    return np.exp(S - S.max(axis=-1, keepdims=True)) @ V


def _cosines(Q, K, V):
    unit = [M / np.linalg.norm(M, axis=1, keepdims=True) for M in (Q, K)]
    return _softmax(unit[0] @ unit[1].T) @ V


# ---- 1.3


_DOTS = RUNNING_X[0] @ RUNNING_X.T


# ---- 1.4


def _self_attend(X):
    return _softmax(X @ X.T / np.sqrt(X.shape[1])) @ X


def _without_keepdims(X):
    S = X @ X.T / np.sqrt(X.shape[1])
    E = np.exp(S - S.max(axis=1, keepdims=True))
    return E / E.sum(axis=1) @ X


def _sum_of_columns(X):
    S = X @ X.T / np.sqrt(X.shape[1])
    E = np.exp(S - S.max(axis=1, keepdims=True))
    return E / E.sum(axis=0) @ X


def _sum_of_all(X):
    S = X @ X.T / np.sqrt(X.shape[1])
    E = np.exp(S - S.max(axis=1, keepdims=True))
    return E / E.sum() @ X


def _without_division(X):
    S = X @ X.T / np.sqrt(X.shape[1])
    return np.exp(S - S.max(axis=1, keepdims=True)) @ X


def _transposed_weights(X):
    return _softmax(X @ X.T / np.sqrt(X.shape[1])).T @ X


def _root_of_words(X):
    return _softmax(X @ X.T / np.sqrt(len(X))) @ X


def _unscaled_self(X):
    return _softmax(X @ X.T) @ X


def _returns_weights(X):
    return _softmax(X @ X.T / np.sqrt(X.shape[1]))


def _mean_of_exponentials(X):
    S = X @ X.T / np.sqrt(X.shape[1])
    E = np.exp(S - S.max(axis=1, keepdims=True))
    return E / E.mean(axis=1, keepdims=True) @ X


def _normalized_twice(X):
    """The rows are made to sum to 1 at the end, and the wrong division stays."""
    S = X @ X.T / np.sqrt(X.shape[1])
    E = np.exp(S - S.max(axis=1, keepdims=True))
    P = E / E.sum(axis=1)
    return P / P.sum(axis=1, keepdims=True) @ X


# ---- 1.5


def _outside(out, V):
    return (out < V.min(axis=0)) | (out > V.max(axis=0))


def _border_too(out, V):
    return (out <= V.min(axis=0)) | (out >= V.max(axis=0))


def _inside(out, V):
    return ~_outside(out, V)


def _both_sides(out, V):
    return (out < V.min(axis=0)) & (out > V.max(axis=0))


def _only_below(out, V):
    return out < V.min(axis=0)


def _only_above(out, V):
    return out > V.max(axis=0)


def _range_of_all(out, V):
    return (out < V.min()) | (out > V.max())


def _rows_of_out(out, V):
    return _outside(out, V).any(axis=1)


def _columns(out, V):
    return _outside(out, V).any(axis=0)


def _is_no_value(out, V):
    return ~(out[:, None] == V[None]).any(axis=1)


def _cases_of_outside(rng):
    def case(Tq, Tk, d):
        V = rng.normal(size=(Tk, d)).round(1)
        out = rng.normal(size=(Tq, d)).round(1)
        out[0, 0], out[-1, -1] = V[:, 0].max(), V[:, -1].min()  # on the border
        out[0, 1], out[-1, 0] = V.max() + 0.5, V.min() - 0.5
        return out, V

    return [case(4, 3, 6), case(2, 5, 3), case(5, 2, 5)]


# ---- 1.6


def _temperature_for(s0, s1, p):
    return (s1 - s0) / np.log(p / (1 - p))


EXERCISES = [
    Exercise(
        "1.1", "softmax_rows", _softmax,
        lambda rng: [(rng.normal(size=(3, 3)),), (2 * rng.normal(size=(4, 6)),),
                     (np.array([[1000.0, 1001.0, 998.0], [-1000.0, -1002.0, -1001.0]]),)],
        [
            Mistake("You softmaxed over the queries, axis 0. The weights of one query must sum to "
                    "1, and its scores are a row: go along the last axis.",
                    lambda S: _softmax(S, 0)),
            Mistake("You divided by the sum of the whole matrix, so all weights together sum to 1. "
                    "Each query has shares of its own: one sum per row.", _whole),
            Mistake("Your largest weight is 1 in every row: the exponentials are there, but they "
                    "aren't divided by the sum of their row.", _largest_is_one),
            Mistake("You divided the scores by their sum. First make them positive, with the "
                    "exponential function.", _shares_of_scores),
            Mistake("You made the scores positive with the absolute value, so a very bad match "
                    "gets a large weight. The exponential keeps their order.", _shares_of_sizes),
            Mistake("You gave the whole weight to the largest score of the row. Softmax is soft: "
                    "every key gets a share.", _hard),
            Mistake("You raised 2 to the scores. Softmax takes powers of e.", _base_two),
            Mistake("In your result the smallest score gets the largest weight. Look at the sign "
                    "in the exponent.", _small_wins),
            Mistake("These are the logarithms of the weights. Weights are positive and sum to 1.",
                    _log_softmax),
            Mistake("You divided by the length of the row, the root of the sum of squares. Shares "
                    "sum to 1, so divide by the plain sum.", _unit_length),
            Mistake("You subtract the largest number of each column. That changes the weights: "
                    "only a number that is the same for the whole row cancels.",
                    _largest_of_column),
            Mistake("You scale inside the softmax. Softmax takes the scores as they are; dividing "
                    "by √d is a step of its own, before it.", _scaled_twice),
            Mistake("You return a pair. The library's softmax returns the weights and a cache for "
                    "its backward: take the first, softmax(S)[0].", when=_is_pair),
            Mistake("Right for small scores, but exp(1000) overflows, and inf / inf is NaN. Adding "
                    "a number to a row of scores changes no weight: choose one that makes the "
                    "largest score harmless.", when=_overflows),
        ]),
    Exercise(
        "1.2", "attend", _attend,
        lambda rng: [tuple(rng.normal(size=shape) for shape in shapes) for shapes in (
            [(3, 10), (3, 10), (3, 10)], [(2, 4), (5, 4), (5, 7)], [(6, 9), (4, 9), (4, 2)])],
        [
            Mistake("The scores aren't divided by √d. Look at the formula before the softmax.",
                    _attend_with(lambda Q, K, V: 1.0)),
            Mistake("You divided by d. The spread of a dot product grows like the root of d.",
                    _attend_with(lambda Q, K, V: Q.shape[1])),
            Mistake("You took the root of the number of keys. d is the width of queries and keys, "
                    "the number of products in one dot product.",
                    _attend_with(lambda Q, K, V: np.sqrt(len(K)))),
            Mistake("You took the root of the number of queries. d is the width of queries and "
                    "keys.", _attend_with(lambda Q, K, V: np.sqrt(len(Q)))),
            Mistake("You took the root of the width of the values. The dot product is of a query "
                    "and a key, so their width counts.",
                    _attend_with(lambda Q, K, V: np.sqrt(V.shape[1]))),
            Mistake("You divided by √d after the softmax, so the weights of a query sum to 1/√d. "
                    "Scale the scores, before the softmax.", _scaled_after),
            Mistake("You multiplied by √d. The division keeps the scores small.", _multiplied),
            Mistake("You softmaxed over the queries, axis 0. The weights of one query must sum to "
                    "1: softmax along the keys, the last axis.",
                    _attend_with(weights=lambda S: _softmax(S, 0))),
            Mistake("Your softmax divides by the sum of the whole matrix. Every query has a sum of "
                    "its own.", _attend_with(weights=_whole)),
            Mistake("There is no softmax: the values are multiplied by the scores themselves.",
                    _no_softmax),
            Mistake("The exponentials aren't divided by the sum of their row, so the weights don't "
                    "sum to 1.", _exponentials_only),
            Mistake("You returned the weights. One step is missing: the average of the values.",
                    _weights_only),
            Mistake("You averaged the keys. They have done their part in the scores; what flows "
                    "into the output are the values.",
                    lambda Q, K, V: _softmax(Q @ K.T / np.sqrt(Q.shape[1])) @ K),
            Mistake("In your result the worst match gets the largest weight. Look at the sign of "
                    "the scores.", lambda Q, K, V: _softmax(-Q @ K.T / np.sqrt(Q.shape[1])) @ V),
            Mistake("You divide by √10 for every input. Here d is the width of Q and K, whatever "
                    "it is.", _attend_with(lambda Q, K, V: np.sqrt(10))),
            Mistake("You return a pair. The library's functions return a cache too: take the "
                    "first.", when=_is_pair),
            Mistake("You compared directions only (cosines). Attention takes the plain dot "
                    "product, divided by √d: lengths count.", _cosines),
        ]),
    Exercise(
        "1.3", "unscaled_weight", float(_softmax(_DOTS)[2]),
        mistakes=[
            Mistake("That is the weight with the scaling. Leave out the division by √10.",
                    wrong=float(_softmax(_DOTS / np.sqrt(10))[2])),
            Mistake("You divided the dot product by the sum of the dot products. Softmax divides "
                    "their exponentials.", wrong=float(_DOTS[2] / _DOTS.sum())),
            Mistake("That is the weight of I for like. Apple is the key with 8.25.",
                    wrong=float(_softmax(_DOTS)[1])),
            Mistake("That is the weight of I for itself. Apple is the key with 8.25.",
                    wrong=float(_softmax(_DOTS)[0])),
            Mistake("That divides by 10, not by 1: the question is what happens with no division "
                    "at all.", wrong=float(_softmax(_DOTS / 10)[2])),
            Mistake("You multiplied the scores by √10 instead of leaving the division out.",
                    wrong=float(_softmax(_DOTS * np.sqrt(10))[2])),
            Mistake("You left out the term of the key I: the sum has three terms, 1 + exp(-2.2) + "
                    "exp(-4.4).", wrong=float(1 / (1 + np.exp(-2.2)))),
            Mistake("You left out the term of apple itself: the sum has three terms, and the one "
                    "of apple is exp(0) = 1.",
                    wrong=float(1 / (np.exp(-2.2) + np.exp(-4.4)))),
            Mistake("That is the weight that apple gives itself. The query is I: take its row of "
                    "dot products.", wrong=float(_softmax(RUNNING_X[2] @ RUNNING_X.T)[2])),
            Mistake("A weight is a share between 0 and 1; give it as 0.57, not as 57 percent.",
                    when=lambda got, want: float(got) > 1),
        ], tolerance=6e-4),
    Exercise(
        "1.4", "self_attend", _self_attend,
        lambda rng: [(rng.normal(size=(3, 10)),), (rng.normal(size=(5, 4)),),
                     (rng.normal(size=(1, 6)),)],
        [
            Mistake("The bug is still there. Print P.sum(axis=1), and the shape of what E is "
                    "divided by.", _without_keepdims),
            Mistake("You divide by the sums of the columns. The weights of one query are a row: "
                    "keep axis=1, and look at the shape of the sum.", _sum_of_columns),
            Mistake("You divide by the sum of the whole matrix. Every query has a sum of its own.",
                    _sum_of_all),
            Mistake("Without the division the rows don't sum to 1 either. Divide, but by a sum of "
                    "the right shape.", _without_division),
            Mistake("Now the division is right, but the weights are transposed before they meet "
                    "the values: P @ X takes the rows of P.", _transposed_weights),
            Mistake("You changed the scaling: the root is of the width X.shape[1], not of the "
                    "number of words.", _root_of_words),
            Mistake("The division by the sum is right, but the scaling by √d is gone.",
                    _unscaled_self),
            Mistake("You divide by d now. The bug isn't in the scaling: put √d back, and look at "
                    "the sums.", lambda X: _softmax(X @ X.T / X.shape[1]) @ X),
            Mistake("You return the weights. The output is their average of the rows of X.",
                    _returns_weights),
            Mistake("You divide by the mean of the exponentials. Shares that sum to 1 need the "
                    "sum.", _mean_of_exponentials),
            Mistake("The rows sum to 1 now, but the wrong division is still in front. Repair that "
                    "one instead of adding another.", _normalized_twice),
        ]),
    Exercise(
        "1.5", "outside", _outside, _cases_of_outside,
        [
            Mistake("The border belongs to the range: a weight of 1 gives exactly the largest "
                    "value. Compare with < and >.", _border_too),
            Mistake("The smallest value itself is possible: compare the lower end with <.",
                    lambda out, V: (out <= V.min(axis=0)) | (out > V.max(axis=0))),
            Mistake("The largest value itself is possible: compare the upper end with >.",
                    lambda out, V: (out < V.min(axis=0)) | (out >= V.max(axis=0))),
            Mistake("It is the other way round: True says that the number is impossible.", _inside),
            Mistake("Your function never finds anything. Do you compare with the range of V, not "
                    "of out? And no number is below the smallest and above the largest at once: "
                    "one of the two is enough.", _both_sides),
            Mistake("You test only the lower end of the range.", _only_below),
            Mistake("You test only the upper end of the range.", _only_above),
            Mistake("You compare with the range of all of V. Every column has a range of its own: "
                    "an output's column is an average of the same column of V.", _range_of_all),
            Mistake("One answer per row is too coarse: return True or False for each number.",
                    _rows_of_out),
            Mistake("One answer per column is too coarse: return True or False for each number.",
                    _columns),
            Mistake("An output need not equal one of the values; it may lie anywhere between "
                    "them.", _is_no_value),
            Mistake("You take the range of each row of V. An average runs over the rows, so the "
                    "range is that of a column: axis 0.",
                    when=lambda got, want, out, V: len(out) == len(V) and np.array_equal(
                        got, (out < V.min(axis=1, keepdims=True))
                        | (out > V.max(axis=1, keepdims=True)))),
        ]),
    Exercise(
        "1.6", "temperature_for", _temperature_for,
        lambda rng: [(1.0, 2.5, 0.8), (0.0, -1.0, 0.3), (2.0, 5.0, 0.6), (-1.0, 0.5, 0.95)],
        [
            Mistake("That is the inverse, 1/τ. A small share of the lead needs a high temperature.",
                    lambda s0, s1, p: np.log(p / (1 - p)) / (s1 - s0)),
            Mistake("The sign is wrong: p is the share of the second key, so the difference is "
                    "s1 - s0.", lambda s0, s1, p: (s0 - s1) / np.log(p / (1 - p))),
            Mistake("You took the logarithm of the share alone. Take that of the ratio of the two "
                    "shares, p / (1 - p).", lambda s0, s1, p: (s1 - s0) / np.log(p)),
            Mistake("You used -log p. Take the ratio of the two shares, p / (1 - p): the sum in "
                    "the denominator cancels.", lambda s0, s1, p: -(s1 - s0) / np.log(p)),
            Mistake("The logarithm is missing: the ratio of the shares is exp((s1 - s0) / τ).",
                    lambda s0, s1, p: (s1 - s0) / (p / (1 - p))),
            Mistake("You divided by the share itself. The ratio of the shares is "
                    "exp((s1 - s0) / τ); solve that for τ.", lambda s0, s1, p: (s1 - s0) / p),
            Mistake("You took log(1 - p). The ratio of the two shares is p / (1 - p).",
                    lambda s0, s1, p: (s1 - s0) / np.log(1 - p)),
            Mistake("Use the natural logarithm, which undoes exp.",
                    lambda s0, s1, p: (s1 - s0) / np.log10(p / (1 - p))),
            Mistake("Use the natural logarithm, which undoes exp; yours has base 2.",
                    lambda s0, s1, p: (s1 - s0) / np.log2(p / (1 - p))),
            Mistake("You took the ratio of the scores. Softmax depends on their difference only.",
                    lambda s0, s1, p: (s1 / s0 if s0 else np.inf) / np.log(p / (1 - p))),
            Mistake("You took the size of the lead without its sign. If the second key has the "
                    "smaller score, its share is below one half, and both signs are negative.",
                    lambda s0, s1, p: abs(s1 - s0) / np.log(p / (1 - p))),
            Mistake("The two shares are p and 1 - p: their ratio is p / (1 - p).",
                    lambda s0, s1, p: (s1 - s0) / np.log(p / (1 + p))),
            Mistake("The lead is missing: the temperature must grow with s1 - s0.",
                    lambda s0, s1, p: 1 / np.log(p / (1 - p))),
            Mistake("That is the lead that the share needs at temperature 1. Which temperature "
                    "turns the given lead into it?", lambda s0, s1, p: np.log(p / (1 - p))),
            Mistake("You multiplied by the logarithm. Solve (s1 - s0) / τ = log(p / (1 - p)) for "
                    "τ.", lambda s0, s1, p: (s1 - s0) * np.log(p / (1 - p))),
            Mistake("You returned the share of the second key at temperature 1. The question is "
                    "the other way round: from the share to the temperature.",
                    lambda s0, s1, p: 1 / (1 + np.exp(s0 - s1))),
        ]),
]
