"""The question that an explanation on the page is about: one answer of a model against another."""

from dataclasses import replace

import numpy as np

from minillm.nn.module import no_grad
from minillm.ops.softmax import softmax

TOP = 5  # answers that are listed
MOST_TOKENS = 1024  # of a text that is explained: each token costs forwards of the whole text


def read(subject, text, *target_text):
    """-> Reading; ValueError for a text of more than MOST_TOKENS, too"""
    n = len(subject.encode(text))
    if n > MOST_TOKENS:
        raise ValueError(f"the text has {n:,} tokens, wanted at most {MOST_TOKENS:,}: explaining "
                         "it takes too long")
    return subject.read(text, *target_text)


class Question:
    """Does the model say `token` rather than `other`?

    subject, reading: who is asked, and about which text;  position: of the prediction
    token, other: ids of tokens, or numbers of labels; other None: only how likely `token` is
    target: the Logit or Label that is explained
    """

    def __init__(self, subject, reading, token, other, position):
        self.subject, self.reading, self.position = subject, reading, position
        self.token, self.other = token, other
        self.target = subject.target(replace(reading, position=position), token, other)

    def __call__(self, logits):
        """logits: of one text, as from the forward -> dict: the answer

        value: the target's;  p, p_other: probabilities of both;  top: [{id, name, p}, …]
        """
        return self.answers(logits)[0]

    def answers(self, logits):
        """logits: of several texts -> list of dict"""
        P = probabilities(logits, self.position)
        return [{"value": float(value), "p": float(p[self.token]),
                 "p_other": None if self.other is None else float(p[self.other]),
                 "top": [self.named(id, p) for id in np.argsort(-p, kind="stable")[:TOP]]}
                for value, p in zip(self.target.value(logits), P)]

    def numbers(self, logits):
        """logits: (B, …) -> float64 (B, 3): the target's value, the probabilities of both"""
        P = probabilities(logits, self.position)
        other = np.zeros(len(P)) if self.other is None else P[:, self.other]
        return np.stack([self.target.value(logits), P[:, self.token], other], axis=1)

    def named(self, id, p=None):
        """-> {id, name} of a token or a label, and its probability"""
        found = {"id": int(id), "name": self.subject.answer_names([int(id)])[0]}
        return found if p is None else {**found, "p": float(p[id])}

    def described(self):
        """-> dict: the question, for the page"""
        return {"token": self.named(self.token), "position": self.position,
                "other": None if self.other is None else self.named(self.other)}


def probabilities(logits, position):
    """-> float64 (B, V): of the answers at a position, or of the labels of the whole texts

    logits: (B, T, V), or (B, C) of a model that labels texts
    """
    at = logits if logits.ndim == 2 else logits[:, position]
    require_numbers("the model's scores", at)
    return softmax(at.astype(np.float64))[0]


def require_numbers(what, x):
    """Raise ValueError if an array that a view explains contains NaN"""
    if np.isnan(x).any():
        raise ValueError(f"{what} contain NaN: are the weights damaged? The graph shows where it "
                         "begins")


def logits_of(subject, reading):
    """-> the logits of a text, without a backward; ValueError for a model that has none"""
    require_answers(subject)
    with no_grad():
        return subject.model(**reading.inputs).logits


def ask(subject, reading, token=-1, against=-1, position=-1, beside=None):
    """-> Question

    token: -1: what the model says;  position: -1: the reading's own
    against: the other answer; -1: the one that becomes likeliest in the reading `beside`, of
        another text; without it none
    """
    position, n = checked_position(reading, position), n_answers(subject)
    for name, id in (("token", token), ("against", against)):
        if not -2 < id < n:
            raise ValueError(f"{name} is {id}, wanted 0 to {n - 1}, one of the answers")
    if token >= 0 and against == token:
        raise ValueError(f"token and against are both {token}, wanted two different answers")
    if token < 0 or (against < 0 and beside is not None):
        p = probabilities(logits_of(subject, reading), position)[0]
        token = int(_without(p, against).argmax()) if token < 0 else token
    if against < 0 and beside is not None:
        gain = probabilities(logits_of(subject, beside), position)[0] - p
        against = int(_without(gain, token).argmax())
    return Question(subject, reading, token, against if against >= 0 else None, position)


def _without(values, id):
    """-> values with -inf at an id, unless it is negative"""
    return np.where((np.arange(len(values)) == id) & (id >= 0), -np.inf, values)


def has_answers(subject):
    return subject.says not in (None, "vector")


def require_answers(subject):
    if not has_answers(subject):
        raise ValueError(f"{subject.name or 'model'} is a {subject.architecture}, wanted one with "
                         "a head, which says something")


def n_answers(subject):
    """-> the number of the model's answers: tokens, or labels; ValueError for a model without"""
    require_answers(subject)
    if subject.labels is not None:
        return len(subject.labels)
    config = subject.model.config
    return config.decoder_vocab_size if subject.is_encoder_decoder else config.vocab_size


def checked_position(reading, position):
    """-> position; -1: the reading's own. ValueError for one outside the text"""
    if position == -1:
        return reading.position
    if not 0 <= position < len(reading.tokens):
        raise ValueError(f"position is {position}, wanted 0 to {len(reading.tokens) - 1}")
    return position
