"""Which words of the second text of a pair also stand in the first.

DrQA gave its reader this as a feature of each token, "exact match"    (Chen et al. 2017, "Reading
Wikipedia to Answer Open-Domain Questions", section 3.2). A pretrained BERT finds the pairs of equal
words by itself, in its attention; to learn that from nothing takes far more examples than to learn
what to do with it. So the tasks on pairs tell a new model by a third token type:

    [CLS] what color is the lamp ? [SEP] the lamp is green . [SEP]
      0    0    0    0   0   0   0   0    2    2   2    1   1   1
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


def n_token_types(config):
    """-> the number of token types of a model; 0 if it has none of its own"""
    return getattr(config, "type_vocab_size", 0)


def with_third_type(prepared, settings):
    """-> what `prepare` returned, with a third token type if the model is new and has types"""
    if settings.model or n_token_types(prepared.config) == 0:
        return prepared
    return prepared._replace(config=prepared.config.replace(type_vocab_size=N_TYPES))
