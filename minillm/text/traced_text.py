"""A text that remembers where each of its characters came from.

Normalizing changes a text and cutting makes pieces of it, but the offsets of a token speak of the
text that the caller wrote. So where offsets are wanted, every step works on a TracedText instead of
a str. Both are cut by slices, piece[start:end]; `text_of` gives the str of either.
"""

from itertools import repeat


class TracedText:
    """text: str;  starts, ends: character i of `text` stands for original[starts[i] : ends[i]]."""

    __slots__ = ("text", "starts", "ends")

    def __init__(self, text, starts, ends):
        self.text, self.starts, self.ends = text, starts, ends

    @classmethod
    def of(cls, text):
        """-> `text`, where each character stands for itself."""
        return cls(text, list(range(len(text))), list(range(1, len(text) + 1)))

    def __getitem__(self, piece):
        return TracedText(self.text[piece], self.starts[piece], self.ends[piece])

    def __len__(self):
        return len(self.text)

    def span(self, start, end):
        """-> where characters start … end - 1 come from: (first character, end) of the original

        Characters that were put in where nothing stands before them come from nowhere: (0, 0).
        """
        return (self.starts[start], self.ends[end - 1]) if start < end <= len(self) else (0, 0)

    def changed(self, text, sources):
        """-> `text`, whose character i takes the place of character sources[i] of this one

        sources: list of int, as long as `text`; -1 where nothing was there.
        """
        starts = [self.starts[i] if i >= 0 else 0 for i in sources]
        ends = [self.ends[i] if i >= 0 else 0 for i in sources]
        return TracedText(text, starts, ends)


def text_of(piece):
    """-> the str of `piece`, a str or a TracedText."""
    return piece if isinstance(piece, str) else piece.text


def pieces_of(piece, cuts):
    """-> list of the pieces of a str or a TracedText between each (start, end); no empty ones."""
    return [piece[start:end] for start, end in cuts if start < end]


def sources_of(consumed):
    """-> the sources of characters that replace `consumed` characters each, from left to right

    A character that replaces several takes the place of the first of them; one that replaces none
    takes the place of the one before.

    >>> sources_of([1, 2, 0, 1])
    [0, 1, 2, 3]
    """
    sources, position = [], 0
    for count in consumed:
        sources.append(position if count else position - 1)
        position += count
    return sources


def spread(counts):
    """-> the sources of a text in which character i became counts[i] characters."""
    return [i for i, count in enumerate(counts) for _ in repeat(None, count)]
