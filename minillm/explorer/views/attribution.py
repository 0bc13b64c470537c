"""Attribution: which tokens speak for an answer, by three estimates and by measurement."""

import numpy as np

from minillm.explorer.question import ask, has_answers, logits_of, read
from minillm.explorer.views import offline, view
from minillm.insight import attribution
from minillm.insight.subject import Subject

ESTIMATES = {"gradient": "gradient × input", "integrated": "integrated gradients",
             "attention": "attention × gradient"}
MOST_STEPS = 1024
STEPS = [4, 8, 16, 32, 64, 128]  # at which the error of integrated gradients is shown
MOST_PAIRED = 24  # tokens whose pairs are occluded
NEGLIGIBLE = 0.05  # of a method's largest score: its sign says nothing


@view
def attribute(subject: Subject, text: str, report, token: int = -1, against: int = -1,
              position: int = -1, steps: int = 32) -> dict:
    """Explain an answer by each method, and measure which of them to believe.

    steps: of integrated gradients
    -> tokens: all that the model reads, T of them, the first n_source by an encoder
    position: in the decoder's tokens;  at: the same in `tokens`;  answer: the whole text's
    without: list of T answers, each without one token
    methods: {"gradient" | "integrated" | "attention" | "occlusion": {scores: float64 (T,),
        correlation: of its ranks with occlusion's, disagrees: T of "", "sign", "rank",
        faithfulness}}
    complete: {sum, wanted}: of integrated gradients, and what it should be
    deletion: {n_deleted: (n,), curves: {method: (n,)}, chance: (n,)}
    partial: the same, as far as it is known: the question, then the methods, then the curves, which
        take most of the time
    """
    _require_steps(steps)
    model, reading = subject.model, read(subject, text)
    question = ask(subject, reading, token, against, position)
    text, target, n_tokens = reading.inputs, question.target, len(reading.input_tokens)
    n_source = len(reading.source_tokens or [])
    found = {"tokens": reading.input_tokens, "n_source": n_source, **question.described(),
             "at": n_source + question.position}
    scores = {}

    def tell(percent, **more):
        found.update(more, methods=_judged(scores))
        report(percent, 100, dict(found))

    def within(low, high):
        return lambda done, total: report(low + (high - low) * done // total, 100)

    answers = attribution.without(model, text, _Answers(question), _one_by_one(n_tokens),
                                  report=within(0, 15))
    values = np.array([answer["value"] for answer in answers])
    scores["occlusion"] = values[0] - values[1:-1]
    tell(15, answer=answers[0], without=list(answers[1:-1]))
    scores["gradient"] = attribution.gradient_times_input(model, text, target)
    scores["attention"] = attribution.attention_times_gradient(model, text, target)
    tell(25)
    scores["integrated"] = attribution.integrated_gradients(
        model, text, target, steps=steps, report=within(25, 50))
    tell(50, complete={"sum": scores["integrated"].sum(), "wanted": values[0] - values[-1]})
    deletion = attribution.deletion(model, text, target, scores, report=within(50, 100))
    for name, value in deletion.faithfulness().items():
        found["methods"][name]["faithfulness"] = value
    return {**found, "deletion": deletion._asdict()}


def _judged(scores):
    """-> {method: its scores beside the measured ones}"""
    measured = scores["occlusion"]
    return {name: {"scores": values, "correlation": rank_correlation(values, measured),
                   "disagrees": disagreements(values, measured), "faithfulness": None}
            for name, values in scores.items()}


def _require_steps(steps):
    if not 1 <= steps <= MOST_STEPS:
        raise ValueError(f"steps is {steps}, wanted 1 to {MOST_STEPS}")


class _Answers:
    """A target whose values are whole answers"""

    def __init__(self, question):
        self.value = question.answers


def _one_by_one(T):
    """-> bool (T + 2, T): which tokens are deleted: none, each one alone, all"""
    return np.concatenate([np.zeros((1, T)), np.eye(T), np.ones((1, T))]).astype(bool)


def rank_correlation(x, y):
    """-> the correlation of the ranks (Spearman 1904); None if one of them has one rank only"""
    a, b = ranks(x), ranks(y)
    if a.std() == 0 or b.std() == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def ranks(x):
    """-> float64 (n,): 0 for the smallest; equal values share the mean of their ranks"""
    _, group, counts = np.unique(np.round(x, 9), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[group]


def disagreements(scores, measured):
    """-> list of T: "sign" where a method says for and the measurement against, or the reverse;
    "rank" where its rank is off by a third of all; else ""

    Scores that are small beside the largest one have no sign; a method without negative scores
    never says against.
    """
    T = len(scores)
    sign, true_sign = _signs(scores), _signs(measured)
    opposed = (sign * true_sign < 0) & (np.min(scores) < 0)
    far = np.abs(ranks(scores) - ranks(measured)) >= max(2, T / 3)
    far &= (sign != 0) | (true_sign != 0)  # among tokens of no importance, ranks are noise
    return ["sign" if a else "rank" if b else "" for a, b in zip(opposed, far)]


def _signs(x):
    return np.where(np.abs(x) < NEGLIGIBLE * np.abs(x).max(), 0, np.sign(x))


@view
def completeness(subject: Subject, text: str, report, token: int = -1, against: int = -1,
                 position: int = -1, steps: list[int] = STEPS) -> dict:
    """How the sum of integrated gradients comes closer to the whole fall with more steps.

    -> steps: list;  sums: float64, one for each;  wanted: m(e) - m(e0), what it should be
    partial: {steps: integer, sum: float}
    """
    reading = read(subject, text)
    question = ask(subject, reading, token, against, position)
    for n in steps:
        _require_steps(n)
    T = len(reading.input_tokens)
    both = attribution.without(subject.model, reading.inputs, question.target,
                               _one_by_one(T)[[0, -1]])
    sums, done, total = [], 0, sum(steps)
    for n in steps:
        scores = attribution.integrated_gradients(
            subject.model, reading.inputs, question.target, steps=n,
            report=lambda part, _: report(done + part, total))
        sums.append(scores.sum())
        done += n
        report(done, total, {"steps": n, "sum": sums[-1]})
    return {"steps": list(steps), "sums": np.array(sums), "wanted": both[0] - both[1]}


@view
def token_pairs(subject: Subject, text: str, report, token: int = -1, against: int = -1,
                position: int = -1) -> dict:
    """Take two tokens away at a time: how much more do they do together than each alone?

    -> tokens;  interaction: float64 (T, T), symmetric: the fall of the value without both, minus
    the sum of the falls without each;  alone: (T,), these falls, also on the diagonal
    """
    reading = read(subject, text)
    tokens = reading.input_tokens
    T = len(tokens)
    if T > MOST_PAIRED:
        raise ValueError(f"the text has {T} tokens, wanted at most {MOST_PAIRED}: there are too "
                         "many pairs")
    question = ask(subject, reading, token, against, position)
    one, two = np.triu_indices(T, 1)
    deleted = np.concatenate([_one_by_one(T)[:-1], np.zeros((len(one), T), bool)])
    pairs = np.arange(len(one)) + T + 1
    deleted[pairs, one] = deleted[pairs, two] = True
    values = attribution.without(subject.model, reading.inputs, question.target, deleted,
                                 report=report)
    falls = values[0] - values
    alone, interaction = falls[1 : T + 1], np.diag(falls[1 : T + 1])
    interaction[one, two] = interaction[two, one] = falls[T + 1 :] - alone[one] - alone[two]
    return {"tokens": tokens, "interaction": interaction, "alone": alone}


@offline
def offline_attribution(subject, text):
    if not has_answers(subject):
        return
    reading = read(subject, text)
    yield "attribute", {}
    for answer in ask(subject, reading)(logits_of(subject, reading))["top"]:
        yield "attribute", {"token": answer["id"]}
    yield "completeness", {}
    if len(reading.input_tokens) <= MOST_PAIRED:
        yield "token_pairs", {}
