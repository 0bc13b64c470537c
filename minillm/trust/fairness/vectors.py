"""The vectors of words and of sentences that association tests are about.

WEAT is about words: a word's vector is the mean of its pieces' input embeddings. SEAT is about what
the blocks make of them: a word is put into sentences that say next to nothing ("This is …"), and
its vector is the mean over these. (May et al. 2019 count each sentence as a target of its own; but
sentences with the same word are no independent observations, and p would be too small.)
"""

import numpy as np

from minillm.models.sentence_encoder import SentenceEncoder
from minillm.trust.fairness.words import BLEACHED

MOST_PIECES = 3  # of a word; one in more pieces is letters to the model, no word


def word_ids(tokenizer, words):
    """-> {word: list of ids} of the words that the tokenizer has, in few pieces

    A word within a text: a byte-level tokenizer has it with a space in front.
    """
    unknown, found = tokenizer.unk_token_id, {}
    specials = set(tokenizer.all_special_ids)
    for word in words:
        before = " " if word.isascii() else ""
        ids = tokenizer.encode(before + word, add_special_tokens=False)
        if 0 < len(ids) <= MOST_PIECES and unknown not in ids and not specials & set(ids):
            found[word] = list(ids)
    return found


def word_vectors(model, tokenizer, words):
    """-> {word: float64 (d,)}, the means of the input embeddings of the words that it has"""
    table = model.get_input_embeddings().weight.data
    return {word: table[ids].astype(np.float64).mean(axis=0)
            for word, ids in word_ids(tokenizer, words).items()}


def sentence_vectors(encoder, words, language, known=None):
    """-> {word: float64 (width,)}, the mean over the sentences BLEACHED[language]

    encoder: a SentenceEncoder;  known: take only these words
    """
    words = [word for word in words if known is None or word in known]
    if not words:
        return {}
    templates = BLEACHED[language]
    texts = [template.format(w=word) for word in words for template in templates]
    vectors = encoder.encode(texts).astype(np.float64).reshape(len(words), len(templates), -1)
    return dict(zip(words, vectors.mean(axis=1)))


def encoder_of(model, tokenizer):
    """-> the SentenceEncoder of any model without a separate decoder: mean over the last vectors"""
    if isinstance(model, SentenceEncoder):  # a plain one: a subclass's forward returns more
        return SentenceEncoder(model.model, model.tokenizer, model.pooling.how,
                               model.normalize is not None, model.max_length, dense=model.dense,
                               lower_case=model.lower_case, prompt=model.prompt).eval()
    return SentenceEncoder(model, tokenizer, "mean", normalize=False).eval()
