"""An algorithm on the tokenizer base that is not byte-pair encoding."""


class WordLevel:
    """The smallest model of a tokenizer: each word is a token, or unknown (id 0)."""

    def __init__(self, ids):
        self.ids = ids

    def encode(self, words):
        return [self.ids.get(word, 0) for word in words]

    def encode_piece(self, word):
        return [(self.ids.get(word, 0), 0, len(word))]
