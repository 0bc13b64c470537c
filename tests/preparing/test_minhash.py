"""MinHash, its bands, and the groups that come of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.preparing import minhash
from minillm.preparing.shingles import ngram_hashes, word_hashes, words_of
from minillm.preparing.union_find import UnionFind

A, B = minhash.permutations()
FIXTURE = json.loads((Path(__file__).parents[1] / "fixtures" / "minhash.json").read_text())


def signature(numbers):
    return minhash.signature(np.array(sorted(numbers), np.uint32), A, B)


def test_signatures_and_candidates_are_those_of_datasketch():
    signatures = [signature(set(numbers)) for numbers in FIXTURE["sets"]]
    np.testing.assert_array_equal(signatures, FIXTURE["signatures"])
    for ours, theirs, candidates in zip(signatures, FIXTURE["jaccard"], FIXTURE["candidates"]):
        assert [minhash.estimated_jaccard(ours, other) for other in signatures] == theirs
        bands = set(enumerate(minhash.bands(ours)))
        assert [n for n, other in enumerate(signatures)
                if bands & set(enumerate(minhash.bands(other)))] == candidates


@given(st.sets(st.integers(0, 2**32 - 1), min_size=1, max_size=60), st.integers(0, 60),
       st.integers(0, 2**32 - 1))
def test_the_estimate_is_within_five_standard_deviations(numbers, shared, seed):
    rng = np.random.default_rng(seed)
    other = set(sorted(numbers)[:shared]) | set(rng.integers(0, 1 << 32, 10).tolist())
    s = minhash.jaccard(numbers, other)
    estimate = minhash.estimated_jaccard(signature(numbers), signature(other))
    assert abs(estimate - s) <= 5 * np.sqrt(max(s * (1 - s), 0.02) / minhash.K)


def test_bands_find_a_pair_as_often_as_the_formula_says():
    rng = np.random.default_rng(0)
    for s in (0.3, 0.5, 0.7):
        equal = rng.random((4000, minhash.BANDS, minhash.ROWS)) < s
        assert np.isclose(equal.all(axis=2).any(axis=1).mean(), minhash.found_probability(s),
                          atol=0.03)


@given(st.text("ab 你好\n.", max_size=60), st.integers(1, 4))
def test_ngrams_are_equal_where_their_words_are(text, n):
    words = words_of(text)
    hashes = ngram_hashes(word_hashes(words), n)
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    assert len(hashes) == len(grams)
    assert len(set(hashes.tolist())) == len(set(grams))
    assert dict(zip(grams, hashes)) == dict(reversed(list(zip(grams, hashes))))


def test_words():
    assert words_of("The cat's 2 hats, 我喜欢 apples.") == [
        "the", "cat", "s", "2", "hats", "我", "喜", "欢", "apples"]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12))))
def test_groups_are_the_connected_ones_and_named_by_their_smallest(pairs):
    groups = UnionFind()
    for pair in pairs:
        groups.join(*pair)
    reach = {n: {n} for n in range(13)}
    for _ in range(13):
        for one, other in pairs:
            both = reach[one] | reach[other]
            for n in both:
                reach[n] |= both
    for n in range(13):
        assert groups.find(n) == min(reach[n])
    for name, members in groups.groups().items():
        assert set(members) == reach[name] and name == members[0]


@pytest.mark.parametrize("n", [0, 1, 1023, 1024, 1025])
def test_a_signature_doesnt_depend_on_order_or_on_how_it_is_cut(n):
    numbers = np.random.default_rng(n).integers(0, 1 << 32, n, np.uint32)
    expected = [min((int(x) * int(a) + int(b)) % 2**32 for x in minhash.mix(numbers))
                if n else 2**32 - 1 for a, b in zip(A[:3], B[:3])]
    assert minhash.signature(numbers[::-1], A, B)[:3].tolist() == expected
