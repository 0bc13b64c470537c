"""Which words of the second text of a pair also stand in the first.

DrQA gave its reader this as a feature of each token, "exact match"    (Chen et al. 2017, "Reading
Wikipedia to Answer Open-Domain Questions", section 3.2). A pretrained BERT finds the pairs of equal
words by itself, in its attention; to learn that from nothing takes far more examples than to learn
what to do with it. So the tasks on pairs tell a new model by a third token type:

    [CLS] what color is the lamp ? [SEP] the lamp is green . [SEP]
      0    0    0    0   0   0   0   0    2    2   2    1   1   1

To compare two texts, an answer and its key, both are marked: `with_compared_words`.
"""

import regex

import numpy as np

N_TYPES = 3
_WORD = regex.compile(r"\p{Han}|[\p{L}\p{N}]+(?:[.,]\p{N}+)*")


def words(text):
    """-> list of (word in lower case, its first character, the character after its last)"""
    return [(match[0].lower(), *match.span()) for match in _WORD.finditer(text)]


def with_shared_words(token_types, offsets, first, second):
    """-> token types (T,) in which the tokens of shared words are 2

    token_types: integers (T,), 1 in the second text;  offsets: (T, 2), the characters of each token
    first, second: the two texts

    A token belongs to the word that its first character is in.
    """
    known = {word for word, _, _ in words(first)}
    shared = np.zeros(len(second) + 1, bool)
    for word, start, end in words(second):
        if word in known:
            shared[start:end] = True
    is_token = (token_types == 1) & (offsets[:, 1] > offsets[:, 0])
    return np.where(is_token & shared[np.minimum(offsets[:, 0], len(second))], 2, token_types)


N_COMPARED = 5  # token types of `with_compared_words`
# Words that any two sentences share.
_SMALL = frozenset("a an the it its i we they them their to of and that this is are be do does "
                   "in on as which what".split())
_ENDING = regex.compile(r"(?<=\w{3})(?:ies|es|ed|ing|ly|s|e|y)$")


def stem(word):
    """-> "carr" for "carry" and "carries": a word in lower case without its ending"""
    return _ENDING.sub("", word)


def _stems(text):
    return {stem(word) for word, _, _ in words(text) if word not in _SMALL}


def with_compared_words(token_types, offsets, question, key, answer):
    """-> token types (T,) that compare an answer with a key, in both directions

    0, 1: of the first text, which is question, space, key; and of the answer
    2: a word of the answer that the key has    4: one that the question has, but not the key
    3: a word of the key that the answer has

    Words are equal if their stems are; the smallest words don't count. Arguments as in
    `with_shared_words`.
    """
    first = np.zeros(len(question) + 1 + len(key) + 1, np.int64)
    second = np.ones(len(answer) + 1, np.int64)
    of_question, of_key, of_answer = _stems(question), _stems(key), _stems(answer)
    for word, start, end in words(key):
        if stem(word) in of_answer:
            first[len(question) + 1 + start : len(question) + 1 + end] = 3
    for word, start, end in words(answer):
        if stem(word) in of_key:
            second[start:end] = 2
        elif stem(word) in of_question:
            second[start:end] = 4
    at, is_token = offsets[:, 0], offsets[:, 1] > offsets[:, 0]
    found = np.where(token_types == 1, second[np.minimum(at, len(answer))],
                     first[np.minimum(at, len(first) - 1)])
    return np.where(is_token, found, token_types)


def n_token_types(config):
    """-> the number of token types of a model; 0 if it has none of its own"""
    return getattr(config, "type_vocab_size", 0)


def with_more_types(prepared, settings, n_types=N_TYPES):
    """-> what `prepare` returned, with `n_types` token types if the model is new and has types"""
    if settings.model or n_token_types(prepared.config) == 0:
        return prepared
    return prepared._replace(config=prepared.config.replace(type_vocab_size=n_types))
