"""Sentences whose personal data is known, to measure precision and recall on; and near misses.

The values are made up here and follow their formats; whoever they seem to belong to is a
coincidence. Scores on them say what the patterns do on these formats, not on any text there is.
"""

import calendar
import string
from typing import NamedTuple

from minillm.trust.checksums import IBAN_LENGTHS, luhn, mod_97, mod_11_2
from minillm.trust.detector import Span

DIGITS, LOWER, UPPER = string.digits, string.ascii_lowercase, string.ascii_uppercase


class Sentence(NamedTuple):
    text: str
    spans: list  # of Span: what is personal data in it


def letters(rng, n, alphabet):
    return "".join(rng.choice(list(alphabet), n))


# ---- values

def email(rng):
    name = letters(rng, rng.integers(3, 9), LOWER)
    joint = rng.choice(["", ".", "_", "-", "+"])
    return (f"{name}{joint}{letters(rng, 4, LOWER + DIGITS)}@{letters(rng, 6, LOWER)}"
            f".{rng.choice(['com', 'org', 'co.uk', 'de', 'cn', 'com.cn', 'museum'])}")


def ipv4(rng):
    return ".".join(map(str, rng.integers(1, 256, 4)))


def ipv6(rng):
    groups = [f"{number:x}" for number in rng.integers(0x1000, 0x10000, 8)]
    return ":".join(groups) if rng.random() < 0.5 else ":".join(groups[:3]) + "::" + groups[7]


def card(rng):
    first, n = [("4", 16), ("51", 16), ("2221", 16), ("37", 15), ("62", 16), ("62", 19),
                ("3528", 16), ("6011", 16)][rng.integers(8)]
    digits = first + letters(rng, n - len(first) - 1, DIGITS)
    digits += next(check for check in DIGITS if luhn(digits + check))
    return rng.choice(["", " ", "-"]).join(in_groups(digits, 4))


def in_groups(text, size):
    return [text[start : start + size] for start in range(0, len(text), size)]


def iban(rng):
    country = str(rng.choice(sorted(IBAN_LENGTHS)))
    account = letters(rng, IBAN_LENGTHS[country] - 4, DIGITS)
    code = f"{country}{98 - mod_97(account + country + '00'):02}{account}"
    return " ".join(in_groups(code, 4)) if rng.random() < 0.5 else code


def resident_id(rng):
    year, month = int(rng.integers(1940, 2015)), int(rng.integers(1, 13))
    day = int(rng.integers(1, calendar.monthrange(year, month)[1] + 1))
    place = rng.choice(["110105", "310101", "440305", "510104", "620102", "330106"])
    code = f"{place}{year}{month:02}{day:02}{letters(rng, 3, DIGITS)}"
    return code + next(check for check in DIGITS + "X" if mod_11_2(code + check) == 1)


def mainland_phone(rng):
    a = f"1{rng.integers(3, 10)}{rng.integers(10)}"
    b, c = letters(rng, 4, DIGITS), letters(rng, 4, DIGITS)
    forms = f"{a}{b}{c}", f"{a} {b} {c}", f"{a}-{b}-{c}", f"+86 {a} {b} {c}", f"+86{a}{b}{c}"
    area = rng.choice(["10", "21", "755", "571"])
    landline = f"0{area}-{rng.integers(2, 9)}{letters(rng, 7, DIGITS)}"
    return str(rng.choice([*forms, landline]))


def phone(rng):
    a, b = letters(rng, 4, DIGITS), letters(rng, 4, DIGITS)
    return str(rng.choice([
        f"+1 206-555-{b}", f"(415) 555-{b}", f"212-555-{b}", f"+44 20 7946 {b}", f"020 7946 {b}",
        f"+49 30 {a}{b}", f"030 {a}{b}",
        f"+33 6 12 34 {b[:2]} {b[2:]}", f"06 12 34 {b[:2]} {b[2:]}",
        f"+81 90-{a}-{b}", f"090-{a}-{b}", f"0049 171 {a}{b[:3]}", f"+34 612 34 {a}",
        f"+7 (495) 555-{b[:2]}-{b[2:]}", f"+55 11 9{a}-{b}", f"+91 98{a}{b}"]))


def secret(rng):
    word = string.ascii_letters + DIGITS
    return str(rng.choice([
        f"ghp_{letters(rng, 36, word)}", f"AKIA{letters(rng, 16, UPPER + '234567')}",
        f"AIza{letters(rng, 35, word)}",
        f"xoxb-{letters(rng, 12, DIGITS)}-{letters(rng, 24, word)}",
        f"sk_live_{letters(rng, 24, word)}", f"sk-proj-{letters(rng, 44, word)}7",
        f"glpat-{letters(rng, 20, word)}", f"hf_{letters(rng, 34, word)}",
        "eyJhbGciOiJIUzI1NiJ9." + letters(rng, 40, word) + "." + letters(rng, 43, word)]))


def credentials(rng):
    return f"{letters(rng, 5, LOWER)}:{letters(rng, 10, LOWER + DIGITS)}"


VALUES = {"EMAIL": [email], "IP": [ipv4, ipv6], "CARD": [card], "IBAN": [iban],
          "RESIDENT_ID": [resident_id], "PHONE": [phone, mainland_phone], "SECRET": [secret],
          "CREDENTIALS": [credentials]}

# ---- near misses

NEAR_MISSES = (
    "version 1.2.3.4", "Chrome/91.0.44.124", "256.1.1.1", "1.2.3", "numpy==1.26.4.1",
    "2024-01-02 13:45:00", "12:30:45", "01.02.2024", "02/03/2024", "1999-2005", "2024",
    "3.14159265358979", "0.123456789012", "1,234,567.89", "1700000000", "1700000000000",
    "ISBN 978-3-16-148410-0", "ISBN 0-306-40615-2", "0306406152", "4111 1111 1111 1112",
    "1234 5678 9012 3456", "DE88 3704 0044 0532 0130 00", "110105194912310021",
    "std::vector<int>", "a::b", "00:1b:44:11:3a:b7", "@decorator", "me@localhost", "a @ b",
    "https://example.org/a:b@c", "http://host:8080/path", "sk-learn-is-a-library-of-many-words",
    "10^6", "5-4-3-2-1", "1 000 000", "§ 12.3.4", "page 123-145", "E = 1.6021766e-19",
    "5551234", "No. 20240102123456", "16-bit 44100", "100 200 300 400", "UTF-8", "x86_64",
)


def near_miss(rng):
    return str(rng.choice(NEAR_MISSES))


def one_digit_changed(rng, text):
    """-> the text with one of its digits replaced by another digit"""
    places = [place for place, character in enumerate(text) if character in DIGITS]
    place = int(rng.choice(places))
    other = (int(text[place]) + int(rng.integers(1, 10))) % 10
    return f"{text[:place]}{other}{text[place + 1:]}"


# ---- sentences

TEMPLATES = ("Please use {}, if you can.", "Her data: {}", "({})", "We noted {} and {}.",
             "Ask for {}; otherwise {}.", "“{}”", "请联系{}，谢谢。", "登记为{}。", "这里是{}和{}",
             "{} ist richtig.", "C’est {}.", "{}\n{}", "Es {} o {}?")


def generate(seed, n, values=None, misses=0.3):
    """-> list of n Sentence

    values: {kind: list of functions rng -> value}, default VALUES
    misses: the share of places where a near miss stands instead of a value
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    makers = [(kind, make) for kind, makes in (values or VALUES).items() for make in makes]
    return [_sentence(rng, str(rng.choice(TEMPLATES)), makers, misses) for _ in range(n)]


def _sentence(rng, template, makers, misses):
    first, *others = template.split("{}")
    text, spans = first, []
    for literal in others:
        kind, make = makers[rng.integers(len(makers))]
        is_miss = rng.random() < misses
        value = near_miss(rng) if is_miss else make(rng)
        if kind == "CREDENTIALS" and not is_miss:
            text += "https://"
        if not is_miss:
            spans.append(Span(len(text), len(text) + len(value), kind))
        text += value
        if kind == "CREDENTIALS" and not is_miss:
            text += "@db.example.org/x"
        text += literal
    return Sentence(text, spans)


# ---- scores

def scores(sentences, find):
    """-> {kind: Score} of a function text -> list of Span

    A value is found if a find of its kind covers all of it, which is what privacy needs. A find may
    be wider: a URL's host is masked with its credentials if an e-mail pattern takes it for one.
    """
    counts = {}
    for sentence in sentences:
        found = find(sentence.text)
        for kind in {span.kind for span in [*found, *sentence.spans]}:
            ours = [span for span in found if span.kind == kind]
            true = [span for span in sentence.spans if span.kind == kind]
            covered = sum(any(a.start <= b.start and b.end <= a.end for a in ours) for b in true)
            right = sum(any(a.start < b.end and b.start < a.end for b in true) for a in ours)
            old = counts.get(kind, (0, 0, 0, 0))
            counts[kind] = tuple(x + y for x, y in zip(old, (covered, len(true), right, len(ours))))
    return {kind: Score(covered / true if true else 1.0, right / ours if ours else 1.0, true)
            for kind, (covered, true, right, ours) in sorted(counts.items())}


class Score(NamedTuple):
    recall: float     # the share of the true spans that a find of their kind covers
    precision: float  # the share of the finds that touch a true span of their kind
    n: int            # true spans
