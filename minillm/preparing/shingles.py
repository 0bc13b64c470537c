"""A text as n-grams of words, each n-gram a 64-bit number.

Words are runs of letters and digits, in lower case; each Chinese and Japanese character is a word
by itself, as those languages write no spaces.

    h(w_1 … w_n) = Σ_j  crc32(w_j) · P^(n - j)   modulo 2^64,   then mixed
"""

import re
import zlib

import numpy as np

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
_P = np.uint64(0x9E3779B97F4A7C15)  # odd; 2^64 divided by the golden ratio


def words_of(text):
    """-> list of str"""
    return _WORD.findall(text.lower())


def word_hashes(words):
    """-> uint64 (number of words,)"""
    return np.fromiter((zlib.crc32(word.encode("utf-8", "replace")) for word in words), np.uint64,
                       len(words))


def ngram_hashes(hashes, n):
    """uint64 (T,) of words -> uint64 (T - n + 1,) of their n-grams, or (0,) if T < n"""
    if len(hashes) < n:
        return np.zeros(0, np.uint64)
    length = len(hashes) - n + 1
    total = np.zeros(length, np.uint64)
    with np.errstate(over="ignore"):
        for j in range(n):
            total = total * _P + hashes[j : j + length]
        total ^= total >> np.uint64(29)  # mixed: near inputs, far outputs (Steele et al. 2014)
        total *= np.uint64(0xBF58476D1CE4E5B9)
        total ^= total >> np.uint64(32)
    return total
