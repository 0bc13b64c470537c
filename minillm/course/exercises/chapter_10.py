"""The exercises of chapter 10: making it fast."""

import math

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 10.1


def _intensity(M, N, K, bytes_per_number=4):
    return 2 * M * N * K / (bytes_per_number * (M * K + K * N + M * N))


def _without_result(M, N, K, bytes_per_number=4):
    return 2 * M * N * K / (bytes_per_number * (M * K + K * N))


def _one_read_per_operation(M, N, K, bytes_per_number=4):
    return 2 * M * N * K / (bytes_per_number * (2 * M * N * K + M * N))


# ---- 10.3


def _state(rng, n, D, offset=0.0):
    """The running maximum, sum and output of n keys -> m, l, o"""
    scores, V = 3 * rng.normal(size=n) + offset, rng.normal(size=(n, D))
    p = np.exp(scores - scores.max())
    return scores.max(), p.sum(), p @ V


def _merge(m1, l1, o1, m2, l2, o2):
    m = max(m1, m2)
    keep1, keep2 = np.exp(m1 - m), np.exp(m2 - m)
    return (keep1 * o1 + keep2 * o2) / (keep1 * l1 + keep2 * l2)


def _merge_cases(rng):
    return [(*_state(rng, 4, 3), *_state(rng, 6, 3, offset)) for offset in (4.0, -4.0, 0.0)] + [
        (*_state(rng, 4, 3, 900.0), *_state(rng, 6, 3, 901.0)),
        (*_state(rng, 4, 3, 900.0), *_state(rng, 6, 3))]


def _merge_inverted(m1, l1, o1, m2, l2, o2):
    m = max(m1, m2)
    keep1, keep2 = np.exp(m - m1), np.exp(m - m2)
    return (keep1 * o1 + keep2 * o2) / (keep1 * l1 + keep2 * l2)


def _merge_keeps_sums(m1, l1, o1, m2, l2, o2):
    m = max(m1, m2)
    return (np.exp(m1 - m) * o1 + np.exp(m2 - m) * o2) / (l1 + l2)


def _merge_keeps_outputs(m1, l1, o1, m2, l2, o2):
    m = max(m1, m2)
    return (o1 + o2) / (np.exp(m1 - m) * l1 + np.exp(m2 - m) * l2)


def _merge_undivided(m1, l1, o1, m2, l2, o2):
    m = max(m1, m2)
    return np.exp(m1 - m) * o1 + np.exp(m2 - m) * o2


def _merge_softmax_of_maxima(m1, l1, o1, m2, l2, o2):
    keep1, keep2 = np.exp(m1 - max(m1, m2)), np.exp(m2 - max(m1, m2))
    return (keep1 * o1 / l1 + keep2 * o2 / l2) / (keep1 + keep2)


def _merge_second_only(m1, l1, o1, m2, l2, o2):
    """Only the first half is rescaled, as if the second one always had the larger maximum."""
    keep = np.exp(m1 - max(m1, m2))
    return (keep * o1 + o2) / (keep * l1 + l2)


# ---- 10.4


def _streaming_row(scores, V):
    p = np.exp(scores - scores.max())
    return p @ V / p.sum()


def _loop(scores, V, keep_l=lambda m, new: np.exp(m - new), keep_o=lambda m, new: np.exp(m - new),
          start=-np.inf, divide=True, larger=max, p=lambda s, m, new: np.exp(s - new)):
    """The loop of the exercise, with one part of it wrong."""
    m, l, o = start, 0.0, np.zeros(V.shape[1])
    for s, v in zip(scores, V):
        new = larger(m, s)
        weight = p(s, m, new)
        l, o, m = keep_l(m, new) * l + weight, keep_o(m, new) * o + weight * v, new
    return o / l if divide else o


def _one(m, new):
    return 1.0


def _inverse(m, new):
    return np.exp(new - m) if np.isfinite(m) else 0.0


def _planted(scores, V):
    return _loop(scores, V, keep_o=_one)


def _only_output(scores, V):
    return _loop(scores, V, keep_l=_one)


def _never_repaired(scores, V):
    return _loop(scores, V, keep_l=_one, keep_o=_one)


def _wrong_direction(scores, V):
    return _loop(scores, V, keep_l=_inverse, keep_o=_inverse)


def _undivided(scores, V):
    return _loop(scores, V, divide=False)


def _starts_at_zero(scores, V):
    return _loop(scores, V, start=0.0)


def _without_maximum(scores, V):
    with np.errstate(all="ignore"):
        return np.exp(scores) @ V / np.exp(scores).sum()


def _keeps_new_weight_too(scores, V):
    """keep multiplies the new term as well."""
    m, l, o = -np.inf, 0.0, np.zeros(V.shape[1])
    for s, v in zip(scores, V):
        new = max(m, s)
        keep, weight = np.exp(m - new), np.exp(s - new)
        l, o, m = keep * (l + weight), keep * (o + weight * v), new
    return o / l


def _weight_with_old_maximum(scores, V):
    def weight(s, m, new):
        return np.exp(s - m) if np.isfinite(m) else 1.0

    return _loop(scores, V, p=weight)


def _divides_every_step(scores, V):
    m, l, o = -np.inf, 0.0, np.zeros(V.shape[1])
    for s, v in zip(scores, V):
        new = max(m, s)
        keep, weight = np.exp(m - new), np.exp(s - new)
        l = keep * l + weight
        o, m = (keep * o + weight * v) / l, new
    return o


def _divides_every_step_and_at_the_end(scores, V):
    m, l, o = -np.inf, 0.0, np.zeros(V.shape[1])
    for s, v in zip(scores, V):
        new = max(m, s)
        keep, weight = np.exp(m - new), np.exp(s - new)
        l = keep * l + weight
        o, m = (keep * o + weight * v) / l, new
    return o / l


def _old_output_by_new_weight(scores, V):
    m, l, o = -np.inf, 0.0, np.zeros(V.shape[1])
    for s, v in zip(scores, V):
        new = max(m, s)
        keep, weight = np.exp(m - new), np.exp(s - new)
        l, o, m = keep * l + weight, weight * o + weight * v, new
    return o / l


def _row_cases(rng):
    rising = np.array([-2.0, 0.5, 3.0, 3.5])
    return [(rising, rng.normal(size=(4, 3))), (rng.normal(size=6) - 900, rng.normal(size=(6, 2))),
            (200 * rng.normal(size=9) + 900, rng.normal(size=(9, 4))),
            (np.array([0.0, 1000.0, -1000.0, 990.0]), rng.normal(size=(4, 2)))]


# ---- 10.5


def _misses(addresses, n_sets, ways, line, touch=True, evict=0, set_of=lambda n, n_sets: n % n_sets):
    """The misses of a cache: `touch`, a hit makes a line the last used one; `evict`, which goes"""
    sets, misses = {}, 0
    for address in addresses:
        number = int(address) // line
        lines = sets.setdefault(set_of(number, n_sets), [])
        if number in lines:
            if touch:
                lines.remove(number)
                lines.append(number)
            continue
        misses += 1
        if len(lines) >= ways:
            lines.pop(evict)
        lines.append(number)
    return misses


def _count_misses(addresses, n_sets=64, ways=8, line=64):
    return _misses(addresses, n_sets, ways, line)


def _first_in_first_out(addresses, n_sets=64, ways=8, line=64):
    return _misses(addresses, n_sets, ways, line, touch=False)


def _most_recently_used(addresses, n_sets=64, ways=8, line=64):
    return _misses(addresses, n_sets, ways, line, evict=-1)


def _fully_associative(addresses, n_sets=64, ways=8, line=64):
    return _misses(addresses, 1, n_sets * ways, line)


def _one_set(addresses, n_sets=64, ways=8, line=64):
    return _misses(addresses, 1, ways, line)


def _direct_mapped(addresses, n_sets=64, ways=8, line=64):
    return _misses(addresses, n_sets, 1, line)


def _never_full(addresses, n_sets=64, ways=8, line=64):
    return _misses(addresses, n_sets, 10**9, line)


def _bytes_instead_of_lines(addresses, n_sets=64, ways=8, line=64):
    return _misses(addresses, n_sets, ways, 1)


def _blocks_of_sets(addresses, n_sets=64, ways=8, line=64):
    """Neighboring lines share a set, as if the set were chosen by the high bits."""
    return _misses(addresses, n_sets, ways, line, set_of=lambda n, n_sets: n // n_sets)


def _sets_by_address(addresses, n_sets=64, ways=8, line=64):
    sets, misses = {}, 0
    for address in addresses:
        number, lines = int(address) // line, sets.setdefault(int(address) % n_sets, [])
        if number in lines:
            lines.remove(number)
        else:
            misses += 1
            if len(lines) >= ways:
                lines.pop(0)
        lines.append(number)
    return misses


def _one_way_more(addresses, n_sets=64, ways=8, line=64):
    return _misses(addresses, n_sets, ways + 1, line)


def _one_way_less(addresses, n_sets=64, ways=8, line=64):
    return _misses(addresses, n_sets, max(ways - 1, 1), line)


def _hits(addresses, n_sets=64, ways=8, line=64):
    return len(addresses) - _count_misses(addresses, n_sets, ways, line)


def _emptied(addresses, n_sets=64, ways=8, line=64):
    """A full set loses all its lines."""
    sets, misses = {}, 0
    for address in addresses:
        number = int(address) // line
        lines = sets.setdefault(number % n_sets, [])
        if number not in lines:
            misses += 1
            if len(lines) >= ways:
                lines.clear()
            lines.append(number)
    return misses


def _fixed_cache(addresses, n_sets=64, ways=8, line=64):
    return _count_misses(addresses)


def _cache_cases(rng):
    around = [int(a) for a in rng.integers(0, 4096, 300)]
    few_lines = [64 * int(n) for n in rng.integers(0, 12, 200)]
    return [([0, 64, 128, 192, 0, 256, 64, 0], 1, 4), ([4096 * k for k in range(9)] * 2,),
            (around, 8, 2), (few_lines, 2, 4), ([4 * k for k in range(64)] * 2, 4, 3, 32),
            ([0, 64, 0, 128, 0, 192, 64], 1, 2)]


# ---- 10.6


def _cores_needed(p, wanted, rounding=math.ceil):
    rest = 1 / wanted - (1 - p)
    return rounding(p / rest) if rest > 0 else math.inf


def _rounded_down(p, wanted):
    return _cores_needed(p, wanted, math.floor)


def _rounded_to_nearest(p, wanted):
    return _cores_needed(p, wanted, round)


def _not_rounded(p, wanted):
    return _cores_needed(p, wanted, float)


def _one_more(p, wanted):
    return _cores_needed(p, wanted) + 1


def _all_parallel(p, wanted):
    return math.ceil(wanted)


def _wanted_over_p(p, wanted):
    return math.ceil(wanted / p)


def _shares_exchanged(p, wanted):
    return _cores_needed(1 - p, wanted)


def _negative_at_the_limit(p, wanted):
    rest = 1 / wanted - (1 - p)
    return math.ceil(p / rest) if rest else math.inf


def _ignores_the_rest(p, wanted):
    """p / n = 1 / wanted: the sequential part is forgotten."""
    return math.ceil(p * wanted)


# No exact quotients: 0.9 / (1 / 5 - 0.1) may be a little above or below 9.
_CORES_CASES = [(0.9, 4.5), (0.95, 4), (0.9, 12), (0.5, 1.4), (1.0, 5.5), (0.75, 4), (0.75, 1),
                (0.99, 60)]


EXERCISES = [
    Exercise(
        "10.1", "intensity", _intensity,
        cases=lambda rng: [(4, 5, 6), (1, 300, 200), (64, 64, 64, 2)],
        mistakes=[
            Mistake("You counted one operation for each multiply-add. It is two: a multiplication "
                    "and an addition.", wrong=lambda *a: _intensity(*a) / 2),
            Mistake("You left out the bytes of the result, M N numbers. They are written once.",
                    wrong=_without_result),
            Mistake("You divided by the numbers, not by their bytes. A float32 has 4 bytes.",
                    wrong=lambda M, N, K, b=4: _intensity(M, N, K, 1)),
            Mistake("Bytes per operation instead of operations per byte: it is the other way "
                    "round.", wrong=lambda *a: 1 / _intensity(*a)),
            Mistake("You let every operation fetch its operands from memory again. With a cache "
                    "each input comes from memory once: count the numbers of A, B and C.",
                    wrong=_one_read_per_operation),
            Mistake("This is right for 4 bytes per number, but you ignore bytes_per_number.",
                    wrong=lambda M, N, K, b=4: _intensity(M, N, K)),
            Mistake("That is the number of operations, 2 M N K. Divide it by the bytes of A, B "
                    "and C.", wrong=lambda M, N, K, b=4: 2 * M * N * K),
            Mistake("You multiplied by the bytes per number. A number of 2 bytes moves fewer "
                    "bytes, so it has a higher intensity.",
                    wrong=lambda M, N, K, b=4: _intensity(M, N, K, 1 / b)),
            Mistake("You multiplied the sizes of the three matrices. Add them: A, B and C are "
                    "moved one after the other.",
                    wrong=lambda M, N, K, b=4: 2 * M * N * K / (b * M * K * K * N * M * N)),
            Mistake("That holds for square matrices in float32 only. Count the numbers of A, B and "
                    "C for any shape.", wrong=lambda M, N, K, b=4: N / 6),
            Mistake("You rounded to a whole number. An intensity is a fraction.",
                    wrong=lambda *a: _intensity(*a) // 1),
            Mistake("You multiplied by the numbers of A, B and C after dividing by their bytes: "
                    "put the whole denominator into parentheses.",
                    wrong=lambda M, N, K, b=4: 2 * M * N * K / b * (M * K + K * N + M * N)),
            Mistake("You counted the result twice, as read and written. It is written once.",
                    wrong=lambda M, N, K, b=4: 2 * M * N * K / (b * (M * K + K * N + 2 * M * N))),
            Mistake("Only A and B are counted in bytes. The numbers of the result have as many.",
                    wrong=lambda M, N, K, b=4: 2 * M * N * K / (b * (M * K + K * N) + M * N)),
            Mistake("You counted K - 1 additions for each result. The usual count is K, because "
                    "the sum starts at 0: a multiply-add for each k.",
                    wrong=lambda M, N, K, b=4: _intensity(M, N, K, b) * (2 * K - 1) / (2 * K)),
            Mistake("You let every operation move three numbers. Each number of A, B and C moves "
                    "once.", wrong=lambda M, N, K, b=4: 2 / (3 * b)),
            Mistake("The operations are 2 M N K, a product: each of the M N results is a sum over "
                    "K.", when=lambda got, want, M, N, K, b=4: any(
                        np.isclose(got * b * (M * K + K * N + M * N), wrong)
                        for wrong in (2 * (M + N + K), M + N + K, 2 * M * N, 2 * M * K,
                                      2 * K * N))),
            Mistake("The shapes are mixed up: A has M K numbers, B has K N, C has M N.",
                    when=lambda got, want, M, N, K, b=4: any(
                        np.isclose(got, 2 * M * N * K / (b * size))
                        for size in (M * M + K * N + M * N, M + N + K, M * K + K * N + K * K,
                                     2 * M * N + K * N, M * N + 2 * M * K, 3 * M * N))),
        ],
    ),
    Exercise(
        "10.2", "tokens_per_second", 6.0, tolerance=1e-2,
        mistakes=[
            Mistake("That is the time of one token in seconds. Its inverse is the number of tokens "
                    "per second.", wrong=1 / 6),
            Mistake("You counted 4 bytes for each weight, as in float32. int8 has one byte.",
                    wrong=1.5),
            Mistake("You counted 2 bytes for each weight, as in bfloat16, or its two operations as "
                    "two reads. int8 has one byte, and each is read once.", wrong=3.0),
            Mistake("You counted 8 bytes for each weight. int8 has 8 bits, one byte.", wrong=0.75),
            Mistake("You took int8 as 8 times as small as a byte: 8 bits are one byte.",
                    wrong=48.0),
            Mistake("The unit is off by a power of ten: 7 billion and 42 G are both 10⁹.",
                    when=lambda got, want: any(np.isclose(got, want * 10.0**n)
                                               for n in (-9, -6, -3, 3, 6, 9))),
            Mistake("That is the product of the two numbers. The time is bytes divided by bytes "
                    "per second.", when=lambda got, want: any(
                        np.isclose(got, 42 * 7 * 10.0**n) for n in (0, 9, 18))),
            Mistake("You counted a half or a quarter of a byte for each weight, or let one read "
                    "serve several tokens. One token reads 7 GB.",
                    when=lambda got, want: np.isclose(got, 12) or np.isclose(got, 24)),
            Mistake("You divided the 42 GB by 8, the bits of a weight. Divide them by the bytes of "
                    "all weights.", wrong=42 / 8),
            Mistake("Every token reads every weight once, 7 GB; how often do 7 GB fit into the "
                    "42 GB of a second?",
                    when=lambda got, want: np.isclose(got, 42) or np.isclose(got, 7)
                    or np.isclose(got, 35) or np.isclose(got, 49)),
        ],
    ),
    Exercise(
        "10.3", "merge", _merge, cases=_merge_cases,
        mistakes=[
            Mistake("You added the outputs without bringing both to the same maximum. Each half "
                    "has subtracted its own m in its exponents.",
                    wrong=lambda m1, l1, o1, m2, l2, o2: (o1 + o2) / (l1 + l2)),
            Mistake("You took the mean of the two outputs. The half with the larger scores has "
                    "more of the weight.",
                    wrong=lambda m1, l1, o1, m2, l2, o2: (o1 / l1 + o2 / l2) / 2),
            Mistake("Your factors are upside down, or exchanged. A half with maximum m1 gets the "
                    "factor exp(m1 - m): its old maximum minus the common one, never positive.",
                    wrong=_merge_inverted),
            Mistake("You rescaled the outputs, but not the sums l1 and l2. They contain the old "
                    "maxima too.", wrong=_merge_keeps_sums),
            Mistake("You rescaled the sums, but not the outputs o1 and o2. They contain the old "
                    "maxima too.", wrong=_merge_keeps_outputs),
            Mistake("You returned the sum of the weighted values. Divide it by the common l at "
                    "the end.", wrong=_merge_undivided),
            Mistake("You weighted the two results with exp(m) alone. The weight of a half is the "
                    "sum of its exponentials, exp(m) l.", wrong=_merge_softmax_of_maxima),
            Mistake("You divided o1 and o2 by their own l before adding, and did it again after "
                    "it. Add the undivided sums, and divide once.",
                    wrong=lambda m1, l1, o1, m2, l2, o2: _merge(m1, l1, o1 / l1, m2, l2, o2 / l2)),
            Mistake("You rescaled the first half only. If its maximum is the larger one, the "
                    "second half needs the factor.", wrong=_merge_second_only),
            Mistake("You weighted the two halves with their l alone, so the maxima are lost: "
                    "the sum of the exponentials of a half is exp(m) l.",
                    wrong=lambda m1, l1, o1, m2, l2, o2: (l1 * o1 + l2 * o2) / (l1 + l2)),
            Mistake("You added the two outputs. Together their weights must sum to 1.",
                    wrong=lambda m1, l1, o1, m2, l2, o2: o1 / l1 + o2 / l2),
            Mistake("You weighted with the maxima themselves. They stand in exponents: "
                    "exp(m1 - m).",
                    wrong=lambda m1, l1, o1, m2, l2, o2: (m1 * o1 + m2 * o2) / (m1 * l1 + m2 * l2)),
            Mistake("You kept the half with the larger maximum alone. The other half still has "
                    "some weight.",
                    wrong=lambda m1, l1, o1, m2, l2, o2: o1 / l1 if m1 > m2 else o2 / l2),
            Mistake("You rescaled the second half only. If its maximum is the larger one, the "
                    "first half needs the factor.",
                    wrong=lambda m1, l1, o1, m2, l2, o2: _merge_second_only(m2, l2, o2, m1, l1, o1)),
            Mistake("You divided by 2. Divide by the common l: the weights of all keys then sum "
                    "to 1.", wrong=lambda *a: _merge_undivided(*a) / 2),
            Mistake("The result is one array, out: divide the common o by the common l.",
                    when=lambda got, want, *a: isinstance(got, (tuple, list)) and len(got) in (2, 3)
                    and np.ndim(got[-1]) == 1),
            Mistake("The result is NaN: exp(m) without subtracting the common maximum overflows, "
                    "and so does exp(m1 - m2). Subtract the larger one: exp(m1 - m).",
                    when=lambda got, want, *a: np.isnan(got).any()),
        ],
    ),
    Exercise(
        "10.4", "streaming_row", _streaming_row, cases=_row_cases,
        mistakes=[
            Mistake("The bug is still there. Let a larger score come second, with numbers that you "
                    "can check by hand, and follow l and o: what has each of them subtracted in "
                    "its exponents?", wrong=_planted),
            Mistake("Now o is brought to the new maximum, but l isn't. Both contain the old one.",
                    wrong=_only_output),
            Mistake("Neither l nor o is brought to the new maximum when a larger score comes.",
                    wrong=_never_repaired),
            Mistake("The factor is upside down: old maximum minus new maximum, which is never "
                    "positive.", wrong=_wrong_direction),
            Mistake("You return o without the division by l.", wrong=_undivided),
            Mistake("The maximum starts at 0. With scores far below 0, all exponentials become "
                    "tiny, and the division loses its digits or is 0 / 0. Start at -inf.",
                    wrong=_starts_at_zero),
            Mistake("This is the softmax without the subtraction of the maximum. It overflows for "
                    "scores of some hundred.", wrong=_without_maximum),
            Mistake("You multiply the new term by the factor as well. It was computed with the new "
                    "maximum and needs no repair.", wrong=_keeps_new_weight_too),
            Mistake("The new term subtracts the old maximum. Subtract the new one, so that all "
                    "terms have the same.", wrong=_weight_with_old_maximum),
            Mistake("You divide by l in every step. Then the next step adds to a number that is "
                    "already divided: divide once, after the loop.", wrong=_divides_every_step),
            Mistake("You take the mean of V. The scores decide how much each value counts.",
                    wrong=lambda scores, V: V.mean(axis=0)),
            Mistake("You divide by l in every step and at the end again. Divide once, after the "
                    "loop.", wrong=_divides_every_step_and_at_the_end),
            Mistake("The old o is multiplied by the new weight exp(s - m). Its factor is that of "
                    "l: exp(old maximum - new maximum).", wrong=_old_output_by_new_weight),
            Mistake("For some scores the result is NaN or infinite. Then an exponent is positive: "
                    "subtract the largest score so far, not the last one or the one before, and "
                    "check the direction of the factor.",
                    when=lambda got, want, *a: not np.isfinite(got).all()),
        ],
    ),
    Exercise(
        "10.5", "count_misses", _count_misses, cases=_cache_cases,
        mistakes=[
            Mistake("You throw out the line that came in first. A hit counts as a use too: move "
                    "the line to the end of its set.", wrong=_first_in_first_out),
            Mistake("You throw out the line that was used last. Throw out the one that was used "
                    "the longest ago.", wrong=_most_recently_used),
            Mistake("Your lines can be anywhere in the cache. A line has one set, its number "
                    "modulo n_sets, and only `ways` places in it.", wrong=_fully_associative),
            Mistake("You use a single set for all lines. Keep a list for each of n_sets sets.",
                    wrong=_one_set),
            Mistake("Each of your sets holds a single line. It has room for `ways`.",
                    wrong=_direct_mapped),
            Mistake("You never throw a line out. A set holds `ways` lines.", wrong=_never_full),
            Mistake("You treat each byte as a line of its own. The number of the line is "
                    "address // line; neighbors come in together.", wrong=_bytes_instead_of_lines),
            Mistake("The set is the number of the line modulo n_sets, not divided by it: "
                    "neighboring lines belong into different sets.", wrong=_blocks_of_sets),
            Mistake("You took the address modulo n_sets. First find the number of the line, "
                    "address // line, then take that modulo n_sets.", wrong=_sets_by_address),
            Mistake("Your sets hold one line too many: throw one out before you add the new one, "
                    "if there are `ways` already.", wrong=_one_way_more),
            Mistake("Your sets hold one line too few. `ways` lines have room.",
                    wrong=_one_way_less),
            Mistake("You counted the hits. The misses are wanted.", wrong=_hits),
            Mistake("You empty a full set. Throw out one line, the one that was used the longest "
                    "ago.", wrong=_emptied),
            Mistake("You count every address. Only those whose line isn't in the cache are misses.",
                    wrong=lambda addresses, n_sets=64, ways=8, line=64: len(addresses)),
            Mistake("You count different addresses. Addresses in the same line come in together, "
                    "and a line can be missed more than once.",
                    wrong=lambda addresses, n_sets=64, ways=8, line=64: len(set(addresses))),
            Mistake("You count the sets. Count the misses in them.",
                    wrong=lambda addresses, n_sets=64, ways=8, line=64: len(
                        {int(a) // line % n_sets for a in addresses})),
            Mistake("The first use of a line is a miss too: the cache is empty at first. And lines "
                    "that don't fit are missed again and again.",
                    wrong=lambda addresses, n_sets=64, ways=8, line=64: max(
                        0, len({int(a) // line for a in addresses}) - n_sets * ways)),
            Mistake("The result is a number.",
                    when=lambda got, want, *a: np.ndim(got) > 0),
            Mistake("You ignore n_sets, ways or line: right for the default cache alone.",
                    wrong=_fixed_cache),
        ],
    ),
    Exercise(
        "10.6", "cores_needed", _cores_needed, cases=lambda rng: _CORES_CASES,
        mistakes=[
            Mistake("You rounded down. With a core less than needed the step is too slow: round "
                    "up.", wrong=_rounded_down),
            Mistake("You rounded to the nearest number. With a core less than needed the step is "
                    "too slow: round up.", wrong=_rounded_to_nearest),
            Mistake("The number of cores is whole. Round up.", wrong=_not_rounded),
            Mistake("One core too many: round up, and add none.", wrong=_one_more),
            Mistake("You took the whole step as parallel. The share 1 - p doesn't get faster.",
                    wrong=_all_parallel),
            Mistake("You return the wanted speed-up itself. That many cores reach it only if all "
                    "of the step is parallel.", wrong=lambda p, wanted: wanted),
            Mistake("The quotient wanted / p isn't the solution of Amdahl's formula. The "
                    "sequential share 1 - p takes a part of the time that is left.",
                    wrong=_wanted_over_p),
            Mistake("You exchanged the shares: p is the parallel one.", wrong=_shares_exchanged),
            Mistake("Above 1 / (1 - p) no number of cores is enough. There your formula is "
                    "negative: return math.inf.", wrong=_negative_at_the_limit),
            Mistake("You forgot the sequential share: (1 - p) + p / n, not p / n alone, is "
                    "1 / wanted.", wrong=_ignores_the_rest),
            Mistake("That is the speed-up with `wanted` cores. Solve the formula for n.",
                    when=lambda got, want, p, wanted: np.isclose(got, 1 / (1 - p + p / wanted))),
            Mistake("Where no number of cores is enough, return math.inf.",
                    when=lambda got, want, *a: math.isinf(want)),
            Mistake("You return math.inf although some number of cores is enough: up to a "
                    "speed-up of 1 / (1 - p).",
                    when=lambda got, want, *a: isinstance(got, float) and math.isinf(got)),
            Mistake("One core is always needed, also where nothing has to get faster.",
                    when=lambda got, want, p, wanted: wanted <= 1),
        ],
    ),
]
