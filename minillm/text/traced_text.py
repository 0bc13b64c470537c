"""A text that records where each of its characters came from.

Normalizing changes a text and splitting makes pieces of it, but the offsets of a token refer to the
caller's text. So where offsets are requested, every step works on a TracedText instead of a str.
Both support slices, piece[start:end]; `text_of` returns the str of either.
"""

from itertools import repeat


class TracedText:
    """text: str;  starts, ends: character i of `text` stands for original[starts[i] : ends[i]]."""

    __slots__ = ("text", "starts", "ends")

    def __init__(self, text, starts, ends):
        self.text, self.starts, self.ends = text, starts, ends

    @classmethod
    def of(cls, text):
        """-> `text`, each character of which comes from itself"""
        return cls(text, list(range(len(text))), list(range(1, len(text) + 1)))

    def __getitem__(self, piece):
        return TracedText(self.text[piece], self.starts[piece], self.ends[piece])

    def __len__(self):
        return len(self.text)

    def span(self, start, end):
        """-> the origin of characters start … end - 1: (first character, end) in the original

        (0, 0) for characters that were inserted with none before them.
        """
        return (self.starts[start], self.ends[end - 1]) if start < end <= len(self) else (0, 0)

    def changed(self, text, sources):
        """-> the TracedText of `text`, whose character i replaces character sources[i] of this one

        sources: list of int, as long as `text`; -1 for characters that replace none
        """
        starts = [self.starts[i] if i >= 0 else 0 for i in sources]
        ends = [self.ends[i] if i >= 0 else 0 for i in sources]
        return TracedText(text, starts, ends)


def text_of(piece):
    """-> the str of `piece`, a str or a TracedText"""
    return piece if isinstance(piece, str) else piece.text


def pieces_of(piece, cuts):
    """-> list of the non-empty slices of a str or a TracedText, for each (start, end) in `cuts`"""
    return [piece[start:end] for start, end in cuts if start < end]


def sources_of(consumed):
    """-> the sources of characters, given how many each replaces, from left to right

    The source of a character that replaces several is the first of them; of one that replaces none,
    the character before.

    >>> sources_of([1, 2, 0, 1])
    [0, 1, 2, 3]
    """
    sources, position = [], 0
    for count in consumed:
        sources.append(position if count else position - 1)
        position += count
    return sources


def spread(counts):
    """-> the sources of a text in which character i became counts[i] characters"""
    return [i for i, count in enumerate(counts) for _ in repeat(None, count)]
