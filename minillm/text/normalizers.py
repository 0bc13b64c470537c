"""Normalizers change a text before it is split into words: Unicode forms, lower case, and so on.

GPT-2 has no normalizer: decoding returns every text unchanged. Later byte-level tokenizers use
Unicode's composed form (Qwen), uncased ones lower case without accents (BERT).

The offsets of a token refer to the text before normalization. So `trace` returns, for every
character of the result, the character that it replaces. Offsets are those of Hugging Face's
`tokenizers`: a composed letter has the place of the letter without its accent, an inserted
character that of the character before it.
"""

import unicodedata
from dataclasses import dataclass, field

import regex

from minillm.text.components import read_component
from minillm.text.patterns import compile_pattern, matches
from minillm.text.traced_text import sources_of, spread


class Normalizer:
    """A component of tokenizer.json that changes texts.

    trace(text) -> new text, list of the sources of its characters (see TracedText.changed)
    """

    def __call__(self, piece):
        """-> the normalized piece, of the same type: a str or a TracedText"""
        if isinstance(piece, str):
            return self.apply(piece)
        return piece.changed(*self.trace(piece.text))

    def apply(self, text):
        return self.trace(text)[0]


class UnicodeForm(Normalizer):
    """A normal form of Unicode Standard Annex 15, in steps that can be traced."""

    form = None

    def apply(self, text):
        return unicodedata.normalize(self.form, text)

    def trace(self, text):
        if unicodedata.is_normalized(self.form, text):
            return text, list(range(len(text)))
        characters = decompose(text, "NFKD" if "K" in self.form else "NFD")
        if self.form.endswith("C"):
            characters = compose(characters)
        return ("".join(character for character, _ in characters),
                sources_of(consumed for _, consumed in characters))


def decompose(text, form):
    """-> list of (character, number of characters of `text` that it replaces), in canonical order

    The first character of a decomposition replaces the composed one; the others are inserted.
    Consecutive marks are sorted by combining class; those of one class keep their order.
    """
    characters, marks = [], []
    for whole in text:
        for index, character in enumerate(unicodedata.normalize(form, whole)):
            if unicodedata.combining(character):
                marks.append((character, int(index == 0)))
                continue
            characters += sorted(marks, key=_combining_class)
            marks.clear()
            characters.append((character, int(index == 0)))
    return characters + sorted(marks, key=_combining_class)


def compose(characters):
    """-> `characters`, pairs as above, with marks joined to their letters where Unicode can do so

    A mark joins the last letter before it unless a mark of the same or a higher class is between
    them. The composed character replaces everything that the two replaced.
    """
    composed, letter, highest = [], None, -1  # index of the letter; highest class after it
    for character, consumed in characters:
        mark = unicodedata.combining(character)
        if letter is not None and highest < mark:
            joined = unicodedata.normalize("NFC", composed[letter][0] + character)
            if len(joined) == 1:
                composed[letter] = joined, composed[letter][1] + consumed
                continue
        if mark == 0:
            letter, highest = len(composed), -1
        else:
            highest = mark
        composed.append((character, consumed))
    return composed


def _combining_class(pair):
    return unicodedata.combining(pair[0])


@dataclass(frozen=True)
class NFC(UnicodeForm):
    form = "NFC"


@dataclass(frozen=True)
class NFD(UnicodeForm):
    form = "NFD"


@dataclass(frozen=True)
class NFKC(UnicodeForm):
    form = "NFKC"


@dataclass(frozen=True)
class NFKD(UnicodeForm):
    form = "NFKD"


@dataclass(frozen=True)
class Lowercase(Normalizer):
    """Lower case, character by character, so a sigma is "σ" even at the end of a word."""

    def apply(self, text):
        return "".join(map(str.lower, text))

    def trace(self, text):
        lower = list(map(str.lower, text))
        return "".join(lower), spread(map(len, lower))


@dataclass(frozen=True)
class StripAccents(Normalizer):
    """Removes combining marks. A composed "é" has none, so NFD must come first."""

    def trace(self, text):
        kept = [i for i, character in enumerate(text) if not _MARK.match(character)]
        return "".join(text[i] for i in kept), kept


@dataclass(frozen=True)
class Strip(Normalizer):
    """Removes white space at the left and the right end."""

    strip_left: bool
    strip_right: bool

    def trace(self, text):
        start = _SPACE.match(text).end() if self.strip_left else 0
        end = len(text)
        if self.strip_right:
            end = _SPACE_BEFORE.search(text, start).start()
        return text[start:end], list(range(start, end))


@dataclass(frozen=True)
class Prepend(Normalizer):
    """Inserts `prepend` before every non-empty text; its source is the first character."""

    prepend: str

    def trace(self, text):
        if not text:
            return text, []
        return self.prepend + text, [0] * len(self.prepend) + list(range(len(text)))


@dataclass(frozen=True)
class Replace(Normalizer):
    """Replaces every match of a pattern by `content`; its source is the match's last character."""

    pattern: dict[str, str]
    content: str
    _compiled: object = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "_compiled", compile_pattern(self.pattern))

    def trace(self, text):
        pieces, sources = [], []
        for start, end, is_match in matches(self._compiled, text):
            if is_match:
                pieces.append(self.content)
                sources += [end - 1] * len(self.content)
            else:
                pieces.append(text[start:end])
                sources += range(start, end)
        return "".join(pieces), sources


@dataclass(frozen=True)
class Sequence(Normalizer):
    """Several normalizers, in order."""

    normalizers: list[dict]
    parts = "normalizers"

    def __call__(self, piece):
        for normalizer in self.normalizers:
            piece = normalizer(piece)
        return piece


_MARK = regex.compile(r"\p{M}")
_SPACE = regex.compile(r"\p{White_Space}*")
_SPACE_BEFORE = regex.compile(r"(?r)\p{White_Space}*")  # (?r): backwards, from the end of the text

KINDS = {cls.__name__: cls for cls in (
    NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Prepend, Replace, Sequence)}


def read_normalizer(path, content):
    """-> the normalizer of a tokenizer.json, None for null; ValueError for one not in this file."""
    return None if content is None else read_component(path, content, "normalizer", KINDS)
