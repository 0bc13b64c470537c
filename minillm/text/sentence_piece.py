"""SentencePiece: Kudo and Richardson 2018. It takes a text as it is, spaces included, and splits it
into the pieces that are most probable together, or by merges.

The algorithm is that of the library `sentencepiece`, which also reads its files (.spm). It is an
optional dependency: pip install "minillm[sentencepiece]".
"""

from pathlib import Path


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
        code = text[: text.index("<<") + 2] if text.startswith(">>") and "<<" in text else ""
        return [code] * bool(code) + self._library.encode(text[len(code) :], out_type=str)

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
