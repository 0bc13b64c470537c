"""Texts whose spans have labels, from templates: a program that writes a text knows its labels.

    "{PER} flew to {LOC} with a {thing}."  ->  "Mira Holt flew to Penwick with an apple."
                                               [[0, 9, "PER"], [18, 25, "LOC"]]

A slot in capitals leaves a labelled span, {LABEL} or {LABEL:filler}; a slot in small letters only
text, in which slots may stand again. Spans are [start, end, label], in characters. An article
before a vowel becomes "an".
"""

import re

from minillm.tasks.data.drawing import pick

SHARE_OF_NEW = 0.5  # of the words in the test split, those that training lacks

_SLOT = re.compile(r"\{([A-Za-z_]+)(?::([a-z_]+))?\}")
_ARTICLE = re.compile(r"\b[Aa] $")


def fill_labelled(rng, template, fillers):
    """-> text, spans

    fillers: {slot: a list of str, or a function rng -> str}
    """
    text, spans, done = "", [], 0
    for slot in _SLOT.finditer(template):
        text += template[done : slot.start()]
        done = slot.end()
        filler = fillers[slot[2] or slot[1]]
        words, inner = fill_labelled(rng, filler(rng) if callable(filler) else pick(rng, filler),
                                     fillers)
        if _ARTICLE.search(text) and words[:1].lower() in tuple("aeiou"):
            text = f"{text[:-1]}n "
        if slot[1].isupper():
            inner = [[0, len(words), slot[1]]]
        spans += [[len(text) + start, len(text) + end, label] for start, end, label in inner]
        text += words
    return text + template[done:], spans


def join_labelled(parts, between=" "):
    """-> text, spans of several (text, spans), one after another"""
    text, spans = "", []
    for words, labelled in parts:
        text += between if text else ""
        spans += [[len(text) + start, len(text) + end, label] for start, end, label in labelled]
        text += words
    return text, spans


def invented_words(starts, middles, ends):
    """-> list of every start + middle + end: names that no dictionary has"""
    return [start + middle + end for start in starts for middle in middles for end in ends]


def either(column, lists):
    """-> function rng -> str: a word of lists[0], or with column 1 half of the time of lists[1]

    lists: (words of all splits, words of the test split only)
    """
    return lambda rng: pick(rng, lists[column if rng.random() < SHARE_OF_NEW else 0])
