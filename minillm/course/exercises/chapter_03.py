"""The exercises of chapter 3: heads, masks and cross-attention."""

import numpy as np

from minillm.course.checking import Exercise, Mistake


def _softmax(S, axis=-1):
    with np.errstate(invalid="ignore"):  # mistakes make rows of -inf
        P = np.exp(S - S.max(axis=axis, keepdims=True))
        return P / P.sum(axis=axis, keepdims=True)


# ---- 3.1


def _split_heads(x, H):
    T, width = x.shape
    return x.reshape(T, H, width // H).transpose(1, 0, 2)


def _head_rows(x, H):
    """The rows are cut into heads, not the columns."""
    return x.reshape(H, len(x) // H, x.shape[1])


# ---- 3.2


def _allowed(Tq, Tk, shift=0):
    return np.tri(Tq, Tk, Tk - Tq + shift, dtype=bool)


def _causal_weights(S):
    return _softmax(np.where(_allowed(*S.shape), S, -np.inf))


def _renormalized_columns(S):
    P = _softmax(S) * _allowed(*S.shape)
    return P / P.sum(axis=0)


# ---- 3.3


def _heads(Q, K, V, H, scale=lambda d, D: D**-0.5, axis=-1, merge=None):
    d = Q.shape[1]
    heads = []
    for q, k, v in zip(*(np.split(A, H, axis=1) for A in (Q, K, V))):
        heads.append(_softmax(scale(d, d // H) * (q @ k.T), axis) @ v)
    return np.concatenate(heads, axis=1) if merge is None else merge(heads)


def _repaired_attention(Q, K, V, H):
    return _heads(Q, K, V, H)


def _one_head(Q, K, V, H):
    return _softmax(Q @ K.T / np.sqrt(Q.shape[1])) @ V


def _causal_heads(Q, K, V, H):
    heads = [_causal_weights(q @ k.T / np.sqrt(q.shape[1])) @ v
             for q, k, v in zip(*(np.split(A, H, axis=1) for A in (Q, K, V)))]
    return np.concatenate(heads, axis=1)


def _scaled_after(Q, K, V, H):
    D = Q.shape[1] // H
    return _heads(Q, K, V, H, scale=lambda d, D: 1.0) / np.sqrt(D)


def _interleaved_heads(Q, K, V, H):
    columns = np.arange(Q.shape[1]).reshape(-1, H).T.ravel()
    out = np.empty_like(Q)
    out[:, columns] = _heads(Q[:, columns], K[:, columns], V[:, columns], H)
    return out


# ---- 3.4


def _cross_attention(Y, M, W_Q, W_K, W_V, real):
    Q, K, V = Y @ W_Q, M @ W_K, M @ W_V
    return _softmax(np.where(real, Q @ K.T / np.sqrt(Q.shape[1]), -np.inf)) @ V


def _cross(scale=lambda D, d: D**-0.5, mask=lambda S, real: np.where(real, S, -np.inf), axis=-1,
           after=lambda P, real: P, value=lambda M, W_K, W_V: M @ W_V):
    def wrong(Y, M, W_Q, W_K, W_V, real):
        Q, K = Y @ W_Q, M @ W_K
        S = scale(Q.shape[1], Y.shape[1]) * (Q @ K.T)
        return after(_softmax(mask(S, real), axis), real) @ value(M, W_K, W_V)
    return wrong


def _cross_case(rng, T, S, n_real, d, d_M, D):
    return (rng.normal(size=(T, d)), rng.normal(size=(S, d_M)), rng.normal(size=(d, D)),
            rng.normal(size=(d_M, D)), rng.normal(size=(d_M, D)), np.arange(S) < n_real)


# ---- 3.5


def _causal(X):
    S = X @ X.T / np.sqrt(X.shape[1])
    return _softmax(np.where(np.tri(len(X), dtype=bool), S, -np.inf)) @ X


def _leaking(X):
    return _softmax(X @ X.T / np.sqrt(X.shape[1])) * np.tri(len(X)) @ X


def _window(X):
    """Each output sees its own input and the one before."""
    return X + 0.5 * np.vstack([np.zeros((1, X.shape[1])), X[:-1]])


def _one_column(X):
    """One number of each output depends on the last number of the first input."""
    out = X.copy()
    out[:, 0] += X[0, -1]
    return out


def _one_number(X):
    """Only one number of each output depends on the first input, on all of it."""
    out = X.copy()
    out[:, 0] += X[0].sum()
    return out


def _weak(X):
    """Output 0 sees the last input, but very little of it."""
    out = _window(X)
    out[0] += 1e-7 * X[-1]
    return out


def _depends(attend, X):
    before = attend(X)
    result = np.zeros((len(X), len(X)), dtype=bool)
    for j in range(len(X)):
        changed = X.copy()
        changed[j] += 1
        result[:, j] = np.any(attend(changed) != before, axis=1)
    return result


def _piling_up(attend, X):
    before, changed = attend(X), X.copy()
    result = np.zeros((len(X), len(X)), dtype=bool)
    for j in range(len(X)):
        changed[j] += 1
        result[:, j] = np.any(attend(changed) != before, axis=1)
    return result


def _one_number_changed(attend, X):
    before = attend(X)
    result = np.zeros((len(X), len(X)), dtype=bool)
    for j in range(len(X)):
        changed = X.copy()
        changed[j, 0] += 1
        result[:, j] = np.any(attend(changed) != before, axis=1)
    return result


def _all_numbers(attend, X):
    before = attend(X)
    result = np.zeros((len(X), len(X)), dtype=bool)
    for j in range(len(X)):
        changed = X.copy()
        changed[j] += 1
        result[:, j] = np.all(attend(changed) != before, axis=1)
    return result


# ---- 3.6

_CACHE = 32 * 2 * 1000 * 8 * 128 * 2


EXERCISES = [
    Exercise(
        "3.1", "split_heads", _split_heads,
        cases=lambda rng: [(rng.normal(size=(6, 8)), 2), (rng.normal(size=(4, 12)), 4),
                           (rng.normal(size=(6, 6)), 3)],
        mistakes=[
            Mistake("You reshape straight to (H, T, D). A reshape keeps the order of the numbers "
                    "in memory, and there one row holds all heads: words and columns get mixed "
                    "up. Cut each row first, then reorder the axes.",
                    lambda x, H: x.reshape(H, len(x), -1)),
            Mistake("The heads are cut, but the axes are (T, H, D): bring the heads to the front.",
                    lambda x, H: x.reshape(len(x), H, -1)),
            Mistake("Your heads take every H-th column. Head h should get the D neighboring "
                    "columns from h D on: the last axis of your reshape is the one that runs "
                    "fastest.",
                    lambda x, H: x.reshape(len(x), -1, H).transpose(2, 0, 1)),
            Mistake("You cut the words into groups, not the columns: each head should see all T "
                    "words.", _head_rows),
            Mistake("Your result is (H, D, T): words and columns of each head are swapped.",
                    lambda x, H: _split_heads(x, H).transpose(0, 2, 1)),
            Mistake("Your heads are (D, T, H): the axes of a transpose are listed in the order of "
                    "the result. Which of the three is the number of heads?",
                    lambda x, H: x.reshape(len(x), H, -1).transpose(2, 0, 1)),
            Mistake("The heads stand in the opposite order: head 0 has the first D columns.",
                    lambda x, H: _split_heads(x, H)[::-1]),
            Mistake("Your axes are (T, D, H), wanted (H, T, D): bring the heads to the front, and "
                    "keep the order of the other two.",
                    lambda x, H: x.reshape(len(x), H, -1).swapaxes(1, 2)),
            Mistake("Your function returns x unchanged.", lambda x, H: x),
            Mistake("You scale the numbers. Splitting only rearranges them; the scale belongs to "
                    "the scores.",
                    lambda x, H: _split_heads(x, H) / np.sqrt(x.shape[1] // H)),
            Mistake("That is only head 0. The result has all H heads, (H, T, D).",
                    lambda x, H: _split_heads(x, H)[0]),
            Mistake("You took H as the width of a head. H is the number of heads; a head has the "
                    "width x.shape[1] // H.",
                    when=lambda got, want, x, H: np.shape(got) == (x.shape[1] // H, len(x), H)),
        ],
    ),
    Exercise(
        "3.2", "causal_weights", _causal_weights,
        cases=lambda rng: [(rng.normal(size=(4, 4)),), (rng.normal(size=(2, 5)),),
                           (3 * rng.normal(size=(6, 6)),), (rng.normal(size=(1, 3)),)],
        mistakes=[
            Mistake("You multiply by the mask after the softmax, so the rows don't sum to 1, and "
                    "their sums depend on the hidden scores. Hide the scores before the softmax.",
                    lambda S: _softmax(S) * _allowed(*S.shape)),
            Mistake("You set the hidden scores to 0, and exp(0) = 1: they still get weight. Which "
                    "score has the weight 0?",
                    lambda S: _softmax(np.where(_allowed(*S.shape), S, 0))),
            Mistake("You hide scores with a negative number that is too small in size: hidden "
                    "keys still get some weight. Use -np.inf.",
                    when=lambda got, want, S: got.shape == want.shape
                    and np.allclose(got.sum(axis=1), 1)
                    and 1e-12 < got[~_allowed(*S.shape)].max(initial=0) < 1e-2),
            Mistake("Your mask hides the past and shows the future: query i may see the keys j "
                    "with j <= i, the lower triangle.",
                    lambda S: _softmax(np.where(~_allowed(*S.shape, -1), S, -np.inf))),
            Mistake("Your mask hides the word itself too. A query sees its own key: the diagonal "
                    "is allowed. (A first query without any key gives 0 / 0.)",
                    when=lambda got, want, S: np.allclose(
                        got[1:] if len(S) == S.shape[1] else got,
                        _softmax(np.where(_allowed(*S.shape, -1), S, -np.inf))[
                            1 if len(S) == S.shape[1] else 0 :])),
            Mistake("Your mask lets each query see one key too many, the next word. Allowed is "
                    "j <= i, not j <= i + 1.",
                    lambda S: _softmax(np.where(_allowed(*S.shape, 1), S, -np.inf))),
            Mistake("With fewer queries than keys your triangle begins at the left. The queries "
                    "are the end of the text: the last one sees all keys. Move the diagonal by "
                    "Tk - Tq.",
                    lambda S: _softmax(np.where(np.tri(*S.shape, dtype=bool), S, -np.inf))),
            Mistake("The diagonal is moved to the wrong side: query i sees j <= i + (Tk - Tq).",
                    when=lambda got, want, S: S.shape[0] < S.shape[1]
                    and np.isnan(got).any() or got.shape == want.shape and np.array_equal(
                        got > 0, np.tri(*S.shape, S.shape[0] - S.shape[1], dtype=bool))),
            Mistake("Your mask is inverted: it hides the past and the word itself, and the last "
                    "query sees nothing.",
                    when=lambda got, want, S: np.allclose(
                        got, _softmax(np.where(_allowed(*S.shape), -np.inf, S)), equal_nan=True)),
            Mistake("You multiply scores by -inf, and a negative score becomes +inf. Replace the "
                    "hidden scores by -inf, or add it to them.",
                    when=lambda got, want, S: np.isnan(got).any() and np.allclose(
                        got, _softmax(S * np.where(_allowed(*S.shape), 1, -np.inf)),
                        equal_nan=True)),
            Mistake("You hide keys with +inf. exp(-inf) is 0; exp(+inf) is infinite.",
                    when=lambda got, want, S: np.allclose(
                        got, _softmax(np.where(_allowed(*S.shape), S, np.inf)), equal_nan=True)),
            Mistake("You add the mask as 0 and 1. Allowed scores stay as they are (plus 0), "
                    "hidden ones become -inf.", lambda S: _softmax(S + _allowed(*S.shape))),
            Mistake("You divide by the sum of the whole matrix. Each row has its own sum.",
                    lambda S: np.where(_allowed(*S.shape), np.exp(S), 0)
                    / np.exp(S)[_allowed(*S.shape)].sum()),
            Mistake("You softmax over the queries, axis 0. The weights of one query sum to 1: "
                    "axis 1.",
                    lambda S: _softmax(np.where(_allowed(*S.shape), S, -np.inf), axis=0)),
            Mistake("Your rows don't sum to 1, but your columns do: normalize over the keys, "
                    "axis 1.",
                    _renormalized_columns),
            Mistake("There is no mask in it yet: these are the weights over all keys.", _softmax),
            Mistake("These are masked scores, not weights: the softmax is missing.",
                    lambda S: np.where(_allowed(*S.shape), S, -np.inf)),
            Mistake("You exponentiate, but don't divide by the sum of the row.",
                    when=lambda got, want, S: not np.allclose(got.sum(axis=1), 1) and np.allclose(
                        got / got.sum(axis=1, keepdims=True), want)),
            Mistake("You scale the scores once more. S is scaled already.",
                    lambda S: _causal_weights(S / np.sqrt(S.shape[1]))),
        ],
    ),
    Exercise(
        "3.3", "repaired_attention", _repaired_attention,
        cases=lambda rng: [(*rng.normal(size=(3, 4, 8)), 2), (*rng.normal(size=(3, 3, 12)), 4),
                           (*rng.normal(size=(3, 5, 6)), 3)],
        mistakes=[
            Mistake("The bug is still there. Do one head with pencil and paper, as this chapter "
                    "does with the running example, and compare every step: slices, scores, "
                    "weights, output.",
                    lambda Q, K, V, H: _heads(Q, K, V, H, lambda d, D: d**-0.5)),
            Mistake("Now there is no scale at all. It is 1/√D with the width of a head; what was "
                    "wrong was which width.",
                    lambda Q, K, V, H: _heads(Q, K, V, H, lambda d, D: 1.0)),
            Mistake("You scale by 1/√H, with the number of heads. The dot products have D = d/H "
                    "terms.", lambda Q, K, V, H: _heads(Q, K, V, H, lambda d, D: (d / D) ** -0.5)),
            Mistake("You divide by D, not by its square root.",
                    lambda Q, K, V, H: _heads(Q, K, V, H, lambda d, D: 1 / D)),
            Mistake("You multiply by √D instead of dividing.",
                    lambda Q, K, V, H: _heads(Q, K, V, H, lambda d, D: D**0.5)),
            Mistake("You scale by the number of words. D is the width of a head: its columns, not "
                    "its rows.",
                    lambda Q, K, V, H: _heads(Q, K, V, H, lambda d, D: len(Q) ** -0.5)),
            Mistake("You scale the output. The scale belongs to the scores, before the softmax.",
                    _scaled_after),
            Mistake("Your scale is 1/√(d H), still smaller than before. A head has d / H columns.",
                    lambda Q, K, V, H: _heads(Q, K, V, H, lambda d, D: (d * d / D) ** -0.5)),
            Mistake("You removed the split: this is a single head as wide as d.", _one_head),
            Mistake("The softmax now runs over the queries, axis 0. It was right before: over the "
                    "keys.", lambda Q, K, V, H: _heads(Q, K, V, H, axis=0)),
            Mistake("The heads stand below each other, (H T, D). They belong side by side, axis "
                    "1.",
                    lambda Q, K, V, H: _heads(Q, K, V, H,
                                              merge=lambda h: np.concatenate(h, axis=0))),
            Mistake("The heads are merged in the wrong order: a reshape of (H, T, D) mixes words "
                    "and heads. Concatenating along axis 1 was right.",
                    lambda Q, K, V, H: _heads(Q, K, V, H,
                                              merge=lambda h: np.array(h).reshape(len(Q), -1))),
            Mistake("The heads are added. They belong side by side, (T, d).",
                    lambda Q, K, V, H: _heads(Q, K, V, H, merge=sum)),
            Mistake("You average the heads. They belong side by side, (T, d).",
                    lambda Q, K, V, H: _heads(Q, K, V, H, merge=lambda h: np.mean(h, axis=0))),
            Mistake("The result has three axes: the heads are stacked. They belong side by side, "
                    "(T, d).", when=lambda got, want, Q, K, V, H: np.ndim(got) == 3),
            Mistake("The heads stand in the opposite order.",
                    lambda Q, K, V, H: _heads(Q, K, V, H,
                                              merge=lambda h: np.concatenate(h[::-1], axis=1))),
            Mistake("The keys ask and the queries answer: scores are q kᵀ, with a row for each "
                    "query.", lambda Q, K, V, H: _heads(K, Q, V, H)),
            Mistake("You scale twice, by 1/√d and by 1/√D. Once is enough, with D.",
                    lambda Q, K, V, H: _heads(Q, K, V, H, lambda d, D: (d * D) ** -0.5)),
            Mistake("You added a causal mask. Nobody asked for one; the bug is elsewhere.",
                    _causal_heads),
            Mistake("Your scale is √D / √d or √H / √d: one root too many. The dot product of a "
                    "head has D = d / H terms, and the scale is 1/√D.",
                    when=lambda got, want, Q, K, V, H: any(np.allclose(got, _heads(
                        Q, K, V, H, scale)) for scale in (
                            lambda d, D: D**0.5 / d**0.5, lambda d, D: D / d**0.5))),
            Mistake("Your heads take every H-th column. The slices of neighboring columns were "
                    "right.", _interleaved_heads),
        ],
    ),
    Exercise(
        "3.4", "cross_attention", _cross_attention,
        cases=lambda rng: [_cross_case(rng, 2, 4, 3, 5, 6, 3), _cross_case(rng, 3, 5, 2, 4, 3, 4),
                           _cross_case(rng, 5, 4, 4, 6, 5, 2)],
        mistakes=[
            Mistake("The scale is missing: divide the scores by √D, the width of queries and "
                    "keys.",
                    _cross(scale=lambda D, d: 1.0)),
            Mistake("You scale by √d, the width of Y. The dot products have D terms, the width of "
                    "the queries.", _cross(scale=lambda D, d: d**-0.5)),
            Mistake("You divide by D, not by its square root.", _cross(scale=lambda D, d: 1 / D)),
            Mistake("You scale by the width of M. The dot products have D terms, the width of the "
                    "queries.", lambda Y, M, W_Q, W_K, W_V, real: _cross(
                        scale=lambda D, d: M.shape[1] ** -0.5)(Y, M, W_Q, W_K, W_V, real)),
            Mistake("You scale by the number of words of the memory. The dot products have D "
                    "terms, the width of the queries.", lambda Y, M, W_Q, W_K, W_V, real: _cross(
                        scale=lambda D, d: len(M) ** -0.5)(Y, M, W_Q, W_K, W_V, real)),
            Mistake("You set the padded words to 0. Their scores are then 0, and exp(0) = 1: they "
                    "still get weight.", lambda Y, M, W_Q, W_K, W_V, real: _cross(
                        mask=lambda S, real: S)(Y, M * real[:, None], W_Q, W_K, W_V, real)),
            Mistake("W_K and W_V have changed places: keys are M W_K, values are M W_V.",
                    lambda Y, M, W_Q, W_K, W_V, real: _cross_attention(Y, M, W_Q, W_V, W_K, real)),
            Mistake("You added a causal mask. The whole memory is known from the start; only "
                    "padding is hidden.",
                    _cross(mask=lambda S, real: np.where(real & np.tri(*S.shape, dtype=bool), S,
                                                         -np.inf))),
            Mistake("You add `real` to the scores, 1 for real words and 0 for padding. Padding "
                    "needs -inf.", _cross(mask=lambda S, real: S + real)),
            Mistake("The mask is missing: padding in the memory gets weight. Hide the columns of "
                    "the scores where `real` is False.", _cross(mask=lambda S, real: S)),
            Mistake("You mask after the softmax, so the weights of the real words don't sum to 1. "
                    "Hide the scores before it.",
                    _cross(mask=lambda S, real: S, after=lambda P, real: P * real)),
            Mistake("You set hidden scores to 0, and exp(0) = 1: padding still gets weight.",
                    _cross(mask=lambda S, real: np.where(real, S, 0))),
            Mistake("Your mask is inverted: it hides the real words.",
                    when=lambda got, want, Y, M, W_Q, W_K, W_V, real: np.isnan(got).all()
                    if real.all() else np.allclose(
                        got, _cross_attention(Y, M, W_Q, W_K, W_V, ~real))),
            Mistake("You softmax over the queries, axis 0. Each query's weights sum to 1 over the "
                    "memory, axis 1.", _cross(axis=0)),
            Mistake("Your values are the keys: V = M W_V.",
                    _cross(value=lambda M, W_K, W_V: M @ W_K)),
            Mistake("You forgot the softmax: the scores themselves weight the values.",
                    lambda Y, M, W_Q, W_K, W_V, real: np.where(
                        real, (Y @ W_Q) @ (M @ W_K).T / np.sqrt(W_Q.shape[1]), 0) @ (M @ W_V)),
            Mistake("Those are the weights, (T, S). Multiply them by the values.",
                    when=lambda got, want, Y, M, W_Q, W_K, W_V, real: np.shape(got) == (
                        len(Y), len(M)) and np.allclose(np.sum(got, axis=1), 1)),
            Mistake("The result has a row for each word of the memory: the memory asks. Queries "
                    "come from Y, keys and values from M.",
                    when=lambda got, want, Y, M, W_Q, W_K, W_V, real: np.shape(got)
                    == (len(M), W_V.shape[1])),
        ],
    ),
    Exercise(
        "3.5", "depends", _depends,
        cases=lambda rng: [(_causal, rng.normal(size=(4, 5))), (_leaking, rng.normal(size=(4, 5))),
                           (_window, rng.normal(size=(5, 3))), (_weak, rng.normal(size=(4, 3))),
                           (_one_column, rng.normal(size=(3, 4))),
                           (_one_number, rng.normal(size=(3, 4)))],
        mistakes=[
            Mistake("Rows and columns are swapped: [i, j] says whether output i depends on input "
                    "j, so changing input j fills the column j.",
                    lambda attend, X: _depends(attend, X).T),
            Mistake("The changes pile up: when input j is changed, the earlier inputs still are. "
                    "Start from a fresh copy of X for every j.", _piling_up),
            Mistake("You say yes only if all numbers of an output move. One is enough: np.any, "
                    "not np.all.", _all_numbers),
            Mistake("Your comparison is too tolerant, so it misses a small leak. What doesn't "
                    "depend on an input doesn't move at all: compare exactly.",
                    when=lambda got, want, attend, X: attend is _weak),
            Mistake("True and False are exchanged: True means that the output depends on the "
                    "input.",
                    lambda attend, X: ~_depends(attend, X)),
            Mistake("You give numbers, how far each output moves. Asked is yes or no: compare "
                    "them with 0.",
                    when=lambda got, want, attend, X: np.asarray(got).dtype.kind == "f"
                    and np.array_equal(np.asarray(got) != 0, want)),
            Mistake("That is the mask one would like to see, not what `attend` does: the answer "
                    "has to come from running it.",
                    lambda attend, X: np.tri(len(X), dtype=bool)),
            Mistake("You change one number of an input, and some outputs depend on another one. "
                    "Change the whole row.", _one_number_changed),
            Mistake("The diagonal is False. An output may depend on its own input; here it does.",
                    lambda attend, X: _depends(attend, X) & ~np.eye(len(X), dtype=bool)),
            Mistake("You say yes to every pair. Compare row i of the two outputs for each i, not "
                    "the whole arrays.", when=lambda got, want, attend, X: np.all(got)),
            Mistake("Your result has an entry for each number. An output depends on an input if "
                    "any of its numbers does: np.any over the last axis.",
                    when=lambda got, want, attend, X: np.ndim(got) == 3),
            Mistake("You answer once for all pairs. The result is a (T, T) table.",
                    when=lambda got, want, attend, X: np.ndim(got) == 0),
        ],
    ),
    Exercise(
        "3.6", "cache_bytes", _CACHE, tolerance=1e-9,
        mistakes=[
            Mistake("Half of it. One factor of 2 is missing: keys and values are both kept, and "
                    "each number takes 2 bytes.", _CACHE / 2),
            Mistake("Four times too much. Only the 8 heads of keys and values are kept, not 32; "
                    "and a head is d / 32 wide, for queries and for keys.", _CACHE * 4),
            Mistake("That is one layer. Every layer has its own keys and values.", _CACHE / 32),
            Mistake("That is one token. The cache holds the keys and values of all 1,000.",
                    _CACHE / 1000),
            Mistake("You took the head's width as 4096. A head is 4096 / 32 = 128 wide.",
                    _CACHE * 32),
            Mistake("You cached the queries too. They are never read again: only keys and values "
                    "are kept.", _CACHE * 1.5),
            Mistake("Those are bits. A byte has 8 of them.", _CACHE * 8),
            Mistake("You took 4 bytes per number (float32), or counted something twice: the text "
                    "says 2.", _CACHE * 2),
            Mistake("You took one key head. There are 8.", _CACHE / 8),
            Mistake("Neither keys and values nor the bytes of a number are in it: two factors of "
                    "2 are missing.", _CACHE / 4),
            Mistake("You counted 1,024 tokens; the text has 1,000.", _CACHE * 1.024),
            Mistake("Sixteen times too much: all 32 heads, and a width of 4096 / 8. Only 8 heads "
                    "are kept, and each is 4096 / 32 wide.", _CACHE * 16),
            Mistake("The width of a head, 128, is missing.", _CACHE / 128),
            Mistake("That is one layer, and a factor of 2 is missing too: keys and values, 2 "
                    "bytes each.", _CACHE / 64),
            Mistake("That is one key head, and a factor of 2 is missing too: keys and values, 2 "
                    "bytes each.", _CACHE / 16),
            Mistake("That is in megabytes or gigabytes. Give bytes.",
                    when=lambda got, want: 120 < got < 140 or 0.12 < got < 0.14),
            Mistake("Give the number itself, not a text.",
                    when=lambda got, want: isinstance(got, str)),
        ],
    ),
]
