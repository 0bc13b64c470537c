"""Exercises of chapter 18: sentences as vectors."""

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 18.1 pool


def _pool(x, mask):
    return (x * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)


def _pool_cases(rng):
    mask = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]])
    other = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 0]])
    return [(rng.normal(size=(2, 5, 3)), mask), (rng.normal(size=(4, 3, 6)), other)]


_POOL_MISTAKES = [
    Mistake("You average over the padding too. Leave it out of the sum, and out of the count.",
            wrong=lambda x, mask: x.mean(axis=1)),
    Mistake("The padding is out of the sum, but still counted: divide by the number of tokens of "
            "each text, not by T.",
            wrong=lambda x, mask: (x * mask[:, :, None]).sum(axis=1) / x.shape[1]),
    Mistake("You divide by the number of tokens, but the padding is still in the sum.",
            wrong=lambda x, mask: x.sum(axis=1) / mask.sum(axis=1, keepdims=True)),
    Mistake("That is the sum over the tokens. Divide it by how many there are.",
            wrong=lambda x, mask: (x * mask[:, :, None]).sum(axis=1)),
    Mistake("You divide by the tokens of the whole batch. Each text has its own number.",
            wrong=lambda x, mask: (x * mask[:, :, None]).sum(axis=1) / mask.sum()),
    Mistake("You divide by the square root of the number of tokens.",
            wrong=lambda x, mask: (x * mask[:, :, None]).sum(axis=1)
            / np.sqrt(mask.sum(axis=1, keepdims=True))),
    Mistake("That is the first token of each text, not the mean.", wrong=lambda x, mask: x[:, 0]),
    Mistake("That is the last token of each text, not the mean.",
            wrong=lambda x, mask: x[np.arange(len(x)), mask.sum(axis=1) - 1]),
    Mistake("You take the maximum over the tokens. The mean is wanted.",
            wrong=lambda x, mask: np.where(mask[:, :, None] == 1, x, -np.inf).max(axis=1)),
    Mistake("You average the padding instead of the tokens: 1 marks a token.",
            when=lambda got, want, x, mask: np.allclose(
                np.nan_to_num(got, posinf=0, neginf=0),
                np.nan_to_num((x * (1 - mask)[:, :, None]).sum(axis=1)
                              / np.maximum((1 - mask).sum(axis=1, keepdims=True), 1)))),
    Mistake("The vectors are means, and then normalized. Return the mean as it is.",
            wrong=lambda x, mask: _pool(x, mask)
            / np.linalg.norm(_pool(x, mask), axis=1, keepdims=True)),
    Mistake("You sum over the batch or over the numbers of a vector. The tokens are axis 1.",
            when=lambda got, want, x, mask: np.shape(got) in (x.shape[1:], x.shape[:2])),
]

# ---- 18.2 query_gradient


def _softmax(S, axis=1):
    e = np.exp(S - S.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _query_gradient(Q, C, tau, *, power=1, scale=lambda n, tau: n * tau, axis=1, minus=1):
    P = _softmax(Q @ C.T / tau**power, axis)
    return (P - minus * np.eye(len(Q))) @ C / scale(len(Q), tau)


def _gradient_with(**changes):
    return lambda Q, C, tau: _query_gradient(Q, C, tau, **changes)


_GRADIENT_MISTAKES = [
    Mistake("The temperature is missing behind the softmax: S = Q Cᵀ / τ, so dQ = dS C / τ.",
            wrong=_gradient_with(scale=lambda n, tau: n)),
    Mistake("The loss is the mean over the queries: divide by n.",
            wrong=_gradient_with(scale=lambda n, tau: tau)),
    Mistake("Both divisions are missing: by n, because the loss is a mean, and by τ, because S is "
            "divided by it.", wrong=_gradient_with(scale=lambda n, tau: 1)),
    Mistake("You multiply by the temperature. The scores are divided by it, so their derivative is "
            "too.", wrong=_gradient_with(scale=lambda n, tau: n / tau)),
    Mistake("The softmax sees the cosines without the temperature. Divide the scores by τ first.",
            wrong=_gradient_with(power=0)),
    Mistake("You softmax over the queries, axis 0. Each query chooses among the candidates: a row "
            "sums to 1.", wrong=_gradient_with(axis=0)),
    Mistake("The partner is missing: dS is P minus 1 at the diagonal.",
            wrong=_gradient_with(minus=0)),
    Mistake("The sign: this is the gradient, not the step against it.",
            wrong=lambda Q, C, tau: -_query_gradient(Q, C, tau)),
    Mistake("That is the gradient of the candidates, dC = dSᵀ Q / τ.",
            wrong=lambda Q, C, tau: (_softmax(Q @ C.T / tau) - np.eye(len(Q))).T @ Q
            / (len(Q) * tau)),
    Mistake("You multiply dS with Q. S is Q times Cᵀ, so its gradient reaches Q through C.",
            wrong=lambda Q, C, tau: (_softmax(Q @ C.T / tau) - np.eye(len(Q))) @ Q
            / (len(Q) * tau)),
    Mistake("You transpose dS in your product. Row i of dS belongs to query i.",
            wrong=lambda Q, C, tau: (_softmax(Q @ C.T / tau) - np.eye(len(Q))).T @ C
            / (len(Q) * tau)),
    Mistake("That is dS, the gradient of the scores. One more step leads to Q.",
            when=lambda got, want, Q, C, tau: np.shape(got) == (len(Q), len(C)) != Q.shape),
]

# ---- 18.3 mean_reciprocal_rank


def _ranks(scores, wanted):
    order = (-scores).argsort(axis=1)
    return np.array([list(row).index(column) + 1 for row, column in zip(order, wanted)])


def _mrr(scores, wanted):
    return np.mean(1 / _ranks(scores, wanted))


_MRR_MISTAKES = [
    Mistake("The bug is still there. Which entry does argsort put first, the one with the highest "
            "score or the one with the lowest?",
            wrong=lambda scores, wanted: _mrr(-scores, wanted)),
    Mistake("You average the ranks, not their reciprocals.",
            wrong=lambda scores, wanted: np.mean(_ranks(scores, wanted))),
    Mistake("That is 1 / the mean rank. Take the reciprocal of each rank first.",
            wrong=lambda scores, wanted: 1 / np.mean(_ranks(scores, wanted))),
    Mistake("Your ranks begin at 2: a list's index counts from 0, so add 1 once.",
            wrong=lambda scores, wanted: np.mean(1 / (_ranks(scores, wanted) + 1))),
    Mistake("Your ranks begin at 0, so the best answers give infinity. Count ranks from 1.",
            when=lambda got, want, *rest: np.isinf(got)),
    Mistake("That is recall@1. A right answer in second place counts a half.",
            wrong=lambda scores, wanted: np.mean(_ranks(scores, wanted) == 1)),
    Mistake("You sum the reciprocal ranks. Their mean is wanted.",
            wrong=lambda scores, wanted: np.sum(1 / _ranks(scores, wanted))),
    Mistake("You sort along the wrong axis: each row is the list of one question.",
            when=lambda got, want, scores, wanted: scores.shape[0] == scores.shape[1]
            and np.isclose(got, _mrr(scores.T, wanted))),
    Mistake("You use order[i, wanted[i]], the entry that stands at that place. Wanted is the place "
            "at which the right entry stands.",
            wrong=lambda scores, wanted: np.mean(
                1 / (1 + (-scores).argsort(axis=1)[np.arange(len(wanted)), wanted]))),
    Mistake("You return the reciprocal ranks of all questions. Their mean is wanted.",
            when=lambda got, want, scores, wanted: np.shape(got) == np.shape(wanted)),
    Mistake("You return the median of the reciprocal ranks.",
            wrong=lambda scores, wanted: np.median(1 / _ranks(scores, wanted))),
]

# ---- 18.4 largest_probability

_BEST = float(np.exp(2.5) / (np.exp(2.5) + 31 * np.exp(-2.5)))
_PROBABILITY_MISTAKES = [
    Mistake("A cosine of 0 isn't the lowest: the negatives can have −1.",
            wrong=float(np.exp(2.5) / (np.exp(2.5) + 31))),
    Mistake("The temperature is missing: the scores are cosines divided by 0.4.",
            wrong=float(np.exp(1) / (np.exp(1) + 31 * np.exp(-1)))),
    Mistake("You multiply by the temperature. The scores are cosines divided by it.",
            wrong=float(np.exp(0.4) / (np.exp(0.4) + 31 * np.exp(-0.4)))),
    Mistake("You count 32 negatives. One of the 32 candidates is the partner.",
            wrong=float(np.exp(2.5) / (np.exp(2.5) + 32 * np.exp(-2.5)))),
    Mistake("The partner is one of the candidates, so it stands in the denominator as well.",
            wrong=float(np.exp(2.5) / (31 * np.exp(-2.5)))),
    Mistake("There is one negative in your denominator. There are 31.",
            wrong=float(np.exp(2.5) / (np.exp(2.5) + np.exp(-2.5)))),
    Mistake("With finite scores a softmax never reaches 1. How large can the scores be?",
            wrong=1.0),
    Mistake("That is the probability before any learning, with equal scores.", wrong=1 / 32),
    Mistake("That is the smallest probability, where the partner is opposite and all negatives are "
            "equal.", wrong=float(np.exp(-2.5) / (np.exp(-2.5) + 31 * np.exp(2.5)))),
    Mistake("That is the loss, −log of the probability. The probability is wanted.",
            wrong=-float(np.log(_BEST))),
    Mistake("Give the probability as a number from 0 to 1, not in percent.", wrong=100 * _BEST),
    Mistake("Two digits are too few: write the formula as code.",
            when=lambda got, want: abs(float(got) - want) < 0.01),
]

# ---- 18.5 choose


def _choose(scores, right, outside, thresholds, *, answers=lambda s, t: s >= t,
            inside_share=lambda hit, outside: np.mean(hit[~outside]),
            outside_share=lambda hit, outside: np.mean(hit[outside]),
            weigh=lambda one, other: one + other, pick=np.argmax):
    values = [weigh(inside_share(right & answers(scores, t), outside),
                    outside_share(~answers(scores, t), outside)) for t in thresholds]
    return float(thresholds[int(pick(values))])


def _choose_with(**changes):
    return lambda *arguments: _choose(*arguments, **changes)


def _last_best(values):
    return len(values) - 1 - int(np.argmax(values[::-1]))


def _choose_cases(rng):
    cases = []
    for n in (40, 50, 60, 70, 80, 200):
        outside = np.arange(n) % 5 == 0
        right = ~outside & (rng.random(n) < 0.7)
        # In the last of them the questions without an answer score high.
        scores = 0.35 + 0.3 * right + 0.4 * outside * (n == 200) + 0.3 * rng.normal(size=n)
        scores = np.round(scores, 1)
        cases.append((scores, right, outside, np.round(np.linspace(0, 1, 21), 2)))
    return cases + [(np.array([0.2, 0.5, 0.8, 0.9]), np.array([False, True, True, True]),
                     np.array([True, False, False, False]), np.array([0.1, 0.3, 0.5, 0.6, 0.9]))]


_CHOOSE_MISTAKES = [
    Mistake("You refuse at the threshold itself. Below it the model refuses; at it, it answers.",
            wrong=_choose_with(answers=lambda s, t: s > t)),
    Mistake("You divide both counts by all questions, so the kind with more questions decides. "
            "Each share has its own denominator.",
            wrong=_choose_with(inside_share=lambda hit, outside: np.sum(hit[~outside]),
                               outside_share=lambda hit, outside: np.sum(hit[outside]))),
    Mistake("You only count the right answers. The refusals of questions without an answer count "
            "as well.", wrong=_choose_with(weigh=lambda one, other: one)),
    Mistake("You only count refusals. Refusing everything would be the best then.",
            wrong=_choose_with(weigh=lambda one, other: other)),
    Mistake("Of equally good thresholds, the first is wanted, not the last.",
            wrong=_choose_with(pick=_last_best)),
    Mistake("You take the worst threshold: argmax, not argmin. Or do you answer below it, and "
            "refuse above?", wrong=_choose_with(pick=np.argmin)),
    Mistake("You count every answer to a question that has one, also the wrong ones.",
            wrong=lambda scores, right, outside, thresholds: _choose(
                scores, np.ones_like(right), outside, thresholds)),
    Mistake("Refusals of questions that have an answer count as a success in your sum.",
            wrong=_choose_with(outside_share=lambda hit, outside: np.mean(hit))),
    Mistake("You average the right answers over all questions. Average over those that have one: "
            "`right` is False for the others.",
            wrong=_choose_with(inside_share=lambda hit, outside: np.mean(hit))),
    Mistake("Return the threshold, not its index.",
            when=lambda got, want, scores, right, outside, thresholds: float(got).is_integer()
            and 0 <= got < len(thresholds) and np.isclose(thresholds[int(got)], want)),
    Mistake("You multiply the two shares. Their sum is wanted.",
            wrong=_choose_with(weigh=lambda one, other: one * other)),
]

EXERCISES = [
    Exercise("18.1", "pool", reference=_pool, cases=_pool_cases, mistakes=_POOL_MISTAKES),
    Exercise("18.2", "query_gradient", reference=_query_gradient,
             cases=lambda rng: [(rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), 0.5),
                                (rng.normal(size=(5, 6)), rng.normal(size=(5, 6)), 0.7)],
             mistakes=_GRADIENT_MISTAKES),
    Exercise("18.3", "mean_reciprocal_rank", reference=_mrr,
             cases=lambda rng: [(rng.normal(size=(5, 7)), rng.integers(0, 7, 5)),
                                (rng.normal(size=(6, 6)), rng.integers(0, 6, 6)),
                                (np.array([[0.9, 0.1, 0.5], [0.2, 0.3, 0.1], [0.3, 0.6, 0.5],
                                           [0.1, 0.2, 0.3]]), np.array([0, 0, 2, 1]))],
             mistakes=_MRR_MISTAKES),
    Exercise("18.4", "largest_probability", reference=_BEST, mistakes=_PROBABILITY_MISTAKES,
             tolerance=1e-4),
    Exercise("18.5", "choose", reference=_choose, cases=_choose_cases, mistakes=_CHOOSE_MISTAKES),
]
