"""Decoders turn the tokens of ids into text, for vocabularies whose tokens are written in characters.

    Llama 2    Replace "▁" by " ", ByteFallback, Fuse, Strip the space before the first word

Each decoder changes the list of tokens that the one before returns; joined, the last list is the
text. (GPT-2's and BERT's are in the files of their tokenizers.)
"""

from dataclasses import dataclass, field
from typing import Literal

import regex

from minillm.text.components import read_component
from minillm.text.patterns import compile_pattern, matches

_BYTE = regex.compile(r"<0x(?P<digits>[0-9A-Fa-f]{2}|\+[0-9A-Fa-f])>")


@dataclass(frozen=True)
class Replace:
    """Replaces every match of a pattern in every token by `content`."""

    pattern: dict[str, str]
    content: str
    _compiled: object = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "_compiled", compile_pattern(self.pattern))

    def decode(self, tokens):
        return ["".join(self.content if is_match else token[start:end]
                        for start, end, is_match in matches(self._compiled, token))
                for token in tokens]


@dataclass(frozen=True)
class ByteFallback:
    """Turns runs of bytes, "<0xE4>", into the text that they are in UTF-8; if a run isn't UTF-8,
    each of its bytes becomes U+FFFD.
    """

    def decode(self, tokens):
        result, data = [], bytearray()
        for token in [*tokens, None]:
            byte = token and _BYTE.fullmatch(token)
            if byte:
                data.append(int(byte["digits"], 16))
                continue
            if data:
                result += _text_of(data)
                data.clear()
            if token is not None:
                result.append(token)
        return result


def _text_of(data):
    try:
        return [data.decode("utf-8")]
    except UnicodeDecodeError:
        return ["\ufffd"] * len(data)


@dataclass(frozen=True)
class Fuse:
    """Joins all tokens into one."""

    def decode(self, tokens):
        return ["".join(tokens)]


@dataclass(frozen=True)
class Strip:
    """Removes the character `content` up to `start` times from the start of each token, and up to
    `stop` times from its end.
    """

    content: str
    start: int
    stop: int

    def decode(self, tokens):
        return [self._stripped(token) for token in tokens]

    def _stripped(self, token):
        start, stop = 0, len(token)
        while start < min(self.start, len(token)) and token[start] == self.content:
            start += 1
        while stop > max(len(token) - self.stop, start) and token[stop - 1] == self.content:
            stop -= 1
        return token[start:stop]


@dataclass(frozen=True)
class Metaspace:
    """Turns `replacement` into spaces, and drops it in the first token, where it was inserted."""

    replacement: str
    prepend_scheme: Literal["always", "first", "never"] = "always"
    split: bool | None = True
    add_prefix_space: bool | None = None
    str_rep: str | None = None

    def decode(self, tokens):
        first = " " if self.prepend_scheme == "never" else ""
        return [token.replace(self.replacement, " " if index else first)
                for index, token in enumerate(tokens)]


@dataclass(frozen=True)
class Sequence:
    """Several decoders, in order."""

    decoders: list[dict]
    parts = "decoders"

    def decode(self, tokens):
        for decoder in self.decoders:
            tokens = decoder.decode(tokens)
        return tokens


KINDS = {cls.__name__: cls for cls in (Replace, ByteFallback, Fuse, Strip, Metaspace, Sequence)}


def read_decoder(path, content):
    """-> the decoder of a tokenizer.json, None for null; ValueError for one not in this file."""
    return None if content is None else read_component(path, content, "decoder", KINDS)
