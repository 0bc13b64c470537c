"""The steps from a text to its ids, one after another, as the tokenizer itself does them.

    replay(tokenizer, text).parts      what normalizing and splitting make of the text
    … .parts[0].words[0].steps         how one word becomes tokens: a Merging (byte-pair encoding,
                                       bpe.py), a Matching (WordPiece, wordpiece.py) or a Lattice
                                       (SentencePiece, sentence_piece.py)
    … .ids                             the last step: tokenizer.encode(text)
"""

from typing import Any, NamedTuple

from minillm.text.post_processors import template_of
from minillm.text.sentence_piece import Lattice


class Word(NamedTuple):
    """What the model of a tokenizer gets at once.

    text: spelled as the model reads it;  start, end: the characters of the original text
    steps: a Merging, a Matching or a Lattice; None for an added token, and for an algorithm of
        one's own that can't be replayed
    pieces: list of (id, start, end), the tokens and the characters of `text` that they stand for;
        of a Lattice, the characters of its normalized text
    """

    text: str
    start: int
    end: int
    steps: Any
    pieces: list


class Part(NamedTuple):
    """An added token, or the text between two of them.

    text: as it was;  normalized: what the normalizer makes of it;  added: whether it is a token
    words: list of Word
    """

    text: str
    normalized: str
    added: bool
    words: list


class Replay(NamedTuple):
    """parts: list of Part
    template: what the post-processor puts in a row: lists of special ids, None for the text
    """

    parts: list
    template: list

    @property
    def ids(self):
        text = [id for part in self.parts for word in part.words for id, *_ in word.pieces]
        return [id for ids in self.template for id in (text if ids is None else ids)]


def replay(tokenizer, text):
    """-> Replay of tokenizer.encode(text)"""
    traced = tokenizer.traced_parts(text)
    parts, reached = [], 0
    for index, (piece, token, words) in enumerate(traced):
        start, end = piece.span(0, len(piece))
        if token is None:  # normalizing may drop characters at both ends of a part
            start, end = reached, _end(traced[index + 1 :], end, len(text))
        elif start > reached:  # or all of a part
            parts.append(Part(text[reached:start], "", False, []))
        make = _replayed if token is None else _added
        parts.append(Part(text[start:end], piece.text, token is not None,
                          [make(tokenizer, word, token) for word in words]))
        reached = end
    if reached < len(text):
        parts.append(Part(text[reached:], "", False, []))
    template = template_of(tokenizer.post_processor, pair=False)
    return Replay(parts, [None if part.text else list(part.ids) for part in template])


def _end(later, end, length):
    """-> where an ordinary part ends: at the next token, or at the end of the text"""
    if not later:
        return length
    piece, token, _ = later[0]
    return end if token is None else piece.span(0, len(piece))[0]


def _added(tokenizer, word, token):
    id = tokenizer.convert_tokens_to_ids(token.content)
    return Word(word.text, *word.span(0, len(word)), None, [(id, 0, len(word))])


def _replayed(tokenizer, word, token):
    model = tokenizer.model
    steps = model.replay(word.text) if hasattr(model, "replay") else None
    if steps is None:
        pieces = model.encode_piece(word.text)
    elif isinstance(steps, Lattice):
        code = [(model.encode([steps.code])[0], 0, 0)] if steps.code else []
        pieces = code + steps.tokens if steps.agrees else model.encode_piece(word.text)
    else:
        pieces = steps.pieces()
    return Word(word.text, *word.span(0, len(word)), steps, pieces)

