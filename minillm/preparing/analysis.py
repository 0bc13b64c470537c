"""Everything that is done with one document, whatever the others are."""

import functools
import hashlib
from typing import NamedTuple

import numpy as np

from minillm.preparing import minhash
from minillm.preparing.languages import language_of
from minillm.preparing.quality import c4, gopher
from minillm.preparing.shingles import ngram_hashes, word_hashes, words_of
from minillm.text.cleaning import clean_text
from minillm.trust.masking import mask

FILTERS = ("gopher", "c4")


class Analyzed(NamedTuple):
    """text: cleaned and masked;  reason: why it is removed, or None;  masked: {kind: number}

    digest: 16 bytes, equal for texts that differ in white space alone
    signature: uint32 (128,) of minhash.py
    """

    text: str
    language: str
    reason: str | None
    masked: dict
    digest: bytes
    signature: np.ndarray


def analyze(text, filters=("gopher",), kinds=None, languages=None, tests=None):
    """-> Analyzed

    filters: some of FILTERS;  kinds: of personal data to mask, () for none (None: all)
    languages: tags of the languages to keep (None: all)
    tests: decontamination.Forbidden (None: no test to compare with)
    """
    text, masked = clean_text(text).strip("\n"), {}
    if kinds is None or kinds:
        result = mask(text, kinds)
        text, masked = result.text, result.counts()
    reason = None
    if "c4" in filters:
        text, reason = c4(text)
        reason = reason and f"c4: {reason}"
    words = words_of(text)
    hashes = word_hashes(words)
    language = language_of(text)
    if not text.strip():
        reason = "empty"
    elif languages and language not in languages:
        reason = f"language: {language}"
    elif reason is None and "gopher" in filters:
        reason = gopher(text, words, hashes, language)
        reason = reason and f"gopher: {reason}"
    if reason is None and tests is not None and tests.shares(hashes):
        reason = "contaminated: shares words in a row with a test"
    digest = hashlib.blake2b(" ".join(text.split()).encode("utf-8", "replace"), digest_size=16)
    return Analyzed(text, language, reason, masked, digest.digest(), _signature(hashes))


def _signature(hashes):
    shingles = ngram_hashes(hashes, min(minhash.SHINGLE, max(1, len(hashes))))
    return minhash.signature(np.unique(shingles.astype(np.uint32)), *_permutations())


_permutations = functools.lru_cache(maxsize=1)(minhash.permutations)
