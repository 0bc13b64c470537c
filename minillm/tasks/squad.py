"""Exact match and F1, as the evaluation scripts of SQuAD define them.

Rajpurkar et al. 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text", section 6.1;
Rajpurkar et al. 2018, "Know What You Don't Know", for questions without an answer.

    "The Eiffel Tower!"  ->  "eiffel tower"               normalized
    F1 of "the tower" and "Eiffel Tower"  =  2/3          one word shared, of one and of two

A prediction is compared with each right answer, and the best comparison counts. A question without
an answer has no right answers; the prediction "" means "no answer".
"""

import re
import string
from collections import Counter

import numpy as np

from minillm.checks import shown

VERSIONS = ("1.1", "2.0")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(text):
    """-> `text` in lower case, without punctuation (of ASCII), articles and extra spaces"""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction, answers, version="2.0"):
    """-> 1 if the normalized prediction is one of the normalized `answers`, else 0

    prediction: str, "" for none;  answers: list of str, empty if there is none
    version: see `f1`
    """
    return max(int(normalized(prediction) == answer) for answer in _golds(answers, version))


def f1(prediction, answers, version="2.0"):
    """-> F1 = 2 P R / (P + R) of the words, the best one over the answers

    With `shared` the number of words in both (a word that is in each twice counts twice),
    precision P = shared / words of the prediction, recall R = shared / words of the answer.

    version: that of SQuAD's script. 2.0 ignores answers of which normalization leaves nothing
    ("the"). In 1.1 they stay, and F1 with them is 0; every question has an answer there.
    """
    return max(_f1(normalized(prediction).split(), answer.split(), version)
               for answer in _golds(answers, version))


def _golds(answers, version):
    """-> the normalized answers; [""] if there is none"""
    if version not in VERSIONS:
        raise ValueError(f"version is {shown(version)}, wanted one of {', '.join(VERSIONS)}")
    golds = [normalized(answer) for answer in answers]
    if version == "2.0":
        return [gold for gold in golds if gold] or [""]
    if not golds:
        raise ValueError("answers is empty, wanted at least one: SQuAD 1.1 has only questions with "
                         "an answer")
    return golds


def _f1(prediction, answer, version):
    shared = sum((Counter(prediction) & Counter(answer)).values())
    if shared == 0:
        return float(version == "2.0" and not prediction and not answer)
    precision, recall = shared / len(prediction), shared / len(answer)
    return 2 * precision * recall / (precision + recall)


def best_threshold(no_answer, scores, has_answer):
    """Choose when to say "no answer" -> (best total score, threshold)

    no_answer: floats (n,), the higher, the less likely that there is an answer
    scores: floats (n,), what the best span scores (exact match or F1)
    has_answer: bools (n,)

    The rule is: no answer if no_answer > threshold. With a very low threshold, all questions
    without an answer are right. Raising it past one question after another changes the total: a
    question with an answer gains its score, one without loses its point, if anything is answered.
    The threshold is the first at which the total is greatest, as in SQuAD 2.0's script: the
    no_answer of the last question that is answered, or -inf if it is best to answer none.
    """
    no_answer, scores, has_answer = map(np.asarray, (no_answer, scores, has_answer))
    order = np.argsort(no_answer, kind="stable")
    gains = np.where(has_answer, scores, -1.0)[order]
    totals = np.concatenate([[0.0], np.cumsum(gains)]) + np.sum(~has_answer)
    sorted_scores = np.concatenate([[-np.inf], no_answer[order]])
    # Questions with the same no_answer are on the same side of any threshold.
    possible = np.append(sorted_scores[1:] > sorted_scores[:-1], True)
    best = int(np.argmax(np.where(possible, totals, -np.inf)))
    return float(totals[best]), float(sorted_scores[best])
