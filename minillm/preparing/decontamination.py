"""No training document may hold a piece of a test: Brown et al. 2020 (GPT-3), appendix C.

A document is contaminated if it shares 13 words in a row with a test text. A test text of 8 to 12
words counts as a whole; a shorter one is ignored, because short texts occur by coincidence.
"""

import numpy as np

from minillm.preparing.shingles import ngram_hashes, word_hashes, words_of

LONGEST, SHORTEST = 13, 8


class Forbidden:
    """texts: an iterable of str, the tests"""

    def __init__(self, texts):
        found = {}
        for text in texts:
            hashes = word_hashes(words_of(text))
            n = min(LONGEST, len(hashes))
            if n >= SHORTEST:
                found.setdefault(n, []).append(ngram_hashes(hashes, n))
        self.ngrams = {n: np.unique(np.concatenate(parts)) for n, parts in sorted(found.items())}

    def shares(self, hashes):
        """hashes: uint64 (T,) of a document's words -> whether it shares an n-gram with a test"""
        for n, wanted in self.ngrams.items():
            ours = ngram_hashes(hashes, n)
            places = np.minimum(np.searchsorted(wanted, ours), len(wanted) - 1)
            if len(ours) and np.any(wanted[places] == ours):
                return True
        return False
