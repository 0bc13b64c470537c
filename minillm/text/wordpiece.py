"""WordPiece: the longest pieces of a vocabulary, from left to right.

Devlin et al. 2018, section 3, after Wu et al. 2016: a word becomes the longest token that starts
it, then the longest that continues it, and so on. A token that continues a word is marked: "##ing".

    unaffable  ->  una ##ffa ##ble

If some part has no token, the whole word is unknown.
"""

from minillm.checks import shown


class WordPiece:
    """The pieces of a vocabulary, applied to words.

    ids: {token: id};  unk_token: the token of an unknown word
    prefix: the mark of tokens that continue a word
    max_characters: a longer word is unknown
    """

    type = "WordPiece"
    CACHE_SIZE = 1 << 16  # words; a full cache is cleared

    def __init__(self, ids, unk_token="[UNK]", prefix="##", max_characters=100):
        self.unk_token, self.prefix, self.max_characters = unk_token, prefix, max_characters
        self._ids = ids
        self._longest = max(map(len, ids), default=0)
        self._cache = {}

    def encode(self, words):
        """-> list of the ids of `words`, an iterable of str"""
        cache, ids = self._cache, []
        for word in words:
            known = cache.get(word)
            if known is None:
                known = [id for id, _ in self.encode_piece(word)]
                if len(cache) >= self.CACHE_SIZE:
                    cache.clear()
                cache[word] = known
            ids += known
        return ids

    def encode_piece(self, word):
        """-> list of (id, number of characters) of one word"""
        pieces, start = [], 0
        if len(word) > self.max_characters:
            return self._unknown(word)
        while start < len(word):
            prefix = self.prefix if start else ""
            # Try the rest of the word, then without its last character, and so on.
            for end in range(min(len(word), start + self._longest), start, -1):
                id = self._ids.get(prefix + word[start:end])
                if id is not None:
                    break
            else:
                return self._unknown(word)
            pieces.append((id, end - start))
            start = end
        return pieces

    def _unknown(self, word):
        id = self._ids.get(self.unk_token)
        if id is None:
            raise ValueError(f"{shown(word)} is unknown, and the vocabulary has no unk_token "
                             f"{shown(self.unk_token)} for it")
        return [(id, len(word))]
