"""The exercises of chapter 17, Answering questions."""

from collections import Counter

import numpy as np

from minillm.course.checking import Exercise, Mistake
from minillm.tasks.squad import normalized

# ---- 17.1 best_span


def _best(start, end, max_tokens, *, allowed=lambda i, j, m: i <= j < i + m,
          score=lambda s, e: s + e, better=lambda a, b: a > b):
    best, place = None, None
    for i, s in enumerate(start):
        for j, e in enumerate(end):
            if allowed(i, j, max_tokens) and (best is None or better(score(s, e), best)):
                best, place = score(s, e), (i, j)
    return place


def _best_span(start, end, max_tokens):
    return _best(start, end, max_tokens)


def _allowing(allowed):
    return lambda start, end, max_tokens: _best(start, end, max_tokens, allowed=allowed)


def _start_first(start, end, max_tokens):
    i = int(np.argmax(start))
    return i, i + int(np.argmax(end[i : i + max_tokens]))


def _end_first(start, end, max_tokens):
    j = int(np.argmax(end))
    first = max(0, j - max_tokens + 1)
    return first + int(np.argmax(start[first : j + 1])), j


def _clipped(start, end, max_tokens):
    i, j = int(np.argmax(start)), int(np.argmax(end))
    return i, min(max(i, j), i + max_tokens - 1)


def _span_cases(rng):
    made = [(np.array([0.0, 5.0, 0, 4, 0, 0]), np.array([6.0, 0.0, 0, 0, 5, 0]), 3),
            (np.array([3.0, 0.0, 0.0, 0.0, 2.0]), np.array([0.0, 0.0, 0.0, 3.0, 1.0]), 3),
            (np.array([3.0, 0.0, 0.0, 0.0, 2.0]), np.array([0.0, 0.0, 0.0, 3.0, 1.0]), 4),
            (np.array([-1.0, 4.0, -1.0, -9.0]), np.array([-2.0, 4.0, -1.0, -1.0]), 2),
            (-np.array([2.0, 3.0, 0.5, 4.0]), -np.array([1.0, 2.0, 0.25, 3.0]), 3)]
    return made + [(rng.normal(size=n), rng.normal(size=n), m) for n, m in
                   ((6, 2), (9, 4), (12, 5), (20, 3), (7, 1))]


_SPAN_MISTAKES = [
    Mistake("You take the best start and the best end independently. Their span may end before it "
            "starts, or be too long: search the pairs.",
            wrong=lambda s, e, m: (int(np.argmax(s)), int(np.argmax(e)))),
    Mistake("You take the best start first, then the best end for it. A worse start with a much "
            "better end may have the greater sum.", wrong=_start_first),
    Mistake("You take the best end first, and then the best start for it. Compare the sums of all "
            "allowed pairs.", wrong=_end_first),
    Mistake("You take the best start and end independently and then move the end until it is "
            "allowed. Search the allowed pairs instead.", wrong=_clipped),
    Mistake("You let spans be too long: nothing in your answer uses max_tokens.",
            wrong=_allowing(lambda i, j, m: i <= j)),
    Mistake("Your spans may be one token too long. From i to i + max_tokens there are "
            "max_tokens + 1 tokens.", wrong=_allowing(lambda i, j, m: i <= j <= i + m)),
    Mistake("Your spans are one token too short: j = i + max_tokens - 1 is allowed.",
            wrong=_allowing(lambda i, j, m: i <= j < max(i + m - 1, i + 1))),
    Mistake("You leave out spans of one token. A span may start and end at the same token.",
            wrong=_allowing(lambda i, j, m: i < j < i + m)),
    Mistake("You let a span end before it starts: i ≤ j is missing.",
            wrong=_allowing(lambda i, j, m: abs(j - i) < m)),
    Mistake("You multiply the two scores. They are logits, so they add: two very low ones would "
            "have a high product.",
            wrong=lambda s, e, m: _best(s, e, m, score=lambda a, b: a * b)),
    Mistake("You take the lowest sum. The best span has the highest.",
            wrong=lambda s, e, m: _best(s, e, m, better=lambda a, b: a < b)),
    Mistake("Start and end are exchanged in your answer: return (i, j), the start first.",
            wrong=lambda s, e, m: _best_span(s, e, m)[::-1]),
    Mistake("You return the score. Return the places, (i, j).",
            wrong=lambda s, e, m: s[_best_span(s, e, m)[0]] + e[_best_span(s, e, m)[1]]),
    Mistake("The end is the last token of the answer, not the one after it.",
            wrong=lambda s, e, m: (_best_span(s, e, m)[0], _best_span(s, e, m)[1] + 1)),
]

# ---- 17.2 span_gradient


def _softmax(z):
    p = np.exp(z - z.max())
    return p / p.sum()


def _gradient(start, end, i, j, *, scale=0.5, sign=1.0, p=_softmax):
    dstart, dend = p(start), p(end)
    dstart[i] -= 1
    dend[j] -= 1
    return sign * scale * dstart, sign * scale * dend


def _span_gradient(start, end, i, j):
    return _gradient(start, end, i, j)


def _joint_softmax(start, end, i, j):
    p = _softmax(np.concatenate([start, end]))
    p[i] -= 1
    p[len(start) + j] -= 1
    return p[: len(start)] / 2, p[len(start) :] / 2


def _wrong_targets(start, end, i, j):
    return _gradient(start, end, j, i)


def _only_targets(start, end, i, j):
    dstart, dend = np.zeros_like(start), np.zeros_like(end)
    dstart[i], dend[j] = (_softmax(start)[i] - 1) / 2, (_softmax(end)[j] - 1) / 2
    return dstart, dend


def _gradient_cases(rng):
    return [(rng.normal(size=n), rng.normal(size=n), i, j)
            for n, i, j in ((5, 1, 3), (8, 2, 2), (4, 0, 3), (6, 4, 5))]


_GRADIENT_MISTAKES = [
    Mistake("The factor ½ is missing: the loss is the mean of the two cross-entropies.",
            wrong=lambda *a: _gradient(*a, scale=1.0)),
    Mistake("The sign is wrong. Where the model gives too little probability, at the target, the "
            "derivative is negative.", wrong=lambda *a: _gradient(*a, sign=-1.0)),
    Mistake("The sign is wrong, and the factor ½ is missing.",
            wrong=lambda *a: _gradient(*a, sign=-1.0, scale=1.0)),
    Mistake("You subtract 1 at the wrong places: i belongs to the start, j to the end.",
            wrong=_wrong_targets),
    Mistake("You take one softmax over the starts and ends together. There are two, each over all "
            "tokens.", wrong=_joint_softmax),
    Mistake("You don't take the softmax: it is probabilities, not scores, from which 1 is "
            "subtracted.", wrong=lambda *a: _gradient(*a, p=np.array)),
    Mistake("You return the probabilities, halved. The target's 1 isn't subtracted yet.",
            wrong=lambda s, e, i, j: (_softmax(s) / 2, _softmax(e) / 2)),
    Mistake("Only the targets get a gradient in your answer. The softmax makes every other score "
            "matter too: a wrong token's score has the derivative p / 2.", wrong=_only_targets),
    Mistake("You return -log p, the losses. The gradient with respect to the scores is wanted.",
            wrong=lambda s, e, i, j: (-np.log(_softmax(s)) / 2, -np.log(_softmax(e)) / 2)),
    Mistake("You divide by the number of tokens. Each cross-entropy has one target, the place of "
            "the start or the end.", wrong=lambda *a: _gradient(*a, scale=0.5 / len(a[0]))),
    Mistake("You multiply by p (1 - p), the derivative of a sigmoid. For the cross-entropy of a "
            "softmax it cancels: what is left is p - y.",
            wrong=lambda s, e, i, j: tuple(
                p * (1 - p) * d for p, d in zip((_softmax(s), _softmax(e)),
                                                _gradient(s, e, i, j)))),
    Mistake("The two gradients are exchanged: return the one of the start first.",
            wrong=lambda *a: _span_gradient(*a)[::-1]),
]

# ---- 17.3 word_f1 (repair)


def _f1_of(prediction, gold, *, shared=lambda p, g: sum((Counter(p) & Counter(g)).values()),
           words=lambda text: normalized(text).split(), combine=None):
    p, g = words(prediction), words(gold)
    n = shared(p, g)
    if n == 0:
        return float(not p and not g)
    precision, recall = n / len(p), n / len(g)
    return (combine or (lambda P, R: 2 * P * R / (P + R)))(precision, recall)


def _word_f1(prediction, gold):
    return _f1_of(prediction, gold)


def _f1_with(**changes):
    return lambda prediction, gold: _f1_of(prediction, gold, **changes)


def _f1_of_sets(prediction, gold):
    return _f1_of(" ".join(sorted(set(normalized(prediction).split()))),
                  " ".join(sorted(set(normalized(gold).split()))))


_F1_CASES = [("New York New York", "the New York"), ("red and blue", "Blue and red"),
             ("in the year 1889.", "1889"), ("the the old old tower", "old tower"), ("", ""),
             ("x", ""), ("red red", "red red blue"), ("Holford", "Marburg"),
             ("A bell!", "the big bell, bell"),
             ("12,000 people", "12000"), ("one two three four", "three four five six seven")]

_F1_MISTAKES = [
    Mistake("The bug is still there. What does `word in gold` count for a word that the prediction "
            "repeats? Compare *New York New York* with *New York*.",
            wrong=_f1_with(shared=lambda p, g: sum(word in g for word in p))),
    Mistake("You count a word of the answer once for each time it stands there, also if the "
            "prediction has it less often. Take the smaller of the two counts.",
            wrong=_f1_with(shared=lambda p, g: sum(word in p for word in g))),
    Mistake("You compare sets for the shared words, but the lengths still count repetitions. A "
            "word that both repeat is shared twice.",
            wrong=_f1_with(shared=lambda p, g: len(set(p) & set(g)))),
    Mistake("You turn both texts into sets of words. SQuAD counts a word as often as it stands in "
            "both.", wrong=_f1_of_sets),
    Mistake("That is the precision alone.", wrong=_f1_with(combine=lambda P, R: P)),
    Mistake("That is the recall alone.", wrong=_f1_with(combine=lambda P, R: R)),
    Mistake("You take the mean of precision and recall. F1 is their harmonic mean, "
            "2 P R / (P + R).",
            wrong=_f1_with(combine=lambda P, R: (P + R) / 2)),
    Mistake("You multiply precision and recall. F1 is 2 P R / (P + R).",
            wrong=_f1_with(combine=lambda P, R: P * R)),
    Mistake("The factor 2 of 2 P R / (P + R) is missing.",
            wrong=_f1_with(combine=lambda P, R: P * R / (P + R))),
    Mistake("You don't normalize: case, punctuation and articles must not matter.",
            wrong=_f1_with(words=str.split)),
    Mistake("You compare characters. F1 counts words: split the normalized texts.",
            wrong=_f1_with(words=lambda text: list(normalized(text)))),
    Mistake("Two empty texts agree: the answer is \"none\", and so is the prediction. Their F1 is "
            "1.",
            when=lambda got, want, prediction, gold: not prediction and not gold and got == 0),
    Mistake("That is whether they match exactly. Words that both have count here too.",
            wrong=lambda p, g: float(normalized(p) == normalized(g))),
]

# ---- 17.4 windows


def _windows(n, length, overlap):
    if n <= length:
        return [(0, n)]
    return [(a, min(a + length, n)) for a in range(0, n - overlap, length - overlap)]


def _stepping(step, end=lambda n, overlap: n - overlap, cut=True):
    def wrong(n, length, overlap):
        if n <= length:
            return [(0, n)]
        return [(a, min(a + length, n) if cut else a + length)
                for a in range(0, end(n, overlap), step(length, overlap))]
    return wrong


_WINDOW_CASES = [(10, 4, 1), (10, 4, 2), (11, 5, 2), (7, 7, 3), (3, 8, 2), (20, 6, 0), (13, 5, 4),
                 (9, 4, 1)]

_WINDOW_MISTAKES = [
    Mistake("Your windows don't overlap: the next one starts `length` after the last. An answer "
            "that lies across the border is in neither.",
            wrong=_stepping(lambda length, overlap: length, lambda n, overlap: n)),
    Mistake("You step by the overlap. Neighbors share `overlap` tokens, so the next window starts "
            "length - overlap later.", wrong=_stepping(lambda length, overlap: max(overlap, 1))),
    Mistake("Your last windows hold nothing new: once a window reaches the end of the text, stop.",
            wrong=_stepping(lambda length, overlap: length - overlap, lambda n, overlap: n)),
    Mistake("The last window reaches past the text. It ends at n.",
            wrong=_stepping(lambda length, overlap: length - overlap, cut=False)),
    Mistake("The end of the text is in no window: the last, shorter window is missing.",
            wrong=lambda n, length, overlap: [(0, n)] if n <= length else [
                (a, a + length) for a in range(0, n - length + 1, length - overlap)]),
    Mistake("You shift the last window to the left so that it is full. Here it may be shorter.",
            wrong=lambda n, length, overlap: [
                (max(0, min(a, n - length)), min(a + length, n))
                for a, _ in _windows(n, length, overlap)]),
    Mistake("Your windows share one token too many.",
            wrong=lambda n, length, overlap: _windows(n, length, min(overlap + 1, length - 1))),
    Mistake("Your windows share one token too few.",
            wrong=lambda n, length, overlap: _windows(n, length, max(overlap - 1, 0))),
    Mistake("You return the start and the length of each window. The exercise asks for start and "
            "end.", wrong=lambda *a: [(s, e - s) for s, e in _windows(*a)]),
    Mistake("The end is the place after the last token, as in a slice. Don't subtract 1.",
            wrong=lambda *a: [(s, e - 1) for s, e in _windows(*a)]),
    Mistake("You return only the starts. Pairs (start, end) are wanted.",
            wrong=lambda *a: [s for s, _ in _windows(*a)]),
    Mistake("You return the number of windows. Their places are wanted.",
            wrong=lambda *a: len(_windows(*a))),
]

# ---- 17.5 weighted_kappa


def _kappa(O, *, w=lambda i, j, K: (i - j) ** 2, expected=lambda r, c, n: np.outer(r, c) / n):
    K, n = len(O), O.sum()
    i, j = np.indices((K, K))
    weights, E = w(i, j, K), expected(O.sum(axis=1), O.sum(axis=0), n)
    return 1 - np.sum(weights * O) / np.sum(weights * E)


def _weighted_kappa(O):
    return _kappa(O)


def _kappa_with(**changes):
    return lambda O: _kappa(O, **changes)


def _kappa_cases(rng):
    return [(np.array([[20.0, 5.0, 1.0], [4.0, 15.0, 6.0], [0.0, 3.0, 10.0]]),),
            (rng.integers(1, 30, (3, 3)).astype(float),),
            (rng.integers(1, 30, (4, 4)).astype(float),)]


_KAPPA_MISTAKES = [
    Mistake("That is Cohen's kappa without weights: all disagreements count the same. Weigh them "
            "with (i - j)².", wrong=_kappa_with(w=lambda i, j, K: i != j)),
    Mistake("Your weights are |i - j|. They are squared here: two grades off costs four times as "
            "much as one.", wrong=_kappa_with(w=lambda i, j, K: abs(i - j))),
    Mistake("Your weights are those of agreement, 1 - (i - j)² / (K - 1)². With them, kappa has "
            "another form. Take (i - j)².",
            wrong=_kappa_with(w=lambda i, j, K: 1 - (i - j) ** 2 / (K - 1) ** 2)),
    Mistake("E isn't divided by n: its entries must add up to the number of answers, as those of O "
            "do.", wrong=_kappa_with(expected=lambda r, c, n: np.outer(r, c))),
    Mistake("You divide the expected counts by n², so they are shares, but O holds counts. Either "
            "both or neither.", wrong=_kappa_with(expected=lambda r, c, n: np.outer(r, c) / n**2)),
    Mistake("You expect every cell to be equally likely. Chance keeps how often each grader gives "
            "each grade: use the sums of the rows and of the columns.",
            wrong=_kappa_with(expected=lambda r, c, n: np.full((len(r), len(r)), n / len(r) ** 2))),
    Mistake("You use the sums of the rows twice. The other grader's are the sums of the columns.",
            wrong=_kappa_with(expected=lambda r, c, n: np.outer(r, r) / n)),
    Mistake("You use the sums of the columns twice. The other grader's are the sums of the rows.",
            wrong=_kappa_with(expected=lambda r, c, n: np.outer(c, c) / n)),
    Mistake("That is the ratio of the two disagreements. Kappa is 1 minus it.",
            wrong=lambda O: 1 - _weighted_kappa(O)),
    Mistake("That is the accuracy: it doesn't subtract what chance alone gives.",
            wrong=lambda O: np.trace(O) / O.sum()),
    Mistake("The ratio is upside down: observed disagreement over expected.",
            wrong=lambda O: 1 - 1 / (1 - _weighted_kappa(O))),
    Mistake("Return one number. The sums run over both axes.",
            when=lambda got, want, O: np.ndim(got) > 0),
]

EXERCISES = [
    Exercise("17.1", "best_span", _best_span, _span_cases, _SPAN_MISTAKES),
    Exercise("17.2", "span_gradient", _span_gradient, _gradient_cases, _GRADIENT_MISTAKES),
    Exercise("17.3", "word_f1", _word_f1, lambda rng: list(_F1_CASES), _F1_MISTAKES),
    Exercise("17.4", "windows", _windows, lambda rng: list(_WINDOW_CASES), _WINDOW_MISTAKES),
    Exercise("17.5", "weighted_kappa", _weighted_kappa, _kappa_cases, _KAPPA_MISTAKES),
]
