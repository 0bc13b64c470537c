"""A detector: a pattern that proposes candidates, and a check that decides.

Python's patterns can take exponential time: "(a+)+b" on thirty a's takes minutes, and whoever
writes the text that is masked can write those. Two rules keep every pattern here linear, whatever
the text is:

1. Every repetition has an upper bound, so an attempt to match at one place reads at most as many
   characters as the pattern is long (`{1,64}`, never `+` or `*`).
2. Every repetition is possessive (`{1,64}+`): what it has taken it never gives back. So an attempt
   reads each of these characters once, and there is nothing to be tried again.

A text of n characters therefore costs at most n attempts of constant length. A test reads the
patterns and holds them to the two rules.

Most of a text is far from any candidate. So a detector first looks for its anchor, a few characters
that each candidate has near its beginning (an @, seven digits in a row), and tries its pattern only
there.
"""

import re
from typing import Any, NamedTuple

import regex

# Letters of alphabets that separate words by spaces. Chinese, Japanese, Korean, Thai, … are not
# among them: they stand right beside an address that isn't part of the word.
LETTER = (r"\p{L}\p{M}--\p{Han}--\p{Hiragana}--\p{Katakana}--\p{Hangul}--\p{Thai}--\p{Lao}"
          r"--\p{Khmer}--\p{Myanmar}--\p{Bopomofo}--[\u3005-\u3007\u30fc]")


class Span(NamedTuple):
    """The characters start to end (exclusive) of a text are personal data of this kind."""

    start: int
    end: int
    kind: str


class Detector(NamedTuple):
    """kind: such as "EMAIL";  pattern: compiled

    check(text, match) -> (start, end) of what is really one, or None. `text` is folded.
    anchor: a compiled `re`;  back: a candidate begins at most so many characters before one
    reach: and ends at most so many behind the anchor
    """

    kind: str
    pattern: Any
    check: Any
    anchor: Any
    back: int
    reach: int

    def find(self, folded, anchors=None):
        """Yield Span: the candidates in a folded text that pass the check, overlapping ones too

        anchors: {pattern: its places in the text}, filled in: several detectors share one
        """
        for first, last, end in self._windows(folded, {} if anchors is None else anchors):
            for match in self.pattern.finditer(folded, first, end, overlapped=True):
                if match.start() > last:
                    break
                span = self.check(folded, match)
                if span is not None:
                    yield Span(*span, self.kind)

    def _windows(self, folded, anchors):
        """Yield (first, last, end): candidates begin at first … last and end before `end`"""
        if self.anchor not in anchors:
            anchors[self.anchor] = [match.span() for match in self.anchor.finditer(folded)]
        window = None
        for start, end in anchors[self.anchor]:
            first = max(0, start - self.back)
            if window and first <= window[2]:
                first = window[0]
            elif window:
                yield window
            window = first, end, end + self.reach
        if window:
            yield window


# Seven digits, as close together as those of a card, a phone number or an ID are
SEVEN_DIGITS = re.compile(r"[0-9](?:[ ().\-/]{0,3}[0-9]){6}")


def compiled(pattern, flags=0):
    return regex.compile(pattern, regex.V1 | flags)
