"""Numbers and dates in three forms: written, read back, and split into examples."""

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.tasks.data import numbers_and_dates as forms

NUMBERS = st.integers(0, 12).flatmap(lambda n: st.integers(0, 10**n - 1)) | st.lists(
    st.sampled_from([0, 0, 0, 1, 2, 9]), min_size=1, max_size=12).map(
    lambda digits: int("".join(map(str, digits))))
DATES = st.dates(datetime.date(1000, 1, 1), datetime.date(9999, 12, 31))


@given(NUMBERS)
def test_what_is_written_is_read_back(n):
    assert forms.parse_english(forms.english(n)) == n
    assert forms.parse_english(forms.english(n, join="")) == n
    assert forms.parse_chinese(forms.chinese(n)) == n
    assert forms.parse_chinese(forms.spoken_chinese(n)) == n
    assert forms.parse_digits(str(n)) == n


@given(DATES)
def test_dates_are_read_back_in_every_style(date):
    for style in forms.STYLES:
        assert forms.parse_english_date(forms.english_date(date, style)) == date
    assert forms.parse_chinese_date(forms.chinese_date(date)) == date
    assert forms.parse_iso_date(date.isoformat()) == date
    wrong = date + datetime.timedelta(days=1) if date < datetime.date.max else date
    text = forms.english_date(date).split(",", 1)
    if wrong != date:
        with pytest.raises(ValueError, match="known styles"):
            forms.parse_english_date(forms.WEEKDAYS[wrong.weekday()] + "," + text[1])


@pytest.mark.parametrize("n, english, chinese, spoken", [
    (0, "zero", "零", "零"),
    (10, "ten", "十", "十"),
    (12, "twelve", "十二", "十二"),
    (22, "twenty-two", "二十二", "二十二"),
    (101, "one hundred and one", "一百零一", "一百零一"),
    (110, "one hundred and ten", "一百一十", "一百一十"),
    (212, "two hundred and twelve", "二百一十二", "两百一十二"),
    (1_001, "one thousand and one", "一千零一", "一千零一"),
    (1_010, "one thousand and ten", "一千零一十", "一千零一十"),
    (2_200, "two thousand two hundred", "二千二百", "两千两百"),
    (10_500, "ten thousand five hundred", "一万零五百", "一万零五百"),
    (20_000, "twenty thousand", "二万", "两万"),
    (120_000, "one hundred and twenty thousand", "十二万", "十二万"),
    (100_012, "one hundred thousand and twelve", "十万零一十二", "十万零一十二"),
    (305_012, "three hundred and five thousand and twelve", "三十万五千零一十二",
     "三十万五千零一十二"),
    (1_010_000, "one million ten thousand", "一百零一万", "一百零一万"),
    (100_001_000, "one hundred million one thousand", "一亿零一千", "一亿零一千"),
    (100_010_000, "one hundred million ten thousand", "一亿零一万", "一亿零一万"),
    (200_000_002, "two hundred million and two", "二亿零二", "两亿零二"),
    (1_000_000_000, "one billion", "十亿", "十亿"),
])
def test_forms_of_some_numbers(n, english, chinese, spoken):
    assert (forms.english(n), forms.chinese(n), forms.spoken_chinese(n)) == (
        english, chinese, spoken)


@pytest.mark.parametrize("parse, text", [
    (forms.parse_english, "one hundred five and"), (forms.parse_english, "twelve hundred"),
    (forms.parse_english, "thousand"), (forms.parse_english, "twentyone"),
    (forms.parse_english, ""), (forms.parse_english, "five thousand million"),
    (forms.parse_chinese, "一百一"), (forms.parse_chinese, "一千一十"), (forms.parse_chinese, "十零"),
    (forms.parse_chinese, "一十二"), (forms.parse_chinese, ""), (forms.parse_chinese, "三o"),
    (forms.parse_digits, "012"), (forms.parse_digits, "1,000"), (forms.parse_digits, "-1"),
    (forms.parse_chinese_date, "2026年2月29日"), (forms.parse_chinese_date, "2026年03月3日"),
    (forms.parse_iso_date, "2026-3-3"), (forms.parse_iso_date, "0000-01-01"),
    (forms.parse_english_date, "Monday, the 3rd of March 2026"),
    (forms.parse_english_date, "the 3th of March 2026"), (forms.parse_english_date, "March 2026"),
])
def test_other_texts_are_refused(parse, text):
    with pytest.raises(ValueError, match="text is"):
        parse(text)


@pytest.mark.parametrize("n", [-1, 10**12])
def test_numbers_that_have_no_name_here_are_refused(n):
    for write in (forms.english, forms.chinese):
        with pytest.raises(ValueError, match=f"n is {n}, wanted 0"):
            write(n)


def test_weekdays_are_those_of_the_calendar():
    for text in ("Tuesday, the 3rd of March 2026", "Saturday, the 1st of January 2000",
                 "Thursday, the 29th of February 1996", "Monday, the 21st of July 1969"):
        assert forms.english_date(forms.parse_english_date(text)) == text


PARSERS = [forms.parse_digits, forms.parse_chinese, forms.parse_english, forms.parse_iso_date,
           forms.parse_chinese_date, forms.parse_english_date]


def value_of(text):
    """-> the one number or date that a text means"""
    found = []
    for parse in PARSERS:
        try:
            found.append(parse(text))
        except ValueError:
            pass
    assert len(found) == 1, text
    return found[0]


def test_splits_share_no_value_and_have_all_directions():
    splits = forms.generate(3000, seed=0)
    assert splits == forms.generate(3000, seed=0) != forms.generate(3000, seed=1)
    assert {split: len(examples) for split, examples in splits.items()} == {
        "train": 2550, "valid": 150, "test": 300}
    values = {}
    for split, examples in splits.items():
        values[split] = set()
        for example in examples:
            tag, source = example["source"].split(" ", 1)
            value = value_of(source)
            assert forms.split_of(value) == split
            values[split].add(value)
            if tag == "<weekday>":
                assert split == "train"
                assert forms.WEEKDAYS[value.weekday()] == example["target"]
                continue
            write = forms.NUMBER_TARGETS if isinstance(value, int) else forms.DATE_TARGETS
            assert write[tag](value) == example["target"] != source
            assert value == value_of(example["target"])
    assert not values["train"] & values["test"]
    assert not values["train"] & values["valid"] and not values["valid"] & values["test"]
    first, second = (int(share * 2550) for share in forms.LESSONS)
    for example in splits["train"][:second]:
        assert example["target"].split(",")[0] in forms.WEEKDAYS
    assert all(str(forms.FAMILIAR_YEAR) in example["source"] for example in splits["train"][:first])
    sources = [example["source"] for example in splits["test"]]
    assert len(set(sources)) == len(sources)
    for tag in forms.TAGS:
        assert 70 < sum(source.startswith(tag) for source in sources) < 130


def test_numbers_have_all_lengths_and_dates_all_years():
    rng = np.random.default_rng(0)
    numbers = [forms.random_number(rng) for _ in range(900)]
    lengths = np.bincount([len(str(n)) for n in numbers], minlength=10)
    assert lengths[1:].min() > 60 and max(numbers) <= forms.LARGEST
    years = {forms.random_date(rng).year for _ in range(900)}
    assert years == set(range(forms.FIRST_YEAR, forms.LAST_YEAR + 1))
