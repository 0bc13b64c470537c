r"""BLEU: how many n-grams of a translation occur in a human's       (Papineni et al. 2002, sec. 2)

    BLEU = 100 BP exp( 1/4 Σ_n log p_n ),  n = 1 … 4

    p_n = matched n-grams / n-grams of the translations    "modified" precision: an n-gram matches at
                                                           most as often as the reference has it
    BP  = 1 if c > r, else exp(1 - r / c)                  brevity penalty; c, r: all tokens of the
                                                           translations, of the references

Counts are summed over the whole corpus first: BLEU is no mean of the sentences' BLEU. It depends on
what a token is, so a score means nothing without the name of its tokenization (Post 2018). The
tokenizations and the smoothing here are sacrebleu's, and so are the scores.
"""

import math
from collections import Counter

import numpy as np
import regex

from minillm.checks import shown
from minillm.tasks.metrics import Metric

ORDERS = 4

# ---- what a token is

# Punctuation and symbols of ASCII, except the apostrophe, "," "-" and ".", are words.
_SYMBOL = regex.compile(r"([{-~\[-` -&(-+:-@/])")
_BEFORE_DIGITS = regex.compile(r"([^0-9])([.,])")  # 1,000.5 stays one word
_AFTER_DIGITS = regex.compile(r"([.,])([^0-9])")
_DASH = regex.compile(r"([0-9])(-)")

# What "zh" takes for Chinese. In sacrebleu's table, the range of rare characters U+20000 … U+2A6D6
# became U+2001 … U+2A6D by a slip ("\u20000" is two characters); a score must not differ by that.
_CHINESE = regex.compile(
    r"([\u3400-\u4db5\u4e00-\u9fbb\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\u2001-\u2a6d"
    r"\uff00-\uffef\u2e80-\u2eff\u3000-\u303f\u31c0-\u31ef\u2f00-\u2fdf\u2ff0-\u2fff\u3100-\u312f"
    r"\u31a0-\u31bf\ufe10-\ufe1f\ufe30-\ufe4f\u3200-\u33ff])")


def tokenize_13a(text):
    """-> list of tokens, as mteval-v13a.pl of the WMT evaluations cuts them: for languages in Latin
    letters

    >>> tokenize_13a('He said "1,000.5 km/h", twice.')
    ['He', 'said', '"', '1,000.5', 'km', '/', 'h', '"', ',', 'twice', '.']
    """
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for name, character in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(name, character)
    return _split(f" {text} ")


def tokenize_zh(text):
    """-> list of tokens: each Chinese character is one, the rest is cut as in 13a

    >>> tokenize_zh("2026年3月3日, BLEU")
    ['2026', '年', '3', '月', '3', '日', ',', 'BLEU']
    """
    return _split(_CHINESE.sub(r" \1 ", text.strip()))


def tokenize_char(text):
    """-> list of characters, white space left out

    >>> tokenize_char("三百 05")
    ['三', '百', '0', '5']
    """
    return "".join(text.split())


def _split(text):
    text = _SYMBOL.sub(r" \1 ", text)
    text = _BEFORE_DIGITS.sub(r"\1 \2 ", text)
    text = _AFTER_DIGITS.sub(r" \1 \2", text)
    return _DASH.sub(r"\1 \2 ", text).split()


TOKENIZERS = {"13a": tokenize_13a, "zh": tokenize_zh, "char": tokenize_char, "none": str.split}

# ---- the score


def n_grams(tokens, n):
    """-> Counter of the n-grams, tuples or strings as `tokens` is a list or a string"""
    parts = tokens if isinstance(tokens, str) else tuple(tokens)
    return Counter(parts[i : i + n] for i in range(len(parts) - n + 1))


def bleu_counts(hypothesis, references, tokenize="13a"):
    """-> int64 (10,): c, r, matched n-grams of 1 … 4, n-grams of the hypothesis of 1 … 4

    references: one str, or several, of which the closest in length gives r
    """
    if tokenize not in TOKENIZERS:
        raise ValueError(f"tokenize is {shown(tokenize)}, wanted one of {', '.join(TOKENIZERS)}")
    split = TOKENIZERS[tokenize]
    references = [references] if isinstance(references, str) else references
    tokens, wanted = split(hypothesis), [split(reference) for reference in references]
    c = len(tokens)
    r = min((abs(len(reference) - c), len(reference)) for reference in wanted)[1]
    matched, total = [], []
    for n in range(1, ORDERS + 1):
        found, allowed = n_grams(tokens, n), Counter()
        for reference in wanted:
            allowed |= n_grams(reference, n)  # the largest count in any reference
        matched.append((found & allowed).total())
        total.append(found.total())
    return np.array([c, r, *matched, *total], np.int64)


def bleu_of_counts(counts, effective_order=False):
    """-> BLEU, 0 … 100, of the sum of the `bleu_counts` of a corpus

    Exponential smoothing: p_n of the first order without a match is 1 / (2 total), of the next
    1 / (4 total), … (Chen and Cherry 2014, method 3). So one absent 4-gram doesn't make 0.
    effective_order: leave out the orders that are longer than the translations. Use it for single
        sentences; by default a corpus without 4-grams has BLEU 0.
    """
    c, r = counts[:2]
    matched, total = counts[2 : 2 + ORDERS], counts[2 + ORDERS :]
    if not np.any(matched):
        return 0.0
    logs, halves = [], 0
    for right, all_of_them in zip(matched, total):
        if all_of_them == 0:
            if effective_order:
                break
            return 0.0
        if right == 0:
            halves += 1
            right = 0.5**halves
        logs.append(math.log(right / all_of_them))
    brevity_penalty = 1.0 if c >= r else math.exp(1 - r / c)
    return 100 * brevity_penalty * math.exp(sum(logs) / len(logs))


def corpus_bleu(hypotheses, references, tokenize="13a", effective_order=False):
    """-> BLEU of a list of translations;  references: list of str, or of lists of str"""
    counts = [bleu_counts(*pair, tokenize) for pair in zip(hypotheses, references, strict=True)]
    return bleu_of_counts(sum(counts), effective_order)


def bleu_metric(field="target", tokenize="13a"):
    """-> Metric: BLEU of predictions, with example[field] as the reference"""
    return Metric(lambda prediction, example: bleu_counts(prediction, example[field], tokenize),
                  bleu_of_counts)
