"""The exercises of chapter 13, The Transformer of 2017."""

from collections import Counter

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 13.1 decoder_inputs


def _decoder_inputs(labels, start, pad, *, keep=-1):
    inputs = np.full_like(labels, start)
    inputs[:, 1:] = labels[:, :keep]
    return np.where(inputs == -100, pad, inputs)


def _shift_left(labels, start, pad):
    shifted = np.concatenate([labels[:, 1:], np.full((len(labels), 1), pad)], axis=1)
    return np.where(shifted == -100, pad, shifted)


def _prepend(labels, start, pad, *, filled=True):
    longer = np.concatenate([np.full((len(labels), 1), start), labels], axis=1)
    return np.where(longer == -100, pad, longer) if filled else longer


def _roll(labels, start, pad):
    rolled = np.roll(labels, 1, axis=1)
    return np.where(rolled == -100, pad, rolled)


def _start_for_padding(labels, start, pad):
    inputs = _decoder_inputs(labels, start, -100)
    return np.where(inputs == -100, start, inputs)


def _overwrite_first(labels, start, pad):
    inputs = np.where(labels == -100, pad, labels)
    inputs[:, 0] = start
    return inputs


def _shift_rows(labels, start, pad):
    inputs = np.full_like(labels, start)
    inputs[1:] = labels[:-1]
    return np.where(inputs == -100, pad, inputs)


def _label_cases(rng):
    ragged = rng.integers(3, 20, size=(3, 6))
    ragged[0, 4:] = ragged[2, 2:] = -100
    return [(ragged, 1, 0), (rng.integers(3, 20, size=(2, 4)), 2, 0),
            (np.array([[7, 2, -100], [5, 9, 2]]), 4, 11)]


_INPUT_MISTAKES = [
    Mistake("You shift to the left: position t then reads the token *after* the one it is asked "
            "for. Put the start token in front, and let each label move one position to the right.",
            wrong=_shift_left),
    Mistake("You don't shift: the decoder reads the very token that it is asked for.",
            wrong=lambda labels, start, pad: np.where(labels == -100, pad, labels)),
    Mistake("You forget to replace -100. It is no token, and has no row in the embedding table.",
            wrong=lambda labels, start, pad: _decoder_inputs(labels, start, -100)),
    Mistake("The result is one position too long: the last label is never read, for nothing "
            "follows it.", wrong=_prepend),
    Mistake("The result is one position too long, and -100 is still in it.",
            wrong=lambda *arguments: _prepend(*arguments, filled=False)),
    Mistake("You roll: the last label comes back as the first token. The start token belongs "
            "there.", wrong=_roll),
    Mistake("Padding became the start token. Replace -100 by pad; the start token stands only in "
            "front.", wrong=_start_for_padding),
    Mistake("You put the start token over the first label. That label is lost, and the others "
            "haven't moved.", wrong=_overwrite_first),
    Mistake("You shift along axis 0, from one sequence of the batch to the next. Positions are "
            "axis 1.", wrong=_shift_rows),
    Mistake("The pad token stands in front. The decoder begins with `start`.",
            wrong=lambda labels, start, pad: _decoder_inputs(labels, pad, pad)),
    Mistake("The start and the padding are the wrong way around.",
            wrong=lambda labels, start, pad: _decoder_inputs(labels, pad, start)),
    Mistake("You shift by two positions.",
            wrong=lambda labels, start, pad: _decoder_inputs(
                _decoder_inputs(labels, start, pad), start, pad)),
]

# ---- 13.2 smoothed_gradient


def _softmax(z, axis=-1):
    p = np.exp(z - z.max(axis=axis, keepdims=True))
    return p / p.sum(axis=axis, keepdims=True)


def _one_hot(z, target):
    return (np.arange(len(z)) == target).astype(float)


def _smoothed_gradient(z, target, eps):
    return _softmax(z) - (1 - eps) * _one_hot(z, target) - eps / len(z)


def _share_of_the_others(z, target, eps):
    V, hot = len(z), _one_hot(z, target)
    return _softmax(z) - (1 - eps) * hot - eps / (V - 1) * (1 - hot)


def _no_share_for_the_target(z, target, eps):
    hot = _one_hot(z, target)
    return _softmax(z) - (1 - eps) * hot - eps / len(z) * (1 - hot)


_GRADIENT_MISTAKES = [
    Mistake("That is the gradient without smoothing: p minus 1 at the target.",
            wrong=lambda z, target, eps: _softmax(z) - _one_hot(z, target)),
    Mistake("The sign: the gradient is p - q. It is negative at the target, so that a step against "
            "it raises the target's logit.",
            wrong=lambda z, target, eps: -_smoothed_gradient(z, target, eps)),
    Mistake("You share ε among the V - 1 other tokens. In this chapter's q the target gets a share "
            "too: ε / V for each of the V tokens.", wrong=_share_of_the_others),
    Mistake("Your q doesn't sum to 1: the target gets 1 - ε *and* its share ε / V.",
            wrong=_no_share_for_the_target),
    Mistake("Your q doesn't sum to 1: the target gets 1 - ε + ε / V, not 1 + ε / V.",
            wrong=lambda z, target, eps: _softmax(z) - _one_hot(z, target) - eps / len(z)),
    Mistake("You forget the share of all tokens, ε / V.",
            wrong=lambda z, target, eps: _softmax(z) - (1 - eps) * _one_hot(z, target)),
    Mistake("You have ε and 1 - ε the wrong way around: most of q is at the target.",
            wrong=lambda z, target, eps: _smoothed_gradient(z, target, 1 - eps)),
    Mistake("Each token gets ε / V, not ε.",
            wrong=lambda z, target, eps: _softmax(z) - (1 - eps) * _one_hot(z, target) - eps),
    Mistake("You subtract q from the logits. It is p - q, with p = softmax(z).",
            wrong=lambda z, target, eps: z - (1 - eps) * _one_hot(z, target) - eps / len(z)),
    Mistake("That is q. The gradient is p - q.",
            wrong=lambda z, target, eps: (1 - eps) * _one_hot(z, target) + eps / len(z)),
    Mistake("That is p. The gradient is p - q.", wrong=lambda z, target, eps: _softmax(z)),
    Mistake("You divide by V. One token has one loss: no mean is taken over the logits.",
            wrong=lambda z, target, eps: _smoothed_gradient(z, target, eps) / len(z)),
    Mistake("You return the loss, one number. Its gradient has an entry for each logit.",
            when=lambda got, want, *rest: np.ndim(got) == 0),
    Mistake("Smoothing belongs to q, the wanted distribution, not to p.",
            wrong=lambda z, target, eps: ((1 - eps) * _softmax(z) + eps / len(z)
                                          - _one_hot(z, target))),
]

# ---- 13.3 cross_attention


def _cross_attention(q, k, v, mask, *, fill=-np.inf, scale=True, axis=-1):
    scores = q @ k.transpose(0, 2, 1)
    if scale:
        scores = scores / np.sqrt(q.shape[-1])
    scores = np.where(mask[:, None, :], scores, fill)
    with np.errstate(invalid="ignore"):
        return _softmax(scores, axis) @ v


def _with_bug(q, k, v, mask):
    P = _softmax(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]))
    return np.where(mask[:, None, :], P, 0) @ v


def _divided_by_all_keys(q, k, v, mask):
    P = np.where(mask[:, None, :], _softmax(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])), 0)
    return P / mask.shape[1] @ v


def _zero_queries(q, k, v, mask):
    out = _cross_attention(q, k, v, np.ones_like(mask))
    n = min(out.shape[1], mask.shape[1])
    out[:, :n] = out[:, :n] * mask[:, :n, None]
    return out


def _cross_cases(rng):
    def case(B, T, S, D, lengths):
        mask = np.arange(S) < np.array(lengths)[:, None]
        return (2 * rng.normal(size=(B, T, D)), 2 * rng.normal(size=(B, S, D)),
                rng.normal(size=(B, S, D)), mask)

    return [case(2, 3, 5, 4, [5, 2]), case(3, 4, 4, 2, [1, 4, 3]), case(1, 2, 3, 4, [3])]


_CROSS_MISTAKES = [
    Mistake("The bug is still there. What do the weights of a source with padding sum to?",
            wrong=_with_bug),
    Mistake("Padding gets the score 0 before the softmax (a product with the mask does that, too). "
            "A score of 0 is an ordinary one, with the weight e⁰: use −∞.",
            wrong=lambda *arguments: _cross_attention(*arguments, fill=0.0)),
    Mistake("The mask is the wrong way around: True is a real token.",
            wrong=lambda q, k, v, mask: _cross_attention(q, k, v, ~mask)),
    Mistake("The mask is gone: padding gets attention again.",
            wrong=lambda q, k, v, mask: _cross_attention(q, k, v, np.ones_like(mask))),
    Mistake("Now the scale 1/√D is missing.",
            wrong=lambda *arguments: _cross_attention(*arguments, scale=False)),
    Mistake("The softmax now goes over the queries. The weights of one query must sum to 1 over "
            "the keys, the last axis.", wrong=lambda *arguments: _cross_attention(*arguments, axis=1)),
    Mistake("You divide by the number of keys, padding included. Divide each row by the sum of its "
            "own weights, or mask before the softmax.", wrong=_divided_by_all_keys),
    Mistake("You set results of queries to 0. The mask is about keys: padding of the *source*, "
            "which no query may see.", wrong=_zero_queries),
    Mistake("Padding with the score +∞ gets all of the weight, and then nan. It needs −∞.",
            when=lambda got, want, q, k, v, mask: np.isnan(np.asarray(got, float)).any()),
    Mistake("A small negative number isn't enough: padding keeps a part of the weight. Use −∞, or "
            "at least −10⁹.",
            wrong=lambda *arguments: _cross_attention(*arguments, fill=-1.0)),
    Mistake("You return the weights, (B, T, S). The weighted values are wanted.",
            when=lambda got, want, q, k, v, mask: np.shape(got) == (*q.shape[:2], k.shape[1])
            and k.shape[1] != v.shape[2]),
]

# ---- 13.4 beam_step


def _beam_step(scores, log_probs, *, total=lambda s, lp: s[:, None] + lp, k=len, sign=-1):
    sums = total(scores, log_probs)
    best = np.argsort(sign * sums, axis=None, kind="stable")[: k(scores)]
    V = log_probs.shape[1]
    return sums.ravel()[best], best // V, best % V


def _step_with(**changes):
    return lambda scores, log_probs: _beam_step(scores, log_probs, **changes)


def _one_child_each(scores, log_probs):
    total = scores[:, None] + log_probs
    tokens = total.argmax(axis=1)
    best = total.max(axis=1)
    order = np.argsort(-best)
    return best[order], order, tokens[order]


def _only_the_first_beam(scores, log_probs):
    tokens = np.argsort(-log_probs[0])[: len(scores)]
    return scores[0] + log_probs[0, tokens], np.zeros(len(tokens), int), tokens


def _reordered(change):
    return lambda scores, log_probs: change(*_beam_step(scores, log_probs))


def _new_scores_only(scores, log_probs):
    _, beams, tokens = _beam_step(scores, log_probs)
    return log_probs[beams, tokens], beams, tokens


def _beam_cases(rng):
    def log_softmax(z):
        return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))

    return [
        (np.array([-1.0, -1.2, -4.0]), log_softmax(2 * rng.normal(size=(3, 5)))),
        (np.array([-0.5, -3.0]), log_softmax(rng.normal(size=(2, 6)))),
        (np.array([-2.0, -2.1, -2.2, -2.3]), log_softmax(3 * rng.normal(size=(4, 7)))),
        (np.array([-1.5]), log_softmax(rng.normal(size=(1, 4)))),
    ]


_BEAM_MISTAKES = [
    Mistake("You give each beam its one best continuation. The k best of *all* k V continuations "
            "are wanted: a good beam may have several, a bad one none.", wrong=_one_child_each),
    Mistake("You forget what the beams have cost so far: add scores to log_probs.",
            wrong=_step_with(total=lambda s, lp: lp)),
    Mistake("You choose rightly, but return the log-probability of the last token alone. The score "
            "of a beam is the sum.", wrong=_new_scores_only),
    Mistake("You multiply. Probabilities multiply, so their logarithms add.",
            wrong=_step_with(total=lambda s, lp: s[:, None] * lp)),
    Mistake("You return the k worst: log-probabilities are negative, and the best is the largest.",
            wrong=_step_with(sign=1)),
    Mistake("They are in the wrong order: the best first.",
            wrong=_reordered(lambda s, b, t: (s[::-1], b[::-1], t[::-1]))),
    Mistake("Beams and tokens are the wrong way around.",
            wrong=_reordered(lambda s, b, t: (s, t, b))),
    Mistake("You extend only the first beam.", wrong=_only_the_first_beam),
    Mistake("You return all continuations. Only the k best go on.",
            wrong=_step_with(k=lambda scores: None)),
    Mistake("You return one beam. There are as many as before.",
            wrong=_step_with(k=lambda scores: 1)),
    Mistake("You split the flat index by k. There are V continuations in a row: divide by V, and "
            "take the remainder by V.",
            wrong=lambda scores, log_probs: (
                lambda s, b, t, k: (s, (b * log_probs.shape[1] + t) // k,
                                    (b * log_probs.shape[1] + t) % k))(
                *_beam_step(scores, log_probs), len(scores))),
    Mistake("You return probabilities. The scores stay logarithms.",
            wrong=_reordered(lambda s, b, t: (np.exp(s), b, t))),
    Mistake("You return flat indices as tokens: take them modulo V.",
            wrong=lambda scores, log_probs: (
                lambda s, b, t: (s, b, b * log_probs.shape[1] + t))(
                *_beam_step(scores, log_probs))),
]

# ---- 13.5 precision


def _n_grams(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _precision(translation, reference, n):
    ours, theirs = Counter(_n_grams(translation, n)), Counter(_n_grams(reference, n))
    return (ours & theirs).total() / ours.total() if ours else 0.0


def _share(matched, whole):
    return float(matched / whole) if whole else 0.0


def _unclipped(translation, reference, n):
    ours, theirs = _n_grams(translation, n), set(_n_grams(reference, n))
    return _share(sum(gram in theirs for gram in ours), len(ours))


def _different_n_grams(translation, reference, n):
    ours, theirs = set(_n_grams(translation, n)), set(_n_grams(reference, n))
    return _share(len(ours & theirs), len(ours))


def _matched_types(translation, reference, n):
    ours, theirs = _n_grams(translation, n), _n_grams(reference, n)
    return _share(len(set(ours) & set(theirs)), len(ours))


def _blocks(translation, reference, n):
    def cut(words):
        return Counter(tuple(words[i : i + n]) for i in range(0, len(words) - n + 1, n))

    return _share((cut(translation) & cut(reference)).total(), cut(translation).total())


def _same_places(translation, reference, n):
    ours, theirs = _n_grams(translation, n), _n_grams(reference, n)
    return _share(sum(a == b for a, b in zip(ours, theirs)), len(ours))


def _one_too_few(translation, reference, n):
    ours, theirs = (Counter(_n_grams(words, n)[:-1]) for words in (translation, reference))
    return _share((ours & theirs).total(), ours.total())


def _unordered(translation, reference, n):
    ours, theirs = (Counter(tuple(sorted(gram)) for gram in _n_grams(words, n))
                    for words in (translation, reference))
    return _share((ours & theirs).total(), ours.total())


def _all_up_to(translation, reference, n):
    pairs = [(Counter(_n_grams(translation, m)), Counter(_n_grams(reference, m)))
             for m in range(1, n + 1)]
    return _share(sum((a & b).total() for a, b in pairs), sum(a.total() for a, _ in pairs))


def _precision_cases(rng):
    return [
        ("the the the cat sat on the mat".split(), "the cat sat on the mat the cat".split(), 1),
        ("on the mat the cat sat on the mat".split(), "the cat sat on the mat today".split(), 2),
        ("a b c a b c d".split(), "x a b c d".split(), 3),
        ("b a c".split(), "a b c c a".split(), 2),
        ("a b".split(), "a b c".split(), 4),
        ("the the the".split(), "the cat".split(), 1),
        ("the cat the cat the dog".split(), "dog the cat the mat the cat".split(), 2),
    ]


_PRECISION_MISTAKES = [
    Mistake("You don't clip: an n-gram matches at most as often as the reference has it. \"the the "
            "the\" has one match in \"the cat\".", wrong=_unclipped),
    Mistake("That is the recall: you divide by the n-grams of the reference, not by those of the "
            "translation.",
            wrong=lambda translation, reference, n: _share(
                (Counter(_n_grams(translation, n)) & Counter(_n_grams(reference, n))).total(),
                len(_n_grams(reference, n)))),
    Mistake("You count each different n-gram once. Repetitions count, up to the number in the "
            "reference.", wrong=_different_n_grams),
    Mistake("You count each different match once, but divide by all n-grams. A second occurrence "
            "matches too, if the reference has it twice.", wrong=_matched_types),
    Mistake("The n-grams overlap: one begins at every word, not only at every n-th.",
            wrong=_blocks),
    Mistake("You compare n-grams at the same place. They may stand anywhere in the reference.",
            wrong=_same_places),
    Mistake("The last n-gram is missing: there are len(words) - n + 1 of them.",
            wrong=_one_too_few),
    Mistake("You count single words, whatever n is.",
            wrong=lambda translation, reference, n: _precision(translation, reference, 1)),
    Mistake("The order inside an n-gram counts: don't sort it, or make a set of it.",
            wrong=_unordered),
    Mistake("You take all orders up to n together. p_n is about n-grams of exactly n words.",
            wrong=_all_up_to),
    Mistake("You divide by the number of words. There are n - 1 fewer n-grams.",
            wrong=lambda translation, reference, n: _precision(translation, reference, n) * len(
                _n_grams(translation, n)) / len(translation)),
    Mistake("You return the number of matches. Divide by the number of n-grams in the translation.",
            wrong=lambda translation, reference, n: float(
                (Counter(_n_grams(translation, n)) & Counter(_n_grams(reference, n))).total())),
    Mistake("A precision is between 0 and 1. The factor of 100 is BLEU's, at the end.",
            wrong=lambda *arguments: 100 * _precision(*arguments)),
    Mistake("You include the brevity penalty. p_n is the precision alone.",
            wrong=lambda translation, reference, n: _precision(translation, reference, n) * min(
                1, np.exp(1 - len(reference) / len(translation)))),
]

EXERCISES = [
    Exercise("13.1", "decoder_inputs", reference=_decoder_inputs, cases=_label_cases,
             mistakes=_INPUT_MISTAKES),
    Exercise("13.2", "smoothed_gradient", reference=_smoothed_gradient,
             cases=lambda rng: [(rng.normal(size=5), 2, 0.1), (rng.normal(size=7), 0, 0.3),
                                (rng.normal(size=4), 3, 0.0)],
             mistakes=_GRADIENT_MISTAKES),
    Exercise("13.3", "cross_attention", reference=_cross_attention, cases=_cross_cases,
             mistakes=_CROSS_MISTAKES),
    Exercise("13.4", "beam_step", reference=_beam_step, cases=_beam_cases,
             mistakes=_BEAM_MISTAKES),
    Exercise("13.5", "precision", reference=_precision, cases=_precision_cases,
             mistakes=_PRECISION_MISTAKES),
]
