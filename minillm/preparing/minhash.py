"""MinHash and LSH: which of a million documents are nearly the same, without comparing all pairs.

The Jaccard similarity of two sets of shingles (n-grams of words) is

    J(A, B) = |A ∩ B| / |A ∪ B|

Put all shingles in a random order h. The first shingle of A ∪ B is in both sets with probability J,
and exactly then A and B have the same first shingle (Broder 1997):

    P[min h(A) = min h(B)] = J(A, B)

So with K random orders, the share of equal minima estimates J, with the standard deviation
√(J (1 - J) / K). A random order of numbers is

    h_k(x) = (a_k · mix(x) + b_k) mod 2^32,  a_k odd, so no two numbers get the same place

To find the alike pairs, cut the K minima into b bands of r rows, and compare only documents that
agree in all rows of some band. A pair with similarity s does that with probability

    1 - (1 - s^r)^b

an S-shaped curve: with b = 32 and r = 4, 0.23 at s = 0.3, 0.87 at 0.5, and 1.00 at 0.8.
"""

import numpy as np

K, BANDS = 128, 32
ROWS = K // BANDS
SHINGLE = 5  # words


def permutations(seed=1, k=K):
    """-> a, b: uint32 (k,) each, a odd"""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 1 << 31, k, np.uint32) * np.uint32(2) + np.uint32(1),
            rng.integers(0, 1 << 32, k, np.uint32))


def mix(x):
    """Spread the bits of uint32 numbers (the end of MurmurHash3): near numbers get far apart"""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    return x ^ (x >> np.uint32(16))


def signature(hashes, a, b):
    """hashes: uint32 (n,), of shingles;  a, b: uint32 (K,) -> uint32 (K,): the minima

    An empty set has the largest number everywhere. With the same a and b, these are the signatures
    of datasketch (scheme "affine32").
    """
    least = np.full(len(a), np.iinfo(np.uint32).max, np.uint32)
    hashes = mix(hashes)
    for start in range(0, len(hashes), 1024):  # at most (1024, K) numbers at a time
        h = hashes[start : start + 1024, None] * a + b
        least = np.minimum(least, h.min(axis=0))
    return least


def estimated_jaccard(one, other):
    """The share of equal minima of two signatures"""
    return float(np.mean(one == other))


def jaccard(one, other):
    """Of two sets; 0 for two empty ones"""
    union = len(one | other)
    return len(one & other) / union if union else 0.0


def bands(signature, n_bands=BANDS):
    """-> list of bytes, one for each band: documents with an equal one are compared"""
    return [row.tobytes() for row in signature.reshape(n_bands, -1)]


def found_probability(s, n_bands=BANDS, rows=ROWS):
    """1 - (1 - s^r)^b: how probably a pair of similarity s is compared"""
    return 1 - (1 - s**rows) ** n_bands
