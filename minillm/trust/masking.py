"""Masking: personal data in a text becomes a placeholder, such as [EMAIL].

    "Write to mira@example.org or +86 138 1234 5678"  ->  "Write to [EMAIL] or [PHONE]"

Overlapping finds become one span, from the first start to the last end, of the most certain kind
among them (the order of KINDS): nothing that a detector found stays readable. Everything outside of
the spans is left as it is, and a masked text has nothing more to mask.
"""

from bisect import bisect, insort
from collections import Counter
from typing import NamedTuple

from minillm.checks import shown
from minillm.trust import internet_addresses, numbers_of_people, phone_numbers, secrets
from minillm.trust.detector import Span
from minillm.trust.folding import fold

# From the most to the least certain.
KINDS = {
    "SECRET": "keys and tokens with known prefixes, JSON web tokens, private keys",
    "CREDENTIALS": "user and password in a URL",
    "IBAN": "bank accounts, by country length and check digits",
    "RESIDENT_ID": "Chinese resident IDs, by place, birthday and check digit",
    "CARD": "payment cards, by issuer, length and check digit",
    "IP": "IPv4 and IPv6 addresses",
    "EMAIL": "e-mail addresses",
    "PHONE": "phone numbers: international, and the forms of many countries",
    "PERSON": "names of persons, with a model",
    "PLACE": "places and addresses, with a model",
}
PATTERN_KINDS = tuple(KINDS)[:-2]
DETECTORS = (*secrets.DETECTORS, *internet_addresses.DETECTORS, *numbers_of_people.DETECTORS,
             *phone_numbers.DETECTORS)
_RANK = {kind: rank for rank, kind in enumerate(KINDS)}
_MASKED = "\x00"  # stands for a masked character while the rest is searched again


class Masked(NamedTuple):
    """text: with placeholders;  spans: list of Span, in characters of the text before"""

    text: str
    spans: list

    def counts(self):
        """-> {kind: number of spans}, in the order of KINDS"""
        counted = Counter(span.kind for span in self.spans)
        return {kind: counted[kind] for kind in KINDS if counted[kind]}


def mask(text, kinds=None, names=None, label=None):
    """-> Masked

    kinds: names of KINDS to mask (default: those that patterns find)
    names: a function text -> list of Span, such as `names.NameFinder` (default: none)
    label(kind, value) -> what stands in place of a value (default: "[KIND]")
    """
    spans = find_personal_data(text, kinds, names)
    return Masked(replaced(text, spans, label or placeholder), spans)


def replaced(text, spans, label):
    """-> the text with label(kind, value) in place of each span; spans: in order"""
    parts, done = [], 0
    for start, end, kind in spans:
        parts += text[done:start], label(kind, text[start:end])
        done = end
    return "".join([*parts, text[done:]])


def placeholder(kind, value=None):
    return f"[{kind}]"


def find_personal_data(text, kinds=None, names=None):
    """-> list of Span, in order and without overlaps; for the arguments see `mask`

    Raises ValueError for an unknown kind. Time is linear in the length of the text: detector.py.
    """
    chosen = checked_kinds(kinds)
    detectors = [detector for detector in DETECTORS if detector.kind in chosen]
    folded = fold(text).replace(_MASKED, " ")
    found = merged([span for span in (names(text) if names else [])
                    if kinds is None or span.kind in chosen])
    blanked, anchors = _blanked(folded, found, 0, len(folded)), {}
    new = merged([span for detector in detectors for span in detector.find(blanked, anchors)])
    # What stands beside a number decides whether it is one, and masking changes what stands there.
    # So both sides of each new span are searched again until nothing is found: a second call of
    # `mask` finds nothing either.
    found = merged([*found, *new])
    while new:
        for span in _found_beside(new.pop(), folded, found, detectors):
            insort(found, span)
            new.append(span)
    return merged(found)


_BESIDE = 100  # characters on each side of a masked span


def _found_beside(masked, folded, found, detectors):
    """-> list of Span that are personal data now that the span `masked` is hidden

    found: sorted list of Span, all of them hidden
    """
    left, right = max(0, masked.start - _BESIDE), min(len(folded), masked.end + _BESIDE)
    before = _blanked(folded, found, left, masked.start)
    local = before + _MASKED + _blanked(folded, found, masked.end, right)
    shift = masked.end - len(before) - len(_MASKED)
    spans, anchors = [], {}
    for detector in detectors:
        for start, end, kind in detector.find(local, anchors):
            if start > len(before):
                start, end = start + shift, end + shift
                is_whole = end < right or right == len(folded)
            elif end <= len(before):
                start, end = start + left, end + left
                is_whole = start > left or left == 0
            else:
                continue
            if is_whole:  # what the edge of the window cuts is as it was before
                spans.append(Span(start, end, kind))
    return merged(spans)


def _blanked(folded, spans, start, end):
    """-> folded[start:end] with the characters of `spans`, a sorted list, replaced by _MASKED"""
    parts, done = [], start
    for number in range(max(0, bisect(spans, (start,)) - 1), len(spans)):
        span = spans[number]
        if span.start >= end:
            break
        if span.end > done:
            hidden = min(span.end, end) - max(span.start, done)
            parts += folded[done : span.start], _MASKED * hidden
            done = min(span.end, end)
    return "".join([*parts, folded[done:end]])


def merged(spans):
    """-> list of Span: overlapping ones as one, of the most certain kind"""
    result = []
    for span in sorted(spans):
        if result and span.start < result[-1].end:
            last = result.pop()
            kind = min(last.kind, span.kind, key=_RANK.get)
            span = Span(last.start, max(last.end, span.end), kind)
        result.append(span)
    return result


def checked_kinds(kinds):
    """-> set of kinds; None means those that patterns find"""
    if kinds is None:
        return set(PATTERN_KINDS)
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"kind is {shown(kind)}, wanted one of {', '.join(KINDS)}")
    return set(kinds)
