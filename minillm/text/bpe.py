"""Byte-pair encoding: learn which neighbors to merge, then merge them.

Sennrich, Haddow and Birch 2016, "Neural Machine Translation of Rare Words with Subword Units",
algorithm 1: start with single symbols (here bytes, as in Radford et al. 2019), count each pair of
neighbors, replace the most frequent pair by a new symbol, and repeat. The list of merges, in the
order in which they were learned, *is* the tokenizer: the same merges, earliest first, encode new
text.
"""

import operator
from collections import Counter, defaultdict
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import NamedTuple

from minillm.checks import shown
from minillm.text.byte_level import BYTE_TO_CHARACTER, split_words, text_to_bytes, unspell

# Ids 0 … 255 are the bytes in the order of their characters' code points (so "!" is 0): GPT-2's.
ALPHABET = sorted(BYTE_TO_CHARACTER.values())
BYTE_TO_ID = {byte: ALPHABET.index(char) for byte, char in BYTE_TO_CHARACTER.items()}


def count_words(texts, split=split_words):
    """-> Counter of the words (pre-tokens) of all `texts`, which is all that training needs"""
    counts = Counter()
    for text in texts:
        counts.update(split(text))
    return counts


def train_bpe(word_counts, n_tokens, *, min_frequency=2, progress=None):
    """Learn merges until there are `n_tokens` tokens (bytes included) or nothing repeats.

    word_counts: {word: its number of occurrences};  progress: called as progress(tokens so far,
        n_tokens)
    -> tokens: list of str, spelled in printable characters; the index is the id
       merges: list of (left, right) pairs of such str, in the order learned

    The most frequent pair is merged first; of equally frequent pairs, the one with the smallest ids
    (left id first, then right id). So training is deterministic, with the merges of Hugging Face's
    trainer. Pairs with fewer than `min_frequency` occurrences aren't merged. Raises ValueError if
    `n_tokens` is less than 256, the number of bytes.
    """
    if n_tokens < len(ALPHABET):
        raise ValueError(f"n_tokens is {n_tokens}, wanted at least the {len(ALPHABET)} bytes")
    words = [([BYTE_TO_ID[byte] for byte in text_to_bytes(word)], count)
             for word, count in word_counts.items()]
    return learn_merges(ALPHABET, words, n_tokens, min_frequency=min_frequency, progress=progress)


def learn_merges(tokens, words, n_tokens, *, join=operator.add, min_frequency=2, progress=None):
    """`train_bpe` for any first tokens

    tokens: list of str;  words: [(list of the ids of a word, its number of occurrences), …]
    join: function of two tokens -> the token of their merge
    -> tokens, merges, as train_bpe returns them
    """
    tokens = list(tokens)
    ids = {token: id for id, token in enumerate(tokens)}
    merges = {}  # in order; a pair that is merged a second time (see below) moves to the end
    words = _Words(words)

    # The heap holds (-count, pair). Its counts may be out of date, which we correct when an entry
    # comes up: a pair whose count has fallen is pushed again with its current count. A pair whose
    # count rises is pushed when that happens.
    heap = [(-count, pair) for pair, count in words.pair_counts.items()]
    heapify(heap)
    while heap and len(tokens) < n_tokens:
        claimed, pair = heappop(heap)
        count = words.pair_counts.get(pair, 0)
        if count < min_frequency:
            continue
        if count != -claimed:
            heappush(heap, (-count, pair))
            continue
        left, right = (tokens[id] for id in pair)
        merges.pop((left, right), None)
        merges[left, right] = None
        # "ab" + "c" and "a" + "bc" are two merges, but one token.
        joined = join(left, right)
        if joined not in ids:
            ids[joined] = len(tokens)
            tokens.append(joined)
            if progress is not None:
                progress(len(tokens), n_tokens)
        for grown in words.merge(pair, ids[joined]):
            heappush(heap, (-words.pair_counts[grown], grown))
    return tokens, list(merges)


class _Words:
    """All words, end to end, as one doubly linked list of symbols, with a count for every pair.

    A merge visits only the occurrences of its pair, and corrects the counts of the pairs on both
    sides. So the cost of training is about the number of merged *occurrences*, even if a word is
    very long (Chinese has no spaces; DNA is one word).
    """

    def __init__(self, words):
        self.symbols = []  # id of the symbol that starts at this position; None inside a symbol
        self.weights = []  # number of occurrences of the word at this position
        self.next, self.previous = [], []  # neighbors in the word, None at its ends
        self.pair_counts = Counter()
        self.places = defaultdict(list)  # pair -> positions of its left half; may be out of date
        for word, count in words:
            self._append(word, count)

    def _append(self, word, count):
        start, end = len(self.symbols), len(self.symbols) + len(word)
        self.symbols += word
        self.weights += [count] * len(word)
        self.next += [*range(start + 1, end), None]
        self.previous += [None, *range(start, end - 1)]
        for position, pair in enumerate(pairwise(word), start):
            self.pair_counts[pair] += count
            self.places[pair].append(position)

    def merge(self, pair, new):
        """Replace `pair` by the symbol `new` everywhere -> set of the pairs whose counts rose."""
        left, right = pair
        symbols, counts = self.symbols, self.pair_counts
        grown = set()
        # From left to right, so that in "aaa" the first two are merged.
        for i in sorted(self.places.pop(pair)):
            j = self.next[i]
            if symbols[i] != left or j is None or symbols[j] != right:
                continue  # an earlier merge has changed this place
            before, after, weight = self.previous[i], self.next[j], self.weights[i]
            symbols[i], symbols[j] = new, None
            self.next[i] = after
            if after is not None:
                self.previous[after] = i
                counts[right, symbols[after]] -= weight
                self._count((new, symbols[after]), i, weight, grown)
            if before is not None:
                counts[symbols[before], left] -= weight
                self._count((symbols[before], new), before, weight, grown)
        del counts[pair]
        grown.discard(pair)
        return grown

    def _count(self, pair, place, weight, grown):
        self.pair_counts[pair] += weight
        self.places[pair].append(place)
        grown.add(pair)


class BPE:
    """The merges of a trained vocabulary, applied to words.

    ids: {token: id};  merges: list of (left, right) tokens, the earliest merge first.
    ignore_merges: a word that is in the vocabulary becomes that token, whatever the merges say
        (Llama 3).
    Raises ValueError for a merge whose halves or whose result are not in `ids`.
    """

    type = "BPE"
    CACHE_SIZE = 1 << 16  # words; a full cache is cleared
    CACHED_LENGTH = 64  # longer words hardly ever recur

    def __init__(self, ids, merges, ignore_merges=False):
        self.byte_ids = [ids.get(BYTE_TO_CHARACTER[byte]) for byte in range(256)]
        self.merges = merge_table(ids, merges)
        self._lengths = {id: len(token) for token, id in ids.items()}
        self.ignore_merges = ignore_merges
        self._whole = {unspell(token): id for token, id in ids.items()} if ignore_merges else {}
        self._cache = {}

    def encode(self, words):
        """-> list of the ids of `words`, an iterable of str."""
        cache, ids = self._cache, []
        for word in words:
            known = cache.get(word)
            ids.extend(self._encode_new(word) if known is None else known)
        return ids

    def _encode_new(self, word):
        ids = self.encode_word(word)
        if len(word) <= self.CACHED_LENGTH:
            if len(self._cache) >= self.CACHE_SIZE:
                self._cache.clear()
            self._cache[word] = ids
        return ids

    def encode_word(self, word):
        """-> list of the ids of one word, a str"""
        return self.encode_bytes(text_to_bytes(word))

    def encode_piece(self, word):
        """-> list of (id, start, end) of one word, spelled in the printable characters: the bytes
        that each token stands for
        """
        pieces, start = [], 0
        for id in self.encode_bytes(unspell(word)):
            pieces.append((id, start, start + self._lengths[id]))
            start += self._lengths[id]
        return pieces

    def encode_bytes(self, word):
        """-> list of the ids of one word's bytes. One that is not in the vocabulary is left out."""
        if word in self._whole:
            return [self._whole[word]]
        symbols = [self.byte_ids[byte] for byte in word]
        if None in symbols:
            symbols = [symbol for symbol in symbols if symbol is not None]
        merge = merge_short if len(symbols) <= 32 else merge_long
        return merge(symbols, self.merges)

    def replay(self, word):
        """-> Merging: the merges that encode_piece(word) does, one after another"""
        symbols = self.first_symbols(word)
        return replay_merges(symbols, self.merges) if self.merges_in(word) else Merging(symbols)

    def first_symbols(self, word):
        """-> list of (id, start, end), what the merges begin with: the bytes of one word, spelled
        in the printable characters
        """
        if not self.merges_in(word):
            return [(self._whole[unspell(word)], 0, len(word))]
        ids = [self.byte_ids[byte] for byte in unspell(word)]
        return [(id, place, place + 1) for place, id in enumerate(ids) if id is not None]

    def merges_in(self, word):
        """-> False for a word that is one token, whatever the merges say; see ignore_merges"""
        return unspell(word) not in self._whole


def merge_table(ids, merges):
    """-> {(left id, right id): (rank, id of the merged token)}

    Raises ValueError for a merge whose halves or whose result are not in `ids`, {token: id}.
    """
    table = {}
    for rank, (left, right) in enumerate(merges):
        for token in (left, right, left + right):
            if token not in ids:
                raise ValueError(
                    f"merge {rank + 1} ({shown(left)}, {shown(right)}) needs the token "
                    f"{shown(token)}, which the vocabulary does not have"
                )
        table[ids[left], ids[right]] = rank, ids[left + right]
    return table


def merge_short(symbols, merges):
    """Encode one word: while any pair has a merge, do the one of lowest rank, leftmost first.

    symbols: list of ids;  merges: {(left, right): (rank, merged id)}  ->  list of ids
    This is the definition. Each round looks at every pair, so n symbols cost up to n² steps.
    """
    symbols = list(symbols)
    while len(symbols) > 1:
        found = [merges[pair] + (i,) for i, pair in enumerate(pairwise(symbols)) if pair in merges]
        if not found:
            break
        _, merged, i = min(found)
        symbols[i : i + 2] = [merged]
    return symbols


def merge_long(symbols, merges):
    """The same result as `merge_short` in n log n steps, for words of any length."""
    return [symbol for symbol in merge_in_place(list(symbols), merges) if symbol is not None]


def merge_in_place(symbols, merges):
    """-> `symbols`, with each merged token at the place of its first symbol, and None after it"""
    for _ in merge_steps(symbols, merges):
        pass
    return symbols


def merge_steps(symbols, merges):
    """Do the merges of `merge_in_place`, and yield each as the fields of a MergeStep.

    The candidates are in a heap of (rank, position); the symbols are a linked list, so that a merge
    touches only its two neighbors. A candidate whose symbols have changed is skipped.
    """
    following = [*range(1, len(symbols)), None]
    previous = [None, *range(len(symbols) - 1)]
    heap = []

    def consider(i, j):
        found = None if i is None or j is None else merges.get((symbols[i], symbols[j]))
        if found is None:
            return None
        heappush(heap, (found[0], i))
        return found[0]

    for i, j in enumerate(following):
        consider(i, j)
    while heap:
        rank, i = heappop(heap)
        j = following[i]
        if symbols[i] is None or j is None:
            continue
        now, merged = merges.get((symbols[i], symbols[j]), (None, None))
        if now != rank:
            continue
        symbols[i], symbols[j] = merged, None
        following[i] = after = following[j]
        if after is not None:
            previous[after] = i
        yield i, j, merged, rank, consider(previous[i], i), consider(i, after)


class MergeStep(NamedTuple):
    """The symbols at `place` and `next`, neighbors, become the symbol `merged` at `place`.

    place, next: indices of the first symbols;  merged: id
    rank: that of the merge; no pair of neighbors has a lower one, and none to the left the same
    left, right: the ranks of the new symbol with its two neighbors; None: they have no merge
    """

    place: int
    next: int
    merged: int
    rank: int
    left: int | None
    right: int | None


class Merging(NamedTuple):
    """How the symbols of one word become its tokens.

    symbols: list of (id, start, end): the first symbols and the characters that they stand for
    ranks: for each pair of neighbors the rank of its merge; None: they have none
    steps: list of MergeStep, in order
    """

    symbols: list
    ranks: list = ()
    steps: list = ()

    def pieces(self):
        """-> list of (id, start, end): the tokens after the last step"""
        left = dict(enumerate(self.symbols))
        for step in self.steps:
            left[step.place] = step.merged, left[step.place][1], left.pop(step.next)[2]
        return [left[place] for place in sorted(left)]


def replay_merges(symbols, merges):
    """symbols: list of (id, start, end);  merges: {(left, right): (rank, merged id)} -> Merging"""
    ids = [id for id, *_ in symbols]
    ranks = [merges.get(pair, (None,))[0] for pair in pairwise(ids)]
    return Merging(symbols, ranks, [MergeStep(*step) for step in merge_steps(ids, merges)])
