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
from minillm.text.unicode_of_tokenizers import (
    ACCENTS,
    CHINESE,
    NEWER,
    REMOVED,
    character_class,
)


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
    """A normal form of Unicode Standard Annex 15, in steps that can be traced.

    As in `tokenizers`, the rules are those of Unicode 9: newer characters stay as they are, and
    nothing combines with them.
    """

    form = None

    def apply(self, text):
        if text.isascii():
            return text
        return "".join(piece if is_newer else unicodedata.normalize(self.form, piece)
                       for piece, is_newer in _older_and_newer(text))

    def trace(self, text):
        if text.isascii() or self.apply(text) == text:
            return text, list(range(len(text)))
        characters = []
        for piece, is_newer in _older_and_newer(text):
            if is_newer:
                characters.append((piece, 1))
                continue
            found = decompose(piece, "NFKD" if "K" in self.form else "NFD")
            characters += compose(found) if self.form.endswith("C") else found
        return ("".join(character for character, _ in characters),
                sources_of(consumed for _, consumed in characters))


def _older_and_newer(text):
    """-> [(piece, whether it is a single character that is newer than Unicode 9), …]"""
    pieces = _NEWER.split(text)
    return [(piece, index % 2 == 1) for index, piece in enumerate(pieces) if piece]


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
        if text.isascii():
            return text.lower()
        return "".join(map(str.lower, text)).translate(_NEW_LOWER)

    def trace(self, text):
        lower = list(map(str.lower, text))
        return "".join(lower).translate(_NEW_LOWER), spread(map(len, lower))


# Upper case that came with Unicode 14 to 17, which older versions of Python don't know: the first,
# the last, and the lower case of the first.
_NEW_LOWER = {
    upper: lower + upper - first
    for first, last, lower in [
        (0x1C89, 0x1C89, 0x1C8A), (0x2C2F, 0x2C2F, 0x2C5F), (0xA7C0, 0xA7C0, 0xA7C1),
        (0xA7CB, 0xA7CB, 0x264), (0xA7CC, 0xA7CC, 0xA7CD), (0xA7CE, 0xA7CE, 0xA7CF),
        (0xA7D0, 0xA7D0, 0xA7D1), (0xA7D2, 0xA7D2, 0xA7D3), (0xA7D4, 0xA7D4, 0xA7D5),
        (0xA7D6, 0xA7D6, 0xA7D7), (0xA7D8, 0xA7D8, 0xA7D9), (0xA7DA, 0xA7DA, 0xA7DB),
        (0xA7DC, 0xA7DC, 0x19B), (0x10570, 0x1057A, 0x10597), (0x1057C, 0x1058A, 0x105A3),
        (0x1058C, 0x10592, 0x105B3), (0x10594, 0x10595, 0x105BB), (0x10D50, 0x10D65, 0x10D70),
        (0x16EA0, 0x16EB8, 0x16EBB),
    ]
    for upper in range(first, last + 1)
}


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
class BertNormalizer(Normalizer):
    """BERT's, in this order:

    clean_text: remove control characters and the like, and make white space " "
    handle_chinese_chars: put spaces around each Chinese character, so that it becomes a word
    strip_accents: decompose, and remove combining marks; None: if `lowercase` is True
    lowercase: lower case, character by character
    """

    clean_text: bool
    handle_chinese_chars: bool
    strip_accents: bool | None
    lowercase: bool

    def __call__(self, piece):
        for step in self.steps():
            piece = step(piece)
        return piece

    def steps(self):
        """-> list of the Normalizers that do one thing each"""
        strip = self.lowercase if self.strip_accents is None else self.strip_accents
        wanted = [(self.clean_text, CleanText()), (self.handle_chinese_chars, SpaceChinese()),
                  (strip, NFD()), (strip, StripMarks()), (self.lowercase, Lowercase())]
        return [step for is_wanted, step in wanted if is_wanted]


class CleanText(Normalizer):
    def apply(self, text):
        return _WHITE.sub(" ", _REMOVED.sub("", text))

    def trace(self, text):
        kept = [i for i, character in enumerate(text) if not _REMOVED.match(character)]
        return self.apply(text), kept


class SpaceChinese(Normalizer):
    def apply(self, text):
        return _CHINESE.sub(r" \g<0> ", text)

    def trace(self, text):
        return self.apply(text), spread(3 if _CHINESE.match(character) else 1 for character in text)


class StripMarks(Normalizer):
    def apply(self, text):
        return _ACCENT.sub("", text)

    def trace(self, text):
        kept = [i for i, character in enumerate(text) if not _ACCENT.match(character)]
        return self.apply(text), kept


@dataclass(frozen=True)
class Sequence(Normalizer):
    """Several normalizers, in order."""

    normalizers: list[dict]
    parts = "normalizers"

    def __call__(self, piece):
        for normalizer in self.normalizers:
            piece = normalizer(piece)
        return piece


_NEWER = regex.compile(f"({character_class(NEWER)})")
_REMOVED = regex.compile(character_class(REMOVED))
_WHITE = regex.compile(r"\p{White_Space}")
_CHINESE = regex.compile(character_class(CHINESE))
_ACCENT = regex.compile(character_class(ACCENTS))
_MARK = regex.compile(r"\p{M}")
_SPACE = regex.compile(r"\p{White_Space}*")
_SPACE_BEFORE = regex.compile(r"(?r)\p{White_Space}*")  # (?r): backwards, from the end of the text

KINDS = {cls.__name__: cls for cls in (
    NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Prepend, Replace, BertNormalizer,
    Sequence)}


def read_normalizer(path, content):
    """-> the normalizer of a tokenizer.json, None for null; ValueError for one not in this file."""
    return None if content is None else read_component(path, content, "normalizer", KINDS)
