"""A text about one group -> the same text about the other.

    The nurse said that she was tired.    <->    The nurse said that he was tired.
    她是我的姐姐。                          <->    他是我的哥哥。

A word takes the place of its partner in words.SWAPS, and keeps its capitals. What this can't do: it
knows no grammar (an adjective in another language would have to agree) and no facts ("he was the
king of Spain" gets a queen who wasn't), and the two groups of a list aren't all there are.

English has one "her" for "his" and "him". It is taken for "his" if a word follows that can begin a
noun phrase: "her book", but "saw her and left". Chinese words are found anywhere, the longest
first, but for words such as 其他 in which the characters mean something else.
"""

import re
from functools import cache

from minillm.trust.fairness.words import SWAPS, split_pairs

# Words after which "her" is no possessive: they don't begin a noun phrase.
_NO_NOUN = frozenset(
    "a about again all already also am an and any are as at away back be because before but by can "
    "could did do does down during every first for from had has have here how if in into is it "
    "just later like may might more much must never no not now of off often on once or out over "
    "quite said says she should since so some soon than that the then there these they this those "
    "through to today tomorrow too under until up very was we well were what when where which "
    "while who why will with would yesterday yet".split())
_KEPT = ("其他", "他人", "吉他", "他国", "男女", "女男", "子女", "兄弟姐妹")


def swap(text, kind="gender"):
    """-> `text` with the words of both groups of `kind`, one of words.SWAPS, exchanged"""
    pattern, partner = _table(kind)
    return pattern.sub(lambda match: _partner(match, partner), text)


def group_of(text, kind="gender"):
    """-> 0 if `text` has words of the first group alone, 1 if of the second alone, else None"""
    pattern, partner = _table(kind)
    found = {_side(match, kind) for match in pattern.finditer(text)
             if _partner(match, partner) != match[0]}
    return found.pop() if len(found) == 1 else None


@cache
def _table(kind):
    """-> a pattern that finds all words of both groups, {lower-case word: its partner}"""
    if kind not in SWAPS:
        raise ValueError(f"kind is {kind!r}, wanted one of {', '.join(SWAPS)}")
    english, chinese = (split_pairs(SWAPS[kind][language]) for language in ("en", "zh"))
    partner = {one.lower(): other for pair in (*english, *chinese)
               for one, other in (pair, pair[::-1])}
    found = [word for pair in english for word in pair]
    if kind == "gender":
        partner |= {"his": "her", "him": "her", "hers": "his"}
        found += ["his", "him", "her", "hers"]
    han = sorted([*(word for pair in chinese for word in pair), *_KEPT], key=len, reverse=True)
    # No letters of Latin script may touch an English word; Chinese text may.
    english = "|".join(sorted(map(re.escape, found), key=len, reverse=True))
    pattern = rf"(?<![A-Za-z0-9_])(?:{english})(?![A-Za-z0-9_])|{'|'.join(han)}"
    return re.compile(pattern, re.IGNORECASE), partner


def _partner(match, partner):
    """-> what stands in the place of the word that was found"""
    word = match[0]
    if word in _KEPT:
        return word
    if word.lower() == "her":
        new = "his" if _begins_noun_phrase(match.string, match.end()) else "him"
    else:
        new = partner[word.lower()]
    if word.isupper() and len(word) > 1 and word.isascii():
        return new.upper()
    return new[:1].upper() + new[1:] if word[:1].isupper() else new


def _begins_noun_phrase(text, place):
    following = re.match(r"\s+([A-Za-z]+)", text[place:])
    return following is not None and following[1].lower() not in _NO_NOUN


def _side(match, kind):
    """-> 0 or 1: the group of a word that was found"""
    word = match[0].lower()
    if word in ("his", "him", "her", "hers"):
        return int(word.startswith("her"))
    return int(word not in _first_group(kind))


@cache
def _first_group(kind):
    return {one.lower() for language in ("en", "zh")
            for one, _ in split_pairs(SWAPS[kind][language])}
