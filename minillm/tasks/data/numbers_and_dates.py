"""Numbers and dates in English words, in Chinese, and in digits: text to translate, generated.

    three hundred and five thousand and twelve  ↔  三十万五千零一十二  ↔  305012
    Tuesday, the 3rd of March 2026              ↔  2026年3月3日        ↔  2026-03-03

Each value is written in three forms, and a model learns all six directions. A tag at the start of
the source says which form is wanted, as in Johnson et al. 2017: "<zh> 305012". Numbers go from 0 to
999,999,999, with many zeros, for these are the difficult part of Chinese; dates from 1970 to 2039.

As sources, forms vary: numbers without "and" ("three hundred five thousand twelve"), 两 for 二, and
dates in ten English styles. The target has one form only, so that an answer is right or wrong.
In dates, it begins with the weekday, which a model must compute if the source doesn't have it; to
learn this, some training examples ask for the weekday alone, by the tag <weekday>.

All is generated. A score on it shows that a model can learn exact rules from examples; it says
nothing about translating prose.
"""

import datetime
import operator
import zlib

import numpy as np
import regex

WHAT = ("numbers and dates written by rules; the scores show that rules are learned, and say "
        "nothing about translating prose")
TAGS = ("<en>", "<zh>", "<digits>")
LARGEST = 999_999_999  # in examples; the functions below go on to 10^12 - 1
FIRST_YEAR, LAST_YEAR = 1970, 2039
# The weekday depends on day, month and year together: any two of them say nothing about it, so there
# is nothing to begin with. Within one year, day and month are enough. What is learned there is then
# only shifted for each other year. So training begins with one year, and goes on with all of them,
# before it comes to everything: these are the shares of the examples at which the lessons end.
FAMILIAR_YEAR = 2026
LESSONS = (0.1, 0.3)

# ---- numbers, in English

ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen").split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
SCALES = ("", "thousand", "million", "billion")
END = 10**12  # the first number that is too large to write


def english(n, join="and"):
    """-> the words of a number: english(305012) == "three hundred and five thousand and twelve"

    n: 0 … 10^12 - 1;  join: "and", or "" for the American style

    "and" stands before tens and ones, wherever something larger comes before them.
    """
    n = _checked(n)
    if n == 0:
        return ONES[0]
    words = []
    for power in reversed(range(4)):
        group = n // 1000**power % 1000
        hundreds, rest = divmod(group, 100)
        if hundreds:
            words += [ONES[hundreds], "hundred"]
        if rest:
            follows = hundreds or (words and power == 0)
            words += [join] * bool(follows and join) + [_below_100(rest)]
        if group and power:
            words.append(SCALES[power])
    return " ".join(words)


def _below_100(n):
    if n < 20:
        return ONES[n]
    tens, ones = divmod(n, 10)
    return TENS[tens - 2] + (f"-{ONES[ones]}" if ones else "")


def parse_english(text):
    """-> the number whose words `text` is, with or without "and"; ValueError if there is none"""
    values = {word: value for value, word in enumerate(ONES)}
    values.update({word: 10 * (tens + 2) for tens, word in enumerate(TENS)})
    total, group = 0, 0
    for word in text.replace("-", " ").split():
        if word == "hundred":
            group *= 100
        elif word in SCALES[1:]:
            total, group = total + group * 1000 ** SCALES.index(word), 0
        elif word in values:
            group += values[word]
        elif word != "and":
            raise ValueError(f"text is {text!r}, and {word!r} is no number word")
    n = total + group
    # The words say more than their sum: their order. Only what the writer writes is right.
    if n >= END or text not in (english(n), english(n, join="")):
        raise ValueError(f"text is {text!r}, which is not how a number is written")
    return n


# ---- numbers, in Chinese

DIGITS = "零一二三四五六七八九"
UNITS = ("", "十", "百", "千")
MYRIADS = ("", "万", "亿")


def chinese(n):
    """-> the number in Chinese: chinese(305012) == "三十万五千零一十二"

    Chinese groups four digits: 30,5012 is 三十 of 万 (ten thousand), then 五千零一十二. 零 stands
    for any number of zeros between two digits, unless they end a group. A number that would begin
    with 一十 begins with 十.
    """
    n = _checked(n)
    if n == 0:
        return DIGITS[0]
    text, zero = "", False  # zero: whether 零 is due before the next digit
    for power in reversed(range(3)):
        group = n // 10_000**power % 10_000
        for place in reversed(range(4)):
            digit = group // 10**place % 10
            if digit:
                text += DIGITS[0] * (zero and bool(text)) + DIGITS[digit] + UNITS[place]
            zero = digit == 0
            if zero and place == 0:
                zero = group == 0  # zeros at the end of a group are silent
        if group:
            text += MYRIADS[power]
    return text.removeprefix("一") if text.startswith("一十") else text


def parse_chinese(text):
    """-> the number that `text` writes; 两 may stand for 二. ValueError if there is none."""
    total, group, digit = 0, 0, 0
    plain = text.replace("两", "二")
    full = "一" + plain if plain.startswith("十") else plain
    for character in full:
        if character in DIGITS:
            digit = DIGITS.index(character)
        elif character in UNITS:
            group, digit = group + digit * 10 ** UNITS.index(character), 0
        elif character in MYRIADS:
            total, group, digit = total + (group + digit) * 10_000 ** MYRIADS.index(character), 0, 0
        else:
            raise ValueError(f"text is {text!r}, and {character!r} is no Chinese numeral")
    n = total + group + digit
    if n >= END or plain != chinese(n):
        raise ValueError(f"text is {text!r}, which is not how a number is written")
    return n


def spoken_chinese(n):
    """-> chinese(n) with 两 for 二 before 百, 千, 万 and 亿, as one says it"""
    return regex.sub(r"二(?=[百千])|(?<![十])二(?=[万亿])", "两", chinese(n))


def parse_digits(text):
    """-> the number in plain digits; ValueError for anything else"""
    if not regex.fullmatch(r"0|[1-9][0-9]{0,11}", text):
        raise ValueError(f"text is {text!r}, wanted the digits of a number")
    return int(text)


def _checked(n):
    n = operator.index(n)  # a TypeError for anything but an integer
    if not 0 <= n < END:
        raise ValueError(f"n is {n}, wanted 0 … {END - 1}")
    return n


# ---- dates

MONTHS = ("January February March April May June July August September October November "
          "December").split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

# The first is the form of targets. {th}: 3rd;  {day}: 3;  {mon}: Mar;  {wd}: Tue
STYLES = (
    "{weekday}, the {th} of {month} {year}", "the {th} of {month} {year}", "{th} {month} {year}",
    "{day} {month} {year}", "{weekday}, {day} {month} {year}", "{month} {day}, {year}",
    "{month} {th}, {year}", "{weekday}, {month} {day}, {year}", "{day} {mon} {year}",
    "{wd} {day} {mon} {year}",
)


def ordinal(n):
    """-> 1st, 2nd, 3rd, 4th, 11th, …"""
    ending = "th" if n // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def english_date(date, style=STYLES[0]):
    """date: datetime.date -> "Tuesday, the 3rd of March 2026" """
    weekday, month = WEEKDAYS[date.weekday()], MONTHS[date.month - 1]
    return style.format(weekday=weekday, wd=weekday[:3], month=month, mon=month[:3], day=date.day,
                        th=ordinal(date.day), year=f"{date.year:04d}")


def chinese_date(date):
    """-> "2026年3月3日" """
    return f"{date.year:04d}年{date.month}月{date.day}日"


def parse_english_date(text):
    """-> the date in any of STYLES; ValueError for others, and for a wrong weekday"""
    months = {name: number for number, month in enumerate(MONTHS, 1) for name in (month, month[:3])}
    for style in STYLES:
        found = regex.fullmatch(_pattern(style), text)
        if found and found["month"] in months:
            date = _date(text, int(found["year"]), months[found["month"]], int(found["day"]))
            if english_date(date, style) == text:
                return date
    raise ValueError(f"text is {text!r}, which is no date in one of the known styles")


def _pattern(style):
    """-> a regular expression for the texts of a style, and for others too"""
    month, day = r"(?P<month>\p{L}+)", "(?P<day>[0-9]{1,2})"
    return style.format(weekday=r"\p{L}+", wd=r"\p{L}+", month=month, mon=month, day=day,
                        th=day + r"\p{L}+", year="(?P<year>[0-9]{4})")


def parse_chinese_date(text):
    """-> the date that chinese_date writes so; ValueError for anything else"""
    return _parse_date(text, r"(\d{4})年(\d+)月(\d+)日", chinese_date)


def parse_iso_date(text):
    """-> the date written as 2026-03-03; ValueError for anything else"""
    return _parse_date(text, r"(\d{4})-(\d\d)-(\d\d)", datetime.date.isoformat)


def _parse_date(text, pattern, write):
    found = regex.fullmatch(pattern, text, regex.ASCII)
    date = _date(text, *map(int, found.groups())) if found else None
    if date is None or write(date) != text:
        raise ValueError(f"text is {text!r}, which is not how a date is written")
    return date


def _date(text, year, month, day):
    try:
        return datetime.date(year, month, day)
    except (ValueError, OverflowError):
        raise ValueError(f"text is {text!r}, which is no day of the calendar") from None


# ---- examples

# tag -> function of a value: the one form that a target has
NUMBER_TARGETS = {"<en>": english, "<zh>": chinese, "<digits>": str}
DATE_TARGETS = {"<en>": english_date, "<zh>": chinese_date,
                "<digits>": datetime.date.isoformat}


def split_of(value):
    """-> "train", "valid" or "test": the split to which a number or a date belongs, always

    Numbers below 100 are the words that all others are made of: they are in "train".
    """
    if value in range(100):
        return "train"
    share = zlib.crc32(str(value).encode()) / 2**32
    return "test" if share < 0.1 else "valid" if share < 0.15 else "train"


def generate(n, seed):
    """-> {"train", "valid", "test"}: lists of {"source": "<zh> 305012", "target": "三十万五千零一十二"}

    n: of all examples; a tenth, at most 1,200, are in test, half as many in valid. In these, all
    values are new, and sources differ. Training repeats short numbers.

    The training examples are a curriculum, in this order: weekdays of one year (see LESSONS),
    weekdays of all years, everything.
    """
    rng = np.random.default_rng(seed)
    n_test = min(max(n // 10, 1), 1200)
    n_valid = max(n_test // 2, 1)
    n_train = max(n - n_test - n_valid, 1)
    first, second = (int(share * n_train) for share in LESSONS)
    splits = {"train": [_weekday(rng, 1.0, 0.0) for _ in range(first)]
              + [_weekday(rng, 0.3, 0.5) for _ in range(first, second)]
              + [_example("train", rng) for _ in range(second, n_train)]}
    for split, size in (("valid", n_valid), ("test", n_test)):
        found = {}
        while len(found) < size:
            example = _example(split, rng)
            found[example["source"]] = example
        splits[split] = list(found.values())
    return splits


def _example(split, rng):
    """-> one example whose value belongs to `split`, in one of the six directions"""
    is_number = rng.random() < (0.6 if split == "train" else 0.5)
    value = _drawn(random_number if is_number else random_date, split, rng)
    target = rng.integers(3)
    if not is_number and split == "train" and rng.random() < 0.4:
        target = 0  # <en>, which needs the weekday
    source = (target + rng.integers(1, 3)) % 3
    tag = TAGS[target]
    write = number_source if is_number else date_source
    targets = NUMBER_TARGETS if is_number else DATE_TARGETS
    return {"source": f"{tag} {write(value, TAGS[source], rng)}", "target": targets[tag](value)}


def _weekday(rng, familiar, whole):
    """-> an example for training: "<weekday> 2026-03-03" -> "Tuesday"

    familiar: the share of dates that are in FAMILIAR_YEAR;  whole: the share of examples that ask
        for the whole date in English instead, which begins with the weekday
    """
    date = _drawn(random_date, "train", rng)
    if rng.random() < familiar:
        date = _drawn(_familiar_date, "train", rng)
    source = (chinese_date, datetime.date.isoformat)[rng.integers(2)](date)
    if rng.random() < whole:
        return {"source": f"<en> {source}", "target": english_date(date)}
    return {"source": f"<weekday> {source}", "target": WEEKDAYS[date.weekday()]}


def _familiar_date(rng):
    return datetime.date(FAMILIAR_YEAR, 1, 1) + datetime.timedelta(days=int(rng.integers(365)))


def _drawn(draw, split, rng):
    """-> a value of draw(rng) that belongs to `split`"""
    while True:
        value = draw(rng)
        if split_of(value) == split:
            return value


def random_number(rng):
    """-> a number with 1 to 9 digits, each length as often; few, many or most of them are 0"""
    length = rng.integers(1, 10)
    zeros = rng.choice([0.1, 0.4, 0.8])
    digits = np.where(rng.random(length) < zeros, 0, rng.integers(1, 10, length))
    if length > 1:
        digits[0] = rng.integers(1, 10)
    return int("".join(map(str, digits)))


def random_date(rng):
    """-> a day from FIRST_YEAR to LAST_YEAR, each as often"""
    first, last = datetime.date(FIRST_YEAR, 1, 1), datetime.date(LAST_YEAR, 12, 31)
    return first + datetime.timedelta(days=int(rng.integers((last - first).days + 1)))


def number_source(n, form, rng):
    """-> the number in a form, with its variants: a fifth without "and", a fifth with 两"""
    varied = rng.random() < 0.2
    if form == "<en>":
        return english(n, "" if varied else "and")
    if form == "<zh>":
        return spoken_chinese(n) if varied else chinese(n)
    return str(n)


def date_source(date, form, rng):
    """-> the date in a form; in English, half in the form of targets, half in the other styles"""
    if form != "<en>":
        return DATE_TARGETS[form](date)
    style = STYLES[0] if rng.random() < 0.5 else STYLES[rng.integers(1, len(STYLES))]
    return english_date(date, style)
