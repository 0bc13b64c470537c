"""Pre-tokenizers split a text into words ("pre-tokens"), which no merge of BPE crosses.

    GPT-2      ByteLevel: its pattern, then bytes
    Llama 3    Split with another pattern, then ByteLevel without GPT-2's; so does Qwen2
    StarCoder  Digits, each alone, then ByteLevel
    BERT       BertPreTokenizer: white space, then punctuation
    Llama 2    none (WholeText), or Metaspace: "▁" instead of spaces; a text is one word

Each pre-tokenizer splits the pieces that the one before returns. A piece is a str or, if offsets
are requested, a TracedText. ByteLevel leaves the characters of a str alone, and replaces those of a
TracedText by one character for each byte: bpe.py accepts both.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import regex

from minillm.checks import shown
from minillm.text.byte_level import BYTE_TO_CHARACTER, PATTERN, text_to_bytes
from minillm.text.components import read_component
from minillm.text.patterns import compile_pattern, matches
from minillm.text.traced_text import pieces_of, spread, text_of
from minillm.text.unicode_of_tokenizers import PUNCTUATION, character_class

BEHAVIORS = Literal["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


class Splitter:
    """A pre-tokenizer that splits at the matches of a pattern. `behavior` decides about a match:

    Removed: dropped;  Isolated: a word;  Contiguous: adjacent matches are one word;
    MergedWithPrevious, MergedWithNext: part of the word before it, or after it
    """

    spells_bytes = False

    def split(self, piece):
        """-> list of the non-empty words of `piece`, of the same type"""
        parts = matches(self.compiled, text_of(piece))
        if self.inverted:
            parts = ((start, end, not is_match) for start, end, is_match in parts)
        return pieces_of(piece, merge_cuts(list(parts), self.behavior))


def merge_cuts(parts, behavior):
    """-> list of (start, end) of the words, from (start, end, is a match) of all parts"""
    if behavior == "Removed":
        return [(start, end) for start, end, is_match in parts if not is_match]
    if behavior == "MergedWithNext":  # from right to left, next is previous
        mirrored = [(-end, -start, is_match) for start, end, is_match in reversed(parts)]
        cuts = merge_cuts(mirrored, "MergedWithPrevious")
        return [(-end, -start) for start, end in reversed(cuts)]
    words, before = [], False
    for start, end, is_match in parts:
        joins = {"Isolated": False, "Contiguous": is_match == before,
                 "MergedWithPrevious": is_match and not before}[behavior]
        if words and joins:
            words[-1] = words[-1][0], end
        else:
            words.append((start, end))
        before = is_match
    return words


@dataclass(frozen=True)
class Split(Splitter):
    pattern: dict[str, str]
    behavior: BEHAVIORS
    invert: bool
    compiled: object = field(init=False, repr=False, compare=False)
    inverted = property(lambda self: self.invert)

    def __post_init__(self):
        object.__setattr__(self, "compiled", compile_pattern(self.pattern))

    def split(self, piece):
        if isinstance(piece, str) and self.behavior == "Isolated" and not self.compiled.groups:
            # Most patterns match the whole text; then the matches are the words.
            words = self.compiled.findall(piece)
            if sum(map(len, words)) == len(piece):
                return words if all(words) else list(filter(None, words))
        return super().split(piece)


@dataclass(frozen=True)
class Digits(Splitter):
    """Makes each number, or with individual_digits each digit, a word."""

    individual_digits: bool
    compiled = regex.compile(r"\p{N}")
    inverted = False
    behavior = property(lambda self: "Isolated" if self.individual_digits else "Contiguous")


@dataclass(frozen=True)
class Punctuation(Splitter):
    """Makes each punctuation mark (ASCII's, and Unicode's category P) a word; see `behavior`."""

    behavior: BEHAVIORS = "Isolated"
    compiled = regex.compile(r"[!-/:-@\[-`{-~\p{P}]")
    inverted = False


@dataclass(frozen=True)
class Whitespace(Splitter):
    """Runs of letters and digits, and runs of others except white space, which is dropped."""

    compiled = regex.compile(r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+"
                             r"|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+")
    inverted = True
    behavior = "Removed"


@dataclass(frozen=True)
class WhitespaceSplit(Splitter):
    """Splits at white space, which is dropped."""

    compiled = regex.compile(r"\p{White_Space}")
    inverted = False
    behavior = "Removed"


@dataclass(frozen=True)
class BertPreTokenizer:
    """Splits at white space, which is dropped, and makes each punctuation mark a word."""

    spells_bytes = False

    def split(self, piece):
        if isinstance(piece, str):
            return _BERT_WORD.findall(piece)
        return pieces_of(piece, (match.span() for match in _BERT_WORD.finditer(piece.text)))


_MARK = character_class(PUNCTUATION)
_BERT_WORD = regex.compile(rf"(?V1){_MARK}|[^\p{{White_Space}}{_MARK}]+")


@dataclass(frozen=True)
class Metaspace:
    """SentencePiece's: writes `replacement` instead of a space, and splits before each of them.

    prepend_scheme: also put one before each piece that has none ("always"), only before the first
        character of the text ("first"), or nowhere ("never")
    splits: False leaves a piece whole
    add_prefix_space, str_rep: an older form of the same
    """

    replacement: str
    prepend_scheme: Literal["always", "first", "never"] = "always"
    splits: bool | None = field(default=True, metadata={"name": "split"})
    add_prefix_space: bool | None = None
    str_rep: str | None = None
    spells_bytes = False

    def __post_init__(self):
        if len(self.replacement) != 1:
            raise ValueError(f"replacement is {shown(self.replacement)}, wanted one character")
        if self.add_prefix_space is False and self.prepend_scheme != "never":
            raise ValueError(f"prepend_scheme is {self.prepend_scheme!r}, but add_prefix_space is "
                             "False")

    def split(self, piece):
        text = text_of(piece).replace(" ", self.replacement)
        sources = range(len(text))
        if self._prepends(piece) and not text.startswith(self.replacement):
            text, sources = self.replacement + text, [0, *sources]
        piece = text if isinstance(piece, str) else piece.changed(text, sources)
        if self.splits is False:
            return [piece]
        parts = matches(compile_pattern({"String": self.replacement}), text)
        return pieces_of(piece, merge_cuts(list(parts), "MergedWithNext"))

    def _prepends(self, piece):
        if self.prepend_scheme == "first" and not isinstance(piece, str):
            return piece.starts[:1] == [0]  # not if a normalizer removed the first characters
        return self.prepend_scheme != "never"


@dataclass(frozen=True)
class WholeText:
    """No pre-tokenizer, null in tokenizer.json: a text is one word."""

    spells_bytes = False
    type = None

    def split(self, piece):
        return [piece]


@dataclass(frozen=True)
class ByteLevel:
    """GPT-2's: split by its pattern (use_regex), and write bytes instead of characters.

    add_prefix_space: put a space before each piece that has none, so that the first word of a text
        is encoded like one inside a sentence
    trim_offsets: has no effect here, only in a post-processor
    """

    add_prefix_space: bool
    trim_offsets: bool
    use_regex: bool = True
    spells_bytes = True

    def split(self, piece):
        text = text_of(piece)
        if self.add_prefix_space and not text.startswith(" "):
            if isinstance(piece, str):
                piece = " " + text
            elif text:
                piece = piece.changed(" " + text, [0, *range(len(text))])
        if isinstance(piece, str):
            return PATTERN.findall(piece) if self.use_regex else [piece] if piece else []
        words = [piece]
        if self.use_regex:
            words = pieces_of(piece, (match.span() for match in PATTERN.finditer(piece.text)))
        return [spelled(word) for word in words]


def spelled(piece):
    """-> `piece`, a TracedText, with each character replaced by those that spell its bytes"""
    data = [text_to_bytes(character) for character in piece.text]
    text = "".join(BYTE_TO_CHARACTER[byte] for character in data for byte in character)
    return piece.changed(text, spread(map(len, data)))


@dataclass(frozen=True)
class Sequence:
    """Several pre-tokenizers: each splits all pieces that the one before returns."""

    pretokenizers: list[dict]
    parts = "pretokenizers"

    def __post_init__(self):
        parts = flatten(self)
        if sum(part.spells_bytes for part in parts) > 1:
            raise ValueError("pretokenizers has ByteLevel twice: bytes are spelled once")
        if any(_prepends_first(part) for part in parts[1:]):
            raise ValueError("pretokenizers has a Metaspace with prepend_scheme 'first' after "
                             "another one, wanted it before all others")

    @property
    def spells_bytes(self):
        return any(part.spells_bytes for part in self.pretokenizers)

    def split(self, piece):
        pieces = [piece]
        for part in self.pretokenizers:
            pieces = [word for piece in pieces for word in part.split(piece)]
        return pieces


def qwen2():
    """-> the pre-tokenizer of Qwen2: single digits, contractions in any case, no space before a
    number, and a punctuation mark may begin a word"""
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
               r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    return Sequence((Split({"Regex": pattern}, "Isolated", False),
                     ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)))


KINDS = {cls.__name__: cls for cls in (
    ByteLevel, Metaspace, Split, Digits, Punctuation, Whitespace, WhitespaceSplit, BertPreTokenizer,
    Sequence)}


def read_pre_tokenizer(path, content):
    """-> the pre-tokenizer of a tokenizer.json, None for null; ValueError for one not here."""
    return None if content is None else read_component(path, content, "pre_tokenizer", KINDS)


def flatten(pre_tokenizer):
    """-> list of the single pre-tokenizers in it, in order"""
    parts = getattr(pre_tokenizer, "pretokenizers", None)
    return [pre_tokenizer] if parts is None else [one for part in parts for one in flatten(part)]


def _prepends_first(part):
    return isinstance(part, Metaspace) and part.prepend_scheme == "first"


def after_the_start(pre_tokenizer):
    """-> the pre-tokenizer of the pieces of a text that aren't at its start"""
    if _prepends_first(pre_tokenizer):
        return replace(pre_tokenizer, prepend_scheme="never")
    if isinstance(pre_tokenizer, Sequence) and pre_tokenizer.pretokenizers:
        first, *others = pre_tokenizer.pretokenizers
        later = after_the_start(first)
        return pre_tokenizer if later is first else Sequence((later, *others))
    return pre_tokenizer


def with_prefix_space(pre_tokenizer, add_prefix_space):
    """-> `pre_tokenizer` with this `add_prefix_space` in its ByteLevel"""
    if isinstance(pre_tokenizer, ByteLevel):
        return replace(pre_tokenizer, add_prefix_space=add_prefix_space)
    if isinstance(pre_tokenizer, Sequence):
        return Sequence(tuple(with_prefix_space(part, add_prefix_space)
                              for part in pre_tokenizer.pretokenizers))
    return pre_tokenizer
