"""chrF: F-score of character n-grams                                            (Popović 2015)

    chrF = 100 (1 + β²) P R / (β² P + R),  β = 2: recall R weighs more than precision P

P and R are means over n = 1 … 6 of the shares of matched n-grams: of those in the translations, and
of those in the references. White space is left out. There are no words in it, so Chinese needs no
tokenization, and a wrong ending of a word costs little. Counts are summed over the whole corpus
first. chrF++ (Popović 2017) adds n-grams of 1 and 2 words. The scores are sacrebleu's.
"""

from string import punctuation

import numpy as np

from minillm.tasks.bleu import n_grams
from minillm.tasks.metrics import Metric

CHARACTERS = 6
BETA = 2


def chrf_counts(hypothesis, references, word_order=0):
    """-> int64 (3 (6 + word_order),): for each order, n-grams of the hypothesis, of the reference,
    matched

    references: one str, or several, of which the one with the best chrF counts
    word_order: 0 for chrF, 2 for chrF++
    """
    references = [references] if isinstance(references, str) else references
    found = _all_n_grams(hypothesis, word_order)
    best, best_score = None, -1.0
    for reference in references:
        counts = []
        for ours, theirs in zip(found, _all_n_grams(reference, word_order)):
            # An order that the reference is too short for says nothing.
            counts += [ours.total() if theirs else 0, theirs.total(), (ours & theirs).total()]
        if chrf_of_counts(counts) > best_score:
            best, best_score = counts, chrf_of_counts(counts)
    return np.array(best, np.int64)


def _all_n_grams(text, word_order):
    characters = "".join(text.split())
    return [n_grams(characters, n) for n in range(1, CHARACTERS + 1)] + [
        n_grams(_words(text), n) for n in range(1, word_order + 1)]


def _words(text):
    """-> list of words; a punctuation mark at the end of a word, or else at its start, is one"""
    words = []
    for word in text.split():
        if len(word) > 1 and word[-1] in punctuation:
            words += [word[:-1], word[-1]]
        elif len(word) > 1 and word[0] in punctuation:
            words += [word[0], word[1:]]
        else:
            words.append(word)
    return words


def chrf_of_counts(counts):
    """-> chrF, 0 … 100, of the sum of the `chrf_counts` of a corpus

    Orders for which there are no n-grams at all are left out of the means.
    """
    known = [(float(ours), float(theirs), float(matched))
             for ours, theirs, matched in np.reshape(counts, (-1, 3)) if ours and theirs]
    if not any(matched for *_, matched in known):
        return 0.0
    # In sacrebleu's order: a rounding error may decide between two references that are as good.
    P = sum(matched / ours for ours, _, matched in known) / len(known)
    R = sum(matched / theirs for _, theirs, matched in known) / len(known)
    return 100 * ((1 + BETA**2) * P * R / (BETA**2 * P + R))


def corpus_chrf(hypotheses, references, word_order=0):
    """-> chrF of a list of translations;  references: list of str, or of lists of str"""
    return chrf_of_counts(sum(chrf_counts(*pair, word_order)
                              for pair in zip(hypotheses, references, strict=True)))


def chrf_metric(field="target"):
    """-> Metric: chrF of predictions, with example[field] as the reference"""
    return Metric(lambda prediction, example: chrf_counts(prediction, example[field]),
                  chrf_of_counts)
