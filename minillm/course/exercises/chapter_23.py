"""The exercises of chapter 23, What a model reads."""

from minillm.course.checking import Exercise, Mistake

# ---- 23.1 similarity


def _shingles(words, n, last=1):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + last)]


def _similarity(one, other, n):
    A, B = set(_shingles(one, n)), set(_shingles(other, n))
    return len(A & B) / len(A | B) if A | B else 0.0


def _similarity_with(measure, make=_shingles):
    def wrong(one, other, n):
        A, B = make(one, n), make(other, n)
        try:
            return float(measure(A, B))
        except ZeroDivisionError:
            return 0.0
    return wrong


def _sets(measure):
    return lambda A, B: measure(set(A), set(B))


_SIMILARITY_CASES = [
    ("a b c d e".split(), "a b c x e".split(), 2), ("a b a b a c".split(), "a b c".split(), 2),
    ("a b c".split(), "c b a".split(), 1), ("a b".split(), "a".split(), 3),
    ("b c".split(), "a b c d e".split(), 2),
    ("a b c d e f".split(), "x b c d e".split(), 3), ("a a b c d".split(), "a b c".split(), 2),
]
_SIMILARITY_MISTAKES = [
    Mistake("You divide by the number of all shingles of both. What both have is counted twice "
            "there; divide by the union.", wrong=_similarity_with(_sets(
                lambda A, B: len(A & B) / (len(A) + len(B))))),
    Mistake("You divide by the larger set. Divide by the union.", wrong=_similarity_with(_sets(
        lambda A, B: len(A & B) / max(len(A), len(B))))),
    Mistake("You divide by the smaller set: that is the containment. Divide by the union.",
            wrong=_similarity_with(_sets(lambda A, B: len(A & B) / min(len(A), len(B))))),
    Mistake("You divide by the first text's shingles. Divide by the union, which belongs to both.",
            wrong=_similarity_with(_sets(lambda A, B: len(A & B) / len(A)))),
    Mistake("That is Dice's coefficient, twice the common ones by the sum. Jaccard divides by the "
            "union.", wrong=_similarity_with(_sets(
                lambda A, B: 2 * len(A & B) / (len(A) + len(B))))),
    Mistake("That is the distance, 1 - J.", wrong=_similarity_with(_sets(
        lambda A, B: 1 - (len(A & B) / len(A | B) if A | B else 0)))),
    Mistake("You compare single words. A shingle is a row of n words.", wrong=_similarity_with(
        _sets(lambda A, B: len(A & B) / len(A | B)), lambda words, n: _shingles(words, 1))),
    Mistake("The last shingle of each text is missing. There are T - n + 1 of them.",
            wrong=_similarity_with(_sets(lambda A, B: len(A & B) / len(A | B)),
                                   lambda words, n: _shingles(words, n, 0))),
    Mistake("The rows at the end are shorter than n words in your answer. Stop at T - n.",
            wrong=_similarity_with(_sets(lambda A, B: len(A & B) / len(A | B)),
                                   lambda words, n: _shingles(words, n, n))),
    Mistake("You return how many shingles both have. Divide by the union.",
            wrong=_similarity_with(_sets(lambda A, B: len(A & B)))),
]

# ---- 23.2 minima


def _minima(numbers, a, b, p):
    return [min((a_k * x + b_k) % p for x in numbers) for a_k, b_k in zip(a, b)]


_MINIMA_CASES = [([3, 10, 25], [2, 7, 5], [1, 0, 4], 31), ([8, 1], [3, 9], [30, 5], 37),
                 ([4], [6, 6, 1], [2, 9, 0], 11)]
_MINIMA_MISTAKES = [
    Mistake("You take the maximum. Either would do, but the minimum is asked for.",
            wrong=lambda numbers, a, b, p: [max((i * x + j) % p for x in numbers)
                                            for i, j in zip(a, b)]),
    Mistake("You take the minimum over the orders for each number. It is over the numbers, for "
            "each order.", wrong=lambda numbers, a, b, p: [min((i * x + j) % p for i, j in zip(a, b))
                                                      for x in numbers]),
    Mistake("The modulo is missing: without it the smallest number is the smallest in every order.",
            wrong=lambda numbers, a, b, p: [min(i * x + j for x in numbers)
                                            for i, j in zip(a, b)]),
    Mistake("You take the modulo before you add b: (a x mod p) + b. Add b first.",
            wrong=lambda numbers, a, b, p: [min(i * x % p + j for x in numbers)
                                            for i, j in zip(a, b)]),
    Mistake("You apply the order to the smallest number only. Which number is first differs from "
            "order to order.", wrong=lambda numbers, a, b, p: [(i * min(numbers) + j) % p
                                                               for i, j in zip(a, b)]),
    Mistake("You swap a and b.", wrong=lambda numbers, a, b, p: _minima(numbers, b, a, p)),
    Mistake("You leave out b.",
            wrong=lambda numbers, a, b, p: _minima(numbers, a, [0] * len(a), p)),
    Mistake("You return the numbers that come first. Their places in the order are asked for.",
            wrong=lambda numbers, a, b, p: [min(numbers, key=lambda x: (i * x + j) % p)
                                            for i, j in zip(a, b)]),
    Mistake("You return one number. A signature has one for each pair (a, b).",
            wrong=lambda numbers, a, b, p: min(_minima(numbers, a, b, p))),
]

# ---- 23.3 meets

_MEETS = 1 - (1 - 0.6**8) ** 16
_MEETS_MISTAKES = [
    Mistake("You exchange bands and rows: 16 bands of 128 numbers have 8 rows.",
            wrong=1 - (1 - 0.6**16) ** 8),
    Mistake("That is the probability that one band agrees. There are 16.", wrong=0.6**8),
    Mistake("That is the probability that no band agrees.", wrong=(1 - 0.6**8) ** 16),
    Mistake("You add the probabilities of the bands. They can agree together: use 1 - (1 - p)^b.",
            wrong=16 * 0.6**8),
    Mistake("A row agrees with probability 0.6, not 0.4.", wrong=1 - (1 - 0.4**8) ** 16),
    Mistake("You use 16 rows as well as 16 bands. 128 / 16 = 8.", wrong=1 - (1 - 0.6**16) ** 16),
    Mistake("You forget the bands: that is for 128 bands of one row.", wrong=1 - (1 - 0.6) ** 128),
    Mistake("That would be the probability that all bands agree.", wrong=0.6**128),
    Mistake("A probability is a number from 0 to 1.", wrong=100 * _MEETS),
]

# ---- 23.4 group_names


def _group_names(n, pairs):
    names = list(range(n))
    for i, j in pairs:
        old = {names[i], names[j]}
        names = [min(old) if name in old else name for name in names]
    return names


def _buggy(n, pairs):
    names = list(range(n))
    for i, j in pairs:
        names[j] = names[i] = min(names[i], names[j])
    return names


def _buggy_twice(n, pairs):
    names = list(range(n))
    for i, j in [*pairs, *pairs]:
        names[j] = names[i] = min(names[i], names[j])
    return names


def _sorted_first(n, pairs):
    return _buggy(n, sorted(tuple(sorted(pair)) for pair in pairs))


def _largest(n, pairs):
    names = _group_names(n, pairs)
    return [max(i for i in range(n) if names[i] == name) for name in names]


def _numbered(n, pairs):
    names = _group_names(n, pairs)
    order = sorted(set(names))
    return [order.index(name) for name in names]


def _one_way(n, pairs):
    names = list(range(n))
    for i, j in pairs:
        names = [names[i] if name == names[j] else name for name in names]
    return names


def _only_grouped(n, pairs):
    names = _group_names(n, pairs)
    return [names[i] for i in range(n) if any(i in pair for pair in pairs)]


def _sizes(n, pairs):
    names = _group_names(n, pairs)
    return [names.count(name) for name in names]


_GROUP_CASES = [(4, [(2, 3), (1, 3)]), (8, [(6, 7), (5, 6), (4, 5), (3, 4), (0, 3)]), (3, []),
                (7, [(5, 1), (3, 5), (2, 6), (6, 3)]), (6, [(4, 5), (3, 4), (2, 3), (1, 2)]),
                (9, [(1, 2), (3, 4), (5, 6), (7, 8), (6, 7), (4, 5), (2, 3)])]
_GROUP_MISTAKES = [
    Mistake("The bug is still there: when two groups become one, every member of both has to be "
            "renamed, not only i and j.", wrong=_buggy),
    Mistake("Going through the pairs twice helps for some of them. A long chain needs more rounds.",
            wrong=_buggy_twice),
    Mistake("Sorting the pairs helps for some of them. Rename all members of both groups instead.",
            wrong=_sorted_first),
    Mistake("The name of a group is its smallest member, not its largest.", wrong=_largest),
    Mistake("You number the groups. The name of a group is its smallest member.", wrong=_numbered),
    Mistake("The whole group gets the name of i, also where that of j is smaller.", wrong=_one_way),
    Mistake("Documents without a pair are groups of their own. They are missing in your answer.",
            wrong=_only_grouped),
    Mistake("You return how large the groups are. Their names are asked for.", wrong=_sizes),
    Mistake("All documents are in one group in your answer.", wrong=lambda n, pairs: [0] * n),
    Mistake("No document is joined with another one in your answer.",
            wrong=lambda n, pairs: list(range(n))),
]

# ---- 23.5 is_contaminated


def _is_contaminated(document, test, n):
    return bool(set(_shingles(document, n)) & set(_shingles(test, n)))


def _in_order(document, test, n):
    places = iter(document)
    return len(test) >= n and sum(word in places for word in test) >= n


_CONTAMINATION_CASES = [
    ("x a b c d y".split(), "a b c d".split(), 4), ("x a b c y d".split(), "a b c d".split(), 4),
    ("a b c d".split(), "b c".split(), 3), ("d c b a".split(), "a b c d".split(), 3),
    ("x y a b c".split(), "p q a b c".split(), 3), ("a b c x".split(), "a b c y".split(), 3),
    ("p a b c d q".split(), "x b c z".split(), 2), ("a x b y c".split(), "a b c".split(), 3),
    ("ab c d".split(), "b c d".split(), 3), ("a b".split(), "a b".split(), 3),
    ("z b c d w".split(), "a b c d e".split(), 3),
]
_CONTAMINATION_MISTAKES = [
    Mistake("You look for the whole test in the document. Any n words of it in a row are too many.",
            wrong=lambda document, test, n: len(test) >= n and tuple(test) in set(
                _shingles(document, len(test)))),
    Mistake("You count common words. They have to stand in a row, in the same order.",
            wrong=lambda document, test, n: len(set(document) & set(test)) >= n),
    Mistake("Other words stand between them in the document. They have to stand in a row.",
            wrong=_in_order),
    Mistake("The last n words of each text are missing in your answer: there are T - n + 1 rows.",
            wrong=lambda document, test, n: bool(set(_shingles(document, n, 0))
                                                 & set(_shingles(test, n, 0)))),
    Mistake("You look at the first n words of the test only.",
            wrong=lambda document, test, n: len(test) >= n and tuple(test[:n]) in set(
                _shingles(document, n))),
    Mistake("You look at the last n words of the test only.",
            wrong=lambda document, test, n: len(test) >= n and tuple(test[-n:]) in set(
                _shingles(document, n))),
    Mistake("You compare rows of n + 1 words. n are enough.",
            wrong=lambda document, test, n: _is_contaminated(document, test, n + 1)),
    Mistake("You compare rows of n - 1 words. It takes n.",
            wrong=lambda document, test, n: _is_contaminated(document, test, n - 1)),
    Mistake("You join the words and search in the text: \"b c\" is found inside of \"ab c\". "
            "Compare whole words.", wrong=lambda document, test, n: any(
                " ".join(row) in " ".join(document) for row in _shingles(test, n))),
    Mistake("The other way round: True means that they share a row.",
            wrong=lambda document, test, n: not _is_contaminated(document, test, n)),
    Mistake("You ignore the order of the words.", wrong=lambda document, test, n: bool(
        {tuple(sorted(row)) for row in _shingles(document, n)}
        & {tuple(sorted(row)) for row in _shingles(test, n)})),
]

EXERCISES = [
    Exercise("23.1", "similarity", reference=_similarity, cases=lambda rng: _SIMILARITY_CASES,
             mistakes=_SIMILARITY_MISTAKES),
    Exercise("23.2", "minima", reference=_minima, cases=lambda rng: _MINIMA_CASES,
             mistakes=_MINIMA_MISTAKES),
    Exercise("23.3", "meets", reference=_MEETS, mistakes=_MEETS_MISTAKES, tolerance=6e-4),
    Exercise("23.4", "group_names", reference=_group_names, cases=lambda rng: _GROUP_CASES,
             mistakes=_GROUP_MISTAKES),
    Exercise("23.5", "is_contaminated", reference=_is_contaminated,
             cases=lambda rng: _CONTAMINATION_CASES, mistakes=_CONTAMINATION_MISTAKES),
]
