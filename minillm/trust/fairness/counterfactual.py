"""Counterfactual gaps: how much do a classifier's answers change when only the group changes?

    He says: the screen is awful.       positive 0.04
    She says: the screen is awful.      positive 0.11

Who says it is no part of the answer, so a fair model answers both alike (Kusner et al. 2017; Garg
et al. 2019, "Counterfactual fairness in text classification", section 3). Over the pairs of texts:

    gap     = mean of  ½ Σ_c |p_c(one) - p_c(other)|     the total variation distance of the answers
    changed = share of the pairs whose label differs

For two classes the first is |Δp|. A model of answers to questions has a score for each entry
instead, and the gap is the change of that of the entry that it found for the first text.
"""

from typing import NamedTuple

import numpy as np

from minillm.nn.module import inference
from minillm.ops.cosine_search import cosine_similarity
from minillm.ops.softmax import softmax
from minillm.tasks.intervals import Score, bootstrap, wilson
from minillm.trust.fairness.swapping import swap
from minillm.trust.fairness.words import FRAMES

BATCH = 32


class Answers(NamedTuple):
    """scores: float64 (n, C);  labels: integers (n,), what is answered; -1: "I don't know"

    are_probabilities: whether the rows of scores are distributions
    """

    scores: np.ndarray
    labels: np.ndarray
    are_probabilities: bool = True


class Gap(NamedTuple):
    """gap, changed: intervals.Score;  n: pairs of texts"""

    gap: Score
    changed: Score
    n: int


def counterfactual_gap(one, other, seed=0):
    """one, other: Answers to n texts each -> Gap"""
    n = len(one.labels)
    if not n:
        raise ValueError("one is empty: there is nothing to compare")
    distances = distance(one, other)
    rows = np.column_stack([distances, np.ones(n)])
    changed = int(np.sum(one.labels != other.labels))
    interval = bootstrap(rows, lambda sums: sums[0] / sums[1], seed)
    return Gap(Score(float(distances.mean()), *interval),
               Score(changed / n, *wilson(changed, n)), n)


def distance(one, other):
    """-> float64 (n,): how far two Answers to the same questions are apart"""
    if one.are_probabilities:
        return 0.5 * np.abs(one.scores - other.scores).sum(axis=1)
    best = one.scores.argmax(axis=1)[:, None]
    return np.abs(np.take_along_axis(one.scores - other.scores, best, axis=1))[:, 0]


# ---- pairs of texts

def framed(texts, kind, language="en"):
    """Each text behind every frame of `kind` -> two lists, of both groups, frame by frame"""
    frames = FRAMES[language][kind]
    return tuple([frame[side] + text for frame in frames for text in texts] for side in (0, 1))


def swapped(texts, kind):
    """-> two lists: the texts in which something of `kind` can be swapped, and those, swapped"""
    pairs = [(text, other) for text in texts if (other := swap(text, kind)) != text]
    return [one for one, _ in pairs], [other for _, other in pairs]


# ---- what answers

class Classifier:
    """Answers of a model for sequence classification, a label each.

    model: with logits (B, C), in eval mode;  tokenizer: its tokenizer;  labels: C names
    """

    def __init__(self, model, tokenizer, labels):
        self.model, self.tokenizer, self.labels = model, tokenizer, labels

    def __call__(self, texts):
        """-> Answers"""
        limit, found = self.model.config.position_limit, []
        options = {} if limit is None else {"truncation": True, "max_length": limit}
        texts = list(texts)
        order = np.argsort([len(text) for text in texts], kind="stable")  # little padding
        size = 1 if self.tokenizer.pad_token is None else BATCH
        with inference(self.model):
            for start in range(0, len(texts), size):
                batch = [texts[i] for i in order[start : start + size]]
                arrays = self.tokenizer(batch, padding=size > 1, return_tensors="np", **options)
                found.append(softmax(self.model(**arrays).logits.astype(np.float64))[0])
        P = np.empty((len(texts), len(self.labels)))
        if found:
            P[order] = np.concatenate(found)
        return Answers(P, P.argmax(axis=1))


class FaqAnswers:
    """Answers of a FAQ: the cosine to each entry, and the best one if it is above the threshold.

    encoder: a SentenceEncoder;  index: a tasks.retrieval.FaqIndex
    """

    def __init__(self, encoder, index):
        self.encoder, self.index = encoder, index

    def __call__(self, texts):
        vectors = self.encoder.encode(texts)
        scores = cosine_similarity(vectors, self.index.vectors).astype(np.float64)
        best = scores.argmax(axis=1)
        known = scores.max(axis=1) >= self.index.threshold
        return Answers(scores, np.where(known, best, -1), are_probabilities=False)
