"""Byte-pair encoding on characters: the merges of SentencePiece, as tokenizer.json writes them.

Sennrich, Haddow and Birch 2016, algorithm 1; Kudo and Richardson 2018 ("SentencePiece") replace
spaces by "▁" and take the text as one word. The merges are applied as in bpe.py; only the first
symbols of a word differ. They are its characters, and the bytes "<0xE4>" of a character without a
token ("byte fallback").
"""

from minillm.checks import shown
from minillm.text.bpe import BPE, merge_in_place, merge_table
from minillm.text.byte_level import text_to_bytes


class CharacterBPE(BPE):
    """The merges of a vocabulary of characters, applied to words.

    ids, merges, ignore_merges: see bpe.BPE
    unk_token: the token of a character that has neither a token nor bytes; None: left out
    fuse_unk: consecutive unknown characters become one token
    byte_fallback: a character without a token becomes its bytes, if all of them have a token
    """

    def __init__(self, ids, merges, *, unk_token=None, fuse_unk=False, byte_fallback=False,
                 ignore_merges=False):
        if unk_token is not None and unk_token not in ids:
            raise ValueError(f"unk_token is {shown(unk_token)}, which the vocabulary does not have")
        self.unk_token, self.fuse_unk = unk_token, fuse_unk
        self.byte_fallback, self.ignore_merges = byte_fallback, ignore_merges
        self.merges = merge_table(ids, merges)
        self._ids = ids
        self._byte_ids = [ids.get(f"<0x{byte:02X}>") for byte in range(256)]
        self._cache = {}

    def encode_word(self, word):
        """-> list of the ids of one word, a str"""
        return [id for id, *_ in self.encode_piece(word)]

    def encode_piece(self, word):
        """-> list of (id, start, end) of one word: the characters that each token stands for"""
        symbols = self.first_symbols(word)
        merged = merge_in_place([id for id, *_ in symbols], self.merges)
        starts = [place for place, id in enumerate(merged) if id is not None]
        return [(merged[first], symbols[first][1], symbols[end - 1][2])
                for first, end in zip(starts, [*starts[1:], len(symbols)])]

    def merges_in(self, word):
        """-> False for a word that is one token, whatever the merges say"""
        return not (self.ignore_merges and word in self._ids)

    def first_symbols(self, word):
        """-> list of (id, start, end): the characters of `word`, their bytes, and unknown ones"""
        if not self.merges_in(word):
            return [(self._ids[word], 0, len(word))]
        symbols, unknown = [], None
        for place, character in enumerate(word):
            id = self._ids.get(character)
            if id is None and self.byte_fallback:
                data = [self._byte_ids[byte] for byte in text_to_bytes(character)]
                if None not in data:  # as in `tokenizers`, an unknown character before waits
                    symbols += [(byte, place, place + 1) for byte in data]
                    continue
            if unknown and (id is not None or not self.fuse_unk):
                symbols.append(unknown)
                unknown = None
            if id is not None:
                symbols.append((id, place, place + 1))
            elif self.unk_token is not None:
                start = unknown[1] if unknown else place
                unknown = (self._ids[self.unk_token], start, place + 1)
        return symbols + [unknown] * bool(unknown)
