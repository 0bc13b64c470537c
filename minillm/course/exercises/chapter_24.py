"""The exercises of chapter 24, What must not be read."""

from minillm.course.checking import Exercise, Mistake

# ---- 24.1 passes


def _luhn(digits, *, first=1, cross=True, reverse=True, modulus=10, weight=2, last=True, want=0):
    digits = digits if last else digits[:-1]
    total = 0
    for place, digit in enumerate(reversed(digits) if reverse else digits):
        value = int(digit) * (weight if place % 2 == first else 1)
        total += value - 9 if value > 9 and cross else value
    return total % modulus == want


def _luhn_with(**changes):
    return lambda digits: _luhn(digits, **changes)


_LUHN_CASES = [(digits,) for digits in (
    "79927398713", "79927398710", "4539148803436467", "4539148803436468", "18", "26", "34", "59",
    "91", "67", "75", "378282246310005", "378282246310006", "0", "5", "00000", "123455",
    "6011111111111117", "182", "1818", "5018", "19", "55", "38", "4111111111111111",
    "4111111111111112", "79927398712",
    "2300", "190", "1230", "505", "81", "90", "999", "109", "117", "125", "45", "63", "72")]
_LUHN_MISTAKES = [
    Mistake("You double the first digit from the right. The check digit itself stays as it is: "
            "double the second, the fourth and so on.", wrong=_luhn_with(first=0)),
    Mistake("You count from the left. In a number with an odd number of digits that doubles the "
            "wrong ones.", wrong=_luhn_with(reverse=False)),
    Mistake("Of a doubled number with two digits, add the digits: 16 becomes 7.",
            wrong=_luhn_with(cross=False)),
    Mistake("You leave out the check digit. It is part of the sum.", wrong=_luhn_with(last=False)),
    Mistake("You double no digit.", wrong=_luhn_with(weight=1)),
    Mistake("Multiply every second digit by 2, not by 3.", wrong=_luhn_with(weight=3, cross=False)),
    Mistake("The sum has to be a multiple of 10, not of 9.", wrong=_luhn_with(modulus=9)),
    Mistake("A multiple of 5 isn't enough: 10.", wrong=_luhn_with(modulus=5)),
    Mistake("The remainder has to be 0, not 1.", wrong=_luhn_with(want=1)),
    Mistake("The other way round: True means that the check digit is right.",
            wrong=lambda digits: not _luhn(digits)),
]

# ---- 24.2 check_digits


def _number(text):
    return int("".join(str(int(character, 36)) for character in text))


def _check_digits(country, account, *, order="{account}{country}00", base=98, number=_number,
                  form="{:02}", modulus=97):
    text = order.format(account=account, country=country)
    return form.format(base - number(text) % modulus)


def _digits_with(**changes):
    return lambda country, account: _check_digits(country, account, **changes)


def _letters_from(first):
    return lambda text: int("".join(c if c.isdigit() else str(ord(c) - ord("A") + first)
                                    for c in text))


_DIGIT_CASES = [("DE", "370400440532013000"), ("GB", "WEST12345698765432"),
                ("NO", "86011117947"), ("FR", "20041010050500013M02606"), ("BE", "539007547034"),
                ("DE", "100000000000000017"), ("DE", "100000000000000050"),
                *[("BE", f"5390075470{n:02}") for n in range(0, 97, 8)]]
_DIGIT_MISTAKES = [
    Mistake("The digits have to make the remainder 1: subtract from 98, not from 97.",
            wrong=_digits_with(base=97)),
    Mistake("That is the remainder itself. Which digits make it 1?",
            wrong=lambda country, account: f"{_number(account + country + '00') % 97:02}"),
    Mistake("The country and the check digits move to the *end* of the account.",
            wrong=_digits_with(order="{country}00{account}")),
    Mistake("You forget the two zeros that stand where the check digits will be.",
            wrong=_digits_with(order="{account}{country}")),
    Mistake("You forget the country.", wrong=_digits_with(order="{account}00")),
    Mistake("The zeros stand behind the country, not before it.",
            wrong=_digits_with(order="{account}00{country}")),
    Mistake("A is 10, B is 11, … You count from 1.", wrong=_digits_with(number=_letters_from(1))),
    Mistake("A is 10, B is 11, … You begin with 11.", wrong=_digits_with(number=_letters_from(11))),
    Mistake("You read the whole as a number of base 36. Each letter becomes two decimal digits.",
            wrong=_digits_with(number=lambda text: int(text, 36))),
    Mistake("There are always two digits: 08, not 8.", wrong=_digits_with(form="{}")),
    Mistake("A string of two digits is wanted, not a number.",
            wrong=lambda country, account: int(_check_digits(country, account))),
    Mistake("The modulus is 97.", wrong=_digits_with(modulus=98)),
]

# ---- 24.3 precision_and_recall


def _covers(a, b):
    return a[0] <= b[0] and b[1] <= a[1]


def _touches(a, b):
    return a[0] < b[1] and b[0] < a[1]


def _scores(found, true, *, right=_covers, caught=_covers, empty=1.0):
    n_right = sum(any(right(a, b) for b in true) for a in found)
    n_caught = sum(any(caught(a, b) for a in found) for b in true)
    return (n_right / len(found) if found else empty, n_caught / len(true) if true else empty)


def _scores_with(**changes):
    return lambda found, true: _scores(found, true, **changes)


def _one_numerator(found, true):
    n = sum(any(_covers(a, b) for a in found) for b in true)
    return (n / len(found) if found else 1.0, n / len(true) if true else 1.0)


def _f1(precision, recall):
    return 2 * precision * recall / ((precision + recall) or 1)


def _inside(a, b):
    return _covers(b, a)


_SPANS = [([(0, 5), (8, 12), (20, 30)], [(0, 5), (9, 12), (15, 18)]),
          ([(0, 20)], [(2, 5), (8, 11), (30, 33)]), ([], [(0, 3)]), ([(0, 3)], []),
          ([(0, 4), (6, 9)], [(0, 6)]), ([(3, 9), (12, 15), (20, 22)], [(3, 9), (11, 16)]),
          ([(0, 5), (5, 9), (10, 14), (20, 25)], [(0, 5)])]
_SCORE_MISTAKES = [
    Mistake("You exchange the two. Precision is the share of the finds that are right, recall the "
            "share of the true spans that are found.",
            wrong=lambda found, true: _scores(found, true)[::-1]),
    Mistake("Only equal spans count in your answer. A find may be wider than what it covers.",
            wrong=_scores_with(right=lambda a, b: a == b, caught=lambda a, b: a == b)),
    Mistake("You count spans that overlap. A find has to cover all of the true span: otherwise half "
            "of a card number stays readable.",
            wrong=_scores_with(right=_touches, caught=_touches)),
    Mistake("The other way round: the find covers the true span, not the true span the find.",
            wrong=_scores_with(right=_inside, caught=_inside)),
    Mistake("You use one numerator for both. A find that covers two true spans is one right find "
            "and two found spans.", wrong=_one_numerator),
    Mistake("Without finds, nothing found is wrong: the precision is 1. The same for the recall "
            "without true spans.", wrong=_scores_with(empty=0.0)),
    Mistake("A find is right in your answer if it overlaps a true span. It has to cover it.",
            wrong=_scores_with(right=_touches)),
    Mistake("A true span is found in your answer if a find overlaps it. It has to be covered.",
            wrong=_scores_with(caught=_touches)),
    Mistake("You return percentages. Shares from 0 to 1 are wanted.",
            wrong=lambda found, true: tuple(100 * share for share in _scores(found, true))),
    Mistake("You return the F1 twice. Precision and recall are asked for.",
            wrong=lambda found, true: (_f1(*_scores(found, true)),) * 2),
]

# ---- 24.4 joined


def _joined(spans, *, end=max, overlap=lambda start, last: start < last, order=sorted):
    result = []
    for start, stop in order(spans):
        if result and overlap(start, result[-1][1]):
            result[-1] = (result[-1][0], end(result[-1][1], stop))
        else:
            result.append((start, stop))
    return result


def _joined_with(**changes):
    return lambda spans: _joined(spans, **changes)


def _longest_wins(spans):
    kept = []
    for span in sorted(spans, key=lambda span: (span[0] - span[1], span)):
        if not any(_touches(span, other) for other in kept):
            kept.append(span)
    return sorted(kept)


def _as_given(spans):
    return _joined(spans, order=list)


_JOIN_CASES = [([(0, 10), (2, 4), (6, 8)],), ([(0, 4), (4, 6)],), ([(5, 9), (0, 6), (20, 22)],),
               ([(3, 12), (1, 5), (4, 6), (11, 15)],), ([],), ([(0, 9), (1, 3), (5, 20), (6, 7)],),
               ([(0, 2), (3, 5), (4, 9), (0, 1)],), ([(9, 12), (1, 2), (2, 3)],)]
_JOIN_MISTAKES = [
    Mistake("The bug is still there: a span inside of another one ends before it. The end of both "
            "together is the larger end.", wrong=_joined_with(end=lambda last, stop: stop)),
    Mistake("The end stays that of the first span. It has to grow with the second one.",
            wrong=_joined_with(end=lambda last, stop: last)),
    Mistake("You take the smaller end.", wrong=_joined_with(end=min)),
    Mistake("Spans that only touch stay apart: (0, 4) and (4, 6) are two.",
            wrong=_joined_with(overlap=lambda start, last: start <= last)),
    Mistake("You keep the longest of overlapping spans and lose what the others cover alone.",
            wrong=_longest_wins),
    Mistake("You don't sort. The spans come in any order.", wrong=_as_given),
    Mistake("You join spans that have a gap of one between them.",
            wrong=_joined_with(overlap=lambda start, last: start <= last + 1)),
    Mistake("You only sort. Overlapping spans become one.", wrong=lambda spans: sorted(spans)),
    Mistake("You join all spans to one.", wrong=lambda spans: [
        (min(start for start, _ in spans), max(end for _, end in spans))] if spans else []),
]

# ---- 24.5 by_coincidence

_COINCIDENCE = 2000 / 9 / 10
_COINCIDENCE_MISTAKES = [
    Mistake("The first digit is never 0, so it is a 4 in one of nine numbers, not of ten.",
            wrong=2000 / 100),
    Mistake("These begin with a 4. One in ten of them passes.", wrong=2000 / 9),
    Mistake("These pass Luhn's check. One in nine of them begins with a 4.", wrong=2000 / 10),
    Mistake("That is a probability. How many of the 2,000 are asked for.", wrong=1 / 90),
    Mistake("Both have to be true: multiply, don't add.", wrong=2000 / 9 + 2000 / 10),
    Mistake("Each sum is equally likely, so one in ten passes, not one in nine.", wrong=2000 / 81),
    Mistake("The remainder is one of 10, not one of 97.", wrong=2000 / 9 / 97),
    Mistake("Those are the others.", wrong=2000 - _COINCIDENCE),
]

EXERCISES = [
    Exercise("24.1", "passes", reference=_luhn, cases=lambda rng: _LUHN_CASES,
             mistakes=_LUHN_MISTAKES),
    Exercise("24.2", "check_digits", reference=_check_digits, cases=lambda rng: _DIGIT_CASES,
             mistakes=_DIGIT_MISTAKES),
    Exercise("24.3", "precision_and_recall", reference=_scores, cases=lambda rng: _SPANS,
             mistakes=_SCORE_MISTAKES),
    Exercise("24.4", "joined", reference=_joined, cases=lambda rng: _JOIN_CASES,
             mistakes=_JOIN_MISTAKES),
    Exercise("24.5", "by_coincidence", reference=_COINCIDENCE, mistakes=_COINCIDENCE_MISTAKES,
             tolerance=6e-3),
]
