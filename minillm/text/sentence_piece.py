"""SentencePiece: Kudo and Richardson 2018. It takes a text as it is, spaces included, and splits it
into the pieces that are most probable together, or by merges.

The algorithm is that of the library `sentencepiece`, which also reads its files (.spm). It is an
optional dependency: pip install "minillm[sentencepiece]".
"""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

UNKNOWN_PENALTY = 10  # an unknown character has this much less than the lowest score of a piece


class SentencePiece:
    """A model of the library `sentencepiece`, with a separate vocabulary.

    content: the bytes of a .spm file, or its path
    vocab: {piece: id}, which needs neither the order nor all the pieces of the file
    unk_token: the token for pieces that aren't in `vocab`

    A text may start with a language code such as >>fr<<, which is one piece. Raises ImportError
    without the library, ValueError for a file that it can't read.
    """

    def __init__(self, content, vocab, unk_token):
        self.content = content if isinstance(content, bytes) else Path(content).read_bytes()
        self.vocab, self.unk_id = vocab, vocab[unk_token]
        self._library = _processor(self.content)

    def encode(self, words):
        """-> list of the ids of all `words`, each a text with its spaces"""
        return [self.vocab.get(piece, self.unk_id) for word in words for piece in self.pieces(word)]

    def encode_piece(self, text):
        """-> list of (id, 0, 0): where a piece comes from in the text isn't known"""
        return [(id, 0, 0) for id in self.encode([text])]

    def pieces(self, text):
        """-> list of the pieces of a text, after its language code if it has one"""
        code, text = _language_code(text)
        return [code] * bool(code) + self._library.encode(text, out_type=str)

    def replay(self, text):
        """-> Lattice: all pieces that occur in a text, and the most probable way through them"""
        code, text = _language_code(text)
        normalized = self._library.normalize(text)
        edges = best_edges(normalized, *self._scores)
        tokens, in_unknown = [], False
        for edge in _path(edges, len(normalized)):
            if edge.unknown and in_unknown:  # the library joins unknown neighbors
                tokens[-1] = tokens[-1][0], tokens[-1][1], edge.end
            else:
                piece = normalized[edge.start : edge.end]
                tokens.append((self.vocab.get(piece, self.unk_id), edge.start, edge.end))
            in_unknown = edge.unknown
        found = [code] * bool(code) + [normalized[start:end] for _, start, end in tokens]
        ids = [self.vocab.get(piece, self.unk_id) for piece in found]
        tokens = [(id, start, end) for id, (_, start, end) in zip(ids[bool(code):], tokens)]
        return Lattice(code, normalized, edges, tokens, found == self.pieces(code + text))

    @cached_property
    def _scores(self):
        """{piece: log-probability}, and the score of an unknown character"""
        library, scores = self._library, {}
        for id in range(library.piece_size()):
            if not (library.is_control(id) or library.is_unknown(id) or library.is_unused(id)
                    or library.is_byte(id)):
                scores[library.id_to_piece(id)] = np.float32(library.get_score(id))
        return scores, np.float32(min(scores.values(), default=0) - np.float32(UNKNOWN_PENALTY))

    def text(self, pieces):
        """-> the text that a list of pieces spells"""
        return self._library.decode_pieces(pieces).replace("▁", " ")


def _processor(content):
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        raise ImportError("this tokenizer needs the library sentencepiece: "
                          'pip install "minillm[sentencepiece]"') from None
    try:
        return SentencePieceProcessor(model_proto=content)
    except (RuntimeError, OSError) as error:
        raise ValueError(f"not a file of SentencePiece: {error}") from None


def _language_code(text):
    """-> the code such as >>fr<< that begins a text, or ""; the rest of the text"""
    end = text.index("<<") + 2 if text.startswith(">>") and "<<" in text else 0
    return text[:end], text[end:]


class Edge(NamedTuple):
    """A piece that occurs in a text, from character `start` to `end`.

    score: its log-probability;  unknown: a character that no piece is
    total: score + the best total at `start`
    best: of all edges that end there, it has the highest total
    """

    start: int
    end: int
    score: float
    unknown: bool
    total: float
    best: bool


class Lattice(NamedTuple):
    """How the pieces of a text are found: the path with the highest sum of scores.

    code: the language code before the text, or "";  normalized: what is split
    edges: list of Edge, by their start, then their end
    tokens: list of (id, start, end) on the best path, without the code
    agrees: whether the pieces are the library's; not if its file holds merges instead of scores
    """

    code: str
    normalized: str
    edges: list
    tokens: list
    agrees: bool


def best_edges(text, scores, unknown):
    """The best way to each place of a text, from left to right -> list of Edge     (Viterbi 1967)

        total(end) = max over pieces text[start:end] of  total(start) + log p(piece)

    scores: {piece: log p}, float32;  unknown: the score of a character without a piece of its own
    The sums are float32 and the first of equals wins, as in the library (Kudo 2018, sec. 3.2).
    """
    longest = max(map(len, scores), default=1)
    totals, chosen, edges = {0: np.float32(0)}, {}, []
    for start in range(len(text)):
        ends = range(start + 1, min(start + longest, len(text)) + 1)
        found = [(end, scores[text[start:end]], False) for end in ends
                 if text[start:end] in scores]
        if text[start] not in scores:
            found.insert(0, (start + 1, unknown, True))
        for end, score, is_unknown in found:
            total = score + totals[start]
            if end not in totals or total > totals[end]:
                totals[end], chosen[end] = total, len(edges)
            edges.append(Edge(start, end, float(score), is_unknown, float(total), False))
    best = set(chosen.values())
    return [edge._replace(best=index in best) for index, edge in enumerate(edges)]


def _path(edges, end):
    """-> list of the edges on the best path, from the first to that which ends at `end`"""
    best, path = {edge.end: edge for edge in edges if edge.best}, []
    while end:
        path.append(best[end])
        end = path[-1].start
    return path[::-1]
