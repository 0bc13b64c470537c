"""Is a text worth reading? The rules of Gopher and of C4, each with its reason.

Gopher: Rae et al. 2021, appendix A.1.1 (quality) and table A1 (repetition). C4: Raffel et al. 2020,
section 2.2. They were made for web pages. Poems, code and tables break several of them on purpose,
so they are switched on by name.
"""

import re

import numpy as np

from minillm.preparing.shingles import ngram_hashes

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
UNSPACED = ("zh", "ja", "th")  # a character is a word there
_BULLETS = ("•", "‣", "▪", "◦", "●", "- ", "* ")
_TERMINAL = (".", "!", "?", '"', "”", "。", "！", "？", "”", "…")


def gopher(text, words, hashes, language):
    """-> the name of the first rule that the text breaks, or None

    words: list of str, its words in lower case;  hashes: uint64, theirs
    """
    n = len(words)
    if not 50 <= n <= 100_000:
        return "fewer than 50 words" if n < 50 else "more than 100,000 words"
    if language not in UNSPACED and not 3 <= sum(map(len, words)) / n <= 10:
        return "mean word length outside of 3 to 10"
    if (text.count("#") + text.count("...") + text.count("…")) / n > 0.1:
        return "more than one # or ellipsis for 10 words"
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if sum(line.startswith(_BULLETS) for line in lines) > 0.9 * len(lines):
        return "more than 90 % of the lines are bullets"
    if sum(line.endswith(("...", "…")) for line in lines) > 0.3 * len(lines):
        return "more than 30 % of the lines end in an ellipsis"
    if sum(not word.isdigit() for word in words) < 0.8 * n:
        return "fewer than 80 % of the words have a letter"
    if language == "en" and len(STOP_WORDS.intersection(words)) < 2:
        return "fewer than two of the, be, to, of, and, that, have, with"
    return _repetition(lines, text, words, hashes)


def _repetition(lines, text, words, hashes):
    if 1 - len(set(lines)) / len(lines) > 0.3:
        return "more than 30 % of the lines repeat others"
    paragraphs = [part for part in re.split(r"\n[ \t]*\n", text) if part.strip()]
    if 1 - len(set(paragraphs)) / len(paragraphs) > 0.3:
        return "more than 30 % of the paragraphs repeat others"
    lengths = np.array([len(word) for word in words])
    for n, most in ((2, 0.20), (3, 0.18), (4, 0.16)):
        _, first, counts = np.unique(ngram_hashes(hashes, n), return_index=True, return_counts=True)
        top = counts.argmax()
        characters = lengths[first[top] : first[top] + n].sum() * counts[top]
        if counts[top] > 1 and characters > most * lengths.sum():
            return f"one row of {n} words makes more than {most:.0%} of the text"
    return None


def c4(text):
    """-> (the text without the lines that C4 drops, the name of the broken rule or None)"""
    kept = [line for line in text.split("\n") if not line.strip() or _is_c4_line(line)]
    text = "\n".join(kept).strip("\n")
    lowered = text.lower()
    if "lorem ipsum" in lowered:
        return text, "lorem ipsum"
    if "{" in text:
        return text, "a curly bracket: code"
    if len(re.findall(r"[.!?。！？]", text)) < 5:
        return text, "fewer than five sentences"
    return text, None


def _is_c4_line(line):
    line = line.strip()
    return (line.endswith(_TERMINAL) and "javascript" not in line.lower()
            and (len(line.split()) >= 5 or not line.isascii()))
