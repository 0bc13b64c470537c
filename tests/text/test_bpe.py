import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.text.bpe import ALPHABET, BPE, count_words, merge_long, merge_short, train_bpe
from minillm.text.byte_level import split_words

LETTERS = st.text("abc ", max_size=60)  # few letters: many pairs repeat


def train_by_definition(word_counts, n_tokens, min_frequency):
    """Sennrich et al. 2016, algorithm 1: count all pairs anew for each merge."""
    tokens, merges = list(ALPHABET), {}
    words = [([ALPHABET.index(c if c != " " else "Ġ") for c in word], count)
             for word, count in word_counts.items()]
    while len(tokens) < n_tokens:
        counts = Counter()
        for symbols, count in words:
            for pair in zip(symbols, symbols[1:]):
                counts[pair] += count
        if not counts or max(counts.values()) < min_frequency:
            break
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        left, right = (tokens[id] for id in pair)
        merges.pop((left, right), None)
        merges[left, right] = None
        if left + right not in tokens:
            tokens.append(left + right)
        new = tokens.index(left + right)
        for symbols, _ in words:
            i = 0
            while i < len(symbols) - 1:
                if (symbols[i], symbols[i + 1]) == pair:
                    symbols[i : i + 2] = [new]
                i += 1
    return tokens, list(merges)


@given(st.lists(LETTERS, max_size=8), st.integers(256, 300), st.integers(1, 3))
def test_training_is_the_algorithm_of_the_paper(texts, n_tokens, min_frequency):
    counts = count_words(texts)
    got = train_bpe(counts, n_tokens, min_frequency=min_frequency)
    assert got == train_by_definition(counts, n_tokens, min_frequency)


def test_training_does_not_depend_on_the_order_of_the_words():
    counts = count_words(["the cat sat on the mat, the hat on the cat"])
    assert train_bpe(counts, 280) == train_bpe(dict(reversed(counts.items())), 280)


def test_a_token_that_is_reached_in_two_ways_is_one_token():
    # "ab" + "c" in some words, "a" + "bc" in others.
    counts = {"xab": 50, "yab": 50, "abc": 9, "zbc": 40, "bcw": 60, "dabc": 8, "abcbc": 3}
    tokens, merges = train_bpe(counts, 290, min_frequency=1)
    assert len(set(tokens)) == len(tokens)
    assert len(set(merges)) == len(merges)
    assert {left + right for left, right in merges} == set(tokens[256:])


def test_progress_counts_the_tokens_up_to_the_wanted_number():
    calls = []
    tokens, _ = train_bpe({"aaaa": 9, "abab": 9}, 259, progress=lambda *call: calls.append(call))
    assert calls == [(257, 259), (258, 259), (259, 259)] and len(tokens) == 259


def test_fewer_tokens_than_bytes_is_an_error():
    with pytest.raises(ValueError, match="n_tokens is 255"):
        train_bpe({"a": 1}, 255)


@st.composite
def merges_of_ids(draw):
    """Any table of merges, even one that no training produces, and a word to apply it to."""
    n = draw(st.integers(1, 4))
    ids, merges = st.integers(0, n + 5), {}
    for rank in range(draw(st.integers(0, 12))):
        # A merged id is larger than its halves, as lengths of tokens are: no merge undoes another.
        left, right = draw(ids), draw(ids)
        merges[left, right] = rank, max(left, right) + draw(st.integers(1, 3))
    return draw(st.lists(st.integers(0, n), max_size=40)), merges


@given(merges_of_ids())
def test_the_fast_way_to_merge_is_the_definition(case):
    symbols, merges = case
    before = list(symbols)
    assert merge_long(symbols, merges) == merge_short(symbols, merges)
    assert symbols == before


@given(st.lists(LETTERS, min_size=1, max_size=8), st.text("abc "))
def test_encoding_spells_the_text(texts, text):
    tokens, merges = train_bpe(count_words(texts), 290)
    ids = BPE({token: id for id, token in enumerate(tokens)}, merges).encode(split_words(text))
    assert "".join(tokens[id] for id in ids) == text.replace(" ", "Ġ")


@pytest.mark.parametrize("text", ["a" * 100_000, " " * 100_000 + "x", "ab" * 50_000, "!?" * 50_000])
def test_one_very_long_word(text):
    # In quadratic time, this would not finish.
    tokens, merges = train_bpe(count_words([text]), 280)
    ids = BPE({token: id for id, token in enumerate(tokens)}, merges).encode(split_words(text))
    assert "".join(tokens[id] for id in ids) == text.replace(" ", "Ġ")
    assert len(ids) < 200


def test_training_on_one_long_word():
    letters = random.Random(0)
    word = "".join(letters.choice("ACGT") for _ in range(50_000))
    tokens, _ = train_bpe({word: 1}, 600)
    assert len(tokens) == 600


def test_the_cache_is_bounded():
    bpe = BPE({token: id for id, token in enumerate(ALPHABET)}, [])
    bpe.CACHE_SIZE = 10
    text = " ".join(map(str, range(100)))
    assert [ALPHABET[id] for id in bpe.encode(split_words(text))] == list(text.replace(" ", "Ġ"))
    assert len(bpe._cache) <= 10
    bpe.encode(["z" * 1000])
    assert max(map(len, bpe._cache)) <= bpe.CACHED_LENGTH


def test_a_merge_of_unknown_tokens_is_an_error():
    ids = {token: id for id, token in enumerate(ALPHABET)}
    with pytest.raises(ValueError, match="merge 1 .*'ab'"):
        BPE(ids, [("a", "b")])
