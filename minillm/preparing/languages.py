"""Which language is a text in? By its script, and by the frequencies of groups of letters.

Cavnar and Trenkle 1994: rank the n-grams of letters (n = 1 … 4) of a language by how often they
occur; this is its profile. The distance of a text to a language is

    Σ over the text's n-grams of |rank in the text - rank in the profile|

where an n-gram that the profile lacks counts as the profile's length. The nearest language wins.
Scripts that one language (nearly) has to itself need no profile.

Seven languages with Latin letters are known, and eight scripts. A text in another language gets the
tag of its nearest relative among them. Measured: of 28 single sentences in the seven languages, of
about 40 letters each, 26 get their tag (tests/preparing/test_reading.py), and of the 79 topics of
Python's manual, half of them grammar and code, 78.
"""

import functools
import re
from collections import Counter

from minillm.preparing.language_texts import TEXTS

PROFILE = 1000  # n-grams
SAMPLE = 1000  # characters of a text that are looked at
_LEAST = 20  # letters; with fewer there is nothing to tell by
_SCRIPTS = {
    "ja": re.compile("[\u3040-\u30ff]"), "zh": re.compile("[\u3400-\u9fff]"),
    "ko": re.compile("[\uac00-\ud7af]"), "ru": re.compile("[\u0400-\u04ff]"),
    "el": re.compile("[\u0370-\u03ff]"), "he": re.compile("[\u0590-\u05ff]"),
    "ar": re.compile("[\u0600-\u06ff]"), "hi": re.compile("[\u0900-\u097f]"),
    "th": re.compile("[\u0e00-\u0e7f]"),
}
_NOT_LETTERS = re.compile(r"[\W\d_]+")


def language_of(text):
    """-> "en", "de", …; "und" (undetermined) for a text with too few letters"""
    sample = text[:SAMPLE]
    letters = _NOT_LETTERS.sub("", sample)
    counts = {tag: len(script.findall(letters)) for tag, script in _SCRIPTS.items()}
    tag, most = max(counts.items(), key=lambda item: item[1])
    if most > 0.3 * len(letters):
        # Japanese writes Chinese characters too, with kana between them.
        return "ja" if tag == "zh" and counts["ja"] > 0.05 * len(letters) else tag
    if len(letters) < _LEAST:
        return "und"
    ranks = ranked(sample)
    return min(sorted(TEXTS), key=lambda name: _distance(ranks, _profile(name)))


def ranked(text, most=PROFILE):
    """-> {n-gram: its rank, 0 for the most frequent one}"""
    counts = Counter()
    for word in _NOT_LETTERS.sub(" ", text.lower()).split():
        word = f" {word} "
        for n in range(1, 5):
            counts.update(word[start : start + n] for start in range(len(word) - n + 1))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {ngram: rank for rank, (ngram, _) in enumerate(ordered[:most])}


def _distance(ranks, profile):
    return sum(abs(rank - profile.get(ngram, rank + PROFILE)) for ngram, rank in ranks.items())


@functools.lru_cache(maxsize=None)
def _profile(name):
    return ranked(TEXTS[name])
