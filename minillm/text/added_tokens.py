"""Added tokens: <|endoftext|>, <|pad|> and others outside the byte-pair vocabulary.

They are found in the text first, so that byte-pair encoding never splits them.
"""

from dataclasses import asdict, dataclass

import regex

from minillm.checks import shown
from minillm.text.traced_text import text_of


@dataclass(frozen=True)
class AddedToken:
    """An added token, with the options of Hugging Face's files.

    special: decode(..., skip_special_tokens=True) leaves it out
    single_word: found only where no letter or digit touches it
    lstrip, rstrip: includes the white space to its left or right
    normalized: found in the normalized text, after all tokens for which this is False
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = False

    @classmethod
    def from_json(cls, value, where, **missing):
        """-> the token in one of Hugging Face's files: a string, or an object with these fields

        missing: values of absent fields. The fields "id" and "__type" are ignored.
        Raises ValueError, starting with `where`, for anything else.
        """
        if isinstance(value, str):
            value = {"content": value, **missing}
        if not isinstance(value, dict) or not isinstance(value.get("content"), str):
            raise ValueError(f"{where} is {shown(value)}, wanted a string or an object with "
                             "content")
        for name, flag in value.items():
            if name in ("content", "id", "__type"):
                continue
            if name not in cls.__dataclass_fields__:
                raise ValueError(f"{where}.{shown(name)[1:-1]} is not known for a token")
            if type(flag) is not bool:
                raise ValueError(f"{where}.{name} is {shown(flag)}, wanted true or false")
        if not value["content"]:
            raise ValueError(f"{where} is empty")
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        return cls(**{**missing, **known})

    def to_json(self):
        return asdict(self)


class AddedTokenSplitter:
    """Splits a text at its added tokens, and normalizes the pieces between them.

    First find the tokens that aren't `normalized`, in the original text. Then normalize the pieces
    between them, and find the others, normalized as well, in the result.
    """

    def __init__(self, tokens, normalizer=None):
        """tokens: iterable of AddedToken with non-empty contents"""
        tokens = list(tokens)
        self.normalizer = normalizer
        self._raw = _Finder({token.content: token for token in tokens if not token.normalized})
        normalize = normalizer or str
        normalized = {normalize(token.content): token for token in tokens if token.normalized}
        normalized.pop("", None)
        self._normalized = _Finder(normalized)

    def split(self, text, split_special_tokens=False):
        """-> list of (piece, token) in order; token is None for ordinary text, which isn't empty

        text: a str or a TracedText; the pieces are of the same type, and normalized
        split_special_tokens: treat special tokens in the text as ordinary characters
        """
        pieces = [(text, None)] if text_of(text) else []
        pieces = self._raw.split(pieces, split_special_tokens)
        if self.normalizer is not None:
            pieces = [(self.normalizer(piece) if token is None else piece, token)
                      for piece, token in pieces]
            pieces = [(piece, token) for piece, token in pieces if text_of(piece)]
        return self._normalized.split(pieces, split_special_tokens)


class _Finder:
    """Finds tokens: the leftmost first, and of those at one place the longest."""

    def __init__(self, tokens):
        self.tokens = tokens  # {string to find: AddedToken}
        # Alternatives are tried in order, so the longest comes first.
        contents = sorted(tokens, key=len, reverse=True)
        self.pattern = regex.compile("|".join(map(regex.escape, contents))) if contents else None

    def split(self, pieces, split_special_tokens):
        if self.pattern is None:
            return pieces
        return [part for piece, token in pieces
                for part in ([(piece, token)] if token else self._cut(piece, split_special_tokens))]

    def _cut(self, piece, split_special_tokens):
        text, end = text_of(piece), 0  # end: of the part that is done
        for match in self.pattern.finditer(text):
            token = self.tokens[match[0]]
            start, stop = match.span()
            if split_special_tokens and token.special:
                continue
            if token.single_word and _touches_a_word(text, start, stop):
                continue
            if token.lstrip:
                start = max(end, _SPACE_BEFORE.search(text, 0, start).start())
            if token.rstrip:
                stop = _SPACE.match(text, stop).end()
            if start >= stop:  # the token before has taken all of it
                continue
            if start > end:
                yield piece[end:start], None
            yield piece[start:stop], token
            end = stop
        if end < len(text):
            yield piece[end:] if end else piece, None


_WORD = regex.compile(r"\w")
_SPACE = regex.compile(r"\s*")
_SPACE_BEFORE = regex.compile(r"(?r)\s*")  # (?r): matches backwards, from the end of the text


def _touches_a_word(text, start, stop):
    return bool(_WORD.match(text[start - 1 : start]) or _WORD.match(text[stop : stop + 1]))
