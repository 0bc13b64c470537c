"""Tokens that stand beside the byte-pair vocabulary: <|endoftext|>, <|pad|> and the like.

They are found in the text before anything else, so that byte-pair encoding never cuts them up.
"""

from dataclasses import asdict, dataclass

import regex


@dataclass(frozen=True)
class AddedToken:
    """One such token, with the options of Hugging Face's files.

    special: left out by decode(..., skip_special_tokens=True)
    single_word: only found where no letter or digit touches it
    lstrip, rstrip: the white space to its left or right is swallowed
    normalized: searched for after all tokens for which this is False
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = False

    @classmethod
    def from_json(cls, value):
        """A token as Hugging Face's files write it: a string, or a dict with the fields above.

        Raises ValueError for anything else.
        """
        if isinstance(value, str):
            value = {"content": value, "special": True}
        if not isinstance(value, dict) or not isinstance(value.get("content"), str):
            raise ValueError(f"a special token is {value!r}, wanted a string or an AddedToken dict")
        flags = {name: bool(value[name]) for name in cls.__dataclass_fields__ if name in value}
        return cls(**{**flags, "content": value["content"]})

    def to_json(self):
        return asdict(self)


class AddedTokenSplitter:
    """Cuts a text at its added tokens."""

    def __init__(self, tokens):
        """tokens: iterable of AddedToken, each with a content that is not empty."""
        tokens = list(tokens)
        by_pass = [[token for token in tokens if token.normalized == normalized]
                   for normalized in (False, True)]
        self._passes = [_Pass(group) for group in by_pass if group]

    def split(self, text):
        """-> list of pieces in order: str for ordinary text (never empty), or an AddedToken."""
        pieces = [text] if text else []
        for one in self._passes:
            pieces = [
                part
                for piece in pieces
                for part in (one.split(piece) if isinstance(piece, str) else [piece])
            ]
        return pieces


class _Pass:
    def __init__(self, tokens):
        self.tokens = {token.content: token for token in tokens}
        # The leftmost match wins; of those at one place, the longest. Alternatives are tried in
        # the order in which they are written, so the longest is written first.
        contents = sorted(self.tokens, key=len, reverse=True)
        self.pattern = regex.compile("|".join(map(regex.escape, contents)))

    def split(self, text):
        end = 0  # of what has been handed out
        for match in self.pattern.finditer(text):
            token = self.tokens[match[0]]
            start, stop = match.span()
            if token.single_word and _touches_a_word(text, start, stop):
                continue
            if token.lstrip:
                start = _SPACE_BEFORE.search(text, end, start).start()
            if token.rstrip:
                stop = _SPACE.match(text, stop).end()
            if start > end:
                yield text[end:start]
            yield token
            end = stop
        if end < len(text):
            yield text[end:]


_WORD = regex.compile(r"\w")
_SPACE = regex.compile(r"\s*")
_SPACE_BEFORE = regex.compile(r"(?r)\s*")  # (?r): matches backwards, from the end of the text


def _touches_a_word(text, start, stop):
    return bool(_WORD.match(text[start - 1 : start]) or _WORD.match(text[stop : stop + 1]))
