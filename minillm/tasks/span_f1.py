"""BIO tags, and precision, recall and F1 of whole entities, as CoNLL defines them.

    John  Smith  visited  New    York   .
    B-PER I-PER  O        B-LOC  I-LOC  O         Ramshaw & Marcus 1995, section 4.1 (as IOB)

An entity counts as found only if its start, its end and its type are all right: half a name is an
error twice, one entity that was missed and one that isn't there (Tjong Kim Sang & De Meulder 2003,
section 2.4).

    precision = correct / predicted      recall = correct / true      F1 = 2 P R / (P + R)

A quotient whose denominator is 0 is 0. Here an entity is a tuple (start, end, type), with `end`
after its last item: items are words for tags, characters for the spans of a text.
"""

from typing import NamedTuple

import numpy as np

from minillm.checks import shown
from minillm.tasks.metrics import f1, ratio

OUTSIDE = "O"


def bio_tags(entities, n_words):
    """-> list of n_words tags for entities (start, end, type), counted in words, without overlap"""
    tags = [OUTSIDE] * n_words
    for start, end, kind in entities:
        if not 0 <= start < end <= n_words:
            raise ValueError(f"an entity has words {start} to {end}, wanted 0 to {n_words}")
        if any(tag != OUTSIDE for tag in tags[start:end]):
            raise ValueError(f"an entity at words {start} to {end} overlaps another one")
        tags[start:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start - 1)
    return tags


def bio_entities(tags):
    """-> list of (start, end, type), counted in words, of any list of tags

    An I- that continues nothing, after O or after another type, begins an entity, as in the
    evaluation script of CoNLL-2000 and CoNLL-2003, conlleval.
    Raises ValueError for anything but O, B-TYPE and I-TYPE.
    """
    entities, start, kind = [], None, None
    for word, tag in enumerate([*tags, OUTSIDE]):
        prefix, dash, new = tag.partition("-")
        if tag != OUTSIDE and not (prefix in ("B", "I") and dash and new):
            raise ValueError(f"a tag is {shown(tag)}, wanted O, B-TYPE or I-TYPE")
        continues = prefix == "I" and start is not None and new == kind
        if start is not None and not continues:
            entities.append((start, word, kind))
            start = None
        if tag != OUTSIDE and not continues:
            start, kind = word, new
    return entities


class Score(NamedTuple):
    """Precision, recall and F1, and the counts that they are made of."""

    correct: int
    predicted: int
    true: int

    @property
    def precision(self):
        return ratio(self.correct, self.predicted)

    @property
    def recall(self):
        return ratio(self.correct, self.true)

    @property
    def f1(self):
        return f1(*self)


def count(predicted, true):
    """-> Score of the entities of one text, whatever their types; repeated ones count once"""
    predicted, true = _set_of(predicted), _set_of(true)
    return Score(len(predicted & true), len(predicted), len(true))


def total(scores):
    """-> Score of several texts together: the sums of their counts"""
    return Score(*(np.sum([*scores, (0, 0, 0)], axis=0).tolist()))


def micro(predicted, true):
    """-> Score of all entities of several texts, each entity with the same weight

    predicted, true: for each text a list of entities (start, end, type)
    """
    return total(count(*pair) for pair in zip(predicted, true, strict=True))


def by_type(predicted, true):
    """-> {type: Score} in alphabetical order, for every type that is true or predicted"""
    kinds = sorted({entity[2] for entities in (*predicted, *true) for entity in entities})
    return {kind: micro([_only(kind, entities) for entities in predicted],
                        [_only(kind, entities) for entities in true]) for kind in kinds}


def macro(predicted, true):
    """-> (precision, recall, F1), the means over the types, each type with the same weight"""
    scores = by_type(predicted, true).values()
    if not scores:
        return 0.0, 0.0, 0.0
    return tuple(float(np.mean([getattr(score, name) for score in scores]))
                 for name in ("precision", "recall", "f1"))


def _set_of(entities):
    return {tuple(entity[:3]) for entity in entities}


def _only(kind, entities):
    return [entity for entity in entities if entity[2] == kind]
