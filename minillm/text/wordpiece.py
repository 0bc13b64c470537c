"""WordPiece: the longest pieces of a vocabulary, from left to right.

Devlin et al. 2018, section 3, after Wu et al. 2016: a word becomes the longest token that starts
it, then the longest that continues it, and so on. A token that continues a word is marked: "##ing".

    unaffable  ->  una ##ffa ##ble

If some part has no token, the whole word is unknown.

Google never published how it chose BERT's vocabulary. Here, as in Hugging Face's `tokenizers`, it
is learned as in byte-pair encoding, from characters.
"""

from collections import Counter
from typing import NamedTuple

from minillm.checks import shown
from minillm.text.bpe import learn_merges


def train_wordpiece(word_counts, n_tokens, *, special_tokens=(), prefix="##", min_frequency=2,
                    max_alphabet=1000, progress=None):
    """Learn a vocabulary of `n_tokens` tokens -> list of str; the index is the id

    word_counts: {word: its number of occurrences}
    special_tokens: get the first ids, and aren't found in words
    min_frequency: neighbors that are side by side less often don't become a token
    max_alphabet: the number of characters to learn, the most frequent ones; words with others are
        left out
    progress: called as progress(tokens so far, n_tokens)

    After the special tokens come the characters, as they start words and as they continue them, and
    then the merges, the most frequent first. Raises ValueError if n_tokens is too small for the
    characters.
    """
    frequency = Counter()
    for word, count in word_counts.items():
        for character in word:
            frequency[character] += count
    known = set(sorted(frequency, key=lambda c: (-frequency[c], c))[:max_alphabet])
    words = {word: count for word, count in word_counts.items() if known.issuperset(word)}
    inside = {character for word in words for character in word[1:]}
    tokens = [*special_tokens, *sorted(known), *(prefix + c for c in sorted(inside))]
    if n_tokens < len(tokens):
        raise ValueError(f"n_tokens is {n_tokens}, wanted at least {len(tokens)}: "
                         f"{len(special_tokens)} special tokens and the characters of the text")
    ids = {token: id for id, token in enumerate(tokens)}
    spelled = [([ids[prefix + c if place else c] for place, c in enumerate(word)], count)
               for word, count in words.items()]
    tokens, _ = learn_merges(
        tokens, spelled, n_tokens, join=lambda left, right: left + right.removeprefix(prefix),
        min_frequency=min_frequency, progress=progress,
    )
    return tokens


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
                known = [id for id, *_ in self.encode_piece(word)]
                if len(cache) >= self.CACHE_SIZE:
                    cache.clear()
                cache[word] = known
            ids += known
        return ids

    def encode_piece(self, word):
        """-> list of (id, start, end) of one word: the characters that each token stands for"""
        pieces = [(id, start, end) for start, end, id in self.attempts(word) if id is not None]
        found = pieces[-1][2] if pieces else 0
        return pieces if found == len(word) else self._unknown(word)

    def replay(self, word):
        """-> Matching: how encode_piece(word) finds the pieces"""
        attempts = [Attempt(*attempt) for attempt in self.attempts(word)]
        return Matching(attempts, self.encode_piece(word))

    def attempts(self, word):
        """Yield the fields of an Attempt for all that is tried, until a piece isn't found."""
        start = 0 if len(word) <= self.max_characters else len(word)
        while start < len(word):
            prefix = self.prefix if start else ""
            # Try the rest of the word, then without its last character, and so on.
            for end in range(min(len(word), start + self._longest), start, -1):
                id = self._ids.get(prefix + word[start:end])
                yield start, end, id
                if id is not None:
                    break
            else:
                return
            start = end

    def _unknown(self, word):
        id = self._ids.get(self.unk_token)
        if id is None:
            raise ValueError(f"{shown(word)} is unknown, and the vocabulary has no unk_token "
                             f"{shown(self.unk_token)} for it")
        return [(id, 0, len(word))]


class Attempt(NamedTuple):
    """Whether the characters start … end - 1 of a word are a token: its id, or None"""

    start: int
    end: int
    id: int | None


class Matching(NamedTuple):
    """How the pieces of one word are found.

    attempts: list of Attempt, in order; one with an id ends the search for that piece
    found: list of (id, start, end): those with an id; if a part of the word has none, the unknown
        token instead
    """

    attempts: list
    found: list

    def pieces(self):
        """-> list of (id, start, end)"""
        return self.found
